"""Live updates: every listener is told, nobody of what is not theirs; what was missed comes later, and no stream outlives its session."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Self

import httpx
import pytest
from harness import DISCONNECT, SYNC, Caller, World, at, stored
from processes import Process, Task

from models import LiveChange, LiveTicket, Operation, User
from models.base import db, is_sqlite, new_id
from routes import events
from services import claims, jobs, live, live_feed
from services.budgets import Budgets

START = "mutation { startLiveUpdates { url expiresAt } }"
STATUS = "{ connectionStatus(provider: CAL_COM) { state } }"
FRONTEND = "https://app.example"
PATIENCE = 10.0
RESET = {"event": "reset", "data": {}}


class Stream:
    """A browser's end of a stream: what came in, and whether it has ended."""

    def __init__(self, client: httpx.Client, url: str, **headers: str) -> None:
        self.answer = client.send(client.build_request("GET", url, headers=headers), stream=True)
        self.events: list[dict[str, Any]] = []
        self.beats, self.ended = 0, False
        self._changed = threading.Condition()
        if self.answer.status_code == 200:
            threading.Thread(target=self._read, daemon=True).start()
        else:
            self.answer.read()
            self.ended = True

    def _read(self) -> None:
        event: dict[str, Any] = {}
        try:
            for line in self.answer.iter_lines():
                field, _, value = line.partition(":")
                if field:
                    event[field] = json.loads(value) if field == "data" else value.strip()
                    continue
                with self._changed:
                    self.beats += line == ":"
                    if "data" in event:
                        self.events.append(event)
                    event = {}
                    self._changed.notify_all()
        except httpx.HTTPError:
            pass
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def until(self, so: Callable[[Self], bool]) -> Self:
        with self._changed:
            assert self._changed.wait_for(lambda: so(self), PATIENCE), (self.events, self.beats, self.ended)
        return self

    def changes(self, count: int) -> list[str]:
        """What changed, as soon as so many events came."""
        self.until(lambda s: len(s.events) >= count)
        return [f"{e['data']['type']} {e['data']['id']} {e['data']['version']}" for e in self.events]

    @property
    def last_id(self) -> str:
        return str(self.events[-1]["id"])

    def close(self) -> None:
        """As a browser that goes away: the connection is closed."""
        connection = self.answer.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):  # the server was faster
            connection.shutdown(socket.SHUT_RDWR)
        self.until(lambda s: s.ended)
        self.answer.close()


class Browsers:
    """Opens streams of a world, and closes them all."""

    def __init__(self, world: World) -> None:
        self.world, self.opened = world, list[Stream]()
        self.client = httpx.Client(timeout=30, verify=False, limits=httpx.Limits(max_connections=None))

    def open(self, caller: Caller, last_id: str | None = None, **headers: str) -> Stream:
        return self.open_at(caller.one(START)["url"], last_id, **headers)

    def open_at(self, url: str, last_id: str | None = None, **headers: str) -> Stream:
        stream = Stream(self.client, url + (f"&lastEventId={last_id}" if last_id is not None else ""), **headers)
        self.opened.append(stream)
        return stream

    def close(self) -> None:
        self.world.rt.stopping.set()
        self.world.rt.live.stop()
        for stream in self.opened:
            stream.until(lambda s: s.ended)
            stream.answer.close()
        self.client.close()


@contextmanager
def browsers_of(world: World) -> Iterator[Browsers]:
    browsers = Browsers(world)
    try:
        yield browsers
    finally:
        browsers.close()


@pytest.fixture
def browsers(world: World) -> Iterator[Browsers]:
    with browsers_of(world) as opened:
        yield opened


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("Alice")


@pytest.fixture
def charlie(world: World) -> Caller:
    return world.caller("Charlie")


def person(caller: Caller) -> str:
    caller.one("{ viewer { id } }")
    found: str = User.get(User.subject == f"test|{caller.email}").person_id
    db.close()
    return found


def tell(world: World, *people: str, type_: str = "Booking", object_id: str = "b1", version: int = 0) -> None:
    with db.atomic():
        live.tell(world.rt, people, type_, object_id, version)
    db.close()


def written(caller: Caller, age: timedelta, object_id: str) -> None:
    """A change that was written so long ago and becomes visible only now: its transaction took that long."""
    now = caller.world.clock.now()
    earlier = f"00{new_id()[2:]}"
    LiveChange.create(id=earlier, person=person(caller), type="Booking", object_id=object_id, created_at=now - age)
    db.close()


def told_elsewhere(task: Task, people: list[str], type_: str, object_id: str, version: int) -> None:
    with db.atomic():
        live.tell(task.convene.rt, people, type_, object_id, version)
    db.close()


def ids(stream: Stream) -> list[str]:
    return [event["data"]["id"] for event in stream.events]


# ---- being told -------------------------------------------------------------------------------------------------------------


def test_ten_tabs_see_a_change_that_another_process_made(world: World, browsers: Browsers, alice: Caller) -> None:
    with Process(world, told_elsewhere) as elsewhere:
        tabs = [browsers.open(alice) for _ in range(10)]
        began = time.monotonic()
        elsewhere.go([person(alice)], "Booking", "b1", 7).result()
        assert [tab.changes(1) for tab in tabs] == [["Booking b1 7"]] * 10
        assert time.monotonic() - began < 2
    change = LiveChange.get()
    assert [tab.events for tab in tabs] == [
        [{"id": change.id, "event": "change", "data": {"type": "Booking", "id": "b1", "version": 7}}],
    ] * 10


def test_what_the_own_process_writes_is_told_at_once(
    world: World, browsers: Browsers, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "EVERY", 3600)
    tab = browsers.open(alice)
    for number in range(3):
        tell(world, person(alice), object_id=f"b{number}")
        tab.until(lambda s, n=number: len(s.events) == n + 1)  # type: ignore[misc]
    assert ids(tab) == ["b0", "b1", "b2"]


def test_nobody_is_told_of_what_is_not_theirs(world: World, browsers: Browsers, alice: Caller, charlie: Caller) -> None:
    bob = world.caller("Bob")
    mine, theirs, others = browsers.open(alice), browsers.open(bob), browsers.open(charlie)
    tell(world, person(alice), person(bob), object_id="shared", version=1)
    tell(world, person(alice), object_id="own", version=2)
    for caller in (alice, bob, charlie):
        tell(world, person(caller), type_="ConnectionStatus", object_id=caller.name)
    assert mine.changes(3) == ["Booking shared 1", "Booking own 2", "ConnectionStatus Alice 0"]
    assert theirs.changes(2) == ["Booking shared 1", "ConnectionStatus Bob 0"]
    assert others.changes(1) == ["ConnectionStatus Charlie 0"]


def test_a_change_that_is_rolled_back_is_told_to_nobody(world: World, browsers: Browsers, alice: Caller) -> None:
    tab = browsers.open(alice)
    who = person(alice)
    with db.atomic() as transaction:
        live.tell(world.rt, [who, who], "Booking", "never", 1)
        transaction.rollback()
    with db.atomic():
        live.tell(world.rt, [], "Booking", "nobody", 1)
        live.tell(world.rt, [who, who], "Booking", "twice", 1)
    assert tab.changes(1) == ["Booking twice 1"]
    assert LiveChange.select().count() == 1


def test_a_change_that_commits_late_is_told_all_the_same(world: World, browsers: Browsers, alice: Caller) -> None:
    """Neither ids nor times rise in the order of commits."""
    tab = browsers.open(alice)
    tell(world, person(alice), object_id="after")
    assert ids(tab.until(lambda s: len(s.events) == 1)) == ["after"]
    written(alice, timedelta(seconds=70), "before")
    world.move_clock(seconds=1)
    tell(world, person(alice), object_id="last")
    tab.until(lambda s: len(s.events) == 3)
    assert sorted(ids(tab)) == ["after", "before", "last"]


def test_a_stream_begins_with_what_comes_after_it(world: World, browsers: Browsers, alice: Caller) -> None:
    tell(world, person(alice), object_id="read already")
    tab = browsers.open(alice)
    tell(world, person(alice), object_id="new")
    assert ids(tab.until(lambda s: len(s.events) == 1)) == ["new"]


# ---- coming back ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_header", [True, False], ids=["header", "address"])
def test_who_comes_back_is_told_what_was_missed_and_no_more(world: World, browsers: Browsers, alice: Caller, by_header: bool) -> None:
    tell(world, person(alice), object_id="long ago")
    world.move_clock(minutes=10)
    first = browsers.open(alice)
    tell(world, person(alice), object_id="seen")
    first.until(lambda s: len(s.events) == 1).close()
    tell(world, person(alice), object_id="while away")
    world.move_clock(hours=5)
    tell(world, person(alice), object_id="hours later")
    written(alice, timedelta(hours=5, seconds=70), "begun before, committed after")
    last = {"Last-Event-ID": first.last_id} if by_header else {}
    again = browsers.open(alice, "0" * 26 if by_header else first.last_id, **last)
    tell(world, person(alice), object_id="live")
    again.until(lambda s: len(s.events) == 4)
    assert ids(again) == ["begun before, committed after", "while away", "hours later", "live"]


def test_nothing_is_lost_between_reading_what_was_missed_and_listening(world: World, browsers: Browsers, alice: Caller) -> None:
    """Somebody writes just while the browser comes back, before, between and after."""
    who, stream = person(alice), browsers.open(alice)
    tell(world, who, object_id="first")
    for number in range(12):
        last = stream.until(lambda s: bool(s.events)).last_id
        stream.close()
        writer = threading.Thread(target=lambda name=f"b{number}": tell(world, who, object_id=name))
        writer.start()
        stream = browsers.open(alice, last)
        stream.until(lambda s, name=f"b{number}": name in ids(s))  # type: ignore[misc]
        writer.join()


def test_an_id_that_is_not_ones_own_or_too_old_answers_reset(world: World, browsers: Browsers, alice: Caller, charlie: Caller) -> None:
    tell(world, person(charlie), object_id="secret")
    others = LiveChange.get().id
    for last in (others, new_id(), "nonsense", "x" * 300, "%00", "0" * 26):
        assert browsers.open(alice, last).until(lambda s: bool(s.events)).events == [{"id": "", **RESET}]
    tell(world, person(alice), object_id="own")
    own = LiveChange.get(LiveChange.object_id == "own").id
    world.move_clock(days=1, seconds=1)
    tab = browsers.open(alice, own).until(lambda s: bool(s.events))
    assert tab.events == [{"id": own, **RESET}]
    # and from there it goes on
    tell(world, person(alice), object_id="next")
    assert ids(browsers.open(alice, "")) == []
    tab.until(lambda s: len(s.events) == 2)
    assert tab.events[1]["data"]["id"] == "next"


def test_more_than_a_browser_should_ask_for_one_by_one_becomes_a_reset(
    world: World, browsers: Browsers, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "MOST_WAITING", 3)
    monkeypatch.setattr(live, "MOST_WAITING", 3)
    tab = browsers.open(alice)
    tell(world, person(alice), object_id="first")
    tab.until(lambda s: len(s.events) == 1)
    who = person(alice)
    with db.atomic():
        for number in range(4):
            live.tell(world.rt, [who], "Booking", str(number))
    newest = LiveChange.select().order_by(LiveChange.created_at.desc(), LiveChange.id.desc()).get().id
    tab.until(lambda s: len(s.events) == 2)
    assert tab.events[1] == {"id": newest, **RESET}
    back = browsers.open(alice, tab.events[0]["id"]).until(lambda s: bool(s.events))
    assert back.events == [{"id": newest, **RESET}]


# ---- tickets ----------------------------------------------------------------------------------------------------------------


def refused(stream: Stream) -> tuple[int, str, str]:
    body = stream.answer.json()
    assert (body["data"], body["error"]["details"]) == (None, None)
    return stream.answer.status_code, body["error"]["code"], body["error"]["message"]


NO_TICKET = (401, "UNAUTHENTICATED", "This ticket is unknown, used or too old. Ask for another one with startLiveUpdates.")
FULL = (503, "TRY_AGAIN", "There are too many live streams now. Close some, or try again in a moment.")


def test_a_ticket_says_where_and_until_when(world: World, alice: Caller) -> None:
    ticket = alice.one(START)
    address, _, secret = ticket["url"].partition("?ticket=")
    assert (address, ticket["expiresAt"]) == (f"{world.url}/events", "2027-03-01T08:01:00Z")
    assert len(secret) >= 43
    row = LiveTicket.get()
    assert (row.secret_hash, row.used_at) == (hashlib.sha256(secret.encode()).hexdigest(), None)
    assert row.session_ends_at == at(1, 9)
    db.close()
    assert secret.encode() not in stored(world.database_url)


def test_without_signing_in_there_is_no_ticket(world: World) -> None:
    assert world.http.post("/graphql", json={"query": START}).status_code == 401
    assert LiveTicket.select().count() == 0


def test_a_ticket_opens_one_stream(world: World, browsers: Browsers, alice: Caller) -> None:
    url = alice.one(START)["url"]
    with ThreadPoolExecutor(8) as pool:
        streams = list(pool.map(browsers.open_at, [url] * 8))
    assert sorted(s.answer.status_code for s in streams) == [200] + [401] * 7
    assert {refused(s) for s in streams if s.answer.status_code == 401} == {NO_TICKET}
    assert secret_free(world, url)


def secret_free(world: World, url: str) -> bool:
    return url.partition("ticket=")[2] not in world.logged.getvalue()


def test_unknown_missing_and_expired_tickets_are_refused(world: World, browsers: Browsers, alice: Caller) -> None:
    url = alice.one(START)["url"]
    world.move_clock(seconds=60)
    for address in (url, f"{world.url}/events", f"{world.url}/events?ticket=", f"{world.url}/events?ticket=%00%ff"):
        assert refused(browsers.open_at(address)) == NO_TICKET
    assert LiveTicket.get().used_at is None
    fresh = alice.one(START)["url"]
    world.move_clock(seconds=59)
    assert browsers.open_at(fresh).answer.status_code == 200


def test_a_ticket_listens_as_the_one_who_asked_for_it(world: World, browsers: Browsers, alice: Caller, charlie: Caller) -> None:
    """The stream takes no other proof, and no other proof changes whose it is."""
    tab = browsers.open(alice, Authorization=f"Bearer {charlie.token}")
    for caller in (charlie, alice):
        tell(world, person(caller), object_id=caller.name)
    assert ids(tab.until(lambda s: len(s.events) == 1)) == ["Alice"]


# ---- how a stream ends ------------------------------------------------------------------------------------------------------


def test_a_stream_ends_with_the_session(world: World, browsers: Browsers, alice: Caller) -> None:
    tab = browsers.open(alice)
    world.move_clock(minutes=59, seconds=59)
    tell(world, person(alice), object_id="still there")
    tab.until(lambda s: len(s.events) == 1)
    world.move_clock(seconds=1)
    tab.until(lambda s: s.ended)
    assert tab.events[1:] == [{"event": "end", "data": {}}]
    assert browsers.open(alice).answer.status_code == 200


def test_a_session_without_a_sensible_end_does_not_hurt(world: World, browsers: Browsers) -> None:
    for subject, expires in (("late", 10**17), ("fraction", world.clock.now().timestamp() + 60.5)):
        assert browsers.open(world.caller(subject, exp=expires)).answer.status_code == 200


def test_a_stopping_process_ends_its_streams(world: World, browsers: Browsers, alice: Caller) -> None:
    tabs = [browsers.open(alice) for _ in range(3)]
    scheduler = jobs.Scheduler(world.rt, Budgets(world.clock))
    scheduler.start()
    url = alice.one(START)["url"]
    scheduler.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "live"]
    for tab in tabs:
        tab.until(lambda s: s.ended)
        assert tab.events == []
    assert refused(browsers.open_at(url)) == FULL
    assert LiveTicket.select().where(LiveTicket.used_at.is_null()).count() == 1


def test_a_heartbeat_keeps_a_silent_stream_open(browsers: Browsers, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TICK", 0.01)
    monkeypatch.setattr(events, "HEARTBEAT", 0.02)
    assert browsers.open(alice).until(lambda s: s.beats >= 3).events == []


# ---- places -----------------------------------------------------------------------------------------------------------------


def opened_in_the_end(browsers: Browsers, url: str) -> bool:
    """A place becomes free a moment after the client is gone."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if browsers.open_at(url).answer.status_code == 200:
            return True
        threading.Event().wait(0.02)
    return False


def test_a_process_takes_so_many_streams_and_no_more(world: World, database_url: str, alice: Caller) -> None:
    with World(database_url, world.issuer, world.sandbox, live_streams=2) as mine, browsers_of(mine) as browsers:
        callers = [mine.caller(name) for name in ("Ann", "Ben", "Cem")]
        first, _second = (browsers.open(caller) for caller in callers[:2])
        url = callers[2].one(START)["url"]
        third = browsers.open_at(url)
        assert refused(third) == FULL
        assert third.answer.headers["Retry-After"] == "10"
        assert browsers.open_at(f"{mine.url}/events?ticket=unknown").answer.status_code == 401
        first.close()
        # the ticket was not spent
        assert opened_in_the_end(browsers, url)


def test_a_user_has_so_many_streams_and_no_more(
    browsers: Browsers, alice: Caller, charlie: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "MOST_PER_USER", 2)
    assert [browsers.open(alice).answer.status_code for _ in range(3)] == [200, 200, 503]
    assert browsers.open(charlie).answer.status_code == 200


def test_requests_keep_eight_threads(world: World) -> None:
    settings = world.rt.settings
    most = {
        (threads, asked): settings.model_copy(update={"threads": threads, "live_streams": asked}).most_live_streams
        for threads, asked in ((48, None), (16, None), (12, None), (4, None), (48, 100), (48, 0))
    }
    assert most == {(48, None): 24, (16, None): 8, (12, None): 4, (4, None): 0, (48, 100): 40, (48, 0): 0}


def test_streams_hold_no_database_connection(world: World, browsers: Browsers, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    db.close()
    monkeypatch.setattr(db.obj, "_max_connections", 2)
    tabs = [browsers.open(alice) for _ in range(10)]
    tell(world, person(alice))
    assert [tab.changes(1) for tab in tabs] == [["Booking b1 0"]] * 10
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: alice.one("{ viewer { name } }"), range(20)))) == 20


def test_a_client_that_reads_no_more_loses_its_place(
    world: World, browsers: Browsers, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "MOST_PER_USER", 1)
    monkeypatch.setattr(events, "LONGEST_WRITE", 0.05)
    monkeypatch.setattr(events, "HEARTBEAT", 0)
    # more than the buffers between two sockets take
    monkeypatch.setattr(events, "BEAT", b":" * 2**25 + b"\n\n")
    host, port = world.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as silent:
        path = alice.one(START)["url"].removeprefix(world.url)
        silent.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert silent.recv(12).endswith(b" 200")
        while b"::::" not in silent.recv(4096):
            pass
        monkeypatch.setattr(events, "BEAT", b":\n\n")
        assert opened_in_the_end(browsers, alice.one(START)["url"])


# ---- the database -----------------------------------------------------------------------------------------------------------


@contextmanager
def database_away(world: World) -> Iterator[None]:
    """This process reaches its database no more."""
    db.close_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db.obj, "database", "/nowhere/convene.db" if is_sqlite() else "postgresql://127.0.0.1:1/nowhere")
        yield


def test_what_happened_while_the_database_was_away_is_told_afterwards(
    world: World, browsers: Browsers, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that was."""
    with Process(world, told_elsewhere) as elsewhere:
        who = person(alice)
        tab = browsers.open(alice)
        with database_away(world):
            end = time.monotonic() + PATIENCE
            while "the database is away" not in world.logged.getvalue() and time.monotonic() < end:
                threading.Event().wait(0.01)
            elsewhere.go([who], "Booking", "meanwhile", 1).result()
            world.move_clock(minutes=10)
            real = time.monotonic
            monkeypatch.setattr(live_feed, "time", SimpleNamespace(monotonic=lambda: real() + 600))
            assert tab.events == []
        assert tab.changes(1) == ["Booking meanwhile 1"]
    assert world.logged.getvalue().count("the database is away") == 1
    assert "changes could not be read" not in world.logged.getvalue()


def test_what_nobody_needs_any_more_is_cleaned_up(world: World, browsers: Browsers, alice: Caller) -> None:
    tell(world, person(alice), object_id="old")
    old = LiveChange.get().id
    alice.one(START)
    world.move_clock(days=1, seconds=74)
    tell(world, person(alice), object_id="new")
    open_ticket = alice.one(START)["url"]
    claims.schedule("clean_up", "", world.clock.now())
    world.jobs()
    assert [row.object_id for row in LiveChange.select().order_by(LiveChange.created_at)] == ["old", "new"]
    assert LiveTicket.select().count() == 1
    world.move_clock(seconds=2)
    live.clean_up(world.rt)
    assert [row.object_id for row in LiveChange.select()] == ["new"]
    assert browsers.open_at(open_ticket, old).until(lambda s: bool(s.events)).events == [{"id": LiveChange.get().id, **RESET}]


# ---- browsers ---------------------------------------------------------------------------------------------------------------


def test_a_frontend_elsewhere_may_listen(world: World, database_url: str) -> None:
    with World(database_url, world.issuer, world.sandbox, allowed_origins=(FRONTEND,)) as mine, browsers_of(mine) as browsers:
        alice = mine.caller("Alice")
        ours = browsers.open(alice, Origin=FRONTEND).answer.headers
        assert ours["Content-Type"].split(";")[0] == "text/event-stream"
        assert (ours["Cache-Control"], ours["X-Accel-Buffering"]) == ("no-store", "no")
        assert (ours["Access-Control-Allow-Origin"], ours["Vary"]) == (FRONTEND, "Origin")
        others = browsers.open(alice, Origin="https://elsewhere.example").answer.headers
        assert ("Access-Control-Allow-Origin" in others, others["Vary"]) == (False, "Origin")
        refusal = browsers.open_at(f"{mine.url}/events?ticket=x", Origin=FRONTEND).answer
        assert (refusal.status_code, refusal.headers["Access-Control-Allow-Origin"]) == (401, FRONTEND)
        asked = {"Origin": FRONTEND, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "last-event-id"}
        preflight = mine.http.options("/events", headers=asked)
        assert "last-event-id" in preflight.headers["Access-Control-Allow-Headers"].lower()


# ---- what tells ------------------------------------------------------------------------------------------------------------


def told(stream: Stream, *wanted: str) -> list[str]:
    """The types and ids of what came in, as soon as all that is wanted is among it."""

    def seen(one: Stream) -> list[str]:
        return [f"{e['data']['type']} {e['data']['id']}" for e in one.events if e["event"] == "change"]

    stream.until(lambda s: set(wanted) <= set(seen(s)))
    return seen(stream)


def test_a_move_tells_both_parties_and_its_operation_whoever_made_it(world: World, browsers: Browsers) -> None:
    clara, otto = world.coach(), world.caller("Otto")
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    streams = {person.name: browsers.open(person) for person in (clara, otto)}
    assert otto.move(booking["id"], at(3, 10))["__typename"] == "BookingRescheduled"
    operation = Operation.get().id
    heard = {name: told(stream, f"Booking {booking['id']}") for name, stream in streams.items()}
    assert f"BookingOperation {operation}" in told(streams["Otto"], f"BookingOperation {operation}")
    news = {person.name: person.notifications()[0]["id"] for person in (clara, otto)}
    for name, stream in streams.items():
        told(stream, f"Notification {news[name]}")
        others = {f"Notification {found}" for who, found in news.items() if who != name}
        assert not others & set(heard[name])
    assert not any(line.startswith("BookingOperation") for line in told(streams["Clara"], f"Booking {booking['id']}"))
    versions = [e["data"]["version"] for e in streams["Clara"].events if e["data"].get("type") == "Booking"]
    assert versions[-1] == clara.bookings()[0]["version"] == 2


def test_reading_in_one_tab_is_told_to_the_others(world: World, browsers: Browsers) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9))
    world.jobs()
    me, stream = clara.one("{ viewer { id } }")["id"], browsers.open(clara)
    clara.one("mutation { markNotificationsRead(input: {all: true}) { __typename } }")
    assert told(stream, f"User {me}") == [f"User {me}"]
    clara.one("mutation { markNotificationsRead(input: {all: true}) { __typename } }")
    world.book(clara, at(2, 11))
    world.jobs()
    told(stream, f"Notification {clara.notifications()[0]['id']}")
    assert told(stream, f"User {me}").count(f"User {me}") == 1, "nothing was left to be read the second time"


def test_a_connection_tells_when_it_is_made_breaks_and_is_taken_down(world: World, browsers: Browsers) -> None:
    clara = world.caller("Clara")
    world.account(clara)
    me, stream = clara.one("{ viewer { id } }")["id"], browsers.open(clara)
    mine = f"ConnectionStatus {me}:CAL_COM"

    def count() -> int:
        return told(stream, mine).count(mine)

    clara.link()
    made = count()
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    clara.one(SYNC)
    stream.until(lambda s: sum(e["data"].get("id") == f"{me}:CAL_COM" for e in s.events) > made)
    broken = count()
    clara.one(DISCONNECT)
    stream.until(lambda s: sum(e["data"].get("id") == f"{me}:CAL_COM" for e in s.events) > broken)
    assert clara.one(STATUS)["state"] == "NOT_CONNECTED"
