"""Shared libraries as they are stored: without debug sections, without the folders of the machine that built them.

Inductor builds kernels with debug information, which is half to nine tenths of the file, and names sources in a
temporary folder that is gone by then. The loader maps segments only, so all behind the last segment can go; the
table of the sections that are mapped stays, for profilers. A search path for other libraries goes too: what a kernel
needs is loaded with torch. Texts that the code itself holds (``__FILE__`` in error messages) are made relative in
place, at the same length.

The layout is that of the System V ABI, chapters 4 and 5 ("ELF-64 Object File Format").
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_TAG: Final = struct.Struct("<QQ")
_ELF64_LITTLE: Final = b"\x7fELF\x02\x01"
_DYNAMIC: Final = 2  # kind of a segment
_PROGRAM, _STRINGS, _NO_BITS = 1, 3, 8  # kinds of sections
_WRITE, _ALLOCATE, _EXECUTE = 1, 2, 4  # flags of sections
_SEARCH_PATHS: Final = (15, 29)  # DT_RPATH, DT_RUNPATH
_SHORTEST_FOLDER: Final = 5  # below this, what looks like a folder may be something else


class _Segment(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    size: int
    memory: int
    alignment: int


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    row: int


def portable_library(path: Path) -> bytes:
    """The library at ``path`` as it is stored. Other kinds of files (Mach-O, PE) come back as they are."""
    import torch

    library = path.read_bytes()
    folders = [
        path.parent.parent,
        Path(torch.__file__).parent.parent,
        Path(sys.prefix),
        Path(sys.base_prefix),
    ]
    try:
        library = without_search_path(without_debug(library))
        return without_folders(library, [os.fsencode(folder) for folder in folders])
    except (struct.error, ValueError, IndexError):  # not laid out as linkers do it: stored as it is
        return library


def without_debug(library: bytes) -> bytes:
    """``library`` without the sections that are not mapped when it is loaded."""
    if not _is_known(library):
        return library
    head, sections = list(_HEAD.unpack_from(library)), _sections(library)
    end = max([head[5] + head[10] * _SEGMENT.size] + [s.offset + s.size for s in _segments(library)])
    last = max(number for number, section in enumerate(sections) if section.flags & _ALLOCATE)
    names = sections[head[13]]
    texts = library[names.offset : names.offset + names.size]
    table, strings = [], bytearray(b"\0")
    for section in sections[: last + 1]:  # symbols refer to sections by number, so the numbers stay
        if not section.flags & _ALLOCATE:
            table.append(_Section(*[0] * 10))
            continue
        if section.kind != _NO_BITS and section.offset + section.size > end:
            return library
        table.append(section._replace(name=len(strings)))
        strings += texts[section.name : texts.index(b"\0", section.name) + 1]
    own_name = len(strings)
    strings += b".shstrtab\0"
    table.append(_Section(own_name, _STRINGS, 0, 0, end, len(strings), 0, 0, 1, 0))
    body = library[:end] + strings
    body += bytes(-len(body) % 8)
    head[6], head[12], head[13] = len(body), len(table), len(table) - 1
    return _HEAD.pack(*head) + body[_HEAD.size :] + b"".join(_SECTION.pack(*section) for section in table)


def without_search_path(library: bytes) -> bytes:
    """``library`` without the folders in which the loader would look for the libraries that it needs."""
    if not _is_known(library):
        return library
    for segment in _segments(library):
        if segment.kind == _DYNAMIC:
            data = library[segment.offset : segment.offset + segment.size]
            kept = [tag for tag in _TAG.iter_unpack(data) if tag[0] not in _SEARCH_PATHS]
            packed = b"".join(_TAG.pack(*tag) for tag in kept).ljust(segment.size, b"\0")
            library = library[: segment.offset] + packed + library[segment.offset + segment.size :]
    return library


def without_folders(library: bytes, folders: Iterable[bytes]) -> bytes:
    """Replace absolute folders in constant texts by ``././…`` of the same length, so that nothing moves."""
    if not _is_known(library):
        return library
    for section in _sections(library):
        if section.kind != _PROGRAM or section.flags & (_WRITE | _ALLOCATE | _EXECUTE) != _ALLOCATE:
            continue
        place = slice(section.offset, section.offset + section.size)
        text = library[place]
        for folder in sorted(set(folders), key=len, reverse=True):
            if len(folder) >= _SHORTEST_FOLDER:
                text = text.replace(folder + b"/", (b"./" * len(folder))[: len(folder)] + b"/")
        library = library[: place.start] + text + library[place.stop :]
    return library


def _is_known(library: bytes) -> bool:
    if not library.startswith(_ELF64_LITTLE):
        return False
    head = _HEAD.unpack_from(library)
    return bool(head[9] == _SEGMENT.size and head[11] == _SECTION.size and head[13] < head[12])


def _segments(library: bytes) -> list[_Segment]:
    head = _HEAD.unpack_from(library)
    return [
        _Segment(*_SEGMENT.unpack_from(library, head[5] + number * _SEGMENT.size))
        for number in range(head[10])
    ]


def _sections(library: bytes) -> list[_Section]:
    head = _HEAD.unpack_from(library)
    return [
        _Section(*_SECTION.unpack_from(library, head[6] + number * _SECTION.size))
        for number in range(head[12])
    ]
