"""What is compiled: a function, a module, or one method of a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch

_CALLS = ("__call__", "_wrapped_call_impl")
"""The names of the method that runs where a module is called."""


@dataclass(frozen=True)
class Target:
    """A function or a module, and which of its methods is called; None: the module itself is.

    A bound method of a module is the module and a name, so that it is recorded, repeated and loaded as the module is.
    The method is the class's: ``model.forward = torch.compile(model.forward, …)`` puts another one before it.
    """

    model: Callable[..., Any]
    method: str | None = None

    @classmethod
    def of(cls, given: Callable[..., Any]) -> Target:
        """What was given to be compiled."""
        owner = getattr(given, "__self__", None)
        if isinstance(given, MethodType) and isinstance(owner, torch.nn.Module):
            name = given.__func__.__name__
            if getattr(type(owner), name, None) is given.__func__:
                return cls(owner, None if name in _CALLS else name)
        return cls(given)

    @property
    def call(self) -> Callable[..., Any]:
        """What runs it eagerly."""
        return (
            self.model
            if self.method is None
            else MethodType(getattr(type(self.model), self.method), self.model)
        )

    @property
    def signature(self) -> Callable[..., Any]:
        """What has its parameters."""
        if isinstance(self.model, torch.nn.Module) and self.method in (None, "_call_impl"):
            return self.model.forward
        return self.call

    @property
    def expression(self) -> str:
        """The call in Python, of ``model`` with ``args`` and ``kwargs``.

        Dynamo does not know all classes, so the method is taken of the model as long as that has no other one.
        """
        if self.method is None:
            return "model(*args, **kwargs)"
        if self.method in vars(self.model):
            return f"type(model).{self.method}(model, *args, **kwargs)"
        return f"model.{self.method}(*args, **kwargs)"
