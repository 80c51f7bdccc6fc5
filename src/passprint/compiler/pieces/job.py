"""One piece on its way from a traced graph to something that runs: what is known of it at each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule

from passprint.compiler.artifacts.artifact import Runnable
from passprint.compiler.pieces import symbols
from passprint.compiler.pieces.piece import Piece
from passprint.compiler.pieces.structure import Structure, Texts
from passprint.compiler.pieces.variants import CannotSpecialise, specialise
from passprint.compiler.record import Origin, PieceReport
from passprint.errors import CompileError
from passprint.identity import Fingerprint
from passprint.passes import CompileRange


@dataclass(frozen=True)
class Variant:
    """Code of its own for some sizes of one symbol of a graph."""

    symbol: str
    sizes: CompileRange


class StridesChanged(RuntimeError):
    """A result of a piece has other strides than were traced: Inductor keeps them only where no pass moved them."""


@dataclass
class Ready:
    """A piece, and the guards on its symbols that its compilation relied on.

    ``run`` is None while its kernels are being built; ``finish`` then waits for them. ``bypass`` says why it was not
    stored, or is None. ``writes`` says whether the piece may write to an input. ``strides``: by output those that it
    gives it, a text for each dimension; empty where that is not known.
    """

    run: Runnable | None
    form: str
    guards: str | None
    matches: Mapping[str, int]
    writes: bool
    strides: Sequence[Sequence[str] | None] = ()
    bypass: str | None = None
    finish: Callable[[], None] | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


class TracedGraph:
    """A graph module with what its pieces need to know of it."""

    def __init__(self, gm: GraphModule) -> None:
        self.gm = gm
        values = [n.meta.get("example_value") for n in gm.graph.nodes]
        self.fake_mode = symbols.fake_mode_of(values)
        self.shape_env = symbols.shape_env_of(values)
        devices = {v.device.type for v in values if isinstance(v, torch.Tensor)}
        self.device_types = sorted(devices or {"cpu"})
        self.guards_before = symbols.guard_count(self.shape_env)
        self.facts = symbols.symbol_facts(self.shape_env)
        self.texts = Texts()
        self._symbols = symbols.named_symbols(values)

    def symbol(self, name: str) -> torch.SymInt | None:
        """The symbolic size of this name as a value, or None where nothing carries it by itself."""
        return self._symbols.get(name)


@dataclass
class Job:
    """One piece on its way."""

    piece: Piece
    graph: TracedGraph
    structure: Structure
    key: Fingerprint
    symbols: Sequence[Any]
    bypass: str | None
    lookup_ms: float
    variant: Variant | None
    specialised: bool

    @property
    def label(self) -> str:
        return f"piece {self.key.digest[:12]}"

    @property
    def compile_range(self) -> CompileRange:
        """The sizes that this piece is compiled for: the variant's, the range of its first symbol, or all sizes."""
        if self.variant is not None and self.specialised:
            return self.variant.sizes
        return symbols.size_range(self.symbols)

    @property
    def sizes(self) -> str | None:
        """The variant that this piece belongs to, or None for the graph that serves all sizes."""
        return None if self.variant is None else str(self.variant.sizes)

    def inputs(self, gm: GraphModule) -> tuple[list[Any], Any]:
        """The inputs to compile ``gm``, the extracted piece, for, and their fake mode.

        Raises :class:`CannotSpecialise` for inputs that a variant cannot have.
        """
        values = [node.meta["example_value"] for node in self.piece.inputs]
        if self.variant is None or not self.specialised:
            return values, self.graph.fake_mode
        if any(map(symbols.is_from_data, self.structure.symbols)):
            raise CannotSpecialise("a size comes from data")
        made, fake_mode = specialise(values, self.variant.symbol, self.variant.sizes)
        # Inner nodes keep the general graph's example values: torch asks them only whether they are tensors.
        for node, value in zip(gm.graph.find_nodes(op="placeholder"), made, strict=True):
            node.meta["example_value"] = value
        return made, fake_mode

    def accepts(self, guards: str | None) -> bool:
        """Whether guards that were recorded for an equal piece hold here; they become guards of this trace."""
        return guards is None or symbols.assume_guards(self.graph.shape_env, guards, self.symbols)

    def check_strides(self, strides: Sequence[Sequence[str] | None]) -> None:
        """Raises :class:`StridesChanged` where a result that another piece takes has other strides than were traced."""
        outputs, inside = self.piece.outputs, set(self.piece.nodes)
        if len(strides) != len(outputs):
            return
        for node, given in zip(outputs, strides, strict=True):
            value = node.meta.get("example_value")
            if not isinstance(value, torch.Tensor):
                return  # a list of tensors counts as several
            if given is None or all(user in inside or user.op == "output" for user in node.users):
                continue
            for size, traced, has in zip(value.shape, value.stride(), given, strict=False):
                known = type(size) is int and type(traced) is int and has.isdecimal()
                if known and size > 1 and int(has) != traced:
                    raise StridesChanged(
                        f"{node.name} of {self.piece.label} lies in memory otherwise than the next part expects"
                    )

    def was_told_more(self) -> bool:
        """Whether more is known now of numbers from data than the key says: other pieces of the graph brought it up."""
        names = self.structure.symbols
        if not any(map(symbols.is_from_data, names)):
            return False
        now = symbols.symbol_facts(self.graph.shape_env)
        return now.of_data(names) != self.graph.facts.of_data(names)

    def report(self, ready: Ready, origin: Origin) -> PieceReport:
        """What is told of this piece."""
        return PieceReport(
            label=self.piece.label,
            digest=self.key.digest,
            nodes=len(self.piece.nodes),
            origin=origin,
            form=ready.form,
            bypass=ready.bypass,
            lookup_ms=self.lookup_ms,
            matches=ready.matches,
            sizes=self.sizes,
        )


def runnable(ready: Ready) -> Runnable:
    if ready.run is None:
        raise CompileError("A piece was lowered, but its builds were never waited for. Please report this.")
    return ready.run
