"""The one place of this room that touches private torch names: Inductor's slots for custom passes.

Read against torch 2.11 to 2.14, run on 2.11, 2.12 and 2.13. Where the versions differ:

- Inference-aware passes have a base class since 2.12, scheduler passes since 2.13; `passprint.passes.torch_door` stands
  in before.
- Since 2.13 a slot also takes a list or tuple of passes.
- On 2.11 Inductor's configuration is one for the process; later each thread has its own (`PER_THREAD`).
- ``_post_fusion_custom_pass`` and ``custom_partitioner_fn`` are pickled into Inductor's cache keys as they are, and
  a ``uuid()`` of None does not stop the cache there (`passprint.pipeline.slots` sees to both).
- A hook is called for each graph of control flow, and for the graph around them, by functions that call themselves.
- ``pre_grad_custom_pass`` is asked for its uuid since 2.12; before, its result was what counted.

``tests/pipeline/test_pipeline_torch_door.py`` fails with the name that moved when a newer torch no longer has it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Literal

import torch

from passprint.errors import PipelineError
from passprint.passes.annotations import mode_of
from passprint.passes.torch_door import (
    CustomGraphModulePass,
    CustomGraphPass,
    CustomInferenceAwareGraphPass,
    CustomPartitionerFn,
    CustomSchedulerPass,
)

__all__ = [
    "DEFAULT_HOOK",
    "HOOKS",
    "Symbols",
    "CustomGraphModulePass",
    "CustomGraphPass",
    "CustomInferenceAwareGraphPass",
    "CustomPartitionerFn",
    "CustomSchedulerPass",
    "Hook",
    "buffers_made",
    "buffers_needed",
    "compile_graph",
    "forget_compiled",
    "guards_of",
    "hint_of",
    "register_operators",
    "is_at_a_branch",
    "is_per_thread",
    "lowered_graph",
    "on_real_tensors",
    "operations_of",
    "passes_in_slot",
    "put_for_process",
    "same_size",
    "slots_holding",
    "symbols_of",
    "trace_artifact",
    "value_in_slot",
    "without_caches",
]


@dataclass(frozen=True)
class Hook:
    """A place in Inductor where passes run.

    ``slot``: the field of torch._inductor.config. ``takes``: what runs there is given a graph, the scheduler's
    nodes, or
    the joint module to cut. ``tells_inference``: torch says there whether it compiles for inference.
    """

    name: str
    slot: str
    takes: Literal["graph", "nodes", "joint module"]
    tells_inference: bool = False

    @property
    def text(self) -> str:
        """The hook's name in a pipeline's text."""
        return self.name.replace("_", "-")


#: By name, in the order in which Inductor comes to them.
HOOKS = {
    hook.name: hook
    for hook in (
        Hook("pre_grad", "pre_grad_custom_pass", "graph"),
        Hook("joint_pre", "joint_custom_pre_pass", "graph"),
        Hook("joint_post", "joint_custom_post_pass", "graph"),
        Hook("partitioner", "custom_partitioner_fn", "joint module"),
        Hook("post_grad_pre", "post_grad_custom_pre_pass", "graph", tells_inference=True),
        Hook("post_grad_post", "post_grad_custom_post_pass", "graph", tells_inference=True),
        Hook("scheduler_pre", "_pre_fusion_custom_pass", "nodes"),
        Hook("scheduler_post", "_post_fusion_custom_pass", "nodes"),
    )
}
DEFAULT_HOOK = "post_grad_post"


def value_in_slot(hook: str) -> Any:
    """What stands in the slot now, as it is."""
    from torch._inductor import config

    return getattr(config, HOOKS[hook].slot)


def passes_in_slot(hook: str) -> tuple[Any, ...]:
    """What stands in the slot now, in the order in which it runs."""
    found = value_in_slot(hook)
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list | tuple) else (found,)


@contextmanager
def slots_holding(values: Mapping[str, object]) -> Iterator[None]:
    """Put values into slots by hook, and put back what was there, also if that changed in between."""
    from torch._inductor import config

    with config.patch({HOOKS[hook].slot: value for hook, value in values.items()}):
        yield


def put_for_process(hook: str, value: object) -> None:
    """Make ``value`` what every thread finds in the slot that has not put something there itself."""
    from torch._inductor import config

    slot = HOOKS[hook].slot
    vars(config)["_config"][slot].default = value
    setattr(config, slot, value)


def lowered_graph() -> torch.fx.Graph:
    """The graph from which the scheduler's nodes are being made; an empty one outside of a compile."""
    from torch._inductor.virtualized import V

    found = getattr(V.graph, "graph", None)
    return found if isinstance(found, torch.fx.Graph) else torch.fx.Graph()


def compile_graph(module: torch.fx.GraphModule, inputs: Sequence[Any], options: dict[str, Any]) -> None:
    """Compile a module's graph with Inductor as it is, for these inputs and with these parts of its configuration."""
    from torch._inductor import compile as compile_with_inductor

    compile_with_inductor(module, list(inputs), options=options)


@contextmanager
def without_caches() -> Iterator[None]:
    """Compile as if nothing had ever been compiled, and keep nothing."""
    from torch._inductor import config

    with config.patch(force_disable_caches=True), warnings.catch_warnings():
        # Dynamo says that it heeds the setting
        warnings.filterwarnings("ignore", "dynamo_pgo force disabled")
        yield


#: The functions of torch._inductor.compile_fx that run the passes of a graph and of those within it.
RECURSIVE = ("_recursive_pre_grad_passes", "_recursive_joint_graph_passes", "_recursive_post_grad_passes")


def is_at_a_branch() -> bool:
    """Whether Inductor is at the passes of a graph of control flow; those of the graph around it are still to come,
    or come to an end."""
    inductor = sys.modules.get("torch._inductor.compile_fx")
    if inductor is None:  # the graph is not Inductor's
        return False
    codes = {getattr(inductor, name).__code__ for name in RECURSIVE}
    frame: FrameType | None = sys._getframe()
    running = 0
    while frame is not None and running < 2:
        running += frame.f_code in codes
        frame = frame.f_back
    return running > 1


def is_per_thread() -> bool:
    """Whether each thread has a configuration of its own."""
    from torch._inductor import config

    return isinstance(vars(config)["_config"]["post_grad_custom_post_pass"].user_override, ContextVar)


def trace_artifact(name: str, text: Callable[[], str]) -> None:
    """Add a text to torch's structured trace, so that ``tlparse`` shows it; free when tracing is off."""
    torch._logging._internal.trace_structured(
        "artifact",
        metadata_fn=lambda: {"name": name, "encoding": "string"},
        payload_fn=text,
        expect_trace_id=False,
    )


def guards_of(graph: torch.fx.Graph) -> list[object]:
    """What torch has been told must hold of the symbolic sizes of a graph; empty where its sizes are fixed."""
    mode = mode_of(graph)
    environment = None if mode is None else mode.shape_env
    return [] if environment is None else [guard.expr for guard in environment.guards]


def same_size(found: Any, expected: Any) -> bool:
    """Whether two sizes or numbers are the same for all inputs, as far as torch can tell; no guard is added.

    Two expressions of the same symbols that torch cannot compare count as the same when they are so for the example
    that was traced. A size that only data tells is the same as any.
    """
    if not isinstance(found, _SYMBOLIC) and not isinstance(expected, _SYMBOLIC):
        return bool(found == expected) or (found != found and expected != expected)
    from torch.fx.experimental.symbolic_shapes import (
        free_symbols,
        has_free_unbacked_symbols,
        statically_known_true,
    )

    if has_free_unbacked_symbols(found) or has_free_unbacked_symbols(expected):
        return True
    if statically_known_true(found == expected):
        return True
    if free_symbols(found) != free_symbols(expected):
        return False
    return bool(_hint(found) == _hint(expected) is not None)


_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


def _hint(value: Any) -> Any:
    return value.node.hint if isinstance(value, _SYMBOLIC) else value


def hint_of(value: Any) -> int | float | bool | None:
    """The number that stood for a symbolic one when the graph was traced; a number is its own."""
    found: int | float | bool | None = _hint(value)
    return found


@contextmanager
def on_real_tensors() -> Iterator[None]:
    """Run operators on numbers in the middle of a compile: no fake mode, no tracing, no dispatch mode of others."""
    from torch._guards import tracing
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from torch.utils._python_dispatch import _disable_current_modes

    with tracing(None), unset_fake_temporarily(), _disable_current_modes():
        yield


def register_operators() -> None:
    """Import what defines the operators of Inductor's graphs and of the library's passes."""

    import passprint.passes.library.ops  # noqa: F401 - registers passprint's operators


def buffers_made(node: Any) -> set[str]:
    """The buffers that a node of the scheduler makes."""
    return set(node.get_buffer_names())


def buffers_needed(node: Any) -> set[str]:
    """The buffers that a node of the scheduler reads or waits for, where another node of the graph makes them."""
    return {dependency.name for dependency in node.unmet_dependencies}


def operations_of(node: Any) -> list[str]:
    """The operations that a node of the scheduler stands for: one, or those that were fused into it."""
    return [inner.get_name() for inner in node.get_nodes()]


def forget_compiled() -> None:
    """Make compiled functions of this process compile again when they are next called."""
    import torch._dynamo as dynamo

    dynamo.reset()


def symbols_of(size: Any) -> dict[str, int]:
    """The symbols in a symbolic size, with the number that each stood for; 8 for one that only data tells."""
    env = size.node.shape_env
    hints = getattr(env, "backed_var_to_val", None) or env.var_to_val  # renamed after 2.11
    return {str(symbol): int(hints.get(symbol, 8)) for symbol in size.node.expr.free_symbols}


class Symbols:
    """A fake-tensor mode with symbols of these names for sizes, each standing for a number."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        from torch._dynamo.source import ConstantSource
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

        env = ShapeEnv()
        self.mode = FakeTensorMode(shape_env=env)
        self._known: dict[str, Any] = {
            "FloorDiv": lambda a, b: a // b,
            "Mod": lambda a, b: a % b,
            "PythonMod": lambda a, b: a % b,
            "Max": torch.sym_max,
            "Min": torch.sym_min,
        }
        for name, number in numbers.items():
            source = ConstantSource(name)
            symbol = env.create_symbol(number, source, dynamic_dim=DimDynamic.DYNAMIC)
            self._known[name] = env.create_symintnode(symbol, hint=number, source=source)

    def number(self, text: Any) -> Any:
        """The number, or the symbolic one that an expression such as ``"3*s0"`` spells."""
        if not isinstance(text, str):
            return text
        code = compile(text, "<size>", "eval")
        is_plain = not any(isinstance(constant, CodeType) for constant in code.co_consts)
        unknown = set(code.co_names) - self._known.keys()
        if unknown or not is_plain:
            raise PipelineError(
                f"the size {text!r} is no expression of the known symbols {', '.join(self._known)}"
            )
        return eval(code, {"__builtins__": {}}, self._known)
