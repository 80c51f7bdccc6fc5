"""A compiled program in a process that did not trace it: checked against its manifest, loaded, bound and run."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple, Protocol

import torch

from passprint.cache.entry import Entry
from passprint.compiler.artifacts.kernels import run_wrapper
from passprint.compiler.artifacts.stitched import Runnable, Stitched, choose
from passprint.compiler.dependencies.state import State
from passprint.compiler.guards import code as guard_code
from passprint.compiler.guards.overlap import Apart, overlapping
from passprint.compiler.guards.refs import CannotRecordError, Refs, find
from passprint.compiler.guards.watch import Watch, ordered
from passprint.compiler.start import ambient, shims
from passprint.compiler.start.manifest import Manifest, StoredPiece

# What an expression of a guard may raise where something that it goes through is gone.
_GONE = (AttributeError, KeyError, IndexError, TypeError, ValueError, ImportError)


class Files(Protocol):
    """The files of an entry of a store."""

    def read(self, name: str) -> bytes: ...

    def path(self, name: str) -> Path: ...


class ProgramMismatch(Exception):
    """A stored program cannot serve this call; the message says why. Internal: a miss."""


class Refused(NamedTuple):
    """A stored program that does not serve, and why."""

    entry: Entry
    reason: str


class TensorsOverlap(ProgramMismatch):
    """Two tensors overlap in memory, and the program writes to an input."""


class Program:
    """Something that was compiled for calls like one that was traced. ``accepts`` is asked at every call.

    ``entry`` is kept: while it is, no sweep of the store removes the kernels.
    """

    def __init__(self, manifest: Manifest, guards: Guards, run: Callable[..., Any], entry: object) -> None:
        self.manifest = manifest
        self._guards = guards
        self._entry = entry
        self.run = run
        self.accepts = guards.accept


def _raise_first(reasons: Iterable[str | None]) -> None:
    for reason in reasons:
        if reason is not None:
            raise ProgramMismatch(reason)


class Guards:
    """The guards of a manifest, bound to the objects of this process."""

    def __init__(self, manifest: Manifest, state: State, model: Any, args: Any, kwargs: Any) -> None:
        """Bind the guards, and check them all for this call. Raises :class:`ProgramMismatch`.

        ``state`` is what the ledger's names lead to now; the manifest's key says that it is what it was.
        """
        self._manifest = manifest
        refs = Refs(state.covers)
        try:
            names = guard_code.namespace(manifest.modules)
            exec(manifest.guards, names)
            fetched = names["fetch"](model, args, kwargs)
        except _GONE as error:
            raise ProgramMismatch(
                f"something that was read is not there: {type(error).__name__} {error}"
            ) from error
        compared = zip(manifest.names, fetched, manifest.refs, strict=True)
        _raise_first([self._compare(*each, refs) for each in compared])
        for index, value in enumerate(fetched):
            names[f"k{index}"] = value
        self._names = names
        self._check = names["check"]
        self._rest = names["rest"]
        self._model = model
        self._watch = Watch(state, partial(State, state.reads, model))
        self._fits: Callable[..., bool] | None = None
        """Torch's check of all tensors, given those that are not reached through modules; the others were checked once,
        and are the same while nothing that is watched has changed."""
        self._ambient = ambient.checker()
        names["tensors"] = self._take
        self._raise_unless(self._ask(model, args, kwargs))

    @staticmethod
    def _compare(name: str, value: object, expected: tuple[Any, ...], refs: Refs) -> str | None:
        try:
            present = refs(value)
        except CannotRecordError as error:
            return f"{name} has become something without an identity: {error}"
        if present == expected:
            return None
        was, now = _told(expected), _told(present)
        return f"{name} was {was} and is {now}" if was != now else f"{was} has changed ({name})"

    def _ask(self, model: Any, args: Any, kwargs: Any) -> str | None:
        try:
            failed = self._check(model, args, kwargs)
        except _GONE as error:
            return f"something that was read is not there: {type(error).__name__} {error}"
        return None if failed < 0 else self._manifest.told[failed]

    def _raise_unless(self, reason: str | None) -> None:
        if reason is not None:
            raise ProgramMismatch(f"a guard does not hold: {reason}")

    def _take(self, *tensors: Any) -> bool:
        """Called by the first check in place of torch's: holds each tensor against its record."""
        for tensor, (source, kind, sizes, strides) in zip(tensors, self._manifest.tensors, strict=True):
            if not isinstance(tensor, torch.Tensor):
                raise ProgramMismatch(f"{source} is no tensor")
            present = guard_code.tensor_text(tensor)
            if present != kind:
                raise ProgramMismatch(f"{_short(source)} was a {kind} and is a {present}")
            for word, fixed, now in (("sizes", sizes, tensor.shape), ("strides", strides, tensor.stride())):
                if len(fixed) != len(now) or any(
                    f is not None and f != n for f, n in zip(fixed, now, strict=True)
                ):
                    raise ProgramMismatch(
                        f"the {word} of {_short(source)} are {list(now)}; compiled for {list(fixed)}"
                    )
        pair = overlapping(tensors) if self._manifest.writes else None
        if pair is not None:
            one, other = (_short(self._manifest.tensors[place][0]) for place in pair)
            raise TensorsOverlap(f"{one} and {other} overlap in memory, and the program writes to an input")
        self._names["tensors"] = self._tensor_check(tensors, self._manifest.tensors)
        if not self._names["tensors"](*tensors):
            raise ProgramMismatch(
                "two arguments are one tensor, or a tensor is of a kind that was not compiled for"
            )
        return True

    # -- at every call

    def accept(self, model: Any, args: Any, kwargs: Any) -> bool:
        """Whether the program serves this call."""
        if not self._ambient():
            return False
        try:
            if not self._watch.unchanged():
                self._fits = None
                if not self._watch.renewed():
                    return False
            elif self._fits is not None and model is self._model:
                tensors = self._rest(model, args, kwargs)
                return tensors is not None and self._fits(*tensors)
            serves: bool = self._check(model, args, kwargs) < 0
            if serves and model is self._model:
                self._fits = self._check_of_tensors(model, args, kwargs)
            return serves
        except _GONE:
            return False

    def _check_of_tensors(self, model: Any, args: Any, kwargs: Any) -> Callable[..., bool]:
        """Torch's check of all tensors, as a function of those that are not reached through modules alone."""
        taken: list[Any] = []
        names = self._names

        def take(*tensors: Any) -> bool:
            taken.extend(tensors)
            return True

        check, names["tensors"] = names["tensors"], take
        try:
            self._check(model, args, kwargs)
        finally:
            names["tensors"] = check
        first = self._manifest.open_tensors
        tensors = ordered(taken, first)
        whole = self._tensor_check(tensors, ordered(self._manifest.tensors, first))
        pinned = tensors[len(first) :]
        return lambda *given: whole(*given, *pinned)

    def _tensor_check(
        self, tensors: Sequence[torch.Tensor], facts: Sequence[tuple[Any, ...]]
    ) -> Callable[..., bool]:
        """Torch's check, and where the program writes to an input, that none overlaps with another."""
        check = _tensor_check(tensors, facts)
        if not self._manifest.writes:
            return check
        apart = Apart(
            place for place, (_, _, *layout) in enumerate(facts) if any(None in part for part in layout)
        )
        return lambda *given: check(*given) and apart(given)


def _short(source: str) -> str:
    return source.replace("L['args']", "args").replace("L['kwargs']", "kwargs").replace("L['model']", "model")


def _tensor_check(tensors: Sequence[torch.Tensor], facts: Sequence[tuple[Any, ...]]) -> Callable[..., bool]:
    """Torch's own check in C++ of type, dtype, device, keys, sizes, strides, and that no tensor is given twice."""
    if not tensors:
        return lambda: True
    native: Any = torch._C._dynamo.guards.TensorGuards
    sizes = [list(sizes) for _, _, sizes, _ in facts]
    strides = [list(strides) for _, _, _, strides in facts]
    check: Callable[..., bool] = native(
        *tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides
    ).check
    return check


def _told(reference: tuple[Any, ...]) -> str:
    kind, *names = reference
    if kind in ("class", "function", "builtin"):
        return f"the {kind} {names[0]}.{names[1]}"
    if kind == "plain":
        return names[1] or f"a {names[0]}"
    return f"the {kind} {names[0]}" if names and isinstance(names[0], str) else f"a {kind}"


# ---- load -----------------------------------------------------------------------------------------------


def load(manifest: Manifest, state: State, files: Files) -> Callable[..., Any]:
    """The program as a function of model, args and kwargs. Raises :class:`ProgramMismatch` where a global is gone."""
    runs = [_piece(piece, files) for piece in manifest.pieces]
    constants = {name: _tensor(*facts) for name, facts in manifest.constants.items()}
    stitched = Stitched(manifest.stitched, constants)
    run = stitched.assemble([runs[number] for number, *_ in manifest.calls])
    if manifest.size is not None and manifest.variants:
        variants = [
            (first, last, stitched.assemble([runs[number] for number, *_ in calls]))
            for first, last, calls in manifest.variants
        ]
        run = choose(*manifest.size, run, variants)
    return bind(manifest, state, run)


def bind(manifest: Manifest, state: State, run: Callable[..., Any]) -> Callable[..., Any]:
    """Dynamo's new code with the compiled graph in it, as a function of model, args and kwargs."""
    names: dict[str, Any] = {"__builtins__": builtins}
    refs = Refs(state.covers)
    for name, how in manifest.globals.items():
        names[name] = run if how[0] == "program" else _find_global(name, how, refs)
    code = manifest.bytecode
    if manifest.objects:
        constants = list(code.co_consts)
        for place, how in manifest.objects.items():
            constants[place] = _object(how, refs)
        code = code.replace(co_consts=tuple(constants))
    return FunctionType(code, names)


def _object(how: tuple[Any, ...], refs: Refs) -> Any:
    """A constant of the new code that is no plain data."""
    kind, *parts = how
    if kind == "method":
        return getattr(_find_global("a class", parts[0], refs), parts[1])
    if kind == "torch":
        return getattr(torch, parts[0])
    if kind == "device":
        return torch.device(parts[0])
    if kind == "size":
        return torch.Size(parts)
    if kind in ("slice", "range"):
        return slice(*parts) if kind == "slice" else range(*parts)
    return _find_global("a class", how, refs)


def _find_global(name: str, how: tuple[Any, ...], refs: Refs) -> Any:
    kind = how[0]
    if kind == "builtins":
        return vars(builtins)
    if kind == "module":
        return shims.module(how[1])
    if kind == "value":
        return how[1]
    _, module, path, expected = how
    try:
        found = find(module, path)
        if refs(found) == expected:
            return found
    except (LookupError, CannotRecordError) as error:
        raise ProgramMismatch(
            f"{name}, which rebuilds the outputs, is not there any more: {error}"
        ) from error
    raise ProgramMismatch(f"{module}.{path}, which rebuilds the outputs, has changed")


def _piece(piece: StoredPiece, files: Files) -> Runnable:
    label = f"piece {piece.digest[:12]}"
    if piece.wrapper is not None:
        return run_wrapper(piece.wrapper, lambda name: files.path(piece.files[name]), label)
    from passprint.compiler.artifacts.artifact import unpack  # needs torch's own runtime

    return unpack(piece.form, _Renamed(files, piece.files), label)


class _Renamed:
    """The files of one piece among those of the program."""

    def __init__(self, files: Files, names: Mapping[str, str]) -> None:
        self._files, self._names = files, names

    def read(self, name: str) -> bytes:
        return self._files.read(self._names[name])

    def path(self, name: str) -> Path:
        return self._files.path(self._names[name])


def _tensor(dtype: str, shape: Sequence[int], stride: Sequence[int], data: bytes) -> torch.Tensor:
    kind = getattr(torch, dtype)
    made = torch.empty_strided(tuple(shape), tuple(stride), dtype=kind)
    if data:
        made.copy_(torch.frombuffer(bytearray(data), dtype=kind).reshape(tuple(shape)))
    return made
