"""Tensors of a class of somebody's own: its Python runs while a graph that takes them is lowered.

A traceable subclass is taken apart (``__tensor_flatten__``) and put together again, and its ``__torch_function__`` and
``__torch_dispatch__`` decide what an operator does. Classes count with all that they reach; the classes of installed
distributions by name and version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from passprint.errors import OpaqueError
from passprint.identity import default_memo

_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})


def is_subclass(tensor: torch.Tensor) -> bool:
    """Whether a tensor has Python of its own; a fake tensor stands for one without."""
    return type(tensor) not in _PLAIN and not isinstance(tensor, FakeTensor)


def identity(cls: type) -> str:
    """The digest of a class of tensors and all that it reaches. Raises :class:`OpaqueError` where it has none."""
    digest = default_memo().digest(cls)
    if digest is None:
        paths = default_memo().opaque_paths(cls)
        raise OpaqueError(f"the class {cls.__qualname__} of a tensor ({paths[0]})", paths)
    return digest


def parts(tensor: torch.Tensor) -> tuple[dict[str, torch.Tensor], object]:
    """The tensors that one of a traceable subclass is made of, by name, and its metadata; none of any other."""
    flatten: Any = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None or not is_subclass(tensor):
        return {}, None
    names, metadata = flatten()
    return {name: getattr(tensor, name) for name in names}, metadata


def flat(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors that one is made of, in order; itself where it is one."""
    inner, _ = parts(tensor)
    if not inner:
        yield tensor
    for part in inner.values():
        yield from flat(part)


def described(
    tensor: torch.Tensor, of_tensor: Callable[[torch.Tensor], str], of_value: Callable[[object], str]
) -> str:
    """The text of a subclass's identity, its inner tensors, and its metadata, given how those are written.

    Raises :class:`OpaqueError` where its class has no identity.
    """
    words = [f"class {identity(type(tensor))}"]
    inner, metadata = parts(tensor)
    words += [f"{name}: {of_tensor(part)}" for name, part in inner.items()]
    if metadata is not None:
        words.append(f"with {of_value(metadata)}")
    return f"<{', '.join(words)}>"
