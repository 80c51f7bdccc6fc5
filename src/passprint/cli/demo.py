"""``passprint demo``: a real model, eagerly, by passprint and by plain torch.compile, in one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from passprint.demo.result import DemoResult


_ROOMY = 100


def demo_command(
    model: Annotated[
        str, typer.Option(help="smollm2, random-llama, a folder, or a name on the Hugging Face hub.")
    ] = "smollm2",
    layers: Annotated[int | None, typer.Option(help="Depth of random-llama.", min=1)] = None,
    baseline: Annotated[bool, typer.Option(help="Also run plain torch.compile, cold and warm.")] = True,
    library: Annotated[
        bool, typer.Option(help="Also compile with every library pass, the opt-in ones included.")
    ] = True,
    passes: Annotated[
        str | None, typer.Option(help="The pipeline as text instead of the default one.", metavar="TEXT")
    ] = None,
    tokens: Annotated[int, typer.Option(help="How many tokens to decode.", min=2)] = 16,
    prompt: Annotated[str | None, typer.Option(help="What to ask the model.", metavar="TEXT")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="passprint's cache folder; a temporary empty one by default.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all figures to this file.", metavar="FILE")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Also write the report of each start there, as a page.", metavar="FOLDER"
        ),
    ] = None,
) -> None:
    """Compile and run a real model, each phase in a process of its own, and show what it cost.

    Exit status 1: a phase failed, logits differ from eager's by more than 1e-3, or the text is not eager's.
    """
    from rich.console import Console

    from passprint.demo.processes import ChildError
    from passprint.demo.run import DemoOptions, run_demo
    from passprint.report.progress import PhaseProgress
    from passprint.report.templating import environment

    console = Console(width=None if sys.stdout.isatty() else _ROOMY)
    errors = Console(stderr=True, soft_wrap=True)
    options = DemoOptions(
        model=model,
        layers=layers,
        prompt=prompt,
        tokens=tokens,
        passes=passes,
        cache=cache,
        baseline=baseline,
        library=library,
        pages=html,
    )
    try:
        _check_writable(json_file)
        if html is not None:
            environment()  # raises where pages cannot be made
        with PhaseProgress(console) as progress:
            result = run_demo(options, progress)
    except ChildError as error:
        errors.print(error.tail, markup=False, highlight=False)
        raise
    except KeyboardInterrupt:
        errors.print(
            "passprint demo: interrupted; its processes and temporary files are gone", style="yellow"
        )
        raise typer.Exit(130) from None
    _show(console, result)
    if json_file is not None:
        json_file.write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
    for page in sorted(html.glob("*.html")) if html is not None else ():
        console.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
    for phase, failed in result.errors.items():
        errors.print(f"{phase}: the end of what its process wrote:", style="bold", markup=False)
        errors.print(failed.tail, markup=False, highlight=False)
    failures = result.failures()
    for failure in failures:
        errors.print(f"FAILED {failure}", style="bold red", markup=False, highlight=False)
    if failures:
        raise typer.Exit(1)


def _show(console: Console, result: DemoResult) -> None:
    from passprint.demo.result import EAGER
    from passprint.demo.table import demo_comparison
    from passprint.report.terminal import comparison_table

    console.print()
    console.print(comparison_table(demo_comparison(result), narrow=console.width < _ROOMY))
    console.print()
    if result.prompt is not None:
        console.print(f"prompt: {result.prompt}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"decoded: {result.phases[EAGER].text}", markup=False, highlight=False, soft_wrap=True)
    for note in result.notes():
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _check_writable(file: Path | None) -> None:
    """Fails before minutes of work rather than after them."""
    from passprint.demo.models import DemoError

    if file is None:
        return
    if file.is_dir() or not file.resolve().parent.is_dir():
        raise DemoError(f"--json {file} cannot be written; give a file in a folder that exists")
