"""Which remotes stand behind this machine's folder when the program names none: the environment, or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from passprint.cache.files import mistrust
from passprint.cache.folder import warn
from passprint.errors import CacheError

ENVIRONMENT: Final = "PASSPRINT_CACHE_REMOTE"
SETTING: Final = "cache-remote"

_OWN_FILE: Final = "passprint.toml"
_PROJECT_FILE: Final = "pyproject.toml"
_TABLE: Final = b"[tool.passprint"


def configured() -> tuple[str, ...]:
    """The remotes that ``PASSPRINT_CACHE_REMOTE`` lists, or else ``cache-remote`` in a file of the working folder.

    The variable holds URLs with blanks between them; set and empty, it means none. The files are ``passprint.toml``
    and, where that is absent, ``pyproject.toml`` with its table ``[tool.passprint]``. A file that others can write is
    left out with a warning. Raises ``CacheError`` for a file that is not TOML and for a setting that lists no URLs.
    """
    text = os.environ.get(ENVIRONMENT)
    if text is not None:
        return tuple(text.split())
    for name in (_OWN_FILE, _PROJECT_FILE):
        try:
            with open(name, "rb") as file:
                reason = mistrust(os.fstat(file.fileno()))
                data = file.read()
        except OSError:
            continue
        if name == _PROJECT_FILE and _TABLE not in data:
            continue
        if reason is not None:
            warn(f"The file {Path(name).absolute()} is left out: it {reason}. Run: chmod go-w {name}")
            continue
        return _listed(name, data)
    return ()


def _listed(name: str, data: bytes) -> tuple[str, ...]:
    import tomllib  # only where there is such a file

    try:
        table: dict[str, Any] = tomllib.loads(data.decode())
    except ValueError as error:
        raise CacheError(
            f"The file {Path(name).absolute()} is not TOML: {error}. Mend it or remove it."
        ) from error
    if name == _PROJECT_FILE:
        table = table.get("tool", {}).get("passprint", {})
    value = table.get(SETTING, [])
    urls = [value] if isinstance(value, str) else value
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise CacheError(
            f"{SETTING} in {Path(name).absolute()} got {value!r}. Expected a URL or a list of URLs, "
            f'as {SETTING} = "s3://bucket/prefix".'
        )
    return tuple(urls)
