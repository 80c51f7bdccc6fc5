"""``python -m tests.oracle --pairs N --seed S --jobs J --kinds attribute dict``: exit code 1 where something is wrong.

``--pair 12.3`` runs that pair only (with those of its model before it), tells all, and keeps its files with ``--keep FOLDER``.
"""

from __future__ import annotations

import argparse
import queue
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.oracle import kinds  # noqa: F401
from tests.oracle.run import Model, Pair, Servers, models
from tests.oracle.tally import Tally


def run(seed: str, pairs: int, jobs: int, wanted: list[str], folder: Path, progress: bool = True) -> Tally:
    """Models until there are enough pairs."""
    tally = Tally(seed, wanted)
    numbers = iter(range(10**9))
    lock = threading.Lock()
    failures: queue.Queue[BaseException] = queue.Queue()
    since = time.monotonic()

    def work(job: int) -> None:
        try:
            servers = Servers.start(str(kernels))
            while True:
                with lock:
                    if len(tally.pairs) >= pairs or not failures.empty():
                        break
                    number = next(numbers)
                (model,) = models(seed, wanted, folder, folder / "cache", range(number, number + 1))
                found = model.run(servers)
                with lock:
                    tally.add(found)
                    if progress and number % 25 == 0:
                        spent = time.monotonic() - since
                        print(f"{len(tally.pairs)} pairs, {spent:.0f} s: {tally.in_short()}", file=sys.stderr)
                shutil.rmtree(model.folder, ignore_errors=True)
            servers.close()
        except BaseException as error:
            failures.put(error)

    kernels = folder / "inductor"
    kernels.mkdir(parents=True, exist_ok=True)
    threads = [threading.Thread(target=work, args=(job,)) for job in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not failures.empty():
        raise failures.get()
    return tally


def replay(seed: str, label: str, wanted: list[str], folder: Path) -> list[Pair]:
    """The pairs of one model up to this one."""
    number, _, pair = label.partition(".")
    (model,) = models(seed, wanted, folder, folder / "cache", range(int(number), int(number) + 1))
    kernels = folder / "inductor"
    kernels.mkdir(parents=True, exist_ok=True)
    servers = Servers.start(str(kernels))
    upto = 0 if pair == "base" else int(pair)
    found = model.run(servers, upto)
    if pair != "base":
        _tell(model, upto)
    servers.close()
    return found


def _tell(model: Model, number: int) -> None:
    mutation = model.mutations[number]
    job = model.job(mutation)
    model.program.write(model.folder / "base", {})
    print(f"base:     {model.folder / 'base'}\nmutated:  {job.root}\n{mutation}\n{job}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=[], help="names, or how they start")
    parser.add_argument("--pair", help="one pair only, as 12.3")
    parser.add_argument("--keep", type=Path, help="a folder for the files, which stays")
    parser.add_argument("--verbose", action="store_true", help="show each pair that is not right")
    given = parser.parse_args()
    folder = (given.keep or Path(tempfile.mkdtemp(prefix="oracle-"))).resolve()
    try:
        if given.pair:
            found = replay(given.seed, given.pair, given.kinds, folder)
            for pair in found:
                print(pair.label, pair.verdict, pair.mutation.kind, pair.mutation.name, pair.told, sep=" | ")
            return int(found[-1].verdict != "right")
        tally = run(given.seed, given.pairs, given.jobs, given.kinds, folder)
        print(tally.text(everything=given.verbose))
        return int(not tally.passes)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
