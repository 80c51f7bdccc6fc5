"""Keys: made, trusted, retired, and what a record that none of them signed is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from passprint.cache import CacheWarning
from passprint.cache.trust import PublicKey, TrustedKeys, UntrustedError, new_key, private_key
from passprint.errors import CacheError

from .fleet import digest, machine, make_trusted_key, stored


@pytest.fixture
def url(tmp_path: Path, trusted: Path) -> str:
    pytest.importorskip("fsspec", reason="the extra [remote] is not installed: no fsspec")
    return f"file://{tmp_path}/remote"


def test_a_signature_is_checked(tmp_path: Path, trusted: Path) -> None:
    key = private_key()
    assert key is not None
    signature = key.sign(b"data")
    assert TrustedKeys().check(b"data", key.public.hex, signature).name == "ci"
    for data, public, signed in [
        (b"datb", key.public.hex, signature),
        (b"data", key.public.hex, bytes(64)),
        (b"data", key.public.hex, signature[:-1]),
        (b"data", "0" * 64, signature),
    ]:
        with pytest.raises(UntrustedError):
            TrustedKeys().check(data, public, signed)


def test_a_key_file_is_its_owners(tmp_path: Path, trusted: Path) -> None:
    assert stat.S_IMODE(trusted.stat().st_mode) == 0o600
    with pytest.raises(CacheError, match="Nothing was written"):
        new_key("ci", trusted)
    trusted.chmod(0o640)
    with pytest.raises(CacheError, match="chmod 600"):
        private_key()


def test_the_file_of_trusted_keys_is_not_for_others_to_write(tmp_path: Path, trusted: Path) -> None:
    (tmp_path / "trusted-keys").chmod(0o666)
    with pytest.raises(CacheError, match="chmod go-w"):
        TrustedKeys()


def test_several_keys_are_valid_at_once(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(machine(tmp_path / "a", url), "a")
    monkeypatch.setenv("PASSPRINT_PRIVATE_KEY", str(make_trusted_key(tmp_path, "ci-2027")))
    stored(machine(tmp_path / "b", url), "b")
    other = machine(tmp_path / "c", url)
    assert other.get(digest("a")) is not None
    assert other.get(digest("b")) is not None


@pytest.mark.parametrize("how", ["remove", "retire"])
def test_what_a_key_signed_that_is_not_trusted_any_more_is_a_miss(how: str, url: str, tmp_path: Path) -> None:
    stored(machine(tmp_path / "a", url), "a")
    make_trusted_key(tmp_path, "other")
    getattr(TrustedKeys(), how)("ci")
    other = machine(tmp_path / "b", f"{url}#mode=readonly")
    with pytest.warns(CacheWarning, match="is left out"):
        assert other.get(digest("a")) is None
    reason = other.why_not(digest("a"))
    assert reason is not None
    assert ("the unknown key" if how == "remove" else "the retired key 'ci'") in reason
    assert other.stats().misses == 1
    assert other.stats().tiers[0].refused == 1


def test_without_a_trusted_key_a_remote_is_an_error_that_says_what_to_do(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PASSPRINT_TRUSTED_KEYS", str(tmp_path / "none"))
    with pytest.raises(CacheError, match="passprint trust add"):
        machine(tmp_path / "a", url)


def test_without_a_private_key_a_remote_is_only_read(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stored(machine(tmp_path / "a", url), "a")
    monkeypatch.delenv("PASSPRINT_PRIVATE_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-configuration"))
    other = machine(tmp_path / "b", url)
    assert other.stats().tiers[0].mode == "readonly"
    assert other.get(digest("a")) is not None
    with pytest.raises(CacheError, match="passprint key new"):
        machine(tmp_path / "c", f"{url}#mode=readwrite")


def test_a_private_key_is_not_a_public_one_and_is_not_printed(tmp_path: Path, trusted: Path) -> None:
    secret = trusted.read_text().split()[3]
    with pytest.raises(CacheError, match="is not a public key") as told:
        TrustedKeys().add(str(trusted))
    assert secret[:8] not in str(told.value)
    key = private_key()
    assert secret not in repr(key)


def test_a_name_belongs_to_one_key(tmp_path: Path, trusted: Path) -> None:
    with pytest.raises(CacheError, match="another trusted key 'ci'"):
        TrustedKeys().add(PublicKey("ci", "0" * 64).line())
    with pytest.raises(CacheError, match="There are: ci"):
        TrustedKeys().remove("nobody")
