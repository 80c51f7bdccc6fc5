"""Models that do not trace as one graph: compiled in the parts between their graph breaks, as ``torch.compile`` does.

What is reached here, and why there is no public way: ``torch._dynamo.graph_break_reasons`` and the ``real_stack`` of
Dynamo's exceptions name the user's line that broke the graph; ``torch.compile`` only logs it. Read against torch 2.11
to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from traceback import FrameSummary
from typing import Any

import torch

from passprint.compiler.record import GraphBreak

_BRANCH = "generic_jump"  # what Dynamo's list says where its exception says "Data-dependent branching"


def breaking_errors() -> tuple[type[Exception], ...]:
    """What Dynamo raises for something that it can still compile in parts."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, Unsupported, UserError

    return (Unsupported, UserError, FailOnRecompileLimitHit)


def break_of(error: Exception) -> GraphBreak:
    """The graph break that an error of Dynamo's tells of."""
    from torch._dynamo.exc import FailOnRecompileLimitHit

    if isinstance(error, FailOnRecompileLimitHit):
        return GraphBreak(
            "", "", "more graphs than torch._dynamo.config.recompile_limit allows for one function"
        )
    return _break(str(error), getattr(error, "real_stack", None) or ())


class InParts:
    """A model through ``torch.compile``, graph breaks allowed; each new one is told before the call returns.

    Each graph goes through ``backend``, so its pieces are found in the store; the code between is Python's.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        backend: Callable[..., Any],
        dynamic: bool | None,
    ) -> None:
        def one_graph(gm: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
            run: Callable[..., Any] = backend(gm, example_inputs)
            return run

        # A function of its own: Dynamo keeps graphs by the back end's identity, and a Backend compares by value.
        compiled: Any = torch.compile(model, backend=one_graph, dynamic=dynamic)
        # Torch's module around the model is none of the model's: hooks for all modules do not run for it.
        self._compiled: Any = compiled.forward if isinstance(model, torch.nn.Module) else compiled
        self._known: set[GraphBreak] = set()

    def tell(self, told: Callable[[GraphBreak], None], found: GraphBreak) -> None:
        """Report a break, unless one at this line is known."""
        if all(one.place != found.place for one in self._known):
            self._known.add(found)
            told(found)

    def __call__(
        self, told: Callable[[GraphBreak], None], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run the model; what it raises itself comes out as it is."""
        before = len(_reasons())
        try:
            with _guarded_hooks():
                return self._compiled(*args, **kwargs)
        finally:
            reasons = _reasons()
            for reason in reasons[
                before if before <= len(reasons) else 0 :
            ]:  # torch._dynamo.reset() empties it
                self.tell(told, _break(reason.reason, reason.user_stack))


def _guarded_hooks() -> AbstractContextManager[None]:
    """Modules that share a frame's code share what was traced of it: one with a hook must not serve one without."""
    import torch._dynamo.config as dynamo_config

    config: Any = dynamo_config
    patched: AbstractContextManager[None] = config.patch(skip_nnmodule_hook_guards=False)
    return patched


def _reasons() -> Sequence[Any]:
    import torch._dynamo

    dynamo: Any = torch._dynamo
    found: Sequence[Any] = dynamo.graph_break_reasons
    return found


def _break(text: str, stack: Iterable[FrameSummary]) -> GraphBreak:
    title = text.strip().partition("\n")[0]
    if title.startswith(_BRANCH):
        title = "Data-dependent branching"
    frame = next(iter(reversed(list(stack))), None)
    if frame is None:
        return GraphBreak("", "", title)
    file = frame.filename.replace("\\", "/").rpartition("/")[2]
    return GraphBreak(f"{file}:{frame.lineno} in {frame.name}", (frame.line or "").strip(), title)
