"""A warning stands beside the user's own line: the call that compiled, the end of a block, the line that asked."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Graph

from passprint.instruments import OverlapWarning, ZeroMatchWarning
from passprint.passes import InductorPass, Pattern, PatternPass
from passprint.pipeline import FixedPoint, PassManager, selected
from passprint.pipeline.filters import SelectionWarning
from passprint.pipeline.groups import FixedPointWarning
from passprint.testing.torch_door import compile_without_code


class PointedAtTurns(InductorPass):
    def __call__(self, graph: Graph) -> None:
        aten = torch.ops.aten
        for node in graph.nodes:
            if node.target in (aten.sin.default, aten.cos.default):
                node.target = aten.cos.default if node.target is aten.sin.default else aten.sin.default


def neg_relu(x: Tensor) -> Tensor:
    return torch.relu(torch.neg(x))


def relu_exp(x: Tensor) -> Tensor:
    return torch.exp(torch.relu(x))


class PointedAtFirst(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [Pattern("neg-relu", neg_relu, torch.tan, [torch.empty(4)])]


class PointedAtSecond(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [Pattern("relu-exp", relu_exp, torch.tan, [torch.empty(4)])]


class PointedAtNothing(PointedAtSecond):
    pass


def fn(x: Tensor) -> Tensor:
    return torch.exp(torch.relu(torch.neg(x))) + torch.sin(x)


def where_of(category: type[Warning], run: Callable[[], object]) -> set[str]:
    """The lines of source beside which such warnings stood."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return {
        linecache.getline(one.filename, one.lineno).strip()
        for one in caught
        if issubclass(one.category, category)
    }


def test_at_the_line_that_compiles() -> None:
    def run() -> None:
        compiled(torch.randn(4))

    both = PassManager([PointedAtFirst(), PointedAtSecond(), FixedPoint([PointedAtTurns()], max=2)])
    for category in (OverlapWarning, FixedPointWarning):
        compiled = compile_without_code(fn, both.options(), dynamic=False)
        assert where_of(category, run) == {"compiled(torch.randn(4))"}


def test_at_the_end_of_the_block() -> None:
    def run() -> None:
        with PassManager([PointedAtNothing()]).mounted():
            compile_without_code(torch.cos, {}, dynamic=False)(torch.randn(4))

    (line,) = where_of(ZeroMatchWarning, run)
    assert line.startswith("with PassManager([PointedAtNothing()])")


def test_at_the_line_that_asked() -> None:
    def run() -> None:
        with selected("-no-such-pass-at-all"):
            manager.uuid()

    manager = PassManager([PointedAtTurns()])
    assert where_of(SelectionWarning, run) == {"manager.uuid()"}
