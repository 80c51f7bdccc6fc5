"""Running one pass: whatever it does wrong is found here, and the error names it."""

from __future__ import annotations

from typing import Any

import torch

from passprint.errors import PassError
from passprint.passes import PassContext, RewriteCounter
from passprint.passes.naming import kebab_case

#: How many lines of the graph an error shows around the node to blame.
_EXCERPT = 3


def name_of(pass_: Any) -> str:
    """What a pass is called in pipelines, errors and match counts."""
    name = getattr(pass_, "name", None)
    return name if isinstance(name, str) and name else kebab_case(type(pass_).__name__)


def run_pass(pass_: Any, graph: torch.fx.Graph, context: PassContext) -> None:
    """Run ``pass_`` on ``graph`` and count its rewrites in ``context``; raises PassError for a fault."""
    name = name_of(pass_)
    patterns_before = _pattern_matches(context, name)
    try:
        with RewriteCounter(graph) as counter:
            result = pass_(graph)
    except PassError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PassError(
            f"the pass '{name}' raised {reason}; the error it came from is shown above",
            pass_name=name,
            reason=reason,
        ) from error
    if result is not None:
        raise _returned_something(name, result)
    if counter.changed:
        _check(name, graph)
    patterns = {key: count for key, count in context.matches.items() if key.startswith(f"{name}/")}
    matches = sum(patterns.values()) - patterns_before if patterns else counter.rewrites
    context.count(name, matches)


def _pattern_matches(context: PassContext, name: str) -> int:
    return sum(count for key, count in context.matches.items() if key.startswith(f"{name}/"))


def _returned_something(name: str, result: object) -> PassError:
    kind = type(result).__name__
    reason = f"its __call__ returned a {kind}"
    return PassError(
        f"the pass '{name}' is not valid: {reason}, and a pass must return nothing. Change the graph that "
        "was given, in place, and drop the return (torch would ignore it: a new graph would be lost)",
        pass_name=name,
        reason=reason,
    )


def _check(name: str, graph: torch.fx.Graph) -> None:
    try:
        graph.lint()
    except (RuntimeError, ValueError, AttributeError) as error:
        node, reason = _find_fault(graph)
        reason = reason or str(error).splitlines()[0]
        raise PassError(
            f"the pass '{name}' broke the graph: {reason}\n{_excerpt(graph, node)}\n"
            "Insert new nodes before their first use (graph.inserting_before(...)), and erase a node only "
            "after all its uses were replaced",
            pass_name=name,
            node=None if node is None else node.name,
            reason=reason,
        ) from error


def _find_fault(graph: torch.fx.Graph) -> tuple[torch.fx.Node | None, str]:
    """The first node that uses what is not there yet, gone, or from elsewhere."""
    seen: set[torch.fx.Node] = set()
    here = set(graph.nodes)
    for node in graph.nodes:
        for used in node.all_input_nodes:
            if used in seen:
                continue
            if used in here:
                return node, f"node '{node.name}' uses '{used.name}', which comes after it"
            if used.graph is not graph:
                return node, f"node '{node.name}' uses '{used.name}', which belongs to another graph"
            return node, f"node '{node.name}' uses '{used.name}', which was erased"
        seen.add(node)
    return None, ""


def _excerpt(graph: torch.fx.Graph, node: torch.fx.Node | None) -> str:
    nodes = list(graph.nodes)
    if node is None:
        return f"The graph has {len(nodes)} nodes."
    at = nodes.index(node)
    lines = []
    for position in range(max(0, at - _EXCERPT), min(len(nodes), at + _EXCERPT + 1)):
        mark = ">" if position == at else " "
        lines.append(f"  {mark} {nodes[position].format_node()}")
    return "\n".join(lines)
