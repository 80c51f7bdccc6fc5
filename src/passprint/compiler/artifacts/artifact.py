"""How a compiled piece is stored, and how it runs again: its kernels as built objects, no absolute path inside.

Two forms, told apart by ``meta["form"]``:

``direct``
    for an inference graph that returns no view of an input: the portable wrapper's text alone. It runs without
    importing ``torch._dynamo`` or ``torch._inductor``, and a call costs a call.
``torch``
    for everything else (training, views of inputs, Triton): torch's own serialized artifact, with its
    wrapper made portable as far as its kernels go.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from passprint.compiler.artifacts.elf import portable_library
from passprint.compiler.artifacts.kernels import (
    KERNEL_LOADER,
    assert_tensor_metadata,
    load_kernel,
    run_wrapper,
)
from passprint.compiler.artifacts.stitched import Runnable
from passprint.compiler.artifacts.wrapper import (
    Kernel,
    Wrapper,
    counting_writes,
    kernel_names,
    make_portable,
    of_tensors,
    returning_inputs,
    sharing_buffers,
    without_gradients,
)
from passprint.compiler.lowering import inductor, triton
from passprint.errors import CacheError

__all__ = ["Files", "Packed", "Runnable", "boxed", "load_kernel", "pack", "unpack"]

WRAPPER, TORCH = "wrapper.py", "artifact.pickle"


class Files(Protocol):
    """Where the files of a packed piece lie: an entry of a store, or a piece that was just compiled."""

    def read(self, name: str) -> bytes: ...

    def path(self, name: str) -> Path: ...


@dataclass(frozen=True)
class Packed:
    """A compiled piece as files: name → content, or the path of a file to be copied; ``form`` says how to run it."""

    form: str
    files: Mapping[str, bytes | Path]

    def read(self, name: str) -> bytes:
        content = self.files[name]
        return content.read_bytes() if isinstance(content, Path) else content

    def path(self, name: str) -> Path:
        content = self.files[name]
        if isinstance(content, bytes):
            raise CacheError(f"{name} has no path: it is held in memory")
        return content

    def portable(self) -> dict[str, bytes]:
        """The files as they are stored: libraries without what only the machine that built them can use."""
        return {
            name: portable_library(content) if isinstance(content, Path) else content
            for name, content in self.files.items()
        }


# ---- pack -----------------------------------------------------------------------------------------------


def pack(payload: bytes, *, grad: bool, cpp: bool = False) -> Packed:
    """Turn the serialized artifact of a piece that was compiled in this process into files to store.

    ``grad``: the calls that it serves have gradients on, which torch's own runtime would turn off around an
    inference graph. ``cpp``: its wrapper is C++, and all of its inputs are tensors.
    """
    bundle = pickle.loads(payload)
    entry = bundle[0]
    graphs = [half.result for half in (entry.compiled_fw, entry.compiled_bw) if half is not None]
    kernels: dict[str, bytes | Path] = {}
    wrappers = [_portable(graph, kernels) for graph in graphs]
    if inductor.is_plain_inference(entry) and wrappers[0].self_contained:
        source = of_tensors(wrappers[0].source) if cpp else sharing_buffers(wrappers[0].source)
        if written := inductor.written_inputs(entry):
            source = counting_writes(source, written)
        if returned := inductor.returned_inputs(entry):
            source = returning_inputs(source, returned)
        if grad and inductor.takes_gradients(entry):
            source = without_gradients(source)
        return Packed("direct", {WRAPPER: source.encode(), **kernels})
    for graph, wrapper in zip(graphs, wrappers, strict=True):
        graph.source_code = wrapper.source
        graph.cache_linemap = None
        graph.runnable_graph_str = ""  # a script for debugging that sets the environment of this machine
        triton.without_texts(graph)
    return Packed("torch", {TORCH: pickle.dumps(bundle), **kernels})


def _portable(graph: Any, kernels: dict[str, bytes | Path]) -> Wrapper:
    """The graph's wrapper in portable form; the files of its kernels are added to ``kernels``."""
    module = inductor.loaded_wrapper(graph.cache_key)
    files = {}
    for name in kernel_names(graph.source_code):
        kernel = getattr(module, name)
        built = Path(kernel.__self__.__file__)
        file = f"{built.stem.partition('.')[0]}.so"
        kernels[file] = built
        files[name] = Kernel(file, kernel.__name__)
    helpers = inductor.known_helpers(frozenset({assert_tensor_metadata.__name__}))
    return make_portable(graph.source_code, files, inductor.plain_extern_kernels(), helpers)


# ---- unpack ---------------------------------------------------------------------------------------------


def unpack(form: str, files: Files, label: str) -> Runnable:
    """Make a packed piece runnable. ``label`` names it in tracebacks.

    Raises :class:`passprint.CacheError` for a form that this version does not know.
    """
    if form == "direct":
        code = compile(files.read(WRAPPER), f"<passprint {label}>", "exec")
        return run_wrapper(code, files.path, label)
    if form == "torch":
        return boxed(_load_torch(files))
    raise CacheError(
        f"The entry has the form {form!r}; this version of passprint knows 'direct' and 'torch'."
    )


def boxed(call: Callable[..., Any]) -> Runnable:
    """Adapt a callable of positional arguments to one of a list."""

    def run(inputs: list[Any]) -> Sequence[Any]:
        outputs: Sequence[Any] = call(*inputs)
        return outputs

    return run


def _load_torch(files: Files) -> Callable[..., Any]:
    """Load torch's artifact with each kernel's place written into its wrapper, under a key of its own."""
    bundle = pickle.loads(files.read(TORCH))
    for half in (bundle[0].compiled_fw, bundle[0].compiled_bw):
        if half is not None:
            half.result.source_code = _placed(half.result.source_code, files)
            digest = hashlib.sha256(half.result.source_code.encode()).hexdigest()
            half.result.cache_key = f"c{digest[:51]}"
    return inductor.load_artifact(pickle.dumps(bundle))


def _placed(source: str, files: Files) -> str:
    places = {}
    for line in source.splitlines():
        _, marked, rest = line.partition(f"{KERNEL_LOADER}('")
        if marked:
            name = rest.partition("'")[0]
            places[name] = os.fspath(files.path(name))
    head = (
        "from pathlib import Path as __Path\n"
        "from passprint.compiler.artifacts.artifact import load_kernel as __load_kernel\n"
        f"__places = {places!r}\n"
        f"def {KERNEL_LOADER}(name, *entry):\n    return __load_kernel(__Path(__places[name]), *entry)\n"
    )
    return head + source
