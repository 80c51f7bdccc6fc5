"""``PASSPRINT_COMPILE_WORKERS``: distinct pieces are compiled in processes beside this one; nothing else differs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.compiler.models import inputs, stack
from tests.compiler.processes import in_new_process

import passprint
from passprint.cache import LocalStore
from passprint.compiler.pieces import workers
from passprint.instruments import Statistics

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

NEG = torch.ops.aten.neg.default


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setenv(workers.VARIABLE, "2")
    torch.compiler.reset()


class WriteProcess(passprint.InductorPass):
    """Writes down which process it runs in; outside ``home`` it may end badly."""

    folder: str
    home: int
    elsewhere: str = "goes on"

    def __call__(self, graph: torch.fx.Graph) -> None:
        Path(self.folder, f"{os.getpid()}-{len(graph.nodes)}").touch()
        if os.getpid() != self.home and self.elsewhere == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.getpid() != self.home and self.elsewhere == "raises":
            raise ValueError("not here")


def start(
    tmp_path: Path, *, instruments: Any = (), cached: bool = True, **options: Any
) -> tuple[passprint.CompileReport, set[int]]:
    """Compile a model of two distinct pieces; the report, and the processes in which passes ran."""
    folder = tmp_path / "processes"
    folder.mkdir(exist_ok=True)
    pass_ = WriteProcess(folder=str(folder), home=os.getpid(), **options)
    manager = passprint.PassManager([pass_], instruments=instruments)
    model, x = stack(3), inputs()
    compiled = passprint.compile(
        model, passes=manager, cache=tmp_path / "cache" if cached else False, dynamic={"x": (0,)}
    )
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
        torch.testing.assert_close(compiled(inputs(7)), model(inputs(7)))
    return compiled.report, {int(path.name.partition("-")[0]) for path in folder.iterdir()}


def test_pieces_are_compiled_beside_this_process(tmp_path: Path) -> None:
    report, processes = start(tmp_path)
    assert len(processes) == 2
    assert os.getpid() in processes
    assert [piece.origin for piece in report.pieces_seen] == ["compiled", "memory", "memory", "compiled"]
    assert report.status == "cold"
    assert [miss.kind for miss in report.misses] == ["model", "piece", "piece"]
    stats = LocalStore(tmp_path / "cache").stats()
    assert (stats.hits, stats.misses, stats.stores, stats.bypasses) == (
        0,
        3,
        4,
        0,
    )  # with the program and its list


def test_the_next_process_starts_warm(tmp_path: Path) -> None:
    body = f"""
compiled = passprint.compile(stack(3), cache={str(tmp_path / "cache")!r})
with torch.no_grad():
    result = compiled(inputs())
print(json.dumps([compiled.report.status, compiled.report.traced, result.tolist(), stack(3)(inputs()).tolist()]))
"""
    cold, warm = in_new_process(tmp_path, body), in_new_process(tmp_path, body)
    assert (cold[0], warm[0], warm[1]) == ("cold", "warm", 0)
    assert cold[2] == warm[2]
    torch.testing.assert_close(torch.tensor(warm[2]), torch.tensor(warm[3]))


@pytest.mark.parametrize(("end", "told"), [("is killed", "was killed by signal 9"), ("raises", "failed")])
def test_what_fails_elsewhere_is_compiled_here(tmp_path: Path, end: str, told: str) -> None:
    report, processes = start(tmp_path, elsewhere=end)
    assert len(processes) == 2
    assert [piece.origin for piece in report.pieces_seen] == ["compiled", "memory", "memory", "compiled"]
    assert any(f"beside this one {told}" in note for note in report.notes)
    assert [miss.kind for miss in report.misses].count("piece") == 2  # each is told once


@pytest.mark.parametrize("how", ["an instrument", "a limit", "no store", "one process", "nobody asks"])
def test_all_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "a limit":
        monkeypatch.setenv("PASSPRINT_LIMIT", "17")
    if how == "one process":
        monkeypatch.setenv(workers.VARIABLE, "0")
    if how == "nobody asks":
        monkeypatch.delenv(workers.VARIABLE)
    instruments = [Statistics(stream=None)] if how == "an instrument" else ()
    _, processes = start(tmp_path, instruments=instruments, cached=how != "no store")
    assert processes == {os.getpid()}


def test_the_number_of_processes_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.VARIABLE, "many")
    with pytest.raises(passprint.CompileError, match=r"PASSPRINT_COMPILE_WORKERS='many' is no number"):
        start(tmp_path)


@given(sizes=st.dictionaries(st.integers(), st.integers(1, 1000)), parts=st.integers(1, 9))
def test_shares_are_fair(sizes: dict[int, int], parts: int) -> None:
    found = workers.shares(sizes, parts)
    assert sorted(item for part in found for item in part) == sorted(sizes)
    assert len(found) == min(parts, len(sizes))
    assert all(found)
    loads = [sum(sizes[item] for item in part) for part in found]
    assert loads == sorted(loads, reverse=True)
    assert not loads or loads[0] - loads[-1] <= max(sizes.values())
