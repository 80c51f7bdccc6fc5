"""What it costs to ask passes who they are: the claim that passprint starts from, measured again.

Four ways to identify a pass, side by side: its source hashed each time, the same behind ``functools.cache``,
passprint's ``hash_source``, and passprint's own ``uuid()`` (which covers helpers, bases, globals and field values,
and checks at each call that none has changed). First one call, then a manager of ten passes, then what that
means for one lookup in Inductor's cache and for a cold compile.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import statistics
import time
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.utils import fresh_cache

from passprint.passes import InductorPass
from passprint.passes.library import ALL
from passprint.passes.sources import SourceMemo, hash_dict, hash_source, make_hash_source
from passprint.pipeline import PassManager

OUT = Path(__file__).parent / "out" / "uuid.json"
PASSES = 10
REPEATS = 5
RUN_SECONDS = 0.002


class OrdinaryPass(CustomGraphPass):
    """A pass that is no dataclass, as they are written today."""

    def __call__(self, graph: torch.fx.Graph) -> None:
        return None

    def uuid(self) -> str:
        return "none"


class TenthPass(InductorPass):
    """With the library's it makes ten."""

    step: int = 0

    def __call__(self, graph: torch.fx.Graph) -> None:
        return None


def helper(graph: torch.fx.Graph) -> int:
    """A function to hash beside a pass."""
    return len(graph.nodes)


def unmemoised(*srcs: Any) -> str:
    """The sources read and hashed each time."""
    hasher = hashlib.sha256()
    for src in srcs:
        if not isinstance(src, str):
            owner = src if isinstance(src, types.FunctionType | type) else type(src)
            src = inspect.getsource(owner)
        hasher.update(src.encode("utf-8"))
    return hasher.hexdigest()


@dataclass
class SourceManager(CustomGraphPass):
    """A manager that identifies itself by the sources of its passes."""

    passes: Sequence[CustomGraphPass]
    hash_one: Callable[..., str]

    def __call__(self, graph: torch.fx.Graph) -> None:
        for pass_ in self.passes:
            pass_(graph)

    def uuid(self) -> str:
        return hash_dict({"passes": [self.hash_one(pass_) for pass_ in self.passes], "range": "(1, 512)"})

    def __deepcopy__(self, memo: dict[int, Any]) -> SourceManager:
        return self


def ten_passes() -> list[InductorPass]:
    """The library's passes, filled up to ten."""
    library: list[InductorPass] = [kind() for kind in ALL][:PASSES]
    return [*library, *(TenthPass(step) for step in range(PASSES - len(library)))]


def nanoseconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Nanoseconds of each call: the fastest of many short runs, in turn, so that all meet the same noise."""
    numbers: dict[str, int] = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        numbers[name] = max(1, int(RUN_SECONDS / max(time.perf_counter() - start, 1e-6)))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(numbers[name]):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / numbers[name])
    return {name: seconds * 1e9 for name, seconds in best.items()}


def measure_calls(repeats: int) -> dict[str, dict[str, float]]:
    """Nanoseconds of one call, by the kind of arguments."""
    ordinary, frozen = OrdinaryPass(), TenthPass()
    arguments: dict[str, tuple[Any, ...]] = {
        "a class": (OrdinaryPass,),
        "a function": (helper,),
        "an instance": (ordinary,),
        "a frozen pass": (frozen,),
        "a text": ("some text of a pass",),
        "an instance and a function": (ordinary, helper),
        "a frozen pass and a function": (frozen, helper),
        "a text, a function and a class": ("text", helper, OrdinaryPass),
    }
    cached = functools.cache(unmemoised)
    ways: dict[str, Callable[..., str]] = {
        "unmemoised": unmemoised,
        "functools.cache": cached,
        "hash_source": hash_source,
    }
    found: dict[str, dict[str, float]] = {}
    for label, srcs in arguments.items():
        digests = {way(*srcs) for way in ways.values()}
        if len(digests) != 1:
            raise AssertionError(f"the digests of {label} differ: {digests}")
        found[label] = nanoseconds({name: bound_call(way, srcs) for name, way in ways.items()}, repeats * 20)
    return found


def bound_call(way: Callable[..., str], srcs: tuple[Any, ...]) -> Callable[[], object]:
    """A call without arguments; the arguments stand in it as plain names, as they would at a call site."""
    names = [f"a{index}" for index in range(len(srcs))]
    scope: dict[str, Any] = {"way": way, **dict(zip(names, srcs, strict=True))}
    maker = f"def make(way, {', '.join(names)}):\n    return lambda: way({', '.join(names)})"
    exec(maker, scope)
    call: Callable[[], object] = scope["make"](way, *srcs)
    return call


def managers() -> dict[str, CustomGraphPass]:
    """The ten passes under each way of identifying them, each with an empty memo where it has its own."""
    return {
        "passprint uuid()": PassManager(ten_passes()),
        "unmemoised": SourceManager(ten_passes(), unmemoised),
        "functools.cache": SourceManager(ten_passes(), functools.cache(unmemoised)),
        "hash_source": SourceManager(ten_passes(), make_hash_source(SourceMemo())),
    }


class Asked:
    """Counts how often a manager is asked for its uuid, and how long the answers take."""

    def __init__(self, manager: CustomGraphPass) -> None:
        self.calls = 0
        self.seconds = 0.0
        self._ask = manager.uuid
        manager.uuid = self.uuid  # type: ignore[method-assign]

    def uuid(self) -> Any:
        start = time.perf_counter()
        answer = self._ask()
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return answer


def piece(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """About as much as one block of a model."""
    for _ in range(4):
        x = torch.nn.functional.silu(x @ weight) * x
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return x


def compile_piece(manager: CustomGraphPass) -> float:
    """Seconds to trace and compile the piece, or to find it in Inductor's cache."""
    torch._dynamo.reset()
    arguments = torch.randn(8, 32), torch.randn(32, 32)
    start = time.perf_counter()
    torch.compile(piece, options={"post_grad_custom_post_pass": manager})(*arguments)
    return time.perf_counter() - start


def measure_lookups(repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of a cold compile and of a warm one, and what of it goes into identity."""
    with fresh_cache():
        compile_piece(PassManager([]))  # what the first compile imports and probes is part of none
    found: dict[str, dict[str, float]] = {}
    for name, manager in managers().items():
        with fresh_cache():
            asked = Asked(manager)
            cold = compile_piece(manager)
            cold_calls, cold_identity = asked.calls, asked.seconds
            warm: list[float] = []
            identity: list[float] = []
            for _ in range(repeats):
                asked.calls, asked.seconds = 0, 0.0
                warm.append(compile_piece(manager))
                identity.append(asked.seconds)
        found[name] = {
            "cold_s": cold,
            "cold_uuid_calls": cold_calls,
            "cold_identity_s": cold_identity,
            "cold_identity_share": cold_identity / cold,
            "warm_s": statistics.median(warm),
            "warm_uuid_calls": asked.calls,
            "warm_identity_s": statistics.median(identity),
        }
    return found


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure everything, print three tables, and return the figures."""
    lookups = measure_lookups(repeats)  # first, while nothing has been asked for an identity yet
    calls = measure_calls(repeats)
    uuids = nanoseconds({name: manager.uuid for name, manager in managers().items()}, repeats * 20)
    console = Console()
    console.print(_calls_table(calls))
    console.print(_manager_table(uuids, lookups))
    return {"call_ns": calls, "manager_uuid_ns": uuids, "lookup": lookups, "passes": PASSES}


def _calls_table(calls: dict[str, dict[str, float]]) -> Table:
    table = Table(title="one call, nanoseconds")
    table.add_column("arguments")
    for name in next(iter(calls.values())):
        table.add_column(name, justify="right")
    for label, row in calls.items():
        table.add_row(label, *(f"{value:,.0f}" for value in row.values()))
    return table


def _manager_table(uuids: dict[str, float], lookups: dict[str, dict[str, float]]) -> Table:
    table = Table(title=f"a manager of {PASSES} passes")
    table.add_column("identified by")
    for name in ("uuid() µs", "warm lookup ms", "of it identity ms", "cold compile s", "identity share"):
        table.add_column(name, justify="right")
    for name, row in lookups.items():
        table.add_row(
            name,
            f"{uuids[name] / 1e3:,.1f}",
            f"{row['warm_s'] * 1e3:,.1f}",
            f"{row['warm_identity_s'] * 1e3:,.3f}",
            f"{row['cold_s']:.2f}",
            f"{row['cold_identity_share']:.3%}",
        )
    return table


def main() -> None:
    """Run by itself and write ``benchmarks/out/uuid.json``."""
    figures = run(REPEATS)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
