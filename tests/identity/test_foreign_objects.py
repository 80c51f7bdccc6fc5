"""torch's and numpy's objects: by content where they are data, by name and version where they are code."""

from __future__ import annotations

import importlib
import operator
import subprocess
import sys
from typing import Any

import pytest
from tests.identity.pairs import Pair, check, load, pair

from passprint.identity import Memo, fingerprint

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")


def digest(obj: Any) -> str:
    found = Memo().digest(obj)
    assert found is not None
    return found


def _graph(function: Any) -> Any:
    return torch.fx.symbolic_trace(function)


VALUES: dict[str, Any] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "cpu": torch.device("cpu"),
    "cuda:1": torch.device("cuda:1"),
    "cuda": torch.device("cuda"),
    "size": torch.Size([1, 2]),
    "other size": torch.Size([12]),
    "tuple": (1, 2),
    "strided": torch.strided,
    "packet": torch.ops.aten.add,
    "overload": torch.ops.aten.add.Tensor,
    "other overload": torch.ops.aten.add.Scalar,
    "function": torch.relu,
    "other function": torch.sigmoid,
    "tag": torch.Tag.core,
    "other tag": torch.Tag.pointwise,
    "tensor": torch.tensor([1.0, 2.0]),
    "tensor with other content": torch.tensor([1.0, 3.0]),
    "tensor of another dtype": torch.tensor([1.0, 2.0], dtype=torch.float64),
    "tensor of another shape": torch.tensor([[1.0, 2.0]]),
    "tensor with gradient": torch.tensor([1.0, 2.0], requires_grad=True),
    "bfloat16": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    "bool": torch.tensor([True]),
    "empty": torch.zeros(0),
    "parameter": torch.nn.Parameter(torch.tensor([1.0, 2.0])),
    "meta": torch.empty(2, device="meta"),
    "linear": torch.nn.Linear(2, 2, bias=False),
    "graph": _graph(lambda x: torch.relu(x[:, 1:]) + 1).graph,
    "graph with another constant": _graph(lambda x: torch.relu(x[:, 1:]) + 2).graph,
    "graph with another op": _graph(lambda x: torch.sigmoid(x[:, 1:]) + 1).graph,
    "graph with another slice": _graph(lambda x: torch.relu(x[:, 2:]) + 1).graph,
    "array": np.array([1.0, 2.0]),
    "array of another dtype": np.array([1.0, 2.0], dtype="f4"),
    "array of another shape": np.array([[1.0, 2.0]]),
    "array with other content": np.array([1.0, 3.0]),
    "array of objects": np.array([1, "a"], dtype=object),
    "array of other objects": np.array([1, "b"], dtype=object),
    "scalar": np.float32(1),
    "wider scalar": np.float64(1),
    "dtype": np.dtype("f4"),
    "other dtype": np.dtype("f8"),
    "structured dtype": np.dtype([("a", "f4")]),
    "ufunc": np.add,
    "other ufunc": np.subtract,
    "operator": operator.itemgetter(1),
    "other operator": operator.itemgetter(2),
}


def test_each_of_these_differs_from_each_other() -> None:
    found: dict[str, str] = {}
    for name, value in VALUES.items():
        assert found.setdefault(digest(value), name) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: torch.arange(4.0)[::2], lambda: torch.tensor([0.0, 2.0])),
        (lambda: torch.arange(4.0).reshape(2, 2).t(), lambda: torch.tensor([[0.0, 2.0], [1.0, 3.0]])),
        (lambda: np.arange(4.0)[::2], lambda: np.array([0.0, 2.0])),
        (lambda: np.asfortranarray(np.arange(4.0).reshape(2, 2)), lambda: np.arange(4.0).reshape(2, 2)),
    ],
)
def test_equal_content_has_one_digest(one: Any, other: Any) -> None:
    assert digest(one()) == digest(other())


def test_names_inside_a_graph_do_not_count() -> None:
    one, other = _graph(lambda x: torch.relu(x) + 1), _graph(lambda x: torch.relu(x) + 1)
    for node in other.graph.nodes:
        if node.op == "call_function":
            node.name = f"renamed_{node.name}"
    assert digest(one.graph) == digest(other.graph)


def test_a_mutated_tensor_and_graph_are_noticed() -> None:
    class Holder:
        def __init__(self) -> None:
            self.tensor = torch.zeros(3)
            self.array = np.zeros(3)
            self.module = _graph(torch.nn.Linear(2, 2))

    holder = Holder()
    memo = Memo()
    seen = [memo.digest(holder)]
    assert memo.digest(holder) == seen[0]

    def changed() -> None:
        now = memo.digest(holder)
        assert now is not None
        assert now not in seen
        seen.append(now)

    holder.tensor[1] = 5
    changed()
    holder.tensor.data.add_(1)
    changed()
    holder.array[1] = 5
    changed()
    with torch.no_grad():
        holder.module.weight[0, 0] += 1
    changed()
    for node in holder.module.graph.nodes:
        if node.op == "output":
            node.args = (next(iter(holder.module.graph.nodes)),)
    changed()


def test_without_values_a_tensor_counts_by_what_kind_it_is() -> None:
    class Holder:
        def __init__(self) -> None:
            self.module = torch.nn.Linear(2, 2)
            self.number = 1

    holder = Holder()
    memo = Memo()
    kinds = memo.without_values()
    assert kinds is memo.without_values()
    whole, first = memo.digest(holder), kinds.digest(holder)
    assert whole != first
    with torch.no_grad():
        holder.module.weight += 1
    assert kinds.digest(holder) == first
    assert memo.digest(holder) != whole
    seen = {first}
    for change in (
        lambda: holder.module.weight.requires_grad_(False),
        lambda: holder.module.double(),
        lambda: setattr(holder, "module", torch.nn.Linear(3, 2)),
        lambda: setattr(holder, "number", 2),
    ):
        change()
        assert kinds.digest(holder) not in seen
        seen.add(kinds.digest(holder))


def test_content_that_cannot_be_read_is_opaque() -> None:
    torch.sparse.check_sparse_tensor_invariants.disable()
    sparse = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.tensor([1.0]), (2,))
    assert fingerprint(sparse, strict=False).opaque

    class Special(torch.Tensor):
        pass

    assert fingerprint(torch.zeros(2).as_subclass(Special), strict=False).opaque


OPS = [
    pair(
        "classes of C++ that code names",
        "import torch\ndef target(x): return torch.classes.mine.Thing(x)",
        changed=(
            "import torch\ndef target(x): return torch.classes.mine.Other(x)",
            "import torch\ndef target(x): return torch.classes.theirs.Thing(x)",
        ),
        same=("import torch\ntorch.classes.mine\ndef target(x):\n    return torch.classes.mine.Thing(x)",),
    ),
    pair(
        "classes of C++ by way of a namespace",
        "import torch\nmine = torch.classes.mine\ndef target(x): return mine.Thing(x)",
        changed=("import torch\nmine = torch.classes.theirs\ndef target(x): return mine.Thing(x)",),
        same=(
            "import torch\ntorch.classes.theirs\nmine = torch.classes.mine\ndef target(x): return mine.Thing(x)",
        ),
    ),
    pair(
        "operators that code names",
        "import torch\ndef target(x): return torch.ops.aten.relu.default(x)",
        changed=(
            "import torch\ndef target(x): return torch.ops.aten.sigmoid.default(x)",
            "import torch\ndef target(x): return torch.ops.prims.relu.default(x)",
        ),
        same=(
            "import torch\ntorch.ops.aten.relu.default\ndef target(x):\n    return torch.ops.aten.relu.default(x)",
        ),
    ),
    pair(
        "operators by way of a namespace",
        "import torch\naten = torch.ops.aten\ndef target(x): return aten.hardswish.default(x)",
        changed=("import torch\naten = torch.ops.prims\ndef target(x): return aten.hardswish.default(x)",),
        same=(
            "import torch\naten = torch.ops.aten\naten.hardswish.default\ndef target(x):\n"
            "    return aten.hardswish.default(x)",
        ),
    ),
]


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_pair(row: Pair) -> None:
    check(row)


CUSTOM = """
import torch
@torch.library.custom_op("passprint_tests::op", mutates_args=())
def op(x: torch.Tensor) -> torch.Tensor: return x.clone() {body}
def target(x): return torch.ops.passprint_tests.op(x)
target.kept = op
"""


def test_an_operator_written_in_python_counts_by_its_functions() -> None:
    digests = []
    for body in ("+ 1", "+ 1  # comment", "+ 2"):
        target = load(CUSTOM.format(body=body))
        digests.append(digest(target))
        assert any(part.kind == "custom operator" for part in fingerprint(target).root.children)
        target.kept._lib._destroy()
        del target
    assert digests[0] == digests[1] != digests[2]


def test_a_module_that_is_imported_when_it_is_used_counts_as_if_it_were_there() -> None:
    code = "import torch, passprint\ndef f(x): return torch._dynamo.is_compiling() or torch.onnx.export(x)\n"
    load_now = "import torch._dynamo, torch.onnx\n"
    told = "print(passprint.fingerprint(f).digest)\n"
    digests = {
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        for text in (code + told, code + load_now + told)
    }
    assert len(digests) == 1


def test_what_torch_keeps_with_a_function_that_was_called_does_not_count(monkeypatch: Any) -> None:
    checkpoint = importlib.import_module("torch.utils.checkpoint").checkpoint

    def step(x: Any) -> Any:
        return checkpoint(torch.sin, x, use_reentrant=False)

    monkeypatch.delattr(checkpoint.__wrapped__, "__dynamo_disable", raising=False)
    before = digest(step)
    step(torch.ones(2))
    assert hasattr(checkpoint.__wrapped__, "__dynamo_disable")
    assert digest(step) == before
    monkeypatch.setattr(checkpoint.__wrapped__, "of_a_user", 1, raising=False)
    assert digest(step) != before
