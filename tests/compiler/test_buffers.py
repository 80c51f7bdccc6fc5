"""Large buffers are taken again only when nobody has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

import passprint
from passprint.compiler.artifacts.buffers import LARGE, Buffers

SIZE, STRIDE = (LARGE // 4,), (1,)


class Piece:
    """Takes one buffer at each call, and returns what ``result`` makes of it."""

    def __init__(self, result: Callable[[torch.Tensor], Any], most: int = 4 * LARGE) -> None:
        self.buffers = Buffers(most)
        self.places: list[int] = []

        def call(inputs: list[Any]) -> Sequence[Any]:
            taken = self.buffers.take(SIZE, STRIDE, torch.float32)
            self.places.append(taken.data_ptr())
            return (result(taken),)

        self.run = self.buffers.borrowing(call)


def _nothing(taken: torch.Tensor) -> None:
    return None


def test_a_buffer_is_taken_again() -> None:
    piece = Piece(_nothing)
    for _ in range(20):
        piece.run([])
    assert len(set(piece.places)) < 10, "kept, but for calls in which something else has looked at it"


@pytest.mark.parametrize(
    "result",
    [
        lambda taken: taken,
        lambda taken: taken[3:9],
        lambda taken: taken.detach(),
        lambda taken: taken.view(torch.int32),
        lambda taken: torch._C._dynamo.guards._reinterpret_tensor(taken, (2,), (1,), 4),  # type: ignore[attr-defined]
        lambda taken: taken.untyped_storage(),
        lambda taken: taken.numpy(),
        lambda taken: [{"inside": taken}],
    ],
    ids=[
        "itself",
        "a view",
        "detached",
        "another type",
        "as generated code does",
        "memory",
        "numpy",
        "within",
    ],
)
def test_a_buffer_that_somebody_has_is_left_alone(result: Callable[[torch.Tensor], Any]) -> None:
    piece = Piece(result)
    kept = [piece.run([]) for _ in range(4)]
    assert len(set(piece.places)) == 4
    del kept


@pytest.mark.parametrize(
    "spoil",
    [
        lambda taken: taken.resize_(3),
        lambda taken: taken.t_() if taken.dim() == 2 else taken.unsqueeze_(0),
        lambda taken: taken.requires_grad_(),
        lambda taken: setattr(taken, "mark", 1),
    ],
    ids=["resized", "another view", "gradients", "marked"],
)
def test_a_buffer_that_is_no_longer_the_same_is_left_alone(spoil: Callable[[torch.Tensor], Any]) -> None:
    piece = Piece(lambda taken: [spoil(taken), None][1])
    piece.run([])
    assert not any(piece.buffers._free.values())


def test_calls_within_a_call_and_failures_give_back() -> None:
    inner = Piece(_nothing)

    def failing(inputs: list[Any]) -> Sequence[Any]:
        inner.buffers.take(SIZE, STRIDE, torch.float32)
        inner.run([])
        raise ValueError("no")

    run = inner.buffers.borrowing(failing)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            run([])
    assert len(set(inner.places)) <= 2


def test_two_threads_never_have_the_same() -> None:
    buffers, wrong = Buffers(), []

    def call(inputs: list[Any]) -> Sequence[Any]:
        mine = buffers.take((8, *SIZE), (*SIZE, 1), torch.float32)[:, :64]
        mine.fill_(inputs[0])
        for _ in range(20):
            if not bool((mine == inputs[0]).all()):
                wrong.append(inputs[0])
        return ()

    run = buffers.borrowing(call)
    threads = [threading.Thread(target=lambda n=n: [run([n]) for _ in range(30)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_more_is_kept_than_was_said() -> None:
    buffers = Buffers(3 * LARGE)

    def call(inputs: list[Any]) -> Sequence[Any]:
        for rows in range(1, 5):
            buffers.take((rows, *SIZE), (*SIZE, 1), torch.float32)
        return ()

    run = buffers.borrowing(call)
    for _ in range(3):
        run([])
        assert buffers._bytes <= 3 * LARGE
        assert buffers._bytes == sum(one.nbytes for free in buffers._free.values() for one in free)


class Wide(nn.Module):
    """Blocks with large intermediates; also returns some, and a view of one."""

    def __init__(self) -> None:
        super().__init__()
        self.ups = nn.ModuleList(nn.Linear(64, 2048) for _ in range(3))
        self.downs = nn.ModuleList(nn.Linear(2048, 64) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        large = []
        for up, down in zip(self.ups, self.downs, strict=True):
            y = torch.softmax(up(x), -1)
            large += [y, y[:, 5:9]]
            x = x + down(y)
        return x, large


def test_results_are_never_written_to_again() -> None:
    torch.manual_seed(0)
    model, inputs = Wide(), [torch.randn(256, 64) for _ in range(4)]
    compiled = passprint.compile(model, cache=False, passes="")
    with torch.no_grad():
        found = [compiled(x) for x in inputs]
        for x, (result, large) in zip(inputs, found, strict=True):
            expected, expected_large = model(x)
            torch.testing.assert_close(result, expected)
            torch.testing.assert_close(large, expected_large)
