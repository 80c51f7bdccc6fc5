"""vLLM's pass manager with a `passprint.PassManager` inside: the same passes in the same order, each with a name.

This module imports vLLM: only vLLM asks for it, by the name that `choose_manager` gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx import Graph

from passprint.integrations.vllm.adapter import as_range, member_for
from passprint.integrations.vllm.door import put_manager
from passprint.passes import pass_context
from passprint.pipeline import PassManager

if TYPE_CHECKING:
    from passprint.integrations.vllm.door import Door


def choose_manager(door: Door) -> None:
    """Let this process's platform ask for a manager of passprint's over the one that it has. Raises NotReadError."""
    globals()["NamedPassManager"] = _named(door.manager_class(), door)
    put_manager(door, f"{__name__}.NamedPassManager")


def _named(base: Any, door: Door) -> Any:
    """The class of pass managers that extends a platform's own."""

    class NamedPassManager(base):  # type: ignore[misc]
        """Runs the passes that vLLM configures in a `passprint.PassManager`."""

        __fingerprint_ignore__ = ("_pipeline", "_listed")

        def pipeline(self) -> PassManager:
            """The passes as they run now; vLLM adds some after it has configured its own."""
            members = door.members(self)
            if getattr(self, "_listed", None) != members:
                self._listed = members
                self._pipeline = PassManager([member_for(one, door) for one in members])
            pipeline: PassManager = self._pipeline
            return pipeline

        def __call__(self, graph: Graph) -> None:
            with pass_context(as_range(door.compile_range())):
                self.pipeline()(graph)

        def uuid(self) -> Any:
            """vLLM's, with what a selection or a limit leaves out."""
            with pass_context(as_range(door.compile_range())):
                chosen = self.pipeline().uuid()
            return f"{base.uuid(self)}{chosen}"

    return NamedPassManager
