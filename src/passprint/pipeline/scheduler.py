"""Running what is not a pass over one graph: passes over the scheduler's nodes, and the partitioner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from time import perf_counter
from typing import Any

from torch.fx import Graph, GraphModule

from passprint.passes import PassContext, is_applicable_for_range
from passprint.pipeline import faults
from passprint.pipeline.instruments.session import active
from passprint.pipeline.limits import Limit
from passprint.pipeline.running import begun, heard, skip_for_limit, skip_pass


def run_scheduler_pass(
    pass_: Any, nodes: list[Any], graph: Graph, context: PassContext, limit: Limit | None
) -> list[Any]:
    """The nodes as ``pass_`` leaves them; counted as one rewrite where it changes anything. Raises PassError.

    ``graph``: what the nodes were made from. A pass is one rewrite for ``limit``: it runs as a whole or not at all.
    """
    if not is_applicable_for_range(pass_, context.compile_range):
        skip_pass(pass_, f"it does not apply to sizes {context.compile_range}")
        return nodes
    if limit is not None and (not limit.begin_pass() or limit.remaining == 0):
        skip_for_limit(pass_)
        return nodes
    session = active.get()
    run = begun(pass_, graph, context, session, len(nodes))
    run.scheduled = before = list(nodes)
    with heard(run, session):
        start = perf_counter()
        with faults.named(run.name):
            result = pass_(nodes)
        run.seconds = perf_counter() - start
        _check_nodes(run.name, result)
        run.changed = not (len(before) == len(result) and all(map(is_, before, result)))
        run.rewrites, run.nodes_after, run.scheduled = int(run.changed), len(result), result
        context.count(run.name, run.rewrites)
    if limit is not None and run.changed:
        limit.take()
    return list(result)


def _check_nodes(name: str, result: object) -> None:
    strangers = [node for node in result if not hasattr(node, "get_name")] if isinstance(result, list) else []
    if isinstance(result, list) and not strangers:
        return
    given = f"a list with a {type(strangers[0]).__name__}" if strangers else f"a {type(result).__name__}"
    raise faults.returned(
        name, given, "a pass over the scheduler's nodes must return the list of nodes that goes on"
    )


def cut_as_torch_does(
    gm: GraphModule, joint_inputs: Sequence[object], options: Mapping[str, Any]
) -> tuple[GraphModule, GraphModule]:
    """The forward and the backward that torch makes where nobody else cuts."""
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    cut: tuple[GraphModule, GraphModule] = min_cut_rematerialization_partition(gm, joint_inputs, **options)
    return cut


def run_partitioner(
    partitioner: Any,
    gm: GraphModule,
    joint_inputs: Sequence[object],
    options: Mapping[str, Any],
    context: PassContext,
    limit: Limit | None,
) -> tuple[GraphModule, GraphModule]:
    """The forward and the backward that the partitioner makes of ``gm``; it counts as one rewrite. Raises PassError.

    Where ``limit`` leaves it out, torch cuts.
    """
    if limit is not None and (not limit.begin_pass() or not limit.take()):
        skip_for_limit(partitioner)
        return cut_as_torch_does(gm, joint_inputs, options)
    session = active.get()
    run = begun(partitioner, gm.graph, context, session, len(gm.graph.nodes))
    run.options = options
    with heard(run, session):
        start = perf_counter()
        with faults.named(run.name):
            result = partitioner(gm, joint_inputs, **options)
        run.seconds = perf_counter() - start
        forward, backward = _checked_cut(run.name, result)
        run.parts = (forward.graph, backward.graph)
        run.changed, run.rewrites = True, 1
        run.nodes_after = sum(len(part.nodes) for part in run.parts)
        context.count(run.name, 1)
    return forward, backward


def _checked_cut(name: str, result: Any) -> tuple[GraphModule, GraphModule]:
    if isinstance(result, tuple) and len(result) == 2 and all(isinstance(m, GraphModule) for m in result):
        return result
    raise faults.returned(
        name,
        f"a {type(result).__name__}",
        "a partitioner must return two GraphModules, forward and backward",
    )
