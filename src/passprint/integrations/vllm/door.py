"""The one place that knows private names of vLLM.

Read against vLLM 0.31, 0.32 and 0.33 (the files that `NAMES` lists), run on 0.32. A version that was not read, a name
that is gone and a function that takes other arguments are a `NotReadError`: nothing is replaced then.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from passprint.errors import PassprintError

READ: Final = ("0.31", "0.32", "0.33")
"""The versions that were read."""


class NotReadError(PassprintError):
    """This vLLM is not one that was read."""


@dataclass(frozen=True)
class Name:
    """A function of vLLM's: its module, its path there, and the arguments that it begins with."""

    module: str
    path: str
    takes: tuple[str, ...]


_PASSES = "vllm.compilation.passes"

NAMES: Final = {
    "hash_source": Name(f"{_PASSES}.inductor_pass", "InductorPass.hash_source", ("srcs",)),
    "hash_dict": Name(f"{_PASSES}.inductor_pass", "InductorPass.hash_dict", ("dict_",)),
    "uuid": Name(f"{_PASSES}.inductor_pass", "InductorPass.uuid", ("self",)),
    "manager_uuid": Name(f"{_PASSES}.pass_manager", "PostGradPassManager.uuid", ("self",)),
    "manager_add": Name(f"{_PASSES}.pass_manager", "PostGradPassManager.add", ("self", "pass_")),
    # what an artifact of the whole model is keyed by, and whether one is loaded
    "factors": Name("vllm.compilation.caching", "aot_compile_hash_factors", ("vllm_config",)),
    "model_key": Name("vllm.compilation.decorators", "_model_hash_key", ("fn",)),
    "load": Name(
        "vllm.compilation.decorators", "_try_load_aot_compiled_fn", ("model", "aot_compilation_path")
    ),
    "check_sources": Name(
        "vllm.compilation.decorators", "_verify_source_unchanged", ("source_info", "vllm_config")
    ),
    "serialize": Name(
        "vllm.compilation.caching",
        "VllmSerializableFunction.serialize_compile_artifacts",
        ("compiled_fn",),
    ),
    # the same for artifacts of pieces (VLLM_USE_MEGA_AOT_ARTIFACT=0)
    "compiler_hash": Name(
        "vllm.compilation.backends", "CompilerManager.compute_hash", ("self", "vllm_config")
    ),
    "environment": Name("vllm.envs", "compile_factors", ()),
    # called for each compiled model, before anything asks whether to cache
    "init_backend": Name(
        "vllm.config.compilation", "CompilationConfig.init_backend", ("self", "vllm_config")
    ),
}

MANAGER_DOOR: Final = Name("vllm.platforms.interface", "Platform.get_pass_manager_cls", ())
"""Where a platform says which pass manager it wants; only the mode ``passes`` replaces it."""

RUN_STATE: Final = {
    f"{_PASSES}.vllm_inductor_pass.VllmInductorPass": ("_start_time", "_end_time"),
    f"{_PASSES}.vllm_inductor_pass.VllmPatternMatcherPass": ("matched_count",),
    f"{_PASSES}.ir.lowering_pass.VllmIRLoweringPass": ("selected_impls",),
}
"""What passes write down as they run: when, and how often they matched. It changes no graph."""

PLACES: Final = frozenset(
    {
        "LD_LIBRARY_PATH",
        "VLLM_BUILD_URL",
        "VLLM_LORA_RESOLVER_CACHE_DIR",
        "VLLM_PROCESS_NAME_PREFIX",
        "VLLM_TORCH_PROFILER_DIR",
    }
)
"""Environment variables that say where a process is or what it is called, by name."""

_ADDRESS: Final = ("_HOST", "_HOSTNAME", "_IP", "_IPS", "_PORT", "_ADDR", "_ADDRESS")
"""How variables end that are addresses: a pod's own, which no graph depends on (V#47573)."""

PER_PROCESS: Final = frozenset(
    {
        "VllmConfig.instance_id",
        "ModelConfig.model",
        "ModelConfig.model_weights",
        "ModelConfig.tokenizer",
        "ModelConfig.served_model_name",
        "ModelConfig.hf_config_path",
        "ModelConfig.seed",
        "LoadConfig.download_dir",
        "CompilationConfig.cache_dir",
        "CompilationConfig.local_cache_dir",
        "CompilationConfig.debug_dump_path",
        "CompilationConfig.traced_files",
        "CompilationConfig.compilation_time",
        "CompilationConfig.encoder_compilation_time",
        "CompilationConfig.enabled_custom_ops",
        "CompilationConfig.disabled_custom_ops",
        "ParallelConfig.rank",
        "ParallelConfig.node_rank",
        "ParallelConfig.data_parallel_rank",
        "ParallelConfig.data_parallel_rank_local",
        "ParallelConfig.data_parallel_index",
        "ParallelConfig.data_parallel_master_ip",
        "ParallelConfig.data_parallel_master_port",
        "ParallelConfig.data_parallel_rpc_port",
        "ParallelConfig.master_addr",
        "ParallelConfig.master_port",
    }
)
"""Fields of configuration that differ between processes which run the same: names, places, and the rank (by which vLLM
stores artifacts apart)."""


class Door:
    """vLLM's names, as they were found; made by `open_door`."""

    def __init__(self, version: str, found: dict[str, tuple[Any, str, Any]]) -> None:
        self.version = version
        self._found = found
        self.inductor_pass: Any = found["uuid"][0]
        self.pass_manager: Any = found["manager_uuid"][0]

    def original(self, key: str) -> Any:
        """The function of `NAMES` that was there when the door was opened."""
        found = self._found[key][2]
        return found.__func__ if isinstance(found, staticmethod | classmethod) else found

    def put(self, key: str, function: Callable[..., Any]) -> None:
        """Put ``function`` in the place of a name of `NAMES`."""
        owner, attribute, found = self._found[key]
        is_bound = isinstance(found, staticmethod | classmethod)
        setattr(owner, attribute, type(found)(function) if is_bound else function)

    def accept(self, kind: type) -> None:
        """Let ``isinstance(one, vllm's InductorPass)`` hold for instances of ``kind``."""
        self.inductor_pass.register(kind)

    def ignore_run_state(self) -> None:
        """Leave out of identities what passes write down as they run."""
        for path, names in RUN_STATE.items():
            module, _, name = path.rpartition(".")
            kind = getattr(importlib.import_module(module), name, None)
            if kind is not None:
                kind.__fingerprint_ignore__ = (*vars(kind).get("__fingerprint_ignore__", ()), *names)

    def has_own_uuid(self, pass_: Any) -> bool:
        """Whether a pass says who it is in a way of its own."""
        return type(pass_).uuid is not self.inductor_pass.uuid

    # -- passes

    def configured_passes(self, vllm_config: Any) -> dict[str, Any]:
        """The passes that a user put into the configuration, by hook."""
        settings = getattr(vllm_config.compilation_config, "inductor_compile_config", None) or {}
        return {hook: value for hook, value in settings.items() if callable(getattr(value, "uuid", None))}

    def wrapped_function(self, pass_: Any) -> Any:
        """The function that vLLM made a pass of, where the pass's uuid is the plain digest of its text; or None.

        Such passes are made while a user's configuration is read, which is before vLLM loads plug-ins.
        """
        kind = getattr(sys.modules[f"{_PASSES}.inductor_pass"], "CallableInductorPass", None)
        function = getattr(pass_, "callable", None)
        if type(pass_) is not kind or function is None:
            return None
        try:
            return function if pass_._uuid == self.original("hash_source")(function) else None
        except (OSError, TypeError):  # there is no text
            return None

    def members(self, manager: Any) -> tuple[Any, ...]:
        """The passes of vLLM's manager, in the order in which they run."""
        return (
            *manager.passes,
            manager.post_cleanup,
            manager.ir_lowering,
            manager.clone_elimination,
            manager.post_cleanup,
            manager.fix_functionalization,
        )

    def manager_class(self) -> Any:
        """The class of the pass manager that the platform asks for."""
        resolve = importlib.import_module("vllm.utils.import_utils").resolve_obj_by_qualname
        return resolve(self.platform().get_pass_manager_cls())

    def platform(self) -> Any:
        """vLLM's platform of this process."""
        return importlib.import_module("vllm.platforms").current_platform

    def compile_range(self) -> Any:
        """The range of sizes that vLLM is compiling for; raises AssertionError outside a compile."""
        return sys.modules[f"{_PASSES}.inductor_pass"].get_pass_context().compile_range

    def implementations(self) -> tuple[Any, ...]:
        """The functions that vLLM's operators are lowered to, in order; users can register some."""
        operators = importlib.import_module("vllm.ir.op").IrOp.registry
        return tuple(
            operators[name].impls[provider].impl_fn
            for name in sorted(operators)
            for provider in operators[name].get_priority()
        )

    @contextmanager
    def numbered(self) -> Iterator[None]:
        """Around a pass of vLLM's: its dumps of graphs have the number of the pass."""
        kind = sys.modules[f"{_PASSES}.vllm_inductor_pass"].VllmInductorPass
        kind.dump_prefix = 0 if kind.dump_prefix is None else kind.dump_prefix + 1
        yield

    # -- configuration

    def without_places(self, vllm_config: Any) -> Any:
        """A copy of a configuration in which a folder of a model has no path: its configuration says what is in it."""
        import copy

        moved = copy.copy(vllm_config)
        if moved.model_config is not None:
            object.__setattr__(moved, "model_config", _moved(moved.model_config))
        draft = getattr(moved.speculative_config, "draft_model_config", None)
        if draft is not None:
            speculative = copy.copy(moved.speculative_config)
            object.__setattr__(speculative, "draft_model_config", _moved(draft))
            object.__setattr__(moved, "speculative_config", speculative)
        return moved

    def hashes(self, vllm_config: Any) -> dict[str, str]:
        """vLLM's own hash of each configuration object, by name, without the passes in it."""
        import copy

        passes = self.configured_passes(vllm_config)
        compilation = copy.copy(vllm_config.compilation_config)
        settings = getattr(compilation, "inductor_compile_config", None) or {}
        kept = {name: value for name, value in settings.items() if name not in passes}
        object.__setattr__(compilation, "inductor_compile_config", kept)
        configs = {**vars(vllm_config), "compilation_config": compilation}
        return {
            name: str(value.compute_hash())
            for name, value in sorted(configs.items())
            if callable(getattr(value, "compute_hash", None))
        }

    def says_a_place(self, variable: str) -> bool:
        """Whether an environment variable only says where a process is."""
        return variable in PLACES or variable.endswith(_ADDRESS)

    def switch_caches_off(self) -> None:
        """vLLM's own switch for all of its compile caches, for this process."""
        os.environ["VLLM_DISABLE_COMPILE_CACHE"] = "1"
        envs = sys.modules.get("vllm.envs")
        if envs is not None and not envs.VLLM_DISABLE_COMPILE_CACHE:  # remembered from before
            envs.disable_envs_cache()


def _moved(model_config: Any) -> Any:
    import copy

    moved = copy.copy(model_config)
    for field in ("model", "model_weights"):
        value = getattr(moved, field, None)
        if isinstance(value, str) and os.path.isdir(value):
            object.__setattr__(moved, field, "")
    return moved


_MARK: Final = "passprint_door"
"""On vLLM's base of passes: the door through which passprint came in, as this state is the process's."""


def installed_door() -> Door | None:
    """The door through which passprint is in this process's vLLM, or None."""
    passes = sys.modules.get(f"{_PASSES}.inductor_pass")
    found = getattr(getattr(passes, "InductorPass", None), _MARK, None)
    return found if isinstance(found, Door) else None


def mark_installed(door: Door) -> None:
    """Remember that passprint is in this process's vLLM."""
    setattr(door.inductor_pass, _MARK, door)


def open_door() -> Door:
    """The names of this process's vLLM. Raises NotReadError where they are not those that were read."""
    version = str(getattr(importlib.import_module("vllm"), "__version__", "unknown"))
    if ".".join(version.split(".")[:2]) not in READ:
        raise NotReadError(
            f"vLLM {version} was not read. Expected {', '.join(READ)}; a newer passprint may know it"
        )
    return Door(version, {key: _find(name, version) for key, name in NAMES.items()})


def put_manager(door: Door, path: str) -> None:
    """Let this process's platform ask for the pass manager at a dotted path. Raises NotReadError."""
    _find(MANAGER_DOOR, door.version)
    type(door.platform()).get_pass_manager_cls = classmethod(lambda cls: path)


def _find(name: Name, version: str) -> tuple[Any, str, Any]:
    """The owner of a name, its attribute there, and what it holds (a staticmethod as such)."""
    where = f"{name.module}.{name.path}"
    try:
        owner: Any = importlib.import_module(name.module)
        *outer, attribute = name.path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        found = vars(owner)[attribute]
    except (ImportError, AttributeError, KeyError) as error:
        raise NotReadError(f"vLLM {version} has no {where}, which {READ[-1]} has") from error
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    taken = tuple(_parameters(function))
    bound = ("cls", *name.takes) if isinstance(found, classmethod) else name.takes
    if taken[: len(bound)] != bound:
        raise NotReadError(
            f"{where} of vLLM {version} takes {', '.join(taken) or 'nothing'}. Expected {', '.join(bound)}"
        )
    return owner, attribute, found


def _parameters(function: Any) -> Iterator[str]:
    yield from inspect.signature(function).parameters


def classes_of_passes() -> list[Any]:
    """The classes of passes that vLLM's pass manager has on this platform. Raises NotReadError."""
    door = installed_door() or open_door()
    manager = sys.modules[f"{_PASSES}.pass_manager"]
    own = [f"{_PASSES}.vllm_inductor_pass", f"{_PASSES}.inductor_pass"]
    return [
        value
        for value in vars(manager).values()
        if isinstance(value, type) and issubclass(value, door.inductor_pass) and value.__module__ not in own
    ]
