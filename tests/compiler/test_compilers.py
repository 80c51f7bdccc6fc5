"""The C++ compiler in a key: what it is counts, and what torch takes it for; how it is spelled does not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch._inductor.config as inductor_config
from torch._inductor import cpp_builder

from passprint.compiler.dependencies.environment import compiler_difference, machine
from passprint.compiler.dependencies.row import Row
from passprint.compiler.lowering.compilers import taken_for
from passprint.compiler.lowering.toolchain import has_compiler
from passprint.compiler.pieces.key import COMPILER, environment
from passprint.pipeline import PassManager

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None,
    reason="compilers are compared by their names on Linux",
)


def of_key(monkeypatch: pytest.MonkeyPatch, cxx: str, **variables: str) -> str:
    """The digest of the compiler's part of a piece's key, where CXX says this."""
    with monkeypatch.context() as patch, inductor_config.patch({"cpp.cxx": (None, cxx)}):
        patch.setenv("CXX", cxx)
        for name, value in variables.items():
            patch.setenv(name, value)
        return environment(PassManager([]), ["cpu"]).parts[COMPILER].digest


def real() -> str:
    return os.path.realpath(shutil.which("g++") or "")


def link(folder: Path, name: str) -> str:
    (folder / name).symlink_to(real())
    return os.fspath(folder / name)


def script(folder: Path, options: str) -> str:
    path = folder / f"with{options}-g++"
    path.write_text(f'#!/bin/sh\nexec {real()} {options} "$@"\n')
    path.chmod(0o755)
    return os.fspath(path)


SAME: dict[str, Callable[[Path], str]] = {
    "its path": lambda _: shutil.which("g++") or "",
    "where its links lead": lambda _: real(),
    "a link": lambda folder: link(folder, "g++"),
    "a link of another name that torch takes for gcc": lambda folder: link(folder, "my-gcc"),
}
ANOTHER: dict[str, Callable[[Path], str]] = {
    "a name that torch takes for no gcc": lambda folder: link(folder, "my-compiler"),
    "a name that torch takes for clang": lambda folder: link(folder, "clang++"),
    "a script that may add options": lambda folder: script(folder, "-ffast-math"),
    "none": lambda folder: os.fspath(folder / "absent-g++"),
}


@pytest.mark.parametrize("spelled", SAME)
def test_another_spelling_is_the_same_compiler(
    spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cxx = SAME[spelled](tmp_path)
    assert of_key(monkeypatch, cxx) == of_key(monkeypatch, "g++")
    before = machine()
    elsewhere = [Row("compiler", "mark", "from another machine") if r.name == "mark" else r for r in before]
    with inductor_config.patch({"cpp.cxx": (None, cxx)}):
        assert machine()[-1] == before[-1], "the version"
        assert compiler_difference(before) is None
        assert compiler_difference(elsewhere) is None


@pytest.mark.parametrize("what", ANOTHER)
def test_what_changes_code_changes_the_key(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cxx = ANOTHER[what](tmp_path)
    assert of_key(monkeypatch, cxx) != of_key(monkeypatch, "g++")
    before = machine()
    with inductor_config.patch({"cpp.cxx": (None, cxx)}):
        if not has_compiler():  # nothing has to be built for a whole program
            assert compiler_difference(before) is None
        else:
            assert "the C++ compiler was g++ (" in (compiler_difference(before) or "")


def test_a_script_counts_by_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = script(tmp_path, "-ffast-math"), script(tmp_path, "-O1")
    assert of_key(monkeypatch, one) != of_key(monkeypatch, other)
    moved = shutil.copy(one, tmp_path / "moved-g++")
    assert of_key(monkeypatch, os.fspath(moved)) == of_key(monkeypatch, one)


@pytest.mark.parametrize("variable", ["CXXFLAGS", "CPPFLAGS", "LDFLAGS"])
def test_what_the_environment_adds_counts(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert of_key(monkeypatch, "g++", **{variable: "-O1"}) != of_key(monkeypatch, "g++")


@pytest.mark.parametrize(
    "name", ["g++", "/usr/bin/g++-12", "gcc", "c++", "clang++-15", "/opt/gcc/bin/c++", "icpx"]
)
def test_torch_takes_a_name_for_the_same(name: str) -> None:
    taken = "clang" if cpp_builder._is_clang(name) else "gcc" if cpp_builder._is_gcc(name) else "another"
    assert taken in taken_for(name).split(" or "), (
        f"torch {torch.__version__} has another rule for names of compilers"
    )
