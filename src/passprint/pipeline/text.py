"""Pipelines as text: ``fuse-rms-norm{eps=1e-05},noop-elimination``, and a caret under a mistake."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from passprint.errors import PipelineError
from passprint.passes import InductorPass
from passprint.pipeline.registry import get_pass, nearest, pass_names
from passprint.pipeline.values import WrongType, fit, hints_of, read_value

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SPACE = re.compile(r"\s*")
_CLOSING = {"{": "}", "[": "]", "(": ")"}


def parse_pipeline(
    text: str, make: Callable[[list[Any]], PassManager], objects: Mapping[str, InductorPass]
) -> PassManager:
    """Read ``text``: ``make`` turns members into a manager, ``objects`` are known beside the registry."""
    if not isinstance(text, str):
        raise PipelineError(
            f"a pipeline's text was expected and {text!r} ({type(text).__name__}) was given; "
            'write it as in "fuse-rms-norm{eps=1e-05},noop-elimination"'
        )
    reader = _Reader(text, make, objects)
    manager = reader.group()
    if reader.at < len(text):
        reader.fail(
            reader.at, reader.at + 1, f"{text[reader.at]!r} was not expected here; a comma or the end was"
        )
    return manager


class _Reader:
    def __init__(
        self, text: str, make: Callable[[list[Any]], PassManager], objects: Mapping[str, InductorPass]
    ) -> None:
        self.text = text
        self.at = 0
        self._make = make
        self._objects = objects

    def group(self) -> PassManager:
        """Members up to the end of the text or a closing parenthesis."""
        members: list[Any] = []
        self._skip_space()
        if self._peek() in ("", ")"):
            return self._make(members)
        while True:
            members.append(self._member())
            self._skip_space()
            if self._peek() != ",":
                return self._make(members)
            self.at += 1
            self._skip_space()

    def _member(self) -> object:
        start = self.at
        if self._peek() == "(":
            self.at += 1
            inner = self.group()
            if self._peek() != ")":
                self.fail(start, start + 1, "this parenthesis is not closed; add ')'")
            self.at += 1
            return inner
        match = _NAME.match(self.text, start)
        if match is None:
            found = f"{self._peek()!r} was found" if self._peek() else "the text ends"
            self.fail(start, start + 1, f"the name of a pass was expected and {found}")
        self.at = match.end()
        return self._pass(match.group(), start)

    def _pass(self, name: str, start: int) -> InductorPass:
        known = self._objects.get(name)
        if known is None:
            names = pass_names()
            if name not in names:
                self.fail(
                    start,
                    self.at,
                    f"there is no pass called {name!r}{nearest(name, [*names, *self._objects])}",
                )
            owner = get_pass(name)
        self._skip_space()
        if self._peek() != "{":
            return known if known is not None else self._build(owner, {}, start)
        opened = self.at
        body = self._braces()
        if known is not None:
            self.fail(opened, self.at, f"{name!r} is an object that takes no options here; drop the braces")
        return self._build(owner, self._options(owner, name, body, opened + 1), start)

    def _braces(self) -> str:
        """The text between the braces that open here; strings and nested brackets are seen as wholes."""
        opened = self.at
        stack: list[str] = []
        at = opened
        while True:
            char = self.text[at : at + 1]
            if not char:
                self.fail(opened, opened + 1, "this brace is not closed; add '}'")
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

    def _options(self, owner: type[InductorPass], name: str, body: str, offset: int) -> dict[str, Any]:
        prefix = "f("
        try:
            call = ast.parse(f"{prefix}{body})", mode="eval").body
        except SyntaxError as error:
            at = offset + max(0, (error.offset or 1) - 1 - len(prefix))
            self.fail(at, at + 1, f"the options cannot be read ({error.msg}); write {{key=value,key=value}}")
        if not isinstance(call, ast.Call) or call.args or any(given.arg is None for given in call.keywords):
            self.fail(offset, offset + max(1, len(body)), "options are written as {key=value,key=value}")
        fields = {field.name: field for field in dataclasses.fields(owner) if field.init}
        hints = hints_of(owner)
        options: dict[str, Any] = {}
        for given in call.keywords:
            key = str(given.arg)
            start = offset + _column(body, given.lineno, given.col_offset, prefix)
            value_start = offset + _column(body, given.value.lineno, given.value.col_offset, prefix)
            value_end = offset + _column(
                body, given.value.end_lineno or 1, given.value.end_col_offset or 0, prefix
            )
            if key not in fields:
                self.fail(start, start + len(key), f"{name!r} has no option {key!r}{nearest(key, fields)}")
            try:
                options[key] = fit(read_value(given.value), hints.get(key, Any))
            except WrongType as error:
                self.fail(value_start, value_end, f"{name!r} takes {key} as {error.expected}")
        return options

    def _build(self, owner: type[InductorPass], options: dict[str, Any], start: int) -> InductorPass:
        missing = [
            field.name
            for field in dataclasses.fields(owner)
            if field.init
            and field.name not in options
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if missing:
            self.fail(
                start,
                self.at,
                f"{owner.name!r} needs {' and '.join(missing)}: {owner.name}{{{missing[0]}=...}}",
            )
        try:
            return owner(**options)
        except (TypeError, ValueError) as error:
            self.fail(start, self.at, f"{owner.name!r} does not take these options: {error}")

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match is not None else self.at

    def fail(self, start: int, end: int, problem: str) -> NoReturn:
        """Raise with the line of the mistake and carets under it."""
        line_start = self.text.rfind("\n", 0, start) + 1
        line = self.text[line_start:].split("\n", 1)[0]
        carets = "^" * max(1, min(end - line_start, len(line)) - (start - line_start))
        raise PipelineError(f"{problem}\n  {line}\n  {' ' * (start - line_start)}{carets}")


def _column(body: str, line: int, column: int, prefix: str) -> int:
    """Where in ``body`` a position of ``ast`` is: lines count from one, columns in UTF-8 bytes."""
    lines = (prefix + body).split("\n")
    before = sum(len(earlier) + 1 for earlier in lines[: line - 1])
    return before + len(lines[line - 1].encode()[:column].decode(errors="ignore")) - len(prefix)
