"""C++ builds beside the Python work: the door to Inductor's builder of CPU kernels.

Inductor starts the builds of a graph's kernels in threads, and waits for them at the end of each graph. Here

- the wait is put off (:class:`BackgroundBuilds`): the next piece is lowered while the compiler runs, which is sound
  because the generated wrapper looks its kernels up by name when it is called,
- a graph's kernels are built together (``joint.py``), which saves the compiler's start for each,
- what all builds need is made ready while Dynamo still traces (:func:`prepare`): the probe that asks whether the
  compiler knows the CPU's instruction set, and the precompiled header.

What is reached here: ``AsyncCompile.wait``, ``cpp_pybinding`` and ``pool``, ``CppPythonBindingsCodeCache``,
``LambdaFuture``. Read against torch 2.11 to 2.13.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import cache, wraps
from typing import Any

from passprint.compiler.lowering import joint

logger = logging.getLogger("passprint")

_PROBE = """#include <torch/csrc/inductor/cpp_prefix.h>
extern "C" void kernel(const int64_t n) {}
"""


class BackgroundBuilds:
    """Kernels that are being built. Enter it around a compile of a CPU graph, and :meth:`wait` before it runs."""

    def __init__(self) -> None:
        self._scopes: list[dict[str, Any]] = []
        self._asked: list[_Kernel] = []
        self._token: Token[BackgroundBuilds | None] | None = None

    def __enter__(self) -> BackgroundBuilds:
        _hook_into_inductor()
        self._token = _collecting.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _collecting.reset(self._token)

    def kernel(self, argument_types: list[str], source: str) -> Any:
        """Ask for a kernel that is built together with others, from :meth:`add` on; returns torch's kind of future."""
        from torch._inductor.codecache import LambdaFuture

        kernel = _Kernel(argument_types, source)
        self._asked.append(kernel)
        return LambdaFuture(kernel.result)

    def add(self, scope: dict[str, Any]) -> None:
        """The names of a generated module, some of them still builds. Starts the builds of its kernels."""
        self._scopes.append(scope)
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), joint.MOST):
            _start_library(asked[start : start + joint.MOST])

    def wait(self) -> None:
        """Wait for all builds and put the kernels in place. Raises what the C++ compiler's failure raises."""
        from torch._inductor.codecache import CodeCacheFuture

        for scope in self._scopes:
            for name, value in list(scope.items()):
                if isinstance(value, CodeCacheFuture):
                    scope[name] = value.result()
        self._scopes.clear()


class _Kernel:
    """One of several kernels in a library that is being built; by itself where they cannot be built together."""

    def __init__(self, argument_types: list[str], source: str) -> None:
        self.argument_types = argument_types
        self.source = source
        self.library: Callable[[], Any] | None = None
        self.name = joint.FIRST

    def result(self) -> Callable[..., Any]:
        """Wait for the library."""
        bindings = _bindings()
        if self.library is not None:
            try:
                found: Callable[..., Any] = getattr(self.library(), self.name)
                return found
            except _build_errors() as error:
                logger.info("Kernels are built one by one, together they could not be: %s", error)
                self.library = None
        alone: Callable[..., Any] = bindings.load_pybinding(self.argument_types, self.source)
        return alone


def _start_library(kernels: list[_Kernel]) -> None:
    """Start building one library; a single kernel is built as torch does it."""
    from torch._inductor.async_compile import AsyncCompile

    bindings, submit = _bindings(), AsyncCompile.submit
    if len(kernels) == 1:
        only = kernels[0]
        alone = bindings.load_pybinding_async(only.argument_types, only.source, submit_fn=submit)
        only.library = lambda: _Alone(alone())
        return
    library = bindings.load_async(joint.join([kernel.source for kernel in kernels]), submit_fn=submit)
    for name, kernel in zip(joint.names(len(kernels)), kernels, strict=True):
        kernel.library, kernel.name = library, name


class _Alone:
    """A kernel of torch's own making as the library that it is in."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self.kernel = kernel


def _bindings() -> Any:
    from torch._inductor.codecache import CppPythonBindingsCodeCache

    return CppPythonBindingsCodeCache


def _build_errors() -> tuple[type[Exception], ...]:
    from torch._inductor.exc import CppCompileError

    return (CppCompileError, ImportError)


_collecting: ContextVar[BackgroundBuilds | None] = ContextVar("passprint_builds", default=None)


@cache
def _hook_into_inductor() -> None:
    """Once in a process; a compile outside `BackgroundBuilds` waits as torch does."""
    from torch._inductor import async_compile
    from torch._inductor.async_compile import AsyncCompile

    original: Callable[..., None] = AsyncCompile.wait

    @wraps(original)
    def wait(self: Any, scope: dict[str, Any]) -> None:
        builds = _collecting.get()
        if builds is None:
            original(self, scope)
        else:
            original(self, {})
            builds.add(scope)

    one_kernel: Callable[..., Any] = AsyncCompile.cpp_pybinding

    @wraps(one_kernel)
    def cpp_pybinding(self: Any, argtypes: list[str], source_code: str) -> Any:
        builds = _collecting.get()
        if builds is None or not joint.can_join(argtypes, source_code):
            return one_kernel(self, argtypes, source_code)
        async_compile.kernel_code_log.info("CPP+Bindings Kernel:\n%s", source_code)
        return builds.kernel(argtypes, source_code)

    setattr(AsyncCompile, "wait", wait)  # noqa: B010 - mypy takes an assignment for a mistake
    setattr(AsyncCompile, "cpp_pybinding", cpp_pybinding)  # noqa: B010


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
        _bindings().load_pybinding_async(["const int64_t"], _PROBE, submit_fn=_never)
    except Exception as error:  # noqa: BLE001 - the first real build meets it again and reports it
        logger.debug("The C++ toolchain could not be made ready: %s", error)


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
