"""A pipeline without the passes that a selection leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from passprint.passes.naming import name_of
from passprint.pipeline.filters import Selection

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager


def reduced(manager: PassManager, selection: Selection, numbers: dict[str, int] | None = None) -> PassManager:
    """``manager`` with the selected passes only; itself where these are all. Groups that are left empty go.

    ``numbers``: how many passes of each name came before, for a manager inside another one.
    """
    numbers = {} if numbers is None else numbers
    kept: list[Any] = []
    skipped: list[Any] = []
    changed = False
    for member in manager.passes:
        if hasattr(member, "leaves"):
            inner = reduced(member, selection, numbers)
            changed = changed or inner is not member
            (kept if inner.passes else skipped).append(inner)
            continue
        name = name_of(member)
        numbers[name] = numbers.get(name, 0) + 1
        (kept if selection.takes(name, numbers[name]) else skipped).append(member)
    if not skipped and not changed:
        return manager
    return manager._with(members=kept, skipped=skipped)
