"""The guards of one trace as plain data, between the door that reads them and what turns them into code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuardFact:
    """One guard of Dynamo's.

    ``kind`` is its name there (``TYPE_MATCH``), ``source`` the Python expression that it looks at, over ``L``
    (``L['model']``, ``L['args']``, ``L['kwargs']``) and ``G`` (the globals of the traced frame). ``detail`` is the
    attribute, key or second source where the kind has one; ``conditions`` are expressions that must hold.
    """

    kind: str
    source: str
    detail: object = None
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorFact:
    """What is fixed about a tensor: sizes and strides with None where they vary."""

    sizes: tuple[int | None, ...]
    strides: tuple[int | None, ...]
