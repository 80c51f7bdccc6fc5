"""The private names of torch that passprint replaces: all of them, in one table, and the one installer.

A patch makes a compile faster, never right: where one is left out, torch does what it does without passprint. So none
is worth an exception. A patch is installed where this torch was read, the name is there with the signature that was
read, and so is everything that the replacement calls; otherwise it is left out, and :func:`missing` says what that
costs. A replacement that meets something else than it was written for calls :func:`lose`, and torch's own function
goes on in its place.

Replacements stand where their subject is (``trace/regions.py``, ``lowering/builds.py``, ``lowering/strides.py``); this
module imports nothing of passprint's.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch

logger = logging.getLogger("passprint")

Version = tuple[int, int]
Layer = Callable[..., Any]
"""Called with torch's own function and then its arguments."""


@dataclass(frozen=True)
class Name:
    """A private name of torch: ``path`` in ``module``, and a function's parameters (None: any, or no function)."""

    module: str
    path: str
    parameters: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.module}.{self.path}"

    def look_up(self) -> tuple[Any, str, Any]:
        """Its owner, its last name, and what it stands for. Raises :class:`Unfit`."""
        owner: Any = None
        found: Any = None
        try:
            owner = found = importlib.import_module(self.module)
            for part in self.path.split("."):
                owner, found = found, getattr(found, part)
        except (ImportError, AttributeError):
            raise Unfit(f"has no {self}") from None
        if self.parameters is not None:
            _check_signature(self, found)
        return owner, part, found


@dataclass(frozen=True)
class Patch:
    """One replaced name.

    Attributes:
        name: what is replaced.
        purpose: what for.
        without: what the report says where it is left out: "repeated blocks are traced one by one".
        read: the torch versions that it was read against, oldest first.
        calls: private names that the replacement calls or reads.
    """

    name: Name
    purpose: str
    without: str
    read: tuple[Version, ...]
    calls: tuple[Name, ...] = ()


_CALL = ("self", "tx", "args", "kwargs")
_SUBGRAPHS = "torch._dynamo.variables.invoke_subgraph"

BLOCKS = Patch(
    name=Name(
        "torch._dynamo.variables.nn_module",
        "UnspecializedNNModuleVariable.call_function",
        _CALL,
    ),
    purpose="a call of a repeated block becomes a subgraph, which is traced once",
    without="repeated blocks are traced one by one",
    read=((2, 12), (2, 13), (2, 14), (2, 15)),
    calls=(
        Name(_SUBGRAPHS, "is_reusable", ("tx", "condition", "fingerprint", "cached_entry")),
        Name(_SUBGRAPHS, "stamp_out_subgraph", ("tx", "fingerprint", "cached")),
        Name(_SUBGRAPHS, "build_source_replacement", ("old_arg_sources", "new_arg_sources")),
        Name(_SUBGRAPHS, "classify_vt", ("vt",)),
        Name(_SUBGRAPHS, "InputTag.TENSOR"),
        Name(_SUBGRAPHS, "InputTag.SYMNODE"),
        Name(_SUBGRAPHS, "InputTag.CONSTANT"),
        Name(_SUBGRAPHS, "InputFingerprint"),
        Name(_SUBGRAPHS, "LiftedBoundSymbol"),
        Name(_SUBGRAPHS, "LiftedCapturedSource"),
        Name(_SUBGRAPHS, "LiftedSyntheticObject"),
        Name("torch._dynamo.variables.functions", "UserFunctionVariable.call_function", _CALL),
        Name("torch._dynamo.variables.higher_order_ops", "TorchHigherOrderOperatorVariable.make"),
        Name("torch._dynamo.variables.lists", "TupleVariable"),
        Name("torch._dynamo.variables.tensor", "TensorVariable"),
        Name("torch._dynamo.variables.base", "AttributeMutationExisting"),
        Name("torch._dynamo.variables.builder", "VariableBuilder"),
        Name("torch._guards", "InvokeSubgraphReuseCondition"),
        Name("torch._guards", "InvokeSubgraphReuseEntry"),
    ),
)

KERNELS = Patch(
    name=Name(
        "torch._inductor.async_compile", "AsyncCompile.cpp_pybinding", ("self", "argtypes", "source_code")
    ),
    purpose="the C++ kernels of a piece are built together, while the next piece is lowered",
    without="C++ kernels are built one by one, and each piece waits for its own",
    read=((2, 11), (2, 12), (2, 13), (2, 14), (2, 15)),
    calls=(
        Name("torch._inductor.codecache", "CppPythonBindingsCodeCache.load_async"),
        Name("torch._inductor.async_compile", "AsyncCompile.submit", ("task",)),
    ),
)

STRIDES = Patch(
    name=Name("torch._inductor.codegen.cpp", "stride_at_vec_range", ("index", "var", "vec_length")),
    purpose="plain strides are read off an index instead of simplified",
    without="Inductor simplifies every index of a C++ kernel, which takes longer",
    read=((2, 11), (2, 12), (2, 13), (2, 14), (2, 15)),
)

ROWS = Patch(
    name=Name("torch._inductor.ir", "ExternKernel.convert_to_reinterpret_view", ("x",)),
    purpose="a matrix of one row is passed to a product with strides that need no copy",
    without="products of a matrix of one row copy it first",
    read=((2, 11), (2, 12), (2, 13), (2, 14), (2, 15)),
    calls=(
        Name("torch._inductor.ir", "ReinterpretView"),
        Name("torch._inductor.ir", "FixedLayout"),
    ),
)

DOOR = Patch(
    name=Name("torch._dynamo", "optimize", ("args", "kwargs")),
    purpose='``torch.compile(…, backend="passprint")`` looks for a stored program before it traces',
    without='torch.compile(backend="passprint") traces in every process, and finds its pieces in the cache',
    read=((2, 11), (2, 12), (2, 13), (2, 14), (2, 15)),
    calls=(
        Name("torch", "_TorchCompileWrapper"),
        Name("torch._dynamo.eval_frame", "OptimizeContext"),
        Name("torch._dynamo.eval_frame", "OptimizedModule"),
    ),
)

TABLE = (BLOCKS, KERNELS, STRIDES, ROWS, DOOR)


class Unfit(Exception):
    """Why a patch does not fit this torch: the end of a sentence that begins with the torch. Never leaves here."""


class Installer:
    """Installs patches into one torch, each at most once, and remembers which did not fit."""

    def __init__(self, version: str) -> None:
        self._torch = f"torch {version.partition('+')[0]}"
        self._version = version_of(version)
        self._lock = threading.RLock()
        self._installed: set[Patch] = set()
        self._lost: dict[Patch, str] = {}

    def install(self, patch: Patch, layer: Layer) -> bool:
        """Put ``layer`` over the name; returns whether it is there. Raises nothing."""
        with self._lock:
            if patch not in self._installed and patch not in self._lost:
                try:
                    self._check(patch)
                    self._put(patch, layer)
                except Unfit as error:
                    self._lost[patch] = str(error)
                except Exception as error:  # noqa: BLE001 - no failure of a patch is the user's
                    self._lost[patch] = f"does not take it ({_short(error)})"
                else:
                    self._installed.add(patch)
            return patch not in self._lost

    def lose(self, patch: Patch, error: BaseException) -> None:
        """Its layer failed: from here on, torch's own function runs."""
        with self._lock:
            if patch not in self._lost:
                self._lost[patch] = f"is not as it was read: {patch.name} ({_short(error)})"
                logger.debug("A patch of torch is given up: %s", patch.name, exc_info=error)

    def is_lost(self, patch: Patch) -> bool:
        """Whether it was left out or has failed since."""
        return patch in self._lost

    def missing(self) -> list[str]:
        """What does not work on this torch, and what it costs: sentences for the report."""
        with self._lock:
            return [f"{self._torch} {why}: {patch.without}" for patch, why in self._lost.items()]

    def unfit(self) -> list[str]:
        """The same of those that would not fit, whether or not anything has asked for them yet."""
        with self._lock:
            for patch in TABLE:
                if patch not in self._installed and patch not in self._lost:
                    try:
                        self._check(patch)
                    except Unfit as error:
                        self._lost[patch] = str(error)
            return self.missing()

    def _check(self, patch: Patch) -> None:
        if self._version not in patch.read:
            raise Unfit(_unread(self._version, patch.read))
        for name in (patch.name, *patch.calls):
            name.look_up()

    def _put(self, patch: Patch, layer: Layer) -> None:
        owner, last, original = patch.name.look_up()

        @wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if patch in self._lost:
                return original(*args, **kwargs)
            return layer(original, *args, **kwargs)

        setattr(owner, last, staticmethod(patched) if inspect.ismethod(original) else patched)


def _check_signature(name: Name, function: Any) -> None:
    try:
        found = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise Unfit(f"has no function {name}") from None
    if found != name.parameters:
        raise Unfit(f"has {name}({', '.join(found)}), not ({', '.join(name.parameters or ())})")


def version_of(text: str) -> Version:
    """The first two numbers of a version; (0, 0) where it has none."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _unread(version: Version, read: tuple[Version, ...]) -> str:
    first, last = (".".join(map(str, number)) for number in (read[0], read[-1]))
    span = first if first == last else f"{first} to {last}"
    if version > read[-1]:
        return f"is newer than any that was read ({span})"
    if version < read[0]:
        return f"is older than any that was read ({span})"
    return f"was not read ({span} were, without it)"


def _short(error: BaseException) -> str:
    message = str(error).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


_of_this_process = Installer(torch.__version__)
install = _of_this_process.install
lose = _of_this_process.lose
is_lost = _of_this_process.is_lost
missing = _of_this_process.missing
unfit = _of_this_process.unfit
