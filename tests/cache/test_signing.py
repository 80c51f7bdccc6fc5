"""Signed archives: with a key only what was signed with it comes in; without one an import is the user's own trust."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from passprint.cache import LocalStore
from passprint.cache.signing import ENVIRONMENT, signing_key
from passprint.cli.app import run
from passprint.errors import CacheError

from .proof import put
from .test_archive import reworded, rewritten, snapshot


def secret(path: Path, text: str = "0123456789abcdef" * 4) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    store = LocalStore(tmp_path / "cache")
    put(store, "a", 1)
    return store


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "other")


def refused(other: LocalStore, file: Path, key: Path | None, said: str) -> None:
    before = snapshot(other.root)
    with pytest.raises(CacheError, match=said):
        other.import_from(file, key_file=key)
    assert snapshot(other.root) == before


def test_signed_and_checked_with_the_same_key(store: LocalStore, other: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    done = store.export_to(file, key_file=secret(tmp_path / "key"))
    assert done.signed
    assert done.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    brought = other.import_from(file, key_file=secret(tmp_path / "the same key elsewhere"))
    assert (brought.signature, brought.sha256) == ("checked", done.sha256)
    assert brought.entries == (("piece", "a"),)


def test_not_signed_or_by_another_key(store: LocalStore, other: LocalStore, tmp_path: Path) -> None:
    key, file = secret(tmp_path / "key"), tmp_path / "file"
    store.export_to(file)
    refused(other, file, key, r"is not signed.*Export it again with that key")
    store.export_to(file, key_file=secret(tmp_path / "another", "f" * 64))
    refused(other, file, key, "not by this signing key")
    assert other.import_from(file).signature == "not checked"


def test_a_forger_who_repairs_every_checksum_is_found_out(
    store: LocalStore, other: LocalStore, tmp_path: Path
) -> None:
    key, file = secret(tmp_path / "key"), tmp_path / "file"
    store.export_to(file, key_file=key)
    signature = file.read_bytes().partition(b"\n")[0].split()[4]

    def change(index: dict[str, object], blobs: list[bytes]) -> None:
        blobs[0] = reworded(blobs[0], lambda body: body["meta"].update(label="forged"))

    rewritten(file, change)
    refused(other, file, key, "is not signed")
    head, _, rest = file.read_bytes().partition(b"\n")
    file.write_bytes(head + b" " + signature + b"\n" + rest)  # the old signature over the new index
    refused(other, file, key, "not by this signing key")
    assert other.import_from(file).entries == (("piece", "forged"),), "without a key nothing but trust guards"


def test_the_environment_names_the_key(
    store: LocalStore, other: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.export_to(tmp_path / "unsigned")
    monkeypatch.setenv(ENVIRONMENT, str(secret(tmp_path / "key")))
    assert store.export_to(tmp_path / "file").signed
    refused(other, tmp_path / "unsigned", None, ENVIRONMENT)
    assert other.import_from(tmp_path / "file").signature == "checked"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("short", 0o600, "has 5 bytes. Expected a file of 32 to 4096"),
        ("", 0o600, "has 0 bytes"),
        ("x" * 5000, 0o600, "has 4097 bytes"),
        ("0123456789abcdef" * 4, 0o640, "chmod 600"),
        ("0123456789abcdef" * 4, 0o602, "chmod 600"),
    ],
)
def test_a_key_that_is_none(tmp_path: Path, text: str, mode: int, said: str) -> None:
    secret(tmp_path / "key", text).chmod(mode)
    with pytest.raises(CacheError, match=said):
        signing_key(tmp_path / "key")


def test_a_key_that_is_missing_is_an_error_and_not_no_key(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="openssl rand"):
        store.export_to(tmp_path / "file", key_file=tmp_path / "absent")
    assert not (tmp_path / "file").exists()
    assert signing_key() is None


def test_the_command_line(store: LocalStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key, file, other = str(secret(tmp_path / "key")), str(tmp_path / "file"), str(tmp_path / "other")
    ours = ["--dir", str(store.root)]
    assert run(["cache", "export", file, *ours]) == 0
    sum_ = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert f"sha256 {sum_}, not signed" in capfd.readouterr().out
    assert run(["cache", "import", file, "--dir", other, "--signing-key", key]) == 1
    assert "is not signed" in capfd.readouterr().err
    assert run(["cache", "import", file, "--dir", other]) == 0
    assert f"sha256 {sum_}, not signed: compare" in capfd.readouterr().out
    assert run(["cache", "export", file, *ours, "--signing-key", key]) == 0
    assert ", signed" in capfd.readouterr().out
    assert run(["cache", "import", file, "--dir", other, "--signing-key", key]) == 0
    assert "the signature is right" in capfd.readouterr().out


def test_the_signature_is_bound_to_archives(tmp_path: Path) -> None:
    import hmac

    key = signing_key(secret(tmp_path / "key"))
    assert key is not None
    plain = hmac.new(b"0123456789abcdef" * 4, b"index", hashlib.sha256).hexdigest()
    assert not key.fits(b"index", plain)
    assert key.fits(b"index", key.sign(b"index"))
    assert not key.fits(b"index", "ÿ")
    assert "0123" not in repr(key)
