"""Real vLLM engines with passprint's plug-in: what must compile again does, what need not does not, tokens are right.

``make test-vllm`` installs what they need. Each start is a process of its own; a start that compiled is followed by
another one, which must load.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.engines.starts import POD, Fleet, StartError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"
    ),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Engines on one cache, which one start has filled."""
    found = Fleet(tmp_path_factory.mktemp("fleet"))
    cold = found.start()
    assert (bool(cold["compiled"]), cold["loaded"], cold["saved"]) == (True, 0, 1)
    assert cold["tokens"] == found.eager()
    assert cold["warnings"] == []
    return found


def _is_hit(found: dict[str, Any]) -> bool:
    return found["loaded"] == 1 and found["compiled"] == 0


def test_the_edits_change_the_tokens(fleet: Fleet) -> None:
    assert fleet.eager(-1.0) != fleet.eager(1.0)


def test_a_second_start_loads(fleet: Fleet) -> None:
    warm = fleet.start()
    assert _is_hit(warm)
    assert warm["tokens"] == fleet.eager()


@pytest.mark.parametrize(("edit", "told"), [("helper", "FACTOR: 1.0 → -1.0"), ("base", "sign")])
def test_an_edit_compiles_again_and_is_named(fleet: Fleet, edit: str, told: str) -> None:
    edited = fleet.start(edit)
    assert edited["loaded"] == 0
    assert edited["tokens"] == fleet.eager(-1.0)
    assert told in fleet.explained()
    again = fleet.start(edit)
    assert _is_hit(again)
    assert again["tokens"] == fleet.eager(-1.0)


def test_comments_do_not_count(fleet: Fleet) -> None:
    found = fleet.start("comment")
    assert _is_hit(found)
    assert found["tokens"] == fleet.eager()


def test_another_folder_does_not_count(fleet: Fleet) -> None:
    elsewhere = fleet.folder / "elsewhere"
    shutil.copytree(fleet.model(), elsewhere / "llama")
    found = fleet.start(model=elsewhere / "llama", passes=fleet.passes(None, "elsewhere/passes"))
    assert _is_hit(found)
    assert found["tokens"] == fleet.eager()


def test_another_pod_does_not_count(fleet: Fleet) -> None:
    found = fleet.start(environment=POD)
    assert _is_hit(found)
    assert found["tokens"] == fleet.eager()


def test_an_opaque_value_is_never_cached(fleet: Fleet) -> None:
    for _ in range(2):
        found = fleet.start("opaque")
        assert (found["loaded"], found["saved"]) == (0, 0)
        assert found["tokens"] == fleet.eager()
        (warning,) = found["warnings"]
        assert "Scale.log.file" in warning
        assert "TextIOWrapper" in warning


def test_a_pass_that_raises_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="the pass 'scale' raised ValueError: no such scale"):
        Fleet(tmp_path, mode="passes").start("raises")


def test_the_mode_passes_computes_the_same(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, mode="passes")
    cold = fleet.start(environment={"PASSPRINT_INSTRUMENTS": "statistics,timing"})
    assert cold["tokens"] == fleet.eager()
    for name in ("no-op-elimination", "scale", "vllm-ir-lowering", "fix-functionalization"):
        assert name in cold["said"]
    warm = fleet.start()
    assert _is_hit(warm)
    assert warm["tokens"] == fleet.eager()
    left_out = fleet.start(environment={"PASSPRINT_PASSES": "-scale"})
    assert left_out["loaded"] == 0
