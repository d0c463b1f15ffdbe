"""Sealing: what goes in comes out, at its own place and with a known key only."""

import base64
import os

import pytest
from harness import Issuer

import settings
from services.vault import Vault, VaultError, new_key, place

HERE = place("linked_account", "01AAAAAAAAAAAAAAAAAAAAAAAA", "access_token")
KEY = new_key("k1")
GOOD = {
    "CONVENE_PUBLIC_URL": "https://convene.example.test",
    "CONVENE_SEALING_KEYS": KEY,
    "CONVENE_IDENTITY_ISSUER": "https://issuer.example.test",
    "CONVENE_IDENTITY_AUDIENCE": Issuer.audience,
    "CONVENE_CALCOM_CLIENT_ID": "id",
    "CONVENE_CALCOM_CLIENT_SECRET": "secret",
    "CONVENE_CALCOM_WEBHOOK_SECRET": "secret",
}


@pytest.mark.parametrize("secret", ["", "a", "eyJhbGciOi.J9.x-_", "Grüße, 世界 🔑", "x" * 100_000, "with\nlines\x00and zero"])
def test_what_is_sealed_opens_again(secret: str) -> None:
    vault = Vault([KEY])
    envelope = vault.seal(secret, HERE)
    assert vault.open(envelope, HERE) == secret
    assert envelope.startswith("v1.k1.")
    assert len(secret) < 3 or secret not in envelope


def test_the_same_secret_never_looks_the_same() -> None:
    vault = Vault([KEY])
    assert len({vault.seal("secret", HERE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        place("linked_account", "01BBBBBBBBBBBBBBBBBBBBBBBB", "access_token"),
        place("linked_account", "01AAAAAAAAAAAAAAAAAAAAAAAA", "refresh_token"),
        place("oauth_state", "01AAAAAAAAAAAAAAAAAAAAAAAA", "access_token"),
        b"",
    ],
)
def test_an_envelope_that_was_moved_does_not_open(elsewhere: bytes) -> None:
    vault = Vault([KEY])
    envelope = vault.seal("secret", HERE)
    with pytest.raises(VaultError, match="altered or belongs elsewhere"):
        vault.open(envelope, elsewhere)


@pytest.mark.parametrize("position", [0, 5, 12, 20, -1])
def test_an_envelope_with_one_bit_changed_does_not_open(position: int) -> None:
    vault = Vault([KEY])
    head, encoded = vault.seal("a longer secret", HERE).rsplit(".", 1)
    raw = bytearray(base64.urlsafe_b64decode(encoded))
    raw[position] ^= 1
    with pytest.raises(VaultError):
        vault.open(f"{head}.{base64.urlsafe_b64encode(raw).decode()}", HERE)


@pytest.mark.parametrize(
    "envelope", ["", "v1", "v1.k1", "v1.k1.", "v1.k1.AAAA", "v1.k1.????", "v1.k1.é", "v1.k1.a.b", "plain text", "v2.k1.AAAA"]
)
def test_what_is_no_envelope_is_refused(envelope: str) -> None:
    with pytest.raises(VaultError):
        Vault([KEY]).open(envelope, HERE)


def test_a_key_of_the_same_name_that_is_another_key_does_not_open() -> None:
    with pytest.raises(VaultError, match="altered or belongs elsewhere"):
        Vault([new_key("k1")]).open(Vault([KEY]).seal("secret", HERE), HERE)


def test_a_key_that_is_not_configured_is_told_as_such() -> None:
    with pytest.raises(VaultError, match="not configured"):
        Vault([new_key("k2")]).open(Vault([KEY]).seal("secret", HERE), HERE)


def test_the_first_key_seals_and_every_key_opens() -> None:
    old = Vault([KEY]).seal("secret", HERE)
    rotated = Vault([new_key("k2"), KEY])
    assert rotated.open(old, HERE) == "secret"
    again = rotated.seal("secret", HERE)
    assert again.startswith("v1.k2.")
    assert rotated.open(again, HERE) == "secret"
    with pytest.raises(VaultError):
        Vault([KEY]).open(again, HERE)


def test_no_refusal_repeats_the_secret_or_the_key() -> None:
    envelope = Vault([KEY]).seal("very secret", HERE)
    with pytest.raises(VaultError) as told:
        Vault([new_key("k1")]).open(envelope, HERE)
    assert "very secret" not in str(told.value)
    assert KEY.partition(":")[2] not in str(told.value)


def encoded(length: int) -> str:
    return base64.b64encode(os.urandom(length)).decode()


MALFORMED = {
    "no name": encoded(32),
    "empty name": f":{encoded(32)}",
    "short": f"k1:{encoded(31)}",
    "long": f"k1:{encoded(33)}",
    "not base64": "k1:***not-base64***",
    "not ASCII": "k1:ключ",
    "no padding": f"k1:{encoded(32).rstrip('=')}",
    "a dot in the name": f"k.1:{encoded(32)}",
    "one name twice": f"{KEY},{new_key('k1')}",
    "one good, one bad": f"{KEY},k2:abc",
    "only commas": ",,",
}


@pytest.mark.parametrize("keys", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_keys_stop_the_start_and_name_their_variable(keys: str) -> None:
    with pytest.raises(settings.SettingsError) as told:
        settings.load(GOOD | {"CONVENE_SEALING_KEYS": keys})
    lines = [line for line in str(told.value).splitlines() if "CONVENE_SEALING_KEYS" in line]
    assert len(lines) == 1
    for part in keys.split(","):
        secret = part.rpartition(":")[2]
        assert len(secret) < 8 or secret not in str(told.value), "a refused key may be a real one with a slip"


@pytest.mark.parametrize("keys", ["", None])
def test_missing_keys_stop_the_start_and_name_their_variable(keys: str | None) -> None:
    given = {name: value for name, value in (GOOD | {"CONVENE_SEALING_KEYS": keys}).items() if value is not None}
    with pytest.raises(settings.SettingsError, match="CONVENE_SEALING_KEYS is missing"):
        settings.load(given)


def test_good_keys_start() -> None:
    loaded, _ = settings.load(GOOD | {"CONVENE_SEALING_KEYS": f" {new_key('k2')} , {KEY} "})
    vault = Vault(loaded.sealing_keys)
    assert vault.open(Vault([KEY]).seal("secret", HERE), HERE) == "secret"
    assert vault.seal("secret", HERE).startswith("v1.k2.")
