"""vLLM's passes, for ``passprint passes list``."""

from __future__ import annotations

import importlib.util
import inspect

from passprint.integrations.vllm import chosen_mode
from passprint.integrations.vllm.adapter import name_in_pipeline
from passprint.integrations.vllm.door import classes_of_passes


def listed() -> dict[str, type]:
    """By name, the classes of the passes that vLLM has on this platform; none unless ``PASSPRINT_VLLM=passes``.

    Imports vLLM. Raises NotReadError for a vLLM that was not read.
    """
    if chosen_mode() != "passes" or importlib.util.find_spec("vllm") is None:
        return {}
    return {name_in_pipeline(kind): kind for kind in classes_of_passes() if not inspect.isabstract(kind)}
