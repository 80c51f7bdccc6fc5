"""Says which private torch name moved, before anything less clear breaks."""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch

NAMES = {
    "torch._inductor.custom_graph_pass": {"CustomGraphPass": []},
    "torch._guards": {"tracing": ["context"]},
    "torch._subclasses.fake_tensor": {"FakeTensor": [], "FakeTensorMode": [], "unset_fake_temporarily": []},
    "torch._inductor.pattern_matcher": {
        "PatternMatcherPass": ["pass_name"],
        "register_replacement": [
            "search_fn",
            "replace_fn",
            "example_inputs",
            "trace_fn",
            "pass_dicts",
            "extra_check",
            "scalar_workaround",
        ],
        "fwd_only": ["fn", "args"],
        "stable_topological_sort": ["graph"],
    },
}
HOOKS = ["_register_replace_node_hook", "_register_erase_node_hook"]


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [(module, name, parameters) for module, names in NAMES.items() for name, parameters in names.items()],
)
def test_the_name_is_where_it_was(module: str, name: str, parameters: list[str]) -> None:
    found = getattr(importlib.import_module(module), name, None)
    assert found is not None, f"torch {torch.__version__} has no {module}.{name}; see passes/torch_door.py"
    missing = set(parameters) - set(inspect.signature(found).parameters) if parameters else set()
    assert not missing, f"torch {torch.__version__}: {module}.{name} no longer takes {missing}"


@pytest.mark.parametrize("hook", [*HOOKS, *(name.replace("_register", "_unregister") for name in HOOKS)])
def test_graph_modules_have_the_hook(hook: str) -> None:
    assert hasattr(torch.fx.GraphModule, hook), f"torch {torch.__version__} has no GraphModule.{hook}"
