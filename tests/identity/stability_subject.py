"""Run as a script: the digests of everything in two packages, as JSON, under the conditions asked for.

``python stability_subject.py [trace] [calls] [fork]``; the packages are those that Python finds first.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from types import FrameType, FunctionType
from typing import Any

from passprint.identity import Memo

PACKAGES = ("packaging", "click")


def everything() -> dict[str, Any]:
    """The functions and classes that the packages' modules define."""
    found: dict[str, Any] = {}
    for name in PACKAGES:
        package = importlib.import_module(name)
        names = [name, *[f"{name}.{info.name}" for info in pkgutil.iter_modules(package.__path__)]]
        for module_name in names:
            if module_name.endswith("__main__") or "win" in module_name:
                continue
            module = importlib.import_module(module_name)
            for key, value in sorted(vars(module).items()):
                if isinstance(value, (FunctionType, type)) and value.__module__ == module_name:
                    found[f"{module_name}:{key}"] = value
    return found


def digests(objects: dict[str, Any]) -> dict[str, str]:
    """By a memo that has seen nothing."""
    memo = Memo(first_party=PACKAGES)
    return {name: memo.fingerprint(obj).digest for name, obj in objects.items()}


def _call() -> None:
    """Warm the code up: the interpreter specialises what runs often."""
    version = importlib.import_module("packaging.version")
    specifiers = importlib.import_module("packaging.specifiers")
    utils = importlib.import_module("packaging.utils")
    for number in range(10_000):
        version.Version(f"1.{number % 50}.0")
        utils.canonicalize_name("A-b.c")
        if not number % 10:
            specifiers.SpecifierSet(">=1.2").contains("1.3")


def main(conditions: list[str]) -> None:
    """Print the digests."""
    if "trace" in conditions:

        def tracer(frame: FrameType, event: str, argument: object) -> Any:
            return tracer

        sys.settrace(tracer)
    objects = everything()
    if "calls" in conditions:
        before = digests(objects)
        _call()
        assert digests(objects) == before
    if "fork" in conditions:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
    print(json.dumps(digests(objects)), flush=True)
    if "fork" in conditions:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
