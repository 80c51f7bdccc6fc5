"""Trying a pipeline on a graph, and on a function as Inductor would compile it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.hooks import A, B, product, swap_products
from torch._inductor import config
from torch.fx import Graph, GraphModule

from passprint import PipelineError
from passprint.passes import InductorPass, Partitioner, SchedulerPass
from passprint.pipeline import PassManager, selected
from passprint.pipeline.torch_door import HOOKS, value_in_slot
from passprint.pipeline.trial import load_subject, try_pipeline


class TrialSwap(InductorPass):
    def __call__(self, graph: Graph) -> None:
        swap_products(graph)


class TrialNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return nodes[::-1]


class TrialCut(Partitioner):
    def __call__(self, gm: GraphModule, joint_inputs: Any, **kwargs: Any) -> Any:
        from torch._functorch.partitioners import default_partition

        kwargs.pop("compiler", None)
        return default_partition(gm, joint_inputs, **kwargs)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        yield
    assert all(value_in_slot(hook) is None for hook in HOOKS)


def small() -> Graph:
    graph = Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    graph.output(graph.call_function(torch.ops.aten.mm.default, (x, y)))
    return graph


@pytest.mark.parametrize("subject", [small(), GraphModule(torch.nn.Module(), small())])
def test_on_a_graph(subject: Any) -> None:
    (trial,) = try_pipeline(PassManager([TrialSwap()], hook="joint_pre"), subject)
    assert trial.hook == "joint_pre"
    assert "aten.mm.default(x, y)" in trial.before
    assert "aten.mm.default(y, x)" in trial.after
    assert trial.matches == {"trial-swap": 1}
    assert trial.rewrites == 1


@pytest.mark.parametrize("text", ["pre-grad(trial-swap),post-grad-post()", "scheduler-pre(trial-nodes)"])
def test_one_graph_is_not_enough_for_several_hooks(text: str) -> None:
    with pytest.raises(PipelineError, match=r"\(fn, inputs\)"):
        try_pipeline(PassManager.parse(text), small())


def test_on_a_function_every_part_has_the_graph_of_its_hook() -> None:
    text = (
        "pre-grad(trial-swap),joint-post(),partitioner(trial-cut),"
        "post-grad-pre(trial-swap),scheduler-post(trial-nodes)"
    )
    trials = try_pipeline(PassManager.parse(text), (product, (A.clone().requires_grad_(), B)))
    assert [trial.hook for trial in trials] == [
        "pre_grad",
        "joint_post",
        "partitioner",
        "post_grad_pre",
        "scheduler_post",
    ]
    pre_grad, joint, cut, post_grad, nodes = trials
    assert "mm(" in pre_grad.before
    assert "aten" not in pre_grad.before
    assert pre_grad.rewrites == post_grad.rewrites == 1
    assert pre_grad.before != pre_grad.after
    assert joint.before == joint.after
    assert "tangents_1" in joint.before
    assert "# forward" in cut.after
    assert "# backward" in cut.after
    assert "tangents_1" not in post_grad.before
    assert nodes.before == nodes.after
    assert "ExternKernelSchedulerNode" in nodes.before


def test_nothing_is_built_after_the_last_hook_and_nothing_is_cached() -> None:
    before = torch._dynamo.utils.counters["inductor"]["fxgraph_cache_miss"]
    for _ in range(2):
        (trial,) = try_pipeline(PassManager([TrialSwap()]), (product, (A, B)))
        assert trial.rewrites == 1
    assert torch._dynamo.utils.counters["inductor"]["fxgraph_cache_miss"] == before


def test_selections_hold_here_too() -> None:
    with selected("-trial-swap"):
        (trial,) = try_pipeline(PassManager([TrialSwap()]), small())
    assert trial.before == trial.after


def test_the_error_of_a_pass_comes_through() -> None:
    class TrialFails(InductorPass):
        def __call__(self, graph: Graph) -> None:
            raise KeyError("weights")

    with pytest.raises(Exception, match="trial-fails"):
        try_pipeline(PassManager([TrialFails()]), (product, (A, B)))


FILE = """
import torch
from torch.fx import symbolic_trace
def fn(x): return torch.relu(x)
pair = (fn, [torch.ones(2)])
def makes(): return pair
def graph(): return symbolic_trace(fn).graph
module = symbolic_trace(fn)
number = 3
wrong = (fn, torch.ones(2))
plain = torch.nn.ReLU()
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "my_trial_graphs.py"
    path.write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield path
    sys.modules.pop("my_trial_graphs", None)


def test_what_can_be_named(file: Path) -> None:
    for where in ("my_trial_graphs", "my_trial_graphs.py", str(file)):
        function, inputs = load_subject(f"{where}:pair")  # type: ignore[misc]
        assert function(*inputs).tolist() == [1, 1]
        assert isinstance(load_subject(f"{where}:makes"), tuple)
        assert isinstance(load_subject(f"{where}:graph"), Graph)
        assert isinstance(load_subject(f"{where}:module"), GraphModule)


def test_a_saved_graph(file: Path) -> None:
    class Product(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.mm(x, y)

    torch.export.save(torch.export.export(Product(), (A, B)), "saved.pt2")
    (trial,) = try_pipeline(PassManager([TrialSwap()]), load_subject("saved.pt2"))
    assert trial.rewrites == 1
    Path("broken.pt2").write_text("no")
    with pytest.raises(PipelineError, match=r"broken\.pt2 cannot be read"):
        load_subject("broken.pt2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_trial_graphs", "names no graph"),
        (":pair", "names no graph"),
        ("my_trial_graphs:", "names no graph"),
        ("no_such_module:x", "'no_such_module' cannot be imported"),
        ("no_such_file.py:x", "no file no_such_file.py"),
        ("no_such_file.pt2", "no file no_such_file.pt2"),
        ("my_trial_graphs:x", "nothing called 'x'"),
        ("my_trial_graphs:number", "is a int; expected"),
        ("my_trial_graphs:wrong", "a tuple of function, Tensor"),
        ("my_trial_graphs:plain", "is a ReLU; expected"),
    ],
)
def test_what_cannot_be_named_is_told(file: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        load_subject(text)
