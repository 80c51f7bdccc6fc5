"""What a pass can do wrong, each as a PassError that names the pass, the node, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from passprint.errors import PassError
from passprint.passes import RewriteCounter
from passprint.passes.annotations import CannotCompute, fill_missing
from passprint.passes.branches import branches_of, distinct

#: How many lines of the graph an error shows around the node to blame.
_EXCERPT = 3


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. ``rule`` is its kind, ``node`` where it shows, ``reason`` one sentence.

    ``advice`` says what to do about it.
    """

    rule: str
    node: str | None
    reason: str
    advice: str

    def within(self, branch: str) -> Fault:
        """The same, said of a graph of control flow."""
        return replace(self, reason=f"in the branch '{branch}': {self.reason}")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Whatever is raised within the block becomes a PassError that names the pass."""
    try:
        yield
    except PassError:
        raise
    except Exception as error:
        raise raised(name, error) from error


def raised(name: str, error: Exception) -> PassError:
    """The pass raised something."""
    reason = f"{type(error).__name__}: {error}"
    return PassError(
        f"the pass '{name}' raised {reason}; the error it came from is shown above",
        pass_name=name,
        reason=reason,
    )


def returned(name: str, given: str, expected: str) -> PassError:
    """The pass returned what it must not; ``given`` and ``expected`` are words for an error."""
    reason = f"its __call__ returned {given}"
    return PassError(
        f"the pass '{name}' is not valid: {reason}, and {expected}", pass_name=name, reason=reason
    )


def check_graph(name: str, graph: torch.fx.Graph, counter: RewriteCounter) -> None:
    """Raise PassError where what the pass did leaves the graph unsound."""
    if counter.is_sound():
        return
    _lint(name, graph, "")
    for branch, inner in distinct(branches_of(graph)).items():
        _lint(name, inner, f"in the branch '{branch}': ")


def _lint(name: str, graph: torch.fx.Graph, where: str) -> None:
    try:
        graph.lint()
    except (RuntimeError, ValueError, AttributeError) as error:
        node, reason = _find_fault(graph)
        reason = where + (reason or str(error).splitlines()[0])
        raise PassError(
            f"the pass '{name}' broke the graph: {reason}\n{_excerpt(graph, node)}\n"
            "Insert new nodes before their first use (graph.inserting_before(...)), and erase a node only "
            "after all its uses were replaced",
            pass_name=name,
            node=None if node is None else node.name,
            reason=reason,
        ) from error


def fill_annotations(name: str, graph: torch.fx.Graph) -> None:
    """Compute the annotations that are missing; raises PassError where that cannot be done."""
    try:
        for one in (graph, *distinct(branches_of(graph)).values()):
            fill_missing(one)
    except CannotCompute as error:
        raise PassError(
            f"the pass '{name}' asks for meta['val'] to be filled in (fill_meta), which cannot be done: {error}. "
            "Every argument of a new node must be annotated, and its operator must take them",
            pass_name=name,
            reason=str(error),
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
