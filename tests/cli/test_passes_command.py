"""``passprint passes``: the list, and all there is to say about one."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from passprint.cli.app import run
from passprint.cli.console import docstring, prose
from passprint.passes.library import ALL, DEFAULT


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_shown_passes.py").write_text(
        "from passprint import InductorPass\n"
        "class ScaleShownThings(InductorPass):\n"
        "    '''Scale ``things``\n    by a factor.\n\n    More about it.\n    '''\n"
        "    factor: float\n"
        "    where: tuple[str, ...] = ('a', '[b]')\n"
        "    def __call__(self, graph):\n"
        "        pass\n"
        "class SilentShownPass(InductorPass):\n"
        "    def __call__(self, graph):\n"
        "        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_shown_passes"
    sys.modules.pop("my_shown_passes", None)
    gc.collect()  # a class that is still alive would stay in the registry


def output(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["passes", *arguments]) == 0
    return capfd.readouterr().out


def test_list_has_every_pass_the_default_ones_in_their_order(capfd: pytest.CaptureFixture[str]) -> None:
    shown = output(capfd, "list")
    places = [shown.index(f" {kind.name} ") for kind in DEFAULT]
    assert places == sorted(places)
    assert all(f" {kind.name} " in shown for kind in ALL)
    by_name = {one["name"]: one for one in json.loads(output(capfd, "list", "--json"))}
    assert {kind.name for kind in ALL} <= set(by_name)
    assert [by_name[kind.name]["place"] for kind in DEFAULT] == list(range(1, len(DEFAULT) + 1))


def test_show_tells_all(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = output(capfd, "show", "scale-shown-things", "--module", module)
    for text in (
        "Scale things by a factor.",
        "More about it.",
        "post_grad_post",
        "no: name it to use it",
        "scale-shown-things{factor=…}",
        "my_shown_passes.py:2",
        "must be given",
        "tuple[str, ...]",
        "('a', '[b]')",
    ):
        assert "".join(text.split()) in "".join(shown.replace("│", "").split()), (text, shown)
    figures = json.loads(output(capfd, "show", "scale-shown-things", "-m", module, "--json"))
    assert figures["about"] == "Scale ``things`` by a factor."
    assert figures["options"] == [
        {"name": "factor", "type": "float", "default": None},
        {"name": "where", "type": "tuple[str, ...]", "default": "('a', '[b]')"},
    ]


def test_a_pass_without_docstring_or_options(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = output(capfd, "show", "silent-shown-pass", "-m", module)
    assert "(no docstring)" in shown
    assert "no options" in shown


def test_a_default_pass_says_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    assert "yes, place 1" in output(capfd, "show", DEFAULT[0].name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nope"], "there is no pass called 'nope'"),
        (["list", "-m", "no.such.module"], "The module 'no.such.module' cannot be imported"),
    ],
)
def test_what_is_not_there(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["passes", *arguments]) == 1
    assert message in capfd.readouterr().err


def test_docstrings_flow() -> None:
    assert prose("a\n  ``b c`` and `d`.").plain == "a b c and d."
    text = "First\nline.\n\n- one\n  more\n- two\n\n    as it is\n      here"
    from rich.console import Console

    console = Console(width=60)
    with console.capture() as capture:
        console.print(docstring(text))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert lines == ["First line.", "", "• one more", "• two", "", "    as it is", "      here"]


GRAPHS = """
import torch
from torch.fx import Graph
def graph():
    graph = Graph()
    x = graph.placeholder("x")
    node = graph.call_function(torch.ops.aten.neg.default, (x,))
    again = graph.call_function(torch.ops.aten.neg.default, (node,))
    graph.output(again)
    return graph
"""

PASSES = """
import torch
from passprint import InductorPass
class DropShownNegations(InductorPass):
    after = ("noop-elimination",)
    def __call__(self, graph):
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.neg.default):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
"""


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    (tmp_path / "my_shown_graphs.py").write_text(GRAPHS)
    (tmp_path / "my_run_passes.py").write_text(PASSES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield ["my_shown_graphs.py:graph", "-m", "my_run_passes"]
    for name in ("my_shown_graphs", "my_run_passes"):
        sys.modules.pop(name, None)
    gc.collect()


def test_run_shows_the_difference(graphs: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    shown = output(capfd, "run", "noop-elimination,drop-shown-negations", *graphs)
    assert "post_grad_post: 4 → 2 lines; rewrites: noop-elimination 0, drop-shown-negations 2" in shown
    assert "-neg_default_1 = aten.neg.default(neg_default)" in shown
    assert "+return x" in shown
    (trial,) = json.loads(output(capfd, "run", "joint-pre(drop-shown-negations)", *graphs, "--json"))
    assert trial["hook"] == "joint_pre"
    assert trial["matches"] == {"drop-shown-negations": 2}
    assert trial["before"].count("neg.default") == 2
    assert trial["after"].count("neg.default") == 0


@pytest.mark.parametrize(
    "chosen",
    [["--skip", "drop-shown-negations"], ["--only", "noop-elimination"], ["--limit", "0"]],
)
def test_run_only_skip_and_limit(
    graphs: list[str], chosen: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    shown = output(capfd, "run", "noop-elimination,drop-shown-negations", *graphs, *chosen)
    assert "(nothing changed)" in shown


def test_run_tells_what_is_wrong(graphs: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["passes", "run", "drop-shown-negation", *graphs]) == 1
    shown = capfd.readouterr().err
    assert "did you mean 'drop-shown-negations'" in shown
    assert "  ^^^" in shown
    assert run(["passes", "run", "drop-shown-negations", "my_shown_graphs:nothing", *graphs[1:]]) == 1
    assert "nothing called 'nothing'" in capfd.readouterr().err


TOGETHER = """
import torch
from passprint import Pattern, PatternPass
def neg_exp(x):
    return torch.neg(torch.exp(x))
def sin_neg_exp(x):
    return torch.sin(torch.neg(torch.exp(x)))
class ShownNegExp(PatternPass):
    def patterns(self):
        return [Pattern("p", neg_exp, torch.cos, [torch.empty(4)])]
class ShownSinNegExp(PatternPass):
    def patterns(self):
        return [Pattern("p", sin_neg_exp, torch.tan, [torch.empty(4)])]
graph = sin_neg_exp, (torch.randn(4),)
"""


@pytest.fixture
def together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_shown_file.py").write_text(TOGETHER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_shown_file.py:graph"
    sys.modules.pop("my_shown_file", None)
    gc.collect()


def test_run_knows_the_passes_of_the_file_of_the_graph(
    together: str, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = output(capfd, "run", "shown-sin-neg-exp", together)
    assert "rewrites: shown-sin-neg-exp 1" in shown


def test_run_tells_of_overlaps_of_what_runs_only(together: str, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline = "shown-neg-exp,shown-sin-neg-exp"
    arguments = ["passes", "run", pipeline, together, "-m", "my_shown_file"]
    assert run([*arguments, "--only", "shown-sin-neg-exp"]) == 0
    shown = capfd.readouterr()
    assert "shown-sin-neg-exp 1" in shown.out
    assert "match the same nodes" not in shown.err
    assert run(arguments) == 0
    assert "match the same nodes" in capfd.readouterr().err


def test_show_tells_the_hooks_and_the_declared_order(
    graphs: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    shown = output(capfd, "show", "drop-shown-negations", *graphs[1:])
    assert "post_grad_post, or pre_grad, joint_pre" in shown
    assert "after" in shown
    figures = json.loads(output(capfd, "show", "drop-shown-negations", *graphs[1:], "--json"))
    assert figures["order"] == {"after": ["noop-elimination"]}
    assert figures["hooks"][0] == figures["hook"] == "post_grad_post"
    assert "scheduler_pre" not in figures["hooks"]
