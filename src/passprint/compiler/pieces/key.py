"""The key of a compiled piece: a tree of named parts, everything that its generated code depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passprint.compiler.dependencies import environment as ledger
from passprint.compiler.dependencies.environment import own_code
from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.lowering import host, inductor, toolchain, user_code
from passprint.compiler.pieces.structure import Structure
from passprint.errors import OpaqueError, PipelineError
from passprint.identity import Fingerprint, compose, default_memo
from passprint.pipeline import PassManager

FORMAT = 4
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
        users_code = bool(mounted) or user_code.in_passes(manager.leaves())
        others: dict[str, object] = dict(user_code.everywhere(users_code=users_code))
    except OpaqueError as error:
        others = {}
        opaque.append(str(error))
    try:
        own = own_code()
    except CannotRecordError as error:
        own = {}
        opaque.append(str(error))
    variables = {row.name: row.text for row in ledger.variables()}
    flags = {name: variables.pop(name) for name in list(variables) if name.startswith(ledger.OF_COMPILERS)}
    compiler = {"version": toolchain.compiler_version(), "environment": flags}
    parts = {
        "passes": passes,
        "passes of others": compose("passes of others", mounted),
        "torch": compose("torch", inductor.torch_settings() | ({"replaced": others} if others else {})),
        "host": compose("host", toolchain.host_capabilities(device_types) | {"environment": variables}),
        CPU: compose(CPU, _cpu() if "cpu" in device_types else {}),
        COMPILER: compose(COMPILER, compiler if "cpu" in device_types else {}),
        "passprint": compose("passprint", {"format": FORMAT, "code": own}),
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
