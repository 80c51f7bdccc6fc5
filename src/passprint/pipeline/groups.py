"""Groups of passes that repeat until they change nothing any more."""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any

from torch.fx import Graph, Node

from passprint.errors import PipelineError
from passprint.passes import PassContext, RewriteCounter
from passprint.passes.branches import branches_of, distinct
from passprint.pipeline.limits import Limit
from passprint.pipeline.manager import PassManager
from passprint.pipeline.members import Member
from passprint.warned import warn

DEFAULT_MAX = 10


class FixedPointWarning(UserWarning):
    """A group of passes had not settled when its limit of rounds was reached."""


class FixedPoint(PassManager):
    """Passes that run in rounds until a round changes nothing, ``max`` rounds at most.

    Whether a round changed something is computed from the graph (its operations, their arguments and their
    order; not their metadata), never reported by a pass. When the last round that is allowed still changes
    something, a FixedPointWarning says so and names the passes that were at work; the graph stays as that
    round left it. As text: ``fixed-point(max=4){fold-reshapes,dedupe-expressions}``.

    Raises PipelineError for a ``max`` below one.
    """

    name = "fixed-point"

    def __init__(
        self, passes: Iterable[Member] = (), *, max: int = DEFAULT_MAX, hook: str | None = None
    ) -> None:
        if not isinstance(max, int) or isinstance(max, bool) or max < 1:
            raise PipelineError(
                f"a fixed point was given max={max!r}; it must be a whole number of rounds, 1 or more"
            )
        self._max = max
        super().__init__(passes, hook=hook)
        if self._hook is None or self._hook.takes != "graph":
            raise PipelineError(
                f"a fixed point was to run at {' and '.join(self.hooks)}; it repeats passes over one graph, so put it "
                "inside the pipeline of a hook that takes a graph"
            )

    @property
    def max(self) -> int:
        """How many rounds there are at most."""
        return self._max

    def _run(self, graph: Graph, context: PassContext, limit: Limit | None, unheard: RewriteCounter) -> None:
        rewrites: dict[str, int] = {}
        for _ in range(self._max):
            before, counted = GraphShape(graph), dict(context.matches)
            super()._run(graph, context, limit, unheard)
            if before.is_same(GraphShape(graph)):
                return
            rewrites = {
                name: count - counted.get(name, 0)
                for name, count in context.matches.items()
                if count > counted.get(name, 0) and "/" not in name
            }
        if self._max > 1:
            at_work = ", ".join(f"'{name}' ({count})" for name, count in rewrites.items())
            warn(
                f"{self._own_text()} had not settled after {self._max} rounds; in the last one there were "
                f"rewrites by {at_work or 'passes that only moved nodes'}. The graph stays as it is then. "
                "Raise max, or see "
                "whether these passes undo each other's work",
                FixedPointWarning,
            )

    def _extra_identity(self) -> dict[str, object]:
        return {"max": self._max}

    def _own_text(self) -> str:
        given = "" if self._max == DEFAULT_MAX else f"(max={self._max})"
        return f"{self.name}{given}{{{self._body()}}}"

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        return same if same is NotImplemented else bool(same) and self._max == other._max  # type: ignore[attr-defined]

    __hash__ = PassManager.__hash__


class GraphShape:
    """The operations of a graph, and of the graphs of control flow within it, to be compared with what they are later.

    With their arguments, in order.
    """

    def __init__(self, graph: Graph) -> None:
        self._shapes = {"": _Shape(graph)}
        for name, branch in distinct(branches_of(graph)).items():
            self._shapes[name] = _Shape(branch)

    def is_same(self, later: GraphShape) -> bool:
        """Whether nothing changed. A node replaced by an equal one is no change."""
        return self._shapes.keys() == later._shapes.keys() and all(
            shape.is_same(later._shapes[name]) for name, shape in self._shapes.items()
        )


class _Shape:
    """The same of one graph alone."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = list(graph.nodes)
        self.lines = [(node.op, node.target, node.args, node.kwargs) for node in self.nodes]

    def is_same(self, later: _Shape) -> bool:
        """Whether nothing changed. A node replaced by an equal one is no change."""
        if len(self.nodes) != len(later.nodes):
            return False
        if all(map(is_, self.nodes, later.nodes)) and all(
            one is other or (one[1] is other[1] and one[2] is other[2] and one[3] is other[3])
            for one, other in zip(self.lines, later.lines, strict=True)
        ):
            return True
        ours = {node: number for number, node in enumerate(self.nodes)}
        theirs = {node: number for number, node in enumerate(later.nodes)}
        return all(
            _equal(before, after, ours, theirs) for before, after in zip(self.lines, later.lines, strict=True)
        )


def _equal(before: Any, after: Any, ours: dict[Node, int], theirs: dict[Node, int]) -> bool:
    if isinstance(before, Node):
        return isinstance(after, Node) and ours.get(before, before) == theirs.get(after, after)
    if isinstance(before, list | tuple):
        return (
            isinstance(after, list | tuple)
            and len(before) == len(after)
            and all(_equal(one, other, ours, theirs) for one, other in zip(before, after, strict=True))
        )
    if isinstance(before, dict):
        return (
            isinstance(after, dict)
            and list(before) == list(after)
            and all(_equal(value, after[key], ours, theirs) for key, value in before.items())
        )
    if isinstance(before, slice):
        return isinstance(after, slice) and _equal(
            (before.start, before.stop, before.step), (after.start, after.stop, after.step), ours, theirs
        )
    if before is after:
        return True
    return type(before) is type(after) and (
        before == after if callable(before) else repr(before) == repr(after)
    )
