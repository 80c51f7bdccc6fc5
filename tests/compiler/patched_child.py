"""A process in which torch is not as passprint's patches expect it: ``python -m …patched_child CASE CACHE [ALL]``.

CASE is one of `CASES`, for all patches or for one (``gone:BLOCKS``). Prints as JSON how far each model's result is from
eager's, what its compile was, and what the report says is lost. The models are four, or ten with ALL.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch._dynamo.variables.invoke_subgraph as subgraphs
from tests.compiler import cut_models
from tests.compiler.cut_models import Model
from tests.compiler.models import WIDTH, inputs, stack
from torch import nn

import passprint
from passprint.compiler import patches
from passprint.compiler.lowering import joint, strides

WEIGHT = torch.linspace(-1, 1, WIDTH * WIDTH).view(WIDTH, WIDTH)
ROWS = ("BLOCKS", "KERNELS", "STRIDES", "ROWS", "DOOR")


def _gone(rows: Sequence[str]) -> None:
    for row in rows:
        patch = getattr(patches, row)
        name = dataclasses.replace(patch.name, path=f"{patch.name.path}_renamed")
        setattr(patches, row, dataclasses.replace(patch, name=name))


def _signature(rows: Sequence[str]) -> None:
    for row in rows:
        owner, last, original = getattr(patches, row).name.look_up()
        setattr(owner, last, _with_one_more(original))


def _with_one_more(original: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*args: Any, one_more: object = None, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return changed


def _fails_before(rows: Sequence[str]) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise TypeError("not as it was read")

    if "BLOCKS" in rows:
        vars(subgraphs)["is_reusable"] = _like(subgraphs.is_reusable, fails)
    if "STRIDES" in rows:
        vars(strides)["plain_stride"] = fails
    if "ROWS" in rows:
        vars(strides)["_with_row_stride"] = fails
    if "KERNELS" in rows:
        vars(joint)["join"] = fails
    if "DOOR" in rows:
        from passprint.compiler import doors  # which installs its layer

        doors.Door._entered = fails  # type: ignore[method-assign]


def _fails_halfway(rows: Sequence[str]) -> None:
    original = subgraphs.stamp_out_subgraph

    def fails(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        raise AttributeError("not as it was read")

    vars(subgraphs)["stamp_out_subgraph"] = _like(original, fails)


def _like(original: Any, function: Any) -> Any:
    function.__wrapped__ = original
    return function


CASES = {
    "as it is": lambda rows: None,
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


def row(x: torch.Tensor) -> torch.Tensor:
    """A product of one row, as a step of decoding has them."""
    return nn.functional.linear(torch.tanh(x[:1].unsqueeze(0)), WEIGHT) + 1


def models(count: int) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The models with the arguments of a call; from the fourth on they are random."""
    torch.manual_seed(0)
    given = (inputs(),)
    known: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("stack", stack(3), given),
        ("named", Named().eval(), given),
        ("plain", plain, given),
        ("row", row, given),
    ]
    for seed in range(count - len(known)):
        known.append((f"cut {seed}", Model(seed).eval(), (torch.randn(4, cut_models.WIDTH), 1.5)))
    return {name: (model, args) for name, model, args in known}


def main(case: str, cache: str, more: str = "") -> None:
    """Compile every model in a torch that is changed as ``case`` says, one of them through torch's own door."""
    how, _, row = case.partition(":")
    CASES[how]([row] if row else ROWS)
    found: dict[str, Any] = {}
    for name, (model, args) in models(10 if more else 4).items():
        compiled: Any = passprint.compile(model, cache=cache)
        if name == "named":
            compiled = torch.compile(model, backend="passprint", options={"cache": cache})
        with torch.no_grad():
            pairs = zip(_flat(compiled(*_copied(args))), _flat(model(*_copied(args))), strict=True)
            difference = max(abs(torch.as_tensor(a) - torch.as_tensor(b)).max().item() for a, b in pairs)
        report = passprint.last_report()
        assert report is not None
        found[name] = {
            "difference": difference,
            "status": report.status,
            "why": report.why,
            "notes": report.notes,
        }
    print(json.dumps({"models": found, "missing": patches.missing()}))


def _copied(args: tuple[Any, ...]) -> list[Any]:
    """A model may write to what it is given."""
    return [arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args]


def _flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


if __name__ == "__main__":
    main(*sys.argv[1:])
