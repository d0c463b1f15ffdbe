"""What the provider tells of a booking, into our tables; the same result in any order and any number of times.

A meeting that is moved becomes a new booking at its provider, linked to the old one both ways. Such a chain is one
booking here. Everything that happened is derived from the chain itself and recorded under a key made of the provider's own ids,
so webhook, reconciler and our own write record (and notify) each change once between them.

Every writer of bookings takes its locks in this order: persons by id, then the booking.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from models import (
    Booking,
    BookingChange,
    BookingExternalId,
    EventType,
    Hold,
    LinkedAccount,
    Notification,
    Operation,
    Participant,
    Person,
    User,
    WebhookEvent,
)
from models.base import for_update, new_id, present, transactional
from models.prepared import Prepared, among
from services import availability_cache, booking_audit, claims, drift, erased, live, meetings, notifications, people
from services.booking_chains import Change, booked_key, changes_of, joined, move_key
from services.logging import get_logger
from services.providers.base import RemoteBooking, RemotePerson
from services.runtime import Runtime
from services.vault import place

log = get_logger("bookings")


@dataclass(frozen=True)
class Recorded:
    """What recording came to. `changes` are those that were news."""

    booking_id: str
    added: bool
    changed: bool
    changes: tuple[str, ...] = ()


# ---- recording -------------------------------------------------------------------------------------------------------------


class _ErasedMeanwhileError(Exception):
    """Somebody was erased between our look and our locks: what was begun must not be kept."""


def record(
    rt: Runtime,
    account_id: str | None,
    slug: str,
    chain: list[RemoteBooking],
    *,
    source: str,
    requested: Iterable[str] = (),
    joins: bool = True,
) -> Recorded:
    """Bring our booking in step with the chain, write history, notify. One transaction, locks as above.

    `requested`: ids that a signed webhook said were pending, so that a confirmation is seen though we never read it so.
    `joins`: what an open operation meant counts as its doing. `account_id`: whose token read it; changes older than that
    link are history and notify nobody. What is told of people who were erased is not taken in (services/erased.py).
    """
    while True:
        with suppress(_ErasedMeanwhileError):
            return _record(rt, account_id, slug, chain, source, set(requested), joins)


@transactional
def _record(
    rt: Runtime, account_id: str | None, slug: str, chain: list[RemoteBooking], source: str, requested: set[str], joins: bool
) -> Recorded:
    if rt.providers[slug].capabilities.replaces:
        chain = [joined(chain[0]), *chain[1:]]
    veil = erased.veil(rt, slug, chain)
    told, chain = chain, veil.over(chain)
    tail = chain[-1]
    # in one order for everybody: two transactions that make the same new people must not wait for each other
    in_order = sorted(tail.people, key=lambda p: (p.email or "", p.external_id or "", p.name))
    made = {person: veil.person_of(person) or _person(slug, person) for person in in_order}
    person_ids = [made[person] for person in tail.people]
    booking = _lock_booking(slug, chain, person_ids)
    if erased.veil(rt, slug, told) != veil:
        raise _ErasedMeanwhileError
    changes = veil.told(changes_of(booking, told, requested))
    added = current = booking is None
    if booking is None:
        booking = _create(rt, slug, chain)
        changed = True
    else:
        current, changed = _update(rt, booking, slug, chain)
    if current:
        changed |= _participants(booking, tail, person_ids)
    _adopt_account(booking, account_id)
    made_by = _made_by(booking, chain)
    meant_by = Operation.get_or_none((Operation.booking == booking.id) & Operation.open) if joins else None
    news = [change for change in changes if _insert(rt, booking, change, source, made_by if change.kind == "BOOKED" else meant_by)]
    fresh = [change for change in news if _is_news(account_id, change, source)]
    booking_audit.note(rt, booking, [change.id for change in fresh], otherwise=changed and not news and not added)
    if (news or changed) and not added:
        Booking.update(version=Booking.version + 1).where(Booking.id == booking.id).execute()
    if current and (changed or news or tail.incomplete):
        meetings.follow(rt, booking.id, tail)
    if changed or news:
        _forget_availability(rt, booking)
        _tell_browsers(rt, booking.id)
    _note_drift(rt, booking, chain, added=added, missed=changed and source == "RECONCILER")
    for change in fresh:
        if change.kind in notifications.TOLD:
            notifications.about_change(rt, booking.id, change.id)
    return Recorded(booking.id, added, bool(changed or news), tuple(change.kind for change in news))


def _note_drift(rt: Runtime, booking: Booking, chain: list[RemoteBooking], *, added: bool, missed: bool) -> None:
    if missed:
        drift.missed(rt, Booking.get_by_id(booking.id), chain[-1].updated_at)
    if chain[0].forked_from:
        drift.forked(booking, chain[0].forked_from)
    if added and _given_up(chain[-1]):
        drift.note(booking, "ORPHAN", "It was made by a change that had been given up, and stands beside the booking that was to be moved.")


def _tell_browsers(rt: Runtime, booking_id: str) -> None:
    present = Participant.select(Participant.person).where(Participant.booking == booking_id).tuples()
    live.tell(rt, [row[0] for row in present], "Booking", booking_id, Booking.get_by_id(booking_id).version)


def _person(slug: str, person: RemotePerson) -> str:
    identities = []
    if person.external_id:
        identities.append((slug, person.external_id))
    if person.email:
        identities.append(people.email_identity(person.email))
    if not identities:
        return str(Person.create(name=person.name, time_zone=person.time_zone).id)
    return people.find_or_create(identities, person.name, person.time_zone)


def _lock_booking(slug: str, chain: list[RemoteBooking], person_ids: list[str]) -> Booking | None:
    """Lock everybody who takes or took part, then the booking; None when it is new."""
    ids = [remote.external_id for remote in chain]
    if chain[0].previous_id:
        ids.append(chain[0].previous_id)
    former = [row[0] for row in _former_people(slug, ids)]
    people.lock([*person_ids, *former])
    # looked for again after the wait: whoever held the locks may just have recorded it
    rows = list(_known(slug, ids))
    links = {remote.external_id for remote in chain}
    ours = [row for row in rows if _ids_of(row) & links]
    if not ours:
        # the other branch of a fork: its predecessor is ours but continues elsewhere
        return next((row for row in rows if row.external_id == chain[0].previous_id), None)
    oldest, *others = ours
    for other in others:
        _absorb(oldest, other)
    return oldest


def _by_external_ids(slug: Any, ids: Any) -> Any:
    return BookingExternalId.select(BookingExternalId.booking).where(
        (BookingExternalId.provider == slug) & among(BookingExternalId.external_id, ids)
    )


@Prepared
def _former_people(slug: Any, ids: Any) -> Any:
    return Participant.select(Participant.person).where(Participant.booking.in_(_by_external_ids(slug, ids))).tuples()


@Prepared
def _known(slug: Any, ids: Any) -> Any:
    return for_update(Booking.select().where(Booking.id.in_(_by_external_ids(slug, ids))).order_by(Booking.id))


def _ids_of(booking: Booking) -> set[str]:
    return {row[0] for row in _external_ids(booking.id)}


@Prepared
def _external_ids(booking_id: Any) -> Any:
    return BookingExternalId.select(BookingExternalId.external_id).where(BookingExternalId.booking == booking_id).tuples()


def _absorb(booking: Booking, other: Booking) -> None:
    """Two rows turned out to be one chain: everything of the later one is the older one's, whose id people know."""
    log.warning("two bookings are one at the provider", booking=booking.id, other=other.id)
    # one operation may be open per booking; a second one can be neither completed nor undone
    busy = Operation.select().where((Operation.booking == booking.id) & Operation.open).exists()
    if busy:
        settled = {"state": "NEEDS_ATTENTION", "open": False, "due_at": None, "settled_at": present(), "outcome": {"type": "attention"}}
        Hold.delete().where(
            Hold.operation.in_(Operation.select(Operation.id).where((Operation.booking == other.id) & Operation.open))
        ).execute()
        Operation.update(**settled).where((Operation.booking == other.id) & Operation.open).execute()
    for model in (Operation, BookingChange, BookingExternalId, Notification, WebhookEvent):
        model.update(booking=booking.id).where(model.booking == other.id).execute()
    Booking.delete().where(Booking.id == other.id).execute()


def _create(rt: Runtime, slug: str, chain: list[RemoteBooking]) -> Booking:
    booking_id = new_id()
    tail = chain[-1]
    Booking.insert(
        id=booking_id,
        provider=slug,
        external_id=tail.external_id,
        created_at=chain[0].created_at,
        **_fields(rt, booking_id, slug, tail),
    ).execute()
    _remember_ids(booking_id, slug, chain)
    return Booking.get_by_id(booking_id)


def _update(rt: Runtime, booking: Booking, slug: str, chain: list[RemoteBooking]) -> tuple[bool, bool]:
    """(is the answer current, would a person see a difference). One that is older than what we have changes nothing."""
    tail = chain[-1]
    ids = {remote.external_id for remote in chain}
    successor = booking.external_id in ids or booking.external_id == chain[0].previous_id
    if not successor and (before_id := _left_for_another(booking, chain)):
        _let_go(rt, booking, before_id)
        successor = True
    # one that goes on elsewhere ends only where it goes on: what cannot be read yet tells it when it comes
    goes_on = tail.next_id is not None
    older = booking.external_id == tail.external_id and tail.updated_at < booking.remote_updated_at
    if not successor or goes_on or older:
        _remember_ids(booking.id, slug, chain)
        return False, False
    values = _fields(rt, booking.id, slug, tail)
    visible = ("title", "status", "start", "end", "location", "meeting_url", "is_group", "has_conference")
    changed = tail.external_id != booking.external_id or any(values[name] != getattr(booking, name) for name in visible)
    Booking.update(external_id=tail.external_id, **values).where(Booking.id == booking.id).execute()
    _remember_ids(booking.id, slug, chain)
    return True, changed


def _left_for_another(booking: Booking, chain: list[RemoteBooking]) -> str | None:
    """The id at which the provider goes on as another booking than the branch of a fork that we followed."""
    for before, _ in pairwise(chain):
        if BookingChange.select().where(BookingChange.logical_key == move_key(before.external_id, booking.external_id)).exists():
            return before.external_id
    return None


def _let_go(rt: Runtime, booking: Booking, before_id: str) -> None:
    """The branch we followed becomes a booking of its own at the next reading of the list, which is due now."""
    BookingExternalId.delete().where(
        (BookingExternalId.provider == booking.provider) & (BookingExternalId.external_id == booking.external_id)
    ).execute()
    log.warning("a booking was forked at the provider", booking=booking.id, provider=booking.provider)
    drift.forked(booking, before_id)
    if booking.linked_account_id:
        claims.schedule("reconcile", booking.linked_account_id, rt.clock.now())


def _fields(rt: Runtime, booking_id: str, slug: str, remote: RemoteBooking) -> dict[str, Any]:
    event_type = None
    if remote.event_type_id is not None:
        event_type = _event_type.first(slug, remote.event_type_id)
    return {
        "event_type": event_type.id if event_type else None,
        "event_type_external_id": remote.event_type_id,
        "title": remote.title,
        "status": remote.status,
        "start": remote.start,
        "end": remote.end,
        "is_group": remote.is_group,
        "location": remote.location,
        "meeting_url": remote.meeting_url,
        "answers": seal(rt, "booking", booking_id, "answers", _answers(event_type, remote)),
        "cancellation_reason": seal(rt, "booking", booking_id, "cancellation_reason", remote.cancellation_reason),
        "remote_updated_at": remote.updated_at,
        "occasion_id": remote.occasion_id,
        "has_conference": remote.conference is not None,
        "movable": remote.movable,
    }


@Prepared
def _event_type(slug: Any, external_id: Any) -> Any:
    return EventType.select().where((EventType.provider == slug) & (EventType.external_id == external_id))


def _answers(event_type: EventType | None, remote: RemoteBooking) -> str | None:
    """With the questions as the event type words them: some providers tell their keys."""
    texts = {key: text for key, text, *_ in event_type.questions} if event_type else {}
    return (
        orjson.dumps([[texts.get(question, question), answer] for question, answer in remote.answers]).decode() if remote.answers else None
    )


def _remember_ids(booking_id: str, slug: str, chain: list[RemoteBooking]) -> None:
    ids = {remote.external_id: remote.occasion_id for remote in chain}
    rows = [
        {"id": new_id(), "booking": booking_id, "provider": slug, "external_id": uid, "occasion_id": occasion}
        for uid, occasion in sorted(ids.items())
    ]
    list(
        BookingExternalId.insert_many(rows)
        .on_conflict(conflict_target=[BookingExternalId.provider, BookingExternalId.external_id], action="nothing")
        .returning(BookingExternalId.id)
        .tuples()
        .execute()
    )


def _participants(booking: Booking, tail: RemoteBooking, person_ids: list[str]) -> bool:
    """Who takes part, as the provider tells it now. One row per person: a host who also attends is the host."""
    wanted: dict[str, RemotePerson] = {}
    survivors = people.survivors(person_ids)
    for person_id, person in zip(person_ids, tail.people, strict=True):
        wanted.setdefault(survivors[person_id], person)
    present = {row.person_id: row for row in Participant.select().where(Participant.booking == booking.id)}
    if not any(person.role == "COACH" for person in tail.people):
        # an answer without hosts does not mean that there is none
        present = {person_id: row for person_id, row in present.items() if row.role != "COACH"}
    changed = False
    for person_id, person in wanted.items():
        values = {
            "role": person.role,
            "name": person.name,
            "email": person.email,
            "time_zone": person.time_zone,
            "no_show": person.no_show,
        }
        row = present.pop(person_id, None)
        if row is None:
            Participant.create(booking=booking.id, person=person_id, **values)
            changed = True
        elif any(getattr(row, name) != value for name, value in values.items()):
            Participant.update(**values).where(Participant.id == row.id).execute()
            changed = True
    if present:
        Participant.delete().where(Participant.id.in_([row.id for row in present.values()])).execute()
    return changed or bool(present)


def _adopt_account(booking: Booking, account_id: str | None) -> None:
    """Read it through the host's account where there is one, else through whoever has it."""
    best = _hosts_account.first(booking.id, booking.provider)
    wanted = best[0] if best else (booking.linked_account_id or account_id)
    if wanted != booking.linked_account_id:
        Booking.update(linked_account=wanted).where(Booking.id == booking.id).execute()


@Prepared
def _hosts_account(booking_id: Any, slug: Any) -> Any:
    return (
        LinkedAccount.select(LinkedAccount.id)
        .join(User)
        .join(Participant, on=(Participant.person == User.person))
        .where(
            (Participant.booking == booking_id) & (Participant.role == "COACH") & (LinkedAccount.provider == slug) & LinkedAccount.connected
        )
        .tuples()
    )


def _insert(rt: Runtime, booking: Booking, change: Change, source: str, operation: Operation | None) -> bool:
    """Record the change unless it is recorded; True when it was news. Our own operation's change bears its mark."""
    ours = operation is not None and operation.kind == change.kind and _meant(operation, change)
    actor_id, by = (operation.actor_id, None) if ours and operation else _actor(booking, change.by_email)
    by = by or change.by
    reason = change.reason
    if ours and operation and operation.reason:
        reason = unseal(rt, "operation", operation.id, "reason", operation.reason)
    rows = list(
        BookingChange.insert(
            id=change.id,
            booking=booking.id,
            logical_key=change.logical_key,
            kind=change.kind,
            at=change.at,
            actor=actor_id,
            by=by,
            source="CONVENE" if ours else source,
            previous_start=change.previous_start,
            previous_end=change.previous_end,
            new_start=change.new_start,
            reason=seal(rt, "booking_change", change.id, "reason", reason),
            operation=operation.id if ours and operation else None,
        )
        .on_conflict(conflict_target=[BookingChange.logical_key], action="nothing")
        .returning(BookingChange.id)
        .tuples()
        .execute()
    )
    return bool(rows)


def _made_by(booking: Booking, chain: list[RemoteBooking]) -> Operation | None:
    """The operation that meant this booking to be made, which learns here what it is called.

    The mark alone proves nothing, since whoever books may write one: time and event type must be those that were meant.
    """
    head = chain[0]
    operation = Operation.get_or_none((Operation.id == head.mark) & (Operation.kind == "BOOKED")) if head.mark else None
    if operation is None or operation.hold_start != head.start or operation.to_external_id not in {None, head.external_id}:
        return None
    kind = EventType.get_or_none(EventType.id == operation.event_type_id)
    if kind is None or kind.external_id != head.event_type_id or kind.provider != booking.provider:
        return None
    if operation.to_external_id is None:
        Operation.update(booking=booking.id, to_external_id=head.external_id).where(Operation.id == operation.id).execute()
        if operation.state == "UNDONE":
            # it was made after all, by a process that was frozen for longer than the quarantine
            done = {"type": "changed", "pending": chain[-1].status == "PENDING", "change": booked_key(head.external_id)}
            Operation.update(state="COMPLETED", outcome=done).where(Operation.id == operation.id).execute()
        operation = Operation.get_by_id(operation.id)
    found: Operation | None = operation if operation.booking_id == booking.id else None
    return found


def _given_up(tail: RemoteBooking) -> bool:
    given_up = (Operation.id == tail.mark) & (Operation.kind == "MOVED") & ~Operation.open & (Operation.state != "COMPLETED")
    return tail.mark is not None and bool(Operation.select().where(given_up).exists())


def change_of(operation: Operation) -> BookingChange | None:
    """The recorded change that an operation meant."""
    found: BookingChange | None = BookingChange.get_or_none(BookingChange.operation == operation.id)
    return found


def _meant(operation: Operation, change: Change) -> bool:
    if change.kind == "MOVED":
        return change.new_start == operation.hold_start and change.facts.startswith(f"{operation.from_external_id}>")
    return change.facts == (operation.to_external_id if operation.kind == "BOOKED" else operation.from_external_id)


def _actor(booking: Booking, email: str | None) -> tuple[str | None, str | None]:
    """Who did it, as far as the provider says: a participant by the address that the booking gives them."""
    if not email:
        return None, None
    row = Participant.get_or_none((Participant.booking == booking.id) & (Participant.email == email.strip().lower()))
    return (row.person_id, row.name) if row else (None, None)


def _is_news(account_id: str | None, change: Change, source: str) -> bool:
    """The first reading of an account brings its past; nobody is notified of that."""
    if account_id is None or source == "CONVENE":
        return True
    account = LinkedAccount.get_or_none(LinkedAccount.id == account_id)
    return account is None or change.at >= account.linked_at


def _forget_availability(rt: Runtime, booking: Booking) -> None:
    """What was cached of the participants' free slots no longer holds."""
    availability_cache.forget(rt, [row[0] for row in _participants_accounts(booking.id)])


@Prepared
def _participants_accounts(booking_id: Any) -> Any:
    return (
        LinkedAccount.select(LinkedAccount.id)
        .join(User)
        .join(Participant, on=(Participant.person == User.person))
        .where(Participant.booking == booking_id)
        .tuples()
    )


def seal(rt: Runtime, table: str, row_id: str, column: str, text: str | None) -> str | None:
    """What people wrote into a booking is kept sealed."""
    return None if not text else rt.vault.seal(text, place(table, row_id, column))


def unseal(rt: Runtime, table: str, row_id: str, column: str, sealed: str | None) -> str | None:
    return None if not sealed else rt.vault.open(sealed, place(table, row_id, column))
