"""How close a pattern came that matched nothing: the deepest partial match, where it stopped, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from passprint.passes.torch_door import Matcher, Rejection
from passprint.wording import many

#: How many places of one operator are tried. A graph of a thousand equal layers tells no more than its first ones.
_PLACES = 32


@dataclass(frozen=True)
class NearMiss:
    """``matched`` of the ``total`` operators of a pattern were found in one place; ``node`` is where it stopped.

    ``reason``: "other op", "other dtype", "other shape", "other value", "other argument", "extra user",
    "missing meta['val']", "check" (the author's own said no), "not in one piece" (a write to memory stands between),
    or "nothing alike" (none of the operators occurs). ``detail`` says it in a sentence.
    """

    matched: int
    total: int
    node: str | None
    reason: str
    detail: str

    def __str__(self) -> str:
        where = f", stopped at '{self.node}'" if self.node is not None else ""
        return f"{self.matched} of {self.total} operators matched{where}: {self.reason}: {self.detail}"


def nearest_miss(matcher: Matcher, graph: Graph, rejections: Sequence[Rejection]) -> NearMiss | None:
    """The nearest miss of a pattern in ``graph``; ``rejections`` are the places where all its operators stood.

    None where torch did not show what it looks for. Reads the graph only; takes time in proportion to the pattern.
    """
    searches = [[node for node in search.nodes if _is_operator(node)] for search in matcher.searches]
    if not searches:
        return None
    if rejections:
        return _rejected(rejections[0], matcher, len(searches[0]))
    return max(
        (_structural(operators, graph, matcher.scalars) for operators in searches),
        key=lambda miss: miss.matched,
    )


def _rejected(rejection: Rejection, matcher: Matcher, total: int) -> NearMiss:
    name = rejection.node.name
    if rejection.reason == "missing":
        detail = "the node has no annotation, so the real shapes are not known"
        return NearMiss(total, total, name, "missing meta['val']", detail)
    if rejection.reason == "check":
        return NearMiss(total, total, name, "check", "the pattern's own check said no")
    if rejection.traced is not None:
        root = _results(rejection.traced)[0]
        walk = _Walk(matcher.scalars, exact=True)
        walk.visit(root, rejection.node, is_result=True)
        if walk.failure is not None:
            node, reason, detail = walk.failure
            return NearMiss(min(walk.matched, total - 1), total, node, reason, detail)
    detail = "with the shapes and dtypes that stand here, the pattern's function gives another graph"
    return NearMiss(total - 1, total, name, "other shape", detail)


def _structural(operators: Sequence[Node], graph: Graph, scalars: Mapping[str, Any]) -> NearMiss:
    total = len(operators)
    results = _results(operators[0].graph) if operators else []
    best: tuple[int, Node, _Walk, Node] | None = None
    for operator in reversed(operators):
        if best is not None and best[0] >= _size(operator):
            continue
        for place in graph.find_nodes(op=operator.op, target=operator.target)[:_PLACES]:
            walk = _Walk(scalars, exact=False)
            walk.visit(operator, place, is_result=operator in results)
            if best is None or walk.matched > best[0]:
                best = (walk.matched, operator, walk, place)
    if best is None:
        wanted = _spelled(operators[-1]) if operators else "nothing"
        return NearMiss(
            0, total, None, "nothing alike", f"no operator of the pattern occurs; it ends in {wanted}"
        )
    matched, operator, walk, place = best
    if walk.failure is not None:
        node, reason, detail = walk.failure
    elif operator in results and matched < total:
        others = ", ".join(_spelled(one) for one in results if one is not operator)
        node, reason = place.name, "other op"
        detail = f"the pattern has {others} beside it, on the same arguments, and the graph has not"
    elif operator in results:
        node, reason = place.name, "not in one piece"
        detail = "a write to memory or a change of stream stands between the operators"
    else:
        node, reason, detail = _above(operator, place)
    return NearMiss(matched, total, node, reason, detail)


def _above(operator: Node, place: Node) -> tuple[str, str, str]:
    """Everything up to ``operator`` is there; what comes next in the pattern is not what uses ``place``."""
    wanted = next(iter(operator.users))
    found = list(place.users)
    if len(found) > len(operator.users):
        names = ", ".join(f"'{user.name}'" for user in found)
        return (
            place.name,
            "extra user",
            f"it is used by {names}; the pattern allows {many(len(operator.users), 'use')}",
        )
    if not found:
        return place.name, "other op", f"nothing uses it; the pattern goes on with {_spelled(wanted)}"
    return (
        found[0].name,
        "other op",
        f"the pattern has {_spelled(wanted)} here, the graph {_spelled(found[0])}",
    )


class _Walk:
    """Compares an operator of a pattern, and all that it is computed from, with a node; goes on after a difference.

    ``matched`` counts operators that agree, ``failure`` is the first difference: node, reason, detail.
    """

    def __init__(self, scalars: Mapping[str, Any], *, exact: bool) -> None:
        self.matched = 0
        self.failure: tuple[str, str, str] | None = None
        self._bound: dict[Node, Any] = {}
        self._scalars = scalars
        self._exact = exact
        self._here = ""

    def visit(self, wanted: Node, found: Any, *, is_result: bool = False) -> None:
        if wanted in self._bound:
            if self._bound[wanted] is not found:
                self._fail(
                    self._here,
                    "other argument",
                    f"the pattern uses {argument_name(wanted)} twice; here two nodes stand",
                )
            return
        self._bound[wanted] = found
        if wanted.op in ("placeholder", "get_attr"):
            return
        if not isinstance(found, Node):
            self._fail(
                self._here, "other argument", f"the pattern has {_spelled(wanted)} here, the graph {found!r}"
            )
            return
        if found.op != wanted.op or found.target != wanted.target:
            detail = f"the pattern has {_spelled(wanted)} here, the graph {_spelled(found)}"
            self._fail(found.name, "other op", detail)
            if _is_operator(found) and len(found.all_input_nodes) == len(wanted.all_input_nodes):
                for ours, theirs in zip(wanted.all_input_nodes, found.all_input_nodes, strict=True):
                    self._here = found.name
                    self.visit(ours, theirs)
            return
        self._here = found.name
        failed, self.failure = self.failure, None
        if not is_result and len(found.users) > len(wanted.users):
            names = ", ".join(f"'{user.name}'" for user in found.users)
            self._fail(
                found.name, "extra user", f"it is used by {names}; the pattern allows {len(wanted.users)}"
            )
        inner = []
        for ours, theirs in _pairs(wanted, found):
            if isinstance(ours, Node):
                inner.append((ours, theirs))
            elif (
                self._exact and ours is not _ABSENT and not self._is_scalar(ours) and not _equal(ours, theirs)
            ):
                stands = "nothing" if theirs is _ABSENT else repr(theirs)
                self._fail(found.name, _kind(ours), f"the pattern has {ours!r} here, the graph {stands}")
        self.matched += self.failure is None
        self.failure = failed or self.failure
        for ours, theirs in inner:
            self._here = found.name
            self.visit(ours, theirs)

    def _is_scalar(self, value: Any) -> bool:
        return isinstance(value, int | float) and value in self._scalars.values()

    def _fail(self, node: str, reason: str, detail: str) -> None:
        if self.failure is None:
            self.failure = (node, reason, detail)


_ABSENT = object()


def _pairs(wanted: Node, found: Node) -> Iterator[tuple[Any, Any]]:
    ours, theirs = _flat(wanted.args), _flat(found.args)
    yield from zip(ours, [*theirs, *[_ABSENT] * (len(ours) - len(theirs))], strict=False)
    for key, value in wanted.kwargs.items():
        yield from zip(_flat([value]), _flat([found.kwargs.get(key, _ABSENT)]), strict=False)


def _flat(values: Any) -> list[Any]:
    return [
        leaf for value in values for leaf in (_flat(value) if isinstance(value, list | tuple) else [value])
    ]


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, Node):  # a symbolic size, which the pattern's function gets as an argument
        return not isinstance(ours, torch.dtype | torch.device)
    return bool(ours == theirs)


def _kind(value: Any) -> str:
    if isinstance(value, torch.dtype):
        return "other dtype"
    return "other shape" if isinstance(value, int) and not isinstance(value, bool) else "other value"


def _size(operator: Node) -> int:
    seen: set[Node] = set()
    pending = [operator]
    while pending:
        node = pending.pop()
        if node not in seen and _is_operator(node):
            seen.add(node)
            pending.extend(node.all_input_nodes)
    return len(seen)


def _is_operator(node: Node) -> bool:
    return node.op not in ("placeholder", "get_attr", "output")


def _results(graph: Graph) -> list[Node]:
    output = next(iter(reversed(graph.nodes)))
    return list(output.all_input_nodes)


def argument_name(placeholder: Node) -> str:
    """What the pattern's author calls an argument; tracing numbers it."""
    return placeholder.name.removesuffix("_1")


def _spelled(node: Node) -> str:
    if node.op != "call_function":
        return node.op if node.op in ("placeholder", "get_attr", "output") else f"{node.op} {node.target}"
    return (
        str(node.target)
        if isinstance(node.target, torch._ops.OpOverload)
        else getattr(node.target, "__name__", str(node.target))
    )
