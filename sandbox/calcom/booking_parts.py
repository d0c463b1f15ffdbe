"""The smaller faces of a booking: location, guests, attendees, calendar links, references. All need a credential."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import request

from sandbox import times
from sandbox.calcom import auth, checks
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.booking_changes import Setting, find
from sandbox.calcom.booking_face import VERSIONS
from sandbox.calcom.booking_input import ATTENDEE
from sandbox.calcom.booking_routes import change
from sandbox.calcom.checks import Field
from sandbox.calcom.context import asked, body, state, success, version, world
from sandbox.calcom.errors import CalError, cannot
from sandbox.calcom.event_type_data import LOCATION_TYPES
from sandbox.calcom.state import Booking, Json, User
from sandbox.deliveries import Outgoing

_STAMP = "%Y%m%dT%H%M%SZ"


def _mine(user: User, uid: str) -> Booking:
    """The host's, or one the caller attends."""
    booking = find(state(), uid)
    if booking.owner_id != user.id and all(one["email"].lower() != user.email.lower() for one in booking.attendees):
        raise CalError(403, f"User with ID={user.id} is not allowed to access booking with uid={uid}")
    return booking


def _enter(scope: str) -> User:
    user = auth.needed(scope, anonymous=403)
    if version() not in VERSIONS:
        raise cannot(request.method, asked())
    return user


def _changed(user: User, uid: str, act: Callable[[Booking], None]) -> Json:
    def under_lock(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = _mine(user, uid)
        act(booking)
        booking.updated_at = setting.now
        return booking, []

    return change(auth.optional(), under_lock)


@blueprint.patch("/bookings/<uid>/location")
def change_location(uid: str) -> Json:
    user = _enter("BOOKING_WRITE")
    given = checks.listed(body(), {"location": Field(checks.obj, required=True)})["location"]
    name = {"attendeeAddress": "address", "attendeePhone": "phone", "attendeeDefined": "location"}.get(given.get("type"))
    place = given.get(name or LOCATION_TYPES.get(str(given.get("type"))) or "")
    if not isinstance(place, str) or not place:
        raise CalError(400, "location must name its type and hold its value")

    def act(booking: Booking) -> None:
        booking.location = booking.meeting_url = place

    return _changed(user, uid, act)


@blueprint.post("/bookings/<uid>/guests")
def add_guests(uid: str) -> Json:
    """At most ten in one call and thirty in all."""
    user = _enter("BOOKING_WRITE")
    guests: list[Any] = checks.listed(body(), {"guests": Field(checks.array, required=True)})["guests"]
    if not 1 <= len(guests) <= 10 or not all(isinstance(one, dict) and checks.is_email(one.get("email")) for one in guests):
        raise CalError(400, "guests must hold between 1 and 10 objects with an email")

    def act(booking: Booking) -> None:
        known = {one["email"].lower() for one in booking.attendees}
        fresh = [one for one in guests if one["email"].lower() not in known]
        if len(booking.guests) + len(fresh) > 30:
            raise CalError(400, "A booking can have at most 30 guests.")
        booking.guests += [one["email"] for one in fresh]
        booking.attendees += [_attendee(one | {"name": one.get("name") or ""}, booking) for one in fresh]
        booking.responses = booking.responses | {"guests": booking.guests, "displayGuests": booking.guests}

    return _changed(user, uid, act)


def _attendee(given: Json, booking: Booking) -> Json:
    zone = given.get("timeZone") or booking.attendees[0]["timeZone"]
    names = {"name": given["name"], "email": given["email"], "displayEmail": given["email"], "timeZone": zone}
    return names | {"language": given.get("language") or "en", "absent": False}


def _with_id(booking: Booking, number: int) -> Json:
    return {"id": booking.id * 10 + number, "bookingId": booking.id} | booking.attendees[number - 1]


@blueprint.route("/bookings/<uid>/attendees", methods=["GET", "POST"])
def attendees(uid: str) -> Json | tuple[Json, int]:
    if request.method == "GET":
        user = _enter("BOOKING_READ")
        with world().lock:
            booking = _mine(user, uid)
            return success([_with_id(booking, number) for number in range(1, len(booking.attendees) + 1)])
    user = _enter("BOOKING_WRITE")
    given = checks.listed(body(), ATTENDEE | {"email": Field(checks.email, required=True)})
    _changed(user, uid, lambda booking: booking.attendees.append(_attendee(given, booking)))
    with world().lock:
        booking = find(state(), uid)
        return success(_with_id(booking, len(booking.attendees))), 201


@blueprint.get("/bookings/<uid>/attendees/<int:attendee_id>")
def one_attendee(uid: str, attendee_id: int) -> Json:
    user = _enter("BOOKING_READ")
    with world().lock:
        booking = _mine(user, uid)
        number = attendee_id - booking.id * 10
        if not 1 <= number <= len(booking.attendees):
            raise CalError(404, f"Attendee with id={attendee_id} not found in booking with uid={uid}")
        return success(_with_id(booking, number))


@blueprint.get("/bookings/<uid>/calendar-links")
def calendar_links(uid: str) -> Json:
    user = _enter("BOOKING_READ")
    with world().lock:
        booking = _mine(user, uid)
        span = f"{booking.start.strftime(_STAMP)}/{booking.end.strftime(_STAMP)}"
        google = urlencode({"action": "TEMPLATE", "text": booking.title, "dates": span, "location": booking.meeting_url})
        outlook = urlencode({"subject": booking.title, "startdt": times.millis(booking.start), "enddt": times.millis(booking.end)})
    links = [
        {"label": "Google Calendar", "link": f"https://calendar.google.com/calendar/r/eventedit?{google}"},
        {"label": "Microsoft Outlook", "link": f"https://outlook.live.com/calendar/0/deeplink/compose?{outlook}"},
    ]
    return success(links)


@blueprint.get("/bookings/<uid>/<any(recordings, transcripts, 'conferencing-sessions'):part>")
def nothing_recorded(uid: str, part: str) -> Json:
    del part
    user = _enter("BOOKING_READ")
    with world().lock:
        _mine(user, uid)
        return success([])


@blueprint.get("/bookings/<uid>/references")
def references(uid: str) -> Json:
    """No calendar is connected here; a video meeting is the one outside thing a booking can point to."""
    user = _enter("BOOKING_READ")
    with world().lock:
        booking = _mine(user, uid)
        if not booking.location.startswith("integrations:"):
            return success([])
        kind = f"{booking.location.removeprefix('integrations:')}_video"
        wanted = request.args.get("type", kind)
        room = booking.meeting_url.rpartition("/")[2]
        found = {"id": booking.id, "type": kind, "eventUid": room, "destinationCalendarId": None}
        return success([found] if wanted == kind else [])
