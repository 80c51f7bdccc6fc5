"""What makes a stored program be found again in a new process, and what must not: each case edits and starts anew."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.compiler.warm_project import Project

from passprint.cache import LocalStore

OWN = "[First(limit=2), Second()]"


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project and a cache that one process has filled, with the default passes."""
    root = tmp_path_factory.mktemp("cold")
    project = Project(root / "first")
    project.write()
    found = project.run(root / "cache")
    assert (found["traced"], found["loaded"], found["notes"][2:]) == (1, 0, [])
    return root


@pytest.fixture(scope="module")
def cold_with_passes(cold: Path) -> Path:
    """The same with passes of the user's own."""
    assert Project(cold / "first", spec={"passes": OWN}).run(cold / "cache")["traced"] == 1
    return cold


@pytest.fixture
def project(cold: Path, tmp_path: Path) -> Project:
    """A copy of the project, in another place."""
    shutil.copytree(cold / "first", tmp_path / "copy", ignore=shutil.ignore_patterns("inductor"))
    return Project(tmp_path / "copy")


def _upgrade(project: Project) -> None:
    site = project.root / "site"
    (site / "tinydist-1.0.dist-info").rename(site / "tinydist-1.1.dist-info")


def _compiler(project: Project, version: str) -> None:
    """A C++ compiler of another path, which says that it has this version."""
    script = project.root / "cxx"
    script.write_text(f"#!/bin/sh\necho '{version}'\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    project.environment["CXX"] = os.fspath(script)


Case = tuple[Callable[[Project], object], str]

MISSES: dict[str, Case] = {
    "forward": (
        lambda p: p.edit("project/net.py", "return self.act(x)", "return self.act(x) + 1"),
        "net.Net.forward has changed",
    ),
    "a method of a base class": (
        lambda p: p.edit("project/net.py", "x + y * FACTOR", "x - y * FACTOR"),
        "net.",
    ),
    "a function in another module": (
        lambda p: p.edit("project/helpers.py", "* 1.5", "* 2.5"),
        "helpers.shift",
    ),
    "a helper of that function": (
        lambda p: p.edit("project/helpers.py", "x + AMOUNT", "x - AMOUNT"),
        "has changed",
    ),
    "a constant that forward reads": (
        lambda p: p.edit("project/net.py", "FACTOR = 0.5", "FACTOR = 0.25"),
        "net.",
    ),
    "a config attribute": (lambda p: p.spec.update(make={"activation": "tanh"}), "activation"),
    "a submodule replaced": (lambda p: p.spec.update(change=["model.act = torch.nn.SiLU()"]), "SiLU"),
    "a parameter's shape": (lambda p: p.spec.update(change=["model.blocks[0].up.bias = None"]), "parameters"),
    "a hook": (
        lambda p: p.spec.update(change=["model.act.register_forward_hook(lambda m, a, r: r + 1)"]),
        "hook",
    ),
    "a hook on a repeated block": (
        lambda p: p.spec.update(change=["model.blocks[1].norm.register_forward_pre_hook(lambda m, a: a)"]),
        "hook",
    ),
    "a hook on every module": (
        lambda p: p.spec.update(
            change=["torch.nn.modules.module.register_module_forward_hook(lambda m, a, r: r + 1)"]
        ),
        "hooks for all modules",
    ),
    "a method of tensors that somebody replaced": (
        lambda p: p.spec.update(change=["torch.Tensor.relu = lambda x: x + 1"]),
        "torch.Tensor.relu",
    ),
    "a lowering that somebody replaced": (
        lambda p: p.spec.update(
            change=[
                "import torch._inductor.lowering as l; "
                "l.lowerings[torch.ops.aten.relu.default] = lambda x: x + 1"
            ]
        ),
        "lowerings[aten.relu.default]",
    ),
    "a rank among processes": (
        lambda p: p.spec.update(
            change=[
                "import torch.distributed as d; "
                "d.init_process_group('gloo', store=d.HashStore(), rank=0, world_size=1)"
            ]
        ),
        "rank 0 of 1",
    ),
    "a method that hides one of a base class": (
        lambda p: p.edit(
            "project/net.py",
            "class Block(Base):",
            "class Block(Base):\n    def residual(self, x, y):\n        return x - y\n",
        ),
        "net.",
    ),
    "Dynamo's configuration": (
        lambda p: p.spec.update(change=["import torch._dynamo.config as c; c.specialize_float = True"]),
        "setting torch._dynamo.config.specialize_float",
    ),
    "training mode": (lambda p: p.spec.update(train=True), "net.Net eval → model: net.Net train"),
    "dtype": (
        lambda p: p.spec.update(change=["model.double()"], calls=[[3, "float64"]]),
        "float64",
    ),
    "device": (lambda p: p.spec.update(change=["model.to('meta')"]), "meta"),
    "size": (lambda p: p.spec.update(calls=[[4, "float32"]]), "sizes"),
    "torch's configuration": (
        lambda p: p.spec.update(change=["torch.set_float32_matmul_precision('medium')"]),
        "allow_tf32: false → allow_tf32: true",
    ),
    "deterministic algorithms": (
        lambda p: p.spec.update(change=["torch.use_deterministic_algorithms(True)"]),
        "deterministic",
    ),
    "Inductor's configuration": (
        lambda p: p.spec.update(change=["import torch._inductor.config as c; c.cpp.simdlen = 1"]),
        "setting torch._inductor.config.cpp.simdlen",
    ),
    "an environment variable of Inductor": (
        lambda p: p.environment.update(TORCHINDUCTOR_FREEZING="1"),
        "TORCHINDUCTOR_FREEZING",
    ),
    "another assembler for GPUs": (
        lambda p: p.environment.update(TRITON_PTXAS_PATH="/opt/cuda/bin/ptxas"),
        "TRITON_PTXAS_PATH",
    ),
    "the C++ compiler": (lambda p: _compiler(p, "another compiler 99.0"), "another compiler 99.0"),
    "the CPU's instruction set": (
        lambda p: p.environment.update(ATEN_CPU_CAPABILITY="default"),
        "it was built for",
    ),
    "an upgraded package": (_upgrade, "tinydist 1.0 and is tinydist 1.1"),
    "an edited installed package": (
        lambda p: p.edit("site/tinydist/__init__.py", "1.25", "1.75"),
        "tinydist.gain",
    ),
}


@pytest.mark.parametrize("case", MISSES)
def test_a_miss(cold: Path, project: Project, case: str) -> None:
    change, word = MISSES[case]
    if case == "the CPU's instruction set" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this CPU has no instruction set to be without")
    change(project)
    why = project.run(cold / "cache", ask=True)["why"]
    assert why is not None
    assert word in why


PASS_MISSES: dict[str, tuple[str, str, str, str]] = {
    "a helper of a pass": ("node.target is torch", "node.target is not torch", OWN, "wanted"),
    "a base class of a pass": ("return sum(", "return 2 * sum(", OWN, "count"),
    "a pass's option": ("", "", "[First(limit=3), Second()]", "limit"),
    "the order of passes": ("", "", "[Second(), First(limit=2)]", "order"),
}


@pytest.mark.parametrize("case", PASS_MISSES)
def test_a_miss_of_passes(cold_with_passes: Path, project: Project, case: str) -> None:
    before, after, passes, word = PASS_MISSES[case]
    project.edit("project/mypasses.py", before, after)
    why = project.run(cold_with_passes / "cache", ask=True, passes=passes)["why"]
    assert why is not None
    assert "passes" in why
    assert word in why


def test_passes_of_the_users_own_are_found_again(cold_with_passes: Path, project: Project) -> None:
    """Nor is anything of the compiler imported for them, though their base class is Inductor's."""
    found = project.run(cold_with_passes / "cache", passes=OWN)
    assert (found["status"], found["traced"], found["loaded"]) == ("warm", 0, 1)
    assert found["imported"] == []
    assert max(found["calls"]) < 1e-5


def test_a_comment_in_a_pass_is_no_miss(cold_with_passes: Path, project: Project) -> None:
    project.edit("project/mypasses.py", "def wanted", "# which nodes are wanted\n\n\ndef wanted")
    found = project.run(cold_with_passes / "cache", passes=OWN)
    assert (found["because"], found["traced"], found["loaded"]) == ([], 0, 1)


def _elsewhere(project: Project) -> None:
    folder = project.root / "elsewhere"
    folder.mkdir()
    project.working_folder = folder


def _older(project: Project) -> None:
    for path in project.root.rglob("*.py"):
        os.utime(path, (10**9, 10**9))


def _without_compiler(project: Project) -> None:
    (project.root / "empty").mkdir()
    project.environment["PATH"] = os.fspath(project.root / "empty")


HITS: dict[str, Callable[[Project], object]] = {
    "another path of the package": lambda p: None,
    "new weights": lambda p: p.spec.update(seed=5),
    "another working folder": _elsewhere,
    "a comment": lambda p: p.edit(
        "project/net.py", "FACTOR = 0.5", "# half of it\n\nFACTOR = 0.5  # as agreed"
    ),
    "time": _older,
    "another seed of hashes": lambda p: p.environment.update(PYTHONHASHSEED="7"),
    "the assembler for GPUs that torch names itself": lambda p: p.environment.update(
        TRITON_PTXAS_PATH=os.fspath(Path(torch.__file__).parent / "bin" / "ptxas")
    ),
    "another home": lambda p: p.environment.update(HOME=os.fspath(p.root), USER="another"),
    "an attribute that nothing reads": lambda p: p.spec.update(make={"name": "another"}),
    "a machine without a compiler": _without_compiler,
    "the compiler by its path": lambda p: p.environment.update(CXX=shutil.which("g++") or "g++"),
    "another place of caches": lambda p: p.environment.update(
        TORCHINDUCTOR_CACHE_DIR=os.fspath(p.root / "caches")
    ),
}


@pytest.mark.parametrize("case", HITS)
def test_no_miss(cold: Path, project: Project, case: str) -> None:
    HITS[case](project)
    found = project.run(cold / "cache")
    assert found["because"] == []
    assert (found["status"], found["traced"], found["loaded"]) == ("warm", 0, 1)
    assert found["imported"] == [], "a warm start needs nothing of torch's compiler"
    assert max(found["calls"]) < 1e-5


def test_a_copied_cache_serves_elsewhere(cold: Path, project: Project, tmp_path: Path) -> None:
    shutil.copytree(cold / "cache", tmp_path / "cache")
    found = project.run(tmp_path / "cache")
    assert (found["traced"], found["loaded"]) == (0, 1)
    assert max(found["calls"]) < 1e-5


def test_an_edit_is_never_stale_and_is_kept_beside_the_first(
    cold: Path, project: Project, tmp_path: Path
) -> None:
    """The edited model gives its own results, is found by its next start, and the first one still is."""
    cache = tmp_path / "cache"
    shutil.copytree(cold / "cache", cache)
    project.edit("project/helpers.py", "AMOUNT = 1.0", "AMOUNT = -1.0")
    for traced in (1, 0):
        found = project.run(cache)
        assert (found["traced"], found["loaded"]) == (traced, 1 - traced)
        assert max(found["calls"]) < 1e-5
    assert Project(cold / "first").run(cache, ask=True)["why"] is None


def test_the_program_that_is_told_of_is_the_nearest(cold_with_passes: Path, project: Project) -> None:
    """One with the same passes and another function, and not one with other passes that was looked at later."""
    project.edit("project/helpers.py", "return inner(x) * 1.5", "return inner(x) * 2.5")
    why = project.run(cold_with_passes / "cache", ask=True)["why"]
    assert why is not None
    assert "passes" not in why
    assert "shift" in why


def test_of_several_programs_the_one_with_fewest_changes_is_told_of(
    cold: Path, project: Project, tmp_path: Path
) -> None:
    """An edit that was undone, and another one: what was undone is no reason."""
    cache = shutil.copytree(cold / "cache", tmp_path / "cache")
    undone = "return inner(x) * 1.5", "return inner(x) * 2.5"
    project.edit("project/helpers.py", *undone)
    assert project.run(cache)["traced"] == 1
    project.edit("project/helpers.py", *reversed(undone))
    project.edit("project/net.py", "return self.act(x)", "return self.act(x) + 1")
    why = project.run(cache, ask=True)["why"]
    assert why is not None
    assert "net.Net.forward has changed" in why
    project.run(cache)
    told = [change.path for noted in LocalStore(cache).journal.read() for change in noted.miss.changes]
    assert [path for path in told if path.startswith("model → code")][-1] == "model → code → net.Net.forward"


def test_of_programs_of_other_surroundings_the_one_with_fewest_changes_is_told_of(
    cold: Path, project: Project, tmp_path: Path
) -> None:
    """Settings and code count together, and each of what differs is named."""
    cache = shutil.copytree(cold / "cache", tmp_path / "cache")
    far = ["import torch._inductor.config as c; c.cpp.simdlen = 256; c.cpp.min_chunk_size = 1024"]
    edit = "return inner(x) * 1.5", "return inner(x) * 2.5"
    project.edit("project/helpers.py", *edit)
    project.spec["change"] = far
    assert project.run(cache)["traced"] == 1
    project.edit("project/helpers.py", *reversed(edit))
    project.environment |= {"OMP_DYNAMIC": "false", "OMP_NESTED": "false"}
    project.spec["change"] = []
    assert project.run(cache, ask=True)["why"] == (
        "environment variable OMP_DYNAMIC was not set and is false; "
        "environment variable OMP_NESTED was not set and is false"
    )
    project.environment = {}
    project.spec["change"] = far
    why = project.run(cache, ask=True)["why"]
    assert why is not None
    assert "helpers.shift" in why, "one function is less than two settings"


def test_a_program_that_is_refused_counts_as_a_miss(cold: Path, project: Project, tmp_path: Path) -> None:
    """One look-up is one hit or one miss, however many candidates were looked at; the miss has its reason."""
    store = LocalStore(shutil.copytree(cold / "cache", tmp_path / "cache"))
    store.counters.reset()
    assert project.run(store.root, ask=True)["why"] is None
    assert (store.stats().hits, store.stats().misses) == (1, 0)
    project.edit("project/helpers.py", "return inner(x) * 1.5", "return inner(x) * 2.5")
    assert project.run(store.root, ask=True)["why"] is not None
    stats = store.stats()
    assert (stats.hits, stats.misses) == (1, 1)
    assert [reason for reason in stats.counts["miss"] if "helpers.shift" in reason]


def test_a_damaged_program_is_a_miss(cold: Path, project: Project, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(cold / "cache", cache)
    for path in (p for p in (cache / "objects").rglob("*") if p.is_file()):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    why = project.run(cache, ask=True)["why"]
    assert why is not None
    assert "nothing" in why or "no entry" in why or "could not be used" in why
