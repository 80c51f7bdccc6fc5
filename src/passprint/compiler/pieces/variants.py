"""Inputs of a piece for one size, or for a range of sizes: fake tensors in a world of their own.

A size is put in place of the symbol; a range narrows the symbol, in a fresh ``ShapeEnv``, because the old one has a
hint outside it and guards that know nothing of the range. Reached here: ``ShapeEnv`` and ``FakeTensorMode``. Read
against torch 2.11 to 2.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from passprint.errors import PassprintError
from passprint.passes import CompileRange


class CannotSpecialise(PassprintError):
    """A piece has inputs that cannot be made anew; its general code serves the variant."""


def specialise(
    values: Sequence[object], symbol: str, sizes: CompileRange
) -> tuple[list[object], FakeTensorMode]:
    """The values with ``symbol`` in ``sizes``, and the mode that they belong to.

    Raises :class:`CannotSpecialise` for inputs that share memory, do not start at their storage's start, or are more
    than plain tensors and numbers.
    """
    world = _World(symbol, sizes)
    return [world.value(v) for v in values], world.mode


class _World:
    def __init__(self, symbol: str, sizes: CompileRange) -> None:
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        self._symbol, self._sizes = symbol, sizes
        self._env: Any = ShapeEnv()
        self.mode = FakeTensorMode(shape_env=self._env)
        self._new: dict[Any, Any] = {}
        self._hints: dict[Any, int] = {}
        self._storages: set[int] = set()

    def value(self, value: object) -> object:
        if isinstance(value, torch.SymInt):
            return self._number(value)
        if type(value) is FakeTensor:
            return self._tensor(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise CannotSpecialise(f"an input is a {type(value).__name__}")

    def _tensor(self, tensor: FakeTensor) -> torch.Tensor:
        if tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
            raise CannotSpecialise("an input is not a plain strided tensor")
        storage = tensor.untyped_storage()._cdata
        if storage in self._storages or self._number(tensor.storage_offset()) != 0:
            raise CannotSpecialise("inputs are views")
        self._storages.add(storage)
        with self.mode:
            made = torch.empty_strided(
                [self._number(n) for n in tensor.shape],
                [self._number(n) for n in tensor.stride()],
                dtype=tensor.dtype,
                device=tensor.device,
                requires_grad=tensor.requires_grad,
            )
        static = getattr(tensor, "_dynamo_static_input_type", None)
        if static is not None:
            made._dynamo_static_input_type = static  # type: ignore[attr-defined]
        return made

    def _number(self, value: int | torch.SymInt) -> Any:
        if isinstance(value, int):
            return value
        for old in sorted(value.node.expr.free_symbols, key=str):
            if old not in self._new:
                self._replace(old, value.node.shape_env)
        expression = value.node.expr.xreplace(self._new)
        if expression.is_number:
            return int(expression)
        return self._env.create_symintnode(expression, hint=int(expression.xreplace(self._hints)))

    def _replace(self, old: Any, env: Any) -> None:
        """A number, or a symbol with the range, in place of the varying one; any other stays as free as it was."""
        from torch._dynamo.source import ConstantSource
        from torch.fx.experimental.symbolic_shapes import DimDynamic, StrictMinMaxConstraint
        from torch.utils._sympy.value_ranges import ValueRanges

        chosen = str(old) == self._symbol
        if chosen and self._sizes.is_single_size():
            self._new[old] = (old - old) + self._sizes.start
            return
        ask = getattr(env, "optimization_hint", None) or env.size_hint  # the newer name is torch 2.13's
        bounds, hint = env.var_to_range[old], int(ask(old))
        if chosen:
            bounds = ValueRanges(self._sizes.start, self._sizes.end)
            hint = min(max(hint, self._sizes.start), self._sizes.end)
        self._new[old] = new = self._env.create_symbol(
            hint,
            source=ConstantSource(f"__passprint_{old}"),
            dynamic_dim=DimDynamic.DYNAMIC,
            constraint_dim=StrictMinMaxConstraint(vr=bounds, warn_only=False),
        )
        self._hints[new] = hint
