"""From a finished trace to a manifest: what a later process has to find unchanged, and what it runs then."""

from __future__ import annotations

import builtins
import dis
import gc
import marshal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from passprint.compiler.artifacts.artifact import WRAPPER
from passprint.compiler.guards.refs import CannotRecordError, Refs, code_stamp, find, text_hash, unwrapped
from passprint.compiler.guards.writer import GuardWriter
from passprint.compiler.lowering.operators import identity
from passprint.compiler.record import PieceReport
from passprint.compiler.start.manifest import Manifest, StoredCall, StoredPiece
from passprint.compiler.trace.backend import Made
from passprint.compiler.trace.dynamo import Trace
from passprint.compiler.trace.folded import to_ask_again

_COMPILED = "__compiled_fn"
_BUILTINS = "__builtins_dict__"
_LARGEST_CONSTANT = 1 << 20
_HASHES = frozenset({"hash", "__hash__"})

PieceFiles = Mapping[str, bytes | Path]


def record(
    trace: Trace,
    scope: Mapping[str, Any],
    made: Made,
    **known: Any,
) -> tuple[Manifest, dict[str, bytes | Path]]:
    """The manifest of a trace of ``scope`` (``model``, ``args``, ``kwargs``) and the files that belong to it.

    ``known`` are the fields of :class:`Manifest` that were found before the trace. Raises
    :class:`CannotRecordError` with the reason why a warm start must trace.
    """
    for seen, held in (piece for row in made.rows for piece in row):
        if seen.bypass or not held:
            raise CannotRecordError(f"a piece is not stored: {seen.bypass or seen.label}")
    refs = Refs()
    writer = GuardWriter(scope, trace.frame_globals, refs, trace.tensor_facts)
    guards = writer.write(trace.guards)
    distributions, functions = _inlined(trace, scope["model"], refs, _live(writer))
    stored, (calls, *others), files = _pieces(made.rows)
    bytecode, objects = _without_objects(trace.bytecode, refs)
    bounds = [(r.start, r.end) for r in made.ranges]
    manifest = Manifest(
        distributions=distributions,
        functions=functions,
        operators={name: identity(name) for name in made.operators},
        asked=to_ask_again(trace.folded),
        guards=guards.code,
        refs=guards.refs,
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
        **known,
    )
    return manifest, files


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


# ---- inlined code ---------------------------------------------------------------------------------------


def _live(writer: GuardWriter) -> list[object]:
    return [value for value, _ in writer._constants.values()]


def _inlined(
    trace: Trace, model: Any, refs: Refs, guarded: Iterable[object]
) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """The distributions whose code was inlined, and a reference of each inlined function that has a name.

    Code of the user's that no reference covers is a reason to record nothing.
    """
    owners = _owners(trace.traced)
    distributions: dict[str, str] = {}
    functions: list[tuple[Any, ...]] = []
    roots: list[Any] = [value for value in guarded if isinstance(value, (type, FunctionType))]
    own = getattr(model, "__func__", model)
    if isinstance(own, FunctionType) and _by_content(own, refs):
        functions.append(("model", own.__module__, own.__qualname__, refs(own)))
        roots.append(own)
    covered = _codes_of(value for value in roots if _by_content(value, refs))
    missing: list[CodeType] = []
    for code in trace.traced:
        function = owners.get(code)
        module = _module_of(code, function)
        label = None if module is None else refs.label(module)
        if _uses_hash(code, str(module)):
            functions.append(("hash", str(module), code.co_qualname, text_hash()))
        if label is not None:
            top = str(module).partition(".")[0]
            if top == "passprint":  # among the surroundings
                continue
            distributions[top] = label
            if top != "torch":
                functions += _stamped(code, str(module))
        elif code not in covered:
            missing.append(code)
    for code in missing:
        if code not in covered:
            functions.append(_named(code, owners.get(code), refs, covered))
    return distributions, functions


def _uses_hash(code: CodeType, module: str) -> bool:
    """Whether code may have a result of ``hash``. A ``__hash__`` itself is called to look something up as well."""
    own = module.partition(".")[0] in ("torch", "passprint") or code.co_name == "__hash__"
    return not own and not _HASHES.isdisjoint(code.co_names)


def _stamped(code: CodeType, module: str) -> list[tuple[Any, ...]]:
    """The stamp of an installed function that is found by its name, so that an edited or patched one is noticed."""
    if "<" in code.co_qualname:
        return []
    try:
        found = unwrapped(find(module, code.co_qualname))
    except LookupError:
        return []
    if getattr(found, "__code__", None) is not code:
        return []
    return [("stamp", module, code.co_qualname, code_stamp(code))]


def _named(
    code: CodeType, function: FunctionType | None, refs: Refs, covered: set[CodeType]
) -> tuple[Any, ...]:
    """A reference of a function of the user's by its name; what it covers is added to ``covered``."""
    module = _module_of(code, function)
    names = [code.co_qualname] if function is None else [function.__qualname__, code.co_qualname]
    for name in names:
        path = name.partition(".<locals>")[0]
        try:
            found = unwrapped(find(str(module), path))
        except LookupError:
            continue
        reached = _codes_of([found])
        if code in reached:
            covered |= reached
            return ("function", str(module), path, refs(found))
    raise CannotRecordError(
        f"it inlined {code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno}), "
        "which cannot be found by its name"
    )


def _by_content(value: Any, refs: Refs) -> bool:
    module = value.__globals__.get("__name__") if isinstance(value, FunctionType) else value.__module__
    return refs.label(module) is None


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


def _module_of(code: CodeType, function: FunctionType | None) -> str | None:
    if function is not None:
        return function.__globals__.get("__name__")
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == code.co_filename:
            return name
    frozen = code.co_filename
    return frozen.removeprefix("<frozen ").removesuffix(">") if frozen.startswith("<frozen ") else None


def _codes_of(values: Iterable[Any]) -> set[CodeType]:
    """All code that functions and classes hold: their own, nested code, closures, wrapped functions, methods, bases."""
    found: set[CodeType] = set()
    seen: set[int] = set()
    todo: list[Any] = list(values)
    while todo:
        value = unwrapped(todo.pop())
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, CodeType):
            found.add(value)
            todo.extend(constant for constant in value.co_consts if isinstance(constant, CodeType))
        elif isinstance(value, FunctionType):
            todo.append(value.__code__)
            todo.extend(_contents(value))
            todo.extend(vars(value).values())
        elif isinstance(value, type):
            todo.extend(v for v in vars(value).values() if _may_hold_code(v))
            todo.extend(base for base in value.__bases__ if base is not object)
        elif callable(value):
            inner = getattr(value, "__wrapped__", None) or getattr(value, "func", None)
            if inner is not None:
                todo.append(inner)
    return found


def _may_hold_code(value: object) -> bool:
    return callable(value) or isinstance(value, (staticmethod, classmethod, property))


def _contents(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            content: Callable[..., Any] | Any = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        if _may_hold_code(content):
            yield content
