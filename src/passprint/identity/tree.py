"""What people see of an identity: named parts, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from passprint.identity.node import Node
from passprint.identity.walk import shown

if TYPE_CHECKING:
    from rich.tree import Tree

SCHEMA = 1
"""The version of the JSON forms."""

_TEXT_LIMIT = 4000


@dataclass(frozen=True, slots=True)
class Part:
    """One named part of an identity: a function, a class, a value, and what it reaches.

    ``kind`` says what it is, ``digest`` is lowercase hex, ``text`` is a form for people of a value (None
    for code). A part that stands elsewhere in the tree already has no children here.
    """

    name: str
    kind: str
    digest: str
    children: tuple[Part, ...] = ()
    text: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        form: dict[str, Any] = {"name": self.name, "kind": self.kind, "digest": self.digest}
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
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two identities; ``before`` and ``after`` are texts, or digests of code."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str | None = None
    after: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"path": self.path, "kind": self.kind, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        if self.kind == "changed":
            return f"{self.path}: {self.before} → {self.after}"
        return f"{self.path}: {self.kind} {self.after if self.kind == 'added' else self.before}"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """An object's identity: one digest, and the named parts that it is made of.

    ``opaque`` lists the paths to what could not be identified; where there are any, the digest must not be
    used as a key.
    """

    digest: str
    root: Part
    opaque: tuple[str, ...] = ()

    def tree(self) -> Tree:
        """The named parts as rich text."""
        from rich.tree import Tree

        def describe(part: Part) -> str:
            text = "" if part.text is None else f" = {part.text.splitlines()[0] if part.text else ''!s}"
            return f"{part.name}  ({part.kind}) {part.digest[:12]}{text}".replace("[", "\\[")

        top = Tree(describe(self.root))
        work = [(self.root, top)]
        while work:
            part, branch = work.pop()
            for child in part.children:
                work.append((child, branch.add(describe(child))))
        return top

    def diff(self, older: Fingerprint) -> list[Change]:
        """What was added, removed and changed since an older fingerprint."""
        return list(_compare(older.root, self.root, self.root.name))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "opaque": list(self.opaque),
            "root": self.root.to_dict(),
        }

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that :meth:`to_dict` wrote; ``ValueError`` for another schema version."""
        if form.get("schema") != SCHEMA:
            raise ValueError(
                f"This fingerprint has schema version {form.get('schema')!r}, and version {SCHEMA} is read "
                "here. Make it again with this version of passprint."
            )
        return cls(form["digest"], Part.from_dict(form["root"]), tuple(form["opaque"]))


def _keyed(parts: tuple[Part, ...]) -> dict[tuple[str, int], Part]:
    keyed: dict[tuple[str, int], Part] = {}
    for part in parts:
        index = 0
        while (part.name, index) in keyed:
            index += 1
        keyed[(part.name, index)] = part
    return keyed


def _shown(part: Part) -> str:
    return part.text if part.text is not None else f"{part.kind} {part.digest[:12]}"


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if name.startswith((".", "[", "(")) else f"{path} → {name}"


def _compare(before: Part, after: Part, path: str) -> Iterator[Change]:
    if before.digest == after.digest:
        return
    old, new = _keyed(before.children), _keyed(after.children)
    deeper = False
    for key in [*old, *[key for key in new if key not in old]]:
        place = _join(path, key[0])
        if key not in new:
            yield Change(place, "removed", before=_shown(old[key]))
        elif key not in old:
            yield Change(place, "added", after=_shown(new[key]))
        elif old[key].digest != new[key].digest:
            yield from _compare(old[key], new[key], place)
        else:
            continue
        deeper = True
    if not deeper or before.kind != after.kind:
        yield Change(path, "changed", before=_shown(before), after=_shown(after))


def _leaf_part(name: str, child: bytes, value: object) -> Part:
    from hashlib import sha256

    text = shown(value)
    if text is None:
        label = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        text = label if isinstance(label, str) else type(value).__qualname__
    kind = value if isinstance(value, type) else type(value)
    return Part(name, kind.__name__, sha256(child).hexdigest(), (), text)


def part_of(node: Node, name: str, seen: set[int]) -> Part:
    """The parts of a finished graph; a node met a second time is named without its children."""
    if id(node) in seen:
        return Part(name, node.kind, node.digest)
    seen.add(id(node))
    children = []
    for step, label, child, value in node.edges:
        shown = written(step, label)
        if isinstance(child, bytes):
            children.append(_leaf_part(shown, child, value))
        else:
            children.append(part_of(child, shown, seen))
    return Part(name, node.kind, node.digest, tuple(children), node.text)


def written(step: str, label: str) -> str:
    """A step of a path as a person writes it."""
    if step == "[":
        return f"[{label}]"
    if step == "(":
        return f"({label})"
    if step == ".":
        return f".{label}"
    return label
