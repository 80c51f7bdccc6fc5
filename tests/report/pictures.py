"""The pictures of docs/images: ``python -m tests.report.pictures`` makes four reports and takes their pictures."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.report.browser import browser, why_not
from tests.report.real_reports import real_reports

from passprint.report.files import save

IMAGES = Path(__file__).parents[2] / "docs" / "images"
VIEWS = {
    "cold": (1160, "light"),
    "warm": (1160, "dark"),
    "miss": (1160, "light"),
    "bypass": (390, "dark"),
}
"""By report, how wide the window is, and the colours: every look is in one of the pictures."""


def main() -> int:
    reason = why_not()
    if reason is not None:
        print(f"No picture can be taken: {reason}", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as opened:
        for name, document in real_reports(Path(folder)).items():
            page = Path(folder) / f"{name}.html"
            save(document, page)
            width, colours = VIEWS[name]
            tab = opened.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
            tab.goto(page.as_uri())
            tab.screenshot(path=IMAGES / f"report-{name}.png", full_page=True)
            tab.close()
            print(IMAGES / f"report-{name}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
