"""``passprint fingerprint`` and ``passprint diff``: what code is, and what differs between two identities."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from passprint.cli.console import console
from passprint.errors import PassprintError
from passprint.identity import Fingerprint, fingerprint, keep_sources


class NotFoundError(PassprintError):
    """What a command was asked for is not there."""


def fingerprint_command(
    target: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="For example json:dumps.")],
    tree: Annotated[bool, typer.Option("--tree", help="Show the named parts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for `passprint diff`.")] = False,
    sources: Annotated[bool, typer.Option("--sources", help="Keep sources, for diffs by line.")] = False,
    first_party: Annotated[
        list[str] | None,
        typer.Option("--first-party", metavar="NAME", help="A package whose content counts (repeatable)."),
    ] = None,
) -> None:
    """Print the identity of a function, class, object or module.

    Exit status 1: something that it reaches cannot be identified; the paths are listed.
    """
    obj = _find(target)
    packages = first_party or ()
    if sources:
        found = keep_sources(obj, first_party=packages)
    else:
        found = fingerprint(obj, strict=False, first_party=packages)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    elif tree:
        console().print(found.tree())
    else:
        typer.echo(found.digest)
    for path in found.opaque:
        typer.echo(f"cannot be identified: {path}", err=True)
    if found.opaque:
        raise typer.Exit(1)


def diff_command(
    older: Annotated[Path, typer.Argument(metavar="OLD.json", help="Written by `fingerprint --json`.")],
    newer: Annotated[Path, typer.Argument(metavar="NEW.json", help="Written by `fingerprint --json`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what was added, removed and changed between two identities.

    Exit status 1: they differ.
    """
    changes = _read(newer).diff(_read(older))
    if as_json:
        typer.echo(json.dumps({"schema": 1, "changes": [change.to_dict() for change in changes]}, indent=1))
    else:
        for change in changes:
            typer.echo(str(change))
            for line in (change.lines or "").splitlines():
                typer.echo(f"    {line}")
        if not changes:
            typer.echo("No difference.")
    if changes:
        raise typer.Exit(1)


def _find(target: str) -> Any:
    """The object that ``MODULE:NAME`` names; ``MODULE`` alone is the module."""
    module_name, _, path = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise NotFoundError(
            f"{module_name!r} cannot be imported ({error}). Give MODULE:NAME, with a module that Python finds "
            "from this folder."
        ) from error
    for name in path.split(".") if path else ():
        try:
            value = getattr(value, name)
        except AttributeError as error:
            raise NotFoundError(f"{target!r}: {error}. Give a name that is there.") from error
    return value


def _read(path: Path) -> Fingerprint:
    try:
        return Fingerprint.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFoundError(
            f"{path} is no fingerprint ({error}). Write one with `passprint fingerprint MODULE:NAME --json`."
        ) from error
