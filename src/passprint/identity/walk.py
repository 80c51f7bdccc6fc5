"""One walk: from an object to the graph of everything that can change what it does."""

from __future__ import annotations

from collections.abc import Callable

from passprint.errors import OpaqueError
from passprint.identity.canonical import ATOMS, atom_encoder, encode_text
from passprint.identity.known import Known, Trust, is_named_by_module, lasting
from passprint.identity.node import Node
from passprint.identity.origin import PYTHON, Origins
from passprint.identity.slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Leaf = Callable[["Walk", Any], "bytes | None"]
    Expand = Callable[["Walk", Any, Node], None]


class Handler:
    """How objects of one kind are read.

    ``leaf`` gives an object's bytes where it needs no node of its own (a third-party function counts by name
    and version), ``expand`` fills a node.
    """

    __slots__ = ("expand", "kind", "leaf")

    def __init__(self, kind: str, expand: Expand, leaf: Leaf | None = None) -> None:
        self.kind = kind
        self.expand = expand
        self.leaf = leaf


COMPUTED = "a name computed at run time"
"""Why something cannot be identified that code looks up by what it computes."""

HANDLERS: dict[type, Handler] = {}
"""Handlers by exact type; filled by the modules that know kinds of objects, and by :func:`find_handler`."""

FINDERS: list[Callable[[type], Handler | None]] = []
"""Asked in turn for the handler of a type that has none yet."""


_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: nothing can be assigned to the type


def find_handler(kind: type) -> Handler:
    """The handler of a type, remembered where it can never change."""
    for finder in FINDERS:
        handler = finder(kind)
        if handler is not None:
            if kind.__flags__ & _IMMUTABLE:
                HANDLERS[kind] = handler
            return handler
    raise AssertionError(f"no finder took {kind!r}")  # the last finder takes everything


def own_attribute(obj: Any, name: str, default: Any = None) -> Any:
    """An attribute without asking the object's ``__getattr__``, which may do and raise anything."""
    try:
        return object.__getattribute__(obj, name)
    except AttributeError:
        return default


def name_of(obj: Any) -> str:
    """What a person would call an object."""
    name = own_attribute(obj, "__qualname__") or own_attribute(obj, "__name__")
    return name if isinstance(name, str) else type(obj).__qualname__


_SHOWN = (str, int, float, complex, bytes, tuple, list, frozenset, set, range)
_TEXT_LIMIT = 4000


def shown(value: Any) -> str | None:
    """A plain value as text for people, or None. The same in every process: a set's items are sorted as text."""
    if value is None or isinstance(value, _SHOWN):
        text = repr(value)
        if value and isinstance(value, (set, frozenset)):
            items = f"{{{', '.join(sorted(map(repr, value)))}}}"
            text = items if type(value) is set else f"{type(value).__name__}({items})"
        return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"
    return None


class Walk:
    """Builds nodes for all that is reached and records the slots that it read."""

    __slots__ = (
        "handlers",
        "is_opaque",
        "leaves",
        "nodes",
        "origins",
        "reaches_root",
        "root",
        "settled",
        "slots",
        "tensor_values",
        "todo",
        "trust",
    )

    def __init__(self, origins: Origins, known: Known, root: Any = None) -> None:
        self.origins = origins
        self.root = root
        # A module keeps what it names, so the rows may hold it: then they serve other walks as well.
        self.slots = Slots(None if is_named_by_module(root) else root)
        self.is_opaque = False
        self.reaches_root = False
        self.nodes: dict[int, tuple[Any, Node]] = {}
        self.settled = known.nodes
        self.tensor_values = known.tensor_values
        self.leaves: dict[int, tuple[Any, bytes]] = {}
        self.trust = Trust()
        # Of types that could be changed: not while one walk runs.
        self.handlers: dict[type, Handler] = {}
        self.todo: list[tuple[Handler, Any, Node]] = []

    def run(self, obj: Any) -> Node:
        """The node of an object, everything below it expanded."""
        rows = self.slots.rows
        root = self.node(obj)
        if rows:  # read for a plain value, which has no node of its own to be expanded
            root.rows = rows
            self._note(root)
        self.expand_all()
        return root

    def expand_all(self) -> None:
        """Expand the nodes that wait for it, and all below them."""
        slots = self.slots
        while self.todo:
            handler, value, node = self.todo.pop()
            node.rows = slots.rows = []
            handler.expand(self, value, node)
            if slots.is_about_root or slots.is_volatile:
                self._note(node)

    def _note(self, node: Node) -> None:
        """Say of a node what its rows are about."""
        slots = self.slots
        node.is_about_root, node.is_volatile = slots.is_about_root, slots.is_volatile
        slots.is_about_root = slots.is_volatile = False

    def node(self, obj: Any) -> Node:
        """The node of an object; a plain value gets one too."""
        child = self.child(obj)
        if isinstance(child, Node):
            if not child.name:
                child.name = name_of(obj)
            return child
        node = Node("data" if atom_encoder(type(obj)) else type(obj).__name__, name_of(obj))
        node.text = shown(obj)
        node.head = child
        return node

    def child(self, obj: Any) -> Node | bytes:
        """The bytes of a plain value, or the node of anything else (expanded later)."""
        kind = type(obj)
        encode = ATOMS.get(kind)
        if encode is not None:
            return encode(obj)
        key = id(obj)
        known = self.nodes.get(key)
        if known is not None:
            if obj is self.root:
                self.reaches_root = True
            return known[1]
        named = self.leaves.get(key)
        if named is not None:
            return named[1]
        return self.take_over(key) or self.enter(obj)

    def take_over(self, key: int) -> Node | None:
        """The node that an earlier walk settled for an object, where nothing below it has changed."""
        settled = self.settled.get(key)
        if settled is None:
            return None
        component = settled[1].component
        if component is None or not self.trust.holds(component):
            return None
        self.nodes[key] = settled
        self.is_opaque |= component.is_opaque
        return settled[1]

    def enter(self, obj: Any) -> Node | bytes:
        """The bytes or the new node of an object that was not met before."""
        kind = type(obj)
        handler = HANDLERS.get(kind) or self.handlers.get(kind)
        if handler is None:
            encode = atom_encoder(kind)
            if encode is not None:
                try:
                    return encode(obj)
                except OpaqueError as error:
                    return self.opaque(obj, error.paths[0])
            handler = self.handlers[kind] = find_handler(kind)
        if handler.leaf is not None:
            rows = self.slots.rows
            count = len(rows)
            leaf = handler.leaf(self, obj)
            if leaf is not None:
                if len(rows) == count:  # nothing was read for it that other nodes would have to note as well
                    self.leaves[id(obj)] = (obj, leaf)
                return leaf
        node = Node(handler.kind, "")
        self.nodes[id(obj)] = (obj, node)
        self.todo.append((handler, obj, node))
        return node

    def add_members(
        self,
        node: Node,
        names: list[str],
        content: dict[str, Any],
        uncounted: frozenset[str],
        ignored: frozenset[str],
    ) -> None:
        """Add the members of these names that are in neither set."""
        for name in names:
            if name not in uncounted and name not in ignored:
                value = content[name]
                node.edges.append((".", str(name), self.child(value), value))

    def lasting(self, kept: dict[int, tuple[Any, Node]], limit: int) -> dict[int, tuple[Any, Node]]:
        """The kept nodes with those of this walk that later ones may take over."""
        return lasting(self.nodes.values(), kept, limit)

    def opaque(self, obj: Any, reason: str) -> Node:
        """A node for something that cannot be identified."""
        node = Node("opaque", reason)
        self.nodes[id(obj)] = (obj, node)
        self.mark_opaque(node, reason)
        return node

    def mark_opaque(self, node: Node, reason: str) -> None:
        """Say of a node that it cannot be identified."""
        node.opaque = reason
        self.is_opaque = True


def by_name(label: str, module: str, name: str) -> bytes:
    """The bytes of code that counts by its name and its distribution's version."""
    content = encode_text(f"{len(label)}:{label}{module}:{name}")
    return b"D%d:%b" % (len(content), content)


def builtin_bytes(name: str) -> bytes:
    """The bytes of a builtin."""
    return by_name(PYTHON, "builtins", name)
