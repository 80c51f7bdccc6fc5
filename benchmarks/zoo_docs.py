"""``docs/zoo.md`` from the figures of ``benchmarks/zoo.py``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

KINDS = {
    "wrong": "a result differs from eager's",
    "error": "an error where eager runs",
    "traced": "one graph, and still traced in the second process",
    "breaks": "graph breaks: traced in every process",
    "right": "right, and no trace in the second process",
    "dropped": "does not run eagerly as it was built here",
}


def kind_of(found: Figures) -> str:
    """One of :data:`KINDS`."""
    if "error" in found["eager"]:
        return "dropped"
    starts = [found["cold"], found["warm"]]
    if any("error" in one for one in starts):
        return "error"
    if not all(one["right"] for one in starts):
        return "wrong"
    if found["cold"]["breaks"] or found["warm"]["breaks"]:
        return "breaks"
    return "traced" if found["warm"]["traced"] or not found["warm"]["loaded"] else "right"


def write(file: Path, found: list[Figures]) -> None:
    """Write the page."""
    file.write_text(page(found), encoding="utf-8")


def page(found: list[Figures]) -> str:
    """The page as Markdown: what was run, the sums, the table with failures first."""
    order = list(KINDS)
    ran = sorted(
        (one for one in found if kind_of(one) != "dropped"),
        key=lambda one: (order.index(kind_of(one)), one["model"]),
    )
    dropped = [one for one in found if kind_of(one) == "dropped"]
    counts = Counter(kind_of(one) for one in ran)
    whole = counts["right"] + counts["traced"]
    share = f"{100 * counts['right'] / whole:.1f} %" if whole else "–"
    sums = "\n".join(f"| {KINDS[kind]} | {counts[kind]} |" for kind in order if kind != "dropped")
    errors = Counter(_short(one["eager"]["error"].split(":")[0]) for one in dropped)
    left_out = "; ".join(f"{name}: {count}" for name, count in errors.most_common())
    reasons = Counter(_short(reason(one), 160) for one in ran if kind_of(one) in ("breaks", "traced"))
    return _PAGE.format(
        ran=len(ran),
        sums=sums,
        whole=whole,
        share=share,
        dropped=len(dropped),
        left_out=left_out,
        reasons="\n".join(f"| {text} | {count} |" for text, count in reasons.most_common()),
        headings=f"| {' | '.join(_HEADINGS)} |\n|{' --- |' * len(_HEADINGS)}",
        rows="\n".join(_row(one) for one in ran),
    )


def reason(found: Figures) -> str:
    """Why the second process traced, without the place in the model's code."""
    for start in (found["warm"], found["cold"]):
        for one in start["breaks"]:
            said = re.search(r"\(([^()]*(?:\([^()]*\))?[^()]*)\)$", one)
            return "graph break: " + (said[1] if said else one)
    notes = [one for one in found["cold"]["notes"] if one.startswith("warm start must trace")]
    return str(notes[0] if notes else found["warm"]["why"])


def _row(found: Figures) -> str:
    cold, warm, plain = found["cold"], found["warm"], found.get("plain", {})
    kind = kind_of(found)
    if kind == "error":
        said = next(one["error"] for one in (cold, warm) if "error" in one)
    elif kind == "wrong":
        said = f"differences {cold['differences']}, {warm['differences']}"
    else:
        said = reason(found) if kind != "right" else ""
    if plain and kind in ("error", "wrong"):
        said += f"; plain torch.compile: {plain.get('error') or plain['differences']}"
    cells = [
        found["model"],
        found["eager"]["class"],
        found["eager"]["family"],
        "yes" if kind in ("right", "traced", "breaks") else kind,
        str(cold.get("pieces", "")),
        str(cold.get("distinct", "")),
        f"{1e3 * found['eager']['seconds']:.1f}",
        _seconds(cold),
        _seconds(warm),
        _seconds(plain),
        str(warm.get("traced", "")),
        _short(said, 160),
    ]
    return f"| {' | '.join(cells)} |"


def _seconds(one: Figures) -> str:
    return f"{one['seconds']:.2f}" if "seconds" in one else ""


def _short(text: str, most: int = 120) -> str:
    """One line without a machine's paths."""
    text = re.sub(r"\S*/site-packages/", "", " ".join(str(text).split())).replace("|", "\\|")
    return text if len(text) <= most else text[: most - 1] + "…"


_HEADINGS = (
    *("model", "class", "family", "right", "pieces", "distinct", "eager ms", "cold s", "warm s", "plain s"),
    *("traced in the second process", "why"),
)

_PAGE = """# The zoo

`python -m benchmarks.zoo` builds base models of transformers small and with random weights (two layers, narrow, a small
vocabulary), and some others; runs each eagerly; compiles it in one process; and starts it in the next. Three calls of
each process are compared with eager: the one that compiles, the same again, and one with other values. The second
process has another seed for `hash`. Most models were taken in an order by the digest of their name, some by name; those
that have no row were not run yet. Rows were not all measured at one commit.

Times are of one start each, on two cores that other programs kept busy: they say which start compiles, not how fast.
Cold starts share Inductor's folder (the precompiled header and equal kernels are built once); passprint's cache is each
model's own. Plain `torch.compile` ran where a result of passprint's was wrong or an error.

| | models |
| --- | --- |
{sums}

Of {whole} models that are one graph, {share} start without a trace in the second process. {ran} models ran.
{dropped} more do not run eagerly as they are built here:
{left_out}.

## Why the second process traced

| reason | models |
| --- | --- |
{reasons}

## Models, failures first

{headings}
{rows}
"""
