"""Every model of transformers that can be built small, and others: cold in one process, warm in the next.

``python -m benchmarks.zoo`` runs all (hours on two cores) and goes on where it was stopped: each model is a line of
JSON in ``--out``. ``--models bert "own*"`` or ``--family audio --limit 20`` runs a part, ``--again`` also what has a
line, ``--kind error`` what had that result. Where a result of passprint's is wrong or an error, plain ``torch.compile``
runs as well; with ``--torch`` everywhere. ``--write-docs`` writes ``docs/zoo.md`` from the lines.

Models come in an order by the digest of their name, so that a part is a fair sample.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.zoo_docs import kind_of, write

OUT = Path(__file__).parent / "out" / "zoo.jsonl"
DOCS = Path(__file__).parents[1] / "docs" / "zoo.md"
_SECONDS = {"eager": 25, "passprint": 240, "plain": 240}

Figures = dict[str, Any]


class Server:
    """A process of ``benchmarks.zoo_child``; ``ask`` gives one job's answer."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._process: subprocess.Popen[str] | None = None

    def ask(self, job: dict[str, Any]) -> Figures:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.zoo_child"],
                env={**os.environ, "PYTHONHASHSEED": str(self._seed)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        found: Figures = json.loads(line) if line else {"error": "the server ended"}
        return found

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Zoo:
    """Runs models, each in its own folder."""

    def __init__(self, place: Path, plain_everywhere: bool) -> None:
        self._place = place
        self._plain_everywhere = plain_everywhere
        self._cold, self._warm = Server(1), Server(2)

    def run(self, name: str) -> Figures:
        """One model: eager, cold, warm, and plain where that is wanted."""
        folder = self._place / "models" / name.replace(" ", "-").replace("/", "-")
        job: dict[str, Any] = {"name": name, "cache": str(folder / "cache")}
        found: Figures = {"model": name, "eager": self._ask(self._cold, job, "eager", folder)}
        if "error" not in found["eager"]:
            job |= {key: found["eager"][key] for key in ("size", "inputs", "random")}
            found["cold"] = self._ask(self._cold, job, "passprint", folder)
            found["warm"] = self._ask(self._warm, job, "passprint", folder)
            if self._plain_everywhere or not all(found[one].get("right") for one in ("cold", "warm")):
                found["plain"] = self._ask(self._cold, job, "plain", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return found

    def _ask(self, server: Server, job: dict[str, Any], kind: str, folder: Path) -> Figures:
        folder.mkdir(parents=True, exist_ok=True)
        # the precompiled header lies there, too; a warm start has an empty one
        inductor = folder if server is self._warm else self._place
        more = {"kind": kind, "seconds": _SECONDS[kind], "log": str(folder / "log")}
        return server.ask({**job, **more, "inductor": str(inductor / f"inductor-{kind}")})

    def close(self) -> None:
        for server in (self._cold, self._warm):
            server.close()


def lines(file: Path) -> dict[str, Figures]:
    """By model, what is written; the last line of a model counts."""
    if not file.exists():
        return {}
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {one["model"]: one for one in found}


def in_order(names: Iterable[str]) -> list[str]:
    """By digest, the models that are no type of transformers' first."""
    return sorted(names, key=lambda name: (" " not in name, hashlib.sha256(name.encode()).digest()))


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; the exit status is 1 where a result is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["*"], help="names or patterns")
    parser.add_argument("--family", choices=("text", "vision", "audio", "other"))
    parser.add_argument("--limit", type=int, help="at most so many more models")
    parser.add_argument("--torch", action="store_true", help="plain torch.compile for every model")
    parser.add_argument("--again", action="store_true", help="also models that have a line")
    parser.add_argument("--kind", help="only models whose line is of such a kind (wrong, error, traced, …)")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--write-docs", action="store_true", help="write docs/zoo.md and run nothing")
    options = parser.parse_args(arguments)
    known = lines(options.out)
    if options.write_docs:
        write(DOCS, list(known.values()))
        return 0
    from benchmarks.zoo_models import names

    wanted = [n for n in in_order(names()) if any(fnmatch.fnmatchcase(n, one) for one in options.models)]
    if options.kind:
        wanted = [n for n in wanted if n in known and kind_of(known[n]) == options.kind]
    elif not options.again:
        wanted = [n for n in wanted if n not in known]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    ran = 0
    with tempfile.TemporaryDirectory(prefix="zoo-") as place:
        zoo = Zoo(Path(place), options.torch)
        try:
            for name in wanted:
                if options.limit is not None and ran >= options.limit:
                    break
                found = zoo.run(name)
                if options.family and found["eager"].get("family") != options.family:
                    continue
                ran += 1
                known[name] = found
                with options.out.open("a", encoding="utf-8") as out:
                    print(json.dumps(found), file=out)
                print(f"{kind_of(found):8} {name}: {_said(found)}", flush=True)
        finally:
            zoo.close()
    return int(any(kind_of(one) in ("wrong", "error") for one in known.values()))


def _said(found: Figures) -> str:
    if "error" in found["eager"]:
        return str(found["eager"]["error"][:150])
    parts = []
    for kind in ("cold", "warm", "plain"):
        if kind in found:
            one = found[kind]
            text = one.get("error") or f"{one['seconds']:.2f} s, {one['differences']}"
            parts.append(f"{kind} {text[:200]}")
    return "; ".join([*parts, str(found["warm"].get("why") or "")[:200]])


if __name__ == "__main__":
    sys.exit(main())
