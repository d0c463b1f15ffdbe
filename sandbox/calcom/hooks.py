"""From an effect to the deliveries it causes: exactly one event, to every matching subscription on its own."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import timedelta

from sandbox import times
from sandbox.calcom import payloads
from sandbox.calcom.booking_changes import Setting
from sandbox.calcom.state import Booking, Json, Webhook
from sandbox.deliveries import Outgoing

NO_SECRET = "no-secret-provided"


def created(setting: Setting, booking: Booking) -> list[Outgoing]:
    event = "BOOKING_REQUESTED" if booking.status == "pending" else "BOOKING_CREATED"
    return emit(setting, booking, event, lambda: payloads.fresh(setting.known, booking))


def rescheduled(setting: Setting, old: Booking, new: Booking) -> list[Outgoing]:
    """Neither a CANCELLED for the old one nor a CREATED for the new one."""
    event = "BOOKING_REQUESTED" if new.status == "pending" else "BOOKING_RESCHEDULED"
    return emit(setting, new, event, lambda: payloads.moved(setting.known, old, new))


def cancelled(setting: Setting, booking: Booking, *, requested: bool = False) -> list[Outgoing]:
    return emit(setting, booking, "BOOKING_CANCELLED", lambda: payloads.cancelled(setting.known, booking, requested=requested))


def confirmed(setting: Setting, booking: Booking) -> list[Outgoing]:
    """There is no BOOKING_CONFIRMED: a confirmation is BOOKING_CREATED, even of a rescheduled booking."""
    return emit(setting, booking, "BOOKING_CREATED", lambda: payloads.decided(setting.known, booking))


def declined(setting: Setting, booking: Booking) -> list[Outgoing]:
    return emit(setting, booking, "BOOKING_REJECTED", lambda: payloads.decided(setting.known, booking))


def absent(setting: Setting, booking: Booking, given: Json) -> list[Outgoing]:
    """The host's absence alone is told to nobody."""
    changed = given.get("attendees") or []
    return emit(setting, booking, "BOOKING_NO_SHOW_UPDATED", lambda: payloads.absence(booking, changed)) if changed else []


def emit(setting: Setting, booking: Booking, event: str, build: Callable[[], Json]) -> list[Outgoing]:
    """The same event to each subscription, milliseconds apart: different bodies, hence different signatures."""
    hooks = [hook for hook in setting.known.webhooks.values() if hook.active and event in hook.triggers and _hears(setting, hook, booking)]
    if not hooks or booking.event_type_id not in setting.known.event_types:
        return []  # without its event type there is nothing left to describe a booking with
    payload = build()
    return [
        outgoing(hook, event, payload | _calendar_files(hook, booking), times.millis(setting.now + timedelta(milliseconds=number)))
        for number, hook in enumerate(hooks, start=1)
    ]


def _calendar_files(hook: Webhook, booking: Booking) -> Json:
    """Version 2026-07-27 adds the calendar files that the mails carry."""
    if hook.version != "2026-07-27":
        return {}
    return dict.fromkeys(("attendeeIcsContent", "organizerIcsContent"), payloads.calendar_file(booking))


def _hears(setting: Setting, hook: Webhook, booking: Booking) -> bool:
    if hook.event_type_id is not None:
        return hook.event_type_id == booking.event_type_id
    if hook.client_id is not None:
        return setting.known.users[booking.owner_id].managed_by == hook.client_id
    return hook.user_id == booking.owner_id


def outgoing(hook: Webhook, event: str, payload: Json, created_at: str) -> Outgoing:
    """Signed over the raw bytes; without a secret the header says so literally. MEETING_* are flat."""
    flat = event in {"MEETING_STARTED", "MEETING_ENDED"}
    content: Json = {"triggerEvent": event} | (payload if flat else {"createdAt": created_at, "payload": payload})
    text, kind = json.dumps(content, ensure_ascii=False, separators=(",", ":")), "application/json"
    if hook.payload_template:
        text, kind = _from_template(hook.payload_template, content)
    body = text.encode()
    headers = {
        "Content-Type": kind,
        "User-Agent": "node",
        "X-Cal-Signature-256": sign(hook.secret, body),
        "X-Cal-Webhook-Version": hook.version,
    }
    variants = {
        "unsigned": {"X-Cal-Signature-256": NO_SECRET},
        "wrong-signature": {"X-Cal-Signature-256": sign("not the secret", body)},
    }
    return Outgoing(hook.id, event, hook.url, body, headers, variants)


def sign(secret: str | None, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() if secret else NO_SECRET


def _from_template(template: str, content: Json) -> tuple[str, str]:
    """`{{title}}` or `{{organizer.name}}`; the template is the whole body, and without JSON in it the type is a form's."""

    def value(match: re.Match[str]) -> str:
        found: object = content.get("payload", content) | {"triggerEvent": content["triggerEvent"]}
        for part in match[1].strip().split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return "" if found is None else str(found)

    text = re.sub(r"\{\{([^{}]+)\}\}", value, template)
    try:
        json.loads(text)
    except ValueError:
        return text, "application/x-www-form-urlencoded"
    return text, "application/json"
