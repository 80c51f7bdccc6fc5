"""Whatever fsspec opens: buckets, network folders, hubs. One request a name, side by side."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from passprint.cache.files import TEMPORARY
from passprint.cache.remotes.deadline import side_by_side
from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.remotes.transport import OBJECTS, RECORDS, Lease, Listed, RemoteError, UnreachableError
from passprint.errors import CacheError

Result = TypeVar("Result")

FORMAT_FOLDER: Final = "1"
"""The folder below the prefix: another layout of another version gets another one."""

_WRITE_WHOLE: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "oci", "memory"}
)
"""Schemes of object stores: a put is whole or not there. Elsewhere a file is written beside its place and renamed."""

_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError)
_UNREACHABLE: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ConnectionError"}
)
_NOT_ALLOWED: Final = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"})
_AGE_NAMES: Final = ("mtime", "LastModified", "last_modified", "updated", "created")


class FsspecRemote:
    """A prefix in a file system of fsspec. Raises ``CacheError`` for a scheme that cannot be opened here."""

    batches = False
    leases = False
    notes_use = False

    def __init__(self, spec: RemoteSpec) -> None:
        self._spec = spec
        from fsspec.core import url_to_fs

        try:
            self._fs, path = url_to_fs(spec.url, skip_instance_cache=True, **_options(spec))
        except Exception as error:
            raise CacheError(
                f"The remote cache {spec.name} cannot be set up: {_text(error)}. Set what its library asks for."
            ) from error
        self._root = f"{path.rstrip('/')}/{FORMAT_FOLDER}"

    def check(self) -> None:
        try:
            self._many([partial(self._fs.exists, f"{self._root}/{RECORDS}")], self._spec.request)
        except RemoteError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) or _has_name(cause, _NOT_ALLOWED):
                raise CacheError(
                    f"The remote cache {self._spec.name} does not let this machine in: {error}. "
                    f"Set the credentials that its library reads, or take the remote away."
                ) from error
            raise

    def get(self, wanted: Mapping[str, int], seconds: float) -> dict[str, bytes]:
        found = self._many([partial(self._read, name, most) for name, most in wanted.items()], seconds)
        return {name: data for name, data in zip(wanted, found, strict=True) if data is not None}

    def has(self, names: Sequence[str], seconds: float) -> set[str]:
        found = self._many([partial(self._fs.exists, f"{self._root}/{name}") for name in names], seconds)
        return {name for name, there in zip(names, found, strict=True) if there}

    def put(self, blobs: Sequence[tuple[str, bytes]], seconds: float) -> None:
        first = [partial(self._write, *blob) for blob in blobs if not blob[0].startswith(RECORDS)]
        last = [partial(self._write, *blob) for blob in blobs if blob[0].startswith(RECORDS)]
        for calls in (first, last):
            self._many(calls, seconds)

    def lock(self, name: str, lease_seconds: float, seconds: float) -> Lease | None:
        raise RemoteError(f"{self._spec.scheme} has no leases")

    def walk(self) -> Iterator[Listed]:
        now = time.time()
        for room in (RECORDS, OBJECTS):
            try:
                found = self._fs.find(f"{self._root}/{room}", detail=True)
            except _NOT_THERE:
                continue
            except Exception as error:
                raise _failed(error) from error
            for path, facts in found.items():
                name = f"{room}{path.rpartition(f'/{FORMAT_FOLDER}/{room}')[2]}"
                yield Listed(name, int(facts.get("size") or 0), _age(facts, now))

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self._fs.rm_file(f"{self._root}/{name}")
            except _NOT_THERE:
                continue
            except Exception as error:
                raise _failed(error) from error

    def _many(self, calls: Sequence[Callable[[], Result]], seconds: float) -> list[Result]:
        try:
            return side_by_side(calls, seconds)
        except RemoteError:
            raise
        except Exception as error:
            raise _failed(error) from error

    def _read(self, name: str, most: int) -> bytes | None:
        try:
            data = self._fs.cat_file(f"{self._root}/{name}", start=0, end=most + 1)
        except _NOT_THERE:
            return None
        return bytes(data)

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        if self._spec.scheme in _WRITE_WHOLE:
            self._fs.pipe_file(path, data)
            return
        folder = path.rpartition("/")[0]
        self._fs.makedirs(folder, exist_ok=True)
        beside = f"{folder}/{TEMPORARY}{secrets.token_hex(8)}"
        self._fs.pipe_file(beside, data)
        self._fs.mv(beside, path)


def check_scheme(spec: RemoteSpec) -> None:
    """Raise ``CacheError`` for a scheme that fsspec does not know, or whose library is not installed."""
    import fsspec

    try:
        fsspec.get_filesystem_class(spec.scheme)
    except ImportError as error:
        raise CacheError(
            f"The remote cache {spec.name} needs a library that is not installed: {error}. Install it with pip."
        ) from error
    except ValueError as error:
        raise CacheError(
            f"The remote cache {spec.name} has the scheme {spec.scheme!r}, which neither passprint nor fsspec knows. "
            f"Expected s3, gs, az, hf, file, redis, https or another of fsspec's."
        ) from error


def _options(spec: RemoteSpec) -> dict[str, Any]:
    if spec.scheme in ("s3", "s3a"):
        limits = {"connect_timeout": spec.connect, "read_timeout": spec.request}
        return {"config_kwargs": {**limits, "retries": {"total_max_attempts": 1}}}
    return {}


def _age(facts: Mapping[str, Any], now: float) -> float:
    """Seconds since something was written; 0, too young to go, where the file system does not say."""
    for name in _AGE_NAMES:
        moment = facts.get(name)
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if isinstance(moment, datetime):
            return now - moment.timestamp()
        if isinstance(moment, int | float):
            return now - moment
    return 0.0


def _has_name(error: BaseException | None, names: frozenset[str]) -> bool:
    while error is not None:
        if any(kind.__name__ in names for kind in type(error).__mro__):
            return True
        error = error.__cause__ or error.__context__
    return False


def _failed(error: Exception) -> RemoteError:
    kind = UnreachableError if _has_name(error, _UNREACHABLE) else RemoteError
    return kind(_text(error))


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
