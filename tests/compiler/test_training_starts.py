"""Training in a new process: forward and backward come from the cache, with the same gradients and weights as eager."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def run(root: Path, **spec: Any) -> dict[str, Any]:
    """What a new process finds out, with an empty cache of Inductor's of its own."""
    inductor = root / "inductor"
    number = len(list(inductor.iterdir())) if inductor.exists() else 0
    (inductor / str(number)).mkdir(parents=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.compiler.training_child",
            json.dumps({"cache": str(root / "cache"), **spec}),
        ],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(inductor / str(number))},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    found = run(root)
    assert (found["status"], found["traced"], found["loaded"]) == ("cold", 1, 0)
    assert found["built"] > 0
    assert found["worst"] < 1e-5
    return root


def test_a_second_process_trains_without_a_trace_or_a_build(trained: Path) -> None:
    found = run(trained, steps=3)
    assert (found["status"], found["traced"], found["loaded"]) == ("warm", 0, 1), found["because"]
    assert found["built"] == 0
    assert found["forms"] == ["torch"]
    assert found["worst"] < 1e-5


def test_frozen_parameters_are_compiled_anew_and_right(tmp_path: Path, trained: Path) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")
    found = run(tmp_path, frozen=True)
    assert (found["traced"], found["loaded"]) == (1, 0)
    assert found["worst"] < 1e-5


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"frozen": True}, "cpu grad → "),
        ({"train": False}, "Stack train → model: tests.compiler.models.Stack eval"),
        ({"no_grad": True}, "grad_mode: true → grad_mode: false"),
    ],
    ids=["frozen parameters", "evaluation", "no gradients"],
)
def test_another_kind_of_training_is_a_miss_that_says_so(
    tmp_path: Path, trained: Path, change: dict[str, Any], word: str
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")
    why = run(tmp_path, ask=True, **change)["why"]
    assert why is not None
    assert word in why
