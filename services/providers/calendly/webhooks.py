"""Calendly's webhooks: which we ask for, how they are signed, and what they are believed to say.

There is no event for a reschedule (it is a canceled and a created, in either order), none for a changed event or a
conference that got its link, and none for availability or user changes: those are polled.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.errors import BadAnswer
from services.providers.base import Delivery, Headers, RemoteBooking
from services.providers.calendly import payloads

INVITEES = ("invitee.created", "invitee.canceled", "invitee_no_show.created", "invitee_no_show.deleted")
EVENT_TYPES = ("event_type.created", "event_type.updated", "event_type.deleted")
SIGNATURE = "Calendly-Webhook-Signature"


def genuine(keys: Iterable[str], headers: Headers, body: bytes) -> bool:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 over `t.` and the raw bytes. Several v1 may stand there; other names do not count.

    `t` is no reason to refuse: whether a retry carries a new one is nowhere said. A repeat is harmless, and a delivery
    that is older than the keys of deliveries are kept is refused by its own time (services/webhooks.py).
    """
    parts = [part.strip().partition("=") for part in headers.get(SIGNATURE, "").split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not given:
        return False
    good = False
    for key in keys:
        expected = hmac.new(key.encode(), stamps[0].encode(errors="replace") + b"." + body, hashlib.sha256).hexdigest()
        for one in given:
            # no early exit: the time taken must not tell which key matched
            good |= hmac.compare_digest(expected.encode(), one.encode(errors="replace"))
    return good


def read(content: Any) -> Delivery:
    """The payload is the invitee with its event in it, so it can stand for the booking where that cannot be read back."""
    if not isinstance(content, dict):
        return Delivery("UNKNOWN")
    kind = str(content.get("event") or "UNKNOWN").replace("\0", "")[:60]
    sent_at = _moment(content.get("created_at"))
    if kind in EVENT_TYPES:
        return Delivery(kind, sent_at=sent_at, event_types=True)
    if kind not in INVITEES:
        return Delivery(kind, sent_at=sent_at)
    payload = content.get("payload")
    if kind == "invitee_no_show.deleted" and isinstance(payload, dict):
        payload = {**payload, "no_show": None}  # it still carries the mark that was taken back
    told = _told(payload)
    return Delivery(kind, (told.external_id,) if told else (), sent_at=sent_at, told=told)


def _told(payload: Any) -> RemoteBooking | None:
    try:
        return payloads.booking(payload["scheduled_event"], payload)
    except (BadAnswer, KeyError, TypeError):
        return None


def _moment(value: Any) -> datetime | None:
    try:
        return payloads.moment(value)
    except (TypeError, ValueError, OverflowError):
        return None
