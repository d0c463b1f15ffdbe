"""Working hours: what they are, and changing them."""

from datetime import date
from enum import Enum
from typing import Annotated

import strawberry

from models import Schedule as Row
from schema.context import Given, Info, given
from schema.problems import ConnectionUnusable, InvalidInput, NotFound, NotSupported, ProviderFailure, answered
from schema.scalars import Provider, TimeZone
from services import schedules
from services.errors import BadUserInput
from services.providers.base import Hours


@strawberry.enum(description="A day of the week.")
class Weekday(Enum):
    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


@strawberry.type(description="Open from start to end, local to the schedule's time zone.")
class ScheduleHours:
    start: str = strawberry.field(description="HH:MM")
    end: str = strawberry.field(description="HH:MM; 24:00 is the end of the day.")


@strawberry.type(description="The hours of one day of the week.")
class ScheduleDay:
    day: Weekday = strawberry.field(description="Which day.")
    hours: list[ScheduleHours] = strawberry.field(description="When it is open.")


@strawberry.type(description="The hours of one date, instead of those of its day of the week.")
class ScheduleOverride:
    date: str = strawberry.field(description="YYYY-MM-DD")
    hours: list[ScheduleHours] = strawberry.field(description="When it is open; empty: not at all.")


@strawberry.type(description="Working hours at a provider, as last read.")
class Schedule:
    id: strawberry.ID = strawberry.field(description="Convene's id.")
    provider: Provider = strawberry.field(description="Where it is kept.")
    name: str = strawberry.field(description="What it is called.")
    time_zone: TimeZone = strawberry.field(description="The zone of all its hours.")
    is_default: bool = strawberry.field(description="Used by event types that name no other.")
    weekly: list[ScheduleDay] = strawberry.field(description="By day of the week; what is not listed is closed.")
    overrides: list[ScheduleOverride] = strawberry.field(description="By date.")
    editable: bool = strawberry.field(description="Whether updateSchedule can change it.")
    provider_page_url: str = strawberry.field(description="Where it is changed by hand.")

    @classmethod
    def of(cls, info: Info, row: Row) -> "Schedule":
        remote, provider = schedules.remote_of(row), info.context.rt.scheduling(row.provider)
        return cls(
            id=strawberry.ID(row.id),
            provider=Provider(row.provider),
            name=row.name,
            time_zone=TimeZone(row.time_zone),
            is_default=row.is_default,
            weekly=[ScheduleDay(day=Weekday(day), hours=_shown(hours)) for day, hours in remote.weekly],
            overrides=[ScheduleOverride(date=day.isoformat(), hours=_shown(hours)) for day, hours in remote.overrides],
            editable=provider.capabilities.schedule_changes,
            provider_page_url=provider.schedules_page(),
        )


def _shown(hours: tuple[Hours, ...]) -> list[ScheduleHours]:
    return [ScheduleHours(start=one.start, end=one.end) for one in hours]


@strawberry.input(description="Open from start to end, local to the schedule's time zone.")
class ScheduleHoursInput:
    start: str = strawberry.field(description="HH:MM")
    end: str = strawberry.field(description="HH:MM; 24:00 is the end of the day.")


@strawberry.input(description="The hours of one day of the week.")
class ScheduleDayInput:
    day: Weekday = strawberry.field(description="Which day.")
    hours: list[ScheduleHoursInput] = strawberry.field(description="When it is open.")


@strawberry.input(description="The hours of one date, instead of those of its day of the week.")
class ScheduleOverrideInput:
    date: str = strawberry.field(description="YYYY-MM-DD")
    hours: list[ScheduleHoursInput] = strawberry.field(description="When it is open; empty: not at all.")


@strawberry.input(description="What to change of a schedule; what is left out stays, what is given replaces the whole list.")
class UpdateScheduleInput:
    schedule_id: strawberry.ID = strawberry.field(description="Which one; the viewer's own.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="What it is called.")
    time_zone: TimeZone | None = strawberry.field(default=strawberry.UNSET, description="The zone of all its hours.")
    weekly: list[ScheduleDayInput] | None = strawberry.field(
        default=strawberry.UNSET, description="By day of the week; what is not listed is closed."
    )
    overrides: list[ScheduleOverrideInput] | None = strawberry.field(default=strawberry.UNSET, description="By date.")


@strawberry.type(description="The schedule is changed.")
class ScheduleUpdated:
    schedule: Schedule = strawberry.field(description="As the provider has it now.")


UpdateScheduleResult = Annotated[
    ScheduleUpdated | NotFound | NotSupported | InvalidInput | ConnectionUnusable | ProviderFailure,
    strawberry.union("UpdateScheduleResult", description="What updateSchedule answers."),
]


def listed(
    info: Info,
    provider: Annotated[Provider | None, strawberry.argument(description="Only of this provider.")] = strawberry.UNSET,
) -> list[Schedule]:
    rt, viewer = info.context.rt, info.context.viewer
    rows = schedules.mine(rt, viewer, provider.value if provider else None)
    return [Schedule.of(info, row) for row in rows]


@answered
def update(info: Info, input: Given[UpdateScheduleInput]) -> UpdateScheduleResult:  # noqa: A002
    weekly, overrides = given(input.weekly), given(input.overrides)
    change = schedules.Change(
        name=given(input.name),
        time_zone=given(input.time_zone),
        weekly=None if weekly is None else [(rule.day.value, _hours(rule.hours)) for rule in weekly],
        overrides=None if overrides is None else [(_date(rule.date), _hours(rule.hours)) for rule in overrides],
    )
    row = schedules.update(info.context.rt, info.context.viewer, str(input.schedule_id), change)
    return ScheduleUpdated(schedule=Schedule.of(info, row))


def _hours(given_: list[ScheduleHoursInput]) -> list[Hours]:
    return [Hours(one.start, one.end) for one in given_]


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadUserInput(f"{text[:40]!r} is no date. Write it as 2027-03-01.") from error
