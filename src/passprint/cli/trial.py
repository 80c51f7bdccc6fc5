"""``passprint passes run``: a pipeline on a graph, and the difference that it makes."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from passprint.pipeline.trial import Trial

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def run_command(
    pipeline: Annotated[
        str, typer.Argument(help='A pipeline\'s text: "fold-reshapes,fixed-point{dedupe-expressions}".')
    ],
    graph: Annotated[
        str,
        typer.Argument(
            help="module:name or file.py:name of a graph or of (fn, inputs), or of a function that returns one; "
            "or a .pt2 file."
        ),
    ],
    hook: Annotated[
        str | None, typer.Option("--hook", help="Where the pipeline runs, unless its text says so.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Run these passes only: names, separated by commas.")
    ] = None,
    skip: Annotated[str | None, typer.Option("--skip", help="Leave these passes out.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="Make the first so many rewrites only.")
    ] = None,
    modules: Annotated[
        list[str] | None,
        typer.Option("--module", "-m", help="Import this module first, so that its passes are known."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the graphs in full.")] = False,
) -> None:
    """Run a pipeline on a graph and show what it changes.

    A function with inputs is compiled as far as the pipeline's last hook: each part sees the graph that
    Inductor has there.
    """
    from passprint.cli.console import console
    from passprint.cli.passes import import_modules, look_in_working_folder

    look_in_working_folder()
    import_modules(modules or [])
    from passprint.pipeline import PassManager, selected
    from passprint.pipeline.trial import load_subject, try_pipeline

    subject = load_subject(graph)  # first: a file of graphs may define passes as well
    manager = PassManager.parse(pipeline, hook=hook)
    with ExitStack() as stack:
        if only is not None or skip is not None:
            left_out = [f"-{name.strip()}" for name in (skip or "").split(",") if name.strip()]
            stack.enter_context(selected(",".join([*(only or "").split(","), *left_out])))
        stack.enter_context(_limited(limit))
        trials = try_pipeline(manager, subject)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(trial) for trial in trials], indent=2))
        return
    for trial in trials:
        console().print(_shown(trial))
        for overlap in trial.overlaps:
            warnings.warn(_overlap_warning()(str(overlap)), stacklevel=2)


@contextmanager
def _limited(limit: int | None) -> Iterator[None]:
    from passprint.pipeline.limits import VARIABLE

    if limit is None:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(limit)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def _shown(trial: Trial) -> Text:
    from rich.text import Text

    from passprint.pipeline.graph_text import difference

    counted = ", ".join(f"{name} {count}" for name, count in trial.matches.items() if "/" not in name)
    lines = [trial.before.count("\n"), trial.after.count("\n")]
    what = f"{trial.hook}, a branch" if trial.is_branch else trial.hook
    shown = Text(f"{what}: {lines[0]} → {lines[1]} lines; rewrites: {counted or 'none'}", style="bold")
    changes = difference(trial.before, trial.after, ("before", "after"))
    if not changes:
        return shown.append("\n(nothing changed)", style="dim")
    for line in changes.splitlines()[2:]:
        shown.append(f"\n{line}", style=_COLOURS.get(line[0], "not bold") if line else "")
    return shown


def _overlap_warning() -> type[Warning]:
    from passprint.pipeline.overlap import OverlapWarning

    return OverlapWarning
