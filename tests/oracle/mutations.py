"""What is mutated: the slots of a model's fragments, its live state, its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.oracle.program import NEUTRAL, SHOWN_BY, Chosen, Program

NEUTRAL_LIVES = {
    "an unused attribute": ("m.unused_live = 5", "self"),
    "an unused attribute of the owner": ("o.unused_live = [1, 2]", "self"),
    "an unused global": ("main.UNUSED_LIVE = 5", "main"),
    "an unused global of a helper": ("b.UNUSED_LIVE = lambda x: x * 2", "b"),
    "an unused class attribute": ("type(o).unused_live = 3", "class"),
    "an unused method": ("type(o).unused_method_live = lambda self: 3", "class"),
    "an unused variable": ("os.environ['ORACLE_UNUSED'] = '1'", "env"),
    "new parameter values": ("o.weight.mul_(1.5)", ""),
}


@dataclass
class Mutation:
    """One change of a model that was compiled before.

    ``reads``: forward can see it. ``where``: "process" (another one), "live" (the same), "other" (another process with
    another hash seed, in which torch's compiler has not been imported).
    """

    kind: str
    name: str
    reads: bool
    chosen: Chosen = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    live: str = ""
    where: str = "process"
    folder: str = "here"
    weights: int = 0


def mutations(program: Program, random: Random, reading: int, neutral: int) -> list[Mutation]:
    """Some that forward can read, and some that it can't; first that nothing has changed."""
    can_read, cannot = [], []
    for fragment in program.fragments:
        found = _of_fragment(fragment)
        can_read.append([m for m in found if m.reads])
        cannot.extend(m for m in found if not m.reads)
    ours = [m for own in can_read for m in random.sample(own, min(len(own), reading))]
    first = can_read[0]  # the kind that this model is about
    taken = random.sample(first, min(len(first), (reading + 1) // 2))
    rest = [m for m in ours if m not in taken]
    taken += random.sample(rest, min(len(rest), reading - len(taken)))
    around = _surroundings(program)
    idle = random.sample(cannot, min(len(cannot), neutral // 3))
    idle += random.sample(around, neutral - len(idle))
    mixed = taken + idle
    random.shuffle(mixed)
    result = []
    for mutation in mixed:
        if mutation.live and random.random() < 0.6:
            mutation.where = "live"
        result.append(mutation)
        if mutation.reads and mutation.where == "process" and random.random() < 0.2:
            result.append(Mutation("neutral", "an earlier version again", "order" in program.whole))
    return [Mutation("neutral", "nothing", False), *result]


def _of_fragment(fragment) -> list[Mutation]:  # type: ignore[no-untyped-def]
    kind = fragment.kind
    found = [
        Mutation(kind, f"{name}: {text}"[:60], slot.reads, {fragment.name: {name: text}})
        for name, slot in fragment.slots.items()
        for text in slot.choices[1:]
    ]
    for live in fragment.lives:
        code = fragment.fill(live.code)
        found.append(Mutation(kind, f"live: {live.name}", live.reads, live=code))
    for name, slot in fragment.variables.items():
        for text in slot.choices[1:]:
            found.append(Mutation(kind, f"{name}={text}", slot.reads, environment={name: text}))
            code = f"os.environ[{name!r}] = {text!r}" if text else f"os.environ.pop({name!r}, None)"
            if "init" not in fragment.whole:
                found.append(Mutation(kind, f"live: {name}={text}", slot.reads, live=code))
    return found


def _surroundings(program: Program) -> list[Mutation]:
    whole = program.whole
    found = [
        Mutation("neutral", f"{name}: {text!r}"[:60], SHOWN_BY.get(name, "") in whole, {"": {name: text}})
        for name, texts in NEUTRAL.items()
        for text in texts[1:]
    ]
    for name, (code, shown) in NEUTRAL_LIVES.items():
        found.append(Mutation("neutral", f"live: {name}", shown in whole, live=code))
    again = "order" in whole
    found += [
        Mutation("neutral", "another folder", False, folder="elsewhere"),
        Mutation("neutral", "another hash seed, torch's compiler not imported", again, where="other"),
        Mutation("neutral", "other parameter values", False, weights=1),
        Mutation(
            "neutral", "a variable that nobody reads", "env" in whole, environment={"ORACLE_NOBODY": "1"}
        ),
        Mutation(
            "neutral",
            "a variable of __init__'s that ends in an unused attribute",
            "self" in whole or "env" in whole,
            {"": {"init_variable": NEUTRAL["init_variable"][1]}},
            {"ORACLE_POD_IP": "10.0.0.7"},
        ),
    ]
    return found
