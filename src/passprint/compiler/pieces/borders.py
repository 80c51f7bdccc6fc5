"""What crosses from one run of nodes to another, and what stays on one side.

Tensors and symbols cross: they are inputs and outputs of pieces. The rest does not:

- the results of an operator with several results are taken out where the operator is,
- arithmetic on sizes and nested graphs are copied into each piece that uses them, so that pieces that do the same stay
  the same, wherever a size was first computed,
- any other value keeps its users in its own piece (a tuple as a whole; a float from data, with which as an input torch
  cannot always store a piece),
- a tensor whose shape is changed in place stays in one piece until it is.

A symbol comes in by itself where something before the piece has it as an integer, or with a tensor that has it as a
size: both are where Inductor's code reads it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch.fx import Graph, Node

from passprint.compiler.pieces.piece import Piece, is_attribute, is_nested_graph
from passprint.compiler.pieces.symbols import carried_symbols, free_symbols, is_from_data

OUTSIDE = -1
"""The place of what is there before any run: the graph's inputs and attributes."""

_SCALARS = (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)
_ARITHMETIC = ("_operator", "operator", "math", "builtins")


class Run(NamedTuple):
    """Neighbouring nodes with one label."""

    label: str
    nodes: list[Node]


def is_copied(node: Node) -> bool:
    """True for a node that does nothing but compute a number from numbers, or names a nested graph."""
    return is_nested_graph(node) or _is_arithmetic(node) or _is_given_number(node)


def _is_given_number(node: Node) -> bool:
    """True where a number that the model was called with is read from the tensor that Dynamo made of it.

    Only a piece that reads it serves other numbers: torch turns the arithmetic into that of tensors.
    """
    value = value_of(node)
    return (
        node.target == "item"
        and node.all_input_nodes[0].op == "placeholder"
        and isinstance(value, torch.SymFloat)
        and not any(map(is_from_data, free_symbols(value)))
    )


def _is_arithmetic(node: Node) -> bool:
    if node.op != "call_function" or not isinstance(value_of(node), _SCALARS):
        return False
    used = node.all_input_nodes
    if not used or not all(isinstance(value_of(n), _SCALARS) for n in used):
        return False
    name = getattr(node.target, "__name__", "")
    module = getattr(node.target, "__module__", None)
    return module in _ARITHMETIC or (module == "torch" and name.lstrip("_").startswith("sym_"))


def value_of(node: Node) -> object:
    """What Dynamo found a node to give: fake tensors, symbolic numbers."""
    return node.meta.get("example_value")


def crosses(node: Node) -> bool:
    """Whether a piece can take this value from outside."""
    return isinstance(value_of(node), (torch.Tensor, torch.SymInt))


# ---- what stays together ----------------------------------------------------------------------------------


def with_elements(runs: Sequence[Run]) -> list[Run]:
    """Move each ``getitem`` of a value that does not cross to the run that makes the value."""
    home: dict[Node, int] = {}
    moved: list[Run] = [Run(run.label, []) for run in runs]
    for index, run in enumerate(runs):
        for node in run.nodes:
            owner = node.args[0] if node.target is operator.getitem else None
            place = home.get(owner, index) if isinstance(owner, Node) and not crosses(owner) else index
            home[node] = place
            moved[place].nodes.append(node)
    return [run for run in moved if run.nodes]


def joined(runs: Sequence[Run]) -> list[Run]:
    """Join the runs that a value ties together, and all between them."""
    place = _places(runs)
    until = list(range(len(runs)))
    for node, index in place.items():
        if not crosses(node):
            last = max((place.get(user, index) for user in _users(node)), default=index)
            until[index] = max(until[index], last)
        if _changes_shape(node):
            first = min(place.get(other, index) for other in _same_tensor(node.all_input_nodes[0]))
            until[first] = max(until[first], index)
    whole: list[Run] = []
    end = OUTSIDE
    for index, run in enumerate(runs):
        if index <= end:
            whole[-1].nodes.extend(run.nodes)
        else:
            whole.append(Run(run.label, list(run.nodes)))
        end = max(end, until[index])
    return whole


def _users(node: Node) -> Iterable[Node]:
    """The nodes that use a value, directly or through what is copied."""
    for user in node.users:
        yield user
        if is_copied(user):
            yield from _users(user)


def _changes_shape(node: Node) -> bool:
    """True for ``t_``, ``squeeze_`` and the like. What is known of their tensor is how it is after them."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if not name.endswith("_") or not node.all_input_nodes:
        return False
    packet = getattr(torch.ops.aten, name, None)
    return packet is not None and any(
        torch.Tag.inplace_view in getattr(packet, overload).tags for overload in packet.overloads()
    )


def _same_tensor(node: Node) -> Iterable[Node]:
    """The nodes that give the same tensor, and all that use them."""
    for other in node.graph.nodes:
        if value_of(other) is value_of(node):
            yield other
            yield from other.users


def _places(runs: Sequence[Run]) -> dict[Node, int]:
    return {node: index for index, run in enumerate(runs) for node in run.nodes}


# ---- from runs to pieces ----------------------------------------------------------------------------------


def pieces(graph: Graph, runs: Sequence[Run]) -> list[Piece]:
    """The runs with what goes in and out of each."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    place = _places(runs)
    sources = _Sources(graph, place)
    returned = graph.output_node().all_input_nodes
    computed = [node for node in returned if is_copied(node)]
    if computed and not runs:
        runs = [Run("graph", [])]
    insides, inputs = [], []
    for index, run in enumerate(runs):
        own = dict.fromkeys(run.nodes)
        _add_copied(own, computed if index == len(runs) - 1 else ())
        inside = sorted(own, key=order.__getitem__)
        taken = {used: None for node in inside for used in node.all_input_nodes if used not in own}
        taken.update(dict.fromkeys(sources.missing(index, taken, inside)))
        insides.append(inside)
        inputs.append(tuple(taken))
    wanted = {node for taken in inputs for node in taken}.union(returned)
    last = len(runs) - 1
    return [
        Piece(
            run.label,
            tuple(inside),
            taken,
            tuple(n for n in inside if n in wanted and place.get(n, last) == index),
        )
        for index, (run, inside, taken) in enumerate(zip(runs, insides, inputs, strict=True))
    ]


def _add_copied(own: dict[Node, None], computed: Iterable[Node]) -> None:
    """Add what is copied and used by ``own``, and ``computed``."""
    own.update(dict.fromkeys(computed))
    todo = list(own)
    while todo:
        for used in todo.pop().all_input_nodes:
            if used not in own and is_copied(used):
                own[used] = None
                todo.append(used)


class _Sources:
    """From where each symbol of a graph can be taken."""

    def __init__(self, graph: Graph, place: Mapping[Node, int]) -> None:
        self._made: dict[str, int] = {}
        self._numbers: dict[str, tuple[int, Node]] = {}
        self._tensors: dict[str, tuple[int, Node]] = {}
        for node in graph.nodes:
            where = place.get(node, OUTSIDE)
            if where == OUTSIDE and node.op != "placeholder" and not is_attribute(node):
                continue
            value = value_of(node)
            for name in free_symbols(value):
                self._made.setdefault(name, where)
            carriers = self._tensors if isinstance(value, torch.Tensor) else self._numbers
            for name in carried_symbols(value):
                known = carriers.get(name)
                if known is None or where < known[0]:
                    carriers[name] = where, node

    def missing(self, index: int, inputs: Iterable[Node], nodes: Iterable[Node]) -> list[Node]:
        """What brings the symbols that run ``index`` mentions and neither makes nor finds among its ``inputs``."""
        bound = {name for node in inputs for name in carried_symbols(value_of(node))}
        needed = {name: None for node in (*inputs, *nodes) for name in free_symbols(value_of(node))}
        found: dict[Node, None] = {}
        for name in needed:
            if name in bound or self._made.get(name) == index:
                continue
            for carriers in (self._numbers, self._tensors):
                where, node = carriers.get(name, (index, None))
                if node is not None and where < index:
                    found.setdefault(node)
                    break
        return list(found)
