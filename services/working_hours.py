"""Weekly hours and special dates of a time zone as spans of minutes, exact across changes to and from summer time.

A rule says what the clock on the wall shows: at the end of summer time an hour comes twice and both belong to it, at its
beginning an hour is missing and is not made up for.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from models import LinkedAccount, Schedule
from services import intervals
from services.identity import zone
from services.intervals import Span
from services.providers.base import Hours, RemoteSchedule
from services.schedules import remote_of

DAY = timedelta(days=1)


def of_accounts(accounts: Iterable[LinkedAccount], start: datetime, end: datetime) -> list[Span] | None:
    """When somebody works by the default schedule of any of these accounts; None where none of them has one."""
    ids = [account.id for account in accounts]
    rows = list(Schedule.select().where(Schedule.linked_account.in_(ids) & Schedule.is_default).order_by(Schedule.id)) if ids else []
    if not rows:
        return None
    return intervals.merged(span for row in rows for span in spans(remote_of(row), start, end))


def spans(schedule: RemoteSchedule, start: datetime, end: datetime) -> Iterator[Span]:
    """The open minutes in [start, end), which begin and end in UTC; ascending within each local day."""
    local = zone(schedule.time_zone)
    weekly, special = dict(schedule.weekly), dict(schedule.overrides)
    first, last = intervals.covering(start, end)
    day = (start.astimezone(local) - DAY).date()
    while day <= (end.astimezone(local) + DAY).date():
        for hours in special.get(day, weekly.get(day.isoweekday(), ())):
            for begin, until in _of_day(day, hours, local):
                if max(begin, first) < min(until, last):
                    yield max(begin, first), min(until, last)
        day += DAY


def _of_day(day: date, hours: Hours, local: ZoneInfo) -> Iterator[Span]:
    """One rule on one day: once for each offset from UTC that is in force on it, cut to where that is."""
    wall = datetime(day.year, day.month, day.day, tzinfo=UTC)
    begin, until = (intervals.minute(wall) + _minutes(text) for text in (hours.start, hours.end))
    for offset, since, till in _offsets(intervals.minute(wall), local):
        found = max(begin - offset, since), min(until - offset, till)
        if found[0] < found[1]:
            yield found


def _offsets(wall: int, local: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """(minutes ahead of UTC, from, until) of each offset in force within a day and a night around a local day, in minutes."""
    since, last = wall - 24 * 60, wall + 48 * 60
    while since < last:
        offset = _offset(since, local)
        till = last if _offset(last, local) == offset else _change(since, last, local)
        yield offset, since, till
        since = till


def _change(since: int, last: int, local: ZoneInfo) -> int:
    """The first minute after `since` with another offset than it; there is one before `last`."""
    offset = _offset(since, local)
    while last - since > 1:
        middle = (since + last) // 2
        since, last = (middle, last) if _offset(middle, local) == offset else (since, middle)
    return last


def _offset(minute: int, local: ZoneInfo) -> int:
    away = datetime.fromtimestamp(minute * 60, UTC).astimezone(local).utcoffset()
    return int(away.total_seconds()) // 60 if away is not None else 0


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)
