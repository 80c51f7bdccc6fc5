"""One process of the training tests: ``python -m tests.compiler.training_child SPEC``; it prints one line of JSON.

It trains a model for some steps beside an equal one that is not compiled, and tells what was loaded, traced and built.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from tests.compiler.models import inputs, stack
from torch import nn

import passprint

spec: dict[str, Any] = json.loads(sys.argv[1])


def made() -> nn.Module:
    model = stack(1).train(spec.get("train", True))
    for parameter in model.blocks[0].parameters() if spec.get("frozen") else ():
        parameter.requires_grad_(False)
    return model


def step(model: nn.Module, call: Any, optimizer: Any, x: torch.Tensor) -> torch.Tensor:
    """One step of training, or one forward pass where gradients are off; what came out."""
    with torch.no_grad() if spec.get("no_grad") else contextlib.nullcontext():
        result: torch.Tensor = call(x)
    if not spec.get("no_grad"):
        optimizer.zero_grad()
        result.square().mean().backward()
        optimizer.step()
    return result.detach()


def main() -> dict[str, Any]:
    ours, theirs = made(), made()
    compiled: Any = passprint.compile(ours, cache=spec["cache"])
    if spec.get("ask"):
        with torch.no_grad() if spec.get("no_grad") else contextlib.nullcontext():
            return {"why": compiled.why_trace(inputs())}
    mine, other = (
        torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1) for m in (ours, theirs)
    )
    worst = 0.0
    for number in range(spec.get("steps", 2)):
        x = inputs(seed=number)
        results = step(ours, compiled, mine, x), step(theirs, theirs, other, x)
        pairs = [results, *zip(ours.parameters(), theirs.parameters(), strict=True)]
        pairs += [(p.grad, q.grad) for p, q in pairs[1:] if q.grad is not None]
        worst = max([worst, *(float((p - q).abs().max()) for p, q in pairs)])
    report = compiled.report
    built = [str(path) for path in Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.so")]
    told = {"status": report.status, "why": report.why, "traced": report.traced, "loaded": report.loaded}
    forms = sorted({piece.form for piece in report.pieces_seen})
    return {**told, "worst": worst, "built": len(built), "forms": forms, "because": report.traced_because}


if __name__ == "__main__":
    print(json.dumps(main()))
