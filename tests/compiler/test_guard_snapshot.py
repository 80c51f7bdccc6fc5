"""A model that is what it was is asked less, and a change of it is noticed all the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.compiler.models import WIDTH, inputs
from torch import nn

import passprint
from passprint.compiler.dependencies.can_read import CanRead, Inlined, can_read
from passprint.compiler.dependencies.state import State
from passprint.compiler.guards.facts import GuardFact
from passprint.compiler.guards.pins import Pins
from passprint.compiler.guards.source import Sources
from passprint.compiler.guards.watch import Watch


class Part(nn.Module):
    limit = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("shift", torch.ones(WIDTH))
        self.factor = 3
        self.names = ["a"]
        self.kind = "plain"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x) * self.factor + self.shift
        return y.clamp(max=self.limit) if self.kind == "plain" else y


class OtherPart(Part):
    limit = 1.0


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Part() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = part(x)
        return x


SHARED = OTHER = Part()


def shared(x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = SHARED(x) * WIDTH
    return y


def whole() -> Whole:
    torch.manual_seed(0)
    return Whole().eval()


def _set_class(model: Whole) -> None:
    model.parts[1].__class__ = OtherPart


def _set_dictionary(model: Whole) -> None:
    model.parts[1].__dict__ = {**vars(model.parts[1])}


CHANGES: dict[str, Callable[[Any], object]] = {
    "an attribute": lambda m: setattr(m.parts[1], "factor", 4),
    "an attribute that is equal and another object": lambda m: setattr(m.parts[1], "factor", 3.0),
    "a new attribute": lambda m: setattr(m.parts[0], "forward", lambda x: x),
    "an attribute that is gone": lambda m: delattr(m.parts[0], "kind"),
    "a submodule replaced": lambda m: m.parts.__setitem__(0, Part().eval()),
    "a submodule more": lambda m: m.parts.append(Part().eval()),
    "a parameter replaced": lambda m: setattr(
        m.parts[0].linear, "weight", nn.Parameter(torch.ones(WIDTH, WIDTH))
    ),
    "a parameter that is gone": lambda m: setattr(m.parts[0].linear, "bias", None),
    "a buffer replaced": lambda m: setattr(m.parts[0], "shift", torch.zeros(WIDTH)),
    "a hook": lambda m: m.parts[0].register_forward_hook(lambda *_: None),
    "the mode": lambda m: m.parts[1].train(),
    "the class": _set_class,
    "the dictionary": _set_dictionary,
}


def reads() -> CanRead:
    """What the code of the models above can read."""
    functions: list[Any] = [Part.forward, Whole.forward, shared]
    found = can_read([Inlined(function.__code__, function, __name__, None) for function in functions])
    return found._replace(roots=((__name__, "shared"),))


def watched(model: Whole) -> Watch:
    return Watch(State(reads(), model), lambda: State(reads(), model))


# What the walk does not count: Dynamo's guards and the request do.
GUARDED = (
    "a new attribute",  # forward, which only torch's code names
    "an attribute",  # plain values are Dynamo's to guard at a call
    "an attribute that is equal and another object",
    "a submodule replaced",
    "a parameter replaced",
    "a parameter that is gone",
    "a buffer replaced",
    "the mode",
    "the dictionary",
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(change: str) -> None:
    model = whole()
    watch = watched(model)
    assert watch.unchanged()
    CHANGES[change](model)
    assert not watch.unchanged()
    assert watch.renewed() is (change in GUARDED)


def test_a_change_of_the_class_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(whole())
    assert watch.unchanged()
    monkeypatch.setattr(Part, "limit", 9.0)
    assert not watch.unchanged()


def test_what_is_no_change() -> None:
    model = whole()
    watch = watched(model)
    assert watch.unchanged()
    with torch.no_grad():
        model.parts[0].linear.weight.fill_(2.0)
    model(inputs())
    assert watch.unchanged()


def test_what_code_does_not_name_is_looked_at_and_does_not_count() -> None:
    model = whole()
    watch = watched(model)
    assert watch.unchanged()
    model.parts[0].unread = 5
    assert not watch.unchanged()
    assert watch.renewed()
    assert watch.unchanged()


@pytest.mark.parametrize(
    ("kind", "source", "detail", "sure"),
    [
        ("EQUALS_MATCH", "L['model']._modules['parts']._modules['0'].factor", None, True),
        ("EQUALS_MATCH", "L['model']._modules['parts']._modules['0'].limit", None, True),
        ("EQUALS_MATCH", "L['model']._modules['parts']._modules['0'].names", None, False),  # changes in place
        ("SEQUENCE_LENGTH", "L['model']._modules['parts']._modules['0'].names", None, False),
        ("TYPE_MATCH", "L['model']._modules['parts']._modules['0']", None, True),
        ("TYPE_MATCH", "L['args'][0]", None, False),
        ("CONSTANT_MATCH", "G['net'].FACTOR", None, False),
        ("CONSTANT_MATCH", "G['here'].WIDTH", None, True),
        ("TYPE_MATCH", "G['here'].SHARED._modules['linear']", None, True),
        ("TYPE_MATCH", "G['here'].OTHER", None, False),
        ("FUNCTION_MATCH", "L['model']._modules['parts']._modules['0'].forward", None, False),
        ("DICT_KEYS_MATCH", "L['model']._modules['parts']._modules", None, True),
        ("NOT_PRESENT_IN_GENERIC_DICT", "L['model']", "forward", True),
        ("HASATTR", "L['model']._modules['parts']._modules['0']", "factor", True),
        ("HASATTR", "L['model']._modules['parts']._modules['0']", "absent", False),
        ("TENSOR_MATCH", "L['model']._modules['parts']._modules['0']._buffers['shift']", None, True),
        ("DUPLICATE_INPUT", "L['model']", "L['args'][0]", False),
        ("SHAPE_ENV", "", None, False),
        ("OF_A_NEW_KIND", "L['model']", None, False),
    ],
)
def test_which_guards_need_not_be_asked(kind: str, source: str, detail: str | None, sure: bool) -> None:
    model = whole()
    modules = {"net": ModuleType("net"), "here": sys.modules[__name__]}
    vars(modules["net"])["FACTOR"] = 2
    pins = Pins(model, modules, Sources(), State(reads(), model).watched)
    assert pins.covers(GuardFact(kind, source, detail)) is sure


REFUSED = ("an attribute", "a parameter that is gone", "a hook", "the class")


def test_a_compiled_model_notices_after_many_calls(tmp_path: Path) -> None:
    """What eager gives is what comes out, before a change, after it, and once it is taken back."""
    model = whole()
    compiled: Any = passprint.compile(model, cache=tmp_path, passes="")
    x = inputs()
    with torch.no_grad():
        for _ in range(4):
            torch.testing.assert_close(compiled(x), model(x))
        model.parts[0].linear.weight.fill_(0.01)
        torch.testing.assert_close(compiled(x), model(x))
        assert compiled.report.graphs == 1, "new weights need nothing"
        assert compiled.why_trace(x) is None
        assert compiled.why_trace(x.double()) is not None
        kept = nn.Parameter(model.parts[0].linear.weight.detach().double())
        before, model.parts[0].linear.weight = model.parts[0].linear.weight, kept
        assert "parameters" in compiled.why_trace(x)
        model.parts[0].linear.weight = before
        assert compiled.why_trace(x) is None
        before.data = before.data.double()
        assert compiled.why_trace(x) is not None, "the same parameter, of another dtype"
        before.data = before.data.float()
        assert compiled.why_trace(x) is None
        for change in REFUSED:
            assert compiled.why_trace(x) is None
            other = whole()
            CHANGES[change](other)
            model.parts, kept_parts = other.parts, model.parts
            assert compiled.why_trace(x) is not None, change
            model.parts = kept_parts
