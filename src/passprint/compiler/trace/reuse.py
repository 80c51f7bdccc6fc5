"""Whether the trace of one block serves another one, as far as Dynamo knows: guards, changes, arguments.

Torch has a check of its own, and calls it a best effort: it does not see what was appended to a list that a block
reads, nor what a region within a region read. Only its comparison of the arguments is used here. What is reached of
torch stands in ``patches.BLOCKS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import is_
from typing import Any

from torch import nn

from passprint.compiler.trace.regions import BlockCall, NotRepeatable
from passprint.compiler.trace.stamps import Moved, counted_guards, stamp

Changes = dict[int, tuple[Any, ...]]
"""By ``id``, what each changed object holds."""


@dataclass
class BlockTrace:
    """One block's trace as a subgraph: the call that was traced, what torch kept of it, what had been changed then."""

    call: BlockCall
    condition: Any
    kept: Any
    changes: Changes

    @property
    def module(self) -> Any:
        """The block that was traced."""
        return self.call.module

    @cached_property
    def read(self) -> str:
        """The names of everything that the trace read, and of what was read of its block before."""
        block = self.kept.arg_sources[0].name
        names = [source.name for source in self.condition.traced_sources]
        names += [guard.name for guard in self.call.tx.output.guards if guard.name.startswith(block)]
        return "\n".join(dict.fromkeys(names))

    @cached_property
    def arguments(self) -> Any:
        """Torch's condition for reuse without what is checked here: its way to the guards' values takes ten times as
        long.
        """
        none_read = type(self.condition.traced_sources)()
        return dataclasses.replace(self.condition, guards=[], traced_sources=none_read)

    @cached_property
    def captured(self) -> list[Any]:
        """The sources of the inputs that are no arguments: parameters and buffers, mostly."""
        from torch._dynamo.variables.invoke_subgraph import LiftedCapturedSource

        lifted = self.kept.subgraph_input_mapping
        return [lift.source for lift in lifted if isinstance(lift, LiftedCapturedSource)]

    def takes_arguments_of(self, call: BlockCall) -> bool:
        """Whether ``call`` is like the call that was traced."""
        from torch._dynamo.variables.invoke_subgraph import is_reusable

        if call.shape != self.call.shape:
            return False
        return bool(is_reusable(call.tx, self.arguments, call.fingerprint, self.kept))

    def moved_to(self, call: BlockCall, met: Met) -> Stamped | None:
        """This trace for another block of equal state; None where something else tells the two apart."""
        from torch._dynamo.variables.invoke_subgraph import LiftedBoundSymbol

        output = call.tx.output
        for lifted in self.kept.subgraph_input_mapping:
            if (
                isinstance(lifted, LiftedBoundSymbol)
                and lifted.expr not in output.current_tracer.bound_symbols
            ):
                return None  # the symbol has become a number since
        own = _parts(self.module) | _parts(call.module)
        changes = changes_of(call.tx)
        if changes.keys() & own or not _same_changes(changes, self.changes):
            return None
        met.look(call.tx, (*self.condition.traced_sources, *self.captured))
        if met.otherwise(self.call) or met.otherwise(call):
            return None
        moved = Moved(self.kept, call.fingerprint)
        guards = self._guards(moved)
        return Stamped(self, call, moved, guards) if self._guards_hold(call, moved, guards) else None

    def _guards(self, moved: Callable[[Any], Any]) -> list[Any]:
        """All guards on the block and what is in it, those from before its trace as well."""
        if self._counted is None:
            self._counted = counted_guards(self.call.tx.output.guards, moved)
        return self._counted

    _counted: list[Any] | None = None

    def _guards_hold(self, call: BlockCall, moved: Callable[[Any], Any], guards: list[Any]) -> bool:
        """Whether the guards of this block hold for the values of another one."""
        names, resolved = _scope(call.tx), dict[Any, Any]()
        for guard in guards:
            if guard.create_fn_name() == "DUPLICATE_INPUT":
                pair = (guard.originating_source, guard.create_fn.keywords["source_b"])
                one, another = (moved(source).get_value(names, {}, resolved) for source in pair)
                if one is not another:
                    return False
        for source, handler, expected, _ in self.condition.guards:
            other = moved(source)
            if other is not source and not handler.eval_fn(other.get_value(names, {}, resolved), expected):
                return False
        return True


class Met:
    """By what sources one graph's trace has met each object so far.

    An object is met once: whoever looks at it again, by whatever name, gets the variable with the first name, and torch
    does not tell. So a block of which a part was also met by another way than through it (a global, another module)
    may have been compared with that, which no guard tells, and its trace is right for no other block.
    """

    def __init__(self) -> None:
        self._seen: set[Any] = set()
        self._names: dict[int, set[str]] = {}
        self._resolved: dict[Any, Any] = {}

    def look(self, tx: Any, sources: Iterable[Any]) -> None:
        """Take note of ``sources``, and of all that have been met outside the blocks, or have guards."""
        guarded = (guard.originating_source for guard in tx.output.guards)
        new = {*sources, *tx.output.current_tracer.traced_sources, *guarded} - self._seen
        self._seen |= new
        names = _scope(tx)
        for source in new:
            try:
                value = source.get_value(names, {}, self._resolved)
            except Exception:  # noqa: BLE001 - made while tracing: no part of a model
                continue
            self._names.setdefault(id(value), set()).add(source.name)

    def otherwise(self, call: BlockCall) -> bool:
        """Whether a part of the block of ``call`` was met by another way than through the block."""
        block = call.fingerprint.arg_sources[0].name
        through = (f"{block}.", f"{block}[")
        return any(
            name != block and not name.startswith(through)
            for part in _parts(call.module)
            for name in self._names.get(part, ())
        )


def _scope(tx: Any) -> dict[str, Any]:
    return {"G": tx.output.root_tx.f_globals, "L": tx.output.root_tx.f_locals}


@dataclass(frozen=True)
class Stamped:
    """The trace of one block that serves the call of another one; called, it puts that call into the graph."""

    trace: BlockTrace
    call: BlockCall
    moved: Moved
    guards: list[Any]

    def __call__(self) -> Any:
        return stamp(self.call.tx, self.call.fingerprint, self.trace.kept, self.moved, self.guards)


def kept_trace(call: BlockCall, made: Any) -> BlockTrace:
    """What torch kept of a trace: none where it has effects. Raises :class:`NotRepeatable` where none can be reused."""
    from torch._dynamo.variables.invoke_subgraph import LiftedSyntheticObject

    if len(made) != 1:
        kind = type(call.module).__name__
        raise NotRepeatable(f"{kind} has side effects, or returns something else than tensors")
    ((condition, kept),) = made
    if any(isinstance(lifted, LiftedSyntheticObject) for lifted in kept.subgraph_input_mapping):
        raise NotRepeatable("a block makes an object that becomes an input of its graph")
    if any(node.op == "get_attr" and _is_graph(kept.body_gmod, node) for node in kept.body_gmod.graph.nodes):
        # Torch does not count what an inner region read as read by the outer one.
        raise NotRepeatable("a block has a region of its own that torch traces by itself")
    return BlockTrace(call, condition, kept, changes_of(call.tx))


def _is_graph(owner: Any, node: Any) -> bool:
    return isinstance(getattr(owner, node.target, None), nn.Module)


def _parts(block: nn.Module) -> set[int]:
    """The modules, parameters and buffers of a block, by ``id``."""
    return {id(part) for part in (*block.modules(), *block.parameters(), *block.buffers())}


# ---- what the trace has changed so far -------------------------------------------------------------------


def changes_of(tx: Any) -> Changes:
    """The objects that the trace has changed so far and did not make, by ``id``, with what they hold now.

    Torch compares attributes that were set with what a block read; a list that was appended to is not among them, nor
    an attribute that was set before.
    """
    from torch._dynamo.variables.base import AttributeMutationExisting
    from torch._dynamo.variables.tensor import TensorVariable

    effects = tx.output.side_effects
    attributes = effects.store_attr_mutations
    found: Changes = {}
    for key, vt in effects.id_to_variable.items():
        plain = type(vt) is TensorVariable and type(vt.mutation_type) is AttributeMutationExisting
        if plain and vt not in attributes:  # most of them; `is_modified` says the same at a higher price
            continue
        if vt.source is None or not effects.is_modified(vt):
            continue
        held: list[Any] = [vt]
        for name, value in attributes.get(vt, {}).items():
            held += [name, value]
        found[key] = (*held, *_content(vt, effects))
    return found


def _content(vt: Any, effects: Any) -> list[Any]:
    """What a changed list, dictionary or set holds; for what else holds something, an object that equals nothing."""
    from torch._dynamo.variables.dicts import ConstDictVariable
    from torch._dynamo.variables.lists import ListVariable

    held: list[Any] = []
    known = False
    for part in (vt, getattr(vt, "_base_vt", None)):  # torch 2.15 has none: a user's own list holds its items
        if type(part) is ListVariable:
            known, held = True, [*held, *part.items]
        elif type(part) is ConstDictVariable:
            known, held = True, [*held, *part.items.keys(), *part.items.values()]
    is_base_modified = getattr(vt, "is_base_vt_modified", None)
    modified = getattr(vt.mutation_type, "is_modified", False) or (
        is_base_modified is not None and is_base_modified(effects)
    )
    return [*held, object()] if modified and not known else held


def _same_changes(one: Changes, other: Changes) -> bool:
    return one.keys() == other.keys() and all(
        len(held) == len(other[key]) and all(map(is_, held, other[key])) for key, held in one.items()
    )
