"""C++ builds beside the Python work: the door to Inductor's builder of CPU kernels.

Inductor starts the builds of a graph's kernels in threads, and waits for them at the end of each graph. Here

- nobody waits there (:class:`BackgroundBuilds`): the next piece is lowered while the compiler runs, which is sound
  because the generated wrapper looks its kernels up by name when it is called,
- a graph's kernels are built together (``joint.py``), which saves the compiler's start for each,
- what all builds need is made ready while Dynamo still traces (:func:`prepare`): the probes that ask whether the
  compiler knows the CPU's instruction sets, side by side, and then the precompiled header.

What is replaced for that is where a generated module asks for a kernel (``patches.KERNELS``): it is given a
:class:`Kernel`, which is no future that torch would wait for. ``AsyncCompile.pool`` is reached besides.
"""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, Token
from functools import cache, partial
from types import FrameType
from typing import Any

from passprint.compiler import patches
from passprint.compiler.lowering import joint

logger = logging.getLogger("passprint")

_PROBE = """#include <torch/csrc/inductor/cpp_prefix.h>
extern "C" void kernel(const int64_t n) {}
"""


class BackgroundBuilds:
    """Kernels that are being built. Enter it around a compile of a CPU graph, and :meth:`wait` before it runs.

    ``times``: when each library of several kernels was built, begin and end (``time.perf_counter``).
    """

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self._modules: list[tuple[dict[str, Any], Kernel]] = []
        self._asked: list[Kernel] = []
        self._token: Token[BackgroundBuilds | None] | None = None

    def __enter__(self) -> BackgroundBuilds:
        preparing = prepare()
        # What is being asked has other flags meanwhile. A process that was forked has nobody who asks.
        while preparing is not None and preparing.is_alive() and not _instruction_sets.wait(0.1):
            pass
        patches.install(patches.KERNELS, _cpp_pybinding)
        self._token = _collecting.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _collecting.reset(self._token)
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), joint.MOST):
            _start(asked[start : start + joint.MOST], self.times)

    def add(self, kernel: Kernel, scope: dict[str, Any]) -> None:
        """A kernel that stands among the names of ``scope``. Plain ones are built together, from the block's end on."""
        self._modules.append((scope, kernel))
        if joint.can_join(kernel.argument_types, kernel.source):
            self._asked.append(kernel)
        else:
            kernel.start()

    def wait(self) -> None:
        """Wait for all builds and put the kernels in place. Raises what the C++ compiler's failure raises."""
        modules, self._modules = self._modules, []
        for scope, kernel in modules:
            built = kernel.result()
            scope.update({name: built for name, value in scope.items() if value is kernel})


class Kernel:
    """A kernel that is being built: in a library of several, or by itself where they cannot be built together.

    ``alone`` builds it in torch's own way; it returns the kernel, or torch's future of it.
    """

    def __init__(self, argument_types: list[str], source: str, alone: Callable[[], Any]) -> None:
        self.argument_types = argument_types
        self.source = source
        self._alone = alone
        self._started: Any = None
        self._library: tuple[Callable[[], Any], str] | None = None

    def __call__(self, *args: Any) -> Any:
        """Run it. Nothing does before it is waited for and stands in its own place, but for what torch may add."""
        return self.result()(*args)

    def start(self) -> None:
        """Build it by itself."""
        self._started = self._alone()

    def will_be_in(self, library: Callable[[], Any], name: str) -> None:
        """``library`` waits for what the kernel is in."""
        self._library = library, name

    def result(self) -> Callable[..., Any]:
        """Wait for it."""
        if self._library is not None:
            library, name = self._library
            try:
                found: Callable[..., Any] = getattr(library(), name)
                return found
            except _build_errors() as error:
                logger.info("Kernels are built one by one, together they could not be: %s", error)
                self._library = None
        if self._started is None:
            self.start()
        alone: Callable[..., Any] = getattr(self._started, "result", lambda: self._started)()
        return alone


def _start(kernels: list[Kernel], times: list[tuple[float, float]]) -> None:
    """Start building one library; a single kernel, or what torch does not take, is built as torch does it."""
    try:
        if len(kernels) > 1:
            source = joint.join([kernel.source for kernel in kernels])
            library = _bindings().load_async(source, submit_fn=partial(_submit, times))
            for name, kernel in zip(joint.names(len(kernels)), kernels, strict=True):
                kernel.will_be_in(library, name)
            return
    except (AttributeError, TypeError) as error:
        patches.lose(patches.KERNELS, error)
    for kernel in kernels:
        kernel.start()


def _submit(times: list[tuple[float, float]], build: Callable[[], Any]) -> Any:
    from torch._inductor.async_compile import AsyncCompile

    def timed() -> Any:
        begin = time.perf_counter()
        try:
            return build()
        finally:
            times.append((begin, time.perf_counter()))

    return AsyncCompile.submit(timed)


def _bindings() -> Any:
    from torch._inductor.codecache import CppPythonBindingsCodeCache

    return CppPythonBindingsCodeCache


def _build_errors() -> tuple[type[Exception], ...]:
    from torch._inductor.exc import CppCompileError

    return (CppCompileError, ImportError)


_collecting: ContextVar[BackgroundBuilds | None] = ContextVar("passprint_builds", default=None)


def _cpp_pybinding(original: Callable[..., Any], self: Any, argtypes: list[str], source_code: str) -> Any:
    """What a generated module asks for each of its kernels, at its top level."""
    builds, scope = _collecting.get(), _scope_of(self)
    if builds is None or scope is None:
        return original(self, argtypes, source_code)
    kernel = Kernel(argtypes, source_code, partial(original, self, argtypes, source_code))
    builds.add(kernel, scope)
    return kernel


def _scope_of(async_compile: Any) -> dict[str, Any] | None:
    """The names of the generated module that asks for a kernel, if it is one."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(4):  # the installer's layer is in between, and whatever others have put there
        if frame is not None and frame.f_globals is frame.f_locals:
            return frame.f_globals if frame.f_globals.get("async_compile") is async_compile else None
        frame = frame and frame.f_back
    return None


@cache
def prepare() -> threading.Thread | None:
    """Make the C++ toolchain ready in a thread, once in a process; returns the thread, or None where it is of no use.

    To be called where a trace for the CPU starts. A failure is left to the build that needs what failed. The thread
    does not keep the process: the compiler that it started ends by itself.
    """
    if (os.cpu_count() or 1) < 2:
        return None
    # Imported here and not in the thread: Dynamo imports in this one, and the two would meet in import cycles.
    import torch._inductor.codecache
    import torch.utils.cpp_extension  # noqa: F401

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(_probe,), name="passprint toolchain", daemon=True
    )
    thread.start()
    return thread


def wait_until_prepared() -> None:
    """Wait for what `prepare` started, if it did."""
    thread = prepare()
    if thread is not None:
        thread.join()


def _probe() -> None:
    """Ask for a kernel in the way that generated code does, up to the point where it would be built."""
    try:
        _probe_instruction_sets()
    finally:
        _instruction_sets.set()
    try:
        _bindings().load_pybinding_async(["const int64_t"], _PROBE, submit_fn=_never)
    except Exception as error:  # noqa: BLE001 - the first real build meets it again and reports it
        logger.debug("The C++ toolchain could not be made ready: %s", error)


_instruction_sets = threading.Event()
"""Set once the probes of instruction sets are done, whatever came of them."""


def _probe_instruction_sets() -> None:
    """Ask each instruction set that this CPU has whether the compiler knows it, two at a time; each keeps its answer.

    Torch asks one after another, two seconds each, and needs all answers before it generates the first kernel.
    """
    try:
        from torch._inductor.cpu_vec_isa import supported_vec_isa_list, x86_isa_checker

        has = x86_isa_checker()
        mine = [isa for isa in supported_vec_isa_list if all(flag in has for flag in str(isa).split())]
        with ThreadPoolExecutor(2, "passprint instruction sets") as pool:
            for answer in [pool.submit(contextvars.copy_context().run, bool, isa) for isa in mine]:
                answer.result()
    except Exception as error:  # noqa: BLE001 - torch asks again, in its own way
        logger.debug("Instruction sets could not be asked for side by side: %s", error)


def _never(build: Callable[[], None]) -> object:
    return build


def forked() -> None:
    """Make a process that was just forked fit for lowering and building: it has none of the other one's threads.

    OpenMP's threads do not survive a fork, so tensors are computed on one; the code is generated for as many as before.
    """
    import torch
    import torch._inductor.config as inductor_config
    from torch._inductor.async_compile import AsyncCompile

    config: Any = inductor_config
    if config.cpp.threads < 1:
        config.cpp.threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool: Any = AsyncCompile.pool
    pool.cache_clear()
