"""What the builders of webhook payloads have in common."""

from collections.abc import Callable
from datetime import datetime

from sandbox import times
from sandbox.calcom.state import Booking, CalcomState, Json

WEB = "https://cal.sandbox.invalid"
Spell = Callable[[datetime], str]
_PLATFORM_URLS: Json = {"platformRescheduleUrl": None, "platformCancelUrl": None, "platformBookingUrl": None}


def head(known: CalcomState, booking: Booking, spell: Spell) -> Json:
    event_type = known.event_types[booking.event_type_id]
    return {
        "bookerUrl": WEB,
        "title": booking.title,
        "startTime": spell(booking.start),
        "endTime": spell(booking.end),
        "additionalNotes": booking.responses.get("notes") or "",
        "type": event_type.data["slug"],
        "description": booking.description,
        "eventTypeId": event_type.id,
    }


def tail(known: CalcomState, booking: Booking) -> Json:
    data = known.event_types[booking.event_type_id].data
    return {
        "uid": booking.uid,
        "eventTitle": data["title"],
        "eventDescription": data["description"] or None,
        "price": data["price"],
        "currency": data["currency"],
        "length": booking.minutes,
        "bookingId": booking.id,
    }


def platform(known: CalcomState, booking: Booking) -> Json:
    client_id = known.users[booking.owner_id].managed_by
    client = known.platform_clients.get(client_id or "")
    return {"platformClientId": client_id, **_PLATFORM_URLS, "organizationId": client.organization_id if client else None}


def organizer(known: CalcomState, booking: Booking, *, in_org: bool) -> Json:
    host = known.users[booking.owner_id]
    names = {"username": host.username} | ({"usernameInOrg": host.username} if in_org else {})
    return {
        "id": host.id,
        "name": host.name,
        "email": host.email,
        **names,
        "timeZone": host.time_zone,
        "language": {"locale": host.locale},
        "timeFormat": "HH:mm" if host.time_format == 24 else "h:mma",
        "utcOffset": times.offset_minutes(booking.start, host.time_zone),
    }


def attendee(one: Json, booking: Booking) -> Json:
    return {
        "email": one["email"],
        "name": one["name"],
        "timeZone": one["timeZone"],
        "language": {"locale": one["language"]},
        "utcOffset": times.offset_minutes(booking.start, one["timeZone"]),
    }


def with_first_name(shown: Json) -> Json:
    return shown | {"firstName": "", "lastName": ""}


def with_phone(shown: Json, one: Json) -> Json:
    return shown | {"phoneNumber": one.get("phoneNumber")}


def row(one: Json, booking: Booking, number: int) -> Json:
    return {
        "id": booking.id * 10 + number,
        "email": one["email"],
        "name": one["name"],
        "timeZone": one["timeZone"],
        "phoneNumber": one.get("phoneNumber"),
        "locale": one["language"],
        "bookingId": booking.id,
        "noShow": one["absent"],
    }


def video(booking: Booking) -> Json:
    return {"videoCallUrl": booking.meeting_url} if booking.meeting_url.startswith("http") else {}


def responses(known: CalcomState, booking: Booking, *, with_location: bool) -> Json:
    """Answers by field with their labels; what was not answered has no value. The host's own fields twice."""
    answers = booking.responses

    def entry(label: str, name: str = "", *, hidden: bool = False) -> Json:
        given = {"value": answers[name]} if answers.get(name) else {}
        return {"label": label} | given | {"isHidden": hidden}

    location = {"value": {"value": booking.location, "optionValue": ""}} if with_location else {}
    responses = {
        "name": entry("your_name", "name"),
        "email": entry("email_address", "email"),
        "attendeePhoneNumber": entry("phone_number", "attendeePhoneNumber", hidden=True),
        "location": {"label": "location"} | location | {"isHidden": False},
        "title": entry("what_is_this_meeting_about", "title", hidden=True),
        "notes": entry("additional_notes", "notes"),
        "guests": entry("additional_guests", "guests"),
        "rescheduleReason": entry("reason_for_reschedule"),
    }
    fields = known.event_types[booking.event_type_id].data["bookingFields"]
    own = {field["slug"]: entry(field.get("label", field["slug"]), field["slug"]) for field in fields if not field["isDefault"]}
    return {"responses": responses | own, "userFieldsResponses": own}
