"""The scheduler: bells that are not lost, work that is done once, an end that leaves nothing behind."""

import copy
import hashlib
import hmac
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness import INBOX, LEGACY_SECRET, OPERATION, SYNC, Caller, World, at, iso
from peewee import Model

from models import JobClaim, LinkedAccount, Operation, WebhookEvent
from models.base import db
from services import claims, jobs, webhooks
from services.budgets import Budgets
from services.runtime import Runtime
from services.vault import new_key

ROOT = Path(__file__).parent.parent
READ_BACK = "/calcom/v2/bookings/*"
EVENT_TYPES = "/calcom/v2/event-types"
OURS = ("webhooks-", "work-", "operations-", "APScheduler", "ThreadPoolExecutor")


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


@pytest.fixture
def hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks for work by himself: only bells are left."""
    for name, kind in jobs.WORKERS.items():
        monkeypatch.setitem(jobs.WORKERS, name, replace(kind, seconds=3600))


@pytest.fixture
def alone(hourly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker for each kind of work."""
    for name, kind in jobs.WORKERS.items():
        monkeypatch.setitem(jobs.WORKERS, name, replace(kind, threads=1))


def scheduler_of(world: World, rt: Runtime | None = None) -> jobs.Scheduler:
    return jobs.Scheduler(rt or world.rt, Budgets(world.clock))


def replica(world: World) -> Runtime:
    """Another process's parts on the same database."""
    other = copy.copy(world.rt)
    other.owner, other.stopping = "another replica", threading.Event()
    other.step = lambda _name: None
    return other


@contextmanager
def running(*schedulers: jobs.Scheduler) -> Iterator[None]:
    try:
        for scheduler in schedulers:
            scheduler.start()
        yield
    finally:
        for scheduler in schedulers:
            scheduler.stop()
            scheduler._rt.stopping.clear()


class Steps:
    """Counts the points that workers pass, and can be waited for."""

    def __init__(self, *runtimes: Runtime) -> None:
        self.seen: Counter[str] = Counter()
        self._changed = threading.Condition()
        for rt in runtimes:
            rt.step = self.pass_by

    def pass_by(self, name: str) -> None:
        with self._changed:
            self.seen[name] += 1
            self._changed.notify_all()

    def reached(self, name: str, count: int = 1, timeout: float = 5) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.seen[name] >= count, timeout)


def begun(work: Callable[[], Any]) -> "Future[Any]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def inbox(admin: Caller) -> list[dict[str, Any]]:
    return [edge["node"] for edge in admin.one(INBOX, first=100)["edges"]]


def silent_booking(world: World, coach: Caller, start: datetime, **more: Any) -> str:
    lost = world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    uid = world.book(coach, start, **more)
    lost.remove()
    return uid


def deliver(world: World, number: int, uid: str | None = None) -> int:
    """A delivery to the address for all accounts, about one booking or about nothing that matters here."""
    kind, payload = ("BOOKING_CREATED", {"uid": uid}) if uid else ("OOO_CREATED", {})
    body = json.dumps({"triggerEvent": kind, "payload": payload, "number": number}).encode()
    signature = hmac.new(LEGACY_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return world.http.post("/webhooks/cal/booking.created", content=body, headers={"X-Cal-Signature-256": signature}).status_code


def leases(*models: type[Model]) -> int:
    wanted = models or (JobClaim, WebhookEvent, Operation)
    return sum(model.select().where(model.lease_owner.is_null(False)).count() for model in wanted)


def threads_of_ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(OURS)}


def due_now(world: World, *kinds: str) -> None:
    """Every linked account has this to do, and nothing else."""
    JobClaim.delete().execute()
    for account in LinkedAccount.select():
        for kind in kinds:
            claims.schedule(kind, account.id, world.clock.now())


# ---- start and stop --------------------------------------------------------------------------------------------------------


def test_stopped_it_leaves_no_thread_and_no_lease(world: World, clara: Caller) -> None:
    due_now(world, *(kind for kind in jobs.WORK if kind not in {"revoke", "clean_up"}))
    world.book(clara, at(2, 9))
    before = threads_of_ours()
    steps = Steps(world.rt)
    world.convene.scheduler.start()
    assert steps.reached("webhook.ended")
    names = threads_of_ours() - before
    assert {"APScheduler", "operations-1", *(f"{kind}-{n}" for kind in ("webhooks", "work") for n in (1, 2, 3))} <= names
    world.convene.scheduler.stop()
    assert threads_of_ours() <= before
    assert leases() == 0
    assert WebhookEvent.get().state == "APPLIED"


def test_stopping_twice_or_before_the_start_is_harmless(world: World, clara: Caller) -> None:
    before = threads_of_ours()
    scheduler_of(world).stop()
    world.rt.stopping.clear()
    scheduler = scheduler_of(world)
    scheduler.start()
    scheduler.stop()
    scheduler.stop()
    assert threads_of_ours() <= before


def test_after_the_stop_nothing_new_is_taken(world: World, clara: Caller, admin: Caller) -> None:
    world.convene.scheduler.start()
    world.convene.scheduler.stop()
    world.book(clara, at(2, 9))
    assert [e["state"] for e in inbox(admin)] == ["PENDING"], "stored and acknowledged all the same"
    webhooks.apply_due(world.rt)
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("PENDING", 0)]
    assert leases() == 0
    assert webhooks.apply_due(replica(world)) == 1
    assert [e["state"] for e in inbox(admin)] == ["APPLIED"]


def test_a_start_makes_up_for_what_came_before_it(world: World, clara: Caller, admin: Caller, hourly: None) -> None:
    """A delivery that an earlier process stored and did not apply needs no bell."""
    world.book(clara, at(2, 9))
    steps = Steps(world.rt)
    with running(scheduler_of(world)):
        assert steps.reached("webhook.ended")
    assert [e["state"] for e in inbox(admin)] == ["APPLIED"]


# ---- bells -----------------------------------------------------------------------------------------------------------------


def test_a_delivery_rings(world: World, clara: Caller, hourly: None) -> None:
    steps = Steps(world.rt)
    with running(scheduler_of(world)):
        # each of the three workers has looked once by itself
        assert steps.reached("webhook.claimed", 3)
        world.book(clara, at(2, 9))
        assert steps.reached("webhook.ended")
        assert len(clara.notifications()) == 1


def test_a_repeat_rings_nobody(world: World, clara: Caller, hourly: None) -> None:
    steps, rung = Steps(world.rt), []
    assert deliver(world, 1) == 200
    with running(scheduler_of(world)):
        assert steps.reached("webhook.ended")
        world.rt.wake = rung.append
        assert deliver(world, 1) == 200
        assert deliver(world, 2) == 200
    assert rung == ["webhooks"]


def test_a_replay_rings(world: World, clara: Caller, admin: Caller, hourly: None) -> None:
    world.book(clara, at(2, 9))
    steps = Steps(world.rt)
    with running(scheduler_of(world)):
        assert steps.reached("webhook.ended")
        (event,) = inbox(admin)
        admin.one("mutation($ids: [ID!]) { replayWebhookEvents(input: {ids: $ids}) { __typename } }", ids=[event["id"]])
        assert steps.reached("webhook.ended", 2)
    assert [e["state"] for e in inbox(admin)] == ["APPLIED"]


def test_linking_rings(world: World, hourly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who has just connected need not wait for the next look."""
    ida = world.caller("Ida")
    world.account(ida, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
    synced = threading.Event()
    original = jobs.WORK["sync"]
    monkeypatch.setitem(jobs.WORK, "sync", lambda rt, key: (original(rt, key), synced.set())[0])
    with running(scheduler_of(world)):
        begun_there = ida.begin()
        ida.consent(begun_there)
        assert ida.complete(begun_there["state"])["__typename"] == "ProviderLinked"
        assert synced.wait(5)


def test_no_ring_is_lost_while_a_worker_is_at_its_last_look(world: World, alone: None, admin: Caller) -> None:
    """Fifty times in a row news come after the only worker has found nothing and before it waits again."""
    assert deliver(world, 0) == 200
    sent, done = [0], threading.Event()

    def step(name: str) -> None:
        if name != "webhook.claimed" or WebhookEvent.select().where(WebhookEvent.lease_owner.is_null(False)).exists():
            return
        if len(sent) == 51:
            done.set()
            return
        db.close()
        sent.append(len(sent))
        assert deliver(world, sent[-1]) == 200

    world.rt.step = step
    with running(scheduler_of(world)):
        assert done.wait(20), f"after {len(sent) - 1} deliveries the worker slept on"
    assert Counter((e["state"], e["attempts"]) for e in inbox(admin)) == {("IGNORED", 1): 51}


def test_a_look_that_failed_is_made_up_for_at_the_next_ring(world: World, clara: Caller, alone: None, admin: Caller) -> None:
    failures = iter([RuntimeError("the database went away for a moment")])
    steps = Steps()

    def step(name: str) -> None:
        failure = next(failures, None) if name == "webhook.claimed" and deliveries else None
        steps.pass_by("failed" if failure else name)
        if failure:
            raise failure

    deliveries: list[int] = []
    world.rt.step = step
    with running(scheduler_of(world)):
        assert steps.reached("webhook.claimed")
        deliveries.append(1)
        assert deliver(world, 1) == 200
        assert steps.reached("failed")
        world.move_clock(seconds=61)
        assert deliver(world, 2) == 200
        assert steps.reached("webhook.ended", 2)
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("IGNORED", 1)] * 2
    assert "tick failed" in world.logged.getvalue()


# ---- slow providers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(world: World, clara: Caller) -> tuple[str, Caller]:
    """Clara's booking cannot be read quickly; Ida's can."""
    ida = world.coach("Ida")
    return silent_booking(world, clara, at(2, 9)), ida


def test_a_provider_that_is_slow_for_one_account_keeps_no_later_news_waiting(
    world: World, two: tuple[str, Caller], clara: Caller, hourly: None
) -> None:
    slow, ida = two
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    key = outside_key(world, clara)
    steps = Steps(world.rt)
    with running(scheduler_of(world)):
        cancel_outside(world, slow, key)
        assert held.wait_held()
        world.book(ida, at(3, 9))
        assert steps.reached("webhook.ended")
        assert len(ida.notifications()) == 1
        assert clara.bookings() == []
        held.release()


def test_a_provider_that_is_slow_for_one_account_keeps_nobodys_waiting_news_waiting(
    world: World, two: tuple[str, Caller], clara: Caller, hourly: None
) -> None:
    """Both deliveries wait when a worker looks; it must not sit on Ida's while Cal.com does not answer about Clara's.

    After five seconds the next ringing of the interval finds it free.
    """
    slow, ida = two
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=f"/calcom/v2/bookings/{slow}")
    cancel_outside(world, slow, outside_key(world, clara))
    world.move_clock(milliseconds=1)
    world.book(ida, at(3, 9))
    steps = Steps(world.rt)
    with running(scheduler_of(world)):
        assert held.wait_held()
        world.move_clock(seconds=6)
        world.rt.wake("webhooks")
        told = steps.reached("webhook.ended", timeout=3)
        held.release()
    assert told
    assert len(ida.notifications()) == 1


def outside_key(world: World, person: Caller) -> str:
    return str(world.sandbox_call("calcom/api-keys", email=person.email)["apiKey"])


def cancel_outside(world: World, uid: str, key: str) -> None:
    answer = world.control.post(
        f"{world.sandbox.url}/calcom/v2/bookings/{uid}/cancel",
        json={"cancellationReason": "Ill"},
        headers={"cal-api-version": "2026-02-25", "Authorization": f"Bearer {key}"},
    )
    assert answer.is_success, answer.text


# ---- stopping in the middle ------------------------------------------------------------------------------------------------


def stopping(world: World, scheduler: jobs.Scheduler) -> "Future[Any]":
    """The stop is under way: the flag is set, and the workers are waited for."""
    future = begun(scheduler.stop)
    assert world.rt.stopping.wait(5)
    return future


def test_a_stop_finishes_the_delivery_in_hand_and_gives_the_rest_back(world: World, clara: Caller, admin: Caller, alone: None) -> None:
    uids = [silent_booking(world, clara, at(2, hour)) for hour in range(9, 14)]
    for number, uid in enumerate(uids):
        assert deliver(world, number, uid) == 200
        world.move_clock(milliseconds=1)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    scheduler = scheduler_of(world)
    scheduler.start()
    assert held.wait_held()
    assert leases(WebhookEvent) == 5
    stopped = stopping(world, scheduler)
    held.release()
    stopped.result(10)
    assert Counter((e["state"], e["attempts"]) for e in inbox(admin)) == {("APPLIED", 1): 1, ("PENDING", 0): 4}
    assert leases() == 0
    # no lease has to run out first
    assert webhooks.apply_due(replica(world)) == 4
    assert Counter((e["state"], e["attempts"]) for e in inbox(admin)) == {("APPLIED", 1): 5}
    assert [world.calls("GET", f"/v2/bookings/{uid}") for uid in uids] == [1] * 5
    assert len(clara.notifications()) == 5


def test_a_stop_finishes_the_work_in_hand_and_gives_the_rest_back(world: World, clara: Caller, alone: None) -> None:
    for name in ("Ida", "Tom"):
        world.coach(name)
    due_now(world, "event_types")
    world.sandbox.world.requests.clear()
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=EVENT_TYPES)
    scheduler = scheduler_of(world)
    scheduler.start()
    assert held.wait_held()
    stopped = stopping(world, scheduler)
    held.release()
    stopped.result(10)
    assert (leases(), world.calls("GET", EVENT_TYPES)) == (0, 1)
    assert jobs.run_work(replica(world), "event_types") == 2
    assert world.calls("GET", EVENT_TYPES) == 3
    assert jobs.run_work(replica(world), "event_types") == 0


def test_a_request_in_flight_is_answered_while_the_scheduler_stops(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    with running(world.convene.scheduler):
        held = world.sandbox.fault({"kind": "hold"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
        moving = begun(lambda: clara.move(booking["id"], at(3, 13)))
        assert held.wait_held()
        world.convene.scheduler.stop()
        assert world.rt.stopping.is_set()
        assert world.http.get("/ready").status_code == 503
        held.release()
        moved = moving.result(10)
        assert (moved["__typename"], moved["booking"]["start"]) == ("BookingRescheduled", iso(at(3, 13)))
        assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert world.live_uids() == [moved["booking"]["externalId"]]
    assert leases() == 0


# ---- two of them -----------------------------------------------------------------------------------------------------------


def test_two_schedulers_apply_each_delivery_once(world: World, admin: Caller) -> None:
    people = [world.coach(name) for name in ("Clara", "Ida", "Tom")]
    uids = [silent_booking(world, person, at(2, hour)) for person in people for hour in range(9, 15)]
    other = replica(world)
    steps = Steps(world.rt, other)
    world.sandbox.world.requests.clear()
    JobClaim.delete().execute()
    sent = [deliver(world, number, uid) for number, uid in enumerate(uids[:9])]
    schedulers = [scheduler_of(world), scheduler_of(world, other)]
    with running(*schedulers):
        world.rt.wake = lambda name: [scheduler._ring(name) for scheduler in schedulers]
        sent += [deliver(world, number, uid) for number, uid in enumerate(uids[9:], 9)]
        assert sent == [200] * 18
        assert steps.reached("webhook.ended", 18, 20)
    assert (steps.seen["webhook.ended"], leases()) == (18, 0)
    assert Counter((e["state"], e["attempts"]) for e in inbox(admin)) == {("APPLIED", 1): 18}
    assert [world.calls("GET", f"/v2/bookings/{uid}") for uid in uids] == [1] * 18
    assert [len(person.notifications()) for person in people] == [6, 6, 6]


def test_two_schedulers_do_each_piece_of_work_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Clara", "Ida", "Tom", "Uma"):
        world.coach(name)
    other = replica(world)
    steps = Steps()
    original = jobs.WORK["event_types"]

    def work(rt: Runtime, key: str) -> Any:
        try:
            return original(rt, key)
        finally:
            steps.pass_by(key)
            steps.pass_by("work")

    monkeypatch.setitem(jobs.WORK, "event_types", work)
    schedulers = [scheduler_of(world), scheduler_of(world, other)]
    with running(*schedulers):
        # first: a bell may ring by itself as soon as something is due
        world.sandbox.world.requests.clear()
        due_now(world, "event_types")
        [scheduler._ring("work") for scheduler in schedulers]
        assert steps.reached("work", 4)
    assert {steps.seen[account.id] for account in LinkedAccount.select()} == {1}
    assert world.calls("GET", EVENT_TYPES) == 4
    assert leases() == 0


# ---- in the background -----------------------------------------------------------------------------------------------------


def test_no_kind_of_work_makes_an_account_one_that_is_in_use(world: World, clara: Caller) -> None:
    """Else the jobs would keep every idle account's tokens alive by themselves."""
    uid = silent_booking(world, clara, at(2, 9))
    world.jobs()
    world.move_clock(hours=20)
    long_ago = world.clock.now()
    LinkedAccount.update(last_used_at=long_ago).execute()
    world.move_clock(hours=20)
    due_now(world, *(kind for kind in jobs.WORK if kind not in {"revoke", "clean_up"}))
    world.sandbox.world.requests.clear()
    assert deliver(world, 1, uid) == 200
    world.book(clara, at(4, 9))
    world.jobs()
    asked = {(r.method, r.path) for r in world.sandbox.requests}
    assert {("GET", EVENT_TYPES), ("GET", "/calcom/v2/bookings"), ("GET", f"/calcom/v2/bookings/{uid}")} <= asked
    assert LinkedAccount.get().last_used_at == long_ago
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert LinkedAccount.get().last_used_at == world.clock.now(), "what a person asks for does"


def test_settling_an_operation_does_not_either(world: World, clara: Caller, hourly: None) -> None:
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    lost = world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    cut = world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=READ_BACK, times=None)
    silent = world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    pending = clara.move(booking["id"], at(3, 13))
    assert (pending["__typename"], lost.hits) == ("RescheduleInProgress", 1)
    cut.remove()
    silent.remove()
    world.rt.transport._breakers.clear()
    long_ago = world.clock.now()
    LinkedAccount.update(last_used_at=long_ago).execute()
    world.move_clock(hours=2)
    steps = Steps(world.rt)
    with running(scheduler_of(world)):
        assert steps.reached("operation.settled")
    assert LinkedAccount.get().last_used_at == long_ago
    assert clara.one(OPERATION, id=pending["operation"]["id"])["state"] == "COMPLETED"
    assert [b["start"] for b in clara.bookings()] == [iso(at(3, 13))]


# ---- where it does not run -------------------------------------------------------------------------------------------------

WATCH = """
import runpy, sys, threading
started = []
sys.addaudithook(lambda event, _: started.append(event) if event == "_thread.start_new_thread" else None)
{body}
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert started == [], started
print("alone")
"""


def watched(tmp_path: Path, body: str, **environment: str) -> str:
    """Run it in a process of its own, which tells whether a thread was ever started there."""
    run = subprocess.run(
        [sys.executable, "-c", WATCH.format(body=body)],
        cwd=ROOT,
        env={**os.environ, "CONVENE_DATABASE_URL": f"sqlite:///{tmp_path / 'convene.db'}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def script(name: str, *arguments: str) -> str:
    return f"sys.argv = {[name, *arguments]!r}; runpy.run_path({str(ROOT / 'scripts' / name)!r}, run_name='__main__')"


def test_no_thread_is_started_by_a_migration(tmp_path: Path) -> None:
    assert watched(tmp_path, script("migrate")).endswith("alone\n")


def test_no_thread_is_started_by_exporting_the_schema(tmp_path: Path) -> None:
    assert watched(tmp_path, script("export-schema", "--check")) == "alone\n"


def test_no_thread_is_started_by_the_factory(tmp_path: Path) -> None:
    body = f"{script('migrate')}; from app import create_app; app = create_app(); assert app.extensions['convene'].scheduler"
    printed = watched(
        tmp_path,
        body,
        CONVENE_PUBLIC_URL="https://convene.example.test",
        CONVENE_SEALING_KEYS=new_key("test"),
        CONVENE_IDENTITY_ISSUER="https://issuer.example.test",
        CONVENE_IDENTITY_AUDIENCE="convene",
        CONVENE_CALCOM_CLIENT_ID="convene-tests",
        CONVENE_CALCOM_CLIENT_SECRET="only-for-tests",
    )
    assert printed.endswith("alone\n")


# ---- gunicorn --------------------------------------------------------------------------------------------------------------


def test_gunicorn_starts_it_with_the_worker_and_ends_it_before_the_worker(world: World, clara: Caller) -> None:
    """SIGTERM sets the flag at once, so that the jobs end while requests do; the exit waits for them."""
    hooks = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    exits: list[tuple[int, bool]] = []
    application = SimpleNamespace(extensions={"convene": world.convene})
    worker = SimpleNamespace(wsgi=application, handle_exit=lambda number, _frame: exits.append((number, world.rt.stopping.is_set())))
    before, threads = signal.getsignal(signal.SIGTERM), threads_of_ours()
    steps = Steps(world.rt)
    try:
        hooks["post_worker_init"](worker)
        world.book(clara, at(2, 9))
        assert steps.reached("webhook.ended")
        os.kill(os.getpid(), signal.SIGTERM)
        assert world.rt.stopping.wait(5)
        assert exits == [(signal.SIGTERM, True)]
        assert clara.bookings()[0]["status"] == "CONFIRMED"
    finally:
        signal.signal(signal.SIGTERM, before)
        hooks["worker_exit"](None, worker)
    assert threads_of_ours() <= threads
    assert leases() == 0


def test_a_worker_that_never_came_up_exits_quietly() -> None:
    hooks = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    hooks["worker_exit"](None, SimpleNamespace())
    assert hooks["preload_app"] is False, "a fork keeps the scheduler's flag and loses its threads"


# ---- two threads of one process ------------------------------------------------------------------------------------------------


def test_a_row_that_lost_its_turn_is_begun_by_one_thread_only(world: World) -> None:
    """The first item of a batch takes longer than a turn; another thread of the same process claims what waits behind it."""
    for key in ("a", "b"):
        JobClaim.create(kind="sync", key=key, due_at=world.clock.now())
    queue = claims.Queue(JobClaim, lambda row: row.kind == "sync")
    first = queue.claim(world.rt, limit=5)
    assert claims.begin(world.rt, JobClaim, first.owner, first.ids[0]) is not None
    world.move_clock(seconds=6)
    second = queue.claim(world.rt, limit=5)
    assert second.ids == first.ids[1:]
    begun = claims.begin(world.rt, JobClaim, second.owner, second.ids[0])
    assert begun.attempts == 1
    assert claims.begin(world.rt, JobClaim, first.owner, second.ids[0]) is None
    # nor does the first thread, when it is asked to stop, take it out of the other one's hands
    claims.give_back(JobClaim, first.owner, first.ids[1:])
    assert JobClaim.get_by_id(second.ids[0]).lease_owner == second.owner


def test_refreshes_that_succeed_count_no_attempts(world: World) -> None:
    """Each success plans the next one while it is still being done."""
    clara = world.coach()
    for _ in range(3):
        clara.gql("{ viewer { id } }")
        LinkedAccount.update(last_used_at=world.clock.now()).execute()
        world.move_clock(minutes=25)
        world.jobs()
    assert LinkedAccount.get().token_version == 4
    assert JobClaim.get(JobClaim.kind == "refresh").attempts == 0
