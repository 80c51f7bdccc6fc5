"""What is recorded of the processor, and which hosts run what others built."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from tests.compiler.models import inputs

import passprint
from passprint.cache import LocalStore
from passprint.cache.miss import change_text
from passprint.compiler.dependencies.environment import environment
from passprint.compiler.dependencies.row import Row, differences, host_differences
from passprint.compiler.lowering import host
from passprint.identity import Change


def test_features_that_torch_does_not_list_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor : 0\nflags\t\t: fpu gfni movbe\n\nprocessor : 1\nflags\t\t: fpu gfni\n")
    monkeypatch.setattr(host, "_CPUINFO", told)
    features = host.instruction_set()
    assert features["gfni"] is True  # every core has it
    assert "movbe" not in features  # only one has
    assert "fpu" not in features
    listed = {name for name, value in torch.cpu.get_capabilities().items() if value is True}
    assert listed <= set(features)


def test_what_no_instruction_depends_on_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of cores, another model of the same instructions."""
    before = host.cpu()
    real = torch.cpu.get_capabilities()
    other = {**real, "num_logical_cores": 96, "cpu_name": "another", "l2_cache_size": 1 << 21}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: other)
    assert host.cpu() == before
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**other, "architecture": "another"})
    assert host.lacks(before, host.cpu()) is not None


def test_a_system_that_does_not_tell_has_what_torch_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "missing")
    listed = {name for name, value in torch.cpu.get_capabilities().items() if value is True}
    assert set(host.instruction_set()) - {"architecture"} == listed


def cpu(capability: str, features: str) -> dict[str, str]:
    return {host.CAPABILITY: capability, host.FEATURES: features}


@pytest.mark.parametrize(
    ("built", "here", "said"),
    [
        (("AVX2", "avx avx2"), ("AVX2", "avx avx2"), None),
        (("AVX2", "avx avx2"), ("AVX512", "avx avx2 avx512_f"), None),
        (("DEFAULT", "avx"), ("AVX2", "avx avx2"), None),
        (("AVX2", "avx2 avx512_f gfni"), ("AVX2", "avx2"), "built for avx512_f, gfni, which this host lacks"),
        (("AVX512", "avx2"), ("AVX2", "avx2"), "built for AVX512, and this host has AVX2"),
        (("SVE256", "sve"), ("SVE", "sve"), "built for SVE256, and this host has SVE"),
        (("AVX2", "avx2"), ("SVE", "avx2"), "built for AVX2, and this host has SVE"),
        (("AVX2", ""), ("AVX2", "avx2"), "not known which instructions"),
        (("AVX2", "architecture=x86_64"), ("AVX2", "architecture=aarch64"), "architecture=x86_64"),
    ],
)
def test_who_runs_what(built: tuple[str, str], here: tuple[str, str], said: str | None) -> None:
    reason = host.lacks(cpu(*built), cpu(*here))
    assert (reason is None) if said is None else (reason is not None and said in reason)
    told = [] if reason is None else [reason]
    rows = [[Row("host", *pair) for pair in cpu(*of).items()] for of in (built, here)]
    assert host_differences(*rows) == told


def test_a_miss_for_passprints_own_code_shows_a_few_digits() -> None:
    """Of a checkout, files count by content; a person needs to know that they differ, not both digests in full."""
    before, now = ([Row("environment", "passprint", f"checkout {digits * 32}")] for digits in ("ab", "cd"))
    assert any(
        (row.kind, row.name) == ("environment", "passprint") for row in environment(users_passes=False)
    )
    said = differences(before, now)
    assert said == ["passprint was checkout abababababab and is checkout cdcdcdcdcdcd"]
    change = Change("piece → passprint → code → value", "changed", f"0.1.0+{'ab' * 32}", f"0.1.0+{'cd' * 32}")
    assert change_text(change) == "passprint → code → value: 0.1.0+abababababab → 0.1.0+cdcdcdcdcdcd"


def test_an_entry_that_does_not_say_what_it_needs_is_not_run() -> None:
    assert host.runs_here({"cpu": host.cpu()})
    assert not host.runs_here({})
    assert not host.runs_here({"cpu": None})
    assert not host.runs_here({"cpu": {}})


def _call(cache: Path) -> passprint.compiler.CompileReport:
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) * 3

    torch._dynamo.reset()
    compiled = passprint.compile(scaled, cache=cache)
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs()), scaled(inputs()))
    return compiled.report


def test_a_host_with_more_loads_what_one_with_less_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the other way round it is a miss that names the instruction. Pieces and whole programs alike."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    cache, real = tmp_path / "cache", host.instruction_set()
    assert _call(cache).status == "cold"

    monkeypatch.setattr(host, "instruction_set", lambda: {**real, "newest": True})
    report = _call(cache)
    assert (report.status, report.loaded, report.traced) == ("warm", 1, 0)
    _forget_programs(cache)
    report = _call(cache)
    assert (report.status, report.loaded, report.traced) == ("warm", 0, 1), report.why
    assert "without regard to CPU" in str(LocalStore(cache).stats().counts["hit"])

    lost = next(iter(name for name, value in real.items() if value is True))
    monkeypatch.setattr(host, "instruction_set", lambda: {n: v for n, v in real.items() if n != lost})
    report = _call(cache)
    assert report.status == "cold"
    assert f"built for {lost}" in (report.why or "")


def _forget_programs(cache: Path) -> None:
    """Leave only the pieces."""
    store = LocalStore(cache)
    for entry in store.entries():
        if entry.kind == "model":
            path = store.root / "entries" / entry.digest[:2] / entry.digest
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
            os.unlink(path)
        entry.close()
