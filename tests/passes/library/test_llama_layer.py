"""What every pass finds in one whole decoder layer, and that the model still computes the same."""

from __future__ import annotations

import re
from unittest import mock

import pytest
import torch
from graph_harness import Recorder, optimised
from llama import decoder_layer, vary_length
from torch._inductor import config
from torch._inductor.graph import GraphLowering
from torch.fx import Graph, GraphModule

from passprint import PassManager
from passprint.passes.library import ALL, DEFAULT, FuseSiluAndMul

ALONE = {  # matches of each pass alone on a decoder layer's graph, by attention implementation
    "sdpa": {
        "NoopElimination": 0,
        "FoldReshapes": 4,
        "FoldPermutes": 0,
        "DropClones": 2,
        "DedupeExpressions": 3,
        "FuseRMSNorm": 2,
        "FuseSiluAndMul": 1,
    },
    "eager": {
        "NoopElimination": 4,
        "FoldReshapes": 4,
        "FoldPermutes": 0,
        "DropClones": 4,
        "DedupeExpressions": 3,
        "FuseRMSNorm": 2,
        "FuseSiluAndMul": 1,
    },
}


def vary(arguments):
    hidden, cos, sin, mask = arguments
    vary_length(hidden, cos, sin)
    vary_length(mask, dim=2)
    vary_length(mask, dim=3)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_matches_of_each_alone(attention, dynamic):
    run, arguments = decoder_layer(attention=attention)
    if dynamic:
        vary(arguments)
    matches = {}

    def each_on_a_copy(graph: Graph) -> None:
        for pass_type in ALL:
            copied = Graph()
            copied.output(copied.graph_copy(graph, {}))
            module = GraphModule(graph.owning_module, copied)
            recorder = Recorder(pass_type())
            recorder(module.graph)
            matches.update(recorder.matches)
            assert recorder.guards_added == 0

    with torch.no_grad():
        optimised(run, each_on_a_copy)[0](*arguments)
    assert matches == ALONE[attention]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_all_together(dynamic, dtype):
    run, arguments = decoder_layer(dtype)
    expected = run(*arguments)
    if dynamic:
        vary(arguments)
    compiled, recorder = optimised(run, *(pass_type() for pass_type in ALL))
    with torch.no_grad():
        torch.testing.assert_close(compiled(*arguments), expected)
    assert recorder.matches == ALONE["sdpa"]
    assert recorder.guards_added == 0


def test_training():
    run, arguments = decoder_layer()
    hidden = arguments[0].requires_grad_()
    (expected,) = torch.autograd.grad(run(*arguments).square().sum(), hidden)
    compiled, recorder = optimised(run, *(pass_type() for pass_type in DEFAULT))
    (actual,) = torch.autograd.grad(compiled(*arguments).square().sum(), hidden)
    torch.testing.assert_close(actual, expected)
    assert len(recorder.graphs) == 2
    assert all(recorder.matches[name] for name in ("FoldReshapes", "FoldPermutes", "DropClones"))


class Written(Exception):
    """Ends a compile when the code is written and nothing is built."""


def generated_code(run, arguments, passes) -> str:
    """What Inductor writes, without comments and without the names that kernels are given; builds nothing."""

    def stop(code: str) -> None:
        raise Written(code)

    torch._dynamo.reset()
    with (
        config.patch(post_grad_custom_post_pass=PassManager(passes)),
        torch.compiler.config.patch(force_disable_caches=True),
        mock.patch.object(GraphLowering, "save_output_code", stop),
        torch.no_grad(),
        pytest.raises(torch._dynamo.exc.BackendCompilerFailed) as caught,
    ):
        torch.compile(run, fullgraph=True)(*arguments)
    assert isinstance(caught.value.inner_exception, Written)
    (code,) = caught.value.inner_exception.args
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("#", "//"))]
    return re.sub(r"cpp_fused\w*?_(\d+)\b", r"kernel_\1", "\n".join(lines))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_the_default_passes_cost_nothing(dynamic):
    run, arguments = decoder_layer()
    if dynamic:
        vary(arguments)
    without = generated_code(run, arguments, [])
    assert "cpp_fused" not in without
    assert "kernel_0" in without
    assert generated_code(run, arguments, [pass_type() for pass_type in DEFAULT]) == without
    assert generated_code(run, arguments, [FuseSiluAndMul()]) != without


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_generated_code(dynamic):
    run, arguments = decoder_layer()
    expected = run(*arguments)
    if dynamic:
        vary(arguments)
    torch._dynamo.reset()
    recorder = Recorder(*(pass_type() for pass_type in ALL))
    with config.patch(post_grad_custom_post_pass=recorder, force_disable_caches=True), torch.no_grad():
        actual = torch.compile(run, fullgraph=True)(*arguments)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert recorder.matches == ALONE["sdpa"]
