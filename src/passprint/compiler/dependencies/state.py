"""The state behind the names of a list: a walk from the model, and what inlined code asks of process and machine.

Each thing that counts is a row: its kind, a path that a person can read (``model.config.activation``) and a text.
Beside the rows, the walk collects what it went through, for a check by pointer at every call
(:mod:`passprint.identity.slots`).
"""

from __future__ import annotations

from typing import Any

import torch

from passprint.compiler.dependencies.can_read import CanRead
from passprint.compiler.dependencies.code import visit_constant, visit_operator
from passprint.compiler.dependencies.constants import holds_result, marked
from passprint.compiler.dependencies.values import add_variables, visit_hooks
from passprint.compiler.dependencies.walk import Walk
from passprint.compiler.guards.refs import CannotRecordError, find, text_hash, unwrapped
from passprint.errors import OpaqueError
from passprint.identity import canonical


class State(Walk):
    """What lies behind the names of one list in this process, from one model."""

    def __init__(self, reads: CanRead, model: Any) -> None:
        """Walk. Raises :class:`CannotRecordError` where something that counts has no form."""
        super().__init__(reads)
        try:
            self.visit(model, "model", "model")
            for module, path in reads.roots:
                _visit_root(self, module, path)
            visit_hooks(self, vars(torch.nn.modules.module), "torch.nn", "_global_")
            add_variables(self, reads.variables)
            _add_questions(self)
            _add_packages(self)
        except CannotRecordError:
            raise
        except RecursionError:
            raise CannotRecordError("what the model reaches is nested too deeply to be compared") from None
        except Exception as error:
            # A walk meets classes of all kinds, and some compute what they are asked for.
            raise CannotRecordError(
                f"what the model reaches cannot be looked at ({type(error).__name__}: {error})"
            ) from error


def _visit_root(walk: Walk, module: str, path: str) -> None:
    """A function or class that was inlined or named by a guard, and that the model need not reach."""
    try:
        value = unwrapped(find(module, path))
    except LookupError:
        walk.once("value", f"{module}.{path}", "not there")
        return
    constant = marked(value)
    if constant is not None:
        visit_constant(walk, constant)
        return
    walk.visit(value, f"{module}.{path}", path.rpartition(".")[2])


def _add_packages(walk: Walk) -> None:
    """The distributions whose code was inlined, custom operators of the graph, and stamps of what hash() gives."""
    for top in walk.reads.packages:
        if top not in ("torch", "passprint"):
            walk.once("package", top, walk.label_of(top) or "not an installed one")
    for name in walk.reads.operators:
        visit_operator(walk, name)
    for key in walk.reads.hashing:
        walk.once("hash", key.replace(":", "."), text_hash())


def _add_questions(walk: Walk) -> None:
    """What functions answer that were called while the code was traced."""
    for module, name, args, named in walk.reads.questions:
        given_as = [*map(repr, args), *(f"{key}={value!r}" for key, value in named)]
        asked = f"{module}.{name}({', '.join(given_as)})"
        constant = None
        try:
            function: Any = find(module, name)
            constant = marked(function)
            function = constant or function  # Dynamo steps past a cache around it
            given = function(*args, **dict(named))
        except Exception as error:  # noqa: BLE001 - told: another function may raise anything
            walk.once("answer", asked, f"a {type(error).__name__}")
            continue
        if type(given).__name__ == "ModuleSpec":
            walk.once("answer", asked, f"a module {given.name}")
            continue
        try:
            canonical(given)
        except OpaqueError:
            if constant is not None:
                raise holds_result(constant) from None
            raise CannotRecordError(f"{asked} gave something without an identity") from None
        walk.once("answer", asked, repr(given))
