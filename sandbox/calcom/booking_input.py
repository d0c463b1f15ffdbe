"""What the bodies of booking calls may hold, and what a new booking's body means."""

import secrets
from datetime import timedelta
from typing import Any

from sandbox.calcom import checks
from sandbox.calcom.checks import Field
from sandbox.calcom.errors import CalError, zod
from sandbox.calcom.state import CalcomState, EventType, Json

MEET = "https://meet.sandbox.invalid"
HOST_ONLY = {name: Field(checks.boolean) for name in ("allowConflicts", "allowBookingOutOfBounds", "skipBookingLimits")}
ATTENDEE = {
    "name": Field(checks.text, required=True),
    "timeZone": Field(checks.time_zone, required=True),
    "email": Field(checks.email),
    "phoneNumber": Field(checks.text),
    "language": Field(checks.text),
}
CREATION = {
    "start": Field(checks.moment, required=True),
    "attendee": Field(checks.obj, required=True, nested=ATTENDEE),
    "eventTypeId": Field(checks.at_least(1)),
    "guests": Field(checks.emails),
    "location": Field(checks.obj),
    "metadata": Field(checks.obj),
    "bookingFieldsResponses": Field(checks.obj),
    "lengthInMinutes": Field(checks.at_least(1)),
    "routing": Field(checks.obj),
    "recurrenceCount": Field(checks.at_least(1)),
    "instant": Field(checks.boolean),
    **{
        name: Field(checks.text)
        for name in ("eventTypeSlug", "username", "teamSlug", "organizationSlug", "meetingUrl", "emailVerificationCode")
    },
    **HOST_ONLY,
}
RESCHEDULE = {
    "start": Field(checks.moment, required=True),
    "rescheduledBy": Field(checks.text),
    "reschedulingReason": Field(checks.text),
    "emailVerificationCode": Field(checks.text),
    "seatUid": Field(checks.text),
    "rescheduleWithSameHost": Field(checks.boolean),
    **HOST_ONLY,
}
CANCEL = {
    "cancellationReason": Field(checks.text),
    "cancelSubsequentBookings": Field(checks.boolean),
    "seatUid": Field(checks.text),
}
_WHO = "Either eventTypeId or eventTypeSlug + username or eventTypeSlug + teamSlug must be provided"


def event_type_of(known: CalcomState, given: Json) -> EventType:
    if "eventTypeId" in given:
        found = known.event_types.get(given["eventTypeId"])
        if found is None:
            raise CalError(404, f"Event type with id={given['eventTypeId']} not found.")
        return found
    if "eventTypeSlug" not in given or "username" not in given:
        raise CalError(400, _WHO)
    owner = known.user_by_name(given["username"])
    rows = known.owned_event_types(owner.id) if owner else []
    found = next((row for row in rows if row.data["slug"] == given["eventTypeSlug"]), None)
    if found is None:
        raise CalError(404, f"Event type with slug {given['eventTypeSlug']} belonging to user {given['username']} not found.")
    return found


def length_of(event_type: EventType, given: Json) -> timedelta:
    """Refused where the event type has one length only, although slots accept a duration there."""
    asked = given.get("lengthInMinutes")
    if asked is None:
        return timedelta(minutes=event_type.length)
    if len(event_type.lengths) == 1:
        raise CalError(
            400,
            "Can't specify 'lengthInMinutes' because event type does not have multiple possible lengths. Please, remove the "
            "'lengthInMinutes' field from the request.",
        )
    if asked not in event_type.lengths:
        possible = ", ".join(map(str, event_type.lengths))
        raise CalError(
            400,
            f"Provided 'lengthInMinutes' is not one of the possible lengths for the event type. The possible lengths are: {possible}",
        )
    return timedelta(minutes=asked)


def location_of(event_type: EventType, given: Json) -> tuple[str, str]:
    """What is stored and what is shown. Without any location of its own an event type meets on Cal Video."""
    offered: list[Json] = event_type.data["locations"] or [{"type": "integration", "integration": "cal-video"}]
    wanted: Json = given.get("location") or offered[0]
    if given.get("meetingUrl"):
        return given["meetingUrl"], given["meetingUrl"]
    chosen = next((one for one in offered if one["type"] == wanted.get("type") and _same_app(one, wanted)), None)
    if chosen is None:
        raise CalError(400, f"Booking location with type {wanted.get('type')} not valid for event type with id={event_type.id}.")
    kind = chosen["type"]
    if kind in {"integration", "organizersDefaultApp"}:
        app = chosen.get("integration", "cal-video")
        return f"integrations:{'daily' if app == 'cal-video' else app}", f"{MEET}/{secrets.token_urlsafe(9)}"
    source, name = (wanted, _ATTENDEES[kind]) if kind in _ATTENDEES else (chosen, kind)
    place = str(source.get(name) or "")
    return place, place


_ATTENDEES = {"attendeeAddress": "address", "attendeePhone": "phone", "attendeeDefined": "location"}


def _same_app(offered: Json, wanted: Json) -> bool:
    return bool(offered["type"] != "integration" or wanted.get("integration", offered["integration"]) == offered["integration"])


def attendees_of(given: Json) -> tuple[list[Json], Json]:
    """The attendee, then the guests with an empty name, and the answers that repeat them."""
    who = given["attendee"]
    email = who.get("email") or f"{who.get('phoneNumber', '').lstrip('+')}@sms.cal.com"
    main = _attendee(who["name"], email, who)
    answers: Json = {"email": email, "name": who["name"], "displayEmail": email}
    if who.get("phoneNumber"):
        main["phoneNumber"] = answers["attendeePhoneNumber"] = who["phoneNumber"]
    guests = list(given.get("guests") or [])
    if guests:
        answers |= {"guests": guests, "displayGuests": guests}
    return [main, *(_attendee("", guest, who) for guest in guests)], answers | (given.get("bookingFieldsResponses") or {})


def _attendee(name: str, email: str, who: Json) -> Json:
    return {
        "name": name,
        "email": email,
        "displayEmail": email,
        "timeZone": who["timeZone"],
        "language": who.get("language") or "en",
        "absent": False,
    }


def check_answers(event_type: EventType, answers: Json) -> None:
    """Required fields of the host's own making must be answered; the core says so in its own way."""
    for field in event_type.data["bookingFields"]:
        if not field["isDefault"] and field.get("required") and _empty(answers.get(field.get("slug", ""))):
            raise zod(f"responses - {{{field.get('slug')}}}error_required_field, ")


def _empty(answer: Any) -> bool:
    return answer is None or answer in ("", [])
