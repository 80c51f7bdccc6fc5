"""Which passes there are, by name: the library's, those of installed packages, and this process's own."""

from __future__ import annotations

import difflib
import functools
import gc
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

from passprint.errors import PipelineError
from passprint.passes import CallableInductorPass, InductorPass

#: Installed packages name their pass classes in this entry point group.
ENTRY_POINTS = "passprint.passes"


Claims = dict[str, list[type[InductorPass]]]


def list_passes() -> dict[str, type[InductorPass]]:
    """Every known pass class by its name, sorted; raises PipelineError when two classes claim one name.

    A class is known once it exists. Defining it again (a notebook cell, a reload) replaces it. Classes that
    are abstract or whose own name begins with an underscore are not listed.
    """
    return {name: claims[0] for name, claims in sorted(_undisputed(None).items())}


def pass_names() -> list[str]:
    """Every name that some class claims, sorted."""
    _load_everything()
    return sorted(_claims())


def get_pass(name: str) -> type[InductorPass]:
    """The pass class called ``name``; raises PipelineError when there is none, or more than one."""
    claims = _undisputed(name)
    if name not in claims:
        raise PipelineError(f"there is no pass called {name!r}{nearest(name, claims)}")
    return claims[name][0]


def nearest(name: str, known: Iterable[str]) -> str:
    """The advice that ends an error about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names)}." if hint else f"; known: {', '.join(names) or 'none'}"


def _undisputed(name: str | None) -> Claims:
    """All claims, after making sure that ``name`` (or, with None, every name) is claimed once."""
    _load_everything()
    claims = _claims()
    if _disputed(claims, name):
        # a class that nothing holds any more is listed by Python until it is collected
        del claims
        gc.collect()
        claims = _claims()
    for disputed in _disputed(claims, name):
        raise PipelineError(
            f"the pass name {disputed!r} is claimed by "
            + " and by ".join(f"{owner.__module__}.{owner.__qualname__}" for owner in claims[disputed])
            + '. Give one of them another: name: ClassVar[str] = "another-name"'
        )
    return claims


def _disputed(claims: Claims, name: str | None) -> list[str]:
    return [key for key, owners in claims.items() if len(owners) > 1 and name in (None, key)]


def _claims() -> Claims:
    every = _subclasses(InductorPass)  # type: ignore[type-abstract]
    latest = {(found.__module__, found.__qualname__): found for found in every}
    claims: Claims = {}
    for found in latest.values():
        claims.setdefault(found.name, []).append(found)
    return claims


def _subclasses(base: type[InductorPass]) -> Iterator[type[InductorPass]]:
    for found in base.__subclasses__():
        if not (inspect.isabstract(found) or found.__name__.startswith("_") or found is CallableInductorPass):
            yield found
        yield from _subclasses(found)


@functools.cache
def _load_everything() -> None:
    """Import what may define passes; once, because asking every installed package takes milliseconds."""
    from passprint.passes import library

    for module in pkgutil.iter_modules(library.__path__, f"{library.__name__}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except (ImportError, AttributeError) as error:
            owner = entry.dist.name if entry.dist is not None else "an installed package"
            warnings.warn(
                f"{owner} offers the pass {entry.name!r} as {entry.value!r}, which cannot be imported "
                f"({error}); it is left out",
                stacklevel=5,
            )
