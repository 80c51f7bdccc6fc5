"""Third-party code counts by distribution and version, the user's by content."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# What is loaded before a test stays when the test is over.
from passprint.identity import Memo, engine, origin
from passprint.identity.origin import Origins

assert engine


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A site-packages folder with one installed distribution."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        del sys.modules[name]


def _install(site: Path, version: str = "1.0", body: str = "return 1", **more: str) -> None:
    for old in site.glob("thirdlib-*"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    (site / "thirdlib.py").write_text(
        f"LIMIT = 5\nTABLE = {{}}\nclass K:\n    def m(self): {body}\ndef f(): {body}\n"
    )
    info = site / f"thirdlib-{version}.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(f"thirdlib.py,,\nthirdlib-{version}.dist-info/RECORD,,\n")
    (info / "METADATA").write_text(f"Name: thirdlib\nVersion: {version}\n")
    for name, text in more.items():
        (info / f"{name}.json").write_text(text)


USE = """
import thirdlib
from thirdlib import K as Kind
class Mine(Kind): pass
def target(): return thirdlib.f(), thirdlib.LIMIT, thirdlib.TABLE, Mine
"""


def _digest(first_party: tuple[str, ...] = ()) -> str | None:
    for name in [name for name in sys.modules if name.startswith("thirdlib")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    scope: dict[str, Any] = {"__name__": "user"}
    exec(USE, scope)
    return Memo(first_party=first_party).digest(scope["target"])


def test_version_counts_and_content_does_not(site: Path) -> None:
    _install(site)
    before = _digest()
    _install(site, body="return 2")
    assert _digest() == before
    _install(site, version="1.1")
    assert _digest() != before


def test_content_counts_where_it_is_made_first_party(site: Path) -> None:
    _install(site)
    before = _digest(("thirdlib",))
    _install(site, version="1.1")
    assert _digest(("thirdlib",)) == before
    _install(site, body="return 2")
    assert _digest(("thirdlib",)) != before


def test_content_counts_for_an_editable_install(site: Path) -> None:
    _install(site, direct_url='{"url": "file:///x", "dir_info": {"editable": true}}')
    before = _digest()
    _install(site, body="return 2", direct_url='{"url": "file:///x", "dir_info": {"editable": true}}')
    assert _digest() != before


def test_content_counts_for_a_file_that_no_distribution_lists(site: Path) -> None:
    (site / "thirdlib.py").write_text("LIMIT = 5\nTABLE = {}\nclass K: pass\ndef f(): return 1\n")
    before = _digest()
    (site / "thirdlib.py").write_text("LIMIT = 5\nTABLE = {}\nclass K: pass\ndef f(): return 1 + 2\n")
    assert _digest() != before


def test_code_put_in_the_place_of_third_party_code_counts(site: Path) -> None:
    _install(site)
    before = _digest()
    scope: dict[str, Any] = {"__name__": "user"}
    exec(USE, scope)
    memo = Memo()
    assert memo.digest(scope["target"]) == before
    scope["thirdlib"].f = lambda: 7
    patched = memo.digest(scope["target"])
    assert patched not in (None, before)
    scope["thirdlib"].LIMIT = 6
    assert memo.digest(scope["target"]) not in (None, before, patched)


def test_the_distribution_whose_name_begins_like_the_package_is_looked_at_first(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "lateralone.py").write_text("def f(): return 1\n")
    for name, files in (
        ("aaa", "aaa.py,,\n"),
        ("lateralone_cpu", "lateralone.py,,\n"),
        ("mmm", "mmm.py,,\n"),
    ):
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info" / "RECORD").write_text(files)
    read: list[str] = []
    really = origin._claims
    monkeypatch.setattr(
        origin, "_claims", lambda folder, top: read.append(Path(folder).name) or really(folder, top)
    )
    importlib.import_module("lateralone")
    assert Origins().of_module("lateralone").label == "lateralone_cpu 1.0"
    assert read == ["lateralone_cpu-1.0.dist-info"]


def test_labels() -> None:
    origins = Origins()
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    assert origins.of_module("json.decoder").label == python
    assert origins.of_module("builtins").label == python
    assert origins.of_module("_io").label == python
    assert str(origins.of_module("hypothesis.strategies").label).startswith("hypothesis ")
    assert origins.of_module("_pytest.fixtures").label == origins.of_module("pytest").label
    assert origins.of_module("__main__").by_content
    assert origins.of_module("no_such_module_anywhere").by_content
    assert origins.of_module("passprint.passes.library.noop_elimination").by_content
    assert origins.of_module("passprint.passes.base").label == origins.of_module("passprint").label
    assert str(origins.of_module("passprint").label).startswith("passprint ")


def test_a_loose_extension_counts_by_its_file(site: Path) -> None:
    origins = Origins()
    import _ctypes

    module = type(sys)("loose_ext")
    module.__file__ = str(site / "loose_ext.so")
    sys.modules["loose_ext"] = module
    (site / "loose_ext.so").write_bytes(b"one")
    one = origins.of_c_module("loose_ext")
    (site / "loose_ext.so").write_bytes(b"two")
    assert one.startswith("file ")
    assert Origins().of_c_module("loose_ext") != one
    assert origins.of_c_module(_ctypes.__name__).startswith(sys.implementation.name)
