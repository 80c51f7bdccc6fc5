"""What Dynamo's generated code calls of ``torch._dynamo``, without importing it.

The code that rebuilds outputs names a few helpers of ``torch._dynamo.utils`` (read in torch 2.13). The simple ones
stand here; anything else is taken from the real module, which is then imported: slower, never wrong.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import torch

_REAL = "torch._dynamo"


def _call_size(tensor: torch.Tensor, dimension: int) -> int:
    return tensor.size(dimension)


def _call_stride(tensor: torch.Tensor, dimension: int) -> int:
    return tensor.stride(dimension)


def _call_storage_offset(tensor: torch.Tensor) -> int:
    return int(tensor.storage_offset())


def _set_attribute(obj: Any, name: str, value: Any) -> None:
    """Put an attribute into an object's own dictionary, whatever descriptor its class has."""
    object.__getattribute__(obj, "__dict__")[name] = value


def _enter() -> Any:
    context: Any = nullcontext()
    if torch.autograd.profiler._is_profiler_enabled:
        context = torch._C._profiler._RecordFunctionFast("Pregraph bytecode")
    context.__enter__()
    return context


def _exit(context: Any) -> None:
    context.__exit__(None, None, None)


_HELPERS: dict[str, dict[str, Callable[..., Any]]] = {
    "torch._dynamo.utils": {
        "call_size": _call_size,
        "call_stride": _call_stride,
        "call_storage_offset": _call_storage_offset,
        "object_setattr_ignore_descriptor": _set_attribute,
        "dict_getitem": dict.__getitem__,
        "list_getitem": list.__getitem__,
        "record_pregraph_bytecode_enter": _enter,
        "record_pregraph_bytecode_exit": _exit,
    },
}


class _Lazy(ModuleType):
    """A module of Dynamo's that is imported when something is asked of it that has no short form here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


def module(name: str) -> ModuleType:
    """The module of this name; for one of Dynamo's that is not loaded, something that stands for it."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    if not (name + ".").startswith(f"{_REAL}."):
        return importlib.import_module(name)
    lazy = _Lazy(name)
    vars(lazy).update(_HELPERS.get(name, {}))
    return lazy
