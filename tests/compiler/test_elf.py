"""Libraries without debug sections, search paths and folders: smaller, and they still load and work."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from passprint.compiler.artifacts.elf import (
    portable_library,
    without_debug,
    without_folders,
    without_search_path,
)

SOURCE = """
#include <string.h>
const char *where(void) { return "FOLDER/torch/include/prefix.h"; }
int length(void) { return (int)strlen(where()); }
int state = 41;
int next(void) { return ++state; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or os.uname().sysname != "Linux":
        pytest.skip("builds an ELF library with gcc")
    folder = tmp_path_factory.mktemp("built") / "ab"
    folder.mkdir()
    (folder / "a.c").write_text(SOURCE.replace("FOLDER", str(folder.parent)))
    subprocess.run(
        [
            "gcc",
            "-g",
            "-O0",
            "-shared",
            "-fPIC",
            f"-Wl,-rpath,{folder.parent}",
            "-o",
            "a.so",
            str(folder / "a.c"),
        ],
        cwd=folder,
        check=True,
    )
    return folder / "a.so"


def sections(data: bytes) -> list[str]:
    """The names of the sections, read without the code under test."""
    (at,), (size, count, names) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, at + number * size) for number in range(count)]
    text = data[rows[names][4] :]
    return [text[row[0] : text.index(b"\0", row[0])].decode() for row in rows]


def test_it_is_smaller_and_works(library: Path, tmp_path: Path) -> None:
    data = portable_library(library)
    assert len(data) < library.stat().st_size
    (tmp_path / "b.so").write_bytes(data)
    loaded = ctypes.CDLL(str(tmp_path / "b.so"))
    assert [loaded.next(), loaded.next()] == [42, 43]
    loaded.where.restype = ctypes.c_char_p
    assert loaded.length() == len(os.fsencode(library.parent.parent)) + len("/torch/include/prefix.h")
    assert loaded.where().startswith(b"././")
    assert loaded.where().endswith(b"/torch/include/prefix.h")


def test_only_sections_that_are_loaded_stay(library: Path) -> None:
    before, after = sections(library.read_bytes()), sections(portable_library(library))
    assert ".debug_info" in before
    assert ".symtab" in before
    assert [name for name in after if name.startswith((".debug", ".symtab", ".comment"))] == []
    assert {".dynsym", ".dynstr", ".text", ".rodata", ".dynamic", ".bss", ".shstrtab"} <= set(after)
    assert after[:-1] == before[: len(after) - 1]


def test_the_folder_of_the_build_and_the_search_path_are_gone(library: Path) -> None:
    folder = os.fsencode(library.parent.parent)
    data = library.read_bytes()
    assert data.count(folder) > 1
    assert (
        portable_library(library).count(folder) == 1
    )  # the name in .dynstr, which nothing refers to any more
    if shutil.which("readelf"):
        (library.parent / "without.so").write_bytes(portable_library(library))
        shown = [
            subprocess.run(
                ["readelf", "-dW", name], cwd=library.parent, capture_output=True, text=True, check=True
            )
            for name in ("a.so", "without.so")
        ]
        assert ["path" in done.stdout for done in shown] == [True, False]
        assert [done.stderr for done in shown] == ["", ""]


def test_doing_it_again_changes_nothing(library: Path) -> None:
    once = without_search_path(without_debug(library.read_bytes()))
    assert without_search_path(without_debug(once)) == once


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"MZ is of another system", b"\x7fELF\x01\x01" + bytes(200)]
)
def test_other_files_are_left_as_they_are(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    assert portable_library(tmp_path / "a") == data


def test_a_cut_library_is_left_as_it_is_or_cut_too(library: Path, tmp_path: Path) -> None:
    whole = library.read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) // 3])
    assert len(portable_library(tmp_path / "a")) <= len(whole)


def test_short_folders_are_not_replaced(library: Path) -> None:
    data = library.read_bytes()
    assert without_folders(data, [b"/", b"/tmp"]) == data
