"""Pairs: a text, texts that must change the digest of its ``target``, and texts that must not."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from passprint.identity import Memo


@dataclass(frozen=True)
class Pair:
    """One row: ``text`` defines ``target``; ``changed`` and ``same`` are other texts of the module."""

    name: str
    text: str
    changed: tuple[str, ...]
    same: tuple[str, ...]


def pair(name: str, text: str, *, changed: tuple[str, ...], same: tuple[str, ...]) -> Pair:
    """A row, its texts dedented."""
    dedent = textwrap.dedent
    return Pair(name, dedent(text), tuple(map(dedent, changed)), tuple(map(dedent, same)))


def load(text: str, filename: str = "<pair>") -> Any:
    """Run a text as a module of its own and give its ``target``."""
    module = ModuleType("pair_module")
    exec(compile(text, filename, "exec", dont_inherit=True), vars(module))
    return vars(module)["target"]


def digest(obj: Any) -> str:
    """The digest by a memo that has seen nothing."""
    found = Memo().digest(obj)
    assert found is not None, Memo().fingerprint(obj).opaque
    return found


def check(row: Pair) -> None:
    """Every changed text has a digest of its own, every other one the first's."""
    first = digest(load(row.text))
    digests = [first]
    for text in row.changed:
        other = digest(load(text))
        assert other not in digests, f"{row.name}: not noticed:\n{text}"
        digests.append(other)
    for text in row.same:
        assert digest(load(text, "/another/folder.py")) == first, f"{row.name}: counted needlessly:\n{text}"
