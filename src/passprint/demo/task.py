"""What the parent asks of a child and what the child answers: plain data that goes through JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from passprint.demo.models import ModelSource, Prepared

Kind = Literal["prepare", "eager", "passprint", "library", "baseline"]

DEFAULT_PASS = "default"
OPT_IN_PASS = "opt-in"


@dataclass(frozen=True)
class Task:
    """One child's work.

    ``prepare`` needs ``source``, ``folder`` and ``prompt``; every other kind needs ``prepared``, ``tokens``
    and ``reference``, the file that ``eager`` writes its logits to and the others read them from.
    ``passprint`` and ``library`` also need ``cache``, a folder.
    """

    kind: Kind
    threads: int
    source: ModelSource | None = None
    folder: str = ""
    prompt: str | None = None
    prepared: Prepared | None = None
    tokens: int = 16
    reference: str = ""
    passes: str | None = None
    cache: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Task:
        """The inverse of :meth:`to_dict`."""
        entries = dict(data)
        if entries["source"] is not None:
            entries["source"] = ModelSource(**entries["source"])
        entries["prepared"] = prepared_from(entries["prepared"])
        return cls(**entries)


@dataclass(frozen=True)
class PhaseResult:
    """The figures of one phase.

    ``seconds``: ``import torch``, ``import transformers``, ``load`` (the model), ``first logits`` (from
    calling compile, or from the call itself when eager, to the prompt's logits being there), ``decode``
    (the tokens after the first). ``difference``: the largest absolute difference to eager's logits, over
    the prompt and each step. ``report``: the compile report's data. ``graphs``: graphs that plain
    ``torch.compile`` made. ``pass_roles``: for each library pass, whether it is ``"default"`` or
    ``"opt-in"``. ``imported``: which of torch's compiler packages were loaded in the end.
    """

    seconds: dict[str, float]
    token_ids: tuple[int, ...]
    text: str
    tokens_per_second: float
    difference: float | None = None
    same_text: bool | None = None
    report: dict[str, Any] | None = None
    graphs: int | None = None
    pass_roles: dict[str, str] = field(default_factory=dict)
    imported: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PhaseResult:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**data, "token_ids": tuple(data["token_ids"]), "imported": tuple(data["imported"])})


def prepared_from(data: dict[str, Any] | None) -> Prepared | None:
    """A Prepared from JSON data."""
    return None if data is None else Prepared(**{**data, "prompt_ids": tuple(data["prompt_ids"])})
