"""``passprint push`` and ``passprint pull``: entries from this machine's folder to a remote, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passprint.cli.cache import Folder, open_folder
from passprint.errors import CacheError
from passprint.report.format import size as size_text
from passprint.wording import many

if TYPE_CHECKING:
    from passprint.cache import TieredStore

Url = Annotated[
    str | None,
    typer.Argument(metavar="[URL]", help="The remote. Default: PASSPRINT_CACHE_REMOTE, or a file's."),
]
Model = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Only what `cache ls` shows under this name (repeatable)."),
]


def push_command(url: Url = None, folder: Folder = None, model: Model = None) -> None:
    """Send what the folder holds to a remote, signed with this machine's key."""
    store = open_tiers(url, folder)
    count = store.push(model or ())
    tiers = store.stats().tiers
    typer.echo(f"Sent {many(count, 'entry')} ({size_text(sum(tier.bytes_sent for tier in tiers))}).")
    _end(store)


def pull_command(url: Url = None, folder: Folder = None, model: Model = None) -> None:
    """Bring what a remote holds, and a trusted key signed, to the folder."""
    store = open_tiers(url, folder)
    count = store.pull(model or ())
    tiers = store.stats().tiers
    typer.echo(f"Brought {many(count, 'entry')} ({size_text(sum(tier.bytes_received for tier in tiers))}).")
    _end(store)


def open_tiers(url: str | None, folder: Path | None) -> TieredStore:
    """The folder with the remote ``url`` behind it, or with those that are configured. Raises ``CacheError``."""
    from passprint.cache import TieredStore
    from passprint.cache.remotes.config import configured
    from passprint.cache.remotes.spec import RemoteSpec

    urls = (url,) if url else configured()
    if not urls:
        raise CacheError(
            "No remote was given. Expected a URL such as s3://bucket/prefix, here or in PASSPRINT_CACHE_REMOTE."
        )
    return TieredStore(open_folder(folder, make=True), [RemoteSpec.parse(one) for one in urls])


def _end(store: TieredStore) -> None:
    """Exit with 1 where a request failed or an entry was refused: a warning has said why."""
    if any(tier.failures or tier.refused or tier.skipped for tier in store.stats().tiers):
        raise typer.Exit(1)
