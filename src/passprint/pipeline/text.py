"""Pipelines as text: ``fuse-rms-norm{eps=1e-05},noop-elimination``, and a caret under a mistake."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from passprint.errors import PipelineError
from passprint.passes import BasePass
from passprint.pipeline.reading import Reader
from passprint.pipeline.registry import FIXED_POINT, RESERVED, get_pass, nearest, pass_names
from passprint.pipeline.spanning import find_hook
from passprint.pipeline.torch_door import HOOKS, Hook
from passprint.pipeline.values import WrongType, fit, hints_of, read_value

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SPACE = re.compile(r"\s*")


def parse_pipeline(text: str, hook: str | None, objects: Mapping[str, BasePass]) -> PassManager:
    """Read ``text``. ``hook``: where it runs unless it says so; ``objects`` are known beside the registry."""
    if not isinstance(text, str):
        raise PipelineError(
            f"a pipeline's text was expected and {text!r} ({type(text).__name__}) was given; "
            'write it as in "fuse-rms-norm{eps=1e-05},noop-elimination"'
        )
    reader = _Reader(text, None if hook is None else find_hook(hook), objects)
    manager = reader.whole()
    if reader.at < len(text):
        reader.fail(
            reader.at, reader.at + 1, f"{text[reader.at]!r} was not expected here; a comma or the end was"
        )
    return manager


class _Reader(Reader):
    def __init__(self, text: str, hook: Hook | None, objects: Mapping[str, BasePass]) -> None:
        super().__init__(text)
        self._hook = hook
        self._objects = objects
        self._seen: set[str] = set()

    def whole(self) -> PassManager:
        """The text: parts for hooks, or members for one."""
        self.skip_space()
        if self._hook_here() is None:
            return self._group("")
        if self._hook is not None:
            self.fail(
                self.at,
                self.at + len(self._hook_here() or ""),
                f"the text says where it runs, and so does hook={self._hook.name!r}; say it once",
            )
        stages = [self._stage()]
        while self.peek() == ",":
            self.at += 1
            self.skip_space()
            stages.append(self._stage())
        return stages[0] if len(stages) == 1 else self._made(0, lambda: _manager_class()(stages))

    def _stage(self) -> PassManager:
        """``post-grad-post(…)``."""
        name, start = self._hook_here(), self.at
        if name is None:
            end = start + len(self._word())
            self.fail(
                start,
                max(end, start + 1),
                "in a pipeline that spans hooks everything stands in a hook's parentheses, as in "
                "pre-grad(…),post-grad-post(…)",
            )
        hook = find_hook(name)
        self.at += len(name)
        if hook.name in self._seen:
            self.fail(start, self.at, f"there is a part for {name} already; put the passes of both into one")
        self._seen.add(hook.name)
        self._hook = hook
        self.skip_space()
        opened = self.at
        self.at += 1
        stage = self._group(hook.name)
        self._close(opened, ")", "parenthesis")
        self._hook = None
        self.skip_space()
        return stage

    def _hook_here(self) -> str | None:
        """The name of a hook, if one stands here with its parenthesis."""
        word = self._word()
        opens = _SPACE.sub("", self.text[self.at + len(word) :][:80]).startswith("(")
        return word if word and opens and word.replace("-", "_") in HOOKS else None

    def _word(self) -> str:
        match = _NAME.match(self.text, self.at)
        return match.group() if match is not None else ""

    def _group(self, hook: str) -> PassManager:
        """Members up to the end of the text or a closing bracket; ``hook`` is named where it is not empty."""
        start = self.at
        members = self._members()
        named = hook or (self._hook.name if self._hook is not None else None)
        return self._made(start, lambda: _manager_class()(members, hook=named))

    def _members(self) -> list[Any]:
        members: list[Any] = []
        self.skip_space()
        if self.peek() in ("", ")", "}"):
            return members
        while True:
            members.append(self._member())
            self.skip_space()
            if self.peek() != ",":
                return members
            self.at += 1
            self.skip_space()

    def _made(self, start: int, make: Callable[[], PassManager]) -> PassManager:
        """What ``make`` makes of the text since ``start``; what is wrong with it gets carets."""
        try:
            return make()
        except PipelineError as error:
            problem, _, more = str(error).partition("\n")
            self.fail(start, self.at, problem, more)

    def _close(self, opened: int, bracket: str, kind: str) -> None:
        self.skip_space()
        if self.peek() != bracket:
            if self.peek():
                self.fail(
                    self.at,
                    self.at + 1,
                    f"{self.peek()!r} was not expected here; a comma or {bracket!r} was",
                )
            self.fail(opened, opened + 1, f"this {kind} is not closed; add {bracket!r}")
        self.at += 1

    def _member(self) -> object:
        start = self.at
        if self.peek() == "(":
            self.at += 1
            inner = self._group("")
            self._close(start, ")", "parenthesis")
            return inner
        match = _NAME.match(self.text, start)
        if match is None:
            found = f"{self.peek()!r} was found" if self.peek() else "the text ends"
            self.fail(start, start + 1, f"the name of a pass was expected and {found}")
        name = match.group()
        if name == FIXED_POINT:
            self.at = match.end()
            return self._fixed_point(start)
        if self._hook_here() is not None:
            self.fail(
                start,
                match.end(),
                f"{name}(…) is a hook's part of a pipeline and stands in no other; at the top, separate parts "
                "by commas",
            )
        self.at = match.end()
        return self._pass(name, start)

    def _fixed_point(self, start: int) -> PassManager:
        """``fixed-point(max=4){…}``."""
        from passprint.pipeline.groups import FixedPoint

        options: dict[str, Any] = {}
        self.skip_space()
        if self.peek() == "(":
            opened = self.at
            body = self.brackets("parenthesis")
            options = self._options({"max": int}, FIXED_POINT, body, opened + 1)
        self.skip_space()
        opened = self.at
        if self.peek() != "{":
            self.fail(
                start,
                self.at,
                f"a group is written as {FIXED_POINT}(max=4){{pass,pass}}; its braces are missing",
            )
        self.at += 1
        members = self._members()
        self._close(opened, "}", "brace")
        hook = None if self._hook is None else self._hook.name
        return self._made(start, lambda: FixedPoint(members, hook=hook, **options))

    def _pass(self, name: str, start: int) -> BasePass:
        known = self._objects.get(name)
        if known is None:
            names = pass_names()
            if name not in names:
                self.fail(
                    start,
                    self.at,
                    f"there is no pass called {name!r}{nearest(name, [*names, *self._objects, *RESERVED])}",
                )
            owner = get_pass(name)
        self.skip_space()
        if self.peek() != "{":
            return known if known is not None else self._build(owner, {}, start)
        opened = self.at
        body = self.brackets("brace")
        if known is not None:
            self.fail(opened, self.at, f"{name!r} is an object that takes no options here; drop the braces")
        hints = hints_of(owner)
        fields = {field.name: hints.get(field.name, Any) for field in dataclasses.fields(owner) if field.init}
        return self._build(owner, self._options(fields, name, body, opened + 1), start)

    def _options(self, fields: Mapping[str, Any], name: str, body: str, offset: int) -> dict[str, Any]:
        """``key=value,key=value``, each fitted to the type that ``fields`` says."""
        options: dict[str, Any] = {}
        for given in self.given(body, offset):
            key = given.key
            if key not in fields:
                end = given.start + len(key)
                self.fail(given.start, end, f"{name!r} has no option {key!r}{nearest(key, fields)}")
            try:
                options[key] = fit(read_value(given.value, fields[key]), fields[key])
            except WrongType as error:
                self.fail(given.value_start, given.value_end, f"{name!r} takes {key} as {error.expected}")
        return options

    def _build(self, owner: type[BasePass], options: dict[str, Any], start: int) -> BasePass:
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


def _manager_class() -> type[PassManager]:
    from passprint.pipeline.manager import PassManager

    return PassManager
