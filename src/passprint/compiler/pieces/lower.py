"""One piece through Inductor, with the passes mounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from passprint.compiler.lowering import inductor, toolchain
from passprint.compiler.lowering.builds import BackgroundBuilds
from passprint.compiler.pieces import symbols
from passprint.compiler.pieces.job import Job
from passprint.compiler.pieces.partition import extract
from passprint.compiler.pieces.variants import CannotSpecialise
from passprint.errors import CompileError
from passprint.passes import pass_context
from passprint.pipeline import PassManager


def lower(
    job: Job, manager: PassManager, builds: BackgroundBuilds
) -> tuple[inductor.Artifact, dict[str, int]]:
    """What Inductor makes of a piece, and the matches by pass; compiled a second time where torch cannot serialize it.

    Builds of kernels are started in ``builds``. Raises :class:`CannotSpecialise` where the code holds for some of the
    sizes only.
    """
    serializable = job.bypass is None
    while True:
        gm = extract(job.piece, job.graph.gm)
        inputs, fake_mode = job.inputs(gm)
        mounted = manager.mounted() if manager.passes else nullcontext()
        building = builds if job.graph.device_types == ["cpu"] else nullcontext()
        try:
            with pass_context(job.compile_range) as ctx, mounted, building:
                artifact = inductor.compile_graph(gm, inputs, fake_mode=fake_mode, serializable=serializable)
        except inductor.NotSerializable:
            serializable = False
            continue
        if job.specialised and symbols.guard_count(symbols.shape_env_of(inputs)):
            raise CannotSpecialise("its code holds for a part of the range only")
        return artifact, dict(ctx.matches)


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
