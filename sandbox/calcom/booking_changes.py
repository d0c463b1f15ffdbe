"""What happens to bookings. Every function runs under the world's lock and either changes everything or raises first."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sandbox import times
from sandbox.calcom import availability, errors
from sandbox.calcom.auth import Caller
from sandbox.calcom.booking_input import attendees_of, check_answers, event_type_of, length_of, location_of
from sandbox.calcom.checks import is_email
from sandbox.calcom.errors import CalError, CoreError, zod
from sandbox.calcom.state import Booking, CalcomState, EventType, Json, User, new_uid


@dataclass(frozen=True)
class Setting:
    """The circumstances of one call.

    `arrived` and `commit` are counts of commits: what was committed after a request had arrived happened concurrently with it.
    """

    known: CalcomState
    now: datetime
    arrived: int
    commit: int
    caller: Caller | None = None
    version: str = "2026-02-25"
    force: bool = False
    status: str | None = field(default=None)

    def is_owner(self, user_id: int) -> bool:
        return self.caller is not None and self.caller.user is not None and self.caller.user.id == user_id

    def host_may(self, option: str, given: Json, host_id: int) -> bool:
        """Host-only options are ignored for others; all but allowConflicts work since 2026-02-25 only."""
        works = option == "allowConflicts" or self.version == "2026-02-25"
        return works and bool(given.get(option)) and self.is_owner(host_id)


def find(known: CalcomState, uid: str) -> Booking:
    booking = known.bookings.get(uid)
    if booking is None:
        raise errors.booking_not_found(uid)
    return booking


def title(event_type: EventType, host: User, attendee: str) -> str:
    return f"{event_type.data['title']} between {host.name} and {attendee}"


def create(setting: Setting, given: Json) -> Booking:
    """The owner's own token does not skip confirmation here, only on a reschedule."""
    known, event_type = setting.known, event_type_of(setting.known, given)
    host = known.users[event_type.owner_id]
    start = times.parse(given["start"])
    end = start + length_of(event_type, given)
    location, meeting_url = location_of(event_type, given)
    attendees, answers = attendees_of(given)
    check_answers(event_type, answers)
    _check_time(setting, event_type, start, end, given)
    pending = event_type.needs_confirmation(start, setting.now)
    uid = new_uid()
    booking = Booking(
        id=known.next_id(),
        uid=uid,
        event_type_id=event_type.id,
        owner_id=host.id,
        title=title(event_type, host, given["attendee"]["name"]),
        description=event_type.data["description"] or "",
        status=setting.status or ("pending" if pending else "accepted"),
        start=start,
        end=end,
        location=location,
        meeting_url=meeting_url,
        attendees=attendees,
        guests=list(given.get("guests") or []),
        metadata=given.get("metadata") or {},
        responses=answers,
        ics_uid=f"{uid}@Cal.com",
        created_at=setting.now,
        updated_at=setting.now,
        committed=setting.commit,
    )
    return known.bookings.add(booking)


def _check_time(setting: Setting, event_type: EventType, start: datetime, end: datetime, given: Json, *, own: str | None = None) -> None:
    """Past, too soon, outside the hours, taken. The start need not lie on the slot grid."""
    if setting.force:
        return
    known, host_id = setting.known, event_type.owner_id
    if start < setting.now:
        raise CalError(400, errors.PAST)
    if not setting.host_may("allowBookingOutOfBounds", given, host_id) and not availability.in_window(event_type, start, setting.now):
        raise CalError(400, errors.TOO_SOON)
    if setting.host_may("allowConflicts", given, host_id):
        return
    if not availability.in_hours(known, event_type, start, end):
        raise CalError(400, errors.UNAVAILABLE)
    wide = availability.widened(event_type, start, end)
    clashes = [span for span in availability.taken(known, host_id, own) if wide.overlaps(span)]
    if clashes and all(span.committed > setting.arrived for span in clashes):
        raise CoreError(409, errors.CONFLICT)  # it was free when this request came in
    if clashes:
        raise CalError(400, errors.UNAVAILABLE)


def reschedule(setting: Setting, uid: str, given: Json) -> tuple[Booking, Booking]:
    """A new booking with a new uid, and the old one cancelled. Not idempotent: a repeat makes the chain longer."""
    known, old = setting.known, find(setting.known, uid)
    by = given.get("rescheduledBy")
    if by is not None and not is_email(by):
        raise zod("rescheduledBy - Invalid email, ")
    _check_movable(setting, old)
    event_type = known.event_types.get(old.event_type_id)
    if event_type is None:
        raise CalError(404, f"Event type with id={old.event_type_id} not found.")
    host = known.users[old.owner_id]
    # The hole: rescheduledBy is believed without any proof.
    organiser = setting.is_owner(host.id) or (by or "").lower() == host.email.lower()
    _check_notice(setting, event_type, old, organiser=organiser)
    start = times.parse(given["start"])
    _check_time(setting, event_type, start, start + (old.end - old.start), given, own=old.uid)
    pending = event_type.needs_confirmation(start, setting.now) and not organiser
    new = _moved(setting, old, start, "pending" if pending else "accepted", given)
    new.title = title(event_type, host, old.attendees[0]["name"])
    known.bookings.add(new)
    old.status, old.to_uid, old.moved = "cancelled", new.uid, setting.commit
    old.rescheduled_by, old.updated_at = by, setting.now
    return old, new


def _check_movable(setting: Setting, old: Booking) -> None:
    """A booking that was moved while this request was under way is moved a second time: two live bookings."""
    if old.to_uid is not None:
        if setting.known.switches["forkReschedule"] and old.moved is not None and old.moved > setting.arrived:
            return
        raise CalError(
            400,
            f"Can't reschedule booking with uid={old.uid} because it has been cancelled and rescheduled already to booking with "
            f"uid={old.to_uid}. You probably want to reschedule {old.to_uid} instead by passing it within the request URL.",
        )
    if old.status == "cancelled":
        raise CalError(
            400,
            f"Can't reschedule booking with uid={old.uid} because it has been cancelled. Please provide uid of a booking that is "
            "not cancelled.",
        )
    if old.status == "rejected":
        raise CoreError(404, errors.NO_ORIGINAL)


def _check_notice(setting: Setting, event_type: EventType, old: Booking, *, organiser: bool) -> None:
    rule = event_type.data["disableRescheduling"]
    if rule.get("disabled"):
        raise CalError(400, f"Can't reschedule booking with uid={old.uid} because rescheduling is disabled for this event type")
    minutes = rule.get("minutesBefore")
    if minutes and not organiser and old.start - setting.now < timedelta(minutes=minutes):
        raise CoreError(403, errors.NOTICE)


def _moved(setting: Setting, old: Booking, start: datetime, status: str, given: Json) -> Booking:
    """Metadata, guests, answers, length and iCalUID stay; the sequence goes up by one."""
    reason = given.get("reschedulingReason")
    return Booking(
        id=setting.known.next_id(),
        uid=new_uid(),
        event_type_id=old.event_type_id,
        owner_id=old.owner_id,
        title=old.title,
        description=old.description,
        status=status,
        start=start,
        end=start + (old.end - old.start),
        location=old.location,
        meeting_url=old.meeting_url,
        attendees=[one | {"absent": False} for one in old.attendees],
        guests=list(old.guests),
        metadata=dict(old.metadata),
        responses=old.responses | ({"rescheduledReason": reason} if reason else {}),
        ics_uid=old.ics_uid,
        ics_sequence=old.ics_sequence + 1,
        created_at=setting.now,
        updated_at=setting.now,
        committed=setting.commit,
        from_uid=old.uid,
        rescheduling_reason=reason,
        rescheduled_by=given.get("rescheduledBy"),
    )


def cancel(setting: Setting, uid: str, given: Json) -> Booking:
    """Anybody who knows the uid can."""
    booking = find(setting.known, uid)
    if booking.status == "cancelled":
        raise CalError(
            400,
            f"Can't cancel booking with uid={uid} because it has been cancelled already. Please provide uid of a booking that is "
            "not cancelled.",
        )
    user = setting.caller.user if setting.caller else None
    _end(setting, booking, given.get("cancellationReason") or "", user.email if user else "")
    return booking


def request_reschedule(setting: Setting, uid: str, reason: str) -> Booking:
    """Cancels; at the real Cal.com the attendee then gets a mail with a link."""
    booking = find(setting.known, uid)
    host = setting.known.users[booking.owner_id]
    _check_owner(setting, booking)
    if not booking.takes_time:
        raise errors.trpc(400, errors.TRPC_BAD)
    _end(setting, booking, reason, host.email)
    return booking


def _end(setting: Setting, booking: Booking, reason: str, by: str) -> None:
    booking.status, booking.cancellation_reason, booking.cancelled_by = "cancelled", reason, by
    booking.ics_sequence += 1
    booking.updated_at = setting.now


def answer(setting: Setting, uid: str, *, accept: bool, reason: str | None = None) -> Booking:
    """Confirm and decline, by the host only, of a pending booking only."""
    booking = find(setting.known, uid)
    _check_owner(setting, booking)
    if booking.status != "pending":
        raise errors.trpc(400, errors.TRPC_BAD)
    booking.status, booking.updated_at = "accepted" if accept else "rejected", setting.now
    booking.rejection_reason = None if accept else reason
    return booking


def mark_absent(setting: Setting, uid: str, given: Json) -> Booking:
    booking = find(setting.known, uid)
    _check_owner(setting, booking)
    if setting.now < booking.start:
        raise CalError(
            400,
            "Bookings can only be marked as absent after their scheduled start time. Current time in UTC+0: "
            f"{times.millis(setting.now)}, Booking start time in UTC+0: {times.millis(booking.start)}",
        )
    if "host" in given:
        booking.absent_host = given["host"]
    absent = {one.get("email"): bool(one.get("absent")) for one in given.get("attendees") or []}
    booking.attendees = [one | {"absent": absent.get(one["email"], one["absent"])} for one in booking.attendees]
    booking.updated_at = setting.now
    return booking


def _check_owner(setting: Setting, booking: Booking) -> None:
    if not setting.is_owner(booking.owner_id):
        raise errors.trpc(401, errors.TRPC_STRANGER)
