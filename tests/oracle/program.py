"""The text of a random model: fragments put together in a package of four modules."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.oracle.fragments import KINDS, PLACES, Fragment, Slot

Chosen = dict[str, dict[str, str]]
"""By fragment and slot, the text that is not the base's."""

IMPORTS = """\
import collections
import contextvars
import dataclasses
import enum
import functools
import importlib
import operator
import os
import sys
import types
from typing import NamedTuple

import torch
"""
SIBLINGS = {"main": "from . import a, b, c", "a": "from . import b, c", "b": "from . import c", "c": ""}

FORMS = {
    "flat": ("Model = Owner", "m"),
    "nested": (
        """\
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Owner()

    def forward(self, x):
        return self.block(x)
""",
        "m.block",
    ),
    "repeated": (
        """\
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Owner() for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
""",
        "m.blocks[{index}]",
    ),
    "function": (
        """\
OBJECT = Owner()

def call(x):
    return OBJECT(x)

def Model():
    return call
""",
        "main.OBJECT",
    ),
    "method": (
        """\
def Model():
    return Owner().forward
""",
        "m.__self__",
    ),
}

BASE = """\
class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(8, 8) / 8)

{inherited}
"""
OWNER = """\
class Owner(c.Base):
    {docstring}
    def __init__(self):
        super().__init__()
{inits}

{members}

    def forward(self, x):
{body}
        {comment}
        return {result}


{form}
"""

NEUTRAL = {
    "docstring": ('"""A model."""', '"""A model, said in other words."""', "pass"),
    "comment": ("pass", "# nothing but a comment\n        pass", "\n\n\n        pass"),
    "annotation": ("", ": int", ": 'int | str'"),
    "global_main": ("", "UNUSED_MAIN = 5", "def unused_helper(x):\n    return x * 3"),
    "global_a": ("", "UNUSED_A = 'text'", "class Unused:\n    k = 4", "\n\n\n\n"),
    "global_c": ("", "import json", "UNUSED_C = {'k': 1}"),
    "init_attribute": ("pass", "self.unused_attribute = 7", "self.unused_config = {'k': [1, 2]}"),
    "init_variable": ("pass", "self.pod_address = os.getenv('ORACLE_POD_IP')",
                      "self.host_list = os.environ.get('ORACLE_HOSTS', '').split(',')"),
    "init_global": ("3", "4", "[1, 2]"),
    "class_attribute": ("", "unused_member = 3", "def unused_method(self):\n        return self.weight + 1"),
}  # fmt: skip
"""Slots of every model that change nothing that can be read, with the wholes that would show them."""
SHOWN_BY = {
    "global_main": "main",
    "global_a": "a",
    "global_c": "c",
    "init_attribute": "self",
    "init_variable": "self",
    "class_attribute": "class",
    "init_global": "main",
}


@dataclass
class Program:
    """A model as text; ``owner`` is what live code calls ``o``."""

    package: str
    form: str
    fragments: list[Fragment]
    owner: str
    joined: bool
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> set[str]:
        """What some fragment lists as a whole."""
        return set().union(*(fragment.whole for fragment in self.fragments))

    def files(self, chosen: Chosen) -> dict[str, str]:
        """The text of each module."""
        neutral = {**{name: texts[0] for name, texts in NEUTRAL.items()}, **chosen.get("", {})}
        texts = {}
        for place in PLACES:
            parts = [f'"""Module {place}."""', IMPORTS, SIBLINGS[place], neutral.get(f"global_{place}", "")]
            for fragment in self.fragments:
                own = chosen.get(fragment.name, {})
                parts.extend(fragment.fill(text, own) for text in fragment.tops[place])
            if place == "c":
                parts.append(BASE.format(inherited=self._indented("inherited", chosen, 4)))
            texts[place] = "\n".join(parts)
        texts["main"] += f"\nUSED_BY_INIT = {neutral['init_global']}\n" + self._owner(chosen, neutral)
        return {**{f"{place}.py": text for place, text in texts.items()}, "__init__.py": ""}

    def _owner(self, chosen: Chosen, neutral: dict[str, str]) -> str:
        body, terms = [], []
        for number, fragment in enumerate(self.fragments):
            own = chosen.get(fragment.name, {})
            body.extend(fragment.fill(line, own) for line in fragment.body)
            body.append(f"v{number} = {fragment.fill(fragment.expression, own)}")
            terms.append(f"v{number}")
        if self.joined:
            result = f"torch.addmm(x, x, self.weight, beta=1, alpha={' + '.join(terms) or '1'})"
        else:
            body.extend(
                f"x = torch.addmm(x, x, self.weight, beta=0.5, alpha=v{number})"
                for number in range(len(self.fragments))
            )
            result = "x"
        inits = [neutral["init_attribute"], neutral["init_variable"], "used = USED_BY_INIT"]
        members = neutral["class_attribute"] + "\n" + f"some{neutral['annotation']} = 1"
        return OWNER.format(
            docstring=neutral["docstring"],
            inits=textwrap.indent("\n".join(inits), " " * 8) + "\n" + self._indented("inits", chosen, 8),
            members=textwrap.indent(members, " " * 4) + "\n" + self._indented("members", chosen, 4),
            body=textwrap.indent("\n".join(body), " " * 8),
            comment=neutral["comment"],
            result=result,
            form=FORMS[self.form][0],
        )

    def _indented(self, what: str, chosen: Chosen, by: int) -> str:
        parts = [
            fragment.fill(text, chosen.get(fragment.name, {}))
            for fragment in self.fragments
            for text in getattr(fragment, what)
        ]
        return textwrap.indent("\n".join(parts), " " * by)

    def write(self, root: Path, chosen: Chosen) -> None:
        """Write the package; a file that stays equal is left alone."""
        folder = root / self.package
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.files(chosen).items():
            path = folder / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)


def program(seed: str, number: int, kinds: list[str]) -> Program:
    """The model of this number: two to four kinds, in one of three forms."""
    random = Random(f"{seed}.{number}")
    first = kinds[number % len(kinds)]  # so that each kind comes as often
    chosen = [
        first,
        *random.sample([k for k in kinds if k != first], min(random.randint(1, 3), len(kinds) - 1)),
    ]
    fragments = []
    for index, name in enumerate(chosen):
        fragment = Fragment(name, f"f{index}", random)
        KINDS[name](fragment)
        fragments.append(fragment)
    form = random.choice(["flat"] * 5 + ["nested"] * 3 + ["repeated"] * 3 + ["function", "method"])
    environment = {
        name: slot.choices[0] for f in fragments for name, slot in f.variables.items() if slot.choices[0]
    }
    owner = FORMS[form][1].format(index=random.randrange(3))
    return Program(f"model_{number}", form, fragments, owner, random.random() < 0.9, environment)


__all__ = ["NEUTRAL", "SHOWN_BY", "Chosen", "Program", "Slot", "program"]
