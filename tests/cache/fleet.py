"""Parts of a fleet for tests: keys, machines as folders, and real servers on loopback."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from passprint.cache import LocalStore, TieredStore
from passprint.cache.remotes.spec import RemoteSpec
from passprint.cache.trust import TrustedKeys, new_key

from .proof import key_of, put

REDIS = shutil.which("redis-server")


def machine(folder: Path, *urls: str) -> TieredStore:
    """A machine: a folder of its own, with these remotes behind it."""
    return TieredStore(LocalStore(folder), [RemoteSpec.parse(url) for url in urls])


def stored(store: TieredStore, *names: str) -> None:
    """Entries of these names, stored and sent."""
    for name in names:
        assert put(store, name, 1)
    assert store.flush(30)


def misses_all(store: TieredStore, names: str) -> None:
    """Each of these one-letter names is a miss."""
    for name in names:
        assert store.get(digest(name)) is None


def digest(name: str) -> str:
    return key_of(name).digest


def make_trusted_key(folder: Path, name: str = "ci") -> Path:
    """A private key in a file of ``folder``; the file of trusted keys takes it."""
    key = new_key(name, folder / f"{name}.key")
    TrustedKeys().add(key.public.line())
    return folder / f"{name}.key"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def redis_server(folder: Path, *options: str, port: int | None = None) -> Iterator[str]:
    """A real Redis server that ends with the block; its URL."""
    assert REDIS is not None
    port = port or free_port()
    command = [
        REDIS,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def web_server(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web server on loopback that ends with the block; its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def files_of_folder(folder: Path) -> type[http.server.BaseHTTPRequestHandler]:
    """What serves the files of a folder."""
    return functools.partial(_Quiet, directory=str(folder))  # type: ignore[return-value]
