"""A process in which torch is not as passprint's patches expect it: ``python -m …patched_child CASE CACHE``.

Prints as JSON how far each model's result is from eager's, what its compile was, and what the report says is lost.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo.variables.invoke_subgraph as subgraphs
from tests.compiler.models import WIDTH, inputs, stack
from torch import nn

import passprint
from passprint.compiler import patches
from passprint.compiler.lowering import joint, strides


def _gone() -> None:
    for row in ("BLOCKS", "KERNELS", "STRIDES"):
        patch = getattr(patches, row)
        name = dataclasses.replace(patch.name, path=f"{patch.name.path}_renamed")
        setattr(patches, row, dataclasses.replace(patch, name=name))


def _signature() -> None:
    for patch in patches.TABLE:
        owner, last, original = patch.name.look_up()
        setattr(owner, last, _with_one_more(original))


def _with_one_more(original: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*args: Any, one_more: object = None, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return changed


def _fails_before() -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise TypeError("not as it was read")

    vars(subgraphs)["is_reusable"] = _like(subgraphs.is_reusable, fails)
    vars(strides)["plain_stride"] = fails
    vars(joint)["join"] = fails


def _fails_halfway() -> None:
    original = subgraphs.stamp_out_subgraph

    def fails(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        raise AttributeError("not as it was read")

    vars(subgraphs)["stamp_out_subgraph"] = _like(original, fails)


def _like(original: Any, function: Any) -> Any:
    function.__wrapped__ = original
    return function


CASES = {
    "as it is": lambda: None,
    "gone": _gone,
    "signature": _signature,
    "fails before": _fails_before,
    "fails halfway": _fails_halfway,
}


class Named(nn.Module):
    """Blocks that are called with named and nested arguments, and one that differs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Scaled(scale) for scale in (1.0, 1.0, 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, pair=(x, x * 2))
        return x


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.scale = scale

    def forward(self, x: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.tanh(self.linear(x)) * self.scale + pair[0] - pair[1]


def plain(x: torch.Tensor) -> torch.Tensor:
    return (torch.relu(x @ x.t()) @ x).softmax(-1).transpose(0, 1) * 2


def models() -> dict[str, Any]:
    """The models, each to be called with ``inputs()``."""
    torch.manual_seed(0)
    return {"stack": stack(3), "named": Named().eval(), "plain": plain}


def main(case: str, cache: str) -> None:
    """Compile every model in a torch that is changed as ``case`` says."""
    CASES[case]()
    found: dict[str, Any] = {}
    for name, model in models().items():
        compiled = passprint.compile(model, cache=cache)
        with torch.no_grad():
            difference = (compiled(inputs()) - model(inputs())).abs().max().item()
        found[name] = {"difference": difference, "status": compiled.report.status}
    print(json.dumps({"models": found, "missing": patches.missing()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
