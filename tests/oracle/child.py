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


@dataclass
class Job:
    """What a process shall do. ``steps``: statements before each call; the first are run before the model is compiled.

    ``engine``: "passprint", or "eager" for ``torch.compile(backend="eager")``, which says whether torch runs it at all.
    """

    root: str
    package: str
    cache: str
    owner: str
    steps: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    weights: int = 0
    engine: str = "passprint"


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
    names = {place: importlib.import_module(f"{job.package}.{place}") for place in ("main", "a", "b", "c")}
    torch.manual_seed(job.weights)
    model = names["main"].Model().eval()
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
            before = compiled.report.traced if job.engine == "passprint" else 0
            step = Step()
            steps.append(step)
            for _ in range(2 if len(steps) == 1 else 1):  # the guards of what was just stored or loaded, too
                try:
                    result = compiled(x)
                except Exception:
                    step.crash = traceback.format_exc()
                try:
                    expected = model(x)
                except Exception:
                    step.eager_crash = traceback.format_exc()
                if step.crash or step.eager_crash:
                    break
                off = (result - expected).abs().max().item() if result.shape == expected.shape else 9e9
                step.wrong = max(
                    step.wrong, off if off > TOLERANCE * (1 + expected.abs().max().item()) else 0.0
                )
                step.output = hashlib.sha256(expected.numpy().tobytes()).hexdigest()[:12]
            if job.engine == "passprint":
                report = compiled.report
                step.traced = report.traced - before
                if step.traced:
                    step.why = "; ".join([str(report.why), *report.notes[-2:]])
                step.breaks = bool(report.graph_breaks)
            if step.crash or step.eager_crash:
                break
    return steps


def _compiled(job: Job, model: torch.nn.Module) -> Any:
    if job.engine == "eager":
        return torch.compile(model, backend="eager")
    import passprint

    return passprint.compile(model, cache=job.cache, passes="")
