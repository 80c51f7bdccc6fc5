"""Golden files: what a graph looked like when someone last said that it was right."""

from __future__ import annotations

import os
from pathlib import Path

from passprint.pipeline.graph_text import difference

#: Set to 1 to write golden files instead of comparing with them.
UPDATE = "PASSPRINT_UPDATE_GOLDENS"


def golden_fault(path: Path, text: str) -> str | None:
    """In what ``text`` differs from the golden file, or None; with the variable set, the file is written."""
    if os.environ.get(UPDATE) == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return None
    if not path.exists():
        return f"the golden file {path} is not there; write it with {UPDATE}=1"
    kept = path.read_text(encoding="utf-8")
    if kept == text:
        return None
    return f"{path.name} differs; if the new one is right, run again with {UPDATE}=1\n" + difference(
        kept, text, (path.name, "now")
    )
