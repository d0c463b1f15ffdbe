"""Zoom's webhooks: one address and one secret token per app, registered by hand in the Marketplace.

Our own calls are echoed as well; whatever an event says of a meeting is therefore read back and not believed.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from services.errors import BadAnswer
from services.providers.base import Delivery, Headers
from services.providers.zoom import payloads

SIGNATURE, TIMESTAMP = "x-zm-signature", "x-zm-request-timestamp"
VALIDATION = "endpoint.url_validation"
RECORDED = {"recording.completed": True, "recording.transcript_completed": False}
CHANGED = ("meeting.updated", "meeting.deleted")
LONGEST_TOKEN = 200


def genuine(secrets: Iterable[str], headers: Headers, body: bytes) -> bool:
    """`v0=` and HMAC-SHA256 over `v0:<the timestamp header as it is>:<raw bytes>`."""
    given, stamp = headers.get(SIGNATURE, "").strip(), headers.get(TIMESTAMP, "")
    if not given.startswith("v0=") or not stamp:
        return False
    good = False
    for secret in secrets:
        content = b"v0:" + stamp.encode(errors="replace") + b":" + body
        expected = "v0=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
        # no early exit: the time taken must not tell which secret matched
        good |= hmac.compare_digest(expected.encode(), given.encode(errors="replace"))
    return good


def challenge(secrets: Sequence[str], content: Any) -> dict[str, str] | None:
    """Zoom asks at saving and every 72 hours whether this address knows the secret; within three seconds."""
    if not isinstance(content, dict) or content.get("event") != VALIDATION or not secrets:
        return None
    payload = content.get("payload")
    plain = payload.get("plainToken") if isinstance(payload, dict) else None
    if not isinstance(plain, str) or not 0 < len(plain) <= LONGEST_TOKEN:
        return None
    return {"plainToken": plain, "encryptedToken": hmac.new(secrets[0].encode(), plain.encode(), hashlib.sha256).hexdigest()}


def read(content: Any) -> Delivery:
    """A meeting's id is a number here and a text there."""
    if not isinstance(content, dict):
        return Delivery("UNKNOWN")
    kind = str(content.get("event") or "UNKNOWN").replace("\0", "")[:60]
    sent_at, payload = _moment(content.get("event_ts")), content.get("payload")
    payload = payload if isinstance(payload, dict) else {}
    about = payload.get("object")
    about = about if isinstance(about, dict) else {}
    if kind in RECORDED:
        try:
            return Delivery(kind, sent_at=sent_at, recorded=payloads.recorded(about, complete=RECORDED[kind]))
        except BadAnswer:
            return Delivery(kind, sent_at=sent_at)
    if kind in CHANGED and (meeting_id := _id(about.get("id"))):
        return Delivery(kind, sent_at=sent_at, meeting_id=meeting_id)
    if kind == "app_deauthorized" and (user_id := _id(payload.get("user_id"))):
        return Delivery(kind, sent_at=sent_at, withdrawn=user_id)
    return Delivery(kind, sent_at=sent_at)


def _id(value: Any) -> str | None:
    try:
        return payloads.id_of(value)
    except ValueError:
        return None


def _moment(milliseconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
