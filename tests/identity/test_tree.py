"""Trees, differences, their JSON forms, and the command line that prints them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from tests.identity.pairs import load
from typer.testing import CliRunner

from passprint.cli.identity import diff_command, fingerprint_command
from passprint.identity import Change, Fingerprint, Part, compose, fingerprint, keep_sources

TEXT = """
CONFIG = {"eps": 1, "name": "a"}
def helper(x): return x + 1
def other(x): return helper(x) + CONFIG["eps"]
class Base:
    def shared(self): return other(1)
class target(Base):
    limit = 3
    def run(self): return helper(2)
"""


def _diff(old: str, new: str) -> list[Change]:
    return fingerprint(load(new)).diff(fingerprint(load(old)))


def _paths(changes: list[Change]) -> set[tuple[str, str]]:
    return {(change.path, change.kind) for change in changes}


def test_the_tree_names_every_part_by_its_path() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(fingerprint(load(TEXT)).tree())
    text = console.export_text()
    for name in ("target", "Base", ".run", "helper", ".shared", "other", "CONFIG", "['eps']", ".limit"):
        assert name in text
    assert "= 3" in text


def test_a_part_met_twice_is_expanded_once() -> None:
    def parts(part: Part) -> list[Part]:
        return [part, *[below for child in part.children for below in parts(child)]]

    found = [part for part in parts(fingerprint(load(TEXT)).root) if part.name == "helper"]
    assert len(found) == 2
    assert len({part.digest for part in found}) == 1


def test_nothing_differs_from_itself() -> None:
    assert _diff(TEXT, TEXT) == []
    assert _diff(TEXT, "# comment\n" + TEXT.replace("limit = 3", "limit = 1 + 2")) == []


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ("limit = 3", "limit = 4", {("target.limit", "changed")}),
        ("limit = 3", "pass", {("target.limit", "removed")}),
        ("limit = 3", "limit = 3; more = 1", {("target.more", "added")}),
        ("return helper(2)", "return helper(3)", {("target.run", "changed")}),
        ("return x + 1", "return x - 1", {("target → Base.shared → other → helper", "changed")}),
        ('"eps": 1', '"eps": 2', {("target → Base.shared → other → CONFIG['eps'] → value", "changed")}),
    ],
)
def test_a_difference_is_named_where_it_is(before: str, after: str, paths: set[tuple[str, str]]) -> None:
    assert before in TEXT
    assert _paths(_diff(TEXT, TEXT.replace(before, after))) == paths


def test_values_are_shown_before_and_after() -> None:
    (change,) = _diff(TEXT, TEXT.replace("limit = 3", "limit = 4"))
    assert (change.before, change.after) == ("3", "4")
    assert str(change) == "target.limit: 3 → 4"


def test_a_change_within_a_cycle_is_named_once() -> None:
    text = "def a(n): return b(n)\ndef b(n): return a(n)\ntarget = a"
    assert _paths(_diff(text, text.replace("return a(n)", "return a(-n)"))) == {("a → b", "changed")}


@pytest.mark.parametrize(("empty", "full"), [({}, {"a": 1}), ({}, {"a": {"b": 1}})])
def test_what_was_empty_differs_from_what_is_not(empty: object, full: object) -> None:
    """Something without children is not taken for what stands elsewhere in its tree."""
    one, two = compose("key", {"held": empty, "n": 1}), compose("key", {"held": full, "n": 2})
    added, number = two.diff(one)
    assert (added.path.startswith("key → held"), added.kind, number.path) == (True, "added", "key → n")
    removed, number = one.diff(two)
    assert (removed.path, removed.kind, number.path) == (added.path, "removed", "key → n")


def test_the_value_of_an_entry_that_came_or_went_is_shown() -> None:
    (change,) = compose("key", {"environment": {"OMP": "true"}}).diff(compose("key", {"environment": {}}))
    assert str(change) == "key → environment['OMP']: added 'true'"


def test_what_both_hold_twice_is_compared_once() -> None:
    one, two = {"a": 1}, {"a": 2}
    (change,) = compose("key", {"x": [two, two]}).diff(compose("key", {"x": [one, one]}))
    assert change.path == "key → x[0]['a'] → value"
    (change,) = fingerprint([two, two]).diff(fingerprint([one, one]))
    assert str(change) == "list[0]['a'] → value: 1 → 2"


def test_json_round_trip_and_schema() -> None:
    found = fingerprint(load(TEXT))
    form = json.loads(json.dumps(found.to_dict()))
    assert form["schema"] == 1
    again = Fingerprint.from_dict(form)
    assert again == found
    assert again.diff(found) == []
    with pytest.raises(ValueError, match="schema version 99"):
        Fingerprint.from_dict({**form, "schema": 99})


def test_kept_sources_show_the_changed_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "kept_one.py").write_text(
        "def helper(x):\n    y = x\n    return y + 1\ndef f(x): return helper(x)\n"
    )
    (tmp_path / "kept_two.py").write_text(
        "def helper(x):\n    y = x\n    return y - 1\ndef f(x): return helper(x)\n"
    )
    import importlib

    older = keep_sources(importlib.import_module("kept_one").f)
    newer = keep_sources(importlib.import_module("kept_two").f)
    assert older.sources
    older = Fingerprint.from_dict(json.loads(json.dumps(older.to_dict())))
    (change,) = newer.diff(older)
    assert change.path == "f → helper"
    assert change.lines is not None
    assert "-    return y + 1" in change.lines
    assert "+    return y - 1" in change.lines
    assert "lines" in change.to_dict()


def test_compose_names_its_parts_and_keeps_what_is_opaque() -> None:
    one = compose("key", {"f": load(TEXT), "n": 1, "fp": fingerprint(load(TEXT))})
    assert [part.name for part in one.root.children] == ["f", "n", "fp"]
    assert one.root.children[0].digest == one.root.children[2].digest
    assert compose("key", {"n": 1, "f": 2}).digest != compose("key", {"f": 2, "n": 1}).digest
    assert compose("key", {"n": 1}).digest != compose("other", {"n": 1}).digest
    assert compose("key", {"n": 1}).digest != compose("key", {"m": 1}).digest
    assert compose("key", {"part": one.root}).root.children[0].digest == one.digest
    (change,) = compose("key", {"n": 2}).diff(compose("key", {"n": 1}))
    assert (change.path, change.before, change.after) == ("key → n", "1", "2")
    with open(__file__) as file:
        assert compose("key", {"n": 1, "f": file}).opaque == ("f: TextIOWrapper: TextIOWrapper",)


def _app() -> Any:
    app = typer.Typer()
    app.command("fingerprint")(fingerprint_command)
    app.command("diff")(diff_command)
    return app


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_one.py").write_text("class A:\n    def f(self): return 1\n")
    (tmp_path / "cli_two.py").write_text("class A:\n    def f(self): return 2\n")
    (tmp_path / "cli_bad.py").write_text("def f(x): return eval(x)\n")
    run = CliRunner()
    plain = run.invoke(_app(), ["fingerprint", "cli_one:A"])
    assert plain.exit_code == 0
    assert len(plain.stdout.strip()) == 64
    assert ".f" in run.invoke(_app(), ["fingerprint", "cli_one:A", "--tree"]).stdout
    for name in ("one", "two"):
        result = run.invoke(_app(), ["fingerprint", f"cli_{name}:A", "--json", "--sources"])
        (tmp_path / f"{name}.json").write_text(result.stdout)
    same = run.invoke(_app(), ["diff", "one.json", "one.json"])
    assert (same.exit_code, same.stdout.strip()) == (0, "No difference.")
    other = run.invoke(_app(), ["diff", "one.json", "two.json"])
    assert other.exit_code == 1
    assert "A.f" in other.stdout
    assert "+    def f(self): return 2" in other.stdout
    assert json.loads(run.invoke(_app(), ["diff", "one.json", "two.json", "--json"]).stdout)["schema"] == 1
    assert run.invoke(_app(), ["fingerprint", "cli_bad:f"]).exit_code == 1
    assert "no fingerprint" in str(run.invoke(_app(), ["diff", "cli_one.py", "one.json"]).exception)
    assert "cannot be imported" in str(run.invoke(_app(), ["fingerprint", "no_such_module:f"]).exception)
    assert "no attribute" in str(run.invoke(_app(), ["fingerprint", "cli_one:nothing"]).exception)


SETS = """
import enum, json
from passprint import fingerprint
from passprint.identity import compose, keep_sources
from rich.console import Console
class Part(enum.Enum):
    MLP = "mlp"; NORM = "norm"; GATE = "gate"
class Flag(enum.Flag):
    UP = 1; DOWN = 2; BOTH = 3
class Held:
    def __init__(self, name): self.name = name
    def __call__(self): return self.name
    __fingerprint_ignore__ = ()
SHARED = Held("shared")
PARTS, FLAGS, NAMES = frozenset({Part.MLP, Part.NORM, Part.GATE}), {Flag.UP, Flag.BOTH}, {"up", "down", "gate"}
OBJECTS = {(SHARED, "a"), (SHARED, "b"), (Held("c"), frozenset({"x", "y", Part.MLP}))}
HANDLES = {(open("/dev/null"), str(n)) for n in range(4)}
def target(): return PARTS, FLAGS, NAMES, OBJECTS, {"k": frozenset({b"1", b"2", 3})}, "x" in {"p", "q", "r"}
def opaque(): return HANDLES
found = [fingerprint(target), fingerprint(NAMES), compose("whole", {"names": NAMES, "parts": PARTS})]
found += [keep_sources(target), fingerprint(opaque, strict=False)]
console = Console(width=200, record=True, file=open("/dev/null", "w"))
for one in found: console.print(one.tree())
print(json.dumps([one.to_dict() for one in found]) + console.export_text())
"""


def test_every_process_shows_the_same_tree(tmp_path: Path) -> None:
    file = tmp_path / "sets.py"
    file.write_text(SETS)
    found = set()
    for seed in "1234":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
