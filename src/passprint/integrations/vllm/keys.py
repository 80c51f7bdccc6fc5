"""The keys under which vLLM stores what it compiled, with what they miss added and what they need not have left out."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from passprint.identity import Fingerprint, compose
from passprint.integrations.vllm import configuration
from passprint.integrations.vllm.door import PER_PROCESS

if TYPE_CHECKING:
    from passprint.integrations.vllm.bypass import Bypass
    from passprint.integrations.vllm.door import Door
    from passprint.integrations.vllm.passes import PassIdentities


@dataclass(frozen=True)
class Made:
    """What a key was made of."""

    vllm_config: Any
    passes: Fingerprint
    model: Fingerprint | None = None


class Keys:
    """Makes the keys, and remembers in each context what the last one was made of."""

    # What is looked up at the moment is no part of what passes do.
    __fingerprint_ignore__ = ("_made",)

    def __init__(self, door: Door, passes: PassIdentities, bypass: Bypass) -> None:
        self._door = door
        self._passes = passes
        self._bypass = bypass
        self._made: ContextVar[Made | None] = ContextVar("passprint_vllm_key", default=None)

    def environment(self) -> dict[str, object]:
        """The environment variables that count, without those that only say where a process is."""
        found: dict[str, object] = self._door.original("environment")()
        return {name: value for name, value in found.items() if not self._door.says_a_place(name)}

    def factors(self, vllm_config: Any) -> list[Any]:
        """What vLLM looks an artifact up by: its own factors, and the passes."""
        passes = self._of_passes(vllm_config)
        self._made.set(Made(vllm_config, passes))
        own = self._door.original("factors")(self._door.without_places(vllm_config))
        return [*own, passes.digest, self._bypass.nonce]

    def model_key(self, forward: Any) -> str:
        """What vLLM adds for a model: its code, and what its modules have read of the configuration.

        vLLM takes a line number for this, which a comment above changes.
        """
        model = getattr(forward, "__self__", None)
        if model is None:
            return str(self._door.original("model_key")(forward))
        parts = configuration.of_model(model, forward)
        vllm_config = getattr(model, "vllm_config", None)
        if vllm_config is not None:
            parts["configuration"] = configuration.read_by(model, vllm_config, PER_PROCESS)
        found = compose("model", parts)
        made = self._made.get()
        if made is not None:
            self._made.set(replace(made, model=found))
        return found.digest

    def compiler_hash(self, manager: Any, vllm_config: Any) -> str:
        """What vLLM looks artifacts of pieces up by: its own, and the passes."""
        own = self._door.original("compiler_hash")(manager, vllm_config)
        return f"{own}{self._of_passes(vllm_config).digest}{self._bypass.nonce}"

    def last(self) -> tuple[Fingerprint, str, tuple[object, ...]] | None:
        """Of the key that was made last: its named parts, what to call it, and the passes in it."""
        made = self._made.get()
        if made is None:
            return None
        moved = self._door.without_places(made.vllm_config)
        parts: dict[str, object] = {"vllm": self._door.version, "passes": made.passes}
        if made.model is not None:
            parts["model"] = made.model
        parts["environment"] = self.environment()
        parts["configuration"] = self._door.hashes(moved)
        passes = tuple(self._door.configured_passes(made.vllm_config).values())
        return compose("vllm", parts), _label(made.vllm_config), passes

    def _of_passes(self, vllm_config: Any) -> Fingerprint:
        return compose("passes", self._passes.of_configuration(vllm_config))


def _label(vllm_config: Any) -> str:
    name = str(getattr(vllm_config.model_config, "model", "") or "model")
    return os.path.basename(os.path.normpath(name)) if os.path.isdir(name) else name
