"""vLLM's pass manager with a `passprint.PassManager` inside: the same passes in the same order, each with a name.

This module imports vLLM: only vLLM asks for it, by the name that `choose_manager` gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx import Graph

from passprint.integrations.vllm.adapter import as_range, member_for
from passprint.integrations.vllm.door import open_door, put_manager
from passprint.passes import pass_context
from passprint.pipeline import PassManager

if TYPE_CHECKING:
    from passprint.integrations.vllm.door import Door


def choose_manager(door: Door) -> None:
    """Let this process's platform ask for a manager of passprint's over the one that it has. Raises NotReadError."""
    managers = _Managers(door.manager_class())
    globals()["NamedPassManager"] = managers.kind
    put_manager(door, f"{__name__}.NamedPassManager")


class _Managers:
    """Makes the class of pass managers that extends a platform's own."""

    def __init__(self, base: Any) -> None:
        class NamedPassManager(base):  # type: ignore[misc]
            """Runs the passes that vLLM configures in a `passprint.PassManager`."""

            __fingerprint_ignore__ = ("_pipeline", "_listed")

            def pipeline(self) -> PassManager:
                """The passes as they run now; vLLM adds some after it has configured its own."""
                door = open_door()
                members = door.members(self)
                if getattr(self, "_listed", None) != members:
                    self._listed = members
                    self._pipeline = PassManager([member_for(one, door) for one in members])
                pipeline: PassManager = self._pipeline
                return pipeline

            def __call__(self, graph: Graph) -> None:
                with pass_context(as_range(open_door().compile_range())):
                    self.pipeline()(graph)

            def uuid(self) -> Any:
                """vLLM's, with what `PASSPRINT_PASSES` and limits leave out."""
                with pass_context(as_range(open_door().compile_range())):
                    chosen = self.pipeline().uuid()
                return f"{base.uuid(self)}{chosen}"

        self.kind = NamedPassManager
