"""One process of the warm-start tests: ``python -m tests.compiler.warm_child SPEC``.

It builds a model (the project's ``net.make``, see ``warm_project.py``) and calls it, or asks ``why_trace``, and prints
one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

spec: dict[str, Any] = json.loads(sys.argv[1])
sys.path[:0] = spec["path"]

import torch  # noqa: E402
from torch import nn  # noqa: E402

import passprint  # noqa: E402


def build() -> nn.Module:
    torch.manual_seed(spec.get("seed", 0))
    net: Any = importlib.import_module("net")
    model: nn.Module = net.make(**spec.get("make", {}))
    for statement in spec.get("change", ()):
        exec(statement, {"model": model, "torch": torch, "net": net})
    return model.train(spec.get("train", False))


def passes() -> Any:
    if "passes" not in spec:
        return None
    module: Any = importlib.import_module("mypasses")
    return eval(spec["passes"], vars(module))


def main() -> dict[str, Any]:
    model = build()
    compiled: Any = passprint.compile(
        model, cache=spec["cache"], passes=passes(), dynamic=spec.get("dynamic")
    )
    found: dict[str, Any] = {"calls": []}
    for rows, dtype in spec.get("calls", [[3, "float32"]]):
        torch.manual_seed(7)
        device = next(model.parameters()).device
        x = torch.randn(rows, 8, dtype=getattr(torch, dtype), device=device)
        if spec.get("train"):
            x.requires_grad_()
        with torch.set_grad_enabled(bool(spec.get("train"))):
            if spec.get("ask"):
                found["why"] = compiled.why_trace(x)
                continue
            result = compiled(x)
            found["calls"].append(_compare(model, x, result))
    report = compiled.report
    found |= {"status": report.status, "traced": report.traced, "loaded": report.loaded}
    found |= {"because": report.traced_because, "notes": report.notes, "pieces": report.pieces}
    compiler = ("torch._dynamo", "torch._inductor")
    found["imported"] = [name for name in sys.modules if name in compiler]
    return found


def _compare(model: nn.Module, x: torch.Tensor, result: torch.Tensor) -> float:
    """The largest difference from eager, of the result and in training of all gradients."""
    inputs = [x, *model.parameters()] if spec.get("train") else []
    ours = torch.autograd.grad(result.square().sum(), inputs) if inputs else ()
    expected = model(x)
    theirs = torch.autograd.grad(expected.square().sum(), inputs) if inputs else ()
    pairs = [(result, expected), *zip(ours, theirs, strict=True)]
    return max(float((one - two).abs().max().detach()) for one, two in pairs)


if __name__ == "__main__":
    print(json.dumps(main()))
