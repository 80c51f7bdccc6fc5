"""C++ builds beside the Python work: the door to Inductor's builder of CPU kernels.

Inductor starts the builds of a graph's kernels in threads, and waits for them at the end of each graph. Here

- the wait is put off (:class:`BackgroundBuilds`): the next piece is lowered while the compiler runs, which is sound
  because the generated wrapper looks its kernels up by name when it is called,
- what all builds need is made ready while Dynamo still traces (:func:`prepare`): the probe that asks whether the
  compiler knows the CPU's instruction set, and the precompiled header.

What is reached here: ``AsyncCompile.wait``, ``CppPythonBindingsCodeCache``. Read against torch 2.11 to 2.13.
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

logger = logging.getLogger("passprint")

_PROBE = """#include <torch/csrc/inductor/cpp_prefix.h>
extern "C" void kernel(const int64_t n) {}
"""


class BackgroundBuilds:
    """Kernels that are being built. Enter it around a compile of a CPU graph, and :meth:`wait` before it runs."""

    def __init__(self) -> None:
        self._scopes: list[dict[str, Any]] = []
        self._token: Token[BackgroundBuilds | None] | None = None

    def __enter__(self) -> BackgroundBuilds:
        _hook_into_inductor()
        self._token = _collecting.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _collecting.reset(self._token)

    def add(self, scope: dict[str, Any]) -> None:
        """The names of a generated module, some of them still builds."""
        self._scopes.append(scope)

    def wait(self) -> None:
        """Wait for all builds and put the kernels in place. Raises what the C++ compiler's failure raises."""
        from torch._inductor.codecache import CodeCacheFuture

        for scope in self._scopes:
            for name, value in list(scope.items()):
                if isinstance(value, CodeCacheFuture):
                    scope[name] = value.result()
        self._scopes.clear()


_collecting: ContextVar[BackgroundBuilds | None] = ContextVar("passprint_builds", default=None)


@cache
def _hook_into_inductor() -> None:
    """Once in a process; a compile outside `BackgroundBuilds` waits as torch does."""
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

    setattr(AsyncCompile, "wait", wait)  # noqa: B010 - mypy takes an assignment for a mistake


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


def _probe() -> None:
    """Ask for a kernel in the way that generated code does, up to the point where it would be built."""
    from torch._inductor.codecache import CppPythonBindingsCodeCache

    bindings: Any = CppPythonBindingsCodeCache
    try:
        bindings.load_pybinding_async(["const int64_t"], _PROBE, submit_fn=_never)
    except Exception as error:  # noqa: BLE001 - the first real build meets it again and reports it
        logger.debug("The C++ toolchain could not be made ready: %s", error)


def _never(build: Callable[[], None]) -> object:
    return build
