"""A whole graph as code that calls its pieces in order, for all sizes or for some. Imports nothing of torch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

Runnable = Callable[[list[Any]], Sequence[Any]]
"""Takes a list of inputs, which it empties, and returns the outputs."""


class Stitched(NamedTuple):
    """Code that defines ``run``, and the values of the graph's attributes (constants that Dynamo lifted), by name."""

    code: CodeType
    constants: Mapping[str, object]

    def assemble(self, calls: Sequence[Runnable]) -> Callable[..., Any]:
        """The graph as a function of its placeholders, in order; ``calls[i]`` is what piece ``i`` runs."""
        namespace: dict[str, Any] = {f"piece{i}": call for i, call in enumerate(calls)}
        namespace.update(self.constants)
        exec(self.code, namespace)
        run: Callable[..., Any] = namespace["run"]
        return run


def choose(
    argument: int,
    dimension: int | None,
    general: Callable[..., Any],
    variants: Sequence[tuple[int, int, Callable[..., Any]]],
) -> Callable[..., Any]:
    """One function that runs the variant for a call's size, or else ``general``. A call costs one look-up.

    The size is argument number ``argument``, or its ``dimension``. ``variants``: first and last size, and what runs; a
    single size goes before a range.
    """
    exact = {first: run for first, last, run in variants if first == last}
    ranged = sorted(
        [variant for variant in variants if variant[0] != variant[1]], key=lambda variant: variant[0]
    )
    starts = [first for first, _, _ in ranged]

    def pick(n: int) -> Callable[..., Any]:
        found = exact.get(n)
        if found is not None:
            return found
        at = bisect_right(starts, n) - 1
        return ranged[at][2] if at >= 0 and n <= ranged[at][1] else general

    def run(*args: Any) -> Any:
        value = args[argument]
        return pick(value if dimension is None else value.shape[dimension])(*args)

    return run
