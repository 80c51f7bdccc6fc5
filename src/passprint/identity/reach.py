"""What the names in a function's code reach: globals, dotted chains, names imported inside it."""

from __future__ import annotations

import importlib
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

from passprint.identity.bytecode import CodeFacts, ImportRef
from passprint.identity.canonical import atom_encoder, encode_text, frame
from passprint.identity.environment import ENVIRON, ENVIRON_BYTES, add_environment, reads_environment
from passprint.identity.node import UNBOUND, Node
from passprint.identity.slots import ABSENT, NAME
from passprint.identity.torch_kinds import add_operator
from passprint.identity.walk import COMPUTED, Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNKNOWABLE = frozenset({"eval", "exec", "globals", "__import__"})
"""Builtins with which code reaches what no reading of it tells."""

_FAILED_IMPORT = (
    ImportError,
    SyntaxError,
    AttributeError,
    NameError,
    TypeError,
    ValueError,
    RuntimeError,
    LookupError,
    OSError,
)


def add_reached(walk: Walk, node: Node, function: FunctionType, facts: CodeFacts) -> None:
    """Add to a function's node all that the names in its code reach."""
    namespace = function.__globals__
    typed: Any = function  # not every type checker's FunctionType has __builtins__
    builtins: dict[str, Any] = typed.__builtins__
    rows = walk.slots.rows
    seen: set[str] = set()
    for chain in facts.chains:
        name = chain[0]
        if name in seen:
            continue
        if name in namespace:
            value = namespace[name]
            rows.append((NAME, namespace, name, value))
        else:
            rows.append((NAME, namespace, name, ABSENT))
            if name not in builtins:
                seen.add(name)
                node.edges.append(("→", name, UNBOUND, None))
                continue
            value = builtins[name]
            rows.append((NAME, builtins, name, value))
            if name in UNKNOWABLE:
                add_unknowable(walk, node, name)
        if isinstance(value, ModuleType) or value is importlib.import_module:
            follow(walk, node, name, chain[1:], value, seen)
        else:
            seen.add(name)
            child = ENVIRON_BYTES if value is ENVIRON else walk.child(value)
            node.edges.append(("→", name, child, value))
    add_more(walk, node, function, facts, seen)


def add_more(walk: Walk, node: Node, function: FunctionType, facts: CodeFacts, seen: set[str]) -> None:
    """Add what a function imports when it runs, what it takes by computed names, and of the environment."""
    namespace = function.__globals__
    for ref in facts.imports:
        add_import(walk, node, ref, namespace, seen)
    for chain in facts.computed:
        check_computed(walk, node, chain, namespace)
    if reads_environment(node):
        add_environment(walk, node, function)


def add_unknowable(walk: Walk, node: Node, name: str) -> None:
    """Say of a node that it calls a builtin with which code reaches anything."""
    node.add("→", f"{name}()", walk.opaque(object(), COMPUTED))


def follow(
    walk: Walk, node: Node, label: str, attributes: tuple[str, ...], value: Any, seen: set[str]
) -> None:
    """Follow a dotted chain through modules and add what it ends at."""
    foreign: str | None = None
    for position, attribute in enumerate(attributes):
        if not isinstance(value, ModuleType):
            break
        foreign = walk.origins.of_module(value.__name__).label
        if foreign is not None and f"{value.__name__}.".startswith(_MAKES_MEMBERS):
            # What it has made so far is no part of the code.
            label = ".".join((label, *attributes[position:]))
            if label not in seen and not _add_made(walk, node, label, value.__name__, attributes[position:]):
                _add_foreign(
                    node, label, f"{foreign} {_path_of(value.__name__, attributes[position:])}", seen
                )
            seen.add(label)
            return
        inside = value.__dict__
        label = f"{label}.{attribute}"
        if foreign is not None:  # whatever name the module goes by here
            foreign = f"{foreign} {value.__name__}.{attribute}"
        if attribute in inside:
            value = inside[attribute]
            walk.slots.name(inside, attribute, value)
            continue
        walk.slots.missing(inside, attribute)
        if foreign is not None:  # maybe a module that is only imported when it is used: as if it were there
            rest = attributes[position + 1 :]
            _add_foreign(node, ".".join((label, *rest)), ".".join((foreign, *rest)), seen)
            return
        try:
            value = getattr(value, attribute)
        except Exception:  # noqa: BLE001  (a module's own __getattr__ may raise anything for what it has not)
            if label not in seen:
                seen.add(label)
                node.add("→", label, UNBOUND)
            return
    if label in seen:
        return
    if value is importlib.import_module:
        node.add("→", f"{label}()", walk.opaque(object(), COMPUTED))
    if foreign is not None and not identifies_itself(walk, value, attributes[-1]):
        _add_foreign(node, label, foreign, seen)
        return
    seen.add(label)
    node.add("→", label, walk.child(value), value)


_MAKES_MEMBERS = ("torch.ops.", "torch.classes")
"""Namespaces of torch that make their members when asked for them."""


def _path_of(namespace: str, attributes: tuple[str, ...]) -> str:
    """What code names, less ``torch.ops``."""
    return ".".join((namespace, *attributes)).removeprefix("torch.ops.")


def _add_made(walk: Walk, node: Node, label: str, namespace: str, attributes: tuple[str, ...]) -> bool:
    """Add an operator that Python implements by its functions."""
    if namespace.startswith("torch.classes"):
        return False
    return add_operator(walk, node, label, (*namespace.split(".")[2:], *attributes))


def _add_foreign(node: Node, label: str, foreign: str, seen: set[str]) -> None:
    if label not in seen:
        seen.add(label)
        node.add("→", label, frame(b"F", encode_text(foreign)), foreign)


def identifies_itself(walk: Walk, value: Any, name: str) -> bool:
    """Whether something found in a foreign module counts by itself and not by where it was found.

    Constants do, and code that somebody put in the place of the module's own. The module's own code counts
    by where it was found (a lazy module has it only after the first use). So do objects with state that
    others keep (``os.environ``, ``sys.stdout``): they are the program's surroundings.
    """
    if isinstance(value, FunctionType):
        owner = value.__globals__.get("__name__")
    elif isinstance(value, (type, BuiltinFunctionType)):
        owner = value.__module__
    else:
        return atom_encoder(type(value)) is not None
    if value.__name__ != name:
        return True
    return owner is not None and walk.origins.of_module(owner).by_content


def _full_name(ref: ImportRef, namespace: dict[str, Any]) -> str:
    if not ref.level:
        return ref.module
    package = namespace.get("__package__")
    if not isinstance(package, str):
        package = str(namespace.get("__name__", ""))
        if "__path__" not in namespace:
            package = package.rpartition(".")[0]
    base = package.rsplit(".", ref.level - 1)[0] if ref.level > 1 else package
    return f"{base}.{ref.module}" if ref.module else base


def add_import(walk: Walk, node: Node, ref: ImportRef, namespace: dict[str, Any], seen: set[str]) -> None:
    """What a name imported inside a function is. User code that is not imported yet is imported now."""
    name = _full_name(ref, namespace)
    written = "." * ref.level + ref.module
    label = written if ref.taken is None else f"{written}.{ref.taken}"
    foreign = walk.origins.of_module(name).label
    if foreign is not None:
        for use in ref.uses or ((),):
            used = ".".join((label, *use))
            _add_foreign(node, used, f"{foreign} {used}", seen)
        return
    value: Any = _load(name)
    if value is None:
        node.add("→", label, UNBOUND)
        return
    walk.slots.name(sys.modules, name, value)
    if ref.taken is not None:
        inside = value.__dict__
        if ref.taken in inside:
            value = inside[ref.taken]
            walk.slots.name(inside, ref.taken, value)
        else:
            walk.slots.missing(inside, ref.taken)
            value = _load(f"{name}.{ref.taken}") or getattr(value, ref.taken, None)
    for use in ref.uses:
        follow(walk, node, label, use, value, seen)


def _load(name: str) -> ModuleType | None:
    module = sys.modules.get(name)
    if module is None:
        try:
            module = importlib.import_module(name)
        except _FAILED_IMPORT:
            return None
    return module


def check_computed(walk: Walk, node: Node, chain: tuple[str, ...], namespace: dict[str, Any]) -> None:
    """``getattr`` with a computed name, of a module of the user's: it may reach anything."""
    value = namespace.get(chain[0])
    for attribute in chain[1:]:
        value = vars(value).get(attribute) if isinstance(value, ModuleType) else None
    unknown = value is sys.modules or (
        isinstance(value, ModuleType) and walk.origins.of_module(value.__name__).by_content
    )
    if unknown:
        label = f"getattr({'.'.join(chain)}, …)"
        node.add("→", label, walk.opaque(object(), COMPUTED))
