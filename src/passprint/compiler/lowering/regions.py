"""Autocast inside a graph: regions that Dynamo writes down as two calls, ``_enter_autocast`` and ``_exit_autocast``.

What a region does is in the first call, and so in a graph's text: device, data type, whether it is on. Torch's caches
refuse a graph with one all the same, because the functions are private; a setting of Inductor names functions that they
may take. A region without a data type has the one that ``torch.set_autocast_dtype`` gave last, which is in no graph and
counts beside it, here and at every call (``compiler/start/ambient.py``).

Reached here, and why there is no public way: the names of ``torch.amp.autocast_mode`` that Dynamo writes. Read against
torch 2.11 to 2.13.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.fx import GraphModule

_HOME = "torch.amp.autocast_mode"
_NAMES = ("_enter_autocast", "_exit_autocast")


def autocast() -> dict[str, str]:
    """By device: whether autocast is on around a call, and the data type that it has or would have."""
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    return {
        device: f"{'on' if torch.is_autocast_enabled(device) else 'off'} {torch.get_autocast_dtype(device)}"
        for device in devices
    }


def words(gm: GraphModule) -> list[str]:
    """What the keys of torch's own caches leave out where a graph has a region."""
    return [f"{device} {mode}" for device, mode in autocast().items()] if _has_regions(gm) else []


def cacheable(gm: GraphModule) -> AbstractContextManager[Any]:
    """Have torch's caches take a graph with regions, within the context."""
    if not _has_regions(gm):
        return nullcontext()
    import torch._inductor.config as config

    inductor: Any = config
    allowed = {f"{_HOME}.{name}": torch.__version__ for name in _NAMES}
    given = inductor.unsafe_marked_cacheable_functions
    patch: AbstractContextManager[Any] = inductor.patch(unsafe_marked_cacheable_functions=given | allowed)
    return patch


def _has_regions(gm: GraphModule) -> bool:
    return any(
        node.op == "call_function"
        and getattr(node.target, "__module__", None) == _HOME
        and getattr(node.target, "__name__", None) in _NAMES
        for module in gm.modules()
        if isinstance(module, GraphModule)
        for node in module.graph.nodes
    )
