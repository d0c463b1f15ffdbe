"""Cancelling a booking: through an operation, once, and both parties told."""

from models import Booking
from services import bookings, operations, policies, tokens
from services.change_outcomes import Changed, attempt, recorded_outcome
from services.change_rules import (
    LONGEST_REASON,
    SENTENCES,
    OnProviderPage,
    caller,
    check_reason,
    check_rules,
    page_instead,
    party,
    stands_in_the_way,
)
from services.errors import BookingNotCancellable, InvalidInput, StaleBooking
from services.identity import Viewer
from services.operations import Intent, Plan, Verdict
from services.runtime import Runtime


def cancel(
    rt: Runtime, viewer: Viewer, booking_id: str, *, reason: str | None, expected_version: int | None, key: str
) -> Changed | OnProviderPage:
    """Cancel a booking; what is cancelled already answers the same. Raises the problems of CancelBookingResult, InProgress."""
    intent = Intent("cancelBooking", key, {"bookingId": booking_id, "reason": reason, "expectedVersion": expected_version})
    if (earlier := operations.replay(viewer, intent)) is not None:
        return recorded_outcome(earlier)
    if reason is not None and len(reason) > LONGEST_REASON:
        raise InvalidInput.of("reason", f"The reason may have at most {LONGEST_REASON} characters.")
    booking = bookings.visible(viewer, booking_id)
    role = party(viewer, booking, "cancel")
    if booking.status == "CANCELLED":
        return Changed(booking.id)
    if page := _page(rt, booking, role):
        return page
    try:
        return _cancel(rt, viewer, intent, booking, role, reason, expected_version)
    except (BookingNotCancellable, StaleBooking):
        if Booking.get_by_id(booking.id).status == "CANCELLED":
            return Changed(booking.id)  # somebody was faster, and meant the same
        raise


def _page(rt: Runtime, booking: Booking, role: str) -> OnProviderPage | None:
    """Where it can only be done at the provider."""
    if booking.is_group and role == "MENTEE" and not rt.providers[booking.provider].capabilities.places:
        page = rt.scheduling(booking.provider).booking_page(booking.external_id, "cancel")
        if page:
            return OnProviderPage(page, "Leave this group event on the provider's page; cancelling here would end it for everybody.")
    found = stands_in_the_way(booking, role, rt.clock.now(), "cancel", busy=False)
    page = page_instead(rt, booking, found, "cancel")
    return OnProviderPage(page, "This booking can only be cancelled on the provider's own page.") if page else None


def _cancel(
    rt: Runtime, viewer: Viewer, intent: Intent, booking: Booking, role: str, reason: str | None, expected_version: int | None
) -> Changed:
    found = stands_in_the_way(booking, role, rt.clock.now(), "cancel", busy=False)
    check_rules(found, "cancel")
    if not found:
        check_reason(role, policies.of_booking(booking), reason)
    operation, new = operations.begin(
        rt,
        viewer,
        intent,
        booking.id,
        Plan("CANCELLED", reason=reason),
        expected_version=expected_version,
        check=lambda row, _: _check_cancel(rt, role, row),
    )
    if not new:
        return recorded_outcome(operation)
    rt.step("operation.begun")
    with operations.unsent(rt, operation):
        auth, _ = caller(rt, viewer, booking, role)
    rt.step("operation.checked")
    provider = rt.scheduling(booking.provider)
    return attempt(rt, operation, lambda: provider.cancel(auth, operation.from_external_id, reason=reason))


def _check_cancel(rt: Runtime, role: str, booking: Booking) -> Verdict:
    busy = bool(bookings.busy_with_operations([booking.id]))
    found = stands_in_the_way(booking, role, rt.clock.now(), "cancel", busy=busy)
    check_rules(found, "cancel")
    if found:
        raise BookingNotCancellable(SENTENCES[found[0]], *found)
    host = bookings.host_account(booking)
    if host is not None and host.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, host)
    return Verdict()
