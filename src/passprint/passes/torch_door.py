"""The one place of this room that touches private torch names; those of FX graphs are in ``torch_graphs.py``.

Read and run on torch 2.11, 2.12 and 2.13. ``tests/passes/test_passes_torch_door.py`` fails with the name that
moved when a newer torch no longer has what stands here.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from passprint.errors import PipelineError
from passprint.passes.context import RewriteWatch
from passprint.passes.inductor_bases import base_classes
from passprint.passes.torch_graphs import hearing_of_replacements, is_erased
from passprint.wording import many

if TYPE_CHECKING:
    from torch._inductor.custom_graph_pass import (  # the base classes that Inductor's caches ask for
        CustomGraphModulePass,
        CustomGraphPass,
        CustomInferenceAwareGraphPass,
        CustomPartitionerFn,
        CustomSchedulerPass,
    )
    from torch._inductor.pattern_matcher import Match
    from torch._subclasses.fake_tensor import FakeTensorMode
else:
    custom_graph_pass = base_classes()
    CustomGraphModulePass = custom_graph_pass.CustomGraphModulePass
    CustomGraphPass = custom_graph_pass.CustomGraphPass
    CustomPartitionerFn = custom_graph_pass.CustomPartitionerFn

    class _NoInferenceAwarePass(CustomGraphPass):
        """Stands in on torch 2.11, which tells no pass whether it compiles for inference."""

    class _NoSchedulerPass(CustomGraphPass):
        """Stands in before torch 2.13, whose cache takes a scheduler pass if it is a graph pass."""

    CustomInferenceAwareGraphPass = getattr(
        custom_graph_pass, "CustomInferenceAwareGraphPass", _NoInferenceAwarePass
    )
    CustomSchedulerPass = getattr(custom_graph_pass, "CustomSchedulerPass", _NoSchedulerPass)

__all__ = [
    "CustomGraphPass",
    "Matcher",
    "Rejection",
    "CustomGraphModulePass",
    "CustomInferenceAwareGraphPass",
    "CustomPartitionerFn",
    "CustomSchedulerPass",
    "as_fake",
    "as_fakes",
    "fake_mode_of",
    "fake_tracing",
    "hearing_of_replacements",
    "is_erased",
    "propagating",
    "sort_topologically",
]


@contextmanager
def fake_tracing() -> Iterator[FakeTensorMode]:
    """A fresh fake-tensor mode outside of whatever Inductor is tracing around us.

    Patterns are traced in the middle of a compile, where a fake mode and a tracing context of the user's
    graph are active; neither may see the example inputs.
    """
    from torch._guards import tracing
    from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

    with tracing(None), unset_fake_temporarily(), FakeTensorMode() as mode:
        yield mode


def as_fake(mode: FakeTensorMode, value: Any) -> Any:
    """``value`` as a tensor of ``mode`` if it is a real tensor, else as it is."""
    from torch._subclasses.fake_tensor import FakeTensor

    if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor):
        return mode.from_tensor(value)
    return value


def as_fakes(mode: FakeTensorMode, values: Sequence[Any]) -> list[Any]:
    """The same of several values, within ``mode``; a tensor that stands there twice becomes two."""
    fakes: list[Any] = []
    for value in values:
        fake = as_fake(mode, value)
        if isinstance(fake, torch.Tensor) and any(fake is other for other in fakes):
            # traced as one argument otherwise, and the others would have no use
            fake = fake.detach().clone().requires_grad_(fake.requires_grad)
        fakes.append(fake)
    return fakes


def fake_mode_of(value: Any) -> FakeTensorMode | None:
    """The mode of a fake tensor; None for anything else."""
    from torch._subclasses.fake_tensor import FakeTensor

    return value.fake_mode if isinstance(value, FakeTensor) else None


@contextmanager
def propagating(mode: FakeTensorMode) -> Iterator[None]:
    """Compute values in ``mode`` without leaving a trace: no guard is added, no tracing context is asked.

    An operator that refuses its arguments is not logged: who asked is told by the exception.
    """
    from torch._guards import tracing

    shape_env: Any = mode.shape_env
    quiet = shape_env.suppress_guards() if shape_env is not None else nullcontext()
    unbacked = shape_env.ignore_fresh_unbacked_symbols() if shape_env is not None else nullcontext()
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with tracing(None), mode, quiet, unbacked:
            yield
    finally:
        log.setLevel(level)


class Matcher:
    """One pattern on Inductor's pattern matcher, by itself, so that its matches count apart.

    Build it inside `fake_tracing`. ``searches`` is what it looks for, as graphs whose placeholders are the arguments:
    two where the pattern has a view in it, which Inductor calls a reshape from the post-grad passes on.
    """

    def __init__(
        self,
        name: str,
        search: Callable[..., Any],
        replace: Callable[..., Any],
        example_inputs: Sequence[Any],
        check: Callable[[Match], bool] | None,
        scalars: Mapping[str, float | int],
    ) -> None:
        from torch._inductor import pattern_matcher

        self.name = name
        self.scalars = dict(scalars)
        self._check = check
        self._attempt: ContextVar[Attempt | None] = ContextVar("passprint_attempt", default=None)
        self._matcher = pattern_matcher.PatternMatcherPass(pass_name=name)
        register = functools.partial(
            pattern_matcher.register_replacement,
            search,
            replace,
            list(example_inputs),
            pass_dicts=self._matcher,
            extra_check=self._accept,
            scalar_workaround=self.scalars or None,
        )
        self.searches = self._searched_for(register, self._trace)
        if any(map(_views, self.searches)):
            self.searches += self._searched_for(register, self._trace_with_reshapes)
        for entries in self._matcher.patterns.values():
            for entry in entries:
                self._follow(entry)

    def _searched_for(
        self, register: Callable[..., object], trace: Callable[..., torch.fx.GraphModule]
    ) -> list[torch.fx.Graph]:
        """Register the pattern as ``trace`` writes it; what torch then looks for, or nothing if it did not show it."""
        first = Attempt(None)
        token = self._attempt.set(first)
        try:
            register(trace_fn=trace)
        finally:
            self._attempt.reset(token)
        return first.traced[:1]

    def apply(
        self,
        graph: torch.fx.Graph,
        watch: RewriteWatch | None,
        taking: Callable[[Match], object] | None = None,
    ) -> tuple[int, list[Rejection]]:
        """Rewrite every match in ``graph``; how many there were, and what was nearly one.

        ``taking`` is told of each match just before it is replaced.
        """
        attempt = Attempt(watch, taking)
        token = self._attempt.set(attempt)
        try:
            return int(self._matcher.apply(graph)), attempt.rejections
        finally:
            self._attempt.reset(token)

    def find(self, graph: torch.fx.Graph) -> list[tuple[torch.fx.Node, ...]]:
        """The nodes of every match in ``graph``, which stays as it is; matches may share nodes here."""
        from torch._inductor.pattern_matcher import is_match

        found: list[tuple[torch.fx.Node, ...]] = []
        token = self._attempt.set(Attempt(None))
        try:
            for node in list(graph.nodes):
                for entry in self._matcher.patterns.get((node.op, node.target), ()):
                    match = entry.pattern.match(node)
                    if is_match(match) and entry.extra_check(match):
                        found.append(tuple(match.nodes))
        finally:
            self._attempt.reset(token)
        return found

    def shared_with(self, taken: Match) -> tuple[torch.fx.Node, ...] | None:
        """The nodes that a match of this pattern would share with ``taken``, or None; looks only around ``taken``."""
        from torch._inductor.pattern_matcher import is_match

        theirs = set(taken.nodes)
        token = self._attempt.set(Attempt(None))
        try:
            for node in _downstream(taken.nodes, len(self.searches[0].nodes) if self.searches else 1):
                for entry in self._matcher.patterns.get((node.op, node.target), ()):
                    match = entry.pattern.match(node)
                    if not is_match(match) or theirs.isdisjoint(match.nodes):
                        continue
                    if entry.extra_check(match):
                        return tuple(one for one in match.nodes if one in theirs)
        finally:
            self._attempt.reset(token)
        return None

    def _trace(self, fn: Callable[..., Any], args: Sequence[Any], **options: Any) -> torch.fx.GraphModule:
        from torch._inductor import pattern_matcher

        module = pattern_matcher.fwd_only(fn, args, **options)
        attempt = self._attempt.get()
        if attempt is not None:
            attempt.traced.append(module.graph)
        return module

    def _trace_with_reshapes(
        self, fn: Callable[..., Any], args: Sequence[Any], **options: Any
    ) -> torch.fx.GraphModule:
        module = self._trace(fn, args, **options)
        for node in _views(module.graph):
            node.target = torch.ops.aten.reshape.default
        return module

    def _accept(self, match: Match) -> bool:
        """The author's own check, the last of all; remembers that it was asked."""
        attempt = self._attempt.get()
        if attempt is None:
            return self._check is None or bool(self._check(match))
        if (
            attempt.found is not None
        ):  # torch 2.11 and 2.12 leave the scalars out of the match that they ask about
            for name in self.scalars:
                match.kwargs.setdefault(name, attempt.found.kwargs.get(name))
        attempt.checked = True
        attempt.fits = self._check is None or bool(self._check(match))
        return attempt.fits

    def _check_results(self, match: Match) -> None:
        """Raise PipelineError where the replacement gives more or fewer results, on which torch fails or loses some."""
        counts = [
            len(torch.utils._pytree.tree_leaves(next(iter(reversed(graph.nodes))).args))
            for graph in (self.searches[0], getattr(match.replacement_graph, "graph", None))
            if graph is not None
        ]
        if len(set(counts)) > 1:
            raise PipelineError(
                f"the pattern {self.name!r} finds {many(counts[0], 'result')}, and its replacement gives {counts[1]}; "
                "both functions must return as many"
            )

    def _follow(self, entry: Any) -> None:
        """Ask and tell whoever watches the rewrites, and keep a note of each match that came to nothing."""
        accepts, apply = entry.extra_check, entry.apply

        def checked(match: Match) -> bool:
            attempt = self._attempt.get()
            if attempt is None:
                return bool(accepts(match))
            attempt.found = match
            node = match.output_node()
            bare = _without_value(match)
            if bare is not None:
                attempt.rejections.append(Rejection(bare, "missing", None))
                return False
            attempt.begin()
            if not accepts(match):
                reason = "check" if attempt.checked else "sizes"
                attempt.rejections.append(
                    Rejection(node, reason, attempt.traced[0] if attempt.traced else None)
                )
                return False
            self._check_results(match)
            if attempt.watch is None or attempt.watch.allows(self.name, node):
                return True
            attempt.rejections.append(Rejection(node, "held back", None))
            return False

        def applied(match: Match, graph: torch.fx.Graph, node: torch.fx.Node) -> None:
            attempt = self._attempt.get()
            last = match.output_node()
            if attempt is not None and attempt.taking is not None:
                attempt.taking(match)
            apply(match, graph, node)
            if attempt is not None and attempt.watch is not None:
                attempt.watch.done(self.name, last)

        entry.extra_check, entry.apply = checked, applied


@dataclass(frozen=True)
class Rejection:
    """A place where the whole pattern stood and was not replaced.

    ``reason``: "missing" (``node`` has no ``meta["val"]``), "sizes" (traced with the real shapes and dtypes, which
    gave ``traced``, the pattern is another), "check" (the author's check said no), or "held back" (by whoever watches).
    """

    node: torch.fx.Node
    reason: str
    traced: torch.fx.Graph | None


class Attempt:
    """What happens while a pattern is applied to one graph."""

    def __init__(self, watch: RewriteWatch | None, taking: Callable[[Match], object] | None = None) -> None:
        self.watch = watch
        self.taking = taking
        self.rejections: list[Rejection] = []
        self.found: Match | None = None
        self.begin()

    def begin(self) -> None:
        """A match was found and is about to be checked."""
        self.traced: list[torch.fx.Graph] = []
        self.checked = False
        self.fits = False


def _views(graph: torch.fx.Graph) -> tuple[torch.fx.Node, ...]:
    """What Inductor makes a reshape where it starts on the post-grad passes, as a view may not fit another layout."""
    return tuple(graph.find_nodes(op="call_function", target=torch.ops.aten.view.default))


def _downstream(nodes: Sequence[torch.fx.Node], steps: int) -> Iterator[torch.fx.Node]:
    """``nodes`` and what uses them, directly or through so many others."""
    seen = dict.fromkeys(nodes)
    edge = list(nodes)
    yield from edge
    for _ in range(steps):
        edge = [user for node in edge for user in node.users if user not in seen]
        seen.update(dict.fromkeys(edge))
        yield from dict.fromkeys(edge)


def _without_value(match: Match) -> torch.fx.Node | None:
    """An argument of the match that is not annotated, which torch would raise a KeyError for."""
    values = torch.utils._pytree.tree_leaves((match.args, match.kwargs))
    nodes = (value for value in values if isinstance(value, torch.fx.Node))
    return next((node for node in nodes if "val" not in node.meta and "example_value" not in node.meta), None)


def sort_topologically(graph: torch.fx.Graph) -> None:
    """Order the nodes by their uses; equal nodes keep their order."""
    from torch._inductor.pattern_matcher import stable_topological_sort

    stable_topological_sort(graph)
