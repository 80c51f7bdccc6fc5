"""Cut one graph of Dynamo's into pieces: runs of nodes that are compiled each by itself.

A piece is a contiguous run of the graph, so the pieces are in topological order by construction. Where to cut
is the ``split``:

``blocks``
    at the borders of repeated blocks (the entries of a ``ModuleList`` or ``Sequential``, read from the module
    stack that Dynamo keeps on each node; in a function without modules, the longest repetition in the graph),
``attention`` or a list of op names
    each of these ops is a piece of its own, as serving engines do,
``whole``
    not at all.
"""

from __future__ import annotations

import copy
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from passprint.errors import CompileError

MIN_BLOCK_NODES = 6
"""A repeated block of fewer nodes is not worth a piece of its own: its dispatch would cost more than it saves."""

ATTENTION = ("scaled_dot_product_attention", "flex_attention", "flash_attn")

_OWNER = re.compile(r"^L\['\w+'\]\.")
"""How Dynamo calls the model itself."""
_INDEXED = re.compile(r"^(?P<parent>.*?)(?:\.(?P<dot>\d+)|\[(?P<key>\d+)\])$")

# Calls that switch a mode for the nodes after them. A cut between a switch and its counterpart would compile
# the nodes between them in the wrong mode.
_ENTERS = re.compile(r"\._(enter_\w+|\w+_increment_nesting|saved_tensors_hooks_disable)$")
_EXITS = re.compile(r"\._(exit_\w+|\w+_decrement_nesting|saved_tensors_hooks_enable)$")


@dataclass(frozen=True)
class Piece:
    """A contiguous run of nodes, with what it takes from outside and what others take from it.

    ``inputs`` are in order of first use, then the symbols that only shapes mention; ``outputs`` in graph order.
    """

    label: str
    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]


def partition(graph: Graph, split: str | Sequence[str] = "blocks") -> list[Piece]:
    """Cut ``graph`` into pieces. Every node but placeholders, attributes and the output is in exactly one.

    Raises :class:`passprint.CompileError` for a split that does not exist.
    """
    body = [n for n in graph.nodes if n.op not in ("placeholder", "output") and not is_attribute(n)]
    if not body:
        return []
    runs = _keep_modes_whole(_runs(body, _labels(body, split)))
    return _with_borders(graph, runs)


def is_attribute(node: Node) -> bool:
    """True for a node that reads a tensor of the graph module; a nested graph stays inside its piece."""
    if node.op != "get_attr":
        return False
    owner: object = node.graph.owning_module
    for name in str(node.target).split("."):
        owner = getattr(owner, name, None)
    return not isinstance(owner, torch.nn.Module)


def extract(piece: Piece, owner: GraphModule) -> GraphModule:
    """The piece as a graph module of its own, with copies of nested graphs; tensors become inputs."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for index, node in enumerate(piece.inputs):
        copies[node] = graph.placeholder(f"a{index}")
        copies[node].meta = node.meta.copy()
    for node in piece.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[n] for n in piece.outputs))
    nested = {str(n.target) for n in piece.nodes if n.op in ("get_attr", "call_module")}
    holder: dict[str, object] = {name: copy.deepcopy(owner.get_submodule(name)) for name in nested}
    return GraphModule(holder, graph, class_name="Piece")


# ---- where to cut ---------------------------------------------------------------------------------------


def _labels(body: Sequence[Node], split: str | Sequence[str]) -> list[str]:
    if not isinstance(split, str):
        return _op_labels(body, tuple(split))
    if split == "whole":
        return ["graph"] * len(body)
    if split == "attention":
        return _op_labels(body, ATTENTION)
    if split == "blocks":
        return _block_labels(body) or _period_labels(body) or ["graph"] * len(body)
    raise CompileError(
        f"split={split!r} is not known. Expected 'blocks', 'attention', 'whole', or a list of op names."
    )


def _op_labels(body: Sequence[Node], names: tuple[str, ...]) -> list[str]:
    labels, before = [], 0
    for node in body:
        if any(name in target_name(node) for name in names):
            before += 1
            labels.append(f"op {before}")
        else:
            labels.append(f"between {before}")
    return labels


def _block_labels(body: Sequence[Node]) -> list[str] | None:
    """Label each node by the outermost repeated block that it belongs to, from Dynamo's module stacks."""
    chains = [_indexed_modules(n) for n in body]
    siblings: dict[tuple[str, str], set[str]] = defaultdict(set)
    sizes: Counter[str] = Counter()
    for chain in chains:
        for path, parent, kind in chain:
            siblings[parent, kind].add(path)
            sizes[path] += 1
    labels = ["" for _ in body]
    for i, chain in enumerate(chains):
        for path, parent, kind in chain:
            if len(siblings[parent, kind]) > 1 and sizes[path] >= MIN_BLOCK_NODES:
                labels[i] = _OWNER.sub("", path)
                break
    if not any(labels):
        return None
    return [label or "rest" for label in _fill_holes(labels)]


def _indexed_modules(node: Node) -> list[tuple[str, str, str]]:
    """(path, container's path, class) of each module of the node's stack that stands in a container."""
    found = []
    for path, kind in (node.meta.get("nn_module_stack") or {}).values():
        match = _INDEXED.match(path)
        if match:
            name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
            found.append((path, match["parent"], name))
    return found


def _fill_holes(labels: list[str]) -> list[str]:
    """A node without a block, between two of the same block, belongs to it."""
    filled, last, hole = list(labels), "", 0
    for i, label in enumerate(labels):
        if not label:
            continue
        if label == last:
            filled[hole:i] = [label] * (i - hole)
        last, hole = label, i + 1
    return filled


def _period_labels(body: Sequence[Node]) -> list[str] | None:
    """Label nodes by the longest repetition in the sequence of calls, cut where the fewest values cross."""
    signs = [_signature(n) for n in body]
    best = (0, 0, 0)  # (nodes covered, start, period)
    for period in _likely_periods(signs):
        start = 0
        while start < len(signs) - period:
            end = start
            while end < len(signs) - period and signs[end] == signs[end + period]:
                end += 1
            covered = end - start + period
            if end - start >= period and covered > best[0]:
                best = (covered, start, period)
            start = end + 1
    covered, start, period = best
    if not covered:
        return None
    spare = covered % period
    phase = min(range(spare + 1), key=lambda shift: _crossing(body, start + shift))
    first, count = start + phase, (covered - phase) // period
    labels = ["before"] * first
    for i in range(first, len(body)):
        block = (i - first) // period
        labels.append(f"block {block}" if block < count else "after")
    return labels


def _likely_periods(signs: Sequence[Hashable]) -> list[int]:
    last: dict[Hashable, int] = {}
    gaps: Counter[int] = Counter()
    for i, sign in enumerate(signs):
        if sign in last:
            gaps[i - last[sign]] += 1
        last[sign] = i
    likely = [gap for gap, times in gaps.most_common(24) if gap >= MIN_BLOCK_NODES and times >= gap // 2]
    return sorted(likely)


def _signature(node: Node) -> Hashable:
    shape = node.meta.get("example_value")
    size = tuple(str(s) for s in shape.shape) if isinstance(shape, torch.Tensor) else ()
    return node.op, target_name(node), len(node.all_input_nodes), size


def _crossing(body: Sequence[Node], at: int) -> int:
    """How many values are made before position ``at`` and used from it on."""
    after = set(body[at:])
    return sum(1 for node in body[:at] if any(user in after for user in node.users))


# ---- from labels to pieces ------------------------------------------------------------------------------


def _runs(body: Sequence[Node], labels: Sequence[str]) -> list[tuple[str, list[Node]]]:
    runs: list[tuple[str, list[Node]]] = []
    for node, label in zip(body, labels, strict=True):
        if runs and runs[-1][0] == label:
            runs[-1][1].append(node)
        else:
            runs.append((label, [node]))
    return runs


def _keep_modes_whole(runs: list[tuple[str, list[Node]]]) -> list[tuple[str, list[Node]]]:
    """Join neighbouring runs where a mode that was switched on before the cut is still on after it."""
    grad = outer_grad = _grad_mode_outside(runs)
    depth = 0
    whole: list[tuple[str, list[Node]]] = []
    for label, nodes in runs:
        if depth or grad != outer_grad:
            whole[-1][1].extend(nodes)
        else:
            whole.append((label, list(nodes)))
        for node in nodes:
            if node.op != "call_function":
                continue
            name = target_name(node)
            if name.endswith("_set_grad_enabled"):
                grad = node.args[0]
            elif _ENTERS.search(name):
                depth += 1
            elif _EXITS.search(name):
                depth -= 1
    return whole


def _grad_mode_outside(runs: list[tuple[str, list[Node]]]) -> object:
    """Dynamo restores the grad mode before a graph ends, so the last switch shows what it is outside."""
    switches = [n for _, nodes in runs for n in nodes if target_name(n).endswith("_set_grad_enabled")]
    return switches[-1].args[0] if switches else None


def _with_borders(graph: Graph, runs: list[tuple[str, list[Node]]]) -> list[Piece]:
    symbols = symbol_sources(graph)
    pieces = []
    for label, nodes in runs:
        inside = set(nodes)
        inputs: dict[Node, None] = {}
        for node in nodes:
            for used in node.all_input_nodes:
                if used not in inside:
                    inputs.setdefault(used)
        for source in _unbound_symbols(inputs, nodes, symbols):
            inputs.setdefault(source)
        outputs = tuple(n for n in nodes if any(user not in inside for user in n.users))
        pieces.append(Piece(label, tuple(nodes), tuple(inputs), outputs))
    return pieces


def symbol_sources(graph: Graph) -> dict[str, Node]:
    """The placeholder that carries each symbolic size by itself, by the symbol's name."""
    sources: dict[str, Node] = {}
    for node in graph.find_nodes(op="placeholder"):
        value = node.meta.get("example_value")
        if isinstance(value, torch.SymInt):
            sources.setdefault(str(value.node.expr), node)
    return sources


def _unbound_symbols(inputs: Iterable[Node], nodes: Sequence[Node], sources: dict[str, Node]) -> list[Node]:
    """Symbols that the piece's shapes mention and that no input carries as a plain size or integer."""
    if not sources:
        return []
    bound: set[str] = set()
    for node in inputs:
        bound.update(_plain_sizes(node.meta.get("example_value")))
    needed: dict[str, None] = {}
    for node in (*inputs, *nodes):
        for name in _free_symbols(node.meta.get("example_value")):
            needed.setdefault(name)
    return [sources[name] for name in needed if name not in bound and name in sources]


def _plain_sizes(value: object) -> list[str]:
    if isinstance(value, torch.SymInt):
        return [str(value.node.expr)]
    if isinstance(value, torch.Tensor):
        sizes: tuple[Any, ...] = tuple(value.shape)
        return [str(s.node.expr) for s in sizes if isinstance(s, torch.SymInt)]
    return []


def _free_symbols(value: object) -> list[str]:
    found: list[str] = []

    def visit(item: Any) -> None:
        if isinstance(item, torch.SymInt):
            found.extend(sorted(str(s) for s in item.node.expr.free_symbols))
        elif isinstance(item, torch.Tensor):
            for size in (*item.shape, *item.stride()):
                visit(size)
        elif isinstance(item, (tuple, list)):
            for entry in item:
                visit(entry)

    visit(value)
    return found


def target_name(node: Node) -> str:
    """A name for what the node calls, without addresses; for matching and labels, not for identity."""
    target: str | Callable[..., object] = node.target
    if isinstance(target, str):
        return target
    if isinstance(target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator)):
        return str(target)
    module = getattr(target, "__module__", None) or "builtins"
    return f"{module}.{getattr(target, '__qualname__', type(target).__qualname__)}"
