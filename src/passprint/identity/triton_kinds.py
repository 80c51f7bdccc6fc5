"""How Triton's kernels are read, without importing Triton: by the Python that they are compiled from.

Triton compiles the text of a function, which says more than its code (``n: tl.constexpr = 4`` in a body leaves no trace
in code), so both count: the text as a syntax tree, and the function with all that it reaches, other kernels among it.
Of a kernel's other attributes those are left out that say where it stands, follow from the function, or fill as it is
compiled and run; whatever a newer Triton adds counts. Read against Triton 3.6 to 3.8.
"""

from __future__ import annotations

from passprint.identity.canonical import encode_text, frame
from passprint.identity.node import Node
from passprint.identity.value_kinds import add_class, add_state
from passprint.identity.walk import FINDERS, Handler, Walk, own_attribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOME = "triton"
_BASES = frozenset({"KernelInterface", "JITCallable"})
"""What Triton's kernels, and what it puts around them (autotuning, heuristics), are derived from."""

_WRAPPER = ("torch._higher_order_ops.triton_kernel_wrap", "TraceableTritonKernelWrapper")

_PLACE = frozenset(
    {"raw_src", "starting_line_number", "file_name", "def_file_line_number", "def_file_col_number"}
    | {"__globals__", "__module__", "module", "__qualname__", "_fn_name"}
)
_FOLLOWS = frozenset({"signature", "params", "arg_names", "constexprs", "arg_defaults", "arg_annotations"})
_FILLS = frozenset(
    {"hash", "_hash_lock", "used_global_vals", "device_caches", "cache", "kernel", "binder", "create_binder"}
    | {"configs_timings", "bench_time", "nargs", "best_config", "restore_copies", "do_bench"}
)
_TEXTS = frozenset({"_src", "src"})
_UNCOUNTED = _PLACE | _FOLLOWS | _FILLS | _TEXTS


def _syntax(text: str) -> str:
    """A text's syntax tree without places, comments and docstrings; the text itself where it has none."""
    import ast
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return text
    for step in ast.walk(tree):
        if (
            isinstance(step, (ast.FunctionDef, ast.ClassDef))
            and ast.get_docstring(step, clean=False) is not None
        ):
            del step.body[0]
    return ast.dump(tree)


def _expand_kernel(walk: Walk, kernel: Any, node: Node) -> None:
    add_class(walk, kernel, node)
    text = own_attribute(kernel, "_src") or own_attribute(kernel, "src")
    if isinstance(text, str):
        node.head = frame(b"s", encode_text(_syntax(text)))
    add_state(walk, kernel, node, _UNCOUNTED)


def _expand_wrapped(walk: Walk, wrapped: Any, node: Node) -> None:
    """What ``torch.library.wrap_triton`` makes of a kernel, less its place in torch's table of this process."""
    add_class(walk, wrapped, node)
    add_state(walk, wrapped, node, frozenset({"kernel_idx"}))


_KERNEL = Handler("kernel", _expand_kernel)
_WRAPPED = Handler("kernel", _expand_wrapped)


def _find(kind: type) -> Handler | None:
    if hasattr(kind, "__fingerprint__"):
        return None
    for base in kind.__mro__:
        if (base.__module__, base.__name__) == _WRAPPER:
            return _WRAPPED
        if base.__name__ in _BASES and base.__module__.partition(".")[0] == _HOME:
            return _KERNEL
    return None


FINDERS.append(_find)
