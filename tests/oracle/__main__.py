"""``python -m tests.oracle --pairs N --seed S --jobs J --kinds attribute dict``: exit code 1 where something is wrong.

``--pair 12.3`` runs that pair (with those of its model before it) and tells all; ``--keep FOLDER`` keeps its files.
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
from tests.oracle.run import ENGINE, Model, Pair, Servers, model
from tests.oracle.tally import COLUMNS, Tally


def run(
    seed: str,
    pairs: int,
    jobs: int,
    wanted: list[str],
    folder: Path,
    *,
    engine: str = ENGINE,
    progress: bool = True,
    verbose: bool = False,
) -> Tally:
    """Models until there are enough pairs; ``engine`` is what compiles them."""
    tally = Tally(seed, wanted)
    numbers = iter(range(10**9))
    lock = threading.Lock()
    failures: queue.Queue[BaseException] = queue.Queue()
    since = time.monotonic()

    def work(job: int) -> None:
        try:
            servers = Servers(str(kernels), bare=engine != ENGINE)
            while True:
                with lock:
                    if len(tally.pairs) >= pairs or not failures.empty():
                        break
                    number = next(numbers)
                one = model(seed, number, wanted, folder, engine)
                found = one.run(servers)
                with lock:
                    tally.add(found)
                    if verbose:
                        print("\n".join(tally.failures(found, COLUMNS)), file=sys.stderr, flush=True)
                    if progress and number % 25 == 0:
                        spent = time.monotonic() - since
                        print(f"{len(tally.pairs)} pairs, {spent:.0f} s: {tally.in_short()}", file=sys.stderr)
                shutil.rmtree(one.folder, ignore_errors=True)
            servers.close()
        except BaseException as error:  # noqa: BLE001
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
    one = model(seed, int(number), wanted, folder)
    kernels = folder / "inductor"
    kernels.mkdir(parents=True, exist_ok=True)
    servers = Servers(str(kernels))
    upto = 0 if pair == "base" else int(pair)
    found = one.run(servers, upto)
    if pair != "base":
        _tell(one, upto)
    servers.close()
    return found


def _tell(one: Model, number: int) -> None:
    mutation = one.mutations[number]
    job = one.job(mutation)
    one.program.write(one.folder / "base", {})
    print(f"base:     {one.folder / 'base'}\nmutated:  {job.root}\n{mutation}\n{job}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=[], help="names, or how they start")
    parser.add_argument("--pair", help="one pair only, as 12.3")
    parser.add_argument("--keep", type=Path, help="a folder for the files, which stays")
    parser.add_argument("--verbose", action="store_true", help="tell at once of each pair that is not right")
    given = parser.parse_args()
    folder = (given.keep or Path(tempfile.mkdtemp(prefix="oracle-"))).resolve()
    try:
        if given.pair:
            found = replay(given.seed, given.pair, given.kinds, folder)
            for pair in found:
                print(pair.label, pair.verdict, pair.mutation.kind, pair.mutation.name, pair.told, sep=" | ")
            return int(found[-1].verdict != "right")
        tally = run(given.seed, given.pairs, given.jobs, given.kinds, folder, verbose=given.verbose)
        print(tally.text())
        return int(not tally.passes)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
