"""The key of a compiled piece: a tree of named parts, everything that its generated code depends on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from passprint.compiler.lowering import host, inductor, toolchain, user_code
from passprint.compiler.pieces.structure import Structure
from passprint.errors import OpaqueError, PipelineError
from passprint.identity import Fingerprint, canonical, compose, default_memo
from passprint.pipeline import PassManager

FORMAT = 3
"""Raised when what is stored for a piece, or how it runs, changes in a way that old entries do not follow."""


CPU = "CPU"
"""The part of a key that a host with more instructions need not share: what needs fewer runs there."""

COMPILER = "c++ compiler"
"""The part of a key that a host without a compiler has no say in: what any compiler built will do there."""


@dataclass(frozen=True)
class Environment:
    """The parts of a key that all pieces of one compile share, and why the cache must be bypassed, if it must."""

    parts: dict[str, Fingerprint]
    opaque: tuple[str, ...]


def environment(manager: PassManager, device_types: Sequence[str]) -> Environment:
    """Identify the passes, torch with its settings, the host, and passprint itself."""
    opaque: list[str] = []
    try:
        passes = manager.identity()
    except PipelineError as error:  # a pass of another library that says "do not cache"
        passes = compose("pipeline", {})
        opaque.append(str(error))
    opaque.extend(passes.opaque)
    mounted = {}
    for slot, value in inductor.mounted_slots().items():
        digest = default_memo().digest(value)
        if digest is None:
            opaque.append(f"the pass that another library put into {slot} cannot be identified")
        else:
            mounted[slot] = digest
    try:
        others: dict[str, object] = dict(user_code.everywhere())
    except OpaqueError as error:
        others = {}
        opaque.append(str(error))
    parts = {
        "passes": passes,
        "passes of others": compose("passes of others", mounted),
        "torch": compose("torch", inductor.torch_settings() | ({"replaced": others} if others else {})),
        "host": compose("host", toolchain.host_capabilities(device_types)),
        CPU: compose(CPU, _cpu() if "cpu" in device_types else {}),
        COMPILER: compose(COMPILER, toolchain.cpp_compiler() if "cpu" in device_types else {}),
        "passprint": compose("passprint", {"format": FORMAT, "code": _own_code()}),
    }
    return Environment(parts, tuple(opaque))


def _cpu() -> dict[str, object]:
    return {"cpu": host.instruction_set(), "cpu capability": host.cpu()[host.CAPABILITY]}


def piece_key(structure: Structure, shared: Environment, sizes: str | None = None) -> Fingerprint:
    """Compose the key of one piece. Text parts keep their text, so that a miss can show the lines that differ.

    ``sizes`` names the sizes that a variant is compiled for.
    """
    return compose(
        "piece",
        {
            "graph": structure.graph,
            "inputs": structure.inputs,
            "symbols": structure.facts,
            **({} if sizes is None else {"sizes": sizes}),
            **shared.parts,
        },
    )


@cache
def _own_code() -> str:
    """Passprint's version; for an editable install, where the version stands still, its files' content too."""
    import passprint

    version = passprint.__version__
    root = Path(passprint.__file__).parent
    try:
        files = importlib.metadata.files("passprint") or []
        installed = any(f.name == "errors.py" for f in files)
    except importlib.metadata.PackageNotFoundError:
        installed = False
    if installed:
        return version
    rooms = ("identity", "passes", "pipeline", "compiler")
    sources = [p for room in rooms for p in sorted((root / room).rglob("*.py"))]
    digest = default_memo().digest(
        canonical([(p.relative_to(root).as_posix(), p.read_bytes()) for p in sources])
    )
    return f"{version}+{digest}"
