"""Reading names and options from text, with carets under a mistake."""

from __future__ import annotations

import ast
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, NoReturn

from passprint.errors import PipelineError

_SPACE = re.compile(r"\s*")
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_PREFIX = "f("


def marked(text: str, start: int, end: int) -> str:
    """The line of ``text`` in which ``start`` is, and carets under it up to ``end``, both indented by two."""
    line_start = text.rfind("\n", 0, start) + 1
    line = text[line_start:].split("\n", 1)[0]
    before, under = line[: start - line_start], line[start - line_start : end - line_start]
    indent = "".join("\t" if char == "\t" else " " * _columns(char) for char in before)
    return f"  {line}\n  {indent}{'^' * max(1, sum(map(_columns, under)))}"


def _columns(char: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


@dataclass(frozen=True)
class Given:
    """An option as it is written: its key, its value as ``ast`` has it, and where in the text both are."""

    key: str
    start: int
    value: ast.expr
    value_start: int
    value_end: int


class Reader:
    """A place ``at`` in a text that is read from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        """The character that comes next; "" at the end."""
        return self.text[self.at : self.at + 1]

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match is not None else self.at

    def brackets(self, kind: str) -> str:
        """The text between the brackets that open here; strings and nested brackets are seen as wholes."""
        opened = self.at
        stack: list[str] = []
        at = opened
        while True:
            char = self.text[at : at + 1]
            if not char:
                self.fail(
                    opened, opened + 1, f"this {kind} is not closed; add {_CLOSING[self.text[opened]]!r}"
                )
            if char in "\"'":
                at = self._end_of_string(at)
                continue
            if char in _CLOSING:
                stack.append(_CLOSING[char])
            elif stack and char == stack[-1]:
                stack.pop()
                if not stack:
                    self.at = at + 1
                    return self.text[opened + 1 : at]
            at += 1

    def _end_of_string(self, opened: int) -> int:
        at = opened + 1
        while at < len(self.text) and self.text[at] != self.text[opened]:
            at += 2 if self.text[at] == "\\" else 1
        if at >= len(self.text):
            self.fail(opened, opened + 1, f"this string is not closed; add {self.text[opened]}")
        return at + 1

    def given(self, body: str, offset: int) -> list[Given]:
        """What ``body``, which begins at ``offset``, gives as ``key=value,key=value``; each key once."""
        try:
            call = ast.parse(f"{_PREFIX}{body})", mode="eval").body
        except SyntaxError as error:
            at = offset + _place(body, error.lineno or 1, (error.offset or 1) - 1)
            self.fail(at, at + 1, f"the options cannot be read ({error.msg}); write {{key=value,key=value}}")
        if not isinstance(call, ast.Call) or call.args or any(one.arg is None for one in call.keywords):
            self.fail(offset, offset + max(1, len(body)), "options are written as {key=value,key=value}")
        found: dict[str, Given] = {}
        for one in call.keywords:
            start, value = _column(body, one), one.value
            end = _column_of(body, value.end_lineno or 1, value.end_col_offset or 0)
            given = Given(str(one.arg), offset + start, value, offset + _column(body, value), offset + end)
            if given.key in found:
                self.fail(given.start, given.value_end, f"{given.key!r} is given twice; leave one out")
            found[given.key] = given
        return list(found.values())

    def fail(self, start: int, end: int, problem: str, more: str = "") -> NoReturn:
        """Raise with the line of the mistake and carets under it, and ``more`` below."""
        below = f"\n{more}" if more else ""
        raise PipelineError(f"{problem}\n{marked(self.text, start, end)}{below}")


def _column(body: str, node: Any) -> int:
    return _column_of(body, node.lineno, node.col_offset)


def _column_of(body: str, line: int, column: int) -> int:
    """Where in ``body`` a position of ``ast`` is: lines count from one, columns in UTF-8 bytes."""
    text = (_PREFIX + body).split("\n")[line - 1]
    return _place(body, line, len(text.encode()[:column].decode(errors="ignore")))


def _place(body: str, line: int, column: int) -> int:
    """Where in ``body`` a line, from one, and a column, in characters from zero, are."""
    lines = (_PREFIX + body).split("\n")
    return max(0, sum(len(earlier) + 1 for earlier in lines[: line - 1]) + column - len(_PREFIX))
