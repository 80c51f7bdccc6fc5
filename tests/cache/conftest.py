"""What tests of shared caches have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import fleet


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine has a signing key and trusts it; the path of the private key."""
    pytest.importorskip("cryptography", reason="the extra [remote] is not installed: no cryptography")
    pytest.importorskip("zstandard", reason="the extra [remote] is not installed: no zstandard")
    monkeypatch.setenv("PASSPRINT_TRUSTED_KEYS", str(tmp_path / "trusted-keys"))
    path = fleet.make_trusted_key(tmp_path)
    monkeypatch.setenv("PASSPRINT_PRIVATE_KEY", str(path))
    return path


@pytest.fixture
def redis_url(tmp_path: Path, trusted: Path) -> Iterator[str]:
    """A real Redis server."""
    pytest.importorskip("redis", reason="the extra [redis] is not installed: no redis-py")
    if fleet.REDIS is None:
        pytest.skip("there is no redis-server here: apt-get install redis-server")
    with fleet.redis_server(tmp_path) as url:
        yield url
