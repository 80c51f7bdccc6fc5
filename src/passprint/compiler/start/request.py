"""Which stored programs may serve a call: a quick key of the model's build and the shape of the arguments.

It is the first of two levels, as in ccache's direct mode: a request has a few lists of what code can read, and a list
with what is there now gives the key of a program (:mod:`passprint.compiler.start.key`). Sizes are left to guards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import torch

from passprint.identity.tree import Part

FORMAT = 9
"""Raised when what is stored for a program changes in a way that older entries do not follow."""


class Request(NamedTuple):
    """The parts of the key, as text, and the digest of them all."""

    parts: Mapping[str, str]
    digest: str

    @property
    def label(self) -> str:
        """What the entries of this model are called, whatever its build."""
        return self.parts["model"]

    def list_digest(self, number: int) -> str:
        """The digest under which list ``number`` is stored."""
        return sha256(f"{self.digest} list {number}".encode()).hexdigest()

    def tree(self) -> list[Part]:
        """The parts, each with its text cut to what a person reads."""
        return [text_part(name, text) for name, text in self.parts.items()]


def request(
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    how: str,
    modes: Mapping[str, str],
) -> Request:
    """The request of one call. ``how`` is the text of everything that ``passprint.compile`` was told."""
    parts = {"model": _path(model), "format": str(FORMAT), "options": how}
    if isinstance(model, torch.nn.Module):
        parts["modules"], parts["parameters"] = _build(model)
    parts["arguments"] = f"{_argument(tuple(args))} {_argument(dict(kwargs))}"
    parts["modes"] = "\n".join([f"{name}: {value}" for name, value in modes.items()])
    hashed = sha256()
    for name, text in parts.items():
        hashed.update(f"{name} {len(text)}:{text}".encode())
    return Request(parts, hashed.hexdigest())


_SHOWN = 4000


def text_part(name: str, text: str) -> Part:
    """A part of a key that is a text."""
    return Part(name, "text", sha256(text.encode()).hexdigest(), text=text[:_SHOWN])


def _path(model: Any) -> str:
    owner = model if hasattr(model, "__qualname__") else type(model)
    return f"{owner.__module__}.{owner.__qualname__}"


def _build(model: torch.nn.Module) -> tuple[str, str]:
    """The tree of modules, and its parameters and buffers; which are one and the same counts, their values do not."""
    modules: list[str] = []
    tensors: list[str] = []
    names: dict[int, str] = {}
    todo: list[tuple[str, torch.nn.Module]] = [("", model)]
    while todo:
        prefix, module = todo.pop()
        known = names.setdefault(id(module), prefix or "model")
        cls = type(module)
        mode = "train" if module.training else "eval"
        modules.append(f"{prefix or 'model'}: {cls.__module__}.{cls.__qualname__} {mode}")
        if known != (prefix or "model"):
            modules[-1] += f" = {known}"
            continue
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                tensors.append(f"{prefix}.{name}: {_tensor(tensor, names, f'{prefix}.{name}')}")
        for name, child in module._modules.items():
            if child is not None:
                todo.append((f"{prefix}.{name}", child))
    return "\n".join(modules), "\n".join(tensors)


def _tensor(tensor: torch.Tensor | None, names: dict[int, str], name: str) -> str:
    if tensor is None:
        return "None"
    known = names.setdefault(id(tensor), name)
    if known != name:
        return f"the same as {known}"
    if tensor.layout is not torch.strided:
        return f"{tensor.dtype} {tuple(tensor.shape)} {tensor.device} {tensor.layout}"
    dtype, grad = str(tensor.dtype).removeprefix("torch."), " grad" if tensor.requires_grad else ""
    return f"{dtype} {tuple(tensor.shape)} strides {tensor.stride()} {tensor.device}{grad}"


def _argument(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        kind = type(value).__qualname__
        dtype, grad = str(value.dtype).removeprefix("torch."), " grad" if value.requires_grad else ""
        return f"{kind} {dtype} {value.dim()}d {value.device}{grad}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__qualname__}({', '.join([_argument(item) for item in value])})"
    if isinstance(value, dict):
        held = [f"{key!r}: {_argument(item)}" for key, item in value.items() if type(key) is str]
        return f"{type(value).__qualname__}({', '.join(held)})"
    if value is None or type(value) in (bool, str):
        return repr(value)
    return type(value).__qualname__
