"""Free slots of an event type, or of a booking that is to move."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated

import strawberry

from schema.context import Given, Info, given
from schema.people import Host
from schema.problems import ConnectionUnusable, InvalidInput, NotFound, ProviderFailure, answered
from schema.scalars import ParticipantRole, Provider, TimeZone
from schema.slots import Slot
from services import availability, notices

DEFAULT_MAX_AGE = 300


@strawberry.enum(description="How a calendar was looked at.")
class SourceState(Enum):
    FRESH = strawberry.enum_value("FRESH", description="Asked for this answer.")
    CACHED = strawberry.enum_value("CACHED", description="From an earlier answer, not older than was accepted.")
    UNAVAILABLE = strawberry.enum_value("UNAVAILABLE", description="Could not be asked; the last answer is older than was accepted.")
    NOT_CONNECTED = strawberry.enum_value("NOT_CONNECTED", description="There is no link to ask through.")


@strawberry.enum(description="What a warning is about.")
class WarningCode(Enum):
    MENTEE_NOT_CONNECTED = "MENTEE_NOT_CONNECTED"
    MENTEE_CONFLICT = "MENTEE_CONFLICT"
    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"
    STALE = "STALE"
    OUTSIDE_OVERLAP = "OUTSIDE_OVERLAP"


@strawberry.type(name="Warning", description="Something that the asker should know.")
class Notice:
    code: WarningCode = strawberry.field(description="Stable, for programs.")
    message: str = strawberry.field(description="For people.")
    connect_provider: Provider | None = strawberry.field(description="Connecting this provider would help.")

    @classmethod
    def of(cls, notice: notices.Notice) -> "Notice":
        return cls(
            code=WarningCode(notice.code),
            message=notice.message,
            connect_provider=Provider(notice.connect_provider) if notice.connect_provider else None,
        )


@strawberry.input(description="From `start` (inclusive) to `end` (exclusive).")
class TimeWindowInput:
    start: datetime = strawberry.field(description="Where the window begins.")
    end: datetime = strawberry.field(description="Where the window ends.")


@strawberry.input(one_of=True, description="A booking: where it can move, both parties considered. An event type: its free slots.")
class AvailabilityTarget:
    booking_id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="A booking of the viewer's.")
    event_type_id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="A host's event type.")


@strawberry.input(description="Which slots are asked for.")
class AvailabilityInput:
    target: AvailabilityTarget = strawberry.field(description="Of what.")
    window: TimeWindowInput = strawberry.field(description="When.")
    duration_minutes: int | None = strawberry.field(
        default=strawberry.UNSET, description="One of the event type's lengths; default: its own."
    )
    time_zone: TimeZone | None = strawberry.field(default=strawberry.UNSET, description="For `days`; default: the viewer's.")
    max_age_seconds: int | None = strawberry.field(default=DEFAULT_MAX_AGE, description="0: ask the providers now.")


@strawberry.type(description="The starts of one local day.")
class AvailabilityDay:
    date: str = strawberry.field(description="YYYY-MM-DD in the zone that was asked for.")
    starts: list[datetime] = strawberry.field(description="Free starts of that day.")


@strawberry.type(description="Whose calendar was looked at, and how.")
class AvailabilitySource:
    participant: Host = strawberry.field(description="Whose.")
    role: ParticipantRole = strawberry.field(description="What they are.")
    provider: Provider | None = strawberry.field(description="At which provider.")
    state: SourceState = strawberry.field(description="How it was looked at.")
    as_of: datetime | None = strawberry.field(description="How old the oldest part of the answer is.")


@strawberry.type(description="Free slots, and how far the answer can be trusted.")
class Availability:
    answer: strawberry.Private[availability.Availability]

    @strawberry.field(description="The slots.")
    def slots(self) -> list[Slot]:
        length = timedelta(minutes=self.answer.minutes)
        return [Slot(start=start, end=start + length) for start in self.answer.starts]

    @strawberry.field(description="The same starts, compact: for large windows.")
    def starts(self) -> list[datetime]:
        return self.answer.starts

    @strawberry.field(description="How long each slot is.")
    def duration_minutes(self) -> int:
        return self.answer.minutes

    @strawberry.field(description="The same slots by local day of `timeZone`: what a date picker shows.")
    def days(self) -> list[AvailabilityDay]:
        return [AvailabilityDay(date=day.isoformat(), starts=starts) for day, starts in self.answer.days()]

    @strawberry.field(description="The zone of `days`.")
    def time_zone(self) -> TimeZone:
        return TimeZone(self.answer.zone_name)

    @strawberry.field(description="When this answer was put together.")
    def computed_at(self) -> datetime:
        return self.answer.computed_at

    @strawberry.field(description="Whose calendars were looked at.")
    def sources(self) -> list[AvailabilitySource]:
        return [
            AvailabilitySource(
                participant=Host(id=strawberry.ID(s.person_id), name=s.name or "Unnamed"),
                role=ParticipantRole(s.role),
                provider=Provider(s.provider) if s.provider else None,
                state=SourceState(s.state),
                as_of=s.as_of,
            )
            for s in self.answer.sources
        ]

    @strawberry.field(description="What the asker should know.")
    def warnings(self) -> list[Notice]:
        return [Notice.of(notice) for notice in self.answer.warnings]


AvailabilityResult = Annotated[
    Availability | NotFound | InvalidInput | ConnectionUnusable | ProviderFailure,
    strawberry.union("AvailabilityResult", description="What availability answers."),
]


@answered
def find(info: Info, input: Given[AvailabilityInput]) -> AvailabilityResult:  # noqa: A002 - the contract's name
    age = DEFAULT_MAX_AGE if input.max_age_seconds is None else input.max_age_seconds
    answer = availability.find(
        info.context.rt,
        info.context.viewer,
        booking_id=given(input.target.booking_id),
        event_type_id=given(input.target.event_type_id),
        start=input.window.start,
        end=input.window.end,
        minutes=given(input.duration_minutes),
        zone_name=given(input.time_zone),
        max_age=timedelta(seconds=age),
    )
    return Availability(answer=answer)
