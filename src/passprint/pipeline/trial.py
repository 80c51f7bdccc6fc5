"""A pipeline tried on a graph, or on a function as Inductor would compile it: what it is given, and what it
makes of it.

A function is compiled as far as the last hook of the pipeline and no further, so no kernel is built, and
nothing is cached.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch.fx import Graph, GraphModule

from passprint.errors import PipelineError
from passprint.passes import CompileRange, PassContext, pass_context
from passprint.pipeline.graph_text import cut_text, graph_text, nodes_text
from passprint.pipeline.manager import PassManager
from passprint.pipeline.overlap import Overlap, find_overlaps
from passprint.pipeline.slots import slot_for
from passprint.pipeline.torch_door import HOOKS, is_at_a_branch, slots_holding, without_caches

Subject = Graph | GraphModule | tuple[Callable[..., Any], Sequence[Any]]


@dataclass(frozen=True)
class Trial:
    """What a part of a pipeline was given at ``hook`` and what it left, as text; and its matches there.

    ``is_branch``: of a graph of control flow, for which Inductor calls the hook as well.
    """

    hook: str
    before: str
    after: str
    matches: Mapping[str, int]
    overlaps: tuple[Overlap, ...] = ()
    is_branch: bool = False

    @property
    def rewrites(self) -> int:
        """How many rewrites all passes made."""
        return sum(count for name, count in self.matches.items() if "/" not in name)


def try_pipeline(manager: PassManager, subject: Subject) -> list[Trial]:
    """Run ``manager`` on a graph (which is rewritten), or on a function with inputs at the hooks that it names.

    A function is traced to its first graph; where it trains, forward comes first and the backward is not looked at.
    Its graphs of control flow come before it, as Inductor calls a hook for each.
    Raises PassError for what a pass does wrong, and PipelineError for a graph and a pipeline over several hooks.
    """
    if isinstance(subject, tuple):
        return _compiled(manager, *subject)
    if isinstance(subject, Graph) and subject.owning_module is None:
        subject = GraphModule(torch.nn.Module(), subject)  # a module can tell of every single rewrite
    graph = subject.graph if isinstance(subject, GraphModule) else subject
    if manager.hook is None or HOOKS[manager.hook].takes != "graph":
        raise PipelineError(
            f"the pipeline '{manager}' runs at {' and '.join(manager.hooks)}, and it was given one graph. "
            "Give a function with "
            "inputs, (fn, inputs), so that there is a graph for each hook, or a pipeline for one hook that "
            "takes a graph"
        )
    with pass_context(CompileRange.any()) as context:
        return [_on_graph(manager, manager.hook, graph, context, lambda: manager(graph))]


class _Done(BaseException):
    """Ends a compile when there is nothing more to see."""


@dataclass
class _Recording:
    """Stands in the slots, with what was seen there so far. ``last``: the hook after which it is enough."""

    last: str
    context: PassContext
    trials: list[Trial] = field(default_factory=list)

    def slot(self, stage: PassManager, hook: str) -> Any:
        standing: Any = slot_for(stage, HOOKS[hook])
        run = {"graph": self._graph, "nodes": self._nodes, "joint module": self._cut}[HOOKS[hook].takes]

        class Recorded(type(standing)):  # type: ignore[misc]
            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                return run(stage, hook, standing, args, kwargs)

        return Recorded(stage)

    def _graph(self, stage: PassManager, hook: str, standing: Any, args: Any, kwargs: Any) -> None:
        trial = _on_graph(stage, hook, args[0], self.context, lambda: standing(*args, **kwargs))
        self.trials.append(replace(trial, is_branch=is_at_a_branch()))
        if not self.trials[-1].is_branch:  # the graph around it is still to come
            self._enough(hook)

    def _nodes(self, stage: PassManager, hook: str, standing: Any, args: Any, kwargs: Any) -> Any:
        before = nodes_text(args[0])
        with _counted(self.context) as matches:
            result = standing(*args)
        self.trials.append(Trial(hook, before, nodes_text(result), matches))
        self._enough(hook)
        return result

    def _cut(self, stage: PassManager, hook: str, standing: Any, args: Any, kwargs: Any) -> Any:
        before = graph_text(args[0].graph)
        with _counted(self.context) as matches:
            result = standing(*args, **kwargs)
        after = cut_text(*(module.graph for module in result))
        self.trials.append(Trial(hook, before, after, matches))
        self._enough(hook)
        return result

    def _enough(self, hook: str) -> None:
        if hook == self.last:
            raise _Done


def _compiled(manager: PassManager, fn: Callable[..., Any], inputs: Sequence[Any]) -> list[Trial]:
    stages = manager.stages
    with pass_context(CompileRange.any()) as context, without_caches():
        recording = _Recording(list(stages)[-1], context)
        with slots_holding({hook: recording.slot(stage, hook) for hook, stage in stages.items()}):
            try:
                torch.compile(fn)(*inputs)
            except _Done:
                pass
            finally:
                torch.compiler.reset()
    return recording.trials


def _on_graph(
    stage: PassManager, hook: str, graph: Graph, context: PassContext, run: Callable[[], None]
) -> Trial:
    overlaps = tuple(find_overlaps(stage._selected(), graph))
    before = graph_text(graph)
    with _counted(context) as matches:
        run()
    return Trial(hook, before, graph_text(graph), matches, overlaps)


@contextmanager
def _counted(context: PassContext) -> Iterator[dict[str, int]]:
    """The matches that are counted within the block."""
    outer, context.matches = context.matches, {}
    try:
        yield context.matches
    finally:
        context.matches = outer


# -- from the command line


def load_subject(text: str) -> Subject:
    """What ``text`` names: ``module:name`` or ``file.py:name``, or a ``.pt2`` file of ``torch.export.save``.

    The name is a graph, a GraphModule or ``(fn, inputs)``, or a function without arguments that returns one of these.
    Raises PipelineError where it is something else or is not there.
    """
    if text.endswith(".pt2"):
        return _exported(Path(text))
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise PipelineError(
            f"{text!r} names no graph. Write module:name or file.py:name (a graph, (fn, inputs), or a "
            "function that returns "
            "one), or the path of a .pt2 file"
        )
    module = _module(where)
    found = getattr(module, name, None)
    if found is None:
        raise PipelineError(f"{where} has nothing called {name!r}")
    if callable(found) and not isinstance(found, torch.nn.Module | type):
        found = found()
    if isinstance(found, Graph | GraphModule):
        return found
    if (
        isinstance(found, tuple)
        and len(found) == 2
        and callable(found[0])
        and isinstance(found[1], list | tuple)
    ):
        return found[0], found[1]
    raise PipelineError(
        f"{text} is {_told(found)}; expected a torch.fx Graph or GraphModule, or (fn, inputs) with a list of inputs"
    )


def _exported(path: Path) -> Subject:
    if not path.is_file():
        raise PipelineError(f"there is no file {path}")
    try:
        module: GraphModule = torch.export.load(path).graph_module
    except (RuntimeError, ValueError, OSError, KeyError, BadZipFile) as error:
        raise PipelineError(
            f"{path} cannot be read as a file of torch.export.save: {str(error).splitlines()[0]}"
        ) from error
    return module


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ImportError as error:
            raise PipelineError(f"the module {where!r} cannot be imported: {error}") from error
    path = Path(where)
    if not path.is_file():
        raise PipelineError(f"there is no file {path}")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known  # run again, the file would define its classes twice
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise PipelineError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(one).__name__ for one in value)}"
    return f"a {type(value).__name__}"
