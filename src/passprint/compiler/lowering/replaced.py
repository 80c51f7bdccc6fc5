"""Functions that somebody put into torch where no graph names them: methods of tensors, lowerings, decompositions.

A graph says ``relu`` and ``aten.gelu``; which function that is, is torch's version's to say, but for what stands here.
``torch._inductor.lowering.lowerings`` and ``torch._inductor.decomposition.decompositions`` were read against torch 2.11
to 2.13. They are looked at only where they are loaded: nobody can have put anything into them elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from types import FunctionType
from typing import Any

import torch

from passprint.errors import OpaqueError
from passprint.identity import default_memo

_TABLES = (("torch._inductor.lowering", "lowerings"), ("torch._inductor.decomposition", "decompositions"))
_PRINTED = frozenset({"__repr__", "__str__", "__format__"})


def replaced() -> dict[str, str]:
    """By name, the digest of each function that is not torch's. Raises :class:`OpaqueError` where one has none."""
    found = {}
    for place, key, value in _tables():
        function = _users(value)
        if function is not None:
            name = place.format(key)  # only here: the tables are long
            digest = default_memo().digest(function)
            if digest is None:
                raise OpaqueError(f"the function that somebody put into {name}")
            found[name] = digest
    return found


def _tables() -> Iterator[tuple[str, object, object]]:
    for name, value in vars(torch.Tensor).items():
        if name not in _PRINTED:
            yield "torch.Tensor.{}", name, value
    for module, table in _TABLES:
        held: dict[Any, Any] = getattr(sys.modules.get(module), table, {})
        for key, value in held.items():
            yield f"{module}.{table}[{{}}]", key, value


def _users(value: object) -> object | None:
    """What is not torch's, without what torch put around it; None where all is torch's, or no function."""
    if isinstance(value, partial):
        return None if _users(value.func) is None else value
    if type(value) is not FunctionType:
        return None
    if str(value.__globals__.get("__name__")).partition(".")[0] == "torch":
        return _users(vars(value).get("__wrapped__"))
    return value
