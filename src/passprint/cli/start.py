"""``passprint`` without a command: the five things that a newcomer wants, each with the line that does it."""

from __future__ import annotations

from typing import Final

FIRST: Final = (
    ("Make a model start warm", "compiled = passprint.compile(model)"),
    ("See what the last start did, and why", "passprint report --open"),
    ("See which function made something compile again", "passprint explain"),
    ("See what code is, as a key", "passprint fingerprint json:dumps --tree"),
    ("See what is off here, and what to do", "passprint doctor"),
)


def show() -> None:
    """Print them. Needs nothing but rich."""
    from rich.table import Table

    from passprint.cli.console import console

    table = Table.grid(padding=(0, 3))
    for number, (want, line) in enumerate(FIRST, 1):
        table.add_row(f"{number}. {want}", line)
    out = console()
    out.print(
        "passprint: graph passes and compiled artifacts for torch.compile, keyed by what the code is.\n"
    )
    out.print(table)
    out.print("\nA real model, cold and warm: passprint demo. All commands: passprint --help.")
