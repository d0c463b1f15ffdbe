"""Moving a booking: through an operation, everything or nothing, and both parties told.

Cal.com answers a move with a *new* booking, is not idempotent, and sends its webhook before it answers. So: intent
first, one call, and whatever is not known is read back through the old booking's successor, never sent again. Where a
provider has no move, the new booking is made first and the old one cancelled then (services/replacing.py).
"""

from dataclasses import dataclass
from datetime import datetime

from models import Booking, Operation, Participant
from models.base import to_ms
from services import availability, bookings, calendars, operations, replacing, sides, slot_checks, tokens
from services.bookings import minutes_of
from services.change_outcomes import Changed, attempt, recorded_outcome
from services.change_rules import (
    LONGEST_REASON,
    OPEN_STATUSES,
    SENTENCES,
    OnProviderPage,
    caller,
    check_reason,
    check_rules,
    clashes,
    page_instead,
    party,
    stands_in_the_way,
)
from services.errors import BookingNotReschedulable, FieldProblem, InvalidInput, ProviderError, SlotUnavailable
from services.identity import Viewer
from services.linked_accounts import failure
from services.operations import Intent, Plan, Verdict
from services.policies import of_booking as rules_of
from services.providers.base import Auth
from services.runtime import Runtime
from services.slot_checks import Role, Wanted


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
    intent = _intent(request, key)
    if (earlier := operations.replay(viewer, intent)) is not None:
        return recorded_outcome(earlier)
    booking = bookings.visible(viewer, request.booking_id)
    role = party(viewer, booking, "move")
    _validate(rt, booking, request)
    found = stands_in_the_way(booking, role, rt.clock.now(), "move", busy=False)
    if page := page_instead(rt, booking, found, "move"):
        return _on_page(rt, booking, page)
    check_rules(found, "move")
    if not found:
        check_reason(role, rules_of(booking), request.reason)
        if page := _page_for_overlap(rt, booking, request):
            return _on_page(rt, booking, page)
    wanted = _wanted(rt, booking, role, request)
    try:
        return _move(rt, viewer, intent, booking, role, request, wanted)
    except SlotUnavailable as refused:
        raise (slot_checks.helpful(rt, viewer, wanted, refused) if wanted else refused) from refused


def _intent(request: MoveRequest, key: str) -> Intent:
    payload = {
        "bookingId": request.booking_id,
        "newStart": to_ms(request.new_start),
        "newEnd": to_ms(request.new_end) if request.new_end else None,
        "reason": request.reason,
        "expectedVersion": request.expected_version,
        "acceptConflicts": request.accept_conflicts,
    }
    return Intent("rescheduleBooking", key, payload)


def _wanted(rt: Runtime, booking: Booking, role: str, request: MoveRequest) -> Wanted | None:
    """None for a booking of a deleted event type, or of a host who is not linked: there are no slots to look at."""
    if booking.event_type_external_id is None or bookings.host_account(booking) is None:
        return None
    end = request.new_start + (booking.end - booking.start)
    subject = availability.subject_of(rt, booking)
    asked_by: Role = "COACH" if role == "COACH" else "MENTEE"
    return Wanted(subject, availability.attendee_of(booking), asked_by, request.new_start, end, request.accept_conflicts)


def _move(
    rt: Runtime, viewer: Viewer, intent: Intent, booking: Booking, role: str, request: MoveRequest, wanted: Wanted | None
) -> Changed | OnProviderPage:
    host, replaces = bookings.host_account(booking), rt.providers[booking.provider].capabilities.replaces
    end = request.new_start + (booking.end - booking.start)
    mentee = sides.mentee_of(booking)
    wish = {"eventType": booking.event_type_external_id, "email": mentee.email} if replaces and mentee else None
    plan = Plan("MOVED", request.new_start, end, request.reason, account_id=host.id if host else None, wish=wish)
    operation, new = operations.begin(
        rt,
        viewer,
        intent,
        booking.id,
        plan,
        expected_version=request.expected_version,
        check=lambda row, parts: _check(rt, viewer, role, row, parts, request),
    )
    if not new:
        return recorded_outcome(operation)
    rt.step("operation.begun")
    return _send(rt, viewer, booking, operation, role, request, wanted)


def _send(
    rt: Runtime, viewer: Viewer, booking: Booking, operation: Operation, role: str, request: MoveRequest, wanted: Wanted | None
) -> Changed | OnProviderPage:
    verdict, checked = Verdict(), tuple[str, ...]()
    with operations.unsent(rt, operation):
        if wanted is not None:
            verdict, checked = slot_checks.ask(rt, wanted, Verdict(list(operation.warnings or ())))
        auth, by_email = caller(rt, viewer, booking, role)
    rt.step("operation.checked")
    if rt.providers[booking.provider].capabilities.replaces:
        return _replace(rt, booking, operation, auth, verdict, checked)
    provider, start, old = rt.rescheduling(booking.provider), request.new_start, str(operation.from_external_id)
    return attempt(
        rt,
        operation,
        lambda: provider.reschedule(auth, old, start=start, by_email=by_email, reason=request.reason),
        verdict=verdict,
        checked=checked,
    )


def _replace(
    rt: Runtime, booking: Booking, operation: Operation, auth: Auth, verdict: Verdict, checked: tuple[str, ...]
) -> Changed | OnProviderPage:
    provider = rt.replacing(booking.provider)
    with operations.unsent(rt, operation):
        try:
            draft = provider.replacement(auth, str(operation.from_external_id), start=operation.hold_start, mark=operation.id)
            quotas = provider.quotas(auth)
        except ProviderError as error:
            raise failure(rt, booking.provider, error) from error
    if draft is None:
        operations.refuse(operation, rt.clock.now())
        return _on_page(rt, booking, provider.booking_page(booking.external_id, "move") or "")
    return replacing.attempt(rt, operation, auth, draft, verdict=verdict, checked=checked, quotas=quotas)


def _page_for_overlap(rt: Runtime, booking: Booking, request: MoveRequest) -> str | None:
    """Where a new booking is made first, the old one still blocks its own time."""
    if not rt.providers[booking.provider].capabilities.replaces:
        return None
    length = booking.end - booking.start
    overlaps = booking.start < request.new_start + length and request.new_start < booking.end
    return rt.scheduling(booking.provider).booking_page(booking.external_id, "move") if overlaps else None


def _on_page(rt: Runtime, booking: Booking, page: str) -> OnProviderPage:
    label = rt.providers[booking.provider].label
    return OnProviderPage(page, f"This booking can only be moved on {label}'s own page. It keeps its id here when it is moved there.")


def _validate(rt: Runtime, booking: Booking, request: MoveRequest) -> None:
    problems = []
    if request.new_start <= rt.clock.now():
        problems.append(FieldProblem(("newStart",), "The new start lies in the past."))
    if request.new_start.second or request.new_start.microsecond:
        problems.append(FieldProblem(("newStart",), "Bookings begin on a whole minute."))
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


def _check(rt: Runtime, viewer: Viewer, role: str, booking: Booking, participants: list[Participant], request: MoveRequest) -> Verdict:
    """Under the locks: state, rules, and what Convene itself knows of everybody's time."""
    busy = bool(bookings.busy_with_operations([booking.id]))
    found = stands_in_the_way(booking, role, rt.clock.now(), "move", busy=busy)
    check_rules(found, "move")
    if found:
        raise BookingNotReschedulable(SENTENCES[found[0]], *found)
    host = bookings.host_account(booking)
    if host is not None and host.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, host)
    mentee = sides.mentee_of(booking)
    linked = mentee is not None and calendars.is_linked(rt, mentee.person_id)
    verdict = Verdict()
    if role == "MENTEE" and not linked:
        verdict.warnings.append(availability.not_connected(rt, viewer.person_id, booking.provider).kept())
    parties = {p.person_id: (p.name, p.role) for p in participants if p.role in operations.PARTIES}
    end = request.new_start + (booking.end - booking.start)
    conflicts = clashes(viewer, parties, request.new_start, end, besides=booking)
    asked_by: Role = "COACH" if role == "COACH" else "MENTEE"
    verdict.warnings += slot_checks.judge(asked_by, conflicts, accept=request.accept_conflicts, mentee_linked=linked).warnings
    return verdict
