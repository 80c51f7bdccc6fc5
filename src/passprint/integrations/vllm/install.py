"""Puts passprint into vLLM: what stands in the place of which of vLLM's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passprint.integrations.vllm.bypass import Bypass
from passprint.integrations.vllm.door import Door, installed_door, mark_installed, open_door
from passprint.integrations.vllm.history import History
from passprint.integrations.vllm.keys import Keys
from passprint.integrations.vllm.passes import PassIdentities
from passprint.integrations.vllm.sources import are_same_code


def install(mode: str) -> None:
    """Put passprint into this process's vLLM, once. Raises NotReadError, and then nothing was changed."""
    if installed_door() is not None:
        return
    door = open_door()
    door.ignore_run_state()
    _put_identity(door)
    _accept_passes(door)
    if mode == "passes":
        from passprint.integrations.vllm.manager import choose_manager

        choose_manager(door)
    mark_installed(door)


def _put_identity(door: Door) -> None:
    bypass = Bypass(door)
    passes = PassIdentities(door, bypass)
    keys = Keys(door, passes, bypass)
    history = History(keys, bypass)

    def soft(ours: Callable[..., Any], key: str) -> Callable[..., Any]:
        """``ours``; where it fails, vLLM's own answer with the caches off: alone, it could be what is stale."""
        theirs = door.original(key)

        def answer(*args: Any, **kwargs: Any) -> Any:
            try:
                return ours(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  (whatever it is, the engine runs)
                bypass.failed(f"passprint's {key}", error)
                return theirs(*args, **kwargs)

        return answer

    door.put("hash_source", soft(passes.hash_source, "hash_source"))
    door.put("hash_dict", soft(passes.hash_dict, "hash_dict"))
    door.put("uuid", soft(lambda self: passes.uuid(self), "uuid"))
    door.put("manager_uuid", soft(lambda self: passes.manager_uuid(self), "manager_uuid"))
    door.put("environment", soft(keys.environment, "environment"))
    door.put("factors", soft(keys.factors, "factors"))
    door.put("model_key", soft(keys.model_key, "model_key"))
    door.put("compiler_hash", soft(lambda self, *args: keys.compiler_hash(self, *args), "compiler_hash"))
    _put_loading(door, passes, bypass, history)


def _put_loading(door: Door, passes: PassIdentities, bypass: Bypass, history: History) -> None:
    load, serialize = door.original("load"), door.original("serialize")
    check_sources, init_backend = door.original("check_sources"), door.original("init_backend")

    def init_backend_checked(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            passes.check(vllm_config)
        except Exception as error:  # noqa: BLE001  (whatever it is, the engine runs)
            bypass.failed("passprint's look at the passes", error)
        return init_backend(self, vllm_config, *args, **kwargs)

    def load_or_note(model: Any, path: str) -> Any:
        loaded = None if bypass.is_on() else load(model, path)
        if loaded is None:
            history.missed(path)
        return loaded

    def check_sources_as_code(source_info: Any, vllm_config: Any) -> None:
        try:
            check_sources(source_info, vllm_config)
        except RuntimeError:
            if not are_same_code(source_info):
                raise

    def serialize_unless_bypassed(cls: Any, compiled_fn: Any) -> Any:
        if bypass.is_on():  # vLLM says so in a warning and goes on
            raise RuntimeError(f"passprint: {bypass.reason}")
        stored = serialize(cls, compiled_fn)
        history.stored()
        return stored

    door.put("init_backend", init_backend_checked)
    door.put("load", load_or_note)
    door.put("check_sources", check_sources_as_code)
    door.put("serialize", serialize_unless_bypassed)


def _accept_passes(door: Door) -> None:
    """Passes of passprint's are vLLM's too, and run in a pass context that has the range of sizes."""
    from passprint.integrations.vllm.adapter import in_vllm
    from passprint.passes import InductorPass
    from passprint.pipeline import PassManager

    add = door.original("manager_add")
    door.accept(InductorPass)
    door.accept(PassManager)
    door.put("manager_add", lambda self, pass_: add(self, in_vllm(pass_, door)))
