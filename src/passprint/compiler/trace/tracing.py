"""The cold side of a compiled model: Dynamo traces, the back end compiles, and what came out is recorded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import FunctionType
from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_leaves

from passprint.cache import Miss, NoStore, Store
from passprint.compiler.guards.overlap import overlapping
from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.lowering import builds, inductor
from passprint.compiler.pieces.sizes import SizePlan
from passprint.compiler.record import CompileReport, GraphBreak
from passprint.compiler.start.passes_found import PassesFound
from passprint.compiler.start.program import Guards, Program, ProgramMismatch, TensorsOverlap, bind
from passprint.compiler.start.warm import Lookup, WarmStart
from passprint.compiler.start.why import STORED, model_miss
from passprint.compiler.trace.backend import Backend
from passprint.compiler.trace.breaks import InParts, break_of, breaking_errors
from passprint.compiler.trace.dynamo import Trace, Tracer
from passprint.compiler.trace.hooks import Registered, RegisteredHooks
from passprint.compiler.trace.recorder import record
from passprint.compiler.trace.regions import NotRepeatable
from passprint.compiler.trace.repeat import RepeatedBlocks
from passprint.errors import CompileError
from passprint.pipeline import PassManager


class Cold:
    """Traces and compiles one model; ``warm`` keeps what can be kept for later processes."""

    def __init__(
        self,
        repeats: RepeatedBlocks,
        manager: PassManager,
        store: Store,
        split: str | Sequence[str],
        sizes: SizePlan | None,
        dynamic: bool | None,
        report: CompileReport,
        warm: WarmStart,
        fullgraph: bool,
    ) -> None:
        self._backend = Backend(manager, store, split, sizes or SizePlan(), report)
        self._report = report
        self._warm = warm
        self._store = store
        self._stores = not isinstance(store, NoStore)
        self._repeats = repeats
        self._dynamic = dynamic
        telling = _Telling(self._backend, self._note_miss)
        self._new_tracer = partial(Tracer, telling, dynamic, self._finished)
        self._hooks: RegisteredHooks | None = None
        self._ways: dict[Registered, _Way] = {}
        self._fullgraph = fullgraph
        self._looked = 0.0
        self._label = ""
        self._found: Lookup | None = None
        self._miss: Miss | None = None
        self._why: str | None = None
        self._scope: dict[str, Any] = {}
        self.program: Program | None = None
        """What the latest call recorded, if it traced and what came out has a form that can be loaded."""
        self.must_trace = False
        """Whether something was met that no record can hold: from then on Dynamo is asked at every call."""

    def __call__(
        self,
        found: Lookup | None,
        since: float,
        model: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call the model through Dynamo. ``found`` is what the look-up gave, ``since`` when it began."""
        self._backend.handed_over_since = time.perf_counter()
        self._looked = self._backend.handed_over_since - since
        self._found, self.program = found, None
        self._label = getattr(model, "__qualname__", type(model).__qualname__)
        self._scope = {"model": model, "args": args, "kwargs": kwargs}
        if found is not None and found.request is not None and self._stores:
            self._miss = model_miss(self._store, found)
        try:
            return self._run(model, args, kwargs)
        except BaseException:
            self._backend.give_up()
            raise
        finally:
            self._found, self._miss, self._scope = None, None, {}

    def _run(self, *call: Any) -> Any:
        """As one graph if it is one, or else in parts: from then on always, while the hooks are the same."""
        if _on_cpu(*call[1:]):
            builds.prepare()
        way = self._way(call[0])
        if way is None:
            return call[0](*call[1], **call[2])
        if way.in_parts is None:
            try:
                return self._run_whole(way, *call)
            except breaking_errors() as error:
                if self._fullgraph or inductor.own_cause(error):
                    _failed(error, whole=True)
                found = break_of(error)
            except Exception as error:  # noqa: BLE001 - raised again
                _failed(error, whole=True)
            way.in_parts = self._take_apart(call[0], found)
        try:
            return way.in_parts(*call[1:])
        except Exception as error:  # noqa: BLE001 - raised again
            _failed(error, whole=False)

    def _way(self, model: Callable[..., Any]) -> _Way | None:
        """What was traced with the hooks that are registered now; None where there were too many others before."""
        if self._hooks is None:
            self._hooks = RegisteredHooks(model)
        now = self._hooks.now()
        way = self._ways.get(now)
        if way is None:
            if len(self._ways) > _MOST_HOOKS:
                if HOOKS_CHANGE not in self._report.notes:
                    self._report.notes.append(HOOKS_CHANGE)
                return None
            way = self._ways[now] = _Way(self._new_tracer, self._new_tracer())
        return way

    def _run_whole(self, way: _Way, *call: Any) -> Any:
        """Trace repeated blocks once, and where that fails, all of them."""
        try:
            tracer = way.tracer_of(*call[1:])
            with self._repeats:
                result = tracer(*call)
            self._report.notes.extend(self._repeats.take_notes())
            return result
        except Exception as error:
            own = inductor.own_cause(error)
            if (own and not isinstance(own, NotRepeatable)) or not self._repeats.give_up(error):
                raise
        result = tracer(*call)
        self._report.notes.append(f"every block was traced: {self._repeats.refused}")
        return result

    def _take_apart(self, model: Callable[..., Any], found: GraphBreak) -> InParts:
        """Go on in the parts between graph breaks. What is between them is Python's, so no record can hold it all."""
        self._miss = None  # there will never be a program of this model: that none is stored is not why
        self._report.seconds["total"] += self._looked
        in_parts = InParts(model, self._backend, self._dynamic, self._broken)
        in_parts.tell(found)
        return in_parts

    def _broken(self, found: GraphBreak) -> None:
        reason = f"a graph break at {found}" if found.place else f"a graph break: {found}"
        self._report.graph_breaks.append(found)
        self._report.traced_because.append(reason)
        self._must_trace(reason)

    def _note_miss(self) -> None:
        """Say why the model is traced, before its pieces say why they are compiled."""
        miss, self._miss = self._miss, None
        self._why = None
        if miss is not None:
            self._why = miss.reason.removeprefix(STORED) if miss.nearest else None
            self._missed(miss)

    def _finished(self, trace: Trace) -> None:
        """Record a trace before it runs for the first time, while everything is as the trace saw it."""
        if self._miss is not None:
            self._note_miss()
        self._backend.finish()  # kernels were being built while Dynamo built guards
        self._report.seconds["total"] += self._looked
        found, made = self._found, self._backend.made
        if found is None or made is None or not self._stores:
            return
        if found.unusable is not None:
            self._report.traced_because.append(found.unusable)
        elif self._why is not None and found.keys:
            self._report.traced_because.append(self._why)
        try:
            if found.unusable is not None:
                raise CannotRecordError(found.unusable)
            with self._report.phase("record"):
                key, manifest, files = record(trace, self._scope, made, found, self._passes())
                guards = Guards(manifest, key.state, **self._scope)
                run = bind(manifest, key.state, made.run)
        except CannotRecordError as error:
            self._cannot(str(error))
        except (
            TensorsOverlap
        ):  # the back end runs this call as it was traced, and says so; others can be compiled
            return
        except ProgramMismatch as error:
            self._cannot(f"its record does not hold for the call that was traced: {error}")
        else:
            self._warm.keep(found, key, manifest, files)
            self.program = Program(manifest, guards, run, None)

    def _passes(self) -> PassesFound:
        """The passes as a record keeps them: as they stand now, after all of them have been imported."""
        passes = self._warm.passes()
        if passes.default and any(_is_patched(type(pass_)) for pass_ in self._backend.manager.passes):
            raise CannotRecordError("a pass of passprint's library was monkeypatched")
        return passes

    def _cannot(self, reason: str) -> None:
        self._report.notes.append(f"warm start must trace: {reason}")
        self._must_trace(reason)

    def _must_trace(self, reason: str) -> None:
        self.must_trace = True
        said = f"warm start must trace: {reason}"
        self._store.bypass(said)
        self._missed(Miss("bypass", "", self._label, said))

    def _missed(self, miss: Miss) -> None:
        self._report.misses.append(miss)
        self._store.missed(miss)


HOOKS_CHANGE = "a call ran as it is, not compiled: hooks are registered and removed all the time"
_MOST_HOOKS = 8


@dataclass
class _Way:
    """How a model runs with certain hooks: what was traced with them."""

    new_tracer: Callable[[], Tracer]
    tracer: Tracer
    in_parts: InParts | None = None

    def tracer_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tracer:
        """A tracer of their own for arguments that overlap in memory: Dynamo would run for them what others traced."""
        if overlapping(tree_leaves((args, kwargs))) is None:
            return self.tracer
        return self._overlapping

    @cached_property
    def _overlapping(self) -> Tracer:
        return self.new_tracer()


@dataclass(frozen=True)
class _Telling:
    """The back end of a trace that came to its end; ``first`` is called before it compiles anything."""

    backend: Backend
    first: Callable[[], None]

    def __call__(self, gm: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        self.first()
        return self.backend(gm, example_inputs)


def _on_cpu(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether the first tensor among the arguments is on the CPU; then its kernels will be C++."""
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
    return all(tensor.device.type == "cpu" for tensor in itertools.islice(tensors, 1))


def _failed(error: Exception, *, whole: bool) -> NoReturn:
    """Raise what torch wrapped, or say that the model does not trace."""
    try:
        raise error
    except inductor.trace_errors() as error:
        one_graph = " as one graph" if whole else ""
        raise CompileError(f"The model does not trace{one_graph}. Torch says:\n{error}") from error
    except inductor.backend_errors() as error:
        reason = inductor.own_cause(error)
        if reason is None:
            raise
        raise reason from error


def _is_patched(cls: type) -> bool:
    """Whether somebody's own functions stand in a class of the library (``dataclasses`` writes some of them)."""
    functions = [value for value in vars(cls).values() if isinstance(value, FunctionType)]
    homes = {str(function.__globals__.get("__name__")).partition(".")[0] for function in functions}
    return not homes <= {"passprint", "dataclasses"}
