"""A coach's answer to a booking that waits for it: confirmed or declined, once."""

from typing import Literal

from models import Booking, LinkedAccount, Participant
from services import bookings, operations, tokens
from services.change_outcomes import Changed, attempt, recorded_outcome
from services.change_rules import LONGEST_REASON, clashes
from services.errors import InvalidInput, NotPermitted, ProviderFailure, SlotDetails, SlotUnavailable, StaleBooking
from services.identity import Viewer
from services.operations import Intent, Plan, Verdict
from services.runtime import Runtime

Decision = Literal["CONFIRMED", "DECLINED"]
MUTATIONS = {"CONFIRMED": "confirmBooking", "DECLINED": "declineBooking"}


def decide(rt: Runtime, viewer: Viewer, booking_id: str, decision: Decision, *, reason: str | None, key: str) -> Changed:
    """Confirm or decline. What is decided so already answers the same. Raises the problems of DecideBookingResult, InProgress.

    Confirming takes the coach's time as a move does: of two requests for one time only one is confirmed.
    """
    intent = Intent(MUTATIONS[decision], key, {"bookingId": booking_id, "reason": reason})
    if (earlier := operations.replay(viewer, intent)) is not None:
        return recorded_outcome(earlier)
    if reason is not None and len(reason) > LONGEST_REASON:
        raise InvalidInput.of("reason", f"The reason may have at most {LONGEST_REASON} characters.")
    booking = bookings.visible(viewer, booking_id)
    if bookings.role_of(viewer, booking) != "COACH":
        raise NotPermitted("Only the coach decides on this booking.")
    if booking.status == decision:
        return Changed(booking.id)
    host = bookings.host_account(booking)
    confirms = decision == "CONFIRMED"
    plan = Plan(
        decision, booking.start if confirms else None, booking.end if confirms else None, reason, account_id=host.id if host else None
    )
    try:
        operation, new = operations.begin(
            rt, viewer, intent, booking.id, plan, expected_version=None, check=lambda row, parts: _check(rt, viewer, decision, row, parts)
        )
    except StaleBooking:
        if Booking.get_by_id(booking.id).status == decision:
            return Changed(booking.id)  # somebody was faster, and meant the same
        raise
    if not new:
        return recorded_outcome(operation)
    rt.step("operation.begun")
    with operations.unsent(rt, operation):
        assert host is not None
        tokens.ensure_valid(rt, host.id)
        auth = tokens.auth_of(host)
    rt.step("operation.checked")
    provider, uid = rt.deciding(booking.provider), str(operation.from_external_id)
    if confirms:
        return attempt(rt, operation, lambda: provider.confirm(auth, uid))
    return attempt(rt, operation, lambda: provider.decline(auth, uid, reason=reason))


def _check(rt: Runtime, viewer: Viewer, decision: Decision, booking: Booking, participants: list[Participant]) -> Verdict:
    if booking.status != "PENDING":
        raise StaleBooking(booking.id)
    if bookings.busy_with_operations([booking.id]):
        raise ProviderFailure("Another change of this booking is under way. Try again in a moment.", code="OPERATION_IN_PROGRESS")
    host = bookings.host_account(booking)
    if host is None or host.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, host or LinkedAccount(provider=booking.provider))
    if decision == "CONFIRMED":
        coach = {p.person_id: (p.name, p.role) for p in participants if p.role == "COACH"}
        conflicts = clashes(viewer, coach, booking.start, booking.end, besides=booking, statuses=("CONFIRMED",))
        if conflicts:
            raise SlotUnavailable("You have something else at that time.", SlotDetails(conflicts))
    return Verdict()
