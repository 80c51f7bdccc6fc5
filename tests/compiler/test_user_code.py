"""The user's Python that lowering runs counts: in the text of a piece and in the words for torch's caches.

Keys come in pairs: what differs in meaning differs in both, and what only moved differs in neither.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.processes import in_new_process
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table, triton_kernel_wrapper_mutation
from torch.fx import Graph, GraphModule
from torch.utils import _pytree as pytree

import passprint
from passprint.compiler.lowering import user_code
from passprint.compiler.pieces.partition import partition
from passprint.compiler.pieces.structure import Structure, describe
from passprint.compiler.pieces.symbols import SymbolFacts

Calls = Callable[[Graph, Any], Any]


def graph_of(call: Calls, example: torch.Tensor | None = None) -> GraphModule:
    """A graph of one call."""
    graph = Graph()
    x = graph.placeholder("x")
    x.meta["example_value"] = torch.zeros(3) if example is None else example
    y = call(graph, x)
    y.meta["example_value"] = torch.zeros(3)
    graph.output((y,))
    return GraphModule({}, graph)


def described(gm: GraphModule) -> Structure:
    (piece,) = partition(gm.graph, "whole")
    return describe(piece, gm, SymbolFacts({}, ()))


def keys(call: Calls, example: torch.Tensor | None = None) -> tuple[str, tuple[str, ...]]:
    """The text of a graph, and its words for torch's caches."""
    gm = graph_of(call, example)
    text = described(gm)
    assert not text.opaque
    inputs = [node.meta["example_value"] for node in gm.graph.find_nodes(op="placeholder")]
    return text.graph + text.inputs, tuple(user_code.words(gm, inputs))


def all_differ(found: list[tuple[str, tuple[str, ...]]]) -> None:
    for one, other in itertools.combinations(found, 2):
        assert one[0] != other[0], "the text"
        assert one[1] != other[1], "the words for torch's caches"


def run(text: str, **scope: Any) -> dict[str, Any]:
    """The namespace of a text that was run as a module of its own."""
    scope["__name__"] = "of_a_user"
    exec(compile(text, "<user>", "exec"), scope)
    return scope


# ---- Triton kernels


class Kernel:
    """What torch's table holds is Triton's; what counts of it here is that it has a Python function."""

    def __init__(self, fn: Any, configs: tuple[object, ...] = ()) -> None:
        self.fn, self.configs = fn, configs


KERNEL = """
def kernel(x, y, n):
    y[0] = helper(x[0]) * FACTOR
"""


def kernel(factor: int = 2, helper: str = "v + 1", configs: tuple[object, ...] = ()) -> Kernel:
    helpers = run(f"def helper(v): return {helper}")
    made = run(KERNEL, FACTOR=factor, helper=Kernel(helpers["helper"]))["kernel"]
    return Kernel(made, configs)


def launched(of: Any, **constants: object) -> Calls:
    index, constant = kernel_side_table.add_kernel(of), kernel_side_table.add_constant_args(dict(constants))

    def call(graph: Graph, x: Any) -> Any:
        arguments = {
            "kernel_idx": index,
            "constant_args_idx": constant,
            "grid": [(1,)],
            "kwargs": {"x": x, "y": x},
        }
        return graph.call_function(
            triton_kernel_wrapper_mutation, (), {**arguments, "tma_descriptor_metadata": {}}
        )

    return call


@pytest.fixture
def table() -> Iterator[None]:
    names = ("id_to_kernel", "kernel_to_id", "constant_args")
    kept = {name: dict(getattr(kernel_side_table, name)) for name in names}
    yield
    vars(kernel_side_table).update(kept)


@pytest.mark.usefixtures("table")
def test_a_kernel_counts_by_what_it_reaches() -> None:
    all_differ(
        [
            keys(launched(kernel())),
            keys(launched(kernel(factor=3))),
            keys(launched(kernel(helper="v - 1"))),
            keys(launched(kernel(configs=("wide",)))),
            keys(launched(kernel(), kind=torch.float16)),
            keys(launched(kernel(), kind=torch.float32)),
            keys(launched(kernel(), kind=run("def f(): return 1")["f"])),
        ]
    )


@pytest.mark.usefixtures("table")
def test_a_kernels_place_in_the_table_does_not_count() -> None:
    first = keys(launched(kernel()))
    for other in range(3):
        kernel_side_table.add_kernel(kernel(factor=other + 10))
    assert keys(launched(kernel())) == first


@pytest.mark.usefixtures("table")
def test_a_kernel_without_an_identity_is_named() -> None:
    gm = graph_of(launched(kernel(configs=(open("/dev/null"),))))  # noqa: SIM115
    assert described(gm).opaque == ("the Triton kernel kernel",)
    assert user_code.words(gm, ()) != user_code.words(gm, ())


# ---- classes of tensors

PAIR = """
import torch
LIMIT = 1
def widened(t): return t * LIMIT
class Meta:
    def __init__(self, bits): self.bits = bits
    def mask(self): return self.bits - 1
class Pair(torch.Tensor):
    @staticmethod
    def __new__(cls, one, two, meta=None):
        return torch.Tensor._make_wrapper_subclass(cls, one.shape, dtype=one.dtype, device=one.device)
    def __init__(self, one, two, meta=None): self.one, self.two, self.meta = one, two, meta
    def __tensor_flatten__(self): return ["one", "two"], self.meta
    @classmethod
    def __tensor_unflatten__(cls, inner, meta, size, stride): return cls(inner["one"], inner["two"], meta)
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        wide = lambda t: widened(t.one) + t.two if isinstance(t, cls) else t
        return func(*pytree.tree_map(wide, args), **(kwargs or {}))
"""


def pair(edit: Callable[[str], str] = lambda text: text) -> Any:
    return run(edit(PAIR), pytree=pytree)["Pair"]


def relu(graph: Graph, x: Any) -> Any:
    return graph.call_function(torch.ops.aten.relu.default, (x,))


ONES = torch.ones(3)


def test_a_class_of_tensors_counts_with_all_that_it_reaches() -> None:
    made = pair()
    nested = made(made(ONES, ONES), ONES)
    edited = pair(lambda text: text.replace("LIMIT = 1", "LIMIT = 2"))
    metadata = run(PAIR, pytree=pytree)["Meta"]
    other_metadata = run(PAIR.replace("self.bits - 1", "self.bits"), pytree=pytree)["Meta"]
    values = [
        ONES,
        made(ONES, ONES),
        edited(ONES, ONES),
        pair(lambda text: text.replace("t * LIMIT", "t + LIMIT"))(ONES, ONES),
        pair(lambda text: text.replace("widened(t.one) + t.two", "t.two"))(ONES, ONES),
        nested,
        made(edited(ONES, ONES), ONES),
        edited(made(ONES, ONES), ONES),
        made(ONES, ONES, metadata(4)),
        made(ONES, ONES, other_metadata(4)),
    ]
    all_differ([keys(relu, value) for value in values])


def test_what_a_class_holds_counts_in_the_text() -> None:
    made = pair()
    values = [
        made(ONES, torch.ones(3)),
        made(ONES, ONES),
        made(ONES, torch.ones(3).double()),
        made(ONES, torch.ones(3), {"bits": 4}),
        made(ONES, torch.ones(3), {"bits": 8}),
    ]
    texts = [keys(relu, value)[0] for value in values]
    assert len(set(texts)) == len(texts)


def test_the_same_class_in_another_place_is_the_same() -> None:
    first = keys(relu, pair()(ONES, torch.ones(3)))
    assert keys(relu, pair(lambda text: f"\n\n# moved\n{text}")(ONES, torch.ones(3))) == first


def test_a_class_without_an_identity_is_named() -> None:
    opaque = pair(lambda text: text.replace("LIMIT = 1", "LIMIT = open('/dev/null')"))
    gm = graph_of(relu, opaque(ONES, ONES))
    (reason, *_) = described(gm).opaque
    assert "the class Pair of a tensor" in reason
    assert "LIMIT" in reason
    value = gm.graph.find_nodes(op="placeholder")[0].meta["example_value"]
    assert user_code.words(gm, [value]) != user_code.words(gm, [value])


WEIGHTS = """
import sys; sys.path.insert(0, {folder!r})
from of_a_user import Pair
m = torch.nn.Linear(4, 4, bias=False).requires_grad_(False)
m.weight = torch.nn.Parameter(Pair(torch.eye(4), torch.zeros(4, 4)), requires_grad=False)
compiled, x = passprint.compile(m, cache={cache!r}, passes=""), torch.ones(2, 4)
with torch.no_grad(): print(json.dumps([(compiled(x) - m(x)).abs().max().item(), compiled(x)[0, 0].item()]))
"""


def test_an_edited_class_is_never_served_by_torchs_caches(tmp_path: Path) -> None:
    """Inductor's cache folder is the same in all processes; passprint's is another in each."""
    text = "import torch\nfrom torch.utils import _pytree as pytree\n" + PAIR
    text = text.replace("PAIR", "Pair").replace(
        "        wide =",
        "        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default, torch.ops.aten.t.default):\n"
        "            return return_and_correct_aliasing(\n"
        "                func, args, kwargs or {}, cls(func(args[0].one), func(args[0].two), args[0].meta))\n"
        "        wide =",
    )
    text = "from torch.utils._python_dispatch import return_and_correct_aliasing\n" + text
    for number, limit in enumerate((1, 3, 1)):
        (tmp_path / "of_a_user.py").write_text(text.replace("LIMIT = 1", f"LIMIT = {limit}"))
        script = WEIGHTS.format(folder=str(tmp_path), cache=str(tmp_path / f"cache {number}"))
        assert in_new_process(tmp_path, script) == [0.0, float(limit)]


# ---- operators

library = torch.library.Library("passprint_users", "DEF")
library.define("plain(Tensor x) -> Tensor")
library.define("by_mode(Tensor x) -> Tensor")


@torch.library.custom_op("passprint_users::defined", mutates_args=())
def defined(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


defined.register_fake(lambda x: torch.empty_like(x))


def calling(name: str) -> Calls:
    operator = getattr(torch.ops.passprint_users, name).default
    return lambda graph, x: graph.call_function(operator, (x,))


def as_an_argument(graph: Graph, x: Any) -> Any:
    """A call that names an operator among its arguments."""
    operator = torch.ops.passprint_users.defined.default
    return graph.call_function(torch._higher_order_ops.effects.with_effects, (x, operator, x))


class Mode(torch.utils._python_dispatch.TorchDispatchMode):
    pass


def test_all_that_is_registered_for_an_operator_counts() -> None:
    before = keys(calling("defined"))
    named = keys(as_an_argument)
    assert keys(calling("defined")) == before
    defined.register_torch_dispatch(Mode, run("def rule(mode, func, types, args, kwargs): return 1")["rule"])
    ruled = keys(calling("defined"))
    defined.register_vmap(run("def rule(info, dims, x): return x, 0")["rule"])
    mapped = keys(calling("defined"))
    defined.register_autograd(run("def backward(ctx, grad): return grad")["backward"])
    found = [before, ruled, mapped, keys(calling("defined"))]
    all_differ(found)
    all_differ([named, keys(as_an_argument)])


def test_a_rule_for_an_operator_of_a_library_counts() -> None:
    before = keys(calling("by_mode"))
    rule = run("def rule(mode, func, types, args, kwargs): return 1")["rule"]
    torch.library.register_torch_dispatch("passprint_users::by_mode", Mode, rule, lib=library)
    all_differ([before, keys(calling("by_mode"))])


def test_what_py_impl_keeps_counts() -> None:
    before = keys(calling("plain"))
    operator = torch.ops.passprint_users.plain.default
    operator.py_impl(torch._C.DispatchKey.Meta)(run("def f(x): return x")["f"])
    after = keys(calling("plain"))
    operator.py_kernels[torch._C.DispatchKey.Meta] = run("def f(x): return x.t()")["f"]
    all_differ([before, after, keys(calling("plain"))])


# ---- what is put into torch


def _in_table(table: dict[Any, Any], key: object) -> Callable[[ExitStack, Any], None]:
    def put(stack: ExitStack, function: Any) -> None:
        missing = object()
        kept = table.get(key, missing)
        stack.callback(lambda: table.pop(key) if kept is missing else table.__setitem__(key, kept))
        table[key] = function

    return put


def _tables() -> dict[str, Callable[[ExitStack, Any], None]]:
    import torch._decomp as decomp
    import torch._inductor.decomposition as decomposition
    import torch._inductor.lowering as lowering

    relu = torch.ops.aten.relu.default
    tables: dict[str, Any] = decomp.global_decomposition_table
    flags: Any = torch.ops.higher_order.cond
    return {
        "a lowering": _in_table(lowering.lowerings, relu),
        "a user's lowering": _in_table(getattr(lowering, "user_lowerings", lowering.lowerings), relu),
        "a decomposition of Inductor's": _in_table(decomposition.decompositions, relu),
        **{f"a decomposition, {kind}": _in_table(table, relu) for kind, table in tables.items()},
        "a rule of a higher-order operator": _in_table(flags.py_kernels, torch._C.DispatchKey.Meta),
        "a rule of a mode for one": _in_table(flags.python_key_table, Mode),
        "a kernel of torch's operator in Python": _in_table(relu.py_kernels, torch._C.DispatchKey.Meta),
    }


@pytest.mark.parametrize("name", list(_tables()))
def test_what_is_put_into_torch_counts(name: str) -> None:
    put = _tables()[name]
    found = [(str(user_code.everywhere(users_code=False)), keys(relu)[1])]
    for text in ("def f(*args): return 1", "def f(*args): return 2"):
        with ExitStack() as stack:
            put(stack, run(text)["f"])
            found.append((str(user_code.everywhere(users_code=False)), keys(relu)[1]))
    all_differ(found)
    assert (str(user_code.everywhere(users_code=False)), keys(relu)[1]) == found[0]


def calling_a_function() -> Calls:
    function = run("def f(x): return x")["f"]
    return lambda graph, x: graph.call_function(function, (x,))


def test_a_decomposition_of_a_custom_operator_counts_where_code_of_the_users_runs() -> None:
    import torch._inductor.decomposition as decomposition

    put = _in_table(decomposition.decompositions, torch.ops.passprint_users.plain.default)
    places = {
        "that operator": calling("plain"),
        "another": calling("defined"),
        "a function": calling_a_function(),
    }
    found: dict[str, list[str]] = {place: [keys(call)[0]] for place, call in places.items()}
    torchs = [keys(relu)[0]]
    for text in ("def f(x): return x + 1", "def f(x): return x + 2"):
        with ExitStack() as stack:
            put(stack, run(text)["f"])
            torchs.append(keys(relu)[0])
            for place, call in places.items():
                found[place].append(keys(call)[0])
    for place, texts in found.items():
        assert len(set(texts)) == 3, place
    assert len(set(torchs)) == 1


OVERRIDES = """
from passprint.compiler.lowering import user_code
from passprint.errors import OpaqueError
before = user_code.everywhere(users_code=False) is not None
own = torch.library.Library("aten", "IMPL")
own.impl("relu", lambda x: x, {key!r}, allow_override=True)
try:
    said = str(user_code.everywhere(users_code=False))
except OpaqueError as error:
    said = str(error)
own._destroy()
print(json.dumps([before, said, user_code.everywhere(users_code=False) is not None]))
"""


@pytest.mark.parametrize("key", ["AutocastXPU", "Meta"])
def test_a_kernel_that_only_the_dispatcher_holds_is_opaque(key: str, tmp_path: Path) -> None:
    """Also where it stands over one of torch's own; in a process of its own, since torch does not forget it there."""
    before, said, after = in_new_process(tmp_path, OVERRIDES.format(key=key))
    assert before
    assert f"aten::relu and {key}" in said
    assert after


@pytest.mark.usefixtures("table")
def test_a_kernel_elsewhere_that_cannot_be_pickled_is_no_matter_of_a_graph(tmp_path: Path) -> None:
    """Torch serializes all kernels of the process with each graph."""
    kernel_side_table.add_constant_args({"local": lambda: None})
    x = torch.ones(3)
    compiled: Any = passprint.compile(lambda x: torch.sin(x) + 1, cache=tmp_path, passes="")
    torch.testing.assert_close(compiled(x), torch.sin(x) + 1)
    assert "torch cannot serialize what it compiled" in str(compiled.report.why)
