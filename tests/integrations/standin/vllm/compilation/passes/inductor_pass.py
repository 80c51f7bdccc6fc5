"""The base of passes: a pass is known by the text of its class."""

import hashlib
import inspect
import json
from contextlib import contextmanager
from dataclasses import dataclass

from torch._inductor.custom_graph_pass import CustomGraphPass


@dataclass(frozen=True)
class Range:
    start: int
    end: int

    def __str__(self):
        return f"({self.start}, {self.end})"


class _Context:
    compile_range = None


_context = _Context()


@contextmanager
def pass_context(compile_range):
    before, _context.compile_range = _context.compile_range, compile_range
    try:
        yield
    finally:
        _context.compile_range = before


def get_pass_context():
    assert _context.compile_range is not None
    return _context


class InductorPass(CustomGraphPass):
    def uuid(self):
        return InductorPass.hash_source(self)

    @staticmethod
    def hash_source(*srcs):
        hasher = hashlib.sha256()
        for src in srcs:
            if not isinstance(src, str):
                src = inspect.getsource(src if inspect.isroutine(src) or isinstance(src, type) else type(src))
            hasher.update(src.encode())
        return hasher.hexdigest()

    @staticmethod
    def hash_dict(dict_):
        return hashlib.sha256(json.dumps(dict_, sort_keys=True).encode()).hexdigest()

    def is_applicable_for_range(self, compile_range):
        return True


class CallableInductorPass(InductorPass):
    def __init__(self, callable, uuid=None):
        self.callable = callable
        self._uuid = self.hash_source(callable) if uuid is None else uuid

    def __call__(self, graph):
        self.callable(graph)

    def uuid(self):
        return self._uuid
