"""Hooks are part of what was traced: honoured as they come and go, stored with a program, and compared by content."""

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


HOOKS = """
def double(module, args, result):
    return result * 2


def shift(by):
    def before(module, args):
        return (args[0] + by,)
    return before


class Adds:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, module, args, kwargs, result):
        return result + self.amount
"""

WITH_HOOKS = """
import sys
sys.path.insert(0, {folder!r})
from hooked import Net
from hooks import Adds, double, shift
from torch.nn.modules import module as modules


def start(register):
    torch.manual_seed(0)
    net = Net(breaks=False)
    exec(register)
    return net, passprint.compile(net, cache={cache!r}, passes="")


x = torch.linspace(-1, 1, 8).reshape(2, 4)
torch.set_grad_enabled(False)
"""

REGISTER = """
net.act.register_forward_hook(double, always_call=True)
net.up.register_forward_pre_hook(shift(torch.ones(4) * 2))
net.register_forward_hook(Adds(5), with_kwargs=True)
net.register_forward_hook(double)
"""
LOADED = [
    REGISTER,
    REGISTER.replace("torch.ones(4) * 2", "torch.ones(4) * 3"),
    "net.register_forward_hook(double).remove()" + REGISTER,
]
TRACED = [
    (REGISTER.replace("Adds(5)", "Adds(6)"), "_forward_hooks[0].amount was 5 and is 6"),
    (
        REGISTER.replace("net.register_forward_hook(double)", ""),
        "hook model._forward_hooks[1] was hooks.double and is gone",
    ),
    (
        REGISTER.replace("(double)", "(double, prepend=True)"),
        "hook model._forward_hooks[0] was hooks.Adds, with_kwargs and is hooks.double",
    ),
    (REGISTER.replace(", always_call=True", ""), "was hooks.double, always_called and is hooks.double"),
    (REGISTER + "net.act.register_forward_pre_hook(shift(1.0))", "model.act._forward_pre_hooks[0] is new"),
    ("", "hook model._forward_hooks[0] was hooks.Adds, with_kwargs and is gone"),
    ("modules.register_module_forward_hook(double)", "hooks for all modules are registered"),
]


class Hooked:
    """A folder with a model, its hooks and a cache, in which a program is stored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "hooked.py").write_text(NET)
        self.write(HOOKS)
        body = f"_, compiled = start({REGISTER!r})\ncompiled(x)\nprint(json.dumps(compiled.report.traced))"
        assert self.start(body) == 1

    def write(self, hooks: str) -> None:
        (self.folder / "hooks.py").write_text(hooks)

    def start(self, body: str) -> object:
        setting = WITH_HOOKS.format(folder=str(self.folder), cache=str(self.folder / "cache"))
        return in_new_process(self.folder, setting + body)


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Hooked:
    return Hooked(tmp_path_factory.mktemp("hooks"))


def test_a_program_with_hooks_serves_the_same_hooks(hooked: Hooked) -> None:
    """Torch gives hooks other numbers in a process that registered others before."""
    hooked.write(HOOKS.replace("    return before\n", "    # no news\n    return before\n"))
    found = hooked.start(f"""
found = []
for _ in range(3):
    torch.nn.ReLU().register_forward_hook(double).remove()
for register in {LOADED!r}:
    net, compiled = start(register)
    torch.testing.assert_close(compiled(x), net(x))
    net.register_forward_pre_hook(shift(3))
    torch.testing.assert_close(compiled(x), net(x))
    found.append([compiled.report.loaded, compiled.report.traced])
print(json.dumps(found))
""")
    assert found == [[1, 1], [2, 0], [2, 0]], "one hook more is traced the first time"


def test_other_hooks_are_a_miss_that_names_them(hooked: Hooked) -> None:
    hooked.write(HOOKS)
    starts = [register for register, _ in TRACED]
    found = hooked.start(f"print(json.dumps([start(r)[1].why_trace(x) for r in {starts!r}]))")
    assert isinstance(found, list)
    for why, (_, named) in zip(found, TRACED, strict=True):
        assert named in why


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (("result * 2", "result * 3"), "hooks.double has changed"),
        (("args[0] + by", "args[0] - by"), "hooks.shift.<locals>.before has changed"),
    ],
    ids=["a function", "a nested function"],
)
def test_an_edited_hook_is_a_miss_that_names_it(hooked: Hooked, edit: tuple[str, str], named: str) -> None:
    hooked.write(HOOKS.replace(*edit))
    assert named in str(hooked.start(f"print(json.dumps(start({REGISTER!r})[1].why_trace(x)))"))


def test_a_trace_of_before_does_not_serve_what_only_it_had_read(tmp_path: Path) -> None:
    """Two traces in one process, for two shapes; what only the first one read changes without a guard of Dynamo's."""
    found = in_new_process(
        tmp_path,
        """
class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Identity()

    def forward(self, x):
        return self.inner(x) * 2 if x.dim() == 1 else x + 1


both = Both()
compiled = passprint.compile(both, cache=False)
one, two = torch.ones(3), torch.ones(2, 3)
compiled(one), compiled(two)
both.inner.register_forward_hook(lambda module, args, result: result + 5)
print(json.dumps([torch.equal(compiled(x), both(x)) for x in (one, two, one)]))
""",
    )
    assert found == [True, True, True]


def test_a_hook_on_one_of_some_blocks_that_are_compiled_in_parts(tmp_path: Path) -> None:
    """The blocks share their code, and Dynamo what it traced of it; plain torch.compile leaves the hook out."""
    found = in_new_process(
        tmp_path,
        """
class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Identity()

    def forward(self, x):
        torch._dynamo.graph_break()
        return self.inner(x) + 1


blocks = torch.nn.Sequential(*[Block() for _ in range(3)])
compiled = passprint.compile(blocks, cache=False)
x, right = torch.ones(3), []
for hook in (None, lambda module, args: (args[0] * 2,)):
    if hook is not None:
        blocks[2].inner.register_forward_pre_hook(hook)
    right += [torch.equal(compiled(x), blocks(x)) for _ in range(2)]
print(json.dumps(right))
""",
    )
    assert found == [True] * 4
