"""The pytest plug-in: the fixture ``check_pass``, and pipelines verified in every test.

``check_pass`` is `passprint.testing.check_pass` with ``golden=True`` allowed: the golden file is then
``goldens/<test name>.txt`` beside the test. ``PASSPRINT_UPDATE_GOLDENS=1`` writes golden files.

The setting ``passprint_instruments`` (in ``pyproject.toml`` or ``pytest.ini``) names the instruments that watch every
pipeline that a test runs; ``verify`` unless it is set, and none where it is empty. The environment's
``PASSPRINT_INSTRUMENTS`` comes first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_VARIABLE = "PASSPRINT_INSTRUMENTS"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "passprint_instruments", "Instruments that watch every pipeline in tests.", default="verify"
    )


@pytest.fixture(autouse=True)
def _passprint_instruments(request: pytest.FixtureRequest) -> Iterator[None]:
    chosen = request.config.getini("passprint_instruments")
    if not chosen or _VARIABLE in os.environ:
        yield
        return
    os.environ[_VARIABLE] = str(chosen)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


@pytest.fixture
def check_pass(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`passprint.testing.check_pass`; ``golden=True`` stands for the file of this test."""
    from passprint.testing import check_pass as check

    def checked(*args: Any, golden: bool | str | Path | None = None, **options: Any) -> Any:
        __tracebackhide__ = True
        path: str | Path | None
        if golden is True:
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name).strip("-")
            path = request.path.parent / "goldens" / f"{name}.txt"
        else:
            path = golden or None
        return check(*args, golden=path, **options)

    return checked
