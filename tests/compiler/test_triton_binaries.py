"""What is stored of a graph for a GPU, on a machine without one: Triton's real binaries, for a GPU that is made up."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(
    torch.version.cuda is None or importlib.util.find_spec("triton") is None or torch.cuda.is_available(),
    reason="for a torch that was built for CUDA, with Triton, where no GPU is at hand",
)


def in_folder(tmp_path: Path, name: str, what: str, file: Path, **variables: str) -> dict[str, Any]:
    """Pack or load in a new process with folders of torch's that nobody has used."""
    folders = {"TORCHINDUCTOR_CACHE_DIR": tmp_path / name, "TRITON_CACHE_DIR": tmp_path / f"{name}-triton"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiler.pretended_gpu", what, str(file)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **{key: str(folder) for key, folder in folders.items()}, **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("launcher", ["1", "0"], ids=["torch's launcher", "Triton's launcher"])
def test_a_later_process_takes_the_stored_binaries(tmp_path: Path, launcher: str) -> None:
    file = tmp_path / "packed"
    variables = {"TORCHINDUCTOR_USE_STATIC_CUDA_LAUNCHER": launcher}
    cold = in_folder(tmp_path, "cold", "pack", file, **variables)
    assert cold["form"] == "torch"
    assert cold["compilations"] >= 1
    warm = in_folder(tmp_path, "warm", "load", file, **variables)
    assert warm["compilations"] == 0
    built = {path.suffix for path in (tmp_path / "warm-triton").rglob("*") if path.is_file()}
    assert built == {".cubin", ".json"}, "the texts that a kernel goes through name files of this machine"


def test_without_them_it_would_have_to_compile(tmp_path: Path) -> None:
    """That the test above can fail."""
    file = tmp_path / "packed"
    in_folder(tmp_path, "cold", "pack", file)
    form, files = pickle.loads(file.read_bytes())
    bundle = pickle.loads(files["artifact.pickle"])
    object.__setattr__(bundle[0].compiled_fw.result, "_triton_bundle", None)
    file.write_bytes(pickle.dumps((form, {**files, "artifact.pickle": pickle.dumps(bundle)})))
    assert in_folder(tmp_path, "warm", "load", file)["compilations"] >= 1
