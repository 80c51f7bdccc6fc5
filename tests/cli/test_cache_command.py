"""``passprint cache``: what it prints and what it does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from passprint.cache import LocalStore
from passprint.cli.app import run
from passprint.identity import Fingerprint, compose


def key_of(name: str) -> Fingerprint:
    return compose("piece", {"name": name, "torch": "2.13.0"})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "[red]"))
    store = LocalStore()
    for name in ("LlamaDecoderLayer", "head"):
        store.put(key_of(name), {"kernel.so": name.encode() * 1000}, {"label": f"{name}[bold]"})
    return store


def output(capfd: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(["cache", *arguments]) == status
    said = capfd.readouterr()
    assert said.err == ""
    return said.out


def test_stats_shows_counts_with_their_reasons(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    entry = store.get(key_of("head").digest)
    assert entry is not None
    store.get(key_of("absent").digest)
    store.bypass("a pass [MyPass] → CONFIG is opaque")
    shown = output(capfd, "stats")
    rows = [line.strip("│ ").split(maxsplit=2) for line in shown.splitlines()]
    assert ["hits", "1"] in rows
    assert ["misses", "1"] in rows
    assert ["1", "no", "entry"] in rows
    assert ["bypasses", "1"] in rows
    assert "a pass [MyPass] → CONFIG is opaque" in shown
    assert "[red]" in shown
    assert ["hit", "rate", "50.0%  of 2 lookups"] in rows
    assert ["entries", "2"] in rows
    figures = json.loads(output(capfd, "stats", "--json"))
    assert figures == store.stats().to_dict()
    assert (figures["hits"], figures["misses"], figures["bypasses"], figures["stores"]) == (1, 1, 1, 2)


def test_stats_can_set_the_counts_to_zero(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    output(capfd, "stats", "--reset")
    assert store.stats().stores == 0
    assert store.stats().entries == 2


def test_ls_lists_the_last_used_first(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    digest = key_of("head").digest
    os.utime(store.root / "entries" / digest[:2] / digest, (1e9, 1e9))
    shown = output(capfd, "ls")
    assert shown.startswith("2 entries in ")
    assert shown.index("LlamaDecoderLayer") < shown.index("head")
    assert digest[:16] in shown
    assert "head[bold]" in shown
    rows = json.loads(output(capfd, "ls", "--json", "--first", "1"))
    assert [row["meta"]["label"] for row in rows] == ["LlamaDecoderLayer[bold]"]
    assert "and 1 more" in output(capfd, "ls", "-n", "1")


def test_gc_goes_down_to_the_limit(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    assert output(capfd, "gc").startswith("Removed 0 entries and 0 objects")
    assert output(capfd, "gc", "--limit", "1").startswith("Removed 2 entries and 4 objects")
    assert store.stats().entries == 0


def test_clear_says_what_is_still_in_use(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    with store.get(key_of("head").digest) or pytest.fail("not found"):
        shown = output(capfd, "clear")
    assert shown.startswith("Removed 1 entry and ")
    assert "Kept 1 entry that a running process uses." in shown
    assert output(capfd, "clear").startswith("Removed 1 entry and ")
    assert store.stats().entries == 0


def test_verify_fails_until_repaired(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    assert output(capfd, "verify") == "Whole: 2 entries and 4 objects.\n"
    digest = key_of("head").digest
    os.truncate(store.root / "entries" / digest[:2] / digest, 20)
    assert f"damaged  {digest}: entry " in output(capfd, "verify", status=1)
    assert json.loads(output(capfd, "verify", "--json", status=1))["problems"][0]["digest"] == digest
    assert "(removed)" in output(capfd, "verify", "--repair")
    assert output(capfd, "verify").startswith("Whole: 1 entry and 4 objects, 2 objects that no entry names")


def test_a_warning_is_one_line_and_no_failure(
    store: LocalStore, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    digest = key_of("head").digest
    os.truncate(store.root / "entries" / digest[:2] / digest, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])
        assert run(["cache", "ls"]) == 0
    said = capfd.readouterr()
    assert said.out.startswith("1 entry in ")
    assert said.err == (
        f"warning: The cache entry {digest} of {store.root} is left out: it does not begin as a record does.\n"
    )
    assert len(recwarn) == 0


def test_another_folder_can_be_given(
    store: LocalStore, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    LocalStore(tmp_path / "other")
    assert output(capfd, "ls", "--dir", str(tmp_path / "other")).startswith("0 entries in ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["cache", "ls"],
        ["cache", "stats"],
        ["cache", "stats", "--reset"],
        ["cache", "gc"],
        ["cache", "verify", "--repair"],
        ["cache", "clear"],
        ["cache", "export", "file"],
        ["explain"],
        ["explain", "ab"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
def test_a_folder_that_is_absent_is_told_and_not_made(
    arguments: list[str],
    empty: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if empty:
        (tmp_path / "typo").mkdir(mode=0o700)
    assert run([*arguments, "--dir", "typo"]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: There is no cache in {tmp_path}/typo: ")
    assert "PASSPRINT_CACHE_DIR" in said.err
    assert list(tmp_path.rglob("*")) == ([tmp_path / "typo"] if empty else [])


def test_an_import_makes_its_folder(
    store: LocalStore, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    new = tmp_path / "new"
    store.export_to(tmp_path / "file")
    assert "2 entries" in output(capfd, "import", str(tmp_path / "file"), "--dir", str(new))
    assert output(capfd, "ls", "--dir", str(new)).startswith("2 entries in ")


def test_counts_that_cannot_be_reset_are_an_error(
    store: LocalStore, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.root / "counts").unlink()
    (store.root / "counts").mkdir()  # what no user can unlink
    assert run(["cache", "stats", "--reset"]) == 1
    assert "error: The counts of the cache " in capfd.readouterr().err


@pytest.mark.parametrize("size", ["", "x", "-1", "1e3", "9" * 400, "9" * 5000])
def test_a_limit_that_is_none(store: LocalStore, capfd: pytest.CaptureFixture[str], size: str) -> None:
    assert run(["cache", "gc", f"--limit={size}"]) == 1
    assert "A size must be like 500M, 2G or 1048576, but " in capfd.readouterr().err
    assert store.stats().entries == 2


def test_what_changes_the_cache_prints_its_figures_as_json(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    LocalStore(tmp_path / "cache")
    archive, at = str(tmp_path / "archive"), ["--json", "--dir", str(tmp_path / "cache")]
    for arguments, name in (
        (["gc"], "left_bytes"),
        (["clear"], "left_bytes"),
        (["export", archive], "sha256"),
        (["import", archive], "sha256"),
    ):
        assert run(["cache", *arguments, *at]) == 0
        assert name in json.loads(capfd.readouterr().out)
