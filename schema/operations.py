"""An intended change of a booking, and how far it is."""

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from models import Operation as OperationRow
from schema.bookings import Booking, BookingChangeKind, one
from schema.context import Info
from services import operations


@strawberry.enum(description="How far an operation is.")
class OperationState(Enum):
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    REFUSED = "REFUSED"
    UNDONE = "UNDONE"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"


@strawberry.type(
    description="One intended change of a booking. NEEDS_ATTENTION: could be neither completed nor undone; an admin sees what to do."
)
class BookingOperation:
    row: strawberry.Private[OperationRow]
    id: strawberry.ID = strawberry.field(description="Its id.")
    kind: BookingChangeKind = strawberry.field(description="What was asked.")
    state: OperationState = strawberry.field(description="How far it is.")
    started_at: datetime = strawberry.field(description="When it was asked.")
    settled_at: datetime | None = strawberry.field(description="When it ended.")

    @strawberry.field(description="The booking, as it is now.")
    def booking(self, info: Info) -> Booking | None:
        return one(info, strawberry.ID(self.row.booking_id))

    @classmethod
    def of(cls, row: OperationRow) -> "BookingOperation":
        return cls(
            row=row,
            id=strawberry.ID(row.id),
            kind=BookingChangeKind(row.kind),
            state=OperationState(row.state),
            started_at=row.created_at,
            settled_at=row.settled_at,
        )


def operation(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="The operation's id.")],  # noqa: A002
) -> BookingOperation | None:
    row = operations.visible(info.context.viewer, str(id))
    return BookingOperation.of(row) if row else None
