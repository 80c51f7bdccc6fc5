"""A model's modules as they were when all guards held, compared by pointer at every call.

For SmolLM2 the guards are two thousand expressions; most read nothing but modules. While every module has the class and
the dictionaries that it had, and those hold the very objects that they held, such a guard holds
(:mod:`passprint.compiler.guards.pins`), and only the others are asked. The comparison is the C check of the identity
room; where that was not built, all guards are asked at every call.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch

from passprint.identity.guards import CheckInC as Check
from passprint.identity.slots import ABSENT, MAPPING, REFERS

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps hooks that run with it. Dynamo does not guard on them; a program is used without any."""

_MOST_WAITED = 16


class Snapshot:
    """Built where all guards of a call hold. ``fits`` takes the tensors that guards reach through the arguments."""

    def __init__(self, model: torch.nn.Module, fits: Callable[..., bool]) -> None:
        modules = list(model.modules())
        rows = [row for module in modules for row in _module_rows(module)]
        classes = dict.fromkeys(
            base for module in modules for base in type(module).__mro__ if base is not object
        )
        for cls in classes:
            rows.append((REFERS, cls, gc.get_referents(cls)))
            held = gc.get_referents(cls.__dict__)[0]
            rows.append((MAPPING, held, dict(held)))
        self._check = Check(rows, ABSENT)
        self._model = model
        self._hooks = [vars(module)[name] for module in modules for name in HOOKS]
        self.fits = fits

    def same(self, model: object) -> bool:
        """Whether it is this model, as it was, without hooks."""
        return model is self._model and self._check(()) and not any(self._hooks)


def _module_rows(module: torch.nn.Module) -> list[tuple[Any, ...]]:
    held = (vars(module), module._modules, module._parameters, module._buffers)
    return [(REFERS, module, gc.get_referents(module)), *((MAPPING, each, dict(each)) for each in held)]


class Snapshots:
    """The snapshot of one program: taken at its second call, and again, ever more rarely, where it no longer fits."""

    def __init__(self) -> None:
        self._latest: Snapshot | None = None
        self._changes = 0
        self._wait = 0

    def of(self, model: object) -> Snapshot | None:
        """The latest one if the model is still what it was."""
        latest = self._latest
        if latest is None or latest.same(model):
            return latest
        self._latest = None
        self._changes += 1
        self._wait = 1 << min(self._changes, _MOST_WAITED)
        return None

    def due(self, model: object) -> bool:
        """Whether to take one now. Asked at each call that no snapshot served."""
        self._wait -= 1
        return self._wait < 0 and Check is not None and isinstance(model, torch.nn.Module)

    def take(self, model: torch.nn.Module, fits: Callable[..., bool]) -> None:
        """Take one. A model with a slot of an unusual kind gets none."""
        try:
            self._latest = Snapshot(model, fits)
        except (TypeError, KeyError, AttributeError):
            self._wait = 1 << _MOST_WAITED


def ordered(everything: Sequence[Any], first: Sequence[int]) -> list[Any]:
    """The items at ``first``, in that order, and then the others."""
    chosen = set(first)
    return [everything[index] for index in first] + [
        item for index, item in enumerate(everything) if index not in chosen
    ]
