"""How long a start takes, cold and warm: passprint beside torch's ways, each start in a fresh process.

``python -m benchmarks start`` measures all of it (an hour on two cores). ``python -m benchmarks.start --models
smollm2 --peers plain passprint`` measures a part and prints it; ``--quick`` is the two smallest models. A peer that
fails says why, and the others go on. A peer's first start fills its own folders; "warm" is
the next process with them, "elsewhere" one with the artifact but an empty cache folder of Inductor (and, for passprint,
another cache folder filled by ``passprint cache import``, and no C++ compiler in reach). "forward" is the median of a
few calls in a process of its own, and other programs move it by a fifth: ``benchmarks/throughput.py`` compares calls
in turn in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import compile_bytecode

REPEATS = 1
MODELS = ("smollm2", "minilm", "resnet18", "llama10", "llama20", "llama40", "llama80", "qwen24", "gpt12")
PEERS = (
    "eager",
    "plain",
    "regional",
    "aot_compile",
    "caching_precompile",
    "precompile",
    "aoti",
    "aoti-nested",
    "passprint",
)
_KINDS = {
    "eager": ("warm",),
    "plain": ("cold", "warm"),
    "regional": ("cold", "warm"),
    "aot_compile": ("cold", "warm", "elsewhere"),
    "caching_precompile": ("cold", "warm"),
    "precompile": ("cold", "warm"),
    "aoti": ("cold", "warm"),
    "aoti-nested": ("cold", "warm"),
    "passprint": ("cold", "warm", "elsewhere"),
}
QUICK = ("llama10", "resnet18")
_TIMEOUT = 3600


def run(
    repeats: int = REPEATS, models: Iterable[str] = MODELS, peers: Iterable[str] = PEERS
) -> dict[str, Any]:
    """Measures, prints a table for each model, and returns every figure and what was expected of them."""
    compile_bytecode()
    console = Console(width=120)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        smollm2 = Path(folder) / "smollm2"
        for model in models:
            if model == "smollm2":
                _prepare(smollm2)
            found = figures[model] = {}
            for peer in peers:
                runs = [_peer(model, peer, smollm2, console) for _ in range(repeats)]
                found[peer] = {kind: _median([one[kind] for one in runs]) for kind in _KINDS[peer]}
            console.print(_table(model, found))
            for peer, kinds in found.items():
                for kind, one in kinds.items():
                    if "error" in one:
                        console.print(
                            f"{model}: {peer}, {kind} failed: {one['error']}", highlight=False, markup=False
                        )
    expected = expectations(figures)
    for entry in expected:
        word = "holds" if entry["holds"] else "FAILS"
        console.print(f"{word}: {entry['text']}: {entry['value']:.4g}", highlight=False)
    return {"models": figures, "expectations": expected}


def _prepare(folder: Path) -> None:
    """Saves SmolLM2 as a plain folder, in a process of its own."""
    folder.mkdir()
    code = (
        "import sys\nfrom pathlib import Path\nfrom passprint.demo import models\n"
        "models.prepare(models.find_model('smollm2'), Path(sys.argv[1]), None)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True)


def _peer(model: str, peer: str, smollm2: Path, console: Console) -> dict[str, Any]:
    """All starts of one peer, in folders of its own."""
    with tempfile.TemporaryDirectory(prefix=f"{peer}-") as name:
        place = Path(name)
        spec = {"model": model, "peer": peer, "folder": str(smollm2), "cache": str(place / "cache")}
        spec["artifact"] = str(place / ("artifact.pt2" if peer.startswith("aoti") else "artifact"))
        found = {}
        for kind in _KINDS[peer]:
            environment = {"TORCHINDUCTOR_CACHE_DIR": str(place / "inductor")}
            if peer == "caching_precompile":
                environment["TORCH_CACHING_PRECOMPILE"] = "1"
            if kind == "elsewhere":
                environment["TORCHINDUCTOR_CACHE_DIR"] = str(place / "empty")
                if peer == "passprint":
                    try:
                        spec["cache"] = _moved(place)
                    except RuntimeError as error:
                        found[kind] = {"error": str(error)}
                        continue
                    environment["PATH"] = str(place / "nothing")
            found[kind] = start_in_process(spec, environment)
            console.print(f"{model}: {peer}, {kind}: {_said(found[kind])}", highlight=False, markup=False)
    return found


def _moved(place: Path) -> str:
    """The cache, exported to a file and imported into a new folder; the old one is gone."""
    command = [sys.executable, "-c", "from passprint.cli import main; main()", "cache"]
    for arguments, folder in (("export", "cache"), ("import", "moved")):
        environment = {**os.environ, "PASSPRINT_CACHE_DIR": str(place / folder)}
        done = subprocess.run(
            [*command, arguments, str(place / "file")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"passprint cache {arguments} failed: {done.stderr[-2000:]}{done.stdout[-2000:]}"
            )
    shutil.rmtree(place / "cache")
    return str(place / "moved")


# Packages that pip installed have their compiled files; a checkout writes its own at the first import, unless told not.
_COMPILED_FILES = {"PYTHONDONTWRITEBYTECODE": ""}


def start_in_process(spec: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """One process; what it measured, or ``{"error": …}`` where it failed."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.start_child", json.dumps(spec)],
            env={**os.environ, **_COMPILED_FILES, **environment},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it had not started after {_TIMEOUT} s"}
    if done.returncode:
        return {"error": _reason(done.stderr) or f"exit status {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _reason(stderr: str) -> str:
    """The line of a traceback that says what went wrong: the last one that names an exception."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or [""])[-1][:300]


_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Unsupported|Interrupt)\b")


def _said(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"failed: {found['error'][:90]}"
    return f"{found['start']:.3f} s, forward {1e3 * found['forward']:.1f} ms, peak {found['peak MB']:.0f} MB"


def expectations(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals of issue 4 that these figures can tell, each with the value found and whether it holds."""
    found: list[dict[str, Any]] = []

    def expect(text: str, value: float | None, limit: float) -> None:
        if value is not None:
            entry = {
                "text": f"{text} (at most {limit:.4g})",
                "value": value,
                "limit": limit,
                "holds": value <= limit,
            }
            found.append(entry)

    def ratio(one: float | None, two: float | None) -> float | None:
        return None if one is None or not two else one / two

    smollm2 = figures.get("smollm2", {})
    for kind in ("warm", "elsewhere"):
        start = _value(smollm2, "passprint", kind, "to the first kernel")
        expect(f"SmolLM2, seconds from import torch to the first kernel ({kind})", start, 0.1)
        expect(
            f"SmolLM2, start ({kind}) against plain's warm",
            ratio(start, _value(smollm2, "plain", "warm", "start")),
            1 / 90,
        )
        peak, eager = (
            _value(smollm2, "passprint", kind, "peak MB"),
            _value(smollm2, "eager", "warm", "peak MB"),
        )
        if peak is not None and eager is not None:
            expect(f"SmolLM2, peak MB above eager's ({kind})", peak - eager, 100)
    cold, plain = (_value(smollm2, peer, "cold", "start") for peer in ("passprint", "plain"))
    expect("SmolLM2, cold against plain's", ratio(cold, plain), 0.2)
    deep = [_value(figures.get(name, {}), "passprint", "cold", "start") for name in ("llama80", "llama10")]
    expect("cold for 80 layers against 10", ratio(deep[0], deep[1]), 1.5)
    for name, model in figures.items():
        passprint, regional = (_value(model, peer, "cold", "start") for peer in ("passprint", "regional"))
        expect(f"{name}, cold against each block compiled by itself", ratio(passprint, regional), 1.0)
    return found


def _value(model: dict[str, Any], peer: str, kind: str, name: str) -> float | None:
    value = model.get(peer, {}).get(kind, {}).get(name)
    return None if value is None else float(value)


def _median(values: list[Any]) -> Any:
    """The median of equal structures: of each float its median, of anything else the first."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _median([value[key] for value in values if key in value]) for key in first}
    if isinstance(first, float):
        return statistics.median(value for value in values if isinstance(value, float))
    return first


def _table(model: str, found: dict[str, Any]) -> Table:
    title = f"{model}: seconds to start, without importing torch and one forward pass; times plain's; MB above eager's"
    table = Table(title=title)
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    eager = _value(found, "eager", "warm", "peak MB")
    for peer, kinds in found.items():
        for kind, figures in kinds.items():
            if "error" in figures:
                table.add_row(peer, kind, "failed", "", "", "", "", figures["error"][:60])
                continue
            phases = figures.get("phases", {})
            told = ", ".join(
                f"{name} {1e3 * s:.0f}" for name, s in phases.items() if s >= 5e-4 and name != "total"
            )
            own = [name for name in figures["imported"] if name not in figures["imported by the model"]]
            imported = "by the model" if figures["imported by the model"] else "yes" if own else "no"
            table.add_row(
                peer,
                kind,
                f"{figures['start']:.3f}",
                _times(
                    figures["start"], _value(found, "plain", "cold" if kind == "cold" else "warm", "start")
                ),
                f"{1e3 * figures['forward']:.1f}",
                f"{figures['peak MB']:.0f}" if eager is None else f"{figures['peak MB'] - eager:+.0f}",
                imported,
                f"{told} ms" if told else "",
            )
    return table


_HEADINGS = ("peer", "start", "seconds", "× plain", "forward ms", "MB", "compiler imported", "phases")


def _times(one: float, plain: float | None) -> str:
    """As a share of plain's."""
    if not plain:
        return ""
    if one <= 0:  # eager prepares nothing
        return "–"
    return f"{one / plain:.2f}" if one > plain / 20 else f"1/{plain / one:.0f}"


def main(arguments: list[str] | None = None) -> int:
    """Measures the models and peers that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=MODELS, help="smollm2, minilm, resnet18, llamaN, qwenN, gptN"
    )
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    parser.add_argument("--quick", action="store_true", help=f"only {' and '.join(QUICK)}")
    options = parser.parse_args(arguments)
    figures = run(options.repeats, QUICK if options.quick else options.models, options.peers)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
