"""The door to Dynamo's stamp of a subgraph: the first block's sources, inputs and guards for another block.

Every further block passes here, so what is not needed for it is left out: torch's stamp clones each source, gives the
sizes of parameters symbols that are numbers again at once, and keeps for each guard where in the source it was made.
What is reached here stands in ``patches.BLOCKS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch


class Moved:
    """Sources of the first block as sources of another one; shared parts are moved once."""

    def __init__(self, cached: Any, fingerprint: Any) -> None:
        from torch._dynamo.variables.invoke_subgraph import build_source_replacement

        self._known: dict[Any, Any] = dict(
            build_source_replacement(cached.arg_sources, fingerprint.arg_sources)
        )

    def __call__(self, source: Any) -> Any:
        known = self._known.get(source)
        if known is None:
            parts = {name: getattr(source, name) for name in _field_names(source.__class__)}
            changed = {n: self(p) for n, p in parts.items() if isinstance(p, source_class())}
            changed = {n: p for n, p in changed.items() if p is not parts[n]}
            known = self._known[source] = dataclasses.replace(source, **changed) if changed else source
        return known


@cache
def _field_names(kind: type) -> list[str]:
    """The names of a data class's fields: asking each time is a tenth of moving a source."""
    return [field.name for field in dataclasses.fields(kind) if field.init]


@cache
def source_class() -> type:
    from torch._guards import Source

    return Source


def counted_guards(guards: Any, new_source: Callable[[Any], Any]) -> list[Any]:
    """Those of ``guards`` that are on the first block, and that another block needs as well.

    Not that dictionaries of hooks are empty, where Dynamo is told to ignore hooks (its default): that is half of all
    guards. Passprint itself asks every module of the model for hooks at each call.
    """
    import torch._dynamo.config as config

    ignored = "EMPTY_NN_MODULE_HOOKS_DICT" if config.skip_nnmodule_hook_guards else None
    return [
        guard
        for guard in guards
        if guard.create_fn_name() != ignored
        and new_source(guard.originating_source) != guard.originating_source
    ]


def stamp(
    tx: Any,
    fingerprint: Any,
    cached: Any,
    new_source: Callable[[Any], Any],
    guards: Sequence[Any],
) -> Any:
    """Torch's stamp, and then ``guards``, the first block's, for this one."""
    from torch._dynamo.variables.builder import VariableBuilder
    from torch._dynamo.variables.invoke_subgraph import stamp_out_subgraph

    inputs = [_moved_input(lifted, new_source) for lifted in cached.subgraph_input_mapping]
    for first, lifted in zip(cached.subgraph_input_mapping, inputs, strict=True):
        if lifted is not first:
            _make_input(tx, first.source, lifted.source)
    # With the sources of this block on both sides, torch has nothing to replace.
    moved = dataclasses.replace(
        cached, subgraph_input_mapping=inputs, arg_sources=list(fingerprint.arg_sources)
    )
    result = stamp_out_subgraph(tx, fingerprint, moved)
    fresh: dict[str, Any] = dict.fromkeys(
        ("guard_types", "code_list", "obj_weakref", "guarded_class_weakref", "_hash")
    )
    fresh |= {"stack": (), "user_stack": ()}  # torch would format a line of source for each
    for guard in guards:
        source = new_source(guard.originating_source)
        if guard.create_fn_name() != "TENSOR_MATCH":  # that one holds the first block's tensor
            check = _moved_check(guard.create_fn, new_source)
            tx.output.guards.add(
                dataclasses.replace(guard, originating_source=source, create_fn=check, **fresh)
            )
        elif not tx.output.guards.get_guards_for_source(source):
            VariableBuilder(tx, source)(tx.output.resolve_source_value(source))
    return result


def _moved_input(lifted: Any, new_source: Callable[[Any], Any]) -> Any:
    from torch._dynamo.variables.invoke_subgraph import LiftedCapturedSource

    if isinstance(lifted, LiftedCapturedSource):
        source = new_source(lifted.source)
        return lifted if source is lifted.source else LiftedCapturedSource(source)
    return lifted


def _make_input(tx: Any, first: Any, source: Any) -> None:
    """Make the fake tensor of another block's input, where the first block's has numbers for all sizes.

    Both have the same sizes and strides (`Comparison`), so no symbol is asked for. Dynamo finds it when it wraps the
    tensor; tensors that share storage share that of their fakes as ever.
    """
    known = tx.output.input_source_to_var.get(first)
    value = tx.output.resolve_source_value(source)
    if known is None or type(value) not in (torch.Tensor, torch.nn.Parameter) or value._is_view():
        return
    fake = known.as_proxy().node.meta["example_value"]
    if all(type(size) is int for size in (*fake.shape, *fake.stride(), fake.storage_offset())):
        tx.fake_mode.from_tensor(value, static_shapes=True, source=source, trace=False)


def _moved_check(check: Any, new_source: Callable[[Any], Any]) -> Any:
    """A guard's function for another block: what compares two sources compares those of that block."""
    if not isinstance(check, partial) or not any(
        isinstance(v, source_class()) for v in check.keywords.values()
    ):
        return check
    named = {n: new_source(v) if isinstance(v, source_class()) else v for n, v in check.keywords.items()}
    return partial(check.func, *check.args, **named)
