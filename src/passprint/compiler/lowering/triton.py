"""Triton's side of a graph for a GPU: the assembler that its binaries are named by, and what torch keeps of them.

Reached here, and why there is no public way: ``_set_triton_ptxas_path`` of ``torch._inductor.runtime.compile_tasks``,
and ``_triton_bundle`` of Inductor's ``CompiledFxGraph``. Read against torch 2.11 to 2.15, Triton 3.6 to 3.9.
"""

from __future__ import annotations

import json
from dataclasses import replace
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
_LIST = "__grp__"
"""How a list of the files of a kernel begins. Triton 3.9 compiles again where one of them is not there."""


def without_texts(graph: Any) -> None:
    """Keep of the kernels that torch bundles with a graph what is loaded: the binary and what is said of it.

    The texts that it was made from are for people, are three quarters of the bytes and name files of this machine.
    """
    bundle = getattr(graph, "_triton_bundle", None)
    for kernel in () if bundle is None else bundle.kernel_artifacts:
        kernel.artifacts[:] = [
            replace(held, payload=_shorter(held.payload)) if held.filename.startswith(_LIST) else held
            for held in kernel.artifacts
            if not held.filename.endswith(_TEXTS)
        ]


def _shorter(files: bytes) -> bytes:
    """A list of files without the texts."""
    listed = json.loads(files)
    paths = listed.get("child_paths", {})
    listed["child_paths"] = {name: path for name, path in paths.items() if not name.endswith(_TEXTS)}
    return json.dumps(listed).encode()
