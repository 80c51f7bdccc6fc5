import io

from rich.console import Console

from passprint.report.progress import PhaseProgress


def test_a_file_gets_one_line_a_phase() -> None:
    out = io.StringIO()
    with PhaseProgress(Console(file=out, width=80)) as progress:
        progress.started("cold")
        progress.stage("cold", "loading")
        progress.finished("cold")
        progress.started("warm")
        progress.finished("warm", failed=True)
    lines = out.getvalue().split("\n")
    assert [line.split(" after ")[0] for line in lines if line] == ["cold: done", "warm: failed"]


def test_a_terminal_sees_the_stage_and_the_end() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with PhaseProgress(console) as progress:
        progress.started("cold")
        progress.stage("cold", "decoding 3 of 16")
        progress._progress.refresh()
        progress.finished("cold")
    assert "decoding 3 of 16" in out.getvalue()
    assert "✓ cold" in out.getvalue()
