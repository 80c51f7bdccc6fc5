"""What surrounds a call and is no argument: modes of autograd, autocast, determinism, threads, stacks of modes.

``torch._C._dynamo.guards.GlobalStateGuard`` (read against torch 2.11 to 2.13) is torch's own C++ check of these; it is
part of torch's binary and needs nothing of ``torch._dynamo``. ``torch.nn.modules.module._has_any_global_hook`` is what
a module asks before it is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import torch.autograd.forward_ad
import torch.distributed
import torch.utils._device

_C: Any = torch._C
_module: Any = torch.nn.modules.module


def snapshot() -> dict[str, str]:
    """Every mode that a compiled program depends on, by name."""
    state = json.loads(_C._dynamo.guards.GlobalStateGuard().__getstate__())
    modes = {name: json.dumps(value, sort_keys=True) for name, value in sorted(state.items())}
    modes["inference mode"] = str(torch.is_inference_mode_enabled())
    modes["default dtype"] = str(torch.get_default_dtype())
    rank = _rank()
    if rank is not None:
        modes["distributed"] = rank
    return modes


def _rank() -> str | None:
    """Which of how many processes this is: Dynamo takes both for constants. None where there is no process group."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    return f"rank {distributed.get_rank()} of {distributed.get_world_size()}"


def unusual() -> str | None:
    """Why nothing may be loaded or recorded here, or None: a mode is active that changes what operators do."""
    if _C._len_torch_function_stack():
        return "a torch function mode (such as a default device) is active"
    if _C._len_torch_dispatch_stack():
        return "a torch dispatch mode is active"
    if _C._functorch.peek_interpreter_stack() is not None:
        return "a functorch transform is active"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if torch.utils._device.CURRENT_DEVICE is not None:
        return "a default device is set"
    if _C._autograd._top_saved_tensors_default_hooks(True) is not None:
        return "hooks for saved tensors are active"
    if _module._has_any_global_hook():
        return "hooks for all modules are registered"
    return None


def checker() -> Callable[[], bool]:
    """A quick test that everything is still as it is now; nothing unusual is active now.

    Torch's check compares the data type of autocast only while that is on; a region in the model may turn it on.
    """
    same_state = _C._dynamo.guards.GlobalStateGuard().check
    inference = torch.is_inference_mode_enabled()
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    types = [torch.get_autocast_dtype(device) for device in devices]

    def check() -> bool:
        return (
            same_state()
            and torch.is_inference_mode_enabled() is inference
            and [torch.get_autocast_dtype(device) for device in devices] == types
            and unusual() is None
        )

    return check
