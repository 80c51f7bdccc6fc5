"""Proof that the local store survives what can happen to it, with real processes.

``python -m tests.cache.proof`` runs all of it in full and prints the figures; the tests run small samples.
Each trial forks workers that store and read, and then looks at what is left: nothing wrong may ever be
loaded, nothing may crash, and what comes next must work. torch is not imported here, so forking is safe.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import filelock  # noqa: F401  (a child that has become another user may not be able to read it)

from passprint.cache import CacheWarning, Entry, LocalStore, files
from passprint.errors import CacheError
from passprint.identity import Fingerprint, compose

REPEAT = 150
_NOBODY = 65534


def key_of(name: str) -> Fingerprint:
    return compose("piece", {"name": name, "passes": ["first", "second"], "torch": "2.13.0"})


def files_of(name: str, variant: int) -> dict[str, bytes]:
    """Files that say whose they are: an entry that mixes two variants, or two keys, is seen."""
    line = f"{name}/{variant};".encode()
    return {
        "code.py": line * REPEAT,
        "kernel.so": line[::-1] * (3 * REPEAT),
        "header": b"shared by all\n" * 50,
    }


def is_right(entry: Entry, name: str) -> bool:
    variant = entry.meta["variant"]
    return dict(entry.files) == files_of(name, variant) and entry.key == key_of(name)


def put(store: LocalStore, name: str, variant: int) -> bool:
    return store.put(key_of(name), files_of(name, variant), {"variant": variant, "label": name})


def in_child(work: Callable[[], None]) -> int:
    """Fork a process that does ``work`` and exits with 0, or with 1 and a traceback; its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        warnings.simplefilter("error", CacheWarning)
        work()
        status = 0
    finally:  # whatever happened, the child must not go on as the parent
        if status:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def exit_status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kills(root: Path, count: int, seed: int) -> dict[str, object]:
    """``kill -9`` a process that stores, reads, imports and sweeps, at ``count`` random moments."""
    rng = random.Random(seed)
    names = [f"key {number}" for number in range(4)]
    found = wrong = 0
    exporting, archive = LocalStore(root.parent / "exporting"), root.parent / "archive"
    for name in names:
        put(exporting, name, 0)
    exporting.export_to(archive)

    def work(seed: int) -> None:
        own = random.Random(seed)
        store = LocalStore(root)
        while True:
            name = own.choice(names)
            put(store, name, own.randrange(10**6))
            entry = store.get(name_digest[name])
            if entry is not None and not is_right(entry, name):
                os._exit(3)
            chance = own.random()
            if chance < 0.1:
                store.gc()
            elif chance < 0.3:
                store.import_from(archive)

    name_digest = {name: key_of(name).digest for name in names}
    for number in range(count):
        if number % 4 == 0:
            LocalStore(root).clear()  # so that first stores are killed too
        worker_seed = rng.randrange(10**9)
        pid = in_child(lambda worker_seed=worker_seed: work(worker_seed))  # type: ignore[misc]
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(pid, signal.SIGKILL)
        wrong += exit_status(pid) != -signal.SIGKILL
        store = LocalStore(root)
        for name in names:
            entry = store.get(name_digest[name])
            if entry is not None:
                found += 1
                wrong += not is_right(entry, name)
                entry.close()
    store = LocalStore(root)
    damaged = len(store.verify().problems)
    torn = sum(1 for path in root.rglob(".tmp-*") if os.utime(path, (0, 0)) is None)
    heals = all(put(store, name, 1) for name in names)
    store.gc()
    left = sum(1 for _ in root.rglob(".tmp-*"))
    return {
        "kills": count,
        "entries read afterwards": found,
        "wrong or crashed": wrong,
        "damaged": damaged,
        "torn temporary files": torn,
        "of these left by gc": left,
        "orphans left by gc": store.verify().orphans,
        "stores afterwards": heals,
        "ok": not (wrong or damaged or left or store.verify().orphans) and heals,
    }


def writers(root: Path, count: int, same: bool, rounds: int, seed: int) -> dict[str, object]:
    """``count`` processes store and read at once, all the same key or each its own; one more sweeps."""
    gate_read, gate_write = os.pipe()

    def work(number: int) -> None:
        os.close(gate_write)
        os.read(gate_read, 1)  # all begin when the parent closes the gate
        own = random.Random(seed * 1000 + number)
        store = LocalStore(root)
        name = "one" if same else f"own {number}"
        for _ in range(rounds):
            if not put(store, name, own.randrange(10**6)):
                raise SystemExit("not stored")
            with store.get(key_of(name).digest) or missing() as entry:
                if not is_right(entry, name):
                    raise SystemExit("a wrong entry was loaded")
                if entry.path("kernel.so").read_bytes() != entry.files["kernel.so"]:
                    raise SystemExit("a path led to wrong bytes")

    def sweep() -> None:
        os.close(gate_write)
        os.read(gate_read, 1)
        store = LocalStore(root)
        for _ in range(rounds):
            store.gc()
            store.verify()

    def missing() -> Entry:
        raise SystemExit("the entry just stored was not found")

    started = [in_child(lambda number=number: work(number)) for number in range(count)]  # type: ignore[misc]
    started.append(in_child(sweep))
    os.close(gate_read)
    os.close(gate_write)
    failed = sum(exit_status(pid) != 0 for pid in started)
    store = LocalStore(root)
    stats, verified = store.stats(), store.verify()
    expected = count * rounds
    return {
        "writers": count,
        "keys": "the same" if same else "different",
        "failed": failed,
        "stores counted": stats.stores,
        "hits counted": stats.hits,
        "entries": stats.entries,
        "damaged": len(verified.problems),
        "ok": failed == 0
        and (stats.stores, stats.hits) == (expected, expected)
        and not verified.problems
        and stats.entries == (1 if same else count),
    }


def compile_once(root: Path, count: int) -> dict[str, object]:
    """``count`` processes that need the same thing: one compiles, the others wait and find it."""
    log = root.parent / "compiled"

    def work(number: int) -> None:
        store = LocalStore(root)
        with store.compiling(key_of("once").digest, timeout=60) as entry:
            if entry is None:
                with open(log, "a") as file:
                    file.write(f"{number}\n")
                time.sleep(0.2)
                put(store, "once", number)
            elif not is_right(entry, "once"):
                raise SystemExit("a wrong entry was loaded")

    failed = sum(
        exit_status(pid) != 0
        for pid in [in_child(lambda number=number: work(number)) for number in range(count)]  # type: ignore[misc]
    )
    compiled = len(log.read_text().split())
    return {"processes": count, "failed": failed, "compiled": compiled, "ok": failed == 0 and compiled == 1}


def flips(root: Path, step: int) -> dict[str, object]:
    """Flip one bit in each ``step`` bytes of every stored file in turn, read, and store again."""
    store = LocalStore(root)
    name = "flipped"
    put(store, name, 7)
    misses = harmless = wrong = unhealed = warned = 0
    stored = [
        path for room in ("entries", "objects") for path in sorted((root / room).rglob("*")) if path.is_file()
    ]
    total = 0
    for path in stored:
        whole = path.read_bytes()
        for place in range(0, len(whole), step):
            total += 1
            with open(path, "r+b") as file:
                file.seek(place)
                file.write(bytes([whole[place] ^ (1 << (place % 8))]))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", CacheWarning)
                entry = LocalStore(root).get(key_of(name).digest)
                warned += len(caught) > 0
            if entry is None:
                misses += 1
            else:
                harmless += 1
                wrong += dict(entry.files) != files_of(name, 7)
                entry.close()
            put(store, name, 7)
            healed = store.get(key_of(name).digest)
            unhealed += healed is None or not is_right(healed, name)
            if healed is not None:
                healed.close()
    return {
        "flips": total,
        "files": len(stored),
        "misses": misses,
        "hits that do not need the byte": harmless,
        "wrong": wrong,
        "warnings": warned,
        "not healed by the next store": unhealed,
        "ok": wrong == 0 and unhealed == 0 and misses > 0,
    }


def archives(root: Path, step: int) -> dict[str, object]:
    """Flip one bit in each ``step`` bytes of an exported file in turn, and cut it there: nothing may be imported."""
    store, other = LocalStore(root.parent / "exporting"), LocalStore(root)
    path = root.parent / "archive"
    put(store, "moved", 7)
    put(other, "kept", 1)
    store.export_to(path)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    whole, refused, accepted = path.read_bytes(), 0, 0
    for place in range(0, len(whole), step):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        for bad in (bytes(flipped), whole[:place]):
            path.write_bytes(bad)
            try:
                other.import_from(path)
            except CacheError:
                refused += 1
            else:
                accepted += 1
    after = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    path.write_bytes(whole)
    other.import_from(path)
    with other.get(key_of("moved").digest) or contextlib.nullcontext() as entry:
        moved = entry is not None and is_right(entry, "moved")
    return {
        "bytes": len(whole),
        "flipped or cut": refused + accepted,
        "refused": refused,
        "accepted": accepted,
        "cache unchanged": before == after,
        "the whole one is imported": moved,
        "ok": accepted == 0 and before == after and moved,
    }


def full_disk(root: Path, step: int) -> dict[str, object]:
    """A disk that is full after ``step`` bytes more each time: a warning, no entry, and nothing is left behind."""
    real = files.write_all
    total = sum(len(data) for data in files_of("a", 1).values()) + 4000 + 2 * step
    stored = refused = wrong = left_behind = silent = 0
    for room in range(0, total, step):
        left = room

        def until_full(fd: int, data: bytes) -> None:
            nonlocal left
            real(fd, data[:left])
            left -= len(data)
            if left < 0:
                left = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store = LocalStore(root)
        files.write_all = until_full
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", CacheWarning)
                done = put(store, "a", room)
        finally:
            files.write_all = real
        stored, refused, silent = (
            stored + done,
            refused + (not done),
            silent + (not done and len(caught) != 1),
        )
        entry = store.get(key_of("a").digest)
        wrong += (entry is not None) != done or (entry is not None and not is_right(entry, "a"))
        if entry is not None:
            entry.close()
        left_behind += sum(1 for _ in root.rglob(".tmp-*"))
        wrong += len(store.verify().problems)
        store.clear()
    return {
        "disks": stored + refused,
        "stored": stored,
        "refused": refused,
        "refused without one warning": silent,
        "wrong": wrong,
        "files left behind": left_behind,
        "ok": not (wrong or left_behind or silent) and stored > 0 and refused > 0,
    }


def read_only(root: Path, count: int) -> dict[str, object]:
    """Processes of a user who may only read: what is there is found, nothing is stored, nothing fails."""
    names = [f"key {number}" for number in range(8)]
    store = LocalStore(root)
    for name in names:
        put(store, name, 3)
    store.verify()  # imports what the other user may not be able to read, in a home that is closed to him
    os.chmod(root.parent, 0o755)
    owner = _NOBODY if os.geteuid() == 0 else os.geteuid()
    for path in [*root.rglob("*"), root]:
        os.chown(path, owner, -1)
        path.chmod(0o500 if path.is_dir() else 0o400)

    def work() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        mine = LocalStore(root)
        for name in names:
            with mine.compiling(key_of(name).digest, timeout=0) as entry:
                if entry is None or not is_right(entry, name):
                    raise SystemExit("what is there was not found")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CacheWarning)
            if put(mine, "new", 1) or mine.get(key_of("new").digest) is not None or len(caught) != 1:
                raise SystemExit("something was stored, or nothing was said")
        mine.bypass("a reason")
        mine.verify()

    failed = sum(exit_status(pid) != 0 for pid in [in_child(work) for _ in range(count)])
    for path in [root, *root.rglob("*")]:
        path.chmod(0o700)
    return {"processes": count, "entries read": count * len(names), "failed": failed, "ok": failed == 0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    choices = ["kills", "writers", "compile", "flips", "archives", "full disk", "read only"]
    parser.add_argument("--only", choices=choices)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20261122)
    given = parser.parse_args()
    trials: dict[str, Callable[[Path], dict[str, object]]] = {
        "kills": lambda root: kills(root, given.kills, given.seed),
        "writers": lambda root: writers(root, given.writers, True, given.rounds, given.seed),
        "writers, different keys": lambda root: writers(root, given.writers, False, given.rounds, given.seed),
        "compile once": lambda root: compile_once(root, given.writers),
        "flips": lambda root: flips(root, given.step),
        "archives": lambda root: archives(root, given.step),
        "full disk": lambda root: full_disk(root, 7 * given.step),
        "read only": lambda root: read_only(root, given.writers),
    }
    results = {}
    for name, trial in trials.items():
        if given.only is None or name.startswith(given.only):
            with tempfile.TemporaryDirectory() as folder:
                begun = time.perf_counter()
                results[name] = trial(Path(folder) / "cache")
                results[name]["seconds"] = round(time.perf_counter() - begun, 1)
            print(json.dumps({name: results[name]}), flush=True)
    return 0 if all(result["ok"] for result in results.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
