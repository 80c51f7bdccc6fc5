"""A headless Chromium for tests of pages: Debian's, driven by playwright. Neither is needed by anything else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Where a Chromium is: ``$CHROMIUM``, or on the path; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def why_not() -> str | None:
    """Why no page can be looked at here, and what to install; None where one can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ModuleNotFoundError:
        return "playwright is not installed: pip install 'passprint[browser]'"
    return (
        None if chromium() else "there is no Chromium: install it (apt-get install chromium) or set CHROMIUM"
    )


def axe() -> str | None:
    """The text of axe-core, which audits accessibility, from the file that ``$AXE`` names; None without one."""
    return Path(os.environ["AXE"]).read_text(encoding="utf-8") if "AXE" in os.environ else None


@contextmanager
def browser() -> Iterator[Browser]:
    """The browser. Its sandbox is off: as root there is none, and it opens nothing but our own pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()
