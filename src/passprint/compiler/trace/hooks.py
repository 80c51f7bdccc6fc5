"""Which hooks are registered on the modules of a model: what Dynamo traced with some does not serve with others.

Dynamo does not guard on hooks (``skip_nnmodule_hook_guards``). Torch numbers them, and no number is given twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import is_
from typing import Any

import torch

from passprint.compiler.guards.watch import HOOKS

_module: Any = torch.nn.modules.module
_FOR_ALL = tuple(f"_global{name}" for name in HOOKS)

Registered = tuple[tuple[int, int], ...]


class RegisteredHooks:
    """The hooks of one model, and those for all modules. ``now`` is asked at every call that goes through Dynamo."""

    def __init__(self, model: Any) -> None:
        self._roots = list(_roots(model))
        self._list()

    def _list(self) -> None:
        modules = list(dict.fromkeys(module for root in self._roots for module in root.modules()))
        self._children = [module._modules for module in modules]
        self._known = [child for children in self._children for child in children.values()]
        held = [vars(module).get(name) for module in modules for name in HOOKS]
        held += [getattr(_module, name, None) for name in _FOR_ALL]
        self._held: list[Mapping[int, Any]] = [each for each in held if each is not None]

    def now(self) -> Registered:
        """A mark of all that are registered: where, and torch's number of each."""
        present = [child for children in self._children for child in children.values()]
        if len(present) != len(self._known) or not all(map(is_, present, self._known)):
            self._list()
        if not any(self._held):
            return ()
        return tuple([(place, number) for place, held in enumerate(self._held) for number in held])


def _roots(model: Any) -> Iterator[torch.nn.Module]:
    """The module that is compiled, or those that a function names, closes over or belongs to."""
    if isinstance(model, torch.nn.Module):
        yield model
        return
    function = getattr(model, "__func__", model)
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    found = [getattr(model, "__self__", None)]
    found += [names.get(name) for name in getattr(code, "co_names", ())]
    for cell in getattr(function, "__closure__", None) or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    yield from (value for value in found if isinstance(value, torch.nn.Module))
