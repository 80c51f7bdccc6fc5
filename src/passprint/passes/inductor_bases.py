"""Torch's base classes of passes, without the compiler behind them.

``torch/_inductor/custom_graph_pass.py`` needs nothing of Inductor (read against torch 2.11 to 2.13), but importing it
imports the whole package first, for two seconds. A start that only has to know who a pass is does without: the file is
loaded by itself, under its own name. When the package is imported later, it finds the module, and so there is one
``CustomGraphPass`` in a process, whoever asks for it and when.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import torch

PACKAGE = "torch._inductor"
_SHORT = "custom_graph_pass"
_NAME = f"{PACKAGE}.{_SHORT}"


def base_classes() -> ModuleType:
    """The module ``torch._inductor.custom_graph_pass``."""
    if _NAME in sys.modules or PACKAGE in sys.modules:
        return importlib.import_module(_NAME)
    path = os.path.join(os.path.dirname(torch.__file__), "_inductor", f"{_SHORT}.py")
    spec = importlib.util.spec_from_file_location(_NAME, path) if os.path.isfile(path) else None
    if spec is None or spec.loader is None:
        return importlib.import_module(_NAME)
    module = importlib.util.module_from_spec(spec)
    waiting = _WhenPackageComes(module)
    sys.meta_path.insert(0, waiting)
    sys.modules[_NAME] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_NAME]
        sys.meta_path.remove(waiting)
        raise
    return module


class _WhenPackageComes(importlib.machinery.PathFinder):
    """Tells Inductor's package, once it is imported, of the module that was there before it.

    Python gives a package an attribute for each module that is imported after it; this one would have none.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def find_spec(  # type: ignore[override]
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Where the package is found anyway; its loader then also sets the attribute. Nothing for other names."""
        if name != PACKAGE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader, self._module)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the package as ever, with the module in it from the start."""

    def __init__(self, loader: importlib.machinery.SourceFileLoader, module: ModuleType) -> None:
        super().__init__(loader.name, loader.path)
        self._module = module

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, _SHORT, self._module)
        super().exec_module(module)
