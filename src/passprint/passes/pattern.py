"""Passes made of patterns: what to look for and what to put there, as two plain functions."""

from __future__ import annotations

import copyreg
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from passprint.errors import PipelineError
from passprint.passes import torch_door
from passprint.passes.annotations import moved_views
from passprint.passes.base import InductorPass
from passprint.passes.context import PassContext, current_pass_context
from passprint.passes.near_miss import NearMiss, argument_name, nearest_miss

if TYPE_CHECKING:
    from torch._inductor.pattern_matcher import Match


@dataclass(frozen=True)
class Pattern:
    """One rewrite, on Inductor's pattern matcher.

    ``search`` and ``replace`` take the same arguments and return the same number of results. Both are traced
    with ``example_inputs`` (tensors whose rank matters; their sizes and dtypes do not), so write them with
    the operations that the graph of the hook has, or that decompose to them.
    ``check``: a last say on a match found; it sees the real shapes through ``match.kwargs``.
    ``scalars``: arguments of ``search`` that are Python numbers in the graph, with a value for tracing that
    occurs nowhere else in the pattern.
    """

    name: str
    search: Callable[..., Any]
    replace: Callable[..., Any]
    example_inputs: Sequence[Any]
    check: Callable[[Match], bool] | None = None
    scalars: Mapping[str, float | int] = field(default_factory=dict)


class PatternPass(InductorPass):
    """A pass that replaces every match of its patterns, one pattern after another.

    Subclass it and write ``patterns()``; it is called once per instance, under fake tensors, when the pass
    first runs. Both functions of every pattern are reached from there, so they are part of the identity.
    The graph needs an owning module and ``meta["val"]`` on its nodes, as Inductor's graphs have.
    """

    # A slot and not an entry of the instance's dictionary: it is neither a field nor part of the identity.
    __slots__ = ("_matchers",)
    __fingerprint_ignore__: ClassVar[tuple[str, ...]] = ("_matchers",)

    if TYPE_CHECKING:
        _matchers: ClassVar[dict[str, torch_door.Matcher]]

    asks_before_rewrites: ClassVar[bool] = True

    @abstractmethod
    def patterns(self) -> Sequence[Pattern]:
        """The patterns of this pass, in the order in which they are applied."""

    def __call__(self, graph: torch.fx.Graph) -> None:
        context = current_pass_context()
        for name, count in self.apply(graph).items():
            if context is not None:
                context.count(f"{self.name}/{name}", count)

    def apply(self, graph: torch.fx.Graph) -> dict[str, int]:
        """Rewrite ``graph``; how often each pattern matched, by its name."""
        context = current_pass_context()
        watch = context.watch if context is not None else None
        matches: dict[str, int] = {}
        with moved_views(graph):
            for name, matcher in self._built().items():
                taking = self._taking(context, name) if context is not None else None
                matches[name], rejections = matcher.apply(graph, watch, taking)
                if context is not None:
                    self._note(context, matcher, graph, matches[name], rejections)
        if any(matches.values()):
            torch_door.sort_topologically(graph)
        return matches

    def _note(
        self,
        context: PassContext,
        matcher: torch_door.Matcher,
        graph: torch.fx.Graph,
        matches: int,
        rejections: list[torch_door.Rejection],
    ) -> None:
        """Remember how close a pattern came that has not matched, of several graphs the closest."""
        key = f"{self.name}/{matcher.name}"
        if matches or context.matches.get(key):
            context.near_misses.pop(key, None)
        elif not any(rejection.reason == "held back" for rejection in rejections):
            miss, known = nearest_miss(matcher, graph, rejections), context.near_misses.get(key)
            if miss is not None and not (isinstance(known, NearMiss) and known.matched >= miss.matched):
                context.near_misses[key] = miss

    def _taking(self, context: PassContext, name: str) -> Callable[[Match], None] | None:
        """Looks, before a match is replaced, whether a pass that comes later would have matched there too."""
        later = [one for one in context.following.get(id(self), ()) if isinstance(one, PatternPass)]
        if not later:
            return None

        def taking(match: Match) -> None:
            for other in later:
                for matcher in other.matchers():
                    pair = (f"{self.name}/{name}", f"{other.name}/{matcher.name}")
                    if pair in context.overlaps:
                        continue
                    shared = matcher.shared_with(match)
                    if shared:
                        context.overlaps[pair] = tuple(node.name for node in shared)

        return taking

    def matchers(self) -> tuple[torch_door.Matcher, ...]:
        """The patterns as they are looked for, in the order in which they are applied."""
        return tuple(self._built().values())

    def _built(self) -> dict[str, torch_door.Matcher]:
        try:
            return self._matchers
        except AttributeError:
            object.__setattr__(self, "_matchers", self._build())
            return self._matchers

    def _build(self) -> dict[str, torch_door.Matcher]:
        matchers: dict[str, torch_door.Matcher] = {}
        with torch_door.fake_tracing() as mode:
            for pattern in self.patterns():
                if not isinstance(pattern, Pattern):
                    raise PipelineError(
                        f"{type(self).__qualname__}.patterns() gave {pattern!r} ({type(pattern).__name__}); "
                        "it must return Pattern objects"
                    )
                if pattern.name in matchers:
                    raise PipelineError(
                        f"{type(self).__qualname__}.patterns() has two patterns called {pattern.name!r}; "
                        "matches are counted by name, so give each its own"
                    )
                inputs = torch_door.as_fakes(mode, pattern.example_inputs)
                matchers[pattern.name] = torch_door.Matcher(
                    pattern.name, pattern.search, pattern.replace, inputs, pattern.check, pattern.scalars
                )
                self._check_arguments(matchers[pattern.name])
        return matchers

    def _check_arguments(self, matcher: torch_door.Matcher) -> None:
        for search in matcher.searches:
            unused = {argument_name(node) for node in search.find_nodes(op="placeholder") if not node.users}
            for name in sorted(unused - matcher.scalars.keys()):  # numbers are seen as themselves
                raise PipelineError(
                    f"the pattern {matcher.name!r} of {type(self).__qualname__} does not use its argument {name!r}, "
                    "so no match could say what it is; leave it out of both functions"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        # Matchers hold traced graphs and are built again where they are needed.
        return copyreg.__newobj__, (type(self),), dict(vars(self))  # type: ignore[attr-defined]
