"""Passes of passprint's in vLLM's pass manager, and of vLLM's in passprint's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx import Graph

from passprint.passes import CompileRange, InductorPass, get_pass_context, pass_context
from passprint.passes.naming import kebab_case
from passprint.passes.torch_door import CustomGraphPass
from passprint.pipeline import PassManager

if TYPE_CHECKING:
    from passprint.integrations.vllm.door import Door


def as_range(theirs: Any) -> CompileRange:
    """vLLM's range of sizes as passprint's."""
    return CompileRange(theirs.start, theirs.end)


class InVllm(PassManager):
    """A pipeline of passprint's in the list of vLLM's pass manager: it runs in a pass context with vLLM's range."""

    door: Door

    def is_applicable_for_range(self, compile_range: Any) -> bool:
        """vLLM asks; each pass of the pipeline is asked when it runs."""
        return True

    def __call__(self, graph: Graph) -> None:
        with pass_context(as_range(self.door.compile_range())):
            super().__call__(graph)


def in_vllm(pass_: Any, door: Door) -> Any:
    """``pass_`` as vLLM's manager can run it; a pass of vLLM's is returned as it is."""
    if isinstance(pass_, InVllm) or not isinstance(pass_, InductorPass | PassManager):
        return pass_
    pipeline = InVllm([pass_])
    pipeline.door = door
    return pipeline


def name_in_pipeline(kind: type) -> str:
    """What a pass of vLLM's is called: its class's name without "Pass", in kebab case."""
    return kebab_case(kind.__name__.removesuffix("Pass"))


class OfVllm(CustomGraphPass):
    """A pass of vLLM's in a pipeline of passprint's. Its name is its class's, without "pass".

    What its patterns matched is counted under its name. vLLM's dumps of graphs keep their numbers.
    """

    def __init__(self, pass_: Any, door: Door) -> None:
        self.pass_ = pass_
        self.name = name_in_pipeline(type(pass_))
        self._door = door

    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        """What the pass says of vLLM's own range."""
        return bool(self.pass_.is_applicable_for_range(self._door.compile_range()))

    def __call__(self, graph: Graph) -> None:
        with self._door.numbered():
            self.pass_(graph)
        matched = getattr(self.pass_, "matched_count", None)
        if isinstance(matched, int):
            get_pass_context().count(f"{self.name}/patterns", matched)

    def uuid(self) -> Any:
        """What the pass says itself."""
        return self.pass_.uuid()

    def __deepcopy__(self, memo: dict[int, Any]) -> OfVllm:
        return self

    def __str__(self) -> str:
        return self.name


def member_for(pass_: Any, door: Door) -> Any:
    """A member of vLLM's manager as one of passprint's."""
    if isinstance(pass_, InVllm):
        return pass_.passes[0]
    return pass_ if isinstance(pass_, InductorPass | PassManager) else OfVllm(pass_, door)
