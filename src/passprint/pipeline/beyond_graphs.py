"""What must hold where a pass is given no graph: the order of the scheduler's nodes, and the two halves of a cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from torch.fx import Graph

from passprint.pipeline.faults import Fault
from passprint.pipeline.torch_door import buffers_made, buffers_needed, operations_of

_KEEP = "Return every node that was given, once, by itself or as a part of a fused one"
_ORDER = "Leave a node behind all nodes whose buffers it reads or waits for"
_CUT = (
    "Let each half stand by itself: copy nodes into it (graph.node_copy) and hand over what the other needs"
)


def scheduling_faults(before: Sequence[Any], after: Sequence[Any]) -> Iterator[Fault]:
    """What is wrong with the scheduler's nodes after a pass: one lost or given twice, or before what it needs."""
    given, left = (
        Counter(name for node in nodes for name in operations_of(node)) for nodes in (before, after)
    )
    for name in given.keys() - left.keys():
        yield Fault("nodes", name, f"the operation '{name}' was lost", _KEEP)
    for name, count in left.items():
        if count > max(1, given[name]):
            yield Fault("nodes", name, f"the operation '{name}' is there {count} times", _KEEP)
    makers = {buffer: node for node in after for buffer in buffers_made(node)}
    begun: set[str] = set()
    for node in after:
        begun |= buffers_made(node)
        for buffer in sorted(buffers_needed(node)):
            if buffer in makers and buffer not in begun:
                name, maker = node.get_name(), makers[buffer].get_name()
                yield Fault(
                    "order", name, f"'{name}' needs '{buffer}', which '{maker}' makes after it", _ORDER
                )


def cut_faults(joint: Graph, parts: Sequence[Graph]) -> Iterator[Fault]:
    """What is wrong with what a partitioner made: a half that is no sound graph, or inputs that nobody will give."""
    inputs = {node.name for node in joint.find_nodes(op="placeholder")}
    for label, part in zip(("forward", "backward"), parts, strict=True):
        try:
            part.lint()
        except (RuntimeError, ValueError, AttributeError) as error:
            yield Fault(
                "cut", None, f"the {label} is not sound: {next(iter(str(error).splitlines()), '')}", _CUT
            )
    for node in parts[0].find_nodes(op="placeholder"):
        if node.name not in inputs:
            yield Fault("cut", node.name, f"the forward asks for '{node.name}', which is no input", _CUT)
