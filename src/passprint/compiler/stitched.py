"""A whole graph as code that calls its pieces in order. Imports nothing of torch."""

from __future__ import annotations

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
