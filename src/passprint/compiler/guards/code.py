"""What the generated code of guards (compiler/guards/writer.py) names when it runs."""

from __future__ import annotations

import builtins
import copy
import importlib
import math
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch


def tensor_text(tensor: torch.Tensor) -> str:
    """What is fixed about a tensor besides its sizes."""
    kind = "parameter" if type(tensor) is torch.nn.Parameter else "tensor"
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        kind = f"{type(tensor).__module__}.{type(tensor).__qualname__}"
    flags = [
        word
        for word, on in (
            ("grad", tensor.requires_grad),
            ("conj", tensor.is_conj()),
            ("neg", tensor.is_neg()),
            ("inference", tensor.is_inference()),
        )
        if on
    ]
    return " ".join([kind, str(tensor.dtype).removeprefix("torch."), str(tensor.device), *flags])


def namespace(modules: Sequence[str]) -> dict[str, Any]:
    """What the generated code names besides its constants. Modules that are not imported yet are imported."""
    found: dict[str, Any] = {
        "builtins_dict": vars(builtins),
        "same": same,
        "copied": copy.deepcopy,
        "flatten_context": flatten_context,
        "ordered_keys": ordered_keys,
        "none": frozenset(),
        "___from_numpy": torch.as_tensor,
        "math": math,
    }
    for index, name in enumerate(modules):
        found[f"m{index}"] = sys.modules.get(name) or importlib.import_module(name)
    return found


def flatten_context(tensor: Any) -> object:
    """What a tensor subclass says of itself besides its inner tensors."""
    return tensor.__tensor_flatten__()[1]


def ordered_keys(mapping: OrderedDict[Any, Any]) -> list[Any]:
    """The keys in the order that ``move_to_end`` made, which ``dict.keys`` does not tell."""
    return list(OrderedDict.__iter__(mapping))


def same(one: object, two: object) -> bool:
    """Equal, and of one type, as far as ``==`` can tell; a NaN is itself, and 0.0 is not -0.0."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return repr(one) == repr(two)
    if isinstance(one, (tuple, list)) and isinstance(two, (tuple, list)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)
