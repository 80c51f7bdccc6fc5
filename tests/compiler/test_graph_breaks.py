"""Models with graph breaks: compiled in parts, with the same numbers; what a new process finds, and what is told."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tests.compiler import broken_models
from tests.compiler.models import inputs
from tests.compiler.processes import in_new_process

import passprint
from passprint.cache import LocalStore
from passprint.compiler import CompileReport


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()
    return tmp_path / "cache"


@dataclass
class Cold:
    """What the first process found out, by model, and what it printed."""

    cache: Path
    reports: dict[str, CompileReport]
    printed: str


MODELS = {
    "prints": lambda: broken_models.build("prints"),
    "loops": lambda: broken_models.build("loops"),
    "branches": lambda: broken_models.branches,
}


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Cold:
    """A cache that each model filled; the results were compared with eager's."""
    root = tmp_path_factory.mktemp("breaks")
    reports, printed = {}, io.StringIO()
    torch._dynamo.reset()
    with (
        pytest.MonkeyPatch.context() as patch,
        torch.no_grad(),
        contextlib.redirect_stdout(printed),
    ):
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(root / "inductor"))
        for name, make in MODELS.items():
            model = make()
            compiled = passprint.compile(model, cache=root / "cache")
            for x in (inputs(), -inputs().abs()):  # both ways of the branch
                torch.testing.assert_close(compiled(x), model(x))
            reports[name] = compiled.report
    return Cold(root / "cache", reports, printed.getvalue())


def test_a_print_in_a_model(cold: Cold) -> None:
    assert cold.printed.count("half way") == 4  # in every call, compiled or not
    report = cold.reports["prints"]
    assert (report.status, report.graphs, report.traced, report.loaded) == ("cold", 2, 2, 0)
    assert (report.pieces, report.distinct_pieces) == (4, 1), "the same block on both sides of the break"
    (found,) = report.graph_breaks
    assert found.place.startswith("broken_models.py:")
    assert found.place.endswith("in forward")
    assert found.line == 'print("half way")'
    assert "a graph break at broken_models.py:" in (report.why or "")


def test_a_break_in_a_loop_compiles_what_the_loop_calls(cold: Cold) -> None:
    report = cold.reports["loops"]
    assert report.graphs == 1
    assert report.graph_breaks[0].line == 'print("step", step)'


def test_that_no_program_is_stored_is_not_told_as_the_reason(cold: Cold) -> None:
    noted = [one.miss for one in LocalStore(cold.cache).journal.read()]
    assert {miss.kind for miss in noted} == {"bypass", "piece"}
    told = [miss.reason for miss in noted if miss.kind == "bypass"]
    assert LocalStore(cold.cache).stats().bypasses == len(told) > 0
    assert all(reason.startswith("warm start must trace: a graph break at") for reason in told)


def test_a_new_process_traces_and_finds_every_piece(cold: Cold, tmp_path: Path) -> None:
    found = in_new_process(
        tmp_path,
        f"""
from tests.compiler.test_graph_breaks import MODELS
from pathlib import Path
import contextlib, io, os
x, told = inputs(), {{}}
for name, make in MODELS.items():
    model = make()
    compiled = passprint.compile(model, cache={str(cold.cache)!r})
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        difference = (compiled(x) - model(x)).abs().max().item()
    told[name] = compiled.report.to_dict() | {{"difference": difference}}
built = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.so")
# Torch tries which instructions there are while the first graph is being traced.
built = [str(p) for p in built if "avx_chk_kernel" not in p.with_suffix(".cpp").read_text()]
print(json.dumps({{"told": told, "built": built}}))
""",
    )
    assert found["built"] == []
    lines = {"prints": 'print("half way")', "loops": 'print("step", step)', "branches": "if y.sum() > 0:"}
    for name, report in found["told"].items():
        assert report["status"] == "warm", (name, report["why"])
        assert report["difference"] < 1e-5
        assert report["traced"] > 0
        assert {piece["origin"] for piece in report["each_piece"]} <= {"store", "memory"}
        assert "a graph break at broken_models.py:" in report["why"]
        assert lines[name] in report["why"]


@pytest.mark.parametrize(
    ("name", "reason"), [("branches", "Data-dependent branching"), ("prints", "builtin operator")]
)
def test_torchs_reason_is_told(cold: Cold, name: str, reason: str) -> None:
    assert reason in cold.reports[name].graph_breaks[0].reason


def test_a_call_of_a_c_function_and_two_compiles_with_their_own_passes(cache: Path) -> None:
    """One function under two back ends: neither runs the other's graphs."""
    reports = []
    for passes in ("", "noop-elimination"):
        compiled = passprint.compile(broken_models.calls_c, passes=passes, cache=cache)
        torch.testing.assert_close(compiled(inputs()), broken_models.calls_c(inputs()))
        reports.append(compiled.report)
    for report in reports:
        assert (report.status, report.graphs) == ("cold", 2)
        assert "skipped" in report.graph_breaks[0].reason
        assert "zlib.crc32" in report.graph_breaks[0].line


def test_where_nothing_is_left_to_compile(cache: Path) -> None:
    compiled = passprint.compile(broken_models.only_python, cache=cache)
    torch.testing.assert_close(compiled(inputs()), broken_models.only_python(inputs()))
    assert compiled.report.status == "bypass"
    assert "nothing was compiled" in (compiled.report.why or "")
    assert "print(step)" in (compiled.report.why or "")


def test_what_the_model_raises_comes_out_as_it_is(cache: Path) -> None:
    compiled = passprint.compile(broken_models.raises, cache=cache)
    with pytest.raises(ValueError, match="expected rows and columns"):
        compiled(torch.ones(3))
    torch.testing.assert_close(compiled(inputs()), torch.sin(inputs()))


def test_gradients_through_a_break(cache: Path) -> None:
    compiled = passprint.compile(broken_models.branches, cache=cache)
    ours, theirs = inputs().requires_grad_(), inputs().requires_grad_()
    compiled(ours).square().sum().backward()
    broken_models.branches(theirs).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert compiled.report.graphs == 2


def test_more_graphs_than_torch_allows_go_on_in_parts(cache: Path) -> None:
    def shifted(x: torch.Tensor, by: str) -> torch.Tensor:
        return torch.sin(x) + len(by)

    compiled, x = passprint.compile(shifted, cache=False), inputs()
    with torch._dynamo.config.patch(recompile_limit=1):
        for by in ("a", "bb", "ccc"):
            torch.testing.assert_close(compiled(x, by), shifted(x, by))
    assert "limit" in compiled.report.graph_breaks[0].reason
