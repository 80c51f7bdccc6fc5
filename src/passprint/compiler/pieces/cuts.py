"""Where a graph is cut: a label for each node; neighbours with the same label stay together.

The ``split`` says where:

``blocks``
    at the borders of repeated blocks (the entries of a ``ModuleList`` or ``Sequential``, read from the module
    stack that Dynamo keeps on each node; in a function without modules, the longest repetition in the graph),
``attention`` or a list of op names
    each of these ops is a piece of its own, as serving engines do,
``whole``
    not at all.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch.fx import Node

from passprint.errors import CompileError

MIN_BLOCK_NODES = 6
"""A repeated block of fewer nodes is not worth a piece of its own: its dispatch would cost more than it saves."""

ATTENTION = ("scaled_dot_product_attention", "flex_attention", "flash_attn")

_OWNER = re.compile(r"^L\['\w+'\]\.")
"""How Dynamo calls the model itself."""
_INDEXED = re.compile(r"^(?P<parent>.*?)(?:\.(?P<dot>\d+)|\[(?P<key>\d+)\])$")


def labels(body: Sequence[Node], split: str | Sequence[str]) -> list[str]:
    """One label for each node. Raises :class:`passprint.CompileError` for a split that does not exist."""
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


def target_name(node: Node) -> str:
    """A name for what the node calls, without addresses; for matching and labels, not for identity."""
    target: str | Callable[..., object] = node.target
    if isinstance(target, str):
        return target
    if isinstance(target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator)):
        return str(target)
    module = getattr(target, "__module__", None) or "builtins"
    return f"{module}.{getattr(target, '__qualname__', type(target).__qualname__)}"
