"""What one machine stored is found by another through a remote, and a remote that fails is not felt."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from passprint.cache import CacheWarning, LocalStore, TieredStore, open_store
from passprint.cache.remotes.spec import RemoteSpec
from passprint.errors import CacheError

from .fleet import digest, files_of_folder, free_port, machine, misses_all, redis_server, stored, web_server
from .proof import files_of, key_of, put


@pytest.fixture(params=["file", "memory", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path, trusted: Path) -> Iterator[str]:
    """One remote of each kind."""
    if request.param == "redis":
        yield request.getfixturevalue("redis_url")
        return
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    yield f"{request.param}://{tmp_path}/remote"


def found(store: TieredStore, name: str) -> bool:
    entry = store.get(digest(name))
    if entry is None:
        return False
    with entry:
        assert dict(entry.files) == files_of(name, 1)
        assert entry.key == key_of(name)
    return True


def test_another_machine_finds_it_and_then_has_it_itself(url: str, tmp_path: Path) -> None:
    stored(machine(tmp_path / "a", url), "a", "b")
    other = machine(tmp_path / "b", url)
    assert found(other, "a")
    assert found(other, "b")
    assert not found(other, "absent")
    assert other.stats().counts["hit"] == {f"from {RemoteSpec.parse(url).name}": 2}
    alone = LocalStore(tmp_path / "b")
    assert alone.get(digest("a")) is not None
    assert alone.verify().problems == ()


def test_many_keys_are_asked_for_together(redis_url: str, tmp_path: Path) -> None:
    names = [str(number) for number in range(32)]
    stored(machine(tmp_path / "a", redis_url), *names)
    other = machine(tmp_path / "b", redis_url)
    other.expect([digest(name) for name in names])
    assert all(found(other, name) for name in names)
    assert other.stats().tiers[0].requests == 2  # the records, and what they name


def test_one_request_decides_a_miss_and_it_is_remembered(url: str, tmp_path: Path) -> None:
    store = machine(tmp_path / "a", url)
    for _ in range(3):
        assert store.get(digest("absent")) is None
    assert store.stats().tiers[0].requests == 1
    assert store.why_not(digest("absent")) is None


def test_an_object_is_sent_once(url: str, tmp_path: Path) -> None:
    store = machine(tmp_path / "a", url)
    large = os.urandom(1 << 20)
    assert store.put(key_of("a"), {"kernel.so": large})
    assert store.flush(30)
    first = store.stats().tiers[0].bytes_sent
    assert store.put(key_of("b"), {"kernel.so": large, "small": b"1"})
    assert store.flush(30)
    assert first > 1 << 20
    assert store.stats().tiers[0].bytes_sent - first < 1 << 14


def test_modes(url: str, tmp_path: Path) -> None:
    reader = machine(tmp_path / "reader", f"{url}#mode=readonly")
    put(reader, "a", 1)
    assert reader.flush(30)
    writer = machine(tmp_path / "writer", f"{url}#mode=writeonly")
    assert not found(machine(tmp_path / "b", url), "a")
    stored(writer, "a")
    assert not found(machine(tmp_path / "writer2", f"{url}#mode=writeonly"), "a")
    assert found(machine(tmp_path / "c", url), "a")


def test_remotes_are_asked_in_order(url: str, tmp_path: Path) -> None:
    second = f"file://{tmp_path}/second"
    stored(machine(tmp_path / "a", second), "a")
    other = machine(tmp_path / "b", url, second)
    assert found(other, "a")
    assert [tier.hits for tier in other.stats().tiers] == [0, 1]


def test_a_web_server_is_read(tmp_path: Path, trusted: Path) -> None:
    stored(machine(tmp_path / "a", f"file://{tmp_path}/remote"), "a")
    with web_server(files_of_folder(tmp_path / "remote")) as url:
        other = machine(tmp_path / "b", url)
        assert found(other, "a")
        assert not found(other, "b")
        assert put(other, "b", 1)
        assert other.flush(30)
        assert other.stats().tiers[0].failures == 0
        with pytest.raises(CacheError, match="a web server is only read"):
            machine(tmp_path / "c", f"{url}#mode=readwrite")


def test_a_process_that_ends_sends_first(url: str, tmp_path: Path) -> None:
    if url.startswith("memory"):
        pytest.skip("the memory of another process cannot be seen")
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.cache.fleet import machine\n"
        "from tests.cache.proof import put\n"
        "assert put(machine(Path(sys.argv[1]), sys.argv[2]), 'a', 1)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a"), url], check=True)
    assert found(machine(tmp_path / "b", url), "a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_sends_what_it_stores(url: str, tmp_path: Path) -> None:
    if url.startswith("memory"):
        pytest.skip("the memory of another process cannot be seen")
    program = (
        "import os, sys; from pathlib import Path\n"
        "from tests.cache.fleet import machine\n"
        "from tests.cache.proof import put\n"
        "store = machine(Path(sys.argv[1]), sys.argv[2])\n"
        "for number in range(5):\n"
        "    put(store, f'parent {number}', 1)\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        put(store, f'child {number}', 1)\n"
        "        os._exit(0 if store.flush(20) else 1)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a"), url], check=True, timeout=120)
    other = machine(tmp_path / "b", url)
    assert all(found(other, f"{who} {number}") for who in ("parent", "child") for number in range(5))


def test_a_remote_that_refuses_connections_is_one_warning_and_then_left_alone(
    tmp_path: Path, trusted: Path
) -> None:
    pytest.importorskip("redis", reason="the extra [redis] is not installed: no redis-py")
    store = machine(tmp_path / "a", f"redis://127.0.0.1:{free_port()}")
    with pytest.warns(CacheWarning, match="Compiling goes on without it") as told:
        misses_all(store, "abc")
    assert all(put(store, name, 1) for name in "abc")
    assert store.flush(30)
    assert len(told) == 1
    figures = store.stats().tiers[0]
    assert (figures.requests, figures.failures) == (1, 1)
    assert figures.skipped >= 3
    assert store.get(digest("a")) is not None


def test_a_remote_that_does_not_answer_costs_its_limit_once(tmp_path: Path, trusted: Path) -> None:
    import socket

    pytest.importorskip("redis", reason="the extra [redis] is not installed: no redis-py")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}#connect=0.2&request=0.2"
        store = machine(tmp_path / "a", url)
        begin = time.monotonic()
        with pytest.warns(CacheWarning):
            misses_all(store, "abcdefgh")
        assert time.monotonic() - begin < 2


def test_a_program_waits_no_longer_than_a_start_may(tmp_path: Path, trusted: Path) -> None:
    import http.server

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(0.4)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with web_server(Slow) as url:
        store = machine(tmp_path / "a", f"{url}#start=1")
        begin = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            for name in range(20):
                assert store.get(digest(str(name))) is None
        assert time.monotonic() - begin < 2
        assert store.stats().tiers[0].skipped > 10


def test_a_remote_that_comes_back_is_used_again(
    tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redis", reason="the extra [redis] is not installed: no redis-py")
    from .fleet import REDIS

    if REDIS is None:
        pytest.skip("there is no redis-server here: apt-get install redis-server")
    monkeypatch.setattr("passprint.cache.remotes.breaker.REST_SECONDS", 0.2)
    port = free_port()
    store = machine(tmp_path / "a", f"redis://127.0.0.1:{port}")
    with pytest.warns(CacheWarning):
        assert store.get(digest("a")) is None
    with redis_server(tmp_path, port=port) as url:
        stored(machine(tmp_path / "b", url), "a")
        time.sleep(0.3)
        assert found(store, "a")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nosuch://host/path", "the scheme 'nosuch', which neither passprint nor fsspec knows"),
        ("file:///x#mode=sometimes", "Expected readwrite, readonly, writeonly"),
        ("file:///x#request=0", "Expected seconds, above 0"),
        ("file:///x#colour=red", "got the option 'colour'"),
        ("redis://", "Expected a URL such as s3://"),
    ],
)
def test_what_is_wrong_at_once_is_an_error_at_once(
    url: str, says: str, trusted: Path, tmp_path: Path
) -> None:
    with pytest.raises(CacheError, match=says):
        machine(tmp_path / "a", url)


def test_a_password_that_is_wrong_is_an_error_that_says_what_to_set(tmp_path: Path, redis_url: str) -> None:
    with redis_server(tmp_path, "--requirepass", "right") as url:
        store = machine(tmp_path / "a", url)
        with pytest.raises(CacheError, match="Set user and password in the URL"):
            store.get(digest("a"))
        with_password = url.replace("redis://", "redis://:right@")
        stored(machine(tmp_path / "b", with_password), "a")
        other = machine(tmp_path / "c", with_password)
        assert found(other, "a")
        assert "right" not in repr(other.stats())
        assert "right" not in repr(other)


def test_a_missing_extra_is_an_error_that_says_what_to_install(
    tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "gcsfs" else real(name, *more)
    )
    with pytest.raises(CacheError, match=r"pip install 'passprint\[gcs\]'"):
        machine(tmp_path / "a", "gs://bucket/prefix")


@pytest.mark.parametrize("how", ["variable", "own file", "project file", "argument"])
def test_where_a_remote_is_named(
    how: str, tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "folder"))
    monkeypatch.delenv("PASSPRINT_CACHE_REMOTE", raising=False)
    url = f"file://{tmp_path}/{how.replace(' ', '-')}"
    if how == "variable":
        monkeypatch.setenv("PASSPRINT_CACHE_REMOTE", url)
    elif how == "own file":
        (tmp_path / "passprint.toml").write_text(f'cache-remote = "{url}"\n')
    elif how == "project file":
        (tmp_path / "pyproject.toml").write_text(f'[tool.passprint]\ncache-remote = ["{url}"]\n')
    store = open_store(url if how == "argument" else None)
    assert isinstance(store, TieredStore)
    assert [tier.name for tier in store.stats().tiers] == [url]
    assert open_store(url if how == "argument" else None) is store
    if how != "argument":
        monkeypatch.setenv("PASSPRINT_CACHE_REMOTE", "")
        assert isinstance(open_store(None), LocalStore)
    assert not isinstance(open_store(False), TieredStore)


def test_a_file_that_others_can_write_names_no_remote(
    tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "folder"))
    monkeypatch.delenv("PASSPRINT_CACHE_REMOTE", raising=False)
    (tmp_path / "passprint.toml").write_text(f'cache-remote = "file://{tmp_path}/x"\n')
    (tmp_path / "passprint.toml").chmod(0o666)
    with pytest.warns(CacheWarning, match="chmod go-w"):
        assert isinstance(open_store(None), LocalStore)


def test_nothing_of_it_is_imported_without_a_remote(tmp_path: Path) -> None:
    program = (
        "import sys; from passprint.cache import open_store\n"
        "store = open_store(sys.argv[1]); store.get('0' * 64); store.expect(['0' * 64]); store.flush()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'fsspec', 'redis', 'cryptography', 'zstandard', 'tomllib', 's3fs'}, loaded\n"
        "inside = [name for name in sys.modules if name.startswith('passprint.cache.remotes')]\n"
        "assert inside == ['passprint.cache.remotes', 'passprint.cache.remotes.config'], inside\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PASSPRINT_CACHE_REMOTE"}
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cache")], check=True, env=environment, cwd=tmp_path
    )


def test_what_the_folder_has_asks_no_remote_and_loads_no_library(tmp_path: Path, trusted: Path) -> None:
    pytest.importorskip("redis", reason="the extra [redis] is not installed: no redis-py")
    put(LocalStore(tmp_path / "a"), "a", 1)
    program = (
        "import sys; from pathlib import Path\n"
        "from passprint.cache import LocalStore, TieredStore\n"
        "from passprint.cache.remotes.spec import RemoteSpec\n"
        "store = TieredStore(LocalStore(sys.argv[1]), [RemoteSpec.parse('redis://127.0.0.1:1')])\n"
        "assert store.get(sys.argv[2]) is not None\n"
        "assert not {'redis', 'cryptography', 'zstandard'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a"), digest("a")], check=True)
