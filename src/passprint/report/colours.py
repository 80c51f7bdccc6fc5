"""One colour a thing: phases of the timeline, and distinct pieces. Names of CSS classes; page.css has the colours."""

from __future__ import annotations

from typing import Final

PHASES: Final = {
    "identity": ("identify", "deriving keys: of the model, of code, of passes"),
    "manifest": ("identify", "what a stored program was compiled with"),
    "sources": ("identify", "reading sources, so that a difference can be shown by line"),
    "lookup": ("find", "asking the store"),
    "load": ("find", "loading what was found or made"),
    "wait": ("wait", "waiting for another process that compiles the same"),
    "workers": ("wait", "waiting for processes beside this one"),
    "prepare": ("prepare", "importing torch's compiler"),
    "trace": ("trace", "Dynamo, up to the hand-over of the graph"),
    "partition": ("cut", "cutting the graph into pieces"),
    "stitch": ("cut", "writing the function that calls the pieces"),
    "compile": ("compile", "passes and Inductor"),
    "build": ("build", "waiting for kernels to be built"),
    "kernels": ("build", "the C++ compiler, beside all else"),
    "store": ("store", "storing what was made"),
    "record": ("store", "recording the trace for the next process"),
}
"""By phase: the class of its colour, and what it is."""

KINDS: Final = {
    "identify": "identify",
    "find": "look up, load",
    "wait": "wait",
    "prepare": "import",
    "trace": "trace",
    "cut": "cut, stitch",
    "compile": "compile",
    "build": "build, wait for it",
    "store": "store",
}
"""The legend: classes in order, with their words."""

PIECES: Final = 8
"""So many distinct pieces have a colour of their own; the rest share the last."""


def phase_kind(phase: str) -> str:
    """The class of a phase's colour."""
    return PHASES.get(phase, ("other", ""))[0]


def phase_about(phase: str) -> str:
    """What a phase is, in a few words."""
    return PHASES.get(phase, ("other", ""))[1]
