"""What a custom operator brings into compiled code besides its kernel: Python of the user's that a trace goes through.

A graph names an operator (``torch.ops.mine.gate``) and no function. Its kernel is called when the graph runs; but its
fake implementation says which sizes and strides the code is made for, and its backward becomes part of the code, as a
composite implementation does. What of that is Python is found here and counts by content. C++ that a trace goes through
(a composite implementation; a backward, where gradients are on) counts by the installed package that its namespace is
named after, and has no identity elsewhere.

Reached here, and why there is no public way: ``torch._C._dispatch_has_kernel_for_dispatch_key`` (for which keys there
is any kernel), ``torch.library._impls`` (for which keys Python was registered),
``torch._library.custom_ops.OPDEFS`` and ``torch._library.simple_registry.singleton`` (the functions behind them). Read
against torch 2.11 to 2.15.
"""

from __future__ import annotations

from typing import Any

import torch

from passprint.errors import OpaqueError
from passprint.identity import default_memo
from passprint.identity.torch_kinds import registered_with

OF_TORCH = frozenset(
    {"_c10d_functional", "_c10d_functional_autograd", "_dtensor", "_inductor_test", "_native", "_quantized"}
    | {"aten", "c10d", "c10d_functional", "debug_mode_ops", "debugprims", "export", "flex_lib", "fsdp"}
    | {"higher_order", "inductor", "mkl", "mkldnn", "onednn", "onnx", "onnx_symbolic", "prim", "prims"}
    | {"profiler", "quantized", "quantized_decomposed", "rngprims", "streams", "symm_mem"}
)
"""Namespaces that count by torch's version."""

RUN_LATER = frozenset(
    {"CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "BackendSelect"}
    | {"CPU", "CUDA", "HPU", "IPU", "Lazy", "MAIA", "MPS", "MTIA", "PrivateUse1", "Vulkan", "XLA", "XPU"}
)
"""Python for these keys runs when the graph does; no trace goes through it."""
_COMPOSITE = "CompositeImplicitAutograd"
_BACKWARD = ("Autograd", "AutogradCPU", "AutogradCUDA")
_KERNELS = frozenset({"_backend_fns", "_disabled_kernel"})
"""What a definition holds that is called when the graph runs."""


def operator_of(target: object) -> str | None:
    """The name of a custom operator (``mine::gate``), or None for anything else and for torch's own."""
    if isinstance(target, torch._ops.OpOverload):
        name = target._schema.name
    elif isinstance(target, torch._ops.OpOverloadPacket):
        name = target._qualified_op_name
    else:
        return None
    return None if name.partition("::")[0] in OF_TORCH else name


def identity(name: str) -> str:
    """A text for all Python of an operator that a trace goes through; the same wherever that is the same.

    Raises :class:`OpaqueError` where there is some that cannot be had, or that has no identity.
    """
    digests = []
    for role, value in _python_of(name).items():
        digest = default_memo().digest(value)
        if digest is None:
            raise OpaqueError(f"the {role} of the operator {name}")
        digests.append(f"{role} {digest}")
    native = _native_of(name)
    if native is not None:
        label = default_memo().origins.of_module(name.partition("::")[0]).label
        if label is None:
            raise OpaqueError(f"C++ that the operator {name} has for {native}")
        digests.append(f"{native} {label}")
    return ", ".join(digests)


def _python_of(name: str) -> dict[str, object]:
    from torch._library.custom_ops import OPDEFS
    from torch._library.simple_registry import singleton

    found: dict[str, object] = {}
    unknown = _registered(name) - RUN_LATER
    data: dict[str, Any] = singleton._data
    for overload, entry in data.items():
        if overload.partition(".")[0] != name:
            continue
        if entry.fake_impl.kernel is not None:
            found[f"fake implementation {overload}"] = _users(entry.fake_impl.kernel.func)
            unknown -= {"Meta"}
        for mode, function in entry.torch_dispatch_rules._data.items():
            found[f"implementation {overload} for {mode.__name__}"] = function
    definition: Any = OPDEFS.get(name)
    if definition is not None:  # it registers for all keys itself, and keeps the functions
        for attribute, value in registered_with(definition).items():
            if attribute not in _KERNELS:
                found[attribute.strip("_").removesuffix("_fn")] = value
        if definition._abstract_fn is not None:
            found.pop(f"fake implementation {name}", None)  # a function of torch's around it
        unknown = set()
    if unknown:
        raise OpaqueError(f"Python that the operator {name} has for {', '.join(sorted(unknown))}")
    return found


def _native_of(name: str) -> str | None:
    """The dispatch key of a kernel in C++ that a trace goes through, or None."""
    from torch._library.custom_ops import OPDEFS

    if name in OPDEFS:
        return None
    has_kernel: Any = torch._C._dispatch_has_kernel_for_dispatch_key
    keys = (_COMPOSITE, *(_BACKWARD if torch.is_grad_enabled() else ()))
    packet = getattr(getattr(torch.ops, name.partition("::")[0]), name.partition("::")[2])
    overloads = [getattr(packet, overload)._name for overload in packet.overloads()]
    python = _registered(name)
    found = [key for key in keys if key not in python and any(has_kernel(each, key) for each in overloads)]
    return found[0] if found else None


def _users(function: Any) -> Any:
    """The function that torch put its own around (``torch.library._check_pystubs_once``), which remembers a call."""
    code = getattr(function, "__code__", None)
    if code is None or function.__module__ != "torch.library" or "func" not in code.co_freevars:
        return function
    return function.__closure__[code.co_freevars.index("func")].cell_contents


def _registered(name: str) -> set[str]:
    """The dispatch keys for which Python was registered, whatever the overload."""
    namespace, _, operator = name.partition("::")
    library: Any = torch.library
    found = set()
    for entry in library._impls:
        of, registered, key = entry.split("/")
        if of == namespace and registered.partition(".")[0] == operator:
            found.add(key)
    return found
