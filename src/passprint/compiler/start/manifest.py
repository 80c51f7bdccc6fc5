"""The record of one compiled program: what it depended on, and all that is needed to run it again.

It is one file of an entry, written with ``marshal`` (it holds code objects, and the key holds the Python that can read
them). The store has checked its length and checksum before anything of it is read.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

from passprint.compiler.dependencies.row import Row
from passprint.errors import CacheError

FILE = "program"
"""The name of the manifest among an entry's files."""

LEDGER = "ledger"
"""The name of the rows that gave the key: read only where a miss is explained."""


def encode_rows(rows: Sequence[Row]) -> bytes:
    """The bytes of a ledger."""
    return marshal.dumps([tuple(row) for row in rows])


def decode_rows(data: bytes) -> list[Row]:
    """The rows that :func:`encode_rows` wrote. Raises ``CacheError`` for anything else."""
    try:
        return [Row(*row) for row in marshal.loads(data)]
    except (ValueError, EOFError, TypeError) as error:
        raise CacheError(f"A stored ledger cannot be read: {error}") from error


class StoredPiece(NamedTuple):
    """One distinct piece: its key's digest, its form, and its files: name in the piece → name in the entry.

    ``wrapper`` is the code of a ``direct`` piece.
    """

    digest: str
    form: str
    files: Mapping[str, str]
    wrapper: CodeType | None


StoredCall = tuple[int, str, int, Mapping[str, int]]


class Manifest(NamedTuple):
    """What runs of one program, and what is asked at a call, as plain data and code objects.

    What it depended on gives its key (:mod:`passprint.compiler.start.key`), but for ``machine``, which another one may
    serve for as well, and ``passes``. ``globals`` says how each global of ``bytecode`` is found, ``objects`` how its
    constants are that are no plain data; ``calls`` lists ``(number of the piece, label, nodes, matches)`` in the order
    of the graph. ``size`` is the argument and the dimension that choose among ``variants``: first size, last size, and
    calls of its own for each. ``writes``: the graph may write to an input, so no two tensors may overlap in memory.
    """

    machine: Sequence[Row]
    passes: tuple[bool, str, str]
    guards: CodeType
    refs: Sequence[tuple[Any, ...]]
    names: Sequence[str]
    modules: Sequence[str]
    told: Sequence[str]
    tensors: Sequence[tuple[Any, ...]]
    open_tensors: Sequence[int]
    bytecode: CodeType
    objects: Mapping[int, tuple[Any, ...]]
    globals: Mapping[str, tuple[Any, ...]]
    stitched: CodeType
    constants: Mapping[str, tuple[Any, ...]]
    pieces: Sequence[StoredPiece]
    calls: Sequence[StoredCall]
    size: tuple[int, int | None] | None
    variants: Sequence[tuple[int, int, Sequence[StoredCall]]]
    writes: bool

    def encode(self) -> bytes:
        """The bytes of the file."""
        held = self._asdict()
        held["pieces"] = [piece._asdict() for piece in self.pieces]
        held["machine"] = [tuple(row) for row in self.machine]
        return marshal.dumps(_plain(held))

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The manifest that :meth:`encode` wrote. Raises ``CacheError`` for anything else."""
        try:
            held = marshal.loads(data)
            held["pieces"] = [StoredPiece(**piece) for piece in held["pieces"]]
            held["machine"] = [Row(*row) for row in held["machine"]]
            return cls(**held)
        except (ValueError, EOFError, TypeError, KeyError) as error:
            raise CacheError(
                f"The stored program is not one of this version of passprint: {error}"
            ) from error


def _plain(value: Any) -> Any:
    """Mappings and sequences as those that ``marshal`` knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple([_plain(item) for item in value])
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
