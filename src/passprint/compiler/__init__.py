"""How a model compiles: cut into pieces, each distinct piece compiled once and kept."""

from passprint.compiler.backend import Backend
from passprint.compiler.model import Compiled, CompiledModule, compile
from passprint.compiler.record import CompileReport, PieceReport

__all__ = ["Backend", "CompileReport", "Compiled", "CompiledModule", "PieceReport", "compile"]
