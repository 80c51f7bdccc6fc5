"""Cut one graph of Dynamo's into pieces that are compiled each by itself.

A piece is a contiguous run of the graph, so the pieces are in topological order by construction. Where to cut is
told by :mod:`cuts`; what may cross the borders, by :mod:`borders`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch.fx import Graph, Node

from passprint.compiler.pieces import borders, cuts
from passprint.compiler.pieces.borders import Run
from passprint.compiler.pieces.piece import Piece, is_attribute

# Calls that switch a mode for the nodes after them. A cut between a switch and its counterpart would compile
# the nodes between them in the wrong mode.
_ENTERS = re.compile(r"\._(enter_\w+|\w+_increment_nesting|saved_tensors_hooks_disable)$")
_EXITS = re.compile(r"\._(exit_\w+|\w+_decrement_nesting|saved_tensors_hooks_enable)$")


def partition(graph: Graph, split: str | Sequence[str] = "blocks") -> list[Piece]:
    """Cut ``graph`` into pieces. Every node that does something is in exactly one.

    Arithmetic on sizes is in each piece that uses it. Raises :class:`passprint.CompileError` for a split that does
    not exist.
    """
    body = [
        node
        for node in graph.nodes
        if node.op not in ("placeholder", "output") and not is_attribute(node) and not borders.is_copied(node)
    ]
    runs = borders.with_elements(_runs(body, cuts.labels(body, split)))
    return borders.pieces(graph, borders.joined(_keep_modes_whole(runs)))


def _runs(body: Sequence[Node], labels: Sequence[str]) -> list[Run]:
    runs: list[Run] = []
    for node, label in zip(body, labels, strict=True):
        if runs and runs[-1].label == label:
            runs[-1].nodes.append(node)
        else:
            runs.append(Run(label, [node]))
    return runs


def _keep_modes_whole(runs: Sequence[Run]) -> list[Run]:
    """Join neighbouring runs where a mode that was switched on before the cut is still on after it."""
    grad = outer_grad = _grad_mode_outside(runs)
    depth = 0
    whole: list[Run] = []
    for label, nodes in runs:
        if depth or grad != outer_grad:
            whole[-1].nodes.extend(nodes)
        else:
            whole.append(Run(label, list(nodes)))
        for node in nodes:
            if node.op != "call_function":
                continue
            name = cuts.target_name(node)
            if name.endswith("_set_grad_enabled"):
                grad = node.args[0]
            elif _ENTERS.search(name):
                depth += 1
            elif _EXITS.search(name):
                depth -= 1
    return whole


def _grad_mode_outside(runs: Sequence[Run]) -> object:
    """Dynamo restores the grad mode before a graph ends, so the last switch shows what it is outside."""
    switches = [n for run in runs for n in run.nodes if cuts.target_name(n).endswith("_set_grad_enabled")]
    return switches[-1].args[0] if switches else None
