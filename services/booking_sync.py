"""Bookings by reading the provider's lists: on linking, on demand, and regularly, because webhooks get lost.

Cal.com never repeats a delivery, and Calendly switches a subscription off for good. The incremental run asks for what was
updated since the last one; the reconciling run lists the whole window and asks for each open booking that the list no
longer has.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models import Booking, BookingExternalId, LinkedAccount
from services import booking_chains, booking_records, drift, linked_accounts, tokens
from services.errors import BadAnswer, ConveneError, ProviderError, ProviderFailure, Refused
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import Occasion, RemoteBooking
from services.runtime import Runtime

log = get_logger("sync")

PAST = timedelta(days=90)
NEAR = timedelta(days=2)
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
    if not rt.providers[slug].capabilities.scheduling:
        raise linked_accounts.not_scheduling(rt, slug)
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
    slug, seen = account.provider, _Seen(rt, account.provider, now)
    listed, interrupted = _listed(rt, account, now, since, seen)
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
    if interrupted is not None:
        raise interrupted
    if since is None:
        changed += _missing(rt, account, {*listed, *seen.unchanged_ids}, now)
    return SyncResult(len(tails) + len(seen.unchanged_ids), added, changed)


def _listed(
    rt: Runtime, account: LinkedAccount, now: datetime, since: datetime | None, seen: "_Seen"
) -> tuple[dict[str, RemoteBooking], ProviderError | None]:
    """What the provider lists, and the error that ended it early.

    What was read before that is kept: a long list at a provider with a small limit comes to its end over several runs, and a
    part that cannot be read keeps no other away.
    """
    listed: dict[str, RemoteBooking] = {}
    remotes = rt.scheduling(account.provider).bookings(
        tokens.auth_of(account), updated_since=since, starts_after=now - PAST, unchanged=seen.unchanged
    )
    try:
        for remote in remotes:
            _go_on(rt, now)
            listed[remote.external_id] = remote
    except ProviderError as error:
        return listed, error
    return listed, None


class _Seen:
    """Which events are here as the provider has them, place by place, so that their places need not be read again."""

    def __init__(self, rt: Runtime, slug: str, now: datetime) -> None:
        self._rt, self._slug, self._now = rt, slug, now
        self.unchanged_ids: set[str] = set()

    def unchanged(self, occasion: Occasion) -> bool:
        """Not near its time: who did not come is marked then, and perhaps not told by the event's own time of change."""
        _go_on(self._rt, self._now)
        if self._now - NEAR < occasion.start < self._now:
            return False
        rows = list(
            BookingExternalId.select(
                BookingExternalId.external_id,
                Booking.external_id,
                Booking.status,
                Booking.remote_updated_at,
                Booking.has_conference & Booking.meeting_url.is_null(),
            )
            .join(Booking)
            .where((BookingExternalId.provider == self._slug) & (BookingExternalId.occasion_id == occasion.id))
            .tuples()
        )
        # a place that somebody moved away from is over for good
        present = [(status, at) for place, here, status, at, _ in rows if place == here]
        taken = sum(status == "CONFIRMED" for status, _ in present)
        waits = any(lacks_link and status == "CONFIRMED" for _, _, status, _, lacks_link in rows)
        as_told = (len(rows), taken) == (occasion.places, occasion.taken) and all(at >= occasion.updated_at for _, at in present)
        same = as_told and not (waits and occasion.start > self._now)
        if same:
            self.unchanged_ids.update(place for place, *_ in rows)
        return same


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
    chain = booking_chains.read_chain(rt, slug, tokens.auth_of(account), external_id, listed)
    if not chain:
        return booking_records.Recorded("", added=False, changed=False)
    return booking_records.record(rt, account.id, slug, chain, source="RECONCILER")


def _missing(rt: Runtime, account: LinkedAccount, listed: set[str], now: datetime) -> int:
    """Open bookings to come that the whole list no longer has: read each one."""
    rows = Booking.select().where(
        (Booking.linked_account == account.id)
        & Booking.status.in_(["PENDING", "CONFIRMED"])
        & (Booking.start > now)
        & Booking.external_id.not_in(list(listed))
    )
    changed = 0
    for row in list(rows):
        try:
            chain = booking_chains.read_chain(rt, row.provider, tokens.auth_of(account), row.external_id)
        except Refused:
            log.warning("a booking may not be read any more", booking=row.id, provider=row.provider)
            continue
        if chain:
            changed += booking_records.record(rt, account.id, row.provider, chain, source="RECONCILER").changed
        else:
            log.warning("booking no longer at the provider", booking=row.id, provider=row.provider)
            drift.note(row, "GONE", "The provider no longer knows this booking.")
    return changed


def read_again(rt: Runtime, booking_id: str) -> timedelta | None:
    """The job: look once more at a booking of which the provider was still preparing a part. Raises what the provider does."""
    booking = Booking.get_or_none(Booking.id == booking_id)
    if booking is not None:
        auth = booking_chains.reader(rt, booking.provider, booking.linked_account_id)
        chain = booking_chains.read_chain(rt, booking.provider, auth, booking.external_id)
        if chain:
            # recording it arranges the next look, if there is to be one
            booking_records.record(rt, booking.linked_account_id, booking.provider, chain, source="PROVIDER")
    return None
