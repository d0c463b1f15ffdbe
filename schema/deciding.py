"""A coach's answer to a booking that waits for it."""

from typing import Annotated

import strawberry

from schema.bookings import Booking
from schema.context import Given, Info, given
from schema.operations import BookingOperation
from schema.problems import (
    ConnectionUnusable,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    NotPermitted,
    ProviderFailure,
    SlotUnavailable,
    answered,
)
from schema.rescheduling import StaleBooking, operation_of
from services import deciding, errors


@strawberry.input(description="Which booking to confirm or decline.")
class DecideBookingInput:
    booking_id: strawberry.ID = strawberry.field(description="Convene's id of the booking.")
    reason: str | None = strawberry.field(default=strawberry.UNSET, description="Why; told to the mentee.")
    idempotency_key: str = strawberry.field(description="A new one per intention; the same one again gives the same outcome.")


@strawberry.type(description="Decided. Deciding the same again answers the same.")
class BookingDecided:
    booking: Booking = strawberry.field(description="The booking, as it is now.")


@strawberry.type(description="The outcome is not known yet; it will be settled.")
class DecisionInProgress:
    operation: BookingOperation = strawberry.field(description="What is under way.")


DecideBookingResult = Annotated[
    BookingDecided
    | DecisionInProgress
    | SlotUnavailable
    | StaleBooking
    | NotFound
    | NotPermitted
    | IdempotencyKeyReused
    | InvalidInput
    | ConnectionUnusable
    | ProviderFailure,
    strawberry.union("DecideBookingResult", description="What confirmBooking and declineBooking answer."),
]


@answered
def confirm(info: Info, input: Given[DecideBookingInput]) -> DecideBookingResult:  # noqa: A002 - the contract's name
    return _decide(info, input, "CONFIRMED")


@answered
def decline(info: Info, input: Given[DecideBookingInput]) -> DecideBookingResult:  # noqa: A002 - the contract's name
    return _decide(info, input, "DECLINED")


def _decide(info: Info, input: DecideBookingInput, decision: deciding.Decision) -> DecideBookingResult:  # noqa: A002
    rt, viewer = info.context.rt, info.context.viewer
    try:
        done = deciding.decide(rt, viewer, str(input.booking_id), decision, reason=given(input.reason), key=input.idempotency_key)
    except errors.InProgress as unknown:
        return DecisionInProgress(operation=operation_of(unknown))
    return BookingDecided(booking=Booking.by_id(info, done.booking_id))
