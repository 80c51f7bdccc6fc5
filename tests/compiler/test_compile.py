"""``passprint.compile`` end to end: eager's numbers, each distinct piece once, warm in a new process."""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.models import WIDTH, Stack, inputs, stack
from tests.compiler.processes import in_new_process
from tests.versions import since
from torch import nn

import passprint


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty Inductor cache and no graphs from other tests."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# ---- the same numbers, each distinct piece once ---------------------------------------------------------


def test_equal_blocks_are_compiled_once(cache: Path) -> None:
    model, x = stack(), inputs()
    compiled = passprint.compile(model, cache=cache)
    assert compiled.report.status == "pending"
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    report = compiled.report
    assert (report.status, report.pieces, report.distinct_pieces) == ("cold", 5, 2)
    assert [p.origin for p in report.pieces_seen] == ["compiled", "memory", "memory", "memory", "compiled"]
    assert [p.label for p in report.pieces_seen] == [*(f"blocks.{i}" for i in range(4)), "rest"]
    assert {p.form for p in report.pieces_seen} == {"direct"}
    assert report.seconds["compile"] > 0


def test_warm_in_a_new_process(cache: Path, tmp_path: Path) -> None:
    """Nothing is compiled again, and no C++ compiler is needed, with an empty Inductor cache."""
    model, x = stack(), inputs()
    with torch.no_grad():
        passprint.compile(model, cache=cache)(x)
    found = in_new_process(
        tmp_path,
        f"""
model, x = stack(), inputs()
compiled = passprint.compile(model, cache={str(cache)!r})
with torch.no_grad():
    difference = (compiled(x) - model(x)).abs().max().item()
from pathlib import Path
import os
built = [str(p) for p in Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.so")]
print(json.dumps(compiled.report.to_dict() | {{"difference": difference, "built": built}}))
""",
    )
    assert found["status"] == "warm", found["why"]
    assert found["built"] == []
    assert found["difference"] < 1e-5
    assert [p["origin"] for p in found["each_piece"]] == ["store", "memory", "memory", "memory", "store"]


def test_new_weights_are_warm_and_another_depth_too(cache: Path) -> None:
    x = inputs()
    with torch.no_grad():
        passprint.compile(stack(4), cache=cache)(x)
        torch._dynamo.reset()
        other = stack(6, seed=5)
        compiled = passprint.compile(other, cache=cache)
        torch.testing.assert_close(compiled(x), other(x))
    assert compiled.report.status == "warm"
    assert compiled.report.pieces == 7


@pytest.mark.parametrize("change", ["pass", "config", "dtype", "size"])
def test_what_changes_the_code_is_a_miss(cache: Path, change: str) -> None:
    x = inputs()
    with torch.no_grad():
        passprint.compile(stack(2), passes="noop-elimination", cache=cache)(x)
        torch._dynamo.reset()
        model, passes = stack(2), "noop-elimination"
        if change == "pass":
            passes = "fold-reshapes"
        if change == "dtype":
            model, x = model.double(), x.double()
        if change == "size":
            x = inputs(7)
        with torch._inductor.config.patch({"cpp.simdlen": 1} if change == "config" else {}):
            compiled = passprint.compile(model, passes=passes, cache=cache)
            torch.testing.assert_close(compiled(x), model(x))
    assert compiled.report.status == "cold"
    named = {"pass": "fold-reshapes", "config": "simdlen", "dtype": "graph", "size": "graph"}[change]
    assert named in (compiled.report.why or "")


def test_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "unused"))
    model, x = stack(2), inputs()
    compiled = passprint.compile(model, cache=False)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    assert compiled.report.distinct_pieces == 2
    assert not (tmp_path / "unused").exists()


class DoubleNegation(passprint.InductorPass):
    """neg(neg(x)) is x: the example of docs/write-a-pass.md."""

    def __call__(self, graph: torch.fx.Graph) -> None:
        neg = torch.ops.aten.neg.default
        for node in graph.find_nodes(op="call_function", target=neg):
            inner = node.args[0]
            if inner.target is neg:
                node.replace_all_uses_with(inner.args[0])
                graph.erase_node(node)


class Negating(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.neg(torch.neg(torch.sin(x))) + 1
        return y.cos() * torch.exp(x).tanh()


def test_matches_count_for_the_whole_model_cold_and_warm(cache: Path) -> None:
    model = nn.Sequential(Negating(), Negating(), Negating())
    for status in ("cold", "warm"):
        torch._dynamo.reset()
        compiled = passprint.compile(model, passes=[DoubleNegation()], cache=cache)
        with torch.no_grad():
            torch.testing.assert_close(compiled(inputs()), model(inputs()))
        assert (compiled.report.status, compiled.report.pieces) == (status, 3)
        assert compiled.report.matches["double-negation"] == 3


# ---- kinds of models ------------------------------------------------------------------------------------


def test_training_gives_eager_gradients_cold_and_warm(cache: Path) -> None:
    x = inputs()
    expected = stack(3)
    expected(x).square().sum().backward()
    for status in ("cold", "warm"):
        torch._dynamo.reset()
        model = stack(3)
        compiled = passprint.compile(model, cache=cache)
        compiled(x).square().sum().backward()
        assert compiled.report.status == status
        assert {p.form for p in compiled.report.pieces_seen} == {"torch"}
        for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)


class Labels(nn.Module):
    """Its result needs no gradient, though its weights do."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, 4)
        self.scale = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            y = self.project(x)
        return y.relu(), self.scale(y).argmax(-1)


def test_what_needs_no_gradient_of_weights_that_do(cache: Path) -> None:
    """As ``model(x).argmax(-1)`` outside ``no_grad``: torch's ``out=`` functions refuse such weights there."""
    torch.manual_seed(0)
    model, x = Labels(), inputs()
    for loaded in (0, 1):
        compiled = passprint.compile(model, cache=cache)
        found = compiled(x)
        assert torch.is_grad_enabled()
        torch.testing.assert_close(found, model(x))
        assert not found[0].requires_grad
        assert {piece.form for piece in compiled.report.pieces_seen} == {"direct"}
        assert compiled.report.loaded == loaded


class Counting(nn.Module):
    """Mutates a buffer and an input, and returns a view of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        state.mul_(2)
        return x.view(-1)[1:], torch.tanh(x) * self.calls + state.sum()


def test_mutation_and_views_cold_and_warm(cache: Path) -> None:
    for status in ("cold", "warm"):
        torch._dynamo.reset()
        ours, theirs = Counting(), Counting()
        compiled = passprint.compile(ours, cache=cache)
        with torch.no_grad():
            for _ in range(2):
                x, state, other = torch.randn(2, 4), torch.ones(3), torch.ones(3)
                view, result = compiled(x, state)
                expected_view, expected = theirs(x, other)
                torch.testing.assert_close(result, expected)
                torch.testing.assert_close(state, other)
                assert view.data_ptr() == expected_view.data_ptr()
        torch.testing.assert_close(ours.calls, theirs.calls)
        assert compiled.report.status == status


def test_a_number_of_the_model_that_torch_takes_for_dynamic(cache: Path) -> None:
    """With dynamic=True a float attribute is first an input; torch asks for a second trace when it must not be."""
    model, x = stack(2), inputs(5)
    torch._dynamo.reset()
    compiled = passprint.compile(model, cache=cache, dynamic=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    assert compiled.report.distinct_pieces == 2


@since((2, 13), "refusing a graph with a method of numpy's")
def test_what_torch_cannot_serialize_runs_and_says_so(cache: Path) -> None:
    def summed(x: torch.Tensor) -> Any:
        return x + torch.from_numpy(x.numpy().sum(0))

    x = inputs()
    compiled = passprint.compile(summed, cache=cache)
    torch.testing.assert_close(compiled(x), summed(x))
    assert compiled.report.status == "bypass"
    why = compiled.report.why or ""
    assert "torch cannot serialize a graph that calls" in why
    assert "return x + torch.from_numpy(x.numpy().sum(0))" in why


def test_a_model_that_goes_while_another_is_traced(cache: Path) -> None:
    """The garbage collector may find a compiled model at any time, also while Dynamo goes through its hooks."""
    from torch._dynamo.convert_frame import register_bytecode_hook

    def collect(code: object, new_code: object) -> None:
        gc.collect()

    gc.disable()  # or it goes too early
    x = inputs()
    gone = passprint.compile(lambda x: x.sin(), cache=cache)
    gone(x)
    torch._dynamo.reset()  # now it holds itself, and only the collector ends it
    del gone
    listening: Any = register_bytecode_hook(collect)
    try:
        torch.testing.assert_close(passprint.compile(lambda x: x.cos() + 1, cache=cache)(x), x.cos() + 1)
    finally:
        listening.remove()
        gc.enable()


def test_what_shall_not_be_stored_is_no_warning_of_torchs(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A debugging limit that counts over the process has no key: nothing is stored, and the report says so."""
    monkeypatch.setenv("PASSPRINT_LIMIT", "passes=1")
    log = logging.getLogger("torch._inductor.standalone_compile")
    log.addHandler(caplog.handler)
    try:
        x = inputs()
        compiled = passprint.compile(lambda x: x.sin() * 2, cache=cache)
        torch.testing.assert_close(compiled(x), x.sin() * 2)
    finally:
        log.removeHandler(caplog.handler)
    assert compiled.report.status == "bypass"
    assert "PASSPRINT_LIMIT=passes=1" in (compiled.report.why or "")
    assert not [record for record in caplog.records if record.name == log.name]


def test_nested_graphs(cache: Path) -> None:
    def checkpointed(x: torch.Tensor) -> torch.Tensor:
        return torch.utils.checkpoint.checkpoint(lambda a: (a.sin() * 2).cos(), x, use_reentrant=False)

    for status in ("cold", "warm"):
        torch._dynamo.reset()
        ours, theirs = inputs().requires_grad_(), inputs().requires_grad_()
        compiled = passprint.compile(checkpointed, cache=cache)
        compiled(ours).sum().backward()
        checkpointed(theirs).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad)
        assert compiled.report.status == status


def test_a_function_with_a_dynamic_dimension(cache: Path) -> None:
    def scaled(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ y, -1) * x.shape[0]

    compiled = passprint.compile(scaled, cache=cache, dynamic={"x": (0,)})
    for rows in (5, 9, 33):
        x, y = torch.randn(rows, 4), torch.randn(4, 4)
        torch.testing.assert_close(compiled(x, y=y), scaled(x, y))
    assert compiled.report.graphs == 1


@since((2, 13), "the same graph for the same sizes that vary")
def test_dynamic_true_serves_other_batches_in_a_new_process(cache: Path, tmp_path: Path) -> None:
    model = stack(3)
    with torch.no_grad():
        passprint.compile(model, cache=cache, dynamic=True)(inputs(5))
    found = in_new_process(
        tmp_path,
        f"""
model = stack(3)
compiled = passprint.compile(model, cache={str(cache)!r}, dynamic=True)
with torch.no_grad():
    worst = max((compiled(x) - model(x)).abs().max().item() for x in (inputs(11), inputs(17), inputs(64)))
print(json.dumps(compiled.report.to_dict() | {{"worst": worst}}))
""",
    )
    assert found["status"] == "warm", found["why"]
    assert found["graphs"] == 1
    assert found["worst"] < 1e-5


def test_a_piece_that_relied_on_a_size_is_not_used_for_another(cache: Path) -> None:
    """Guards that a compile adds are kept with the piece and checked when it is found again."""

    def halves(x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        return x[: rows // 2] * 2 if rows % 2 == 0 else x * 3

    for rows in (8, 9, 10, 11):
        torch._dynamo.reset()
        x = torch.randn(rows, 4)
        compiled = passprint.compile(halves, cache=cache, dynamic=True)
        torch.testing.assert_close(compiled(x), halves(x))


def test_torchs_own_door(cache: Path) -> None:
    model, x = stack(2), inputs()
    compiled = torch.compile(model, backend="passprint", options={"cache": str(cache), "passes": ""})
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    assert list((cache / "entries").rglob("*"))


def test_a_compiled_module_stands_in_for_the_module(cache: Path) -> None:
    model = stack(2)
    compiled = passprint.compile(model, cache=cache)
    assert compiled.head is model.head
    outer = nn.Sequential(compiled)
    assert len(list(outer.parameters())) == len(list(model.parameters()))
    assert isinstance(compiled, nn.Module)


# ---- bad input ------------------------------------------------------------------------------------------


def test_fullgraph_refuses_a_graph_break_with_torchs_reason(cache: Path) -> None:
    def prints(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x + 1

    with pytest.raises(passprint.CompileError, match="does not trace as one graph") as caught:
        passprint.compile(prints, cache=cache, fullgraph=True)(torch.ones(2))
    assert "graph_break" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert not list((cache / "entries").rglob("*.json"))


def test_an_unknown_option_names_the_nearest(cache: Path) -> None:
    with pytest.raises(passprint.CompileError, match=r"'pases'.*passes, cache, split.*Did you mean 'passes'"):
        torch.compile(Stack(2), backend="passprint", options={"pases": ""})


def test_an_unknown_dynamic_argument_is_an_error_at_once(cache: Path) -> None:
    with pytest.raises(passprint.CompileError, match=r"names the argument 'y'.*takes x"):
        passprint.compile(stack(2), cache=cache, dynamic={"y": (0,)})


def test_something_that_is_not_a_pass(cache: Path) -> None:
    with pytest.raises(passprint.PipelineError):
        passprint.compile(stack(2), passes=[print], cache=cache)  # type: ignore[list-item]


def test_a_pass_that_fails_is_named_and_stores_nothing(cache: Path) -> None:
    @passprint.graph_pass
    def broken_pass(graph: torch.fx.Graph) -> None:
        raise ValueError("no such thing")

    with pytest.raises(passprint.PassError, match="broken-pass"):
        passprint.compile(stack(2), passes=[broken_pass], cache=cache)(inputs())
    assert not [p for p in (cache / "entries").rglob("*") if p.is_file()]


def test_a_damaged_entry_is_a_miss_that_heals(cache: Path) -> None:
    model, x = stack(2), inputs()
    with torch.no_grad():
        passprint.compile(model, cache=cache)(x)
        for stored in (p for p in (cache / "objects").rglob("*") if p.is_file()):
            stored.chmod(0o600)
            stored.write_bytes(stored.read_bytes()[:-20] + bytes(20))
        for expected in ("cold", "warm"):
            torch._dynamo.reset()
            compiled = passprint.compile(model, cache=cache)
            if expected == "cold":
                with pytest.warns(UserWarning, match="cache"):
                    torch.testing.assert_close(compiled(x), model(x))
            else:
                torch.testing.assert_close(compiled(x), model(x))
            assert compiled.report.status == expected


def test_a_cache_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(passprint.CacheError, match="file"):
        passprint.compile(stack(2), cache=tmp_path / "file" / "cache")


def test_phases_show_in_torchs_compile_times(cache: Path) -> None:
    with torch.no_grad():
        passprint.compile(stack(2), cache=cache)(inputs(WIDTH))
    from torch._dynamo.utils import compilation_time_metrics

    for phase in ("backend", "partition", "identity", "lookup", "compile", "store", "trace_structured"):
        assert f"passprint.{phase}" in compilation_time_metrics
