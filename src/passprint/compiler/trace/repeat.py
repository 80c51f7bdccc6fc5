"""Trace a repeated block once: Dynamo goes through the first of equal blocks and stamps out the others.

The way is torch's own ``invoke_subgraph`` (what ``nested_compile_region`` asks for), for every block of a
``ModuleList`` or ``Sequential``, without touching the model (``regions.py``). When a trace is used again is decided
here, not by torch, which compares guards and says itself that this is a best effort:

- two blocks' whole state is compared: classes, hooks, attributes, tensors' metadata, which tensors are the same one.
  An attribute that differs (``layer_idx``) is allowed only where no trace has read it,
- the guards of the first block hold for the other one (``reuse.py``) and are installed for it, so that a later change
  of any of them is noticed (``stamps.py``),
- where torch says that a block has side effects, takes or returns something else than tensors, and for any error at
  all, the model is traced in full, and the report says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from passprint.compiler.trace import regions
from passprint.compiler.trace.regions import BlockCall
from passprint.compiler.trace.reuse import BlockTrace, Met, Stamped, kept_trace

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
# Only counted, never read by a forward pass.
_UNREAD = (
    *_HOOKS,
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_is_full_backward_hook",
    "_non_persistent_buffers_set",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.layout, torch.memory_format)


def repeated_blocks(model: object) -> list[nn.Module]:
    """The entries of the model's ``ModuleList`` and ``Sequential`` that have a sibling of the same class.

    Leaves (modules without children) are left out: there is nothing to save.
    """
    if not isinstance(model, nn.Module):
        return []
    found: dict[int, nn.Module] = {}
    for container in model.modules():
        if not isinstance(container, (nn.ModuleList, nn.Sequential)):
            continue
        children = [child for child in container if child is not None]
        kinds = [type(child) for child in children]
        for child, kind in zip(children, kinds, strict=True):
            if kinds.count(kind) > 1 and any(True for _ in child.children()):
                found.setdefault(id(child), child)
    return list(found.values())


# ---- are two blocks equal? ------------------------------------------------------------------------------


class Comparison:
    """Two blocks, attribute by attribute. ``equal`` is False where one trace cannot serve both.

    ``differing`` names the attributes with different values: harmless where the forward pass does not read them.
    """

    def __init__(self, first: nn.Module, other: nn.Module) -> None:
        self.differing: set[str] = set()
        self._partner: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self.equal = self._modules(first, other)

    def _same_one(self, first: object, other: object) -> bool | None:
        """Whether two objects pair up as they did before; None where neither was met."""
        if id(first) in self._partner or id(other) in self._taken:
            return self._partner.get(id(first)) == id(other) and self._taken.get(id(other)) == id(first)
        self._partner[id(first)] = id(other)
        self._taken[id(other)] = id(first)
        return None

    def _modules(self, first: nn.Module | None, other: nn.Module | None) -> bool:
        if first is None or other is None:
            return first is other
        known = self._same_one(first, other)
        if known is not None:
            return known
        if type(first) is not type(other) or _is_patched(first) or _is_patched(other):
            return False
        ours, theirs = vars(first), vars(other)
        if ours.keys() != theirs.keys():
            return False
        for name, value in ours.items():
            if name in _UNREAD:
                continue
            if name == "_modules":
                if not self._each(value, theirs[name], self._modules):
                    return False
            elif name in ("_parameters", "_buffers"):
                if not self._each(value, theirs[name], self._tensors):
                    return False
            elif not self._values(value, theirs[name]):
                self.differing.add(name)
        return True

    @staticmethod
    def _each(ours: dict[str, Any], theirs: dict[str, Any], same: Callable[[Any, Any], bool]) -> bool:
        return list(ours) == list(theirs) and all(same(ours[name], theirs[name]) for name in ours)

    def _tensors(self, first: torch.Tensor | None, other: torch.Tensor | None) -> bool:
        if first is None or other is None:
            return first is other
        known = self._same_one(first, other)
        if known is not None:
            return known
        ours, theirs = vars(first), vars(other)
        if _tensor_facts(first) != _tensor_facts(other) or ours.keys() != theirs.keys():
            return False
        self.differing.update(name for name in ours if not self._values(ours[name], theirs[name]))
        return True

    def _values(self, first: Any, other: Any) -> bool:
        """Equality of attributes; what is not plain data and not the same object counts as different."""
        if isinstance(first, torch.Tensor) and isinstance(other, torch.Tensor):
            return self._tensors(first, other)
        if type(first) is not type(other):
            return False
        if isinstance(first, _PLAIN):
            return bool(first == other)
        if first is other or type(first) in (tuple, list, dict):  # code may ask which are one and the same
            known = self._same_one(first, other)
            if known is not None or first is other:
                return known is not False
        if type(first) in (tuple, list, torch.Size):
            return len(first) == len(other) and all(map(self._values, first, other))
        if type(first) is dict:
            return list(first) == list(other) and all(self._values(first[k], other[k]) for k in first)
        return False


def _is_patched(module: nn.Module) -> bool:
    """Hooks, or a method that stands on the instance: a trace of another block says nothing of this one."""
    own = vars(module)
    return any(own.get(name) for name in _HOOKS) or any(callable(own.get(n)) for n in ("forward", "__call__"))


def _tensor_facts(tensor: torch.Tensor) -> tuple[object, ...]:
    strided = tensor.layout is torch.strided
    return (
        type(tensor),
        tensor.dtype,
        tuple(tensor.shape),
        tensor.device,
        tensor.layout,
        tuple(tensor.stride()) if strided else None,
        tensor.storage_offset() if strided else None,
        tensor.requires_grad,
        tensor.is_inference(),
        tensor.is_leaf,
    )


class RepeatedBlocks:
    """The repeated blocks of one model, and how tracing them once went.

    Attributes:
        traced: blocks that Dynamo went through as a subgraph.
        reused: blocks that were stamped out.
        refused: why the model is traced in full, or None.
    """

    MAX_TRACES = 4
    """After so many different traces of one class its further blocks are inlined as Dynamo always does."""

    def __init__(self, model: object) -> None:
        self._blocks = WeakSet(repeated_blocks(model))
        self.traced = self.reused = 0
        self.refused: str | None = None
        self._entered = False
        self._output: Any = None
        self._traces: dict[type, list[BlockTrace]] = {}
        self._met = Met()
        self._notes: dict[int, str] = {}
        self._tokens: list[Any] = []

    @property
    def active(self) -> bool:
        """Whether blocks are traced once in the next trace."""
        return bool(self._blocks) and self.refused is None

    def give_up(self, error: BaseException) -> bool:
        """After a trace that raised: True where blocks were involved and a trace in full should be tried."""
        if self.refused is None and self._entered:
            reason = str(error).strip().partition("\n")[0]
            self.refused = f"{type(error).__name__}: {reason[:200]}"
            return True
        return False

    def __enter__(self) -> None:
        """Until the block is left, what Dynamo traces in this thread goes through each distinct block once.

        Cheap where nothing is traced: every call of a compiled model enters.
        """
        self._entered = False
        if self.active and not regions.can_reuse():
            self.refused = f"torch {torch.__version__} traces every block"
        if self.active:
            self._tokens.append(regions.enter(self))

    def __exit__(self, *error: object) -> None:
        self._output, self._met = None, Met()
        self._traces.clear()
        if self._tokens:
            regions.leave(self._tokens.pop())

    # -- asked by the layer in Dynamo

    def takes(self, module: nn.Module, tx: Any, arguments: Sequence[Any]) -> bool:
        """Whether this call of a module becomes a subgraph."""
        return (
            module in self._blocks
            and tx.output.current_tracer.parent is None
            and len(self._traces_in(tx).get(type(module), ())) < self.MAX_TRACES
            and not _is_patched_below(module)
            and all(regions.is_data(argument) for argument in arguments)
        )

    def _traces_in(self, tx: Any) -> dict[type, list[BlockTrace]]:
        """The traces of this graph so far. Dynamo may begin anew: then with another graph."""
        if self._output is not tx.output:
            self._output = tx.output
            self._traces.clear()
            self._met = Met()
            self.traced = self.reused = 0
        return self._traces

    def serving(self, call: BlockCall) -> Stamped | None:
        """An earlier trace that serves a call."""
        for trace in self._traces_in(call.tx).get(type(call.module), ()):
            if trace.takes_arguments_of(call) and self._may_stand_for(trace, call.module):
                stamped = trace.moved_to(call, self._met)
                if stamped is not None:
                    return stamped
        return None

    def entered(self) -> None:
        """A block becomes a subgraph."""
        self._entered = True

    def was_stamped(self, call: BlockCall) -> None:
        """A block was stamped out."""
        self.reused += 1
        self._notes.pop(id(call.module), None)

    def was_traced(self, call: BlockCall, made: Sequence[tuple[Any, Any]]) -> None:
        """A block was traced, and torch ``made`` this of it. Raises `NotRepeatable` where it cannot be used again."""
        self._traces_in(call.tx).setdefault(type(call.module), []).insert(0, kept_trace(call, made))
        self.traced += 1

    def _may_stand_for(self, trace: BlockTrace, other: nn.Module) -> bool:
        """Whether the two blocks have equal state, but for what no trace has read."""
        comparison = Comparison(trace.module, other)
        differing = sorted(name for name in comparison.differing if _mentions(trace.read, name))
        reason = None
        if not comparison.equal:
            reason = "its modules, tensors or hooks are not like the first one's"
        elif differing:
            reason = f"the forward pass reads {', '.join(differing)}, which differs"
        if reason:
            self._notes[id(other)] = f"a {type(other).__name__} was traced by itself: {reason}"
        return reason is None

    def take_notes(self) -> list[str]:
        """Why blocks were traced by themselves, since this was last asked."""
        notes = list(self._notes.values())
        self._notes.clear()
        return notes


def _is_patched_below(module: Any) -> bool:
    return any(_is_patched(m) for m in module.modules())


def _mentions(read: str, name: str) -> bool:
    return f".{name}" in read or f"'{name}'" in read or f'"{name}"' in read
