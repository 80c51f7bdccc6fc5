"""A call that nothing loaded serves, from the trace to the program that later calls and processes load.

A :class:`Compilation` is made for one call and goes through it from top to bottom: :meth:`Compilation.run` hands the
call to Dynamo, which comes back with a graph (:meth:`Compilation.lower`) and with what it relied on
(:meth:`Compilation.traced`). What outlives a call is the :class:`Session`'s.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_leaves

from passprint.cache import Miss, NoStore
from passprint.compiler import patches
from passprint.compiler.dependencies.state import State
from passprint.compiler.guards.overlap import overlapping
from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.guards.watch import Watch
from passprint.compiler.lowering import builds, inductor
from passprint.compiler.record import GraphBreak
from passprint.compiler.start.passes_found import PassesFound
from passprint.compiler.start.program import Guards, Program, ProgramMismatch, TensorsOverlap, bind
from passprint.compiler.start.warm import Lookup, WarmStart
from passprint.compiler.start.why import STORED, model_miss
from passprint.compiler.target import Target
from passprint.compiler.trace.backend import Backend, Made
from passprint.compiler.trace.breaks import InParts, break_of, breaking_errors
from passprint.compiler.trace.dynamo import Trace, Tracer
from passprint.compiler.trace.recorder import own_reads, record, relied_on
from passprint.compiler.trace.regions import NotRepeatable
from passprint.compiler.trace.repeat import RepeatedBlocks
from passprint.errors import CompileError

logger = logging.getLogger("passprint")

STATE_CHANGES = "a call ran eagerly: what the model's code reads keeps changing"
_MOST_STATES = 8


class Session:
    """What the compilations of one model share: how it is compiled, and what was traced before."""

    def __init__(
        self,
        target: Target,
        repeats: RepeatedBlocks,
        backend: Backend,
        dynamic: bool | None,
        warm: WarmStart,
        fullgraph: bool,
    ) -> None:
        self.target, self.repeats, self.backend, self.warm = target, repeats, backend, warm
        self.dynamic, self.fullgraph = dynamic, fullgraph
        self.report, self.store = warm.report, warm.store
        self.stores = not isinstance(warm.store, NoStore)
        self._variants: list[Variant] = []

    def compile(
        self,
        lookup: Lookup | None,
        since: float,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Compilation:
        """A compilation of one call. ``lookup`` is what was found for it, and ``since`` when that began."""
        return Compilation(self, lookup, since, args, kwargs)

    def variant(self) -> Variant | None:
        """What was traced of the model as it is now; None, with a note, where it is to run eagerly."""
        for found in self._variants:
            if found.fits():
                if found is not self._variants[0]:  # the next call is most likely like this one
                    self._variants.remove(found)
                    self._variants.insert(0, found)
                return found
        if len(self._variants) > _MOST_STATES:
            if STATE_CHANGES not in self.report.notes:
                self.report.notes.append(STATE_CHANGES)
            return None
        self._variants.insert(0, Variant(self.target, self.dynamic))
        return self._variants[0]


class Variant:
    """What was traced of a model while all that its code can read was the same: whole or in parts."""

    def __init__(self, target: Target, dynamic: bool | None) -> None:
        self._new_tracer = partial(Tracer, dynamic, target.expression)
        self._tracers: dict[bool, Tracer] = {}
        self.watches = list(_first_watch(target.model))
        """Whether what the traces could read is the same. Dynamo does not guard on all of it."""
        self.in_parts: InParts | None = None

    def fits(self) -> bool:
        """Whether what Dynamo has traced may serve, as far as its guards hold."""
        return all(watch.unchanged() or watch.renewed() for watch in self.watches)

    def tracer_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tracer:
        """A tracer of their own for arguments that overlap in memory: Dynamo would run for them what others traced."""
        apart = overlapping(tree_leaves((args, kwargs))) is None
        if apart not in self._tracers:
            self._tracers[apart] = self._new_tracer()
        return self._tracers[apart]


class Compilation:
    """One call through Dynamo.

    Attributes:
        program: what it recorded, if it traced and what came out has a form that can be loaded.
        must_trace: whether something was met that no record can hold: from then on Dynamo is asked at every call.
    """

    def __init__(
        self,
        session: Session,
        lookup: Lookup | None,
        since: float,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._session, self._report, self._lookup = session, session.report, lookup
        model = session.target.model
        self._call = (model, args, kwargs)
        self._began = time.perf_counter()
        self._looked = self._began - since
        self._label = getattr(model, "__qualname__", type(model).__qualname__)
        self._variant: Variant | None = None
        self._miss: Miss | None = None
        if lookup is not None and lookup.request is not None and session.stores:
            self._miss = model_miss(session.store, lookup)
        self._made: Made | None = None
        self.program: Program | None = None
        self.must_trace = False

    def run(self) -> Any:
        """Call the model: as one graph if it is one, or else in parts, from then on while the hooks are the same."""
        _, args, kwargs = self._call
        if _on_cpu(args, kwargs):
            builds.prepare()
        variant = self._variant = self._session.variant()
        if variant is None:
            return self._session.target.call(*args, **kwargs)
        try:
            if variant.in_parts is None:
                try:
                    return self._run_whole(variant)
                except breaking_errors() as error:
                    if self._session.fullgraph or inductor.own_cause(error):
                        _failed(error, whole=True)
                    found = break_of(error)
                except Exception as error:  # noqa: BLE001 - raised again
                    _failed(error, whole=True)
                variant.in_parts = self._take_apart(found)
            try:
                return variant.in_parts(self._broken, args, kwargs)
            except Exception as error:  # noqa: BLE001 - raised again
                _failed(error, whole=False)
        except BaseException:
            self._session.backend.give_up()
            raise

    # -- the trace

    def _run_whole(self, variant: Variant) -> Any:
        """Trace repeated blocks once, and where that fails, all of them."""
        model, args, kwargs = self._call
        repeats = self._session.repeats
        tracer = variant.tracer_of(args, kwargs)
        try:
            with repeats:
                result = tracer(self, model, args, kwargs)
            self._report.notes.extend(repeats.take_notes())
            return result
        except Exception as error:
            own = inductor.own_cause(error)
            if (own and not isinstance(own, NotRepeatable)) or not repeats.give_up(own or error):
                raise
        result = tracer(self, model, args, kwargs)
        self._report.notes.append(f"every block was traced: {repeats.refused}")
        return result

    def lower(self, gm: torch.fx.GraphModule) -> Callable[..., Any]:
        """Compile the traced graph, piece by piece; why it was traced is told before why pieces are compiled."""
        self._tell_miss()
        self._made = self._session.backend.compile(gm, self._began)
        return self._made.run

    def traced(self, trace: Trace) -> None:
        """Record a trace before it runs for the first time, while everything is as the trace saw it."""
        made, variant = self._made, self._variant
        assert made is not None
        assert variant is not None
        made.finish()  # kernels were being built while Dynamo built guards
        self._report.seconds["total"] += self._looked
        scope = dict(zip(("model", "args", "kwargs"), self._call, strict=True))
        try:
            with self._report.phase("record"):
                relied = relied_on(trace, scope, made.operators)
                variant.watches.append(Watch(relied.state, partial(State, relied.reads, self._call[0])))
                lookup = self._lookup
                if lookup is None or not self._session.stores:
                    return
                if lookup.unusable is not None:
                    self._report.traced_because.append(lookup.unusable)
                    raise CannotRecordError(lookup.unusable)
                key, manifest, files = record(trace, relied, made, lookup, self._passes())
                guards = Guards(manifest, key.state, **scope)
                run = bind(manifest, key.state, made.unasked)
        except CannotRecordError as error:
            if self._session.stores:
                self._cannot(str(error))
        except (
            TensorsOverlap
        ):  # the back end runs this call as it was traced, and says so; others can be compiled
            return
        except ProgramMismatch as error:
            self._cannot(f"its record does not hold for the call that was traced: {error}")
        except Exception as error:
            # What is traced runs all the same. Whoever asks why gets the error, and the log where it came from.
            logger.debug("A trace could not be recorded", exc_info=error)
            self._cannot(f"an error while it was recorded: {type(error).__name__}: {error}")
        else:
            self._session.warm.keep(lookup, key, manifest, files)
            self.program = Program(manifest, guards, run, None)

    def unreadable(self, reason: str) -> None:
        """The trace runs, and cannot be recorded."""
        if self._session.stores and not self.must_trace:
            self._cannot(reason)

    def _passes(self) -> PassesFound:
        """The passes as a record keeps them: as they stand now, after all of them have been imported."""
        passes = self._session.warm.passes()
        if passes.default and any(_is_patched(type(p)) for p in self._session.backend.manager.passes):
            raise CannotRecordError("a pass of passprint's library was monkeypatched")
        return passes

    # -- in parts

    def _take_apart(self, found: GraphBreak) -> InParts:
        """Go on in the parts between graph breaks. What is between them is Python's, so no record can hold it all."""
        self._miss = None  # there will never be a program of this model: that none is stored is not why
        self._report.seconds["total"] += self._looked
        in_parts = InParts(self._session.target.call, self._session.backend, self._session.dynamic)
        in_parts.tell(self._broken, found)
        return in_parts

    def _broken(self, found: GraphBreak) -> None:
        reason = f"a graph break at {found}" if found.place else f"a graph break: {found}"
        self._report.graph_breaks.append(found)
        self._report.traced_because.append(reason)
        self._must_trace(reason)

    # -- why

    def _tell_miss(self) -> None:
        """Say why the model is traced."""
        miss, self._miss = self._miss, None
        if miss is None:
            return
        self._missed(miss)
        if miss.nearest and self._lookup is not None and self._lookup.keys:
            self._report.traced_because.append(miss.reason.removeprefix(STORED))

    def _cannot(self, reason: str) -> None:
        self._report.notes.append(f"warm start must trace: {reason}")
        self._must_trace(reason)

    def _must_trace(self, reason: str) -> None:
        self.must_trace = True
        said = f"warm start must trace: {reason}"
        self._session.store.bypass(said)
        self._missed(Miss("bypass", "", self._label, said))

    def _missed(self, miss: Miss) -> None:
        self._report.misses.append(miss)
        self._session.store.missed(miss)
        for lost in patches.missing():
            if lost not in self._report.notes:
                self._report.notes.append(lost)


def _first_watch(model: Callable[..., Any]) -> Iterator[Watch]:
    """A watch of what is read whatever a trace finds, or if it finds nothing that can be recorded: modules, hooks."""
    reads = own_reads(model)
    with suppress(CannotRecordError):
        yield Watch(State(reads, model), partial(State, reads, model))


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
