"""What Inductor makes of strides, sooner and better.

Strides of plain indices need no ``sympy.simplify``, which is a seventh of the time that Inductor's CPU side takes. To
choose what to vectorize, Inductor asks for the step of every index by every loop variable: it simplifies the
difference of two indices, 5 to 20 ms each, and the first time imports ``sympy.physics``. Where the variable stands in
the index only as itself, times integers and sizes, that step is what stands beside it.

A matrix of one row gets from Inductor the stride 0 between its rows, and BLAS wants at least the row's length there:
``torch.mm`` copies the row into a matrix of its own, which takes as long again as a product of a small one. A step of
decoding has six such products a layer.

What is replaced stands in ``patches.STRIDES`` and ``patches.ROWS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from passprint.compiler import patches

_active: ContextVar[bool] = ContextVar("passprint_plain_strides", default=False)


@contextmanager
def plain_strides() -> Iterator[None]:
    """Until the block is left, what Inductor compiles in this thread reads plain strides off, and copies no rows."""
    patches.install(patches.STRIDES, _stride)
    patches.install(patches.ROWS, _view)
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


def _stride(original: Callable[..., Any], index: Any, var: Any, vec_length: int | None = None) -> Any:
    found = None
    if _active.get():
        try:
            found = plain_stride(index, var)
        except Exception as error:  # noqa: BLE001 - torch finds it in its own way
            patches.lose(patches.STRIDES, error)
    return original(index, var, vec_length) if found is None else found


def _view(original: Callable[..., Any], x: Any) -> Any:
    view = original(x)
    if not _active.get():
        return view
    try:
        return _with_row_stride(view)
    except Exception as error:  # noqa: BLE001 - what torch made is right as well
        patches.lose(patches.ROWS, error)
        return view


def _with_row_stride(view: Any) -> Any:
    """The same view of a matrix of one row (or, transposed, one column) with the length of the row between rows."""
    from torch._inductor.ir import FixedLayout, ReinterpretView

    layout = view.layout
    size, stride = list(layout.size), list(layout.stride)
    if len(size) != 2 or type(layout) is not FixedLayout:
        return view
    for one, other in ((0, 1), (1, 0)):
        if size[one] == 1 and stride[one] == 0 and stride[other] == 1:
            stride[one] = size[other]
            made = FixedLayout(
                device=layout.device,
                dtype=layout.dtype,
                size=size,
                stride=stride,
                offset=layout.offset,
                is_pinned=layout.is_pinned,
            )
            return ReinterpretView(data=view.data, layout=made)
    return view
