"""Functions that somebody put into torch where no graph names them: methods of tensors, lowerings, decompositions.

A graph says ``relu`` and ``aten.gelu``; which function that is, is torch's version's to say, but for what stands here.
What stands in the same tables for operators of somebody's own (a library registers dozens when it is imported) can only
be reached through code that is not torch's.

Reached here, and why there is no public way: the tables of ``torch._decomp`` and Inductor, the functions that
``py_impl`` keeps with operators (``py_kernels``, ``python_key_table``, ``functorch_table``),
``torch._ops._higher_order_ops``, what each ``torch.library.Library`` registered, and ``torch._C._dispatch_dump``: who
registered a kernel with the dispatcher, which keeps the function to itself. Read against torch 2.11 to 2.15.
Inductor's tables are looked at only where they are loaded: nobody can have put anything into them elsewhere.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterator, Mapping
from functools import cache, partial
from types import FunctionType
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

from passprint.compiler.lowering.operators import OF_TORCH, RUN_LATER, operator_of
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
_OWN_LIBRARY = "_meta_lib_dont_use_me_use_register_meta"
_WITH_OPERATORS = ("py_kernels", "python_key_table", "functorch_table")
_FOLDER = os.path.dirname(torch.__file__) + os.sep


def replaced() -> dict[str, str]:
    """By name, the identity of each function that stands for something of torch's and is not torch's.

    Raises :class:`OpaqueError` where one has none.
    """
    return _found(custom=False) | _registered(frozenset(_unexpected()))


def added() -> dict[str, str]:
    """By name, the identity of each function that stands in a table of torch's for a custom operator.

    Raises :class:`OpaqueError` where one has none.
    """
    return _found(custom=True)


def _found(*, custom: bool) -> dict[str, str]:
    found = {}
    for owner, table, key, value in _suspects():
        if (operator_of(key) is not None) is not custom:
            continue
        function = users(value)
        if function is not None:
            name = f"{owner}.{table}[{key}]" if table else f"{owner}.{key}"
            digest = default_memo().digest(function)
            if digest is None:
                raise OpaqueError(f"the function that somebody put into {name}")
            found[name] = digest
    return found


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
        if not _is_torchs(function.__globals__):
            return function
        function = getattr(function, "__wrapped__", None)
    return None if function is value else users(function)


def _is_torchs(namespace: dict[str, Any]) -> bool:
    """Whether a module of torch's has these globals."""
    return str(namespace.get("__name__")).partition(".")[0] == "torch"


def _suspects() -> Iterator[tuple[object, str, object, object]]:
    """What stands in the tables and may not be torch's: a start asks of thousands, so most are passed over at once.

    What is a function of a module of torch's, and so is all that it wraps, is torch's.
    """
    torchs: set[int] = {id(vars(torch))}  # the globals of torch's modules, by id
    for owner, table, held in _tables():
        rest = [
            (key, value)
            for key, value in held.items()
            if type(value) is not FunctionType
            or id(value.__globals__) not in torchs
            or getattr(value, "__wrapped__", None) is not None
        ]
        for key, value in rest:
            inner = value
            while type(inner) is FunctionType:
                namespace = inner.__globals__
                if id(namespace) not in torchs:
                    if not _is_torchs(namespace):
                        yield owner, table, key, value
                        break
                    torchs.add(id(namespace))
                inner = getattr(inner, "__wrapped__", None)
            if isinstance(inner, partial):
                yield owner, table, key, value


def _tables() -> Iterator[tuple[object, str, Mapping[Any, Any]]]:
    """Where functions stand: the owner, the name of the table, the table."""
    yield (
        "torch.Tensor",
        "",
        {name: value for name, value in vars(torch.Tensor).items() if name not in _PRINTED},
    )
    for module, table in _TABLES:
        yield module, table, getattr(sys.modules.get(module), table, {})
    decompositions: dict[str, dict[Any, Any]] = getattr(
        sys.modules.get("torch._decomp"), "global_decomposition_table", {}
    )
    for kind, held in decompositions.items():
        yield "torch._decomp", kind, held
    higher: dict[str, Any] = getattr(torch._ops, "_higher_order_ops", {})
    for operator in (*higher.values(), *_overloads()):
        kept = operator.__dict__
        for table in _WITH_OPERATORS:
            if kept.get(table):
                yield operator, table, kept[table]


def _overloads() -> list[OpOverload]:
    """Torch's own operators that something has asked for; a user's count with the graph that calls them."""
    return [
        overload
        for namespace in OF_TORCH & vars(torch.ops).keys()
        for packet in vars(getattr(torch.ops, namespace)).values()
        if type(packet) is OpOverloadPacket
        for overload in packet.__dict__.values()
        if type(overload) is OpOverload
    ]


def _unexpected() -> Iterator[str]:
    """Registrations in Python for torch's operators and for keys that a trace goes through, as torch writes them.

    Torch's custom operators, which register for all keys themselves, are left out.
    """
    from torch._library.custom_ops import OPDEFS

    for entry in _registrations():
        namespace, name, key = entry.split("/")
        if namespace in OF_TORCH and key not in RUN_LATER and f"{namespace}::{name}" not in OPDEFS:
            yield entry


def _registrations() -> set[str]:
    """What was registered in Python, but for torch's own functions for fake tensors, which are most.

    Each ``Library`` notes its own, and no list of torch's has the libraries: each has a finalizer. What two of them
    registered is told apart by that: ``torch.library._impls``, which has all, says a name once.
    """
    library: Any = torch.library
    end = getattr(library, "_del_library", None)
    ended: Any = getattr(weakref.finalize, "_registry", {})
    libraries = [known.weakref() for known in list(ended.values()) if known.func is end]
    own: Any = getattr(sys.modules.get("torch._meta_registrations"), _OWN_LIBRARY, None)
    if own is None or own not in libraries:
        return set(library._impls)
    found: set[str] = set()
    return found.union(*[each._op_impls for each in libraries if each is not None and each is not own])


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
