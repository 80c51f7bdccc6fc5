"""Patterns that want the same nodes: the one that comes first takes them, and the other never sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Graph

from passprint.passes import CompileRange, PassContext, PatternPass, current_pass_context, pass_context
from passprint.passes.naming import name_of
from passprint.passes.torch_door import Matcher, sort_topologically
from passprint.pipeline.faults import named
from passprint.pipeline.members import as_graph_pass
from passprint.pipeline.snapshots import copy_graph
from passprint.warned import warn
from passprint.wording import many

ADVICE = 'Put the one that should have them first (before = ("…",) in its class says so)'


class OverlapWarning(UserWarning):
    """Two patterns of a pipeline match the same nodes."""


@dataclass(frozen=True)
class Overlap:
    """``second`` matches where ``first`` takes nodes away before it; both as ``"pass-name/pattern-name"``.

    ``places``: how many matches of ``second`` are lost to it. ``nodes``: the nodes shared by the first of them.
    """

    first: str
    second: str
    places: int
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the patterns '{self.first}' and '{self.second}' match the same nodes in {many(self.places, 'place')}, "
            f"first at {', '.join(self.nodes)}: the first one takes them. {ADVICE}"
        )


class _Told:
    """Which pairs of patterns this process has been told of."""

    # A warning changes no graph.
    __fingerprint_ignore__ = ("_pairs",)

    def __init__(self) -> None:
        self._pairs: set[tuple[str, str]] = set()

    def is_new(self, first: str, second: str) -> bool:
        """Whether nobody has told of these two before; from now on somebody has."""
        is_new = (first, second) not in self._pairs
        self._pairs.add((first, second))
        return is_new


told = _Told()


def warn_of_overlaps(context: PassContext) -> None:
    """Warn of patterns of different passes that wanted the same nodes while they ran; once for each pair."""
    for (first, second), nodes in context.overlaps.items():
        if told.is_new(first, second):
            warn(
                f"the patterns '{first}' and '{second}' match the same nodes, first at {', '.join(nodes)}: the first "
                f"one takes them. {ADVICE}",
                OverlapWarning,
            )


def following(passes: Sequence[Any]) -> dict[int, tuple[PatternPass, ...]]:
    """By each pass made of patterns (its id), the others of another name that come after it."""
    patterns = [one for one in passes if isinstance(one, PatternPass)]
    found: dict[int, tuple[PatternPass, ...]] = {}
    for at, one in enumerate(patterns):
        later = tuple(other for other in patterns[at + 1 :] if other.name != one.name)
        if later:
            found.setdefault(id(one), later)
    return found


def find_overlaps(manager: Any, graph: Graph) -> list[Overlap]:
    """The overlaps between the patterns of ``manager``, which runs at one hook, on ``graph``.

    The graph stays as it is: the passes run in their order, once each, on a copy, and before a pattern is applied all
    that come after it are looked for as well. Raises PassError for what a pass raises. The time is that of
    matching each pattern once for every pattern
    before it.
    """
    copy = copy_graph(graph)
    context = current_pass_context()
    sizes = context.compile_range if context is not None else CompileRange.any()
    found: list[Overlap] = []
    with pass_context(sizes) as inner:
        inner.is_inference = context.is_inference if context is not None else None
        leaves = list(manager.leaves())
        while leaves and not isinstance(leaves[-1], PatternPass):
            leaves.pop()  # nobody comes after it to miss anything
        for at, pass_ in enumerate(leaves):
            if not isinstance(pass_, PatternPass):
                with named(name_of(pass_)):
                    as_graph_pass(pass_)(copy)
                continue
            later = [
                (other.name, matcher)
                for other in leaves[at + 1 :]
                if isinstance(other, PatternPass)
                for matcher in other.matchers()
            ]
            mine = [(pass_.name, matcher) for matcher in pass_.matchers()]
            for number, first in enumerate(mine):
                found += _shared(first, [*mine[number + 1 :], *later], copy)
                first[1].apply(copy, None)
            sort_topologically(copy)
    return found


def _shared(first: tuple[str, Matcher], others: list[tuple[str, Matcher]], graph: Graph) -> list[Overlap]:
    taken = {node for match in first[1].find(graph) for node in match}
    if not taken:
        return []
    found = []
    for other in others:
        lost = [
            shared
            for match in other[1].find(graph)
            if (shared := [node.name for node in match if node in taken])
        ]
        # a pass that stands twice in a pipeline is in nobody's way
        if lost and _label(first) != _label(other):
            told.is_new(_label(first), _label(other))
            found.append(Overlap(_label(first), _label(other), len(lost), tuple(lost[0])))
    return found


def _label(pattern: tuple[str, Matcher]) -> str:
    return f"{pattern[0]}/{pattern[1].name}"
