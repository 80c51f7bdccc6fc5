"""The one place of this room that touches private torch names: Inductor's slots for custom passes.

Read against torch 2.11, 2.12 and 2.13 (run on 2.13). Inference-aware passes are there since 2.12. Since 2.13 a slot
also takes a list or tuple of passes.
``tests/pipeline/test_pipeline_torch_door.py`` fails with the name that moved when a newer torch no longer has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch._inductor import custom_graph_pass
from torch._inductor.custom_graph_pass import CustomGraphPass

if TYPE_CHECKING:
    from torch._inductor.custom_graph_pass import CustomInferenceAwareGraphPass
else:

    class _NoInferenceAwarePass(CustomGraphPass):
        """Stands in on torch 2.11, where no pass is inference-aware: nothing but our chain is one of these."""

    CustomInferenceAwareGraphPass = getattr(
        custom_graph_pass, "CustomInferenceAwareGraphPass", _NoInferenceAwarePass
    )

__all__ = [
    "HOOKS",
    "CustomGraphPass",
    "CustomInferenceAwareGraphPass",
    "passes_in_slot",
    "slot_holding",
    "trace_artifact",
]

#: Our name of each hook → the field of torch._inductor.config.
HOOKS = {
    "pre_grad": "pre_grad_custom_pass",
    "joint_pre": "joint_custom_pre_pass",
    "joint_post": "joint_custom_post_pass",
    "post_grad_pre": "post_grad_custom_pre_pass",
    "post_grad_post": "post_grad_custom_post_pass",
}


def passes_in_slot(hook: str) -> tuple[Any, ...]:
    """What stands in the slot now, in the order in which it runs."""
    from torch._inductor import config

    found = getattr(config, HOOKS[hook])
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list | tuple) else (found,)


@contextmanager
def slot_holding(hook: str, value: object) -> Iterator[None]:
    """Put ``value`` into the slot, and put back what was there, also if that changed in between."""
    from torch._inductor import config

    with config.patch({HOOKS[hook]: value}):
        yield


def trace_artifact(name: str, text: Callable[[], str]) -> None:
    """Add a text to torch's structured trace, so that ``tlparse`` shows it; free when tracing is off."""
    torch._logging._internal.trace_structured(
        "artifact",
        metadata_fn=lambda: {"name": name, "encoding": "string"},
        payload_fn=text,
        expect_trace_id=False,
    )
