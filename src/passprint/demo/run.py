"""The demo's parent: prepares the model, walks the phases, each in a process of its own, and gathers
figures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from passprint.demo.models import DEFAULT_PROMPT, DemoError, Prepared, find_model
from passprint.demo.processes import ChildError, interrupted_by_signals, run_child
from passprint.demo.result import (
    BASELINE_COLD,
    BASELINE_WARM,
    COLD,
    EAGER,
    LIBRARY,
    WARM,
    DemoResult,
    PhaseError,
)
from passprint.demo.task import PhaseResult, Task, prepared_from

PREPARE = "model"


class Observer(Protocol):
    """Who is told how far the demo is."""

    def started(self, phase: str) -> None: ...
    def stage(self, phase: str, text: str) -> None: ...
    def finished(self, phase: str, failed: bool = False) -> None: ...


@dataclass(frozen=True)
class DemoOptions:
    """What to run. ``model``: ``smollm2``, ``random-llama``, a folder or a hub name; ``layers``:
    random-llama's depth; ``passes``: a pipeline as text, None for the default one; ``cache``: None for a
    temporary empty one; ``pages``: where passprint's phases write their reports as pages, None for nowhere."""

    model: str = "smollm2"
    layers: int | None = None
    prompt: str | None = None
    tokens: int = 16
    passes: str | None = None
    cache: Path | None = None
    baseline: bool = True
    library: bool = True
    pages: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class _Phase:
    """A phase: its name, its task, the Inductor cache folder it sees, and the phase that it cannot do
    without."""

    name: str
    task: Task
    inductor_cache: str
    after: str | None


def run_demo(options: DemoOptions, observer: Observer) -> DemoResult:
    """Runs every phase and returns the figures, failed phases among them.

    Raises DemoError when the model cannot be had or the eager run fails: nothing can be compared then.
    Whatever happens, the children are ended and the temporary folder is removed.
    """
    if options.tokens < 2:
        raise DemoError(f"--tokens {options.tokens} was given; decoding needs at least 2")
    source = find_model(options.model, options.layers, options.prompt)
    threads = options.threads or _usable_cores()
    with interrupted_by_signals(), tempfile.TemporaryDirectory(prefix="passprint-demo-") as folder:
        work = Path(folder)
        for name in ("model", "logs", "tmp"):
            (work / name).mkdir()
        prepare = Task("prepare", threads, source=source, folder=str(work / "model"), prompt=options.prompt)
        offline = source.kind != "hub"
        data = _observed(PREPARE, prepare, _environment(work, threads, "prepare", offline), work, observer)
        prepared = prepared_from(data)
        if prepared is None:
            raise DemoError("the model's process gave no model")
        result = DemoResult(
            model=source.name,
            prompt=(options.prompt or DEFAULT_PROMPT) if prepared.has_tokenizer else None,
            prepared=prepared,
            passes=options.passes,
            environment=_describe(threads),
        )
        for phase in _phases(options, prepared, threads, work):
            if phase.after is not None and phase.after in result.errors:
                continue
            env = _environment(work, threads, phase.inductor_cache, offline=True)
            if options.pages is not None:
                env["PASSPRINT_REPORT"] = str(options.pages.resolve())
            try:
                figures = _observed(phase.name, phase.task, env, work, observer)
            except ChildError as error:
                if phase.name == EAGER:
                    raise
                result.errors[phase.name] = PhaseError(str(error), error.tail)
            else:
                result.phases[phase.name] = PhaseResult.from_dict(figures)
    return result


def _phases(options: DemoOptions, prepared: Prepared, threads: int, work: Path) -> Iterator[_Phase]:
    """Eager first, since the others are compared with it; each warm phase right after its cold one.

    The warm passprint phase sees another, empty Inductor cache: what makes it warm is passprint's cache
    alone.
    """

    def task(kind: Any, cache: Path | None = None) -> Task:
        return Task(
            kind,
            threads,
            prepared=prepared,
            tokens=options.tokens,
            reference=str(work / "reference.pt"),
            passes=options.passes,
            cache="" if cache is None else str(cache),
        )

    cache = (options.cache or work / "cache").resolve()
    yield _Phase(EAGER, task("eager"), "eager", None)
    yield _Phase(COLD, task("passprint", cache), "passprint-cold", EAGER)
    yield _Phase(WARM, task("passprint", cache), "passprint-warm", COLD)
    if options.baseline:
        yield _Phase(BASELINE_COLD, task("baseline"), "baseline", EAGER)
        yield _Phase(BASELINE_WARM, task("baseline"), "baseline", BASELINE_COLD)
    if options.library:
        yield _Phase(LIBRARY, task("library", work / "library-cache"), "library", EAGER)


def _observed(
    name: str, task: Task, env: Mapping[str, str], work: Path, observer: Observer
) -> dict[str, Any]:
    observer.started(name)
    log = work / "logs" / f"{name.replace(' ', '-')}.txt"
    try:
        data = run_child(task, env=env, log=log, on_stage=lambda text: observer.stage(name, text))
    except ChildError:
        observer.finished(name, failed=True)
        raise
    observer.finished(name)
    return data


def _environment(work: Path, threads: int, inductor_cache: str, offline: bool) -> dict[str, str]:
    """A child's environment: the same threads for all, caches and temporary files inside the work folder."""
    inductor = work / "inductor" / inductor_cache
    inductor.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TORCHINDUCTOR_CACHE_DIR": str(inductor),
        "PASSPRINT_CACHE_DIR": str(work / "unused-cache"),
        "TMPDIR": str(work / "tmp"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    env.pop("TRITON_CACHE_DIR", None)
    if offline:
        env["HF_HUB_OFFLINE"] = "1"
    return env


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _describe(threads: int) -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "packages": {
            name: importlib.metadata.version(name) for name in ("passprint", "torch", "transformers")
        },
    }
