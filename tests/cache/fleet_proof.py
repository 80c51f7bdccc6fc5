"""A shared cache under faults: a proxy that cuts, delays, garbles and drips at each request, and killed writers.

``python -m tests.cache.fleet_proof`` runs all of it and prints the figures; the tests run small samples.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from . import fleet
from .proof import is_right, put

FAULTS = ("cut", "silence", "garble", "drip", "delay")
LIMITS = "#connect=0.3&request=0.3&start=1"
SLOWEST = 4.0
"""Seconds that no start may take: one second of look-ups, a failed flush, and a machine that does other things."""


@contextlib.contextmanager
def proxy(target: int, fault: str, at: int) -> Iterator[int]:
    """A port that leads to the port ``target``, and does ``fault`` to the reply of the request number ``at``."""
    counted = 0
    lock = threading.Lock()
    stop = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket, server: socket.socket, state: dict[str, bool]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if not state.get("faulty"):
                    client.sendall(data)
                elif fault == "cut":
                    client.sendall(data[: len(data) // 2])
                    client.shutdown(socket.SHUT_RDWR)
                    return
                elif fault == "silence":
                    stop.wait()
                    return
                elif fault == "garble":
                    chosen = random.Random(at)
                    client.sendall(bytes(b ^ (chosen.random() < 0.05) * chosen.randrange(256) for b in data))
                elif fault == "drip":
                    for position in range(len(data)):
                        client.sendall(data[position : position + 1])
                        if stop.wait(0.02):
                            return
                else:
                    stop.wait(0.2)
                    client.sendall(data)

    def ask(client: socket.socket) -> None:
        nonlocal counted
        state: dict[str, bool] = {}
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", target)) as server:
            threading.Thread(target=answer, args=(client, server, state), daemon=True).start()
            while data := client.recv(1 << 16):
                with lock:
                    state["faulty"] = counted == at or state.get("faulty", False)
                    counted += 1
                server.sendall(data)
        client.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=ask, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        stop.set()
        listening.close()


def start(folder: Path, url: str, names: list[str], new: str) -> tuple[float, int, int]:
    """A start: asks for entries, stores what it lacks. Its seconds, how many were found, and how many were wrong."""
    begin, right, wrong = time.monotonic(), 0, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = fleet.machine(folder, url)
        store.expect([fleet.digest(name) for name in names])
        for name in [*names, new]:
            with store.compiling(fleet.digest(name), timeout=0) as entry:
                entry = entry or store.get(fleet.digest(name))
                if entry is None:
                    put(store, name, 1)
                    continue
                with entry:
                    right, wrong = right + is_right(entry, name), wrong + (not is_right(entry, name))
        store.flush(1)
    return time.monotonic() - begin, right, wrong


def prove_faults(folder: Path, requests: int) -> Counter[str]:
    """Each fault at each of the first ``requests`` requests of a start."""
    figures: Counter[str] = Counter()
    names = ["x", "y", "z"]
    with fleet.redis_server(folder) as url:
        fleet.stored(fleet.machine(folder / "writer", url), *names)
        port = int(url.rpartition(":")[2].partition("/")[0])
        for fault in FAULTS:
            for at in range(requests):
                with proxy(port, fault, at) as through:
                    place, new = folder / f"{fault}-{at}", f"{fault} {at}"
                    seconds, right, wrong = start(place, f"redis://127.0.0.1:{through}/0{LIMITS}", names, new)
                figures.update(starts=1, found=right, wrong=wrong, slow=seconds > SLOWEST)
                figures["slowest_ms"] = max(figures["slowest_ms"], int(seconds * 1000))
        unharmed = fleet.machine(folder / "reader", url)
        for name in names:
            entry = unharmed.get(fleet.digest(name))
            figures["wrong"] += entry is None or not is_right(entry, name)
    return figures


_WRITER = """
import sys
from pathlib import Path
from tests.cache.fleet import digest, machine
from tests.cache.proof import put

store = machine(Path(sys.argv[1]), sys.argv[2])
for number in range(int(sys.argv[3]), 10**9):
    with store.compiling(digest(str(number)), timeout=0):
        put(store, str(number), 1)
    if store.flush(30) and not store.stats().tiers[0].failures:
        print(number, flush=True)
"""


def prove_kills(folder: Path, url: str, kills: int) -> Counter[str]:
    """Writers killed at random moments, also while they hold leases: what they acknowledged is there, all is right."""
    figures: Counter[str] = Counter(kills=kills)
    acknowledged: set[str] = set()
    last = 0
    for kill in range(kills):
        command = [sys.executable, "-c", _WRITER, str(folder / f"writer{kill % 4}"), url, str(last)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = [process.stdout.readline()]
        time.sleep(random.random() * 0.1)
        process.kill()
        said += process.stdout.read().splitlines()
        process.wait()
        acknowledged.update(line.strip() for line in said if line.endswith("\n") or line.strip().isdigit())
        last += len(said) + 2
    reader = fleet.machine(folder / "reader", url)
    for number in range(last):
        entry = reader.get(fleet.digest(str(number)))
        figures["lost"] += entry is None and str(number) in acknowledged
        figures["found"] += entry is not None
        figures["wrong"] += entry is not None and not is_right(entry, str(number))
    figures["acknowledged"] = len(acknowledged)
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["PASSPRINT_TRUSTED_KEYS"] = str(folder / "trusted-keys")
        os.environ["PASSPRINT_PRIVATE_KEY"] = str(fleet.make_trusted_key(folder))
        faults = prove_faults(folder, 30)
        print("each fault at each request of a start:", dict(faults), flush=True)
        with fleet.redis_server(folder) as url:
            redis = prove_kills(folder / "redis", url, 200)
        print("writers of Redis killed:", dict(redis), flush=True)
        shared = prove_kills(folder / "files", f"file://{folder}/remote", 200)
        print("writers of a shared folder killed:", dict(shared), flush=True)
        bad = [figures[name] for figures in (faults, redis, shared) for name in ("wrong", "lost", "slow")]
        sys.exit(1 if any(bad) else 0)


if __name__ == "__main__":
    main()
