"""One piece through Inductor, with the passes mounted."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from passprint.compiler.artifacts.buffers import LARGE
from passprint.compiler.lowering import inductor, toolchain
from passprint.compiler.lowering.builds import BackgroundBuilds
from passprint.compiler.pieces import symbols
from passprint.compiler.pieces.job import Job
from passprint.compiler.pieces.piece import extract
from passprint.compiler.pieces.variants import CannotSpecialise
from passprint.errors import CompileError
from passprint.passes import pass_context
from passprint.pipeline import PassManager

MORE_KNOWN = "more was known of a size that comes from data than the piece itself says"


class Lowered(NamedTuple):
    """What Inductor made of a piece, the matches by pass, and why it cannot be stored, if it cannot.

    ``pass_runs``: what each pass did, where the instrument ``record`` listened.
    """

    artifact: inductor.Artifact
    matches: dict[str, int]
    bypass: str | None
    pass_runs: Sequence[dict[str, Any]] = ()


def lower(job: Job, manager: PassManager, builds: BackgroundBuilds) -> Lowered:
    """Compile a piece in a form that can be stored, and in any other where torch has none.

    Builds of kernels are started in ``builds``. Raises :class:`CannotSpecialise` where the code holds for some of the
    sizes only.
    """
    bypass = job.bypass
    cpp = bypass is None and is_step(job)
    while True:
        gm = extract(job.piece, job.graph.gm)
        inputs, fake_mode = job.inputs(gm)
        mounted = manager.mounted() if manager.passes else nullcontext()
        building = builds if job.graph.device_types == ["cpu"] else nullcontext()
        try:
            with pass_context(job.compile_range) as ctx, mounted, building:
                artifact = inductor.compile_graph(
                    gm, inputs, fake_mode=fake_mode, serializable=bypass is None, cpp=cpp
                )
        except inductor.NotSerializable as error:
            bypass, cpp = str(error), False
            continue
        except Exception as error:
            is_torchs = inductor.own_cause(error) is None and not inductor.asks_for_another_trace(error)
            if not (cpp and is_torchs):  # what a pass raises is no matter of the wrapper
                raise
            cpp = False
            continue
        if job.specialised and symbols.guard_count(symbols.shape_env_of(inputs)):
            raise CannotSpecialise("its code holds for a part of the range only")
        if bypass is None and job.was_told_more():
            artifact, bypass = replace(artifact, payload=None), MORE_KNOWN
        if artifact.payload is None and bypass is None:
            bypass = inductor.NOT_SERIALIZABLE
        return Lowered(artifact, dict(ctx.matches), bypass, ctx.runs)


def is_step(job: Job) -> bool:
    """Whether what a call costs beside its kernels may matter, so that a wrapper in C++ is worth two seconds more.

    That is a piece on the CPU, of fixed sizes and without gradients, that writes to an input: a step of decoding,
    which writes to its caches and is called thousands of times.
    """
    values = [node.meta.get("example_value") for node in job.piece.inputs]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if len(tensors) < len(values):
        return False
    trains = torch.is_grad_enabled() and any(value.requires_grad for value in tensors)
    fixed = job.variant is None and not job.structure.symbols and job.graph.device_types == ["cpu"]
    if not fixed or trains:
        return False
    given = {storage._cdata for storage in _storages(job.piece.inputs)}
    written = [storage for node in job.piece.nodes for storage in _storages(_written(node))]
    # What is worth keeping, a wrapper in C++ would make anew each time.
    made = [storage for storage in _storages(job.piece.nodes) if storage._cdata not in given]
    return any(storage._cdata in given for storage in written) and all(s.nbytes() < LARGE for s in made)


def _storages(nodes: Iterable[Node]) -> Iterator[torch.UntypedStorage]:
    for node in nodes:
        for value in tree_leaves(node.meta.get("example_value")):
            if not isinstance(value, torch.Tensor) or inductor.is_transformed(value):
                continue  # what vmap sees of a tensor has no storage
            if value.layout is torch.strided:
                yield value.untyped_storage()


def _written(node: Node) -> list[Node]:
    """What a node of Dynamo's graph changes in place: its first argument, where its name says so."""
    name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))
    if getattr(node.target, "__module__", None) == operator.iadd.__module__:
        in_place = node.target in _IN_PLACE  # `and_` and `not_` only keep clear of keywords
    else:
        in_place = name.endswith("_") and not name.endswith("__")
    return [node.args[0]] if in_place and node.args and isinstance(node.args[0], Node) else []


_IN_PLACE = frozenset(
    getattr(operator, name)
    for name in (
        *("setitem", "iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul"),
        *("iand", "ior", "ixor", "ilshift", "irshift"),
    )
)


@contextmanager
def explained_without_compiler(job: Job) -> Iterator[None]:
    """Say what a machine without a C++ compiler can do."""
    try:
        yield
    except Exception as error:
        if toolchain.has_compiler() or not inductor.is_missing_compiler(error):
            raise
        names = " or ".join([repr(name) for name in inductor.configured_compilers()])
        raise CompileError(
            f"A part of the model ({job.piece.label}, {len(job.piece.nodes)} nodes) has to be compiled, and there "
            f"is no C++ compiler: {names} was not found. Install one, or name it in $CXX. "
            "Or bring what another machine compiled: `passprint cache export FILE` there, "
            "`passprint cache import FILE` here."
        ) from error
