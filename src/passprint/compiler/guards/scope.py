"""Expressions of guards as lines of generated Python: common parts become variables, each evaluated once."""

from __future__ import annotations

import ast
from collections.abc import Callable

from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.guards.source import ByNode, Sources

_CALLABLE = frozenset(
    {"type", "len", "list", "tuple", "dict", "getattr", "hasattr", "set", "max", "min", "abs", "int"}
    | {"___from_numpy", "math"}
)

# How Dynamo writes an attribute that a class's own ``__getattribute__`` takes from its base.
_PLAIN_LOOKUP = ("object", "__getattribute__")

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
    ast.Div: "/",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


def _no_name(node: ast.expr) -> str | None:
    """Of no expression is the class known."""
    return None


def _imported(call: ast.Call) -> str | None:
    """The package whose module Dynamo writes as ``__import__('package.module')``, which gives the package; or None."""
    is_import = isinstance(call.func, ast.Name) and call.func.id == "__import__" and len(call.args) == 1
    module = call.args[0] if is_import else None
    return str(module.value).partition(".")[0] if isinstance(module, ast.Constant) else None


class Scope:
    """One generated function: expressions become variables, each once."""

    def __init__(
        self,
        sources: Sources,
        global_name: Callable[[str], str],
        imported: Callable[[str], str],
        class_name: Callable[[ast.expr], str | None] = _no_name,
    ) -> None:
        self._parse = sources.parse
        self._global_name = global_name
        self._imported = imported
        self._class_name = class_name
        self.lines: list[str] = []
        self._names: dict[str, str] = {}
        self._known: ByNode[str] = ByNode()

    def source(self, text: str) -> str:
        """The variable that holds the value of a source expression."""
        try:
            return self.value(self._parse(text))
        except SyntaxError:
            raise CannotRecordError(f"a guard on {text} is no expression") from None

    def value(self, node: ast.expr) -> str:
        """The name, or the literal, that stands for an expression."""
        if isinstance(node, ast.Constant):
            return repr(node.value)
        if isinstance(node, ast.Name):
            if node.id in _CALLABLE or node.id in ("True", "False", "None"):
                return node.id
            raise CannotRecordError(f"a guard uses {node.id}")
        if isinstance(node, ast.Tuple):  # a key
            return f"({''.join(f'{self.value(part)}, ' for part in node.elts)})"
        return self._known.of(node, self._named)

    def _named(self, node: ast.expr) -> str:
        return self._variable(self._text(node))

    def _text(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self.value(node.value)}.{node.attr}"
        if isinstance(node, ast.Subscript):
            root = self._root(node)
            if root is not None:
                return root
            inner = node.value
            # dict(type(x).__dict__)['name'] copies the whole class first
            if (
                isinstance(inner, ast.Call)
                and isinstance(inner.func, ast.Name)
                and inner.func.id == "dict"
                and isinstance(inner.args[0], ast.Attribute)
                and inner.args[0].attr == "__dict__"
            ):
                inner = inner.args[0]
            return f"{self.value(inner)}[{self.value(node.slice)}]"
        if isinstance(node, ast.Call) and not node.keywords:
            if isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) == 1:
                known = self._class_name(node.args[0])
                if known is not None:
                    return known
            imported = _imported(node)
            if imported is not None:
                return self._imported(imported)
            arguments = ", ".join(self.value(a) for a in node.args)
            if isinstance(node.func, (ast.Attribute, ast.Name)):
                return f"{self.value_of_callee(node.func)}({arguments})"
        elif isinstance(node, ast.BinOp):
            return f"({self.value(node.left)} {_OPERATORS[type(node.op)]} {self.value(node.right)})"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
            return f"({'-' if isinstance(node.op, ast.USub) else 'not '}{self.value(node.operand)})"
        elif isinstance(node, ast.Compare):
            terms = [self.value(node.left)]
            for op, right in zip(node.ops, node.comparators, strict=True):
                terms += [_OPERATORS[type(op)], self.value(right)]
            return f"({' '.join(terms)})"
        elif isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return f"({word.join(self.value(v) for v in node.values)})"
        raise CannotRecordError(f"a guard uses the expression {ast.unparse(node)[:80]}")

    def value_of_callee(self, node: ast.Attribute | ast.Name) -> str:
        """What is called: a method stays an attribute, so that no variable holds a bound method."""
        if isinstance(node, ast.Name):
            return self.value(node)
        if isinstance(node.value, ast.Name) and (node.value.id, node.attr) == _PLAIN_LOOKUP:
            return ".".join(_PLAIN_LOOKUP)
        return f"{self.value(node.value)}.{node.attr}"

    def _root(self, node: ast.Subscript) -> str | None:
        if not isinstance(node.value, ast.Name) or node.value.id not in ("L", "G"):
            return None
        assert isinstance(node.slice, ast.Constant)
        name = str(node.slice.value)
        return name if node.value.id == "L" else self._global_name(name)

    def _variable(self, text: str) -> str:
        if text.isidentifier():
            return text
        known = self._names.get(text)
        if known is None:
            known = self._names[text] = f"v{len(self._names)}"
            self.lines.append(f"{known} = {text}")
        return known
