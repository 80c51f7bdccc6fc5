"""A failing pass once more, at the hook where it failed.

A pass over a graph is called with it. A partitioner is given the joint graph again. A pass over the scheduler's nodes
is reached by compiling the graph that the nodes were made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Graph, GraphModule

from passprint.errors import PassError, PipelineError
from passprint.pipeline.execution import CannotRun, sample_inputs
from passprint.pipeline.torch_door import HOOKS, compile_graph, without_caches

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager


class CannotRunAgain(PipelineError):
    """The graph cannot be compiled here, so the pass was not reached."""


def run_again(manager: PassManager, graph: Graph, options: Mapping[str, Any]) -> None:
    """Run a pipeline of one hook on a stored graph; ``options`` are those that torch gave the partitioner.

    Raises PassError as a pass does, and CannotRunAgain where another error comes first.
    """
    takes = HOOKS[str(manager.hook)].takes
    if takes == "graph":
        manager(graph)
    elif takes == "joint module":
        manager.partition(_module_of(graph), _joint_inputs(graph), **options)
    else:
        _compile(manager, graph)


def _module_of(graph: Graph) -> GraphModule:
    return GraphModule(graph.owning_module or torch.nn.Module(), graph)


def _joint_inputs(graph: Graph) -> tuple[list[Any], list[Any]]:
    """The values that a joint graph was traced with: of the forward's inputs, and of the gradients that come in."""
    inputs = list(graph.find_nodes(op="placeholder"))
    primals, tangents = (
        [node.meta.get("val") for node in inputs if node.name.startswith("tangents") is given]
        for given in (False, True)
    )
    return primals, tangents


def _compile(manager: PassManager, graph: Graph) -> None:
    module = _module_of(graph)
    try:
        inputs = sample_inputs(graph)
    except CannotRun as error:
        raise CannotRunAgain(f"the graph cannot be compiled again: {error}") from error
    for node in module.graph.nodes:
        node.meta.pop("val", None)  # of other fake tensors than those of the compile to come
    try:
        with without_caches(), torch.no_grad():
            compile_graph(module, inputs, manager.options())
    except (
        Exception
    ) as error:  # torch hands on whatever a pass raised within an error of its own, of several types
        found = next((one for one in _behind(error) if isinstance(one, PassError)), None)
        if found is None:
            raise CannotRunAgain(
                f"the graph cannot be compiled again: {type(error).__name__}: {error}"
            ) from error
        raise found from None


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from, the nearest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = getattr(current, "inner_exception", None) or current.__cause__ or current.__context__
