"""Gunicorn itself, its workers and its master killed outright or asked to stop, on both databases."""

import hashlib
import hmac
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from harness import CLIENT_ID, CLIENT_SECRET, MONDAY, MOVE, Caller, Issuer, World, at, iso
from processes import scaled
from test_server import free_port, until

from models import JobClaim, Notification, Operation, WebhookEvent, WebhookSubscription
from models.base import release_connection
from services.vault import place

ROOT = Path(__file__).resolve().parents[2]


class Gunicorn:
    """The contract's production command, on the world's database, beside the world's sandbox, from its moment on."""

    def __init__(self, world: World, database_url: str, folder: Path) -> None:
        self.port, self._log = free_port(), folder / "gunicorn.txt"
        settings = world.rt.settings
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("CONVENE_", "PYTEST_"))} | {
            "CONVENE_DATABASE_URL": database_url,
            "CONVENE_PORT": str(self.port),
            "CONVENE_PUBLIC_URL": settings.public_url,
            "CONVENE_SEALING_KEYS": ",".join(settings.sealing_keys),
            "CONVENE_IDENTITY_ISSUER": settings.identity_issuer,
            "CONVENE_IDENTITY_AUDIENCE": Issuer.audience,
            "CONVENE_CALCOM_API_URL": f"{world.sandbox.url}/calcom",
            "CONVENE_CALCOM_APP_URL": f"{world.sandbox.url}/calcom",
            "CONVENE_CALCOM_CLIENT_ID": CLIENT_ID,
            "CONVENE_CALCOM_CLIENT_SECRET": CLIENT_SECRET,
            "CONVENE_CLOCK_OFFSET_SECONDS": str((MONDAY - datetime.now(UTC)).total_seconds()),
            "CONVENE_LOG_LEVEL": "WARNING",
        }
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.http.close()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._master = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "app:create_app()"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        until(lambda: self.http.get("/ready").status_code == 200, 60)

    def stop(self) -> int:
        """Ask it to stop and wait for it; its exit code."""
        if self._master.poll() is None:
            self._master.send_signal(signal.SIGTERM)
        return self._master.wait(60)

    def terminate(self) -> None:
        self._master.send_signal(signal.SIGTERM)

    @property
    def workers(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self._master.pid}/task/{self._master.pid}/children").read_text().split()]

    def kill_worker(self) -> None:
        for pid in self.workers:
            os.kill(pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """The master first, so that nobody starts another worker; orphans end by themselves."""
        orphans = self.workers
        self._master.kill()
        self._master.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), 20)

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def server(world: World, database_url: str, tmp_path: Path) -> Iterator[Gunicorn]:
    with Gunicorn(world, database_url, tmp_path) as running:
        yield running


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


# ---- deliveries ----------------------------------------------------------------------------------------------------------


class Deliveries:
    """Signed news of bookings, sent by eight senders that repeat what was not acknowledged."""

    def __init__(self, world: World, server: Gunicorn, uids: list[str], each: int) -> None:
        row = WebhookSubscription.get()
        self._secret = world.rt.vault.open(row.secret, place("webhook_subscription", row.id, "secret"))
        release_connection()
        self.endpoint, self._server = row.endpoint, server
        self.bodies = [self._body(uid, number) for number in range(each) for uid in uids]
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for body in self.bodies:
            self._waiting.put(body)
        self.accepted = 0
        self._counted = threading.Condition()

    @staticmethod
    def _body(uid: str, number: int) -> bytes:
        created = f"2027-03-01T08:00:{number % 60:02}.{number:03}Z"
        return json.dumps({"triggerEvent": "BOOKING_CREATED", "createdAt": created, "payload": {"uid": uid}}).encode()

    def key(self, body: bytes) -> str:
        return hashlib.sha256(self.endpoint.encode() + b"\n" + body).hexdigest()

    def _send_all(self) -> None:
        with httpx.Client(timeout=10) as http:
            while True:
                try:
                    body = self._waiting.get_nowait()
                except queue.Empty:
                    return
                self._send(http, body)

    def _send(self, http: httpx.Client, body: bytes) -> None:
        signature = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Cal-Signature-256": signature, "Content-Type": "application/json"}
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                answer = http.post(f"http://127.0.0.1:{self._server.port}/webhooks/calcom/{self.endpoint}", content=body, headers=headers)
            except httpx.HTTPError:
                threading.Event().wait(0.02)
                continue
            if answer.is_success:
                with self._counted:
                    self.accepted += 1
                    self._counted.notify_all()
                return
        raise AssertionError("never acknowledged")

    def wait_for(self, accepted: int) -> None:
        with self._counted:
            assert self._counted.wait_for(lambda: self.accepted >= accepted, 60)

    def send(self, disturb: Any) -> None:
        with ThreadPoolExecutor(8) as senders:
            sending = [senders.submit(self._send_all) for _ in range(8)]
            disturb(self)
            for sender in sending:
                sender.result()


@pytest.mark.parametrize(("each", "deaths"), [pytest.param(scaled(90), 6, marks=pytest.mark.long)])
def test_what_was_acknowledged_is_there_and_applied_once(world: World, clara: Caller, server: Gunicorn, each: int, deaths: int) -> None:
    world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    uids = [world.book(clara, at(2 + n % 4, 9 + n // 4), name=f"Otto{n}") for n in range(20)]
    news = Deliveries(world, server, uids, each)

    def disturb(deliveries: Deliveries) -> None:
        for number in range(1, deaths + 1):
            deliveries.wait_for(len(deliveries.bodies) * number // (deaths + 2))
            if number % 2:
                server.kill_worker()
            else:
                server.kill_all()
                server.start()

    news.send(disturb)
    server.stop()
    assert news.accepted == len(news.bodies)
    # what the dead ones had in hand is taken over when their leases end; the provider allows 500 readings a minute
    for _ in range(2 + len(news.bodies) // 400):
        world.move_clock(minutes=10)
        world.jobs()
    stored = {row.delivery_key: row for row in WebhookEvent.select()}
    assert {news.key(body) for body in news.bodies} == set(stored)
    assert {(row.state, row.last_error) for row in stored.values()} == {("APPLIED", None)}
    bookings = clara.bookings(first=100)
    assert len(bookings) == 20
    assert all([e["node"]["kind"] for e in b["history"]["edges"]] == ["BOOKED"] for b in bookings)
    told = [(row.person_id, row.booking_id) for row in Notification.select().where(Notification.kind == "BOOKED")]
    assert len(told) == len(set(told)) == 40, "the coach and each mentee once"
    assert "Traceback" not in server.log()


# ---- stopping ------------------------------------------------------------------------------------------------------------


def test_asked_to_stop_it_finishes_what_is_in_hand_and_the_next_takes_over(world: World, clara: Caller, server: Gunicorn) -> None:
    parked = world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    uids = [world.book(clara, at(2, hour), name=f"Otto{hour}") for hour in range(9, 15)]
    world.jobs()
    parked.remove()
    clara.one("mutation { syncBookings(input: {provider: CAL_COM}) { __typename } }")
    booking = clara.bookings()[0]
    # a request waits for the provider, and so does a job
    move = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    read = world.sandbox.fault({"kind": "hold"}, method="GET", path=f"/calcom/v2/bookings/{uids[-1]}")
    news = Deliveries(world, server, uids[-1:], 3)
    news.send(lambda _: None)
    assert read.wait_held()
    with ThreadPoolExecutor(1) as pool:
        asked = {"bookingId": booking["id"], "newStart": iso(at(3, 10)), "idempotencyKey": "k1"}
        moving = pool.submit(
            lambda: server.http.post(
                "/graphql", json={"query": MOVE, "variables": {"input": asked}}, headers={"Authorization": f"Bearer {clara.token}"}
            ).json()["data"]["rescheduleBooking"]
        )
        assert move.wait_held()
        server.terminate()
        # it takes no new work meanwhile
        until(lambda: _refuses(server), 10)
        move.release()
        read.release()
        assert moving.result()["__typename"] == "BookingRescheduled"
    assert server.stop() == 0
    assert Operation.select().where(Operation.open).count() == 0
    for model in (WebhookEvent, JobClaim):
        assert model.select().where(model.lease_owner.is_null(False)).count() == 0, "nothing is left in a hand that is gone"
    release_connection()
    server.start()
    until(lambda: _count_waiting() == 0, 20)
    assert [b["start"] for b in clara.bookings() if b["id"] == booking["id"]] == [iso(at(3, 10))]
    assert "Traceback" not in server.log()


def _refuses(server: Gunicorn) -> bool:
    try:
        return server.http.get("/ready").status_code != 200
    except httpx.HTTPError:
        return True


def _count_waiting() -> int:
    try:
        return int(WebhookEvent.select().where(WebhookEvent.state.in_(["PENDING", "RETRYING"])).count())
    finally:
        release_connection()
