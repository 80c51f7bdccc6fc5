"""``torch.compiler.set_stance`` holds for what passprint compiled as it does for what ``torch.compile`` did.

What is read here, and why there is no public way: ``torch._dynamo.eval_frame._stance``; torch has no function that
tells the stance. Where the name is gone, stances are not followed. Read against torch 2.11 to 2.15.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import torch

EAGER: Final = "force_eager"
_ON_RECOMPILE: Final = "eager_on_recompile"
_FAIL: Final = "fail_on_recompile"
_BACKEND: Final = "force_backend"


def present() -> str | None:
    """The stance of this process where it asks for anything else than to compile; nothing of torch is imported."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    stance: Any = getattr(frames, "_stance", None)
    if stance is None or (stance.stance == "default" and stance.backend is None):
        return None
    if stance.backend is not None:
        return _BACKEND
    return stance.stance if stance.stance in (EAGER, _ON_RECOMPILE, _FAIL) else None


def instead(stance: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """What runs a call that nothing compiled serves. Raises RuntimeError, as torch does, where nothing may."""
    if stance == _FAIL:
        raise RuntimeError(
            "Detected recompile when torch.compile stance is 'fail_on_recompile': nothing that passprint has compiled "
            "or loaded in this process serves this call. Call it with the default stance first"
        )
    return torch.compile(call) if stance == _BACKEND else call
