"""What broken passes are: the graph that they break, small ways of breaking it, and who catches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Graph, Node

from passprint import PassError, PassManager
from passprint.instruments import Numerics, Verify
from passprint.passes import graph_pass
from passprint.passes.library import FoldReshapes, NoopElimination
from passprint.pipeline.graph_file import from_data, to_data
from passprint.pipeline.snapshots import Snapshot
from passprint.testing import capture_graphs

aten, prims = torch.ops.aten, torch.ops.prims


def model(x: Tensor, weight: Tensor, index: Tensor, state: Tensor) -> tuple[Tensor, ...]:
    """A bit of everything: casts, views, a reduction, random numbers, indices, a write to an input, a condition."""
    state.add_(x.mean())
    wide = x.to(torch.bfloat16).to(torch.float32)
    norm = weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6))
    rows = norm.transpose(0, 1).reshape(-1, 8)
    scores = torch.softmax((rows @ rows.t()) * 0.125, dim=-1)
    left, right = norm.split(4, dim=-1)
    gated = torch.nn.functional.silu(left) * right
    dropped = torch.nn.functional.dropout(gated, 0.5, True)
    noise = torch.rand_like(gated)
    chosen = torch.cond(norm.sum().abs() >= 0, lambda x: torch.relu(-x) * 2, torch.rand_like, (gated,))
    return scores, torch.cat([gated, dropped], -1), noise, weight[index] - 1.0, norm > 0, state * 2.0, chosen


def graph_of(*, dynamic: bool) -> Graph:
    """What Inductor's last hook gets of `model`."""
    torch.manual_seed(0)
    inputs = (torch.randn(4, 3, 8), torch.randn(8), torch.tensor([1, 0, 1]), torch.zeros(()))
    return capture_graphs(model, inputs, dynamic={0: (0,)} if dynamic else None).graphs[-1]


@dataclass(frozen=True)
class Broken:
    """A broken pass: its kind, its name, and what it does to a graph."""

    kind: str
    name: str
    run: Callable[[Graph], None]


BROKEN: list[Broken] = []


def broken(kind: str) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
    def register(run: Callable[[Graph], None]) -> Callable[[Graph], None]:
        BROKEN.append(Broken(kind, run.__name__.replace("_", "-"), run))
        return run

    return register


def find(graph: Graph, target: object, nth: int = 0) -> Node:
    return [node for node in graph.nodes if node.target == target][nth]


def inputs_of(graph: Graph, dtype: torch.dtype, rank: int) -> Node:
    """The input with this dtype and rank."""
    for node in graph.nodes:
        value = node.meta.get("val")
        if (
            node.op == "placeholder"
            and isinstance(value, Tensor)
            and value.dtype == dtype
            and value.dim() == rank
        ):
            return node
    raise LookupError((dtype, rank))


def output_of(graph: Graph) -> Node:
    return next(iter(reversed(graph.nodes)))


def replace(node: Node, target: object, args: tuple[object, ...], *, val: object = "same") -> Node:
    """A node in the place of another, annotated as the other unless told."""
    graph = node.graph
    with graph.inserting_before(node):
        new = graph.call_function(target, args)  # type: ignore[arg-type]
    if val == "same":
        new.meta["val"] = node.meta["val"]
    elif val is not None:
        new.meta["val"] = val
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    return new


def after(node: Node, target: object, args: tuple[object, ...], val: object) -> Node:
    """A node behind another, for all its uses."""
    with node.graph.inserting_after(node):
        new = node.graph.call_function(target, args)  # type: ignore[arg-type]
    new.meta["val"] = val
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    return new


def own_copy(graph: Graph) -> Graph:
    """A copy with annotations of its own, which a pass may spoil."""
    return from_data(*to_data(Snapshot(graph)))


@dataclass(frozen=True)
class Caught:
    """What happened to a broken pass: ``by`` is "manager", "verify", "numerics" or None; ``blamed`` the pass named."""

    by: str | None
    blamed: str | None
    error: str = ""


def try_pass(case: Broken, graph: Graph) -> Caught:
    """Run a broken pass between two sound ones, on a copy of the graph."""
    passes = [NoopElimination(), graph_pass(name=case.name)(case.run), FoldReshapes()]
    error: PassError | None = None
    for by, instruments in (("manager", ()), ("verify", (Verify(repeat=True),)), ("numerics", (Numerics(),))):
        try:
            PassManager(passes, instruments=instruments)(own_copy(graph))
        except PassError as caught:
            error = caught
            return Caught(by, error.pass_name, str(error))
    return Caught(None, None)
