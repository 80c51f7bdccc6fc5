"""One process of a pair: build the model, call it compiled and as it is, compare; mutate it, call it again."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch

TOLERANCE = 1e-5
TORCH = "torch"
"""The engine that says whether torch runs a model at all: ``torch.compile(backend="eager")``."""


@dataclass
class Job:
    """What a process shall do. ``steps``: statements before each call; the first are run before the model is compiled.

    ``engine``: what compiles, as "module:function".
    """

    root: str
    package: str
    cache: str
    owner: str
    steps: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    weights: int = 0
    engine: str = "passprint:compile"


@dataclass
class Step:
    """What came of one call. ``output``: a digest of eager's result; ``wrong``: how far off the compiled result is."""

    output: str = ""
    wrong: float = 0.0
    traced: int = 0
    why: str = ""
    breaks: bool = False
    crash: str = ""
    eager_crash: str = ""


def perform(job: Job) -> list[Step]:
    """Everything in this process. A step that crashes is the last."""
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    for name, text in job.environment.items():
        if text:
            os.environ[name] = text
        else:
            os.environ.pop(name, None)
    sys.path.insert(0, job.root)
    torch.manual_seed(job.weights)
    names = {place: importlib.import_module(f"{job.package}.{place}") for place in ("main", "a", "b", "c")}
    torch.manual_seed(job.weights)
    model = names["main"].Model()
    if isinstance(model, torch.nn.Module):
        model.eval()
    space: dict[str, Any] = {**names, "m": model, "os": os, "torch": torch}
    space["o"] = eval(job.owner, space)
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    steps: list[Step] = []
    compiled: Any = None
    with torch.no_grad():
        for code in job.steps:
            exec(code, space)
            if compiled is None:
                compiled = _compiled(job, model)
            before = compiled.report.traced if job.engine != TORCH else 0
            step = Step()
            steps.append(step)
            for _ in range(2 if len(steps) == 1 else 1):  # the guards of what was just stored or loaded, too
                try:
                    result = compiled(x)
                except Exception:  # noqa: BLE001
                    step.crash = traceback.format_exc()
                try:
                    expected = model(x)
                except Exception:  # noqa: BLE001
                    step.eager_crash = traceback.format_exc()
                if step.crash or step.eager_crash:
                    break
                off = (result - expected).abs().max().item() if result.shape == expected.shape else 9e9
                step.wrong = max(
                    step.wrong, off if off > TOLERANCE * (1 + expected.abs().max().item()) else 0.0
                )
                step.output = hashlib.sha256(expected.numpy().tobytes()).hexdigest()[:12]
            if job.engine != TORCH:
                report = compiled.report
                step.traced = report.traced - before
                if step.traced:
                    step.why = "; ".join([str(report.why), *report.notes[-2:]])
                step.breaks = bool(report.graph_breaks)
            if step.crash or step.eager_crash:
                break
    return steps


def _compiled(job: Job, model: Any) -> Any:
    if job.engine == TORCH:
        return torch.compile(model, backend="eager")
    module, _, function = job.engine.partition(":")
    return getattr(importlib.import_module(module), function)(model, cache=job.cache, passes="")
