"""Sealing of secrets at rest: AES-256-GCM, bound to the place where they are kept.

An envelope is `v1.<key id>.<nonce><ciphertext>` with the last part in URL-safe base64. Table, row and column are the
associated data: an envelope copied into another row does not open.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


def key_id_of(envelope: str) -> str:
    """Which key an envelope asks for; empty when it is none."""
    parts = envelope.split(".")
    return parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 - version, key, content


class VaultError(Exception):
    """A key is malformed, or an envelope cannot be opened: unknown key id, altered, or moved to another place."""


def place(table: str, row_id: str, column: str) -> bytes:
    """Where a secret lives; the associated data of its envelope."""
    return f"{table}/{row_id}/{column}".encode()


def new_key(key_id: str) -> str:
    return f"{key_id}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


class Vault:
    """Seals with the first key and opens with any. Keys are `id:base64` as in CONVENE_SEALING_KEYS."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys: dict[str, AESGCM] = {}
        self._raw: list[bytes] = []
        for entry in keys:
            key_id, _, encoded = entry.partition(":")
            try:
                raw = base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise VaultError(f"the key {key_id!r} is not base64") from error
            if len(raw) != KEY_BYTES or not key_id.isalnum() or key_id in self._keys:
                raise VaultError("each sealing key must look like name:base64 with 32 bytes and a name of its own")
            self._keys[key_id] = AESGCM(raw)
            self._raw.append(raw)
        if not self._keys:
            raise VaultError("at least one sealing key is needed")
        self._active = next(iter(self._keys))

    @property
    def active(self) -> str:
        """The id of the key that seals."""
        return self._active

    @property
    def key_ids(self) -> set[str]:
        return set(self._keys)

    def derived_keys(self, purpose: bytes) -> list[bytes]:
        """Keys for signing, one of each sealing key; the active one's last."""
        return [hmac.digest(raw, purpose, "sha256") for raw in reversed(self._raw)]

    def seal(self, secret: str, where: bytes) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._keys[self._active].encrypt(nonce, secret.encode(), where)
        return f"v1.{self._active}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, envelope: str, where: bytes) -> str:
        try:
            version, key_id, encoded = envelope.split(".")
            raw = base64.urlsafe_b64decode(encoded)
            if version != "v1":
                raise VaultError(f"unknown envelope version {version!r}")
            return self._keys[key_id].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], where).decode()
        except KeyError as error:
            raise VaultError("sealed with a key that is not configured") from error
        except (ValueError, InvalidTag) as error:
            raise VaultError("the envelope was altered or belongs elsewhere") from error
