"""The one door to torch's Dynamo: how a model is traced, and what is read of a finished trace.

Read and run on torch 2.11, 2.12 and 2.13. Importing this module imports nothing of ``torch._dynamo``; tracing does.
Reached here, and why there is no public way:

- ``torch._dynamo.optimize(guard_export_fn=…)``: the guards of a trace, once it is finished,
- ``torch._dynamo.convert_frame.register_bytecode_hook``: the code that rebuilds outputs and side effects,
- ``torch._dynamo.symbolic_convert.InstructionTranslator.current_tx``: the dicts whose order was relied on,
- ``torch._guards.TracingContext``: the code that was inlined, and the sizes that were generalised.

Torch 2.11 asks with one kind of guard whether a key is there and whether it is not (``invert``), and gives an attribute
that may be missing as the guard's source; newer torch has a kind for each answer, and the owner as the source.
"""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any, Protocol

import torch

from passprint.compiler.guards.facts import GuardFact, TensorFact

ENTRY = "def call(model, args, kwargs):\n    return {}\n"
"""What is traced: one frame of ours around every model, so that guards and outputs have the same names everywhere."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Trace:
    """What Dynamo found out about one call: all that a warm start needs besides the compiled pieces.

    ``bytecode`` is the frame's new code, whose globals are ``frame_globals``; ``traced`` the code that was inlined.
    """

    guards: Sequence[GuardFact]
    bytecode: CodeType
    frame_globals: Mapping[str, Any]
    traced: Sequence[CodeType]
    tensor_facts: Mapping[str, TensorFact]


class Listener(Protocol):
    """Who a trace is made for."""

    def lower(self, gm: torch.fx.GraphModule) -> Callable[..., Any]:
        """Make something that runs of the traced graph."""

    def traced(self, trace: Trace) -> None:
        """Told of the trace when Dynamo has built its guards, before it runs first."""

    def unreadable(self, reason: str) -> None:
        """Told instead where this torch is not as it was read: the graph runs, and nothing can be recorded."""


_MOVED = (AttributeError, ImportError, TypeError, NameError, LookupError)
"""What a private name of torch's raises that is gone, or is not what it was."""


def _not_as_read(error: BaseException) -> str:
    version = torch.__version__.partition("+")[0]
    return f"torch {version} does not tell what a trace relied on as torch 2.11 to 2.15 do ({error})"


_listening: ContextVar[Listener] = ContextVar("passprint_compilation")


class Tracer:
    """Traces one model, for whoever calls; what it has traced serves later calls, as far as Dynamo's guards hold."""

    def __init__(self, dynamic: bool | None, called: str) -> None:
        """``called``: the call of the model in Python."""
        import torch._dynamo as dynamo

        namespace: dict[str, Any] = {"__name__": "passprint.compiler.entry"}
        # A file name of its own: Dynamo keeps what it learns of varying sizes by the code's place.
        place = f"<passprint entry {next(_numbers)}>"
        # torch 2.11 and 2.12 put a shared frame around a function whose source they cannot find.
        source = ENTRY.format(called)
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        weakref.finalize(self, linecache.cache.pop, place, None)
        exec(compile(source, place, "exec"), namespace)
        self._entry = namespace["call"]
        self._globals = namespace
        self._bytecode: CodeType | None = None
        self._traced: list[CodeType] = []
        self._ordered: list[str] = []
        self._tensor_facts: dict[str, TensorFact] = {}
        self._problem: str | None = None
        optimize: Any = dynamo.optimize
        how: dict[str, Any] = {"nopython": True, "dynamic": dynamic}
        try:
            _living()[id(self._entry.__code__)] = self
            entered = optimize(self._compile, guard_export_fn=self._export, **how)
        except _MOVED as error:
            self._problem = _not_as_read(error)
            entered = optimize(self._compile, **how)
        self._call = entered(self._entry)

    def __call__(
        self, listener: Listener, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run the model, tracing it where no trace of this process serves the call."""
        token = _listening.set(listener)
        try:
            return self._call(model, args, kwargs)
        finally:
            _listening.reset(token)

    def _compile(self, gm: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        listener = _listening.get()
        run = listener.lower(gm)
        problem = self._problem
        try:
            self._ordered = _ordered()
            guards: Any = torch._guards
            context = guards.TracingContext.get()
            self._traced = list(dict.fromkeys(context.traced_code))
            self._tensor_facts = _tensor_facts(context.fake_mode.shape_env)
        except _MOVED as error:
            problem = self._problem = _not_as_read(error)
        if problem is not None:
            listener.unreadable(problem)
        return run

    def _export(self, guards: Any) -> None:
        """Called by Dynamo when guards are built; the new code has been made by then, and has not run."""
        bytecode, self._bytecode = self._bytecode, None
        if bytecode is None or self._problem is not None:
            return
        try:
            facts = [_fact(guard) for guard in sorted(guards, key=_order)]
        except _MOVED as error:
            _listening.get().unreadable(_not_as_read(error))
            return
        facts += [GuardFact("ORDER", name) for name in dict.fromkeys(self._ordered)]
        traced = [code for code in self._traced if code is not self._entry.__code__]
        _listening.get().traced(Trace(facts, bytecode, self._globals, traced, self._tensor_facts))


@cache
def _living() -> weakref.WeakValueDictionary[int, Tracer]:
    """The tracers that live, by the id of their entry's code; Dynamo tells them of new code from here on.

    One hook for all, which stays: Dynamo goes through its hooks one by one, and one that was removed meanwhile, with a
    tracer that the garbage collector found, would end the trace of another model with an error.
    """
    from torch._dynamo import convert_frame

    living: weakref.WeakValueDictionary[int, Tracer] = weakref.WeakValueDictionary()

    def hook(code: CodeType, new_code: CodeType) -> None:
        tracer = living.get(id(code))
        if tracer is not None and tracer._entry.__code__ is code:
            tracer._bytecode = new_code

    register: Any = convert_frame.register_bytecode_hook
    register(hook)
    return living


def _ordered() -> list[str]:
    """The dicts whose order the graph that is being compiled relies on, as far as Dynamo knows."""
    from torch._dynamo.symbolic_convert import InstructionTranslator

    output: Any = InstructionTranslator.current_tx().output
    return [name_of(source) for source in getattr(output, "guard_on_key_order", ())]


def name_of(source: Any) -> str:
    """The expression that a source of Dynamo's stands for."""
    name = source.name
    return str(name() if callable(name) else name)


def _order(guard: Any) -> Any:
    """Dynamo's own order of guards. As a key it is computed once for each guard, and not at every comparison."""
    return guard.sort_key()


def _fact(guard: Any) -> GuardFact:
    kind, source = guard.create_fn_name(), guard.originating_source
    keywords = getattr(guard.create_fn, "keywords", {})
    detail = keywords.get("attr", keywords.get("key"))
    if keywords.get("invert"):
        kind = kind.replace("_CONTAINS", "_NOT_CONTAINS")
    elif kind == "HASATTR" and detail is None:
        source, detail = _attribute(source)
    elif kind == "DUPLICATE_INPUT":
        detail = name_of(keywords["source_b"])
    conditions = tuple(dict.fromkeys(guard.code_list or ())) if kind == "SHAPE_ENV" else ()
    return GuardFact(kind, name_of(source), detail, conditions)


def _attribute(source: Any) -> tuple[Any, str]:
    """The owner and the name of an attribute that a guard of torch 2.11 gives as one source."""
    from torch._dynamo.source import NNModuleSource

    if isinstance(source, NNModuleSource):
        source = source.base
    return source.base, getattr(source, "member", "__code__")


def _tensor_facts(shape_env: Any | None) -> dict[str, TensorFact]:
    """By source: the sizes and strides of each tensor that was traced, None where they vary."""
    if shape_env is None:
        return {}
    found = {}
    for tracked in shape_env.tracked_fakes or ():
        fake = tracked.fake
        if isinstance(fake, torch.Tensor) and fake.layout is torch.strided:
            sizes = tuple(_fixed(shape_env, size) for size in fake.shape)
            found[name_of(tracked.source)] = TensorFact(
                sizes, tuple(_fixed(shape_env, s) for s in fake.stride())
            )
    return found


def _fixed(shape_env: Any, size: int | torch.SymInt) -> int | None:
    if isinstance(size, int):
        return size
    expression = shape_env.replace(size.node.expr)
    return int(expression) if expression.is_number else None
