"""Stand-ins for passprint that do wrong on purpose: they show that the oracle sees it. Each is an engine of a job."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch


class _Double:
    def __init__(self, model: Any, cache: str) -> None:
        self.model = model
        self.folder = Path(cache)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.report = SimpleNamespace(traced=0, why=None, notes=[], graph_breaks=[])

    def stored(self, key: str, x: torch.Tensor) -> torch.Tensor:
        """The result that is stored under a key; a miss counts as a trace."""
        name = hashlib.sha256(key.encode()).hexdigest()
        file = self.folder / name
        if not file.exists():
            self.report.traced += 1
            torch.save(self.model(x), file)
        result: torch.Tensor = torch.load(file)
        return result


def forgetful(model: Any, cache: str, passes: str) -> Any:
    """Keys a result by the model's name and weights, and by nothing else: all that is mutated is stale."""
    double = _Double(model, cache)

    def call(x: torch.Tensor) -> torch.Tensor:
        return double.stored(_name(model), x)

    call.report = double.report  # type: ignore[attr-defined]
    return call


def suspicious(model: Any, cache: str, passes: str) -> Any:
    """Right, and traces whenever a file of the package has another text."""
    double = _Double(model, cache)
    texts = "".join(
        path.read_text() for path in sorted(Path(inspect.getfile(_owner(model))).parent.glob("*.py"))
    )
    known = double.folder / hashlib.sha256(texts.encode()).hexdigest()

    def call(x: torch.Tensor) -> torch.Tensor:
        double.report.traced += int(not known.exists())
        known.touch()
        result: torch.Tensor = model(x)
        return result

    call.report = double.report  # type: ignore[attr-defined]
    return call


def broken(model: Any, cache: str, passes: str) -> Any:
    """Runs nothing."""

    def call(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this engine is broken")

    call.report = _Double(model, cache).report  # type: ignore[attr-defined]
    return call


def _owner(model: Any) -> Any:
    return type(model) if isinstance(model, torch.nn.Module) else model


def _name(model: Any) -> str:
    holder = getattr(model, "__self__", model)
    weights = [float(t.sum()) for t in holder.buffers()] if isinstance(holder, torch.nn.Module) else []
    return f"{_owner(model).__module__} {weights}"
