"""Which C++ compiler builds kernels: by what it is, not by how it is spelled.

``g++``, ``/usr/bin/g++`` and a link to it are one compiler. Two things besides its version count: torch chooses options
by a compiler's name (``c++`` is neither gcc nor clang to it), and a script that stands before a compiler may add some.

No name of torch is reached here; its rules for names were read in ``torch._inductor.cpp_builder`` of 2.11 to 2.15.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple

_OF_GCC: Final = re.compile(r"\S+ (\(.+\) \d.*)")
"""gcc begins with the name that it was called by, and what made it stands in brackets."""

_NAMES_OF_GCC: Final = (
    re.compile(r"gcc|g\+\+|gnu-c\+\+"),
    re.compile(r"(^|[/\s-])(gcc|g\+\+|gnu-c\+\+)(?=[\s-]|$)"),
)
"""Torch's rules, the newest last."""


class Compiler(NamedTuple):
    """A compiler that is there: the ``name`` that torch is given, and its ``path``."""

    name: str
    path: str

    def mark(self) -> str:
        """Changes when the file does, or what torch takes it for; cheap, and of this machine only."""
        real = os.path.realpath(self.path)
        about = os.stat(real)
        facts = f"{real} {about.st_mtime_ns} {about.st_size} {taken_for(self.name)}"
        return sha256(facts.encode(errors="surrogateescape")).hexdigest()[:16]

    def identity(self) -> str:
        """What it says of its version, and what else changes code: the same on every machine that has it."""
        return _identity(self, self.mark())


def find(names: Iterable[str]) -> Compiler | None:
    """The first of these that is there."""
    return next((Compiler(name, path) for name in names if (path := shutil.which(name))), None)


def taken_for(name: str) -> str:
    """What torch takes a compiler for, by its name or path; up to torch 2.14 the names of folders counted as well."""
    if "clang" in name:
        return "clang"
    found = [bool(rule.search(name)) for rule in _NAMES_OF_GCC]
    return "gcc" if all(found) else "gcc or another" if any(found) else "another"


@cache
def _identity(compiler: Compiler, mark: str) -> str:
    """``mark`` makes the answer be asked again after an upgrade in a living process."""
    done = subprocess.run(
        [compiler.path, "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    line = done.stdout.partition("\n")[0] or "a compiler that gives no version"
    of_gcc = _OF_GCC.fullmatch(line)
    told = f"g++ {of_gcc[1]}" if of_gcc else line
    usual = "gcc" if of_gcc else "clang" if "clang" in line else "another"
    taken = taken_for(compiler.name)
    if taken != usual:
        told += f", which torch takes for {taken}"
    with open(compiler.path, "rb") as file:
        if file.read(2) == b"#!":
            file.seek(0)
            told += f", called by the script {sha256(file.read()).hexdigest()[:12]}"
    return told
