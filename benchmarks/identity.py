"""How long it takes to say what code is: passprint beside what else there is, on the same real classes.

Before every first answer the caches of sources and of code are emptied, and the garbage of the last one is collected.
Two settings are measured. The harder: the module of each class is declared first-party, torch's own included, so
passprint walks it by content, and what it uses by name and version. The other is what a user's pass has with no
settings at all: its own package counts by content, torch by version; there passprint's own library of passes is asked.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import inspect
import json
import linecache
import math
import os
import pkgutil
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import compile_bytecode
from passprint.identity import Memo, bytecode
from passprint.identity.origin import Origins

REPEATS = 5
SECONDS_ALLOWED = 30
GOALS = {
    "first, median, microseconds": 200.0,
    "first / first source hash, geometric mean": 0.01,
    "a pass with no settings: first, median, microseconds": 200.0,
    "a pass with no settings: first / first source hash, geometric mean": 0.01,
    "re-checked, median, microseconds": 1.0,
    "a pass with no settings: re-checked, median, microseconds": 1.0,
    "import, milliseconds": 20.0,
    "without an identity, share of xDSL's classes and functions": 0.02,
}
CLASSES = {
    "torch._inductor.pattern_matcher": (
        "PatternMatcherPass",
        "PatternEntry",
        "LoweringPatternEntry",
        "GraphPatternEntry",
        "ReplacementPatternEntry",
        "CallFunction",
        "CallMethod",
        "CallModule",
        "CallFunctionVarArgs",
        "KeywordArg",
        "ExclusiveKeywordArg",
        "ListOf",
        "MultiOutputPattern",
        "RepeatedExpr",
        "Match",
        "MatchContext",
    ),
    "torch.fx.passes.infra.pass_base": ("PassBase", "PassResult"),
    "torch.fx.passes.infra.pass_manager": ("PassManager",),
    "torch.fx.passes.infra.partitioner": ("CapabilityBasedPartitioner", "Partition"),
    "torch.fx.passes.shape_prop": ("ShapeProp", "TensorMetadata"),
    "torch.fx.passes.utils.matcher_utils": ("SubgraphMatcher", "InternalMatch"),
    "torch.fx.interpreter": ("Interpreter", "Transformer"),
    "torch._inductor.custom_graph_pass": ("CustomGraphPass",),
    "packaging.version": ("Version",),
    "packaging.specifiers": ("SpecifierSet",),
    "click.core": ("Command", "Option"),
    "jinja2.environment": ("Environment", "Template"),
    "networkx.classes.graph": ("Graph",),
}
WAYS = ("passprint", "getsource + sha256", "joblib", "marimo", "charmonium.freeze", "cloudpickle + sha256")


def classes() -> dict[str, type]:
    """The classes that are asked about; those that this torch does not have are left out."""
    found = {}
    for module, names in CLASSES.items():
        loaded = importlib.import_module(module)
        found.update({f"{module}.{name}": vars(loaded)[name] for name in names if name in vars(loaded)})
    return found


def _by_passprint(cls: type) -> object:
    return _MEMOS[cls.__module__].digest(cls)


def _by_source(cls: type) -> object:
    return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()


def _by_joblib(cls: type) -> object:
    return importlib.import_module("joblib").hash(cls)


def _by_marimo(cls: type) -> object:
    hash_module = importlib.import_module("marimo._save.hash").hash_module
    return [hash_module(value.__code__) for value in vars(cls).values() if isinstance(value, FunctionType)]


def _by_freeze(cls: type) -> object:
    return hash(importlib.import_module("charmonium.freeze").freeze(cls))


def _by_cloudpickle(cls: type) -> object:
    cloudpickle = importlib.import_module("cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[cls.__module__])
    return hashlib.sha256(cloudpickle.dumps(cls)).hexdigest()


_ASK: dict[str, Callable[[type], object]] = dict(
    zip(WAYS, (_by_passprint, _by_source, _by_joblib, _by_marimo, _by_freeze, _by_cloudpickle), strict=True)
)
_MEMOS: dict[str, Memo] = {}


def _too_long(*_: object) -> None:
    raise TimeoutError


def _forget() -> None:
    """Empty the caches that would make a first answer a later one: of sources, and of code."""
    linecache.clearcache()
    bytecode.forget_facts()
    gc.collect()  # of what the last answer left: in a program it is not there
    for module, memo in _MEMOS.items():
        fresh = Memo(first_party=[module])
        fresh.origins = memo.origins
        _MEMOS[module] = fresh


def _first(way: str, cls: type, repeats: int) -> float | str:
    """Seconds of the first answer, the shortest of several, or why there was none."""
    best = math.inf
    for _ in range(3 * repeats):
        _forget()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                signal.alarm(SECONDS_ALLOWED)
                started = time.perf_counter()
                _ASK[way](cls)
                best = min(best, time.perf_counter() - started)
        except TimeoutError:
            return f"more than {SECONDS_ALLOWED} s"
        except Exception as error:  # noqa: BLE001  (a peer that cannot is a result)
            return type(error).__name__
        finally:
            signal.alarm(0)
    return best


def _in_a_row(repeats: int) -> dict[str, float]:
    """Seconds of the first answer for each class where one memo is asked for all, one after the other.

    So a process with many passes asks: what an earlier answer settled is compared and not walked again.
    """
    found: dict[str, float] = {}
    settled = Memo(first_party=list(CLASSES))
    for cls in classes().values():
        settled.digest(cls)
    for _ in range(3 * repeats):
        bytecode.forget_facts()
        gc.collect()
        memo = Memo(first_party=list(CLASSES))
        memo.origins = settled.origins
        for name, cls in classes().items():
            started = time.perf_counter()
            memo.digest(cls)
            found[name] = min(found.get(name, math.inf), time.perf_counter() - started)
    return found


def _prepare() -> list[str]:
    """Import what is compared and warm what is not measured; gives the peers that are not installed."""
    missing = []
    for way, module in zip(
        WAYS[2:], ("joblib", "marimo._save.hash", "charmonium.freeze", "cloudpickle"), strict=True
    ):
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(way)
    for module in CLASSES:
        memo = _MEMOS[module] = Memo(first_party=[module])
        memo.origins = Origins([module])
        memo.digest(_prepare)  # imports what walks, and finds out whose modules are whose
    for cls in classes().values():
        for name in {cls.__module__, "torch", "typing", "collections", "dataclasses"}:
            _MEMOS[cls.__module__].origins.of_module(name)
    gc.freeze()  # what is loaded now is not looked at by each collection
    return missing


def _shortest(function: Callable[[], object], repeats: int) -> float:
    """Seconds of one call: the shortest of many short runs, which other programs disturb least."""
    count = 200
    best = math.inf
    for _ in range(40 * repeats):
        started = time.perf_counter()
        for _ in range(count):
            function()
        best = min(best, (time.perf_counter() - started) / count)
    return best


def _again(repeats: int) -> dict[str, dict[str, float]]:
    """Later answers: the source hash from ``functools.cache``, unchecked, and passprint's, checked."""
    found = {}
    cached = functools.cache(_by_source)
    for name, cls in classes().items():
        memo = _MEMOS[cls.__module__]
        cached(cls)
        memo.digest(cls)
        found[name] = {
            "cached, unchecked": _shortest(functools.partial(cached, cls), repeats),
            "passprint, checked": _shortest(functools.partial(memo.digest, cls), repeats),
        }
    return found


def _passes(repeats: int) -> dict[str, float]:
    """passprint's own passes: first and later answers, and a manager of ten."""
    from passprint.passes.library import ALL

    passes = [kind() for kind in ALL]
    first = []
    sources = []
    for one in passes:
        times = []
        known = Memo()
        known.digest(one)
        for _ in range(5 * repeats):
            memo = Memo()
            memo.origins = known.origins
            bytecode.forget_facts()
            started = time.perf_counter()
            memo.digest(one)
            times.append(time.perf_counter() - started)
        first.append(min(times))
        source = _first("getsource + sha256", type(one), repeats)
        sources.append(source if isinstance(source, float) else math.nan)
    memo = Memo()
    again = [_shortest(functools.partial(memo.digest, one), repeats) for one in passes]
    ten = (passes * 10)[:10]

    @functools.cache
    def cached(one: type) -> object:
        return _by_source(one)

    def unchecked() -> str:
        state = {"passes": [cached(type(one)) for one in ten]}
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()

    return {
        "first, median": statistics.median(first),
        "first source hash, median": statistics.median(sources),
        "first / first source hash, geometric mean": _geometric_mean(
            [one / source for one, source in zip(first, sources, strict=True)]
        ),
        "re-checked, median": statistics.median(again),
        "manager of ten, checked": _shortest(functools.partial(memo.digests, ten), repeats),
        "ten cached source hashes and their JSON hash, unchecked": _shortest(unchecked, repeats),
    }


def _import_seconds(repeats: int) -> dict[str, float]:
    """CPU time of the import in fresh processes (the least of several), all of it and this room's part.

    With compiled files at hand, as an installed package has them, whatever ``PYTHONDONTWRITEBYTECODE`` says here.
    """
    code = (
        "import time; a = time.process_time(); import passprint.errors; b = time.process_time();"
        "import passprint.identity; c = time.process_time(); print(c - a)"
    )
    alone = (
        "import sys, types, time; room = types.ModuleType('passprint'); import importlib.util as u;"
        "room.__path__ = list(u.find_spec('passprint').submodule_search_locations); sys.modules['passprint'] = room;"
        "a = time.process_time(); import passprint.identity; print(time.process_time() - a)"
    )
    found = {}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        for name, text in (("import passprint.identity", code), ("passprint.identity alone", alone)):
            runs = [
                float(
                    subprocess.run(
                        [sys.executable, "-c", text],
                        capture_output=True,
                        text=True,
                        check=True,
                        env=environment,
                    ).stdout
                )
                for _ in range(1 + 3 * repeats)
            ]
            found[name] = min(runs[1:])
    return found


def without_identity(package: str = "xdsl", sample: int = 300) -> float:
    """The share of a package's classes and functions that have no identity, of some drawn at random; NaN without it."""
    try:
        root = importlib.import_module(package)
    except ImportError:
        return math.nan
    found: dict[int, Any] = {}
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        with contextlib.suppress(Exception):  # some parts want packages of their own
            loaded = importlib.import_module(module.name)
            for value in list(vars(loaded).values()):
                if isinstance(value, (type, FunctionType)) and value.__module__ == loaded.__name__:
                    found[id(value)] = value
    drawn = random.Random(0).sample(list(found.values()), min(sample, len(found)))
    memo = Memo(first_party=[package])
    return sum(memo.digest(value) is None for value in drawn) / len(drawn)


def _geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure, print the table, and give the figures."""
    compile_bytecode()
    missing = _prepare()
    signal.signal(signal.SIGALRM, _too_long)
    first: dict[str, dict[str, float | str]] = {}
    for name, cls in classes().items():
        first[name] = {}
        for way in WAYS:
            if way in missing:
                first[name][way] = "not installed"
                continue
            first[name][way] = _first(way, cls, repeats)
    in_a_row = _in_a_row(repeats)
    again = _again(repeats)
    passes = _passes(repeats)
    imports = _import_seconds(repeats)
    summary = _summary(first, in_a_row, again, passes, imports)
    _print(first, again, passes, imports, summary)
    return {
        "first": first,
        "first, in a row": in_a_row,
        "again": again,
        "passes": passes,
        "import": imports,
        "summary": summary,
        "goals": GOALS,
    }


def _summary(
    first: dict[str, dict[str, float | str]],
    in_a_row: dict[str, float],
    again: dict[str, dict[str, float]],
    passes: dict[str, float],
    imports: dict[str, float],
) -> dict[str, float]:
    ratios = [
        row["passprint"] / row["getsource + sha256"]
        for row in first.values()
        if isinstance(row["passprint"], float) and isinstance(row["getsource + sha256"], float)
    ]
    mine = [row["passprint"] for row in first.values() if isinstance(row["passprint"], float)]
    return {
        "first, median, microseconds": statistics.median(mine) * 1e6,
        "first / first source hash, geometric mean": _geometric_mean(ratios),
        "first, all asked in a row, median, microseconds": statistics.median(in_a_row.values()) * 1e6,
        "first, all asked in a row / first source hash, geometric mean": _geometric_mean(
            [
                in_a_row[name] / row["getsource + sha256"]
                for name, row in first.items()
                if isinstance(row["getsource + sha256"], float)
            ]
        ),
        "re-checked, median, microseconds": statistics.median(r["passprint, checked"] for r in again.values())
        * 1e6,
        "a pass with no settings: first, median, microseconds": passes["first, median"] * 1e6,
        "a pass with no settings: first / first source hash, geometric mean": passes[
            "first / first source hash, geometric mean"
        ],
        "a pass with no settings: re-checked, median, microseconds": passes["re-checked, median"] * 1e6,
        "manager of ten / ten unchecked": passes["manager of ten, checked"]
        / passes["ten cached source hashes and their JSON hash, unchecked"],
        "import, milliseconds": imports["import passprint.identity"] * 1e3,
        "without an identity, share of xDSL's classes and functions": without_identity(),
    }


def _print(
    first: dict[str, dict[str, float | str]],
    again: dict[str, dict[str, float]],
    passes: dict[str, float],
    imports: dict[str, float],
    summary: dict[str, float],
) -> None:
    console = Console()
    table = Table("first answer, µs", *WAYS)
    for name, row in first.items():
        cells = [f"{value * 1e6:,.0f}" if isinstance(value, float) else str(value) for value in row.values()]
        table.add_row(name.rpartition(".")[2], *cells)
    console.print(table)
    later = Table("later answers, µs", "cached, unchecked", "passprint, checked")
    for name, times in again.items():
        later.add_row(name.rpartition(".")[2], *[f"{value * 1e6:.2f}" for value in times.values()])
    console.print(later)
    for title, value in {**passes, **imports}.items():
        shown = f"{value:.4f}" if "/" in title else f"{value * 1e6:,.2f} µs"
        console.print(f"{title}: {shown}", highlight=False)
    goals = Table("goal", "measured", "wanted at most")
    for title, value in summary.items():
        goals.add_row(title, f"{value:.4g}", str(GOALS.get(title, "1" if "ten" in title else "")))
    console.print(goals)


if __name__ == "__main__":
    figures = run()
    os.makedirs(os.path.join(os.path.dirname(__file__), "out"), exist_ok=True)
    with open(os.path.join(os.path.dirname(__file__), "out", "identity.json"), "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=1)
