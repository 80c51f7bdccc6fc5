"""What people see of an identity: named parts, and what changed between two of them."""

from __future__ import annotations

from passprint.identity.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Literal

    from rich.tree import Tree

SCHEMA = 1
"""The version of the JSON forms."""

_TEXT_LIMIT = 4000


class Part(Record):
    """One named part of an identity: a function, a class, a value, and what it reaches.

    ``kind`` says what it is, ``digest`` is lowercase hex, ``text`` is a form for people of a value (None
    for code). ``own`` is a digest of the part without its children. A part that stands elsewhere in the tree
    already has no children here.
    """

    __slots__ = ("name", "kind", "digest", "children", "text", "own")  # noqa: RUF023  (in the order of arguments)

    name: str
    kind: str
    digest: str
    children: tuple[Part, ...]
    text: str | None
    own: str

    def __init__(
        self,
        name: str,
        kind: str,
        digest: str,
        children: tuple[Part, ...] = (),
        text: str | None = None,
        own: str = "",
    ) -> None:
        self._fill(name, kind, digest, children, text, own)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        form: dict[str, Any] = {"name": self.name, "kind": self.kind, "digest": self.digest}
        if self.own:
            form["own"] = self.own
        if self.text is not None:
            form["text"] = self.text
        if self.children:
            form["children"] = [child.to_dict() for child in self.children]
        return form

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Part:
        """The part that :meth:`to_dict` wrote."""
        return cls(
            name=form["name"],
            kind=form["kind"],
            digest=form["digest"],
            children=tuple([cls.from_dict(child) for child in form.get("children", ())]),
            text=form.get("text"),
            own=form.get("own", ""),
        )


class Change(Record):
    """One difference between two identities; ``before`` and ``after`` are texts, or digests of code.

    ``lines`` is a unified diff of the source, where both fingerprints kept theirs.
    """

    __slots__ = ("path", "kind", "before", "after", "lines")  # noqa: RUF023  (in the order of arguments)

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str | None
    after: str | None
    lines: str | None

    def __init__(
        self,
        path: str,
        kind: Literal["added", "removed", "changed"],
        before: str | None = None,
        after: str | None = None,
        lines: str | None = None,
    ) -> None:
        self._fill(path, kind, before, after, lines)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        form = {"path": self.path, "kind": self.kind, "before": self.before, "after": self.after}
        return form if self.lines is None else {**form, "lines": self.lines}

    def __str__(self) -> str:
        if self.kind == "changed":
            return f"{self.path}: {self.before} → {self.after}"
        return f"{self.path}: {self.kind} {self.after if self.kind == 'added' else self.before}"


class Changes(list[Change]):
    """A list of changes that a notebook shows as one."""

    def _repr_html_(self) -> str | None:
        from passprint.shown import snippet

        return snippet("diff", [change.to_dict() for change in self])


class Fingerprint(Record):
    """An object's identity: one digest, and the named parts that it is made of.

    ``opaque`` lists the paths to what could not be identified; where there are any, the digest must not be
    used as a key. ``sources`` has compressed source texts by part digest, where they were kept
    (:func:`passprint.identity.keep_sources`).
    """

    __slots__ = ("digest", "root", "opaque", "sources")  # noqa: RUF023  (in the order of arguments)

    digest: str
    root: Part
    opaque: tuple[str, ...]
    sources: Mapping[str, str]

    def __init__(
        self,
        digest: str,
        root: Part,
        opaque: tuple[str, ...] = (),
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._fill(digest, root, opaque, sources or {})

    def __hash__(self) -> int:
        return hash(self.digest)

    def tree(self) -> Tree:
        """The named parts as rich text."""
        from rich.text import Text
        from rich.tree import Tree

        def describe(part: Part) -> Text:
            line = Text.assemble((part.name, "bold"), f"  {part.kind} ", (part.digest[:12], "cyan"))
            if part.text is not None:
                line.append(" = " + (part.text.splitlines() or [""])[0])
            return line

        top = Tree(describe(self.root))
        work = [(self.root, top)]
        while work:
            part, branch = work.pop()
            for child in part.children:
                work.append((child, branch.add(describe(child))))
        return top

    def diff(self, older: Fingerprint) -> list[Change]:
        """What was added, removed and changed since an older fingerprint."""
        from passprint.identity.sources import with_lines

        if older.digest == self.digest:
            return Changes()
        return Changes(with_lines(change, one, two, older, self) for change, one, two in self._changes(older))

    def distance(self, older: Fingerprint) -> tuple[int, int]:
        """How far an older fingerprint is: how many changes :meth:`diff` tells, and how many lines differ in them."""
        from passprint.identity.sources import differing_lines

        if older.digest == self.digest:
            return (0, 0)
        changes = self._changes(older)
        return len(changes), sum(differing_lines(one, two, older, self) for _, one, two in changes)

    def _changes(self, older: Fingerprint) -> list[tuple[Change, Part | None, Part | None]]:
        whole = _with_children(older.root) | _with_children(self.root)
        changes = list(_compare(older.root, self.root, self.root.name, set(), whole))
        return changes or [(_changed(older.root, self.root, self.root.name), older.root, self.root)]

    def _repr_html_(self) -> str | None:
        """For a notebook."""
        from passprint.shown import snippet

        return snippet("fingerprint", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "opaque": list(self.opaque),
            "root": self.root.to_dict(),
            **({"sources": dict(self.sources)} if self.sources else {}),
        }

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that :meth:`to_dict` wrote; ``ValueError`` for another schema version."""
        if form.get("schema") != SCHEMA:
            raise ValueError(
                f"This fingerprint has schema version {form.get('schema')!r}, and version {SCHEMA} is read "
                "here. Make it again with this version of passprint."
            )
        return cls(
            form["digest"], Part.from_dict(form["root"]), tuple(form["opaque"]), form.get("sources", {})
        )


def _keyed(parts: tuple[Part, ...]) -> dict[tuple[str, int], Part]:
    keyed: dict[tuple[str, int], Part] = {}
    for part in parts:
        index = 0
        while (part.name, index) in keyed:
            index += 1
        keyed[(part.name, index)] = part
    return keyed


def _shown(part: Part) -> str:
    if part.text is None and part.kind == "item":  # of a dict: what it holds, where that has a text
        part = next((child for child in part.children if child.name == "value"), part)
    return part.text if part.text is not None else f"{part.kind} {part.digest[:12]}"


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if name.startswith((".", "[", "(")) else f"{path} → {name}"


def _changed(before: Part, after: Part, path: str) -> Change:
    return Change(path, "changed", before=_shown(before), after=_shown(after))


def _with_children(root: Part) -> set[str]:
    """The digests of all parts that have children; where such a one has none, it stands elsewhere in the tree."""
    found, work = set(), [root]
    while work:
        part = work.pop()
        if part.children:
            found.add(part.digest)
            work.extend(part.children)
    return found


def _compare(
    before: Part, after: Part, path: str, seen: set[tuple[str, str]], whole: set[str]
) -> Iterator[tuple[Change, Part | None, Part | None]]:
    """What differs below two parts: a part itself where its own content does, else only what it reaches."""
    pair = (before.digest, after.digest)
    if before.digest == after.digest or pair in seen:
        return
    seen.add(pair)
    if (before.own or before.digest) != (after.own or after.digest):
        nested = any(part.children for part in (before, after))
        if before.own or not nested:
            yield _changed(before, after, path), before, after
    old, new = _keyed(before.children), _keyed(after.children)
    elsewhere = any(not part.children and part.digest in whole for part in (before, after))
    if elsewhere and before.own and before.own == after.own:
        seen.discard(pair)
        return  # one of them is compared where it stands with its children
    for key in [*old, *[key for key in new if key not in old]]:
        place = _join(path, key[0])
        if key not in new:
            yield Change(place, "removed", before=_shown(old[key])), old[key], None
        elif key not in old:
            yield Change(place, "added", after=_shown(new[key])), None, new[key]
        else:
            yield from _compare(old[key], new[key], place, seen, whole)
