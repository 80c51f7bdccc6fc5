"""A loaded program looks at every call: one that it was not made for is traced anew, and the numbers are eager's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.models import WIDTH
from torch import Tensor, nn

import passprint


class Adds(nn.Module):
    """Changes its first argument, so that it matters whether the second is the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(1.0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x.add_(1)
        return self.dropout(self.linear(x)) * y


def arguments(rows: int = 4, **options: Any) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(rows, WIDTH, **options), torch.randn(rows, WIDTH, **options)


def _twice(rows: int = 4) -> tuple[Tensor, Tensor]:
    x, _ = arguments(rows)
    return x, x


def _strided() -> tuple[Tensor, Tensor]:
    x, y = arguments()
    return x.t().contiguous().t(), y


def _with_rank_three() -> tuple[Tensor, Tensor]:
    x, y = arguments()
    return x[None].clone(), y[None].clone()


def _broadcast() -> tuple[Tensor, Tensor]:
    x, y = arguments()
    return x, y[:1].clone()


CALLS: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "one tensor given twice": _twice,
    "another rank": _with_rank_three,
    "another size": lambda: arguments(6),
    "sizes that differ from each other": _broadcast,
    "other strides": _strided,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the program for four rows, inference and evaluation."""
    folder = tmp_path_factory.mktemp("guards") / "cache"
    compiled: Any = passprint.compile(Adds().eval(), cache=folder, passes="", dynamic=False)
    with torch.no_grad():
        compiled(*arguments())
    return folder


def loaded(cache: Path) -> tuple[nn.Module, Any]:
    """A model of its own with the stored program, loaded."""
    model = Adds().eval()
    compiled: Any = passprint.compile(model, cache=cache, passes="", dynamic=False)
    with torch.no_grad():
        compiled(*arguments())
    assert (compiled.report.status, compiled.report.traced, compiled.report.loaded) == ("warm", 0, 1)
    return model, compiled


def check(model: nn.Module, compiled: Any, make: Callable[[], tuple[Tensor, Tensor]]) -> None:
    """The result is eager's, and so is what became of the arguments."""
    ours, theirs = make(), make()
    torch.testing.assert_close(compiled(*ours), model(*theirs))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_outside_is_traced_anew(cache: Path, call: str) -> None:
    model, compiled = loaded(cache)
    with torch.no_grad():
        assert compiled.why_trace(*arguments()) is None
        assert compiled.why_trace(*CALLS[call]()) is not None
        check(model, compiled, CALLS[call])
        assert compiled.report.traced + compiled.report.loaded == 2
        check(model, compiled, arguments)
        check(model, compiled, CALLS[call])
        assert compiled.report.traced + compiled.report.loaded == 2, "both are known now"


def test_another_dtype(cache: Path) -> None:
    model, compiled = loaded(cache)
    with torch.no_grad():
        assert compiled.why_trace(*arguments(dtype=torch.float64)) is not None
        model.double()
        check(model, compiled, lambda: arguments(dtype=torch.float64))
    assert compiled.report.graphs == 2


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_another_mode(cache: Path, mode: Callable[[], AbstractContextManager[None]]) -> None:
    model, compiled = loaded(cache)
    with mode():
        assert compiled.why_trace(*arguments()) is not None
        check(model, compiled, arguments)
    ours = compiled(*arguments())
    assert ours.requires_grad


def test_training_mode(cache: Path) -> None:
    model, compiled = loaded(cache)
    with torch.no_grad():
        assert compiled(*arguments()).any()
        model.train()
        assert not compiled(*arguments()).any(), "all is dropped"
        model.eval()
        assert compiled(*arguments()).any()


def test_gradients_are_wanted_of_an_argument(cache: Path) -> None:
    model, compiled = loaded(cache)
    results = []
    for called in (compiled, model):
        x, y = arguments()
        y.requires_grad_()
        called(x, y).sum().backward()
        results.append(y.grad)
    torch.testing.assert_close(*results)


SHARED = nn.Tanh()
"""A module that no model owns."""


class Borrows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return SHARED(x) * 2


def test_a_hook_on_a_module_that_the_model_does_not_own(tmp_path: Path) -> None:
    """Before a snapshot is taken and after it, and by a program that is looked up."""
    x, _ = arguments()
    torch._dynamo.reset()
    compiled: Any = passprint.compile(Borrows(), cache=tmp_path / "cache", passes="")
    with torch.no_grad():
        for calls in (1, 3):
            for _ in range(calls):
                compiled(x)
            assert compiled.why_trace(x) is None
            handle = SHARED.register_forward_hook(lambda module, given, result: result + 1)
            try:
                assert compiled.why_trace(x) is not None
            finally:
                handle.remove()


def test_a_hook_on_all_modules(tmp_path: Path) -> None:
    """By a program that is in use, and by one that is looked up; a start with one traces and gives eager's result."""
    x, _ = arguments()
    torch._dynamo.reset()
    model = nn.Tanh()
    compiled: Any = passprint.compile(model, cache=tmp_path / "cache", passes="")
    register = nn.modules.module.register_module_forward_hook
    with torch.no_grad():
        compiled(x)
        handle = register(lambda module, given, result: result + 1)
        try:
            assert "hooks for all modules" in compiled.why_trace(x)
            torch._dynamo.reset()
            other: Any = passprint.compile(model, cache=tmp_path / "cache", passes="")
            torch.testing.assert_close(other(x), model(x))
            assert (other.report.traced, other.report.loaded) == (1, 0)
        finally:
            handle.remove()
        assert compiled.why_trace(x) is None


def of_a_device(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x) + torch.get_device_module("cuda").is_available()


def test_a_module_that_dynamo_imports_itself_has_a_name(tmp_path: Path) -> None:
    x = torch.linspace(-1, 1, 8)
    found = []
    for _ in range(2):
        compiled: Any = passprint.compile(of_a_device, cache=tmp_path, passes="")
        torch.testing.assert_close(compiled(x), of_a_device(x))
        found.append(compiled.report.status)
    assert found == ["cold", "warm"]
