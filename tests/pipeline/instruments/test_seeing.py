"""Timing, statistics and dumps."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest
import torch
from tests.pipeline.instruments.graphs import NegToSub, Nothing, RaisesKeyError, ReluToClamp, chain, traced
from torch.fx import Graph

from passprint import PassError, PassManager, PipelineError
from passprint.instruments import Draw, Dump, Instrument, PassRun, Statistics, Timing, ZeroMatchWarning
from passprint.passes.library import NoopElimination
from passprint.pipeline import FixedPoint
from passprint.pipeline.instruments.draw import dot_text


def test_times_are_a_tree_for_each_graph_and_summed() -> None:
    timing = Timing()
    manager = PassManager([Nothing(), PassManager([NegToSub(), NegToSub()])], instruments=[timing])
    manager(chain())
    manager(chain())
    assert len(timing.graphs) == 2
    (graph,) = (timing.graphs[0].parts["nothing"],)
    assert graph.runs == 1
    inner = timing.graphs[0].parts["pipeline 1"]
    assert inner.parts["neg-to-sub"].runs == 2
    assert inner.total == pytest.approx(inner.self_seconds + inner.parts["neg-to-sub"].total)
    whole = timing.summed()
    assert whole.total == pytest.approx(sum(one.total for one in timing.graphs))
    assert whole.parts["pipeline"].parts["pipeline 1"].parts["neg-to-sub"].runs == 4
    text = str(timing)
    assert "2 graphs" in text
    assert text.splitlines()[-1].endswith("      neg-to-sub")
    assert timing.summed().to_dict()["runs"] == 2


def test_the_time_of_other_instruments_is_not_a_passs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    for module in ("running", "instruments.session", "instruments.timing"):
        monkeypatch.setattr(f"passprint.pipeline.{module}.perf_counter", lambda: now)

    class Takes(Instrument):
        def before_pass(self, run: PassRun) -> None:
            nonlocal now
            now += 100

        after_pass = before_pass
        before_pipeline = after_pipeline = before_pass  # type: ignore[assignment]

    class Two(Nothing):
        def __call__(self, graph: Graph) -> None:
            nonlocal now
            now += 2

    timing = Timing()
    PassManager([Two()], instruments=[Takes(), timing, Takes()])(chain())
    assert now == 802
    (graph,) = timing.graphs
    assert (graph.total, graph.parts["two"].total) == (2, 2)
    for instruments in ([timing, Takes()], [Takes(), timing]):
        PassManager([PassManager([Two()])], instruments=instruments)(chain())
        graph = timing.graphs[-1]
        inner = graph.parts["pipeline 1"]
        assert (graph.total, inner.total, inner.parts["two"].total) == (2, 2, 2)


def test_an_error_leaves_the_next_graph_in_order() -> None:
    timing = Timing()
    with pytest.raises(PassError):
        PassManager([PassManager([RaisesKeyError()])], instruments=[timing])(chain())
    PassManager([Nothing()], instruments=[timing])(chain())
    assert list(timing.graphs[-1].parts) == ["nothing"]


def test_statistics_add_up_over_graphs() -> None:
    statistics = Statistics()
    manager = PassManager([NegToSub(), ReluToClamp()], instruments=[statistics])
    manager(chain(2))
    manager(chain(3))
    relu = statistics.passes["relu-to-clamp"]
    assert (relu.runs, relu.changed, relu.rewrites, relu.patterns) == (2, 2, 5, {"relu": 5})
    assert relu.near_misses == {}
    neg = statistics.passes["neg-to-sub"]
    assert (neg.rewrites, neg.nodes_before, neg.nodes_after) == (2, 11, 11)
    assert "relu: 5 match(es)" in str(statistics)
    assert statistics.passes["relu-to-clamp"].to_dict()["patterns"] == {"relu": 5}


def test_statistics_tell_near_misses() -> None:
    class NewHere(ReluToClamp):
        """No graph of this process had it yet: the alarm for a single graph rings once a process."""

    statistics = Statistics()
    graph = traced(lambda x: torch.neg(x), torch.randn(2, 3))
    with pytest.warns(ZeroMatchWarning, match="'new-here' matched nothing in this graph"):
        PassManager([NewHere()], instruments=[statistics])(graph)
    assert "nothing alike" in str(statistics.passes["new-here"].near_misses["relu"])
    assert "nearly: 0 of 1" in str(statistics)


def test_a_dump_shows_what_a_pass_changed_and_no_more() -> None:
    stream = io.StringIO()
    PassManager([Nothing(), NegToSub()], instruments=[Dump(stream=stream)])(chain(1))
    text = stream.getvalue()
    assert "nothing" not in text
    assert "neg-to-sub: 1 rewrite, 4 → 4 nodes" in text
    assert "-neg = aten.neg.default(x_1)  # float32[2, 3] (3, 1)" in text
    assert "+rsub_scalar = aten.rsub.Scalar(x_1, 0.0)  # float32[2, 3] (3, 1)" in text
    assert "\033" not in text


def test_a_dump_in_colour() -> None:
    stream = io.StringIO()
    PassManager([NegToSub()], instruments=[Dump(stream=stream, colour=True)])(chain(1))
    assert "\033[31m-neg" in stream.getvalue()
    assert "\033[32m+rsub" in stream.getvalue()


def test_a_dump_into_a_folder(tmp_path: Path) -> None:
    dump = Dump(tmp_path, only_changed=False)
    PassManager([Nothing(), NegToSub()], instruments=[dump])(chain(1))
    (folder,) = tmp_path.iterdir()
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "00-input.txt",
        "01-nothing.diff",
        "01-nothing.txt",
        "02-neg-to-sub.diff",
        "02-neg-to-sub.txt",
    ]
    assert (folder / "01-nothing.diff").read_text() == ""
    assert (folder / "00-input.txt").read_text() == (folder / "01-nothing.txt").read_text()
    assert "+rsub" in (folder / "02-neg-to-sub.diff").read_text()


def test_a_dump_of_some_passes_and_graphs_only() -> None:
    stream = io.StringIO()
    PassManager([NegToSub(), ReluToClamp()], instruments=[Dump(stream=stream, passes="relu-*")])(chain(1))
    assert "relu-to-clamp" in stream.getvalue()
    assert "neg-to-sub" not in stream.getvalue()
    stream = io.StringIO()
    PassManager([NegToSub()], instruments=[Dump(stream=stream, graphs=10**9)])(chain(1))
    assert stream.getvalue() == ""


def test_a_pass_that_fails_is_dumped_as_well(tmp_path: Path) -> None:
    with pytest.raises(PassError):
        PassManager([RaisesKeyError()], instruments=[Dump(tmp_path)])(chain(1))
    (error,) = tmp_path.rglob("*.error.txt")
    assert "KeyError: 'weights'" in error.read_text()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="give Dump a folder"):
        PassManager([NegToSub()], instruments=[Dump(tmp_path / "file")])(chain(1))


def test_dumps_are_artifacts_of_torchs_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def structured(kind: str, *, metadata_fn, payload_fn, **_) -> None:  # type: ignore[no-untyped-def]
        seen[metadata_fn()["name"]] = payload_fn()

    monkeypatch.setattr(torch._logging._internal, "trace_structured", structured)
    PassManager([Nothing(), NegToSub()], instruments=[Dump(stream=io.StringIO())])(chain(1))
    name = next(name for name in seen if name.endswith("02_neg_to_sub"))
    assert "+rsub" in seen[name]
    assert any(name.endswith("00_input") for name in seen)
    assert not any("nothing" in name for name in seen)


def test_library_passes_on_symbolic_sizes_are_dumped_with_them() -> None:
    stream = io.StringIO()
    graph = traced(lambda x: (x * 1.0).reshape(x.shape), torch.randn(4, 3), dynamic=True)
    PassManager([NoopElimination()], instruments=[Dump(stream=stream)])(graph)
    assert "float32[s" in stream.getvalue()


def test_a_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    manager = PassManager([Nothing(), PassManager([NegToSub()])], instruments=[Draw(tmp_path)])
    manager(chain(1))
    manager(chain(2))
    page = (tmp_path / "pipeline.html").read_text()
    assert page.count("<summary>neg-to-sub</summary>") == 2
    assert page.count('<tr class="still">') == 2 + 2  # of each graph a pass, and the title of a group
    assert '<span class="add">+rsub_scalar = aten.rsub.Scalar(x_1, 0.0)' in page
    assert "http" not in page
    first, second = sorted(tmp_path.glob("graph*.dot"))
    assert first.name in page
    assert '"x_1" -> "rsub_scalar";' in second.read_text()


def test_a_drawing_has_the_rounds_of_a_group(tmp_path: Path) -> None:
    group = FixedPoint([NegToSub(), Nothing()], max=3)
    PassManager([Nothing(), group], instruments=[Draw(tmp_path, graphviz=False)])(chain())
    cells = re.findall(r"<td>(.*?)</td>", (tmp_path / "pipeline.html").read_text(), re.DOTALL)
    names = [re.search(r"(&nbsp;)*(<[^>]+>)*([\w-]+( \d+)?)", cell)[0] for cell in cells]  # type: ignore[index]
    plain = [re.sub(r"<[^>]+>", "", name).replace("&nbsp;", " ") for name in names]
    assert plain == [
        "nothing",
        "fixed-point 1",
        "  neg-to-sub",
        "  nothing",
        "fixed-point 2",
        "  neg-to-sub",
        "  nothing",
    ]


def _awkward() -> Graph:
    graph = Graph()
    x = graph.placeholder("x")
    x.meta["val"] = 'a "quote", a back\\slash\\, a\nline'
    graph.output(graph.call_function(torch.ops.aten.neg.default, (x,)))
    return graph


def test_what_graphviz_would_take_for_its_own_is_escaped() -> None:
    line = next(line for line in dot_text(_awkward()).splitlines() if line.startswith('  "x" ['))
    assert line == r"""  "x" [label="x: placeholder\na \"quote\", a back\\slash\\, a\nline"];"""


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it(tmp_path: Path) -> None:
    draw = Draw(tmp_path)
    PassManager([Nothing()], instruments=[draw])(_awkward())
    (image,) = tmp_path.glob("graph*.svg")
    assert image.name in (tmp_path / "pipeline.html").read_text()
    shown = image.read_text()
    assert "a &quot;quote&quot;, a back\\slash\\, a</text>" in shown
    assert ": aten.neg.default<" in shown


def test_a_drawing_escapes_and_shows_errors(tmp_path: Path) -> None:
    class Says(RaisesKeyError):
        def __call__(self, graph: Graph) -> None:
            raise ValueError("<script>")

    with pytest.raises(PassError):
        PassManager([Says()], instruments=[Draw(tmp_path, graphviz=False)])(chain())
    page = (tmp_path / "pipeline.html").read_text()
    assert "ValueError: &lt;script&gt;" in page
    assert "<script>" not in page
