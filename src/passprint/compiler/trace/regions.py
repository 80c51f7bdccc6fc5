"""The door to Dynamo's subgraphs: a call of a repeated block becomes a subgraph that is traced once.

``nested_compile_region`` marks a function in its source and leaves no say in when a trace is reused. So one function of
Dynamo gets a layer, ``UnspecializedNNModuleVariable.call_function``, which asks the :class:`Decisions` of the compile
that runs in this thread; without one it does what torch does. An earlier trace that serves is stamped out, and torch's
own search for one is never asked: each new trace is taken out of torch's cache.

What is reached here stands in ``patches.BLOCKS``, with the versions of torch that it was read against.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Protocol

import torch
from torch import nn

from passprint.compiler import patches
from passprint.errors import PassprintError

BLOCK = "passprint_block"
"""The entry of a node's ``meta`` that names the block that a subgraph call stands for."""

MOVED = (
    *(AttributeError, TypeError, NameError, ImportError, LookupError),
    *(AssertionError, ValueError, NotImplementedError),
)
"""What our code raises where torch is not as it was read. Dynamo's own errors are none of these."""


class NotRepeatable(PassprintError):
    """A block cannot be traced once for all; the model has to be traced in full. Never leaves this package."""


@dataclass(frozen=True)
class BlockCall:
    """One call of a block as Dynamo sees it: the variables of the block and its arguments.

    ``fingerprint`` is torch's word for the leaves of the arguments, the block first; ``shape`` is what must be equal
    for a trace to be reused: how the arguments are nested, which are the same value, and the constants.
    """

    original: Callable[..., Any]
    block: Any
    tx: Any
    args: Sequence[Any]
    kwargs: dict[str, Any]
    fingerprint: Any
    shape: object

    @property
    def module(self) -> Any:
        """The block itself."""
        return self.block.value


class Stamp(Protocol):
    """An earlier trace that serves a call."""

    def __call__(self) -> Any:
        """Put the call into the graph; returns its result as Dynamo's variable."""


class Decisions(Protocol):
    """What a trace is asked; `RepeatedBlocks` answers."""

    def takes(self, module: nn.Module, tx: Any, arguments: Sequence[Any]) -> bool: ...

    def serving(self, call: BlockCall) -> Stamp | None: ...

    def entered(self) -> None: ...

    def was_stamped(self, call: BlockCall) -> None: ...

    def was_traced(self, call: BlockCall, made: Sequence[tuple[Any, Any]]) -> None: ...


_tracing: ContextVar[Decisions | None] = ContextVar("passprint_repeated_blocks", default=None)


def can_reuse() -> bool:
    """Put the layer into Dynamo, if it is not there; returns whether this torch has a place for it."""
    return patches.install(patches.BLOCKS, _call_function)


def enter(decisions: Decisions) -> Token[Decisions | None]:
    """From here on, Dynamo's traces in this thread ask ``decisions``."""
    return _tracing.set(decisions)


def leave(token: Token[Decisions | None]) -> None:
    """The end of what `enter` began."""
    _tracing.reset(token)


def is_data(argument: Any) -> bool:
    """A tensor, a number, a constant, or a tuple of them: what a block may take without sharing Python state."""
    from torch._dynamo.variables.invoke_subgraph import InputTag, classify_vt
    from torch._dynamo.variables.lists import TupleVariable

    argument = argument.realize()
    if type(argument) is TupleVariable:
        return all(is_data(item) for item in argument.items)
    return classify_vt(argument) in (InputTag.TENSOR, InputTag.SYMNODE, InputTag.CONSTANT)


def _call_function(original: Callable[..., Any], self: Any, tx: Any, args: Any, kwargs: Any) -> Any:
    """A call of a block becomes a call of a subgraph."""
    repeats = _tracing.get()
    if repeats is None:
        return original(self, tx, args, kwargs)
    try:
        call = serving = None
        if self.source and repeats.takes(self.value, tx, (*args, *kwargs.values())):
            call = _block_call(original, self, tx, args, kwargs)
            serving = repeats.serving(call)
    except MOVED as error:  # nothing has been put into the graph
        patches.lose(patches.BLOCKS, error)
        call = None
    if call is None:
        return original(self, tx, args, kwargs)
    repeats.entered()
    if serving is not None:
        with _as_it_was_read():
            result = serving()
            repeats.was_stamped(call)
    else:
        result = _trace(call, repeats)
    with _as_it_was_read():
        calls = (n for n in reversed(tx.output.graph.nodes) if n.target is _invoke_subgraph())
        next(calls).meta[BLOCK] = _stack_name(self.get_nn_module_stack_source().name)
    return result


@contextmanager
def _as_it_was_read() -> Iterator[None]:
    """What fails in here leaves half a call in the graph: the model is traced again, in full."""
    try:
        yield
    except MOVED as error:
        patches.lose(patches.BLOCKS, error)
        raise NotRepeatable(f"torch is not as it was read ({type(error).__name__}: {error})") from error


def _invoke_subgraph() -> Any:
    return torch._higher_order_ops.invoke_subgraph


def _trace(call: BlockCall, repeats: Decisions) -> Any:
    """Let torch trace a block as a subgraph, and take what it has kept for later blocks out of its hands."""
    from torch._dynamo.variables.higher_order_ops import TorchHigherOrderOperatorVariable

    with _as_it_was_read():
        hops = call.tx.output.tracing_context.hop_dispatch_set_cache
        kept = hops.get_cache(_invoke_subgraph()).subgraph_reuse_cache
        kept.pop(_stand_in.__code__, None)
        region = TorchHigherOrderOperatorVariable.make(_invoke_subgraph())
        leaves = [leaf for _, leaf in call.fingerprint.flat_vts]
        function = _block_function()(call)
    result = region.call_function(call.tx, [function, *leaves], {})
    with _as_it_was_read():
        repeats.was_traced(call, kept.pop(_stand_in.__code__, ()))
    return result


def _stand_in(block: Any, *leaves: Any) -> Any:
    """What the subgraph is a trace of, as far as torch is told: its code is the name of our traces in torch's cache."""


@cache
def _block_function() -> Any:
    """The class of variables that stand for `_stand_in` and call a block with the arguments of its call.

    Torch is given the arguments' leaves instead, which are all that it compares and lifts: for nested and named
    arguments it would trace through pytree, and guard on pytree's registry.
    """
    from torch._dynamo.variables.functions import UserFunctionVariable

    class BlockFunction(UserFunctionVariable):
        def __init__(self, block_call: BlockCall) -> None:
            stand_in: Any = _stand_in
            super().__init__(stand_in)
            self._block_call = block_call

        def call_function(self, tx: Any, args: Any, kwargs: Any) -> Any:
            call = self._block_call
            return call.original(call.block, tx, call.args, call.kwargs)

    return BlockFunction


def _stack_name(source: str) -> str:
    """The module's path as Dynamo writes it into a node's module stack."""
    return re.sub(r"\._(?:modules|parameters|buffers)\[(['\"])([^'\"\]]+)\1\]", r".\2", source)


def _block_call(original: Callable[..., Any], block: Any, tx: Any, args: Any, kwargs: Any) -> BlockCall:
    from torch._dynamo.variables import invoke_subgraph as subgraphs

    leaves: list[Any] = []
    tuples: list[Any] = []
    nesting = (
        tuple(_flatten(argument, leaves, tuples) for argument in args),
        tuple((name, _flatten(argument, leaves, tuples)) for name, argument in kwargs.items()),
    )
    tags = [subgraphs.classify_vt(leaf) for leaf in leaves]
    values = (subgraphs.InputTag.TENSOR, subgraphs.InputTag.SYMNODE)
    nodes = [leaf.as_proxy().node for tag, leaf in zip(tags, leaves, strict=True) if tag in values]
    constants = [_constant(leaf.value) for tag, leaf in zip(tags, leaves, strict=True) if tag not in values]
    shape = (nesting, [nodes.index(node) for node in nodes], constants)
    tagged: list[Any] = [(subgraphs.classify_vt(block), block), *zip(tags, leaves, strict=True)]
    fingerprint = subgraphs.InputFingerprint(tagged, [getattr(leaf, "source", None) for _, leaf in tagged])
    return BlockCall(original, block, tx, args, kwargs, fingerprint, shape)


def _flatten(argument: Any, leaves: list[Any], tuples: list[Any]) -> object:
    """Append the leaves of an argument; returns how they are nested, and which tuples are the same one."""
    from torch._dynamo.variables.lists import TupleVariable

    argument = argument.realize()
    if type(argument) is not TupleVariable:
        leaves.append(argument)
        return None
    same = next((number for number, known in enumerate(tuples) if known is argument), len(tuples))
    tuples.append(argument)
    return (same, *(_flatten(item, leaves, tuples) for item in argument.items))


def _constant(value: object) -> object:
    """A constant argument, to be compared: ``-0.0`` is not ``0.0``, and a member of an enum is itself."""
    return (type(value), id(value) if isinstance(value, Enum) else repr(value))
