"""``passprint explain``: why something was compiled, down to the function and the changed lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from passprint.cli.cache import AsJson, Folder, ago_text, open_folder
from passprint.errors import CacheError
from passprint.wording import many

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from passprint.cache import LocalStore, Miss
    from passprint.cache.miss import Noted
    from passprint.identity import Change

_LINE_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def explain_command(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY]", help="The first digits of a key, as `passprint cache ls` shows them."
        ),
    ] = None,
    folder: Folder = None,
    as_json: AsJson = False,
    runs: Annotated[
        int, typer.Option("--runs", "-n", min=0, help="Without KEY: of so many processes; 0 shows all.")
    ] = 1,
) -> None:
    """Say why something was compiled and not loaded: what differs from the nearest that is stored.

    Without KEY: every miss and bypass of the last process that had one.
    """
    from passprint.cli.console import console

    store = open_folder(folder)
    noted = _of_key(store, key) if key is not None else _of_runs(store, runs)
    if as_json:
        typer.echo(json.dumps({"schema": 1, "misses": [one.to_dict() for one in noted]}, indent=1))
        return
    out = console()
    if not noted:
        out.print(
            f"No miss is remembered in {store.root}: nothing was compiled with this cache.", soft_wrap=True
        )
    for run, of_run in groupby(noted, key=lambda one: one.run):
        _print_run(out, run, list(of_run))


def _of_runs(store: LocalStore, runs: int) -> list[Noted]:
    """What the last ``runs`` processes noted, the oldest first; 0: all."""
    noted = store.journal.read()
    names = list(dict.fromkeys(one.run for one in reversed(noted)))
    chosen = set(names[:runs] if runs else names)
    return sorted((one for one in noted if one.run in chosen), key=lambda one: -names.index(one.run))


def _of_key(store: LocalStore, prefix: str) -> list[Noted]:
    """What is known of the keys that begin so: what was noted last, or a comparison of what is stored."""
    from passprint.cache import explain_miss
    from passprint.cache.miss import Noted

    prefix = prefix.lower()
    latest = {one.miss.key: one for one in store.journal.read() if prefix and one.miss.key.startswith(prefix)}
    if latest:
        return list(latest.values())
    found = []
    for entry in store.entries():
        entry.close()
        if prefix and entry.digest.startswith(prefix):
            miss = explain_miss(store, entry.key, str(entry.meta.get("label", "")))
            if not miss.nearest:
                miss = replace(miss, reason="it is stored, and there is no entry like it to compare it with")
            found.append(Noted(miss, entry.created, "", ""))
    if not found:
        raise CacheError(
            f"No entry and no miss that is remembered has a key that begins with {prefix!r}. "
            f"`passprint cache ls` lists the entries, `passprint explain --runs 0` the misses."
        )
    return found


def _print_run(out: Console, run: str, noted: list[Noted]) -> None:
    from rich.text import Text

    if run:
        program, process = noted[-1].program, run.partition("-")[0]
        misses = sum(one.miss.kind != "bypass" for one in noted)
        counted = [many(misses, "miss")] if misses else []
        counted += [many(len(noted) - misses, "bypass")] if misses < len(noted) else []
        head = f"{', '.join(counted)} of {program} (process {process}), {ago_text(noted[-1].at)}"
    else:
        head = f"stored {ago_text(noted[-1].at)}; nothing is remembered of why it was compiled"
    out.print(Text(head, style="bold"), soft_wrap=True)
    for same in _alike([one.miss for one in noted]):
        out.print()
        _print_miss(out, same)


def _alike(misses: Iterable[Miss]) -> Iterator[list[Miss]]:
    """Misses with the same reason and the same changes, together."""
    groups: dict[object, list[Miss]] = {}
    for miss in misses:
        groups.setdefault((miss.kind, miss.reason, miss.changes), []).append(miss)
    return iter(groups.values())


def _print_miss(out: Console, same: list[Miss]) -> None:
    from rich.text import Text

    first = same[0]
    title = Text.assemble((f"{first.kind} ", "magenta" if first.kind == "bypass" else "yellow"))
    for number, miss in enumerate(same):
        title.append(", " if number else "").append(miss.label or "?").append(f" {miss.key[:16]}", "cyan")
    out.print(title, soft_wrap=True)
    lines = [Text(f"  {first.reason}")]
    if first.detail:
        lines += [Text(f"    {words}") for words in first.detail.split("; ")]
    for change in first.changes if not first.detail else ():
        lines += [Text("    ").append(_shown(change)), *_lines(change.lines or "")]
    if first.nearest:
        lines.append(Text(f"  compared with entry {first.nearest[:16]}", style="dim"))
    for line in lines:
        out.print(line, soft_wrap=True)


def _shown(change: Change) -> Text:
    from rich.text import Text

    from passprint.cache.miss import change_text

    place, _, what = change_text(change).rpartition(": ") if change.lines else ("", "", change_text(change))
    return Text.assemble((place, "bold"), f": {what}") if place else Text(what)


def _lines(diff: str) -> list[Text]:
    """A unified diff in its colours, without the two lines that name the files."""
    from rich.text import Text

    rows = [row for row in diff.splitlines() if not row.startswith(("--- ", "+++ "))]
    return [Text(f"      {row}", style=_LINE_STYLES.get(row[:1], "dim")) for row in rows]
