"""Small pieces of HTML for notebooks, in the page's look: reports, fingerprints, diffs, pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from passprint.report.headline import headline
from passprint.report.keys import beside, diff_lines
from passprint.report.templating import environment

MOST_CHANGES = 30
MOST_PARTS = 300


def snippet(kind: str, form: Any) -> str:
    """The HTML of an object's plain data; ``kind`` is one of `KINDS`.

    Raises :class:`PageError` where jinja2 is missing.
    """
    return environment().get_template(f"snippet_{kind}.html.j2").render(**KINDS[kind](form))


def _report(form: Mapping[str, Any]) -> dict[str, Any]:
    return {"report": form, "headline": headline(form)}


def _fingerprint(form: Mapping[str, Any]) -> dict[str, Any]:
    root = _shortened(form["root"], [MOST_PARTS])
    return {"digest": form["digest"], "opaque": form["opaque"], "tree": beside(root, root)}


def _diff(form: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown = [{**change, "lines": diff_lines(change.get("lines") or "")} for change in form[:MOST_CHANGES]]
    return {"changes": shown, "more": len(form) - len(shown), "count": len(form)}


def _pipeline(form: Mapping[str, Any]) -> dict[str, Any]:
    return dict(form)


KINDS: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "report": _report,
    "fingerprint": _fingerprint,
    "diff": _diff,
    "pipeline": _pipeline,
}


def _shortened(part: Mapping[str, Any], left: list[int]) -> dict[str, Any]:
    """A part of a fingerprint with as many of the parts below it as ``left`` has room for."""
    left[0] -= 1
    children = []
    for child in part.get("children", ()):
        if left[0] <= 0:
            break
        children.append(_shortened(child, left))
    more = len(part.get("children", ())) - len(children)
    return {**part, "text": (part.get("text") or "")[:200], "children": children, "more": more}
