"""Whoever can write a remote, or answers in its place, gets at most a miss, in bounded memory and time."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from passprint.cache import CacheWarning

from .fleet import digest, machine, misses_all, stored, web_server
from .proof import is_right, put

zstandard = pytest.importorskip("zstandard", reason="the extra [remote] is not installed: no zstandard")


@pytest.fixture
def remote(tmp_path: Path, trusted: Path) -> Path:
    """The folder of a remote with two entries, a and b."""
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    stored(machine(tmp_path / "writer", f"file://{tmp_path}/remote"), "a", "b")
    return tmp_path / "remote" / "1"


def record(remote: Path, name: str) -> Path:
    return remote / "records" / digest(name)[:2] / digest(name)


def objects_of(remote: Path, name: str) -> list[Path]:
    body = json.loads(record(remote, name).read_bytes().split(b"\n", 2)[2])
    sums = [body["tree"][2], *(file[2] for file in body["files"])]
    return [remote / "objects" / sha256[:2] / sha256 for sha256 in sums]


def swap_objects(remote: Path) -> None:
    shutil.copy(objects_of(remote, "b")[1], objects_of(remote, "a")[1])


def replay_under_another_key(remote: Path) -> None:
    shutil.copy(record(remote, "b"), record(remote, "a"))


def take_the_signature_away(remote: Path) -> None:
    data = record(remote, "a").read_bytes()
    record(remote, "a").write_bytes(data.partition(b"\n")[2])


def change_the_record(remote: Path) -> None:
    """Name the files of b, with a checksum that fits: only the signature does not."""
    head, line, text = record(remote, "a").read_bytes().split(b"\n", 2)
    body = json.loads(text)
    body["files"] = json.loads(record(remote, "b").read_bytes().split(b"\n", 2)[2])["files"]
    text = json.dumps(body).encode()
    line = line.rpartition(b" ")[0] + b" " + hashlib.sha256(text).hexdigest().encode()
    record(remote, "a").write_bytes(b"\n".join([head, line, text]))


def sign_with_an_own_key(remote: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _, data = record(remote, "a").read_bytes().split(b"\n", 1)
    key = Ed25519PrivateKey.generate()
    public, signature = (
        key.public_key().public_bytes_raw().hex(),
        key.sign(b"passprint record\n" + data).hex(),
    )
    record(remote, "a").write_bytes(f"passprint-signed 1 {public} {signature}\n".encode() + data)


def make_the_record_huge(remote: Path) -> None:
    with record(remote, "a").open("ab") as file:
        file.truncate(3 << 30)


def make_an_object_huge(remote: Path) -> None:
    with objects_of(remote, "a")[1].open("ab") as file:
        file.truncate(3 << 30)


def bomb(remote: Path) -> None:
    """Four GiB of zeros in some kilobytes."""
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    zeros = bytes(1 << 20)
    data = b"".join([packer.compress(zeros) for _ in range(4096)]) + packer.flush()
    objects_of(remote, "a")[1].write_bytes(data)


def bomb_that_fits(remote: Path) -> None:
    """A frame short enough to be opened, that becomes far longer than its record says."""
    objects_of(remote, "a")[1].write_bytes(zstandard.ZstdCompressor(level=3).compress(bytes(1 << 24)))


def lie_about_the_window(remote: Path) -> None:
    """A frame whose head asks for two GiB of memory."""
    objects_of(remote, "a")[1].write_bytes(b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00")


def cut_an_object(remote: Path) -> None:
    path = objects_of(remote, "a")[1]
    path.write_bytes(path.read_bytes()[:-3])


def remove_an_object(remote: Path) -> None:
    objects_of(remote, "a")[1].unlink()


def fill_with_noise(remote: Path) -> None:
    record(remote, "a").write_bytes(b"\xff" * 1000)


@pytest.mark.parametrize(
    "attack",
    [
        swap_objects,
        replay_under_another_key,
        take_the_signature_away,
        change_the_record,
        sign_with_an_own_key,
        make_the_record_huge,
        make_an_object_huge,
        bomb,
        bomb_that_fits,
        lie_about_the_window,
        cut_an_object,
        remove_an_object,
        fill_with_noise,
    ],
    ids=lambda attack: attack.__name__,
)
def test_an_attack_is_a_miss_and_the_next_store_heals_it(
    attack: Callable[[Path], None], remote: Path, tmp_path: Path
) -> None:
    attack(remote)
    url = f"file://{tmp_path}/remote"
    other = machine(tmp_path / "reader", url)
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.warns(CacheWarning, match="is left out"):
        assert other.get(digest("a")) is None
    assert time.monotonic() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
    reason = other.why_not(digest("a"))
    assert reason is not None
    assert reason.startswith(f"found in {url}, but ")
    assert not list((tmp_path / "reader" / "entries").rglob(digest("a")))
    assert put(other, "a", 1)
    assert other.flush(30)
    entry = machine(tmp_path / "third", url).get(digest("a"))
    assert entry is not None
    assert is_right(entry, "a")


class _Hostile(http.server.BaseHTTPRequestHandler):
    """Answers as ``how`` says."""

    how = ""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.how == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path.replace("/1/", "/elsewhere/1/"))
            self.end_headers()
            return
        self.send_response(200)
        if self.how == "huge length":
            self.send_header("Content-Length", str(1 << 60))
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" if self.how == "slow drip" else bytes(1 << 16))
                self.wfile.flush()
                if self.how == "slow drip":
                    time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("how", ["endless body", "huge length", "slow drip", "redirect"])
def test_a_hostile_server_costs_little_memory_and_time(how: str, trusted: Path, tmp_path: Path) -> None:
    handler = type("Handler", (_Hostile,), {"how": how, "asked": 0})
    with web_server(handler) as url:
        store = machine(tmp_path / "a", f"{url}#request=0.5")
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.warns(CacheWarning):
            misses_all(store, "abcdefgh")
        assert time.monotonic() - begin < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
        assert handler.asked <= 8
        assert store.stats().tiers[0].hits == 0
