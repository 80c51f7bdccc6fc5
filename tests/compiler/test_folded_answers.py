"""Answers that Dynamo takes for constants though another process gives others: asked again, or nothing is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compiler.processes import in_new_process

MODEL = """
import functools
import importlib.metadata
import importlib.util
import os
import sys

import torch

import switches


def flagged(x):
    return x * (2.0 if hasattr(switches, "FAST") else 3.0)


def optional(x):
    return x * getattr(switches, "EXTRA", 2.0)


def patched(x):
    return x * (2.0 if hasattr(os, "some_flag") else 3.0)


def held(x):
    return x * (2.0 if "fast" in switches.OPTIONS.__dict__ else 3.0)


def held_or(x):
    return x * switches.OPTIONS.__dict__.get("fast", 2.0)


def counted(x):
    return x * len(switches.OPTIONS.__dict__)


def marked(x):
    return x * (2.0 if hasattr(switches.fast, "mark") else 3.0) * len(switches.fast.__name__)


def scale(x):
    return x * (hash("a text") % 7 + 1)


def hashed(x):
    return torch.tanh(scale(x))


def hashed_by_method(x):
    return x * (b"a text".__hash__() % 7)


def limited(x):
    return x * sys.getrecursionlimit()


def longest_number(x):
    return x * sys.get_int_max_str_digits()


def accelerated(x):
    return x * (2.0 if importlib.util.find_spec("some_accelerator") is None else 3.0)


def versioned(x):
    return x * len(importlib.metadata.version("some-accelerator"))


@torch.compiler.assume_constant_result
def constant():
    with open(os.path.join(os.path.dirname(__file__), "number")) as file:
        return float(file.read())


def assumed(x):
    return x * constant()


@functools.lru_cache
@torch.compiler.assume_constant_result
def power(base, *, scale=1):
    return scale * base ** constant()


def assumed_with_arguments(x):
    return x * power(2, scale=3) + power(3)


def assumed_for(x, base=2):
    return x * power(base)


def assumed_elsewhere(x):
    return x * [power(2) for power in [power]][0]


def assumed_in_a_module(x):
    return x * switches.constant()


def named(x):
    return x * len(sys.intern("a name"))
"""

CHILD = """
import sys
sys.path[:0] = {path!r}
import asking

sys.setrecursionlimit({limits[0]})  # torch sets its own while it compiles
sys.set_int_max_str_digits({limits[1]})
found = {{}}
x = torch.linspace(0, 0.1, 16)
for name in {names!r}:
    model = getattr(asking, name)
    compiled = passprint.compile(model, cache={cache!r}, passes="")
    torch.testing.assert_close(compiled(x), model(x))
    found[name] = [compiled.report.loaded, compiled.report.why or "", compiled.report.notes]
print(json.dumps(found))
"""

ASKED = ["limited", "longest_number", "accelerated", "versioned", "flagged", "optional", "patched"]
CONSTANTS = ["assumed", "assumed_with_arguments"]
NOT_ASKED = ["assumed_for", "assumed_elsewhere", "assumed_in_a_module"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "asking.py").write_text(MODEL)
    (tmp_path / "number").write_text("2")
    for version in ("1.0", "1.0.1"):
        about = tmp_path / f"site {version}" / f"some_accelerator-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: some-accelerator\nVersion: {version}\n"
        )
    options = "import torch\n@torch.compiler.assume_constant_result\ndef constant(): return 2.0\n\n"
    options += "class Options: pass\n\nOPTIONS = Options()\ndef fast(): pass\n"
    switched = "import os\n\nos.some_flag = FAST = EXTRA = OPTIONS.fast = fast.mark = 4.0\n"
    (tmp_path / "site 1.0" / "switches.py").write_text(options)
    (tmp_path / "site 1.0.1" / "switches.py").write_text(options + switched)
    (tmp_path / "site 1.0.1" / "some_accelerator.py").write_text("")
    return tmp_path


def start(
    folder: Path, names: list[str], version: str = "1.0", limits: tuple[int, int] = (3000, 4300)
) -> Any:
    """By model: whether it was loaded, why it was traced, the notes. Each gives eager's result, or this fails."""
    path = [str(folder), str(folder / f"site {version}")]
    return in_new_process(
        folder, CHILD.format(path=path, names=names, cache=str(folder / "cache"), limits=limits)
    )


def whole(found: Any) -> list[str]:
    """The models that were traced as one graph. Torch 2.11 breaks the graph where later versions fold."""
    return [name for name, (_, why, _) in found.items() if "a graph break" not in why]


def test_answers_are_asked_again(folder: Path) -> None:
    first = start(folder, [*ASKED, "named"])
    assert [each[0] for each in first.values()] == [0] * 8
    folded = whole(first)
    assert {"limited", "longest_number", "flagged", "optional", "patched"} <= set(folded)
    again = start(folder, [*ASKED, "named"])
    assert {name: each[0] for name, each in again.items()} == {
        name: int(name in folded) for name in [*ASKED, "named"]
    }
    other = start(folder, ASKED, "1.0.1", limits=(3001, 5000))
    assert [each[0] for each in other.values()] == [0] * 7
    assert "sys.getrecursionlimit() gave 3000 and gives 3001" in other["limited"][1]
    assert "os.some_flag is new: there" in other["patched"][1]
    if {"accelerated", "versioned"} <= set(folded):
        assert "find_spec('some_accelerator') gave None and gives a module" in other["accelerated"][1]
        assert "version('some-accelerator') gave '1.0' and gives '1.0.1'" in other["versioned"][1]


def test_functions_with_a_constant_result_are_asked_again(folder: Path) -> None:
    assert [each[0] for each in start(folder, CONSTANTS).values()] == [0, 0]
    assert [each[0] for each in start(folder, CONSTANTS).values()] == [1, 1]
    (folder / "number").write_text("3")
    other = start(folder, CONSTANTS)  # compares with eager's results
    assert [each[0] for each in other.values()] == [0, 0]
    assert "asking.constant() gave 2.0 and gives 3.0" in other["assumed"][1]
    assert "asking.power(2, scale=3) gave 12.0 and gives 24.0" in other["assumed_with_arguments"][1]
    assert [each[0] for each in start(folder, CONSTANTS).values()] == [1, 1]


def test_constant_results_with_unknown_arguments_are_not_stored(folder: Path) -> None:
    start(folder, NOT_ASKED)
    for loaded, _, notes in start(folder, NOT_ASKED).values():
        assert loaded == 0
        assert any("gave, which is marked as a constant result" in note for note in notes)


def test_what_a_dict_of_attributes_holds_is_not_taken_for_granted(folder: Path) -> None:
    names = ["held", "held_or", "counted", "marked"]
    first = start(folder, names)
    assert [each[0] for each in first.values()] == [0] * 4
    again = start(folder, names)
    assert [each[0] for each in again.values()] == [1] * 4
    other = start(folder, names, "1.0.1")  # compares with eager's results
    assert [each[0] for each in other.values()] == [0] * 4
    assert [each[0] for each in start(folder, names, "1.0.1").values()] == [1] * 4
    assert [each[0] for each in start(folder, names).values()] == [1] * 4, "both are kept"


def test_a_trace_through_hash_counts_with_the_hash_seed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["hashed", "hashed_by_method"]
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    first = start(folder, names)
    assert [each[0] for each in first.values()] == [0, 0]
    if not whole(first):
        pytest.skip("this torch breaks the graph at hash()")
    assert [each[0] for each in start(folder, names).values()] == [1, 1]
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    for loaded, why, _ in start(folder, names).values():
        assert loaded == 0
        assert "hash()" in why
