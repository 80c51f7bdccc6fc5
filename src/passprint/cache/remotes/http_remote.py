"""A web server with the files of a remote: read only, nothing but Python's own library, and no redirects."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from passprint.cache.remotes.deadline import side_by_side
from passprint.cache.remotes.fsspec_remote import FORMAT_FOLDER
from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.remotes.transport import Lease, Listed, RemoteError, UnreachableError
from passprint.errors import CacheError

_CHUNK: Final = 1 << 16
_NOT_THERE: Final = frozenset({404, 410})


class HttpRemote:
    """The files below a URL. Nothing is read beyond the length that was agreed, whatever the server says."""

    batches = False
    leases = False
    notes_use = False

    def __init__(self, spec: RemoteSpec) -> None:
        self._spec = spec
        parts = urlsplit(spec.url)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise CacheError(
                f"The remote cache {spec.name} has no port: {error}. Expected https://host/path."
            ) from error
        self._root = f"{parts.path.rstrip('/')}/{FORMAT_FOLDER}"
        self._headers = _authorization(parts.username, parts.password)

    def check(self) -> None:
        """Whether a server lets one in shows at the first name."""

    def get(self, wanted: Mapping[str, int], seconds: float) -> dict[str, bytes]:
        until = time.monotonic() + seconds
        stop = threading.Event()
        calls = [partial(self._read, name, most, until, stop) for name, most in wanted.items()]
        try:
            found = side_by_side(calls, seconds)
        except (OSError, http.client.HTTPException) as error:
            raise RemoteError(str(error) or type(error).__name__) from error
        finally:
            stop.set()
        return {name: data for name, data in zip(wanted, found, strict=True) if data is not None}

    def has(self, names: Sequence[str], seconds: float) -> set[str]:
        raise RemoteError("a web server is only read")

    def put(self, blobs: Sequence[tuple[str, bytes]], seconds: float) -> None:
        raise RemoteError("a web server is only read")

    def lock(self, name: str, lease_seconds: float, seconds: float) -> Lease | None:
        raise RemoteError("a web server has no leases")

    def walk(self) -> Iterator[Listed]:
        raise RemoteError("a web server does not list what it has")

    def remove(self, names: Iterable[str]) -> None:
        raise RemoteError("a web server is only read")

    def _read(self, name: str, most: int, until: float, stop: threading.Event) -> bytes | None:
        secure = self._spec.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(self._host, self._port, timeout=self._spec.connect)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise UnreachableError(f"no connection: {error}") from error
            if connection.sock is not None:
                connection.sock.settimeout(self._spec.request)
            connection.request("GET", quote(f"{self._root}/{name}"), headers=self._headers)
            response = connection.getresponse()
            if response.status in _NOT_THERE:
                return None
            if response.status != 200:
                raise RemoteError(f"the server answers {response.status}, expected 200 or 404 (no redirects)")
            return _body(response, most + 1, until, stop)
        finally:
            connection.close()


def _body(response: http.client.HTTPResponse, most: int, until: float, stop: threading.Event) -> bytes:
    """At most ``most`` bytes of a body, as they come, until nobody waits any more."""
    data = bytearray()
    while len(data) < most:
        if stop.is_set() or time.monotonic() > until:
            raise RemoteError("the answer comes too slowly")
        chunk = response.read1(min(_CHUNK, most - len(data)))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    import base64

    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
