"""The Python of the user's that runs while a graph is lowered. The key of a piece holds it, and so do torch's caches.

A graph names what it calls and says what its tensors are; which code that means is said here, in one place for both
keys: custom operators and functions, classes of tensors, Triton kernels (each with all that it reaches), and what
somebody put into torch itself. Decompositions and lowerings of custom operators count where code of the user's runs at
all, which may come to call any operator. What has no identity raises :class:`~passprint.OpaqueError`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import torch
from torch.fx import GraphModule, Node

from passprint.compiler.lowering import kernels, operators, subclasses
from passprint.compiler.lowering.replaced import added, of_operator, replaced, users
from passprint.errors import OpaqueError
from passprint.identity import default_memo

_OPERATORS = (torch._ops.OperatorBase, torch._ops.OpOverloadPacket)


ANY: Final = "any operator"
"""What stands for the operators that a function of the user's may call."""


def everywhere(*, users_code: bool) -> dict[str, str]:
    """What somebody put into torch, by place, that counts for every graph.

    ``users_code``: code of the user's (such as a pass) may run while any graph is lowered.
    """
    found = replaced()
    return found | added() if found or users_code else found


def in_passes(passes: Iterable[object]) -> bool:
    """Whether there are others than passprint's own, which call none of the user's operators."""
    return any(not type(each).__module__.startswith("passprint.passes.library.") for each in passes)


def of_tables() -> str:
    """What stands in torch's tables for custom operators: it counts where code of the user's runs."""
    return ", ".join([f"{place} is {digest}" for place, digest in added().items()])


def operators_in(gm: GraphModule) -> list[str]:
    """The custom operators that a graph and the graphs in it call; `ANY` where it calls functions of the user's."""
    calls: Iterable[Any] = (
        node.target
        for module in gm.modules()
        if isinstance(module, GraphModule)
        for node in module.graph.nodes
        if node.op == "call_function"
    )
    names = set()
    for target in calls:
        name = operators.operator_of(target)
        if name is not None:
            names.add(name)
        elif not isinstance(target, _OPERATORS) and users(target) is not None:
            names.add(ANY)
    return sorted(names)


def of_target(target: object) -> str:
    """The identity of what is the user's in a call's target or in an operator among its arguments; "" for none."""
    if not isinstance(target, _OPERATORS):
        return _digest(target, "a function that the graph calls") if users(target) is not None else ""
    name = operators.operator_of(target)
    words = [] if name is None else [f"custom {operators.identity(name)}".rstrip()]
    own = name is not None or isinstance(target, torch._ops.HigherOrderOperator)
    for _, table, key, value in of_operator(target) if own else ():
        if users(value) is not None:
            words.append(f"{table} {key} {_digest(value, f'the function that {target} has for {key}')}")
    return ", ".join([word for word in words if word])


def of_call(node: Node) -> dict[str, str]:
    """By keyword, the identity of what a call names by an index into a table of torch's."""
    return kernels.indexed(node)


def of_tensor(
    tensor: torch.Tensor, of_inner: Callable[[torch.Tensor], str], of_value: Callable[[object], str]
) -> str:
    """What is the user's in a tensor, given how inner tensors and metadata are written; "" for a plain one."""
    return subclasses.described(tensor, of_inner, of_value) if subclasses.is_subclass(tensor) else ""


def words(gm: GraphModule, inputs: Sequence[object]) -> list[str]:
    """All of it for a graph and the graphs in it, in order; for something without an identity a word like no other."""
    found = [_word(_everywhere)]
    for value in inputs:
        if isinstance(value, torch.Tensor):
            found.append(_word(partial(_tensor, value)))
    for module in gm.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                found += _of_node(node)
    return [word for word in found if word]


def _everywhere() -> str:
    return ", ".join([f"{place} {digest}" for place, digest in everywhere(users_code=True).items()])


def _indexed(node: Node) -> str:
    return " ".join(of_call(node).values())


def _of_node(node: Node) -> Iterator[str]:
    if node.op == "call_function":
        yield _word(partial(of_target, node.target))
        yield _word(partial(_indexed, node))
    for value in _leaves([node.args, node.kwargs]):
        if isinstance(value, _OPERATORS):
            yield _word(partial(of_target, value))
    for value in _leaves(node.meta.get("example_value")):
        if isinstance(value, torch.Tensor):
            yield _word(partial(_tensor, value))


def _tensor(tensor: torch.Tensor) -> str:
    return of_tensor(tensor, _tensor, _metadata)


def _metadata(value: object) -> str:
    """Torch's caches hold metadata themselves; what they leave out is the code of what is in it."""
    kinds = sorted(
        {type(leaf) for leaf in _leaves(value)}, key=lambda kind: (kind.__module__, kind.__qualname__)
    )
    return " ".join(
        [_digest(kind, f"the class {kind.__qualname__} of a tensor's metadata") for kind in kinds]
    )


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value


def _word(write: Callable[[], str]) -> str:
    try:
        return write()
    except OpaqueError:
        return uuid.uuid4().hex


def _digest(value: Any, told: str) -> str:
    digest = default_memo().digest(value)
    if digest is None:
        raise OpaqueError(told)
    return digest
