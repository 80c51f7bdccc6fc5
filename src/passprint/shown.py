"""The way from an object to how it is shown: the report room is loaded, by name, when something is to be shown.

Objects of all rooms have ``save`` and ``_repr_html_``; no room below ``report`` imports it.
"""

from __future__ import annotations

import importlib

from passprint.errors import PassprintError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any

    from passprint.compiler import CompileReport

MOST_PAGES = 50
"""So many pages are kept in the folder that ``PASSPRINT_REPORT`` names."""


class ReportWarning(UserWarning):
    """A page that was asked for cannot be written."""


def save(document: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a report's document to a file, in the form that its ending says.

    Raises :class:`passprint.PassprintError` for an ending without a form; OSError where the file cannot be written.
    """
    importlib.import_module("passprint.report.files").save(document, path)


def snippet(kind: str, form: Any) -> str | None:
    """A small piece of HTML for a notebook; None where jinja2 is missing, so that the notebook shows the text."""
    try:
        html: str = importlib.import_module("passprint.report.snippets").snippet(kind, form)
    except PassprintError:
        return None
    return html


def keep_page(report: CompileReport, folder: str) -> None:
    """Write a compile's page into ``folder``, and remove the oldest beyond `MOST_PAGES`. Warns where it cannot."""
    import json
    import warnings
    from pathlib import Path

    from passprint.compiler.kept_reports import write_bounded

    try:
        page = importlib.import_module("passprint.report.page").page(json.loads(report.to_json()))
        where = Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        write_bounded(where, f"{report.name}.html", page, MOST_PAGES)
    except (PassprintError, OSError) as error:
        warnings.warn(f"PASSPRINT_REPORT={folder}: no page was written: {error}", ReportWarning, stacklevel=2)
