"""The rows of the ledger: what a program depended on, and in words what differs between two lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from passprint.compiler.lowering import host

PLAIN: Final = "plain"
"""The kind of a plain value: a number, a text, True or None."""


class Row(NamedTuple):
    """One dependency: what kind of thing it is, which one, and what it was.

    Kinds, and when each is asked. At load: ``environment``, ``setting``, ``replaced`` (functions that somebody put
    into torch), ``package``, ``stamp`` (installed code that was inlined), ``operator``; ``host`` and ``compiler``,
    which may serve where they are not equal. At load, and at a call where something that was walked has changed:
    ``value``, ``function``, ``class``, ``answer``, ``hash``, ``variable``; of ``plain`` values, that they are there.
    """

    kind: str
    name: str
    text: str


def digest(rows: Iterable[Row]) -> str:
    """One digest of rows, in their order."""
    hashed = sha256()
    for row in rows:
        hashed.update("".join([f"{len(part)}:{part}" for part in row]).encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


_LABELS: Final = {
    "environment": "{}",
    "variable": "environment variable {}",
    "setting": "setting {}",
    "value": "{}",
    PLAIN: "{}",
    "package": "the package {}",
}
"""How a row is called whose text a person can read."""

_CHANGED: Final = {
    "function": "{} has changed",
    "class": "the class {} has changed",
    "operator": "the operator {}, which was traced, has changed",
    "replaced": "what somebody put into {} has changed",
    "stamp": "{} has changed (an installed package was edited or patched: no lines of it are kept)",
    "hash": "{} uses hash(), or the order of a set, which is another one in this process"
    " (PYTHONHASHSEED=0 makes it the same in all)",
}
_SHOWN: Final = 100


def differences(recorded: Iterable[Row], present: Iterable[Row]) -> list[str]:
    """What differs, each as a sentence: first code that changed, mostly the cause of the rest; last code that went."""
    before, now = _texts(recorded), _texts(present)
    code: list[str] = []
    other: list[str] = []
    moved: list[str] = []
    for key in {**before, **now}:
        was, has = before.get(key), now.get(key)
        if was == has:
            continue
        kind, name = key
        if kind not in _CHANGED:
            other.append(_differs(kind, name, was, has))
        elif was and has:
            code.append(_CHANGED[kind].format(name))
        elif kind == "replaced":
            code.append(f"somebody's function {'stood' if was else 'stands'} in {name}")
        else:
            moved.append(f"{name} is not there any more" if was else f"{name} is new")
    return list(dict.fromkeys([*code, *other, *moved]))


def _differs(kind: str, name: str, was: str | None, has: str | None) -> str:
    if kind == "answer" and was is not None and has is not None:
        return f"{name} gave {_short(was)} and gives {_short(has)}"
    label = _LABELS.get(kind, "{}").format(name)
    if kind in ("value", PLAIN) and (was is None or has is None):
        return f"{label} is new: {_short(has)}" if was is None else f"{label} was {_short(was)} and is gone"
    return f"{label} was {_short(was)} and is {_short(has)}"


def _short(text: str | None) -> str:
    if text is None:
        return "not set"
    from passprint.cache.miss import short_digests  # only a miss needs it

    text = short_digests(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _texts(rows: Iterable[Row]) -> Mapping[tuple[str, str], str]:
    return {(row.kind, row.name): row.text for row in rows}


def host_differences(recorded: Iterable[Row], present: Iterable[Row]) -> list[str]:
    """Why what was built on a machine like the recorded one cannot run on this one."""
    built, here = ({row.name: row.text for row in rows if row.kind == "host"} for rows in (recorded, present))
    reason = host.lacks(built, here)
    return [reason] if reason else []
