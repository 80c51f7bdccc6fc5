"""Which passes there are, by name: the library's, those of installed packages, and this process's own."""

from __future__ import annotations

import difflib
import functools
import gc
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

from passprint.errors import PipelineError
from passprint.passes import BasePass, CallableInductorPass
from passprint.pipeline.torch_door import HOOKS
from passprint.warned import warn

#: Installed packages name their pass classes in this entry point group.
ENTRY_POINTS = "passprint.passes"

#: What a pipeline's text calls a group that repeats; no pass can have this name, nor that of a hook.
FIXED_POINT = "fixed-point"

RESERVED = frozenset({FIXED_POINT, *(hook.text for hook in HOOKS.values())})

Claims = dict[str, list[type[BasePass]]]


class RegistryWarning(UserWarning):
    """What an installed package offers as a pass is none, cannot be imported, or has another name."""


def list_passes() -> dict[str, type[BasePass]]:
    """Every known pass class by its name, sorted; raises PipelineError when two classes claim one name.

    A class is known once it exists. Defining it again (a notebook cell, a reload) replaces it. Classes that
    are abstract or whose own name begins with an underscore are not listed.
    """
    return {name: claims[0] for name, claims in sorted(_undisputed(None).items())}


def pass_names() -> list[str]:
    """Every name that some class claims, sorted."""
    _load_everything()
    return sorted(_claims())


def get_pass(name: str) -> type[BasePass]:
    """The pass class called ``name``; raises PipelineError when there is none, or more than one."""
    claims = _undisputed(name)
    if name not in claims:
        raise PipelineError(f"there is no pass called {name!r}{nearest(name, claims)}")
    return claims[name][0]


def nearest(name: str, known: Iterable[str]) -> str:
    """The advice that ends an error about an unknown name."""
    names = sorted(known)
    begun = [one for one in names if name and one.startswith(f"{name}-")]
    close = begun[:1] or difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names)}." if hint else f"; known: {', '.join(names) or 'none'}"


def claimed_passes() -> tuple[dict[str, list[type[BasePass]]], dict[str, str]]:
    """Every known pass class by the name that it claims, sorted, and what is wrong with names that cannot be used."""
    claims = _settled(None)
    return dict(sorted(claims.items())), _disputes(claims, None)


def _undisputed(name: str | None) -> Claims:
    """All claims, after making sure that ``name`` (or, with None, every name) is claimed once."""
    claims = _settled(name)
    for problem in _disputes(claims, name).values():
        raise PipelineError(problem)
    return claims


def _settled(name: str | None) -> Claims:
    """All claims, after a second look where ``name`` (with None, any) is claimed twice."""
    _load_everything()
    claims = _claims()
    if _disputed(claims, name):
        # a class that nothing holds any more is listed by Python until it is collected
        del claims
        gc.collect()
        claims = _claims()
    return claims


def _disputes(claims: Claims, name: str | None) -> dict[str, str]:
    """What is wrong with ``name`` (with None, with any), by name."""
    found = {}
    for disputed in _disputed(claims, name):
        found[disputed] = (
            f"the pass name {disputed!r} is claimed by {' and by '.join(map(_owner, claims[disputed]))}"
            '. Give one of them another: name: ClassVar[str] = "another-name"'
        )
    for reserved in sorted(RESERVED & set(claims) & ({name} if name is not None else RESERVED)):
        found[reserved] = (
            f"the pass name {reserved!r} of {_owner(claims[reserved][0])} has a meaning of its own in a "
            "pipeline's text. Give "
            'the pass another: name: ClassVar[str] = "another-name"'
        )
    return found


def _owner(kind: type[BasePass]) -> str:
    """A class with its module, and with the package that offers it, if one does."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    package = _load_everything().get(name)
    return name if package is None else f"{name} (of the package {package})"


def _disputed(claims: Claims, name: str | None) -> list[str]:
    return [key for key, owners in claims.items() if len(owners) > 1 and name in (None, key)]


def _claims() -> Claims:
    every = _subclasses(BasePass)
    latest = {(found.__module__, found.__qualname__): found for found in every}
    claims: Claims = {}
    for found in latest.values():
        claims.setdefault(found.name, []).append(found)
    return claims


def _subclasses(base: type[BasePass]) -> Iterator[type[BasePass]]:
    for found in base.__subclasses__():
        if not (inspect.isabstract(found) or found.__name__.startswith("_") or found is CallableInductorPass):
            yield found
        yield from _subclasses(found)


@functools.cache
def _load_everything() -> dict[str, str]:
    """Import what may define passes; once, because asking every installed package takes milliseconds.

    Returns which package offers which class, by the class's full name.
    """
    from passprint.passes import library

    for module in pkgutil.iter_modules(library.__path__, f"{library.__name__}."):
        importlib.import_module(module.name)
    offered: dict[str, str] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        owner = entry.dist.name if entry.dist is not None else "an installed package"
        offer = f"{owner} offers {entry.value!r} as the pass {entry.name!r}"
        try:
            found = entry.load()
        except Exception as error:  # noqa: BLE001 - whatever a package does, the others' passes are to be found
            reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            warn(f"{offer}, which cannot be imported ({reason}); it is left out", RegistryWarning)
            continue
        if not (isinstance(found, type) and issubclass(found, BasePass)):
            kind = found if isinstance(found, type) else type(found)
            what = f"a class ({kind.__qualname__})" if kind is found else f"of the type {kind.__qualname__}"
            warn(
                f"{offer}, which is {what} and not a pass class (a subclass of passprint.InductorPass); it is left out",
                RegistryWarning,
            )
            continue
        offered[f"{found.__module__}.{found.__qualname__}"] = owner
        if found.name != entry.name:
            warn(
                f"{offer}, and the pass calls itself {found.name!r}: pipelines know it by that name. Let the entry "
                f"point say {found.name}, or the class name: ClassVar[str] = {entry.name!r}",
                RegistryWarning,
            )
    return offered
