"""Whatever happens to bookings, by Convene and outside of it, and whoever dies or loses an answer: in the end one truth.

Two coaches, one at Cal.com and one at Calendly, and mentees with and without links. The sandbox is the truth. After each step:
nobody was put in two places by Convene, nobody was told what did not happen, or twice. Once all is quiet: Convene's bookings
are the sandbox's, every operation has ended, and nothing is held any more.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from calendly_people import CALL, calendly_account, calendly_coach, calendly_type, hear, invite
from harness import BOOKING, CANCEL, EVENT_TYPES, MOVE, Caller, World, at, clean, iso
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from keeping import Ways
from processes import scaled

from app import create_app
from models import Booking, Hold, Notification, Operation, Participant
from sandbox.app import Sandbox
from services.jobs import RECONCILE_EVERY

CREATE = (
    """mutation($input: CreateBookingInput!) { createBooking(input: $input) { __typename
  ... on BookingCreated { booking { ...B } } ... on BookingAwaitingConfirmation { booking { ...B } }
  ... on BookingInProgress { operation { id } } ... on Problem { code message } } }"""
    + BOOKING
)
DECIDE = """mutation($input: DecideBookingInput!) { %s(input: $input) { __typename
  ... on BookingDecided { booking { id status } } ... on DecisionInProgress { operation { id } } ... on Problem { code message } } }"""
SEEN = "query { bookings(first: 100) { edges { node { id externalId status start } } } }"
TOLD = "query { notifications(first: 100) { edges { node { kind previousStart newStart } } } }"
VERSION = {"cal-api-version": "2026-02-25"}
DEEP = {
    "title": "Deep",
    "slug": "deep",
    "lengthInMinutes": 30,
    "confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False},
}
SESSION = {"title": "Session", "slug": "session", "lengthInMinutes": 30}
ENOUGH = 100_000
LIVE = ("PENDING", "CONFIRMED")
GIVEN_UP = "This time was given up again."

SLOTS = st.sampled_from([at(day, hour, minute) for day in (8, 9) for hour in (9, 10, 13) for minute in (0, 30)])
NUMBER = st.integers(0, 9)
NEWS = st.none() | st.none() | st.tuples(st.sampled_from(("duplicate", "park", "drop", "reorder")), st.integers(1, 2))
NAMES = ("begun", "checked", "sent", "answered", "booked", "cancelled", "recorded", "settled", "undone")
DEATH = st.none() | st.none() | st.sampled_from([f"operation.{name}" for name in NAMES])
TROUBLE = st.none() | st.tuples(
    st.sampled_from(("GET", "POST")),
    st.sampled_from(
        (
            {"kind": "drop", "when": "before"},
            {"kind": "drop", "when": "after"},
            {"kind": "status", "status": 500},
            {"kind": "status", "status": 429, "headers": {"Retry-After": "2"}},
        )
    ),
    st.integers(0, 1),
    st.integers(1, 2),
)
SPANS = st.sampled_from([timedelta(seconds=1), timedelta(seconds=31), timedelta(minutes=3), timedelta(minutes=20)])

Happened = tuple[str, str, str | None, str | None]
"""(whom it concerns, what, from when, to when)."""
Trouble = tuple[str, dict[str, Any], int, int] | None
Standing = dict[str, tuple[frozenset[str], str, str, str]]
"""External id to (the two addresses, status, start, end)."""


class Died(BaseException):
    """The process ends here: nothing after it runs but what clears up a thread."""


class Changes(RuleBasedStateMachine):
    """Everything that can be done to a booking, from both sides."""

    make: Callable[[], World]

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).make().__enter__()
        self.keys = itertools.count()
        self.excused: set[frozenset[str]] = set()
        self.pool = ThreadPoolExecutor(1)

    @initialize()
    def link(self) -> None:
        clean()
        world = self.world
        self.app = create_app(convene=world.convene)
        world.sandbox_call("calcom/limits", "PUT", token=ENOUGH, anonymous=ENOUGH)
        self.clara = world.coach("Clara", eventTypes=[SESSION, DEEP])
        self.cora = calendly_coach(world, "Cora", event_types=[CALL], plan="enterprise")
        self.mia, self.max, self.otto = (world.caller(name) for name in ("Mia", "Max", "Otto"))
        world.account(self.mia, eventTypes=[])
        self.mia.link()
        calendly_account(world, self.max, event_types=[])
        self.max.link(provider="CALENDLY")
        self.otto.gql("{ viewer { id } }")
        self.people = {person.email: person for person in (self.clara, self.cora, self.mia, self.max, self.otto)}
        self.kinds = {e["node"]["title"]: e["node"]["id"] for c in (self.clara, self.cora) for e in c.one(EVENT_TYPES)["edges"]}

        for kind, who, start in (("Session", self.mia, at(8, 9)), ("Deep", self.otto, at(8, 10)), ("Call", self.max, at(8, 9))):
            self.ask(who, CREATE, {"eventTypeId": self.kinds[kind], "start": iso(start)}, None, None)
        hear(self.world)

    # ---- how things are done -------------------------------------------------------------------------------------------------

    def disturb(self, news: tuple[str, int] | None) -> None:
        """What becomes of the next deliveries."""
        if news is not None:
            self.world.sandbox.fault(webhook="*", effect={"kind": news[0]}, times=news[1])

    @contextmanager
    def trouble(self, what: Trouble) -> Iterator[None]:
        """The providers' calls of that kind go wrong meanwhile."""
        paths = ("/calcom/v2/*" if what and what[0] == "GET" else "/calcom/v2/bookings*", "/calendly/api/*") if what else ()
        faults = [self.world.sandbox.fault(what[1], method=what[0], path=path, skip=what[2], times=what[3]) for path in paths if what]
        try:
            yield
        finally:
            for fault in faults:
                fault.remove()

    def living(self, act: Callable[[], Any], death: str | None) -> Any:
        """What comes of it; None when the process died at that step."""

        def step(name: str) -> None:
            if name == death:
                raise Died(name)

        self.world.rt.step = step
        try:
            return self.pool.submit(act).result()
        except Died:
            return None
        finally:
            self.world.rt.step = lambda _name: None
            self.world.sandbox.settle()

    def ask(self, person: Caller, query: str, asked: dict[str, Any], death: str | None, trouble: Trouble) -> None:
        """One mutation, through the whole face but for the socket."""
        body = {"query": query, "variables": {"input": {**asked, "idempotencyKey": f"k{next(self.keys)}"}}}
        headers = {"Authorization": f"Bearer {person.token}"}
        before = self.known()
        with self.trouble(trouble):
            answer = self.living(lambda: self.app.test_client().post("/graphql", json=body, headers=headers).get_json(), death)
        assert answer is None or "errors" not in answer, answer
        self.look(before)

    def mine(self, *statuses: str) -> list[tuple[str, Caller, Caller]]:
        """Convene's bookings that are so, oldest first: (id, coach, mentee)."""
        rows = [(row.id, row.external_id) for row in Booking.select().where(Booking.status.in_(statuses))]
        parties = {(row.booking_id, row.role): self.people[row.email] for row in Participant.select()}
        ids = [own for own, external_id in sorted(rows, key=lambda row: self.age(row[1]))]
        return [(own, parties[own, "COACH"], parties[own, "MENTEE"]) for own in ids]

    # ---- through Convene -----------------------------------------------------------------------------------------------------

    @rule(
        title=st.sampled_from(("Session", "Deep", "Call")),
        who=st.sampled_from(("mia", "max", "otto", "cora")),
        start=SLOTS,
        named=st.booleans(),
        news=NEWS,
        death=DEATH,
        trouble=TROUBLE,
    )
    def create(self, title: str, who: str, start: datetime, named: bool, news: Any, death: str | None, trouble: Trouble) -> None:
        coach = self.cora if title == "Call" else self.clara
        attends: Caller = self.mia if who == "cora" and coach is self.cora else getattr(self, who)
        asked: dict[str, Any] = {"eventTypeId": self.kinds[title], "start": iso(start)}
        if named:
            asked["attendee"] = {"name": attends.name, "email": attends.email, "timeZone": "Europe/London"}
        self.disturb(news)
        self.ask(coach if named else attends, CREATE, asked, death, trouble)

    @precondition(lambda self: self.mine(*LIVE))
    @rule(number=NUMBER, start=SLOTS, news=NEWS, death=DEATH, trouble=TROUBLE)
    def coach_moves(self, number: int, start: datetime, news: Any, death: str | None, trouble: Trouble) -> None:
        rows = self.mine(*LIVE)
        booking_id, coach, _ = rows[number % len(rows)]
        self.disturb(news)
        self.ask(coach, MOVE, {"bookingId": booking_id, "newStart": iso(start)}, death, trouble)

    @precondition(lambda self: self.mine(*LIVE))
    @rule(number=NUMBER, start=SLOTS, news=NEWS, death=DEATH, trouble=TROUBLE)
    def mentee_moves(self, number: int, start: datetime, news: Any, death: str | None, trouble: Trouble) -> None:
        rows = self.mine(*LIVE)
        booking_id, _, mentee = rows[number % len(rows)]
        self.disturb(news)
        self.ask(mentee, MOVE, {"bookingId": booking_id, "newStart": iso(start)}, death, trouble)

    @precondition(lambda self: self.mine(*LIVE))
    @rule(number=NUMBER, by_coach=st.booleans(), news=NEWS, death=DEATH, trouble=TROUBLE)
    def cancel(self, number: int, by_coach: bool, news: Any, death: str | None, trouble: Trouble) -> None:
        rows = self.mine(*LIVE)
        booking_id, coach, mentee = rows[number % len(rows)]
        self.disturb(news)
        self.ask(coach if by_coach else mentee, CANCEL, {"bookingId": booking_id}, death, trouble)

    @precondition(lambda self: self.mine("PENDING"))
    @rule(number=NUMBER, confirms=st.booleans(), news=NEWS, death=DEATH, trouble=TROUBLE)
    def decide(self, number: int, confirms: bool, news: Any, death: str | None, trouble: Trouble) -> None:
        rows = self.mine("PENDING")
        booking_id, coach, _ = rows[number % len(rows)]
        self.disturb(news)
        self.ask(coach, DECIDE % ("confirmBooking" if confirms else "declineBooking"), {"bookingId": booking_id}, death, trouble)

    # ---- by outsiders --------------------------------------------------------------------------------------------------------

    def outside(self, path: str, body: dict[str, Any], news: Any) -> None:
        """What the provider refuses (the time is taken, it is over) does not happen."""
        self.disturb(news)
        answer = httpx.post(f"{self.world.sandbox.url}/{path}", json=body, headers=VERSION)
        assert answer.status_code < 500, answer.text
        self.world.sandbox.settle()
        self.excused |= self.overlaps()
        self.look(self.known())

    def movable(self) -> list[str]:
        """External ids of what stands, but not of what Convene is in the middle of making."""
        wip = [op.id for op in Operation.select().where(Operation.open)]
        rows = self.world.sandbox.world.calendly.invitees.values()
        half = {f"{row.event_id}/{row.id}" for row in rows if any(own in str(row.tracking) for own in wip)}
        return sorted(self.standing().keys() - half, key=self.age)

    def age(self, external_id: str) -> Any:
        """In the order in which they were made, whatever they are called."""
        known = self.world.sandbox.world
        ids = [row.uid for row in known.calcom.bookings.values()] + [f"{row.event_id}/{row.id}" for row in known.calendly.invitees.values()]
        return ids.index(external_id)

    @rule(title=st.sampled_from(("session", "deep", "Call")), who=st.sampled_from(("mia", "max", "otto")), start=SLOTS, news=NEWS)
    def outsider_books(self, title: str, who: str, start: datetime, news: Any) -> None:
        person: Caller = getattr(self, who)
        invitee = {"name": person.name, "email": person.email, "timeZone": "Europe/London"}
        if title == "Call":
            kind = calendly_type(self.world, self.cora).id
            self.outside("_sandbox/calendly/bookings", {"eventType": kind, "start": iso(start), "invitee": invitee}, news)
        else:
            kind = self.world.event_type(self.clara, title)
            self.outside("_sandbox/calcom/bookings", {"eventTypeId": kind, "start": iso(start), "attendee": invitee}, news)

    @precondition(lambda self: self.movable())
    @rule(number=NUMBER, start=SLOTS, news=NEWS)
    def outsider_moves(self, number: int, start: datetime, news: Any) -> None:
        rows = self.movable()
        external_id = rows[number % len(rows)]
        if "/" in external_id:
            self.outside("_sandbox/calendly/reschedule", {"invitee": external_id.partition("/")[2], "start": iso(start)}, news)
        else:
            self.outside(f"calcom/v2/bookings/{external_id}/reschedule", {"start": iso(start)}, news)

    @precondition(lambda self: self.movable())
    @rule(number=NUMBER, news=NEWS)
    def outsider_cancels(self, number: int, news: Any) -> None:
        rows = self.movable()
        external_id = rows[number % len(rows)]
        if "/" in external_id:
            self.outside("_sandbox/calendly/cancel", {"invitee": external_id.partition("/")[2], "by": "invitee"}, news)
        else:
            self.outside(f"calcom/v2/bookings/{external_id}/cancel", {"cancellationReason": "Ill"}, news)

    # ---- time and work -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.sandbox.world.deliveries.parked())
    @rule(data=st.data())
    def deliver_late(self, data: st.DataObject) -> None:
        """All that is parked, in any order."""
        waiting = len(self.world.sandbox.world.deliveries.parked())
        self.world.sandbox_call("deliveries/flush", order=data.draw(st.permutations(range(waiting))))

    @rule(span=SPANS, death=DEATH, trouble=TROUBLE)
    def work(self, span: timedelta, death: str | None, trouble: Trouble) -> None:
        """Time goes by, and what is due is done, as far as its process lives."""
        self.world.move_clock(seconds=span.total_seconds())
        before = self.known()
        with self.trouble(trouble):
            self.living(self.world.jobs, death)
        self.look(before)

    # ---- what holds at any time ----------------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """What is live in the sandbox."""
        calcom, calendly = self.world.sandbox.world.calcom, self.world.sandbox.world.calendly
        status = {"accepted": "CONFIRMED", "pending": "PENDING"}
        found = {
            row.uid: (
                frozenset((calcom.users[row.owner_id].email, row.attendees[0]["email"])),
                status[row.status],
                iso(row.start),
                iso(row.end),
            )
            for row in calcom.bookings.values()
            if row.takes_time
        }
        for row in calendly.invitees.values():
            event = calendly.events[row.event_id]
            if row.status == "active":
                both = frozenset((calendly.users[event.owner_id].email, row.email))
                found[f"{event.id}/{row.id}"] = (both, "CONFIRMED", iso(event.start), iso(event.end))
        return found

    def known(self) -> set[tuple[str, str]]:
        """(external id, start) of what is live as far as Convene knows."""
        rows = Booking.select(Booking.external_id, Booking.start).where(Booking.status.in_(LIVE))
        return {(row.external_id, iso(row.start)) for row in rows}

    def overlaps(self) -> set[frozenset[str]]:
        """Pairs that overlap in the sandbox and have somebody in common."""
        pairs = itertools.combinations(self.standing().items(), 2)
        return {frozenset((a, b)) for (a, x), (b, y) in pairs if x[0] & y[0] and x[2] < y[3] and y[2] < x[3]}

    def look(self, known: set[tuple[str, str]]) -> None:
        """Convene put nobody in two places, save where it had not been told of the other one; and told nobody anything wrong."""
        standing = self.standing()
        for pair in self.overlaps() - self.excused:
            unknown = [one for one in pair if (one, standing[one][2]) not in known]
            # the one that was just made is always unknown
            assert len(unknown) == 2, (pair, [standing[one] for one in pair])
            self.excused.add(pair)
        too_much = self.told() - self.happened()
        assert not too_much, too_much
        stray = Hold.select().where(Hold.operation.not_in(Operation.select(Operation.id).where(Operation.open)))
        assert stray.count() == 0
        keys = Notification.select(Notification.person, Notification.logical_key).tuples()
        assert max(Counter(keys).values(), default=0) <= 1

    def told(self) -> Counter[Happened]:
        emails = {row.person_id: row.email for row in Participant.select()}
        columns = (Notification.person, Notification.kind, Notification.previous_start, Notification.new_start)
        return Counter(said(emails[row.person_id], row.kind, row.previous_start, row.new_start) for row in Notification.select(*columns))

    def happened(self) -> Counter[Happened]:
        """What may be told of all that ever was in the sandbox."""
        return Counter((email, *what) for emails, what in [*self.at_calcom(), *self.at_calendly()] for email in emails)

    def at_calcom(self) -> Iterator[tuple[list[str], tuple[str, str | None, str | None]]]:
        known = self.world.sandbox.world.calcom
        rows = {row.uid: row for row in known.bookings.values()}
        for row in rows.values():
            emails = [known.users[row.owner_id].email, row.attendees[0]["email"]]
            before = rows.get(row.from_uid or "")
            yield emails, ("MOVED", iso(before.start), iso(row.start)) if before else ("BOOKED", None, iso(row.start))
            if row.status == "cancelled" and row.to_uid is None:
                yield emails, ("CANCELLED", iso(row.start), None)
            if row.status == "rejected":
                yield emails, ("DECLINED", iso(row.start), None)
            if row.status != "pending" and known.event_types[row.event_type_id].data["slug"] == "deep":
                yield emails, ("CONFIRMED", None, None)

    def at_calendly(self) -> Iterator[tuple[list[str], tuple[str, str | None, str | None]]]:
        known = self.world.sandbox.world.calendly
        rows = {row.id: row for row in known.invitees.values()}
        start = {row.id: known.events[row.event_id].start for row in rows.values()}
        replaced = self.replaced()
        successors = {new: old for old, new in replaced.items()}
        for row in rows.values():
            emails = [known.users[known.events[row.event_id].owner_id].email, row.email]
            why = str((row.cancellation or {}).get("reason"))
            if why == GIVEN_UP:
                continue
            before = row.old_id or successors.get(row.id)
            yield emails, ("MOVED", iso(start[before]), iso(start[row.id])) if before else ("BOOKED", None, iso(start[row.id]))
            if row.status == "canceled" and row.new_id is None and row.id not in replaced:
                yield emails, ("CANCELLED", iso(start[row.id]), None)

    def replaced(self) -> dict[str, str]:
        """The invitees that Convene cancelled for another one, with that one, as their reasons and addresses tell."""
        known = self.world.sandbox.world.calendly
        found: dict[str, str] = {}
        for old in known.invitees.values():
            for new in known.invitees.values():
                reason = f"Moved to {known.events[new.event_id].start:%d %b %Y, %H:%M} UTC."
                given = str((old.cancellation or {}).get("reason"))
                late = old.email == new.email and new.method == "api" and new.created_at >= old.created_at and new is not old
                if given.startswith(reason) and late and new.id not in found.values() and old.id not in found:
                    found[old.id] = new.id
        return found

    # ---- in the end ----------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "kinds"):
                self.quiet()
                self.truth()
        finally:
            self.pool.shutdown()
            self.world.__exit__()

    def quiet(self) -> None:
        """The providers are well, the rest of the news comes, time goes by, the lists are read."""
        self.world.sandbox.world.faults.clear()
        self.world.sandbox_call("deliveries/flush")
        hear(self.world)
        for span in (timedelta(minutes=4), timedelta(minutes=4), RECONCILE_EVERY, timedelta(minutes=6)):
            self.world.move_clock(seconds=span.total_seconds() + 1)
            before = self.known()
            hear(self.world)
            self.look(before)

    def truth(self) -> None:
        there = {external_id: row[1:3] for external_id, row in self.standing().items()}
        shown = [edge["node"] for coach in (self.clara, self.cora) for edge in coach.one(SEEN)["edges"]]
        here = {row["externalId"]: (row["status"], row["start"]) for row in shown if row["status"] in LIVE and row["externalId"]}
        assert here == there
        assert len({row["id"] for row in shown if row["status"] in LIVE}) == len(there)
        assert {op.state for op in Operation.select()} <= {"COMPLETED", "REFUSED", "UNDONE"}
        assert Operation.select().where(Operation.open).count() == 0
        assert Hold.select().count() == 0
        for person in self.people.values():
            rows = [edge["node"] for edge in person.one(TOLD)["edges"]]
            own = Counter((row["kind"], row["previousStart"], row["newStart"]) for row in rows)
            assert own.total() == sum(count for what, count in self.told().items() if what[0] == person.email)
        missed = {what: count for what, count in (self.happened() - self.told()).items() if what[1] != "CONFIRMED"}
        assert missed == {}


def said(email: str, kind: str, before: datetime | None, after: datetime | None) -> Happened:
    """As what happened: that it waits for its confirmation is told instead."""
    if kind == "AWAITING_CONFIRMATION":
        kind = "MOVED" if before else "BOOKED"
    return email, kind, iso(before) if before else None, iso(after) if after else None


def test_moved_twice_at_calendly_it_was_booked_once(world: World) -> None:
    """Each move there is a new booking; the one that is moved on is none that was made just now."""
    cora, mia = calendly_coach(world, plan="enterprise"), world.caller("Mia")
    invite(world, cora, "Call", at(8, 9), "Mia", email=mia.email)
    hear(world)
    (booking,) = cora.bookings()
    for number, start in enumerate((at(8, 13), at(9, 9))):
        assert cora.move(booking["id"], start, f"k{number}")["__typename"] == "BookingRescheduled"
        hear(world)
    for person in (cora, mia):
        assert [told["kind"] for told in person.notifications()] == ["MOVED", "MOVED", "BOOKED"]
    (after,) = cora.bookings()
    assert [edge["node"]["kind"] for edge in after["history"]["edges"]] == ["MOVED", "MOVED", "BOOKED"]


def run(make: Callable[[], World], examples: int, steps: int) -> None:
    machine = type("Machine", (Changes,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            # the steps of a failure are printed as they were; making them fewer would take minutes
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def make(database_url: str, issuer: Any, shared_sandbox: Sandbox, ways: Ways) -> Callable[[], World]:
    """A fresh Convene beside a fresh sandbox, as often as one is wanted."""

    def fresh() -> World:
        shared_sandbox.reset()
        return World(database_url, issuer, shared_sandbox, ways=ways)

    return fresh


def test_whatever_happens_in_the_end_there_is_one_truth(make: Callable[[], World]) -> None:
    run(make, 4, 14)


@pytest.mark.long
def test_whatever_happens_at_length(make: Callable[[], World]) -> None:
    run(make, scaled(100), 25)
