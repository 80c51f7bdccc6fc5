"""``passprint bisect``: which pass, and which of its rewrites, makes a script fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def bisect_command(
    script: Annotated[
        Path,
        typer.Argument(
            metavar="SCRIPT",
            exists=True,
            help="A Python file that exits with 0 if all is well, and else fails.",
        ),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENTS]...", help="What the script is given.")
    ] = None,
) -> None:
    """Run SCRIPT again and again, each time with fewer passes and rewrites, until the one that makes it fail is known.

    A pass run is one pass on one graph; the number of script runs grows with the logarithm of their number. Put `--`
    before arguments that begin with a dash. Nothing is read from or written to caches meanwhile.
    """
    from passprint.cli.console import console
    from passprint.pipeline.bisection import bisect_command as search

    terminal = console()
    culprit = search([sys.executable, str(script), *(arguments or [])], tell=terminal.print)
    terminal.print()
    terminal.print(str(culprit))
