"""passprint inside vLLM. vLLM finds `register` by its entry point and calls it in each of its processes.

``PASSPRINT_VLLM`` chooses what it does:

- ``identity`` (the default): passes, and what else vLLM's compile keys miss, are identified by what they are.
- ``passes``: the same, and vLLM's passes run in a `passprint.PassManager`.
- ``off``: nothing.

Nothing of vLLM is imported before vLLM calls. Where its version was not read, or a name has moved, there is one warning
and vLLM runs as it is.
"""

from __future__ import annotations

import os

from passprint.warned import warn

MODES = ("off", "identity", "passes")
VARIABLE = "PASSPRINT_VLLM"


class VllmWarning(UserWarning):
    """passprint leaves vLLM as it is, or keeps it from caching, and why."""


def chosen_mode() -> str:
    """What ``PASSPRINT_VLLM`` says; "off" with a warning where it says something else."""
    mode = os.environ.get(VARIABLE) or "identity"
    if mode in MODES:
        return mode
    warn(f"{VARIABLE} is {mode!r}. Expected {', '.join(MODES)}; vLLM runs as it is", VllmWarning)
    return "off"


def register() -> None:
    """Put passprint into this process's vLLM, as ``PASSPRINT_VLLM`` says. Never raises."""
    mode = chosen_mode()
    if mode == "off":
        return
    try:
        from passprint.integrations.vllm.install import install

        install(mode)
    except Exception as error:  # noqa: BLE001  (a plug-in that raises would stop the engine)
        reason = str(error) or type(error).__name__
        warn(f"passprint leaves vLLM as it is: {reason}. {VARIABLE}=off says that it should", VllmWarning)
