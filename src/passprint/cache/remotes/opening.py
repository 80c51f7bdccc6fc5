"""From a URL to something that answers, or an error at once that says what to install or set."""

from __future__ import annotations

from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.remotes.transport import Transport
from passprint.errors import CacheError

_REDIS = ("redis", "rediss", "unix")
_WEB = ("https", "http")
_MODULES = {
    **dict.fromkeys(_REDIS, ("redis", "redis")),
    **dict.fromkeys(_WEB, ("http", "remote")),
    **dict.fromkeys(("file", "memory"), ("fsspec", "remote")),
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcs")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("adlfs", "azure")),
    "hf": ("huggingface_hub", "hf"),
}
"""By scheme, the module that it needs and the extra of passprint that brings it. Others are looked up in fsspec."""


def is_read_only(spec: RemoteSpec) -> bool:
    """Whether nothing can be written there, whoever asks."""
    return spec.scheme in _WEB


def open_transport(spec: RemoteSpec) -> Transport:
    """The remote's library, imported only here. Raises ``CacheError``."""
    if spec.scheme in _REDIS:
        from passprint.cache.remotes.redis_remote import RedisRemote

        return RedisRemote(spec)
    if spec.scheme in _WEB:
        from passprint.cache.remotes.http_remote import HttpRemote

        return HttpRemote(spec)
    from passprint.cache.remotes.fsspec_remote import FsspecRemote

    return FsspecRemote(spec)


def check_installed(spec: RemoteSpec) -> None:
    """Raise ``CacheError`` where the library of a scheme is not installed, without importing it."""
    from importlib.util import find_spec

    module, extra = _MODULES.get(spec.scheme, ("fsspec", "remote"))
    for needed in (module, "zstandard", "cryptography"):
        if find_spec(needed) is None:
            raise CacheError(
                f"The remote cache {spec.name} needs the library {needed}, which is not installed. "
                f"Run: pip install 'passprint[{extra}]'"
            )
    if spec.scheme not in _MODULES:
        from passprint.cache.remotes.fsspec_remote import check_scheme

        check_scheme(spec)
