"""What code reads without a guard of Dynamo's: missing keys, lists of keys, the order of sets, names of modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compiler.processes import in_new_process

import passprint
from passprint.compiler.dependencies.can_read import can_read
from passprint.compiler.dependencies.state import State
from passprint.compiler.guards.refs import CannotRecordError

READER = """
import collections
import enum
import inspect
import os

import torch


class Kind(enum.Enum):
    SLOW = 1
    FAST = 2


class Reader(torch.nn.Module):
    def __init__(self, how, module):
        super().__init__()
        self.how = how
        self.module = module
        self.process = os.environ
        self.options = {"one": 1}
        self.ordered = collections.OrderedDict(one=1, two=2)
        self.chained = collections.ChainMap({}, {"one": 1})
        self.names = {"alpha", "beta", "gamma", "delta", "epsilon"}
        self.dtypes = {torch.float16}
        self.kinds = {Kind.SLOW: "slow"}

    def forward(self, x):
        return x * (2.0 if getattr(self, self.how)() else 3.0)

    def variable(self):
        return os.environ.get("SOME_VARIABLE") == "1"

    def variable_by_getenv(self):
        return os.getenv("SOME_VARIABLE", "0") == "1"

    def variable_there(self):
        return "SOME_VARIABLE" in os.environ

    def variable_of_another_name(self):
        return self.process.get("SOME_" + "VARIABLE") == "1"

    def item(self):
        try:
            return self.options["two"] == 2
        except KeyError:
            return False

    def chained_item(self):
        return self.chained.get("two") == 2

    def last_key(self):
        return list(self.options)[-1] == "two"

    def extended(self):
        keys = []
        keys.extend(self.options)
        return "two" in keys

    def last_of_ordered(self):
        return [key for key, _ in self.ordered.items()][-1] == "one"

    def listed(self):
        return "FAST" in dir(self.module)

    def counted(self):
        return len(dir(self.module)) % 2 == 0

    def members(self):
        return any(name == "FAST" for name, _ in inspect.getmembers(self.module))

    def dtype_held(self):
        return torch.float32 in self.dtypes

    def kind_held(self):
        return self.kinds.get(Kind.FAST) is not None

    def first_name(self):
        return list(self.names)[0] < "c"

    def first_met(self):
        for name in self.names:
            return name < "c"

    def joined(self):
        return ", ".join(self.names) < "c"

    def constants(self):
        return [name for name in {"alpha", "beta", "gamma", "delta"}][0] < "c"

    def sorted_name(self):
        return sorted(self.names)[-1] == "zeta"

    def name_there(self):
        return "zeta" in self.names

    def number_of_names(self):
        return len(self.names | {"eta"}) == 7

    def largest_name(self):
        return max(self.names) == "zeta"
"""

CHILD = """
import os
import sys
sys.path[:0] = {path!r}
import module
import reader

found = {{}}
x = torch.linspace(0, 0.1, 16)
for name in {names!r}:
    model = reader.Reader(name, module)
    if {changed!r}:
        os.environ["SOME_VARIABLE"] = "1"
        module.FAST = True
        model.options["two"] = model.chained["two"] = 2
        model.ordered.move_to_end("one")
        model.names.add("zeta")
        model.dtypes.add(torch.float32)
        model.kinds[reader.Kind.FAST] = "fast"
    elif name in ("last_key", "extended"):
        model.options["four"] = 4
    compiled = passprint.compile(model, cache={cache!r} + name, passes="")
    torch.testing.assert_close(compiled(x), model(x))
    found[name] = [compiled.report.loaded, compiled.report.why or "", compiled.report.notes]
print(json.dumps(found))
"""

READS = {
    "variable": "SOME_VARIABLE",
    "variable_by_getenv": "SOME_VARIABLE",
    "variable_there": "SOME_VARIABLE",
    "item": "model.options['two'] is new",
    "chained_item": "['two'] is new",
    "last_key": "model.options",
    "extended": "model.options",
    "last_of_ordered": "model.ordered",
    "listed": "module",
    "counted": "module",
    "members": "module",
    "dtype_held": "model.dtypes",
    "kind_held": "model.kinds",
}
IN_ORDER = ["first_name", "first_met", "joined"]
WITHOUT_SOURCE = ["constants"]
IN_ANY_ORDER = ["sorted_name", "name_there", "number_of_names", "largest_name"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package, which counts by its version: nothing but guards notices what its code reads."""
    monkeypatch.delenv("SOME_VARIABLE", raising=False)
    site = tmp_path / "site"
    (site / "reader-1.0.dist-info").mkdir(parents=True)
    (site / "reader-1.0.dist-info" / "RECORD").write_text("reader.py,,\n")
    (site / "reader.py").write_text(READER)
    (tmp_path / "module.py").write_text("SLOW = True\n")
    return tmp_path


def start(folder: Path, names: list[str], *, changed: bool = False) -> Any:
    """By model: whether it was loaded, why it was traced, the notes. Each gives eager's result, or this fails."""
    path = [str(folder), str(folder / "site")]
    body = CHILD.format(path=path, names=names, changed=changed, cache=str(folder / "cache "))
    return in_new_process(folder, body)


def whole(found: Any) -> list[str]:
    """The models that were traced as one graph: other versions of torch break some."""
    return [name for name, (_, why, _) in found.items() if "a graph break" not in why]


def test_what_was_missing_is_noticed_when_it_is_there(folder: Path) -> None:
    names = whole(start(folder, list(READS)))
    assert len(names) >= 10
    again = start(folder, names)
    assert {name: (each[0], each[2]) for name, each in again.items()} == {name: (1, []) for name in names}
    for name, (loaded, why, _) in start(folder, names, changed=True).items():
        assert loaded == 0, name
        assert READS[name] in why
    assert all(each[0] for each in start(folder, names, changed=True).values())
    assert all(each[0] for each in start(folder, names).values()), "what was there before is still found"


def test_the_environment_under_another_name_counts(folder: Path) -> None:
    names = ["variable_of_another_name"]
    start(folder, names)
    ((loaded, why, _),) = start(folder, names, changed=True).values()
    assert loaded == 0
    assert "SOME_VARIABLE" in why or "a graph break" in why


def test_the_order_of_a_set_is_part_of_the_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = IN_ORDER + WITHOUT_SOURCE
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    traced = whole(start(folder, names))
    again = start(folder, names)
    assert [again[name][0] for name in names if name in traced] == [1 for name in names if name in traced]
    for seed in ("2", "3"):  # compares with eager's results
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        other = start(folder, names)
        assert not any(other[name][0] for name in names)
        assert "model.names in this order was" in other["first_name"][1]
        assert "constants uses hash(), or the order of a set" in other["constants"][1]


def test_what_is_the_same_in_any_order_is_found_under_any_hash_seed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    names = whole(start(folder, IN_ANY_ORDER))
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    assert all(each[0] for each in start(folder, names).values())
    assert not any(each[0] for each in start(folder, names, changed=True).values())


class Options:
    """A class that holds a function of C's."""

    __hash__ = object.__hash__
    __str__ = object.__str__
    factor = 2.0


class Raises(dict[str, int]):
    """A dict that cannot be gone through."""

    def keys(self) -> Any:
        raise ValueError("not now")

    def __iter__(self) -> Any:
        raise ValueError("not now")


class Scaled(torch.nn.Module):
    def __init__(self, options: object) -> None:
        super().__init__()
        self.options = options
        self.key = "one"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.options, dict):
            return x * self.options[self.key]
        return x * self.options.factor  # type: ignore[attr-defined]


def test_functions_of_c_among_the_members_of_a_class(tmp_path: Path) -> None:
    x = torch.ones(3)
    for status in ("cold", "warm"):
        compiled = passprint.compile(Scaled(Options()), cache=tmp_path)
        assert torch.equal(compiled(x), x * 2)
        assert compiled.report.status == status


def test_what_cannot_be_gone_through_runs_and_is_traced(tmp_path: Path) -> None:
    x, options = torch.ones(3), Raises(one=3)
    reads = can_read([])._replace(names=frozenset({"options", "one"}), keyed=frozenset({"options"}))
    with pytest.raises(CannotRecordError, match="cannot be looked at"):
        State(reads, Scaled(options))
    for _ in range(2):
        compiled = passprint.compile(Scaled(options), cache=tmp_path)
        assert torch.equal(compiled(x), x * 3)


def test_an_attribute_of_the_models_own_counts_whatever_its_name() -> None:
    """Also one that is called as torch calls its tables of hooks."""
    model, reads = Scaled(Options()), can_read([])._replace(names=frozenset({"_own_hooks", "_forward_hooks"}))
    before = State(reads, model).rows
    model._own_hooks = ["one"]  # type: ignore[assignment]
    assert {row.name for row in State(reads, model).rows} - {row.name for row in before} == {
        "model._own_hooks",
        "model._own_hooks[0]",
    }
