"""``passprint key``, ``trust``, ``push``, ``pull`` and ``cache gc --remote``: a shared cache from the command line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from passprint.cache import LocalStore
from passprint.cli.app import run
from passprint.identity import Fingerprint, compose

pytest.importorskip("cryptography", reason="the extra [remote] is not installed: no cryptography")
pytest.importorskip("zstandard", reason="the extra [remote] is not installed: no zstandard")
pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")


def key_of(name: str) -> Fingerprint:
    return compose("piece", {"name": name, "torch": "2.13.0"})


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A remote, and a machine with an own key and a folder with three entries: a model needs a layer, head is alone."""
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "folder"))
    monkeypatch.setenv("PASSPRINT_TRUSTED_KEYS", str(tmp_path / "trusted"))
    monkeypatch.setenv("PASSPRINT_PRIVATE_KEY", str(tmp_path / "key"))
    monkeypatch.delenv("PASSPRINT_CACHE_REMOTE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["key", "new", "ci"]) == 0
    store = LocalStore()
    store.put(key_of("layer"), {"kernel.so": b"layer" * 1000}, {"label": "layer"})
    store.put(key_of("model"), {"names": b"m"}, {"label": "Model", "pieces": [key_of("layer").digest]})
    store.put(key_of("head"), {"kernel.so": b"head" * 1000}, {"label": "head"})
    return f"file://{tmp_path}/remote"


def holds(folder: Path, *names: str) -> bool:
    store = LocalStore(folder)
    return all(store.get(key_of(name).digest) is not None for name in names)


def test_push_and_pull(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["push", url]) == 0
    assert "Sent 3 entries" in capfd.readouterr().out
    assert run(["pull", url, "--dir", str(tmp_path / "other")]) == 0
    assert "Brought 3 entries" in capfd.readouterr().out
    assert holds(tmp_path / "other", "layer", "model", "head")
    assert run(["pull", url, "--dir", str(tmp_path / "other")]) == 0
    assert "Brought 0 entries" in capfd.readouterr().out


@pytest.mark.parametrize("command", ["push", "pull"])
def test_one_model_with_what_it_needs(command: str, url: str, tmp_path: Path) -> None:
    for each in ("push", "pull"):
        model = ["--model", "Model"] if each == command else []
        place = [] if each == "push" else ["--dir", str(tmp_path / "other")]
        assert run([each, url, *model, *place]) == 0
    assert holds(tmp_path / "other", "layer", "model")
    assert not holds(tmp_path / "other", "head")


def test_keys_by_name(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["key", "new", "ci-2027", "--to", str(tmp_path / "second")]) == 0
    public = capfd.readouterr().out.strip()
    assert public.startswith("passprint-public-key ed25519 ci-2027 ")
    assert run(["trust", "retire", "ci"]) == 0
    capfd.readouterr()
    assert run(["trust", "list"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ci", "ci-2027"]
    assert lines[0].endswith("retired")
    assert run(["trust", "remove", "ci-2027"]) == 0
    assert run(["trust", "add", public]) == 0
    assert run(["trust", "remove", "nobody"]) == 1
    assert "There are: ci, ci-2027" in capfd.readouterr().err


def test_what_is_not_signed_by_a_trusted_key_does_not_come(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["push", url]) == 0
    assert run(["trust", "retire", "ci"]) == 0
    assert run(["pull", url, "--dir", str(tmp_path / "other")]) == 1
    assert "the retired key 'ci'" in capfd.readouterr().err


def test_a_remote_is_swept_by_age_and_size(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["push", url]) == 0

    def sweep(*arguments: str) -> str:
        capfd.readouterr()
        assert run(["cache", "gc", "--remote", url, *arguments]) == 0
        return capfd.readouterr().out

    assert sweep("--max-age", "1s", "--limit", "1").startswith("Removed 0 entries")  # all of it is young
    old = time.time() - 10 * 86400
    for path in (tmp_path / "remote").rglob("*"):
        if path.is_file() and key_of("head").digest != path.name:
            os.utime(path, (old, old))
    assert sweep("--max-age", "30d").startswith("Removed 0 entries and 0 objects")
    assert sweep("--max-age", "7d").startswith("Removed 2 entries")
    assert run(["pull", url, "--dir", str(tmp_path / "other")]) == 0
    assert holds(tmp_path / "other", "head")
    assert not holds(tmp_path / "other", "layer")


def test_without_a_remote_there_is_an_error_that_says_what_to_give(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert run(["push"]) == 1
    assert "PASSPRINT_CACHE_REMOTE" in capfd.readouterr().err
    assert run(["cache", "gc", "--max-age", "1d"]) == 1
    assert "Expected --remote URL" in capfd.readouterr().err
    assert run(["cache", "gc", "--remote", url, "--max-age", "soon"]) == 1
    assert "30d, 12h" in capfd.readouterr().err
