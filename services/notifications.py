"""What people are told, once per logical change, in their own time zone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import Booking, BookingChange, LinkedAccount, Notification, Person, User
from models.base import new_id, transactional
from services import calendars, invitations, live, outbox, recipients, tokens, wording
from services.identity import Viewer
from services.recipients import IN_APP, Recipient
from services.runtime import Runtime

TOLD = ("BOOKED", "MOVED", "CANCELLED", "CONFIRMED", "DECLINED")
"""Changes of which people are notified; the others are in the history."""
AT_ONCE = 400
"""Rows of one INSERT: SQLite allows only so many values in a statement."""


@dataclass(frozen=True)
class Telling:
    """One person is told one thing. `logical_key`: what makes it the same thing, whichever path reports it.

    `mail`: also by e-mail, where the person has that on. `invites`: the mail changes what stands in their calendar.
    """

    to: Recipient
    logical_key: str
    kind: str
    words: wording.Words
    booking: Booking | None = None
    previous_start: datetime | None = None
    new_start: datetime | None = None
    by: str | None = None
    mail: bool = True
    invites: bool = False


def key_of(*facts: object) -> str:
    """A logical key made of what happened, where no change of a booking has one."""
    return hashlib.sha256(":".join(str(fact) for fact in facts).encode()).hexdigest()


@transactional
def tell(rt: Runtime, tellings: Sequence[Telling]) -> int:
    """Notify, and queue the mail of what was news, in one transaction; answers how much was news."""
    news = 0
    for begin in range(0, len(tellings), AT_ONCE):
        some = tellings[begin : begin + AT_ONCE]
        made = {(row[1], row[2]): row[0] for row in _insert(rt, some)}
        fresh = [(t, found) for t in some if (found := made.get((t.to.person_id, t.logical_key)))]
        outbox.queue(rt, [outbox.Message(found, t.to, t.booking, t.invites) for t, found in fresh if t.mail])
        live.tell_all(rt, [(t.to.person_id, "Notification", found, 0) for t, found in fresh if IN_APP in t.to.channels])
        news += len(fresh)
    return news


def _insert(rt: Runtime, tellings: Sequence[Telling]) -> list[tuple[str, str, str]]:
    now = rt.clock.now()
    rows = {
        (t.to.person_id, t.logical_key): {
            "id": new_id(),
            "person": t.to.person_id,
            "booking": t.booking.id if t.booking is not None else None,
            "logical_key": t.logical_key,
            "kind": t.kind,
            "title": t.words[0],
            "body": t.words[1],
            "previous_start": t.previous_start,
            "new_start": t.new_start,
            "by": t.by,
            # the row is made all the same: it is what tells the change once
            "in_app": IN_APP in t.to.channels,
            "created_at": now,
            "updated_at": now,
        }
        for t in tellings
    }
    return list(
        Notification.insert_many(list(rows.values()))
        .on_conflict(conflict_target=[Notification.person, Notification.logical_key], action="nothing")
        .returning(Notification.id, Notification.person, Notification.logical_key)
        .tuples()
        .execute()
    )


# ---- what happens to bookings --------------------------------------------------------------------------------------------


def about_change(rt: Runtime, booking_id: str, change_id: str) -> None:
    """Tell both parties of a change; who made it gets the confirmation. Call inside the change's transaction."""
    booking, change = Booking.get_by_id(booking_id), BookingChange.get_by_id(change_id)
    parties = recipients.of_booking(booking_id)
    by = _name_of(parties, change)
    tell(rt, [_about(rt, booking, change, to, by, parties) for to in parties])


def about_recording(rt: Runtime, booking: Booking, session: str) -> None:
    """Tell both parties, once for each session of a meeting."""
    key = key_of("RECORDING_READY", booking.id, session)
    parties = recipients.of_booking(booking.id)
    tell(rt, [Telling(to, key, "RECORDING_READY", wording.of_recording(booking, to.zone), booking) for to in parties])


def _about(rt: Runtime, booking: Booking, change: BookingChange, to: Recipient, by: str | None, parties: list[Recipient]) -> Telling:
    kind, themselves = _kind(booking, change), to.person_id == change.actor_id
    who = "You" if themselves else (by or rt.providers[booking.provider].label)
    title, body = wording.of_change(kind, booking, change, who=who, zone=to.zone)
    if (
        change.kind == "MOVED"
        and change.source == "CONVENE"
        and to.role == "MENTEE"
        and not themselves
        and not calendars.is_linked(rt, to.person_id)
    ):
        body = f"{body} {wording.CHECK_YOUR_CALENDAR}"
    if kind == "DECLINED" and (move := _asked_move(change)):
        body = f"{body} {wording.not_restored(move.previous_start, to.zone)}"
    return Telling(
        to,
        _logical_key(booking, change, to, parties),
        kind,
        (title, body),
        booking,
        previous_start=change.previous_start,
        new_start=change.new_start,
        by=None if themselves else by,
        # whoever made it has no other way to get the entry of their calendar changed
        mail=not themselves or not invitations.provider_invites(rt, booking),
        invites=True,
    )


def _logical_key(booking: Booking, change: BookingChange, to: Recipient, parties: list[Recipient]) -> str:
    """The change's own; the coach is told once that a whole event is cancelled, not once per place in it."""
    left_alone = change.actor_id in {party.person_id for party in parties if party.role == "MENTEE"}
    if to.role == "COACH" and change.kind == "CANCELLED" and booking.is_group and booking.occasion_id and not left_alone:
        return key_of("CANCELLED", booking.provider, booking.occasion_id)
    return str(change.logical_key)


def _kind(booking: Booking, change: BookingChange) -> str:
    if change.kind in {"BOOKED", "MOVED"} and booking.status == "PENDING" and change.new_start == booking.start:
        return "AWAITING_CONFIRMATION"
    return str(change.kind)


def _asked_move(change: BookingChange) -> BookingChange | None:
    """The move that a decision was about; None where it was about the booking itself."""
    before = BookingChange.select().where(
        (BookingChange.booking == change.booking_id)
        & BookingChange.kind.in_(["BOOKED", "MOVED", "CONFIRMED"])
        & (BookingChange.id != change.id)
    )
    last: BookingChange | None = before.order_by(BookingChange.at.desc(), BookingChange.id.desc()).first()
    return last if last is not None and last.kind == "MOVED" else None


def _name_of(parties: list[Recipient], change: BookingChange) -> str | None:
    if change.by:
        return str(change.by)
    actor = next((p.name for p in parties if p.person_id == change.actor_id), None)
    if actor is None and change.actor_id:
        person = Person.get_or_none(Person.id == change.actor_id)
        actor = person.name if person else None
    return actor or None


# ---- links that need their person ----------------------------------------------------------------------------------------


def about_broken_link(rt: Runtime, account_id: str) -> None:
    """Tell the link's owner that only they can repair it, once per break; nothing to tell when it is repaired by now."""
    account = LinkedAccount.get_or_none((LinkedAccount.id == account_id) & _broken())
    if account is None:
        return
    words = wording.of_broken_link(rt.providers[account.provider].label)
    owner = recipients.of_person(account.user.person_id)
    tell(rt, [Telling(owner, _break_key(account), "RECONNECT_NEEDED", words)])


def still_broken(notification: Notification) -> bool:
    """Whether the break that a RECONNECT_NEEDED tells of still stands."""
    accounts = LinkedAccount.select().join(User).where((User.person == notification.person_id) & _broken())
    return any(_break_key(account) == notification.logical_key for account in accounts)


def _broken() -> Any:
    return LinkedAccount.connected & LinkedAccount.problem_code.in_(tokens.NEEDS_PERSON)


def _break_key(account: LinkedAccount) -> str:
    # whatever repairs a link gives it another version
    return key_of("RECONNECT_NEEDED", account.id, account.token_version)


# ---- reading -------------------------------------------------------------------------------------------------------------


def unread_count(viewer: Viewer) -> int:
    unread = (Notification.person == viewer.person_id) & Notification.in_app & Notification.read_at.is_null()
    return int(Notification.select().where(unread).count())


@transactional
def mark_read(rt: Runtime, viewer: Viewer, ids: list[str] | None) -> int:
    """Mark these (None: all) of the viewer's own as read; unknown and others' ids change nothing. Answers what is left."""
    mine = (Notification.person == viewer.person_id) & Notification.in_app & Notification.read_at.is_null()
    if ids is not None:
        mine &= Notification.id.in_(ids)
    if Notification.update(read_at=rt.clock.now()).where(mine).execute():
        # the viewer's other tabs count what is unread
        live.tell(rt, [viewer.person_id], "User", viewer.user_id)
    return unread_count(viewer)
