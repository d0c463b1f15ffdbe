"""The demo world of Calendly: a coach, a mentee, and bookings on the next working days."""

from collections.abc import Iterator
from datetime import datetime

from sandbox import times
from sandbox.calendly import acts, people
from sandbox.calendly.context import setting_of
from sandbox.calendly.rows import Json
from sandbox.demo_days import at, working_days
from sandbox.world import World

ROOM = [{"kind": "custom", "location": "https://meet.demo.test/cora"}]
COACH: Json = {
    "email": "coach2@demo.test",
    "name": "Cora Calendly",
    "slug": "cora-calendly",
    "timeZone": "Europe/Berlin",
    "eventTypes": [
        {"name": "Coaching call", "duration": 30, "locations": ROOM, "description": "Half an hour on one question."},
        {"name": "Deep session", "duration": 60, "locations": ROOM, "description": "A whole hour."},
        {"name": "Group workshop", "duration": 45, "kind": "group", "limit": 5, "description": "Up to five people."},
    ],
}
MENTEE: Json = {"email": "mentee2@demo.test", "name": "Mia Mentee", "slug": "mia-mentee", "timeZone": "America/New_York"}
# Clara of Cal.com has an account here as well, for whoever wants to link it by hand.
CLARA: Json = {
    "email": "coach@demo.test",
    "name": "Clara Coach",
    "slug": "clara-coach",
    "timeZone": "Europe/Berlin",
    "eventTypes": [
        {"name": "First talk", "duration": 30, "locations": [{"kind": "zoom_conference"}], "description": "To get to know each other."}
    ],
}
MIA: Json = {"name": "Mia Mentee", "email": "mentee2@demo.test", "timeZone": "America/New_York"}
GINA: Json = {"name": "Gina Guest", "email": "guest@demo.test", "timeZone": "Europe/London"}
GUS: Json = {"name": "Gus Group", "email": "gus@demo.test", "timeZone": "Europe/Berlin"}


def seed(world: World) -> None:
    """Only in a Calendly without users. Nobody has subscribed yet, so nothing is sent."""
    if world.calendly.users:
        return
    with world.writing():
        coach = people.create(setting_of(world), COACH)
        people.create(setting_of(world), MENTEE)
        clara = people.create(setting_of(world), CLARA)
        call, deep, workshop = (row.id for row in world.calendly.types_of(coach.id))
        (talk,) = (row.id for row in world.calendly.types_of(clara.id))
        for kind, invitee, start in _plan(call, deep, workshop, talk, world.clock.now()):
            sent = {"eventType": kind, "start": times.seconds(start), "invitee": invitee, "force": True, "silent": True}
            acts.book(world, sent)


def _plan(call: str, deep: str, workshop: str, talk: str, now: datetime) -> Iterator[tuple[str, Json, datetime]]:
    """Four with Mia, one with Gina, a workshop with three people, one of the past, and one of Clara's."""
    ahead = list(working_days(now, 4, forward=True))
    (past,) = working_days(now, 1, forward=False)
    yield call, MIA, at(past, 11)
    yield call, MIA, at(ahead[0], 15)
    yield call, MIA, at(ahead[1], 14, 30)
    yield deep, MIA, at(ahead[2], 14)
    yield call, MIA, at(ahead[3], 15, 30)
    yield call, GINA, at(ahead[1], 11)
    yield talk, MIA, at(ahead[1], 9)
    for person in (MIA, GINA, GUS):
        yield workshop, person, at(ahead[3], 10)
