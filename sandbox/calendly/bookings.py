"""What changes bookings, whoever asks: the API, the scheduling pages or the control face. Rights and limits are theirs.

A move makes another invitee of another event and cancels the old one; nothing in Calendly changes the time of an event.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sandbox.calendly import availability
from sandbox.calendly.errors import ApiError
from sandbox.calendly.faces import CONFERENCES
from sandbox.calendly.rows import Event, EventType, Invitee, Json
from sandbox.calendly.setting import Setting, spell
from sandbox.calendly.state import new_id


class TakenError(Exception):
    """Nobody can book this time (any more)."""


@dataclass(frozen=True)
class Wish:
    event_type: EventType
    start: datetime
    email: str
    name: str
    time_zone: str | None
    first_name: str | None = None
    last_name: str | None = None
    text_reminder_number: str | None = None
    location: Json | None = None
    answers: list[Json] = field(default_factory=list)
    tracking: Json = field(default_factory=dict)
    guests: list[str] = field(default_factory=list)
    method: str | None = None
    scheduled_by: str | None = None
    force: bool = False  # whatever the hours and the other events


def book(setting: Setting, wish: Wish, *, without: str | None = None) -> tuple[Event, Invitee]:
    """A new event, or one more invitee of the group event that is there at that time."""
    known, kind = setting.known, wish.event_type
    if not wish.force and not availability.is_free(known, kind, wish.start, setting.now, without):
        raise TakenError
    event = availability.open_group(known, kind, wish.start) or known.events.add(_event(setting, wish))
    event.guests = event.guests + [_guest(setting, email) for email in wish.guests]
    event.updated_at = setting.now
    invitee = Invitee(
        id=new_id(),
        event_id=event.id,
        email=wish.email,
        name=wish.name,
        time_zone=wish.time_zone,
        created_at=setting.now,
        updated_at=setting.now,
        first_name=wish.first_name if kind.split_name else None,
        last_name=wish.last_name if kind.split_name else None,
        answers=wish.answers,
        tracking=wish.tracking,
        text_reminder_number=wish.text_reminder_number,
        method=wish.method,
        scheduled_by=wish.scheduled_by,
    )
    return event, known.invitees.add(invitee)


def _event(setting: Setting, wish: Wish) -> Event:
    kind, switches = wish.event_type, setting.known.switches
    place = dict(wish.location) if wish.location else None
    ready = None
    if place is not None and place["kind"] in CONFERENCES and switches["conferenceSeconds"] is not None:
        ready = setting.now + timedelta(seconds=switches["conferenceSeconds"])
        place |= {"fails": True} if switches["conferenceFails"] else {}
    return Event(
        id=new_id(),
        type_id=kind.id,
        owner_id=kind.owner_id,
        name=kind.name,
        start=wish.start,
        end=wish.start + kind.length,
        limit=kind.limit,
        location=place,
        created_at=setting.now,
        updated_at=setting.now,
        buffer_before=kind.buffer_before,
        buffer_after=kind.buffer_after,
        conference_at=ready,
    )


def _guest(setting: Setting, email: str) -> Json:
    return {"email": email, "created_at": spell(setting.now), "updated_at": spell(setting.now)}


def cancel_event(setting: Setting, event: Event, by: str, kind: str, reason: str | None) -> list[Invitee]:
    """All its invitees with it; answers those who were still coming. A repeat and the past are business errors, hence 403."""
    if event.status == "canceled":
        raise ApiError(403, "Event is already canceled")
    if event.start <= setting.now:
        raise ApiError(403, "Event in the past cannot be canceled")
    cancellation = _cancellation(setting, by, kind, reason)
    gone = setting.known.active_invitees(event)
    for invitee in gone:
        _end(setting, invitee, cancellation)
    _close(setting, event, cancellation)
    return gone


def cancel_invitee(setting: Setting, invitee: Invitee, reason: str | None) -> None:
    """One leaves by the cancellation page; the event goes on while others remain."""
    check_open(setting, invitee)
    cancellation = _cancellation(setting, invitee.name, "invitee", reason)
    _end(setting, invitee, cancellation)
    _leave(setting, invitee, cancellation)


def check_open(setting: Setting, invitee: Invitee) -> None:
    if invitee.status == "canceled":
        raise ApiError(403, "This booking is already canceled.")
    if setting.known.events[invitee.event_id].start <= setting.now:
        raise ApiError(403, "This event has already begun.")


def move(setting: Setting, invitee: Invitee, start: datetime, event_type: EventType | None = None) -> Invitee:
    """The new invitee. The old one is canceled and says so of itself, but is no cancellation."""
    check_open(setting, invitee)
    old, kind = setting.known.events[invitee.event_id], event_type or setting.known.event_types[_type_id(setting, invitee)]
    if old.start == start and old.type_id == kind.id:
        raise ApiError(400, "Choose another time: the booking is already at this one.")
    _, new = book(setting, _same_person(kind, start, old, invitee), without=given_back(setting, invitee))
    new.old_id, invitee.new_id, invitee.rescheduled = invitee.id, new.id, True
    cancellation = _cancellation(setting, invitee.name, "invitee", None)
    _end(setting, invitee, cancellation)
    _leave(setting, invitee, cancellation)
    return new


def given_back(setting: Setting, invitee: Invitee) -> str | None:
    """The event whose time is free again when this invitee leaves it."""
    event = setting.known.events[invitee.event_id]
    return event.id if len(setting.known.active_invitees(event)) == 1 else None


def _type_id(setting: Setting, invitee: Invitee) -> str:
    return setting.known.events[invitee.event_id].type_id


def _same_person(kind: EventType, start: datetime, old: Event, invitee: Invitee) -> Wish:
    """Answers and tracking stay [?]; a conference is made anew with the event."""
    place = {name: value for name, value in old.location.items() if name != "fails"} if old.location else None
    if kind.id != old.type_id:
        place = dict(kind.locations[0]) if kind.locations else None
    return Wish(
        event_type=kind,
        start=start,
        email=invitee.email,
        name=invitee.name,
        time_zone=invitee.time_zone,
        first_name=invitee.first_name,
        last_name=invitee.last_name,
        text_reminder_number=invitee.text_reminder_number,
        location=place,
        answers=list(invitee.answers),
        tracking=dict(invitee.tracking),
        guests=[guest["email"] for guest in old.guests] if kind.kind == "solo" else [],
    )


def _end(setting: Setting, invitee: Invitee, cancellation: Json) -> None:
    invitee.status, invitee.cancellation, invitee.updated_at = "canceled", cancellation, setting.now


def _leave(setting: Setting, invitee: Invitee, cancellation: Json) -> None:
    event = setting.known.events[invitee.event_id]
    event.updated_at = setting.now
    if not setting.known.active_invitees(event):
        _close(setting, event, cancellation)


def _close(setting: Setting, event: Event, cancellation: Json) -> None:
    event.status, event.cancellation, event.updated_at = "canceled", cancellation, setting.now


def _cancellation(setting: Setting, by: str, kind: str, reason: str | None) -> Json:
    return {"canceled_by": by, "reason": reason, "canceler_type": kind, "created_at": spell(setting.now)}
