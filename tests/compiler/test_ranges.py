"""``compile_sizes`` and ``ranges``: code of its own for some sizes, beside the code for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.models import WIDTH, inputs
from tests.compiler.processes import in_new_process
from torch import nn

import passprint
from passprint.compiler.pieces.sizes import SizePlan
from passprint.passes import CompileRange

NEG = torch.ops.aten.neg.default


class ShortDoubleNegation(passprint.InductorPass):
    """neg(neg(x)) is x, where the range is no longer than ``longest``."""

    longest: int = 2**62

    def __call__(self, graph: torch.fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=NEG):
            inner = node.args[0]
            if inner.target is NEG:
                node.replace_all_uses_with(inner.args[0])
                graph.erase_node(node)

    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        return compile_range.end - compile_range.start <= self.longest


class Negating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.neg(torch.neg(torch.sin(x))) + 1
        return self.linear(y.cos() * torch.exp(x).tanh()) / x.shape[0]


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Negating() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


def stack() -> Stack:
    torch.manual_seed(0)
    return Stack().eval()


def serves(compiled: Any, model: nn.Module, *rows: int) -> None:
    with torch.no_grad():
        for n in rows:
            torch.testing.assert_close(compiled(inputs(n)), model(inputs(n)), rtol=1e-4, atol=1e-4)


def test_variants_serve_their_sizes_and_passes_are_asked_for_each(tmp_path: Path) -> None:
    model = stack()
    compiled = passprint.compile(
        model,
        passes=[ShortDoubleNegation(longest=100)],
        cache=tmp_path / "cache",
        dynamic={"x": (0,)},
        compile_sizes=[8],
        ranges=[(2, 64), (65, 4096)],
    )
    serves(compiled, model, 5, 8, 33, 64, 65, 4096, 5000)
    report = compiled.report
    assert (report.graphs, report.pieces, report.status) == (1, 3, "cold")
    assert report.matches["short-double-negation"] == 0, "the code for all sizes: too long a range"
    matches = {
        sizes: [piece.matches.get("short-double-negation", 0) for piece in pieces]
        for sizes, pieces in report.variants.items()
    }
    assert matches == {"[8, 8]": [1, 1, 1], "[2, 64]": [1, 1, 1], "[65, 4096]": [0, 0, 0]}
    assert [p.origin for p in report.variants["[8, 8]"]] == ["compiled", "memory", "memory"]
    assert len({p.digest for p in report.variants_seen} | {p.digest for p in report.pieces_seen}) == 4

    script = f"""
import sys
from tests.compiler.test_ranges import *
model = stack()
compiled = passprint.compile(model, passes=[ShortDoubleNegation(longest=100)], cache={str(tmp_path / "cache")!r},
                             dynamic={{"x": (0,)}}, compile_sizes=[8], ranges=[(2, 64), (65, 4096)])
serves(compiled, model, 5, 8, 33, 64, 65, 5000)
print(json.dumps(compiled.report.to_dict() | {{"dynamo": "torch._dynamo" in sys.modules}}))
"""
    for traced in (1, 0):  # the module has another name in a process of its own, and so the model is another
        found = in_new_process(tmp_path, script)
        assert found["status"] == "warm", found["why"]
        assert (found["traced"], found["loaded"]) == (traced, 1 - traced)
        assert [p["matches"].get("short-double-negation", 0) for p in found["variants"]] == [1] * 6 + [0] * 3
        assert [p["sizes"] for p in found["variants"]] == ["[8, 8]"] * 3 + ["[2, 64]"] * 3 + [
            "[65, 4096]"
        ] * 3
    assert not found["dynamo"]


def test_another_range_is_another_key_and_the_general_code_is_the_same(tmp_path: Path) -> None:
    model = stack()
    serves(passprint.compile(model, cache=tmp_path / "cache", dynamic={"x": (0,)}), model, 5)
    torch._dynamo.reset()
    compiled = passprint.compile(model, cache=tmp_path / "cache", dynamic={"x": (0,)}, ranges=[(2, 16)])
    serves(compiled, model, 5, 16, 17)
    assert {p.origin for p in compiled.report.pieces_seen} == {"store", "memory"}
    assert compiled.report.variants["[2, 16]"][0].origin == "compiled"


def test_which_code_runs(tmp_path: Path) -> None:
    """Each size is served by the variant that is for it: seen by a pass that changes the numbers by the range."""

    class Marking(passprint.InductorPass):
        def __call__(self, graph: torch.fx.Graph) -> None:
            sizes = passprint.passes.get_pass_context().compile_range
            mark = {8: 1000.0, 2: 2000.0, 65: 3000.0}.get(sizes.start, 0.0) if sizes.end < 2**62 else 0.0
            for node in graph.find_nodes(op="call_function", target=torch.ops.aten.add.Tensor):
                node.update_arg(1, mark)

    def plus_one(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    compiled = passprint.compile(
        plus_one,
        passes=[Marking()],
        cache=False,
        dynamic={"x": (0,)},
        compile_sizes=[8],
        ranges=[(2, 64), (65, 100)],
    )
    with torch.no_grad():
        marks = {n: round(float(compiled(torch.zeros(n, 4))[0, 0])) for n in (5, 2, 8, 9, 64, 65, 100, 101)}
    assert marks == {5: 2000, 2: 2000, 8: 1000, 9: 2000, 64: 2000, 65: 3000, 100: 3000, 101: 0}


def test_views_are_served_by_the_general_code() -> None:
    """Inputs that share memory cannot be made anew; the report says so."""

    def both(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x.sin() + y

    compiled = passprint.compile(
        both, cache=False, passes="", dynamic={"x": (0,), "y": (0,)}, compile_sizes=[4]
    )
    base = torch.randn(10, 3)
    with torch.no_grad():
        for n in (6, 4):
            torch.testing.assert_close(compiled(base[:n], base[1 : n + 1]), base[:n].sin() + base[1 : n + 1])
    if compiled.report.variants_seen[0].origin == "memory":
        assert "the general code serves" in " ".join(compiled.report.notes)


def test_a_model_without_a_varying_size_has_no_variants() -> None:
    compiled = passprint.compile(torch.sin, cache=False, passes="", dynamic=False, compile_sizes=[4])
    with torch.no_grad():
        torch.testing.assert_close(compiled(torch.ones(4)), torch.ones(4).sin())
    assert compiled.report.variants == {}


def test_torchs_own_door_takes_them() -> None:
    options = {"cache": False, "passes": "", "compile_sizes": [4], "ranges": [(5, 9)]}
    compiled = torch.compile(torch.sin, backend="passprint", options=options, dynamic=True)
    with torch.no_grad():
        for n in (3, 4, 6, 30):
            torch.testing.assert_close(compiled(torch.ones(n)), torch.ones(n).sin())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"compile_sizes": [0]}, r"compile_sizes= has 0.*whole numbers from 1"),
        ({"compile_sizes": ["8"]}, r"compile_sizes= has '8'"),
        ({"ranges": [(9, 3)]}, r"ranges= has \(9, 3\).*pairs"),
        ({"ranges": [5]}, r"ranges= has 5"),
        ({"ranges": [(1.5, 8)]}, r"ranges= has \(1.5, 8\).*whole numbers"),
        ({"ranges": [(True, 8)]}, r"ranges= has \(True, 8\)"),
        ({"ranges": [CompileRange(2, float("inf"))]}, r"ranges= has CompileRange\(start=2, end=inf\)"),
        ({"ranges": "1-8"}, r"ranges= is '1-8'. Expected a list"),
        ({"ranges": 8}, r"ranges= is 8. Expected a list"),
        ({"compile_sizes": 8}, r"compile_sizes= is 8. Expected a list, as \[1, 8\]"),
        ({"compile_sizes": "8"}, r"compile_sizes= is '8'"),
        ({"compile_sizes": 0}, r"compile_sizes= is 0"),
        ({"dynamic": ["x"]}, r"dynamic= is \['x'\]. Expected None, True, False, or"),
        ({"dynamic": 1}, r"dynamic= is 1"),
        ({"dynamic": {"x": 0}}, r"dynamic= has 0 for the argument 'x'.*as \(0,\)"),
        ({"dynamic": {"x": ("rows",)}}, r"dynamic= has \('rows',\)"),
        ({"dynamic": {"x": (True,)}}, r"dynamic= has \(True,\)"),
        ({"ranges": [(1, 8), (8, 9)]}, r"\[1, 8\] and \[8, 9\], which overlap"),
    ],
)
def test_what_is_not_a_size_is_an_error_at_once(given: Any, named: str) -> None:
    with pytest.raises(passprint.CompileError, match=named):
        passprint.compile(stack(), cache=False, **given)


def test_a_dimension_that_the_argument_lacks_is_an_error_of_the_call() -> None:
    compiled = passprint.compile(stack(), cache=False, passes="", dynamic={"x": (2,)})
    with pytest.raises(passprint.CompileError, match=r"dimension 2 of 'x' varies, but .* of 2 dimensions"):
        compiled(inputs(3))


def test_a_dimension_may_be_counted_from_the_end() -> None:
    model = stack()
    compiled = passprint.compile(model, cache=False, passes="", dynamic={"x": (-2,)}, compile_sizes=[4])
    serves(compiled, model, 3, 4, 9)
    assert (compiled.report.traced, list(compiled.report.variants)) == (1, ["[4, 4]"])


def test_a_plan_is_cut_to_the_dimension() -> None:
    plan = SizePlan.of([8, 1, 8], [(513, 8192), (1, 512)])
    assert plan.sizes == (1, 8)
    within = plan.within(CompileRange(2, 1000))
    assert [str(r) for r in within] == ["[8, 8]", "[2, 512]", "[513, 1000]"]


def test_a_number_that_varies_is_no_size() -> None:
    def scaled(x: torch.Tensor, factor: int) -> torch.Tensor:
        return x * factor

    compiled = passprint.compile(scaled, cache=False, passes="")
    x = torch.linspace(-1, 1, 8)
    for factor in (2, 3, -4):
        torch.testing.assert_close(compiled(x, factor), x * factor)
