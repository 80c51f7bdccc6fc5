"""jinja2, set up so that everything in a template is text unless the template itself says otherwise."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from passprint.errors import PassprintError
from passprint.report import format as figures
from passprint.wording import many

if TYPE_CHECKING:
    from jinja2 import Environment


class PageError(PassprintError):
    """A page cannot be made or read."""


@cache
def environment() -> Environment:
    """The templates of this room. Raises :class:`PageError` where jinja2 is missing."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise PageError(
            "A page needs jinja2, which is not installed here. Install it: pip install 'passprint[report]'. "
            "The same as data needs nothing: report.save('report.json'), passprint report --json."
        ) from error
    made = Environment(
        loader=PackageLoader("passprint.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=figures.duration,
        count=figures.count,
        share=figures.share,
        size=figures.size,
        many=many,
        script_json=script_json,
    )
    return made


def script_json(data: Any) -> Any:
    """Data as JSON that may stand in a ``<script>``: no text in it can end the element or begin a comment."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
