"""Faults between Convene and whom it speaks with: what callers see, and that nothing is lost or done twice.

What a whole process is needed for stands in test_faults_whole.py.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import time_machine
from calendly_people import calendly_coach, hear, invite
from faults import FaultyWorld, door_to, door_to_database, open_operations, through
from harness import CONNECTION, LEGACY_SECRET, MOVE, REFRESH, SYNC, Caller, Issuer, World, at, clean, iso
from mailing import empty, mails, states
from peewee import OperationalError
from postgres import Postgres
from processes import Plan, Process, once
from proxy import CutAnswer, CutRequest, Door, Drip, Latency, Silence, SlowClose, Swallow, SwallowSilently, Toxic
from test_creating import PROVIDERS, Desk, create, desk_at, told
from test_server import until

from models import Delivery, Hold, TokenRotation, WebhookEvent
from models.base import connect, db, release_connection
from models.migrate import migrate
from sandbox.app import Sandbox
from services import mailer
from services.providers import transport

SLUGS = {"CAL_COM": "calcom", "CALENDLY": "calendly"}
ENDS = {
    "CAL_COM": {"create": "/bookings", "move": "/reschedule", "cancel": "/cancel"},
    "CALENDLY": {"create": "/invitees", "move": "/invitees", "cancel": "/cancellation"},
}
"""What the path of the write ends with."""
TOKEN = b"/token HTTP"
KINDS = {"create": "BOOKED", "move": "MOVED", "cancel": "CANCELLED"}
DONE = {"create": "BookingCreated", "move": "BookingRescheduled", "cancel": "BookingCancelled"}
UNKNOWN = {"create": "BookingInProgress", "move": "RescheduleInProgress", "cancel": "CancelInProgress"}
LATER = 200
"""Seconds: beyond the quarantine of a write whose outcome is not known."""


@pytest.fixture
def faulty(database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[FaultyWorld]:
    shared_sandbox.reset()
    with FaultyWorld(database_url, issuer, shared_sandbox) as running:
        clean()
        yield running


@pytest.fixture
def clara(faulty: FaultyWorld) -> Caller:
    return faulty.coach()


# ---- a write whose line breaks -----------------------------------------------------------------------------------------------


@dataclass
class Story:
    """A coach at one of the providers, and a booking that is made, moved and cancelled through a door that fails."""

    desk: Desk
    mia: Caller
    door: Door

    def act(self, what: str, key: str) -> dict[str, Any]:
        if what == "create":
            made: dict[str, Any] = create(self.mia, self.desk.kind, key=key)
            return made
        (booking,) = [b for b in self.desk.coach.bookings() if b["status"] != "CANCELLED"]
        return self.desk.coach.move(booking["id"], at(3, 13), key) if what == "move" else self.desk.coach.cancel(booking["id"], key)

    def strikes(self, what: str) -> bytes:
        return f"{ENDS[self.desk.provider][what]} HTTP".encode()

    def writes(self, what: str) -> int:
        """How many requests of that kind the provider took."""
        end = ENDS[self.desk.provider][what]
        return sum(r.method == "POST" and r.path.endswith(end) for r in self.desk.world.sandbox.requests)

    def assert_told(self, *whats: str) -> None:
        """The coach and the mentee know each change once, and nothing is left open."""
        hear(self.desk.world)
        kinds = [KINDS[what] for what in whats]
        assert (told(self.desk.coach), told(self.mia)) == (kinds, kinds)
        (booking,) = self.desk.coach.bookings()
        assert [edge["node"]["kind"] for edge in booking["history"]["edges"]][::-1] == kinds
        assert self.desk.live() == (0 if whats[-1] == "cancel" else 1)
        assert booking["status"] == ("CANCELLED" if whats[-1] == "cancel" else "CONFIRMED")
        assert booking["start"] == (iso(at(2, 9)) if whats == ("create",) else iso(at(3, 13)))
        assert (open_operations(), Hold.select().count()) == (0, 0)


@pytest.fixture(params=PROVIDERS)
def story(faulty: FaultyWorld, request: pytest.FixtureRequest) -> Story:
    desk = desk_at(faulty, request.param)
    return Story(desk, faulty.caller("Mia"), faulty.doors[SLUGS[request.param]])


LONG = pytest.mark.long
TAKEN = {
    "answer swallowed": lambda match: Swallow(match, 1),
    "reset in the answer": lambda match: CutAnswer(match, 1, after=30),
    "closed in the answer": lambda match: CutAnswer(match, 1, after=30, orderly=True),
}
LATE = {
    "never answered": lambda match: SwallowSilently(match, 1),
    "a byte now and then": lambda match: Drip(match, 1, seconds=0.05),
    "late beyond the limit": lambda match: Latency(match, 1, seconds=60),
}
NOT_TAKEN = {
    "reset before the request": lambda match: CutRequest(match, 1),
    "reset in the request": lambda match: CutRequest(match, 1, after=40),
}


def lost_answers(story: Story, toxics: Any) -> None:
    """The provider did it and its answer did not come: it is read back at once, and the caller sees nothing of it."""
    done: list[str] = []
    for what in ("create", "move", "cancel"):
        before, toxic = story.writes(what), story.door.add(toxics(story.strikes(what)))
        answer = story.act(what, what)
        assert (answer["__typename"], toxic.hits) == (DONE[what], 1), answer
        toxic.remove()
        assert story.writes(what) == before + 1, "never sent again"
        done.append(what)
        story.assert_told(*done)


@pytest.mark.parametrize("fault", ["answer swallowed", "reset in the answer", pytest.param("closed in the answer", marks=LONG)])
def test_an_answer_that_is_lost_is_read_back(story: Story, fault: str) -> None:
    lost_answers(story, TAKEN[fault])


@pytest.mark.long
@pytest.mark.parametrize("fault", LATE)
def test_an_answer_that_is_late_is_read_back(story: Story, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "WRITE_LIMIT", timedelta(seconds=3))
    lost_answers(story, LATE[fault])


@pytest.mark.parametrize("fault", ["reset before the request", pytest.param("reset in the request", marks=LONG)])
def test_a_request_that_is_lost_is_undone_and_may_be_made_again(story: Story, fault: str) -> None:
    """In mid-flight nobody knows: the outcome is awaited for as long as the provider may take, and only then it is undone."""
    done: list[str] = []
    for what in ("create", "move", "cancel"):
        before, toxic = story.writes(what), story.door.add(NOT_TAKEN[fault](story.strikes(what)))
        assert story.act(what, what)["__typename"] == UNKNOWN[what]
        assert toxic.hits == 1
        toxic.remove()
        story.desk.later(31)
        assert story.act(what, what)["__typename"] == UNKNOWN[what]
        assert open_operations() == 1
        story.desk.later(LATER)
        undone = story.act(what, what)
        assert (undone["__typename"], undone["code"], undone["retryable"]) == ("ProviderFailure", "NOT_DONE", False)
        assert story.writes(what) == before, "nothing reached the provider"
        if done:
            story.assert_told(*done)
        assert story.act(what, f"{what} again")["__typename"] == DONE[what]
        done.append(what)
        story.assert_told(*done)


def test_a_late_answer_within_the_limit_is_an_answer(story: Story) -> None:
    story.door.add(Latency(seconds=0.02))
    done = []
    for what in ("create", "move", "cancel"):
        assert story.act(what, what)["__typename"] == DONE[what]
        done.append(what)
        story.assert_told(*done)


def test_both_answers_of_calendlys_move_are_lost(faulty: FaultyWorld) -> None:
    """The new booking is found by its mark and the old one's cancellation read back by the completer: one booking, told once."""
    desk = desk_at(faulty, "CALENDLY")
    story = Story(desk, faulty.caller("Mia"), faulty.doors["calendly"])
    story.act("create", "create")
    toxics = [story.door.add(Swallow(story.strikes(what), 1)) for what in ("move", "cancel")]
    assert story.act("move", "move")["__typename"] == "RescheduleInProgress"
    assert [toxic.hits for toxic in toxics] == [1, 1]
    story.desk.later(31)
    assert story.act("move", "move")["__typename"] == "BookingRescheduled"
    assert (story.writes("create"), story.writes("cancel")) == (2, 1)
    story.assert_told("create", "move")


def test_a_provider_that_never_answers_is_left_at_the_limit(faulty: FaultyWorld, clara: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted and never answered: the limits hold in all, for reading and for writing, and nothing is left hanging."""
    faulty.book(clara, at(2, 9))
    faulty.jobs()
    (booking,) = clara.bookings()
    monkeypatch.setattr(transport, "WRITE_LIMIT", timedelta(seconds=0.5))
    monkeypatch.setattr(transport, "READ_LIMIT", timedelta(seconds=0.5))
    silent = faulty.doors["calcom"].add(Silence())
    began = time.monotonic()
    refused = clara.one(SYNC)
    assert (refused["__typename"], refused["code"], refused["retryable"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert 0.5 <= time.monotonic() - began < 8, "three readings of half a second, and short pauses"
    moved = clara.move(booking["id"], at(3, 13))
    assert moved["__typename"] == "SourceUnverified", "the calendar is asked first, and it cannot be: nothing was sent"
    assert clara.bookings()[0]["start"] == iso(at(2, 9))
    silent.remove()
    monkeypatch.undo()
    with later(21):
        assert clara.move(booking["id"], at(3, 13))["__typename"] == "BookingRescheduled"
    faulty.jobs()
    assert (len(faulty.live_uids()), told(clara), open_operations()) == (1, ["BOOKED", "MOVED"], 0)


# ---- token exchanges -------------------------------------------------------------------------------------------------------


def state_of(caller: Caller, provider: str = "CAL_COM") -> tuple[str, str | None]:
    found = caller.one(CONNECTION, provider=provider)
    return found["state"], found["problem"] and found["problem"]["code"]


def exchanges(world: FaultyWorld) -> int:
    return sum(r.method == "POST" and r.path.endswith("/token") for r in world.sandbox.requests)


@pytest.mark.parametrize("toxic", [CutRequest(TOKEN, 1), CutRequest(TOKEN, 1, after=60)], ids=["before", "within"])
def test_an_exchange_that_never_arrived_costs_nobody_anything(faulty: FaultyWorld, clara: Caller, toxic: Toxic) -> None:
    toxic.hits = 0
    faulty.move_clock(minutes=30)
    before = exchanges(faulty)
    faulty.doors["calcom"].add(toxic)
    failed = clara.one(REFRESH)
    assert (failed["__typename"], failed["code"], failed["retryAt"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", "2027-03-01T08:30:05Z")
    assert state_of(clara) == ("DEGRADED", "PROVIDER_UNAVAILABLE")
    faulty.move_clock(seconds=6)
    faulty.jobs()
    assert (state_of(clara), exchanges(faulty), toxic.hits) == (("ACTIVE", None), before + 1, 1)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


@pytest.mark.parametrize("fault", TAKEN)
def test_an_exchange_whose_answer_is_lost_asks_for_its_person_and_is_never_called_revoked(
    faulty: FaultyWorld, clara: Caller, fault: str
) -> None:
    """The provider spent the token; the only pair that lives was on the line that broke."""
    faulty.move_clock(minutes=30)
    before, toxic = exchanges(faulty), faulty.doors["calcom"].add(TAKEN[fault](TOKEN))
    assert clara.one(REFRESH)["code"] == "PROVIDER_UNAVAILABLE"
    assert exchanges(faulty) == before + 1
    toxic.remove()
    faulty.move_clock(seconds=6)
    faulty.jobs()
    assert state_of(clara) == ("NEEDS_RECONNECT", "ROTATION_LOST")
    faulty.move_clock(hours=1)
    faulty.jobs()
    assert exchanges(faulty) == before + 2, "one attempt after it, and then nobody asks any more"
    clara.link()
    assert state_of(clara) == ("ACTIVE", None)


def test_an_exchange_that_takes_its_time_is_one_for_all_who_wait(faulty: FaultyWorld, clara: Caller) -> None:
    faulty.move_clock(minutes=30)
    before, toxic = exchanges(faulty), faulty.doors["calcom"].add(Latency(TOKEN, seconds=0.5))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: clara.one(SYNC)["__typename"], range(10)))
    assert (answers, exchanges(faulty), toxic.hits) == (["BookingsSynced"] * 10, before + 1, 1)
    assert TokenRotation.select().where(TokenRotation.state == "open").count() == 0


# ---- an outage -------------------------------------------------------------------------------------------------------------


def later(seconds: float) -> Any:
    """The breaker keeps time by the machine's own clock."""
    return time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)


@pytest.mark.long
def test_an_hour_without_a_provider(faulty: FaultyWorld, clara: Caller) -> None:
    """Everything converges by itself; meanwhile there is no storm, and the other provider is as ever."""
    cora = calendly_coach(faulty)
    people = [faulty.coach(f"Coach{n}") for n in range(2)]
    for coach in (clara, *people):
        faulty.book(coach, at(2, 9))
    invite(faulty, cora, "Call", at(2, 9), "Kim")
    hear(faulty)
    mine, theirs = clara.bookings()[0], cora.bookings()[0]
    door = faulty.doors["calcom"]
    away, begun = door.add(CutRequest()), door.connections
    moved = clara.move(mine["id"], at(3, 13))
    assert moved["__typename"] == "SourceUnverified", "nothing was sent"
    uids = [faulty.book(coach, at(4, 9), name="Uta") for coach in (clara, *people)]
    per_minute = []
    for minute in range(60):
        before = door.connections
        faulty.move_clock(minutes=1)
        with later(60 * minute + 60):
            faulty.jobs()
        per_minute.append(door.connections - before)
    assert state_of(clara)[0] == "DEGRADED"
    with later(3600):
        refused = clara.one(SYNC)
        assert (refused["code"], refused["retryable"]) == ("PROVIDER_UNAVAILABLE", True)
        assert cora.move(theirs["id"], at(3, 13))["__typename"] == "BookingRescheduled", "the other provider is not touched"
    assert state_of(cora, "CALENDLY") == ("ACTIVE", None)
    assert max(per_minute) <= 3, f"no storm: {per_minute}"
    assert 30 <= door.connections - begun <= 90, "and it is asked again all the time"
    assert WebhookEvent.select().where((WebhookEvent.provider == "calcom") & (WebhookEvent.state == "RETRYING")).count() == len(uids)
    release_connection()
    away.remove()
    for minute in range(10, 70, 10):
        faulty.move_clock(minutes=10)
        with later(3600 + 60 * minute):
            faulty.jobs()
    assert {row.state for row in WebhookEvent.select()} == {"APPLIED"}
    release_connection()
    for coach in (clara, *people):
        assert state_of(coach) == ("ACTIVE", None)
        assert sorted(b["start"] for b in coach.bookings()) == [iso(at(2, 9)), iso(at(4, 9))]
        assert told(coach) == ["BOOKED", "BOOKED"]
        assert coach.one(CONNECTION)["linkedAccount"]["sync"]["lastError"] is None
    assert clara.move(mine["id"], at(3, 13))["__typename"] == "BookingRescheduled", "its key was free"
    assert open_operations() == 0


def test_an_hour_without_a_provider_in_the_middle_of_changes(faulty: FaultyWorld) -> None:
    """Two changes are under way when it goes: one was done there, of the other nothing arrived."""
    clara, ida = faulty.coach(), faulty.coach("Ida")
    for coach, name in ((clara, "Otto"), (ida, "Uta")):
        faulty.book(coach, at(2, 9), name=name)
    faulty.jobs()
    ids = {coach.name: coach.bookings()[0]["id"] for coach in (clara, ida)}
    door = faulty.doors["calcom"]
    for coach, toxic in ((clara, Swallow(b"/reschedule HTTP", 1)), (ida, CutRequest(b"/reschedule HTTP", 1))):
        # whatever is asked after it finds nobody there any more
        faulty.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
        door.add(toxic)
        reading = door.add(CutRequest(b"GET /calcom/v2/bookings"))
        assert coach.move(ids[coach.name], at(3, 13))["__typename"] == "RescheduleInProgress"
        toxic.remove()
        reading.remove()
        with later(3600):
            assert coach.one(SYNC)
    assert open_operations() <= 2
    away = door.add(CutRequest())
    for step in range(1, 13):
        faulty.move_clock(minutes=5)
        with later(300 * step):
            faulty.jobs()
    away.remove()
    faulty.move_clock(seconds=30)
    with later(3700):
        faulty.jobs()
        assert open_operations() == 0, "ended within one period of the provider being back"
        assert clara.move(ids["Clara"], at(3, 13))["__typename"] == "BookingRescheduled"
        undone = ida.move(ids["Ida"], at(3, 13))
        assert (undone["__typename"], undone["code"]) == ("ProviderFailure", "NOT_DONE")
    assert (told(clara), told(ida)) == (["BOOKED", "MOVED"], ["BOOKED"])
    assert [c.bookings()[0]["start"] for c in (clara, ida)] == [iso(at(3, 13)), iso(at(2, 9))]
    assert len(faulty.live_uids()) == 2


def test_a_provider_that_never_answers_does_not_slow_the_other(faulty: FaultyWorld, clara: Caller) -> None:
    cora = calendly_coach(faulty)
    invite(faulty, cora, "Call", at(2, 9))
    hear(faulty)
    silent = faulty.doors["calcom"].add(Silence())
    with ThreadPoolExecutor(5) as pool:
        stuck = [pool.submit(clara.one, SYNC) for _ in range(5)]
        silent.wait_hit(5)
        assert cora.move(cora.bookings()[0]["id"], at(3, 13))["__typename"] == "BookingRescheduled"
        invite(faulty, cora, "Call", at(4, 9), "Uta")
        hear(faulty)
        assert sorted(b["start"] for b in cora.bookings()) == [iso(at(3, 13)), iso(at(4, 9))]
        assert not any(one.done() for one in stuck), "all of it while the other one kept silent"
        silent.remove()
        assert {one.result()["__typename"] for one in stuck} <= {"BookingsSynced", "ProviderFailure"}


# ---- the database ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def behind(postgres: Postgres, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[tuple[World, Door]]:
    """A world whose PostgreSQL stands behind a door."""
    url, before = postgres.create(), db.obj
    connect(url)
    migrate()
    db.close_all()
    shared_sandbox.reset()
    with door_to_database(url) as door:
        with World(through(door, url), issuer, shared_sandbox) as running:
            yield running, door
            door.clear()
        db.initialize(before)


VIEWER = "{ viewer { id } }"


def work(world: World) -> None:
    """As the scheduler does it: a connection that died is given back, and the next tick goes on."""
    for _ in range(30):
        try:
            world.jobs()
        except OperationalError:
            release_connection()
        else:
            return
    raise AssertionError("the database did not come back")


def delivery(world: World, uid: str, number: int = 0) -> httpx.Response:
    """A signed delivery of the set-up that is shared by hand."""
    created = f"2027-03-01T08:00:00.{number:03}Z"
    body = json.dumps({"triggerEvent": "BOOKING_CREATED", "createdAt": created, "payload": {"uid": uid}}).encode()
    signature = hmac.new(LEGACY_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Cal-Signature-256": signature, "Content-Type": "application/json"}
    return world.http.post("/webhooks/cal/booking.created", content=body, headers=headers)


def assert_away(world: World, caller: Caller) -> None:
    """What each face answers while the database is away."""
    answer = caller.post(VIEWER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    refused = delivery(world, "any")
    assert (refused.status_code, refused.headers["Retry-After"], refused.json()["error"]["code"]) == (503, "5", "TRY_AGAIN")
    assert world.http.get("/health").status_code == 200
    assert world.http.get("/metrics").status_code == 200
    ready = world.http.get("/ready")
    assert (ready.status_code, ready.json()["database"]) == (503, False)


def test_a_database_that_is_away_is_told_as_such_and_comes_back_by_itself(behind: tuple[World, Door]) -> None:
    world, door = behind
    clara = world.coach()
    uid = world.book(clara, at(2, 9))
    world.jobs()
    door.shut()
    door.cut_all()
    assert_away(world, clara)
    assert_away(world, clara)
    before = world.calls("POST", "/reschedule")
    move = clara.post(MOVE, {"input": {"bookingId": "x" * 26, "newStart": iso(at(3, 13)), "idempotencyKey": "k1"}})
    assert (move.status_code, world.calls("POST", "/reschedule")) == (503, before)
    door.open()
    assert clara.one(VIEWER)
    assert delivery(world, uid).status_code == 200
    work(world)
    assert told(clara) == ["BOOKED"]


def test_connections_that_died_meanwhile_cost_one_answer_each_at_most(behind: tuple[World, Door]) -> None:
    """A restart that nobody noticed: what stands in the pool is dead, and is used up by as many refusals that say so."""
    world, door = behind
    clara = world.coach()
    with ThreadPoolExecutor(8) as pool:
        assert {a.status_code for a in pool.map(lambda _: clara.post(VIEWER), range(8))} == {200}
    standing = door.lines
    door.cut_all()
    answers = [clara.post(VIEWER) for _ in range(standing + 3)]
    refused = [a for a in answers if a.status_code != 200]
    assert {(a.status_code, a.headers.get("Retry-After")) for a in refused} <= {(503, "5")}
    assert len(refused) <= standing
    assert [a.status_code for a in answers[-3:]] == [200] * 3


@pytest.mark.parametrize("fault", [None, "the answer is lost"])
def test_the_database_goes_while_the_provider_is_asked(behind: tuple[World, Door], fault: str | None) -> None:
    """The provider did it and nobody could write that down: never a wrong success, and it is completed once."""
    world, door = behind
    clara = world.coach()
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    if fault:
        world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    asked = {"bookingId": booking["id"], "newStart": iso(at(3, 13)), "idempotencyKey": "k1"}
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(clara.post, MOVE, {"input": asked})
        assert held.wait_held()
        door.shut()
        door.cut_all()
        held.release()
        answer = moving.result()
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert answer.json()["data"] is None
    door.open()
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "RescheduleInProgress"
    world.move_clock(seconds=31)
    work(world)
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "BookingRescheduled"
    assert (told(clara), open_operations(), world.calls("POST", "/reschedule")) == (["BOOKED", "MOVED"], 0, 1)
    assert len(world.live_uids()) == 1


def test_the_database_goes_while_tokens_are_exchanged(behind: tuple[World, Door]) -> None:
    """The only living pair is in hand: it is held on to until it can be stored."""
    world, door = behind
    clara = world.coach()
    world.move_clock(minutes=30)
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path="/calcom/v2/auth/oauth2/token")
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(clara.post, REFRESH)
        assert held.wait_held()
        door.shut()
        door.cut_all()
        held.release()
        until(lambda: "a new pair cannot be stored yet" in world.logged.getvalue())
        door.open()
        renewing.result()
    assert state_of(clara) == ("ACTIVE", None)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert sum(r.path.endswith("/token") for r in world.sandbox.requests) == 2


@pytest.mark.long
@pytest.mark.parametrize("how", ["vanishes without a word", "accepts and never answers"])
def test_a_half_open_database_keeps_nobody_for_ever(behind: tuple[World, Door], how: str) -> None:
    """Eight callers at once, half of them on connections that stand: each is told within a minute, and it goes on by itself."""
    world, door = behind
    clara = world.coach()
    with ThreadPoolExecutor(4) as pool:
        assert {one for one, _ in pool.map(lambda _: timed(clara), range(4))} == {200}
    release_connection()
    silent = door.add(Silence()) if how == "accepts and never answers" else None
    if silent is None:
        door.vanish()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(timed, clara) for _ in range(8)]
        began = time.monotonic()
        health = world.http.get("/health")
        assert (health.status_code, time.monotonic() - began < 5) == (200, True)
        wait(asked, timeout=60)
        unanswered = sum(not one.done() for one in asked)
        # so that nobody hangs on beyond the test
        if silent is None:
            door.reappear()
        else:
            silent.remove()
        answers = [one.result() for one in asked]
    until(lambda: clara.post(VIEWER).status_code == 200)
    assert unanswered == 0, f"without an answer after a minute: {unanswered} of 8"
    assert {status for status, _ in answers} == {503}


def timed(caller: Caller) -> tuple[int, float]:
    began = time.monotonic()
    with httpx.Client(base_url=caller.world.url, timeout=180) as http:
        answer = http.post("/graphql", json={"query": VIEWER}, headers={"Authorization": f"Bearer {caller.token}"})
    return answer.status_code, time.monotonic() - began


# ---- the clock ---------------------------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "backward"])
def test_the_clock_jumps_while_a_booking_is_moved(faulty: FaultyWorld, clara: Caller, jump: timedelta) -> None:
    """The completer comes to the same operation with another time: one move, one notification, one booking."""
    faulty.book(clara, at(2, 9))
    faulty.jobs()
    (booking,) = clara.bookings()
    faulty.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    held = faulty.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(clara.move, booking["id"], at(3, 13))
        assert held.wait_held()
        faulty.move_clock(seconds=jump.total_seconds())
        faulty.jobs()
        held.release()
        assert moving.result()["__typename"] == "BookingRescheduled"
    faulty.jobs()
    faulty.move_clock(seconds=-jump.total_seconds())
    faulty.jobs()
    assert (sorted(told(clara)), open_operations(), faulty.calls("POST", "/reschedule")) == (["BOOKED", "MOVED"], 0, 1)
    assert (clara.bookings()[0]["start"], len(faulty.live_uids())) == (iso(at(3, 13)), 1)


def test_the_clock_jumps_before_an_unsent_move_is_known_to_be_over(faulty: FaultyWorld, clara: Caller) -> None:
    """The completer gives it up an hour early, and the provider does it after that: it is found, and told once."""
    faulty.book(clara, at(2, 9))
    faulty.jobs()
    (booking,) = clara.bookings()
    faulty.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    held = faulty.sandbox.fault({"kind": "hold", "when": "before"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(clara.move, booking["id"], at(3, 13))
        assert held.wait_held()
        faulty.move_clock(hours=1)
        faulty.jobs()
        assert open_operations() == 0
        assert clara.bookings()[0]["start"] == iso(at(2, 9))
        held.release()
        assert moving.result()["__typename"] == "BookingRescheduled"
    faulty.jobs()
    assert (sorted(told(clara)), open_operations()) == (["BOOKED", "MOVED"], 0)
    assert (clara.bookings()[0]["start"], len(faulty.live_uids())) == (iso(at(3, 13)), 1)


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "backward"])
def test_the_clock_jumps_while_tokens_are_exchanged(faulty: FaultyWorld, clara: Caller, jump: timedelta) -> None:
    """One exchange per version, whatever the clock says; and the link is as before."""
    faulty.move_clock(minutes=30)
    before = exchanges(faulty)
    held = faulty.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path="/calcom/v2/auth/oauth2/token")
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(clara.one, REFRESH)
        assert held.wait_held()
        faulty.clock.at += jump
        held.release()
        assert renewing.result()["__typename"] == "ConnectionRefreshed"
    assert exchanges(faulty) == before + 1
    assert state_of(clara) == ("ACTIVE", None)
    faulty.clock.at -= jump
    faulty.jobs()
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert state_of(clara) == ("ACTIVE", None)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_replica_whose_clock_is_off_by_an_hour(faulty: FaultyWorld, clara: Caller, ahead: timedelta) -> None:
    """Leases go by the database's clock. It moves, refreshes and works beside another one: nothing is done twice."""
    faulty.book(clara, at(2, 9))
    faulty.jobs()
    (booking,) = clara.bookings()
    before = exchanges(faulty)
    token = faulty.issuer.token(faulty.clock.now() + ahead, f"test|{clara.email}", email=clara.email, email_verified=True, name=clara.name)
    with Process(faulty, once, Plan(ahead=ahead)) as process:
        process.go(token, SYNC)
        ours = clara.one(SYNC)
        assert (ours["__typename"], process.result()["__typename"]) == ("BookingsSynced", "BookingsSynced")
        moved = process.go(
            token, MOVE, {"input": {"bookingId": booking["id"], "newStart": iso(at(3, 13)), "idempotencyKey": "k1"}}
        ).result()
        assert moved["__typename"] == "BookingRescheduled"
    faulty.jobs()
    assert exchanges(faulty) - before <= 1, "the one ahead takes the token for expired; nobody exchanges it twice"
    assert state_of(clara) == ("ACTIVE", None)
    assert (sorted(told(clara)), open_operations(), len(faulty.live_uids())) == (["BOOKED", "MOVED"], 0, 1)


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "backward"])
def test_after_a_jump_limits_lock_nobody_out_and_tickets_let_nobody_in(
    database_url: str, issuer: Issuer, shared_sandbox: Sandbox, jump: timedelta
) -> None:
    shared_sandbox.reset()
    with World(database_url, issuer, shared_sandbox, requests_per_user=3) as world:
        clean()
        dora = world.caller("Dora")
        ticket = dora.one("mutation { startLiveUpdates { url } }")["url"]
        assert [dora.post(VIEWER).status_code for _ in range(3)] == [200, 200, 429]
        world.clock.at += jump
        answers = [dora.post(VIEWER).status_code for _ in range(4)]
        assert answers == ([200, 200, 200, 429] if jump > timedelta(0) else [429] * 4)
        world.clock.at += timedelta(minutes=1)
        assert dora.post(VIEWER).status_code == 200, "a minute later as ever"
        if jump > timedelta(0):
            assert httpx.get(ticket).status_code == 401, "tickets live for a minute"


# ---- mail ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def post(database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[tuple[World, Door]]:
    """A world whose mail server stands behind a door."""
    shared_sandbox.reset()
    with door_to(shared_sandbox.smtp_url) as door:
        settings = {"smtp_url": f"smtp://127.0.0.1:{door.port}", "mail_from": "Convene <notifications@convene.test>"}
        with World(database_url, issuer, shared_sandbox, **settings) as running:
            clean()
            empty(running)
            yield running, door
            door.clear()


def three_mails(world: World) -> list[str]:
    """Three people book, each of whom gets a mail; the Message-IDs in the outbox."""
    clara = world.coach()
    for hour, name in ((9, "Otto"), (11, "Uta"), (13, "Kim")):
        world.book(clara, at(2, hour), name=name)
    world.jobs()
    assert len(clara.bookings()) == 3, "what people do goes on as ever"
    return sorted(row.message_id for row in Delivery.select())


def an_hour(world: World) -> int:
    """An hour of jobs, ten minutes at a time; how many tries were made in it."""
    before = sum(attempts for _, attempts, _ in states())
    for _ in range(6):
        world.move_clock(minutes=10)
        world.jobs()
    return sum(attempts for _, attempts, _ in states()) - before


@pytest.mark.parametrize("how", ["refuses", pytest.param("resets", marks=LONG), pytest.param("resets in the message", marks=LONG)])
def test_an_hour_without_the_mail_server(post: tuple[World, Door], how: str) -> None:
    """Tried again with growing pauses, and each message arrives once, as what it was."""
    world, door = post
    if how == "refuses":
        door.shut()
    else:
        door.add(CutRequest() if how == "resets" else CutRequest(b"data\r\n"))
    ids = three_mails(world)
    assert len(ids) >= 3
    assert {(state, attempts) for state, attempts, _ in states()} == {("RETRYING", 1)}
    assert an_hour(world) <= 6 * len(ids), "no storm"
    assert (mails(world), {state for state, _, _ in states()}) == ([], {"RETRYING"})
    if how == "refuses":
        door.open()
    door.clear()
    an_hour(world)
    assert {state for state, _, _ in states()} == {"SENT"}
    assert sorted(mail["headers"]["messageId"] for mail in mails(world)) == ids
    assert an_hour(world) == 0


def test_a_mail_server_that_keeps_silent_is_left_at_the_limit(post: tuple[World, Door], monkeypatch: pytest.MonkeyPatch) -> None:
    world, door = post
    monkeypatch.setattr(mailer, "LIMIT_SECONDS", 0.3)
    silent = door.add(Silence())
    began = time.monotonic()
    ids = three_mails(world)
    assert time.monotonic() - began < 20
    assert {(state, attempts) for state, attempts, _ in states()} == {("RETRYING", 1)}
    silent.remove()
    monkeypatch.undo()
    an_hour(world)
    assert sorted(mail["headers"]["messageId"] for mail in mails(world)) == ids


def test_a_mail_server_that_is_slow_to_hang_up_costs_nothing(post: tuple[World, Door]) -> None:
    world, door = post
    door.add(SlowClose(seconds=0.2))
    ids = three_mails(world)
    assert {(state, attempts) for state, attempts, _ in states()} == {("SENT", 1)}
    assert sorted(mail["headers"]["messageId"] for mail in mails(world)) == ids


def test_a_mail_whose_acknowledgement_is_lost_goes_out_again_under_its_id(post: tuple[World, Door]) -> None:
    """Whoever reads mail sees it once: the Message-ID is the same."""
    world, door = post
    lost = door.add(Swallow(b"\r\n.\r\n", 1))
    ids = three_mails(world)
    assert lost.hits == 1
    an_hour(world)
    assert {state for state, _, _ in states()} == {"SENT"}
    found = [mail["headers"]["messageId"] for mail in mails(world)]
    assert (sorted(set(found)), len(found)) == (ids, len(ids) + 1)
