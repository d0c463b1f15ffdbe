"""Bookings by reading the provider's lists: on linking, on demand, and regularly, because webhooks get lost.

Cal.com never repeats a delivery. The incremental run asks for what was updated since the last one; the reconciling run
lists the whole window and asks for each open booking that the list no longer has.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models import Booking, BookingExternalId, LinkedAccount
from services import booking_chains, booking_records, linked_accounts
from services.errors import BadAnswer, ConveneError, ProviderError, ProviderFailure
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import AccountAuth, RemoteBooking
from services.runtime import Runtime

log = get_logger("sync")

PAST = timedelta(days=90)
OVERLAP = timedelta(minutes=10)
"""Read again from a little before the last run: two clocks are involved, and re-reading is harmless."""


@dataclass(frozen=True)
class SyncResult:
    """synced: bookings read; added: new here; changed: different from what we had."""

    synced: int
    added: int
    changed: int


def sync_mine(rt: Runtime, viewer: Viewer, slug: str) -> SyncResult:
    """Read everything of the viewer's account now. Raises NotConnected, ConnectionUnusable, ProviderFailure."""
    account = linked_accounts.find(viewer, slug)
    try:
        return sync(rt, account.id, full=True)
    except ProviderError as error:
        raise linked_accounts.failure(rt, slug, error) from error


def sync(rt: Runtime, account_id: str, *, full: bool) -> SyncResult:
    """One run; `full` lists the whole window. Keeps its time and its error on the account. Raises what the provider does."""
    account = LinkedAccount.get_by_id(account_id)
    started = rt.clock.now()
    since = None if full or account.last_synced_at is None else account.last_synced_at - OVERLAP
    try:
        result = _run(rt, account, started, since)
    except ConveneError as error:
        _remember(account, last_sync_error=error.code)
        raise
    _remember(account, last_synced_at=started, last_sync_error=None)
    return result


def _remember(account: LinkedAccount, **values: object) -> None:
    same = (LinkedAccount.id == account.id) & (LinkedAccount.external_id == account.external_id)
    LinkedAccount.update(**values).where(same).execute()


def _run(rt: Runtime, account: LinkedAccount, now: datetime, since: datetime | None) -> SyncResult:
    provider, auth, slug = rt.providers[account.provider], AccountAuth(account.id), account.provider
    listed = {}
    for remote in provider.bookings(auth, updated_since=since, starts_after=now - PAST if since is None else None):
        _go_on(rt, now)
        listed[remote.external_id] = remote
    # what the list tells by itself is one chain each: start from those that nothing in the list continues
    tails = [remote for remote in listed.values() if remote.next_id not in listed]
    added = changed = 0
    known = _known(slug, list(listed))
    for tail in tails:
        _go_on(rt, now)
        if known.get(tail.external_id) == (tail.external_id, tail.updated_at, tail.status, tail.start):
            continue
        try:
            result = _apply(rt, account, slug, tail.external_id, listed)
        except BadAnswer:
            log.warning("a booking cannot be read", account=account.id, provider=slug)
            continue
        added += result.added
        changed += result.changed and not result.added
    if since is None:
        changed += _missing(rt, account, listed, now)
    return SyncResult(len(tails), added, changed)


def _go_on(rt: Runtime, now: datetime) -> None:
    """A job that is interrupted is not remembered as done: whoever runs next starts over."""
    if rt.interrupted:
        raise ProviderFailure("This server is stopping. Try again in a moment.", code="STOPPING", retry_at=now)


def _known(slug: str, ids: list[str]) -> dict[str, tuple[str, datetime, str, datetime]]:
    """By any of its ids: the booking's present id, the provider's time of its last change, its status and start."""
    found: dict[str, tuple[str, datetime, str, datetime]] = {}
    for first in range(0, len(ids), 500):
        rows = (
            BookingExternalId.select(BookingExternalId.external_id, Booking)
            .join(Booking)
            .where((BookingExternalId.provider == slug) & BookingExternalId.external_id.in_(ids[first : first + 500]))
        )
        for row in rows:
            b = row.booking
            found[row.external_id] = (b.external_id, b.remote_updated_at, b.status, b.start)
    return found


def _apply(rt: Runtime, account: LinkedAccount, slug: str, external_id: str, listed: dict[str, RemoteBooking]) -> booking_records.Recorded:
    chain = booking_chains.read_chain(rt, slug, AccountAuth(account.id), external_id, listed)
    return booking_records.record(rt, account.id, slug, chain, source="RECONCILER")


def _missing(rt: Runtime, account: LinkedAccount, listed: dict[str, RemoteBooking], now: datetime) -> int:
    """Open bookings to come that the whole list no longer has: read each one."""
    rows = Booking.select().where(
        (Booking.linked_account == account.id)
        & Booking.status.in_(["PENDING", "CONFIRMED"])
        & (Booking.start > now)
        & Booking.external_id.not_in(list(listed))
    )
    changed = 0
    for row in list(rows):
        chain = booking_chains.read_chain(rt, row.provider, AccountAuth(account.id), row.external_id)
        if chain:
            changed += booking_records.record(rt, account.id, row.provider, chain, source="RECONCILER").changed
        else:
            log.warning("booking no longer at the provider", booking=row.id, provider=row.provider)
    return changed
