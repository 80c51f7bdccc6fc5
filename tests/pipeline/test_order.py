"""What passes declare about their place: checked when a manager is built, with a valid order in the error."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import InductorPass
from passprint.pipeline import FixedPoint, PassManager


class OrderPlain(InductorPass):
    step: int = 0

    def __call__(self, graph: Graph) -> None:
        return None


class OrderLate(OrderPlain):
    after = ("order-plain",)


class OrderEarly(OrderPlain):
    before = ("order-plain", "order-late")


class OrderNeedy(OrderPlain):
    requires = ("order-plain",)


class OrderUndoes(OrderPlain):
    invalidates = ("order-plain",)


class OrderRoundA(OrderPlain):
    before = ("order-round-b",)


class OrderRoundB(OrderPlain):
    before = ("order-round-a",)


Plain, Late, Early, Needy, Undoes = OrderPlain(), OrderLate(), OrderEarly(), OrderNeedy(), OrderUndoes()


@pytest.mark.parametrize(
    "passes",
    [
        [],
        [Late],
        [Early],
        [Undoes],
        [Plain, Late],
        [Early, Plain, Late],
        [Plain, Needy],
        [Undoes, Plain, Needy],
        [Plain, Undoes, Plain, Needy],
        [Plain, Needy, Undoes],
        [Plain, Late, Plain],
        [Plain, PassManager([Needy])],
        [PassManager([Plain]), FixedPoint([Needy, Undoes])],
    ],
)
def test_valid_orders(passes: list[Any]) -> None:
    PassManager(passes)(Graph())


@pytest.mark.parametrize(
    ("passes", "problem", "valid"),
    [
        ([Late, Plain], "'order-late' must run after 'order-plain'", "order-plain,order-late"),
        ([Plain, Early], "'order-early' must run before 'order-plain'", "order-early,order-plain"),
        (
            [Needy, Plain],
            "'order-needy' requires 'order-plain', which comes later",
            "order-plain,order-needy",
        ),
        (
            [Late, OrderPlain(3), Early],
            "'order-early' must run before 'order-late'",
            "order-early,order-plain{step=3},order-late",
        ),
        (
            [Plain, Undoes, Needy],
            "'order-needy' requires 'order-plain', whose work 'order-undoes' has undone by then",
            "order-plain,order-needy,order-undoes",
        ),
        ([PassManager([Late]), FixedPoint([Plain])], "must run after", "order-plain,order-late"),
    ],
)
def test_a_wrong_order_is_told_with_a_valid_one(passes: list[Any], problem: str, valid: str) -> None:
    with pytest.raises(PipelineError) as caught:
        PassManager(passes)
    assert problem in str(caught.value)
    assert str(caught.value).splitlines()[-1] == f"  valid: {valid}"
    # what is recommended is valid
    PassManager.parse(valid)


class OrderNeedsUndone(OrderPlain):
    requires = ("order-plain",)
    after = ("order-undoes",)


def test_where_nothing_else_helps_a_pass_is_repeated() -> None:
    with pytest.raises(PipelineError) as caught:
        PassManager([OrderPlain(2), Undoes, OrderNeedsUndone()])
    valid = str(caught.value).splitlines()[-1].removeprefix("  valid: ")
    assert [pass_.name for pass_ in PassManager.parse(valid)][-2:] == ["order-plain", "order-needs-undone"]


def test_declarations_that_contradict_each_other_are_told() -> None:
    with pytest.raises(PipelineError, match="no order satisfies"):
        PassManager([OrderRoundA(), OrderRoundB()])


def test_what_is_required_and_missing_is_told_when_the_pipeline_is_used() -> None:
    manager = PassManager([OrderLate(), Needy])
    # it may be put into a pipeline that has what it requires
    PassManager([Plain, manager])(Graph())
    for use in (
        manager.options,
        manager.install,
        lambda: manager(Graph()),
        lambda: manager.mounted().__enter__(),
        lambda: PassManager.parse("order-late,order-needy"),
    ):
        with pytest.raises(PipelineError) as caught:
            use()
        assert "'order-needy' requires 'order-plain'" in str(caught.value)
        assert str(caught.value).splitlines()[-1] == "  valid: order-late,order-plain,order-needy"


def test_a_requirement_may_be_met_at_an_earlier_hook() -> None:
    PassManager.parse("pre-grad(order-plain),post-grad-post(order-needy)").options()
    with pytest.raises(PipelineError, match="comes later"):
        PassManager.parse("pre-grad(order-needy),post-grad-post(order-plain)")


def test_declarations_are_no_part_of_the_identity() -> None:
    def define(**declared: Any) -> str | None:
        body: dict[str, Any] = {"__module__": __name__, "__call__": OrderPlain.__call__, **declared}
        return PassManager([type("OrderDeclares", (InductorPass,), body)()]).uuid()

    plain = define()
    for name in ("requires", "after", "before", "invalidates"):
        # required, after or before: of nothing that is there
        assert define(**{name: ("order-x",)}) == plain
    assert define(other=("order-x",)) != plain


@pytest.mark.parametrize("declared", ["order-plain", ["order-plain"], (OrderPlain,), None])
def test_a_declaration_is_a_tuple_of_names(declared: Any) -> None:
    with pytest.raises(TypeError, match="tuple of names"):
        type("OrderWrong", (InductorPass,), {"after": declared})


def test_a_declaration_is_no_option() -> None:
    with pytest.raises(TypeError, match="'after'"):

        class OrderOption(InductorPass):
            after: tuple[str, ...] = ()  # type: ignore[misc]

            def __call__(self, graph: Graph) -> None:
                return None

    class OrderAnnotated(OrderPlain):
        after: ClassVar[tuple[str, ...]] = ("order-plain",)

    assert OrderAnnotated().after == ("order-plain",)
