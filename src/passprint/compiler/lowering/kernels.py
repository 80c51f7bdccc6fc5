"""Triton kernels of the user's in a graph, which names them by an index into a table of torch's.

The index is a matter of the process: the table fills in the order in which kernels were met. What counts is the kernel,
with all that its Python reaches, and the arguments that cannot stand in a graph.

Reached here, and why there is no public way: ``kernel_side_table`` of ``torch._higher_order_ops.triton_kernel_wrap``.
Read against torch 2.11 to 2.15.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from passprint.errors import OpaqueError
from passprint.identity import default_memo

_CALLS = frozenset({"triton_kernel_wrapper_mutation", "triton_kernel_wrapper_functional"})
_KERNEL, _ARGUMENTS = "kernel_idx", "constant_args_idx"


def indexed(node: Node) -> dict[str, str]:
    """By keyword, the identity of what a call names by an index. Raises :class:`OpaqueError` where one has none."""
    target: Any = node.target
    if (
        not isinstance(target, torch._ops.HigherOrderOperator)
        or getattr(target, "__name__", None) not in _CALLS
    ):
        return {}
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    table: Any = kernel_side_table
    kernel = table.get_kernel(node.kwargs[_KERNEL])
    arguments = table.get_constant_args(node.kwargs[_ARGUMENTS])
    return {
        _KERNEL: _digest(kernel, f"the Triton kernel {_name(kernel)}"),
        _ARGUMENTS: _digest(arguments, f"an argument of the Triton kernel {_name(kernel)}"),
    }


def _digest(value: object, told: str) -> str:
    digest = default_memo().digest(value)
    if digest is None:
        raise OpaqueError(told, default_memo().opaque_paths(value))
    return digest


def _name(kernel: Any) -> str:
    while hasattr(kernel, "fn"):  # autotuning and heuristics stand around it
        kernel = kernel.fn
    return str(getattr(kernel, "__qualname__", type(kernel).__qualname__))
