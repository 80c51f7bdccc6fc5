"""The order of passes: what their classes declare, checked, and a valid order where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from passprint.errors import PipelineError
from passprint.passes import BasePass
from passprint.passes.naming import name_of
from passprint.pipeline.members import text_of


@dataclass(frozen=True)
class Declared:
    """A pass of a pipeline, and what its class says about its place."""

    name: str
    text: str
    requires: tuple[str, ...]
    after: tuple[str, ...]
    before: tuple[str, ...]
    invalidates: tuple[str, ...]


def declared_by(pass_: Any) -> Declared:
    """What there is to know about the place of ``pass_``; a pass of torch's own declares nothing."""
    kind: Any = type(pass_) if isinstance(pass_, BasePass) else BasePass
    return Declared(name_of(pass_), text_of(pass_), kind.requires, kind.after, kind.before, kind.invalidates)


def check_order(passes: Sequence[Declared]) -> None:
    """Raise PipelineError for passes that are there and in the wrong order, with an order that is valid."""
    problems = _violations(passes)
    if problems:
        raise PipelineError(
            f"the order of a pipeline is wrong: {'; '.join(problems)}.\n  given: {_joined(passes)}\n"
            f"  {_advice(passes)}"
        )


def check_complete(passes: Sequence[Declared]) -> None:
    """Raise PipelineError for a required pass that is not there at all, with the place where it could stand."""
    names = {one.name for one in passes}
    missing = {name: one for one in passes for name in one.requires if name not in names}
    if not missing:
        return
    said = "; ".join(f"'{one.name}' requires '{name}'" for name, one in missing.items())
    completed: list[str] = []
    for one in passes:
        completed += [name for name, asking in missing.items() if asking is one]
        completed.append(one.text)
    raise PipelineError(
        f"a pass that another one requires is not in the pipeline: {said}.\n  given: {_joined(passes)}\n"
        f"  valid: {','.join(completed)}"
    )


def _joined(passes: Sequence[Declared]) -> str:
    return ",".join(one.text for one in passes)


def _violations(passes: Sequence[Declared]) -> list[str]:
    names = [one.name for one in passes]
    found: list[str] = []
    for at, one in enumerate(passes):
        earlier, later = names[:at], names[at + 1 :]
        for name in one.requires:
            if name in earlier:
                last = at - 1 - earlier[::-1].index(name)
                undone = next(
                    (other.name for other in passes[last + 1 : at] if name in other.invalidates), None
                )
                if undone is not None:
                    found.append(f"'{one.name}' requires '{name}', whose work '{undone}' has undone by then")
            elif name in later:
                found.append(f"'{one.name}' requires '{name}', which comes later")
        found += [f"'{one.name}' must run after '{n}'" for n in one.after if n in later and n not in earlier]
        found += [
            f"'{one.name}' must run before '{n}'" for n in one.before if n in earlier and n not in later
        ]
    return found


def _advice(passes: Sequence[Declared]) -> str:
    sorted_passes = valid_order(passes)
    if sorted_passes is None:
        return (
            "no order satisfies all that these passes declare (requires, after, before): change one of them"
        )
    return f"valid: {_joined(sorted_passes)}"


def valid_order(passes: Sequence[Declared]) -> list[Declared] | None:
    """An order in which nothing is violated, as near to the given one as can be; None where there is none.

    A pass whose work is undone before it is required is repeated where that is the only way.
    """
    for keeps_invalidated_apart in (True, False):
        ordered = _sorted(passes, keeps_invalidated_apart)
        if ordered is None:
            continue
        ordered = _repeated(ordered)
        if not _violations(ordered):
            return ordered
    return None


def _sorted(passes: Sequence[Declared], keeps_invalidated_apart: bool) -> list[Declared] | None:
    """Stable topological order, or None for a cycle."""
    first = {one.name: at for at, one in reversed(list(enumerate(passes)))}
    earlier: list[set[int]] = [set() for _ in passes]
    for at, one in enumerate(passes):
        earlier[at].update(first[name] for name in (*one.requires, *one.after) if name in first)
        for name in one.before:
            if name in first:
                earlier[first[name]].add(at)
        if keeps_invalidated_apart:
            # what undoes the work that `one` requires runs after `one`
            for other_at, other in enumerate(passes):
                if other_at != at and set(other.invalidates) & set(one.requires):
                    earlier[other_at].add(at)
    for at, needed in enumerate(earlier):
        needed.discard(at)
    done: list[int] = []
    while len(done) < len(passes):
        ready = [at for at in range(len(passes)) if at not in done and earlier[at] <= set(done)]
        if not ready:
            return None
        done.append(ready[0])
    return [passes[at] for at in done]


def _repeated(passes: Sequence[Declared]) -> list[Declared]:
    by_name = {one.name: one for one in passes}
    result: list[Declared] = []
    for one in passes:
        for name in one.requires:
            at = next((i for i in range(len(result) - 1, -1, -1) if result[i].name == name), None)
            if at is not None and any(name in other.invalidates for other in result[at + 1 :]):
                result.append(by_name[name])
        result.append(one)
    return result
