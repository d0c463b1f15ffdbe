"""Replicas are replaced one after the other, behind a balancer that repeats nothing: no request is lost."""

import hashlib
import hmac
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import MOVE, Caller, at, iso
from replicas import SKEWS, Fleet, FleetWorld, Replica, fleet_world, migrated, own_postgres
from test_server import until

from models import Operation, WebhookEvent, WebhookSubscription
from models.base import release_connection
from services.vault import place

__all__ = ["fleet_world", "migrated", "own_postgres"]
BOOKINGS = "query { bookings(first: 20) { edges { node { id start } } } }"
CALLERS = 4
DRAIN = 2
"""Seconds; the balancer looks four times in each."""


class Traffic:
    """Callers with connections that they keep, each sending its next request when the answer is there. No second try."""

    def __init__(self, url: str, clara: Caller, bookings: list[dict[str, Any]], uid: str) -> None:
        self._url, self._clara, self._bookings, self._uid = url, clara, bookings, uid
        row = WebhookSubscription.get()
        self._secret, self._endpoint = clara.world.rt.vault.open(row.secret, place("webhook_subscription", row.id, "secret")), row.endpoint
        release_connection()
        self._ended = threading.Event()
        self.answers: Counter[str] = Counter()
        self.acknowledged: set[str] = set()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        with ThreadPoolExecutor(CALLERS) as pool:
            sending = [pool.submit(self._send, number) for number in range(CALLERS)]
            try:
                yield
            finally:
                self._ended.set()
            for one in sending:
                one.result()

    def _send(self, number: int) -> None:
        acts = (self._list, self._deliver, self._list, self._move)
        with httpx.Client(base_url=self._url, timeout=60, verify=False) as http:
            turn = 0
            while not self._ended.is_set():
                turn += 1
                self.answers[acts[turn % 4](http, number, turn)] += 1

    def _gql(self, http: httpx.Client, query: str, variables: dict[str, Any] | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._clara.token}"}
        answer = http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return answer.status_code, next(iter(answer.json()["data"].values())) if answer.status_code == 200 else None

    def _list(self, http: httpx.Client, _number: int, _turn: int) -> str:
        status, found = self._gql(http, BOOKINGS)
        return f"list {status} {len(found['edges']) if found else ''}"

    def _move(self, http: httpx.Client, number: int, turn: int) -> str:
        """Each caller moves a booking of its own, between two times that are nobody else's."""
        start = at(8 + number, 8 + turn // 4 % 2)
        asked = {"bookingId": self._bookings[number]["id"], "newStart": iso(start), "idempotencyKey": f"{number}-{turn}"}
        status, found = self._gql(http, MOVE, {"input": asked})
        return f"move {status} {found and found['__typename']}"

    def _deliver(self, http: httpx.Client, number: int, turn: int) -> str:
        created = f"2027-03-01T08:00:{number:02}.{turn:03}Z"
        body = json.dumps({"triggerEvent": "BOOKING_CREATED", "createdAt": created, "payload": {"uid": self._uid}}).encode()
        signed = {"X-Cal-Signature-256": hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()}
        answer = http.post(f"/webhooks/calcom/{self._endpoint}", content=body, headers={"Content-Type": "application/json", **signed})
        self.acknowledged.add(hashlib.sha256(self._endpoint.encode() + b"\n" + body).hexdigest())
        return f"deliver {answer.status_code}"


def refuses(replica: Replica) -> bool:
    """Nobody listens there: who comes is told at once, and may go elsewhere."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", replica.port)) != 0


def replace(fleet: Fleet, number: int, new: Replica) -> Replica:
    """The new one is ready, so the old one is asked to stop, and nothing more is sent there once it says that it is not."""
    old = fleet.replicas[number]
    fleet.replicas[number] = new
    fleet.gone.append(old)
    fleet.balancer.serve(*(one.port for one in (*fleet.replicas, old)))
    old.terminate()
    until(lambda: not fleet.balancer.has(old.port), 20)
    return old


@pytest.mark.long
@pytest.mark.parametrize("replicas", [2, 4])
def test_a_rolling_restart_loses_no_request(fleet_world: FleetWorld, migrated: str, tmp_path: Path, replicas: int) -> None:
    world = fleet_world
    clara = world.coach()
    uids = [world.book(clara, at(2, 8 + number), name=f"Otto{number}") for number in range(CALLERS + 1)]
    world.jobs()
    bookings = sorted(clara.bookings(), key=lambda row: str(row["start"]))
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=f"/calcom/v2/bookings/{uids[CALLERS]}/reschedule")
    fleet = Fleet(world, migrated, tmp_path, SKEWS[:replicas], CONVENE_DRAIN_SECONDS=str(DRAIN))
    with fleet, ThreadPoolExecutor(1) as pool:
        traffic = Traffic(fleet.balancer.url, clara, bookings, uids[CALLERS])
        with traffic.flowing():
            new = fleet.another()
            new.start()
            # one request waits for the provider while its process is being stopped
            asked = {"bookingId": bookings[CALLERS]["id"], "newStart": iso(at(12, 9)), "idempotencyKey": "held"}
            sent = {"json": {"query": MOVE, "variables": {"input": asked}}, "headers": {"Authorization": f"Bearer {clara.token}"}}
            waiting = pool.submit(fleet.replicas[0].http.post, "/graphql", **sent)
            assert held.wait_held()
            first = replace(fleet, 0, new)
            until(lambda: refuses(first), 20)
            assert not waiting.done()
            held.release()
            assert waiting.result().json()["data"]["rescheduleBooking"]["__typename"] == "BookingRescheduled"
            assert first.stop() == 0
            for number in range(1, replicas):
                new = fleet.another()
                new.start()
                assert replace(fleet, number, new).stop() == 0
        assert Counter(fleet.balancer.failures) == Counter()
        assert set(fleet.stop()) == {0}
    assert set(traffic.answers) == {f"list 200 {CALLERS + 1}", "move 200 BookingRescheduled", "deliver 200"}, traffic.answers
    stored = {row.delivery_key for row in WebhookEvent.select(WebhookEvent.delivery_key)}
    assert traffic.acknowledged <= stored
    assert Operation.select().where(Operation.open).count() == 0
    release_connection()
    assert "Traceback" not in fleet.logs()
