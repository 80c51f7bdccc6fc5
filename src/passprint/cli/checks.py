"""What ``passprint doctor`` looks at: one function a subject, each giving what is there, what it costs, what to do."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from passprint.errors import PassprintError

Status = Literal["good", "slow", "off"]


@dataclass(frozen=True)
class Check:
    """One finding. ``slow``: it works, at a cost; ``off``: something does not work; ``advice``: what to do then."""

    subject: str
    status: Status
    found: str
    advice: str = ""


def all_checks(folder: Path | None) -> Iterator[Check]:
    """Every check, in the order in which a start needs what they are about. Imports torch where it is installed."""
    yield _python()
    yield _native()
    has_torch = importlib.util.find_spec("torch") is not None
    if has_torch:
        yield from _torch()
        yield _compiler()
    else:
        yield Check(
            "torch", "off", "not installed", "Install torch 2.11 or newer; fingerprints work without it."
        )
    yield _cache(folder)
    yield _signing()
    if has_torch:
        yield from _plug_ins()
    yield _pages()
    yield from _variables()


def _python() -> Check:
    return Check("Python", "good", f"{platform.python_version()} on {platform.machine()}")


_NATIVE: Final = (
    "passprint.identity._check",
    "passprint.identity._facts",
    "passprint.identity._walk",
    "passprint.passes._changes",
)


def _native() -> Check:
    missing = [name for name in _NATIVE if importlib.util.find_spec(name) is None]
    if missing:
        return Check(
            "native code",
            "slow",
            f"not built: {', '.join(missing)}; fingerprints are taken in Python",
            "Install a C compiler and then passprint again: pip install --force-reinstall --no-deps passprint.",
        )
    return Check("native code", "good", "built")


def _torch() -> Iterator[Check]:
    import torch

    from passprint.compiler import patches

    unfit = patches.unfit()
    version = torch.__version__
    if not unfit:
        yield Check("torch", "good", f"{version}: read, all of passprint's patches fit")
    for reason in unfit:
        yield Check(
            "torch", "slow", reason, "Results are right all the same. A newer passprint may know this torch."
        )


def _compiler() -> Check:
    from passprint.compiler.lowering import toolchain
    from passprint.compiler.lowering.inductor import configured_compilers

    if toolchain.has_compiler():
        return Check("C++ compiler", "good", toolchain.compiler_version())
    names = " or ".join(configured_compilers())
    return Check(
        "C++ compiler",
        "off",
        f"none: {names} was not found. What is stored loads, nothing can be compiled for the CPU",
        "Install g++, or name a compiler in $CXX. Or bring what another machine compiled: passprint cache import FILE.",
    )


def _cache(folder: Path | None) -> Check:
    from passprint.cache import LocalStore
    from passprint.cache.folder import root_of
    from passprint.report.format import size

    try:
        root = root_of(folder)
        if not root.exists():
            if os.access(next(parent for parent in root.parents if parent.exists()), os.W_OK):
                return Check("cache", "good", f"{root}: not made yet, the first compile makes it")
            return Check("cache", "off", f"{root} cannot be made: no right to write there", _CHOOSE)
        stats = LocalStore(root).stats()
    except PassprintError as error:
        return Check("cache", "off", str(error), _CHOOSE)
    if not os.access(root, os.W_OK):
        return Check(
            "cache", "slow", f"{root} can be read and not written: what is compiled is not stored", _CHOOSE
        )
    limit = size(stats.limit_bytes) if stats.limit_bytes else "no limit"
    return Check("cache", "good", f"{root}: {stats.entries:,} entries, {size(stats.bytes)} (limit: {limit})")


_CHOOSE: Final = "Name a folder that is yours: PASSPRINT_CACHE_DIR, or passprint.compile(cache=…)."


def _signing() -> Check:
    from passprint.cache.signing import ENVIRONMENT

    path = os.environ.get(ENVIRONMENT)
    if path is None:
        return Check(
            "signing key", "good", "none: archives of entries are neither signed nor checked for a signature"
        )
    if not os.access(path, os.R_OK):
        return Check("signing key", "off", f"{path} cannot be read", f"Mend {ENVIRONMENT}, or remove it.")
    return Check("signing key", "good", path)


def _plug_ins() -> Iterator[Check]:
    import warnings

    from passprint.pipeline.registry import RegistryWarning, pass_names

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = pass_names()
    yield Check("passes", "good", f"{len(names)} known: passprint passes list")
    for one in caught:
        if issubclass(one.category, RegistryWarning):
            yield Check("passes", "off", str(one.message), "Mend or remove that package.")
    if importlib.util.find_spec("vllm") is not None:
        yield Check("vLLM", "good", "installed: PASSPRINT_VLLM=passes runs its passes in a PassManager")


def _pages() -> Check:
    if importlib.util.find_spec("jinja2") is None:
        return Check(
            "pages", "off", "no jinja2: reports are text and data only", "pip install 'passprint[report]'"
        )
    return Check("pages", "good", "passprint report --open")


_SLOW: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": (
        lambda value: value == "1",
        "torch compiles again, whatever it has",
    ),
    "TORCH_COMPILE_DISABLE": (lambda value: value == "1", "torch.compile compiles nothing"),
    "TORCHDYNAMO_DISABLE": (lambda value: value == "1", "torch.compile compiles nothing"),
    "PASSPRINT_PURE_PYTHON": (bool, "fingerprints are taken in Python"),
    "PASSPRINT_INSTRUMENTS": (
        bool,
        "instruments listen to every pass, and keys are others than without them",
    ),
    "PASSPRINT_PASSES": (bool, "pipelines run other passes than they say"),
    "PASSPRINT_LIMIT": (bool, "passes stop after so many rewrites"),
}
"""Variables that cost time or results, with when they do and what then happens."""


def _variables() -> Iterator[Check]:
    for name, (counts, effect) in _SLOW.items():
        value = os.environ.get(name, "")
        if counts(value):
            yield Check(
                "environment", "slow", f"{name}={value}: {effect}", f"Unless you mean it: unset {name}."
            )
