"""Hooks that are registered after a trace, and removed again: honoured in every process, traced or loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compiler.processes import in_new_process

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, breaks):
        super().__init__()
        self.up = nn.Linear(4, 4)
        self.act = nn.ReLU()
        self.breaks = breaks

    def forward(self, x):
        x = self.act(self.up(x))
        if self.breaks:
            torch._dynamo.graph_break()
        return x * 2
"""

MANY = """
for number in range(12):
    handle = net.act.register_forward_hook(lambda module, args, result: result + number)
    run()
    handle.remove()
"""

CHILD = """
import sys
sys.path.insert(0, {folder!r})
from hooked import Net
from torch.nn.modules import module as modules

torch.manual_seed(0)
net = Net(breaks={breaks!r})
target = {target}
compiled = passprint.compile(target, cache={cache!r}, passes="")
found = []
x = torch.linspace(-1, 1, 8).reshape(2, 4)


def run():
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), target(x))
    found.append(compiled.report.traced)


for _ in range(2):
    run()
for register in (
    lambda: net.act.register_forward_hook(lambda module, args, result: result + 1),
    lambda: net.act.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    lambda: net.register_forward_hook(lambda module, args, kwargs, result: result - 1, with_kwargs=True),
    lambda: modules.register_module_forward_hook(lambda module, args, result: result * 3),
):
    handle = register()
    run()
    run()
    handle.remove()
    run()
print(json.dumps([found, compiled.report.loaded]))
"""


def child(tmp_path: Path, target: str, *, breaks: bool = False) -> str:
    """The body of a process with the model in a module of its own."""
    (tmp_path / "hooked.py").write_text(NET)
    return CHILD.format(folder=str(tmp_path), target=target, breaks=breaks, cache=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("target", "breaks"), [("net", False), ("net", True), ("lambda x: net(x)", False)], ids=str
)
def test_hooks_come_and_go(tmp_path: Path, target: str, breaks: bool) -> None:
    body = child(tmp_path, target, breaks=breaks)
    traced, loaded = in_new_process(tmp_path, body)
    assert loaded == 0
    assert traced[0] == traced[1] > 0, "nothing is traced again without a change"
    traced, loaded = in_new_process(tmp_path, body)
    assert bool(loaded) is not breaks


def test_a_model_whose_hooks_always_change_is_not_compiled_for_ever(tmp_path: Path) -> None:
    body = child(tmp_path, "net").replace("for _ in range(2):", MANY + "\nfor _ in range(2):")
    traced, _ = in_new_process(tmp_path, body)
    assert traced[-1] <= 10
