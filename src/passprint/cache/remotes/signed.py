"""A record on its way: the line of its signature, then the record as a folder keeps it.

The signature is over the whole record: its key, the digests of all that the key is made of, the length and checksum of
each object, its meta data. So nothing of it can be exchanged, and a record cannot stand under another key.
"""

from __future__ import annotations

import re
from typing import Final

from passprint.cache.files import DamagedError
from passprint.cache.record import Record, UnknownFormatError, check_sound, decode
from passprint.cache.remotes.packing import LARGEST_OBJECT, LONGEST_RECORD, RefusedError
from passprint.cache.trust import PrivateKey, TrustedKeys, UntrustedError

_HEAD: Final = re.compile(rb"passprint-signed 1 ([0-9a-f]{64}) ([0-9a-f]{128})\n")
_BEGIN: Final = b"passprint-signed "


def seal(record: Record, key: PrivateKey) -> bytes:
    """The record, signed."""
    data = record.encode()
    return f"passprint-signed 1 {key.public.hex} {key.sign(data).hex()}\n".encode() + data


def unseal(sealed: bytes, digest: str, trusted: TrustedKeys) -> Record:
    """The record of the key ``digest``, when a trusted key signed it. Raises ``RefusedError`` with the reason."""
    if len(sealed) > LONGEST_RECORD:
        raise RefusedError(f"its record is longer than {LONGEST_RECORD:,} bytes")
    head = _HEAD.match(sealed)
    if head is None:
        begins = sealed.startswith(_BEGIN)
        raise RefusedError("its record is of another format" if begins else "its record is not signed")
    data = sealed[head.end() :]
    try:
        trusted.check(data, head[1].decode(), bytes.fromhex(head[2].decode()))
        record = decode(data, digest)
        check_sound(record)
    except UntrustedError as error:
        raise RefusedError(f"its record is {error}") from error
    except UnknownFormatError as error:
        raise RefusedError(f"its record has the unknown format {error}") from error
    except DamagedError as error:
        raise RefusedError(f"its record {error}") from error
    if max(stored.size for stored in record.objects) > LARGEST_OBJECT:
        raise RefusedError(f"it has an object of more than {LARGEST_OBJECT:,} bytes")
    return record
