"""The record of one compiled program: what it depended on, and all that is needed to run it again.

It is one file of an entry, written with ``marshal`` (it holds code objects, and the key holds the Python that can read
them). The store has checked its length and checksum before anything of it is read.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

from passprint.compiler.start.asked import Asked
from passprint.errors import CacheError

FILE = "program"
"""The name of the manifest among an entry's files."""


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
    """Everything about one program, as plain data and code objects.

    ``surroundings``, ``compiler`` (a mark of the file, its version) and ``passes`` are what was compiled with;
    ``modes`` what was active; ``distributions`` the version of each installed package whose code was inlined, by top
    package; ``functions`` the inlined code: module, path, reference or stamp; ``operators`` the Python of each custom
    operator that was traced; ``asked`` the questions whose answers the trace took for constants. ``globals`` says how
    each global of ``bytecode`` is found, ``objects`` how its constants are that are no plain data; ``calls`` lists
    ``(number of the piece, label, nodes, matches)`` in the order of the graph. ``size`` is the argument and the
    dimension that choose among ``variants``: first size, last size, and calls of its own for each. ``writes``: the
    graph may write to an input, so no two tensors may overlap in memory.
    """

    surroundings: Mapping[str, str]
    compiler: tuple[str | None, str | None]
    passes: tuple[bool, str, str]
    modes: Mapping[str, str]
    distributions: Mapping[str, str]
    functions: Sequence[tuple[Any, ...]]
    operators: Mapping[str, str]
    asked: Sequence[Asked]
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
        held["asked"] = [tuple(asked) for asked in self.asked]
        return marshal.dumps(_plain(held))

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The manifest that :meth:`encode` wrote. Raises ``CacheError`` for anything else."""
        try:
            held = marshal.loads(data)
            held["pieces"] = [StoredPiece(**piece) for piece in held["pieces"]]
            held["asked"] = [Asked(*asked) for asked in held["asked"]]
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
