"""Where graphs are cut, and which pieces count as equal."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

import passprint
from passprint.compiler.pieces import symbols
from passprint.compiler.pieces.partition import partition
from passprint.compiler.pieces.piece import Piece, extract
from passprint.compiler.pieces.structure import describe


class Block(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(self.norm(x))
        y = torch.relu(y) * torch.sigmoid(y)
        return x + self.down(y) * 0.5


class Stack(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def captured(
    model: Callable[..., object], *inputs: torch.Tensor, dynamic: bool = False, grad: bool = False
) -> GraphModule:
    """The graph that Dynamo makes of ``model``, for inference unless ``grad``."""
    graphs: list[GraphModule] = []

    def keep(gm: GraphModule, _: Sequence[object]) -> Callable[..., object]:
        graphs.append(gm)
        return gm.forward

    torch._dynamo.reset()
    with torch.set_grad_enabled(grad):
        torch.compile(model, backend=keep, fullgraph=True, dynamic=dynamic)(*inputs)
    return graphs[0]


def texts(gm: GraphModule, pieces: Sequence[Piece]) -> list[str]:
    facts = symbols.symbol_facts(symbols.shape_env_of([n.meta.get("example_value") for n in gm.graph.nodes]))
    return ["\n".join((s.inputs, s.graph, s.facts)) for s in (describe(p, gm, facts) for p in pieces)]


def test_repeated_blocks_become_equal_pieces() -> None:
    gm = captured(Stack(Block(), Block(), Block()), torch.randn(2, 8))
    pieces = partition(gm.graph)
    assert len(pieces) == 4
    first, second, third, head = texts(gm, pieces)
    assert first == second == third != head


def test_in_training_the_first_block_differs_where_its_input_needs_no_gradient() -> None:
    gm = captured(Stack(Block(), Block(), Block()), torch.randn(2, 8), grad=True)
    first, second, third, _ = texts(gm, partition(gm.graph))
    assert first != second == third


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: Block().double(), id="dtype"),
        pytest.param(lambda: Block().requires_grad_(False), id="requires_grad"),
    ],
)
def test_blocks_with_other_inputs_are_other_pieces(other: Callable[[], Block]) -> None:
    class Cast(nn.Module):
        def __init__(self, inner: Block) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.to(self.inner.up.weight.dtype)).float()

    gm = captured(Stack(Cast(Block()), Cast(other())), torch.randn(2, 8))
    first, second, *_ = texts(gm, partition(gm.graph))
    assert first != second


def test_a_constant_makes_another_piece() -> None:
    class Scaled(Block):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * self.scale

    gm = captured(Stack(Scaled(0.0), Scaled(-0.0), Scaled(0.0)), torch.randn(2, 8))
    first, second, third, _ = texts(gm, partition(gm.graph))
    assert first == third != second


def test_inputs_that_share_storage_make_another_piece() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            z = x * 2 + y
            z = torch.relu(z) * torch.sigmoid(z)
            return z - x.sin() + y.cos()

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Pair(), Pair()])

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.blocks[0](x, y) + self.blocks[1](x, x.view(-1).view(2, 8))

    gm = captured(Two(), torch.randn(2, 8), torch.randn(2, 8))
    blocks = [p for p in partition(gm.graph) if "blocks" in p.label]
    first, second = texts(gm, blocks)
    assert first != second


def test_symbolic_sizes_are_passed_to_the_pieces_that_need_them() -> None:
    gm = captured(Stack(Block(), Block()), torch.randn(3, 8), dynamic=True)
    pieces = partition(gm.graph)
    one, two, _ = texts(gm, pieces)
    assert one == two
    assert "d0" in one
    for piece in pieces:
        extract(piece, gm).graph.lint()


def repeated(x: torch.Tensor) -> torch.Tensor:
    for _ in range(5):
        y = x @ x
        y = torch.relu(y) - y.mean()
        y = y * torch.sigmoid(y)
        x = x + y.tanh()
    return x.sum()


def test_a_function_without_modules_is_cut_at_its_repetition() -> None:
    gm = captured(repeated, torch.randn(4, 4))
    pieces = partition(gm.graph)
    blocks = [t for p, t in zip(pieces, texts(gm, pieces), strict=True) if p.label.startswith("block")]
    assert len(blocks) >= 4
    assert len(set(blocks)) == 1
    assert all(len(p.inputs) == 1 for p in pieces if p.label.startswith("block"))


def test_a_graph_without_repetition_stays_whole() -> None:
    gm = captured(lambda x: torch.relu(x).sum() * 2, torch.randn(4, 4))
    assert [p.label for p in partition(gm.graph)] == ["graph"]


class Attending(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = super().forward(x)[None]
        return nn.functional.scaled_dot_product_attention(q, q, q)[0]


def test_attention_can_be_a_piece_of_its_own() -> None:
    gm = captured(Stack(Attending(), Attending()), torch.randn(2, 8))
    pieces = partition(gm.graph, "attention")
    assert [len(p.nodes) for p in pieces if p.label.startswith("op")] == [1, 1]
    assert len(pieces) == 5
    assert len(partition(gm.graph, ["scaled_dot_product_attention"])) == 5
    assert len(partition(gm.graph, "whole")) == 1


def test_an_unknown_split_says_what_there_is() -> None:
    gm = captured(Block(), torch.randn(2, 8))
    with pytest.raises(passprint.CompileError, match=r"'layers' is not known.*'blocks'"):
        partition(gm.graph, "layers")


def test_no_cut_inside_a_mode() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block() for _ in range(4)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.blocks[0](x)
            with torch.no_grad():
                x = self.blocks[1](x)
                x = self.blocks[2](x)
            return self.blocks[3](x)

    gm = captured(Frozen(), torch.randn(2, 8), grad=True)
    for piece in partition(gm.graph):
        switches = [n for n in piece.nodes if "set_grad_enabled" in str(n.target)]
        assert len(switches) % 2 == 0
    assert len(partition(gm.graph)) == 3


def _calls(target: Callable[..., object]) -> str:
    """The text of a graph that calls ``target``."""
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    x.meta["example_value"] = torch.ones(2)
    y = graph.call_function(target, (x,))
    y.meta["example_value"] = torch.ones(2)
    graph.output((y,))
    gm = GraphModule({}, graph)
    return texts(gm, partition(gm.graph))[0]


def _function(scale: float) -> Callable[..., object]:
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x * scale

    return scaled


def _class(scale: float) -> Callable[..., object]:
    class Scaled:
        factor = scale

        def __new__(cls, x: torch.Tensor) -> torch.Tensor:  # type: ignore[misc]
            return x * cls.factor

    return Scaled


@pytest.mark.parametrize("make", [_function, _class])
def test_code_that_a_graph_calls_counts_by_content(make: Callable[[float], Callable[..., object]]) -> None:
    assert _calls(make(1.0)) == _calls(make(1.0)) != _calls(make(-1.0))


def test_torchs_own_functions_count_by_name() -> None:
    assert "rsqrt" in _calls(torch.rsqrt)
    assert "linear" in _calls(torch.nn.functional.linear)
    assert "_operator.neg" in _calls(operator.neg)
