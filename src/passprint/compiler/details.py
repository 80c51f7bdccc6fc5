"""The whole document of a report: what happened in the compile, and what the store knows of its pieces.

docs/report.md describes it. Graphs, keys and generated code are read from the store, so a start keeps none of them in
memory, and a warm one has them as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from passprint.errors import CacheError

if TYPE_CHECKING:
    from passprint.cache import Entry, Store
    from passprint.identity import Fingerprint, Part

TEXTS: Final = ("graph", "inputs", "symbols")
CODE: Final = "wrapper.py"
LONGEST: Final = 40_000
"""Each text is cut to so many characters, or to a share of `ALL_TEXTS` where there are many pieces."""

ALL_TEXTS: Final = 400_000
MOST_PARTS: Final = 200
DEEPEST: Final = 6
"""Of a key's tree, so many parts and levels are written, and a share of `ALL_PARTS` where there are many keys."""

ALL_PARTS: Final = 800


def document(report: Mapping[str, Any], store: Store | None) -> dict[str, Any]:
    """A report's plain data (:meth:`CompileReport.to_dict`) with ``versions``, ``store`` and ``details``."""
    pieces = dict.fromkeys(piece["digest"] for piece in (*report["each_piece"], *report["variants"]))
    missed = dict.fromkeys(digest for miss in report["misses"] for digest in (miss["key"], miss["nearest"]))
    longest = min(LONGEST, ALL_TEXTS // (2 * len(pieces) or 1))
    details: dict[str, dict[str, Any]] = {}
    if store is not None:
        details.update(_details(store.here, [digest for digest in missed if digest], longest=0))
        details.update(_details(store.here, pieces, longest))
    return {**report, "versions": versions(), "store": _store(store), "details": details}


def versions() -> dict[str, str]:
    """Of passprint, Python and torch, as installed here."""
    import platform
    from importlib import metadata

    from passprint import __version__

    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "not installed"
    return {"passprint": __version__, "python": platform.python_version(), "torch": torch}


def _store(store: Store | None) -> dict[str, Any] | None:
    return None if store is None else store.stats().to_dict()


def _details(store: Store, digests: Collection[str], longest: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """By digest, what is stored; texts only where there is room for them."""
    most = min(MOST_PARTS, ALL_PARTS // (len(digests) or 1))
    for digest in digests:
        entry = store.get(digest, counted=False)
        if entry is None:
            continue
        with entry:
            try:
                yield digest, _detail(entry, longest, most)
            except (CacheError, OSError) as error:
                yield digest, {"problem": str(error)}


def _detail(entry: Entry, longest: int, most: int) -> dict[str, Any]:
    from passprint.identity.sources import unpack

    key = entry.key
    by_name = {part.name: part for part in key.root.children}
    texts = {
        name: _cut(unpack(key.sources[by_name[name].digest]), longest)
        for name in TEXTS
        if longest and name in by_name and by_name[name].digest in key.sources
    }
    code = entry.read(CODE).decode(errors="replace") if longest and CODE in entry.files else None
    return {
        "kind": entry.kind,
        "label": str(entry.meta.get("label", "")),
        "created": entry.created,
        "bytes": entry.size,
        "texts": texts,
        "code": None if code is None else _cut(code, longest),
        "key": key_tree(key, most),
    }


def key_tree(key: Fingerprint, most: int = MOST_PARTS) -> dict[str, Any]:
    """A key's parts as plain data: names, kinds, digests and short texts, as far as a page has room for them.

    Each part below the root has an equal share of the ``most`` parts that are written.
    """
    form = _part(key.root, [0], 0)
    share = most // (len(key.root.children) or 1)
    form["children"] = [_part(child, [share], 1) for child in key.root.children]
    return {**form, "more": 0}


def _part(part: Part, left: list[int], depth: int) -> dict[str, Any]:
    left[0] -= 1
    text = None if part.text is None else part.text[:200]
    form: dict[str, Any] = {
        "name": part.name[:200],
        "kind": part.kind,
        "digest": part.digest[:16],
        "text": text,
    }
    below = part.children if depth < DEEPEST and left[0] > 0 else ()
    form["children"] = [_part(child, left, depth + 1) for child in below[: max(left[0], 0)]]
    form["more"] = len(part.children) - len(form["children"])
    return form


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}\n… cut here"
