"""Make the Python wrapper that Inductor generates portable: kernels loaded by file, no compiler imported.

Inductor's generated module holds C++ sources and asks ``AsyncCompile`` to build them when it is imported. The
portable form asks for the built objects by name instead. Where nothing of ``torch._inductor`` is left that is
really used, the module runs without importing it (the ``self_contained`` form).

Read against the output of torch 2.11 to 2.15 (``torch/_inductor/codegen/wrapper.py``).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch

from passprint.compiler.artifacts import buffers as kept
from passprint.compiler.artifacts import kernels as at_run_time
from passprint.compiler.artifacts.kernels import KERNEL_LOADER
from passprint.compiler.lowering.joint import FIRST


class Kernel(NamedTuple):
    """A built kernel: the file of its library, and its name there."""

    file: str
    name: str = FIRST

    @property
    def loaded(self) -> str:
        """The expression that gives it: the loader answers with the library's first kernel, which knows its module."""
        first = f"{KERNEL_LOADER}({self.file!r})"
        if self.name == CPP_ENTRY:
            return f"{KERNEL_LOADER}({self.file!r}, {self.name!r})"
        return first if self.name == FIRST else f"{first}.__self__.{self.name}"


CPP_ENTRY = "inductor_entry_cpp"
"""The entry of a graph whose wrapper is C++ (``cpp_wrapper``)."""
_BUILDERS = ("async_compile.cpp_pybinding", "CppWrapperCodeCache.load_pybinding")
_CPP_SOURCES = ("cpp_wrapper_src", "kernel_src")
_INPUTS = (
    "input_tensors = [arg if isinstance(arg, torch.Tensor) else torch.tensor(arg, device='cpu') for arg in args]",
    "input_tensors = args",
)
"""How a C++ wrapper takes its inputs, and what is left of it where all are tensors."""
_DEAD_FUNCTIONS = ("get_args", "benchmark_compiled_module")


@dataclass(frozen=True)
class Wrapper:
    """A portable wrapper's source; ``imports`` are the ``torch._inductor``/``_dynamo`` modules still needed."""

    source: str
    imports: tuple[str, ...]

    @property
    def self_contained(self) -> bool:
        """True where nothing of the compiler is imported."""
        return not self.imports


def kernel_names(source: str) -> list[str]:
    """The module-level names that a generated wrapper binds to C++ kernels with Python bindings."""
    return [name for stmt in ast.parse(source).body if (name := _binding(stmt))]


def make_portable(
    source: str,
    kernels: Mapping[str, Kernel],
    extern: frozenset[str],
    helpers: Mapping[str, str] = MappingProxyType({}),
) -> Wrapper:
    """Rewrite generated ``source``: each kernel of ``kernels`` (by name) is loaded from its library.

    ``extern`` names the ``extern_kernels`` that are plain functions of ``torch``, by the same name; ``helpers``
    functions of the compiler, each with its module, for which one of that name in ``artifacts/kernels.py`` stands in.
    """
    tree = ast.parse(source)
    body: list[ast.stmt] = []
    for stmt in tree.body:
        name = _binding(stmt)
        if name is not None:
            body.append(_statement(f"{name} = {kernels[name].loaded}"))
        elif not _dead(stmt):
            body.extend(_own(stmt, helpers))
    tree.body = _without_async_compile(body)
    if _attributes_of(tree, "extern_kernels") <= extern:
        tree = ast.fix_missing_locations(_Extern().visit(tree))
    tree.body = _without_unused_imports(tree)
    ast.fix_missing_locations(tree)
    return Wrapper(ast.unparse(tree), tuple(_compiler_imports(tree)))


def of_tensors(source: str) -> str:
    """A C++ wrapper whose inputs are tensors, all of them: it need not look."""
    return source.replace(*_INPUTS)


def sharing_buffers(source: str) -> str:
    """A wrapper that takes its large buffers from those that are kept (``artifacts/buffers.py``)."""
    tree = ast.parse(source)
    buffers = _Buffers()
    buffers.visit(tree)
    if not buffers.found:
        return source
    head = f"from {kept.__name__} import borrowing as __borrowing, take as {_TAKE}\n"
    return f"{head}{ast.unparse(ast.fix_missing_locations(tree))}\ncall = __borrowing(call)\n"


_TAKE = "__take__"


class _Buffers(ast.NodeTransformer):
    """``empty_strided_cpu((…), (…), torch.float32)`` of a large buffer → ``__take__(…)``."""

    found = False

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.func) == "empty_strided_cpu" and _bytes_of(node.args) >= kept.LARGE:
            self.found = True
            node.func = ast.Name(_TAKE, ast.Load())
        return node


def _bytes_of(arguments: Sequence[ast.expr]) -> int:
    """How large a buffer of this size, stride and type is; 0 where a size is no number."""
    try:
        size, stride = ast.literal_eval(arguments[0]), ast.literal_eval(arguments[1])
        dtype = getattr(torch, ast.unparse(arguments[2]).removeprefix("torch."))
        elements = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        return int(elements * dtype.itemsize)
    except (ValueError, AttributeError, IndexError):
        return 0


_COUNTING_WRITES = """

__without_versions = call


def call(args):
    torch._C._increment_version(({inputs}))
    return __without_versions(args)
"""


def counting_writes(source: str, inputs: Sequence[int]) -> str:
    """A wrapper that raises the version of these inputs, which its kernels write to: autograd asks for it."""
    return source + _COUNTING_WRITES.format(inputs="".join(f"args[{place}], " for place in inputs))


_RETURNING_INPUTS = """
from {module} import view_of as __view_of

__without_inputs = call


def call(args):
    given = ({inputs})
    outputs = list(__without_inputs(args))
    {returned}
    return outputs
"""


def returning_inputs(source: str, outputs: Mapping[int, tuple[int, bool]]) -> str:
    """A wrapper that gives back these inputs themselves, or views of them: what kernels were given are mere aliases.

    ``outputs``: by output, the number of the input, and whether it is a view.
    """
    numbers = list(dict.fromkeys(number for number, _ in outputs.values()))
    lines = []
    for place, (number, is_view) in outputs.items():
        base = f"given[{numbers.index(number)}]"
        lines.append(f"outputs[{place}] = {f'__view_of({base}, outputs[{place}])' if is_view else base}")
    inputs = "".join(f"args[{number}], " for number in numbers)
    return source + _RETURNING_INPUTS.format(
        module=at_run_time.__name__, inputs=inputs, returned="\n    ".join(lines)
    )


_WITHOUT_GRADIENTS = """

__with_gradients = call


def call(args):
    torch._C._set_grad_enabled(False)
    try:
        return __with_gradients(args)
    finally:
        torch._C._set_grad_enabled(True)
"""


def without_gradients(source: str) -> str:
    """A wrapper for calls with gradients on, whose graph gives none though its inputs require them.

    Its ``out=`` functions refuse such inputs, and others would record for autograd what they do.
    """
    return source + _WITHOUT_GRADIENTS


def _binding(stmt: ast.stmt) -> str | None:
    """The name in ``name = async_compile.cpp_pybinding(...)``, and what a C++ wrapper's entry is bound to."""
    if (
        isinstance(stmt, ast.Assign)
        and isinstance(stmt.targets[0], ast.Name)
        and isinstance(stmt.value, ast.Call)
        and ast.unparse(stmt.value.func) in _BUILDERS
    ):
        return stmt.targets[0].id
    return None


def _dead(stmt: ast.stmt) -> bool:
    """The docstring, what only a direct run of the file uses, and C++ that has been built."""
    if isinstance(stmt, ast.Expr) and isinstance(stmt.value, ast.Constant):
        return True
    if isinstance(stmt, ast.If) and ast.unparse(stmt.test) == "__name__ == '__main__'":
        return True
    if isinstance(stmt, ast.Assign) and isinstance(stmt.targets[0], ast.Name):
        return stmt.targets[0].id in _CPP_SOURCES
    return isinstance(stmt, ast.FunctionDef) and stmt.name in _DEAD_FUNCTIONS


def _own(stmt: ast.stmt, helpers: Mapping[str, str]) -> list[ast.stmt]:
    """An import without helpers that stand in passprint as well, and theirs."""
    if not isinstance(stmt, ast.ImportFrom):
        return [stmt]
    own = [alias for alias in stmt.names if helpers.get(alias.name) == stmt.module]
    stmt.names = [alias for alias in stmt.names if alias not in own]
    made: list[ast.stmt] = [stmt] if stmt.names else []
    return [*made, ast.ImportFrom(at_run_time.__name__, own, 0)] if own else made


def _without_async_compile(body: list[ast.stmt]) -> list[ast.stmt]:
    """Drop the builder where no other kernel (Triton, say) needs it."""
    plumbing = ("async_compile = AsyncCompile()", "async_compile.wait(globals())", "del async_compile")
    rest = [stmt for stmt in body if ast.unparse(stmt) not in plumbing]
    if any(_uses(stmt, "async_compile") for stmt in rest):
        return body
    return rest


def _without_unused_imports(tree: ast.Module) -> list[ast.stmt]:
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    kept: list[ast.stmt] = []
    for stmt in tree.body:
        if isinstance(stmt, ast.ImportFrom) and _of_compiler(stmt.module):
            stmt.names = [a for a in stmt.names if (a.asname or a.name) in used]
            if not stmt.names:
                continue
        kept.append(stmt)
    return kept


def _compiler_imports(tree: ast.Module) -> list[str]:
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _of_compiler(node.module):
            found.setdefault(str(node.module))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _of_compiler(alias.name):
                    found.setdefault(alias.name)
    return list(found)


def _of_compiler(module: str | None) -> bool:
    parts = (module or "").split(".")
    return parts[0] == "triton" or (parts[0] == "torch" and parts[1:2] in (["_inductor"], ["_dynamo"]))


def _attributes_of(tree: ast.AST, name: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def _uses(tree: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


class _Extern(ast.NodeTransformer):
    """``extern_kernels.mm`` → ``torch.mm``."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "extern_kernels":
            node.value = ast.Name("torch", ast.Load())
        return node
