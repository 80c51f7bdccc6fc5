"""Runs a pass on the graphs that Inductor hands to its post-grad hook, without generating any code.

`optimised` compiles with Inductor up to and including its post-grad passes and then runs the graph as it is,
operator by operator. The graphs are the ones of a real compile, a second of C++ compilation a kernel cheaper.
Read against torch 2.13 to 2.15: the private names are all here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor import compile_fx, config
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.virtualized import V
from torch.fx import Graph, GraphModule, Node

from passprint.passes import PatternPass, RewriteCounter

GOLDENS = Path(__file__).parent / "goldens"
UPDATE = os.environ.get("PASSPRINT_UPDATE_GOLDENS") == "1"


def render_value(value: Any) -> str:
    """``float32[2, s0]`` with strides ``(s0, 1)``, nested values in brackets."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype}{_sizes(value.shape, '[]')} strides {_sizes(value.stride(), '()')}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(render_value, value))})"
    return str(value)


def _sizes(sizes: Any, brackets: str) -> str:
    return brackets[0] + ", ".join(map(str, sizes)) + brackets[1]


class Name(str):
    """How a node is called in a text; without quotation marks in a list."""

    __slots__ = ()
    __repr__ = str.__str__


def render(graph: Graph) -> str:
    """The graph as text, one node a line, with the layout that each is annotated with.

    Names are counted anew: versions of torch do it in different ways.
    """
    names: dict[Node, Name] = {}
    count: Counter[str] = Counter()
    lines = []
    for node in graph.nodes:
        target = node.target if node.op == "call_function" else node.op
        name = (
            getattr(target, "__name__", str(target))
            if not isinstance(target, torch._ops.OpOverload)
            else target
        )
        stem = re.sub(r"(_\d+)+$", "", node.name)
        names[node] = Name(f"{stem}_{count[stem]}" if count[stem] else stem)
        count[stem] += 1
        args, kwargs = torch.fx.node.map_aggregate(
            (node.args, dict(node.kwargs)), lambda value: names.get(value, value)
        )
        arguments = [str(arg) for arg in args] + [f"{key}={value}" for key, value in kwargs.items()]
        line = f"{names[node]} = {name}({', '.join(arguments)})"
        lines.append(line if node.op == "output" else f"{line}  # {render_value(node.meta.get('val'))}")
    return "\n".join(lines) + "\n"


class Recorder(CustomGraphPass):
    """Stands on the hook: runs the passes in their order; keeps the graphs and counts matches."""

    def __init__(self, *passes: Callable[[Graph], None]) -> None:
        self.passes = passes
        self.before: list[str] = []
        self.after: list[str] = []
        self.graphs: list[Graph] = []
        self.matches: dict[str, int] = {}
        self.guards_added = 0

    def __call__(self, graph: Graph) -> None:
        self.before.append(render(graph))
        for pass_ in self.passes:
            guards = _guards(graph)
            with RewriteCounter(graph) as counter:
                assert pass_(graph) is None
            self.guards_added += _guards(graph) - guards
            name = type(pass_).__name__
            self.matches[name] = self.matches.get(name, 0) + counter.rewrites
            graph.lint()
            # Inductor's matcher leaves it to Inductor to see, after the hook, what is now a view of what.
            check_annotations(graph, memory=not isinstance(pass_, PatternPass))
        self.after.append(render(graph))
        self.graphs.append(graph)

    def uuid(self) -> None:
        return None


def _shape_env(graph: Graph) -> Any:
    return _mode_of(graph).shape_env


def _guards(graph: Graph) -> int:
    shape_env = _shape_env(graph)
    return 0 if shape_env is None else len(shape_env.guards)


def check_annotations(graph: Graph, *, memory: bool) -> None:
    """Recompute every annotation: layout and dtype must be as written, and which values share memory."""
    storages: dict[int, int] = {}
    values: dict[Any, Any] = {}
    shape_env = _shape_env(graph)
    with _mode_of(graph), shape_env.suppress_guards() if shape_env is not None else nullcontext():
        for node in graph.nodes:
            annotated = node.meta.get("val")
            if node.op != "call_function":
                values[node] = annotated
                continue
            args, kwargs = torch.fx.node.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
            assert render_value(values[node]) == render_value(annotated), node
            for recomputed, written in zip(_tensors(values[node]), _tensors(annotated), strict=True):
                ours, theirs = (tensor.untyped_storage()._cdata for tensor in (recomputed, written))
                shared = storages.setdefault(ours, theirs)
                assert shared == theirs or not memory, f"{node} shares memory with other values than it says"
    assert len(set(storages.values())) == len(storages) or not memory, (
        "annotated as sharing memory, but is not"
    )


def _mode_of(graph: Graph) -> Any:
    return next(n.meta["val"].fake_mode for n in graph.nodes if isinstance(n.meta.get("val"), torch.Tensor))


def _tensors(value: Any) -> list[torch.Tensor]:
    return [x for x in torch.utils._pytree.tree_leaves(value) if isinstance(x, torch.Tensor)]


def through_hook(recorder: Recorder) -> Callable[..., Any]:
    """A back end for ``torch.compile``: Inductor up to the post-grad hook, then the graph as it is."""

    def inner_compile(module: GraphModule, example_inputs: Any, **options: Any) -> Callable[[list[Any]], Any]:
        compile_fx.view_to_reshape(module)
        mode = compile_fx.fake_tensor_prop(module, example_inputs)
        with V.set_fake_mode(mode), config.patch(post_grad_custom_post_pass=recorder):
            compile_fx._recursive_post_grad_passes(module, is_inference=options.get("is_inference", False))

        def run(arguments: list[Any]) -> Any:
            return module(*arguments)

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    def backend(module: GraphModule, inputs: Any, **_: Any) -> Any:
        return compile_fx.compile_fx(module, inputs, inner_compile=inner_compile)

    return backend


def optimised(
    fn: Callable[..., Any], *passes: Callable[[Graph], None]
) -> tuple[Callable[..., Any], Recorder]:
    """``fn`` as ``torch.compile`` would run it with the passes on the post-grad hook, and what they did."""
    torch._dynamo.reset()
    recorder = Recorder(*passes)
    return torch.compile(fn, fullgraph=True, backend=through_hook(recorder)), recorder


def targets(source: Recorder | Graph) -> list[object]:
    """What the last graph calls, in its order."""
    graph = source if isinstance(source, Graph) else source.graphs[-1]
    return [node.target for node in graph.nodes if node.op == "call_function"]


def check_against_golden(name: str, recorder: Recorder) -> None:
    """Compare the graphs before and after with the text files beside this one, or write them anew."""
    for when, texts in (("before", recorder.before), ("after", recorder.after)):
        path, text = GOLDENS / f"{name}.{when}.txt", "\n".join(texts)
        if UPDATE:
            GOLDENS.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        if not path.exists():
            pytest.fail(f"{path.name} is missing; write it with PASSPRINT_UPDATE_GOLDENS=1")
        assert text == path.read_text(), f"{path.name} differs; if that is right: PASSPRINT_UPDATE_GOLDENS=1"
