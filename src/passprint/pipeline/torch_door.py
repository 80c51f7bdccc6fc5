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
    "hint_of",
    "on_real_tensors",
    "CustomGraphPass",
    "CustomInferenceAwareGraphPass",
    "passes_in_slot",
    "same_size",
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


def same_size(found: Any, expected: Any) -> bool:
    """Whether two sizes or numbers are the same for all inputs, as far as torch can tell; no guard is added.

    Two expressions of the same symbols that torch cannot compare count as the same when they are so for the example
    that was traced. A size that only data tells is the same as any.
    """
    if not isinstance(found, _SYMBOLIC) and not isinstance(expected, _SYMBOLIC):
        return bool(found == expected) or (found != found and expected != expected)
    from torch.fx.experimental.symbolic_shapes import (
        free_symbols,
        has_free_unbacked_symbols,
        statically_known_true,
    )

    if has_free_unbacked_symbols(found) or has_free_unbacked_symbols(expected):
        return True
    if statically_known_true(found == expected):
        return True
    if free_symbols(found) != free_symbols(expected):
        return False
    return bool(_hint(found) == _hint(expected) is not None)


_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


def _hint(value: Any) -> Any:
    return value.node.hint if isinstance(value, _SYMBOLIC) else value


def hint_of(value: Any) -> int | float | bool | None:
    """The number that stood for a symbolic one when the graph was traced; a number is its own."""
    found: int | float | bool | None = _hint(value)
    return found


@contextmanager
def on_real_tensors() -> Iterator[None]:
    """Run operators on numbers in the middle of a compile: no fake mode, no tracing, no dispatch mode of others."""
    from torch._guards import tracing
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from torch.utils._python_dispatch import _disable_current_modes

    with tracing(None), unset_fake_temporarily(), _disable_current_modes():
        yield
