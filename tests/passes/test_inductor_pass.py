"""What a subclass of InductorPass becomes, and what its identity covers."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
import threading
import types
import warnings
from typing import Any, ClassVar

import pytest
import torch
from torch._inductor.custom_graph_pass import CustomGraphPass

from passprint import fingerprint
from passprint.passes import (
    CompileRange,
    InductorPass,
    OpaqueWarning,
    Pattern,
    PatternPass,
    get_pass_context,
    is_applicable_for_range,
    pass_uuid,
)


class ScaleRMSNorm(InductorPass):
    eps: float = 1e-6
    sizes: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, graph: torch.fx.Graph) -> None:
        return None


class Named(InductorPass):
    name: ClassVar[str] = "another"

    def __call__(self, graph: torch.fx.Graph) -> None:
        return None


def pass_class(source: str, name: str = "Sample", **names: Any) -> type[InductorPass]:
    """The class that ``source`` defines, in a module of its own, as a user's file would."""
    module = types.ModuleType("users_passes")
    module.__dict__.update(names, torch=torch, InductorPass=InductorPass, get_pass_context=get_pass_context)
    exec(compile(source, "users_passes.py", "exec", dont_inherit=True), module.__dict__)
    found: type[InductorPass] = module.__dict__[name]
    return found


def uuid_of(source: str, **names: Any) -> str:
    digest = pass_class(source, **names)().uuid()
    assert digest is not None
    return digest


def test_a_subclass_is_a_frozen_dataclass() -> None:
    made = ScaleRMSNorm(eps=1e-5)
    assert isinstance(made, CustomGraphPass)
    assert [field.name for field in dataclasses.fields(made)] == ["eps", "sizes"]
    assert made == ScaleRMSNorm(1e-5)
    assert made != ScaleRMSNorm()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.eps = 1.0  # type: ignore[misc]


def test_the_decorator_on_top_changes_nothing() -> None:
    @dataclasses.dataclass(frozen=True)
    class Decorated(ScaleRMSNorm):
        width: int = dataclasses.field(default=8, repr=False)
        names: list[str] = dataclasses.field(default_factory=lambda: ["a"])

    class Plain(ScaleRMSNorm):
        width: int = dataclasses.field(default=8, repr=False)
        names: list[str] = dataclasses.field(default_factory=lambda: ["a"])

    decorated, plain = Decorated(width=9), Plain(width=9)
    assert dataclasses.astuple(decorated) == dataclasses.astuple(plain)
    assert decorated.names is not Decorated().names
    assert Decorated.width == 8
    assert "width" not in repr(decorated)
    assert repr(decorated).rpartition(".")[2] == repr(plain).rpartition(".")[2].replace("Plain", "Decorated")
    assert hash(Named()) == hash(Named())
    with pytest.raises(dataclasses.FrozenInstanceError):
        decorated.width = 1  # type: ignore[misc]


def test_the_decorator_may_add_slots() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Slotted(InductorPass):
        width: int = 8
        names: tuple[str, ...] = dataclasses.field(default_factory=lambda: ("a",))

        def __call__(self, graph: torch.fx.Graph) -> None:
            return None

    assert (Slotted().width, Slotted().names, Slotted(3).width) == (8, ("a",), 3)


def test_a_decorator_that_is_not_frozen_is_refused() -> None:
    with pytest.raises(TypeError, match="non-frozen"):

        @dataclasses.dataclass
        class Loose(InductorPass):
            width: int = 8


def test_name_and_text() -> None:
    assert ScaleRMSNorm.name == ScaleRMSNorm().name == "scale-rms-norm"
    assert Named.name == "another"
    assert str(ScaleRMSNorm()) == "scale-rms-norm"
    assert str(ScaleRMSNorm(eps=1e-5)) == "scale-rms-norm{eps=1e-05}"
    assert str(ScaleRMSNorm(sizes=[1])) == "scale-rms-norm{sizes=[1]}"
    # 1 equals 1.0 and is another value
    assert str(ScaleRMSNorm(eps=1)) == "scale-rms-norm{eps=1}"


def test_a_field_called_name_is_an_error() -> None:
    with pytest.raises(TypeError, match="ClassVar"):

        class Wrong(InductorPass):
            name: str = "x"  # type: ignore[misc]


def test_the_method_must_be_there() -> None:
    class Unfinished(InductorPass):
        pass

    with pytest.raises(TypeError, match="__call__"):
        Unfinished()  # type: ignore[abstract]


def test_copies_are_equal_and_a_frozen_pass_is_its_own_deep_copy() -> None:
    made = ScaleRMSNorm(eps=1e-5)
    assert copy.deepcopy({"slot": made})["slot"] is made
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again.uuid() == made.uuid()


PLAIN = """
SCALE = 2.0
def helper(node):
    return SCALE
class Base(InductorPass):
    def start(self):
        return 1
class Sample(Base):
    eps: float = 1e-6
    def __call__(self, graph):
        for node in graph.nodes:
            self.start(), helper(node)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = -2.0"),
        ("return SCALE", "return -SCALE"),
        ("return 1", "return 2"),
        ("graph.nodes", "reversed(graph.nodes)"),
        ("eps: float = 1e-6", "eps: float = 1e-5"),
    ],
    ids=["constant", "helper", "base class", "body", "default"],
)
def test_an_edit_that_changes_what_runs_changes_the_uuid(old: str, new: str) -> None:
    assert old in PLAIN
    assert uuid_of(PLAIN) != uuid_of(PLAIN.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "# a comment\n\n\nSCALE = 2.0"),
        ("return 1", "return (1)"),
        ("    def __call__(self, graph):", '    """What it does."""\n    def __call__(self, graph):'),
    ],
    ids=["moved", "formatted", "documented"],
)
def test_an_edit_that_changes_nothing_keeps_the_uuid(old: str, new: str) -> None:
    assert old in PLAIN
    assert uuid_of(PLAIN) == uuid_of(PLAIN.replace(old, new))


def test_field_values_are_part_of_the_uuid() -> None:
    assert ScaleRMSNorm(eps=1e-5).uuid() != ScaleRMSNorm().uuid()
    assert ScaleRMSNorm(eps=1e-6).uuid() == ScaleRMSNorm().uuid()
    assert ScaleRMSNorm(sizes=[1]).uuid() != ScaleRMSNorm(sizes=[2]).uuid()


def test_a_helper_replaced_while_running_is_noticed() -> None:
    made = pass_class(PLAIN)()
    before = made.uuid()
    namespace = type(made).__call__.__globals__
    namespace["SCALE"] = 3.0
    assert made.uuid() != before
    namespace["SCALE"] = 2.0
    assert made.uuid() == before


def test_a_pass_that_asks_for_its_context_has_a_uuid() -> None:
    source = """
class Sample(InductorPass):
    def __call__(self, graph):
        get_pass_context().compile_range.start
"""
    assert fingerprint(pass_class(source)()).opaque == ()


def test_a_pattern_pass_keeps_its_uuid_when_it_is_built() -> None:
    made = AddToSub()
    before = made.uuid()
    assert before is not None
    made._built()
    assert made.uuid() == before == AddToSub().uuid()


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


def subtract(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x - y


class AddToSub(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [Pattern("add", add, subtract, [torch.empty(4), torch.empty(4)])]


def test_an_opaque_pass_has_no_uuid_and_warns_once_with_the_path() -> None:
    class Holder(InductorPass):
        handle: object = None

        def __call__(self, graph: torch.fx.Graph) -> None:
            return None

    def running() -> Any:
        yield 1

    with pytest.warns(OpaqueWarning, match=r"Holder.*handle") as caught:
        assert Holder(handle=running()).uuid() is None
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Holder(handle=running()).uuid() is None
        assert Holder(handle=3).uuid() is not None


def test_applies_to_every_range_unless_it_says_no() -> None:
    class Decode(InductorPass):
        def __call__(self, graph: torch.fx.Graph) -> None:
            return None

        def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
            return compile_range.end <= 8

    small, large = CompileRange(1, 8), CompileRange(1, 512)
    assert is_applicable_for_range(Decode(), small)
    assert not is_applicable_for_range(Decode(), large)
    assert is_applicable_for_range(ScaleRMSNorm(), large)
    assert is_applicable_for_range(object(), large)


def test_threads_may_make_and_identify_passes_at_once() -> None:
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(ScaleRMSNorm().uuid())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ScaleRMSNorm().uuid()] * 8


def test_pass_uuid_serves_passes_of_any_base() -> None:
    class Mine(CustomGraphPass):
        factor = 1.0

        def __call__(self, graph: torch.fx.Graph) -> None:
            graph.factor = self.factor

        def uuid(self) -> str | None:
            return pass_uuid(self)

    before = Mine().uuid()
    assert before is not None
    assert Mine().uuid() == before
    Mine.factor = 2.0
    assert Mine().uuid() not in (None, before)
    held = Mine()
    held.log = sys.stderr
    with pytest.warns(OpaqueWarning, match="cannot be identified"):
        assert held.uuid() is None
