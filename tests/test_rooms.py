"""Imports point one way: from a room only to rooms below it, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import passprint

SOURCES = Path(passprint.__file__).parent

# What each room may import, besides itself and the files that stand in no room (errors, the public names).
ROOMS = {
    "identity": set(),
    "cache": {"identity"},
    "passes": {"identity"},
    "pipeline": {"identity", "passes"},
    "testing": {"identity", "passes", "pipeline"},
    "compiler": {"identity", "passes", "pipeline", "cache"},
    "integrations": {"identity", "passes", "pipeline", "compiler", "cache"},
    "report": {"identity", "passes", "pipeline", "compiler", "integrations"},
    "demo": {"identity", "passes", "pipeline", "compiler", "report"},
    "cli": {"identity", "passes", "pipeline", "compiler", "cache", "integrations", "report", "demo"},
}
COMPILER = {
    "lowering": set(),
    "artifacts": {"lowering"},
    "guards": set(),
    "dependencies": {"lowering", "guards"},
    "pieces": {"lowering", "artifacts", "guards", "dependencies"},
    "start": {"lowering", "artifacts", "guards", "dependencies"},
    "trace": {"lowering", "artifacts", "guards", "dependencies", "pieces", "start"},
}


def imported(file: Path) -> Iterator[str]:
    """The dotted names of passprint that a file imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def crossings(folder: Path, prefix: str, rooms: dict[str, set[str]]) -> list[str]:
    """Imports of one room of a folder from another that it may not import."""
    found = []
    for room, allowed in rooms.items():
        for file in sorted((folder / room).rglob("*.py")):
            for name in imported(file):
                if not name.startswith(prefix):
                    continue
                other = name.removeprefix(prefix).split(".")[0]
                if other in rooms and other != room and other not in allowed:
                    found.append(f"{file.relative_to(folder)} imports {name}")
    return found


@pytest.mark.parametrize(
    ("folder", "prefix", "rooms"),
    [(SOURCES, "passprint.", ROOMS), (SOURCES / "compiler", "passprint.compiler.", COMPILER)],
    ids=["rooms", "compiler"],
)
def test_imports_point_one_way(folder: Path, prefix: str, rooms: dict[str, set[str]]) -> None:
    there = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert there == set(rooms), "a room without a place in the order"
    assert crossings(folder, prefix, rooms) == []


def test_an_import_that_points_back_is_seen(tmp_path: Path) -> None:
    for room in ("low", "high"):
        (tmp_path / room).mkdir()
    (tmp_path / "low" / "a.py").write_text("def f():\n    from p.high import b\n")
    (tmp_path / "high" / "b.py").write_text("import p.low.a\n")
    rooms: dict[str, set[str]] = {"low": set(), "high": {"low"}}
    assert crossings(tmp_path, "p.", rooms) == ["low/a.py imports p.high.b"]
