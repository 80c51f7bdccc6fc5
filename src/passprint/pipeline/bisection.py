"""Finding the pass, and within it the rewrite, after which something fails, in a logarithmic number of runs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from passprint.errors import PipelineError
from passprint.pipeline import limits
from passprint.pipeline.instruments import chosen

_ALL = 10**9


@dataclass(frozen=True)
class Trial:
    """One run under a limit: whether it was good, and what passes did in it, in order; on how many graphs if known.

    ``error``: the last line that a failing run wrote to standard error.
    """

    good: bool
    passes: Sequence[Mapping[str, Any]]
    rewrites: Sequence[Mapping[str, Any]]
    graphs: int | None = None
    error: str = ""

    @property
    def ended(self) -> str:
        """How the run ended, as the end of a message; "" where that is not known."""
        return f". The run ended with: {self.error}" if self.error else ""


@dataclass(frozen=True)
class Culprit:
    """``pass_name``, the ``position`` of its run among all (from 1), on which ``graph`` of the run (from 0); and the
    rewrite, if one was found.

    ``rewrite``: its number in that run (from 1), ``pattern`` and ``node`` (as text) of it. None where the pass makes
    its changes as one: only patterns, and passes that ask `may_rewrite`, can be stopped in between.
    ``runs``: how many runs it took; ``of_passes``, ``of_rewrites``: among how many. ``reproduce``: the value of
    ``PASSPRINT_LIMIT`` with which it fails, and with which it does not.
    """

    pass_name: str
    position: int
    graph: int
    rewrite: int | None
    pattern: str | None
    node: str | None
    runs: int
    of_passes: int
    of_rewrites: int
    fails_with: str
    works_with: str

    def __str__(self) -> str:
        where = f"run {self.position} of {self.of_passes} pass runs, graph {self.graph}"
        lines = [f"{self.pass_name} ({where})"]
        if self.rewrite is not None:
            pattern = f" by the pattern '{self.pattern}'" if self.pattern else ""
            place = f": {self.node}" if self.node else ""
            lines.append(f"rewrite {self.rewrite} of {self.of_rewrites}{pattern}{place}")
        else:
            lines.append("the pass makes its changes as one; no single rewrite can be held back")
        lines.append(f"fails with {limits.VARIABLE}={self.fails_with}, and works with {self.works_with}")
        lines.append(f"found in {self.runs} runs")
        return "\n".join(lines)


@dataclass
class Bisection:
    """``run`` makes a trial under a value of ``PASSPRINT_LIMIT``; ``tell`` hears about each, as text."""

    run: Callable[[str], Trial]
    tell: Callable[[str], object] = lambda text: None
    _trials: dict[str, Trial] = field(default_factory=dict)

    def find(self) -> Culprit:
        """The culprit; raises PipelineError where it fails without passes, or does not fail with all."""
        whole = self._try(f"passes={_ALL}", "all passes")
        if whole.good:
            raise PipelineError(
                "nothing fails with all passes, so there is nothing to find; the check must fail"
            )
        total = len(whole.passes)
        if total == 0:
            raise PipelineError(
                "no pass ran, so none is to blame. Is a passprint pipeline mounted, and does the run compile the model?"
                + whole.ended
            )
        without = self._try("passes=0", "no pass")
        if not without.good:
            raise PipelineError(
                "it fails without any pass as well, but nothing was compiled in that run, as if it used what an "
                "earlier run had compiled. Let the check compile anew each time"
                if whole.graphs and without.graphs == 0
                else f"it fails without any pass as well, so none is to blame{without.ended}"
            )
        position = self._first_bad(total, lambda count: f"passes={count}", f"of {total} pass runs")
        trial = self._trials.get(f"passes={position}", whole)
        ran = trial.passes[position - 1] if position <= len(trial.passes) else whole.passes[position - 1]
        return self._within(position, total, ran)

    def _within(self, position: int, total: int, ran: Mapping[str, Any]) -> Culprit:
        name = ran["pass"]
        works, fails = f"passes={position - 1}", f"passes={position}"
        count = max(
            [int(ran["rewrites"]), *(int(one["rewrite"]) for one in self._rewrites_of(position, fails))]
        )
        number: int | None = None
        if count == 1:
            number = 1
        elif count > 1 and "error" not in ran and self._can_stop(position, count, name):
            number = self._first_bad(
                count, lambda some: f"passes={position},rewrites={some}", f"of {count} rewrites of {name}"
            )
            works, fails = (f"passes={position},rewrites={some}" for some in (number - 1, number))
        made = [one for one in self._rewrites_of(position, fails) if one["rewrite"] == number]
        told: Mapping[str, Any] = made[0] if made else {}
        return Culprit(
            pass_name=name,
            position=position,
            graph=int(ran["graph"]),
            rewrite=number,
            pattern=told.get("pattern"),
            node=told.get("node"),
            runs=len(self._trials),
            of_passes=total,
            of_rewrites=count,
            fails_with=fails,
            works_with=works,
        )

    def _can_stop(self, position: int, count: int, name: str) -> bool:
        """Whether the pass can make some of its rewrites and not others, and does no harm when it makes none."""
        some = self._try(
            f"passes={position},rewrites={count - 1}", f"the first {count - 1} of {count} by {name}"
        )
        if len(some.passes) < position:
            return False  # it was left out as a whole
        return self._try(f"passes={position},rewrites=0", f"{name} without a rewrite").good

    def _rewrites_of(self, position: int, limit: str) -> list[Mapping[str, Any]]:
        """The rewrites of one run of a pass, as the trial under ``limit`` told them."""
        trial = self._trials.get(limit, self._trials[f"passes={_ALL}"])
        return [one for one in trial.rewrites if one["run"] == position - 1]

    def _first_bad(self, total: int, text: Callable[[int], str], of: str) -> int:
        """The smallest number that fails: none is good, all are bad."""
        good, bad = 0, total
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._try(text(middle), f"the first {middle} {of}").good:
                good = middle
            else:
                bad = middle
        if text(bad) not in self._trials:
            self._try(text(bad), f"the first {bad} {of}")
        return bad

    def _try(self, limit: str, what: str) -> Trial:
        known = self._trials.get(limit)
        if known is None:
            known = self._trials[limit] = self.run(limit)
            self.tell(f"run {len(self._trials)}: {what}: {'good' if known.good else 'fails'}")
        return known


def largest_number_of_runs(passes: int, rewrites: int) -> int:
    """How many runs a search takes at most: two for the ends of each search, and two logarithms."""
    return 6 + math.ceil(math.log2(max(1, passes))) + math.ceil(math.log2(max(1, rewrites)))


def bisect_command(command: Sequence[str], *, tell: Callable[[str], object] = lambda text: None) -> Culprit:
    """Find what makes ``command`` exit with another status than 0; each run is a process of its own."""

    def run(limit: str) -> Trial:
        with tempfile.TemporaryDirectory(prefix="passprint-bisect-") as folder:
            trail = Path(folder) / "trail.jsonl"
            environment = {**os.environ, **_variables(limit, trail)}
            done = subprocess.run(list(command), env=environment, capture_output=True, check=False)
            lines = done.stderr.decode(errors="replace").split("\n") if done.returncode else []
            error = next((line.strip() for line in reversed(lines) if line.strip()), "")
            return _read(trail, good=done.returncode == 0, error=error)

    return Bisection(run, tell).find()


def bisect(check: Callable[[], object], *, tell: Callable[[str], object] = lambda text: None) -> Culprit:
    """Find what makes ``check()`` raise or return False, in this process.

    ``check`` must compile anew each time; `torch._dynamo.reset()` is called before it. Not for several threads: the
    limit stands in the environment. Raises PipelineError where nothing fails, or it fails without passes.
    """
    from passprint.pipeline.torch_door import forget_compiled

    def run(limit: str) -> Trial:
        with tempfile.TemporaryDirectory(prefix="passprint-bisect-") as folder:
            trail = Path(folder) / "trail.jsonl"
            variables = _variables(limit, trail)
            before = {name: os.environ.get(name) for name in variables}
            os.environ.update(variables)
            try:
                forget_compiled()
                good = _holds(check)
            finally:
                for name, value in before.items():
                    os.environ.pop(name, None)
                    if value is not None:
                        os.environ[name] = value
                limits.environment_limit.forget()  # the next trial counts anew
            return _read(trail, good=good)

    return Bisection(run, tell).find()


def _holds(check: Callable[[], object]) -> bool:
    try:
        return check() is not False
    except Exception as error:  # noqa: BLE001 - whatever the check raises says that it fails
        print(f"  {type(error).__name__}: {next(iter(str(error).splitlines()), '')}", file=sys.stderr)
        return False


def _variables(limit: str, trail: Path) -> dict[str, str]:
    others = os.environ.get(chosen.VARIABLE, "")
    instruments = f"{others},trail{{file={str(trail)!r}}}" if others else f"trail{{file={str(trail)!r}}}"
    return {limits.VARIABLE: limit, chosen.VARIABLE: instruments}


def _read(trail: Path, *, good: bool, error: str = "") -> Trial:
    lines = trail.read_text(encoding="utf-8").splitlines() if trail.exists() else []
    entries = [json.loads(line) for line in lines]
    return Trial(
        good,
        [entry for entry in entries if "rewrites" in entry],
        [entry for entry in entries if "rewrite" in entry],
        sum(entry.keys() == {"graph"} for entry in entries),
        error,
    )
