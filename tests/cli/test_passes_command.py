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
        assert text in shown, (text, shown)
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
