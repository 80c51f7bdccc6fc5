"""What goes from a remote: what was not used for long, the least recently used above a size, and what nothing names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from passprint.cache.record import mentioned
from passprint.cache.remotes.packing import LONGEST_RECORD
from passprint.cache.remotes.tier import Tier
from passprint.cache.remotes.transport import OBJECTS, RECORDS, Listed, RemoteError
from passprint.errors import CacheError

YOUNG_SECONDS: Final = 3600.0
"""What was written in the last hour stays: its record may be on the way."""

_TOGETHER: Final = 256
_RECORD: Final = re.compile(rf"{RECORDS}/[0-9a-f]{{2}}/([0-9a-f]{{16,128}})")
_OBJECT: Final = re.compile(rf"{OBJECTS}/[0-9a-f]{{2}}/([0-9a-f]{{64}})")


class RemoteSwept(NamedTuple):
    """What a sweep of a remote removed, and what it left. Bytes are those in the remote, compressed."""

    entries: int
    objects: int
    bytes: int
    left_entries: int
    left_bytes: int


def records_of(tier: Tier) -> list[str]:
    """The digests of all records of a remote. Raises ``CacheError`` where it cannot be listed."""
    matches = (_RECORD.fullmatch(listed.name) for listed in _walk(tier))
    return [match[1] for match in matches if match is not None]


def sweep(tier: Tier, limit_bytes: int | None, max_age: float | None) -> RemoteSwept:
    """Remove entries that were not used for ``max_age`` seconds, and the least recently used above ``limit_bytes``.

    Then go the objects that no record names. Nothing that was written in the last hour goes. An age is that of writing,
    and a machine that may write writes a record again when it uses it after more than a day. Redis knows the last use
    itself: there each record and object goes by its own, and reading the records would be a use.
    Raises ``CacheError`` where the remote cannot be listed or written.
    """
    if not tier.writes:
        raise CacheError(
            f"The remote cache {tier.name} is only read here, so nothing of it can be removed. "
            f"Sweep it where it is written: with a private key, and a mode other than readonly."
        )
    if tier.transport().notes_use:
        return _sweep_each(tier, limit_bytes, max_age)
    records: list[Listed] = []
    objects: dict[str, Listed] = {}
    for listed in _walk(tier):
        if _RECORD.fullmatch(listed.name):
            records.append(listed)
        elif match := _OBJECT.fullmatch(listed.name):
            objects[match[1]] = listed
    names = _named(tier, records)
    records.sort(key=lambda record: record.age)
    users: dict[str, int] = {}
    for record in records:
        for sha256 in names[record.name]:
            users[sha256] = users.get(sha256, 0) + 1
    size = sum(record.size for record in records)
    size += sum(listed.size for sha256, listed in objects.items() if sha256 in users)
    gone: list[Listed] = []
    while records and records[-1].age > YOUNG_SECONDS:
        old = max_age is not None and records[-1].age > max_age
        if not old and (limit_bytes is None or size <= limit_bytes):
            break
        gone.append(records.pop())
        size -= gone[-1].size
        for sha256 in names[gone[-1].name]:
            users[sha256] -= 1
            if not users[sha256] and sha256 in objects:
                size -= objects[sha256].size
    unnamed = [
        listed for sha256, listed in objects.items() if not users.get(sha256) and listed.age > YOUNG_SECONDS
    ]
    _remove(tier, [listed.name for listed in (*gone, *unnamed)])  # records first: a reader sees no half
    removed = sum(listed.size for listed in (*gone, *unnamed))
    left = sum(record.size for record in records)
    left += sum(listed.size for listed in objects.values()) - sum(listed.size for listed in unnamed)
    return RemoteSwept(len(gone), len(unnamed), removed, len(records), left)


def _sweep_each(tier: Tier, limit_bytes: int | None, max_age: float | None) -> RemoteSwept:
    """The same by the age of each name alone. A record that lost an object is a miss, and is stored again."""
    left = sorted(_walk(tier), key=lambda listed: listed.age)
    size = sum(listed.size for listed in left)
    gone: list[Listed] = []
    while left and left[-1].age > YOUNG_SECONDS:
        old = max_age is not None and left[-1].age > max_age
        if not old and (limit_bytes is None or size <= limit_bytes):
            break
        gone.append(left.pop())
        size -= gone[-1].size
    _remove(tier, [listed.name for listed in gone])
    entries = sum(listed.name.startswith(RECORDS) for listed in gone)
    left_entries = sum(listed.name.startswith(RECORDS) for listed in left)
    return RemoteSwept(entries, len(gone) - entries, sum(listed.size for listed in gone), left_entries, size)


def _named(tier: Tier, records: list[Listed]) -> dict[str, set[str]]:
    """The objects that each record could mean, whatever its format."""
    found: dict[str, set[str]] = {}
    for first in range(0, len(records), _TOGETHER):
        wanted = {record.name: LONGEST_RECORD for record in records[first : first + _TOGETHER]}
        try:
            datas = tier.transport().get(wanted, tier.spec.request * 10)
        except RemoteError as error:
            raise _failed(tier, error) from error
        found.update((name, mentioned(datas.get(name, b""))) for name in wanted)
    return found


def _walk(tier: Tier) -> Iterator[Listed]:
    try:
        yield from tier.transport().walk()
    except RemoteError as error:
        raise _failed(tier, error) from error


def _remove(tier: Tier, names: list[str]) -> None:
    try:
        tier.transport().remove(names)
    except RemoteError as error:
        raise _failed(tier, error) from error


def _failed(tier: Tier, error: RemoteError) -> CacheError:
    return CacheError(
        f"The remote cache {tier.name} failed: {error}. Nothing is damaged by that; try again later."
    )
