"""A failure goes into a folder, comes out of it in another process, and gets smaller."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.pipeline.broken import graph_of
from tests.pipeline.instruments.graphs import NegToSub, RaisesKeyError, aten, chain, traced
from torch import Tensor
from torch.fx import Graph

from passprint import InductorPass, PassError, PassManager, PipelineError
from passprint.instruments import Instrument, Numerics, Reproduce, Verify
from passprint.passes import graph_pass
from passprint.pipeline.execution import run_graph
from passprint.pipeline.graph_file import FORMAT, Parts, from_data, to_data
from passprint.pipeline.graph_text import graph_text
from passprint.pipeline.reproducer import Reproducer
from passprint.pipeline.snapshots import Snapshot


class SwapsOperands(InductorPass):
    """Wrong for one subtraction."""

    eps: float = 1e-6

    def __call__(self, graph: Graph) -> None:
        node = graph.find_nodes(op="call_function", target=aten.sub.Tensor)[-1]
        node.args = (node.args[1], node.args[0])


class ForgetsVal(InductorPass):
    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.exp.default):
            node.meta.pop("val", None)


@graph_pass
def crashes(graph: Graph) -> None:
    if graph.find_nodes(op="call_function", target=aten.mm.default):
        raise KeyError("mm")


def written(folder: Path, pass_: InductorPass, graph: Graph, *instruments: Instrument) -> Path:
    reproduce = Reproduce(folder, stream=io.StringIO())
    with pytest.raises(PassError):
        PassManager([NegToSub(), pass_], instruments=[*instruments, reproduce])(graph)
    (path,) = reproduce.written
    return path


CASES = [
    (SwapsOperands(eps=1e-5), Numerics(), "changed the results"),
    (ForgetsVal(), Verify(), "missing val"),
    (crashes, Verify(), "KeyError"),
]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("pass_", "instrument", "kind"), CASES, ids=["numerics", "verify", "crash"])
def test_out_of_the_folder(
    tmp_path: Path, pass_: InductorPass, instrument: Instrument, kind: str, dynamic: bool
) -> None:
    graph = graph_of(dynamic=dynamic)
    reproducer = Reproducer.load(written(tmp_path, pass_, graph, instrument))
    assert reproducer.failure.kind == kind
    assert reproducer.failure.pipeline == str(pass_)
    with pytest.raises(PassError) as caught:
        reproducer.run()
    assert caught.value.pass_name == pass_.name
    assert reproducer.is_failing(reproducer.graph)
    steps: list[int] = []
    smaller = reproducer.reduce(steps.append)
    assert smaller.is_failing(smaller.graph)
    assert len(smaller.graph.nodes) <= 5 < len(graph.nodes)
    assert steps == sorted(steps, reverse=True)
    smaller.save(tmp_path / "reduced")
    assert Reproducer.load(tmp_path / "reduced").is_failing(smaller.graph)


def test_the_script(tmp_path: Path) -> None:
    folder = written(tmp_path, SwapsOperands(), graph_of(dynamic=False), Numerics())
    with pytest.raises(PassError, match="'swaps-operands' changed the results"):
        runpy.run_path(str(folder / "run.py"))
    assert len((folder / "run.py").read_text().splitlines()) <= 12


def test_the_command_in_a_fresh_process(tmp_path: Path) -> None:
    folder = written(tmp_path, SwapsOperands(), graph_of(dynamic=True), Numerics())
    run = "import sys; from passprint.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", run, "reproduce", str(folder), "--reduce"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The same failure." in done.stdout
    assert (folder / "reduced" / "run.py").exists()


def test_what_is_in_the_folder(tmp_path: Path) -> None:
    folder = written(tmp_path, ForgetsVal(), graph_of(dynamic=False), Verify(repeat=True))
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["torch"] == torch.__version__
    assert re.search(r"exp = aten\.exp\.default\(\w+\)", (folder / "before.txt").read_text())
    failure = json.loads((folder / "failure.json").read_text())
    assert failure["instruments"] == "verify{functional=True,repeat=True}"
    assert failure["node"] == "exp"


def test_one_that_does_not_fail_any_more_says_so(tmp_path: Path) -> None:
    folder = written(tmp_path, ForgetsVal(), graph_of(dynamic=False), Verify())
    failure = json.loads((folder / "failure.json").read_text())
    (folder / "failure.json").write_text(json.dumps({**failure, "instruments": ""}))
    Reproducer.load(folder).run()


def test_a_pass_that_fails_without_instruments(tmp_path: Path) -> None:
    folder = written(tmp_path, RaisesKeyError(), chain())
    assert Reproducer.load(folder).failure.kind == "KeyError"


def _symbols_numbered(text: str) -> str:
    """Symbols by their first appearance: torch numbers them as it likes."""
    names = list(dict.fromkeys(re.findall(r"\bs\d+\b", text)))
    return re.sub(r"\bs\d+\b", lambda found: f"s{names.index(found.group())}", text)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_graphs_are_the_same_after_the_file(dynamic: bool) -> None:
    def fn(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        z = torch.cat([x, y[: x.shape[0]]], -1).to(torch.bfloat16)
        return (
            z.reshape(-1)[1:].float(),
            torch.full_like(y, float("inf")),
            y.sum((0, 1)).masked_fill(y[0] > 1, -1e9),
        )

    graph = traced(fn, torch.randn(4, 3), torch.randn(8, 3).t().contiguous().t(), dynamic=dynamic)
    data, parts = to_data(Snapshot(graph))
    again = from_data(json.loads(json.dumps(data)), parts)
    assert _symbols_numbered(graph_text(again)) == _symbols_numbered(graph_text(graph))


def _branches(x: Tensor, y: Tensor) -> Tensor:
    def above(x: Tensor, y: Tensor) -> tuple[Tensor]:
        return (torch.exp(x) - y,)

    def below(x: Tensor, y: Tensor) -> tuple[Tensor]:
        return (torch.cond(y.sum() > 3, lambda x: x + 1, lambda x: x * 2, (x,)),)

    (z,) = torch.cond(x.sum() > 0, above, below, (x, y))
    return torch.sin(z) - x


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_control_flow_is_written_with_its_branches(tmp_path: Path, dynamic: bool) -> None:
    inputs = torch.full((4, 3), -1.0), torch.ones(4, 3)
    graph = traced(_branches, *inputs, dynamic=dynamic)
    expected = run_graph(graph, inputs)
    folder = written(tmp_path, SwapsOperands(), graph, Verify(), Numerics(inputs))
    again = Reproducer.load(folder)
    assert "cond" in again.graph_text()
    torch.testing.assert_close(run_graph(again.graph, inputs), expected)
    with pytest.raises(PassError, match="changed the results"):
        again.run()


def test_a_module_that_is_called_is_written(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 3)
    graph = Graph()
    x = graph.placeholder("x")
    (called := graph.call_module("layers.first", (x,))).meta["val"] = torch.empty(4, 3)
    graph.output((graph.call_function(aten.sub.Tensor, (called, x)),))
    module = torch.nn.Module()
    module.layers = torch.nn.Module()
    module.layers.first = layer
    whole = torch.fx.GraphModule(module, graph)
    inputs = (torch.randn(4, 3),)
    folder = written(tmp_path, SwapsOperands(), whole.graph, Numerics(inputs))
    torch.testing.assert_close(
        run_graph(Reproducer.load(folder).graph, inputs)[0], layer(*inputs) - inputs[0]
    )


class DropsRelu(InductorPass):
    """Wrong for negative numbers only."""

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.relu.default):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def test_it_fails_on_the_inputs_on_which_it_failed(tmp_path: Path) -> None:
    """Made from the annotations, inputs are normal numbers, on which a relu shows. On these it shows in one place."""
    inputs = (torch.ones(2, 3),)
    inputs[0][1, 2] = -0.25
    graph = traced(lambda x: torch.relu(x) * 3, *inputs)
    tolerances = {torch.float32: (0.1, 0.2)}
    folder = written(tmp_path, DropsRelu(), graph, Numerics(inputs, tolerances=tolerances))
    for reproducer in (Reproducer.load(folder), Reproducer.load(folder).reduce()):
        with pytest.raises(
            PassError, match=r"output 0\[1, 2\] was 0.0 and is -0.[27]5, .* where 0.\d+ is allowed"
        ):
            reproducer.run()


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="holds no failure"):
        Reproducer.load(tmp_path)
    with pytest.raises(PipelineError, match="has the format 99"):
        from_data({"format": 99}, Parts())


@pytest.mark.parametrize("size", ["__import__('os')", "(lambda: 1)()", "s0.node", "[s0 for s0 in (1,)]"])
def test_a_size_is_no_program(size: str) -> None:
    node = {"name": "x", "op": "placeholder", "target": "x", "args": {"tuple": []}, "kwargs": {"dict": []}}
    data = {
        "format": FORMAT,
        "graphs": {},
        "symbols": {"s0": 4},
        "nodes": [{**node, "annotated": True, "value": {"number": size}}],
    }
    with pytest.raises(PipelineError, match="is no expression"):
        from_data(data, Parts())
