"""Running what is not a pass over one graph: passes over the scheduler's nodes, and the partitioner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.fx import GraphModule

from passprint.errors import PassError
from passprint.passes import CompileRange, current_pass_context, is_applicable_for_range
from passprint.passes.naming import name_of


def run_scheduler_pass(pass_: Any, nodes: list[Any]) -> list[Any]:
    """The nodes as ``pass_`` leaves them; counted as one rewrite where it changes anything. Raises PassError."""
    context = current_pass_context()
    sizes = context.compile_range if context is not None else CompileRange.any()
    if not is_applicable_for_range(pass_, sizes):
        return nodes
    name, before = name_of(pass_), list(nodes)
    result = called(name, lambda: pass_(nodes))
    strangers = [node for node in result if not hasattr(node, "get_name")] if isinstance(result, list) else []
    if not isinstance(result, list) or strangers:
        kind = f"a list with a {type(strangers[0]).__name__}" if strangers else f"a {type(result).__name__}"
        raise PassError(
            f"the pass '{name}' is not valid: its __call__ returned {kind}, and a pass over the scheduler's "
            "nodes must return the list of nodes that goes on",
            pass_name=name,
            reason=f"its __call__ returned {kind}",
        )
    if context is not None:
        same = len(before) == len(result) and all(map(lambda one, other: one is other, before, result))
        context.count(name, int(not same))
    return result


def run_partitioner(
    partitioners: Sequence[Any], gm: GraphModule, joint_inputs: Sequence[object], options: Mapping[str, Any]
) -> tuple[GraphModule, GraphModule]:
    """The forward and the backward that the partitioner makes of ``gm``; torch's own cut without one. "
    "Raises PassError."""
    if not partitioners:
        from torch._functorch.partitioners import min_cut_rematerialization_partition

        cut: tuple[GraphModule, GraphModule] = min_cut_rematerialization_partition(
            gm, joint_inputs, **options
        )
        return cut
    (partitioner,) = partitioners
    name = name_of(partitioner)
    result = called(name, lambda: partitioner(gm, joint_inputs, **options))
    if not (
        isinstance(result, tuple) and len(result) == 2 and all(isinstance(m, GraphModule) for m in result)
    ):
        raise PassError(
            f"the partitioner '{name}' is not valid: its __call__ returned a {type(result).__name__}, and it "
            "must return two "
            "GraphModules, forward and backward",
            pass_name=name,
            reason=f"its __call__ returned a {type(result).__name__}",
        )
    context = current_pass_context()
    if context is not None:
        context.count(name, 1)
    return result


def called(name: str, call: Callable[[], Any]) -> Any:
    """What ``call`` gives; whatever it raises becomes a PassError that names the pass."""
    try:
        return call()
    except PassError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PassError(
            f"the pass '{name}' raised {reason}; the error it came from is shown above",
            pass_name=name,
            reason=reason,
        ) from error
