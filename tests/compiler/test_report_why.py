"""``report.why``: one line that names what differs, down to the value, whether a program was refused or none fits."""

from __future__ import annotations

from collections.abc import Sequence

from passprint.cache import Miss
from passprint.compiler import CompileReport
from passprint.compiler.record import PieceReport
from passprint.identity import Change

PIECE = "layers.0: no entry has this graph"


def report_of(*misses: Miss, traced: Sequence[str] = (), origin: str = "compiled") -> CompileReport:
    piece = PieceReport("layers.0", "ab" * 32, 3, origin, "direct", None, 0.1, {})  # type: ignore[arg-type]
    notes = [PIECE] if origin == "compiled" else []
    return CompileReport(
        graphs=1, pieces_seen=[piece], notes=notes, traced_because=list(traced), misses=list(misses)
    )


def refused(*changes: Change) -> Miss:
    said = "a program of it is stored, but the class net.Net has changed (model)"
    return Miss("model", "cd" * 32, "net.Net", said, "cd" * 32, changes)


def test_the_value_of_a_refused_program() -> None:
    change = Change("model → code → net.Net → Block.power", "changed", "1", "2")
    for origin in ("compiled", "store"):
        why = report_of(refused(change), traced=["the class net.Net has changed (model)"], origin=origin).why
        assert why is not None
        assert why.startswith("the class net.Net has changed (model): code → net.Net → Block.power: 1 → 2")
        assert why.endswith(PIECE) == (origin == "compiled")


def test_the_function_of_a_refused_program_without_its_lines() -> None:
    lines = "--- before\n+++ after\n@@ -1,2 +1,2 @@\n def inner(x):\n-    return x\n+    return -x"
    change = Change("model → code → net.Net → inner", "changed", "inner", "inner", lines)
    why = report_of(refused(change), traced=["the class net.Net has changed (model)"]).why
    assert why == f"the class net.Net has changed (model): code → net.Net → inner: changed; {PIECE}"


def test_a_reason_that_says_it_already_is_not_repeated() -> None:
    change = Change("model → code → net.Net → FACTOR", "changed", "0.5", "0.25")
    missed = Miss(
        "model", "cd" * 32, "net.Net", "a program of it is stored, but net.FACTOR was 0.5 and is 0.25"
    )
    assert report_of(missed, traced=["net.FACTOR was 0.5 and is 0.25"]).why == (
        f"net.FACTOR was 0.5 and is 0.25; {PIECE}"
    )
    another = refused(change)  # of another call
    assert report_of(another, traced=["net.FACTOR was 0.5 and is 0.25"]).why == (
        f"net.FACTOR was 0.5 and is 0.25; {PIECE}"
    )


def test_a_model_that_differs_in_its_key_is_named_with_its_first_lines() -> None:
    lines = (
        "--- before\n+++ after\n@@ -1,2 +1,2 @@\n-model: net.Net eval\n-.a: Linear eval"
        "\n+model: net.Net train\n+.a: Linear train"
    )
    missed = Miss(
        "model",
        "cd" * 32,
        "net.Net",
        "a program of it is stored, but not for the same modules",
        "ef" * 32,
        (Change("model → modules", "changed", None, None, lines),),
    )
    said = (
        "a program of it is stored, but not for the same modules: model: net.Net eval → model: net.Net train"
    )
    assert report_of(missed).why == f"{said}; {PIECE}"
    assert report_of(missed, origin="store").why == said


def test_a_model_of_which_nothing_is_stored_leaves_it_to_its_pieces() -> None:
    nothing = Miss("model", "cd" * 32, "net.Net", "no entry at all for this model")
    assert report_of(nothing).why == PIECE
    assert report_of(nothing, origin="store").why == "no entry at all for this model"
