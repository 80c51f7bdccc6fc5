"""A remote as its user writes it: one URL, and after ``#`` how it is used and how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl, urlsplit

from passprint.errors import CacheError

Mode: TypeAlias = Literal["readwrite", "readonly", "writeonly"]

_SECONDS: Final = ("connect", "request", "start", "exit")
_LONGEST: Final = 3600.0


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """A remote cache: where, how it is used, and its limits.

    Attributes:
        url: without options.
        mode: None where the user gave none: read, and write where this machine has a signing key.
        connect: seconds for a connection.
        request: seconds for a request; one that sends or receives much gets a second more per MiB.
        start: seconds that a program may wait for reads in any minute, all requests together.
        exit: seconds that a process waits at its end for what is still to be sent.
    """

    url: str
    mode: Mode | None = None
    connect: float = 1.0
    request: float = 5.0
    start: float = 10.0
    exit: float = 10.0

    @property
    def scheme(self) -> str:
        """``s3``, ``redis``, …, in lower case."""
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The URL for messages: without user, password and query, which may be secrets."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{self.scheme}://{host}{parts.path}"

    @classmethod
    def parse(cls, text: str) -> RemoteSpec:
        """Read ``URL`` or ``URL#mode=readonly&request=2``. Raises ``CacheError`` for an option that there is not."""
        url, _, fragment = text.partition("#")
        scheme, separator, rest = url.partition("://")
        if not separator or not scheme or not rest:
            raise CacheError(
                f"A remote cache got {url!r}. Expected a URL such as s3://bucket/prefix, redis://host:6379/0 or "
                f"file:///nfs/cache."
            )
        given = dict(parse_qsl(fragment, keep_blank_values=True))
        mode = given.pop("mode", None)
        if mode is not None and mode not in get_args(Mode):
            raise CacheError(
                f"The remote cache {url} got mode={mode!r}. Expected {', '.join(get_args(Mode))}."
            )
        unknown = [name for name in given if name not in _SECONDS]
        if unknown or (fragment and not given and mode is None):
            raise CacheError(
                f"The remote cache {url} got the option {(unknown or [fragment])[0]!r}. "
                f"Expected URL#NAME=VALUE&… with the names mode, {', '.join(_SECONDS)}."
            )
        seconds = {name: _seconds(url, name, value) for name, value in given.items()}
        return cls(url, mode, **seconds)  # type: ignore[arg-type]


def _seconds(url: str, name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST:
        raise CacheError(
            f"The remote cache {url} got {name}={value!r}. Expected seconds, above 0 and at most {_LONGEST:g}."
        )
    return seconds
