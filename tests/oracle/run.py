"""The pairs of one model: what each must come to, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.oracle.child import TORCH, Job, Step
from tests.oracle.fragments import named
from tests.oracle.mutations import Mutation, mutations
from tests.oracle.program import Program, program
from tests.oracle.server import Server

READING, NEUTRAL = 4, 4
ENGINE = "passprint:compile"


class Pair(NamedTuple):
    """One mutation and its result.

    ``verdict``: "right", "stale", "torch too" (stale within one process, where torch.compile's own guards
    miss it as well), "crashed", "needless" (traced, though nothing that can be read has changed), "no
    record" (the same in a model that every process traces), "breaks" (the same where torch has graph breaks), or
    "invalid" (eager or torch.compile fails too). ``changed``: eager's result is another one.
    """

    label: str
    mutation: Mutation
    verdict: str
    traced: int
    changed: bool
    told: str


@dataclass
class Servers:
    """The processes that fork: with torch's compiler imported, and without it and with another hash seed.

    ``kernels`` is where Inductor keeps its own. Each starts when it is first needed. ``bare``: never with the compiler.
    """

    kernels: str
    bare: bool = False
    _started: dict[bool, Server] = field(default_factory=dict)

    def of(self, where: str) -> Server:
        """The process for a mutation there."""
        other = where == "other"
        if other not in self._started:
            self._started[other] = Server(7 * other, bare=self.bare or other, kernels=self.kernels)
        return self._started[other]

    def close(self) -> None:
        """End them."""
        for server in self._started.values():
            server.close()


@dataclass
class Model:
    """One model and its mutations."""

    seed: str
    number: int
    kinds: list[str]
    folder: Path
    cache: Path
    engine: str = ENGINE
    program: Program = field(init=False)
    mutations: list[Mutation] = field(init=False)

    def __post_init__(self) -> None:
        self.program = program(self.seed, self.number, self.kinds)
        random = Random(f"{self.seed}.{self.number}.mutations")
        self.mutations = mutations(self.program, random, READING, NEUTRAL)

    def job(self, mutation: Mutation | None, engine: str = "") -> Job:
        """What a process must do for a mutation; writes the files."""
        root = self.folder / ("here" if mutation is None else mutation.folder)
        self.program.write(root, {} if mutation is None else mutation.chosen)
        steps = [""] if mutation is None or not mutation.live else [mutation.live]
        if mutation is not None and mutation.where == "live":
            steps = ["", mutation.live]
        environment = {**self.program.environment, **({} if mutation is None else mutation.environment)}
        weights = 0 if mutation is None else mutation.weights
        return Job(
            str(root),
            self.program.package,
            str(self.cache),
            self.program.owner,
            steps,
            environment,
            weights,
            engine or self.engine,
        )

    def run(self, servers: Servers, upto: int | None = None) -> list[Pair]:
        """Compile the base, then each mutation; ``upto``: the number of the last pair."""
        base = servers.of("")(self.job(None))[-1]
        pairs: list[Pair] = []
        no_record = False
        for number, mutation in enumerate(self.mutations[: None if upto is None else upto + 1]):
            if base.eager_crash:
                pairs.append(Pair(f"{self.number}.{number}", mutation, "invalid", 0, False, base.eager_crash))
                continue
            if base.crash:
                verdict, told = _crashed(base, servers.of("")(self.job(None, TORCH))[-1])
                first = Mutation(self.program.fragments[0].kind, "base", True)
                pairs.append(Pair(f"{self.number}.base", first, verdict, 0, False, told))
                break
            pair = self._pair(servers, number, mutation, base, no_record)
            if number == 0 and pair.verdict == "needless":
                no_record = True
                pair = pair._replace(verdict="no record")
            pairs.append(pair)
        return pairs

    def _pair(self, servers: Servers, number: int, mutation: Mutation, base: Step, no_record: bool) -> Pair:
        server = servers.of(mutation.where)
        steps = server(self.job(mutation))
        step = steps[-1]
        label = f"{self.number}.{number}"
        changed = step.output != base.output
        if step.crash:
            verdict, told = _crashed(step, server(self.job(mutation, TORCH))[-1])
            return Pair(label, mutation, verdict, step.traced, changed, told)
        if step.eager_crash:
            return Pair(label, mutation, "invalid", 0, False, step.eager_crash)
        wrong = max(s.wrong for s in steps)
        if wrong:
            asks = mutation.where == "live" and self.engine == ENGINE
            in_torch = asks and server(self.job(mutation, TORCH))[-1].wrong
            verdict = "torch too" if in_torch else "stale"
            return Pair(label, mutation, verdict, step.traced, changed, f"wrong by {wrong:.3g} {step.why}")
        if not mutation.reads and changed and not mutation.weights and "weight" not in mutation.live:
            return Pair(
                label, mutation, "invalid", 0, True, "a mutation that nothing reads changed eager's result"
            )
        if step.traced and not mutation.reads:
            verdict = "breaks" if step.breaks else "no record" if no_record else "needless"
            return Pair(label, mutation, verdict, step.traced, changed, step.why)
        return Pair(label, mutation, "right", step.traced, changed, step.why)


def _crashed(step: Step, torch_alone: Step) -> tuple[str, str]:
    """A crash counts where eager and torch.compile run."""
    if step.eager_crash or torch_alone.crash or torch_alone.eager_crash:
        return "invalid", torch_alone.crash or step.eager_crash or torch_alone.eager_crash
    return "crashed", step.crash


def model(seed: str, number: int, kinds: list[str], folder: Path, engine: str = ENGINE) -> Model:
    """The model of this number. All of a run share a cache: equal pieces of different models are found there."""
    return Model(seed, number, named(kinds), folder / str(number), folder / "cache", engine)
