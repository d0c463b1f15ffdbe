"""Names as Zoom makes them."""

import base64
import secrets
import string

from sandbox.zoom.state import ZoomState

_LETTERS = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def account_or_user() -> str:
    return random_text(22)


def meeting(known: ZoomState) -> int:
    """Eleven digits, more than 32 bits hold."""
    while True:
        found = 80_000_000_000 + secrets.randbelow(20_000_000_000)
        if found not in known.meetings:
            return found


def uuid(known: ZoomState) -> str:
    """Base64 of 16 bytes. Of five in a row one begins with a slash, one has a slash inside, one has two side by side."""
    known.uuids_made += 1
    kind = known.uuids_made % 5
    text = base64.b64encode(secrets.token_bytes(16)).decode().replace("/", "z")
    slashes = {1: (0, "/"), 2: (4, "/"), 3: (4, "//")}
    if kind in slashes:
        at, what = slashes[kind]
        text = text[:at] + what + text[at + len(what) :]
    return text


def password() -> str:
    return "".join(secrets.choice(string.digits) for _ in range(6))


def token() -> str:
    """Three parts like a JWT; opaque to clients, and far longer than 255 characters."""
    return f"eyJzdiI6IjAwMDAwMSIsImFsZyI6IkhTNTEyIn0.{secrets.token_urlsafe(330)}.{secrets.token_urlsafe(64)}"
