"""Running one pass: whatever it does wrong is found here, and the error names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from passprint.errors import PassError
from passprint.passes import CompileRange, PassContext, RewriteCounter, pass_context
from passprint.passes.annotations import CannotCompute, fill_missing
from passprint.passes.naming import name_of
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.instruments.chosen import from_environment
from passprint.pipeline.instruments.session import Session, active
from passprint.pipeline.limits import Limit, limit_text, process_limit
from passprint.pipeline.snapshots import copy_graph
from passprint.pipeline.watching import Watch

#: How many lines of the graph an error shows around the node to blame.
_EXCERPT = 3


@contextmanager
def pipeline_run(
    manager: Any, instruments: Sequence[Instrument], graph: torch.fx.Graph, context: PassContext
) -> Iterator[None]:
    """Around the passes of ``manager``: its instruments listen, beside those of the managers around it."""
    outer = active.get()
    if outer is None:
        instruments = (*from_environment.get(), *instruments)
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
    )
    session.within = (*session.within, run)
    token = active.enter(session)
    try:
        session.notify("before_pipeline", run)
        yield
        session.notify("after_pipeline", run)
    finally:
        active.leave(token)


def skip_pass(pass_: Any, reason: str) -> None:
    """Tell whoever listens that ``pass_`` was left out, and why."""
    session = active.get()
    if session is not None:
        session.notify("on_skip", pass_, reason, session.within[-1])


def run_pass(pass_: Any, graph: torch.fx.Graph, context: PassContext) -> None:
    """Run ``pass_`` on ``graph`` and count its rewrites in ``context``; raises PassError for a fault.

    Whoever listens is told. ``PASSPRINT_LIMIT`` may leave the pass out, or some of its rewrites.
    """
    session, limit = active.get(), process_limit.get()
    if limit is not None and not _may_run(pass_, graph, limit):
        skip_pass(pass_, f"PASSPRINT_LIMIT={limit_text()} is reached")
        return
    name = name_of(pass_)
    if session is None and limit is None:
        _run(pass_, name, graph, context, None)
        return
    run = PassRun(
        pass_=pass_,
        name=name,
        graph=graph,
        context=context,
        within=session.within if session is not None else (),
        position=session.next_position() if session is not None else 0,
        nodes_before=len(graph.nodes),
    )
    watch = Watch(run, session, limit)
    outer, context.watch = context.watch, watch
    try:
        if session is not None:
            session.notify("before_pass", run)
        _run(pass_, name, graph, context, watch)
        if session is not None:
            session.notify("after_pass", run)
    except PassError as error:
        if session is not None:
            session.notify("on_error", run, error)
        raise
    finally:
        context.watch = outer


def _run(pass_: Any, name: str, graph: torch.fx.Graph, context: PassContext, watch: Watch | None) -> None:
    patterns_before = _patterns(context, name)
    if watch is not None:
        watch.begin()
    start = perf_counter()
    counter = RewriteCounter(graph, None if watch is None else watch.replaced)
    try:
        with counter:
            result = pass_(graph)
            seconds = perf_counter() - start
    except PassError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PassError(
            f"the pass '{name}' raised {reason}; the error it came from is shown above",
            pass_name=name,
            reason=reason,
        ) from error
    if result is not None:
        raise _returned_something(name, result)
    if counter.changed:
        _check(name, graph)
        if getattr(pass_, "fill_meta", False):
            _fill(name, graph)
    patterns = {
        key.removeprefix(f"{name}/"): count - patterns_before.get(key, 0)
        for key, count in _patterns(context, name).items()
    }
    matches = sum(patterns.values()) if patterns else counter.rewrites
    context.count(name, matches)
    if watch is not None:
        watch.finish(counter, matches, patterns, seconds)


def _may_run(pass_: Any, graph: torch.fx.Graph, limit: Limit) -> bool:
    """Whether the limit lets the pass run. One that cannot stop half-way is tried on a copy first."""
    if not limit.begin_pass():
        return False
    remaining = limit.remaining
    if remaining is None or getattr(pass_, "asks_before_rewrites", False):
        return True
    if remaining == 0:
        return False
    copy = copy_graph(graph)
    with RewriteCounter(copy) as counter, pass_context(CompileRange.any()):
        pass_(copy)
    return limit.take(counter.rewrites)


def _patterns(context: PassContext, name: str) -> dict[str, int]:
    return {key: count for key, count in context.matches.items() if key.startswith(f"{name}/")}


def _returned_something(name: str, result: object) -> PassError:
    kind = type(result).__name__
    reason = f"its __call__ returned a {kind}"
    return PassError(
        f"the pass '{name}' is not valid: {reason}, and a pass must return nothing. Change the graph that "
        "was given, in place, and drop the return (torch would ignore it: a new graph would be lost)",
        pass_name=name,
        reason=reason,
    )


def _check(name: str, graph: torch.fx.Graph) -> None:
    try:
        graph.lint()
    except (RuntimeError, ValueError, AttributeError) as error:
        node, reason = _find_fault(graph)
        reason = reason or str(error).splitlines()[0]
        raise PassError(
            f"the pass '{name}' broke the graph: {reason}\n{_excerpt(graph, node)}\n"
            "Insert new nodes before their first use (graph.inserting_before(...)), and erase a node only "
            "after all its uses were replaced",
            pass_name=name,
            node=None if node is None else node.name,
            reason=reason,
        ) from error


def _fill(name: str, graph: torch.fx.Graph) -> None:
    try:
        fill_missing(graph)
    except CannotCompute as error:
        raise PassError(
            f"the pass '{name}' asks for meta['val'] to be filled in (fill_meta), which cannot be done: {error}. "
            "Every argument of a new node must be annotated, and its operator must take them",
            pass_name=name,
            reason=str(error),
        ) from error


def _find_fault(graph: torch.fx.Graph) -> tuple[torch.fx.Node | None, str]:
    """The first node that uses what is not there yet, gone, or from elsewhere."""
    seen: set[torch.fx.Node] = set()
    here = set(graph.nodes)
    for node in graph.nodes:
        for used in node.all_input_nodes:
            if used in seen:
                continue
            if used in here:
                return node, f"node '{node.name}' uses '{used.name}', which comes after it"
            if used.graph is not graph:
                return node, f"node '{node.name}' uses '{used.name}', which belongs to another graph"
            return node, f"node '{node.name}' uses '{used.name}', which was erased"
        seen.add(node)
    return None, ""


def _excerpt(graph: torch.fx.Graph, node: torch.fx.Node | None) -> str:
    nodes = list(graph.nodes)
    if node is None:
        return f"The graph has {len(nodes)} nodes."
    at = nodes.index(node)
    lines = []
    for position in range(max(0, at - _EXCERPT), min(len(nodes), at + _EXCERPT + 1)):
        mark = ">" if position == at else " "
        lines.append(f"  {mark} {nodes[position].format_node()}")
    return "\n".join(lines)
