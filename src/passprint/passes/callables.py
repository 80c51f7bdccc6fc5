"""A function as a pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import torch

from passprint.errors import PipelineError
from passprint.passes.base import InductorPass
from passprint.passes.naming import kebab_case

GraphFunction = Callable[[torch.fx.Graph], None]


@dataclass(frozen=True, init=False)
class CallableInductorPass(InductorPass):
    """A function ``fn(graph)`` as a pass, identified by the function's fingerprint.

    ``uuid``: given by hand, it stands in for the fingerprint (and must then change whenever ``fn`` does).
    ``name``: what the pass is called in pipelines; the function's name in kebab case unless given.
    """

    fn: GraphFunction
    given_uuid: object | None

    def __init__(self, fn: GraphFunction, uuid: object | None = None, *, name: str | None = None) -> None:
        if not callable(fn):
            raise PipelineError(
                f"a pass was to be made of {fn!r} ({type(fn).__name__}), which cannot be called; "
                "give a function that takes a torch.fx.Graph and returns nothing"
            )
        object.__setattr__(self, "fn", fn)
        object.__setattr__(self, "given_uuid", uuid)
        object.__setattr__(self, "name", name or kebab_case(getattr(fn, "__name__", type(fn).__name__)))

    def __call__(self, graph: torch.fx.Graph) -> None:
        return self.fn(graph)

    def uuid(self) -> Any:
        """The digest of the function's fingerprint, or what was given in its place."""
        return super().uuid() if self.given_uuid is None else self.given_uuid

    def __str__(self) -> str:
        return self.name


@overload
def graph_pass(fn: GraphFunction, /) -> CallableInductorPass: ...
@overload
def graph_pass(
    *, uuid: object | None = None, name: str | None = None
) -> Callable[[GraphFunction], CallableInductorPass]: ...
def graph_pass(
    fn: GraphFunction | None = None, /, *, uuid: object | None = None, name: str | None = None
) -> CallableInductorPass | Callable[[GraphFunction], CallableInductorPass]:
    """Turn a function into a pass: ``@graph_pass``, or ``@graph_pass(name="my-pass")``.

    The result is called as the function is, and can stand in a PassManager.
    """
    if fn is not None:
        return CallableInductorPass(fn)
    return lambda function: CallableInductorPass(function, uuid, name=name)
