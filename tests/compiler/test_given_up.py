"""A trace that fails after its graph was lowered leaves nothing behind: no lock, no half-built piece."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.compiler.models import inputs, stack

import passprint
from passprint.cache import open_store
from passprint.compiler.trace.backend import Backend
from passprint.errors import CompileError


def test_another_model_compiles_after_a_trace_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Dynamo cannot build its guards: the graph has been lowered, and nobody will ever call it."""
    store, model, x = open_store(tmp_path / "cache"), stack(2), inputs()
    lowered = Backend.compile

    def fails_afterwards(self: Backend, *args: object) -> object:
        lowered(self, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    compiled = passprint.compile(model, cache=store)
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(Backend, "compile", fails_afterwards)
        with pytest.raises(KeyboardInterrupt):
            compiled(x)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
        torch.testing.assert_close(passprint.compile(model, cache=store)(x), model(x))
    assert any(piece.origin == "compiled" for piece in compiled.report.pieces_seen)


def test_what_was_given_up_says_so(tmp_path: Path) -> None:
    graphs: list[tuple[torch.fx.GraphModule, list[torch.Tensor]]] = []

    def keep(gm: torch.fx.GraphModule, example_inputs: list[torch.Tensor]) -> object:
        graphs.append((gm, example_inputs))
        backend = Backend(passprint.PassManager([]), tmp_path / "cache")
        run = backend(gm, example_inputs)
        backend.give_up()
        with pytest.raises(CompileError, match="given up before it was finished"):
            run(*example_inputs)
        again = Backend(passprint.PassManager([]), tmp_path / "cache")
        return again(gm, example_inputs)

    model, x = stack(2), inputs()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend=keep)(x), model(x))
    assert len(graphs) == 1
