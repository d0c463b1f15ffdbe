"""Differences that nobody had told us of, kept for an admin to look at. The provider's own state has settled them."""

import hashlib
from datetime import datetime, timedelta

from models import Booking, Drift, LinkedAccount, WebhookSubscription
from models.base import new_id, to_ms
from services.runtime import Runtime

ON_ITS_WAY = timedelta(minutes=2)


def note(booking: Booking, kind: str, detail: str, *, key: str = "") -> None:
    """Once per booking, kind and `key`. The sentence names no person and no link."""
    _insert(booking.provider, kind, detail, f"{booking.id}:{key}", booking=booking.id, linked_account=booking.linked_account_id)


def forked(booking: Booking, before_id: str) -> None:
    """One meeting became two at the provider; once, whichever of them is read first."""
    detail = "It was moved twice at once at the provider; the other one is a booking of its own."
    rows = {"booking": booking.id, "linked_account": booking.linked_account_id}
    _insert(booking.provider, "FORKED", detail, f"{booking.provider}:{before_id}", **rows)


def note_account(account: LinkedAccount, kind: str, detail: str, *, key: str) -> None:
    _insert(account.provider, kind, detail, f"{account.id}:{key}", linked_account=account.id)


def missed(rt: Runtime, booking: Booking, changed_at: datetime) -> None:
    """Found by reading a list, although a webhook should have told it long ago."""
    subscribed = (WebhookSubscription.linked_account == booking.linked_account_id) & (WebhookSubscription.state == "active")
    # what is older than the link, or of its first reading, nobody was to tell us
    reading = (LinkedAccount.id == booking.linked_account_id) & LinkedAccount.last_synced_at.is_null(False)
    awaited = LinkedAccount.select().where(reading & (LinkedAccount.linked_at < changed_at))
    if rt.clock.now() - changed_at > ON_ITS_WAY and awaited.exists() and WebhookSubscription.select().where(subscribed).exists():
        note(booking, "MISSED", "A change was found by reading the provider's list; no webhook had told it.", key=str(to_ms(changed_at)))


def _insert(provider: str, kind: str, detail: str, about: str, **rows: object) -> None:
    logical_key = hashlib.sha256(f"{kind}:{about}".encode()).hexdigest()
    list(
        Drift.insert(id=new_id(), provider=provider, kind=kind, detail=detail, logical_key=logical_key, **rows)
        .on_conflict(conflict_target=[Drift.logical_key], action="nothing")
        .returning(Drift.id)
        .tuples()
        .execute()
    )
