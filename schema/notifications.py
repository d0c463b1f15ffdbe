"""What the viewer was told."""

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry
from strawberry.relay import PageInfo

from models import Booking as BookingRow
from models import Notification as Row
from models import Participant
from schema.bookings import Booking
from schema.connections import Edge, Key, page
from schema.context import Given, Info
from schema.problems import InvalidInput, answered
from services import errors, notifications

KEY = Key("notifications", Row.created_at, Row.id, lambda row: row.created_at, descending=True)
MOST_IDS = 100


@strawberry.enum(description="What a notification is about.")
class NotificationKind(Enum):
    BOOKED = "BOOKED"
    MOVED = "MOVED"
    CANCELLED = "CANCELLED"
    AWAITING_CONFIRMATION = "AWAITING_CONFIRMATION"
    CONFIRMED = "CONFIRMED"
    DECLINED = "DECLINED"
    REMINDER = "REMINDER"
    RECONNECT_NEEDED = "RECONNECT_NEEDED"
    RECORDING_READY = "RECORDING_READY"


@strawberry.type(description="Something that the viewer was told, in their own time zone.")
class Notification:
    id: strawberry.ID = strawberry.field(description="Its id.")
    kind: NotificationKind = strawberry.field(description="What it is about.")
    title: str = strawberry.field(description="One line.")
    body: str = strawberry.field(description="A sentence or two.")
    booking: Booking | None = strawberry.field(description="The booking, as it is now; null for somebody who no longer takes part.")
    previous_start: datetime | None = strawberry.field(description="The start before.")
    new_start: datetime | None = strawberry.field(description="The start after.")
    by: str | None = strawberry.field(description="Who did it; null when it was the viewer, or is not known.")
    read_at: datetime | None = strawberry.field(description="When it was marked as read.")
    created_at: datetime = strawberry.field(description="When it was made.")


@strawberry.type(description="A page of notifications, newest first.")
class NotificationConnection:
    edges: list[Edge[Notification]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")

    @strawberry.field(description="Not read yet, on all pages.")
    def unread_count(self, info: Info) -> int:
        return notifications.unread_count(info.context.viewer)


def listed(
    info: Info,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = 25,
    after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
    unread_only: Annotated[bool | None, strawberry.argument(description="Only what is not read yet.")] = False,
) -> NotificationConnection | None:
    query = Row.select().where((Row.person == info.context.viewer.person_id) & Row.in_app)
    if unread_only:
        query = query.where(Row.read_at.is_null())
    found = page(query, KEY, first, after)
    ids = [row.booking_id for row in found.rows if row.booking_id]
    # somebody who was taken out of a booking keeps what they were told, and sees no more of it
    mine = Participant.select(Participant.booking).where(Participant.person == info.context.viewer.person_id)
    rows = list(BookingRow.select().where(BookingRow.id.in_(ids) & BookingRow.id.in_(mine))) if ids else []
    booking_by_id = {str(booking.id): booking for booking in Booking.many(info.context, rows)}
    nodes = (_shown(row, booking_by_id.get(row.booking_id)) for row in found.rows)
    return NotificationConnection(edges=found.edges(nodes), page_info=found.info)


def _shown(row: Row, booking: Booking | None) -> Notification:
    return Notification(
        id=strawberry.ID(row.id),
        kind=NotificationKind(row.kind),
        title=row.title,
        body=row.body,
        booking=booking,
        previous_start=row.previous_start,
        new_start=row.new_start,
        by=row.by,
        read_at=row.read_at,
        created_at=row.created_at,
    )


@strawberry.input(description="Which notifications were read: some, or all.")
class MarkNotificationsReadInput:
    ids: list[strawberry.ID] | None = strawberry.field(default=strawberry.UNSET, description="These.")
    all: bool | None = strawberry.field(default=False, description="All of the viewer's.")


@strawberry.type(description="They are marked as read.")
class NotificationsMarkedRead:
    unread_count: int = strawberry.field(description="What is left.")


MarkNotificationsReadResult = Annotated[
    NotificationsMarkedRead | InvalidInput,
    strawberry.union("MarkNotificationsReadResult", description="What markNotificationsRead answers."),
]


@answered
def mark_read(info: Info, input: Given[MarkNotificationsReadInput]) -> MarkNotificationsReadResult:  # noqa: A002
    if bool(input.ids) == bool(input.all):
        raise errors.InvalidInput.of("ids", "Give either some ids, or `all: true`.")
    if input.ids and len(input.ids) > MOST_IDS:
        raise errors.InvalidInput.of("ids", f"At most {MOST_IDS} ids at once.")
    ids = [str(i) for i in input.ids] if input.ids else None
    return NotificationsMarkedRead(unread_count=notifications.mark_read(info.context.rt, info.context.viewer, ids))
