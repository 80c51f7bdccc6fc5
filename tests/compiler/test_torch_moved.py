"""Tells when torch moved: each private name behind ``compiler/lowering/inductor.py`` is where it was read."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest
import torch

from passprint.compiler.lowering import inductor

READ_AGAINST = ("2.11", "2.12", "2.13", "2.14", "2.15")


def test_this_torch_was_read() -> None:
    version = ".".join(torch.__version__.split(".")[:2])
    assert version in READ_AGAINST, (
        f"torch {version} is newer than what compiler/lowering/inductor.py and compiler/artifacts/wrapper.py "
        f"were read against ({', '.join(READ_AGAINST)}). Read them against it, run the tests, and add it here."
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._inductor", "standalone_compile"),
        ("torch._inductor.standalone_compile", "AOTCompiledArtifact.deserialize"),
        ("torch._inductor.codecache", "PyCodeCache.modules"),
        ("torch._inductor.select_algorithm", "extern_kernels"),
        ("torch._inductor.exc", "InductorError"),
        ("torch._dynamo.exc", "BackendCompilerFailed"),
        ("torch._dynamo.exc", "Unsupported"),
        ("torch._dynamo.utils", "dynamo_timed"),
        ("torch._dynamo.utils", "counters"),
        ("torch._dynamo", "maybe_mark_dynamic"),
        ("torch._inductor.config", "save_config_portable"),
        ("torch._functorch.config", "save_config_portable"),
        ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.produce_guards_expression"),
        ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression"),
        ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.bound_sympy"),
        ("torch.cpu", "get_capabilities"),
        ("torch._logging._internal", "trace_structured"),
    ],
)
def test_the_name_is_there(module: str, name: str) -> None:
    owner: object = importlib.import_module(module)
    for part in name.split("."):
        owner = getattr(owner, part)


def test_the_fields_that_a_plain_graph_is_told_by() -> None:
    """A field that is new in torch may mean new work at run time that the direct form would leave out."""
    from torch._functorch._aot_autograd.aot_autograd_result import GenericAOTAutogradResult
    from torch._functorch._aot_autograd.schemas import ViewAndMutationMeta
    from torch._inductor.output_code import CompiledFxGraph

    source = inspect.getsource(inductor.is_plain_inference)
    entry = {f.name for f in dataclasses.fields(GenericAOTAutogradResult)}
    assert {"compiled_fw", "compiled_bw", "maybe_subclass_meta", "dispatch_wrappers"} <= entry
    meta = {f.name for f in dataclasses.fields(ViewAndMutationMeta)} | set(vars(ViewAndMutationMeta))
    graph = {f.name for f in dataclasses.fields(CompiledFxGraph)}
    for owner, fields in (("meta.", meta), ("graph.", graph)):
        used = {part.split(owner)[1] for part in source.replace(")", " ").split() if part.startswith(owner)}
        assert used
        for name in used - {"mutated_inp_runtime_indices", "is_rng_op_functionalized"}:
            assert name in fields, f"torch no longer has {name}"


def test_the_hook_names_are_settings() -> None:
    import torch._inductor.config as config

    assert hasattr(config, "post_grad_custom_post_pass")
    assert inductor.mounted_slots() == {}


def test_the_kernels_that_are_torchs_own() -> None:
    assert {"mm", "bmm", "addmm"} <= inductor.plain_extern_kernels()
