"""The compiled object as an object: copied, pickled, called by several threads at once."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.models import inputs
from torch import nn

import passprint


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x)) + 1


class Broken(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        print(end="")
        return torch.relu(y) + 1


class Doubling(passprint.InductorPass):
    """Does nothing."""

    rounds: int = 2

    def __call__(self, graph: torch.fx.Graph) -> None:
        graph.lint()


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


def _pickled(compiled: Any) -> Any:
    return pickle.loads(pickle.dumps(compiled))


def _saved(compiled: Any) -> Any:
    file = io.BytesIO()
    torch.save(compiled, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@torch.no_grad()
@pytest.mark.parametrize("again", [copy.deepcopy, _pickled, _saved])
def test_a_copy_compiles_by_itself_and_has_weights_of_its_own(
    again: Callable[[Any], Any], tmp_path: Path
) -> None:
    model, x = Small().eval(), inputs()
    compiled = passprint.compile(
        model, passes=[Doubling(rounds=3)], cache=tmp_path / "cache", dynamic={"x": (0,)}, ranges=[(2, 64)]
    )
    unused = again(compiled)
    torch.testing.assert_close(compiled(x), model(x))
    made = again(compiled)
    assert (type(made), made.report.status, compiled.report.status) == (type(compiled), "pending", "cold")
    for parameter in made.parameters():
        parameter.zero_()
    torch.testing.assert_close(made(x), torch.ones(3, 16))
    torch.testing.assert_close(unused(x), model(x))
    torch.testing.assert_close(compiled(x), model(x))
    assert (unused.report.status, list(unused.report.variants)) == ("warm", ["[2, 64]"])


def test_a_compiled_function_is_pickled_by_its_name(tmp_path: Path) -> None:
    compiled = passprint.compile(torch.nn.functional.relu, cache=tmp_path / "cache")
    assert pickle.loads(pickle.dumps(compiled))(torch.tensor([-1.0, 1.0])).tolist() == [0, 1]


def _at_once(call: Callable[[int], None], number: int = 6) -> None:
    """Let so many threads begin at once; the first error of any is raised."""
    barrier, errors = threading.Barrier(number), []

    def run(index: int) -> None:
        try:
            barrier.wait()
            call(index)
        except BaseException as error:  # noqa: BLE001 - raised again
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(("make", "traced"), [(Small, 1), (Broken, 2)])
@pytest.mark.parametrize("is_cached", [True, False])
def test_threads_that_call_first_compile_once(
    make: type[nn.Module], traced: int, is_cached: bool, tmp_path: Path
) -> None:
    model = make().eval()
    compiled: Any = passprint.compile(model, cache=tmp_path / "cache" if is_cached else False)

    @torch.no_grad()
    def call(index: int) -> None:
        for seed in range(3):
            x = inputs(seed=seed + index)
            torch.testing.assert_close(compiled(x), model(x))

    _at_once(call)
    report = compiled.report
    assert (report.traced, report.graphs, report.loaded) == (traced, traced, 0), report.to_dict()
    torch._dynamo.reset()
    compiled = passprint.compile(model, cache=tmp_path / "cache")
    _at_once(call)
    if is_cached and make is Small:
        assert (compiled.report.traced, compiled.report.loaded, compiled.report.status) == (0, 1, "warm")


def test_threads_with_other_shapes(tmp_path: Path) -> None:
    model = Small().eval()
    compiled: Any = passprint.compile(model, cache=tmp_path / "cache")

    @torch.no_grad()
    def call(index: int) -> None:
        x = inputs(3 + index)  # threads share what random numbers come from
        torch.testing.assert_close(compiled(x), model(x))

    _at_once(call)
    assert compiled.report.traced <= 2, "the second size makes the code for all"


def test_tasks_of_asyncio(tmp_path: Path) -> None:
    model = Small().eval()
    compiled: Any = passprint.compile(model, cache=tmp_path / "cache")

    @torch.no_grad()
    def call(seed: int) -> bool:
        x = inputs(seed=seed)
        return torch.allclose(compiled(x), model(x))

    async def main() -> list[bool]:
        return await asyncio.gather(*[asyncio.to_thread(call, seed) for seed in range(4)])

    assert asyncio.run(main()) == [True] * 4
    assert compiled.report.traced == 1


def test_an_error_in_one_thread_leaves_the_others_served(tmp_path: Path) -> None:
    model = Small().eval()
    compiled: Any = passprint.compile(model, cache=tmp_path / "cache")
    failed = []

    @torch.no_grad()
    def call(index: int) -> None:
        if index % 2:
            with pytest.raises(RuntimeError):
                compiled(torch.randn(3, 7))
            failed.append(index)
        else:
            x = inputs()
            torch.testing.assert_close(compiled(x), model(x))

    _at_once(call, 4)
    assert sorted(failed) == [1, 3]


def test_hooks_on_the_compiled_module_run(tmp_path: Path) -> None:
    """They are around the compiled model, and none of its own: nothing is traced for them."""
    model, x = Small(), inputs()
    compiled: Any = passprint.compile(model, cache=tmp_path, passes="")
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(compiled(x), expected)
        before = compiled.register_forward_pre_hook(lambda module, args: (args[0] * 0,))
        after = compiled.register_forward_hook(
            lambda module, args, kwargs, result: result + 1, with_kwargs=True
        )
        torch.testing.assert_close(compiled(x), model(x * 0) + 1)
        before.remove()
        torch.testing.assert_close(compiled(x), expected + 1)
        after.remove()
        torch.testing.assert_close(compiled(x), expected)
    assert compiled.report.traced == 1


def test_a_backward_hook_on_the_compiled_module_runs(tmp_path: Path) -> None:
    compiled: Any = passprint.compile(Small(), cache=tmp_path, passes="")
    seen: list[tuple[int, ...]] = []
    compiled.register_full_backward_hook(lambda module, given, wanted: seen.append(tuple(wanted[0].shape)))
    result = compiled(inputs().requires_grad_())
    result.sum().backward()
    assert seen == [tuple(result.shape)]
