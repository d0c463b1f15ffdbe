"""The inbox, for admins."""

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry
from strawberry.relay import PageInfo

from models import WebhookEvent as Row
from schema.connections import Edge, Key, page
from schema.context import Given, Info, given
from schema.problems import InvalidInput, NotPermitted, answered
from schema.scalars import Provider
from services import webhooks
from services.errors import Forbidden
from services.errors import InvalidInput as InvalidInputProblem
from services.errors import NotPermitted as NotPermittedProblem

MOST_AT_ONCE = 100
KEY = Key("webhook_events", Row.received_at, Row.id, lambda row: row.received_at, descending=True)


@strawberry.enum(description="What became of a delivery.")
class WebhookEventState(Enum):
    PENDING = strawberry.enum_value("PENDING", description="Stored and acknowledged, not applied yet.")
    RETRYING = strawberry.enum_value("RETRYING", description="Failed, and is tried again.")
    APPLIED = strawberry.enum_value("APPLIED", description="Its booking was read back and recorded.")
    IGNORED = strawberry.enum_value("IGNORED", description="Nothing to do: an unknown kind, or a test.")
    DEAD = strawberry.enum_value("DEAD", description="Given up; lastError says why.")


@strawberry.type(description="One verified delivery of a provider.")
class WebhookEvent:
    id: strawberry.ID = strawberry.field(description="Its id.")
    provider: Provider = strawberry.field(description="Whose.")
    kind: str = strawberry.field(description="The provider's name of the event.")
    state: WebhookEventState = strawberry.field(description="What became of it.")
    received_at: datetime = strawberry.field(description="When it was stored.")
    applied_at: datetime | None = strawberry.field(description="When it came to its end.")
    attempts: int = strawberry.field(description="How often it was taken up.")
    next_attempt_at: datetime | None = strawberry.field(description="When it is tried again.")
    last_error: str | None = strawberry.field(description="Why it failed last.")
    booking_id: strawberry.ID | None = strawberry.field(description="The booking it was about, once that is known.")


@strawberry.type(description="A page of deliveries, newest first.")
class WebhookEventConnection:
    edges: list[Edge[WebhookEvent]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")


def listed(
    info: Info,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = 25,
    after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
    state: Annotated[WebhookEventState | None, strawberry.argument(description="Only in this state.")] = strawberry.UNSET,
    provider: Annotated[Provider | None, strawberry.argument(description="Only of this provider.")] = strawberry.UNSET,
) -> WebhookEventConnection | None:
    if not info.context.viewer.is_admin:
        raise Forbidden("Only admins see the inbox.")
    query = Row.select()
    if state:
        query = query.where(Row.state == state.value)
    if provider:
        query = query.where(Row.provider == provider.value)
    found = page(query, KEY, first, after)
    return WebhookEventConnection(edges=found.edges(_shown(row) for row in found.rows), page_info=found.info)


@strawberry.input(description="Which deliveries to apply again: these, or all that were given up.")
class ReplayWebhookEventsInput:
    ids: list[strawberry.ID] | None = strawberry.field(default=strawberry.UNSET, description="Ids of webhookEvents, at most 100.")
    all_dead: bool | None = strawberry.field(default=False, description="Every one that is DEAD.")


@strawberry.type(description="They are due now; webhookEvents shows what becomes of them.")
class WebhookEventsReplayed:
    replayed: int = strawberry.field(description="How many are due again.")
    skipped: int = strawberry.field(description="Of the ids: unknown, not yet at an end, or so old that their body is gone.")


ReplayWebhookEventsResult = Annotated[
    WebhookEventsReplayed | NotPermitted | InvalidInput,
    strawberry.union("ReplayWebhookEventsResult", description="What replayWebhookEvents answers."),
]


@answered
def replay(info: Info, input: Given[ReplayWebhookEventsInput]) -> ReplayWebhookEventsResult:  # noqa: A002
    ids = given(input.ids)
    if not info.context.viewer.is_admin:
        raise NotPermittedProblem("Only admins apply deliveries again.")
    if (ids is None) is not bool(input.all_dead):
        raise InvalidInputProblem.of("ids", "Give either ids or allDead.")
    if ids is not None and not 1 <= len(ids) <= MOST_AT_ONCE:
        raise InvalidInputProblem.of("ids", f"Give 1 to {MOST_AT_ONCE} ids.")
    replayed = webhooks.replay(info.context.rt, ids)
    return WebhookEventsReplayed(replayed=replayed, skipped=len(set(ids)) - replayed if ids is not None else 0)


def _shown(row: Row) -> WebhookEvent:
    return WebhookEvent(
        id=strawberry.ID(row.id),
        provider=Provider(row.provider),
        kind=row.kind,
        state=WebhookEventState(row.state),
        received_at=row.received_at,
        applied_at=row.applied_at,
        attempts=row.attempts,
        next_attempt_at=row.due_at if row.state in {"PENDING", "RETRYING"} else None,
        last_error=row.last_error,
        booking_id=strawberry.ID(row.booking_id) if row.booking_id else None,
    )
