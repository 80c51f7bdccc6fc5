"""The key of a program: a request, a list of what code can read, and all that is there now.

Two versions of a model have two keys, so branches of a team keep their programs side by side. What is only at the
machine's (its instructions, its compiler) is not in the key: another machine may serve as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from passprint.compiler.dependencies.can_read import CanRead
from passprint.compiler.dependencies.row import Row, digest
from passprint.compiler.dependencies.state import State
from passprint.compiler.start.passes_found import PassesFound
from passprint.compiler.start.request import Request, text_part
from passprint.identity import Fingerprint, compose
from passprint.identity.tree import Part

CODE: Final = "code"
"""The part of a key that only explains: the user's functions that were inlined, with their sources."""

_OF_CODE: Final = frozenset(
    {"function", "class", "stamp", "package", "operator", "replaced", "hash", "answer"}
)


class ProgramKey(NamedTuple):
    """Everything that a program of this request depends on, by list."""

    request: Request
    environment: Sequence[Row]
    passes: PassesFound
    reads: CanRead
    list_digest: str
    state: State

    @property
    def rows(self) -> list[Row]:
        """The ledger: all rows, those of the environment first."""
        return [*self.environment, *self.state.rows]

    def digest(self, number: int) -> str:
        """The digest of candidate ``number``: programs for other sizes, for other values of arguments."""
        parts = (self.request.digest, self.list_digest, digest(self.environment), self.passes.key)
        return sha256(f"{' '.join(parts)} {self.state.digest} {number}".encode()).hexdigest()

    def tree(self, number: int) -> Fingerprint:
        """The key as a tree of named parts, to be compared with others."""
        values = "\n".join(
            [f"{row.name} = {row.text}" for row in self.state.rows if row.kind not in _OF_CODE]
        )
        passes = text_part("passes", self.passes.key)
        if self.passes.tree is not None:
            root = self.passes.tree.root
            passes = Part("passes", root.kind, passes.digest, root.children, root.text)
        parts = [
            *self.request.tree(),
            _of_rows("environment", self.environment),
            passes,
            _of_rows("functions", [row for row in self.state.rows if row.kind in _OF_CODE]),
            text_part("values", values),
        ]
        whole = self.digest(number)
        root = Part("model", "parts", whole, (*parts, text_part("candidate", str(number))))
        from passprint.cache import with_sources

        return with_sources(Fingerprint(whole, root), texts={**self.request.parts, "values": values})

    def with_code(self, number: int) -> Fingerprint:
        """The same with the sources of inlined functions, so that a miss can show lines. Slow: for storing."""
        key, code = self.tree(number), code_of(self.rows)
        if code is None:
            return key
        root = Part(key.root.name, key.root.kind, key.root.digest, (*key.root.children, code.root))
        return Fingerprint(key.digest, root, key.opaque, {**key.sources, **code.sources})


def _of_rows(name: str, rows: Sequence[Row]) -> Part:
    children = tuple([text_part(f"{row.kind} {row.name}", row.text) for row in rows])
    return Part(name, "parts", digest(rows), children)


def code_of(rows: Sequence[Row]) -> Fingerprint | None:
    """The functions that rows name and whose content counts, as they are now, with sources."""
    from passprint.cache import with_sources

    named: Mapping[str, Any] = dict(_functions(rows))
    return with_sources(compose(CODE, named), named.values()) if named else None


def _functions(rows: Sequence[Row]) -> Iterator[tuple[str, object]]:
    from passprint.compiler.dependencies.code import find_dotted

    for row in rows:
        if row.kind == "function":
            found = find_dotted(row.name)
            if found is not None:
                yield row.name, found
