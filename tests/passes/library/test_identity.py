from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch

from passprint import PassManager
from passprint.passes.library import ALL, DEFAULT, FuseRMSNorm, NoopElimination, fuse_rms_norm, ops


@pytest.mark.parametrize("pass_type", ALL, ids=lambda pass_type: pass_type.__name__)
def test_every_pass_can_be_identified(pass_type):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digest = pass_type().uuid()
    assert digest == pass_type().uuid()
    assert len(digest) == 64
    assert dataclasses.fields(pass_type) == dataclasses.fields(pass_type())
    assert pass_type.__doc__


def test_options_count():
    assert FuseRMSNorm().uuid() != FuseRMSNorm(eps=1e-5).uuid()
    assert NoopElimination().uuid() != NoopElimination(arithmetic=False).uuid()
    assert len({pass_type().uuid() for pass_type in ALL}) == len(ALL)


def test_an_operator_is_part_of_the_pass_that_uses_it(monkeypatch):
    before = FuseRMSNorm().uuid()

    def other(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        return x - eps

    monkeypatch.setattr(fuse_rms_norm, "rms_norm", dataclasses.replace(ops.rms_norm, layout=other))
    assert FuseRMSNorm().uuid() != before


def test_text_leads_back():
    manager = PassManager([pass_type() for pass_type in ALL])
    assert PassManager.parse(str(manager)).uuid() == manager.uuid()
    assert set(DEFAULT) <= set(ALL)
