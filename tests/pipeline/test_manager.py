"""The manager: membership, running, ranges, counts, identity."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest
import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import (
    CompileRange,
    InductorPass,
    OpaqueWarning,
    PassContext,
    Pattern,
    PatternPass,
    current_pass_context,
    get_pass_context,
    graph_pass,
    pass_context,
)
from passprint.pipeline import PassManager, default_pipeline

aten = torch.ops.aten
ran: list[tuple[str, CompileRange]] = []


class First(InductorPass):
    step: int = 1

    def __call__(self, graph: Graph) -> None:
        ran.append((str(self), get_pass_context().compile_range))


class Second(First):
    pass


class Decode(First):
    """Only for up to eight tokens."""

    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        return compile_range.end <= 8


class DropNegations(InductorPass):
    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.neg.default):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)


class Foreign(CustomGraphPass):
    """As another library would write one."""

    def __init__(self, uuid: Any) -> None:
        self.given = uuid

    def __call__(self, graph: Graph) -> None:
        ran.append(("foreign", get_pass_context().compile_range))

    def uuid(self) -> Any:
        return self.given


@graph_pass
def as_function(graph: Graph) -> None:
    ran.append(("as-function", get_pass_context().compile_range))


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def names() -> list[str]:
    return [name for name, _ in ran]


def negations(count: int) -> Graph:
    graph = Graph()
    node = graph.placeholder("x")
    for _ in range(count):
        node = graph.call_function(aten.neg.default, (node,))
        node = graph.call_function(aten.relu.default, (node,))
    graph.output(node)
    return graph


# -- membership


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ([1], r"member 0 .* is 1 \(int\), which is not a pass.*InductorPass"),
        ([First(), First], r"member 1 .*give an instance, First\(\)"),
        ([print], "graph_pass"),
        (["first"], r"PassManager\.parse\('first'\)"),
        ("first", r"PassManager\.parse\('first'\)"),
        (3, "list of passes"),
        (None, "list of passes"),
    ],
)
def test_what_is_not_a_pass_is_named(passes: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        PassManager(passes)


def test_an_unknown_hook_is_named() -> None:
    with pytest.raises(PipelineError, match=r"'postgrad'.*post_grad_post"):
        PassManager([], hook="postgrad")


def test_a_manager_is_a_value() -> None:
    made = PassManager([First(), Second(step=2)])
    assert made == PassManager((First(), Second(2)))
    assert hash(made) == hash(PassManager([First(), Second(2)]))
    assert made != PassManager([Second(2), First()])
    assert made != PassManager([First(), Second(2)], hook="joint_pre")
    assert (len(made), list(made), made.hook) == (2, [First(), Second(2)], "post_grad_post")
    assert copy.deepcopy(made) is made
    made.uuid()
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again.uuid() == made.uuid()
    with pytest.raises(AttributeError):
        made.passes = ()  # type: ignore[misc]


# -- running


def test_passes_run_in_order_nested_ones_too() -> None:
    manager = PassManager([First(), PassManager([Second(), as_function]), Foreign("x"), First(step=2)])
    manager(Graph())
    assert names() == ["first", "second", "as-function", "foreign", "first{step=2}"]
    ran.clear()
    manager.run(Graph())
    assert len(names()) == 5


def test_a_pass_whose_range_does_not_apply_is_skipped() -> None:
    manager = PassManager([First(), PassManager([Decode()])])
    for end, expected in ((8, ["first", "decode"]), (9, ["first"])):
        ran.clear()
        with pass_context(CompileRange(1, end)) as context:
            manager(Graph())
        assert names() == expected
        assert set(context.matches) == set(expected)


def test_outside_a_context_the_graph_is_for_any_size() -> None:
    PassManager([First(), Decode()])(Graph())
    assert ran == [("first", CompileRange.any())]
    assert current_pass_context() is None


def test_rewrites_are_counted_by_pass_and_add_up() -> None:
    with pass_context(CompileRange(1, 8)) as context:
        manager = PassManager([First(), DropNegations(), PassManager([DropNegations()])])
        manager(negations(3))
        manager(negations(2))
    assert context.matches == {"first": 0, "drop-negations": 5}


def search(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(torch.neg(x))


def replace(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(x)


def nowhere(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(torch.neg(x))


class Patterns(PatternPass):
    def patterns(self) -> list[Pattern]:
        return [
            Pattern("relu", search, replace, [torch.empty(4)]),
            Pattern("tanh", nowhere, replace, [torch.empty(4)]),
        ]


def traced(count: int) -> Graph:
    from torch.fx.experimental.proxy_tensor import make_fx

    def model(x: torch.Tensor) -> torch.Tensor:
        for _ in range(count):
            x = search(x)
        return x

    return make_fx(model, tracing_mode="fake")(torch.randn(4)).graph


def test_pattern_matches_are_counted_by_pattern_and_in_all() -> None:
    with pass_context(CompileRange(1, 8)) as context:
        PassManager([Patterns(), Patterns()])(traced(3))
        PassManager([Patterns()])(traced(2))
    assert context.matches == {"patterns": 5, "patterns/relu": 5, "patterns/tanh": 0}


# -- identity


def uuid(*passes: Any, size: int | None = None, hook: str = "post_grad_post") -> str:
    manager = PassManager(passes, hook=hook)
    if size is None:
        found = manager.uuid()
    else:
        with pass_context(CompileRange(1, size)):
            found = manager.uuid()
    assert found is not None
    assert found == manager.uuid() or size is not None
    return found


def test_what_must_change_the_uuid() -> None:
    everything = [
        uuid(),
        uuid(First()),
        uuid(Second()),
        uuid(First(step=2)),
        uuid(First(), Second()),
        uuid(Second(), First()),
        uuid(First(), First()),
        uuid(PassManager([First(), Second()])),
        uuid(First(), PassManager([Second()])),
        uuid(PassManager([First()]), Second()),
        uuid(First(), size=8),
        uuid(First(), size=16),
        uuid(First(), hook="joint_pre"),
        uuid(Foreign("a")),
        uuid(Foreign(b"a")),
        uuid(Foreign("b")),
        uuid(Foreign(("a", 1))),
        uuid(First(), Foreign("a")),
        uuid(Foreign("a"), First()),
    ]
    assert len(set(everything)) == len(everything)


def test_what_must_not_change_the_uuid() -> None:
    assert uuid(First(), Second(2)) == uuid(First(), Second(2))
    assert uuid(First(step=1)) == uuid(First())
    assert uuid(First(), size=8) == uuid(First(), size=8)
    assert uuid(Foreign("a")) == uuid(Foreign("a"))


def test_the_uuid_is_the_digest_of_the_named_parts() -> None:
    manager = PassManager([First(), PassManager([Second()]), Foreign("a")])
    identity = manager.identity()
    assert manager.uuid() == identity.digest
    assert [part.name for part in identity.root.children] == [
        "hook",
        "range",
        "order",
        "0 first",
        "1 pass-manager",
        "2 foreign",
    ]
    changes = PassManager([First(), PassManager([Second(step=2)]), Foreign("a")]).identity().diff(identity)
    assert any("step" in change.path for change in changes)
    assert not any("0 first" in change.path for change in changes)


def test_asked_again_it_notices_a_changed_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PassManager([First(), Second()])
    before = manager.uuid()
    assert manager.uuid() == before
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "get_pass_context", lambda: PassContext(CompileRange(1, 1)))
        assert manager.uuid() != before
    assert manager.uuid() == before


def test_a_uuid_written_by_hand_stands() -> None:
    class ByHand(First):
        def uuid(self) -> str:
            return "by hand"

    class OtherHand(First):
        def uuid(self) -> str:
            return "other hand"

    assert uuid(ByHand(step=1)) == uuid(ByHand(step=2))
    assert uuid(Foreign("by hand"), First()) != uuid(ByHand(), First())
    assert uuid(ByHand()) != uuid(OtherHand())


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("missing", [None, ""])
def test_one_member_without_identity_makes_the_whole_uncacheable(missing: Any, nested: bool) -> None:
    member: CustomGraphPass = Foreign(missing)
    if nested:
        member = PassManager([First(), member])
    manager = PassManager([First(), member])
    assert manager.uuid() is None
    with pytest.raises(PipelineError, match=r"'foreign'.*has no uuid"):
        manager.identity()


def test_an_opaque_member_makes_the_whole_uncacheable_with_a_warning() -> None:
    class Holder(First):
        handle: object = None

    manager = PassManager([First(), Holder(handle=(n for n in ()))])
    with pytest.warns(OpaqueWarning, match="Holder"):
        assert manager.uuid() is None
    assert manager.identity().opaque


def test_threads_have_ranges_of_their_own() -> None:
    manager = PassManager([First()])
    found: dict[int, str | None] = {}

    def work(size: int) -> None:
        with pass_context(CompileRange(1, size)):
            for _ in range(50):
                found[size] = manager.uuid()

    threads = [threading.Thread(target=work, args=(size,)) for size in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {size: uuid(First(), size=size) for size in (1, 2, 3)}


def test_the_default_pipeline_is_the_librarys() -> None:
    from passprint.passes.library import DEFAULT

    assert [type(member) for member in default_pipeline().passes] == list(DEFAULT)
