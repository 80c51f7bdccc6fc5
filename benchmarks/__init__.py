"""Measurements, apart from the tests: ``python -m benchmarks [NAME …]``, results as JSON in
``benchmarks/out/``.

A benchmark is a module here with a function ``run(repeats)``: it measures, prints its comparison, and
returns the figures as JSON data. Its constant ``REPEATS`` says how often it measures when nobody asks for
another number.
"""

from __future__ import annotations

import compileall
from importlib.util import find_spec


def compile_bytecode() -> None:
    """Write the bytecode of passprint's files, as an installer does.

    A checkout that was edited has none for what is new, and where ``PYTHONDONTWRITEBYTECODE`` is set it gets none: then
    each process compiles those files again, which is no part of what is measured.
    """
    spec = find_spec("passprint")
    for folder in (spec and spec.submodule_search_locations) or ():
        compileall.compile_dir(folder, quiet=2)
