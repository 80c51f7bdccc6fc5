"""Triton's side of a graph for a GPU: the assembler that its binaries are named by, and what torch keeps of them.

Reached here, and why there is no public way: ``_set_triton_ptxas_path`` of ``torch._inductor.runtime.compile_tasks``,
and ``_triton_bundle`` of Inductor's ``CompiledFxGraph``. Read against torch 2.11 to 2.13, Triton 3.6 and 3.7.
"""

from __future__ import annotations

from typing import Any

import torch


def settle_assembler() -> None:
    """Let Triton's assembler be torch's from the start.

    Torch says so only when it builds a first kernel, after it has asked Triton which assembler there is. What Triton
    names its binaries by would depend on which came first, and stored binaries would not be found.
    """
    if torch.cuda.is_available():
        from torch._inductor.runtime.compile_tasks import _set_triton_ptxas_path

        _set_triton_ptxas_path()


_TEXTS = (".source", ".ttir", ".ttgir", ".llir", ".ptx")


def without_texts(graph: Any) -> None:
    """Keep of the kernels that torch bundles with a graph what is loaded: the binary and what is said of it.

    The texts that it was made from are for people, are three quarters of the bytes and name files of this machine.
    """
    bundle = getattr(graph, "_triton_bundle", None)
    for kernel in () if bundle is None else bundle.kernel_artifacts:
        kernel.artifacts[:] = [held for held in kernel.artifacts if not held.filename.endswith(_TEXTS)]
