"""Says which of Inductor's slots moved, before anything less clear breaks."""

from __future__ import annotations

import threading

import pytest
import torch
from tests.versions import since
from torch._inductor import compile_fx, config, custom_graph_pass

from passprint.pipeline.torch_door import HOOKS, RECURSIVE, is_per_thread, put_for_process, value_in_slot


@pytest.mark.parametrize("hook", HOOKS)
def test_the_slot_is_where_it_was(hook: str) -> None:
    assert hasattr(config, HOOKS[hook].slot), f"torch {torch.__version__} has no slot {HOOKS[hook].slot}"


@pytest.mark.parametrize(
    "name",
    [
        "CustomGraphPass",
        "CustomGraphModulePass",
        pytest.param("CustomInferenceAwareGraphPass", marks=since((2, 12), "it")),
        pytest.param("CustomSchedulerPass", marks=since((2, 13), "it")),
        "CustomPartitionerFn",
    ],
)
def test_the_base_class_is_where_it_was(name: str) -> None:
    assert hasattr(custom_graph_pass, name), f"torch {torch.__version__} has no {name}"


@pytest.mark.parametrize("name", RECURSIVE)
def test_what_runs_the_passes_of_branches_is_where_it_was(name: str) -> None:
    code = getattr(compile_fx, name).__code__
    names = {
        *code.co_names,
        *(one for part in code.co_consts if hasattr(part, "co_names") for one in part.co_names),
    }
    assert name in names, f"torch {torch.__version__} runs the passes of branches in another way than {name}"


def test_no_slot_is_forgotten() -> None:
    """A new kind of hook in a newer torch shows here."""
    found = {
        name for name in config.get_config_copy() if "custom_p" in name and name[-4:] in ("pass", "r_fn")
    }
    assert found == {hook.slot for hook in HOOKS.values()}


def seen_by_a_thread() -> object:
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(value_in_slot("joint_pre")))
    thread.start()
    thread.join()
    return seen[0]


@since((2, 12), "a configuration for each thread")
def test_a_thread_has_a_configuration_of_its_own_and_shares_what_is_put_for_the_process() -> None:
    assert is_per_thread()
    with config.patch(joint_custom_pre_pass=print):
        assert seen_by_a_thread() is None
    put_for_process("joint_pre", print)
    try:
        assert seen_by_a_thread() is value_in_slot("joint_pre") is print
    finally:
        put_for_process("joint_pre", None)
    assert seen_by_a_thread() is value_in_slot("joint_pre") is None
