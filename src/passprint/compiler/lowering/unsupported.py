"""What torch's own caches refuse in a graph: then torch compiles it and cannot serialize the result.

Their check is asked before anything is compiled, so that the reason has a name and nothing is compiled twice.

Reached here, and why there is no public way: ``check_node_safe`` of ``torch._functorch._aot_autograd.autograd_cache``,
which raises ``BypassAOTAutogradCache``. Read against torch 2.11 to 2.13; where it is not there, torch finds out later.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node


def unsupported(gm: GraphModule) -> str | None:
    """The first call in a graph that torch's caches refuse, and the user's line that it is from; or None."""
    try:
        from torch._functorch._aot_autograd.autograd_cache import BypassAOTAutogradCache, check_node_safe
    except ImportError:
        return None
    for node in gm.graph.nodes:
        try:
            check_node_safe(node)
        except BypassAOTAutogradCache:
            return f"torch cannot serialize a graph that calls {_name(node)}{_line(node)}"
    return None


def _name(node: Node) -> str:
    target: Any = node.target
    if isinstance(target, str):
        return f"{target}()"
    module = getattr(target, "__module__", None) or type(target).__module__
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or str(target)
    if name in ("FunctionCtx", "autograd_function_apply"):
        return "an autograd.Function"
    return f"torch.{name}" if module == "torch.ops.higher_order" else f"{module}.{name}"


def _line(node: Node) -> str:
    """The innermost line of the user's that the call is from."""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    lines = [line for line in lines if line.strip("^~ ")]  # not what underlines a part of the line above
    return f" ({lines[-1]})" if lines else ""
