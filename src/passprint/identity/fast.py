"""The walk with its common steps in C, where the C module of this room was built.

Both ways give the same nodes, rows and digests (``tests/identity/test_twins.py``). What C needs of the walk in Python
is handed over here.
"""

from __future__ import annotations

import gc
import importlib
import os
from enum import EnumType

from passprint.identity import bytecode, components, environment, hints, reach
from passprint.identity.canonical import ATOMS, atom_encoder
from passprint.identity.kinds import class_kinds, code_kinds, value_kinds  # imports all kinds
from passprint.identity.node import EMPTY_CELL, UNBOUND, Component, Node
from passprint.identity.origin import SEED, Origin, Origins
from passprint.identity.slots import ABSENT, Slots
from passprint.identity.walk import HANDLERS, Handler, Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

try:
    if os.environ.get("PASSPRINT_PURE_PYTHON"):
        raise ImportError("PASSPRINT_PURE_PYTHON is set")
    from passprint.identity import _walk
except ImportError:
    Walker: type[Walk] = Walk
    settle: Callable[[Node], None] = components.settle_digests
else:
    _walk.setup(
        {
            "node_type": Node,
            "node_template": Node("", ""),
            "component_type": Component,
            "component_template": Component([], []),
            "handlers": HANDLERS,
            "atoms": ATOMS,
            "absent": ABSENT,
            "unbound": UNBOUND,
            "empty_cell": EMPTY_CELL,
            "unknowable": reach.UNKNOWABLE,
            "import_module": importlib.import_module,
            "follow": reach.follow,
            "import_in_python": reach.add_import,
            "check_computed": reach.check_computed,
            "add_unknowable": reach.add_unknowable,
            "generated_leaf": code_kinds.generated_leaf,
            "expand_function": code_kinds.expand_function,
            "code_facts": bytecode.code_facts,
            "class_leaf": class_kinds.class_leaf,
            "builtin_leaf": code_kinds.builtin_leaf,
            "tuple_leaf": value_kinds.tuple_leaf,
            "list_leaf": value_kinds.list_leaf,
            "expand_dict": value_kinds.expand_dict,
            "descriptor_leaf": code_kinds.descriptor_leaf,
            "atom_encoder": atom_encoder,
            "enum_type": EnumType,
            "uncounted_names": class_kinds.UNCOUNTED,
            "ignored_names": class_kinds.ignored_names,
            "expand_class": class_kinds.expand_class,
            "expand_field": class_kinds.expand_field,
            "expand_wrapping": code_kinds.expand_wrapping,
            "expand_property": code_kinds.expand_property,
            "identifies_itself": reach.identifies_itself,
            "os_environ": environment.ENVIRON,
            "environ_bytes": environment.ENVIRON_BYTES,
            "environ_place": environment.PLACES[0],
            "os_getenv": environment.GETENV,
            "getenv_place": environment.PLACES[1],
            "add_environment": environment.add_environment,
            "held_hints": hints.held_hints,
            "lazy_hints": hints.lazy_hints,
            "gather": gc.get_referents,
            "seed": SEED,
            "named_classes": {
                "CodeFacts": bytecode.CodeFacts,
                "Component": Component,
                "Handler": Handler,
                "ImportRef": bytecode.ImportRef,
                "Node": Node,
                "Origin": Origin,
                "Origins": Origins,
                "Slots": Slots,
                "Walk": Walk,
            },
        }
    )

    class WalkInC(Walk):
        """A walk whose common steps are taken in C."""

        __slots__ = ()

        def child(self, obj: Any) -> Node | bytes:
            """The bytes of a plain value, or the node of anything else (expanded later)."""
            return _walk.child(self, obj)

        def expand_all(self) -> None:
            """Expand the nodes that wait for it, and all below them."""
            _walk.expand_all(self)

        def add_members(
            self,
            node: Node,
            names: list[str],
            content: dict[str, Any],
            uncounted: frozenset[str],
            ignored: frozenset[str],
        ) -> None:
            """Add the members of these names that are in neither set."""
            _walk.add_members(self, node, names, content, uncounted, ignored)

        def lasting(self, kept: dict[int, tuple[Any, Node]], limit: int) -> dict[int, tuple[Any, Node]]:
            """The kept nodes with those of this walk that later ones may take over."""
            return _walk.learn(self.nodes, kept, limit)

    Walker = WalkInC
    settle = _walk.settle
