"""Triton kernels count by the Python that they are compiled from, wherever it stands; Triton need not be there."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from passprint.identity import Memo

KERNEL = """
import {triton} as triton
from {triton} import language as tl
SCALE = 2
@triton.jit
def helper(x): return x * SCALE
def even(args): return args["n"] % 2 == 0
@triton.autotune(configs=[triton.Config({{"B": 64}}, num_warps=2), triton.Config({{"B": 128}})], key=["n"])
@triton.heuristics({{"EVEN": even}})
@triton.jit
def target(x, y, n, B: tl.constexpr, EVEN: tl.constexpr):
    width: tl.constexpr = 4
    at = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(y + at, helper(tl.load(x + at, mask=at < n)) + width, mask=at < n)
"""
CHANGED = {
    "a helper": ("x * SCALE", "x + SCALE"),
    "a constant of a helper": ("SCALE = 2", "SCALE = 3"),
    "the body": (" + width,", " - width,"),
    "a hint in the body": ("width: tl.constexpr = 4", "width = 4"),
    "a hint of a parameter": ("B: tl.constexpr", "B"),
    "a configuration": ('"B": 64', '"B": 32'),
    "warps": ("num_warps=2", "num_warps=4"),
    "the keys": ('key=["n"]', 'key=["n", "B"]'),
    "a heuristic": ("% 2 == 0", "% 4 == 0"),
    "an option": ("@triton.jit\ndef target", "@triton.jit(do_not_specialize=['n'])\ndef target"),
}
SAME = {
    "moved": ("SCALE = 2", "\n\n# moved\nSCALE = 2"),
    "a comment": ("    width", "    # as wide as that\n    width"),
    "documented": ("    width", "    '''Copies.'''\n    width"),
}

MADE_UP = """
import inspect, linecache, threading
class KernelInterface:
    def __getitem__(self, grid): return self
class JITFunction(KernelInterface):
    def __init__(self, fn, do_not_specialize=()):
        self.fn = fn
        self.raw_src, self.starting_line_number = inspect.getsourcelines(fn)
        text = inspect.cleandoc("".join(self.raw_src))
        self._src = text[text.index("def "):]
        self.file_name = fn.__code__.co_filename
        self.signature, self.hash, self._hash_lock = inspect.signature(fn), None, threading.RLock()
        self.device_caches, self.__globals__, self.do_not_specialize = {}, fn.__globals__, list(do_not_specialize)
    def __call__(self, *args): return self.fn(*args)
class Autotuner(KernelInterface):
    def __init__(self, fn, configs, key): self.fn, self.configs, self.keys, self.cache = fn, configs, key, {}
class Heuristics(KernelInterface):
    def __init__(self, fn, values): self.fn, self.values = fn, values
class Config:
    def __init__(self, kwargs, num_warps=4): self.kwargs, self.num_warps, self.pre_hook = kwargs, num_warps, None
def jit(fn=None, **options):
    return JITFunction(fn) if fn else lambda fn: JITFunction(fn, **options)
def autotune(configs, key): return lambda fn: Autotuner(fn, configs, key)
def heuristics(values): return lambda fn: Heuristics(fn, values)
class language:
    constexpr = int
"""


@pytest.fixture(params=["made up", "real"])
def triton(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module with Triton's decorators."""
    if request.param == "real":
        if importlib.util.find_spec("triton") is None:
            pytest.skip("Triton is not installed")
        yield "triton"
        return
    module = ModuleType("triton.made_up")  # its classes are known by the name of their package
    exec(compile(MADE_UP, "<made up>", "exec"), vars(module))
    package = sys.modules.setdefault("triton", ModuleType("triton"))
    sys.modules[module.__name__] = module
    package.made_up = module  # type: ignore[attr-defined]
    yield module.__name__
    del sys.modules[module.__name__]
    if package.__spec__ is None:
        del sys.modules["triton"]


def load(folder: Path, text: str, name: str) -> Any:
    """The ``target`` of a text, as a module in a file of its own: Triton reads sources."""
    file = folder / f"{name}.py"
    file.write_text(text)
    module = ModuleType("kernels")
    exec(compile(text, str(file), "exec", dont_inherit=True), vars(module))
    return vars(module)["target"]


def digest(kernel: object) -> str:
    found = Memo().digest(kernel)
    assert found is not None, Memo().fingerprint(kernel).opaque
    return found


def test_what_a_kernel_is_counts(triton: str, tmp_path: Path) -> None:
    text = KERNEL.format(triton=triton)
    found = {"as it is": digest(load(tmp_path, text, "first"))}
    for what, (old, new) in CHANGED.items():
        assert old in text
        found[what] = digest(load(tmp_path, text.replace(old, new), what.replace(" ", "_")))
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("what", SAME)
def test_where_it_stands_does_not(triton: str, tmp_path: Path, what: str) -> None:
    text = KERNEL.format(triton=triton)
    (tmp_path / "elsewhere").mkdir()
    moved = load(tmp_path / "elsewhere", text.replace(*SAME[what]), "moved")
    assert digest(moved) == digest(load(tmp_path, text, "first"))


def test_what_running_it_leaves_behind_does_not(triton: str, tmp_path: Path) -> None:
    memo = Memo()
    kernel = load(tmp_path, KERNEL.format(triton=triton), "first")
    first = memo.digest(kernel)
    kernel.cache[("key",)] = object()
    kernel.best_config, kernel.nargs = threading.Lock(), {"x": object()}
    kernel.fn.fn.hash = "abc"
    kernel.fn.fn.device_caches[0] = object()
    assert memo.digest(kernel) == first
