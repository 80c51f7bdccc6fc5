"""A bucket of a real S3 server (moto's, on loopback) behind a folder."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from passprint.errors import CacheError

from .fleet import digest, free_port, machine, stored
from .proof import is_right

pytest.importorskip("s3fs", reason="the extra [s3] is not installed: no s3fs")
pytest.importorskip("moto", reason="the extra [fleet-tests] is not installed: no moto server")


@pytest.fixture
def bucket(tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(endpoint, timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=10).close()
        yield "s3://bucket/prefix"
    finally:
        process.kill()
        process.wait()


def test_another_machine_finds_what_one_stored(bucket: str, tmp_path: Path) -> None:
    stored(machine(tmp_path / "a", bucket), "a", "b")
    other = machine(tmp_path / "b", bucket)
    for name in "ab":
        entry = other.get(digest(name))
        assert entry is not None
        assert is_right(entry, name)
    assert other.get(digest("absent")) is None
    figures = other.stats().tiers[0]
    assert (figures.hits, figures.misses, figures.failures) == (2, 1, 0)


def test_a_bucket_is_listed_and_swept(bucket: str, tmp_path: Path) -> None:
    from passprint.cache.remotes.spec import RemoteSpec
    from passprint.cache.remotes.sweeping import sweep
    from passprint.cache.remotes.tier import Tier

    stored(machine(tmp_path / "a", bucket), "a", "b")
    swept = sweep(Tier(RemoteSpec.parse(bucket)), 1, 0.0)
    assert (swept.entries, swept.left_entries) == (0, 2)  # all of it is young
    assert machine(tmp_path / "b", bucket).pull() == 2


def test_without_credentials_there_is_an_error_that_says_what_to_set(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(CacheError, match="Set the credentials"):
        machine(tmp_path / "a", bucket).get(digest("a"))
