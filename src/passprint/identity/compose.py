"""One identity out of named parts."""

from __future__ import annotations

from collections.abc import Mapping

from passprint.identity.canonical import encode_text, frame
from passprint.identity.digests import digest32
from passprint.identity.memo import default_memo
from passprint.identity.origin import SEED
from passprint.identity.tree import Fingerprint, Part


def compose(name: str, parts: Mapping[str, object]) -> Fingerprint:
    """A fingerprint of named parts, in the order given.

    A value is a :class:`Fingerprint`, a :class:`Part`, or any object, which is then fingerprinted. What is
    opaque in a part is opaque in the whole; nothing is raised.
    """
    children: list[Part] = []
    opaque: list[str] = []
    hashed = [SEED, frame(b"compose", encode_text(name))]
    for label, value in parts.items():
        part, missing = _as_part(value)
        children.append(Part(label, part.kind, part.digest, part.children, part.text, part.own))
        opaque.extend([f"{label}: {path}" for path in missing])
        hashed.append(frame(b"n", encode_text(label)) + frame(b"d", part.digest.encode()))
    digest = digest32(b"".join(hashed)).hex()
    return Fingerprint(digest, Part(name, "parts", digest, tuple(children)), tuple(opaque))


def _as_part(value: object) -> tuple[Part, tuple[str, ...]]:
    if isinstance(value, Part):
        return value, ()
    found = value if isinstance(value, Fingerprint) else default_memo().fingerprint(value)
    return found.root, found.opaque
