"""The one door to torch's private names in the compiler room. Read and run on torch 2.11 to 2.15.

What is reached here, and why there is no public way:

- ``torch._inductor.standalone_compile``: compile one graph module without Dynamo,
- ``torch._dynamo.utils.dynamo_timed`` and ``torch._logging.trace_structured``: put our phases and graphs where
  torch's own tools show them,
- ``torch._inductor.config`` / ``torch._functorch.config``: the settings that a compiled piece depends on,
- ``torch._dynamo.mark_dynamic``,
- the address of a storage.
"""

from __future__ import annotations

import inspect
import logging
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.fx import GraphModule

from passprint.compiler.lowering import regions, triton, user_code
from passprint.compiler.lowering.strides import plain_strides
from passprint.compiler.lowering.subclasses import flat
from passprint.compiler.lowering.unsupported import unsupported
from passprint.errors import PassprintError

Runnable = Callable[..., Any]
log = logging.getLogger("passprint")


NOT_SERIALIZABLE = "torch cannot serialize what it compiled from this graph"


class NoCppWrapper(Exception):
    """An operator of the graph can only be called from Python. Internal: it is compiled in the usual way."""


_PYTHON_IN_CPP = b"PyImport_ImportModule"


class NotSerializable(PassprintError):
    """Torch can compile the graph, but not serialize the result; the text says why."""


# ---- compiling ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Artifact:
    """What ``standalone_compile`` made: something to call, and its serialized form where torch can give one.

    ``reused``: one of Inductor's own caches had it, so no pass ran. ``writes``: it may write to an input.
    ``grad``: it was compiled for calls with gradients on. ``cpp``: its wrapper is C++. ``strides``: by output those
    that it gives it, a text for each dimension; empty where that is not known.
    """

    call: Runnable
    payload: bytes | None
    reused: bool
    writes: bool
    grad: bool
    cpp: bool
    strides: Sequence[Sequence[str] | None] = ()


def compile_graph(
    gm: GraphModule, inputs: Sequence[object], *, fake_mode: Any | None, serializable: bool, cpp: bool = False
) -> Artifact:
    """Compile ``gm`` for ``inputs`` (fake tensors and symbolic sizes). ``gm`` is given away.

    To be called inside a back end of Dynamo. ``fake_mode`` is the mode that the fake tensors belong to: it is not
    the one that Dynamo shows to back ends, and only it remembers which numbers were read from tensors.

    With ``serializable`` the result carries the bytes that :func:`load_artifact` takes. :class:`NotSerializable` is
    raised for a graph with something that torch's own caches refuse. Where torch finds that out only while it compiles,
    it is raised as well, or the result has no bytes. With ``cpp`` the wrapper is C++ as well; :class:`NoCppWrapper` is
    raised where that would call Python.
    """
    import torch._inductor as package

    standalone_compile: Any = package.standalone_compile
    functorch_config: Any = torch._functorch.config
    hits = _cache_hits()
    triton.settle_assembler()
    donate = {"donate_graph_module": True} if _accepts(standalone_compile, "donate_graph_module") else {}
    try:
        # torch 2.11 lowers a backward graph only when it is first needed, which is too late to store it.
        functorch = functorch_config.patch("force_non_lazy_backward_lowering", True)
        kept = regions.cacheable(gm) if serializable else _nothing_to_save()
        wrapper = _cpp_wrapper() if cpp else nullcontext()
        with _tracing_of(fake_mode), functorch, plain_strides(), kept, _tagged(gm, inputs), wrapper:
            if serializable and (reason := unsupported(gm)) is not None:
                raise NotSerializable(reason)
            artifact = standalone_compile(
                gm, inputs, dynamic_shapes="from_tracing_context", options={}, aot=serializable, **donate
            )
    except RuntimeError as error:
        if serializable and "serialize" in str(error):
            raise NotSerializable(NOT_SERIALIZABLE) from error
        raise
    payload = _serialized(artifact) if serializable and _can_serialize(artifact) else None
    if cpp and (payload is None or _PYTHON_IN_CPP in payload):
        raise NoCppWrapper
    entry = None if payload is None else pickle.loads(payload)[0]
    return Artifact(
        artifact,
        payload,
        reused=_cache_hits() > hits,
        writes=entry is None or _writes(entry),
        grad=torch.is_grad_enabled(),
        cpp=cpp,
        strides=() if entry is None else _output_strides(entry),
    )


def is_transformed(value: torch.Tensor) -> bool:
    """Whether a tensor is one that a functorch transform passes around (``vmap``'s batched one, say)."""
    functorch: Any = torch._C._functorch
    return bool(functorch.is_functorch_wrapped_tensor(value))


def _cpp_wrapper() -> AbstractContextManager[Any]:
    """Let Inductor write the code that calls kernels in C++, all of a graph in one library."""
    import torch._inductor.config as inductor_config

    config: Any = inductor_config
    patch: AbstractContextManager[Any] = config.patch(cpp_wrapper=True, cpp_wrapper_build_separate=False)
    return patch


def _tagged(gm: GraphModule, inputs: Sequence[object]) -> AbstractContextManager[Any]:
    """Put into the keys of torch's own caches which inputs share a storage, and the user's code that lowering runs.

    They leave out both, and give what was compiled for two views of one storage to two tensors of their own, and what
    was compiled with a composite operator to one that was edited. So do they the data type of an autocast region.
    """
    tensors = [part for value in inputs if isinstance(value, torch.Tensor) for part in flat(value)]
    storages = [tensor.untyped_storage()._cdata for tensor in tensors if tensor.layout is torch.strided]
    shared = [storages.index(storage) for storage in storages]
    words = ["inputs", *map(str, shared)] if len(set(shared)) < len(shared) else ["inputs apart"]
    words += user_code.words(gm, inputs)
    words += regions.words(gm)
    config: Any = torch.compiler.config
    patch: AbstractContextManager[Any] = config.patch(
        cache_key_tag=f"{config.cache_key_tag} passprint {' '.join(words)}"
    )
    return patch


@contextmanager
def _nothing_to_save() -> Iterator[None]:
    """Torch warns that there is nothing to save; here nothing shall be, and the report says why."""
    log = logging.getLogger("torch._inductor.standalone_compile")

    def other(record: logging.LogRecord) -> bool:
        return "artifact generation failed" not in str(record.msg)

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


def _writes(entry: Any) -> bool:
    """Whether the graph of a ``BundledAOTAutogradResult`` writes to an input."""
    halves = [half.result for half in (entry.compiled_fw, entry.compiled_bw) if half is not None]
    changed = entry.runtime_metadata.mutated_inp_runtime_indices
    return bool(changed) or any(half.mutated_input_idxs for half in halves)


def _output_strides(entry: Any) -> Sequence[Sequence[str] | None]:
    """By output, the strides that Inductor gives it; empty where its outputs are not one by one the graph's."""
    meta, strides = entry.runtime_metadata, entry.compiled_fw.result.output_strides
    plain = (
        entry.compiled_bw is None
        and entry.maybe_subclass_meta is None
        and not meta.mutated_inp_runtime_indices
        and meta.num_intermediate_bases == 0
        and all(info.output_type.name in _OWN for info in meta.output_info)
    )
    return strides if plain and strides is not None and len(strides) == len(meta.output_info) else ()


def _serialized(artifact: Any) -> bytes | None:
    """The bytes of an artifact, or None: torch puts all Triton kernels of the process beside it."""
    try:
        payload: bytes = artifact.serialize()
    except Exception as error:  # noqa: BLE001 - pickling calls anybody's code
        log.info("An artifact cannot be serialized: %s", error)
        return None
    return payload


def _can_serialize(artifact: Any) -> bool:
    """Torch leaves the method empty for a graph that its own caches bypass (an ``autograd.Function``, ``cond``)."""
    return getattr(artifact.inner_fn.compiled_fn, "serialize", None) is not None


def _tracing_of(fake_mode: Any | None) -> AbstractContextManager[Any]:
    """Make ``fake_mode`` the one that ``standalone_compile`` finds; None leaves Dynamo's."""
    guards: Any = torch._guards
    return nullcontext() if fake_mode is None else guards.tracing(guards.TracingContext(fake_mode))


def _cache_hits() -> int:
    from torch._dynamo.utils import counters

    found = counters["aot_autograd"]["autograd_cache_hit"] + counters["inductor"]["fxgraph_cache_hit"]
    return int(found)


def load_artifact(payload: bytes) -> Runnable:
    """The inverse of ``Artifact.payload``: something to call, without compiling anything but missing kernels."""
    from torch._inductor.standalone_compile import AOTCompiledArtifact

    triton.settle_assembler()
    return AOTCompiledArtifact.deserialize(payload)


@cache
def _accepts(function: Callable[..., object], name: str) -> bool:
    return name in inspect.signature(function).parameters


# ---- timing and tracing ---------------------------------------------------------------------------------


def configured(settings: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Inductor with these of its settings."""
    if not settings:
        return nullcontext()
    from torch._inductor import config

    patched: AbstractContextManager[Any] = config.patch(dict(settings))
    return patched


@contextmanager
def timed(phase: str) -> Iterator[None]:
    """Label a phase ``passprint.<phase>`` in torch's ``compile_times()`` and its compile events."""
    from torch._dynamo.utils import dynamo_timed

    with dynamo_timed(f"passprint.{phase}", log_pt2_compile_event=True):
        yield


def trace_text(name: str, text: Callable[[], str]) -> None:
    """Add a text artifact to torch's structured trace, so that ``tlparse`` shows it; free when tracing is off."""
    with timed("trace_structured"):
        torch._logging._internal.trace_structured(
            "artifact",
            metadata_fn=lambda: {"name": name, "encoding": "string"},
            payload_fn=text,
            expect_trace_id=False,
        )


# ---- what a trace is told -------------------------------------------------------------------------------


def mark_dynamic(tensor: torch.Tensor, dimension: int) -> None:
    """Tell Dynamo that a dimension varies. One of size 1 is only hinted: torch specialises on 0 and 1."""
    import torch._dynamo as dynamo

    if tensor.shape[dimension] > 1:
        dynamo.mark_dynamic(tensor, dimension)
    else:
        dynamo.maybe_mark_dynamic(tensor, dimension)


# ---- what a compiled piece depends on besides its graph -------------------------------------------------


def torch_settings() -> dict[str, object]:
    """Torch's version and every setting that changes what is generated, by name."""
    import torch._functorch.config as functorch_config
    import torch._inductor.config as inductor_config

    inductor: Any = inductor_config
    functorch: Any = functorch_config
    deterministic: Any = torch.utils.deterministic
    return {
        # Kernels are built against Python's headers.
        "version": {
            "torch": torch.__version__,
            "git": torch.version.git_version,
            "python": sys.implementation.cache_tag,
        },
        "inductor config": {k: v for k, v in inductor.save_config_portable().items() if k != "cpp.cxx"},
        "functorch config": functorch.save_config_portable(),
        "modes": {
            "grad": torch.is_grad_enabled(),
            "inference": torch.is_inference_mode_enabled(),
            "autocast": regions.autocast(),
            "default dtype": str(torch.get_default_dtype()),
            "default device": str(torch.get_default_device()),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "fill uninitialized memory": deterministic.fill_uninitialized_memory,
            "float32 matmul precision": torch.get_float32_matmul_precision(),
            "threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.enabled,
        },
    }


def mounted_slots() -> dict[str, object]:
    """Passes that stand in Inductor's hooks now, by hook; the empty ones are left out."""
    import torch._inductor.config as inductor_config

    config: Any = inductor_config
    names = (
        "pre_grad_custom_pass",
        "joint_custom_pre_pass",
        "joint_custom_post_pass",
        "post_grad_custom_pre_pass",
        "post_grad_custom_post_pass",
        "_pre_fusion_custom_pass",
        "_post_fusion_custom_pass",
        "custom_partitioner_fn",
    )
    slots = {name: getattr(config, name, None) for name in names}
    return {name: value for name, value in slots.items() if value is not None}


def configured_compilers() -> list[str]:
    """What Inductor looks for as the C++ compiler, in order."""
    import torch._inductor.config as inductor_config

    config: Any = inductor_config
    configured = config.cpp.cxx
    names = configured if isinstance(configured, (tuple, list)) else (configured,)
    return [name for name in names if name]


def is_missing_compiler(error: BaseException) -> bool:
    """Whether torch failed because it found no C++ compiler that works."""
    from torch._inductor.exc import InvalidCxxCompiler

    return any(isinstance(cause, InvalidCxxCompiler) for cause in _causes(error))


# ---- what a serialized artifact holds -------------------------------------------------------------------


def loaded_wrapper(cache_key: str) -> Any:
    """The generated wrapper module of a graph that was compiled in this process, by its key.

    Raises ``LookupError`` where it is not loaded.
    """
    from torch._inductor.codecache import PyCodeCache

    for module in reversed(PyCodeCache.modules):
        if getattr(module, "key", None) == cache_key:
            return module
    raise LookupError(f"no generated module with the key {cache_key} is loaded")


@cache
def plain_extern_kernels() -> frozenset[str]:
    """The ``extern_kernels`` that are torch's function of the same name."""
    from torch._inductor.select_algorithm import extern_kernels

    named = {name: value for name, value in vars(extern_kernels).items() if callable(value)}
    return frozenset(name for name, value in named.items() if getattr(torch, name, None) is value)


@cache
def known_helpers(names: frozenset[str]) -> dict[str, str]:
    """Of these helpers of generated wrappers those that this torch has as they were read, each with its module."""
    from torch._inductor.runtime import runtime_utils

    parameters = ["tensor", "expected_size", "expected_stride", "expected_dtype", "op_name"]
    found = {name: getattr(runtime_utils, name, None) for name in names}
    return {
        name: runtime_utils.__name__
        for name, function in found.items()
        if function is not None and list(inspect.signature(function).parameters) == parameters
    }


def is_plain_inference(entry: Any) -> bool:
    """True where calling the graph's wrapper is nearly all there is: no autograd, subclass or effect.

    Inductor's wrapper writes to inputs in place; :func:`written_inputs` tells which versions count that, and
    :func:`returned_inputs` which outputs are inputs or views of them. ``entry`` is
    torch's ``BundledAOTAutogradResult``; what is checked is what its ``_apply_runtime_wrappers`` and
    ``CompiledFxGraph.post_compile`` would otherwise have to do.
    """
    meta, graph = entry.runtime_metadata, entry.compiled_fw.result
    return bool(
        entry.compiled_bw is None
        and entry.maybe_subclass_meta is None
        and not any(getattr(w, "needs_post_compile", True) for w in entry.dispatch_wrappers)
        and not entry.indices_of_inps_to_detach
        and not meta.mutated_inp_runtime_indices
        and meta.num_intermediate_bases == 0
        and meta.grad_enabled_mutation is None
        and not meta.is_rng_op_functionalized
        and not meta.num_graphsafe_rng_states
        and not meta.tokens
        and all(_is_plain(info, meta) for info in meta.output_info)
        and not graph.constants
        and not graph.frozen_param_names
        and not graph.torchbind_constants
        and not graph.opaque_value_type_classes
        and not graph.inputs_to_check
        and not graph.partition_maps
        and graph.cudagraph_info is None
        and set(graph.device_types) <= {"cpu"}
        and not torch._C._is_any_autocast_enabled()
    )


def _is_plain(info: Any, meta: Any) -> bool:
    """Whether an output is a tensor of the wrapper's, an input, or a view of one without gradients."""
    kind = info.output_type.name
    if kind == "alias_of_input":
        return not info.requires_grad and not meta.input_info[info.base_idx].requires_grad
    return kind in (*_OWN, "is_input")


_OWN = ("non_alias", "unsafe_view_alias", "custom_function_view")
"""The kinds of outputs that torch's runtime gives back as they are."""


def returned_inputs(entry: Any) -> dict[int, tuple[int, bool]]:
    """By output, the input that it is, or that it is a view of (True); of the same kind of ``entry``."""
    return {
        place: (info.base_idx, info.output_type.name == "alias_of_input")
        for place, info in enumerate(entry.runtime_metadata.output_info)
        if info.output_type.name not in _OWN
    }


def written_inputs(entry: Any) -> tuple[int, ...]:
    """The inputs whose version torch's runtime raises before a call of the same kind of ``entry``."""
    return tuple(entry.runtime_metadata.mutated_graph_handled_indices_seen_by_autograd)


def takes_gradients(entry: Any) -> bool:
    """Whether an input requires a gradient, of the same kind of ``entry``."""
    return any(info.requires_grad for info in entry.runtime_metadata.input_info)


def trace_errors() -> tuple[type[Exception], ...]:
    """What Dynamo raises for a model that it cannot trace as one graph."""
    from torch._dynamo.exc import Unsupported, UserError

    return (Unsupported, UserError)


def backend_errors() -> tuple[type[Exception], ...]:
    """What torch wraps around an exception from a back end or a pass."""
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InductorError

    return (BackendCompilerFailed, InductorError)


def asks_for_another_trace(error: BaseException) -> bool:
    """Whether Dynamo is told to trace again by an exception: its own way back up, and no failure."""
    from torch._dynamo.exc import RestartAnalysis

    return any(isinstance(cause, RestartAnalysis) for cause in _causes(error))


def own_cause(error: BaseException) -> PassprintError | None:
    """The error of ours that torch wrapped, or None."""
    return next((cause for cause in _causes(error) if isinstance(cause, PassprintError)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that it wraps or came from."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            todo += [getattr(current, "inner_exception", None), current.__cause__, current.__context__]
