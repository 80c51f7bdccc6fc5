"""Whether the files that vLLM traced are still the same code, comments and lines aside."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any


def are_same_code(source_info: Any) -> bool:
    """Whether every module that was traced has the code that an artifact was made from; False if that is not known."""
    for source in source_info.inlined_sources:
        module = sys.modules.get(source.module)
        if module is None:
            return False
        try:
            with open(inspect.getfile(module), encoding="utf-8") as file:
                text = file.read()
            if text != source.content and _code(text) != _code(source.content):
                return False
        except (OSError, TypeError, ValueError, SyntaxError):
            return False
    return True


def _code(text: str) -> str:
    """A module's code without comments, places and documentation."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            if is_text and isinstance(first.value.value, str):  # type: ignore[union-attr]
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
