"""``passprint.compile``: a model or function, compiled piece by piece through the cache."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from passprint.cache import open_store
from passprint.cache.store import NoStore, Store, StoreSpec
from passprint.compiler import stances
from passprint.compiler.record import CompileReport, finished, tell
from passprint.compiler.settings import Settings
from passprint.compiler.start.passes_found import PassesFound
from passprint.compiler.start.warm import CANDIDATES, Lookup, WarmStart
from passprint.compiler.target import Target
from passprint.errors import CompileError

if TYPE_CHECKING:
    from passprint.compiler.given_passes import PassesSpec
    from passprint.compiler.pieces.sizes import RangeSpec, SizePlan
    from passprint.compiler.start.program import Program
    from passprint.compiler.trace.backend import Backend
    from passprint.compiler.trace.compilation import Session
    from passprint.compiler.trace.repeat import RepeatedBlocks
    from passprint.pipeline import PassManager

DynamicSpec = bool | Mapping[str, Sequence[int]] | None


def compile(
    model: Callable[..., Any],
    *,
    passes: PassesSpec = None,
    cache: StoreSpec = None,
    dynamic: DynamicSpec = None,
    fullgraph: bool = False,
    split: str | Sequence[str] = "blocks",
    compile_sizes: Sequence[int] | None = None,
    ranges: Sequence[RangeSpec] | None = None,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
    disable: bool = False,
) -> Compiled | CompiledModule:
    """Compile ``model`` so that equal blocks are compiled once and a later process loads what this one built.

    Compiling happens at the first call, when the inputs are known, and again for inputs that what is compiled
    does not serve.

    Args:
        model: an ``nn.Module`` or a function that ``torch.compile`` takes.
        passes: a :class:`passprint.PassManager`, a list of passes, a pipeline's text, or None for the default.
        cache: None for the user's folder, a path, a store, or False for none.
        dynamic: as in ``torch.compile`` (None: a size that varies is generalised when it first does; True;
            False), or the dimensions that vary, by argument: ``{"input_ids": (1,)}``.
        fullgraph: True makes a graph break an error. Without it, a model that is not one graph is compiled in parts,
            as ``torch.compile`` does: every process traces them, and finds their pieces in the cache. The report
            names the breaks.
        split: where to cut the graph into pieces: ``"blocks"`` (repeated blocks), ``"attention"``, a list of op
            names, or ``"whole"``.
        compile_sizes: sizes of the first varying dimension that get code of their own, as ``[8, 64]``.
        ranges: ranges of it, both ends included, that do, as ``[(1, 512), (513, 8192)]``. The code for all sizes
            stays beside them; passes are asked for each whether they apply (``is_applicable_for_range``).
        mode: as in ``torch.compile``: "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs".
            CUDA graphs are for GPUs; on a CPU they change nothing, and the report says so.
        options: as in ``torch.compile``: settings of Inductor by name, ``{"max_autotune": True}``. One of ``mode`` and
            ``options`` may be given.
        disable: True returns ``model`` as it is.

    Returns:
        The compiled model, a :class:`Compiled` or :class:`CompiledModule`. It is called as ``model`` is, gives
        ``model``'s attributes, and has a ``report``.

    Raises:
        PipelineError: something in ``passes`` is not a pass.
        CacheError: the cache folder cannot be used.
        CompileError: ``dynamic`` names an unknown argument, or ``compile_sizes`` or ``ranges`` are not sizes; and at
            the first call, the model does not trace, or not as one graph with ``fullgraph`` (torch's reason is the
            cause).
        RuntimeError: torch's own, where both ``mode`` and ``options`` are given, or torch has no such mode or option;
            for an option, at the first call that nothing stored serves.
    """
    if not callable(model):
        raise CompileError(
            f"passprint.compile was given a {type(model).__name__}. Expected an nn.Module or a function."
        )
    if disable:
        unchanged: Any = model
        return unchanged  # type: ignore[no-any-return]
    dynamic = _checked(dynamic)
    how = How(
        passes, open_store(cache), split, sizes_of(compile_sizes, ranges), fullgraph, Settings(mode, options)
    )
    return (
        CompiledModule(model, how, dynamic)
        if isinstance(model, torch.nn.Module)
        else Compiled(model, how, dynamic)
    )


class Compiled:
    """A compiled function: call it as the original. ``report`` tells what compiling did."""

    def __init__(self, model: Callable[..., Any], how: How, dynamic: DynamicSpec) -> None:
        self._prepare(model, how, dynamic)

    def _prepare(self, model: Callable[..., Any], how: How, dynamic: DynamicSpec) -> None:
        self._given = (model, how, dynamic)
        self._starting = threading.RLock()
        self._target = Target.of(model)
        self._model = self._target.model
        self._how = how
        self._varying = _Varying(self._target, dynamic) if isinstance(dynamic, Mapping) else None
        self._dynamic = None if isinstance(dynamic, Mapping) else dynamic
        self._report = CompileReport(notes=how.settings.notes(), store=how.store)
        self._programs: list[Program] = []
        self._warm = WarmStart(how.store, self._report, self._told, how.passes)
        self._session: Session | None = None
        self._has_traced = False
        self._fruitless = 0 if not isinstance(how.store, NoStore) else CANDIDATES

    def __getstate__(self) -> tuple[Any, ...]:
        """A copy has what was compiled with, and compiles or loads at its own first call: guards are of one model."""
        return self._given

    def __setstate__(self, given: tuple[Any, ...]) -> None:
        self._prepare(*given)

    @property
    def report(self) -> CompileReport:
        """What was compiled, loaded and matched so far."""
        return self._report

    def _told(self) -> str:
        """What it is compiled with, as a text for keys."""
        _, how, dynamic = self._given
        text = f"split {how.split!r}, dynamic {dict(dynamic) if isinstance(dynamic, Mapping) else dynamic!r}"
        parts = [str(how.sizes or ""), how.settings.text(), self._target.method or ""]
        return ", ".join([text, *filter(None, parts)])

    @cached_property
    def repeats(self) -> RepeatedBlocks:
        """The repeated blocks of the model, which a trace goes through once."""
        from passprint.compiler.trace.repeat import RepeatedBlocks

        return RepeatedBlocks(self._model)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model; loads or compiles first where nothing that is there serves these inputs."""
        if torch.compiler.is_compiling():  # a part of something that is compiled as a whole
            return self._target.call(*args, **kwargs)
        stance = stances.present()
        if stance == stances.EAGER:
            return self._target.call(*args, **kwargs)
        programs = self._programs
        for program in programs:
            if program.accepts(self._model, args, kwargs):
                return program.run(self._model, args, kwargs)
        if stance is not None and not self._is_known_to_trace:
            return stances.instead(stance, self._target.call)(*args, **kwargs)
        return self._start(len(programs), args, kwargs)

    def why_trace(self, *args: Any, **kwargs: Any) -> str | None:
        """Why a call with these arguments would have to be traced, or None where something stored serves it.

        Nothing is compiled and the model is not run, so a deployment can ask this before it goes live.
        """
        if any(program.accepts(self._model, args, kwargs) for program in self._programs):
            return None
        found = self._warm.find(self._model, args, kwargs)
        if found.program is None:
            return self._warm.explain(found)
        self._programs.append(found.program)
        return None

    def _start(self, asked: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One thread loads or compiles, the others wait and take what it made. ``asked`` programs do not serve.

        A model that every process traces waits for nothing but its first call: Dynamo has locks of its own.
        """
        if self._is_known_to_trace:
            return self._load_or_trace(args, kwargs)
        with self._starting:
            made = next((p for p in self._programs[asked:] if p.accepts(self._model, args, kwargs)), None)
            if made is None and not self._is_known_to_trace:
                return self._load_or_trace(args, kwargs)
        return self._load_or_trace(args, kwargs) if made is None else made.run(self._model, args, kwargs)

    @property
    def _is_known_to_trace(self) -> bool:
        return self._fruitless >= CANDIDATES and self._has_traced

    def _load_or_trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        since = time.perf_counter()
        tell(self._report)
        if self._varying is not None:
            self._varying.check(args, kwargs)
        lookup = None
        if self._fruitless < CANDIDATES:
            lookup = self._warm.find(self._model, args, kwargs)
            if lookup.program is not None:
                self._programs.append(lookup.program)
                self._report.seconds["total"] += time.perf_counter() - since
                finished(self._report)
                return lookup.program.run(self._model, args, kwargs)
        return self._trace(lookup, since, args, kwargs)

    def _trace(
        self, lookup: Lookup | None, since: float, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        session = self._session
        if session is None:
            with self._report.phase("prepare"):  # this imports the compiler
                session = self._session = self._new_session()
        if self._varying is not None:
            self._varying.mark(args, kwargs)
        compilation = session.compile(lookup, since, args, kwargs)
        result = compilation.run()
        self._has_traced = True
        finished(self._report)  # again: why it cannot be loaded is known by now
        if compilation.must_trace:
            self._fruitless = CANDIDATES
        elif compilation.program is not None:
            self._programs.append(compilation.program)
        else:  # Dynamo had something that serves a call which our record refuses: not to be looked up for ever
            self._fruitless += 1
        return result

    def _new_session(self) -> Session:
        from passprint.compiler.trace.compilation import Session

        how = self._how
        backend = how.backend(self._report, self._dynamic)
        return Session(self._target, self.repeats, backend, self._dynamic, self._warm, how.fullgraph)


def sizes_of(sizes: Sequence[int] | None, ranges: Sequence[RangeSpec] | None) -> SizePlan | None:
    """What ``compile_sizes`` and ``ranges`` say. Raises :class:`CompileError` where they are not sizes."""
    if sizes is None and ranges is None:
        return None
    from passprint.compiler.pieces.sizes import SizePlan

    return SizePlan.of(sizes, ranges) or None


def _checked(dynamic: Any) -> DynamicSpec:
    if dynamic is None or isinstance(dynamic, bool):
        return dynamic
    if not isinstance(dynamic, Mapping):
        raise CompileError(
            f"dynamic= is {dynamic!r}. Expected None, True, False, or the dimensions that vary by argument, as "
            "{'input_ids': (1,)}."
        )
    for name, dims in dynamic.items():
        if not isinstance(dims, Iterable) or any(type(dim) is not int for dim in dims):
            raise CompileError(
                f"dynamic= has {dims!r} for the argument {name!r}. Expected the numbers of its dimensions that vary, "
                "as (0,) or (0, 1)."
            )
    return {name: tuple(dims) for name, dims in dynamic.items()}


class How:
    """With what a model is compiled: passes, where it is kept, where it is cut. Copies of a model share it."""

    def __init__(
        self,
        passes: PassesSpec,
        store: Store,
        split: str | Sequence[str],
        sizes: SizePlan | None,
        fullgraph: bool,
        settings: Settings,
    ) -> None:
        self.store = store
        self.sizes = sizes
        self.split = split
        self.fullgraph = fullgraph
        self.settings = settings
        self._default = passes is None
        self._manager: PassManager | None = None
        if passes is not None:
            from passprint.compiler.given_passes import as_manager

            self._manager = as_manager(passes)

    def __deepcopy__(self, memo: object) -> How:
        return self

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**self.__dict__}
        if self._default:
            state["_manager"] = None  # made anew
        return state

    def manager(self) -> PassManager:
        """The passes; the default ones are made when they are first needed."""
        if self._manager is None:
            from passprint.pipeline import default_pipeline

            self._manager = default_pipeline()
        return self._manager

    def backend(self, report: CompileReport, dynamic: bool | None) -> Backend:
        """What compiles graphs so. Raises torch's RuntimeError for a mode or an option that it does not have."""
        from passprint.compiler.trace.backend import Backend

        settings = self.settings.for_inductor(dynamic)
        sizes = {} if self.sizes is None else {"sizes": self.sizes}
        return Backend(self.manager(), self.store, self.split, report=report, settings=settings, **sizes)

    def passes(self) -> PassesFound:
        """The passes' identity. The default pipeline is not imported for it."""
        if self._default and "passprint.passes.library" not in sys.modules:
            return PassesFound()
        return PassesFound.of(self.manager(), default=self._default)


class CompiledModule(torch.nn.Module):
    """A compiled module: parameters and attributes are the original's. ``report`` tells what compiling did."""

    _orig_mod: torch.nn.Module

    def __init__(self, model: torch.nn.Module, how: How, dynamic: DynamicSpec) -> None:
        super().__init__()
        self._orig_mod = model
        self._compiled = Compiled(model, how, dynamic)
        self.training = model.training

    @property
    def report(self) -> CompileReport:
        """What was compiled, loaded and matched so far."""
        return self._compiled.report

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model; compiles first where nothing compiled serves these inputs."""
        return self._compiled(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`forward`, with the hooks around it that are registered on this module.

        Hooks for all modules run for the model and the modules in it, and only with such hooks for this one as well.
        """
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
            return super().__call__(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def why_trace(self, *args: Any, **kwargs: Any) -> str | None:
        """As :meth:`Compiled.why_trace`."""
        return self._compiled.why_trace(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


class _Varying:
    """Marks the dimensions that vary, by argument name, on the tensors of each call."""

    def __init__(self, target: Target, dynamic: Mapping[str, Sequence[int]]) -> None:
        """``dynamic`` has been checked; a dimension may be counted from the end."""
        parameters = inspect.signature(target.signature).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        unknown = [name for name in dynamic if name not in parameters and not open_ended]
        if unknown:
            raise CompileError(
                f"dynamic= names the argument {unknown[0]!r}. The model takes {', '.join(parameters)}."
            )
        self._dimensions = dynamic
        positions = {name: i for i, name in enumerate(parameters)}
        self._positions = {name: positions[name] for name in dynamic if name in positions}

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise for an argument that has no dimensions."""
        for _ in self._tensors(args, kwargs):
            pass

    def mark(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Tell Dynamo which dimensions vary; this imports it."""
        from passprint.compiler.lowering import inductor

        for tensor, dimensions in self._tensors(args, kwargs):
            for dimension in dimensions:
                inductor.mark_dynamic(tensor, dimension)

    def _tensors(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
        for name, dimensions in self._dimensions.items():
            value = kwargs.get(name)
            position = self._positions.get(name)
            if value is None and position is not None and position < len(args):
                value = args[position]
            if value is None:
                continue
            if not isinstance(value, torch.Tensor):
                raise CompileError(
                    f"dynamic= says that dimensions of {name!r} vary, but the call passed a "
                    f"{type(value).__name__}. Expected a tensor."
                )
            wrong = [dim for dim in dimensions if not -value.dim() <= dim < value.dim()]
            if wrong:
                raise CompileError(
                    f"dynamic= says that dimension {wrong[0]} of {name!r} varies, but the call passed a tensor of "
                    f"{value.dim()} dimensions."
                )
            yield value, tuple([dim % value.dim() for dim in dimensions])


__all__ = ["Compiled", "CompiledModule", "DynamicSpec", "compile"]
