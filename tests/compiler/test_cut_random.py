"""Cutting against not cutting: random models in pieces give what they give whole, at any size."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from tests.compiler.cut_models import OPERATORS, WIDTH, Model
from torch.fx import GraphModule

from passprint.compiler.pieces.borders import crosses
from passprint.compiler.pieces.partition import partition
from passprint.compiler.pieces.piece import Piece, extract, is_attribute
from passprint.compiler.pieces.stitch import stitch
from passprint.compiler.pieces.symbols import carried_symbols, free_symbols

SIZES = (4, 7, 10)


@pytest.fixture(autouse=True)
def numbers_from_data() -> Iterator[None]:
    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


def splits(seed: int) -> list[str | list[str]]:
    return ["blocks", "whole", random.Random(seed).sample(OPERATORS, k=3)]


def calls() -> list[tuple[torch.Tensor, float]]:
    return [(torch.randn(size, WIDTH), scale) for size, scale in zip(SIZES, (0.5, 0.7, 0.9), strict=True)]


def equal(got: object, want: object) -> bool:
    if isinstance(got, torch.Tensor) and isinstance(want, torch.Tensor):
        return got.shape == want.shape and torch.allclose(got, want, rtol=1e-3, atol=1e-3)
    if isinstance(got, (list, tuple)) and isinstance(want, (list, tuple)):
        return len(got) == len(want) and all(map(equal, got, want))
    return got == want


def check_borders(pieces: Sequence[Piece]) -> None:
    """A piece takes tensors and numbers only, and every symbol that it mentions comes in or is made in it."""
    made = [set() for _ in pieces]  # type: list[set[str]]
    for index, piece in enumerate(pieces):
        for node in piece.nodes:
            made[index].update(str(symbol) for symbol in node.meta.get("unbacked_bindings") or ())
    for index, piece in enumerate(pieces):
        values = [node.meta.get("example_value") for node in (*piece.inputs, *piece.nodes)]
        bound = {n for node in piece.inputs for n in carried_symbols(node.meta.get("example_value"))}
        mentioned = {name for value in values for name in free_symbols(value)}
        assert all(crosses(node) or is_attribute(node) for node in piece.inputs)
        given = {name for name in mentioned if not name.startswith("zf")}
        assert given <= bound | made[index], f"{piece.label}: {mentioned - bound - made[index]}"


def in_pieces(gm: GraphModule, split: str | list[str]) -> Callable[..., object]:
    """The graph, cut, with each piece run by Python."""
    pieces = partition(gm.graph, split)
    check_borders(pieces)
    modules = [extract(piece, gm) for piece in pieces]
    return stitch(gm, pieces).assemble([lambda inputs, m=m: m(*inputs) for m in modules])


@pytest.mark.parametrize("seed", range(40))
def test_a_cut_graph_gives_what_the_whole_one_gives(seed: int) -> None:
    def cut(gm: GraphModule, _: Sequence[object]) -> Callable[..., object]:
        runs = [in_pieces(gm, split) for split in splits(seed)]

        def run(*inputs: object) -> object:
            copies = [[i.clone() if isinstance(i, torch.Tensor) else i for i in inputs] for _ in runs]
            want = gm(*inputs)
            for split, one, copied in zip(splits(seed), runs, copies, strict=True):
                assert equal(one(*copied), want), split
            return want

        return run

    model = Model(seed).eval()
    with torch.no_grad():
        compiled = torch.compile(model, backend=cut, dynamic=True)
        for inputs in calls():
            assert equal(compiled(*inputs), model(*inputs))


@pytest.mark.parametrize("seed", [1, 2])
def test_compiled_pieces_give_what_eager_gives(seed: int, tmp_path: Path) -> None:
    model = Model(seed).eval()
    options = {"split": splits(seed)[seed % 2 * 2], "cache": tmp_path}
    with torch.no_grad():
        compiled = torch.compile(model, backend="passprint", dynamic=True, options=options)
        for inputs in calls():
            assert equal(compiled(*inputs), model(*inputs))
