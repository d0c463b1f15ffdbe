"""Moving a booking: through an operation, everything or nothing, and both parties told.

Cal.com answers a move with a *new* booking, is not idempotent, and sends its webhook before it answers. So: intent
first, one call, and whatever is not known is read back through the old booking's successor, never sent again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from models import Booking, Participant
from models.base import to_ms
from services import availability, bookings, calendars, intervals, operations, tokens
from services.availability import Notice, mentee_not_connected
from services.bookings import minutes_of
from services.change_outcomes import Changed, attempt, recorded_outcome
from services.change_rules import OPEN_STATUSES, SENTENCES, OnProviderPage, caller, clashes, move_blockers, page_instead, party
from services.errors import (
    BookingNotReschedulable,
    Conflict,
    FieldProblem,
    InvalidInput,
    ProviderError,
    ProviderFailure,
    SlotDetails,
    SlotUnavailable,
    SourceUnverified,
)
from services.identity import Viewer
from services.operations import Intent, Plan
from services.runtime import Runtime

LONGEST_REASON = 1000
ALTERNATIVES = 5
LOOK_AHEAD = timedelta(days=8)


@dataclass(frozen=True)
class MoveRequest:
    booking_id: str
    new_start: datetime
    new_end: datetime | None
    reason: str | None
    expected_version: int | None
    accept_conflicts: bool


def reschedule(rt: Runtime, viewer: Viewer, request: MoveRequest, key: str) -> Changed | OnProviderPage:
    """Move a booking. Raises the problems of RescheduleBookingResult, and InProgress when the outcome is not known yet.

    The same key again gives the same outcome, also after a crash.
    """
    payload = {
        "bookingId": request.booking_id,
        "newStart": to_ms(request.new_start),
        "newEnd": to_ms(request.new_end) if request.new_end else None,
        "reason": request.reason,
        "expectedVersion": request.expected_version,
        "acceptConflicts": request.accept_conflicts,
    }
    intent = Intent("rescheduleBooking", key, payload)
    if (earlier := operations.replay(viewer, intent)) is not None:
        return recorded_outcome(earlier)
    booking = bookings.visible(viewer, request.booking_id)
    role = party(viewer, booking, "move")
    _validate_move(rt, booking, request)
    new_end = request.new_start + (booking.end - booking.start)
    blockers = move_blockers(booking, role, bookings.host_account(booking), rt.clock.now(), busy=False)
    if page := page_instead(rt, booking, blockers, "move"):
        label = rt.providers[booking.provider].label
        return OnProviderPage(page, f"This booking can only be moved on {label}'s own page. It keeps its id here when it is moved there.")
    plan = Plan("MOVED", request.new_start, new_end, request.reason)
    operation, new = operations.begin(
        rt,
        viewer,
        intent,
        booking.id,
        plan,
        expected_version=request.expected_version,
        check=lambda row, parts: _check_move(rt, viewer, role, row, parts, request),
    )
    if not new:
        return recorded_outcome(operation)
    rt.step("operation.begun")
    with operations.unsent(rt, operation):
        _check_coach(rt, viewer, booking.id, role, (request.new_start, new_end))
        auth, by_email = caller(rt, viewer, booking, role)
    rt.step("operation.checked")
    provider = rt.rescheduling(booking.provider)
    return attempt(
        rt,
        booking,
        operation,
        lambda: provider.reschedule(auth, operation.from_external_id, start=request.new_start, by_email=by_email, reason=request.reason),
    )


def _validate_move(rt: Runtime, booking: Booking, request: MoveRequest) -> None:
    problems = []
    if request.new_start <= rt.clock.now():
        problems.append(FieldProblem(("newStart",), "The new start lies in the past."))
    if request.new_start > rt.clock.now() + availability.FARTHEST:
        problems.append(FieldProblem(("newStart",), "The new start lies more than two years ahead."))
    if request.new_start == booking.start:
        problems.append(FieldProblem(("newStart",), "The booking is at that time already."))
    if request.new_end is not None and request.new_end - request.new_start != booking.end - booking.start:
        problems.append(
            FieldProblem(("newEnd",), f"A move cannot resize: newEnd must be newStart plus {minutes_of(booking)} minutes, or left out.")
        )
    if request.reason is not None and len(request.reason) > LONGEST_REASON:
        problems.append(FieldProblem(("reason",), f"The reason may have at most {LONGEST_REASON} characters."))
    # a booking that cannot be moved at all says so rather than complain of the time
    if problems and booking.status in OPEN_STATUSES and booking.end > rt.clock.now():
        raise InvalidInput(*problems)


def _check_move(
    rt: Runtime, viewer: Viewer, role: str, booking: Booking, participants: list[Participant], request: MoveRequest
) -> list[dict[str, Any]]:
    """Under the locks: state, and what Convene itself knows of everybody's time. Answers warnings to keep."""
    host = bookings.host_account(booking)
    busy = bool(bookings.busy_with_operations([booking.id]))
    blockers = move_blockers(booking, role, host, rt.clock.now(), busy=busy)
    if blockers:
        raise BookingNotReschedulable(SENTENCES[blockers[0]], *blockers)
    if host is not None and host.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, host)
    warnings = []
    if role == "MENTEE" and (warning := mentee_not_connected(rt, viewer, booking.provider)):
        warnings.append(_kept(warning))
    new_end = request.new_start + (booking.end - booking.start)
    linked_mentee_moves = role == "MENTEE" and not warnings
    conflicts = clashes(viewer, booking, participants, request.new_start, new_end)
    if conflicts:
        coachs = any(conflict.role == "COACH" for conflict in conflicts)
        can_accept = not coachs and not linked_mentee_moves
        if not (can_accept and request.accept_conflicts):
            who = "The coach" if coachs else ("You" if role == "MENTEE" else "The mentee")
            verb = "have" if who == "You" else "has"
            raise SlotUnavailable(f"{who} {verb} something else at that time.", SlotDetails(conflicts, [], can_accept))
        warnings.append(_kept(Notice("MENTEE_CONFLICT", "The mentee has something else at that time.")))
    return warnings


def _check_coach(rt: Runtime, viewer: Viewer, booking_id: str, role: str, span: tuple[datetime, datetime]) -> None:
    """Ask the coach's calendar now; the booking that moves does not block itself. Raises SlotUnavailable, SourceUnverified."""
    start, end = span
    if Booking.get_by_id(booking_id).event_type_external_id is None:
        return  # a booking of a deleted event type: Cal.com itself checks the slot when it moves it
    subject = availability.of_booking(rt, viewer, booking_id)
    first = max(start - timedelta(days=1), rt.clock.now())
    try:
        days = availability.fetch(rt, subject, _day(first), _day(start + LOOK_AHEAD))
    except (ProviderError, ProviderFailure) as error:
        raise _unverified(subject, getattr(error, "retry_at", None)) from error
    others = calendars.elsewhere(rt, subject, first, start + LOOK_AHEAD, timedelta(0))
    if others.unknown:
        raise _unverified(subject, None)
    told = sorted(minute for starts, _ in days.values() for minute in starts)
    free = [datetime.fromtimestamp(minute * 60, UTC) for minute in intervals.free_of(told, subject.minutes, others.busy)]
    if start in free:
        return
    reason = "BUSY" if role == "COACH" else "OTHER_PARTY_UNAVAILABLE"
    length = end - start
    later = [at for at in free if at > start] + [at for at in reversed(free) if at < start]
    raise SlotUnavailable(
        "The coach is not available at that time.",
        SlotDetails(
            [Conflict(subject.host_id, subject.host_name, "COACH", reason, start, end)],
            [(at, at + length) for at in sorted(later[:ALTERNATIVES])],
        ),
    )


def _unverified(subject: calendars.Subject, when: datetime | None) -> SourceUnverified:
    advice = f"Try again after {when:%H:%M:%S} UTC." if when else "Try again in a moment."
    return SourceUnverified(
        f"The coach's calendar cannot be asked right now, so the move was not made. {advice}",
        person_id=subject.host_id,
        name=subject.host_name,
        role="COACH",
        can_accept=False,
    )


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _kept(warning: Notice) -> dict[str, Any]:
    return {"code": warning.code, "message": warning.message, "connect": warning.connect_provider}
