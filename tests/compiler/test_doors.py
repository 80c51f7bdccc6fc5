"""torch's own doors: they start without a trace, give eager's results, and keep what torch promises of them."""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.doors_child import DOORS, Model, model
from torch import Tensor

import passprint
from passprint import CompileError

ROOT = Path(__file__).parents[2]
X = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))


def process(folder: Path) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.compiler.doors_child", str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["door"]: line for line in lines}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("doors")
    return [process(folder), process(folder)]


@pytest.mark.parametrize("door", DOORS)
def test_a_door_starts_without_a_trace(processes: Any, door: str) -> None:
    cold, warm = (found[door] for found in processes)
    assert max(cold["difference"], warm["difference"]) < 1e-5
    if door != "blocks":  # the last of equal blocks is loaded
        assert (cold["status"], cold["traced"]) == ("cold", 1), cold
    assert (warm["status"], warm["traced"], warm["loaded"]) == ("warm", 0, 1), warm


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"cache": str(tmp_path / "cache"), "passes": ""}


@pytest.fixture
def net() -> Model:
    return model()


def compiled(target: Any, options: dict[str, Any], **more: Any) -> Any:
    return torch.compile(target, backend="passprint", options=options, **more)


def report() -> passprint.CompileReport:
    found = passprint.last_report()
    assert found is not None
    return found


@torch.no_grad()
def test_it_is_an_object_of_torchs(net: Model, options: dict[str, Any]) -> None:
    made = compiled(net, options)
    assert isinstance(made, torch._dynamo.eval_frame.OptimizedModule)
    assert made.layers is net.layers
    assert next(iter(made.state_dict())).startswith("_orig_mod.layers.0")
    assert callable(made.get_compiler_config)
    torch.testing.assert_close(made(X, scale=2.0), net(X, scale=2.0))
    again = torch.compile(made, backend="passprint", options=options)
    torch.testing.assert_close(again(X), net(X))
    assert report().traced == 1  # another call of the same model, and not a model around it


@torch.no_grad()
def test_copies_and_pickles_have_weights_of_their_own(net: Model, options: dict[str, Any]) -> None:
    made = compiled(net, options)
    expected = made(X)
    copied = copy.deepcopy(made)
    file = io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    for other in (copied, torch.load(file, weights_only=False)):
        other.layers[2].down.bias.add_(1)
        torch.testing.assert_close(other(X), expected + 1)
        torch.testing.assert_close(made(X), expected)


@torch.no_grad()
def test_a_function_keeps_its_name_and_has_a_report(options: dict[str, Any]) -> None:
    @torch.compile(backend="passprint", options=options)
    def of_a_user(x: Tensor) -> Tensor:
        """Adds one."""
        return x + 1

    made: Any = of_a_user
    assert "no entry" in made.why_trace(X)
    torch.testing.assert_close(made(X), X + 1)
    assert (made.__name__, made.__doc__) == ("of_a_user", "Adds one.")
    assert made.report is report()
    assert made.why_trace(X) is None


@torch.no_grad()
@pytest.mark.parametrize("fullgraph", [True, False])
def test_within_something_that_is_compiled_as_a_whole(
    net: Model, options: dict[str, Any], fullgraph: bool
) -> None:
    made = compiled(net, options)

    def around(x: Tensor) -> Tensor:
        if not fullgraph:
            torch._dynamo.graph_break()
        y: Tensor = made(x)
        return y * 2

    graphs: list[torch.fx.GraphModule] = []

    def seen(gm: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(gm)
        return gm

    outer = torch.compile(around, backend=seen, fullgraph=fullgraph)
    torch.testing.assert_close(outer(X), net(X) * 2)
    assert "layer_norm" in str(graphs[-1].graph)


@torch.no_grad()
def test_a_graph_break_is_torchs_error_or_none(options: dict[str, Any]) -> None:
    def breaks(x: Tensor) -> Tensor:
        y = x + 1
        print(end="")
        return y * 2

    with pytest.raises(torch._dynamo.exc.Unsupported, match="print"):
        compiled(breaks, options, fullgraph=True)(X)
    torch.testing.assert_close(compiled(breaks, options)(X), (X + 1) * 2)
    assert "print" in str(report().why)


def test_training_and_sizes_that_vary(net: Model, options: dict[str, Any]) -> None:
    other = copy.deepcopy(net)
    made = compiled(net, options, dynamic=True)
    for rows in (4, 3, 2):
        made(X[:rows]).sum().backward()
        other(X[:rows]).sum().backward()
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert report().graphs < 3  # as many as Inductor makes of it


@torch.no_grad()
def test_what_a_stored_program_does_not_know_of_is_traced(net: Model, options: dict[str, Any]) -> None:
    options["guard_filter_fn"] = torch.compiler.keep_tensor_guards_unsafe
    torch.testing.assert_close(compiled(net, options)(X), net(X))
    assert "guard_filter_fn" in report().traced_because[0]


def test_disabled_is_the_model_itself(net: Model) -> None:
    assert torch.compile(net, backend="passprint", disable=True) is net
    assert passprint.compile(net, disable=True) is net


# ---- mode, options, stances -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"options": {"cahce": 1}}, "the option 'cahce'.* Did you mean 'cache'"),
        ({"options": {"max_autotun": True}}, "'max_autotun'.* Did you mean 'max_autotune'"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(net: Model, given: Any, said: str) -> None:
    with pytest.raises(CompileError, match=said):
        torch.compile(net, backend="passprint", **given)


def test_bad_modes_and_settings_are_torchs_errors(net: Model, tmp_path: Path) -> None:
    for door in (passprint.compile, lambda m, **given: torch.compile(m, backend="passprint", **given)):
        with pytest.raises(
            RuntimeError, match=r"Unrecognized mode=max-autotun,.* Did you mean 'max-autotune'"
        ):
            door(net, mode="max-autotun")
        with pytest.raises(RuntimeError, match="both can't be specified"):
            door(net, mode="max-autotune", options={"epilogue_fusion": False})
        for options in ({"max_autotun": True}, {"max_autotune": "yes"}):
            with pytest.raises((RuntimeError, CompileError), match="max_autotun"):
                door(net, options=options)(X)
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_mode_and_options_are_parts_of_the_keys(net: Model, tmp_path: Path) -> None:
    found = []
    for given in (
        {},
        {"mode": "default"},
        {"options": {"epilogue_fusion": False}},
        {"mode": "max-autotune-no-cudagraphs"},
        {"options": {"epilogue_fusion": False}},
        {"mode": "max-autotune-no-cudagraphs"},
    ):
        made = passprint.compile(net, cache=tmp_path, passes="", **given)
        torch.testing.assert_close(made(X), net(X))
        found.append((made.report.status, made.report.traced))
    cold, warm = ("cold", 1), ("warm", 0)
    assert found == [cold, warm, cold, cold, warm, warm]
    assert not torch._inductor.config.max_autotune


@torch.no_grad()
@pytest.mark.skipif(torch.cuda.is_available(), reason="there are CUDA graphs with a GPU")
def test_cuda_graphs_change_nothing_on_a_cpu_and_the_report_says_so(net: Model, tmp_path: Path) -> None:
    passprint.compile(net, cache=tmp_path, passes="")(X)
    made = passprint.compile(net, cache=tmp_path, passes="", mode="reduce-overhead")
    torch.testing.assert_close(made(X), net(X))
    assert {piece.origin for piece in made.report.pieces_seen} <= {"store", "memory"}
    assert any("mode='reduce-overhead' asks for CUDA graphs" in note for note in made.report.notes)


@torch.no_grad()
@pytest.mark.parametrize("own", [True, False])
def test_stances_hold(net: Model, options: dict[str, Any], own: bool) -> None:
    calls: list[int] = []

    class Told(Model):
        def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
            if not torch.compiler.is_compiling():
                calls.append(1)
            return super().forward(x, scale=scale)

    told = Told().eval()
    told.load_state_dict(net.state_dict())

    def make() -> Any:
        return passprint.compile(told, **options) if own else compiled(told, options)

    made, expected = make(), net(X)
    torch.testing.assert_close(made(X), expected)
    assert not calls
    for stance, eager in (("force_eager", 1), ("eager_on_recompile", 0), ("fail_on_recompile", 0)):
        calls.clear()
        with torch.compiler.set_stance(stance):
            torch.testing.assert_close(made(X), expected)
        assert len(calls) == eager, stance
    with torch.compiler.set_stance("eager_on_recompile"):
        torch.testing.assert_close(made(X.double().float()[:2]), expected[:2])
    assert len(calls) == 1
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="recompile"):
        make()(X[:3])
    with torch.compiler.set_stance("default", force_backend="eager"):
        torch.testing.assert_close(make()(X), expected)
    torch.testing.assert_close(make()(X), expected)
