"""Moments of the demo worlds: working days and hours in Berlin, around now."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")


def working_days(now: datetime, count: int, *, forward: bool) -> Iterator[datetime]:
    day, step = now.astimezone(BERLIN), timedelta(days=1 if forward else -1)
    while count:
        day += step
        if day.weekday() < 5:
            count -= 1
            yield day


def at(day: datetime, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day.date(), time(hour, minute), BERLIN).astimezone(UTC)
