"""How torch's objects are read, without importing torch: their types are known by name once torch is loaded.

Read against torch 2.11 to 2.15. Private names, and why: ``torch._library.custom_ops.OPDEFS`` leads from the
name of a custom operator to the Python functions that implement it; ``torch._ops`` has the types of
operators. ``torch.utils._ordered_set.OrderedSet`` keeps its items in the dict ``_dict``.
"""

from __future__ import annotations

import sys
from hashlib import blake2b

from passprint.identity.canonical import encode_text, frame
from passprint.identity.node import Node
from passprint.identity.walk import FINDERS, HANDLERS, Handler, Walk, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OWN_NAMESPACES = frozenset({"aten", "prims", "prim", "inductor", "higher_order", "c10d", "_c10d_functional"})
_BY_TEXT = frozenset(
    {
        "torch.dtype",
        "torch.device",
        "torch.layout",
        "torch.memory_format",
        "torch.qscheme",
        "torch.Tag",
        "torch.SymInt",
        "torch.SymFloat",
        "torch.SymBool",
    }
)


def _torch_label(walk: Walk) -> str:
    return walk.origins.of_module("torch").label or "torch"


def _text_leaf(walk: Walk, value: Any) -> bytes | None:
    return frame(b"v", frame(b"t", encode_text(type(value).__name__)) + encode_text(str(value)))


def _size_leaf(walk: Walk, size: Any) -> bytes | None:
    return frame(b"v", frame(b"t", b"Size") + encode_text(str([str(item) for item in size])))


def _op_leaf(walk: Walk, op: Any) -> bytes | None:
    """An operator: by name and torch's version, unless Python functions of the user's implement it."""
    name = _qualified(op)
    return None if _definition(name) is not None else by_name(_torch_label(walk), "torch.ops", str(op))


def _qualified(op: Any) -> str:
    name = getattr(op, "_qualified_op_name", None) or getattr(op, "name", None) or str(op)
    return name() if callable(name) else str(name)


def _definition(qualified: str) -> Any:
    namespace, _, rest = qualified.partition("::")
    if namespace in _OWN_NAMESPACES:
        return None
    custom_ops = sys.modules.get("torch._library.custom_ops")
    known = getattr(custom_ops, "OPDEFS", {})
    return known.get(f"{namespace}::{rest.partition('.')[0]}")


def _expand_op(walk: Walk, op: Any, node: Node) -> None:
    node.head = by_name(_torch_label(walk), "torch.ops", str(op))
    definition = _definition(_qualified(op))
    node.add("", "definition", walk.child(definition), definition)


def _expand_definition(walk: Walk, definition: Any, node: Node) -> None:
    """A custom operator written in Python: its schema, and all that was registered for it."""
    walk.slots.never()
    schema = f"{definition._namespace}::{definition._name}{definition._schema}"
    node.head = by_name(_torch_label(walk), "torch.library", schema)
    node.add(".", "function", walk.child(definition._init_fn), definition._init_fn)
    for name, value in registered_with(definition).items():
        node.add(".", name.strip("_"), walk.child(value), value)


_DEFINES = frozenset({"_namespace", "_name", "_schema", "_init_fn", "_lib", "_opoverload"})


def registered_with(definition: Any) -> dict[str, object]:
    """By name, what a custom operator has besides its schema and its first function."""
    held = {name: value for name, value in vars(definition).items() if name not in _DEFINES and value}
    return dict(sorted(held.items()))


def add_operator(walk: Walk, node: Node, label: str, path: tuple[str, ...]) -> bool:
    """Add an operator that code reaches as ``torch.ops.<namespace>.<name>``, where Python implements it."""
    if len(path) < 2:
        return False
    definition = _definition(f"{path[0]}::{path[1]}")
    if definition is None:
        return False
    node.add("→", label, walk.child(definition), definition)
    return True


def _content(tensor: Any) -> bytes:
    """A hash of a tensor's content, in the order of its indices, wherever it lies."""
    torch = sys.modules["torch"]
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    data = plain.view(torch.uint8).numpy() if plain.numel() else b""
    return blake2b(data, digest_size=32).digest()


def _tensor_kind(tensor: Any) -> bytes:
    about = (
        str(tensor.dtype),
        [str(size) for size in tensor.shape],
        tensor.device.type,
        str(tensor.layout),
        tensor.requires_grad,
    )
    return frame(b"t", ascii(about).encode())


def _tensor_facts(tensor: Any) -> bytes:
    torch = sys.modules["torch"]
    text = _tensor_kind(tensor)
    if tensor.device.type == "meta" or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return text
    return text + frame(b"d", _content(tensor))


def _expand_tensor(walk: Walk, tensor: Any, node: Node) -> None:
    torch = sys.modules["torch"]
    kind = type(tensor)
    fake = getattr(sys.modules.get("torch._subclasses.fake_tensor"), "FakeTensor", ())
    if kind not in (torch.Tensor, torch.nn.Parameter) and not isinstance(tensor, fake):
        walk.mark_opaque(node, kind.__qualname__)
        return
    read = _tensor_facts if walk.tensor_values else _tensor_kind
    try:
        facts = read(tensor)
    except (RuntimeError, TypeError, NotImplementedError):  # sparse, quantized: no plain content
        walk.mark_opaque(node, f"{kind.__qualname__} ({tensor.layout})")
        return
    node.head = frame(b"n", encode_text(kind.__qualname__)) + facts
    node.text = f"{kind.__qualname__}({list(tensor.shape)}, {tensor.dtype}, {tensor.device.type})"
    walk.slots.computed(read, tensor, facts)


def _expand_graph(walk: Walk, graph: Any, node: Node) -> None:
    """An FX graph: every node's operation, target and arguments, by position and not by name."""
    walk.slots.never()
    position: dict[Any, int] = {}
    lines = [str(graph).strip()]
    for index, fx_node in enumerate(graph.nodes):
        position[fx_node] = index
        step = Node("graph node", fx_node.name)
        target = fx_node.target
        step.head = frame(b"o", encode_text(fx_node.op))
        step.add(".", "target", walk.child(target), target)
        arguments = (fx_node.args, fx_node.kwargs)
        step.add(".", "arguments", walk.child(_by_position(arguments, position)), str(arguments))
        node.add("[", str(index), step, None)
    node.text = "\n".join(lines)


def _by_position(value: Any, position: dict[Any, int]) -> Any:
    """Arguments with each graph node replaced by where it stands."""
    if isinstance(value, (list, tuple)):
        items = [_by_position(item, position) for item in value]
        return (type(value).__name__, *items)
    if isinstance(value, dict):
        return {key: _by_position(item, position) for key, item in value.items()}
    if isinstance(value, slice):
        return ("slice", *[_by_position(item, position) for item in (value.start, value.stop, value.step)])
    try:
        place = position.get(value)
    except TypeError:
        return value
    return value if place is None or type(value).__name__ != "Node" else ("%", place)


def _expand_graph_module(walk: Walk, module: Any, node: Node) -> None:
    walk.slots.never()
    node.add(".", "graph", walk.child(module.graph), None)
    for name in ("_parameters", "_buffers", "_modules"):
        for key, value in getattr(module, name).items():
            node.add(".", key, walk.child(value), value)
    attributes = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_") and key not in ("graph", "training", "meta")
    }
    for key in sorted(attributes):
        node.add(".", key, walk.child(attributes[key]), attributes[key])
    node.add(".", "training", walk.child(module.training), module.training)


def _expand_ordered_set(walk: Walk, ordered: Any, node: Node) -> None:
    """As any instance. Its ``__getstate__`` would have to be asked each time, and says no more than its dict."""
    from passprint.identity.value_kinds import add_class, add_state  # which come to this module themselves

    add_class(walk, ordered, node)
    add_state(walk, ordered, node)


_TEXT = Handler("torch value", lambda walk, value, node: None, _text_leaf)
_SIZE = Handler("torch value", lambda walk, value, node: None, _size_leaf)
_OP = Handler("operator", _expand_op, _op_leaf)
_DEFINITION = Handler("custom operator", _expand_definition)
_TENSOR = Handler("tensor", _expand_tensor)
_GRAPH = Handler("graph", _expand_graph)
_GRAPH_MODULE = Handler("graph module", _expand_graph_module)
_ORDERED_SET = Handler("set", _expand_ordered_set)


def _find(kind: type) -> Handler | None:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return None
    handler: Handler | None = None
    module = kind.__module__
    if f"{module}.{kind.__qualname__}" in _BY_TEXT:
        handler = _TEXT
    elif kind is torch.Size:
        handler = _SIZE
    elif issubclass(kind, torch.Tensor):
        return _TENSOR
    elif module == "torch._ops" and kind.__name__ in ("OpOverload", "OpOverloadPacket"):
        handler = _OP
    elif module == "torch._ops" and kind.__name__.endswith("Operator"):
        handler = _TEXT
    elif module == "torch._library.custom_ops" and kind.__name__ == "CustomOpDef":
        handler = _DEFINITION
    elif module == "torch.fx.graph" and kind.__name__ == "Graph":
        handler = _GRAPH
    elif module == "torch.utils._ordered_set" and kind.__name__ == "OrderedSet":
        handler = _ORDERED_SET
    elif any(
        base.__name__ == "GraphModule" and base.__module__ == "torch.fx.graph_module" for base in kind.__mro__
    ):
        return _GRAPH_MODULE
    if handler is not None:
        HANDLERS[kind] = handler
    return handler


FINDERS.append(_find)
