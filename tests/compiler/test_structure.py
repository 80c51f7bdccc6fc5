"""The text of a piece: what differs in meaning differs in text, names do not count."""

from __future__ import annotations

import enum
import itertools

import pytest
import torch
from torch.fx import Graph, GraphModule

from passprint.compiler.pieces.partition import partition
from passprint.compiler.pieces.structure import describe
from passprint.compiler.pieces.symbols import SymbolFacts


class Low(enum.IntEnum):
    LEVEL = 1


class High(enum.IntEnum):
    LEVEL = 2


# The same name for another number, as after an edit.
High.__name__ = High.__qualname__ = Low.__qualname__

VALUES = {
    "one": 1,
    "one as a float": 1.0,
    "true": True,
    "none": None,
    "text": "1",
    "bytes": b"1",
    "tuple": (1,),
    "list": [1],
    "slice": slice(1),
    "dictionary": {"a": 1},
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "layout": torch.strided,
    "ellipsis": ...,
    "an enumeration's number": Low.LEVEL,
    "the same name, another number": High.LEVEL,
    "operator": torch.ops.aten.relu.default,
}


def text(value: object, name: str = "x") -> str:
    """The text of a piece that calls a method with ``value``."""
    graph = Graph()
    x = graph.placeholder(name)
    x.meta["example_value"] = torch.zeros(3)
    y = graph.call_method("foo", (x, value))  # type: ignore[arg-type]
    y.meta["example_value"] = torch.zeros(3)
    graph.output((y,))
    gm = GraphModule({}, graph)
    (piece,) = partition(gm.graph, "whole")
    return describe(piece, gm, SymbolFacts({}, ())).graph


@pytest.mark.parametrize(("first", "other"), list(itertools.combinations(VALUES, 2)))
def test_different_values_have_different_texts(first: str, other: str) -> None:
    assert text(VALUES[first]) != text(VALUES[other])


def test_names_do_not_count() -> None:
    assert text(1, "x") == text(1, "other")


@pytest.mark.parametrize(
    "changed",
    [
        torch.zeros(3, requires_grad=True),
        torch.zeros(3, dtype=torch.float64),
        torch.zeros(6)[::2],
        torch.zeros(4)[1:],
        torch.zeros(1, 3),
        torch.zeros(3, dtype=torch.complex64).conj(),
    ],
)
def test_what_a_tensor_is_counts(changed: torch.Tensor) -> None:
    def inputs(tensor: torch.Tensor) -> str:
        graph = Graph()
        x = graph.placeholder("x")
        x.meta["example_value"] = tensor
        y = graph.call_method("foo", (x,))
        y.meta["example_value"] = torch.zeros(3)
        graph.output((y,))
        gm = GraphModule({}, graph)
        (piece,) = partition(gm.graph, "whole")
        return describe(piece, gm, SymbolFacts({}, ())).inputs

    assert inputs(changed) != inputs(torch.zeros(3))
