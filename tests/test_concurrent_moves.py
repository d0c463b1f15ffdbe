"""A hundred moves of twenty bookings among six people into five slots, all at once: nobody ends up in two places.

The coaches are at Cal.com and at Calendly, the mentees linked at one of them or nowhere. The moves come from four
processes where the database is PostgreSQL, and from threads of one where it is SQLite.
"""

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from calendly_people import calendly_account, calendly_coach, hear, invite
from harness import MOVE, Caller, World, at, iso
from processes import Process, Task

from models import Hold, Operation
from models.base import is_sqlite

ENOUGH = 100_000
SLOTS = [at(8, 9), at(8, 9, 30), at(8, 10), at(8, 10, 30), at(8, 11)]
PROCESSES, THREADS = 4, 4
SEEN = """query { bookings(first: 100) { edges { node { id externalId status start end
  participants { role name email } } } } }"""
TOLD = "query { notifications(first: 100) { edges { node { kind previousStart newStart booking { id } } } } }"
WON, LOST = "BookingRescheduled", {"SlotUnavailable", "BookingNotReschedulable", "InvalidInput", "RescheduleOnProviderPage"}

Move = tuple[str, str, dict[str, Any]]
"""(the mover's token, their name, the mutation's input)."""


@dataclass(frozen=True)
class Span:
    """A live booking of somebody's: Convene's id of it and its time."""

    booking_id: str
    start: str
    end: str

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


class Crowd:
    """Three coaches, three mentees and their twenty bookings, one pair of which overlaps by somebody else's doing."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.sandbox_call("calcom/limits", "PUT", token=ENOUGH, anonymous=ENOUGH)
        world.sandbox_call("calendly/limits", "PUT", general=ENOUGH, enterprisePerMinute=ENOUGH)
        long = {"title": "Long", "slug": "session", "lengthInMinutes": 60, "slotInterval": 30}
        self.clara = world.coach("Clara")
        self.carl = world.coach("Carl", eventTypes=[long])
        self.cora = calendly_coach(world, "Cora", plan="enterprise")
        self.mia, self.max, self.otto = (world.caller(name) for name in ("Mia", "Max", "Otto"))
        world.account(self.mia, eventTypes=[])
        self.mia.link()
        calendly_account(world, self.max, event_types=[])
        self.max.link(provider="CALENDLY")
        self.otto.gql("{ viewer { id } }")
        self.people = [self.clara, self.carl, self.cora, self.mia, self.max, self.otto]
        self.book()
        hear(world)
        self.before = self.overlaps()

    def book(self) -> None:
        """Of the nine pairs of coach and mentee two bookings each, and two more."""
        pairs = [*itertools.product((self.clara, self.carl, self.cora), (self.mia, self.max, self.otto))]
        times = [at(day, hour) for day in (2, 3, 4) for hour in (8, 9, 10, 11, 12, 13, 14)]
        for (coach, mentee), start in zip([*pairs, *pairs, pairs[0]], times, strict=False):
            self.booked(coach, mentee, start)
        # at the time of his with Clara: neither provider knows of the other
        self.booked(self.cora, self.otto, at(2, 10))

    def booked(self, coach: Caller, mentee: Caller, start: datetime) -> None:
        if coach is self.cora:
            invite(self.world, coach, "Call", start, mentee.name, email=mentee.email)
        else:
            self.world.book(coach, start, name=mentee.name, email=mentee.email)

    def of(self, person: Caller) -> list[dict[str, Any]]:
        return [edge["node"] for edge in person.one(SEEN)["edges"]]

    def everything(self) -> dict[str, dict[str, Any]]:
        """All bookings by Convene's id, as their coaches see them."""
        return {row["id"]: row for coach in (self.clara, self.carl, self.cora) for row in self.of(coach)}

    def moves(self) -> list[Move]:
        """Each booking into each slot, by turns by its coach and its mentee, in any order, but always the same one."""
        by_email = {person.email: person for person in self.people}
        found: list[Move] = []
        rows = sorted(self.everything().values(), key=lambda row: (row["start"], row["end"], row["participants"][0]["email"]))
        for number, (row, slot) in enumerate(itertools.product(rows, SLOTS)):
            parties = {party["role"]: by_email[party["email"]] for party in row["participants"]}
            mover = parties["COACH" if number % 2 else "MENTEE"]
            found.append((mover.token, mover.name, {"bookingId": row["id"], "newStart": iso(slot), "idempotencyKey": f"k{number}"}))
        random.Random(5).shuffle(found)
        return found

    # ---- what is so afterwards -----------------------------------------------------------------------------------------

    def overlaps(self) -> set[tuple[str, frozenset[str]]]:
        """(whose, which two) of the live bookings that overlap, by what Convene says."""
        found = set()
        for person in self.people:
            live = [Span(row["id"], row["start"], row["end"]) for row in self.of(person) if row["status"] in {"PENDING", "CONFIRMED"}]
            found |= {(person.email, pair) for pair in pairs_of(live)}
        return found

    def overlaps_there(self) -> set[tuple[str, frozenset[str]]]:
        """The same by what stands at Cal.com and Calendly together; a booking unknown here goes by its id there."""
        own = {row["externalId"]: booking_id for booking_id, row in self.everything().items()}
        mine: dict[str, list[Span]] = {person.email: [] for person in self.people}
        for external_id, emails, start, end in standing(self.world):
            for email in emails:
                mine[email].append(Span(own.get(external_id, external_id), start, end))
        return {(email, pair) for email, live in mine.items() for pair in pairs_of(live)}

    def told(self, person: Caller) -> Counter[tuple[str, str, str]]:
        """What moves the person was told of: (booking, from when, to when)."""
        nodes = [edge["node"] for edge in person.one(TOLD)["edges"]]
        return Counter((node["booking"]["id"], node["previousStart"], node["newStart"]) for node in nodes if node["kind"] == "MOVED")


def pairs_of(live: list[Span]) -> Iterator[frozenset[str]]:
    for one, other in itertools.combinations(live, 2):
        if one.overlaps(other):
            yield frozenset((one.booking_id, other.booking_id))


def standing(world: World) -> list[tuple[str, list[str], str, str]]:
    """(external id, the two addresses, start, end) of all that is live in the sandbox."""
    calcom, calendly = world.sandbox.world.calcom, world.sandbox.world.calendly
    found = [
        (row.uid, [calcom.users[row.owner_id].email, row.attendees[0]["email"]], iso(row.start), iso(row.end))
        for row in calcom.bookings.values()
        if row.takes_time
    ]
    for invitee in calendly.invitees.values():
        event = calendly.events[invitee.event_id]
        if invitee.status == "active":
            both = [calendly.users[event.owner_id].email, invitee.email]
            found.append((f"{event.id}/{invitee.id}", both, iso(event.start), iso(event.end)))
    return found


# ---- all at once -----------------------------------------------------------------------------------------------------------


def each(task: Task, moves: list[Move]) -> list[dict[str, Any]]:
    """One process's part of the moves, by several threads that begin together."""
    barrier = threading.Barrier(THREADS)

    def part(mine: list[Move]) -> list[dict[str, Any]]:
        barrier.wait()
        return [task.post(token, MOVE, {"input": asked}) for token, _, asked in mine]

    with ThreadPoolExecutor(THREADS) as pool:
        lanes = [iter(one) for one in pool.map(part, [moves[number::THREADS] for number in range(THREADS)])]
    return [next(lanes[number % THREADS]) for number in range(len(moves))]


def by_processes(world: World, moves: list[Move]) -> list[dict[str, Any]]:
    """By four processes; the answers in the order of the moves."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Process(world, each)) for _ in range(PROCESSES)]
        for number, process in enumerate(opened):
            process.go(moves[number::PROCESSES])
        lanes = [iter(process.result()) for process in opened]
    return [next(lanes[number % PROCESSES]) for number in range(len(moves))]


def by_threads(world: World, moves: list[Move]) -> list[dict[str, Any]]:
    """By as many threads of this process; the answers in the order of the moves."""
    count = PROCESSES * THREADS
    barrier = threading.Barrier(count)

    def part(mine: list[Move]) -> list[dict[str, Any]]:
        barrier.wait()
        answers = []
        for token, _, asked in mine:
            sent = {"query": MOVE, "variables": {"input": asked}}
            body = world.http.post("/graphql", json=sent, headers={"Authorization": f"Bearer {token}"}).json()
            assert "errors" not in body, body
            answers.append(body["data"]["rescheduleBooking"])
        return answers

    with ThreadPoolExecutor(count) as pool:
        lanes = [iter(one) for one in pool.map(part, [moves[number::count] for number in range(count)])]
    return [next(lanes[number % count]) for number in range(len(moves))]


@pytest.fixture
def crowd(world: World) -> Crowd:
    return Crowd(world)


def test_a_hundred_moves_at_once_put_nobody_in_two_places(world: World, crowd: Crowd) -> None:
    rows, moves = crowd.everything(), crowd.moves()
    assert (len(rows), len(moves), len(crowd.people)) == (20, 100, 6)
    assert {email for email, _ in crowd.before} == {crowd.otto.email}
    answers = by_threads(world, moves) if is_sqlite() else by_processes(world, moves)
    hear(world)

    kinds = Counter(answer["__typename"] for answer in answers)
    assert kinds.keys() <= {WON, *LOST}, [answer for answer in answers if answer["__typename"] not in {WON, *LOST}]
    assert kinds[WON] >= len(SLOTS)
    assert kinds["SlotUnavailable"] > 0
    for answer in answers:
        check_refusal(answer)

    assert crowd.overlaps() <= crowd.before
    assert crowd.overlaps_there() <= crowd.before
    check_told(crowd, rows, moves, answers)
    check_places(crowd, rows, moves, answers)
    assert Operation.select().where(Operation.open).count() == 0
    assert Hold.select().count() == 0


def check_refusal(answer: dict[str, Any]) -> None:
    """A loser learns why; where the slot was the reason, also what else there is."""
    if answer["__typename"] == "SlotUnavailable":
        assert answer["conflicts"], answer
        assert 1 <= len(answer["alternatives"]) <= 5, answer
    if answer["__typename"] == "BookingNotReschedulable":
        assert answer["blockedBy"] == ["OPERATION_IN_PROGRESS"], answer
    if answer["__typename"] == "InvalidInput":
        assert [problem["message"] for problem in answer["fields"]] == ["The booking is at that time already."]


def check_told(crowd: Crowd, rows: dict[str, dict[str, Any]], moves: list[Move], answers: list[dict[str, Any]]) -> None:
    """Both parties of each move that was made are told of it once, and of nothing else."""
    happened: dict[str, Counter[tuple[str, str, str]]] = {person.email: Counter() for person in crowd.people}
    for (_, _, asked), answer in zip(moves, answers, strict=True):
        if answer["__typename"] == WON:
            for party in rows[asked["bookingId"]]["participants"]:
                happened[party["email"]][asked["bookingId"], answer["previousStart"], asked["newStart"]] += 1
    assert {person.email: crowd.told(person) for person in crowd.people} == happened
    assert {count for counter in happened.values() for count in counter.values()} == {1}


def check_places(crowd: Crowd, rows: dict[str, dict[str, Any]], moves: list[Move], answers: list[dict[str, Any]]) -> None:
    """Each booking is where one of its own moves put it, here and at its provider; there is nothing else there."""
    now = crowd.everything()
    asked_of: dict[str, set[str]] = {booking_id: set() for booking_id in rows}
    for (_, _, asked), answer in zip(moves, answers, strict=True):
        if answer["__typename"] == WON:
            asked_of[asked["bookingId"]].add(asked["newStart"])
    assert now.keys() == rows.keys()
    for booking_id, row in now.items():
        assert row["status"] == "CONFIRMED"
        assert row["start"] in (asked_of[booking_id] or {rows[booking_id]["start"]})
    here = sorted((row["externalId"], row["start"], row["end"]) for row in now.values())
    assert here == sorted((external_id, start, end) for external_id, _, start, end in standing(crowd.world))
