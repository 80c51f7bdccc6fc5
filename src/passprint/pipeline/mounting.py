"""A pipeline beside the passes that another library has put into the same slot."""

from __future__ import annotations

from typing import Any

import torch

from passprint.identity import compose
from passprint.pipeline.torch_door import CustomGraphPass, CustomInferenceAwareGraphPass


class Chain(CustomGraphPass):
    """Several passes in one slot, run in order. One that cannot say what it is makes all uncacheable."""

    def __init__(self, passes: tuple[Any, ...]) -> None:
        self.passes = passes

    def __call__(self, graph: torch.fx.Graph) -> None:
        for pass_ in self.passes:
            pass_(graph)

    def uuid(self) -> str | None:
        return chain_uuid(self.passes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Chain:
        return self


class InferenceAwareChain(CustomInferenceAwareGraphPass):
    """A chain with a member that torch tells whether it compiles for inference."""

    def __init__(self, passes: tuple[Any, ...]) -> None:
        self.passes = passes

    def __call__(self, graph: torch.fx.Graph, is_inference: bool) -> None:  # type: ignore[override]
        for pass_ in self.passes:
            if isinstance(pass_, CustomInferenceAwareGraphPass):
                pass_(graph, is_inference)
            else:
                pass_(graph)

    def uuid(self) -> str | None:
        return chain_uuid(self.passes)

    def __deepcopy__(self, memo: dict[int, Any]) -> InferenceAwareChain:
        return self


def chain(passes: tuple[Any, ...]) -> Any:
    """``passes`` as one pass for a slot."""
    if len(passes) == 1:
        return passes[0]
    aware = any(isinstance(pass_, CustomInferenceAwareGraphPass) for pass_ in passes)
    return InferenceAwareChain(passes) if aware else Chain(passes)


def chain_uuid(passes: tuple[Any, ...]) -> str | None:
    """One digest for all uuids in order, or None when a member has none."""
    uuids: dict[str, object] = {}
    for position, pass_ in enumerate(passes):
        # torch's caches also pass over a plain function, and over a pass whose uuid is empty
        uuid = pass_.uuid() if isinstance(pass_, CustomGraphPass) else None
        if not uuid:
            return None
        uuids[str(position)] = uuid
    digest: str = compose("mounted passes", uuids).digest
    return digest
