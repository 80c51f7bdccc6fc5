"""The door to Dynamo's subgraphs: a call of a repeated block becomes a subgraph that is traced once.

What is reached here, and why there is no public way: ``nested_compile_region`` marks a function in its source and
leaves no say in when a trace is reused. So four functions of ``torch._dynamo.variables`` get a layer that asks the
:class:`Decisions` of the compile that runs in this thread; without one they do what torch does. Read and run on torch
2.12, the first that can reuse a trace, and 2.13.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from functools import cache, wraps
from typing import Any, Protocol

import torch
from torch import nn

from passprint.compiler.trace.stamps import Moved, stamp
from passprint.errors import PassprintError

BLOCK = "passprint_block"
"""The entry of a node's ``meta`` that names the block that a subgraph call stands for."""


class NotRepeatable(PassprintError):
    """A block cannot be traced once for all; the model has to be traced in full. Never leaves this package."""


class Decisions(Protocol):
    """What a trace is asked; `RepeatedBlocks` answers."""

    reused: int
    latest_move: tuple[Any, Any, Any] | None

    def takes(self, module: nn.Module, tx: Any, arguments: Sequence[Any]) -> bool: ...

    def entering(self, tx: Any) -> None: ...

    def traced_as_subgraph(self, module: object, entry: Any | None, changes: Changes) -> None: ...

    def stamped_out(self, module: object) -> None: ...

    def may_stand_for(self, first: object, other: object, read: str) -> bool: ...

    def own_parts(self, block: Any) -> set[int]: ...

    def read_by(self, condition: Any, block: str, guards: Any) -> str: ...

    def changes_before(self, cached: Any) -> Changes: ...

    def guards_of(self, cached: Any, new_source: Callable[[Any], Any], guards: Any) -> list[Any]: ...


Changes = dict[int, tuple[Any, ...]]
"""By ``id``, what each changed object holds."""

_tracing: ContextVar[Decisions | None] = ContextVar("passprint_repeated_blocks", default=None)


def enter(decisions: Decisions) -> Token[Decisions | None]:
    """From here on, Dynamo's traces in this thread ask ``decisions``."""
    _hook_into_dynamo()
    return _tracing.set(decisions)


def leave(token: Token[Decisions | None]) -> None:
    """The end of what `enter` began."""
    _tracing.reset(token)


def _run_block(block: Any, *args: Any, **kwargs: Any) -> Any:
    return block(*args, **kwargs)


# Torch raises an error at the ninth different trace; here the count is in `RepeatedBlocks.MAX_TRACES`.
vars(_run_block)["__marked_compile_region_max_reuse_entries__"] = 1 << 30


def can_reuse() -> bool:
    """Whether this torch can reuse the trace of a subgraph."""
    try:
        import torch._dynamo.variables.invoke_subgraph as subgraphs
    except ImportError:
        return False
    wanted = ("build_input_fingerprint", "is_reusable", "stamp_out_subgraph", "InputFingerprint")
    return all(hasattr(subgraphs, name) for name in wanted)


def is_data(argument: Any) -> bool:
    """A tensor, a number, a constant, or a tuple of them: what a block may take without sharing Python state."""
    from torch._dynamo.variables.invoke_subgraph import InputTag, classify_vt
    from torch._dynamo.variables.lists import TupleVariable

    argument = argument.realize()
    if type(argument) is TupleVariable:
        return all(is_data(item) for item in argument.items)
    tag = classify_vt(argument)
    return tag is not None and tag is not InputTag.MODULE


def _flatten(argument: Any, leaves: list[Any]) -> object:
    """Append the leaves of an argument; returns its shape, to be compared."""
    from torch._dynamo.variables.lists import TupleVariable

    argument = argument.realize()
    if type(argument) is TupleVariable:
        return tuple(_flatten(item, leaves) for item in argument.items)
    leaves.append(argument)
    return None


@cache
def _hook_into_dynamo() -> None:
    """Put our decisions into Dynamo, once in a process; what is traced outside a `RepeatedBlocks` sees torch's own."""
    import torch._dynamo.variables.invoke_subgraph as subgraphs
    from torch._dynamo.variables.nn_module import UnspecializedNNModuleVariable

    _hook(UnspecializedNNModuleVariable, "call_function", _call_function)
    _hook(subgraphs, "build_input_fingerprint", _build_input_fingerprint)
    _hook(subgraphs, "is_reusable", _is_reusable)
    _hook(subgraphs, "stamp_out_subgraph", _stamp_out_subgraph)


def _hook(owner: Any, name: str, ours: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def choose(*args: Any, **kwargs: Any) -> Any:
        repeats = _tracing.get()
        return original(*args, **kwargs) if repeats is None else ours(repeats, original, *args, **kwargs)

    setattr(owner, name, choose)


def _call_function(
    repeats: Decisions, original: Callable[..., Any], self: Any, tx: Any, args: Any, kwargs: Any
) -> Any:
    """A call of a block becomes a call of a subgraph."""
    from torch._dynamo.variables import UserFunctionVariable
    from torch._dynamo.variables.higher_order_ops import TorchHigherOrderOperatorVariable

    if not self.source or not repeats.takes(self.value, tx, (*args, *kwargs.values())):
        return original(self, tx, args, kwargs)
    repeats.entering(tx)
    invoke_subgraph: Any = torch._higher_order_ops.invoke_subgraph
    function: Any = _run_block
    region = TorchHigherOrderOperatorVariable.make(invoke_subgraph)
    reused, before = repeats.reused, entries(tx)
    result = region.call_function(tx, [UserFunctionVariable(function), self, *args], kwargs)
    if repeats.reused == reused:
        made = entries(tx)
        entry = made[-1][1] if len(made) > len(before) else None
        repeats.traced_as_subgraph(self.value, entry, _changes(tx))
    calls = (n for n in reversed(tx.output.graph.nodes) if n.target is invoke_subgraph)
    next(calls).meta[BLOCK] = _stack_name(self.get_nn_module_stack_source().name)
    return result


def _cache(tx: Any) -> Any:
    hops = tx.output.tracing_context.hop_dispatch_set_cache
    return hops.get_cache(torch._higher_order_ops.invoke_subgraph)


def entries(tx: Any) -> list[tuple[Any, Any]]:
    """The traces of blocks that can be used again so far: each with its condition."""
    return list(_cache(tx).subgraph_reuse_cache.get(_run_block.__code__, ()))


def _stack_name(source: str) -> str:
    """The module's path as Dynamo writes it into a node's module stack."""
    return re.sub(r"\._(?:modules|parameters|buffers)\[(['\"])([^'\"\]]+)\1\]", r".\2", source)


def _build_input_fingerprint(
    repeats: Decisions, original: Callable[..., Any], tx: Any, args: Any, kwargs: Any
) -> Any:
    """The arguments' shape without tracing through pytree, which is what makes torch's own lookup slow.

    The shape holds more than torch's: which arguments are the same value, and the constants.
    """
    from torch._dynamo.variables import invoke_subgraph as subgraphs

    leaves: list[Any] = []
    spec = (
        tuple(_flatten(argument, leaves) for argument in args),
        tuple((name, _flatten(argument, leaves)) for name, argument in kwargs.items()),
    )
    tags = [subgraphs.classify_vt(leaf) for leaf in leaves]
    if any(tag is None for tag in tags):
        return original(tx, args, kwargs)
    values = (subgraphs.InputTag.TENSOR, subgraphs.InputTag.SYMNODE)
    nodes = [leaf.as_proxy().node for tag, leaf in zip(tags, leaves, strict=True) if tag in values]
    constants = [
        (type(leaf.value), repr(leaf.value))
        for tag, leaf in zip(tags, leaves, strict=True)
        if tag is subgraphs.InputTag.CONSTANT
    ]
    shape = (spec, [nodes.index(node) for node in nodes], constants)
    sources = [getattr(leaf, "source", None) for leaf in leaves]
    fingerprint: Any = subgraphs.InputFingerprint
    return fingerprint(list(zip(tags, leaves, strict=True)), sources, False, shape)


def _moved(repeats: Decisions, cached: Any, fingerprint: Any) -> Moved:
    """What moves the sources of ``cached`` to the block of ``fingerprint``: asked for by the check and by the stamp."""
    latest = repeats.latest_move
    if latest is None or latest[0] is not cached or latest[1] is not fingerprint:
        latest = repeats.latest_move = (cached, fingerprint, Moved(cached, fingerprint))
    moved: Moved = latest[2]
    return moved


def _is_reusable(
    repeats: Decisions,
    original: Callable[..., Any],
    tx: Any,
    condition: Any,
    fingerprint: Any,
    cached: Any,
) -> bool:
    """Equal state, nothing changed since, guards that hold, and then torch's comparison of the arguments."""
    from torch._dynamo.variables.invoke_subgraph import LiftedBoundSymbol, LiftedSyntheticObject

    if any(isinstance(lifted, LiftedSyntheticObject) for lifted in cached.subgraph_input_mapping):
        raise NotRepeatable("a block makes an object that becomes an input of its graph")
    first, other = tx.output.resolve_source_value(cached.arg_sources[0]), fingerprint.flat_vts[0][1].value
    read = repeats.read_by(condition, cached.arg_sources[0].name, tx.output.guards)
    if not repeats.may_stand_for(first, other, read):
        return False
    for lifted in cached.subgraph_input_mapping:
        symbol = lifted.expr if isinstance(lifted, LiftedBoundSymbol) else None
        if symbol is not None and symbol not in tx.output.current_tracer.bound_symbols:
            return False  # the symbol has become a number since
    new_source, own = (
        _moved(repeats, cached, fingerprint),
        repeats.own_parts(first) | repeats.own_parts(other),
    )
    changes = _changes(tx)
    if changes.keys() & own or not _same_changes(changes, repeats.changes_before(cached)):
        return False
    guards = repeats.guards_of(cached, new_source, tx.output.guards)
    if not _guards_hold(tx, condition, cached, guards, new_source, own):
        return False
    # What is left to torch is to compare the arguments; its own way to the guards' values takes ten times as long.
    arguments = dataclasses.replace(condition, guards=[], traced_sources=type(condition.traced_sources)())
    return bool(original(tx, arguments, fingerprint, cached))


def _changes(tx: Any) -> Changes:
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
        for part in (vt, getattr(vt, "_base_vt", None)):
            items = getattr(part, "items", None)
            held += (
                [*items.keys(), *items.values()]
                if isinstance(items, dict)
                else items
                if isinstance(items, (list, tuple))
                else []
            )
        found[key] = tuple(held)
    return found


def _same_changes(one: Changes, other: Changes) -> bool:
    return one.keys() == other.keys() and all(
        len(held) == len(other[key]) and all(map(operator.is_, held, other[key])) for key, held in one.items()
    )


def _guards_hold(
    tx: Any, condition: Any, cached: Any, guards: list[Any], new_source: Callable[[Any], Any], own: set[int]
) -> bool:
    """Whether the guards of the first block hold for the values of another one.

    Not where the trace met a part of either block by another way than through it (``own``: their ``id``): there it may
    have compared the block with itself, which no guard tells.
    """
    from torch._dynamo.variables.invoke_subgraph import LiftedCapturedSource

    captured = [
        lift.source for lift in cached.subgraph_input_mapping if isinstance(lift, LiftedCapturedSource)
    ]
    names = {"G": tx.output.root_tx.f_globals, "L": tx.output.root_tx.f_locals}
    resolved: dict[Any, Any] = {}
    for source in (*condition.traced_sources, *captured):
        if new_source(source) is source and id(source.get_value(names, {}, resolved)) in own:
            return False
    for guard in guards:
        if guard.create_fn_name() == "DUPLICATE_INPUT":
            pair = (guard.originating_source, guard.create_fn.keywords["source_b"])
            one, another = (new_source(source).get_value(names, {}, resolved) for source in pair)
            if one is not another:
                return False
    for source, handler, expected, _ in condition.guards:
        moved = new_source(source)
        if moved is not source and not handler.eval_fn(moved.get_value(names, {}, resolved), expected):
            return False
    return True


def _stamp_out_subgraph(
    repeats: Decisions, original: Callable[..., Any], tx: Any, fingerprint: Any, cached: Any
) -> Any:
    new_source = _moved(repeats, cached, fingerprint)
    guards = repeats.guards_of(cached, new_source, tx.output.guards)
    result = stamp(original, tx, fingerprint, cached, new_source, guards)
    repeats.stamped_out(fingerprint.flat_vts[0][1].value)
    return result
