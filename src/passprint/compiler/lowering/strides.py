"""Strides of plain indices without ``sympy.simplify``, which is a seventh of the time that Inductor's CPU side takes.

To choose what to vectorize, Inductor asks for the step of every index by every loop variable: it simplifies the
difference of two indices, 5 to 20 ms each, and the first time imports ``sympy.physics``. Where the variable stands in
the index only as itself, times integers and sizes, that step is what stands beside it.

What is reached here: ``torch._inductor.codegen.cpp.stride_at_vec_range``. Read against torch 2.11 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

_active: ContextVar[bool] = ContextVar("passprint_plain_strides", default=False)


@contextmanager
def plain_strides() -> Iterator[None]:
    """Until the block is left, what Inductor compiles in this thread reads plain strides off."""
    _hook_into_inductor()
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def plain_stride(index: Any, variable: Any) -> Any | None:
    """The step of ``index`` by ``variable`` (expressions of sympy), or None where it cannot be read off.

    ``64*x + 8*s*y + 3`` has the step ``8*s`` by ``y``. An index that holds ``y // 3`` has none that can be read off.
    """
    import sympy  # type: ignore[import-untyped]

    steps = []
    for term in sympy.Add.make_args(index):
        if variable not in term.free_symbols:
            continue
        others = [factor for factor in sympy.Mul.make_args(term) if factor != variable]
        once = len(others) == len(sympy.Mul.make_args(term)) - 1
        if not once or not all(factor.is_Integer or factor.is_Symbol for factor in others):
            return None
        steps.append(sympy.Mul(*others))
    return sympy.Add(*steps)


@cache
def _hook_into_inductor() -> None:
    """Once in a process; a compile outside `plain_strides` does as torch does."""
    import torch._inductor.codegen.cpp as cpp

    module: Any = cpp
    original: Callable[..., Any] = module.stride_at_vec_range

    @wraps(original)
    def stride(index: Any, var: Any, vec_length: int | None = None) -> Any:
        found = plain_stride(index, var) if _active.get() else None
        return original(index, var, vec_length) if found is None else found

    module.stride_at_vec_range = stride
