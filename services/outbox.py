"""The outbox: messages are written into it in the transaction of their notification, and sent from it by services/deliveries.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from models import Booking, Delivery
from models.base import new_id
from services import invitations
from services.recipients import EMAIL, Recipient
from services.runtime import Runtime
from services.vault import place


@dataclass(frozen=True)
class Message:
    """What is to be mailed: one notification to one person. `invites`: it changes what stands in their calendar."""

    notification_id: str
    to: Recipient
    booking: Booking | None
    invites: bool


def takes(rt: Runtime, to: Recipient) -> bool:
    """Whether this person is told by e-mail at all."""
    return bool(rt.settings.smtp_url) and EMAIL in to.channels and to.address is not None


def queue(rt: Runtime, messages: Sequence[Message]) -> None:
    """Write the messages down in one statement. Call it in the transaction that made their notifications."""
    rows = [_row(rt, message) for message in messages if takes(rt, message.to)]
    if rows:
        Delivery.insert_many(rows).execute()


def seal_calendar(rt: Runtime, delivery_id: str, text: str | None) -> str | None:
    return None if text is None else rt.vault.seal(text, place("delivery", delivery_id, "calendar"))


def calendar_of(rt: Runtime, delivery: Delivery) -> str | None:
    """The iCalendar part of a delivery, where it has one."""
    return None if delivery.calendar is None else rt.vault.open(delivery.calendar, place("delivery", delivery.id, "calendar"))


def host(rt: Runtime) -> str:
    """The name under which messages and calendar entries are this installation's."""
    return urlsplit(rt.settings.public_url).hostname or "localhost"


def _row(rt: Runtime, message: Message) -> dict[str, object]:
    row_id, now = new_id(), rt.clock.now()
    calendar = invitations.write(rt, message.booking, message.to, host(rt)) if message.invites and message.booking is not None else None
    return {
        "id": row_id,
        "notification": message.notification_id,
        "channel": EMAIL,
        "address": message.to.address,
        "message_id": f"<{row_id}@{host(rt)}>",
        "calendar": seal_calendar(rt, row_id, calendar),
        "due_at": now,
        "created_at": now,
        "updated_at": now,
    }
