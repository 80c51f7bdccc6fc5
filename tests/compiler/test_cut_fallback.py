"""Where cutting is what fails, the graph is compiled uncut; where torch fails too, the error is torch's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.models import inputs, stack
from torch.fx import Graph, GraphModule

import passprint
from passprint.compiler.lowering import inductor
from passprint.compiler.pieces import borders
from passprint.compiler.pieces.find import PieceCompiler
from passprint.compiler.pieces.job import Job
from passprint.compiler.pieces.uncut import Cut
from passprint.compiler.record import CompileReport

NODES_OF_ALL = 12


@pytest.fixture
def torch_fails_on_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch fails for graphs that are smaller than the model's."""
    compile_graph = inductor.compile_graph

    def only_whole(gm: GraphModule, *args: Any, **kwargs: Any) -> inductor.Artifact:
        if len(gm.graph.find_nodes(op="placeholder")) < NODES_OF_ALL:
            raise RuntimeError("a bug that only pieces have\nand more of it")
        return compile_graph(gm, *args, **kwargs)

    monkeypatch.setattr(inductor, "compile_graph", only_whole)


@pytest.fixture
def cannot_lower() -> Iterator[None]:
    """An operator that Inductor cannot lower."""
    from torch._inductor import lowering

    lowerings: dict[Any, Any] = lowering.lowerings
    operator = torch.ops.aten.erf.default
    before = lowerings[operator]

    def fail(*args: object) -> object:
        raise NotImplementedError("no erf on this machine")

    lowerings[operator] = fail
    yield
    lowerings[operator] = before


def stored(cache: Path) -> list[Path]:
    return [path for path in (cache / "entries").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("torch_fails_on_pieces")
def test_a_graph_whose_pieces_fail_is_compiled_uncut(tmp_path: Path) -> None:
    model, x = stack(3), inputs()
    compiled = passprint.compile(model, cache=tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    assert compiled.report.pieces == 1
    (told,) = [note for note in compiled.report.notes if "uncut" in note]
    assert told.endswith("(RuntimeError: a bug that only pieces have)")
    assert "uncut" in str(compiled.report.why)
    (missed,) = [miss for miss in compiled.report.misses if miss.kind != "model"]
    assert missed.label == "graph", "what is told of pieces that there are not"


@pytest.mark.usefixtures("torch_fails_on_pieces")
def test_uncut_is_warm_in_the_next_process(tmp_path: Path) -> None:
    model, x = stack(3), inputs()
    with torch.no_grad():
        passprint.compile(model, cache=tmp_path)(x)
        again = passprint.compile(model, cache=tmp_path)
        torch.testing.assert_close(again(x), model(x))
    assert again.report.status == "warm"


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("door", ["passprint", "torch"])
def test_a_graph_whose_pieces_cannot_be_built_is_built_uncut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, door: str, dynamic: bool
) -> None:
    finish = PieceCompiler._finish

    def only_whole(self: PieceCompiler, job: Job, *args: Any) -> None:
        if job.piece.label != "graph":
            raise RuntimeError("the C++ compiler does not like a piece")
        finish(self, job, *args)

    monkeypatch.setattr(PieceCompiler, "_finish", only_whole)
    model, x = stack(3), inputs()
    if door == "torch":
        options = {"cache": tmp_path}
        compiled = torch.compile(model, backend="passprint", options=options, dynamic=dynamic)
    else:
        compiled = passprint.compile(model, cache=tmp_path, dynamic=dynamic)
    with torch.no_grad():
        for sizes in (x, torch.cat([x, x])):
            torch.testing.assert_close(compiled(sizes), model(sizes))
    if door == "passprint":
        assert compiled.report.pieces == (1 if dynamic else 2)
        assert "the C++ compiler does not like a piece" in str(compiled.report.why)
        assert compiled.report.graphs == (1 if dynamic else 2)
        again = passprint.compile(model, cache=tmp_path, dynamic=dynamic)
        with torch.no_grad():
            torch.testing.assert_close(again(x), model(x))
        assert again.report.status == "warm"


def test_a_cut_that_raises_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    joined = borders.joined

    def broken(runs: Sequence[borders.Run]) -> list[borders.Run]:
        if len(runs) > 1:
            raise KeyError("a node")
        return joined(runs)

    monkeypatch.setattr(borders, "joined", broken)
    model, x = stack(3), inputs()
    compiled = passprint.compile(model, cache=tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    assert any("uncut" in note for note in compiled.report.notes)


class Erf(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = stack(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erf(self.blocks(x))


@pytest.mark.usefixtures("cannot_lower")
def test_what_torch_cannot_lower_is_torchs_error_and_stores_nothing(tmp_path: Path) -> None:
    compiled = passprint.compile(Erf(), cache=tmp_path)
    with torch.no_grad(), pytest.raises(inductor.backend_errors(), match="no erf on this machine") as error:
        compiled(inputs())
    assert inductor.own_cause(error.value) is None
    assert not stored(tmp_path)
    assert not any("uncut" in note for note in compiled.report.notes)


def test_a_pass_that_fails_is_not_tried_again() -> None:
    tried = []

    def make(pieces: Sequence[object]) -> None:
        tried.append(len(pieces))
        raise passprint.PassError("it went wrong", pass_name="mine")

    graph = Graph()
    x = graph.placeholder("x")
    x.meta["example_value"] = torch.zeros(3)
    for target in (torch.relu, torch.cos):
        x = graph.call_function(target, (x,))
        x.meta["example_value"] = torch.zeros(3)
    graph.output((x,))
    report = CompileReport()
    with pytest.raises(passprint.PassError):
        Cut(GraphModule({}, graph), ["cos"], report).attempt(make)
    assert tried == [2]
    assert not report.notes


class Halves(torch.nn.Module):
    """Blocks that pass on two halves of one tensor, which lie in memory with gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Half() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = torch.chunk(torch.cat([x, x], -1), 2, -1)
        for layer in self.layers:
            one, other = layer(one, other)
        return torch.cat([one, other], -1)


class Half(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one = one + self.up(other).relu()
        return one, other + self.down(one).relu()


class DropCopies(passprint.InductorPass):
    """Drops copies before a reshape, which changes no number, but how results lie in memory."""

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.clone.default):
            if all(user.target is torch.ops.aten.reshape.default for user in node.users):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


def test_a_pass_that_moves_a_result_in_memory_leaves_the_graph_uncut(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Halves().eval(), torch.randn(2, 3, 8)
    compiled: Any = passprint.compile(model, cache=tmp_path, passes=[DropCopies()])
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    (note,) = [note for note in compiled.report.notes if "uncut" in note]
    assert "lies in memory otherwise than the next part expects" in note
    kept: Any = passprint.compile(model, cache=tmp_path, passes="")
    with torch.no_grad():
        torch.testing.assert_close(kept(x), model(x))
    assert not any("uncut" in note for note in kept.report.notes)


def _two_halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    one, other = torch.chunk(torch.cat([x, x], -1), 2, -1)
    return one, other


def _halves_go_on(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    one, other = torch.chunk(torch.cat([x, x], -1), 2, -1)
    return torch.sin(one) @ one.transpose(1, 2), torch.cos(other)


def test_a_moved_result_is_also_seen_where_the_piece_comes_from_the_store(tmp_path: Path) -> None:
    """The piece is the last one of the function that stored it, where nobody minds how its results lie in memory."""
    x = torch.randn(2, 3, 8)
    for function, is_uncut in ((_two_halves, False), (_halves_go_on, True)):
        compiled: Any = passprint.compile(function, cache=tmp_path, passes=[DropCopies()], split=["sin"])
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), function(x))
        assert any("uncut" in note for note in compiled.report.notes) is is_uncut
