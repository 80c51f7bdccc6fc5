"""The pass manager: one ordered list, used for running, for the identity and for printing."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.fx import Graph, GraphModule

from passprint.errors import PipelineError
from passprint.identity import Fingerprint
from passprint.passes import (
    BasePass,
    CompileRange,
    PassContext,
    PatternPass,
    RewriteCounter,
    current_pass_context,
    is_applicable_for_range,
    pass_context,
)
from passprint.passes.naming import about_of, name_of
from passprint.pipeline import mounting, running
from passprint.pipeline.alarm import alarm
from passprint.pipeline.filters import Selection, current_selection, is_limited
from passprint.pipeline.identity import PipelineIdentity
from passprint.pipeline.instruments.base import Instrument
from passprint.pipeline.instruments.chosen import checked_instruments
from passprint.pipeline.limits import Limit, environment_limit
from passprint.pipeline.members import (
    Member,
    as_members,
    check_member,
    check_partitioners,
    steps_of,
    text_of,
)
from passprint.pipeline.order import check_complete, check_order, declared_by
from passprint.pipeline.overlap import following, warn_of_overlaps
from passprint.pipeline.scheduler import cut_as_torch_does, run_partitioner, run_scheduler_pass
from passprint.pipeline.selecting import reduced
from passprint.pipeline.slots import InSlot, slot_for
from passprint.pipeline.spanning import find_hook, settle_hooks
from passprint.pipeline.torch_door import (
    DEFAULT_HOOK,
    HOOKS,
    CustomGraphPass,
    CustomInferenceAwareGraphPass,
    Hook,
    lowered_graph,
)


class PassManager(CustomGraphPass):
    """Passes in the order in which they run, at one of Inductor's hooks or at several.

    ``passes``: pass objects; managers may be nested, and torch's own kinds of passes may be among them. Managers that
    each name another hook make one pipeline that spans these hooks.
    ``hook``: "pre_grad", "joint_pre", "joint_post", "partitioner", "post_grad_pre", "post_grad_post" (also where
    nothing is said), "scheduler_pre" or "scheduler_post".
    ``instruments``: objects that watch it run (see `passprint.instruments`), or their names as text.

    Raises PipelineError for a member that is not a pass or cannot run at the hook, for an unknown hook, and for an
    order that the passes' own declarations forbid. A manager does not change.
    """

    def __init__(
        self,
        passes: Iterable[Member] = (),
        *,
        hook: str | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> None:
        members = as_members(passes)
        self._instruments = checked_instruments(instruments)
        self._named_hook = None if hook is None else find_hook(hook).name
        inner = {at: member for at, member in enumerate(members) if isinstance(member, PassManager)}
        hooks = settle_hooks(
            self._named_hook, len(members), {at: one._hook_names() for at, one in inner.items()}
        )
        self._hook: Hook | None = HOOKS[hooks[0] or DEFAULT_HOOK] if len(hooks) == 1 else None
        if len(hooks) == 1:
            self._named_hook = hooks[0]
        self._passes = tuple(self._adopted(member, at) for at, member in enumerate(members))
        self._steps = steps_of(self._passes, PassManager)
        self._identity: PipelineIdentity | None = None
        self._following: dict[int, tuple[PatternPass, ...]] | None = None
        self._skipped: tuple[Any, ...] = ()
        self._reduced: dict[Selection, PassManager] = {}
        self._slots: dict[str, InSlot] = {}
        self._is_complete = False
        if self._hook is not None and self._hook.takes == "joint module":
            check_partitioners(tuple(self.leaves()))
        check_order([declared_by(member) for member in self.leaves()])

    def _adopted(self, member: Any, position: int) -> Any:
        if not isinstance(member, PassManager):
            check_member(member, position, self._hook or HOOKS[DEFAULT_HOOK])
            return member
        if self._hook is None:
            heard = (*self._instruments, *member._instruments)
            return member._with(instruments=heard) if self._instruments else member
        return member if member._hook is self._hook else member._with(hook=self._hook.name)

    # -- what it is

    @property
    def passes(self) -> tuple[Any, ...]:
        """The members, in order. Of a pipeline that spans hooks, one manager for each hook."""
        return self._passes

    @property
    def hook(self) -> str | None:
        """Where in Inductor the pipeline runs; None for one that spans several hooks."""
        return None if self._hook is None else self._hook.name

    @property
    def hooks(self) -> tuple[str, ...]:
        """Where in Inductor the pipeline runs, in the order in which Inductor comes there."""
        return tuple(self.stages)

    @property
    def stages(self) -> dict[str, PassManager]:
        """By hook, the part of the pipeline that runs there; a pipeline at one hook is its own part."""
        if self._hook is not None:
            return {self._hook.name: self}
        return {stage._hook.name: stage for stage in self._passes}

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What watches this manager, beside what the environment asks for."""
        return self._instruments

    @property
    def asks_for_inference(self) -> bool:
        """Whether a member wants to know if the graph is compiled for inference."""
        return any(isinstance(member, CustomInferenceAwareGraphPass) for member in self.leaves())

    def _hook_names(self) -> tuple[str | None, ...]:
        return (self._named_hook,) if self._hook is not None else tuple(self.hooks)

    def leaves(self) -> Iterator[Any]:
        """The passes themselves, in order, those of nested managers included."""
        for member in self._passes:
            if isinstance(member, PassManager):
                yield from member.leaves()
            else:
                yield member

    # -- running

    def __call__(self, graph: Graph) -> None:
        """Run the passes on ``graph``, but for those whose range does not apply; raises PassError.

        Outside a `pass_context` the graph counts as compiled for any size. Raises PipelineError for a pipeline that
        does not run on one graph.
        """
        self.run(graph)

    def run(self, graph: Graph, *, is_inference: bool | None = None) -> None:
        """As a call; ``is_inference`` is what passes are told that ask for it."""
        if self._hook is None or self._hook.takes != "graph":
            raise PipelineError(
                f"the pipeline {str(self)!r} runs at {' and '.join(self.hooks)}, so it cannot be called with "
                "one graph. Mount it "
                "(manager.options(), manager.mounted()), or run one of manager.stages"
            )
        if not self._is_complete:
            self._check_complete()
        context = current_pass_context()
        if context is None:
            with pass_context(CompileRange.any()):
                self.run(graph, is_inference=is_inference)
            return
        pipeline, limit = self._selected(), environment_limit.for_graph() if is_limited() else None
        outer = context.following, context.is_inference
        context.following, context.is_inference = (
            pipeline._following or pipeline._pattern_passes(),
            is_inference,
        )
        unheard = RewriteCounter(graph)
        try:
            pipeline._run(graph, context, limit, unheard)
        finally:
            unheard.close()
            context.following, context.is_inference = outer
        alarm.graph_done(context)
        if context.overlaps:
            warn_of_overlaps(context)

    def _run(self, graph: Graph, context: PassContext, limit: Limit | None, unheard: RewriteCounter) -> None:
        if limit is None and running.nobody_listens(self._instruments):
            running.run_unheard(self._steps, graph, context, unheard)
            return
        with self._listening(graph, context):
            for pass_, name in self._steps:
                if name is None:
                    pass_._run(graph, context, limit, unheard)
                elif is_applicable_for_range(pass_, context.compile_range):
                    running.run_pass(pass_, graph, context, limit)
                else:
                    running.skip_pass(pass_, f"it does not apply to sizes {context.compile_range}")

    def _pattern_passes(self) -> dict[int, tuple[PatternPass, ...]]:
        if self._following is None:
            self._following = following(tuple(self.leaves()))
        return self._following

    @contextmanager
    def _listening(self, graph: Graph, context: PassContext) -> Iterator[None]:
        takes = "graph" if self._hook is None else self._hook.takes
        with running.pipeline_run(self, self._instruments, graph, context, takes=takes):
            for left_out in self._skipped:
                running.skip_pass(left_out, "it is not selected")
            yield

    def run_on_nodes(self, nodes: list[Any]) -> list[Any]:
        """Run a pipeline of one of the scheduler's hooks; returns the nodes as they are to go on. Raises PassError."""
        limit = environment_limit.for_graph() if is_limited() else None
        with running.context_for(None) as context:
            return self._selected()._run_on_nodes(nodes, lowered_graph(), context, limit)

    def _run_on_nodes(
        self, nodes: list[Any], graph: Graph, context: PassContext, limit: Limit | None
    ) -> list[Any]:
        with self._listening(graph, context):
            for pass_ in self._passes:
                if isinstance(pass_, PassManager):
                    nodes = pass_._run_on_nodes(nodes, graph, context, limit)
                else:
                    nodes = run_scheduler_pass(pass_, nodes, graph, context, limit)
        return nodes

    def partition(
        self, gm: GraphModule, joint_inputs: Sequence[object], **kwargs: Any
    ) -> tuple[GraphModule, GraphModule]:
        """Cut a joint graph into forward and backward with the pipeline's partitioner; with torch's if it has none."""
        limit = environment_limit.for_graph() if is_limited() else None
        pipeline = self._selected()
        with running.context_for(None) as context, pipeline._listening(gm.graph, context):
            for partitioner in pipeline.leaves():
                return run_partitioner(partitioner, gm, joint_inputs, kwargs, context, limit)
            return cut_as_torch_does(gm, joint_inputs, kwargs)

    # -- identity

    def uuid(self) -> str | None:
        """The digest of `identity()`, or None when a member has no identity (torch then does not cache).

        Asked again, it only asks the members whether they are what they were.
        """
        return self._selected().inner_identity.uuid(is_limited=is_limited())

    def identity(self) -> Fingerprint:
        """The pipeline as named parts: the hook, the range of the active context, the order, and every pass.

        A pipeline that spans hooks has one part for each. Passes that are not selected (`passprint.selected`)
        do not count; ``PASSPRINT_LIMIT=17`` is a part. ``opaque`` of the result lists what cannot be identified. Raises
        PipelineError when a pass that brings its own uuid has none, and while a limit counts over the whole process
        (``PASSPRINT_LIMIT=passes=5``).
        """
        return self._selected().inner_identity.tree(is_limited=is_limited())

    @property
    def inner_identity(self) -> PipelineIdentity:
        """What this manager is inside another one, which sees to selections and limits."""
        if self._identity is None:
            self._identity = PipelineIdentity(self, self._extra_identity())
        return self._identity

    def _extra_identity(self) -> dict[str, object]:
        return {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PassManager):
            return NotImplemented
        return type(self) is type(other) and self._passes == other._passes and self._hook == other._hook

    def __hash__(self) -> int:
        return hash((self._hook, tuple(map(name_of, self._passes))))

    # -- text

    def __str__(self) -> str:
        if self._hook is None:
            return ",".join(f"{HOOKS[hook].text}({stage._body()})" for hook, stage in self.stages.items())
        return self._body() if self._hook.name == DEFAULT_HOOK else f"{self._hook.text}({self._body()})"

    def _body(self) -> str:
        return ",".join(
            pass_._own_text() if isinstance(pass_, PassManager) else text_of(pass_) for pass_ in self._passes
        )

    def _own_text(self) -> str:
        """The text of this manager inside another one."""
        return f"({self._body()})"

    def _repr_html_(self) -> str | None:
        """For a notebook."""
        from passprint.shown import snippet

        passes = [{"text": text_of(one), "about": about_of(one)} for one in self.leaves()]
        return snippet("pipeline", {"text": str(self), "hooks": self.hooks, "passes": passes})

    def __repr__(self) -> str:
        return f"PassManager.parse({str(self)!r})"

    @classmethod
    def parse(cls, text: str, *, hook: str | None = None, passes: Iterable[BasePass] = ()) -> PassManager:
        """The pipeline that ``text`` spells: ``"fuse-rms-norm{eps=1e-05},fixed-point(max=4){fold-reshapes}"``.

        ``hook``: where it runs, unless the text says so itself: ``"pre-grad(…),post-grad-post(…)"``.
        Names are looked up in the registry, and first among ``passes``, objects that no class stands for
        (such as functions made passes by `graph_pass`). Raises PipelineError with a caret under the mistake.
        """
        from passprint.pipeline.text import parse_pipeline

        manager = parse_pipeline(text, hook, {pass_.name: pass_ for pass_ in passes})
        manager._check_complete()
        return manager

    # -- mounting

    def options(self) -> dict[str, Any]:
        """For ``torch.compile(model, options=manager.options())``: this pipeline, for that call only."""
        self._check_complete()
        return {HOOKS[hook].slot: stage._in_slot(hook) for hook, stage in self.stages.items()}

    @contextmanager
    def mounted(self, place: str = "after") -> Iterator[None]:
        """Within the ``with`` block, whatever this thread compiles runs this pipeline.

        Passes that were in a slot keep running, before this pipeline (``place="after"``) or after it (``"before"``);
        after the block they stand there alone again. torch compiles at the first call of a compiled function: it
        belongs in the block. Raises PipelineError where a slot takes one party only and is taken, and at the end of the
        block if somebody else has taken the pipeline's place in between.
        """
        self._check_complete()
        with alarm.compile(), mounting.mounted(self.stages, place):
            yield

    def install(self, place: str = "after") -> mounting.Installation:
        """Mount this pipeline for the whole process, until ``remove()`` of what is returned.

        Every thread runs it that has not put something into the slots itself. Raises as `mounted` does.
        """
        self._check_complete()
        return mounting.Installation(self.stages, place)

    def _in_slot(self, hook: str) -> InSlot:
        # one object for one manager: torch compiles again for options that are not equal
        if hook not in self._slots:
            self._slots[hook] = slot_for(self, HOOKS[hook])
        return self._slots[hook]

    def _check_complete(self) -> None:
        # Only here and not when it is built: what a member requires may stand in the pipeline that it is put into.
        if not self._is_complete:
            check_complete([declared_by(member) for member in self.leaves()])
            self._is_complete = True

    # -- variants

    def _selected(self) -> PassManager:
        """This pipeline without what the selection in force leaves out."""
        selection = current_selection()
        if selection is None:
            return self
        if selection not in self._reduced:
            selection.warn_of_unknown([name_of(leaf) for leaf in self.leaves()])
            # of a pipeline that spans hooks, each part sees to itself
            self._reduced[selection] = self if self._hook is None else reduced(self, selection)
        return self._reduced[selection]

    def _with(
        self,
        *,
        members: Sequence[Any] | None = None,
        hook: str | None = None,
        instruments: Iterable[Instrument] | None = None,
        skipped: Iterable[Any] = (),
    ) -> PassManager:
        """A copy with other members, at another hook, or watched by others; its order has been checked before."""
        other = copy.copy(self)
        other._skipped = tuple(skipped)
        if hook is not None:
            other._hook, other._named_hook = HOOKS[hook], hook
        if instruments is not None:
            other._instruments = tuple(dict.fromkeys(instruments))
        other._passes = tuple(
            other._adopted(member, at)
            for at, member in enumerate(self._passes if members is None else members)
        )
        other._steps = steps_of(other._passes, PassManager)
        other._identity = other._following = None
        return other

    def __iter__(self) -> Iterator[Any]:
        return iter(self._passes)

    def __len__(self) -> int:
        return len(self._passes)

    def __deepcopy__(self, memo: dict[int, Any]) -> PassManager:
        # Inductor deep-copies its whole configuration for each compile; a manager does not change.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_identity": None, "_following": None, "_reduced": {}, "_slots": {}}
