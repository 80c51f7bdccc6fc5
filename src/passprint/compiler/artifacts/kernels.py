"""Run what is stored of a plain inference piece: a portable wrapper and its kernels as shared libraries.

Nothing of ``torch._dynamo`` or ``torch._inductor`` is imported here. ``torch._C._dynamo.guards`` is a part of torch's
binary (read against torch 2.11 to 2.15); kernels ask it for the address of a tensor's data.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from passprint.compiler.artifacts.stitched import Runnable
from passprint.compiler.lowering.joint import FIRST
from passprint.errors import CacheError

KERNEL_LOADER = "__passprint_kernel__"
"""The name by which a portable wrapper asks for a built kernel: ``__passprint_kernel__("<file>")``.

A second argument names the library's entry, where that is another one than `FIRST`.
"""


def run_wrapper(code: CodeType, path: Callable[[str], Path], label: str) -> Runnable:
    """Run a portable wrapper's module; ``path`` says where a kernel's file lies, ``label`` names it in tracebacks."""

    def kernel(name: str, entry: str = FIRST) -> Callable[..., Any]:
        return load_kernel(path(name), entry)

    namespace: dict[str, Any] = {"__name__": f"passprint.loaded.{label}", KERNEL_LOADER: kernel}
    exec(code, namespace)
    call: Runnable = namespace["call"]
    return call


@cache
def load_kernel(path: Path, entry: str = FIRST) -> Callable[..., Any]:
    """The kernel in a shared library that Inductor built: a function of tensors and integers.

    The ``entry`` of a graph's C++ wrapper is one of a list of tensors' handles.
    """
    os.environ[_DATA_PTR_VARIABLE] = str(_tensor_data_pointer())
    name = f"passprint_kernels.k{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.{entry}"
    loader = importlib.machinery.ExtensionFileLoader(name, os.fspath(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise CacheError(f"{path} is not a kernel that can be loaded")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    kernel: Callable[..., Any] = getattr(module, entry)
    return kernel


def view_of(base: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A view of ``base`` with the shape, strides and type of ``like``, an alias of it that is no view.

    As torch's own runtime gives back an output that is a view of an input (``gen_alias_from_base``): it shares the
    input's version.
    """
    if base.dtype != like.dtype:
        if base.is_conj() or base.is_neg():
            return like
        step = max(base.itemsize, like.itemsize)
        elements = base.untyped_storage().nbytes() // step * step // base.itemsize
        base = base.as_strided((elements,), (1,), 0).view(like.dtype)
    return base.as_strided(like.size(), like.stride(), like.storage_offset())


def assert_tensor_metadata(
    tensor: torch.Tensor | None,
    expected_size: tuple[int, ...],
    expected_stride: tuple[int, ...],
    expected_dtype: torch.dtype,
    op_name: str | None = None,
) -> None:
    """What a wrapper asks of the result of an operator that Inductor does not lower.

    As ``torch._inductor.runtime.runtime_utils`` of torch 2.14 has it, which imports all of the compiler. Raises
    ``RuntimeError`` for another dtype, ``AssertionError`` for other sizes or strides.
    """
    if tensor is None:
        return
    if tensor.dtype != expected_dtype:
        raise RuntimeError(
            f"{op_name or 'An operator'} gave a tensor of {tensor.dtype}, and its fake implementation said "
            f"{expected_dtype}. torch.library.opcheck tells what else differs."
        )
    _check_sizes(tensor, expected_size, expected_stride, op_name)


_check_sizes: Any = torch._C._dynamo.guards.assert_size_stride


# Inductor's bindings read the address of torch's "data pointer of a tensor" from here when they are loaded.
_DATA_PTR_VARIABLE = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"


def _tensor_data_pointer() -> int:
    """The address of torch's C function that gives a tensor's data, which generated kernels call."""
    guards: Any = torch._C._dynamo.guards
    return int(guards._torchinductor_pyobject_tensor_data_ptr)
