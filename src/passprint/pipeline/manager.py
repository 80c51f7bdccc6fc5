"""The pass manager: one ordered list, used for running, for the identity and for printing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from passprint.errors import PipelineError
from passprint.identity import Fingerprint, compose, default_memo
from passprint.passes import (
    CompileRange,
    InductorPass,
    PassContext,
    current_pass_context,
    is_applicable_for_range,
    pass_context,
)
from passprint.pipeline.instruments.base import Instrument
from passprint.pipeline.instruments.chosen import checked_instruments
from passprint.pipeline.limits import limit_text
from passprint.pipeline.mounting import chain
from passprint.pipeline.running import name_of, pipeline_run, run_pass, skip_pass
from passprint.pipeline.torch_door import (
    HOOKS,
    CustomGraphPass,
    CustomInferenceAwareGraphPass,
    passes_in_slot,
    slot_holding,
)


class PassManager(CustomGraphPass):
    """Passes in the order in which they run, at one of Inductor's hooks.

    ``passes``: pass objects; managers may be nested, and any ``CustomGraphPass`` may be among them.
    ``hook``: "pre_grad", "joint_pre", "joint_post", "post_grad_pre" or "post_grad_post".
    ``instruments``: objects that watch it run (see `passprint.instruments`), or their names as text.
    Raises PipelineError for a member that is not a pass and for an unknown hook. A manager does not change.
    """

    def __init__(
        self,
        passes: Iterable[CustomGraphPass] = (),
        *,
        hook: str = "post_grad_post",
        instruments: Iterable[Instrument] = (),
    ) -> None:
        if hook not in HOOKS:
            raise PipelineError(f"there is no hook called {hook!r}; it must be one of {', '.join(HOOKS)}")
        self._passes = _checked(passes)
        self._hook = hook
        self._instruments = checked_instruments(instruments)
        self._changing = tuple(one for one in self._instruments if one.changes_graph)
        self._own = tuple(pass_ for pass_ in self._passes if _has_default_uuid(pass_))
        self._known: tuple[tuple[object, ...], str] | None = None

    @property
    def passes(self) -> tuple[CustomGraphPass, ...]:
        """The members, in order."""
        return self._passes

    @property
    def hook(self) -> str:
        """Where in Inductor the pipeline runs."""
        return self._hook

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What watches this manager, beside what the environment asks for."""
        return self._instruments

    # -- running

    def __call__(self, graph: torch.fx.Graph) -> None:
        """Run the passes on ``graph``, but for those whose range does not apply; raises PassError.

        Outside a `pass_context` the graph counts as compiled for any size.
        """
        context = current_pass_context()
        if context is not None:
            self._run(graph, context)
        else:
            with pass_context(CompileRange.any()) as context:
                self._run(graph, context)

    run = __call__

    def _run(self, graph: torch.fx.Graph, context: PassContext) -> None:
        with pipeline_run(self, self._instruments, graph, context):
            for pass_ in self._passes:
                if isinstance(pass_, PassManager):
                    pass_._run(graph, context)
                elif is_applicable_for_range(pass_, context.compile_range):
                    run_pass(pass_, graph, context)
                else:
                    skip_pass(pass_, f"it does not apply to sizes {context.compile_range}")

    # -- identity

    def uuid(self) -> str | None:
        """The digest of `identity()`, or None when a member has no identity (torch then does not cache).

        Asked again, it only asks the members whether they are what they were.
        """
        parts = self._uuids()
        if parts is None:
            return None
        known = self._known
        if known is None or known[0] != parts:
            known = self._known = (parts, self.identity().digest)
        return known[1]

    def identity(self) -> Fingerprint:
        """The pipeline as named parts: the hook, the range of the active context, the order, and every pass.

        ``opaque`` of the result lists what cannot be identified. Raises PipelineError when a pass that brings its
        own uuid has none, and while ``PASSPRINT_LIMIT`` is set.
        """
        if limit_text():
            raise PipelineError(
                f"PASSPRINT_LIMIT={limit_text()} leaves out rewrites by a count over the whole process, which no key "
                "describes, so nothing is cached; unset it to cache again"
            )
        parts: dict[str, object] = {
            "hook": self._hook,
            "range": _active_range(),
            "order": tuple(name_of(pass_) for pass_ in self._passes),
        }
        for position, pass_ in enumerate(self._passes):
            parts[f"{position} {name_of(pass_)}"] = _identity_of(pass_)
        for instrument in self._changing:
            parts[f"instrument {instrument.name}"] = default_memo().fingerprint(instrument)
        return compose("pipeline", parts)

    def _uuids(self) -> tuple[object, ...] | None:
        if limit_text():
            return None
        digests = default_memo().digests((*self._own, *self._changing))
        if None in digests:
            for pass_, digest in zip(self._own, digests, strict=False):
                if digest is None:
                    pass_.uuid()  # says once what is opaque
            return None
        if len(self._own) == len(self._passes):
            return (_active_range(), *digests)
        ours = iter(digests)
        uuids = [next(ours) if _has_default_uuid(pass_) else pass_.uuid() for pass_ in self._passes]
        return (_active_range(), *uuids, *ours) if all(uuids) else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PassManager):
            return NotImplemented
        return self._passes == other._passes and self._hook == other._hook

    def __hash__(self) -> int:
        return hash((self._hook, tuple(map(name_of, self._passes))))

    # -- text

    def __str__(self) -> str:
        return ",".join(
            f"({pass_})" if isinstance(pass_, PassManager) else _text_of(pass_) for pass_ in self._passes
        )

    def __repr__(self) -> str:
        return f"PassManager.parse({str(self)!r}, hook={self._hook!r})"

    @classmethod
    def parse(
        cls, text: str, *, hook: str = "post_grad_post", passes: Iterable[InductorPass] = ()
    ) -> PassManager:
        """The pipeline that ``text`` spells: ``"fuse-rms-norm{eps=1e-05},noop-elimination"``.

        Names are looked up in the registry, and first among ``passes``, objects that no class stands for
        (such as functions made passes by `graph_pass`). Raises PipelineError with a caret under the mistake.
        """
        from passprint.pipeline.text import parse_pipeline

        return parse_pipeline(
            text, lambda members: cls(members, hook=hook), {pass_.name: pass_ for pass_ in passes}
        )

    # -- mounting

    def options(self) -> dict[str, Any]:
        """For ``torch.compile(model, options=manager.options())``: this pipeline, for that call only."""
        return {HOOKS[self._hook]: self}

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Within the ``with`` block, whatever this thread compiles runs this pipeline.

        Passes that were in the slot keep running, before this pipeline; after the block they stand there
        alone again. torch compiles at the first call of a compiled function: it belongs in the block.
        """
        with slot_holding(self._hook, chain((*passes_in_slot(self._hook), self))):
            yield

    def __iter__(self) -> Iterator[CustomGraphPass]:
        return iter(self._passes)

    def __len__(self) -> int:
        return len(self._passes)

    def __deepcopy__(self, memo: dict[int, Any]) -> PassManager:
        # Inductor deep-copies its whole configuration for each compile; a manager does not change.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": None}


def _checked(passes: object) -> tuple[CustomGraphPass, ...]:
    if isinstance(passes, str):
        raise PipelineError(
            f"a PassManager was given the text {passes!r}; it expects pass objects. "
            f"Write PassManager.parse({passes!r})"
        )
    if not isinstance(passes, Iterable):
        raise PipelineError(
            f"a PassManager was given {passes!r} ({type(passes).__name__}); it expects a list of passes, as "
            "in PassManager([FuseRMSNorm(), NoopElimination()])"
        )
    members = tuple(passes)
    for position, member in enumerate(members):
        if not isinstance(member, CustomGraphPass) or isinstance(member, CustomInferenceAwareGraphPass):
            raise PipelineError(
                f"member {position} of a PassManager is {member!r} ({type(member).__name__}), which is not a "
                f"pass. Expected an instance of InductorPass (or of CustomGraphPass): {_advice(member)}"
            )
    return members


def _advice(member: object) -> str:
    if isinstance(member, CustomInferenceAwareGraphPass):
        return "passes that torch tells whether it compiles for inference go into torch's slot themselves"
    if isinstance(member, type) and issubclass(member, CustomGraphPass):
        return f"give an instance, {member.__name__}()"
    if isinstance(member, str):
        return f"for text, write PassManager.parse({member!r})"
    if callable(member):
        return "turn a function into a pass with @passprint.graph_pass or CallableInductorPass(function)"
    return "write a class with __call__(self, graph) that inherits from passprint.InductorPass"


def _has_default_uuid(pass_: object) -> bool:
    return isinstance(pass_, InductorPass) and type(pass_).uuid is InductorPass.uuid


def _identity_of(pass_: CustomGraphPass) -> object:
    if isinstance(pass_, PassManager):
        return pass_.identity()
    if _has_default_uuid(pass_):
        return default_memo().fingerprint(pass_)
    uuid = pass_.uuid()
    if not uuid:
        raise PipelineError(
            f"the pass '{name_of(pass_)}' ({type(pass_).__qualname__}) has no uuid, so the pipeline has no "
            "identity. Let it inherit from passprint.InductorPass, or return a uuid()"
        )
    return uuid


def _active_range() -> str:
    context = current_pass_context()
    return str(context.compile_range if context is not None else CompileRange.any())


def _text_of(pass_: CustomGraphPass) -> str:
    return str(pass_) if isinstance(pass_, InductorPass) else name_of(pass_)
