"""The demo world: a coach, a mentee, and bookings on the next working days."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sandbox import times
from sandbox.calcom import booking_changes, people
from sandbox.calcom.booking_changes import Setting
from sandbox.calcom.state import Json
from sandbox.world import World

BERLIN = ZoneInfo("Europe/Berlin")
COACH: Json = {
    "email": "coach@demo.test",
    "name": "Clara Coach",
    "username": "clara-coach",
    "timeZone": "Europe/Berlin",
    "eventTypes": [
        {
            "title": "Coaching session",
            "slug": "coaching-session",
            "lengthInMinutes": 30,
            "description": "Half an hour on one question.",
            "locations": [{"type": "integration", "integration": "cal-video"}],
        },
        {
            "title": "Deep dive",
            "slug": "deep-dive",
            "lengthInMinutes": 60,
            "description": "An hour; the coach confirms it first.",
            "locations": [{"type": "integration", "integration": "cal-video"}],
            "confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False},
        },
    ],
}
MENTEE: Json = {"email": "mentee@demo.test", "name": "Max Mentee", "username": "max-mentee", "timeZone": "America/New_York"}
MAX: Json = {"name": "Max Mentee", "email": "mentee@demo.test", "timeZone": "America/New_York", "language": "en"}
GINA: Json = {"name": "Gina Guest", "email": "guest@demo.test", "timeZone": "Europe/London", "language": "en"}


def seed(world: World) -> None:
    """Only in a world without users. Nobody has subscribed yet, so nothing is sent."""
    known = world.calcom
    if known.users:
        return
    with world.writing():
        coach = people.create(known, world.clock, COACH)
        people.create(known, world.clock, MENTEE)
        session, dive = known.owned_event_types(coach.id)
        setting = Setting(known, world.clock.now(), world.commits, world.commits, force=True)
        for event_type, attendee, start in _plan(session.id, dive.id, world.clock.now()):
            given = {"eventTypeId": event_type, "attendee": attendee, "start": times.millis(start)}
            booking_changes.create(setting, given)


def _plan(session: int, dive: int, now: datetime) -> Iterator[tuple[int, Json, datetime]]:
    """Three with Max, two with Gina, one of the past, and one that waits for the coach."""
    ahead = list(_working_days(now, 4, forward=True))
    (past,) = _working_days(now, 1, forward=False)
    yield session, MAX, _at(past, 10)
    yield session, MAX, _at(ahead[0], 14)
    yield session, MAX, _at(ahead[1], 15, 30)
    yield session, MAX, _at(ahead[3], 14, 30)
    yield session, GINA, _at(ahead[1], 10)
    yield session, GINA, _at(ahead[2], 11, 30)
    yield dive, MAX, _at(ahead[2], 15)


def _working_days(now: datetime, count: int, *, forward: bool) -> Iterator[datetime]:
    day, step = now.astimezone(BERLIN), timedelta(days=1 if forward else -1)
    while count:
        day += step
        if day.weekday() < 5:
            count -= 1
            yield day


def _at(day: datetime, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day.date(), time(hour, minute), BERLIN).astimezone(UTC)
