"""Cal.com's webhooks: which we ask for, how they are signed, and what they are believed to say.

A delivery is a hint: nothing but *which* bookings to read back is taken from it, and that a BOOKING_REQUESTED booking
was pending then. Meetings' start and end, recordings and no-shows are read back or ignored as the table says.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.providers.base import Delivery, Headers
from services.providers.calcom import payloads

# BOOKING_CONFIRMED does not exist: a confirmation arrives as BOOKING_CREATED.
TRIGGERS = (
    "BOOKING_CREATED",
    "BOOKING_REQUESTED",
    "BOOKING_RESCHEDULED",
    "BOOKING_CANCELLED",
    "BOOKING_REJECTED",
    "BOOKING_NO_SHOW_UPDATED",
    "BOOKING_LOCATION_UPDATED",
)
SIGNATURE = "X-Cal-Signature-256"
NO_SECRET = "no-secret-provided"  # noqa: S105 - what Cal.com sends when there is no secret; always refused
LONGEST_UID = 200


def genuine(secrets: Iterable[str], headers: Headers, body: bytes) -> bool:
    """Lower-case hex HMAC-SHA256 over the raw bytes, without a prefix; several secrets while one is replaced."""
    given = headers.get(SIGNATURE, "")
    if not given or given == NO_SECRET:
        return False
    good = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        # no early exit: the time taken must not tell which secret matched
        good |= hmac.compare_digest(expected.encode(), given.strip().encode(errors="replace"))
    return good


def read(payload: Any) -> Delivery:
    """MEETING_* are flat, BOOKING_NO_SHOW_UPDATED says `bookingUid`; a test ping has no uid at all."""
    if not isinstance(payload, dict):
        return Delivery("UNKNOWN")
    kind = str(payload.get("triggerEvent") or "UNKNOWN").replace("\0", "")[:60]
    inner = payload.get("payload")
    facts = inner if isinstance(inner, dict) else payload
    if kind not in TRIGGERS:
        return Delivery(kind)
    uid = _uid(facts.get("uid")) or _uid(facts.get("bookingUid"))
    ids = tuple(i for i in (uid, _uid(facts.get("rescheduleUid"))) if i)
    return Delivery(kind, ids, uid if kind == "BOOKING_REQUESTED" else None, _moment(payload.get("createdAt")))


def _moment(value: Any) -> datetime | None:
    try:
        return payloads.moment(value)
    except (TypeError, ValueError):
        return None


def _uid(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_UID else None
