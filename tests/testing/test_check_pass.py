"""`check_pass`: what holds is let through, and each thing that does not is told by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import Graph

from passprint import InductorPass
from passprint.passes import graph_pass
from passprint.passes.library import FuseRMSNorm, NoopElimination
from passprint.testing import CheckFailed, capture_graphs, check_pass

aten = torch.ops.aten
X, W = torch.randn(4, 8), torch.randn(8)


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def failed(pass_: Any, fn: Any = norm, inputs: Any = (X, W), **options: Any) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        check_pass(pass_, fn, inputs, **options)
    return caught.value


def test_a_sound_pass() -> None:
    seen = check_pass(
        FuseRMSNorm(), norm, (X, W), rewrites=1, different=FuseRMSNorm(eps=1e-6), dynamic={0: (0,)}
    )
    assert seen.rewrites == 1
    assert seen.patterns["float32"] == 1
    assert "aten.rsqrt.default" in seen.before[0]
    assert "passprint.rms_norm.default(arg1_1, arg2_1, 1e-06)  # float32[s" in seen.after[0]


def test_backward_graphs_are_checked_too() -> None:
    def fn(x: Tensor) -> Tensor:
        return torch.sigmoid(x.reshape(-1).reshape(x.shape) * 1.0)

    x = torch.randn(3, 4, requires_grad=True)
    seen = check_pass(NoopElimination(), fn, (x,))
    assert len(seen.before) == 2
    assert x.grad is None


def test_inputs_stay_as_they_are() -> None:
    def fn(x: Tensor) -> Tensor:
        x.add_(1.0)
        return torch.cos(x)

    x = torch.zeros(3)
    check_pass(NoopElimination(), fn, (x,))
    assert torch.equal(x, torch.zeros(3))


class WrongConstant(InductorPass):
    factor: float = 2.0

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.rsqrt.default):
            if not any(user.target is aten.mul.Scalar for user in node.users):
                with graph.inserting_after(node):
                    new = graph.call_function(aten.mul.Scalar, (node, self.factor))
                new.meta["val"] = node.meta["val"].clone()
                node.replace_all_uses_with(new, delete_user_cb=lambda user, new=new: user is not new)


def test_numerics() -> None:
    assert failed(WrongConstant()).check == "numerics"
    check_pass(WrongConstant(factor=1.0), norm, (X, W))


def test_verify() -> None:
    @graph_pass
    def forgets(graph: Graph) -> None:
        del graph.find_nodes(op="call_function", target=aten.rsqrt.default)[0].meta["val"]

    error = failed(forgets)
    assert error.check == "verify"
    assert "'rsqrt' has no meta['val']" in str(error)


def test_what_verify_and_numerics_of_a_graph_do_not_see() -> None:
    """A pass that changes the meaning of a graph whose inputs are special; the function's own results tell."""

    @graph_pass
    def for_small_numbers(graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.cos.default):
            with graph.inserting_before(node):
                new = graph.call_function(aten.clamp.default, (node.args[0], -100.0, 100.0))
            new.meta["val"] = node.meta["val"].clone()
            if not any(one.target is aten.clamp.default for one in node.all_input_nodes):
                node.args = (new,)
            else:
                graph.erase_node(new)

    error = failed(for_small_numbers, lambda x: torch.cos(x), (torch.tensor([1000.0]),))
    assert error.check == "numerics"
    assert "compiled with the pass, the function gives something else" in str(error)


def test_idempotence() -> None:
    @graph_pass
    def grows(graph: Graph) -> None:
        node = graph.find_nodes(op="call_function", target=aten.rsqrt.default)[0]
        with graph.inserting_after(node):
            new = graph.call_function(aten.alias.default, (node,))
        new.meta["val"] = node.meta["val"].view(node.meta["val"].shape)
        node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)

    assert failed(grows).check == "idempotent"
    check_pass(grows, norm, (X, W), idempotent=False)


def test_identity() -> None:
    class Unknown(InductorPass):
        file: Any = None

        def __call__(self, graph: Graph) -> None:
            pass

    with open(os.devnull) as file, pytest.warns(UserWarning, match="opaque"):
        assert failed(Unknown(file)).check == "identity"
    error = failed(FuseRMSNorm(), different=FuseRMSNorm())
    assert error.check == "identity"
    assert "the same uuid()" in str(error)


def test_rewrites() -> None:
    error = failed(FuseRMSNorm(), rewrites=2)
    assert error.check == "rewrites"
    assert "2 expected, 1 made" in str(error)


def test_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "goldens" / "norm.txt"
    assert "write it with PASSPRINT_UPDATE_GOLDENS=1" in str(failed(FuseRMSNorm(), golden=path))
    monkeypatch.setenv("PASSPRINT_UPDATE_GOLDENS", "1")
    check_pass(FuseRMSNorm(), norm, (X, W), golden=path)
    monkeypatch.delenv("PASSPRINT_UPDATE_GOLDENS")
    check_pass(FuseRMSNorm(), norm, (X, W), golden=path)
    path.write_text(path.read_text().replace("1e-06", "1e-05"))
    error = failed(FuseRMSNorm(), golden=path)
    assert error.check == "golden"
    assert "+rms_norm_default = passprint.rms_norm.default(arg0_1, arg1_1, 1e-06)" in str(error)


def test_golden_by_the_tests_name_needs_the_fixture() -> None:
    with pytest.raises(TypeError, match="as a pytest fixture"):
        check_pass(FuseRMSNorm(), norm, (X, W), golden=True)


@pytest.mark.parametrize("hook", ["pre_grad", "joint_pre", "joint_post", "post_grad_pre", "post_grad_post"])
def test_graphs_of_every_hook(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    captured = capture_graphs(norm, (X, W), hook=hook)
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == []
    assert captured.graphs
    assert torch.allclose(captured.result, norm(X, W))


def test_an_error_of_the_function_is_its_own() -> None:
    def fn(x: Tensor) -> Tensor:
        raise ValueError("mine")

    with pytest.raises(Exception, match="mine") as caught:
        check_pass(FuseRMSNorm(), fn, (X,))
    assert not isinstance(caught.value, CheckFailed)


def test_a_function_that_draws_random_numbers_is_compared_before_and_after_only() -> None:
    def fn(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.nn.functional.dropout(x, 0.5, True), torch.rand(3).expand(3).cos()

    assert check_pass(NoopElimination(), fn, (X,)).rewrites == 1
    assert failed(doubles_sums, lambda x: torch.rand(3) + x, (torch.ones(3),)).check == "numerics"


@graph_pass
def doubles_sums(graph: Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=aten.add.Tensor):
        node.args = (node.args[1], node.args[1])
