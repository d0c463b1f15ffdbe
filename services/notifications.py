"""What people are told, once per logical change, in their own time zone."""

import hashlib
from datetime import datetime

from models import Booking, BookingChange, LinkedAccount, Notification, Participant, Person, User
from models.base import new_id
from services.identity import Viewer, zone
from services.runtime import Runtime

PARTIES = ("COACH", "MENTEE")
TOLD = ("BOOKED", "MOVED", "CANCELLED", "CONFIRMED", "DECLINED")
"""Changes of which people are notified; the others are in the history."""
CHECK_YOUR_CALENDAR = "Make sure this time works for you. Let us know if you need to change it."


def about_change(rt: Runtime, booking_id: str, change_id: str) -> None:
    """Tell both parties of a change; who made it gets the confirmation. Call inside the change's transaction."""
    booking, change = Booking.get_by_id(booking_id), BookingChange.get_by_id(change_id)
    parties = list(Participant.select().where((Participant.booking == booking_id) & Participant.role.in_(PARTIES)))
    by = _name_of(parties, change)
    for participant in parties:
        _about(rt, booking, change, participant, by)


def about_recording(rt: Runtime, booking: Booking, session: str) -> None:
    """Tell both parties, once for each session of a meeting."""
    logical_key = hashlib.sha256(f"RECORDING_READY:{booking.id}:{session}".encode()).hexdigest()
    for to in Participant.select().where((Participant.booking == booking.id) & Participant.role.in_(PARTIES)):
        at = _moment(booking.start, zone(_zone_name(to)))
        body = f"The recording of “{booking.title}” on {at} is ready. You find it with the booking."
        _insert(rt, to, booking, logical_key, "RECORDING_READY", (f"Recording ready: {booking.title}", body))


def _about(rt: Runtime, booking: Booking, change: BookingChange, to: Participant, by: str | None) -> None:
    kind = _kind(booking, change)
    at = zone(_zone_name(to))
    themselves = to.person_id == change.actor_id
    title, body = _words(kind, booking, change, who="You" if themselves else (by or rt.providers[booking.provider].label), zone_=at)
    if change.kind == "MOVED" and change.source == "CONVENE" and to.role == "MENTEE" and not themselves and not _linked(to, booking):
        body = f"{body} {CHECK_YOUR_CALENDAR}"
    told = {"previous_start": change.previous_start, "new_start": change.new_start, "by": None if themselves else by}
    _insert(rt, to, booking, change.logical_key, kind, (title, body), **told)


def _insert(rt: Runtime, to: Participant, booking: Booking, logical_key: str, kind: str, words: tuple[str, str], **told: object) -> None:
    title, body = words
    list(
        Notification.insert(
            id=new_id(),
            person=to.person_id,
            booking=booking.id,
            logical_key=logical_key,
            kind=kind,
            title=title,
            body=body,
            created_at=rt.clock.now(),
            **told,
        )
        .on_conflict(conflict_target=[Notification.person, Notification.logical_key], action="nothing")
        .returning(Notification.id)
        .tuples()
        .execute()
    )


def _kind(booking: Booking, change: BookingChange) -> str:
    if change.kind in {"BOOKED", "MOVED"} and booking.status == "PENDING" and change.new_start == booking.start:
        return "AWAITING_CONFIRMATION"
    return str(change.kind)


def _words(kind: str, booking: Booking, change: BookingChange, *, who: str, zone_: object) -> tuple[str, str]:
    old, new = _moment(change.previous_start, zone_), _moment(change.new_start, zone_)
    name = booking.title
    if kind == "AWAITING_CONFIRMATION":
        asked = f"{who} asked to move “{name}” from {old} to {new}." if change.kind == "MOVED" else f"{who} asked for “{name}” on {new}."
        return f"Awaiting confirmation: {name}", f"{asked} The coach has to confirm it."
    return {
        "BOOKED": (f"Booked: {name}", f"{who} booked “{name}” for {new}."),
        "MOVED": (f"Moved: {name}", f"{who} moved “{name}” from {old} to {new}."),
        "CANCELLED": (f"Cancelled: {name}", f"{who} cancelled “{name}” on {old}."),
        "CONFIRMED": (f"Confirmed: {name}", f"“{name}” on {_moment(booking.start, zone_)} is confirmed."),
        "DECLINED": (f"Declined: {name}", f"“{name}” on {old} was declined."),
    }[kind]


def _moment(at: datetime | None, zone_: object) -> str:
    if at is None:
        return "?"
    local = at.astimezone(zone_)  # type: ignore[arg-type]
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} ({zone_})"


def _zone_name(participant: Participant) -> str | None:
    """The recipient's own zone: of their sign-in, else of the booking."""
    row = User.select(User.time_zone).where(User.person == participant.person_id).tuples().first()
    return (row[0] if row else None) or participant.time_zone


def _name_of(parties: list[Participant], change: BookingChange) -> str | None:
    if change.by:
        return str(change.by)
    actor = next((p.name for p in parties if p.person_id == change.actor_id), None)
    if actor is None and change.actor_id:
        person = Person.get_or_none(Person.id == change.actor_id)
        actor = person.name if person else None
    return actor or None


def _linked(participant: Participant, booking: Booking) -> bool:
    accounts = (
        LinkedAccount.select()
        .join(User)
        .where((User.person == participant.person_id) & (LinkedAccount.provider == booking.provider) & LinkedAccount.connected)
    )
    return bool(accounts.exists())


# ---- reading -------------------------------------------------------------------------------------------------------------


def unread_count(viewer: Viewer) -> int:
    return int(Notification.select().where((Notification.person == viewer.person_id) & Notification.read_at.is_null()).count())


def mark_read(rt: Runtime, viewer: Viewer, ids: list[str] | None) -> int:
    """Mark these (None: all) of the viewer's own as read; unknown and others' ids change nothing. Answers what is left."""
    mine = (Notification.person == viewer.person_id) & Notification.read_at.is_null()
    if ids is not None:
        mine &= Notification.id.in_(ids)
    Notification.update(read_at=rt.clock.now()).where(mine).execute()
    return unread_count(viewer)
