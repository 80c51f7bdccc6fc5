"""``passprint cache``: what the store holds, and looking after it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passprint.errors import CacheError
from passprint.report.format import size as size_text
from passprint.wording import many

if TYPE_CHECKING:
    from passprint.cache import LocalStore, Row, Stats, Swept

cache_app = typer.Typer(
    help="Look at the cache of compiled artifacts, and look after it.", no_args_is_help=True
)

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="The cache folder. Default: PASSPRINT_CACHE_DIR, or your cache folder."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--signing-key", metavar="FILE", help="A secret of 32 bytes or more. Default: PASSPRINT_SIGNING_KEY."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_TITLES = {
    "hit": "hits",
    "miss": "misses",
    "bypass": "bypasses",
    "store": "stored",
    "fail": "not stored",
}


@cache_app.command()
def stats(
    folder: Folder = None,
    as_json: AsJson = False,
    reset: Annotated[bool, typer.Option("--reset", help="Then set all counts to zero.")] = False,
) -> None:
    """Show what is held, and how often it was found, with the reasons."""
    store = open_folder(folder)
    found = store.stats()
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print_stats(found)
    if reset:
        store.counters.reset()


@cache_app.command()
def ls(
    folder: Folder = None,
    as_json: AsJson = False,
    first: Annotated[int, typer.Option("--first", "-n", min=0, help="Show so many rows; 0 shows all.")] = 30,
) -> None:
    """List the entries, the most recently used first; what an entry needs stands below it."""
    from passprint.cache.moving import needs

    store = open_folder(folder)
    rows = store.ls()
    if as_json:
        shown = rows[:first] if first else rows
        typer.echo(json.dumps([asdict(row) for row in shown], indent=2))
        return
    below = {digest for row in rows for digest in needs(row.meta)}
    top = [row for row in rows if needs(row.meta) or row.digest not in below]
    _print_entries(f"{many(len(rows), 'entry')} in {store.root}", top, rows, first)


@cache_app.command()
def gc(
    folder: Folder = None,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", help="Keep at most this much, as 500M or 2G (0: no limit). Default: the cache's."
        ),
    ] = None,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="URL", help="Sweep this remote instead of the folder.")
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", help="Of a remote: remove what was not used for so long, as 30d or 12h."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove garbage, and the least recently used entries above the size limit.

    Of a remote, nothing goes that was written in the last hour, and nothing by size without --limit.
    """
    from passprint.cache.limits import parse_age, parse_size

    if remote is not None:
        from passprint.cache.remotes.spec import RemoteSpec
        from passprint.cache.remotes.sweeping import sweep
        from passprint.cache.remotes.tier import Tier

        size = parse_size(limit) if limit is not None else 0
        swept = sweep(Tier(RemoteSpec.parse(remote)), size or None, parse_age(max_age) if max_age else None)
        told = (
            f"Removed {many(swept.entries, 'entry')} and {many(swept.objects, 'object')} "
            f"({size_text(swept.bytes)}); {many(swept.left_entries, 'entry')} ({size_text(swept.left_bytes)}) left."
        )
        typer.echo(json.dumps(swept._asdict(), indent=2) if as_json else told)
        return
    if max_age is not None:
        raise CacheError(
            f"--max-age got {max_age!r} without a remote. Expected --remote URL with it, or --limit alone."
        )
    _print_swept(open_folder(folder).gc(parse_size(limit) if limit is not None else None), as_json=as_json)


@cache_app.command()
def verify(
    folder: Folder = None,
    as_json: AsJson = False,
    repair: Annotated[bool, typer.Option("--repair", help="Remove what is damaged.")] = False,
) -> None:
    """Read and check every entry. The exit status is 1 when something is damaged and was left."""
    from rich.text import Text

    from passprint.cli.console import console

    result = open_folder(folder).verify(repair=repair)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
    else:
        out = console()
        for problem in result.problems:
            done = " (removed)" if repair else ""
            out.print(
                Text.assemble(("damaged  ", "bold red"), f"{problem.digest}: {problem.reason}{done}"),
                soft_wrap=True,
            )
        extra = f", {result.unknown_format} of another format" if result.unknown_format else ""
        extra += f", {many(result.orphans, 'object')} that no entry names" if result.orphans else ""
        out.print(f"Whole: {many(result.entries, 'entry')} and {many(result.objects, 'object')}{extra}.")
    if result.problems and not repair:
        raise typer.Exit(1)


@cache_app.command()
def clear(folder: Folder = None, as_json: AsJson = False) -> None:
    """Remove all entries but those that a running process holds."""
    _print_swept(open_folder(folder).clear(), as_json=as_json)


@cache_app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    folder: Folder = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="PREFIX", help="Only entries whose key begins so (repeatable)."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Only what `ls` shows under this name (repeatable)."),
    ] = None,
    signing_key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Write entries, kernels and all, to one file for another machine. What an entry needs comes along.

    With a signing key the file is signed, and a machine with the same key takes no other.
    """
    from rich.text import Text

    from passprint.cli.console import console

    store = open_folder(folder)
    done = store.export_to(file, keys=key or (), labels=model or (), key_file=signing_key)
    if as_json:
        typer.echo(json.dumps(done._asdict(), indent=2))
        return
    out = console()
    if not done.entries:
        out.print(Text(f"{store.root} holds no entry: the archive is empty.", style="yellow"), soft_wrap=True)
    out.print(
        f"Wrote {many(done.entries, 'entry')} and {many(done.objects, 'object')} "
        f"({size_text(done.bytes)}) to {file}.",
        soft_wrap=True,
    )
    out.print(
        Text(f"sha256 {done.sha256}, {'signed' if done.signed else 'not signed'}", style="dim"),
        soft_wrap=True,
    )
    if done.left_out:
        out.print(f"Left out {many(done.left_out, 'entry')}: damaged, or of another format.", style="yellow")


@cache_app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by `passprint cache export`.")],
    folder: Folder = None,
    signing_key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring in what was exported elsewhere, beside what is there.

    The file holds code that will be run: import only what you trust. All of it is checked before anything is
    written; a file that is not whole changes nothing. With a signing key, neither does one that is not signed with it.
    """
    from rich.text import Text

    from passprint.cli.console import console

    store = open_folder(folder, make=True)
    done = store.import_from(file, key_file=signing_key)
    if as_json:
        typer.echo(json.dumps(done._asdict(), indent=2))
        return
    out = console()
    for (kind, label), count in Counter(done.entries).items():
        times = f" ×{count}" if count > 1 else ""
        out.print(Text.assemble(("  + ", "green"), (f"{kind} ", "dim"), f"{label}{times}"), soft_wrap=True)
    out.print(
        f"Brought {many(len(done.entries), 'entry')} and {many(done.objects, 'object')} "
        f"({size_text(done.bytes)}) to {store.root}.",
        soft_wrap=True,
    )
    told = {
        "checked": "the signature is right",
        "not checked": "signed, but not checked: there is no signing key here",
        "none": "not signed: compare this sum with the one that the export printed",
    }
    out.print(Text(f"sha256 {done.sha256}, {told[done.signature]}", style="dim"), soft_wrap=True)
    if done.present:
        out.print(f"{many(done.present, 'entry')} there already.", style="dim")


def open_folder(folder: Path | None, *, make: bool = False) -> LocalStore:
    """The store that the option ``--dir`` means. Only with ``make`` is it made where it is absent."""
    from passprint.cache import LocalStore

    return LocalStore(folder, make=make)


def _print_entries(title: str, top: Sequence[Row], rows: Sequence[Row], first: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from passprint.cache.moving import needs
    from passprint.cli.console import console

    if not rows:
        console().print(Text(title, style="bold"))
        return
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column("of", overflow="fold")
    table.add_column("kind", style="dim", no_wrap=True)
    table.add_column("key", style="cyan", no_wrap=True)
    for name in ("files", "size", "stored", "used"):
        table.add_column(name, justify="right", no_wrap=True)
    by_digest = {row.digest: row for row in rows}

    def add(row: Row, lead: str, style: str, times: int = 1) -> None:
        label = Text.assemble((lead, "dim"), (str(row.meta.get("label", "")), style))
        label.append(f" ×{times}" if times > 1 else "", "dim")
        pieces = row.meta.get("pieces")
        label.append(f" {many(pieces, 'piece')}" if isinstance(pieces, int) else "", "dim")
        kind = " ".join(str(part) for part in (row.kind, row.meta.get("form", "")) if part)
        ages = [ago_text(row.created), ago_text(row.used)]
        table.add_row(label, kind, row.digest[:16], str(row.files), size_text(row.bytes), *ages)

    for row in top[:first] if first else top:
        needed = Counter(map(str, row.meta["pieces"])) if needs(row.meta) else Counter[str]()
        add(row, "", "bold" if needed else "")
        for number, (digest, times) in enumerate(needed.items(), 1):
            lead = "└ " if number == len(needed) else "├ "
            if digest in by_digest:
                add(by_digest[digest], lead, "", times)
            else:
                table.add_row(Text.assemble((lead, "dim"), ("gone", "red")), "", digest[:16], *[""] * 4)
    out = console()
    out.print(table)
    if first and len(top) > first:
        out.print(f"and {len(top) - first} more (--first 0 shows all)", style="dim")


def _print_stats(found: Stats) -> None:
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from passprint.cli.console import console

    held = Table.grid(padding=(0, 2))
    held.add_column(style="dim", min_width=10)
    held.add_column(justify="right", min_width=8)
    held.add_column()
    held.add_row("entries", f"{found.entries:,}")
    held.add_row("objects", f"{found.objects:,}")
    if found.limit_bytes:
        bar = ProgressBar(total=found.limit_bytes, completed=min(found.bytes, found.limit_bytes), width=20)
        held.add_row("size", size_text(found.bytes), Group(bar))
        held.add_row("limit", size_text(found.limit_bytes), f"{found.bytes / found.limit_bytes:.1%} used")
    else:
        held.add_row("size", size_text(found.bytes), "no limit")
    asked = found.hits + found.misses
    held.add_row("hit rate", f"{found.hits / asked:.1%}" if asked else "–", f"of {asked:,} lookups")

    counts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    counts.add_column(style="dim", min_width=10)
    counts.add_column(justify="right", min_width=8)
    counts.add_column(overflow="fold")
    styles = {"hit": "green", "miss": "yellow", "bypass": "magenta", "store": "", "fail": "red"}
    for kind, title in _TITLES.items():
        reasons: Mapping[str, int] = next((by for of, by in found.counts.items() if of == kind), {})
        total = sum(reasons.values())
        counts.add_row(title, Text(f"{total:,}", style=styles[kind] if total else "dim"), "")
        for reason, count in reasons.items():
            if reason:
                counts.add_row("", Text(f"{count:,}", style="dim"), Text(reason, style="dim"))
    body = Group(held, Text(), counts)
    console().print(
        Panel(body, title=Text(f"cache {found.place}"), title_align="left", expand=False, padding=(1, 2))
    )


def _print_swept(swept: Swept, *, as_json: bool) -> None:
    from passprint.cli.console import console

    if as_json:
        typer.echo(json.dumps(asdict(swept), indent=2))
        return
    out = console()
    out.print(
        f"Removed {many(swept.entries, 'entry')} and {many(swept.objects, 'object')} ({size_text(swept.bytes)}); "
        f"{size_text(swept.left_bytes)} left."
    )
    if swept.in_use:
        out.print(f"Kept {many(swept.in_use, 'entry')} that a running process uses.", style="yellow")


def ago_text(moment: float) -> str:
    """How long ago a moment (seconds since 1970) is: ``3 min ago``."""
    seconds = max(0.0, time.time() - moment)
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"
