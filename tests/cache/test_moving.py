"""A compiled model moves: another folder, home and working folder, no compiler, an empty Inductor cache."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from passprint.cache import LocalStore, Miss
from passprint.cache.miss import last_run

torch = pytest.importorskip("torch")

PROGRAM = """
import json, sys
import torch
import passprint
from blocks import Block

class Stack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(2))
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

torch.manual_seed(0)
torch.set_num_threads(1)
model, x, mode = Stack().eval(), torch.randn(300, 64), torch.no_grad()
PATCH
with mode:
    compiled = passprint.compile(model, cache=sys.argv[1])
    outputs = [compiled(x), model(x)]
    if outputs[0].requires_grad:
        outputs = [torch.autograd.grad(output.sum(), x)[0] for output in outputs]
    difference = (outputs[0] - outputs[1]).abs().max().item()
print(json.dumps(compiled.report.to_dict() | {"difference": difference, "traced": "torch._dynamo" in sys.modules}))
"""


BLOCKS = """
import torch

def activation(x):
    return torch.relu(x) * 2.0

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 64)

    def forward(self, x):
        return x + activation(self.linear(x))
"""


def run(cache: Path, place: Path, patch: str = "", status: int = 0, **environment: str) -> dict[str, Any]:
    """Compile and call the model in a new process that starts in the folder ``place`` and lives there.

    Its report, or nothing where it ends with another status. The module ``blocks`` lies in ``place``, and is
    written there if it does not.
    """
    for name in ("inductor", "tmp", "home"):
        (place / name).mkdir(parents=True, exist_ok=True)
    if not (place / "blocks.py").exists():
        (place / "blocks.py").write_text(BLOCKS)
    known: Mapping[str, str] = {
        **{
            name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ
        },
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("PATCH", patch), str(cache)],
        cwd=place,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    if status:
        return {}
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert report["difference"] < 1e-5
    return report


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a machine that compiled the model and exported it."""
    place = tmp_path_factory.mktemp("exporting")
    assert run(place / "cache", place)["status"] == "cold"
    LocalStore(place / "cache").export_to(place / "file")
    return place


@pytest.fixture
def imported(exporting: Path, tmp_path: Path) -> Path:
    """A cache elsewhere that got the file."""
    shutil.copy(exporting / "file", tmp_path / "brought")
    LocalStore(tmp_path / "new" / "cache").import_from(tmp_path / "brought")
    return tmp_path / "new" / "cache"


def test_warm_without_a_compiler_and_anything_of_inductors(imported: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    (place / "bin").mkdir(parents=True)
    report = run(imported, place, PATH=str(place / "bin"))
    assert report["status"] == "warm", report["why"]
    assert report["misses"] == []
    assert not report["traced"]
    built = [path for path in (place / "inductor").rglob("*") if path.suffix in (".so", ".cpp", ".o")]
    assert built == []


def test_nothing_of_the_exporting_machine_is_in_it(exporting: Path) -> None:
    data = (exporting / "file").read_bytes()
    site_packages = Path(torch.__file__).parent.parent
    folders = (exporting, site_packages, Path(sys.prefix), Path.cwd(), Path.home(), Path(__file__).parent)
    found = [folder for folder in folders if len(folder.parts) > 2 and os.fsencode(folder) in data]
    assert found == []


def test_a_function_with_a_backward_graph_moves_too(tmp_path: Path) -> None:
    """It keeps torch's own runtime around it, and its folder of generated code is made anew."""
    place, other = tmp_path / "exporting", tmp_path / "elsewhere"
    training = "mode = torch.enable_grad(); x.requires_grad_(); model = lambda x: torch.relu(x) * x"
    assert run(place / "cache", place, training)["status"] == "cold"
    LocalStore(place / "cache").export_to(tmp_path / "file")
    assert os.fsencode(place) not in (tmp_path / "file").read_bytes()
    LocalStore(other / "cache").import_from(tmp_path / "file")
    (other / "bin").mkdir()
    report = run(other / "cache", other, training, PATH=str(other / "bin"))
    assert report["status"] == "warm", report["why"]
    assert [piece["form"] for piece in report["each_piece"]] == ["torch"]
    assert [path for path in (other / "inductor").rglob("*") if path.suffix in (".so", ".cpp", ".o")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are ELF files on Linux only")
def test_kernels_need_no_search_path_and_no_absolute_library(imported: Path) -> None:
    """What they need is loaded with torch and found by its name; the loader is given no folder to look in."""
    kernels = 0
    for path in (imported / "objects").rglob("*"):
        if path.is_file() and (data := path.read_bytes()).startswith(b"\x7fELF"):
            kernels += 1
            needed, paths = _dynamic(data)
            assert paths == []
            assert needed
            assert all("/" not in name and name.partition(".so")[1] for name in needed), needed
            assert b".debug_info" not in data
    assert kernels > 0


def _dynamic(data: bytes) -> tuple[list[str], list[int]]:
    """The libraries that an ELF file needs, and its DT_RPATH and DT_RUNPATH entries."""
    at, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, at + number * size) for number in range(count)]
    dynamic = next(segment for segment in segments if segment[0] == 2)
    tags = list(struct.iter_unpack("<QQ", data[dynamic[2] : dynamic[2] + dynamic[5]]))
    strings = next(value for tag, value in tags if tag == 5)
    for kind, _, offset, address, _, length, _, _ in segments:
        if kind == 1 and address <= strings < address + length:
            strings += offset - address
            break
    names = [
        data[strings + value : data.index(b"\0", strings + value)].decode() for t, value in tags if t == 1
    ]
    return names, [value for tag, value in tags if tag in (15, 29)]


def misses_without_compiling(cache: Path, place: Path, patch: str = "", **environment: str) -> list[Miss]:
    """Why the model would be traced and its piece compiled: what the process noted before it was stopped there."""
    stop = "import os, passprint.compiler.lowering.inductor as door; door.compile_graph = lambda *_, **__: os._exit(77)"
    assert run(cache, place, f"{patch}\n{stop}", status=77, **environment) == {}
    misses = [noted.miss for noted in last_run(LocalStore(cache).journal.read())]
    assert [miss.kind for miss in misses] == ["model", "piece"]
    assert all(miss.nearest for miss in misses)
    return misses


@pytest.mark.skipif(os.name == "nt", reason="the compiler is a shell script")
def test_another_compiler_is_a_miss_that_says_so(imported: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    (place / "bin").mkdir(parents=True)
    compiler = place / "bin" / "g++"
    compiler.write_text("#!/bin/sh\necho g++ of another make 99\n")
    compiler.chmod(0o755)
    model, piece = misses_without_compiling(imported, place, CXX=str(compiler))
    assert "a program of it is stored, but the C++ compiler was " in str(model)
    assert "and is g++ of another make 99, which torch takes for gcc, called by the script " in str(model)
    assert "is stored, but for another host: built for c++ compiler" in str(piece)
    assert "this host has 'g++ of another make 99, " in str(piece)


def test_a_host_without_the_instruction_set_gets_a_miss_that_says_so(imported: Path, tmp_path: Path) -> None:
    known = {name for name, value in torch.cpu.get_capabilities().items() if value is True}
    lost = next((name for name in ("avx2", "sse4_2", "sve", "dotprod") if name in known), None)
    if lost is None:
        pytest.skip("this processor has no instruction set that could be missing")
    patch = f"real = torch.cpu.get_capabilities; torch.cpu.get_capabilities = lambda: {{**real(), {lost!r}: False}}"
    model, piece = misses_without_compiling(imported, tmp_path / "elsewhere", patch)
    assert str(model) == f"a program of it is stored, but it was built for {lost}, which this host lacks"
    assert f"is stored, but for another host: built for {lost}, which this host lacks" in str(piece)


def test_edited_code_of_the_model_is_shown_by_line(imported: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "blocks.py").write_text(BLOCKS.replace("* 2.0", "* 3.0"))
    model, piece = misses_without_compiling(imported, place)
    assert "blocks.activation has changed" in model.reason
    assert "activation" in model.changes[0].path
    assert "-    return torch.relu(x) * 2.0\n+    return torch.relu(x) * 3.0" in (
        model.changes[0].lines or ""
    )
    assert "operator.mul" in (piece.changes[0].lines or "")
