"""What the key says of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from passprint.compiler import host


def test_features_that_torch_does_not_list_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor : 0\nflags\t\t: fpu gfni movbe\n\nprocessor : 1\nflags\t\t: fpu gfni\n")
    monkeypatch.setattr(host, "_CPUINFO", told)
    features = host.instruction_set()
    assert features["gfni"] is True  # every core has it
    assert "movbe" not in features  # only one has
    assert "fpu" not in features
    listed = {name: value for name, value in torch.cpu.get_capabilities().items() if value}
    assert listed.items() <= features.items()


def test_a_system_that_does_not_tell_has_what_torch_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "missing")
    assert set(host.instruction_set()) == {k for k, v in torch.cpu.get_capabilities().items() if v}
