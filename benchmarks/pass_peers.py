"""The same ten rewriting passes on torch.fx, onnx_ir and xDSL, and the pass manager of each.

Every pass looks at all operations and takes away pairs of its own kind (``f(f(x))`` → ``x``). The graphs are chains of
unary operations of ten kinds, with one pair in fifty operations.
"""

from __future__ import annotations

import importlib.util
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, GraphModule

from passprint.passes import CompileRange, InductorPass, pass_context
from passprint.pipeline import PassManager

KINDS = 10
PAIR_EVERY = 50


def kinds_of(nodes: int) -> list[int]:
    """Which kind each operation of the chain is."""
    kinds = [number % KINDS for number in range(nodes)]
    for at in range(0, nodes - 1, PAIR_EVERY):
        kinds[at + 1] = kinds[at]
    return kinds


@dataclass(frozen=True)
class Peer:
    """``make`` gives a fresh graph of a size; ``by_hand`` and ``managed`` run the ten passes on it; ``size`` counts."""

    name: str
    make: Callable[[int], Any]
    by_hand: Callable[[Any], object]
    managed: Callable[[Any], object]
    size: Callable[[Any], int]


# -- torch.fx

UNARY: tuple[Any, ...] = tuple(
    getattr(torch.ops.aten, name).default
    for name in ("neg", "exp", "sin", "cos", "abs", "sigmoid", "tanh", "relu", "sqrt", "floor")
)


def fx_graph(nodes: int) -> GraphModule:
    graph = Graph()
    value = graph.placeholder("x")
    for kind in kinds_of(nodes):
        value = graph.call_function(UNARY[kind], (value,))
    graph.output(value)
    return GraphModule(torch.nn.Module(), graph)


def drop_fx_pairs(graph: Graph, target: Any) -> bool:
    changed = False
    for node in graph.nodes:
        if node.target is target:
            inner = node.args[0]
            if isinstance(inner, torch.fx.Node) and inner.target is target and len(inner.users) == 1:
                node.replace_all_uses_with(inner.args[0])
                graph.erase_node(node)
                graph.erase_node(inner)
                changed = True
    return changed


class DropPairs(InductorPass):
    """Takes away pairs of one kind."""

    kind: int

    def __call__(self, graph: Graph) -> None:
        drop_fx_pairs(graph, UNARY[self.kind])


def fx_by_hand(module: GraphModule) -> None:
    for target in UNARY:
        drop_fx_pairs(module.graph, target)


def passprint_peer() -> Peer:
    manager = PassManager([DropPairs(kind) for kind in range(KINDS)])

    def managed(module: GraphModule) -> None:
        with pass_context(CompileRange.any()):
            manager(module.graph)

    return Peer("passprint", fx_graph, fx_by_hand, managed, lambda module: len(module.graph.nodes) - 2)


def torch_peer() -> Peer:
    from torch.fx.passes.infra.pass_base import PassResult
    from torch.fx.passes.infra.pass_manager import PassManager as TorchPassManager

    def as_pass(target: Any) -> Callable[[GraphModule], Any]:
        return lambda module: PassResult(module, drop_fx_pairs(module.graph, target))

    manager: Any = TorchPassManager(passes=[as_pass(target) for target in UNARY])
    return Peer(
        "torch.fx.passes.infra", fx_graph, fx_by_hand, manager, lambda module: len(module.graph.nodes) - 2
    )


# -- onnx_ir


def onnx_peer() -> Peer:
    import onnx_ir as ir

    def make(nodes: int) -> Any:
        tensor = ir.TensorType(ir.DataType.FLOAT)
        first = ir.Value(name="x", type=tensor)
        made: list[Any] = []
        value = first
        for kind in kinds_of(nodes):
            made.append(ir.node(f"Op{kind}", [value], num_outputs=1))
            value = made[-1].outputs[0]
        graph = ir.Graph([first], [value], nodes=made, opset_imports={"": 20})
        return ir.Model(graph, ir_version=10)

    class DropOnnxPairs(ir.passes.InPlacePass):
        def __init__(self, kind: int) -> None:
            super().__init__()
            self.op_type = f"Op{kind}"

        def call(self, model: Any) -> Any:
            changed = False
            for node in model.graph:
                if node.op_type == self.op_type:
                    inner = node.inputs[0].producer()
                    if (
                        inner is not None
                        and inner.op_type == self.op_type
                        and len(inner.outputs[0].uses()) == 1
                    ):
                        ir.convenience.replace_all_uses_with(
                            node.outputs[0], inner.inputs[0], replace_graph_outputs=True
                        )
                        model.graph.remove([node, inner], safe=True)
                        changed = True
            return ir.passes.PassResult(model, changed)

    passes = [DropOnnxPairs(kind) for kind in range(KINDS)]

    def by_hand(model: Any) -> None:
        for pass_ in passes:
            pass_.call(model)

    return Peer("onnx_ir", make, by_hand, ir.passes.Sequential(*passes), lambda model: len(model.graph))


# -- xDSL


def xdsl_peer() -> Peer:
    from xdsl.context import Context
    from xdsl.dialects.builtin import IntAttr, ModuleOp, i32
    from xdsl.dialects.test import TestOp
    from xdsl.passes import ModulePass, PassPipeline

    attributes = [IntAttr(kind) for kind in range(KINDS)]

    def make(nodes: int) -> Any:
        value = TestOp(result_types=[i32])
        made: list[Any] = [value]
        for kind in kinds_of(nodes):
            value = TestOp([value.results[0]], result_types=[i32], attributes={"kind": attributes[kind]})
            made.append(value)
        made.append(TestOp([value.results[0]]))
        return ModuleOp(made)

    @dataclass(frozen=True)
    class DropXdslPairs(ModulePass):
        name = "drop-pairs"
        kind: int = 0

        def apply(self, ctx: Any, op: Any) -> None:
            wanted = attributes[self.kind]
            for one in list(op.body.block.ops):
                if one.attributes.get("kind") is wanted:
                    inner = one.operands[0].owner
                    if inner.attributes.get("kind") is wanted and inner.results[0].has_one_use():
                        one.results[0].replace_all_uses_with(inner.operands[0])
                        one.detach()
                        one.erase()
                        inner.detach()
                        inner.erase()

    passes = tuple(DropXdslPairs(kind) for kind in range(KINDS))
    pipeline, context = PassPipeline(passes), Context()

    def by_hand(module: Any) -> None:
        for pass_ in passes:
            pass_.apply(context, module)

    return Peer(
        "xDSL",
        make,
        by_hand,
        lambda module: pipeline.apply(context, module),
        lambda module: sum(1 for _ in module.body.block.ops) - 2,
    )


def peers() -> list[Peer]:
    """passprint, torch, and those of the others that are installed (``pip install 'passprint[bench]'``)."""
    found = [passprint_peer(), torch_peer()]
    if importlib.util.find_spec("onnx_ir") is not None:
        found.append(onnx_peer())
    if importlib.util.find_spec("xdsl") is not None:
        found.append(xdsl_peer())
    return found


def check_equal_work(all_peers: list[Peer], nodes: int) -> int:
    """How many operations are left; raises RuntimeError unless every peer leaves as many, by hand and managed."""
    left = set()
    for peer in all_peers:
        for way in ("by_hand", "managed"):
            graph = peer.make(nodes)
            operator.attrgetter(way)(peer)(graph)
            left.add(peer.size(graph))
    if len(left) != 1:
        raise RuntimeError(f"the peers do not do the same work: {left} operations are left of {nodes}")
    return left.pop()
