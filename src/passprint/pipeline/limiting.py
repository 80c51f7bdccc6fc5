"""The first n rewrites of a pipeline: a pass that would make more is stopped after the last one allowed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch.fx import Graph, GraphModule, Node

from passprint.passes import CompileRange, PassContext, PatternPass, RewriteCounter, pass_context
from passprint.passes.torch_door import sort_topologically, watching
from passprint.pipeline.running import name_of

Run = Callable[[Any, Graph, PassContext], None]


class LimitWarning(UserWarning):
    """The rewrites of a pass cannot be told apart, so a limit that falls between them leaves out all of them."""


class _Enough(BaseException):
    """Stops a pass; no Exception, so that no pass catches it."""


def run_limited(pass_: Any, graph: Graph, context: PassContext, run: Run) -> None:
    """Run ``pass_`` by ``run``, but make no more than ``context.rewrites_left`` rewrites, which are counted down.

    A pattern pass stops between matches. Another pass is first tried on a copy; if it makes too many rewrites, it is
    stopped at the first one too many, as far as it replaces or erases nodes. A pass that edits nodes in place cannot be
    stopped: then none of its rewrites is made, with a LimitWarning.
    """
    left = context.rewrites_left
    if not left:
        return
    if isinstance(pass_, PatternPass):
        run(pass_, graph, context)  # counts down itself, match by match
        return
    copy = _copied(graph)
    wanted = _rewrites(pass_, copy, context.compile_range, context.is_inference)
    if wanted > left:
        stopped = _Stopped(pass_, left)
        backup = _copied(graph)
        run(stopped, graph, context)
        if not stopped.was_stopped:
            _restore(graph, backup)
            warnings.warn(
                f"a limit falls inside the pass '{name_of(pass_)}', which makes {wanted} rewrites of which {left} are allowed "
                "and which edits nodes in place, so its rewrites cannot be told apart: none of them is made",
                LimitWarning,
                stacklevel=2,
            )
        context.rewrites_left = 0
    else:
        run(pass_, graph, context)
        context.rewrites_left = left - wanted


class _Stopped:
    """A pass that is stopped at the first rewrite beyond ``allowed``. It has the pass's name."""

    def __init__(self, pass_: Any, allowed: int) -> None:
        self.name = name_of(pass_)
        self.was_stopped = False
        self._pass = pass_
        self._allowed = allowed
        self._replaced: set[Node] = set()
        self._bereft: set[Node] = set()

    def __str__(self) -> str:
        return str(self._pass)

    def __call__(self, graph: Graph) -> object:
        module = graph.owning_module
        before = set(graph.nodes)
        if not isinstance(module, GraphModule):
            return self._pass(graph)
        try:
            with watching(module, self._on_replace, self._on_erase):
                return self._pass(graph)
        except _Enough:
            self.was_stopped = True
            _clear(graph, before)
            sort_topologically(graph)
        return None

    def _on_replace(self, old: Node, new: str, user: Node) -> None:
        self._count(old)

    def _on_erase(self, node: Node) -> None:
        # a node that only a replaced or erased one had used goes with it
        if node not in self._bereft:
            self._count(node)
        self._bereft.update(node.all_input_nodes)

    def _count(self, node: Node) -> None:
        if node in self._replaced:
            return
        if len(self._replaced) == self._allowed:
            raise _Enough
        self._replaced.add(node)


def _rewrites(pass_: Any, graph: Graph, compile_range: CompileRange, is_inference: bool | None) -> int:
    with pass_context(compile_range) as context, RewriteCounter(graph) as counter:
        context.is_inference = is_inference
        pass_(graph)
    return counter.rewrites


def _copied(graph: Graph) -> Graph:
    """A copy of the graph; it belongs to a module of its own if the graph belongs to one."""
    copied = Graph()
    result = copied.graph_copy(graph, {})
    last = next(reversed(graph.nodes))
    if last.op == "output":
        copied.output(result).meta.update(last.meta)
    if isinstance(graph.owning_module, GraphModule):
        return GraphModule(graph.owning_module, copied).graph
    return copied


def _restore(graph: Graph, backup: Graph) -> None:
    """Make ``graph`` a copy of ``backup`` again."""
    for node in reversed(list(graph.nodes)):
        graph.erase_node(node)
    result = graph.graph_copy(backup, {})
    last = next(reversed(backup.nodes))
    if last.op == "output":
        graph.output(result).meta.update(last.meta)


def _clear(graph: Graph, before: set[Node]) -> None:
    """Take away what a rewrite that was not finished has put there."""
    for node in reversed(list(graph.nodes)):
        if node not in before and not node.users and not node.is_impure():
            graph.erase_node(node)
