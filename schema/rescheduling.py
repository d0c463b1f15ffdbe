"""Moving and cancelling a booking."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import strawberry

from models import Operation
from models import Participant as ParticipantRow
from schema.availability import Notice
from schema.bookings import Booking, Participant, RescheduleBlocker, participant
from schema.context import Given, Info, given
from schema.operations import BookingOperation
from schema.problems import (
    TYPES,
    ConnectionUnusable,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    NotPermitted,
    PolicyViolation,
    Problem,
    ProviderFailure,
    QuotaExhausted,
    SlotUnavailable,
    SourceUnverified,
    TooManyRequests,
    answered,
)
from services import cancelling, errors, rescheduling
from services.change_rules import OnProviderPage


@strawberry.input(description="Which booking to move where.")
class RescheduleBookingInput:
    booking_id: strawberry.ID = strawberry.field(description="Convene's id of the booking.")
    new_start: datetime = strawberry.field(description="When it is to begin.")
    new_end: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Must be newStart plus the booking's duration where given: no provider lets a move resize."
    )
    reason: str | None = strawberry.field(default=strawberry.UNSET, description="Why; told to the other party.")
    expected_version: int | None = strawberry.field(
        default=strawberry.UNSET, description="Refuse if the booking changed since it was read."
    )
    idempotency_key: str = strawberry.field(
        description="A new one per intention; the same one again gives the same outcome, also after a crash."
    )
    accept_conflicts: bool | None = strawberry.field(
        default=False,
        description="Go on although the mentee (told as MENTEE_CONFLICT) or an unverifiable mentee calendar speaks against it. "
        "Never overrides the coach's own calendar.",
    )


@strawberry.type(description="Moved, at once.")
class BookingRescheduled:
    booking: Booking = strawberry.field(description="The booking, as it is now.")
    previous_start: datetime = strawberry.field(description="When it began before.")
    previous_end: datetime = strawberry.field(description="When it ended before.")
    checked: list[Participant] = strawberry.field(description="Whose calendars were asked.")
    warnings: list[Notice] = strawberry.field(description="What the mover should know.")
    notifications_queued_for: list[Participant] = strawberry.field(description="Who is told.")


@strawberry.type(description="Moved, but the coach must confirm.")
class RescheduleAwaitingConfirmation:
    booking: Booking = strawberry.field(description="The booking, as it is now.")
    previous_start: datetime = strawberry.field(description="When it began before.")
    warnings: list[Notice] = strawberry.field(description="What the mover should know.")


@strawberry.type(
    description="The outcome of the caller's own key is not known yet; it will be settled. Ask again with the same key, or by the "
    "operation. Anybody else meets BookingNotReschedulable (or ...NotCancellable) with OPERATION_IN_PROGRESS."
)
class RescheduleInProgress:
    operation: BookingOperation = strawberry.field(description="What is under way.")


@strawberry.type(description="It can only be moved on the provider's own page.")
class RescheduleOnProviderPage:
    url: str = strawberry.field(description="The page.")
    message: str = strawberry.field(description="Why, for people.")


@strawberry.type(description="`expectedVersion` is not the booking's.")
class StaleBooking(Problem):
    booking: Booking = strawberry.field(description="The booking, as it is now.")


@strawberry.type(description="The booking cannot be moved now.")
class BookingNotReschedulable(Problem):
    blocked_by: list[RescheduleBlocker] = strawberry.field(description="What stands in the way.")


@strawberry.type(description="The booking cannot be cancelled now.")
class BookingNotCancellable(Problem):
    blocked_by: list[RescheduleBlocker] = strawberry.field(description="What stands in the way.")


RescheduleBookingResult = Annotated[
    BookingRescheduled
    | RescheduleAwaitingConfirmation
    | RescheduleInProgress
    | RescheduleOnProviderPage
    | SlotUnavailable
    | SourceUnverified
    | StaleBooking
    | NotFound
    | NotPermitted
    | BookingNotReschedulable
    | PolicyViolation
    | IdempotencyKeyReused
    | InvalidInput
    | ConnectionUnusable
    | QuotaExhausted
    | TooManyRequests
    | ProviderFailure,
    strawberry.union("RescheduleBookingResult", description="What rescheduleBooking answers."),
]


@strawberry.input(description="Which booking to cancel.")
class CancelBookingInput:
    booking_id: strawberry.ID = strawberry.field(description="Convene's id of the booking.")
    reason: str | None = strawberry.field(default=strawberry.UNSET, description="Why; told to the other party.")
    expected_version: int | None = strawberry.field(
        default=strawberry.UNSET, description="Refuse if the booking changed since it was read."
    )
    idempotency_key: str = strawberry.field(description="A new one per intention; the same one again gives the same outcome.")


@strawberry.type(description="Cancelled. Cancelling what is cancelled answers the same.")
class BookingCancelled:
    booking: Booking = strawberry.field(description="The booking, as it is now.")
    notifications_queued_for: list[Participant] = strawberry.field(description="Who is told.")


@strawberry.type(description="The outcome is not known yet; it will be settled.")
class CancelInProgress:
    operation: BookingOperation = strawberry.field(description="What is under way.")


@strawberry.type(description="It can only be cancelled on the provider's own page.")
class CancelOnProviderPage:
    url: str = strawberry.field(description="The page.")
    message: str = strawberry.field(description="Why, for people.")


CancelBookingResult = Annotated[
    BookingCancelled
    | CancelInProgress
    | CancelOnProviderPage
    | BookingNotCancellable
    | StaleBooking
    | NotFound
    | NotPermitted
    | PolicyViolation
    | IdempotencyKeyReused
    | InvalidInput
    | ConnectionUnusable
    | ProviderFailure,
    strawberry.union("CancelBookingResult", description="What cancelBooking answers."),
]


def _blocked(kind: type[BookingNotReschedulable] | type[BookingNotCancellable]) -> object:
    return lambda _i, e: kind(code=e.code, message=e.message, blocked_by=[RescheduleBlocker(b) for b in e.blocked_by])


TYPES[errors.StaleBooking] = lambda i, e: StaleBooking(code=e.code, message=e.message, booking=Booking.by_id(i, e.booking_id))
TYPES[errors.BookingNotReschedulable] = _blocked(BookingNotReschedulable)  # type: ignore[assignment]
TYPES[errors.BookingNotCancellable] = _blocked(BookingNotCancellable)  # type: ignore[assignment]


@answered
def reschedule(info: Info, input: Given[RescheduleBookingInput]) -> RescheduleBookingResult:  # noqa: A002 - the contract's name
    request = rescheduling.MoveRequest(
        booking_id=str(input.booking_id),
        new_start=input.new_start,
        new_end=given(input.new_end),
        reason=given(input.reason),
        expected_version=given(input.expected_version),
        accept_conflicts=bool(input.accept_conflicts),
    )
    try:
        done = rescheduling.reschedule(info.context.rt, info.context.viewer, request, input.idempotency_key)
    except errors.InProgress as unknown:
        return RescheduleInProgress(operation=operation_of(unknown))
    if isinstance(done, OnProviderPage):
        return RescheduleOnProviderPage(url=done.url, message=done.message)
    booking = Booking.by_id(info, done.booking_id)
    warnings = [Notice.of(warning) for warning in done.warnings]
    previous_start = done.previous_start or booking.start
    if done.pending:
        return RescheduleAwaitingConfirmation(booking=booking, previous_start=previous_start, warnings=warnings)
    return BookingRescheduled(
        booking=booking,
        previous_start=previous_start,
        previous_end=done.previous_end or booking.end,
        checked=_people(info, booking, lambda p: p.role in done.checked),
        warnings=warnings,
        notifications_queued_for=_people(info, booking, lambda p: p.person_id in done.notified),
    )


@answered
def cancel(info: Info, input: Given[CancelBookingInput]) -> CancelBookingResult:  # noqa: A002 - the contract's name
    try:
        done = cancelling.cancel(
            info.context.rt,
            info.context.viewer,
            str(input.booking_id),
            reason=given(input.reason),
            expected_version=given(input.expected_version),
            key=input.idempotency_key,
        )
    except errors.InProgress as unknown:
        return CancelInProgress(operation=operation_of(unknown))
    if isinstance(done, OnProviderPage):
        return CancelOnProviderPage(url=done.url, message=done.message)
    booking = Booking.by_id(info, done.booking_id)
    return BookingCancelled(booking=booking, notifications_queued_for=_people(info, booking, lambda p: p.person_id in done.notified))


def operation_of(unknown: errors.InProgress) -> BookingOperation:
    return BookingOperation.of(Operation.get_by_id(unknown.operation_id))


def _people(info: Info, booking: Booking, wanted: Callable[[ParticipantRow], bool]) -> list[Participant]:
    role = booking.batch.role(booking.row)
    return [participant(info, booking.row, role, p) for p in booking.batch.participants[booking.row.id] if wanted(p)]
