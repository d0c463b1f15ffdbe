"""Making a booking."""

from datetime import datetime
from typing import Annotated

import strawberry

from schema.availability import Notice
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
    QuotaExhausted,
    SlotUnavailable,
    SourceUnverified,
    TooManyRequests,
    answered,
)
from schema.rescheduling import operation_of
from schema.scalars import TimeZone
from services import creating, errors


@strawberry.input(description="Who attends.")
class AttendeeInput:
    name: str = strawberry.field(description="Their name.")
    email: str = strawberry.field(description="Their e-mail address; the provider writes to it.")
    time_zone: TimeZone = strawberry.field(description="Their time zone.")


@strawberry.input(description="The answer to a question of the booking form.")
class AnswerInput:
    question: str = strawberry.field(description="As the event type has it.")
    answer: str = strawberry.field(description="The answer; one of the choices where there are any.")


@strawberry.input(description="What to book.")
class CreateBookingInput:
    event_type_id: strawberry.ID = strawberry.field(description="Convene's id of the event type.")
    start: datetime = strawberry.field(description="When it is to begin.")
    duration_minutes: int | None = strawberry.field(
        default=strawberry.UNSET, description="One of the event type's lengths; default: its own."
    )
    attendee: AttendeeInput | None = strawberry.field(default=strawberry.UNSET, description="Default: the viewer.")
    answers: list[AnswerInput] | None = strawberry.field(default=strawberry.UNSET, description="To the event type's questions.")
    idempotency_key: str = strawberry.field(
        description="A new one per intention; the same one again gives the same outcome, also after a crash."
    )
    accept_conflicts: bool | None = strawberry.field(
        default=False, description="Go on although the mentee's side speaks against it. Never overrides the coach's own calendar."
    )


@strawberry.type(description="Booked, at once.")
class BookingCreated:
    booking: Booking = strawberry.field(description="The booking.")
    warnings: list[Notice] = strawberry.field(description="What whoever booked should know.")


@strawberry.type(description="Asked for; the coach must confirm.")
class BookingAwaitingConfirmation:
    booking: Booking = strawberry.field(description="The booking.")
    warnings: list[Notice] = strawberry.field(description="What whoever booked should know.")


@strawberry.type(description="The outcome is not known yet; it will be settled. Ask again with the same key, or by the operation.")
class BookingInProgress:
    operation: BookingOperation = strawberry.field(description="What is under way.")


CreateBookingResult = Annotated[
    BookingCreated
    | BookingAwaitingConfirmation
    | BookingInProgress
    | SlotUnavailable
    | SourceUnverified
    | NotFound
    | NotPermitted
    | IdempotencyKeyReused
    | InvalidInput
    | ConnectionUnusable
    | QuotaExhausted
    | TooManyRequests
    | ProviderFailure,
    strawberry.union("CreateBookingResult", description="What createBooking answers."),
]


@answered
def create(info: Info, input: Given[CreateBookingInput]) -> CreateBookingResult:  # noqa: A002 - the contract's name
    attendee = given(input.attendee)
    request = creating.BookingRequest(
        event_type_id=str(input.event_type_id),
        start=input.start,
        minutes=given(input.duration_minutes),
        attendee=creating.Attendee(attendee.name, attendee.email, attendee.time_zone) if attendee else None,
        answers=tuple((one.question, one.answer) for one in given(input.answers) or ()),
        accept_conflicts=bool(input.accept_conflicts),
    )
    try:
        done = creating.create(info.context.rt, info.context.viewer, request, input.idempotency_key)
    except errors.InProgress as unknown:
        return BookingInProgress(operation=operation_of(unknown))
    booking = Booking.by_id(info, done.booking_id)
    warnings = [Notice.of(warning) for warning in done.warnings]
    return (BookingAwaitingConfirmation if done.pending else BookingCreated)(booking=booking, warnings=warnings)
