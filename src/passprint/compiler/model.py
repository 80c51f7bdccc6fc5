"""``passprint.compile``: a model or function, compiled piece by piece through the cache."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch

from passprint.cache.store import StoreSpec
from passprint.compiler import builds, inductor
from passprint.compiler.backend import Backend, PassesSpec, as_manager
from passprint.compiler.record import CompileReport
from passprint.compiler.regions import NotRepeatable
from passprint.compiler.repeat import RepeatedBlocks
from passprint.compiler.sizes import RangeSpec, SizePlan
from passprint.errors import CompileError

DynamicSpec = bool | Mapping[str, Sequence[int]] | None


def compile(
    model: Callable[..., Any],
    *,
    passes: PassesSpec = None,
    cache: StoreSpec = None,
    dynamic: DynamicSpec = None,
    split: str | Sequence[str] = "blocks",
    compile_sizes: Sequence[int] | None = None,
    ranges: Sequence[RangeSpec] | None = None,
) -> Compiled | CompiledModule:
    """Compile ``model`` so that equal blocks are compiled once and a later process loads what this one built.

    Compiling happens at the first call, when the inputs are known, and again for inputs that what is compiled
    does not serve.

    Args:
        model: an ``nn.Module`` or a function that ``torch.compile(fullgraph=True)`` takes.
        passes: a :class:`passprint.PassManager`, a list of passes, a pipeline's text, or None for the default.
        cache: None for the user's folder, a path, a store, or False for none.
        dynamic: as in ``torch.compile`` (None: a size that varies is generalised when it first does; True;
            False), or the dimensions that vary, by argument: ``{"input_ids": (1,)}``.
        split: where to cut the graph into pieces: ``"blocks"`` (repeated blocks), ``"attention"``, a list of op
            names, or ``"whole"``.
        compile_sizes: sizes of the first varying dimension that get code of their own, as ``[8, 64]``.
        ranges: ranges of it, both ends included, that do, as ``[(1, 512), (513, 8192)]``. The code for all sizes
            stays beside them; passes are asked for each whether they apply (``is_applicable_for_range``).

    Returns:
        The compiled model. It is called as ``model`` is, gives ``model``'s attributes, and has a ``report``.

    Raises:
        PipelineError: something in ``passes`` is not a pass.
        CacheError: the cache folder cannot be used.
        CompileError: ``dynamic`` names an unknown argument, or ``compile_sizes`` or ``ranges`` are not sizes; and at
            the first call, the model does not trace as one graph (torch's reason is the cause).
    """
    if not callable(model):
        raise CompileError(
            f"passprint.compile was given a {type(model).__name__}. Expected an nn.Module or a function."
        )
    backend = Backend(as_manager(passes), cache, split, SizePlan.of(compile_sizes, ranges))
    return (
        CompiledModule(model, backend, dynamic)
        if isinstance(model, torch.nn.Module)
        else Compiled(model, backend, dynamic)
    )


class Compiled:
    """A compiled function: call it as the original. ``report`` tells what compiling did."""

    def __init__(self, model: Callable[..., Any], backend: Backend, dynamic: DynamicSpec) -> None:
        self._prepare(model, backend, dynamic)

    def _prepare(self, model: Callable[..., Any], backend: Backend, dynamic: DynamicSpec) -> None:
        self._backend = backend
        self._repeats = RepeatedBlocks(model)
        self._varying = _Varying(model, dynamic) if isinstance(dynamic, Mapping) else None
        whole = None if isinstance(dynamic, Mapping) else dynamic
        self._call = torch.compile(model, backend=backend, fullgraph=True, dynamic=whole)

    @property
    def report(self) -> CompileReport:
        """What was compiled, loaded and matched so far."""
        return self._backend.report

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model; compiles first where nothing compiled serves these inputs."""
        if self._varying is not None:
            self._varying.mark(args, kwargs)
        self._backend.handed_over_since = time.perf_counter()
        if self._backend.report.graphs == 0 and _on_cpu(args, kwargs):
            builds.prepare()
        try:
            with self._repeats:
                result = self._call(*args, **kwargs)
            self.report.notes.extend(self._repeats.take_notes())
            return result
        except Exception as error:  # noqa: BLE001 - whatever tracing a block once meets, a trace in full decides
            own = inductor.own_cause(error)
            if (own and not isinstance(own, NotRepeatable)) or not self._repeats.give_up(error):
                return self._failed(error)
        try:
            result = self._call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again
            return self._failed(error)
        self.report.notes.append(f"every block was traced: {self._repeats.refused}")
        return result

    def _failed(self, error: Exception) -> NoReturn:
        """Raise what torch wrapped, or say that the model is not one graph."""
        try:
            raise error
        except inductor.trace_errors() as error:
            raise CompileError(
                f"The model does not trace as one graph, which passprint.compile needs. Torch says:\n{error}"
            ) from error
        except inductor.backend_errors() as error:
            reason = inductor.own_cause(error)
            if reason is None:
                raise
            raise reason from error


class CompiledModule(torch.nn.Module):
    """A compiled module: parameters and attributes are the original's. ``report`` tells what compiling did."""

    _orig_mod: torch.nn.Module

    def __init__(self, model: torch.nn.Module, backend: Backend, dynamic: DynamicSpec) -> None:
        super().__init__()
        self._orig_mod = model
        self._compiled = Compiled(model, backend, dynamic)
        self.training = model.training

    @property
    def report(self) -> CompileReport:
        """What was compiled, loaded and matched so far."""
        return self._compiled.report

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model; compiles first where nothing compiled serves these inputs."""
        return self._compiled(*args, **kwargs)

    __call__ = forward

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


def _on_cpu(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the first tensor among the arguments is on the CPU; then its kernels will be C++."""
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
    return all(tensor.device.type == "cpu" for tensor in itertools.islice(tensors, 1))


class _Varying:
    """Marks the dimensions that vary, by argument name, on the tensors of each call."""

    def __init__(self, model: Callable[..., Any], dynamic: Mapping[str, Sequence[int]]) -> None:
        target = model.forward if isinstance(model, torch.nn.Module) else model
        parameters = inspect.signature(target).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        unknown = [name for name in dynamic if name not in parameters and not open_ended]
        if unknown:
            raise CompileError(
                f"dynamic= names the argument {unknown[0]!r}. The model takes {', '.join(parameters)}."
            )
        self._dimensions = {name: tuple(dims) for name, dims in dynamic.items()}
        positions = {name: i for i, name in enumerate(parameters)}
        self._positions = {name: positions[name] for name in dynamic if name in positions}

    def mark(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
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
            for dimension in dimensions:
                inductor.mark_dynamic(value, dimension)


__all__ = ["Compiled", "CompiledModule", "DynamicSpec", "compile"]
