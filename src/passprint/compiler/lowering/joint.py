"""The C++ kernels of one graph as one library: the compiler starts once for many of them.

A kernel that Inductor builds costs 0.95 s of processor time, 0.7 s of which is the start: templates of the precompiled
header that every translation unit instantiates again, and the linker. Kernels that are one plain function each, as
Inductor writes them, go into one source with Python bindings for all.

The library is a Python extension like torch's own: its module has the function ``kernel`` (the first one), and the
others as ``kernel_1``, ``kernel_2`` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST = 8
"""So many kernels go into one library; what has more is built in several, side by side."""

FIRST = "kernel"
"""The name of the first kernel in a library, and of the only one in torch's."""

_INCLUDE = "#include <torch/csrc/inductor/cpp_prefix.h>"
_HEAD = re.compile(r'extern "C"\s+void\s+kernel\(')
_INTEGER = re.compile(r"(const )?int64_t")


def can_join(argument_types: Sequence[str], source: str) -> bool:
    """Whether ``source`` is the prefix header and one plain function of pointers and integers, nothing else."""
    text = source.strip()
    if not text.startswith(_INCLUDE) or "#include" in text[len(_INCLUDE) :] or "#define" in text:
        return False
    body = text[len(_INCLUDE) :].strip()
    if not _HEAD.match(body) or len(_HEAD.findall(body)) != 1:
        return False
    flush_left = [line for line in body.splitlines()[1:] if line and not line[0].isspace()]
    if flush_left != ["{", "}"]:
        return False
    return all(kind.endswith("*") or _INTEGER.fullmatch(kind) for kind in argument_types)


def names(count: int) -> list[str]:
    """What ``count`` kernels are called in their library."""
    return [FIRST, *(f"{FIRST}_{number}" for number in range(1, count))]


def join(sources: Sequence[str]) -> str:
    """One source for all, with bindings. Each must be one that :func:`can_join` takes."""
    parts, calls, rows = [_INCLUDE], [], []
    for name, source in zip(names(len(sources)), sources, strict=True):
        body = source.strip()[len(_INCLUDE) :].strip()
        parts.append(_HEAD.sub(f'extern "C" void {name}(', body, count=1))
        calls.append(_CALL.format(name=name))
        rows.append(_ROW.format(name=name))
    bindings = _BINDINGS.replace("@CALLS@", "\n".join(calls)).replace("@ROWS@", "\n".join(rows))
    return "\n\n".join([*parts, bindings])


_CALL = """static PyObject* call_{name}(PyObject*, PyObject* const* given, Py_ssize_t count) {{
    return call(&{name}, given, count);
}}"""

_ROW = """    {{"{name}", as_method(&call_{name}), METH_FASTCALL, nullptr}},"""

# Arguments come from the kernel's own type. The address of torch's "data pointer of a tensor" comes through the
# environment, as for torch's bindings, so that the library needs nothing of torch but what a kernel itself calls.
_BINDINGS = """#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <utility>

static void* (*data_pointer_of_tensor)(PyObject*);

struct PythonError {};

template <typename T> struct Argument;
template <typename T> struct Argument<T*> {
    static T* of(PyObject* value) { return static_cast<T*>(data_pointer_of_tensor(value)); }
};
template <> struct Argument<int64_t> {
    static int64_t of(PyObject* value) {
        const long long number = PyLong_AsLongLong(value);
        if (number == -1 && PyErr_Occurred()) throw PythonError();
        return number;
    }
};

template <typename... T, std::size_t... I>
static void call_each(void (*function)(T...), PyObject* const* given, std::index_sequence<I...>) {
    function(Argument<T>::of(given[I])...);
}

template <typename... T>
static PyObject* call(void (*function)(T...), PyObject* const* given, Py_ssize_t count) {
    if (count != static_cast<Py_ssize_t>(sizeof...(T))) {
        PyErr_Format(PyExc_RuntimeError, "a kernel takes %zu arguments, not %zd", sizeof...(T), count);
        return nullptr;
    }
    try {
        call_each(function, given, std::index_sequence_for<T...>{});
    } catch (const PythonError&) {
        return nullptr;
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return nullptr;
    } catch (...) {
        PyErr_SetString(PyExc_RuntimeError, "unhandled error");
        return nullptr;
    }
    Py_RETURN_NONE;
}

@CALLS@

static PyCFunction as_method(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

static PyMethodDef methods[] = {
@ROWS@
    {nullptr, nullptr, 0, nullptr}};

static PyModuleDef module_of_kernels = {
    PyModuleDef_HEAD_INIT, "kernel", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_kernel(void) {
    const char* text = std::getenv("_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR");
    char* end = nullptr;
    errno = 0;
    const unsigned long long address = text ? std::strtoull(text, &end, 10) : 0;
    if (errno != 0 || end == text || address == 0) {
        PyErr_SetString(PyExc_RuntimeError, "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR must hold an address");
        return nullptr;
    }
    data_pointer_of_tensor = reinterpret_cast<decltype(data_pointer_of_tensor)>(static_cast<uintptr_t>(address));
    PyObject* module = PyModule_Create(&module_of_kernels);
#ifdef Py_GIL_DISABLED
    if (module) PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
"""
