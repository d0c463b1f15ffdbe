"""Webhook payloads. Cal.com has several builders with different key sets and three spellings of time; so has this file."""

import uuid

from sandbox import times
from sandbox.calcom import payload_parts as parts
from sandbox.calcom.payload_parts import WEB
from sandbox.calcom.state import Booking, CalcomState, Json, User

_UNUSED_COLUMNS = (
    *("destinationCalendarId", "cancellationReason", "rejectionReason", "reassignReason", "reassignById", "rescheduledBy"),
    *("dynamicEventSlugRef", "dynamicGroupSlugRef", "recurringEventId", "smsReminderNumber", "ratingFeedback"),
    *("oneTimePassword", "cancelledBy"),
)


def fresh(known: CalcomState, booking: Booking) -> Json:
    """BOOKING_CREATED, BOOKING_REQUESTED and BOOKING_RESCHEDULED; times as `…Z`."""
    event_type = known.event_types[booking.event_type_id]
    data, pending = event_type.data, booking.status == "pending"
    return {
        **parts.head(known, booking, times.seconds),
        "hideCalendarNotes": data["hideCalendarNotes"],
        "hideCalendarEventDetails": data["hideCalendarEventDetails"],
        "hideOrganizerEmail": data["hideOrganizerEmail"],
        "schedulingType": None,
        "seatsPerTimeSlot": None,
        "seatsShowAttendees": True,
        "seatsShowAvailabilityCount": True,
        "customReplyToEmail": None,
        "disableRescheduling": bool(data["disableRescheduling"].get("disabled")),
        "disableCancelling": bool(data["disableCancelling"].get("disabled")),
        "organizer": parts.organizer(known, booking, in_org=True),
        "attendees": [parts.with_first_name(parts.attendee(one, booking)) for one in booking.attendees],
        "customInputs": {},
        **parts.responses(known, booking, with_location=True),
        "location": booking.location,
        "destinationCalendar": None,
        "iCalUID": booking.ics_uid,
        "iCalSequence": booking.ics_sequence,
        "requiresConfirmation": pending,
        "oneTimePassword": None,
        **parts.platform(known, booking),
        "hashedLink": None,
        **parts.tail(known, booking),
        "metadata": booking.metadata | parts.video(booking),
        "status": booking.status.upper(),
    }


def moved(known: CalcomState, old: Booking, new: Booking) -> Json:
    """uid, bookingId and times are the new ones, reschedule* the old ones.

    The reason is not in it, and a booking at a fixed link loses its iCalUID.
    """
    payload = fresh(known, new)
    if not new.location.startswith("integrations:"):
        del payload["iCalUID"]
    if new.status == "accepted":
        payload["appsStatus"] = []
    if new.rescheduled_by is not None:
        payload["rescheduledBy"] = new.rescheduled_by
    return payload | {
        "rescheduleId": old.id,
        "rescheduleUid": old.uid,
        "rescheduleStartTime": times.seconds(old.start),
        "rescheduleEndTime": times.seconds(old.end),
    }


def decided(known: CalcomState, booking: Booking) -> Json:
    """Confirm and decline come from another builder: `….000Z`, no iCalUID, no reschedule* even of a moved booking."""
    data = known.event_types[booking.event_type_id].data
    payload = {
        **parts.head(known, booking, times.millis),
        "hideCalendarNotes": data["hideCalendarNotes"],
        "hideCalendarEventDetails": data["hideCalendarEventDetails"],
        "hideOrganizerEmail": data["hideOrganizerEmail"],
        "customReplyToEmail": None,
        "organizer": parts.organizer(known, booking, in_org=True),
        "customInputs": {},
        **parts.responses(known, booking, with_location=False),
        "location": booking.location,
        "requiresConfirmation": True,
        **parts.platform(known, booking),
        **parts.tail(known, booking),
        "status": booking.status.upper(),
        "attendees": [parts.with_phone(parts.attendee(one, booking), one) for one in booking.attendees],
        "destinationCalendar": [],
        "arePlatformEmailsEnabled": False,
        "areCalendarEventsEnabled": True,
    }
    if booking.status == "rejected":
        return payload | {"rejectionReason": booking.rejection_reason or ""}
    return payload | {"metadata": booking.metadata | parts.video(booking)}


def cancelled(known: CalcomState, booking: Booking, *, requested: bool) -> Json:
    """Times as `…+00:00`; cancelledBy only when the canceller is known."""
    data = known.event_types[booking.event_type_id].data
    payload = {
        **parts.head(known, booking, times.plus_zero),
        "length": booking.minutes,
        "customInputs": {},
        **parts.responses(known, booking, with_location=True),
        "organizer": parts.organizer(known, booking, in_org=False),
        "attendees": [parts.with_phone(parts.attendee(one, booking), one) for one in booking.attendees],
        "uid": booking.uid,
        "bookingId": booking.id,
        "location": booking.location,
        "destinationCalendar": [],
        "cancellationReason": booking.cancellation_reason,
        "seatsPerTimeSlot": None,
        "seatsShowAttendees": False,
        "iCalUID": booking.ics_uid,
        "iCalSequence": booking.ics_sequence,
        "hideOrganizerEmail": data["hideOrganizerEmail"],
        "customReplyToEmail": None,
        "eventTitle": data["title"],
        "eventDescription": data["description"] or None,
        "requiresConfirmation": None,
        "price": None,
        "currency": data["currency"],
        **parts.platform(known, booking),
        "status": "CANCELLED",
    }
    if booking.cancelled_by:
        payload["cancelledBy"] = booking.cancelled_by
    return payload | ({"requestReschedule": True} if requested else {})


def absence(booking: Booking, changed: list[Json]) -> Json:
    marked = [one["email"] for one in changed if one.get("absent")]
    message = f"{', '.join(marked)} marked as no-show" if marked else "No-show status updated"
    attendees = [{"email": one["email"], "noShow": bool(one.get("absent"))} for one in changed]
    return {"message": message, "attendees": attendees, "bookingUid": booking.uid, "bookingId": booking.id}


def meeting(known: CalcomState, booking: Booking) -> Json:
    """MEETING_STARTED and MEETING_ENDED are flat: the booking's row itself, with the row's own createdAt."""
    host = known.users[booking.owner_id]
    span = f"{times.millis(booking.start)}.{times.millis(booking.end)}.{host.id}"
    return {
        "id": booking.id,
        "uid": booking.uid,
        "idempotencyKey": str(uuid.uuid5(uuid.NAMESPACE_URL, span)),
        "userId": host.id,
        "userPrimaryEmail": host.email,
        "eventTypeId": booking.event_type_id,
        "title": booking.title,
        "description": booking.description,
        "customInputs": {},
        "responses": parts.responses(known, booking, with_location=True)["responses"],
        "startTime": times.millis(booking.start),
        "endTime": times.millis(booking.end),
        "location": booking.location,
        "createdAt": times.millis(booking.created_at),
        "updatedAt": times.millis(booking.updated_at),
        "status": booking.status.upper(),
        "paid": False,
        "rescheduled": True if booking.to_uid else None,
        "fromReschedule": booking.from_uid,
        "scheduledJobs": [],
        "metadata": booking.metadata,
        "isRecorded": False,
        "iCalUID": booking.ics_uid,
        "iCalSequence": booking.ics_sequence,
        "rating": booking.rating,
        "noShowHost": booking.absent_host,
        "creationSource": "API_V2",
        "user": {"email": host.email, "name": host.name, "timeZone": host.time_zone, "username": host.username},
        "attendees": [parts.row(one, booking, number) for number, one in enumerate(booking.attendees, start=1)],
        "payment": [],
        "references": [],
        "appsStatus": [],
        **dict.fromkeys(_UNUSED_COLUMNS),
    }


def recording(known: CalcomState, booking: Booking) -> Json:
    organizer = parts.organizer(known, booking, in_org=False)
    people = [{"id": booking.id * 10 + number} | parts.attendee(one, booking) for number, one in enumerate(booking.attendees, start=1)]
    return {
        "type": booking.title,
        "title": booking.title,
        "startTime": times.millis(booking.start),
        "endTime": times.millis(booking.end),
        "organizer": {name: organizer[name] for name in ("email", "name", "timeZone", "language", "utcOffset")},
        "attendees": people,
        "uid": booking.uid,
        "customReplyToEmail": None,
        "downloadLink": f"{WEB}/api/video/recording?token={booking.id}",
    }


def ping(user: User) -> Json:
    """The settings page's test: type `Test`, and no uid."""
    return {
        "type": "Test",
        "title": "Test trigger event",
        "description": "",
        "startTime": "2026-01-01T09:00:00.000Z",
        "endTime": "2026-01-01T09:30:00.000Z",
        "attendees": [{"email": "jdoe@example.com", "name": "John Doe", "timeZone": "Europe/London", "language": {"locale": "en"}}],
        "organizer": {"name": user.name, "email": user.email, "timeZone": user.time_zone, "language": {"locale": user.locale}},
    }


def calendar_file(booking: Booking) -> str:
    stamp = "%Y%m%dT%H%M%SZ"
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "BEGIN:VEVENT",
        f"UID:{booking.ics_uid}",
        f"SEQUENCE:{booking.ics_sequence}",
        f"DTSTART:{booking.start.strftime(stamp)}",
        f"DTEND:{booking.end.strftime(stamp)}",
        f"SUMMARY:{booking.title}",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "\r\n".join(lines)
