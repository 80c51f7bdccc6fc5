"""Patches of torch: few, in one table, and none that is needed for a right result."""

from __future__ import annotations

import ast
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.compiler.patched_proof import Printed, run

from passprint.compiler import patches
from passprint.compiler.patches import Installer, Name, Patch

ROOT = Path(__file__).parents[2]
WITHOUT = {patch.without for patch in patches.TABLE}


# ---- the table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", patches.TABLE, ids=lambda patch: patch.name.path)
def test_every_row_fits_this_torch(patch: Patch) -> None:
    """Fails where torch has moved: read it again, and name the version."""
    for name in (patch.name, *patch.calls):
        name.look_up()
    assert patches.version_of(torch.__version__) in patch.read


def test_there_are_few() -> None:
    assert len(patches.TABLE) <= 5


def test_nothing_else_of_torch_is_replaced() -> None:
    """Each place that assigns an attribute whose owner is no object of our own."""
    found = set()
    for path in (ROOT / "src/passprint").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
                found.add(path.relative_to(ROOT / "src/passprint").as_posix())
    assert found <= {
        "compiler/patches.py",
        "pipeline/torch_door.py",  # a hook of Inductor's configuration
        "pipeline/snapshots.py",  # a copy of a graph
        "passes/inductor_bases.py",  # a module under its own name
        "integrations/vllm/door.py",  # names of vLLM's
    }


# ---- the installer -------------------------------------------------------------------------------------


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with one function, and the row for it."""
    module: Any = SimpleNamespace(double=lambda number: number * 2)
    monkeypatch.setitem(sys.modules, "passprint_tests_place", module)
    return module


ROW = Patch(
    Name("passprint_tests_place", "double", ("number",)), "twice", "it is slow", read=((2, 5), (2, 6))
)


def one_more(original: Any, number: int) -> int:
    return int(original(number)) + 1


def test_a_patch_is_put_in_once_whoever_asks(place: Any) -> None:
    installer = Installer("2.6.0+cpu")
    threads = [threading.Thread(target=installer.install, args=(ROW, one_more)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (place.double(4), installer.missing()) == (9, [])


@pytest.mark.parametrize(
    ("version", "row", "said"),
    [
        ("2.16.1", ROW, "torch 2.16.1 is newer than any that was read (2.5 to 2.6): it is slow"),
        ("2.4.0", ROW, "torch 2.4.0 is older than any that was read (2.5 to 2.6): it is slow"),
        ("strange", ROW, "torch strange is older than any that was read (2.5 to 2.6): it is slow"),
        (
            "2.6.0",
            replace(ROW, name=Name("passprint_tests_place", "triple")),
            "torch 2.6.0 has no passprint_tests_place.triple: it is slow",
        ),
        (
            "2.6.0",
            replace(ROW, name=Name("passprint_tests_place.gone", "double")),
            "torch 2.6.0 has no passprint_tests_place.gone.double: it is slow",
        ),
        (
            "2.6.0",
            replace(ROW, name=replace(ROW.name, parameters=("number", "times"))),
            "torch 2.6.0 has passprint_tests_place.double(number), not (number, times): it is slow",
        ),
        (
            "2.6.0",
            replace(ROW, calls=(Name("torch", "no_such_name"),)),
            "torch 2.6.0 has no torch.no_such_name: it is slow",
        ),
    ],
)
def test_what_does_not_fit_is_left_out_and_said(place: Any, version: str, row: Patch, said: str) -> None:
    installer = Installer(version)
    assert not installer.install(row, one_more)
    assert not installer.install(row, one_more)
    assert (place.double(4), installer.missing()) == (8, [said])


def test_what_fails_is_given_up(place: Any) -> None:
    installer = Installer("2.6.0")
    assert installer.install(ROW, one_more)
    installer.lose(ROW, TypeError("a word\nand more"))
    assert not installer.install(ROW, one_more)
    (said,) = installer.missing()
    assert (place.double(4), installer.is_lost(ROW)) == (8, True)
    assert said.endswith("passprint_tests_place.double (TypeError: a word): it is slow")


# ---- whole models, in processes in which torch is another one ------------------------------------------

CASES = {
    "as it is": set[str](),
    "gone": WITHOUT,
    "signature": WITHOUT,
    "fails before": WITHOUT,
    "fails halfway": {patches.BLOCKS.without},
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Printed, Printed]]:
    """What two processes in a row print for each case, the second with the first one's cache."""

    def twice(case: str, folder: Path) -> tuple[Printed, Printed]:
        return run(case, folder), run(case, folder)

    folders = [
        tmp_path_factory.mktemp("case") for _ in CASES
    ]  # pytest's own factory is not for several threads
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(CASES, pool.map(twice, CASES, folders), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_models_are_right_and_the_report_says_what_is_lost(
    case: str, printed: dict[str, tuple[Printed, Printed]]
) -> None:
    first, second = printed[case]
    for found in (first, second):
        assert all(model["difference"] < 1e-5 for model in found["models"].values()), found
    assert {said.rpartition(": ")[2] for said in first["missing"]} == CASES[case], first["missing"]
    assert all(said.startswith("torch 2.") for said in first["missing"])
