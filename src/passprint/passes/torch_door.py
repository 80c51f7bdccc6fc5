"""The one place of this room that touches private torch names.

Read against torch 2.11, 2.12 and 2.13 (run on 2.13). ``tests/passes/test_passes_torch_door.py`` fails
with the name that moved when a newer torch no longer has what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch._inductor import custom_graph_pass
from torch._inductor.custom_graph_pass import (  # the base classes that Inductor's caches ask for
    CustomGraphModulePass,
    CustomGraphPass,
    CustomPartitionerFn,
)

if TYPE_CHECKING:
    from torch._inductor.custom_graph_pass import CustomInferenceAwareGraphPass, CustomSchedulerPass
    from torch._inductor.pattern_matcher import Match, PatternMatcherPass
    from torch._subclasses.fake_tensor import FakeTensorMode
else:

    class _NoInferenceAwarePass(CustomGraphPass):
        """Stands in on torch 2.11, which tells no pass whether it compiles for inference."""

    class _NoSchedulerPass(CustomGraphPass):
        """Stands in on torch 2.11, whose cache takes a scheduler pass if it is a graph pass."""

    CustomInferenceAwareGraphPass = getattr(
        custom_graph_pass, "CustomInferenceAwareGraphPass", _NoInferenceAwarePass
    )
    CustomSchedulerPass = getattr(custom_graph_pass, "CustomSchedulerPass", _NoSchedulerPass)

__all__ = [
    "CustomGraphModulePass",
    "CustomGraphPass",
    "CustomInferenceAwareGraphPass",
    "CustomPartitionerFn",
    "CustomSchedulerPass",
    "apply_pattern",
    "as_fake",
    "build_pattern",
    "fake_tracing",
    "sort_topologically",
    "watching",
]


@contextmanager
def fake_tracing() -> Iterator[FakeTensorMode]:
    """A fresh fake-tensor mode outside of whatever Inductor is tracing around us.

    Patterns are traced in the middle of a compile, where a fake mode and a tracing context of the user's
    graph are active; neither may see the example inputs.
    """
    from torch._guards import tracing
    from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

    with tracing(None), unset_fake_temporarily(), FakeTensorMode() as mode:
        yield mode


def as_fake(mode: FakeTensorMode, value: Any) -> Any:
    """``value`` as a tensor of ``mode`` if it is a real tensor, else as it is."""
    from torch._subclasses.fake_tensor import FakeTensor

    if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor):
        return mode.from_tensor(value)
    return value


def build_pattern(
    name: str,
    search: Callable[..., Any],
    replace: Callable[..., Any],
    example_inputs: Sequence[Any],
    check: Callable[[Match], bool] | None,
    scalars: Mapping[str, float | int],
) -> PatternMatcherPass:
    """One pattern as a matcher of its own, so that its matches count apart. Call inside `fake_tracing`."""
    from torch._inductor import pattern_matcher

    matcher = pattern_matcher.PatternMatcherPass(pass_name=name)
    pattern_matcher.register_replacement(
        search,
        replace,
        list(example_inputs),
        pattern_matcher.fwd_only,
        matcher,
        extra_check=check if check is not None else _accept,
        scalar_workaround=dict(scalars) or None,
    )
    return matcher


def _accept(match: Match) -> bool:
    return True


def apply_pattern(matcher: PatternMatcherPass, graph: torch.fx.Graph) -> int:
    """Rewrite every match in ``graph``; how many there were."""
    return int(matcher.apply(graph))


def sort_topologically(graph: torch.fx.Graph) -> None:
    """Order the nodes by their uses; equal nodes keep their order."""
    from torch._inductor.pattern_matcher import stable_topological_sort

    stable_topological_sort(graph)


@contextmanager
def watching(
    module: torch.fx.GraphModule,
    on_replace: Callable[[torch.fx.Node, str, torch.fx.Node], object],
    on_erase: Callable[[torch.fx.Node], object],
) -> Iterator[None]:
    """Call ``on_replace(old, new, user)`` and ``on_erase(node)`` for what happens to the graph meanwhile."""
    module._register_replace_node_hook(on_replace)
    module._register_erase_node_hook(on_erase)
    try:
        yield
    finally:
        module._unregister_replace_node_hook(on_replace)
        module._unregister_erase_node_hook(on_erase)
