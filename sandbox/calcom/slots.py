"""Slots and their reservations, 2024-09-04 only: without that header the routes do not exist.

An answer maps local days to free starts. Reservations hide a slot here and stop nobody from booking it.
"""

import uuid
from datetime import datetime, timedelta

from flask import request

from sandbox import times
from sandbox.calcom import auth, availability, checks
from sandbox.calcom.availability import Span
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field
from sandbox.calcom.context import asked, body, now, state, success, version, world
from sandbox.calcom.errors import CalError, cannot
from sandbox.calcom.state import EventType, Json, Reservation

VERSION = "2024-09-04"
CACHE = timedelta(seconds=2)
RESERVED = "This time slot is already reserved by another user. Please choose a different time."
BOOKED = "Can't reserve a slot if the event is already booked."
_TEXT, _NUMBER = Field(checks.text), Field(checks.number_text)
QUERY = {
    "start": Field(checks.edge, required=True),
    "end": Field(checks.edge, required=True),
    "eventTypeId": _NUMBER,
    "duration": _NUMBER,
    "format": Field(checks.one_of("time", "range")),
    "timeZone": Field(checks.time_zone),
    **dict.fromkeys(
        ("eventTypeSlug", "username", "usernames", "teamSlug", "organizationSlug", "bookingUidToReschedule", "rescheduleUid"),
        _TEXT,
    ),
}
RESERVATION = {
    "eventTypeId": Field(checks.at_least(1), required=True),
    "slotStart": Field(checks.moment, required=True),
    "slotDuration": Field(checks.at_least(1)),
    "reservationDuration": Field(checks.at_least(1)),
}


def _check_version() -> None:
    if version() != VERSION:
        raise cannot(request.method, asked())


@blueprint.get("/slots")
def list_slots() -> Json:
    _check_version()
    auth.optional()
    query: Json = checks.worded(request.args.to_dict(), QUERY)
    with world().lock:
        if not state().switches["staleSlots"]:
            return _answer(query)
        # Identical queries are answered from a cache for two seconds: just-moved bookings still look unmoved.
        cached = state().slot_cache.get(asked())
        if cached is None or cached[0] <= now():
            cached = state().slot_cache[asked()] = (now() + CACHE, _answer(query))
        answer: Json = cached[1]
        return answer


def _answer(query: Json) -> Json:
    event_type = _event_type(query)
    span = Span(times.parse_edge(query["start"], end=False), times.parse_edge(query["end"], end=True))
    length = int(query["duration"]) if "duration" in query else None
    own = query.get("bookingUidToReschedule") or query.get("rescheduleUid")
    zone = times.zone(query.get("timeZone"))
    days: dict[str, list[Json]] = {}

    def spell(moment: datetime) -> str:
        return times.local(moment, zone) if zone else times.millis(moment)

    for slot in availability.slots(state(), event_type, span, now(), length=length, without=own):
        start = spell(slot.start)
        entry = {"start": start, "end": spell(slot.end)} if query.get("format") == "range" else {"start": start}
        days.setdefault(start[:10], []).append(entry)
    return {"data": days, "status": "success"}


def _event_type(query: Json) -> EventType:
    if "eventTypeId" in query:
        found = state().event_types.get(int(query["eventTypeId"]))
    elif "username" in query:
        owner = state().user_by_name(query["username"])
        if owner is None:
            raise CalError(404, f"User with username {query['username']} not found")
        rows = state().owned_event_types(owner.id)
        found = next((row for row in rows if row.data["slug"] == query.get("eventTypeSlug")), None)
    else:
        raise CalError(400, "eventTypeId, or eventTypeSlug and username, or eventTypeSlug and teamSlug, or usernames must be provided")
    if found is None:
        raise CalError(404, "Event Type not found")
    return found


def _face(reservation: Reservation, minutes: int) -> Json:
    return {
        "eventTypeId": reservation.event_type_id,
        "slotStart": times.millis(reservation.start),
        "slotEnd": times.millis(reservation.end),
        "slotDuration": int((reservation.end - reservation.start).total_seconds() // 60),
        "reservationUid": reservation.uid,
        "reservationDuration": minutes,
        "reservationUntil": times.millis(reservation.until),
    }


def _reserve(uid: str) -> Json:
    """A time outside working hours may be reserved too; a taken or reserved one may not."""
    caller = auth.optional()
    given = checks.worded(body(), RESERVATION)
    if "reservationDuration" in given and caller is None:
        raise CalError(401, "reservationDuration can only be used for authenticated requests")
    with world().writing():
        event_type = state().event_types.get(given["eventTypeId"])
        if event_type is None:
            raise CalError(404, f"Event Type with ID={given['eventTypeId']} not found")
        start, minutes = times.parse(given["slotStart"]), given.get("reservationDuration", 5)
        span = Span(start, start + timedelta(minutes=given.get("slotDuration", event_type.length)))
        _check_reservable(event_type, span, uid)
        reservation = Reservation(uid, event_type.id, span.start, span.end, minutes, now() + timedelta(minutes=minutes))
        return success(_face(state().reservations.add(reservation), minutes))


def _check_reservable(event_type: EventType, span: Span, uid: str) -> None:
    if any(span.overlaps(one) for one in availability.taken(state(), event_type.owner_id)):
        raise CalError(422, BOOKED)
    others = (row for row in state().reservations.values() if row.event_type_id == event_type.id and row.uid != uid and row.until > now())
    if any(span.overlaps(Span(row.start, row.end)) for row in others):
        raise CalError(422, RESERVED)


@blueprint.post("/slots/reservations")
def reserve() -> tuple[Json, int]:
    _check_version()
    return _reserve(str(uuid.uuid4())), 201


@blueprint.get("/slots/reservations/<uid>")
def show_reservation(uid: str) -> Json:
    """An unknown one is no error: data is null."""
    _check_version()
    with world().lock:
        reservation = state().reservations.get(uid)
        if reservation is None or reservation.until <= now():
            return success(None)
        return success(_face(reservation, reservation.minutes))


@blueprint.patch("/slots/reservations/<uid>")
def change_reservation(uid: str) -> Json:
    _check_version()
    if uid not in state().reservations:
        raise CalError(404, f"Slot with uid={uid} not found")
    return _reserve(uid)


@blueprint.delete("/slots/reservations/<uid>")
def delete_reservation(uid: str) -> Json:
    _check_version()
    with world().writing():
        state().reservations.pop(uid, None)
        return {"status": "success"}
