"""Where a cold compile's time goes: phases, against plain ``torch.compile``, for SmolLM2 and Llamas of 10 to 80 layers.

Each case is a process of its own with an empty Inductor cache and an empty store. The first model twice: on a machine
where nothing was ever compiled (an empty temporary folder: Inductor builds its precompiled header), and on one where
that header is there. ``PASSPRINT_COLD=smollm2,llama-10`` chooses models, ``PASSPRINT_COLD_HOW=passprint`` what is run.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import compile_bytecode
from benchmarks.forward import CALLS, forward_ms, prompts

REPEATS = 1
MODELS = ("smollm2", "llama-10", "llama-20", "llama-40", "llama-80")
HOWS = ("passprint", "every block traced", "plain torch.compile")
LENGTHS = (64, 1)


def measure(folder: str, how: str) -> dict[str, Any]:
    """In the child: the first call in seconds (and of processor time, with children), its phases, later calls."""
    import torch

    import passprint
    from passprint.demo.models import load

    model = load(folder)
    ids = prompts(LENGTHS)
    found: dict[str, Any] = {}
    with torch.no_grad(), tempfile.TemporaryDirectory() as cache:
        start, cpu = time.perf_counter(), _processor_seconds()
        if how == HOWS[2]:
            compiled: Any = torch.compile(model, fullgraph=True)
            torch._dynamo.mark_dynamic(ids[LENGTHS[0]], 1)
        else:
            compiled = passprint.compile(model, cache=cache, dynamic={"input_ids": (1,)})
            if how == HOWS[1]:
                compiled._compiled.repeats.refused = "the benchmark asks for it"
        compiled(input_ids=ids[LENGTHS[0]], use_cache=False)
        found["cold_s"] = time.perf_counter() - start
        found["cold_processor_s"] = _processor_seconds() - cpu
        if how != HOWS[2]:
            report = compiled.report
            found |= {"seconds": dict(report.seconds), "pieces": report.pieces, "status": report.status}
            found |= {"distinct": report.distinct_pieces, "lookup_ms": report.repeated_piece_ms}
            found["dispatch"] = dispatch(compiled._compiled._cold._backend.made)
        found["forward_ms"] = forward_ms(compiled, ids)
    return found


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def dispatch(made: Any) -> dict[str, float]:
    """Microseconds that calling one piece costs besides the piece: its outputs are played back instead of computed.

    ``choose``: microseconds a call for choosing among ``compile_sizes=[8]`` and ``ranges=[(9, 64), (65, 4096)]``.
    """

    from passprint.compiler.artifacts.stitched import choose

    pieces = [made.run.__globals__[f"piece{i}"] for i in range(len(made.rows[0]))]
    outputs = [_output_count(made, i) for i in range(len(pieces))]
    replay = made.stitched.assemble([lambda inputs, n=n: (None,) * n for n in outputs])
    arguments = [None] * replay.__code__.co_argcount
    each = _best(lambda: replay(*arguments)) / len(pieces)

    def nothing(n: int) -> None:
        return None

    chosen = choose(0, None, nothing, [(8, 8, nothing), (9, 64, nothing), (65, 4096, nothing)])
    return {"piece_us": each, "choose_us": _best(lambda: chosen(100)) - _best(lambda: nothing(100))}


def _output_count(made: Any, index: int) -> int:
    """How many values piece ``index`` returns, as the stitched code unpacks them."""
    import dis

    code = next(c for c in made.stitched.code.co_consts if hasattr(c, "co_code"))
    counts, current = {}, None
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("LOAD_GLOBAL") and str(instruction.argval).startswith("piece"):
            current = int(str(instruction.argval).removeprefix("piece"))
            counts[current] = 0
        elif instruction.opname == "UNPACK_SEQUENCE" and current is not None:
            counts[current] = int(instruction.arg or 0)
    return counts[index]


def _best(call: Any, times: int = 2000) -> float:
    """The best of many calls, in microseconds."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best * 1e6


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure each model each way ``repeats`` times, in turn; print medians, return all figures."""
    compile_bytecode()
    models = tuple(filter(None, os.environ.get("PASSPRINT_COLD", "").split(","))) or MODELS
    hows = tuple(filter(None, os.environ.get("PASSPRINT_COLD_HOW", "").split(","))) or HOWS
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folders = {model: _prepared(model, root) for model in models}
        for repeat in range(repeats):
            for model in models:
                for how in hows:
                    for header in (False, True) if model == models[0] and how != HOWS[1] else (True,):
                        figures = _child(folders[model], how, root, repeat, header)
                        found.setdefault(f"{model} | {how} | {header}", []).append(figures)
    _show(found)
    return {"cases": found, "lengths": LENGTHS, "calls": CALLS}


def _prepared(model: str, root: Path) -> str:
    from passprint.demo.models import ModelSource, find_model, prepare

    name, _, layers = model.partition("-")
    source = find_model(name) if name == "smollm2" else ModelSource(model, "random", layers=int(layers))
    return prepare(source, root / model, None).folder


def _child(folder: str, how: str, root: Path, repeat: int, header: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=root) as empty:
        kept = root / "with-header"
        kept.mkdir(exist_ok=True)
        places = {"TORCHINDUCTOR_CACHE_DIR": f"{empty}/inductor", "TMPDIR": str(kept) if header else empty}
        if header and not list(kept.rglob("*.gch")):
            _start(folder, HOWS[0], {**places, "TORCHINDUCTOR_CACHE_DIR": f"{empty}/first"})
        return _start(folder, how, places)


def _start(folder: str, how: str, places: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.cold", folder, how]
    done = subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _show(found: dict[str, list[dict[str, Any]]]) -> None:
    phases = ("trace", "compile", "build", "identity", "store")
    table = Table(
        "model", "how", "header", "cold s", "processor s", *phases, "lookup ms", "64 tok. ms", "1 tok. ms"
    )
    for case, runs in found.items():

        def middle(get: Any, runs: list[dict[str, Any]] = runs) -> str:
            values = [get(r) for r in runs]
            return "–" if None in values else f"{statistics.median(values):.2f}"

        table.add_row(
            *case.split(" | "),
            middle(lambda r: r["cold_s"]),
            middle(lambda r: r["cold_processor_s"]),
            *(middle(lambda r, p=p: r.get("seconds", {}).get(p)) for p in phases),
            middle(lambda r: r.get("lookup_ms")),
            *(middle(lambda r, n=n: r["forward_ms"][str(n)]) for n in LENGTHS),
        )
    Console(width=150).print(table)
    costs = [r["dispatch"] for runs in found.values() for r in runs if "dispatch" in r]
    if costs:
        piece, chosen = (min(c[name] for c in costs) for name in ("piece_us", "choose_us"))
        Console().print(f"calling a piece: {piece:.2f} µs; choosing a variant: {chosen:.2f} µs a call")


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
