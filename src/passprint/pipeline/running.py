"""Running one pass on a graph: its rewrites are counted, and whoever listens is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from passprint.errors import PassError
from passprint.passes import (
    CompileRange,
    InductorPass,
    PassContext,
    RewriteCounter,
    current_pass_context,
    is_applicable_for_range,
    pass_context,
)
from passprint.passes.naming import name_of
from passprint.pipeline import faults
from passprint.pipeline.filters import is_limited
from passprint.pipeline.instruments.base import Instrument, NotFollowedWarning, PassRun, PipelineRun
from passprint.pipeline.instruments.chosen import from_environment
from passprint.pipeline.instruments.session import Session, active
from passprint.pipeline.limits import Limit, limit_text
from passprint.pipeline.snapshots import copy_graph
from passprint.pipeline.watching import Watch
from passprint.warned import warn


@contextmanager
def context_for(is_inference: bool | None) -> Iterator[PassContext]:
    """The active context, or one for any size; passes that ask for it are told of inference."""
    context = current_pass_context()
    if context is None:
        with pass_context(CompileRange.any()) as context:
            context.is_inference = is_inference
            yield context
        return
    outer, context.is_inference = context.is_inference, is_inference
    try:
        yield context
    finally:
        context.is_inference = outer


@contextmanager
def pipeline_run(
    manager: Any,
    instruments: Sequence[Instrument],
    graph: torch.fx.Graph,
    context: PassContext,
    *,
    takes: str = "graph",
) -> Iterator[None]:
    """Around the passes of ``manager``: its instruments listen, beside those of the managers around it.

    ``takes``: what the passes are given, "graph", "nodes" (of the scheduler) or "joint module". Only instruments that
    say so hear of the others.
    """
    outer = active.get()
    if outer is None:
        instruments = (*from_environment.get(), *instruments)
    if takes != "graph":
        instruments = tuple(one for one in instruments if _follows(one, manager.hook))
    if outer is None and not instruments:
        yield
        return
    session = Session(instruments, outer)
    run = PipelineRun(
        pipeline=manager,
        label=name_of(manager) if isinstance(getattr(manager, "name", None), str) else "pipeline",
        graph=graph,
        context=context,
        depth=len(session.within),
        graph_id=session.within[0].graph_id if session.within else active.next_graph(),
        hook=manager.hook,
        parent=session.within[-1] if session.within else None,
        newcomers=session.newcomers,
    )
    session.within = (*session.within, run)
    token = active.enter(session)
    try:
        session.notify("before_pipeline", run)
        yield
        session.notify("after_pipeline", run)
    finally:
        active.leave(token)


def nobody_listens(instruments: Sequence[Instrument]) -> bool:
    """Whether a pipeline with these instruments, which is given a graph, is listened to by none."""
    return not instruments and active.get() is None and not from_environment.get()


def is_followed(manager: Any) -> bool:
    """Whether anybody follows the passes of ``manager``, or a limit counts them in this process."""
    if is_limited() or not nobody_listens(manager.instruments):
        return True
    return any(is_followed(member) for member in manager if hasattr(member, "instruments"))


def _follows(instrument: Instrument, hook: str) -> bool:
    """Whether an instrument hears of passes that are given no graph; one that should and cannot says so."""
    if not instrument.beyond_graphs and instrument.graphs_only_because:
        warn(
            f"the instrument '{instrument.name}' does not follow the passes at {hook}: "
            f"{instrument.graphs_only_because}",
            NotFollowedWarning,
        )
    return instrument.beyond_graphs


@contextmanager
def heard(run: PassRun, session: Session | None) -> Iterator[None]:
    """Around one pass: who listens is told before and after it, and of a PassError."""
    if session is None:
        yield
        return
    try:
        session.notify("before_pass", run)
        yield
        session.notify("after_pass", run)
    except PassError as error:
        session.notify("on_error", run, error)
        raise


def begun(
    pass_: Any, graph: torch.fx.Graph, context: PassContext, session: Session | None, nodes: int
) -> PassRun:
    """What is known of a pass that is about to run."""
    return PassRun(
        pass_=pass_,
        name=name_of(pass_),
        graph=graph,
        context=context,
        within=session.within if session is not None else (),
        position=session.next_position() if session is not None else 0,
        nodes_before=nodes,
    )


def skip_pass(pass_: Any, reason: str) -> None:
    """Tell whoever listens that ``pass_`` was left out, and why."""
    session = active.get()
    if session is not None:
        session.notify("on_skip", pass_, reason, session.within[-1])


def skip_for_limit(pass_: Any) -> None:
    """The same for a pass that the limit leaves out."""
    skip_pass(pass_, f"PASSPRINT_LIMIT={limit_text()} is reached")


def run_pass(pass_: Any, graph: torch.fx.Graph, context: PassContext, limit: Limit | None) -> None:
    """Run ``pass_`` on ``graph`` and count its rewrites in ``context``; raises PassError for a fault.

    Whoever listens is told. ``limit`` may leave the pass out, or some of its rewrites.
    """
    if limit is not None and not _may_run(pass_, graph, context, limit):
        skip_for_limit(pass_)
        return
    session = active.get()
    run = begun(pass_, graph, context, session, len(graph.nodes))
    watch = Watch(run, session, limit)
    outer, context.watch = context.watch, watch
    try:
        with heard(run, session):
            _run_heard(pass_, run.name, graph, context, watch)
    finally:
        context.watch = outer


# Most passes do not say for which sizes they are; asking each costs more than to see that.
_ASKED = "is_applicable_for_range"
_ALWAYS = InductorPass.is_applicable_for_range


def run_unheard(
    steps: Sequence[tuple[Any, str | None]],
    graph: torch.fx.Graph,
    context: PassContext,
    counter: RewriteCounter,
) -> None:
    """As `run_pass` for all passes of a manager, where nobody listens and nothing is limited: with one counter.

    ``steps``: as `members.steps_of` gives them.
    """
    sizes, matches = context.compile_range, context.matches
    for pass_, name in steps:
        if name is None:
            pass_._run(graph, context, None, counter)
        elif getattr(type(pass_), _ASKED, None) is _ALWAYS or is_applicable_for_range(pass_, sizes):
            before = matches.copy()
            if not counter.is_ready:
                counter.begin()
            _call(pass_, name, graph)
            if counter.end():
                _check(pass_, name, graph, counter)
                context.count(name, _matches(_patterns(name, context, before), counter))
            elif name not in matches:
                matches[name] = 0


def _run_heard(pass_: Any, name: str, graph: torch.fx.Graph, context: PassContext, watch: Watch) -> None:
    before = dict(context.matches)
    watch.begin()
    with RewriteCounter(graph, watch.replaced) as counter:
        start = perf_counter()
        _call(pass_, name, graph)
        seconds = perf_counter() - start
    if counter.changed:
        _check(pass_, name, graph, counter)
    patterns = _patterns(name, context, before)
    matches = _matches(patterns, counter)
    context.count(name, matches)
    watch.finish(counter, matches, patterns, seconds)


def _call(pass_: Any, name: str, graph: torch.fx.Graph) -> None:
    try:
        result = pass_(graph)
    except PassError:
        raise
    except Exception as error:
        raise faults.raised(name, error) from error
    if result is not None:
        raise faults.returned(
            name,
            f"a {type(result).__name__}",
            "a pass must return nothing. Change the graph that was given, in place, and drop the return (torch would "
            "ignore it: a new graph would be lost)",
        )


def _check(pass_: Any, name: str, graph: torch.fx.Graph, counter: RewriteCounter) -> None:
    faults.check_graph(name, graph, counter)
    if getattr(pass_, "fill_meta", False):
        faults.fill_annotations(name, graph)


def _patterns(name: str, context: PassContext, before: dict[str, int]) -> dict[str, int]:
    """How often each pattern of a pass matched in this run of it."""
    prefix = f"{name}/"
    return {
        key.removeprefix(prefix): count - before.get(key, 0)
        for key, count in context.matches.items()
        if key.startswith(prefix)
    }


def _matches(patterns: dict[str, int], counter: RewriteCounter) -> int:
    return sum(patterns.values()) if patterns else counter.rewrites


def _may_run(pass_: Any, graph: torch.fx.Graph, context: PassContext, limit: Limit) -> bool:
    """Whether the limit lets the pass run. One that cannot stop half-way is tried on a copy first."""
    if not limit.begin_pass():
        return False
    remaining = limit.remaining
    if remaining is None or getattr(pass_, "asks_before_rewrites", False):
        return True
    if remaining == 0:
        return False
    copy = copy_graph(graph)
    with (
        faults.named(name_of(pass_)),
        RewriteCounter(copy) as counter,
        pass_context(context.compile_range) as inner,
    ):
        inner.is_inference = context.is_inference
        pass_(copy)
    return limit.take(counter.rewrites)
