"""Times that work for both, against going through every minute by itself with nothing but the rules.

A start is offered when the coach's provider offers it, the coach is not taken elsewhere (with the event type's buffers), and
the mentee is neither taken nor, where their hours are known, outside of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from calendly_people import calendly_account, hear, invite
from harness import AVAILABILITY, EVENT_TYPES, Caller, World, at, iso
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from processes import scaled

from services import intervals, working_hours
from services.providers.base import Hours, RemoteSchedule

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CHANGES = {
    "Europe/Berlin": ((2027, 3, 27), (2027, 10, 30)),
    "America/New_York": ((2027, 3, 13), (2027, 11, 6)),
    "Australia/Lord_Howe": ((2027, 4, 3), (2027, 10, 2)),
    "Pacific/Chatham": ((2027, 4, 3), (2027, 9, 25)),
    "Asia/Kathmandu": ((2027, 3, 27), (2027, 4, 3)),
    "UTC": ((2027, 3, 27), (2027, 3, 13)),
}
"""Zones, and the days before their clocks change, if they do."""

Rules = tuple[dict[int, list[tuple[int, int]]], dict[date, list[tuple[int, int]]]]
"""Weekly hours by ISO weekday, and special dates; spans of minutes since midnight, as the clock on the wall shows them."""


# ---- the rules, minute by minute ---------------------------------------------------------------------------------------------


def minutes_between(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += MINUTE


def open_minutes(rules: Rules, zone: str, start: datetime, end: datetime) -> set[datetime]:
    """The minutes at which the clock on the wall shows a time within that day's hours."""
    weekly, special = rules
    local = ZoneInfo(zone)
    found = set()
    for minute in minutes_between(start, end):
        wall = minute.astimezone(local)
        hours = special.get(wall.date(), weekly.get(wall.isoweekday(), []))
        if any(begin <= wall.hour * 60 + wall.minute < until for begin, until in hours):
            found.add(minute)
    return found


def touched(spans: list[tuple[datetime, datetime]]) -> set[datetime]:
    """Every minute of which any of the spans takes a part."""
    return {minute for start, end in spans for minute in minutes_between(start.replace(second=0, microsecond=0), end)}


def fits(start: datetime, length: int, taken: set[datetime], before: int = 0, after: int = 0) -> bool:
    around = minutes_between(start - before * MINUTE, start + (length + after) * MINUTE)
    return taken.isdisjoint(around)


def inside(start: datetime, length: int, hours: set[datetime]) -> bool:
    return hours.issuperset(minutes_between(start, start + length * MINUTE))


# ---- worlds -----------------------------------------------------------------------------------------------------------------

QUARTERS = st.integers(0, 96).map(lambda number: number * 15)
SPAN = st.tuples(QUARTERS, QUARTERS).filter(lambda span: span[0] < span[1])
WIDE = st.sampled_from([(0, 1440), (0, 720), (600, 1440), (540, 1020)])
HOURS = st.lists(WIDE | SPAN, max_size=3)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, date]:
    """A zone, and the day before a change of its clocks."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    return zone, date(*draw(st.sampled_from(CHANGES[zone])))


@st.composite
def rules_around(draw: st.DrawFn, day: date) -> Rules:
    weekly = draw(st.dictionaries(st.integers(1, 7), HOURS, min_size=3))
    special = draw(st.dictionaries(st.integers(-1, 3).map(lambda days: day + days * DAY), HOURS, max_size=2))
    return weekly, special


@st.composite
def busy_around(draw: st.DrawFn, day: date, zone: str, most: int = 5) -> list[tuple[datetime, datetime]]:
    """Short, across midnight, all of a local day, and to the second."""
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    midnight = st.integers(-1, 3).map(lambda days: datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) + days * DAY)
    all_day = midnight.map(lambda start: (start.astimezone(UTC), (start + DAY).astimezone(UTC)))
    starts = st.integers(-60, 72 * 60).map(lambda minutes: begins + minutes * MINUTE + timedelta(seconds=20))
    lengths = st.sampled_from([timedelta(seconds=30), 7 * MINUTE, 50 * MINUTE, 9 * 60 * MINUTE])
    some = st.builds(lambda start, length: (start, start + length), starts, lengths)
    return draw(st.lists(some | some | all_day, max_size=most))


def hours_of(spans: list[tuple[int, int]]) -> tuple[Hours, ...]:
    return tuple(Hours(clock(begin), clock(until)) for begin, until in spans)


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def utc(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


# ---- the sweeps -------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.data(), places())
def test_working_hours_are_what_the_clock_on_the_wall_shows(data: st.DataObject, place: tuple[str, date]) -> None:
    """Across changes of the clocks by an hour or half of one, with offsets of quarters of an hour."""
    zone, day = place
    rules = data.draw(rules_around(day))
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) + data.draw(st.integers(0, 1440)) * MINUTE
    end = start + data.draw(st.integers(1, 2 * 1440)) * MINUTE
    found = working_hours.spans(schedule(zone, rules), start, end)
    assert {utc(minute) for span in found for minute in range(*span)} == open_minutes(rules, zone, start, end)


def schedule(zone: str, rules: Rules) -> RemoteSchedule:
    weekly, special = rules
    return RemoteSchedule(
        external_id="1",
        name="Hours",
        time_zone=zone,
        is_default=True,
        weekly=tuple((weekday, hours_of(spans)) for weekday, spans in weekly.items()),
        overrides=tuple((on, hours_of(spans)) for on, spans in special.items()),
    )


@settings(deadline=None, max_examples=60)
@given(st.data(), places(), st.sampled_from([15, 30, 45, 60]), st.sampled_from([0, 5, 30]), st.sampled_from([0, 10, 45]))
def test_mutual_starts_are_what_every_minute_says(
    data: st.DataObject, place: tuple[str, date], length: int, before: int, after: int
) -> None:
    """The coach's grid, less what the coach has elsewhere with buffers, less the mentee's, within the mentee's hours."""
    zone, day = place
    rules, coachs, mentees = data.draw(rules_around(day)), data.draw(busy_around(day, zone)), data.draw(busy_around(day, zone))
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = start + 2 * DAY
    grid = [start + number * 15 * MINUTE for number in range(2 * 96)]
    taken = intervals.widened([intervals.covering(*span) for span in coachs], before, after)
    free = intervals.free_of([intervals.minute(one) for one in grid], length, taken)
    free = intervals.free_of(free, length, intervals.merged(intervals.covering(*span) for span in mentees))
    opened = intervals.merged(working_hours.spans(schedule(zone, rules), start, end + length * MINUTE))
    found = [utc(minute) for minute in intervals.within(free, length, opened)]

    elsewhere, own, hours = touched(coachs), touched(mentees), open_minutes(rules, zone, start, end + length * MINUTE)
    assert found == [
        one for one in grid if fits(one, length, elsewhere, before, after) and fits(one, length, own) and inside(one, length, hours)
    ]


# ---- from end to end --------------------------------------------------------------------------------------------------------

KINDS = [
    {"title": "Session", "slug": "session", "lengthInMinutes": 30},
    {"title": "Long", "slug": "long", "lengthInMinutes": 60, "slotInterval": 15, "beforeEventBuffer": 15, "afterEventBuffer": 30},
]
BUFFERS = {"session": (0, 0), "long": (15, 30)}
LENGTH = {"session": 30, "long": 60}
ALL_DAY = {"availability": [{"days": list(WEEKDAYS), "startTime": "00:00", "endTime": "23:59"}]}
EVENTS = ("2027-03-13", "2027-03-27", "2027-04-03")
NUMBERS = count()


@dataclass
class Made:
    """What a world is made of. Bookings are counted in quarters of an hour from the beginning of the window."""

    day: date
    coach_zone: str
    mentee_zone: str
    links: tuple[str, ...]
    rules: dict[str, Rules]
    busy: dict[str, list[tuple[datetime, datetime]]]
    coach_too: bool
    """The coach has a Calendly account as well, and there what is `elsewhere`."""
    elsewhere: list[tuple[datetime, datetime]]
    bookings: dict[str, list[int]] = field(default_factory=dict)


@st.composite
def worlds(draw: st.DrawFn) -> Made:
    day = date.fromisoformat(draw(st.sampled_from(EVENTS)))
    coach_zone, mentee_zone = (draw(st.sampled_from(sorted(CHANGES))) for _ in range(2))
    links = draw(st.sampled_from([(), ("CAL_COM",), ("CALENDLY",), ("CAL_COM", "CALENDLY")]))
    coach_too = draw(st.booleans())
    quarters = st.lists(st.integers(0, 190), min_size=1, max_size=3, unique=True)
    return Made(
        day,
        coach_zone,
        mentee_zone,
        links,
        {link: draw(rules_around(day)) for link in links},
        {link: draw(busy_around(day, mentee_zone, 3)) for link in links},
        coach_too,
        draw(busy_around(day, coach_zone, 3)) if coach_too else [],
        {who: draw(quarters) for who in ("session", "long", "others", "hosted", "call")},
    )


class Pair:
    """A coach, a mentee, another coach of the mentee's, and what all of them have in a window of two days."""

    def __init__(self, world: World, made: Made) -> None:
        self.world, self.made = world, made
        number = next(NUMBERS)
        self.start = datetime(made.day.year, made.day.month, made.day.day, tzinfo=UTC)
        self.end = self.start + 2 * DAY
        self.clara = world.coach(f"Clara{number}", made.coach_zone, eventTypes=KINDS, schedule=ALL_DAY | {"timeZone": made.coach_zone})
        self.dana = world.coach(f"Dana{number}", schedule=ALL_DAY)
        self.mia = world.caller(f"Mia{number}", time_zone=made.mentee_zone)
        self.link_coach()
        self.link_mentee()
        self.mia.gql("{ viewer { id } }")
        self.coach_takes, self.mentee_takes = list(made.elsewhere), [span for spans in made.busy.values() for span in spans]
        self.moving: dict[str, tuple[str, datetime]] = {}
        self.book()
        hear(world)

    def link_coach(self) -> None:
        if self.made.coach_too:
            calendly_account(self.world, self.clara)
            self.clara.link(provider="CALENDLY")
            self.block("calendly", self.clara, self.made.elsewhere)

    def link_mentee(self) -> None:
        zone = self.made.mentee_zone
        if "CAL_COM" in self.made.links:
            kinds = [{"title": "Mine", "slug": "session", "lengthInMinutes": 30}]
            self.world.account(self.mia, eventTypes=kinds, schedule=at_calcom(zone, self.made.rules["CAL_COM"]))
            self.block("calcom", self.mia, self.made.busy["CAL_COM"])
            self.mia.link()
        if "CALENDLY" in self.made.links:
            calendly_account(self.world, self.mia, schedule=at_calendly(zone, self.made.rules["CALENDLY"]))
            self.block("calendly", self.mia, self.made.busy["CALENDLY"])
            self.mia.link(provider="CALENDLY")

    def block(self, provider: str, person: Caller, spans: list[tuple[datetime, datetime]]) -> None:
        for start, end in spans:
            self.world.sandbox_call(f"{provider}/busy", email=person.email, start=start.isoformat(), end=end.isoformat())

    def book(self) -> None:
        """The mentee with the coach, with the other coach and as a host; the coach with others, here and at Calendly."""
        for slug, length in LENGTH.items():
            for start in self.starts(slug):
                uid = self.world.book(self.clara, start, slug=slug, name="Mia", email=self.mia.email, force=True)
                self.moving[slug] = (uid, start)
                self.mentee_takes.append((start, start + length * MINUTE))
        for start in self.starts("others"):
            self.world.book(self.dana, start, name="Mia", email=self.mia.email, force=True)
            self.mentee_takes.append((start, start + 30 * MINUTE))
        for start in self.starts("hosted") if "CAL_COM" in self.made.links else ():
            self.world.book(self.mia, start, name="Otto", force=True)
            self.mentee_takes.append((start, start + 30 * MINUTE))
        for start in self.starts("call") if self.made.coach_too else ():
            invite(self.world, self.clara, "Call", start, "Otto", force=True)
            self.coach_takes.append((start, start + 30 * MINUTE))

    def starts(self, who: str) -> list[datetime]:
        return [self.start + quarter * 15 * MINUTE for quarter in self.made.bookings[who]]

    # ---- what should be ------------------------------------------------------------------------------------------------------

    def told(self, slug: str, moving: str | None) -> list[datetime]:
        """What the coach's own provider offers."""
        query = {"eventTypeId": self.world.event_type(self.clara, slug), "start": iso(self.start), "end": iso(self.end)}
        query |= {"bookingUidToReschedule": moving} if moving else {}
        answer = httpx.get(f"{self.world.sandbox.url}/calcom/v2/slots", params=query, headers={"cal-api-version": "2024-09-04"})
        days = answer.json()["data"].values()
        return sorted(datetime.fromisoformat(slot["start"]).astimezone(UTC) for day in days for slot in day)

    def expected(self, slug: str, *, moves: bool) -> list[str]:
        uid, own = self.moving[slug] if moves else (None, None)
        length, (before, after) = LENGTH[slug], BUFFERS[slug]
        itself = (own, own + length * MINUTE) if own else None
        mentees = list(self.mentee_takes)
        if itself:
            mentees.remove(itself)
        elsewhere, taken, hours = touched(self.coach_takes), touched(mentees), self.hours()
        return [
            iso(start)
            for start in self.told(slug, uid)
            if self.start <= start < self.end
            and fits(start, length, elsewhere, before, after)
            and fits(start, length, taken)
            and (hours is None or inside(start, length, hours))
        ]

    def hours(self) -> set[datetime] | None:
        """When the mentee works by either account; None where none is linked."""
        zone, until = self.made.mentee_zone, self.end + 60 * MINUTE
        found = [open_minutes(rules, zone, self.start, until) for rules in self.made.rules.values()]
        return set().union(*found) if found else None

    # ---- what is -------------------------------------------------------------------------------------------------------------

    def offered(self, viewer: Caller, **target: str) -> list[str]:
        window = {"start": iso(self.start), "end": iso(self.end)}
        found = viewer.one(AVAILABILITY, input={"target": target, "window": window})
        assert found["__typename"] == "Availability", found
        starts: list[str] = found["starts"]
        return starts

    def check(self) -> list[int]:
        """For each event type and a booking of it; answers how many starts there were each time."""
        kinds = {
            edge["node"]["slug"]: edge["node"]["id"] for edge in self.clara.one(EVENT_TYPES)["edges"] if edge["node"]["slug"] in LENGTH
        }
        ids = {row["externalId"]: row["id"] for row in self.clara.bookings(first=100)}
        counts = []
        for slug in LENGTH:
            expected = self.expected(slug, moves=False)
            assert self.offered(self.mia, eventTypeId=kinds[slug]) == expected
            moved = self.expected(slug, moves=True)
            booking_id = ids[self.moving[slug][0]]
            assert self.offered(self.mia, bookingId=booking_id) == moved
            assert self.offered(self.clara, bookingId=booking_id) == moved
            counts += [len(expected), len(moved)]
        return counts


def at_calcom(zone: str, rules: Rules) -> dict[str, Any]:
    """There 23:59 is the end of a day, and a day off is one from midnight to midnight."""
    weekly, special = rules
    availability = [
        {"days": [WEEKDAYS[weekday - 1]], "startTime": clock(begin), "endTime": ends(until)}
        for weekday, spans in weekly.items()
        for begin, until in spans
    ]
    overrides = [
        {"date": on.isoformat(), "startTime": clock(begin), "endTime": ends(until)}
        for on, spans in special.items()
        for begin, until in spans or [(0, 0)]
    ]
    never = [{"days": ["Monday"], "startTime": "00:00", "endTime": "00:00"}]
    return {"timeZone": zone, "availability": availability or never, "overrides": overrides}


def ends(minutes: int) -> str:
    return "23:59" if minutes == 24 * 60 else clock(minutes)


def at_calendly(zone: str, rules: Rules) -> dict[str, Any]:
    weekly, special = rules

    def told(spans: list[tuple[int, int]]) -> list[dict[str, str]]:
        return [{"from": clock(begin), "to": clock(until)} for begin, until in spans]

    by_day = [{"type": "wday", "wday": WEEKDAYS[weekday - 1].lower(), "intervals": told(spans)} for weekday, spans in weekly.items()]
    by_date = [{"type": "date", "date": on.isoformat(), "intervals": told(spans)} for on, spans in special.items()]
    return {"timezone": zone, "rules": [*by_day, *by_date]}


def compare(world: World, examples: int) -> None:
    """So many worlds, in each of which every answer is the oracle's; and some of them offer something."""
    world.sandbox_call("calcom/limits", "PUT", token=100_000, anonymous=100_000)
    counts: list[int] = []

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds())
    def each(made: Made) -> None:
        counts.extend(Pair(world, made).check())

    each()
    assert sum(number > 0 for number in counts) >= len(counts) // 3, counts


def test_calcoms_last_minute_of_a_day_is_its_end(world: World) -> None:
    """It cannot say 24:00 and says 23:59: who works around the clock can also be met across midnight."""
    clara = world.coach(schedule=ALL_DAY | {"timeZone": "UTC"})
    mia = world.caller("Mia")
    world.account(mia, eventTypes=[], schedule=ALL_DAY | {"timeZone": "UTC"})
    mia.link()
    kind = clara.one(EVENT_TYPES)["edges"][0]["node"]["id"]
    window = {"start": iso(at(2, 23)), "end": iso(at(3, 1))}
    found = mia.one(AVAILABILITY, input={"target": {"eventTypeId": kind}, "window": window})
    assert found["starts"] == [iso(at(2, 23)), iso(at(2, 23, 30)), iso(at(3, 0)), iso(at(3, 0, 30))]


def test_what_is_offered_is_what_every_minute_says(world: World) -> None:
    compare(world, 5)


@pytest.mark.long
def test_what_is_offered_in_many_worlds(world: World) -> None:
    compare(world, scaled(40))
