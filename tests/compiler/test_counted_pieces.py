"""What a look-up of a piece counts as: a hit only if the piece is used, else a miss with its reason. One count each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import passprint
from passprint.cache import Entry, LocalStore
from passprint.compiler.pieces import find


class Halving(passprint.InductorPass):
    """What it does hangs on the size: the code that it leaves serves only some sizes."""

    def __call__(self, graph: torch.fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.relu.default):
            if node.meta["val"].shape[0] > 16:
                node.meta["large"] = True


def activation(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * 3 + 1


def two(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.relu(x), torch.relu(y)


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


def serve(cache: Any, rows: int, split: str = "blocks") -> Any:
    """A start for so many rows. What Dynamo and passprint know of the model from before is forgotten."""
    torch._dynamo.reset()
    compiled = passprint.compile(
        activation, passes=[Halving()], cache=cache, dynamic={"x": (0,)}, split=split
    )
    x = torch.randn(rows, 8)
    torch.testing.assert_close(compiled(x), activation(x))
    return compiled.report


def test_a_piece_that_is_refused_for_its_sizes_counts_as_a_miss(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    serve(store.root, 8)
    store.counters.reset()
    report = serve(store.root, 64)
    assert (report.status, report.pieces_seen[0].origin) == ("cold", "compiled")
    stats = store.stats()
    assert (stats.hits, stats.misses) == (0, 2), stats.counts  # the program and its piece
    assert [
        reason for reason in stats.counts["miss"] if "the stored piece was built for other sizes" in reason
    ]
    store.counters.reset()
    assert serve(store.root, 128).status == "warm"
    assert (store.stats().hits, store.stats().misses) == (1, 0)


def test_what_the_model_was_compiled_with_is_told_in_words(tmp_path: Path) -> None:
    model = nn.Linear(8, 8)
    x = torch.randn(3, 8)
    for more in ({}, {"compile_sizes": [8, 4], "ranges": [(2, 64)], "split": "whole"}):
        torch._dynamo.reset()
        compiled: Any = passprint.compile(model, cache=tmp_path / "cache", dynamic={"input": (0,)}, **more)
        compiled(x)
    (told,) = [miss for miss in compiled.report.misses if miss.kind == "model"]
    assert told.reason == "a program of it is stored, but not for the same options"
    assert (told.changes[0].lines or "").splitlines()[3:] == [
        "-split 'blocks', dynamic {'input': (0,)}",
        "+split 'whole', dynamic {'input': (0,)}, compile_sizes [4, 8], ranges [(2, 64)]",
    ]
    model.eval().double()
    why = compiled.why_trace(x.double())
    assert "model: torch.nn.modules.linear.Linear train → model: torch.nn.modules.linear.Linear eval" in why
    assert ".weight: float32 (8, 8) strides (8, 1) cpu grad → .weight: float64" in why


def test_what_another_version_or_nobody_can_read_is_explained_as_such(tmp_path: Path) -> None:
    """Of the program as of its piece; it is not as if there had been no entry."""
    store = LocalStore(tmp_path / "cache")
    serve(store.root, 8)
    for record in (store.root / "entries").glob("*/*"):
        magic, _, rest = record.read_bytes().split(b" ", 2)
        record.write_bytes(b"%b 999 %b" % (magic, rest))
    report = serve(store.root, 8)
    assert [(miss.kind, miss.reason) for miss in report.misses] == [
        (kind, "it was stored, but could not be used: the entry has the unknown format 999")
        for kind in ("model", "piece")
    ]


def test_a_piece_that_cannot_be_loaded_counts_as_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "cache")
    serve(store.root, 8)
    store.counters.reset()

    def unpack(form: str, files: Any, label: str) -> Any:
        if isinstance(files, Entry):
            raise OSError("a symbol is not found")
        return real(form, files, label)

    real = find.unpack
    monkeypatch.setattr(find, "unpack", unpack)
    assert serve(store.root, 9, split="whole").status == "cold"  # the same piece of another program
    stats = store.stats()
    assert (stats.hits, stats.misses) == (0, 2), stats.counts
    assert stats.counts["miss"]["the stored piece could not be loaded: a symbol is not found"] == 1


def test_an_equal_piece_of_the_same_graph_for_other_sizes_is_a_miss_that_says_so(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache")
    compiled = passprint.compile(
        two, passes=[Halving()], cache=store, dynamic={"x": (0,), "y": (0,)}, split=["relu"]
    )
    given = torch.randn(8, 4), torch.randn(64, 4)
    torch.testing.assert_close(compiled(*given), two(*given))
    report = compiled.report
    assert (report.pieces, report.distinct_pieces) == (2, 1)
    assert [piece.origin for piece in report.pieces_seen] == ["compiled", "compiled"]
    reasons = [miss.reason for miss in report.misses if miss.kind == "piece"]
    assert [("no entry" in reason, "other sizes" in reason) for reason in reasons] == [
        (True, False),
        (False, True),
    ]
    assert (store.stats().hits, store.stats().misses) == (0, 3)


def test_who_waited_for_another_has_one_look_up(tmp_path: Path) -> None:
    """What another process makes meanwhile is a hit, not a miss and then a hit."""
    store = LocalStore(tmp_path / "cache")
    serve(store.root, 8)
    [piece] = [entry for entry in store.entries() if entry.kind == "piece"]
    record = next((tmp_path / "cache" / "entries").glob(f"*/{piece.digest}"))
    hidden = record.read_bytes()
    record.unlink()
    store.counters.reset()

    class Meanwhile(LocalStore):
        def compiling(self, digest: str, *args: Any, **more: Any) -> Any:
            assert digest == piece.digest
            record.write_bytes(hidden)
            record.chmod(0o600)
            time.sleep(0.1)
            return super().compiling(digest, *args, **more)

    report = serve(Meanwhile(store.root), 9, split="whole")
    assert report.status == "warm"
    assert report.seconds["wait"] > 0.1
    counts = store.stats().counts
    assert counts["hit"] == {"compiled meanwhile by another": 1}
    assert counts["miss"] == {"no entry": 1}, "the program"
