"""Trace a repeated block once: Dynamo goes through the first of equal blocks and stamps out the others.

The way is torch's own ``invoke_subgraph`` with its reuse of traces (what ``nested_compile_region`` asks for), asked for
here for every block of a ``ModuleList`` or ``Sequential``, without touching the model (``regions.py``). Torch
compares the guards of the first trace with another block's values, and says itself that this is a best effort; here

- two blocks' whole state is compared: classes, hooks, attributes, tensors' metadata, which tensors are the same one.
  An attribute that differs (``layer_idx``) is allowed only where no trace has read it,
- the guards of the first block are installed for every other one, so that a later change of any of them is noticed,
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
from passprint.compiler.trace.regions import NotRepeatable
from passprint.compiler.trace.stamps import counted_guards

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
        if first is other:
            return True
        if type(first) is not type(other):
            return False
        if isinstance(first, _PLAIN):
            return bool(first == other)
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
        self.latest_move: tuple[Any, Any, Any] | None = None
        self.refused: str | None = None
        self._entered = False
        self._traces: dict[type, int] = {}
        self._read: dict[int, str] = {}
        self._notes: dict[int, str] = {}
        self._guards: dict[int, list[Any]] = {}
        self._changes: dict[int, regions.Changes] = {}
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
        self.latest_move = None
        if self._tokens:
            regions.leave(self._tokens.pop())

    # -- asked by the hooks

    def takes(self, module: nn.Module, tx: Any, arguments: Sequence[Any]) -> bool:
        """Whether this call of a module becomes a subgraph."""
        return (
            module in self._blocks
            and tx.output.current_tracer.parent is None
            and self._traces.get(type(module), 0) < self.MAX_TRACES
            and not _is_patched_below(module)
            and all(regions.is_data(argument) for argument in arguments)
        )

    def entering(self, tx: Any) -> None:
        """A block becomes a subgraph; the first one of a trace starts the counts."""
        if not regions.entries(tx):
            self._traces.clear()
            self._read.clear()
            self._guards.clear()
            self._changes.clear()
            self.traced = self.reused = 0
        self._entered = True

    def read_by(self, condition: Any, block: str, guards: Any) -> str:
        """The names of everything that the trace behind ``condition`` read, and what was read of its block before."""
        if id(condition) not in self._read:
            names = [source.name for source in condition.traced_sources]
            names += [guard.name for guard in guards if guard.name.startswith(block)]
            self._read[id(condition)] = "\n".join(dict.fromkeys(names))
        return self._read[id(condition)]

    def changes_before(self, cached: Any) -> regions.Changes:
        """What had been changed when the trace behind ``cached`` was made."""
        return self._changes[id(cached)]

    def guards_of(self, cached: Any, new_source: Callable[[Any], Any], guards: Any) -> list[Any]:
        """All guards on the first block and what is in it, those from before its trace as well."""
        if id(cached) not in self._guards:
            self._guards[id(cached)] = counted_guards(guards, new_source)
        return self._guards[id(cached)]

    def stamped_out(self, module: object) -> None:
        """A block was stamped out."""
        self.reused += 1
        self._notes.pop(id(module), None)

    def traced_as_subgraph(self, module: object, entry: Any | None, changes: regions.Changes) -> None:
        """A block was traced. Raises :class:`NotRepeatable` where torch could not make it reusable (no ``entry``).

        ``changes``: what the trace has changed by then.
        """
        if entry is None:
            raise NotRepeatable(
                f"{type(module).__name__} has side effects, or returns something else than tensors"
            )
        self._changes[id(entry)] = changes
        self.traced += 1
        self._traces[type(module)] = self._traces.get(type(module), 0) + 1

    def may_stand_for(self, first: object, other: object, read: str) -> bool:
        """Whether the trace of ``first`` serves ``other``; ``read`` is the text of all sources that were read."""
        if not isinstance(first, nn.Module) or not isinstance(other, nn.Module):
            return False
        comparison = Comparison(first, other)
        differing = sorted(name for name in comparison.differing if _mentions(read, name))
        reason = None
        if not comparison.equal:
            reason = "its modules, tensors or hooks are not like the first one's"
        elif differing:
            reason = f"the forward pass reads {', '.join(differing)}, which differs"
        if reason:
            self._notes[id(other)] = f"a {type(other).__name__} was traced by itself: {reason}"
        return comparison.equal and not differing

    def own_parts(self, block: nn.Module) -> set[int]:
        """The modules, parameters and buffers of a block, by ``id``."""
        return {id(part) for part in (*block.modules(), *block.parameters(), *block.buffers())}

    def take_notes(self) -> list[str]:
        """Why blocks were traced by themselves, since this was last asked."""
        notes = list(self._notes.values())
        self._notes.clear()
        return notes


def _is_patched_below(module: Any) -> bool:
    return any(_is_patched(m) for m in module.modules())


def _mentions(read: str, name: str) -> bool:
    return f".{name}" in read or f"'{name}'" in read or f'"{name}"' in read
