"""A repeated block is traced once, and only where one trace is right for all: the numbers are eager's always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.compiler.models import WIDTH, inputs
from tests.versions import since
from torch import nn

import passprint
from passprint.compiler.trace.inlining import inline_blocks
from passprint.compiler.trace.repeat import Comparison, RepeatedBlocks, repeated_blocks

Graph = torch.fx.GraphModule

pytestmark = since((2, 12), "reusing the trace of a block")


class Inner(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.scale = 0.5
        self.steps = [1, 2]
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.linear.weight.factor = 2.0  # type: ignore[assignment]
        self.register_buffer("shift", torch.full((WIDTH,), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.linear(x)) * self.linear.weight.factor  # type: ignore[operator]
        return x * self.scale + self.shift * len(self.steps)


class Block(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.inner = Inner(number)
        self.other = nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, pair: Any = None) -> torch.Tensor:
        y = x + self.drop(self.inner(x)) + torch.relu(self.other(x))
        if mask is not None:
            y = y * mask
        return y if pair is None else y + pair[0] - pair[1]


class Model(nn.Module):
    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(i) for i in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, mask=x > 0, pair=(x, x * 2))
        return x


def model() -> Any:
    torch.manual_seed(0)
    return Model().eval()


class Traced:
    """Runs a model through Dynamo alone: what one trace did, and the result."""

    def __init__(self, model: nn.Module, *, dynamic: bool | None = None) -> None:
        torch._dynamo.reset()
        self.repeats = RepeatedBlocks(model)
        self.graphs: list[Graph] = []
        self._call = torch.compile(model, backend=self._backend, fullgraph=True, dynamic=dynamic)

    def _backend(self, gm: Graph, example_inputs: list[Any]) -> Callable[..., Any]:
        inline_blocks(gm)
        gm.graph.lint()
        self.graphs.append(gm)
        return gm.forward

    def __call__(self, *args: Any) -> Any:
        with self.repeats:
            return self._call(*args)

    @property
    def counts(self) -> tuple[int, int]:
        return self.repeats.traced, self.repeats.reused


def check(model: nn.Module, counts: tuple[int, int], *args: Any) -> Traced:
    """The result is eager's, bit for bit, and blocks were traced and stamped out this often."""
    traced = Traced(model)
    args = args or (inputs(),)
    with torch.no_grad():
        torch.testing.assert_close(traced(*args), model(*args), rtol=0, atol=0)
    assert traced.counts == counts
    return traced


def test_equal_blocks_are_traced_once() -> None:
    traced = check(model(), (1, 3))
    assert not any("subgraph" in name for name, _ in traced.graphs[0].named_children())


def test_the_graph_is_the_one_of_a_full_trace() -> None:
    """Same calls in the same order with the same metadata, and module paths of each block's own."""
    subject, x = model(), inputs()
    torch._dynamo.mark_dynamic(x, 0)
    traces = []
    for refused in (None, "asked for"):
        traced = Traced(subject)
        traced.repeats.refused = refused
        with torch.no_grad():
            traced(x)
        traces.append(traced)
    once, full = traces
    assert (once.counts, full.counts) == ((1, 3), (0, 0))

    def told(gm: Graph) -> list[tuple[object, ...]]:
        return [
            (
                node.op if node.op == "placeholder" else node.target,
                str(getattr(node.meta.get("example_value"), "shape", None)),
                [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()],
            )
            for node in gm.graph.nodes
            if node.op != "placeholder"
        ]

    assert told(once.graphs[0]) == told(full.graphs[0])


# ---- one block differs: its numbers are its own ---------------------------------------------------------


def change_scale(block: Any) -> None:
    block.inner.scale = 0.125


def change_list(block: Any) -> None:
    block.inner.steps = [1, 2, 3]


def change_dtype(block: Any) -> None:
    block.inner.shift = block.inner.shift.double().float().requires_grad_(False).to(torch.bfloat16)


def change_shape(block: Any) -> None:
    block.inner.shift = torch.full((1,), 0.75)


def change_stride(block: Any) -> None:
    block.inner.linear.weight = nn.Parameter(block.inner.linear.weight.detach().t().contiguous().t())
    block.inner.linear.weight.factor = 2.0


def change_training(block: Any) -> None:
    block.drop.p = 1.0
    block.drop.train()


def change_forward(block: Any) -> None:
    block.inner.forward = lambda x: x * 3


def change_class(block: Any) -> None:
    block.inner = nn.Identity()


def change_hook(block: Any) -> None:
    block.inner.register_forward_hook(lambda module, args, output: output * 2)


def change_tie(block: Any) -> None:
    block.other.weight = block.inner.linear.weight


def change_tensors_attribute(block: Any) -> None:
    block.inner.linear.weight.factor = 4.0


def change_extra(block: Any) -> None:
    block.inner.extra = 1


CHANGES = [value for name, value in sorted(globals().items()) if name.startswith("change_")]


@pytest.mark.parametrize("which", [0, 2])
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_block_that_differs_is_not_stamped_out(change: Callable[[Any], None], which: int) -> None:
    subject = model()
    change(subject.layers[which])
    traced = Traced(subject)
    with torch.no_grad():
        torch.testing.assert_close(traced(inputs()), subject(inputs()), rtol=0, atol=0)
    assert traced.repeats.reused == 2


def test_an_attribute_that_nobody_reads_may_differ() -> None:
    """``number`` is another one in each block, as ``layer_idx`` is."""
    assert Comparison(*model().layers[:2]).differing == {"number"}
    check(model(), (1, 3))


def test_all_blocks_differ_in_what_they_read() -> None:
    """After a few traces of a class the rest is inlined, and the reasons are told."""
    subject = Model(7).eval()
    for index, layer in enumerate(subject.layers):
        layer.inner.scale = 0.1 * index  # type: ignore[union-attr]
    traced = check(subject, (RepeatedBlocks.MAX_TRACES, 0))
    assert "reads scale, which differs" in " ".join(traced.repeats.take_notes())


class Shared(nn.Module):
    """The first block's weight is also used outside, before the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(i) for i in range(3))
        self.table = self.layers[0].inner.linear.weight  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x @ self.table
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_tensor_of_the_first_block_that_is_known_by_another_name() -> None:
    check(Shared().eval(), (2, 1))


def test_a_tensor_of_a_block_as_an_argument() -> None:
    """The first block's weight comes by the argument's name; the others must not take it for their own."""
    subject = model()
    check(subject, (2, 2), subject.layers[0].inner.linear.weight)


class Paired(Block):
    """Asks whether two of its lists are one."""

    def __init__(self, number: int, one: list[int], two: list[int]) -> None:
        super().__init__(number)
        self.one, self.two = one, two

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.inner(x) * (2.0 if self.one is self.two else 3.0)


@pytest.mark.parametrize("kind", [list, dict])
def test_what_is_one_and_the_same_in_one_block_only(kind: Any) -> None:
    torch.manual_seed(0)
    lists = [kind([(1, 2)]) for _ in range(6)]
    same = [Paired(number, lists[number], lists[number]) for number in range(2)]
    apart = [Paired(2 + number, lists[2 + number], lists[4 + number]) for number in range(2)]
    across = Paired(4, lists[0], kind([(1, 2), (3, 4)])[:1] if kind is not dict else {1: 2})
    with torch.no_grad():
        check(Chain(*same, *apart, across).eval(), (2, 3))


class Config:
    def __init__(self, factor: float) -> None:
        self.factor = factor


class Configured(Block):
    def __init__(self, number: int, config: Config) -> None:
        super().__init__(number)
        self.config = config

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.inner(x) * self.config.factor


class Chain(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_objects_of_the_blocks() -> None:
    """One configuration for all is one trace; one each is one trace each, also where they are equal now."""
    shared = Config(2.0)
    check(Chain(*(Configured(i, shared) for i in range(3))).eval(), (1, 2))
    check(Chain(*(Configured(i, Config(float(i))) for i in range(3))).eval(), (3, 0))


class Called(nn.Module):
    """Calls each block with something else."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(i) for i in range(3))
        self.how = how
        self.numbers = [0.5, 0.25, 0.25]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        for i, layer in enumerate(self.layers):
            if self.how == "same value":
                x = layer(x, mask=x if i == 0 else y)
            elif self.how == "constant":
                x = layer(x, mask=self.numbers[i])
            else:
                x = layer(x, pair=(x, x * 2)) if i == 0 else layer(x, mask=x * 2)
        return x


@pytest.mark.parametrize("how", ["same value", "constant", "shape"])
def test_blocks_that_are_called_in_different_ways(how: str) -> None:
    torch.manual_seed(0)
    check(Called(how).eval(), (2, 1))


class Between(nn.Module):
    """Changes what the blocks read between two calls, in a way that is no side effect of a block."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.seen: list[int] = []
        self.layers = nn.ModuleList(Reading(i, self.seen) for i in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.layers[0].inner.scale = 0.5
        for layer in self.layers:
            x = layer(x)
            if self.how == "list":
                self.seen.append(1)
            else:
                self.layers[2].inner.scale = 0.25
        return x


class Reading(Block):
    def __init__(self, number: int, seen: list[int]) -> None:
        super().__init__(number)
        self.seen = seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.inner(x) * (len(self.seen) + 1)


@pytest.mark.parametrize("how", ["list", "attribute"])
def test_what_changes_between_two_calls(how: str) -> None:
    ours, theirs = (torch.manual_seed(0) and Between(how).eval() for _ in range(2))
    traced = Traced(ours)
    with torch.no_grad():
        torch.testing.assert_close(traced(inputs()), theirs(inputs()))
    assert traced.repeats.reused == 0


FIRST: list[Any] = []


class Comparing(Block):
    """Does something else where it is the first one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.inner(x) * (3 if self is FIRST[0] else 1)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_block_that_asks_who_it_is(which: int) -> None:
    chain = Chain(*(Comparing(i) for i in range(3))).eval()
    FIRST[:] = [chain.layers[which]]
    traced = Traced(chain)
    with torch.no_grad():
        torch.testing.assert_close(traced(inputs()), chain(inputs()), rtol=0, atol=0)


class Asking(nn.Module):
    """Looks at blocks by another name than theirs, before or after it looks at them by their own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Comparing(i) for i in range(4))
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "own name first":
            x = x * (2 if self.layers[0].training else 1)
        for block in FIRST:
            x = x * (2 if block.training else 1)
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("how", ["other name first", "own name first"])
@pytest.mark.parametrize("which", [(0, 1, 2), (1, 2, 0), (3,)])
def test_a_block_that_is_known_by_another_name_before_it_asks_who_it_is(how: str, which: Any) -> None:
    subject = Asking(how).eval()
    FIRST[:] = [subject.layers[i] for i in which]
    traced = Traced(subject)
    with torch.no_grad():
        torch.testing.assert_close(traced(inputs()), subject(inputs()), rtol=0, atol=0)


class Pair(Block):
    """Asks whether two arguments are one tuple, which their contents do not tell."""

    def forward(self, x: torch.Tensor, one: Any = None, other: Any = None) -> torch.Tensor:  # type: ignore[override]
        return self.inner(x) * (3 if one is other else 1)


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Pair(i) for i in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = (x, x), (x, x)
        for i, layer in enumerate(self.layers):
            x = layer(x, one=one, other=other if i == 1 else one)
        return x


def test_arguments_that_are_one_tuple() -> None:
    torch.manual_seed(0)
    subject = Pairs().eval()
    torch._dynamo.reset()
    compiled = passprint.compile(subject, cache=False, passes="")
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs()), subject(inputs()))


@torch.compiler.nested_compile_region
def region(block: Any, x: torch.Tensor) -> torch.Tensor:
    return x.sin() if block.inner.steps else x.cos()


class Nesting(Block):
    """Calls a region that torch traces once by itself; what that one reads is not known of the block's trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.inner(x) + region(self, x)


def test_a_region_in_a_block() -> None:
    """pytorch/pytorch#192905: torch reuses a region whatever a region within it read."""
    torch.manual_seed(0)
    subject = Chain(*(Nesting(i) for i in range(4))).eval()
    for index in (1, 3):
        subject.layers[index].inner.steps = []  # type: ignore[union-attr]
    torch._dynamo.reset()
    compiled = passprint.compile(subject, cache=False, passes="")
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs()), subject(inputs()))


# ---- what one trace cannot stand for ---------------------------------------------------------------------


class Remembering(Block):
    """Appends to a list that all blocks see, as a cache of keys and values does."""

    def __init__(self, number: int, seen: list[Any]) -> None:
        super().__init__(number)
        self.seen = seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.seen.append(len(self.seen))
        return self.inner(x) * len(self.seen)


class Counting(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.inner.number += 1
        return self.inner(x) * self.inner.number


class Mutating(Block):
    """Changes a buffer in place; that is part of the graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.inner.shift.add_(1)  # type: ignore[operator]
        return self.inner(x)


class Returning(Block):
    """Returns its input itself beside a number."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        x, n = x if isinstance(x, tuple) else (x, 0)
        return self.inner(x), n + 1


class Same(Block):
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return x if self.training is False else self.inner(x)


@pytest.mark.parametrize("kind", ["Remembering", "Counting", "Mutating", "Returning", "Same"])
def test_side_effects_and_other_results_are_traced_in_full(kind: str) -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        seen: list[Any] = []
        extra = (seen,) if kind == "Remembering" else ()
        return Chain(*(globals()[kind](i, *extra) for i in range(3))).eval()

    ours, theirs = build(), build()
    torch._dynamo.reset()
    compiled = passprint.compile(ours, cache=False, passes="")
    with torch.no_grad():
        for _ in range(2):
            result, expected = compiled(inputs()), theirs(inputs())
            torch.testing.assert_close(result, expected)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other)
    told = [note for note in compiled.report.notes if note.startswith("every block was traced")]
    assert bool(told) == (kind != "Mutating"), compiled.report.notes


class Factor:
    """A value that torch hands to a custom operator as an input of the graph (an opaque value, hoisted)."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factor) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __fx_repr__(self) -> tuple[str, dict[str, type]]:
        return f"Factor({self.value!r})", {"Factor": Factor}


class Making(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        made: Any = torch.ops.passprint_tests.times(self.inner(x), Factor(self.inner.scale))
        return torch.tanh(made)


@pytest.fixture
def times() -> Iterator[None]:
    """An operator that takes a :class:`Factor`."""
    from torch._library import opaque_object as opaque  # not in every torch that runs the other files

    opaque.register_opaque_type(Factor, typ="value", hoist=True, members={})
    library = torch.library.Library("passprint_tests", "FRAGMENT")
    library.define(f"times(Tensor x, {opaque.get_opaque_type_name(Factor)} factor) -> Tensor")
    library.impl("times", lambda x, factor: x * factor.value, "CompositeExplicitAutograd")
    torch.library.register_fake("passprint_tests::times", lambda x, factor: torch.empty_like(x), lib=library)
    yield
    library._destroy()


@pytest.mark.usefixtures("times")
def test_a_block_that_makes_an_input_of_the_graph_is_traced_in_full() -> None:
    torch._dynamo.reset()
    subject = Chain(*(Making(i) for i in range(3))).eval()
    compiled = passprint.compile(subject, cache=False, passes="")
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs()), subject(inputs()))
    (told,) = [note for note in compiled.report.notes if note.startswith("every block was traced")]
    assert "makes an object" in told


# ---- guards of blocks that were stamped out -------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_later_change_of_a_stamped_block_is_noticed(change: Callable[[Any], None]) -> None:
    if change in (change_hook, change_extra):
        pytest.skip(
            "Dynamo itself does not guard on hooks of inlined modules, or on attributes that are not read"
        )
    subject, x = model(), inputs()
    traced = check(subject, (1, 3), x)
    change(subject.layers[2])
    with torch.no_grad():
        torch.testing.assert_close(traced(x), subject(x), rtol=0, atol=0)
    assert len(traced.graphs) == (1 if change is change_tie else 2)


def test_new_weights_of_the_same_shape_are_not_traced_again() -> None:
    subject, x = model(), inputs()
    traced = check(subject, (1, 3), x)
    with torch.no_grad():
        subject.layers[2].inner.linear.weight.mul_(2)
        torch.testing.assert_close(traced(x), subject(x), rtol=0, atol=0)
    assert len(traced.graphs) == 1


def test_gradients_are_eagers() -> None:
    ours, theirs = model(), model()
    traced = Traced(ours)
    traced(inputs()).square().sum().backward()
    theirs(inputs()).square().sum().backward()
    assert traced.counts == (2, 2), "the first block's input needs no gradient"
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_pieces_are_those_of_a_full_trace(tmp_path: Any) -> None:
    """A cache that was filled with every block traced serves a trace of one block, and says nothing of it."""
    subject, x = model(), inputs()
    reports = []
    for refused, dynamic in (("asked for", None), (None, False)):  # told otherwise, so that it traces again
        torch._dynamo.reset()
        compiled: Any = passprint.compile(subject, cache=tmp_path, dynamic=dynamic)
        compiled._compiled.repeats.refused = refused
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), subject(x))
        reports.append(compiled.report)
    full, once = reports
    assert (full.status, once.status) == ("cold", "warm")
    assert [p.digest for p in once.pieces_seen] == [p.digest for p in full.pieces_seen]
    assert [p.label for p in once.pieces_seen] == [p.label for p in full.pieces_seen]
    assert once.notes == []


def test_what_counts_as_a_repeated_block() -> None:
    assert len(repeated_blocks(model())) == 4
    assert repeated_blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []
    assert repeated_blocks(lambda x: x) == []
