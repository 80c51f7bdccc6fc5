"""What a piece is, as text: two pieces with the same text compile to the same code.

The text names nodes by position and symbols by order of appearance, so the names that Dynamo gave do not count.
It holds each input's metadata and which inputs share storage, every call with its constants, nested graphs, and
what is known about each symbol. It is the "graph" and "inputs" part of a piece's key, printable and comparable
line by line.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule, Node
from torch.utils._pytree import keystr

from passprint.compiler.lowering import user_code
from passprint.compiler.pieces.piece import Piece, is_attribute
from passprint.compiler.pieces.symbols import SYMBOL, SymbolFacts
from passprint.errors import OpaqueError
from passprint.identity import default_memo

# Their functions count by name: the key holds torch's version, and Python's through every fingerprint.
_NAMED_BY_VERSION = ("torch", "_operator", "operator", "math", "builtins")

_DYNAMOS_MESSAGE = "Runtime assertion failed for expression "

_LITERALS = frozenset({type(None), bool, int, float, complex, str, bytes})

_OPAQUE = "<opaque>"


@dataclass(frozen=True)
class Structure:
    """A piece's canonical text, in parts, with what could not be identified.

    ``symbols`` are the graph's own names of the symbolic sizes, in the canonical order (``d0``, ``d1``, …).
    """

    graph: str
    inputs: str
    facts: str
    symbols: tuple[str, ...]
    opaque: tuple[str, ...]


@dataclass
class Texts:
    """Texts that the pieces of one graph share: of symbolic expressions, of what is called (and whether code of the
    user's is behind it), of dtypes and devices."""

    expressions: dict[object, str] = field(default_factory=dict)
    targets: dict[object, tuple[str, bool]] = field(default_factory=dict)
    kinds: dict[torch.dtype | torch.device, str] = field(default_factory=dict)


@dataclass
class _Writer:
    owner: GraphModule
    texts: Texts
    numbers: dict[Node, str] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    storages: dict[int, int] = field(default_factory=dict)
    opaque: list[str] = field(default_factory=list)
    runs_users: bool = False
    """Whether code of the user's runs while it is lowered."""

    # -- values

    def expression(self, value: object) -> str:
        """A symbolic expression with canonical symbol names."""
        if type(value) is int:
            return str(value)
        known = value.node.expr if isinstance(value, torch.SymInt) else value
        text = self.texts.expressions.get(known)
        if text is None:
            text = self.texts.expressions[known] = str(value)
        return SYMBOL.sub(self._rename, text)

    def _rename(self, match: re.Match[str]) -> str:
        return self.symbols.setdefault(match[0], f"d{len(self.symbols)}")

    def value(self, value: object) -> str:
        kind = type(value)
        if kind is Node:
            return self.numbers[value]  # type: ignore[index]
        if kind in _LITERALS:
            return repr(value)
        if isinstance(
            value, (int, float, complex, str, bytes)
        ):  # a class of somebody's own: its content counts
            return self._identified(value)
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return f"sym({self.expression(value.node.expr)})"
        if isinstance(value, tuple):
            inner = "".join([f"{self.value(v)}, " for v in value])
            return f"({inner})" if kind is tuple else f"{_kind(value)}({inner})"
        if isinstance(value, list):
            return "[" + "".join([f"{self.value(v)}, " for v in value]) + "]"
        if isinstance(value, dict):
            return "{" + "".join(f"{self.value(k)}: {self.value(v)}, " for k, v in value.items()) + "}"
        if isinstance(value, slice):
            return f"slice({self.value(value.start)}, {self.value(value.stop)}, {self.value(value.step)})"
        if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
            return str(value)
        if value is Ellipsis:
            return "..."
        if isinstance(value, enum.Enum):
            return f"{_kind(value)}.{value.name}"
        if isinstance(value, (torch._ops.OpOverload, torch._ops.HigherOrderOperator)):
            return self.target(value)
        return self._identified(value)

    def _identified(self, value: object) -> str:
        """Anything else counts by its fingerprint; where it has none, the piece is opaque."""
        digest = default_memo().digest(value)
        if digest is None:
            self.opaque.append(f"a value of type {_kind(value)} in the graph")
            return f"<opaque {_kind(value)}>"
        return f"<{_kind(value)} {digest}>"

    # -- tensors

    def tensor(self, tensor: torch.Tensor) -> str:
        words = [
            "tensor" if isinstance(tensor, FakeTensor) else _kind(tensor),
            self._name(tensor.dtype).removeprefix("torch."),
            self._sizes(tensor.shape),
            self._name(tensor.device),
        ]
        if tensor.layout is torch.strided:
            words.append(f"strides {self._sizes(tensor.stride())}")
            words.append(f"offset {self.expression(tensor.storage_offset())}")
            storage = tensor.untyped_storage()._cdata
            words.append(f"storage {self.storages.setdefault(storage, len(self.storages))}")
        else:
            words.append(str(tensor.layout))
        if tensor.requires_grad:
            words.append("grad")
        if tensor.is_conj():
            words.append("conj")
        if tensor.is_neg():
            words.append("neg")
        if tensor.is_inference():
            words.append("inference")
        if getattr(tensor, "_dynamo_static_input_type", None):
            words.append("static")
        own = self._users_of(lambda: user_code.of_tensor(tensor, self.tensor, self.value))
        if own:
            words.append(own)
        return " ".join(words)

    def _users_of(self, write: Callable[[], str]) -> str:
        """The text of what is the user's, given what writes it; where that has no identity, the piece is opaque."""
        try:
            own = write()
        except OpaqueError as error:
            self.opaque.append(str(error))
            return _OPAQUE
        self.runs_users |= bool(own)
        return own

    def _name(self, kind: torch.dtype | torch.device) -> str:
        text = self.texts.kinds.get(kind)
        if text is None:
            text = self.texts.kinds[kind] = str(kind)
        return text

    def _sizes(self, sizes: torch.Size | tuple[int | torch.SymInt, ...]) -> str:
        return "[" + ", ".join([str(s) if type(s) is int else self.expression(s) for s in sizes]) + "]"

    # -- calls

    def target(self, target: Callable[..., object] | str) -> str:
        if isinstance(target, str):
            return repr(target)
        known = self.texts.targets.get(target)
        if known is None:
            return self._target(target)
        text, is_users = known
        self.runs_users |= is_users
        return text

    def _target(self, target: Callable[..., object]) -> str:
        text = self._named(target)
        if text is None:
            self.runs_users = True
            return self._identified(target)  # says what is opaque each time
        own = self._users_of(lambda: user_code.of_target(target))
        if own:
            text = f"{text} {own}"
        if own != _OPAQUE:
            self.texts.targets[target] = text, bool(own)
        return text

    @staticmethod
    def _named(target: Callable[..., object]) -> str | None:
        """The name of what counts by name, or None for what counts by content."""
        if isinstance(target, torch._ops.OpOverload):
            return f"torch.ops.{target} {target._schema}"
        if isinstance(target, torch._ops.HigherOrderOperator):
            return f"torch.ops.higher_order.{target}"
        owner = getattr(target, "__module__", None) or _kind(getattr(target, "__self__", None))
        if owner.partition(".")[0] in _NAMED_BY_VERSION:
            return f"{owner}.{getattr(target, '__qualname__', _kind(target))}"
        return None

    def call(self, node: Node) -> str:
        if node.target is torch.ops.aten._assert_scalar.default:
            args = self._assertion(*node.args)
        else:
            args = ", ".join([self.value(a) for a in node.args])
        given = sorted(node.kwargs.items()) if node.kwargs else ()
        indexed = self._indexed(node) if given and node.op == "call_function" else {}
        kwargs = ", ".join([f"{name}={indexed.get(name) or self.value(v)}" for name, v in given])
        if node.op == "get_attr":
            return f"graph {{\n{self.nested(str(node.target))}\n}}"
        if node.op == "call_module":
            self.opaque.append(f"a call of the module {node.target} that Dynamo did not inline")
        return f"{node.op} {self.target(node.target)}({args}; {kwargs})"

    def _assertion(self, holds: object, message: object) -> str:
        """What must hold; in Dynamo's own message, the names that it gave to nodes and symbols do not count."""
        if isinstance(message, str) and message.startswith(_DYNAMOS_MESSAGE):
            message = SYMBOL.sub(self._rename, message.partition(" on node ")[0])
        return f"{self.value(holds)}, {self.value(message)}"

    def _indexed(self, node: Node) -> dict[str, str]:
        """By keyword, the text of what a call names by an index."""
        try:
            return {name: f"<{digest}>" for name, digest in user_code.of_call(node).items()}
        except OpaqueError as error:
            self.opaque.append(str(error))
            return {}

    def nested(self, name: str) -> str:
        module = self.owner.get_submodule(name)
        if not isinstance(module, GraphModule):
            self.opaque.append(f"a nested {_kind(module)} at {name}")
            return _kind(module)
        writer = _Writer(module, self.texts, symbols=self.symbols, storages=self.storages, opaque=self.opaque)
        lines = []
        for index, node in enumerate(module.graph.nodes):
            writer.numbers[node] = f"%{index}"
            lines.append(f"  %{index} = {writer._nested_line(node)}")
        self.runs_users |= writer.runs_users
        return "\n".join(lines)

    def _nested_line(self, node: Node) -> str:
        if node.op == "placeholder":
            return "placeholder"
        if node.op == "get_attr" and is_attribute(node):
            return self._identified(getattr(self.owner, str(node.target), None))
        return self.call(node)


def describe(piece: Piece, owner: GraphModule, facts: SymbolFacts, texts: Texts | None = None) -> Structure:
    """Write the canonical text of ``piece``, a part of ``owner``'s graph, given what is known of its symbols.

    ``texts`` is shared by the pieces of one graph and saves writing the same again.
    """
    writer = _Writer(owner, texts or Texts())
    inputs = []
    for index, node in enumerate(piece.inputs):
        writer.numbers[node] = f"a{index}"
        inputs.append(f"a{index}: {_example(writer, node)}")
    lines = []
    for index, node in enumerate(piece.nodes):
        lines.append(f"%{index} = {writer.call(node)}{_made_symbols(writer, node)}")
        writer.numbers[node] = f"%{index}"
    returned = ", ".join(f"{writer.numbers[n]}: {_example(writer, n)}" for n in piece.outputs)
    lines.append(f"return {returned}")
    if writer.runs_users:
        tables = writer._users_of(user_code.of_tables)
        lines += [f"where {tables}"] if tables else []
    known = _facts(writer.symbols, facts)
    return Structure(
        graph="\n".join(lines),
        inputs="\n".join(inputs),
        facts=known,
        symbols=tuple(writer.symbols),
        opaque=tuple(writer.opaque),
    )


def _example(writer: _Writer, node: Node) -> str:
    value = node.meta.get("example_value")
    if isinstance(value, torch.Tensor):
        return writer.tensor(value)
    if isinstance(value, (tuple, list)):
        return ", ".join(writer.tensor(v) if isinstance(v, torch.Tensor) else writer.value(v) for v in value)
    return writer.value(value)


def _made_symbols(writer: _Writer, node: Node) -> str:
    """The symbols for numbers that this call takes from data, and where in its result they are."""
    made = node.meta.get("unbacked_bindings")
    if not made:
        return ""
    return " with " + ", ".join(f"{writer.expression(symbol)} at {keystr(at)}" for symbol, at in made.items())


def _facts(symbols: Mapping[str, str], facts: SymbolFacts) -> str:
    """Ranges and guards that mention the piece's symbols: Inductor may have relied on any of them."""

    def rename(match: re.Match[str]) -> str:
        return symbols.get(match[0], match[0])

    lines = [f"{new} in {facts.ranges[old]}" for old, new in symbols.items() if old in facts.ranges]
    for guard in facts.guards:
        if any(name in symbols for name in SYMBOL.findall(guard)):
            lines.append(SYMBOL.sub(rename, guard))
    return "\n".join(lines)


def _kind(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
