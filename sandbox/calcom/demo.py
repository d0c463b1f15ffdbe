"""The demo world: a coach, a mentee, and bookings on the next working days."""

from collections.abc import Iterator
from datetime import datetime

from sandbox import times
from sandbox.calcom import booking_changes, people
from sandbox.calcom.booking_changes import Setting
from sandbox.calcom.state import Json
from sandbox.demo_days import at, working_days
from sandbox.world import World

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
    ahead = list(working_days(now, 4, forward=True))
    (past,) = working_days(now, 1, forward=False)
    yield session, MAX, at(past, 10)
    yield session, MAX, at(ahead[0], 14)
    yield session, MAX, at(ahead[1], 15, 30)
    yield session, MAX, at(ahead[3], 14, 30)
    yield session, GINA, at(ahead[1], 10)
    yield session, GINA, at(ahead[2], 11, 30)
    yield dive, MAX, at(ahead[2], 15)
