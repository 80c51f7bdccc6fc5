"""Real compiles for tests of hooks: matrix products only, for which Inductor generates no kernel to be built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._dynamo.utils import counters
from torch._inductor import config
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.utils import fresh_cache
from torch.fx import Graph, Node

from passprint.passes import InductorPass
from passprint.pipeline import PassManager

aten = torch.ops.aten
A, B = torch.arange(9.0).reshape(3, 3), torch.eye(3).roll(1, 0) * 2
GRAPH_HOOKS = ["pre_grad", "joint_pre", "joint_post", "post_grad_pre", "post_grad_post"]


def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.mm(x, y)


def products(graph: Graph) -> list[Node]:
    """The products of two arguments of the graph, before and after Autograd."""
    found = [node for node in graph.nodes if node.target in (torch.mm, aten.mm.default)]
    return [node for node in found if all(arg.op == "placeholder" for arg in node.all_input_nodes)]


def swap_products(graph: Graph) -> None:
    for node in products(graph):
        node.args = tuple(reversed(node.args))


class Log(list[Any]):
    """What passes write down; it changes no graph, so it does not count in their identity."""

    def __fingerprint__(self) -> str:
        return "log"


class SwapProducts(InductorPass):
    """``x @ y`` → ``y @ x``: easy to see in the result."""

    version: int = 1

    def __call__(self, graph: Graph) -> None:
        swap_products(graph)


class ByHand(CustomGraphPass):
    """As another library would write one."""

    def __init__(self, uuid: Any = "by hand") -> None:
        self.given = uuid

    def __call__(self, graph: Graph) -> None:
        swap_products(graph)

    def uuid(self) -> Any:
        return self.given


@contextmanager
def empty_caches() -> Iterator[None]:
    """Caches that hold nothing, and nothing of torch's own setup to wait for."""
    with fresh_cache(), config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        yield
    torch._dynamo.reset()


def outcomes() -> list[str]:
    """What Inductor's caches said since the counters were cleared."""
    found = counters["inductor"]
    return [name for name in ("hit", "miss", "bypass") if found[f"fxgraph_cache_{name}"]]


def compiled(
    fn: Callable[..., Any], options: dict[str, Any] | PassManager | None, *arguments: Any
) -> tuple[Any, str]:
    """The result of a fresh compile, and whether Inductor's cache had it: "hit", "miss" or "bypass"."""
    torch._dynamo.reset()
    counters.clear()
    given = options.options() if isinstance(options, PassManager) else options
    result = torch.compile(fn, options=given)(*arguments)
    (outcome,) = outcomes()
    return result, outcome


def train(
    fn: Callable[..., Any], options: dict[str, Any] | PassManager | None = None
) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Result, gradient of the first argument, and what the cache said, of a fresh compile that trains."""
    x = A.clone().requires_grad_()
    result, outcome = compiled(fn, options, x, B)
    result.sum().backward()
    assert x.grad is not None
    return result.detach(), x.grad, outcome
