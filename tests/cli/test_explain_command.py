"""``passprint explain`` and the tree of ``passprint cache ls``: what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from passprint.cache import LocalStore, Miss
from passprint.cli.app import run
from passprint.identity import Change, Fingerprint, compose

CHANGE = Change(
    "piece → passes → 0 scale → helper",
    "changed",
    "helper",
    "helper",
    "--- before\n+++ after\n@@ -1,2 +1,2 @@\n def helper(x):\n-    return [red]\n+    return x",
)


def key_of(name: str) -> Fingerprint:
    return compose("piece", {"graph": name, "torch": "2.13.0"})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "cache"))
    return LocalStore()


def output(capfd: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(list(arguments)) == status
    said = capfd.readouterr()
    return said.err if status else said.out


def test_nothing_to_explain(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    assert output(capfd, "explain").startswith(f"No miss is remembered in {store.root}")
    assert json.loads(output(capfd, "explain", "--json")) == {"schema": 1, "misses": []}


def test_misses_with_the_same_reason_are_told_together(
    store: LocalStore, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, label in enumerate(("layers.0", "layers.9")):
        store.missed(
            Miss("piece", f"{number:x}" * 64, label, "not with the same passes", "f" * 64, (CHANGE,))
        )
    store.missed(Miss("bypass", "ab" * 32, "head", "not cached, a file handle"))
    shown = [line.rstrip() for line in output(capfd, "explain").splitlines()]
    assert shown[0].startswith("2 misses, 1 bypass of ")
    assert shown[2:] == [
        "piece layers.0 0000000000000000, layers.9 1111111111111111",
        "  not with the same passes",
        "    passes → 0 scale → helper: changed",
        "      @@ -1,2 +1,2 @@",
        "       def helper(x):",
        "      -    return [red]",
        "      +    return x",
        "  compared with entry ffffffffffffffff",
        "",
        "bypass head abababababababab",
        "  not cached, a file handle",
    ]
    form = json.loads(output(capfd, "explain", "--json"))
    assert [miss["label"] for miss in form["misses"]] == ["layers.0", "layers.9", "head"]
    assert form["misses"][0]["changes"][0]["lines"] == CHANGE.lines


def test_the_last_process_or_more_of_them(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):  # each store object began at another time: as three processes would
        LocalStore().missed(Miss("model", f"{number:x}" * 64, f"model {number}", "a reason"))
    assert "model 2" in output(capfd, "explain")
    assert "model 1" not in output(capfd, "explain")
    shown = output(capfd, "explain", "--runs", "2")
    assert "model 0" not in shown
    assert shown.index("model 1") < shown.index("model 2")
    assert "model 0" in output(capfd, "explain", "--runs", "0")


def test_one_key_that_was_missed(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    store.missed(Miss("piece", "1" * 64, "layer", "an old reason"))
    store.missed(Miss("piece", "1" * 64, "layer", "a new reason"))
    store.missed(Miss("piece", "2" * 64, "layer", "another"))
    shown = output(capfd, "explain", "1111")
    assert "a new reason" in shown
    assert "an old reason" not in shown
    assert "another" not in shown


def test_one_key_that_is_stored(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    older, newer = (compose("piece", {"graph": "g", "torch": version}) for version in ("2.12", "2.13"))
    store.put(older, {"a": b"1"}, {"label": "layer"})
    alone = output(capfd, "explain", older.digest[:10])
    assert "there is no entry like it to compare it with" in alone
    store.put(newer, {"a": b"1"}, {"label": "layer"})
    shown = output(capfd, "explain", newer.digest[:10].upper())
    assert "nothing is remembered of why it was compiled" in shown
    assert "torch: '2.12' → '2.13'" in shown
    assert f"compared with entry {older.digest[:16]}" in shown


def test_an_unknown_key_says_where_keys_are(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    for key in ("0123", ""):
        said = output(capfd, "explain", key, status=1)
        assert f"begins with '{key}'" in said
        assert "`passprint cache ls` lists" in said


def test_ls_shows_what_an_entry_needs_below_it(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("layer", "head", "alone"):
        store.put(key_of(name), {"kernel.so": name.encode() * 1000}, {"label": name, "form": "direct"})
    pieces = [key_of("layer").digest] * 30 + [key_of("head").digest, "f" * 64]
    store.put(
        compose("model", {"model": "Llama"}), {"program": b"p"}, {"label": "Llama[bold]", "pieces": pieces}
    )
    lines = [line.split() for line in output(capfd, "cache", "ls").splitlines()]
    assert lines[0][:2] == ["4", "entries"]
    top = next(number for number, line in enumerate(lines) if line[0] == "Llama[bold]")
    assert lines[top][1] == "model"
    assert lines[top + 1][:6] == ["├", "layer", "×30", "piece", "direct", key_of("layer").digest[:16]]
    assert lines[top + 2][:3] == ["├", "head", "piece"]
    assert lines[top + 3] == ["└", "gone", "f" * 16]
    assert sum("layer" in line for line in lines) == 1
    assert any(line[0] == "alone" for line in lines)


def test_export_and_import(store: LocalStore, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("layer", "head"):
        store.put(key_of(name), {"kernel.so": name.encode() * 1000}, {"label": f"{name}[bold]"})
    file, other = str(tmp_path / "file"), str(tmp_path / "other")
    assert output(capfd, "cache", "export", file).startswith("Wrote 2 entries and 4 objects (")
    assert output(capfd, "cache", "export", file, "--model", "head[bold]").startswith(
        "Wrote 1 entry and 2 objects ("
    )
    shown = output(capfd, "cache", "import", file, "--dir", other)
    assert shown.startswith("  + piece head[bold]\nBrought 1 entry and 2 objects (")
    assert "1 entry there already" in output(capfd, "cache", "import", file, "--dir", other)
    assert "No entry's key begins with 'zz'" in output(
        capfd, "cache", "export", file, "--key", "zz", status=1
    )
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:-1])
    assert "is damaged: it has" in output(capfd, "cache", "import", file, status=1)
    LocalStore(tmp_path / "empty")
    empty = output(capfd, "cache", "export", file, "--dir", str(tmp_path / "empty"))
    assert "the archive is empty" in empty
