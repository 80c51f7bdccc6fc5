"""``mode=`` and ``options=`` as ``torch.compile`` takes them: settings of Inductor for one model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import torch

from passprint.compiler.dependencies.environment import setting_text

_MODES: Final = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Those that are known without importing Inductor."""
_WITH_GRAPHS: Final = ("reduce-overhead", "max-autotune")
_CUDA_GRAPHS: Final = "triton.cudagraphs"


class Settings:
    """What a user gave. Nothing of ``torch._inductor`` is imported for modes that are known."""

    def __init__(self, mode: str | None = None, options: Mapping[str, Any] | None = None) -> None:
        """Raises RuntimeError, as ``torch.compile`` does, where both are given or torch has no such mode."""
        if mode is not None and options is not None:
            raise RuntimeError(
                "Either mode or options can be specified, but both can't be specified at the same time."
            )
        if mode not in (None, *_MODES):
            self._check_mode(mode)
        self.mode = None if mode == "default" else mode
        self.options = dict(options or {})

    def text(self) -> str:
        """For keys: empty where nothing is set. Raises :class:`CannotRecordError` for what has no identity."""
        if self.mode is not None:
            return f"mode {self.mode!r}"
        told = [f"{name} = {setting_text(name, value)}" for name, value in sorted(self.options.items())]
        return f"options {'; '.join(told)}" if told else ""

    def notes(self) -> list[str]:
        """What of it changes nothing on this machine."""
        asks = self.mode in _WITH_GRAPHS or self.options.get(_CUDA_GRAPHS)
        if not asks or torch.cuda.is_available():
            return []
        said = f"mode={self.mode!r}" if self.mode else f"options={{{_CUDA_GRAPHS!r}: True}}"
        return [f"{said} asks for CUDA graphs; without a GPU that changes nothing"]

    def for_inductor(self, dynamic: bool | None) -> dict[str, Any]:
        """Inductor's own names and values. Raises torch's RuntimeError for an option that it does not have."""
        if self.mode is None and not self.options:
            return {}
        check: Any = torch._TorchCompileInductorWrapper
        found: dict[str, Any] = dict(check(self.mode, self.options, dynamic).config)
        if found.get(_CUDA_GRAPHS) and not torch.cuda.is_available():
            del found[_CUDA_GRAPHS]
        return found

    @staticmethod
    def _check_mode(mode: str | None) -> None:
        import torch._inductor as inductor

        try:
            inductor.list_mode_options(str(mode))
        except RuntimeError as error:
            near = difflib.get_close_matches(str(mode), _MODES, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise RuntimeError(f"{error}{hint}") from None
