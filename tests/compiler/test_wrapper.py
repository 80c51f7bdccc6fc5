"""The portable form of Inductor's generated wrapper."""

from __future__ import annotations

import ast
from contextlib import nullcontext

import pytest
import torch

from passprint.compiler.artifacts.kernels import assert_tensor_metadata
from passprint.compiler.artifacts.wrapper import Kernel, kernel_names, make_portable

GENERATED = '''
# AOT ID: ['0_inference']
"""
Compile-time auto-tuning block
"""
from ctypes import c_void_p
import torch
from torch._inductor.hooks import run_intermediate_hooks
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.select_algorithm import extern_kernels
empty_strided_cpu = torch._C._dynamo.guards._empty_strided_cpu
async_compile = AsyncCompile()
cpp_fused_add_0 = async_compile.cpp_pybinding(['float*'], r\'\'\'
extern "C" void kernel(float* out) { out[0] = 1; }
\'\'\')
async_compile.wait(globals())
del async_compile

def call(args):
    arg0, arg1 = args
    args.clear()
    buf = empty_strided_cpu((2, 2), (2, 1), torch.float32)
    extern_kernels.EXTERN(arg0, arg1, out=buf)
    cpp_fused_add_0(buf)
    return (buf,)

def get_args():
    from torch._dynamo.testing import rand_strided
    return []

if __name__ == "__main__":
    print(get_args())
'''


def portable(extern: str = "mm", extra: str = "") -> tuple[str, tuple[str, ...]]:
    source = GENERATED.replace("EXTERN", extern).replace(
        "    return (buf,)", f"    {extra}\n    return (buf,)"
    )
    done = make_portable(source, {"cpp_fused_add_0": Kernel("k.so")}, frozenset({"mm", "bmm"}))
    ast.parse(done.source)
    return done.source, done.imports


def test_kernels_are_found_by_name() -> None:
    assert kernel_names(GENERATED) == ["cpp_fused_add_0"]


def test_kernels_are_loaded_by_file_and_nothing_of_the_compiler_is_imported() -> None:
    source, imports = portable()
    assert "__passprint_kernel__('k.so')" in source
    assert imports == ()
    for gone in ("_inductor", "AsyncCompile", 'extern "C"', "__main__", "get_args", "rand_strided"):
        assert gone not in source
    assert "torch.mm(arg0, arg1, out=buf)" in source


def test_a_kernel_that_is_not_torchs_own_keeps_its_import() -> None:
    source, imports = portable(extern="bias_addmm")
    assert imports == ("torch._inductor.select_algorithm",)
    assert "extern_kernels.bias_addmm" in source


def test_a_kernel_of_another_kind_keeps_the_builder() -> None:
    source = GENERATED.replace("EXTERN", "mm").replace(
        "async_compile.wait(", "other = async_compile.triton('other', '...')\nasync_compile.wait("
    )
    done = make_portable(source, {"cpp_fused_add_0": Kernel("k.so")}, frozenset({"mm"}))
    assert "torch._inductor.async_compile" in done.imports
    assert "async_compile.wait(globals())" in done.source
    assert not done.self_contained


def test_a_helper_that_is_used_keeps_its_import() -> None:
    _, imports = portable(extra="run_intermediate_hooks('buf', buf)")
    assert imports == ("torch._inductor.hooks",)


def test_a_helper_that_passprint_has_as_well_is_its_own() -> None:
    runtime = "torch._inductor.runtime.runtime_utils"
    source = GENERATED.replace("EXTERN", "mm").replace(
        "    return (buf,)",
        "    assert_tensor_metadata(buf, (2, 2), (2, 1), torch.float32, 'mine')\n    return (buf,)",
    )
    source = f"from {runtime} import assert_tensor_metadata, other\n{source}"
    for helpers, own in (({"assert_tensor_metadata": runtime}, True), ({}, False)):
        done = make_portable(source, {"cpp_fused_add_0": Kernel("k.so")}, frozenset({"mm"}), helpers)
        assert done.self_contained is own
        assert (
            "from passprint.compiler.artifacts.kernels import assert_tensor_metadata" in done.source
        ) is own


@pytest.mark.parametrize(
    ("size", "dtype", "error"),
    [
        ((2, 3), torch.int32, RuntimeError),
        ((3, 2), torch.float32, AssertionError),
        ((2, 3), torch.float32, None),
    ],
)
def test_what_an_operator_gives_is_checked(
    size: tuple[int, int], dtype: torch.dtype, error: type[Exception] | None
) -> None:
    with pytest.raises(error, match="mine") if error else nullcontext():
        assert_tensor_metadata(torch.zeros(2, 3), size, (3, 1), dtype, "mine")
    assert_tensor_metadata(None, size, (3, 1), dtype)
