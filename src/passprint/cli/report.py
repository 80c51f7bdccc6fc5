"""``passprint report``: what the last start did, in the terminal, as a page, or as data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passprint.cli.cache import AsJson, Folder, ago_text, open_folder
from passprint.errors import CacheError

if TYPE_CHECKING:
    from passprint.cache import LocalStore


def report_command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="A report that was saved, .html or .json. Default: the last one."
        ),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Show the last start; the default without FILE.")
    ] = False,
    folder: Folder = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write it there: .html is a page, .json data, trace.json for Perfetto."
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open it as a page in the browser.")] = False,
    as_json: AsJson = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Show two reports side by side."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the reports that are kept.")] = False,
) -> None:
    """Show what a start did: loaded or compiled, why, and what it cost.

    The reports of the last starts are kept beside the cache that they used.
    """
    if sum([file is not None, last, compare is not None, listed]) > 1:
        raise typer.BadParameter("FILE, --last, --list and --compare exclude each other. Give one of them.")
    if listed:
        _list(open_folder(folder), as_json=as_json)
    elif compare is not None:
        _compare(*compare, out=out, open_page=open_page, as_json=as_json)
    else:
        _show(_document(file, folder), out=out, open_page=open_page, as_json=as_json)


def _document(file: Path | None, folder: Path | None) -> dict[str, Any]:
    """The document of a file, or of the newest report that is kept, with what the store knows of it."""
    from passprint.report.files import read

    if file is not None:
        return read(file)
    from passprint.compiler.details import document
    from passprint.compiler.kept_reports import kept

    store = open_folder(folder)
    reports = kept(Path(store.root))
    if not reports:
        raise CacheError(
            f"No report is kept in {store.root}: nothing was compiled or loaded with this cache. Run a model with "
            "passprint.compile first, or give the folder of its cache with --dir."
        )
    return document(read(reports[0]), store)


def _show(report: dict[str, Any], *, out: Path | None, open_page: bool, as_json: bool) -> None:
    from passprint.report.files import save

    if as_json:
        typer.echo(json.dumps(report, indent=1))
    if out is not None:
        save(report, out)
    if open_page:
        from passprint.report.page import page

        _open(page(report), report["name"])
    if as_json or out is not None or open_page:
        return
    from passprint.cli.console import console
    from passprint.report.terminal import report_table

    console().print(report_table(report))


def _compare(a: Path, b: Path, *, out: Path | None, open_page: bool, as_json: bool) -> None:
    from passprint.report.compared import changed_pieces, compared, compared_page
    from passprint.report.files import read

    before, after = read(a), read(b)
    if as_json:
        changed = [
            {"label": label, "before": old, "after": new} for label, old, new in changed_pieces(before, after)
        ]
        typer.echo(
            json.dumps({"schema": 1, "before": before, "after": after, "changed_pieces": changed}, indent=1)
        )
    if out is not None:
        out.write_text(compared_page(before, after), encoding="utf-8")
    if open_page:
        _open(compared_page(before, after), "compared")
    if as_json or out is not None or open_page:
        return
    from passprint.cli.console import console
    from passprint.report.terminal import comparison_table

    console().print(comparison_table(compared(before, after)))


def _list(store: LocalStore, *, as_json: bool) -> None:
    from passprint.cli.console import console
    from passprint.compiler.kept_reports import kept
    from passprint.report.files import read
    from passprint.report.headline import headline

    found = [(path, read(path)) for path in kept(Path(store.root))]
    if as_json:
        rows = [{"path": str(path), "began": one["began"], "status": one["status"]} for path, one in found]
        typer.echo(json.dumps({"schema": 1, "reports": rows}, indent=1))
        return
    for path, one in found:
        console().print(
            f"{ago_text(one['began'])}  {one['process']['program']}: {headline(one)}", soft_wrap=True
        )
        console().print(f"    {path}", soft_wrap=True)
    if not found:
        console().print(f"No report is kept in {store.root}.", soft_wrap=True)


def _open(page: str, name: str) -> None:
    """Write a page to a folder of its own that only the user can read, and open it in the browser."""
    import tempfile
    import webbrowser

    path = Path(tempfile.mkdtemp(prefix="passprint-")) / f"{os.path.basename(name)}.html"
    path.write_text(page, encoding="utf-8")
    webbrowser.open(path.as_uri())
    typer.echo(str(path))
