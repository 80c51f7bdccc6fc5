"""Runs the models of ``benchmarks/zoo.py``: reads jobs as lines of JSON, forks a process for each, prints the result.

torch and transformers are imported before the fork, passprint after it. Cold and warm jobs have a server each, with
other seeds for ``hash``, so nothing but the cache folder passes from one to the other.
"""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch._inductor.compile_fx
from transformers import CONFIG_MAPPING, AutoModel

from benchmarks.zoo_models import Arguments, Built, Choice, build, choose

CLOSE = 1e-3  # of the largest value of a tensor, or absolutely where that is less than 1
_CALLS = 5

Job = dict[str, Any]


def eager(job: Job) -> dict[str, Any]:
    """Which guess runs, how long a call takes, and whether results depend on the seed."""
    choice, built = choose(job["name"])
    first, other = (_results(built.model, built.calls[:1], seed) for seed in (0, 1))
    again = _results(built.model, built.calls[:1], 0)
    began = time.perf_counter()
    _results(built.model, built.calls[:1] * _CALLS)
    return {
        "size": choice.size,
        "inputs": choice.inputs,
        "family": built.family,
        "class": type(built.model).__name__,
        "arguments": list(built.calls[0]),
        "parameters": sum(one.numel() for one in built.model.parameters()),
        "tensors": len(first[0]),
        "random": not _same(first, other),
        "repeatable": _same(first, again),
        "seconds": (time.perf_counter() - began) / _CALLS,
    }


def passprint_(job: Job) -> dict[str, Any]:
    """One start with passprint."""
    import passprint

    options = {"fallback_random": True} if job["random"] else None
    return _start(job, lambda model: passprint.compile(model, cache=job["cache"], options=options))


def plain(job: Job) -> dict[str, Any]:
    """One start with plain ``torch.compile``."""
    options = {"fallback_random": True} if job["random"] else None
    return _start(job, lambda model: torch.compile(model, options=options))


def _start(job: Job, compiler: Callable[[Any], Any]) -> dict[str, Any]:
    """Compile, call twice with the first arguments and once with the others, and compare each with eager."""
    choice = Choice(job["size"], job["inputs"])
    built, original = build(job["name"], choice), build(job["name"], choice)
    order = [0, 0, 1]
    expected = _results(original.model, [original.calls[i] for i in order])
    compiled = compiler(built.model)
    found: dict[str, Any] = {}
    began = time.perf_counter()
    differences: list[float | str] = []
    for i, one in zip(order, expected, strict=True):
        (result,) = _results(compiled, [built.calls[i]])
        found.setdefault("seconds", time.perf_counter() - began)
        differences.append(_difference(one, result))
    found["differences"] = differences
    found["right"] = all(isinstance(one, float) and one <= CLOSE for one in differences)
    found["call"] = _median_call(compiled, built)
    report = getattr(compiled, "report", None)
    if report is not None:
        found |= {
            "status": report.status,
            "traced": report.traced,
            "loaded": report.loaded,
            "pieces": report.pieces,
            "distinct": report.distinct_pieces,
            "why": report.why,
            "notes": list(report.notes)[:8],
            "breaks": [str(one) for one in report.graph_breaks][:8],
            "phases": {name: round(seconds, 3) for name, seconds in report.seconds.items()},
        }
    return found


def _median_call(compiled: Any, built: Built) -> float:
    times = []
    with torch.no_grad():
        for _ in range(_CALLS):
            began = time.perf_counter()
            compiled(**built.calls[0])
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _results(model: Any, calls: list[Arguments], seed: int = 0) -> list[list[torch.Tensor]]:
    """The tensors that each call gives."""
    found = []
    for call in calls:
        torch.manual_seed(seed)
        with torch.no_grad():
            found.append([one.clone() for one in tensors_of(model(**call))])
    return found


def tensors_of(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """All tensors in an output, in order: in containers, in dataclasses, in caches of keys and values."""
    if isinstance(value, torch.Tensor):
        yield value.detach()
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_of(one, depth + 1)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_of(one, depth + 1)
    elif depth < 8 and hasattr(value, "__dict__") and not isinstance(value, type | torch.nn.Module):
        yield from tensors_of(vars(value), depth + 1)


def _same(one: list[list[torch.Tensor]], two: list[list[torch.Tensor]]) -> bool:
    return all(_difference(a, b) == 0 for a, b in zip(one, two, strict=True))


def _difference(expected: list[torch.Tensor], found: list[torch.Tensor]) -> float | str:
    """The largest difference, as a share of the largest value where that is above 1, or what differs otherwise."""
    if len(expected) != len(found):
        return f"{len(found)} tensors, not {len(expected)}"
    largest = 0.0
    for one, two in zip(expected, found, strict=True):
        if one.shape != two.shape or one.dtype != two.dtype:
            return f"{two.dtype} {tuple(two.shape)}, not {one.dtype} {tuple(one.shape)}"
        if not one.numel():
            continue
        one, two = (t.to(torch.complex128 if t.is_complex() else torch.float64) for t in (one, two))
        if not torch.equal(one.isfinite(), two.isfinite()):
            return "other values are infinite or no numbers"
        finite = one.isfinite()
        apart, size = (one - two)[finite].abs(), one[finite].abs()
        if apart.numel():
            largest = max(largest, float(apart.max()) / max(1.0, float(size.max())))
    return largest


KINDS = {"eager": eager, "passprint": passprint_, "plain": plain}


def main() -> None:
    """Serve jobs until the input ends."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    torch._inductor.cpu_vec_isa.pick_vec_isa()
    AutoModel.from_config(
        CONFIG_MAPPING["bert"](num_hidden_layers=1, hidden_size=24)
    )  # what all models import
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), file=answers, flush=True)


def _forked(job: Job) -> dict[str, Any]:
    """One job in a process of its own, killed when its time is up."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        os.close(reading)
        os.write(writing, json.dumps(_done(job)).encode())
        os._exit(0)
    os.close(writing)
    answer = _read(reading, job["seconds"])
    if answer is None:
        os.killpg(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if answer is None:
        return {"error": f"no answer after {job['seconds']} s"}
    if not answer:
        return {
            "error": f"the process died of signal {status & 127}" if status & 127 else "the process ended"
        }
    found: dict[str, Any] = json.loads(answer)
    return found


def _read(file: int, seconds: float) -> bytes | None:
    """All that comes, or None when the time is up."""
    end, answer = time.monotonic() + seconds, b""
    try:
        while True:
            ready, _, _ = select.select([file], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            part = os.read(file, 1 << 16)
            if not part:
                return answer
            answer += part
    finally:
        os.close(file)


def _done(job: Job) -> dict[str, Any]:
    """What the job finds; an error as text."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = job["inductor"]
    Path(job["inductor"]).mkdir(parents=True, exist_ok=True)
    try:
        return KINDS[job["kind"]](job)
    except BaseException as error:  # noqa: BLE001  whatever a model does is a result
        traceback.print_exc()
        frames = [
            f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)
        ]
        return {"error": f"{type(error).__name__}: {error}"[:600], "at": frames[-6:]}


if __name__ == "__main__":
    main()
