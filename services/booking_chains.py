"""A meeting as the provider has it: the chain of bookings that it became, and what that chain says happened.

A meeting that is moved becomes a new booking at Cal.com, and a new invitee of a new event at Calendly; the old and the
new name each other. Such a chain is one booking here. Everything that happened is derived from the chain itself, under a
key made of the provider's own ids.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from models import Booking, BookingChange, BookingExternalId, LinkedAccount, Operation
from models.base import new_id
from models.prepared import Prepared
from services import tokens
from services.providers.base import Auth, RemoteBooking
from services.runtime import Runtime

LONGEST_CHAIN = 50


@dataclass
class Change:
    """One thing that happened, before it is known whether it is news."""

    kind: str
    facts: str
    at: datetime
    by_email: str | None = None
    by: str | None = None
    previous_start: datetime | None = None
    previous_end: datetime | None = None
    new_start: datetime | None = None
    reason: str | None = None
    id: str = field(default_factory=new_id)

    @property
    def logical_key(self) -> str:
        return _logical_key(self.kind, self.facts)


def _logical_key(kind: str, facts: str) -> str:
    return hashlib.sha256(f"{kind}:{facts}".encode()).hexdigest()


def booked_key(external_id: str) -> str:
    return _logical_key("BOOKED", external_id)


def move_key(before_id: str, after_id: str) -> str:
    return _logical_key("MOVED", f"{before_id}>{after_id}")


def reader(rt: Runtime, slug: str, account_id: str | None) -> Auth:
    """In whose name a booking is read: the account's; nobody's where the provider asks for none and the link is of no use.

    Raises ConnectionUnusable where a token is needed and there is none.
    """
    account = tokens.connected.first(account_id)
    if account is not None and account.problem_code is None:
        return tokens.auth_of(account)
    if rt.providers[slug].capabilities.anonymous:
        return None
    if account is None or account.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, account or LinkedAccount(provider=slug))
    return tokens.auth_of(account)


def read_chain(rt: Runtime, slug: str, auth: Auth, external_id: str, known: dict[str, RemoteBooking] | None = None) -> list[RemoteBooking]:
    """The booking behind an id as the provider has it now, with what came before and after it, oldest first.

    Going back ends where our tables already know the id; `known` are bookings that were just listed. Empty: no such
    booking there. Raises ProviderError.
    """
    provider, listed = rt.scheduling(slug), known or {}
    replaces = provider.capabilities.replaces

    def get(uid: str, *, fresh: bool = False) -> RemoteBooking | None:
        found = (None if fresh else listed.get(uid)) or provider.booking(auth, uid)
        return joined(found) if found and replaces else found

    here = get(external_id)
    if here is None or (replaces and half_made(here)):
        return []
    chain = [here]
    while (previous_id := chain[0].previous_id) and len(chain) < LONGEST_CHAIN and not _recorded(slug, chain[0].external_id):
        previous = get(previous_id)
        if previous is not None and previous.next_id != chain[0].external_id and previous_id in listed:
            # it was listed before it was moved: ask for it as it is now
            previous = get(previous_id, fresh=True)
        if previous is None:
            break
        if previous.next_id != chain[0].external_id:
            # two reschedules at once fork a booking: only the one it names continues it, the other is one of its own
            chain[0] = replace(chain[0], previous_id=None, forked_from=previous.external_id)
            break
        chain.insert(0, previous)
    while (next_id := chain[-1].next_id) and len(chain) < LONGEST_CHAIN:
        following = get(next_id)
        if following is None:
            break
        chain.append(following)
    return chain


def moved_to(start: datetime) -> str:
    """The reason with which we cancel what a new booking has replaced; it tells our cancellation from anybody else's."""
    return f"Moved to {start:%d %b %Y, %H:%M} UTC."


def linked(old: RemoteBooking, new: RemoteBooking) -> list[RemoteBooking]:
    """The two as one chain, as a provider with a move of its own would tell them."""
    return [replace(old, next_id=new.external_id), replace(new, previous_id=old.external_id)]


def joined(remote: RemoteBooking) -> RemoteBooking:
    """With the links that only we know: a move that was a new booking, and a cancellation of the old one by us."""
    if remote.previous_id is None:
        before = _moved_to.first(remote.external_id)
        if before is not None:
            remote = replace(remote, previous_id=before.from_external_id)
    if remote.next_id is None and remote.status == "CANCELLED":
        after = _moved_from.first(remote.external_id)
        if after is not None and (remote.cancellation_reason or "").startswith(moved_to(after.hold_start)):
            remote = replace(remote, next_id=after.to_external_id)
    return remote


def _moves_of_ours() -> Any:
    halfway = (Operation.phase == "booked") & (Operation.open | (Operation.state == "NEEDS_ATTENTION"))
    return (Operation.kind == "MOVED") & ((Operation.state == "COMPLETED") | halfway)


@Prepared
def _moved_to(external_id: Any) -> Any:
    # what somebody saw to by hand may stand beside the old one for good
    seen_to = (Operation.state == "NEEDS_ATTENTION") & Operation.attended_at.is_null(False)
    return Operation.select().where(_moves_of_ours() & ~seen_to & (Operation.to_external_id == external_id))


@Prepared
def _moved_from(external_id: Any) -> Any:
    return Operation.select().where(
        _moves_of_ours() & (Operation.from_external_id == external_id) & Operation.to_external_id.is_null(False)
    )


def half_made(remote: RemoteBooking) -> bool:
    """Whether it is the new half of a move that is under way, or that was undone: none of anybody else's business."""
    if remote.mark is None:
        return False
    operation = Operation.get_or_none((Operation.id == remote.mark) & (Operation.kind == "MOVED"))
    if operation is None or operation.hold_start != remote.start:
        return False
    if operation.open or (operation.state == "NEEDS_ATTENTION" and operation.attended_at is None):
        return operation.to_external_id in {None, remote.external_id} and not _gave_way(operation)
    # one that came to stand all the same is known here, and its end is news
    slug = Booking.get_by_id(operation.booking_id).provider
    return operation.state in {"UNDONE", "REFUSED"} and remote.status == "CANCELLED" and not _recorded(slug, remote.external_id)


def _gave_way(operation: Operation) -> bool:
    """The old booking is gone by our doing, as far as we have recorded it."""
    key = move_key(str(operation.from_external_id), str(operation.to_external_id))
    return BookingChange.select().where(BookingChange.logical_key == key).exists()


def _recorded(slug: str, external_id: str) -> bool:
    row = BookingExternalId.select().where((BookingExternalId.provider == slug) & (BookingExternalId.external_id == external_id))
    return bool(row.exists())


def changes_of(booking: Booking | None, chain: list[RemoteBooking], requested: set[str]) -> list[Change]:
    """Everything that the chain says happened, oldest first; what is recorded already falls out at the insert."""
    found: list[Change] = []
    head, tail = chain[0], chain[-1]
    if booking is None or head.previous_id is None:
        found.append(Change("BOOKED", head.external_id, head.created_at, new_start=head.start, by_email=_booker(head)))
    elif head.previous_id == booking.external_id:
        found.append(_move(head.previous_id, booking.start, booking.end, head))
    for before, after in pairwise(chain):
        who = {"by_email": before.changed_by_email, "by": before.changed_by, "reason": before.cancellation_reason}
        found.append(_move(before.external_id, before.start, before.end, after, **who))
    was_pending = booking is not None and booking.status == "PENDING" and booking.external_id == tail.external_id
    if tail.status == "CONFIRMED" and tail.next_id is None and (was_pending or tail.external_id in requested):
        found.append(Change("CONFIRMED", tail.external_id, tail.updated_at))
    absent = (person for person in tail.people if person.no_show and person.role == "MENTEE")
    found += [Change("NO_SHOW", f"{tail.external_id}:{person.email or person.name}", tail.updated_at) for person in absent]
    if tail.status in {"CANCELLED", "DECLINED"} and tail.next_id is None:
        found.append(
            Change(
                tail.status,
                tail.external_id,
                tail.updated_at,
                by_email=tail.changed_by_email,
                by=tail.changed_by,
                previous_start=tail.start,
                previous_end=tail.end,
                reason=tail.cancellation_reason,
            )
        )
    return found


def _move(
    before_id: str,
    start: datetime,
    end: datetime,
    after: RemoteBooking,
    *,
    by_email: str | None = None,
    by: str | None = None,
    reason: str | None = None,
) -> Change:
    return Change(
        "MOVED",
        f"{before_id}>{after.external_id}",
        after.created_at,
        by_email=by_email,
        by=by,
        previous_start=start,
        previous_end=end,
        new_start=after.start,
        reason=after.reschedule_reason or reason,
    )


def _booker(remote: RemoteBooking) -> str | None:
    return next((person.email for person in remote.people if person.role == "MENTEE"), None)
