"""``passprint trust`` and ``passprint key``: whose entries of a shared cache this machine takes, and keys to sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from passprint.cache.trust import PublicKey

trust_app = typer.Typer(help="Whose entries of a shared cache this machine takes.", no_args_is_help=True)
key_app = typer.Typer(help="Keys that sign entries of a shared cache.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of a trusted key.")]


@trust_app.command("add")
def add_command(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A line that `key new` printed, or a file of it.")
    ],
) -> None:
    """Trust a public key: entries that it signed are loaded, and what is loaded is run."""
    from passprint.cache.trust import TrustedKeys

    keys = TrustedKeys()
    added = keys.add(key)
    typer.echo(f"Trusted: {added.name} ({added.hex[:16]}…), in {keys.path}")


@trust_app.command("list")
def list_command() -> None:
    """Show the trusted keys."""
    from passprint.cache.trust import TrustedKeys

    keys = TrustedKeys()
    for key in keys:
        typer.echo(_shown(key))
    if not keys:
        typer.echo(f"No key is trusted ({keys.path}).")


@trust_app.command("remove")
def remove_command(name: Name) -> None:
    """Forget a key: what it signed is a miss, signed by an unknown key."""
    from passprint.cache.trust import TrustedKeys

    typer.echo(f"Removed: {TrustedKeys().remove(name).name}")


@trust_app.command("retire")
def retire_command(name: Name) -> None:
    """Keep a key by name and take nothing any more that it signed."""
    from passprint.cache.trust import TrustedKeys

    typer.echo(_shown(TrustedKeys().retire(name)))


@key_app.command("new")
def new_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as ci-2026.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="The file. Default: PASSPRINT_PRIVATE_KEY, or your own."),
    ] = None,
) -> None:
    """Make a key to sign with, and trust it here. Prints the public key, for `passprint trust add` elsewhere."""
    from passprint.cache.trust import TrustedKeys, new_key

    key = new_key(name, to)
    TrustedKeys().add(key.public.line())
    typer.echo(f"Wrote the private key to {key.source}. Keep it secret. The public key:", err=True)
    typer.echo(key.public.line())


def _shown(key: PublicKey) -> str:
    return f"{key.name}  {key.hex}{'  retired' if key.retired else ''}"
