"""What an admin has to look at, and what they can do about it."""

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry
from strawberry.relay import PageInfo

from models import Booking as BookingRow
from models.base import from_ms
from schema.bookings import Booking
from schema.connections import Edge, Key, page
from schema.context import Given, Info
from schema.problems import InvalidInput, NotFound, NotPermitted, ProviderFailure, answered
from schema.scalars import Provider
from services import attention, errors


@strawberry.enum(description="What kind of thing needs attention.")
class AttentionKind(Enum):
    OPERATION = strawberry.enum_value("OPERATION", description="A change that could be neither completed nor undone.")
    WEBHOOK = strawberry.enum_value("WEBHOOK", description="A delivery that could not be applied.")
    DRIFT = strawberry.enum_value("DRIFT", description="A difference between Convene and a provider.")
    DELIVERY = strawberry.enum_value("DELIVERY", description="An e-mail that could not be delivered.")


@strawberry.enum(description="What can be done about an item.")
class AttentionAction(Enum):
    TRY_AGAIN = strawberry.enum_value("TRY_AGAIN", description="Take it up where it stopped.")
    DISMISS = strawberry.enum_value("DISMISS", description="It was seen to by hand: take it off the list.")


@strawberry.type(description="Something that does not come right by itself.")
class AttentionItem:
    item: strawberry.Private[attention.Item]
    of: strawberry.Private[Booking | None]
    id: strawberry.ID = strawberry.field(description="Its id.")
    kind: AttentionKind = strawberry.field(description="What it is.")
    since: datetime = strawberry.field(description="Since when.")
    title: str = strawberry.field(description="One line.")
    detail: str = strawberry.field(description="What is known of it; no secrets, no addresses.")
    advice: str = strawberry.field(description="What to do.")
    actions: list[AttentionAction] = strawberry.field(description="What resolveAttention takes for it.")
    provider: Provider | None = strawberry.field(description="At which provider, where it is about one.")

    @strawberry.field(description="The booking that it is about, as it is now.")
    def booking(self) -> Booking | None:
        return self.of


@strawberry.type(description="A page of items, newest first.")
class AttentionItemConnection:
    edges: list[Edge[AttentionItem]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")


def listed(
    info: Info,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = 25,
    after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
) -> AttentionItemConnection | None:
    if not info.context.viewer.is_admin:
        raise errors.Forbidden("Only admins see what needs attention.")
    query, since, row_id = attention.items()
    found = page(query, Key("attention", since, row_id, lambda row: from_ms(row.since), descending=True), first, after)
    items = {item.id: item for item in attention.shown([(row.id, row.kind) for row in found.rows])}
    ids = [item.booking_id for item in items.values() if item.booking_id]
    rows = list(BookingRow.select().where(BookingRow.id.in_(ids))) if ids else []
    bookings = {str(booking.id): booking for booking in Booking.many(info.context, rows)}
    # what came to an end between the two statements is no item any more
    nodes = (_shown(items[row.id], bookings) if row.id in items else None for row in found.rows)
    return AttentionItemConnection(edges=found.edges(nodes), page_info=found.info)


def _shown(item: attention.Item, bookings: dict[str, Booking]) -> AttentionItem:
    return AttentionItem(
        item=item,
        of=bookings.get(item.booking_id or ""),
        id=strawberry.ID(item.id),
        kind=AttentionKind(item.kind),
        since=item.created_at,
        title=item.title,
        detail=item.detail,
        advice=item.advice,
        actions=[AttentionAction(action) for action in item.actions],
        provider=Provider(item.provider) if item.provider else None,
    )


@strawberry.input(description="Which item, and what to do about it.")
class ResolveAttentionInput:
    id: strawberry.ID = strawberry.field(description="Its id.")
    action: AttentionAction = strawberry.field(description="One of its actions.")


@strawberry.type(description="It is done, or due.")
class AttentionResolved:
    id: strawberry.ID = strawberry.field(description="The item's id.")
    action: AttentionAction = strawberry.field(description="What was done.")


ResolveAttentionResult = Annotated[
    AttentionResolved | NotFound | NotPermitted | InvalidInput | ProviderFailure,
    strawberry.union("ResolveAttentionResult", description="What resolveAttention answers."),
]


@answered
def resolve(info: Info, input: Given[ResolveAttentionInput]) -> ResolveAttentionResult:  # noqa: A002 - the contract's name
    if not info.context.viewer.is_admin:
        raise errors.NotPermitted("Only admins resolve what needs attention.")
    attention.resolve(info.context.rt, str(input.id), input.action.name)
    return AttentionResolved(id=input.id, action=input.action)
