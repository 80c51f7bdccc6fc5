"""``passprint reproduce``: show a failure again that the instrument 'reproduce' wrote down."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from passprint.errors import PassError, PipelineError


def reproduce_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What the instrument 'reproduce' wrote.")],
    modules: Annotated[
        list[str] | None,
        typer.Option("--module", "-m", help="Import this module first, which defines operators. Repeatable."),
    ] = None,
    reduce: Annotated[
        bool, typer.Option("--reduce", help="Make the graph smaller while it still fails, in FOLDER/reduced.")
    ] = False,
) -> None:
    """Run a failing pass again on the graph on which it failed.

    Exit status 0: it failed in the same way. 1: it did not.
    """
    from passprint.cli.console import console
    from passprint.pipeline.reproducer import Reproducer, kind_of

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in modules or ():
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise PipelineError(
                f"the module {name!r} cannot be imported: {error}; give its dotted name"
            ) from error
    reproducer = Reproducer.load(folder)
    terminal = console()
    terminal.print(reproducer.describe())
    try:
        reproducer.run()
    except PassError as error:
        terminal.print(str(error))
        same = error.pass_name == reproducer.failure.pass_name and kind_of(error) == reproducer.failure.kind
        terminal.print(
            "The same failure." if same else f"Another failure; it was: {reproducer.failure.reason}"
        )
    else:
        same = False
        terminal.print(f"No failure here; it was: {reproducer.failure.reason}")
    if not same:
        raise typer.Exit(1)
    if reduce:
        before = len(reproducer.graph.nodes)
        smaller = reproducer.reduce(lambda nodes: terminal.print(f"  {nodes} nodes still fail"))
        smaller.save(folder / "reduced")
        terminal.print(smaller.graph_text())
        terminal.print(f"{before} → {len(smaller.graph.nodes)} nodes, in {folder / 'reduced'}")
