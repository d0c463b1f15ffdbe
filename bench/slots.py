"""Slots of two people: the sweep over sorted spans against checking each slot with each busy time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench import databases
from bench.report import Result, at_least, at_most
from bench.rounds import Spread, ratio, side_by_side, spread, timed
from services import intervals, working_hours
from services.intervals import Span
from services.providers.base import Hours, RemoteSchedule

FIRST = datetime(2027, 3, 1, tzinfo=UTC)
LENGTH, GRID, BUSY = 30, 15, 200
ZONES = ("Europe/Berlin", "America/New_York")
OPEN_FROM, OPEN_UNTIL = "08:00", "18:00"


@dataclass(frozen=True)
class Person:
    schedule: RemoteSchedule
    busy: list[Span]


def people(number: int, days: int) -> list[Person]:
    """With 200 busy times each over the window, at odd minutes; every other one in another zone. The same for everybody."""
    chance = random.Random(7)
    first = intervals.minute(FIRST)
    found = []
    for index in range(number):
        weekly = tuple((day, (Hours(OPEN_FROM, OPEN_UNTIL),)) for day in range(1, 6))
        starts = [first + chance.randrange(days * 24 * 60) for _ in range(BUSY)]
        busy = [(start, start + chance.choice((15, 25, 30, 50, 60))) for start in starts]
        found.append(Person(RemoteSchedule(str(index), "Hours", ZONES[index % 2], True, weekly), busy))
    return found


def sweep(everybody: Sequence[Person], days: int) -> list[int]:
    """As services/availability.py puts it together: one pass over the starts for each person's busy times and hours."""
    end = FIRST + timedelta(days=days)
    starts: Sequence[int] = range(intervals.minute(FIRST), intervals.minute(end) - LENGTH + 1, GRID)
    for person in everybody:
        starts = intervals.within(starts, LENGTH, intervals.merged(working_hours.spans(person.schedule, FIRST, end)))
        starts = intervals.free_of(starts, LENGTH, intervals.merged(person.busy))
    return list(starts)


def check_each(everybody: Sequence[Person], days: int) -> list[int]:
    """As one writes it down first: each slot against each busy time of everybody, then against their hours."""
    starts, hours = _laid_out(everybody, days)
    return [at for at in starts if _free(everybody, at) and _at_work(hours, at)]


def check_hours_first(everybody: Sequence[Person], days: int) -> list[int]:
    """The same the other way round, which spares it the nights."""
    starts, hours = _laid_out(everybody, days)
    return [at for at in starts if _at_work(hours, at) and _free(everybody, at)]


def _laid_out(everybody: Sequence[Person], days: int) -> tuple[Sequence[int], list[list[Span]]]:
    end = FIRST + timedelta(days=days)
    starts = range(intervals.minute(FIRST), intervals.minute(end) - LENGTH + 1, GRID)
    return starts, [list(working_hours.spans(person.schedule, FIRST, end)) for person in everybody]


def _free(everybody: Sequence[Person], at: int) -> bool:
    return not any(start < at + LENGTH and at < end for person in everybody for start, end in person.busy)


def _at_work(hours: list[list[Span]], at: int) -> bool:
    return all(any(start <= at and at + LENGTH <= end for start, end in spans) for spans in hours)


def run(quick: bool) -> Result:
    result = Result()
    for days, goal in ((14, 20), (60, 45)):
        _approaches(result, days, goal, quick)
    _warm_read(result)
    result.notes.append(
        f"2 people, {BUSY} busy times each, working hours in two zones, {LENGTH} minutes on a grid of {GRID}; the answers were "
        "checked to be equal. The hours are laid out by the same function for all."
    )
    return result


def _approaches(result: Result, days: int, goal: float, quick: bool) -> None:
    two = people(2, days)
    approaches = {"sweep": sweep, "check each": check_each, "check each, hours first": check_hours_first}
    first, *others = [approach(two, days) for approach in approaches.values()]
    assert all(other == first for other in others)
    seconds = 0.3 if quick else 1.5
    calls = {name: timed(partial(approach, two, days), seconds) for name, approach in approaches.items()}
    times = side_by_side(3 if quick else 9, calls)
    result.add(f"{days} days: check each / sweep", ratio(times["check each"], times["sweep"]), at_least(goal))
    result.add(f"{days} days: check each, hours first / sweep", ratio(times["check each, hours first"], times["sweep"]))
    result.add(f"{days} days: sweep", spread([one * 1000 for one in times["sweep"]]), unit="ms")
    result.details[f"free starts in {days} days"] = len(first)


def _warm_read(result: Result) -> None:
    """The second read over GraphQL of the same window, for a coach and a linked mentee."""
    from harness import AVAILABILITY, Issuer, World, iso  # noqa: PLC0415 - of the tests, whose folder is on the path by now

    from bench import house  # noqa: PLC0415
    from sandbox.app import Sandbox  # noqa: PLC0415

    with databases.both("slots") as urls, Issuer() as issuer, Sandbox() as sandbox:
        for kind, url in urls.items():
            house.prepare(url)
            sandbox.reset()
            with World(url, issuer, sandbox) as world:
                house.log_to_file()
                coach, mentee = world.coach("Clara"), world.coach("Max", time_zone=ZONES[1])
                (node,) = [edge["node"] for edge in coach.one("{ eventTypes { edges { node { id } } } }")["edges"]]
                start = world.clock.now()
                window = {"start": iso(start), "end": iso(start + timedelta(days=14))}
                asked: dict[str, Any] = {"input": {"target": {"eventTypeId": node["id"]}, "window": window}}
                first = mentee.one(AVAILABILITY, **asked)
                before = len(world.sandbox.requests)
                second = mentee.one(AVAILABILITY, **asked)
                calls = len(world.sandbox.requests) - before
                assert first["starts"] == second["starts"]
                assert second["starts"]
                result.add(f"{kind}: provider calls of a warm read", Spread(calls, calls, calls), at_most(0, ""))
