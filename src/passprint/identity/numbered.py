"""Lines that are numbered: the values of a graph, ``%5 = …``. One more of them moves the numbers of all that follow.

Only what people read is made here: two texts are lined up before they are compared, no digest depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_NUMBER: Final = re.compile(r"%(\d+)\b")
_DEFINED: Final = re.compile(r"%(\d+) = ")


def lined_up(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """``before`` with the numbers that ``after`` gives to the same values; a value that is gone has a prime, ``%5'``.

    A line that takes another value than before still differs: its numbers are those of the values, wherever they stand.
    """
    if not any(line.startswith("%") for line in before):
        return list(before)
    from difflib import SequenceMatcher

    masked_before, masked_after = ([_NUMBER.sub("%", line) for line in lines] for lines in (before, after))
    numbers: dict[str, str] = {}
    for kind, i, i_end, j, j_end in SequenceMatcher(None, masked_before, masked_after).get_opcodes():
        if kind in ("equal", "replace"):  # of what was replaced, the last lines: others take their values
            for one, other in zip(reversed(before[i:i_end]), reversed(after[j:j_end]), strict=False):
                old, new = _DEFINED.match(one), _DEFINED.match(other)
                if old and new:
                    numbers[old[1]] = new[1]

    def renumbered(found: re.Match[str]) -> str:
        number = found[1]
        return f"%{numbers[number]}" if number in numbers else f"%{number}'"

    return [_NUMBER.sub(renumbered, line) for line in before]
