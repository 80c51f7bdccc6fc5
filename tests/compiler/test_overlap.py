"""Two tensors that overlap in memory, one of which is written to: plain torch is wrong there, passprint is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import passprint
from passprint.compiler.guards.overlap import Apart, overlapping
from passprint.compiler.trace.backend import OVERLAP


class Writes(nn.Module):
    """Writes to its first argument and to a buffer, and reads the second argument afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("held", torch.zeros(4))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x.add_(1)
        self.held.add_(2)
        return y * 2, torch.sin(x) * 3


Call = tuple[Tensor, Tensor]


def _apart(model: nn.Module) -> Call:
    return torch.arange(4.0), torch.arange(4.0)


def _shifted(model: nn.Module) -> Call:
    memory = torch.arange(12.0)
    return memory[0:4], memory[2:6]


def _shifted_more(model: nn.Module) -> Call:
    memory = torch.arange(12.0)
    return memory[3:7], memory[0:4]


def _a_view(model: nn.Module) -> Call:
    memory = torch.arange(4.0)
    return memory, memory.view(4)


def _of_numpy(model: nn.Module) -> Call:
    """Two storages over the same memory."""
    memory = torch.arange(12.0).numpy()
    return torch.from_numpy(memory[:4]), torch.from_numpy(memory[2:6])


def _a_buffer(model: nn.Module) -> Call:
    """The second argument is memory of a buffer that the model writes to."""
    held: Any = model.held
    return torch.arange(4.0), held.view(4)


def _neighbours(model: nn.Module) -> Call:
    memory = torch.arange(12.0)
    return memory[0:4], memory[4:8]


OVERLAPPING: dict[str, Callable[[nn.Module], Call]] = {
    "shifted": _shifted,
    "shifted by more": _shifted_more,
    "a view of it": _a_view,
    "two storages over one memory": _of_numpy,
    "a buffer of the model": _a_buffer,
}


def check(model: nn.Module, compiled: Any, make: Callable[[nn.Module], Call]) -> None:
    """The results are eager's, and so is what became of arguments and buffers."""
    found = []
    for called in (model, compiled):
        model.held.zero_()
        given = make(model)
        found.append([*called(*given), *given, model.held])
        found[-1] = [tensor.clone() for tensor in found[-1]]
    torch.testing.assert_close(found[1], found[0])


def started(cache: Path | bool) -> tuple[nn.Module, Any]:
    torch._dynamo.reset()
    model = Writes()
    return model, passprint.compile(model, cache=cache, passes="", dynamic=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overlap") / "cache"
    model, compiled = started(folder)
    with torch.no_grad():
        check(model, compiled, _apart)
    assert compiled.report.traced == 1
    return folder


@pytest.mark.parametrize("call", OVERLAPPING)
@pytest.mark.parametrize("first", [True, False], ids=["traced first", "traced later"])
def test_a_cold_start(call: str, first: bool) -> None:
    """Before another call and after it; what is compiled for others is not spoilt."""
    model, compiled = started(False)
    with torch.no_grad():
        if not first:
            check(model, compiled, _apart)
        check(model, compiled, OVERLAPPING[call])
        check(model, compiled, _apart)
        check(model, compiled, OVERLAPPING[call])
    assert len([note for note in compiled.report.notes if "overlap in memory" in note]) == 1


@pytest.mark.parametrize("call", OVERLAPPING)
def test_a_warm_start(cache: Path, call: str) -> None:
    model, compiled = started(cache)
    make = OVERLAPPING[call]
    with torch.no_grad():
        assert "overlap in memory" in (compiled.why_trace(*make(model)) or "")
        for _ in range(3):  # from the second call on a snapshot serves
            check(model, compiled, _apart)
        assert compiled.report.traced == 0
        check(model, compiled, make)
        check(model, compiled, _apart)
        assert (compiled.report.traced, compiled.report.loaded) == (1, 1)
        check(model, compiled, make)
    assert compiled.why_trace(*_apart(model)) is not None, "gradients are on"


def test_neighbours_in_one_memory_are_served(cache: Path) -> None:
    model, compiled = started(cache)
    with torch.no_grad():
        check(model, compiled, _neighbours)
    assert (compiled.report.traced, compiled.report.loaded) == (0, 1)


def test_a_graph_that_writes_nothing_takes_them(tmp_path: Path) -> None:
    def reads(x: Tensor, y: Tensor) -> Tensor:
        return torch.sin(x) + y

    for status in ("cold", "warm"):
        torch._dynamo.reset()
        compiled = passprint.compile(reads, cache=tmp_path / "cache", passes="", dynamic=False)
        with torch.no_grad():
            for make in (_apart, _shifted):
                given = make(nn.Identity())
                torch.testing.assert_close(compiled(*given), reads(*given))
        assert compiled.report.status == status
        assert not [note for note in compiled.report.notes if "overlap" in note]


def test_through_torchs_own_door() -> None:
    torch._dynamo.reset()
    model = Writes()
    options = {"passes": "", "cache": False}
    compiled = torch.compile(model, backend="passprint", options=options, dynamic=False)
    with torch.no_grad():
        for make in (_apart, _shifted, _of_numpy):
            check(model, compiled, make)


class Breaks(nn.Module):
    """Writes to views that were made before a graph break, and reads what they share memory with."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("held", torch.zeros(4))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        left, right = x[:3], x[1:]
        torch._dynamo.graph_break()
        left.mul_(2)
        torch._dynamo.graph_break()
        right.add_(1)
        self.held.add_(x)
        return torch.sin(left) + right, y * 2


@pytest.mark.parametrize("backwards", [False, True], ids=["apart first", "apart last"])
def test_a_model_with_graph_breaks(tmp_path: Path, backwards: bool) -> None:
    """Each part asks for itself, also for views that an earlier part made; no part is left unfinished."""
    torch._dynamo.reset()
    model = Breaks()
    compiled: Any = passprint.compile(model, cache=tmp_path / "cache", passes="", dynamic=False)
    calls = [_apart, *OVERLAPPING.values(), _neighbours]
    with torch.no_grad():
        for make in reversed(calls) if backwards else calls:
            check(model, compiled, make)
    assert compiled.report.graph_breaks
    assert compiled.report.notes.count(OVERLAP) == 1
    for path in (tmp_path / "cache" / "locks").glob("*.lock"):
        FileLock(path).acquire(timeout=0).lock.release()  # another process need not wait for this one


def test_overlap_is_told_exactly() -> None:
    """Against the sets of addresses, for strided views of one memory at random."""
    dice = random.Random(0)
    memory = torch.zeros(400)
    found = {True: 0, False: 0}
    for _ in range(3000):
        strides = dice.choice([(1,), (2,), (5,), (8, 1), (10, 2), (1, 7), (20, 5, 1), (0, 3), (6, 6)])
        one, other = (
            memory.as_strided([dice.randint(1, 4) for _ in strides], strides, dice.randint(0, 40))
            for _ in range(2)
        )
        places = [set((_addresses(view)).flatten().tolist()) for view in (one, other)]
        expected = bool(places[0] & places[1])
        found[expected] += 1
        assert (overlapping([one, other]) is not None) is expected, (one.shape, other.shape, strides)
    assert min(found.values()) > 300


def _addresses(view: Tensor) -> Tensor:
    return torch.arange(400).as_strided(view.shape, view.stride(), view.storage_offset())


def test_what_has_no_memory_overlaps_with_nothing() -> None:
    meta = torch.empty(4, device="meta")
    assert overlapping([meta, meta.view(4), torch.empty(0), torch.empty(0), 3, None]) is None
    once = torch.zeros(3)
    assert overlapping([once, once]) is None


def _view(memory: Tensor, how: tuple[int, int, int]) -> Tensor:
    start, length, step = how
    return memory[start : start + length * step : step]


_VIEWS = st.tuples(st.integers(0, 40), st.integers(0, 6), st.integers(1, 3))


@given(st.lists(st.lists(_VIEWS, min_size=4, max_size=4), min_size=1, max_size=6), st.sets(st.integers(0, 3)))
def test_what_is_asked_at_every_call_is_what_is_asked_once(
    calls: list[list[tuple[int, int, int]]], varying: set[int]
) -> None:
    """``Apart`` looks only at what has moved; the same kinds of tensors come at each call, some of them elsewhere."""
    memory, kinds = torch.zeros(64), calls[0]
    apart = Apart(varying)
    for call in calls:
        given_views = []
        for place, (how, kind) in enumerate(zip(call, kinds, strict=True)):
            given_views.append(_view(memory, how if place in varying else (how[0], *kind[1:])))
        assert apart(given_views) is (overlapping(given_views) is None)
        assert apart(given_views) is (overlapping(given_views) is None), "again, without a move"


def test_a_tensor_whose_memory_comes_later() -> None:
    memory, later = torch.zeros(8), torch.zeros(4)
    storage = later.untyped_storage()
    storage.resize_(0)
    apart = Apart(())
    assert apart([memory, later])
    later.set_(memory[2:6])
    assert not apart([memory, later])
