"""Which values of a graph may share memory, who writes to it, and what that forbids.

Inductor's post-grad graphs are functional but for the writes to inputs at their end. A pass may still meet
operators that write to memory in the middle, and must not make two outputs, or an input and an output, share
memory that they did not share before. One analysis answers both, conservatively: what it does not know may
share and may write.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch.fx import Graph, Node

from passprint.passes.library.layout import same, tensor_of

#: Higher-order operators that give fresh tensors although they carry no schema.
_FUNCTIONAL = frozenset({"auto_functionalized", "auto_functionalized_v2", "triton_kernel_wrapper_functional"})

#: Operators whose result is a view of their first argument although their schema does not say so.
_UNDECLARED_VIEWS = frozenset({"aten::_unsafe_view"})

#: What schemas of ``split``, ``unbind`` and the like say of their argument: parts of it are in the list they give.
_IN_A_LIST = "*"

#: What the annotation of a node may be that holds no tensor.
NUMBERS = (int, float, torch.SymInt, torch.SymFloat, torch.SymBool)


@dataclass(eq=False)
class _Memory:
    """A set of values that may share memory."""

    is_input: bool = False
    writes: set[Node] = field(default_factory=set)
    outputs: set[Node] = field(default_factory=set)
    members: list[Node] = field(default_factory=list)


class Aliasing:
    """The memory of a graph's values, kept right while a pass merges values into each other.

    Nodes that a pass adds are unknown to it: only nodes that were there at the start may be asked about.
    """

    def __init__(self, graph: Graph) -> None:
        self._position = {node: index for index, node in enumerate(graph.nodes)}
        self._memory: dict[Node, _Memory] = {}
        for node in graph.nodes:
            self._enter(node)

    def position(self, node: Node) -> int:
        """Where ``node`` stood in the graph when the analysis was made."""
        return self._position[node]

    def last_write_before(self, node: Node, reader: Node) -> int:
        """The position of the last write to ``node``'s memory before ``reader``; -1 if there is none."""
        at = self._position[reader]
        return max((p for p in map(self.position, self._memory[node].writes) if p < at), default=-1)

    def may_replace_view(self, view: Node, base: Node) -> bool:
        """Whether ``base`` may stand for ``view``, which has its memory, layout and numbers.

        An output must not become the same object as an input or another output: the caller of the graph was
        told that they are two tensors.
        """
        return not self._is_output(view) or (base.op == "call_function" and not self._is_output(base))

    def is_returned(self, node: Node) -> bool:
        """Whether ``node``, or what may be a view of its memory, is an output."""
        return bool(self._memory[node].outputs)

    def may_replace_copy(self, copy: Node, source: Node) -> bool:
        """Whether ``source`` may stand for ``copy``, which has the same numbers in memory that may be fresh.

        Not where a write could be seen through the memory they would then share, and not where an output
        would begin to share memory with an input or with another output.
        """
        if self._written_in_use(copy, since=copy, memories=(copy, source)):
            return False
        ours, theirs = self._memory[copy], self._memory[source]
        if ours is theirs:  # or so it seems: the analysis is not sure that the copy is one
            return not any(node in ours.outputs for node in self._views(copy))
        return not ours.outputs or not (theirs.is_input or theirs.outputs)

    def may_merge(self, later: Node, earlier: Node) -> bool:
        """Whether ``earlier`` may stand for ``later``, an equal expression computed from the same values."""
        if self._written_in_use(later, since=earlier, memories=(later, earlier)):
            return False
        ours, theirs = self._memory[later], self._memory[earlier]
        if ours is theirs:
            return self.may_replace_view(later, earlier)
        return not (ours.outputs and theirs.outputs)

    def _written_in_use(self, node: Node, since: Node, memories: Iterable[Node]) -> bool:
        """Whether one of the memories is written to after ``since`` and before the last use of ``node``."""
        users = {user for view in self._views(node) for user in view.users}
        last_use = max(map(self.position, users), default=-1)
        writes = {write for memory in memories for write in self._memory[memory].writes}
        return any(self._position[since] < self._position[write] <= last_use for write in writes)

    def _views(self, node: Node) -> list[Node]:
        """``node`` and whatever was made from it and may share its memory."""
        memory, found = self._memory[node], {node: None}
        pending = [node]
        while pending:
            for user in pending.pop().users:
                if user not in found and self._memory[user] is memory:
                    found[user] = None
                    pending.append(user)
        return list(found)

    def replace(self, node: Node, other: Node) -> None:
        """Let ``other`` stand for ``node`` everywhere, and erase ``node``."""
        memory = self._join([self._memory[node], self._memory[other]])
        if node in memory.outputs:
            memory.outputs.discard(node)
            memory.outputs.add(other)
        before, after = tensor_of(node), tensor_of(other)
        if before is not None and after is not None:
            move_views(node, before, after)
        node.replace_all_uses_with(other)
        self.erase(node)

    def erase(self, node: Node) -> None:
        """Erase ``node``, which nothing uses any more, and forget it."""
        self._memory.pop(node).members.remove(node)
        node.graph.erase_node(node)

    def _is_output(self, node: Node) -> bool:
        return node in self._memory[node].outputs

    def _enter(self, node: Node) -> None:
        if node.op == "output":
            for value in node.all_input_nodes:
                self._memory[value].outputs.add(value)
            memory = _Memory()
        else:
            memory = self._join([self._memory[value] for value in _may_share(node)])
            memory.is_input |= node.op in ("placeholder", "get_attr")
            for value in _may_write(node):
                self._memory[value].writes.add(node)
        memory.members.append(node)
        self._memory[node] = memory

    def _join(self, memories: list[_Memory]) -> _Memory:
        distinct = {id(memory): memory for memory in memories}.values()
        joined = max(distinct, key=lambda memory: len(memory.members), default=_Memory())
        for memory in distinct:
            if memory is joined:
                continue
            joined.is_input |= memory.is_input
            joined.writes |= memory.writes
            joined.outputs |= memory.outputs
            joined.members += memory.members
            for member in memory.members:
                self._memory[member] = joined
        return joined


def _holds_tensors(node: Node) -> bool:
    """Whether the value is, or may be, or may hold a tensor."""
    return not isinstance(node.meta.get("val"), NUMBERS)


def _may_share(node: Node) -> Iterator[Node]:
    """The arguments whose memory the value of ``node`` may share."""
    if node.op in ("placeholder", "get_attr") or not _holds_tensors(node):
        return
    inputs = [value for value in node.all_input_nodes if _holds_tensors(value)]
    if not isinstance(node.target, torch._ops.OpOverload):
        if node.target is operator.getitem or getattr(node.target, "__name__", "") not in _FUNCTIONAL:
            yield from inputs
        return
    if node.target._schema.name in _UNDECLARED_VIEWS:
        yield from inputs
        return
    returned = {name for result in node.target._schema.returns for name in _alias_names(result)}
    for argument, values in _tensor_arguments(node):
        names = _alias_names(argument)
        if returned & names or _IN_A_LIST in names:
            yield from values
    # An operator that converts may hand its argument back where there is nothing to convert.
    if node.target._schema.name == "prims::convert_element_type" and same_dtype(node):
        yield from inputs


def _may_write(node: Node) -> Iterator[Node]:
    """The arguments to whose memory ``node`` may write."""
    if node.op in ("placeholder", "get_attr"):
        return
    if isinstance(node.target, torch._ops.OpOverload):
        for argument, values in _tensor_arguments(node):
            if argument.alias_info is not None and argument.alias_info.is_write:
                yield from values
        return
    if node.target is operator.getitem or not _holds_tensors(node):
        return
    if getattr(node.target, "__name__", "") not in _FUNCTIONAL:
        yield from (value for value in node.all_input_nodes if _holds_tensors(value))


def same_dtype(node: Node) -> bool:
    """Whether ``node`` gives the dtype of its first argument."""
    value, source = tensor_of(node), tensor_of(node.args[0])
    return value is not None and source is not None and value.dtype == source.dtype


def _alias_names(argument: torch.Argument) -> set[str]:
    info = argument.alias_info
    return set() if info is None else {*info.before_set, *info.after_set}


def _tensor_arguments(node: Node) -> Iterator[tuple[torch.Argument, list[Node]]]:
    schema = node.target._schema  # type: ignore[union-attr]  # the callers checked for OpOverload
    for index, argument in enumerate(schema.arguments):
        given = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
        values = list(_nodes_in(given))
        if values:
            yield argument, values


def _nodes_in(argument: object) -> Iterator[Node]:
    if isinstance(argument, Node):
        yield argument
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from _nodes_in(item)


def move_views(node: Node, before: torch.Tensor, after: torch.Tensor) -> None:
    """Annotate the views of ``node``, whose value was ``before``, as views of ``after``.

    Both have the same strides. Inductor asks the annotations which values share memory.
    """
    if not same(before.stride(), after.stride()):
        return
    shift = after.storage_offset() - before.storage_offset()
    pending = [node]
    while pending:
        for user in pending.pop().users:
            value = tensor_of(user)
            if value is None or not shares_storage(value, before):
                continue
            pending.append(user)
            if value.dtype == after.dtype:
                offset = value.storage_offset() + shift
                user.meta["val"] = after.as_strided(value.shape, value.stride(), offset)


def shares_storage(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two annotations stand for values in one memory."""
    return bool(left.untyped_storage()._cdata == right.untyped_storage()._cdata)
