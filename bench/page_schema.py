"""The page as Convene answers it, fed from memory.

Everything but the source is the real thing: the application with its hooks, POST /graphql, the `Schema` class with the
extensions, the configuration and the execution context of `schema.root`. `bookings` answers the real
`schema.bookings.Booking` with its participants and event types; with BENCH_TYPES=plain, types that are attributes only.
Nobody signs in: none of the peers checks a token. The page with the database has all of it.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import strawberry

from bench.page_rows import FIRST, booking
from models import Booking as BookingRow
from models import EventType as EventTypeRow
from models import Participant as ParticipantRow
from schema import root
from schema.bookings import Batch, Booking
from schema.context import Info
from schema.event_types import EventType
from schema.scalars import BookingStatus, ParticipantRole, Provider
from services.identity import Viewer

VIEWER = Viewer("01KU", "01KP-coach", "Clara Coach", "clara.coach@example.test", "Europe/Berlin", False, FIRST + timedelta(days=1))


# ---- the real types ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """What the database would have answered."""

    rows: list[Any]
    participants: dict[str, list[Any]]
    event_types: dict[str, EventType]


@cache
def source(rows: int) -> Source:
    found = [booking(number) for number in range(rows)]
    kinds = {one["eventType"]["id"]: EventType.of(_event_type_row(one["eventType"]), "Clara Coach") for one in found}
    return Source([_row(one) for one in found], {one["id"]: _participant_rows(one) for one in found}, kinds)


def _row(one: dict[str, Any]) -> Any:
    return BookingRow(
        id=one["id"],
        version=one["version"],
        provider="calcom",
        title=one["title"],
        status=one["status"],
        start=one["start"],
        end=one["end"],
        created_at=one["createdAt"],
        updated_at=one["createdAt"],
        event_type=one["eventType"]["id"],
    )


def _participant_rows(one: dict[str, Any]) -> list[Any]:
    return [
        ParticipantRow(
            id=f"{one['id']}-{number}",
            booking=one["id"],
            person="01KP-coach" if person["role"] == "COACH" else f"01KP-{one['id']}",
            role=person["role"],
            name=person["name"],
            email=person["email"],
        )
        for number, person in enumerate(one["participants"])
    ]


def _event_type_row(kind: dict[str, Any]) -> Any:
    return EventTypeRow(
        id=kind["id"],
        provider="calcom",
        title=kind["title"],
        duration_minutes=kind["durationMinutes"],
        host="01KP-coach",
    )


def from_memory(info: Info, rows: int) -> list[Booking]:
    found = source(rows)
    batch = Batch(info.context, found.rows)
    # what the batch would read is there already
    batch.__dict__.update(participants=found.participants, event_types=found.event_types)
    return [Booking.of(row, batch) for row in found.rows]


@strawberry.type
class Query:
    bookings: list[Booking] = strawberry.field(resolver=from_memory)


# ---- plain types ---------------------------------------------------------------------------------------------------------


@strawberry.type(name="Participant")
class PlainParticipant:
    name: str
    email: str | None
    role: ParticipantRole


@strawberry.type(name="EventType")
class PlainEventType:
    id: strawberry.ID
    title: str
    duration_minutes: int


@strawberry.type(name="Booking")
class PlainBooking:
    id: strawberry.ID
    version: int
    title: str
    status: BookingStatus
    provider: Provider
    start: datetime
    end: datetime
    created_at: datetime
    participants: list[PlainParticipant]
    event_type: PlainEventType | None


@cache
def plain_source(rows: int) -> list[PlainBooking]:
    return [_plain(booking(number)) for number in range(rows)]


def _plain(one: dict[str, Any]) -> PlainBooking:
    people = [PlainParticipant(name=p["name"], email=p["email"], role=ParticipantRole(p["role"])) for p in one["participants"]]
    kind = one["eventType"]
    return PlainBooking(
        id=strawberry.ID(one["id"]),
        version=one["version"],
        title=one["title"],
        status=BookingStatus(one["status"]),
        provider=Provider("calcom"),
        start=one["start"],
        end=one["end"],
        created_at=one["createdAt"],
        participants=people,
        event_type=PlainEventType(id=kind["id"], title=kind["title"], duration_minutes=kind["durationMinutes"]),
    )


def plain_from_memory(rows: int) -> list[PlainBooking]:
    return plain_source(rows)


@strawberry.type(name="Query")
class PlainQuery:
    bookings: list[PlainBooking] = strawberry.field(resolver=plain_from_memory)


def page_schema() -> strawberry.Schema:
    real = root.schema
    return strawberry.Schema(
        query=PlainQuery if os.environ.get("BENCH_TYPES") == "plain" else Query,
        config=real.config,
        execution_context_class=real.execution_context_class,
    )
