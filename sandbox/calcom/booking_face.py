"""A booking as the API shows it: 2024-08-13 and later, and the older row for callers without a known version."""

from sandbox import times
from sandbox.calcom.state import Booking, CalcomState, Json

VERSIONS = {"2024-08-13", "2026-02-25"}


def face(known: CalcomState, booking: Booking) -> Json:
    event_type = known.event_types.get(booking.event_type_id)
    shown: Json = {
        "id": booking.id,
        "uid": booking.uid,
        "title": booking.title,
        "description": booking.description,
        "hosts": [_host(known, booking)],
        "status": booking.status,
        "cancellationReason": booking.cancellation_reason,
        "cancelledByEmail": booking.cancelled_by,
        "rescheduledByEmail": booking.rescheduled_by,
        "start": times.millis(booking.start),
        "end": times.millis(booking.end),
        "duration": booking.minutes,
        "eventTypeId": booking.event_type_id,
        "eventType": {"id": booking.event_type_id, "slug": event_type.data["slug"] if event_type else ""},
        "meetingUrl": booking.meeting_url,
        "location": booking.meeting_url,
        "absentHost": booking.absent_host,
        "createdAt": times.millis(booking.created_at),
        "updatedAt": times.millis(booking.updated_at),
        "metadata": booking.metadata,
        "rating": booking.rating,
        "icsUid": booking.ics_uid,
        "attendees": booking.attendees,
        "bookingFieldsResponses": booking.responses,
    }
    optional = {
        "guests": booking.guests or None,
        "reschedulingReason": booking.rescheduling_reason,
        "rescheduledFromUid": booking.from_uid,
        "rescheduledToUid": booking.to_uid,
    }
    return shown | {name: value for name, value in optional.items() if value is not None}


def _host(known: CalcomState, booking: Booking) -> Json:
    host = known.users[booking.owner_id]
    return {
        "id": host.id,
        "name": host.name,
        "email": host.email,
        "displayEmail": host.email,
        "username": host.username,
        "timeZone": host.time_zone,
    }


def old_face(known: CalcomState, booking: Booking) -> Json:
    """2024-04-15: upper-case status, startTime and endTime."""
    host = known.users[booking.owner_id]
    return {
        "id": booking.id,
        "uid": booking.uid,
        "title": booking.title,
        "description": booking.description,
        "startTime": times.millis(booking.start),
        "endTime": times.millis(booking.end),
        "status": booking.status.upper(),
        "location": booking.location,
        "metadata": booking.metadata,
        "rescheduled": True if booking.to_uid else None,
        "fromReschedule": booking.from_uid,
        "attendees": [{name: one[name] for name in ("email", "name", "timeZone")} for one in booking.attendees],
        "user": {"id": host.id, "name": host.name, "email": host.email},
        "eventType": {"id": booking.event_type_id},
    }
