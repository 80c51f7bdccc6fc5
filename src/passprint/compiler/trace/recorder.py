"""From a finished trace to a manifest: what a later process has to find unchanged, and what it runs then."""

from __future__ import annotations

import builtins
import dis
import gc
import marshal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch

from passprint.compiler.artifacts.artifact import WRAPPER
from passprint.compiler.dependencies.can_read import CanRead, Inlined, can_read, nested_code
from passprint.compiler.dependencies.environment import machine
from passprint.compiler.dependencies.row import PLAIN
from passprint.compiler.dependencies.state import State
from passprint.compiler.guards.refs import CannotRecordError, Refs, find, unwrapped
from passprint.compiler.guards.writer import GuardCode, GuardWriter
from passprint.compiler.record import PieceReport
from passprint.compiler.start.key import ProgramKey
from passprint.compiler.start.manifest import Manifest, StoredCall, StoredPiece
from passprint.compiler.start.passes_found import PassesFound
from passprint.compiler.start.warm import Lookup
from passprint.compiler.trace.backend import Made
from passprint.compiler.trace.dynamo import Trace
from passprint.identity import default_memo
from passprint.identity.origin import PYTHON

_COMPILED = "__compiled_fn"
_BUILTINS = "__builtins_dict__"
_LARGEST_CONSTANT = 1 << 20

PieceFiles = Mapping[str, bytes | Path]


class Relied(NamedTuple):
    """What a trace relied on: the list of what its code can read, what is there, and the guards of each call."""

    reads: CanRead
    state: State
    guards: GuardCode


def relied_on(trace: Trace, scope: Mapping[str, Any], operators: Sequence[str]) -> Relied:
    """Of a trace of ``scope`` (``model``, ``args``, ``kwargs``), whose graph calls these custom operators.

    Raises :class:`CannotRecordError` for something that has no form that can be compared.
    """
    guards = GuardWriter(scope, trace.frame_globals, trace.tensor_facts)
    guards.check(trace.guards)
    reads, state = _dependencies(trace.traced, operators, scope["model"], guards.objects)
    for module in guards.hooked:
        if not isinstance(module, ModuleType) and not state.covers(module):
            kind = type(module).__qualname__
            raise CannotRecordError(f"a {kind} is called that nothing which has a name leads to")
    return Relied(reads, state, guards.finish(trace.guards, state.watched))


def own_reads(model: Any) -> CanRead:
    """What the code of a function reads that is to be traced, or of a bound method's; of a module, nothing by name."""
    code = getattr(getattr(model, "__func__", model), "__code__", None)
    return can_read([] if code is None else _inlined([code]))


def record(
    trace: Trace, relied: Relied, made: Made, lookup: Lookup, passes: PassesFound
) -> tuple[ProgramKey, Manifest, dict[str, bytes | Path]]:
    """The key, the manifest and the files of the program that came of a trace.

    ``lookup`` is what was asked before the trace, ``passes`` what it was compiled with. Raises
    :class:`CannotRecordError` with the reason why a warm start must trace.
    """
    for seen, held in (piece for row in made.rows for piece in row):
        if seen.bypass or not held:
            raise CannotRecordError(f"a piece is not stored: {seen.bypass or seen.label}")
    guards, key = relied.guards, lookup.key_for(relied.reads, relied.state)
    refs = Refs(key.state.covers)
    stored, (calls, *others), files = _pieces(made.rows)
    bytecode, objects = _without_objects(trace.bytecode, refs)
    bounds = [(r.start, r.end) for r in made.ranges]
    manifest = Manifest(
        machine=machine(),
        passes=passes.record(),
        guards=guards.code,
        refs=[refs(value) for value in guards.objects],
        names=guards.names,
        modules=guards.modules,
        told=guards.told,
        tensors=guards.tensors,
        open_tensors=guards.open_tensors,
        bytecode=bytecode,
        objects=objects,
        globals=_globals(trace, refs),
        stitched=made.stitched.code,
        constants={name: _constant(name, value) for name, value in made.stitched.constants.items()},
        pieces=stored,
        calls=calls,
        size=None if made.size is None else (made.size.argument, made.size.dimension),
        variants=[(*pair, row) for pair, row in zip(bounds, others, strict=True)],
        writes=made.writes,
    )
    return key, manifest, files


# ---- pieces ---------------------------------------------------------------------------------------------


def _pieces(
    rows: Sequence[Sequence[tuple[PieceReport, PieceFiles]]],
) -> tuple[list[StoredPiece], list[list[StoredCall]], dict[str, bytes | Path]]:
    stored: list[StoredPiece] = []
    files: dict[str, bytes | Path] = {}
    numbers: dict[tuple[str, int], int] = {}
    calls: list[list[StoredCall]] = [[] for _ in rows]
    for row, (seen, held) in (
        (row, piece) for row, pieces in zip(calls, rows, strict=True) for piece in pieces
    ):
        number = numbers.setdefault((seen.digest, id(held)), len(stored))
        if number == len(stored):
            names = {name: f"{number}.{name}" for name in held}
            wrapper = None
            if seen.form == "direct":
                wrapper = compile(_read(held[WRAPPER]), f"<passprint piece {seen.digest[:12]}>", "exec")
                del names[WRAPPER]
            files.update({names[name]: content for name, content in held.items() if name in names})
            stored.append(StoredPiece(seen.digest, seen.form, names, wrapper))
        row.append((number, seen.label, seen.nodes, dict(seen.matches)))
    return stored, calls, files


def _read(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _constant(name: str, value: object) -> tuple[Any, ...]:
    """A small tensor that the graph holds, as bytes."""
    if (
        type(value) is torch.Tensor
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and value.nbytes <= _LARGEST_CONSTANT
        and not value.requires_grad
        and not value.is_conj()
        and not value.is_neg()
    ):
        data = bytes(value.contiguous().reshape(-1).view(torch.uint8).tolist()) if value.numel() else b""
        return (str(value.dtype).removeprefix("torch."), tuple(value.shape), tuple(value.stride()), data)
    raise CannotRecordError(f"the graph holds {name}, a {type(value).__qualname__} that is not stored")


# ---- the frame's globals --------------------------------------------------------------------------------


def _globals(trace: Trace, refs: Refs) -> dict[str, tuple[Any, ...]]:
    """How each name that the new code looks up is found again."""
    found: dict[str, tuple[Any, ...]] = {}
    for name in sorted(set(_global_names(trace.bytecode))):
        if name.startswith(_COMPILED):
            found[name] = ("program",)
        elif name.startswith(_BUILTINS):
            found[name] = ("builtins",)
        elif name in trace.frame_globals:
            found[name] = _global(name, trace.frame_globals[name], refs)
        elif not hasattr(builtins, name):
            raise CannotRecordError(f"the code that rebuilds the outputs uses the unknown name {name}")
    return found


def _without_objects(code: CodeType, refs: Refs) -> tuple[CodeType, dict[int, tuple[Any, ...]]]:
    """The new code without those of its constants that ``marshal`` does not know, and how each is made again."""
    objects: dict[int, tuple[Any, ...]] = {}
    constants = list(code.co_consts)
    for place, value in enumerate(constants):
        try:
            marshal.dumps(value)
        except ValueError:
            objects[place], constants[place] = _object(value, refs), None
    return code.replace(co_consts=tuple(constants)), objects


def _object(value: Any, refs: Refs) -> tuple[Any, ...]:
    """How a constant of the new code is made again: a class, a shape, a dtype among what the model returns."""
    if isinstance(value, (type, FunctionType)):
        return _global("a constant", value, refs)
    if isinstance(value, MethodType) and isinstance(value.__self__, type):
        name = value.__func__.__name__
        if getattr(value.__self__, name, None) == value:
            return ("method", _global("a constant", value.__self__, refs), name)
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return ("torch", str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return ("device", str(value))
    parts: tuple[Any, ...] = ()
    if type(value) is torch.Size:
        parts = tuple(value)
    elif type(value) in (slice, range):
        parts = (value.start, value.stop, value.step)
    if parts and all(type(part) in (int, type(None)) for part in parts):
        return (type(value).__name__.lower(), *parts)
    raise CannotRecordError(f"the code that rebuilds the outputs holds a {type(value).__qualname__}")


def _global(name: str, value: Any, refs: Refs) -> tuple[Any, ...]:
    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return ("value", value)
    if isinstance(value, (type, FunctionType)):
        reference = refs(value)
        try:
            if find(value.__module__, value.__qualname__) is value:
                return ("object", value.__module__, value.__qualname__, reference)
        except LookupError:
            pass
    raise CannotRecordError(f"the code that rebuilds the outputs uses {name}, a {type(value).__qualname__}")


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


# ---- what inlined code can read -------------------------------------------------------------------------


def _dependencies(
    traced: Sequence[CodeType], operators: Sequence[str], model: Any, guarded: Sequence[object]
) -> tuple[CanRead, State]:
    """The list of what the inlined code can read, and what is there. Code that nothing leads to is no record's."""
    inlined = _inlined(traced)
    reads = can_read(inlined)._replace(operators=tuple(operators))
    state = State(reads, model)
    if {"getattr", "hasattr"} & reads.names:  # names may be computed from texts that lie in the state
        texts = frozenset(_texts_in(state))
        reads = reads._replace(names=reads.names | texts, texts=reads.texts | texts)
    roots: dict[tuple[str, str], None] = {}
    for each in inlined:
        if each.code not in state.codes and not str(each.module).startswith(("torch", "passprint")):
            place = _place(each)
            if place is not None:
                roots[place] = None
    for value in guarded:
        if isinstance(value, (type, FunctionType)) and not state.covers(value):
            module, path = str(value.__module__), value.__qualname__
            if state.memo.origins.of_module(module).label is None and _leads_to(module, path, value):
                roots[module, path] = None
    reads = reads._replace(roots=tuple(roots))
    state = State(reads, model)
    for each in inlined:
        if each.label is None and each.code not in state.codes:
            raise CannotRecordError(
                f"it inlined {each.code.co_qualname} ({each.code.co_filename.rpartition('/')[2]}:"
                f"{each.code.co_firstlineno}), which cannot be found by its name"
            )
    return reads, state


def _texts_in(state: State) -> Iterator[str]:
    for row in state.rows:
        if row.kind in ("value", PLAIN) and row.text[:1] in "'\"" and row.text[1:-1].isidentifier():
            yield row.text[1:-1]


def _leads_to(module: str, path: str, value: object) -> bool:
    try:
        return unwrapped(find(module, path)) is value
    except LookupError:
        return False


def _place(each: Inlined) -> tuple[str, str] | None:
    """Where code is found by a name: the function that it is the code of, or that it is nested in."""
    names = [each.code.co_qualname]
    if each.function is not None:
        names.insert(0, each.function.__qualname__)
    for name in names:
        path = name.partition(".<locals>")[0]
        try:
            found: Any = unwrapped(find(str(each.module), path))
        except LookupError:
            continue
        while found is not None:
            code = getattr(found, "__code__", None)
            if code is not None and each.code in nested_code(code):
                return str(each.module), path
            found = getattr(found, "__wrapped__", None)
    return None


def _inlined(codes: Sequence[CodeType]) -> list[Inlined]:
    owners = _owners(codes)
    attributes = _properties(owners)
    origins = default_memo().origins
    files = {str(getattr(m, "__file__", None)): name for name, m in list(sys.modules.items())}
    found = []
    for code in codes:
        function = owners.get(code)
        module = function.__globals__.get("__name__") if function is not None else None
        if module is None:
            module = files.get(code.co_filename) or _frozen(code.co_filename)
        label = origins.of_module(module).label if module else None
        if str(module).startswith("namedtuple_") and code.co_filename == "<string>":
            label = PYTHON  # the __new__ that collections.namedtuple makes: the same for all
        found.append(Inlined(code, function, module, label, attributes.get(code, frozenset())))
    return found


def _frozen(file: str) -> str | None:
    return file.removeprefix("<frozen ").removesuffix(">") if file.startswith("<frozen ") else None


def _properties(owners: Mapping[CodeType, FunctionType]) -> dict[CodeType, frozenset[str]]:
    """Of getters of properties all the names under which classes have them."""
    held: dict[int, tuple[property, CodeType]] = {}
    for code, function in owners.items():
        try:
            owner = find(str(function.__module__), function.__qualname__.rpartition(".")[0])
        except (LookupError, ValueError):
            continue
        getter = vars(owner).get(function.__name__) if isinstance(owner, type) else None
        if isinstance(getter, property) and getter.fget is function:
            held[id(getter)] = getter, code
    names: dict[CodeType, set[str]] = {}
    for table in gc.get_referrers(*[getter for getter, _ in held.values()]) if held else ():
        for name, value in list(table.items()) if isinstance(table, dict) else ():
            if isinstance(name, str) and id(value) in held:
                names.setdefault(held[id(value)][1], set()).add(name)
    return {code: frozenset(found) for code, found in names.items()}


def _owners(codes: Sequence[CodeType]) -> dict[CodeType, FunctionType]:
    """The living functions of code objects."""
    wanted = set(codes)
    return (
        {
            function.__code__: function
            for function in gc.get_referrers(*codes)
            if isinstance(function, FunctionType) and function.__code__ in wanted
        }
        if codes
        else {}
    )
