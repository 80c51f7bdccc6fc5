"""The graphs that Inductor hands to a hook for a function, and the function's results with a pipeline on that hook."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Graph
from torch.utils._pytree import tree_map_only

from passprint.pipeline.snapshots import copy_graph
from passprint.pipeline.torch_door import HOOKS
from passprint.testing.torch_door import compile_without_code, mark_dynamic


@dataclass
class Captured:
    """``graphs``: copies of the graphs that the hook got, in order. ``result``: what the compiled function gave."""

    graphs: list[Graph] = field(default_factory=list)
    result: Any = None


def capture_graphs(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    hook: str = "post_grad_post",
    dynamic: bool | Mapping[int, Sequence[int]] | None = None,
    pipeline: Callable[[Graph], None] | None = None,
) -> Captured:
    """Compile ``fn`` with Inductor up to ``hook``, run it once, and keep the graphs that the hook got.

    ``inputs``: the positional arguments; they are copied, so a function that writes to them leaves them as they are.
    ``dynamic``: as in ``torch.compile``, or the dimensions that vary by argument: ``{0: (1,)}``.
    ``pipeline``: runs on the hook, after the copies were made. With inputs that require gradients the backward graph is
    captured too, as the sum of all results is differentiated.
    """
    captured = Captured()

    def hooked(graph: Graph) -> None:
        captured.graphs.append(copy_graph(graph))
        if pipeline is not None:
            pipeline(graph)

    given = own_copies(inputs)
    whole = dynamic if isinstance(dynamic, bool) else None
    if isinstance(dynamic, Mapping):
        for argument, dimensions in dynamic.items():
            for dimension in dimensions:
                mark_dynamic(given[argument], dimension)
    compiled = compile_without_code(fn, {HOOKS[hook].slot: hooked}, whole)
    captured.result = compiled(*given)
    _differentiate(captured.result)
    return captured


def own_copies(values: Sequence[Any]) -> list[Any]:
    """Copies of tensors and of whatever holds them; leaves that require gradients still do."""

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    return [tree_map_only(torch.Tensor, copied, value) for value in map(copy.copy, values)]


def _differentiate(result: Any) -> None:
    leaves = [
        t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor) and t.requires_grad
    ]
    if leaves:
        torch.autograd.backward([leaf.float().sum() for leaf in leaves])
