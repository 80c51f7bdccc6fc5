"""Reports as files: written in the form that the ending says, and read again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from passprint.report.templating import PageError

SCHEMA: Final = 2
"""The version of the document that this room draws."""

_DATA: Final = re.compile(r'<script type="application/json" id="passprint-report">(.*?)</script>', re.DOTALL)


def save(document: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a document: ``.html`` is a page, ``trace.json`` a trace for Perfetto, other ``.json`` the data.

    Raises :class:`PageError` for another ending, and where jinja2 is missing for a page; OSError.
    """
    where = Path(path)
    where.write_text(text_for(document, where.name), encoding="utf-8")


def text_for(document: Mapping[str, Any], name: str) -> str:
    """What a file of this name holds. Raises :class:`PageError` for a name that says no form."""
    if name.endswith((".html", ".htm")):
        from passprint.report.page import page

        return page(document)
    if name.endswith("trace.json"):
        from passprint.report.perfetto import trace

        return json.dumps(trace(document))
    if name.endswith(".json"):
        return json.dumps(document, indent=1)
    raise PageError(
        f"A report cannot be saved as {name!r}. Expected a name that ends in .html (a page), .json (data) or "
        "trace.json (for Perfetto)."
    )


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document in a file that :func:`save` wrote, a page or data. Raises :class:`PageError`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PageError(f"The report {os.fspath(path)} cannot be read: {error}.") from error
    inside = _DATA.search(text)
    try:
        found = json.loads(inside[1] if inside else text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "each_piece" not in found:
        raise PageError(f"{os.fspath(path)} holds no report. Expected a page or JSON that passprint wrote.")
    if found.get("schema") != SCHEMA:
        raise PageError(
            f"{os.fspath(path)} is a report of schema {found.get('schema')!r}; this version of passprint shows schema "
            f"{SCHEMA}. Show it with the version that wrote it."
        )
    return found
