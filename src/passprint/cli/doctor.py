"""``passprint doctor``: what is here, what would be slow or off, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from passprint.cli.cache import AsJson, Folder

_MARKS = {"good": ("✓", "green"), "slow": ("!", "yellow"), "off": ("✗", "red")}


def doctor_command(folder: Folder = None, as_json: AsJson = False) -> None:
    """Look at torch, the compiler, the cache and plug-ins: what works, what is slow, and what to do.

    Exit status 1: something does not work.
    """
    from passprint.cli.checks import all_checks

    checks = list(all_checks(folder))
    if as_json:
        typer.echo(json.dumps({"schema": 1, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        from rich.text import Text

        from passprint.cli.console import console

        out = console()
        for check in checks:
            mark, colour = _MARKS[check.status]
            out.print(Text.assemble((mark, colour), f" {check.subject}: ", check.found), soft_wrap=True)
            if check.advice:
                out.print(f"    {check.advice}", soft_wrap=True)
    if any(check.status == "off" for check in checks):
        raise typer.Exit(1)
