"""Custom operators: their Python that a trace goes through counts; an edit and a new process are never stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.compiler.processes import in_new_process

from passprint.cache import LocalStore

OPERATORS = """
import torch

library = torch.library.Library("passprint_mine", "DEF")

# composite: a trace goes through it, and nothing keeps the function
library.define("scaled(Tensor x) -> Tensor")
library.impl("scaled", lambda x: x * 2.0, "CompositeImplicitAutograd")

# a kernel, which is called when the graph runs, and a fake that says how its result lies in memory
library.define("turned(Tensor x) -> Tensor")
library.impl("turned", lambda x: x.t().contiguous().t() + 1, "CompositeExplicitAutograd")
torch.library.register_fake("passprint_mine::turned", lambda x: x.new_empty(x.shape[::-1]).t(), lib=library)


@torch.library.custom_op("passprint_mine::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@doubled.register_fake
def _(x):
    return torch.empty_like(x)


doubled.register_autograd(lambda ctx, grad: grad * 2.0)
del doubled  # models name the operator, nothing leads to the function
"""

MODELS = """
import torch
import mine_operators

ops = torch.ops.passprint_mine


def composite(x):
    return torch.tanh(ops.scaled(x))


def faked(x):
    return torch.tanh(ops.turned(x))


def native(x):
    return torch.tanh(torch.ops._test.leaky_relu(x, 0.5))  # composite, and C++


def trained(x):
    return torch.tanh(ops.doubled(x))
"""

CHILD = """
import sys
sys.path.insert(0, {folder!r})
from mine_models import composite, faked, native, trained

found = {{}}
for model in (composite, faked, native, trained):
    compiled = passprint.compile(model, cache={cache!r}, passes="")
    results = []
    for called in (compiled, model):
        torch.manual_seed(0)
        x = torch.randn(4, 8, requires_grad=model is trained)
        result = called(x)
        results.append([result, *(torch.autograd.grad(result.sum(), x) if x.requires_grad else ())])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)
        assert ours.stride() == theirs.stride()
    report = compiled.report
    found[model.__name__] = [report.status, report.loaded, report.why]
print(json.dumps(found))
"""


def start(folder: Path) -> dict[str, Any]:
    return in_new_process(folder, CHILD.format(folder=str(folder), cache=str(folder / "cache")))


def test_python_of_operators(tmp_path: Path) -> None:
    file = tmp_path / "mine_operators.py"
    file.write_text(OPERATORS)
    (tmp_path / "mine_models.py").write_text(MODELS)
    start(tmp_path)
    found = start(tmp_path)
    assert found["faked"][:2] == found["trained"][:2] == ["warm", 1]
    assert found["composite"][:2] == ["bypass", 0], (
        "nothing is stored that was made of a function that nobody keeps"
    )
    assert "passprint_mine::scaled" in found["composite"][2]
    assert found["native"][:2] == ["bypass", 0]
    assert "C++ that the operator _test::leaky_relu has for CompositeImplicitAutograd" in found["native"][2]

    text = OPERATORS.replace("x * 2.0", "x * 3.0").replace("grad * 2.0", "grad * 3.0")
    text = text.replace("x.t().contiguous().t() + 1", "x.contiguous() + 1")
    file.write_text(text.replace("x.new_empty(x.shape[::-1]).t()", "torch.empty_like(x)"))
    found = start(tmp_path)
    assert found["faked"][:2] == found["trained"][:2] == ["cold", 0]
    assert "the operator passprint_mine::turned, which was traced, has changed" in found["faked"][2]
    file.write_text(OPERATORS)
    found = start(tmp_path)
    assert found["faked"][1] == found["trained"][1] == 1, "what was there before is still found"
    assert LocalStore(tmp_path / "cache").stats().bypasses > 0


TABLED = """
library = torch.library.Library("passprint_tabled", "DEF")
library.define("gate(Tensor x) -> Tensor")
library.impl("gate", lambda x: x * 2, "CompositeExplicitAutograd")
torch.library.register_fake("passprint_tabled::gate", lambda x: torch.empty_like(x), lib=library)
factor = {factor}
if factor:
    from torch._inductor.decomposition import register_decomposition
    space = {{}}
    exec(f"def decomposition(x): return x * {{factor}}", space)
    register_decomposition([torch.ops.passprint_tabled.gate.default])(space["decomposition"])

def plain(x):
    return torch.tanh(x) + 1

def gated(x):
    return torch.tanh(torch.ops.passprint_tabled.gate(x))

x = torch.linspace(-1, 1, 8)
found = {{}}
for model in (plain, gated):
    compiled = passprint.compile(model, cache={cache!r}, passes="")
    result = compiled(x)
    expected = model(x) if model is plain else torch.tanh(x * (factor or 2))
    torch.testing.assert_close(result, expected)
    found[model.__name__] = [compiled.report.status, str(compiled.report.why)]
print(json.dumps(found))
"""


def test_a_decomposition_counts_only_with_what_can_call_its_operator(tmp_path: Path) -> None:
    """Libraries register theirs when they are imported; the models of others start as before."""
    starts = [
        in_new_process(tmp_path, TABLED.format(factor=factor, cache=str(tmp_path / "cache")))
        for factor in (0, 3, 3, 4)
    ]
    assert [found["plain"][0] for found in starts] == ["cold", "warm", "warm", "warm"]
    assert [found["gated"][0] for found in starts] == ["cold", "cold", "warm", "cold"]
    assert "decompositions[passprint_tabled.gate.default] has changed" in starts[3]["gated"][1]
