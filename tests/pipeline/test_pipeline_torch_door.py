"""Says which of Inductor's slots moved, before anything less clear breaks."""

from __future__ import annotations

import pytest
import torch
from torch._inductor import config, custom_graph_pass

from passprint.pipeline.torch_door import HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_the_slot_is_where_it_was(hook: str) -> None:
    assert hasattr(config, HOOKS[hook]), f"torch {torch.__version__} has no slot {HOOKS[hook]}"


@pytest.mark.parametrize("name", ["CustomGraphPass", "CustomInferenceAwareGraphPass"])
def test_the_base_class_is_where_it_was(name: str) -> None:
    assert hasattr(custom_graph_pass, name), f"torch {torch.__version__} has no {name}"


def test_no_slot_is_forgotten() -> None:
    """A new kind of graph hook in a newer torch shows here."""
    found = {name for name in config.get_config_copy() if "custom_p" in name and name.endswith("pass")}
    schedulers = {"_pre_fusion_custom_pass", "_post_fusion_custom_pass"}
    assert found - schedulers == set(HOOKS.values())
