"""What many pairs came to, by kind."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.oracle.run import Pair

COLUMNS = ("stale", "torch too", "crashed", "needless", "no record", "breaks", "invalid")
MOST_NEEDLESS = 0.02


@dataclass
class Tally:
    """The pairs of a run."""

    seed: str
    kinds: list[str]
    pairs: list[Pair] = field(default_factory=list)

    def add(self, pairs: list[Pair]) -> None:
        """More pairs."""
        self.pairs.extend(pairs)

    def count(self, verdict: str) -> int:
        """How many came to this."""
        return sum(pair.verdict == verdict for pair in self.pairs)

    @property
    def neutral(self) -> int:
        """How many mutations changed nothing that can be read, in models that are one graph."""
        return sum(not p.mutation.reads and p.verdict not in ("breaks", "invalid") for p in self.pairs)

    @property
    def needless(self) -> float:
        """The part of those that was traced."""
        return (self.count("needless") + self.count("no record")) / max(1, self.neutral)

    @property
    def passes(self) -> bool:
        """Nothing stale, nothing crashed, few traced needlessly."""
        return not self.count("stale") and not self.count("crashed") and self.needless <= MOST_NEEDLESS

    def in_short(self) -> str:
        """One line."""
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in COLUMNS)
        return f"{counts}; {self.needless:.1%} of {self.neutral} traced needlessly"

    def text(self, *, everything: bool = False) -> str:
        """The table by kind, the reasons, and how to see each failure again."""
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for pair in self.pairs:
            row = rows[pair.mutation.kind]
            row["pairs"] += 1
            row["changed"] += pair.changed
            row["unread"] += not pair.mutation.reads
            row[pair.verdict] += 1
        heads = ("pairs", "changed", "unread", *COLUMNS)
        lines = [f"{'kind':<28}" + "".join(f"{head:>10}" for head in heads)]
        for kind in sorted(rows):
            lines.append(f"{kind:<28}" + "".join(f"{rows[kind][head] or '':>10}" for head in heads))
        total: Counter[str] = sum(rows.values(), Counter())
        lines.append(f"{'all':<28}" + "".join(f"{total[head] or '':>10}" for head in heads))
        for verdict in ("no record", "needless", "breaks"):
            reasons = Counter(_general(pair.told) for pair in self.pairs if pair.verdict == verdict)
            if reasons:
                lines.append(f"\n{verdict}:")
                lines.extend(f"{count:>6}  {reason}" for reason, count in reasons.most_common(40))
        lines.extend(self.failures(self.pairs, COLUMNS if everything else ("stale", "torch too", "crashed")))
        lines.append("\n" + self.in_short())
        return "\n".join(lines)

    def failures(self, pairs: list[Pair], verdicts: tuple[str, ...]) -> list[str]:
        """How to see each again that came to one of these."""
        return ["\n" + self._failure(pair) for pair in pairs if pair.verdict in verdicts]

    def _failure(self, pair: Pair) -> str:
        told = "\n    ".join(pair.told.strip().splitlines()[-4:])
        kinds = f" --kinds {' '.join(self.kinds)}" if self.kinds else ""
        again = f"python -m tests.oracle --seed {self.seed}{kinds} --pair {pair.label} --keep FOLDER"
        how = f"{pair.mutation.kind}: {pair.mutation.name} ({pair.mutation.where})"
        return f"{pair.verdict}: {how}\n    {told}\n    again: {again}"


def _general(told: str) -> str:
    """A reason without the names of one model, to be counted."""
    text = re.sub(r"model_\d+", "model", told)
    text = re.sub(r"\bf\d+", "f", text)
    text = re.sub(r"0x[0-9a-f]+|[0-9a-f]{12,}", "…", text)
    text = re.sub(r"\d+", "0", text)
    return text[:170]
