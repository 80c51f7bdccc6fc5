"""Every public door once, in one process: ``python -m tests.smoke.child CACHE`` prints a line of JSON by door.

The first process with a cache is cold, the second warm. Models are tiny: what counts is that torch is still as it was
read, and that results are eager's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import passprint

CACHE = Path(sys.argv[1])
WIDTH = 16


class Block(nn.Module):
    """Big enough to be a piece of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.norm(x).view(1, -1, 2, WIDTH // 2).transpose(1, 2)
        x = x + nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).reshape(
            x.shape
        )
        y = self.up(x)
        return x + self.down(torch.relu(y) * torch.sigmoid(y) + 0.5)


class Stack(nn.Module):
    """Equal blocks."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Cached(nn.Module):
    """Writes to an input, as a decode step does."""

    def forward(self, x: Tensor, cache: Tensor, at: Tensor) -> Tensor:
        cache.index_copy_(0, at, x)
        return cache.sum(0) + x


class Breaks(nn.Module):
    """Is not one graph."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x) + 1
        torch._dynamo.graph_break()
        return x * 2


@torch.library.custom_op("passprint_smoke::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An operator of the user's."""
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def function(x: Tensor) -> Tensor:
    """A function of tensors."""
    return torch.relu(twice(x)) + 1


def x(rows: int = 3) -> Tensor:
    return torch.linspace(-1, 1, rows * WIDTH).reshape(rows, WIDTH)


def _compiled(model: Callable[..., Any], *calls: tuple[Any, ...], **how: Any) -> dict[str, Any]:
    compiled = passprint.compile(model, cache=CACHE, **how)
    found = max(_difference(compiled(*call), model(*call)) for call in calls)
    report = compiled.report
    return {"difference": found, "status": report.status, "traced": report.traced, "why": str(report.why)}


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max().detach())


def module() -> dict[str, Any]:
    """The first door: ``compiler`` says whether it imported the compiler."""
    return _compiled(Stack().eval(), (x(),)) | {"compiler": "torch._dynamo" in sys.modules}


def a_function() -> dict[str, Any]:
    return _compiled(function, (x(),))


def sizes() -> dict[str, Any]:
    return _compiled(Stack().eval(), *[(x(rows),) for rows in (3, 5, 7)], dynamic={"x": (0,)})


def own_passes() -> dict[str, Any]:
    return _compiled(Stack().eval(), (x(),), passes="noop-elimination")


def writes() -> dict[str, Any]:
    at = torch.tensor([1])
    model, ours, theirs = Cached(), torch.zeros(4, WIDTH), torch.zeros(4, WIDTH)
    compiled = passprint.compile(model, cache=CACHE)
    found = _difference(compiled(x(1), ours, at), model(x(1), theirs, at)) + _difference(ours, theirs)
    return {"difference": found, "status": compiled.report.status, "traced": compiled.report.traced}


def breaks() -> dict[str, Any]:
    return _compiled(Breaks(), (x(),))


def training() -> dict[str, Any]:
    model = Stack(2).train()
    compiled = passprint.compile(model, cache=CACHE)
    with torch.enable_grad():
        parameters = list(model.parameters())
        ours = torch.autograd.grad(compiled(x()).square().sum(), parameters)
        theirs = torch.autograd.grad(model(x()).square().sum(), parameters)
    found = max(map(_difference, ours, theirs))
    return {"difference": found, "status": compiled.report.status, "traced": compiled.report.traced}


def torchs_door() -> dict[str, Any]:
    model = Stack().eval()
    compiled = torch.compile(model, backend="passprint", options={"cache": CACHE})
    return {"difference": _difference(compiled(x()), model(x()))}


def options() -> dict[str, Any]:
    model, manager = Stack().eval(), passprint.PassManager.parse("noop-elimination")
    return {"difference": _difference(torch.compile(model, options=manager.options())(x()), model(x()))}


def mounted() -> dict[str, Any]:
    model, manager = Stack(1).eval(), passprint.PassManager.parse("noop-elimination")
    with manager.mounted():
        return {"difference": _difference(torch.compile(model)(x()), model(x()))}


DOORS = (
    module,
    a_function,
    sizes,
    own_passes,
    writes,
    breaks,
    training,
    torchs_door,
    options,
    mounted,
)


def main() -> None:
    """All doors."""
    for door in DOORS:
        torch.manual_seed(0)
        try:
            with torch.no_grad():
                found = door()
        except Exception as error:  # noqa: BLE001 - told: each door is judged by itself
            found = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps({"door": door.__name__, **found}), flush=True)
        torch._dynamo.reset()


if __name__ == "__main__":
    main()
