"""Graphs that write to their inputs, as a step of decoding writes to its caches: direct, and without the compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.compiler.processes import in_new_process
from torch import nn

import passprint
from passprint.cache import open_store

STEP = """
class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.key, self.mix = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x, cache, place):
        cache.index_copy_(1, place, self.key(x))
        scores = torch.softmax(x @ cache.transpose(1, 2), -1)
        return x + self.mix(scores @ cache)


class Steps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(Layer() for _ in range(4))

    def forward(self, x, caches, place):
        for layer, cache in zip(self.layers, caches):
            x = layer(x, cache, place)
        return x


torch.manual_seed(0)
steps = Steps().eval()
mine, theirs = ([torch.zeros(2, {length}, 8) for _ in range(4)] for _ in range(2))
compiled = passprint.compile(steps, cache={cache!r}, passes="")
torch.set_grad_enabled(False)
for number in range(5):
    x, place = torch.randn(2, 1, 8), torch.tensor([number])
    torch.testing.assert_close(compiled(x, mine, place), steps(x, theirs, place), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
forms = sorted(dict.fromkeys(p.form for p in compiled.report.pieces_seen))
print(json.dumps([compiled.report.traced, forms, "torch._inductor" in sys.modules]))
"""


@pytest.mark.parametrize(("length", "native"), [(16, True), (1 << 18, False)], ids=["small", "large"])
def test_a_step_starts_without_the_compiler(tmp_path: Path, length: int, native: bool) -> None:
    cache = tmp_path / "cache"
    body = "import sys\n" + STEP.format(cache=str(cache), length=length)
    assert in_new_process(tmp_path, body) == [1, ["direct"], True]
    assert in_new_process(tmp_path, body) == [0, ["direct"], False]
    wrappers = [file.read_bytes() for file in cache.rglob("*") if file.is_file()]
    assert any(b"inductor_entry_cpp" in text for text in wrappers) is native, "where dispatch counts, in C++"


def _write(x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    state.mul_(2).add_(x)
    return torch.sin(state) + x


def _write_beside_vmap(x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    state.add_(x)
    return torch.vmap(lambda row: row.sin() + 1)(x)


def test_a_graph_that_writes_may_have_a_vmap(tmp_path: Path) -> None:
    compiled = passprint.compile(_write_beside_vmap, cache=tmp_path, passes="")
    x, state = torch.randn(3, 4), torch.ones(3, 4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, state), x.sin() + 1)
    assert torch.equal(state, x + 1)


def test_autograd_learns_that_an_input_was_written_to(tmp_path: Path) -> None:
    """What autograd has saved of a tensor is no longer that once a compiled graph has written to it."""
    compiled = passprint.compile(_write, cache=tmp_path, passes="")
    for call in (_write, compiled, compiled):
        weight, state = torch.ones(3, requires_grad=True), torch.ones(3)
        product = (weight * state).sum()
        before = state._version
        with torch.no_grad():
            call(torch.ones(3), state)
        assert state._version > before
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.backward()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_what_is_written_is_what_eager_writes(tmp_path: Path, mode: type) -> None:
    with mode():
        compiled = passprint.compile(_write, cache=tmp_path, passes="")
        mine, theirs = torch.ones(3), torch.ones(3)
        for _ in range(3):
            x = torch.randn(3)
            torch.testing.assert_close(compiled(x, mine), _write(x, theirs))
            torch.testing.assert_close(mine, theirs)
        assert {piece.form for piece in compiled.report.pieces_seen} == {"direct"}


@torch.library.custom_op("passprint_steps::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@doubled.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class CallsPython(nn.Module):
    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        state.add_(x)
        return doubled(state) + torch.sin(x)


def test_an_operator_of_python_runs_in_a_step(tmp_path: Path) -> None:
    """A wrapper in C++ would import the compiler to call it."""
    model = CallsPython()
    for status in ("cold", "warm"):
        torch._dynamo.reset()
        compiled = passprint.compile(model, cache=tmp_path, passes="")
        mine, theirs = torch.ones(3), torch.ones(3)
        with torch.no_grad():
            for _ in range(2):
                torch.testing.assert_close(compiled(torch.ones(3), mine), model(torch.ones(3), theirs))
                torch.testing.assert_close(mine, theirs)
        assert compiled.report.status == status


def _and_only(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.where(one & other, x, 0.0)


def _own_only(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    made = torch.zeros_like(x)
    made.add_(x)
    made[0] = 1.0
    return torch.where(one, made, other)


def _augmented(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    x += 1
    return torch.where(one, x, other)


def _through_a_view(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    x[1:].mul_(2)
    return torch.where(one, x, other)


@pytest.mark.parametrize(
    ("function", "is_step"),
    [(_and_only, False), (_own_only, False), (_augmented, True), (_through_a_view, True)],
)
def test_only_what_writes_to_an_input_is_worth_a_wrapper_in_cpp(
    tmp_path: Path, function: Callable[..., torch.Tensor], is_step: bool
) -> None:
    """It takes two seconds more to compile."""
    one, other = torch.ones(3) > 0, torch.zeros(3) > 0
    with torch.no_grad():
        found = passprint.compile(function, cache=tmp_path, passes="")(torch.ones(3), one, other)
        torch.testing.assert_close(found, function(torch.ones(3), one, other))
    [wrapper] = [e.read("wrapper.py") for e in open_store(tmp_path).entries() if e.meta["form"] == "direct"]
    assert (b"inductor_entry" in wrapper) is is_step


class Returns(nn.Module):
    """Gives back what it was given: itself, and in views of all kinds."""

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor
    ) -> tuple[torch.Tensor | tuple[torch.Tensor, ...], ...]:
        x.add_(1)
        y[0] = 2.0
        views = (y[1:], y.t(), y.unsqueeze(0).expand(2, -1, -1), y.view(torch.int32), torch.view_as_real(z))
        return x, y.view(-1), views, z.view(torch.float64), y.view(torch.uint8), x * 2


@torch.no_grad()
def test_inputs_and_views_of_them_are_given_back_as_eager_does(tmp_path: Path) -> None:
    model = Returns()

    def inputs() -> list[torch.Tensor]:
        return [torch.ones(3), torch.arange(12.0).view(4, 3), torch.ones(4, dtype=torch.complex64)]

    for number in range(2):
        compiled = passprint.compile(model, cache=tmp_path, passes="")
        mine, theirs = inputs(), inputs()
        found, expected = compiled(*mine), model(*theirs)
        assert compiled.report.traced == 1 - number
        assert {piece.form for piece in compiled.report.pieces_seen} == {"direct"}
        torch.testing.assert_close(found, expected)
        assert found[0] is mine[0]
        flat = [found[1], *found[2], found[3], found[4]]
        for view, other, base in zip(
            flat, [expected[1], *expected[2], expected[3], expected[4]], [1, 1, 1, 1, 1, 2, 2, 1], strict=True
        ):
            assert (view.stride(), view.dtype) == (other.stride(), other.dtype)
            assert view.untyped_storage().data_ptr() == mine[base].untyped_storage().data_ptr()
            before = mine[base]._version
            view.zero_() if view.stride()[0] else view[0].zero_()
            assert mine[base]._version > before
            other.zero_() if other.stride()[0] else other[0].zero_()
        torch.testing.assert_close(mine, theirs)
