"""The sources of guards: expressions such as ``L['model']._modules['layers']``, each parsed and evaluated once.

A model of many layers has tens of thousands of guards, and their sources begin alike. So a chain of attributes and
items is taken apart from its end, and what it begins with is one node for all: what is known of a node by identity (its
value, its variable) is known of every source that begins with it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import torch

_LAST = re.compile(
    r"(?P<owner>.+)(?:\.(?P<attribute>[A-Za-z_]\w*)|\[(?:'(?P<text>[^'\\]*)'|(?P<number>\d+))\])", re.DOTALL
)
_PRIMARY = (ast.Name, ast.Attribute, ast.Subscript, ast.Call)


Found = TypeVar("Found")


class ByNode(Generic[Found]):
    """What was found for each node, once. Nodes are told apart by identity, and kept."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[ast.expr, Found]] = {}

    def of(self, node: ast.expr, find: Callable[[ast.expr], Found]) -> Found:
        """What ``find`` gave for this node when it was first asked for."""
        known = self._known.get(id(node))
        if known is None:
            known = self._known[id(node)] = (node, find(node))
        return known[1]


class Sources:
    """Parsed sources of one trace's guards. Nodes live as long as this does, so their ids are theirs."""

    def __init__(self) -> None:
        self._nodes: dict[str, ast.expr] = {}

    def parse(self, text: str) -> ast.expr:
        """The expression. Raises ``SyntaxError`` where it is none."""
        known = self._nodes.get(text)
        if known is None:
            known = self._nodes[text] = self._chain(text) or ast.parse(text, mode="eval").body
        return known

    def _chain(self, text: str) -> ast.expr | None:
        """The expression, if it ends with an attribute or item of a primary, with a shared node for that."""
        last = _LAST.fullmatch(text)
        if last is None:
            return None
        try:
            owner = self.parse(last["owner"])
        except SyntaxError:
            return None
        if not isinstance(owner, _PRIMARY):  # of ``a + b.c``, the attribute is not the sum's
            return None
        if last["attribute"] is not None:
            return ast.Attribute(owner, last["attribute"], ast.Load())
        item = last["text"] if last["number"] is None else int(last["number"])
        return ast.Subscript(owner, ast.Constant(item), ast.Load())


class Values:
    """The values of parsed sources in one frame, each found once."""

    def __init__(
        self, sources: Sources, frame_locals: Mapping[str, Any], frame_globals: Mapping[str, Any]
    ) -> None:
        self._sources = sources
        self._scope = {"L": frame_locals, "G": frame_globals, "___from_numpy": torch.as_tensor}
        self._known: ByNode[Any] = ByNode()

    def of(self, text: str) -> Any:
        """The value of a source. Raises whatever evaluating it raises."""
        return self._value(self._sources.parse(text))

    def _value(self, node: ast.expr) -> Any:
        return self._known.of(node, self._found)

    def _found(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._value(node.value)[node.slice.value]
        if isinstance(node, ast.Name) and node.id in self._scope:
            return self._scope[node.id]
        return eval(ast.unparse(node), dict(self._scope))
