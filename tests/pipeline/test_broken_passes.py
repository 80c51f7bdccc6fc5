"""Every pass that is broken on purpose is caught, and named."""

from __future__ import annotations

import pytest
from tests.pipeline.broken import BROKEN, Broken, graph_of, try_pass
from torch.fx import Graph

from passprint import PassManager
from passprint.instruments import Numerics, Verify
from passprint.passes.library import FoldReshapes, NoopElimination
from passprint.pipeline.snapshots import copy_graph


@pytest.fixture(scope="module", params=[False, True], ids=["static", "dynamic"])
def graph(request: pytest.FixtureRequest) -> Graph:
    return graph_of(dynamic=request.param)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_broken_pass_is_named(case: Broken, graph: Graph) -> None:
    caught = try_pass(case, graph)
    assert caught.blamed == case.name, caught


def test_sound_passes_are_left_alone(graph: Graph) -> None:
    instruments = (Verify(repeat=True), Numerics())
    PassManager([NoopElimination(), FoldReshapes()], instruments=instruments)(copy_graph(graph))


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN) >= 40
    assert len({case.name for case in BROKEN}) == len(BROKEN)
