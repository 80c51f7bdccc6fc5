"""Functions that somebody put into torch where no graph names them: methods of tensors, lowerings, decompositions.

A graph says ``relu`` and ``aten.gelu``; which function that is, is torch's version's to say, but for what stands here.

Reached here, and why there is no public way: the tables of ``torch._decomp`` and Inductor, the functions that
``py_impl`` keeps with operators (``py_kernels``, ``python_key_table``, ``functorch_table``),
``torch._ops._higher_order_ops``, ``torch.library._impls``, and ``torch._C._dispatch_dump``: who registered a kernel
with the dispatcher, which keeps the function to itself. Read against torch 2.11 to 2.15. Inductor's tables are looked
at only where they are loaded: nobody can have put anything into them elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache, partial
from types import FunctionType
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

from passprint.compiler.lowering.operators import OF_TORCH, RUN_LATER
from passprint.errors import OpaqueError
from passprint.identity import default_memo

_TABLES = (
    ("torch._inductor.lowering", "lowerings"),
    ("torch._inductor.lowering", "user_lowerings"),
    ("torch._inductor.decomposition", "decompositions"),
    ("torch._subclasses.fake_impls", "op_implementations_dict"),
    ("torch._subclasses.fake_tensor", "op_implementations_dict"),
)
_PRINTED = frozenset({"__repr__", "__str__", "__format__"})
_WITH_OPERATORS = ("py_kernels", "python_key_table", "functorch_table")
_FOLDER = os.path.dirname(torch.__file__) + os.sep


def replaced() -> dict[str, str]:
    """By name, the identity of each function that is not torch's. Raises :class:`OpaqueError` where one has none."""
    found = {}
    for owner, table, key, value in _tables():
        function = users(value)
        if function is not None:
            name = f"{owner}.{table}[{key}]" if table else f"{owner}.{key}"  # only here: the tables are long
            digest = default_memo().digest(function)
            if digest is None:
                raise OpaqueError(f"the function that somebody put into {name}")
            found[name] = digest
    return found | _registered(frozenset(_unexpected()))


def of_operator(operator: Any) -> Iterator[tuple[object, str, object, object]]:
    """What ``py_impl`` keeps with an operator: the operator, which table, for what, and the function."""
    for table in _WITH_OPERATORS:
        held: dict[Any, Any] | None = getattr(operator, table, None)
        if held:
            for key, value in held.items():
                yield operator, table, key, value


def users(value: object) -> object | None:
    """What is not torch's, without what torch put around it; None where all is torch's, or no function."""
    if isinstance(value, partial):
        return None if users(value.func) is None else value
    function = value
    while type(function) is FunctionType:
        if not _TORCHS.has(function.__globals__):
            return function
        function = getattr(function, "__wrapped__", None)
    return None if function is value else users(function)


class _Namespaces:
    """Which globals are those of torch's modules: thousands of functions are asked for at a start, of few modules."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[dict[str, Any], bool]] = {}

    def has(self, namespace: dict[str, Any]) -> bool:
        """Whether a module of torch's has these globals."""
        known = self._known.get(id(namespace))
        if known is None:
            is_torchs = str(namespace.get("__name__")).partition(".")[0] == "torch"
            known = self._known[id(namespace)] = (namespace, is_torchs)
        return known[1]


_TORCHS = _Namespaces()


def _tables() -> Iterator[tuple[object, str, object, object]]:
    for name, value in vars(torch.Tensor).items():
        if name not in _PRINTED:
            yield "torch.Tensor", "", name, value
    for module, table in _TABLES:
        held: dict[Any, Any] = getattr(sys.modules.get(module), table, {})
        for key, value in held.items():
            yield module, table, key, value
    decompositions: dict[str, dict[Any, Any]] = getattr(
        sys.modules.get("torch._decomp"), "global_decomposition_table", {}
    )
    for kind, held in decompositions.items():
        for key, value in held.items():
            yield "torch._decomp", kind, key, value
    for operator in _operators():
        yield from of_operator(operator)


def _operators() -> Iterator[Any]:
    """Torch's own operators that something has asked for; a user's count with the graph that calls them."""
    higher: dict[str, Any] = getattr(torch._ops, "_higher_order_ops", {})
    yield from higher.values()
    for namespace in OF_TORCH & vars(torch.ops).keys():
        for packet in vars(getattr(torch.ops, namespace)).values():
            if type(packet) is OpOverloadPacket:
                yield from [value for value in vars(packet).values() if type(value) is OpOverload]


def _unexpected() -> Iterator[str]:
    """Registrations in Python for torch's operators and for keys that a trace goes through, as torch writes them.

    Torch's own functions for fake tensors, which are most, stand with the operators as well and are left out, as are
    its custom operators, which register for all keys themselves.
    """
    from torch._library.custom_ops import OPDEFS

    library: Any = torch.library
    meta = torch._C.DispatchKey.Meta
    for entry in library._impls:
        namespace, name, key = entry.split("/")
        if namespace not in OF_TORCH or key in RUN_LATER or f"{namespace}::{name}" in OPDEFS:
            continue
        if key == "Meta":
            packet, _, overload = name.partition(".")
            held: Any = vars(getattr(torch.ops, namespace)).get(packet)
            found = vars(held).get(overload or "default") if held is not None else None
            if found is not None and meta in found.py_kernels:
                continue
        yield entry


@cache
def _registered(entries: frozenset[str]) -> dict[str, str]:
    """Of these registrations those that are not torch's, by the distribution of the file that made them."""
    dump: Any = torch._C._dispatch_dump
    found = {}
    for entry in sorted(entries):
        namespace, name, key = entry.split("/")
        for line in dump(f"{namespace}::{name}").splitlines():
            registered, separator, rest = line.partition(": registered at ")
            file = rest.partition(" :: ")[0].rpartition(":")[0]
            if separator and registered.removesuffix("[alias]") == key and not file.startswith(_FOLDER):
                label = _owner(file)
                if label is None:
                    raise OpaqueError(f"Python that somebody registered for {namespace}::{name} and {key}")
                found[f"{namespace}::{name} for {key}"] = label
    return found


def _owner(file: str) -> str | None:
    """The distribution and version of a loaded module, by its file."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == file:
            return default_memo().origins.of_module(name).label
    return None
