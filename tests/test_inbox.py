"""The inbox under load: bounded claims in turns, leases, rows that kill, replays, and refusing before memory grows."""

import copy
import hashlib
import hmac
import json
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from harness import DISCONNECT, INBOX, LEGACY_SECRET, Caller, StandingClock, World, at

from models import LinkedAccount, WebhookEvent, WebhookSubscription
from models.base import db
from services import webhooks
from services.runtime import Runtime
from services.vault import place

SHARED = "/webhooks/cal/booking.created"
READ_BACK = "/calcom/v2/bookings/*"
MIB = 1024 * 1024
REPLAY = """mutation($input: ReplayWebhookEventsInput!) { replayWebhookEvents(input: $input) { __typename
  ... on WebhookEventsReplayed { replayed skipped } ... on InvalidInput { fields { path message } }
  ... on NotPermitted { code } } }"""


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def ida(world: World) -> Caller:
    return world.coach("Ida")


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


def inbox(admin: Caller, **arguments: Any) -> list[dict[str, Any]]:
    return [edge["node"] for edge in admin.one(INBOX, first=100, **arguments)["edges"]]


def silent_booking(world: World, coach: Caller, start: datetime, **more: Any) -> str:
    """A booking whose own news gets lost; answers its uid."""
    lost = world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    uid = world.book(coach, start, **more)
    lost.remove()
    return uid


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def news(uid: str, number: int = 0, kind: str = "BOOKING_CREATED") -> bytes:
    return json.dumps({"triggerEvent": kind, "payload": {"uid": uid}, "number": number}).encode()


def account_of(person: Caller) -> LinkedAccount:
    return LinkedAccount.get(LinkedAccount.email == person.email)


def post(world: World, path: str, secret: str, body: bytes) -> httpx.Response:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return world.http.post(path, content=body, headers={"X-Cal-Signature-256": signature})


def send(world: World, person: Caller | None, body: bytes) -> httpx.Response:
    """One delivery to the person's own endpoint, or to the one that is for all accounts."""
    if person is None:
        return post(world, SHARED, LEGACY_SECRET, body)
    mine = WebhookSubscription.get(WebhookSubscription.linked_account == account_of(person))
    secret = world.rt.vault.open(mine.secret, place("webhook_subscription", mine.id, "secret"))
    return post(world, f"/webhooks/calcom/{mine.endpoint}", secret, body)


def deliver(world: World, person: Caller | None, uid: str, count: int = 1, **more: Any) -> None:
    """So many deliveries about one booking, each of them a millisecond after the one before."""
    for number in range(count):
        world.move_clock(milliseconds=1)
        assert send(world, person, news(uid, number, **more)).status_code == 200


def replica(world: World, name: str = "another replica") -> Runtime:
    """Another process's parts on the same database."""
    other = copy.copy(world.rt)
    other.owner, other.stopping = name, threading.Event()
    other.step = lambda _name: None
    return other


def begun(work: Callable[[], Any]) -> "Future[Any]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def at_once(works: list[Callable[[], Any]]) -> list[Any]:
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        gate.wait(10)
        try:
            return work()
        finally:
            db.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]


def in_hand() -> int:
    return WebhookEvent.select().where(WebhookEvent.lease_owner.is_null(False)).count()


def states(person: Caller | None = None) -> dict[str, int]:
    """How many deliveries of the person (of nobody) are in each state."""
    whose = WebhookEvent.linked_account.is_null() if person is None else WebhookEvent.linked_account == account_of(person)
    return dict(Counter(row.state for row in WebhookEvent.select().where(whose)))


def read_backs(world: World, uid: str) -> int:
    return world.calls("GET", f"/calcom/v2/bookings/{uid}")


# ---- bounds and turns ------------------------------------------------------------------------------------------------------


def test_four_of_one_account_are_in_hand_over_all_replicas(world: World, clara: Caller, ida: Caller) -> None:
    slow, quick = silent_booking(world, clara, at(2, 9)), silent_booking(world, ida, at(2, 9))
    deliver(world, clara, slow, 12)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=f"/calcom/v2/bookings/{slow}")
    first = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    assert in_hand() == 4
    second, third = replica(world), replica(world, "a third")
    deliver(world, clara, slow, kind="BOOKING_CANCELLED")
    assert (webhooks.apply_due(second), webhooks.apply_due(third), webhooks.apply_due(world.rt)) == (0, 0, 0)

    deliver(world, ida, quick)
    assert webhooks.apply_due(second) == 1
    assert (states(ida), states(clara)) == ({"APPLIED": 1}, {"PENDING": 13})

    held.release()
    assert first.result() == 4
    assert states(clara) == {"APPLIED": 4, "PENDING": 9}
    assert (webhooks.apply_due(third), in_hand()) == (4, 0)
    assert len(clara.notifications()) == 1


def test_what_is_done_makes_room_for_as_many(world: World, clara: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid, 12)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK, skip=1)
    first = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    assert (states(clara), in_hand()) == ({"APPLIED": 1, "PENDING": 11}, 3)
    assert webhooks.apply_due(replica(world)) == 1
    held.release()
    assert first.result() == 4
    assert states(clara) == {"APPLIED": 5, "PENDING": 7}


def test_replicas_that_claim_at_once_share_the_four(world: World, clara: Caller) -> None:
    """All of them have claimed before any of them begins."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid, 24)
    seen: list[int] = []

    def look() -> None:
        seen.append(in_hand())
        db.close()

    claimed = threading.Barrier(6, action=look)
    replicas = [replica(world, f"replica {number}") for number in range(6)]
    for one in replicas:
        one.step = lambda name: claimed.wait(10) if name == "webhook.claimed" else None
    counts = [sum(at_once([lambda one=one: webhooks.apply_due(one) for one in replicas])) for _ in range(6)]
    assert (seen, counts) == ([4] * 6, [4] * 6)
    assert states(clara) == {"APPLIED": 24}
    assert {row.attempts for row in WebhookEvent.select()} == {1}
    assert (len(clara.bookings()), len(clara.notifications())) == (1, 1)


def test_a_single_delivery_does_not_wait_behind_two_hundred(world: World, clara: Caller, ida: Caller) -> None:
    flood, single = silent_booking(world, clara, at(2, 9)), silent_booking(world, ida, at(2, 9))
    deliver(world, clara, flood, 200)
    world.move_clock(seconds=5)
    deliver(world, ida, single)
    assert webhooks.apply_due(world.rt) == 5
    assert (states(ida), states(clara)) == ({"APPLIED": 1}, {"APPLIED": 4, "PENDING": 196})
    assert len(ida.notifications()) == 1


def test_a_batch_goes_round_the_accounts(world: World, clara: Caller, ida: Caller) -> None:
    third = world.coach("Tom")
    for person in (clara, ida, third):
        deliver(world, person, silent_booking(world, person, at(2, 9)), 6)
    assert webhooks.apply_due(world.rt) == 10
    assert [states(person)["APPLIED"] for person in (clara, ida, third)] == [4, 3, 3]


def test_deliveries_for_all_accounts_take_a_bigger_turn(world: World, clara: Caller) -> None:
    """The shared endpoint names no account: ten of its deliveries are in hand at a time."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, None, uid, 12)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    first = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    assert in_hand() == 10
    assert webhooks.apply_due(replica(world)) == 0
    held.release()
    assert first.result() == 10
    assert webhooks.apply_due(replica(world)) == 2
    assert states() == {"APPLIED": 12}
    assert len(clara.notifications()) == 1


def test_a_flood_of_the_shared_endpoint_keeps_no_account_waiting(world: World, clara: Caller) -> None:
    uid, other = silent_booking(world, clara, at(2, 9)), silent_booking(world, clara, at(2, 10))
    deliver(world, None, uid, 100)
    world.move_clock(milliseconds=1)
    deliver(world, clara, other)
    assert webhooks.apply_due(world.rt) == 10
    assert states(clara) == {"APPLIED": 1}


def test_a_replay_of_an_old_delivery_has_all_its_attempts(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    WebhookEvent.update(state="DEAD", attempts=15).execute()
    world.move_clock(days=5)
    broken = world.sandbox.fault({"kind": "malformed"}, method="GET", path=READ_BACK, times=3)
    assert admin.one("mutation { replayWebhookEvents(input: {allDead: true}) { ... on WebhookEventsReplayed { replayed } } }") == {
        "replayed": 1
    }
    webhooks.apply_due(world.rt)
    assert (states(clara), broken.hits) == ({"RETRYING": 1}, 3)
    world.move_clock(seconds=3)
    webhooks.apply_due(world.rt)
    assert states(clara) == {"APPLIED": 1}


def test_what_waits_for_its_next_attempt_takes_no_turn(world: World, clara: Caller) -> None:
    broken, fine = silent_booking(world, clara, at(2, 9)), silent_booking(world, clara, at(2, 10))
    deliver(world, clara, broken, 4)
    failing = world.sandbox.fault({"kind": "malformed"}, method="GET", path=f"/calcom/v2/bookings/{broken}", times=None)
    assert webhooks.apply_due(world.rt) == 4
    assert states(clara) == {"RETRYING": 4}
    failing.remove()
    world.rt.transport._breakers.clear()
    deliver(world, clara, fine, 4)
    assert webhooks.apply_due(world.rt) == 4
    assert states(clara) == {"RETRYING": 4, "APPLIED": 4}


# ---- leases ----------------------------------------------------------------------------------------------------------------


def dying(point: str) -> Callable[[str], None]:
    """A process that ends at that point."""

    def step(name: str) -> None:
        if name == point:
            raise SystemExit(name)

    return step


@pytest.mark.parametrize(("point", "counted", "lease"), [("webhook.claimed", 0, 5), ("webhook.applied", 1, 25)])
def test_what_a_dead_worker_held_is_taken_over_when_its_lease_ends(
    world: World, clara: Caller, admin: Caller, point: str, counted: int, lease: int
) -> None:
    """Five seconds for what was only claimed, twenty-five for what was begun."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    dead = replica(world, "a dead process")
    dead.step = dying(point)
    with pytest.raises(SystemExit):
        webhooks.apply_due(dead)
    before = read_backs(world, uid)
    living = [replica(world, f"replica {number}") for number in range(4)]

    world.move_clock(seconds=lease)
    assert [webhooks.apply_due(one) for one in living] == [0] * 4
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("PENDING", counted)]

    world.move_clock(milliseconds=1)
    assert sorted(at_once([lambda one=one: webhooks.apply_due(one) for one in living])) == [0, 0, 0, 1]
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("APPLIED", counted + 1)]
    assert read_backs(world, uid) - before == 1
    assert (len(clara.bookings()), len(clara.notifications()), in_hand()) == (1, 1, 0)


def test_the_lease_runs_from_when_a_row_is_begun(world: World, clara: Caller) -> None:
    """The first row of the batch takes 4 s; the second is held for 25 s from then, and the rest until 5 s from the claim."""
    first, second = silent_booking(world, clara, at(2, 9)), silent_booking(world, clara, at(2, 10))
    deliver(world, clara, first)
    deliver(world, clara, second)
    deliver(world, clara, first, kind="BOOKING_CANCELLED")
    on_first = world.sandbox.fault({"kind": "hold"}, method="GET", path=f"/calcom/v2/bookings/{first}")
    on_second = world.sandbox.fault({"kind": "hold"}, method="GET", path=f"/calcom/v2/bookings/{second}")
    slow = begun(lambda: webhooks.apply_due(world.rt))
    assert on_first.wait_held()
    world.move_clock(seconds=4)
    on_first.release()
    assert on_second.wait_held()
    world.move_clock(seconds=2)
    other = replica(world)
    assert webhooks.apply_due(other) == 1
    assert states(clara) == {"APPLIED": 2, "PENDING": 1}
    world.move_clock(seconds=23)
    assert webhooks.apply_due(other) == 0
    on_second.release()
    assert slow.result() == 3
    assert states(clara) == {"APPLIED": 3}
    assert [row.attempts for row in WebhookEvent.select()] == [1, 1, 1]


@pytest.mark.parametrize("same_process", [True, False])
def test_who_lost_the_lease_overwrites_nothing(world: World, clara: Caller, admin: Caller, same_process: bool) -> None:
    """The late worker read "no such booking" and would write that; the batch mates that it lost are not begun by it."""
    uids = [silent_booking(world, clara, at(2, hour)) for hour in (9, 10, 11)]
    for uid in uids:
        deliver(world, clara, uid)
    path = f"/calcom/v2/bookings/{uids[0]}"
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=path)
    world.sandbox.fault({"kind": "status", "status": 404}, method="GET", path=path)
    slow = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    world.move_clock(seconds=61)
    assert webhooks.apply_due(world.rt if same_process else replica(world)) == 3
    taken_over = inbox(admin)
    assert [e["state"] for e in taken_over] == ["APPLIED"] * 3
    assert sorted(e["attempts"] for e in taken_over) == [1, 1, 2]
    world.move_clock(seconds=5)
    held.release()
    assert slow.result() == 3
    assert inbox(admin) == taken_over
    assert None not in {e["bookingId"] for e in taken_over}
    assert [read_backs(world, uid) for uid in uids] == [2, 1, 1]


@pytest.mark.parametrize("status", [404, 403])
@pytest.mark.parametrize("same_process", [True, False])
def test_who_lost_the_lease_ends_nothing_while_the_new_holder_is_at_it(
    world: World, clara: Caller, admin: Caller, same_process: bool, status: int
) -> None:
    deliver(world, clara, silent_booking(world, clara, at(2, 9)))
    first = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    world.sandbox.fault({"kind": "status", "status": status, "body": {"status": "error"}}, method="GET", path=READ_BACK)
    second = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK, skip=1)
    late = begun(lambda: webhooks.apply_due(world.rt))
    assert first.wait_held()
    world.move_clock(seconds=61)
    holder = begun(lambda: webhooks.apply_due(world.rt if same_process else replica(world)))
    assert second.wait_held()
    first.release()
    assert late.result() == 1
    assert [(e["state"], e["attempts"], e["lastError"]) for e in inbox(admin)] == [("PENDING", 2, None)]
    assert in_hand() == 1
    second.release()
    assert holder.result() == 1
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("APPLIED", 2)]
    assert (len(clara.bookings()), len(clara.notifications())) == (1, 1)


def test_a_failure_that_comes_late_does_not_undo_the_success(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    world.sandbox.fault({"kind": "status", "status": 403, "body": {"status": "error"}}, method="GET", path=READ_BACK)
    slow = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    world.move_clock(seconds=61)
    assert webhooks.apply_due(replica(world)) == 1
    taken_over = inbox(admin)
    held.release()
    assert slow.result() == 1
    assert inbox(admin) == taken_over
    assert [(e["state"], e["lastError"]) for e in taken_over] == [("APPLIED", None)]


def test_what_is_counted_as_applied_was_applied(world: World, clara: Caller) -> None:
    """A worker that lost its lease ended nothing, so the metric does not count it."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    slow = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    world.move_clock(seconds=61)
    assert webhooks.apply_due(replica(world)) == 1
    held.release()
    assert slow.result() == 1
    counted = [line for line in world.http.get("/metrics").text.splitlines() if line.startswith("convene_webhooks_applied_total{")]
    assert counted == ['convene_webhooks_applied_total{provider="calcom",result="applied"} 1.0']


# ---- rows that kill, rows that fail ----------------------------------------------------------------------------------------


def test_a_row_that_kills_its_worker_dies_and_its_batch_mates_do_not(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    mates = silent_booking(world, clara, at(2, 10))
    deliver(world, None, uid)
    poison = WebhookEvent.get().id
    deliver(world, None, mates, 5)
    deaths: list[str] = []

    def step(name: str) -> None:
        if name == "webhook.applied" and WebhookEvent.get_by_id(poison).attempts > len(deaths):
            deaths.append(name)
            raise SystemExit

    for number in range(18):
        worker = replica(world, f"replica {number}")
        worker.step = step
        try:
            while webhooks.apply_due(worker):
                pass
        except SystemExit:
            world.move_clock(seconds=61)
    assert len(deaths) == 15
    (dead,) = inbox(admin, state="DEAD")
    assert (dead["id"], dead["lastError"]) == (poison, "gave up: it never came to an end")
    assert [e["attempts"] for e in inbox(admin, state="APPLIED")] == [1] * 5
    assert (in_hand(), states()) == (0, {"DEAD": 1, "APPLIED": 5})
    assert sorted(n["kind"] for n in clara.notifications()) == ["BOOKED", "BOOKED"]
    assert [len(b["history"]["edges"]) for b in clara.bookings()] == [1, 1]


def test_the_turn_after_a_death_belongs_to_those_who_did_not_kill(world: World, clara: Caller, admin: Caller) -> None:
    """Its batch mates are done before the row that killed is begun again."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    poison = WebhookEvent.get().id
    deliver(world, clara, uid, 3, kind="BOOKING_CANCELLED")
    worker = replica(world)
    worker.step = dying("webhook.applied")
    with pytest.raises(SystemExit):
        webhooks.apply_due(worker)
    world.move_clock(seconds=61)
    done: list[int] = []

    def step(name: str) -> None:
        if name == "webhook.applied" and WebhookEvent.get_by_id(poison).attempts == 2:
            done.append(states(clara)["APPLIED"])
            raise SystemExit

    worker.step = step
    with pytest.raises(SystemExit):
        webhooks.apply_due(worker)
    assert done == [3]
    assert sorted((e["state"], e["attempts"]) for e in inbox(admin)) == [("APPLIED", 1)] * 3 + [("PENDING", 2)]


def test_pauses_double_up_to_an_hour_and_then_it_is_dead(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    world.sandbox.fault({"kind": "malformed"}, method="GET", path=READ_BACK, times=None)
    pauses = []
    for _ in range(14):
        assert webhooks.apply_due(world.rt) == 1
        (event,) = inbox(admin, state="RETRYING")
        pauses.append((moment(event["nextAttemptAt"]) - world.clock.now()).total_seconds())
        world.move_clock(seconds=pauses[-1] - 1)
        assert webhooks.apply_due(world.rt) == 0
        world.move_clock(seconds=2)
        world.rt.transport._breakers.clear()
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600]
    assert webhooks.apply_due(world.rt) == 1
    (event,) = inbox(admin)
    assert (event["state"], event["attempts"], event["lastError"]) == ("DEAD", 15, "PROVIDER_BAD_ANSWER")
    assert (event["nextAttemptAt"], moment(event["appliedAt"])) == (None, world.clock.now())
    world.move_clock(days=1)
    assert webhooks.apply_due(world.rt) == 0
    assert clara.notifications() == []


def test_the_provider_says_how_long_to_wait(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    world.sandbox.fault({"kind": "status", "status": 429, "headers": {"Retry-After": "90"}}, method="GET", path=READ_BACK, times=None)
    assert send(world, clara, news(uid)).status_code == 200
    assert webhooks.apply_due(world.rt) == 1
    (event,) = inbox(admin)
    assert (event["state"], event["nextAttemptAt"], event["lastError"]) == ("RETRYING", "2027-03-01T08:01:30Z", "RATE_LIMITED")
    world.move_clock(seconds=89)
    assert webhooks.apply_due(world.rt) == 0


@pytest.mark.parametrize(
    ("payload", "status", "states_then"),
    [
        ({"uid": "../../me"}, 200, ["APPLIED", "APPLIED"]),
        ({"uid": "\0"}, 200, ["APPLIED", "APPLIED"]),
        ({"uid": "a/b?c#d"}, 200, ["APPLIED", "APPLIED"]),
        ({"uid": " "}, 200, ["APPLIED", "APPLIED"]),
        ({"uid": "ü" * 200}, 200, ["APPLIED", "APPLIED"]),
        ({"uid": "\ud800"}, 400, ["APPLIED"]),
        ({"uid": 5, "rescheduleUid": ["x"]}, 200, ["APPLIED", "IGNORED"]),
        ({"uid": {"uid": 1}}, 200, ["APPLIED", "IGNORED"]),
        (None, 200, ["APPLIED", "IGNORED"]),
        ("text", 200, ["APPLIED", "IGNORED"]),
        ([], 200, ["APPLIED", "IGNORED"]),
    ],
    ids=["path", "nul", "separators", "blank", "long", "surrogate", "numbers", "object", "null", "text", "list"],
)
def test_odd_signed_content_comes_to_an_end_and_disturbs_nobody(
    world: World, clara: Caller, admin: Caller, payload: Any, status: int, states_then: list[str]
) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    world.sandbox.world.requests.clear()
    odd = json.dumps({"triggerEvent": "BOOKING_CREATED", "payload": payload}).encode()
    assert send(world, clara, odd).status_code == status
    deliver(world, clara, uid)
    world.jobs()
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [(state, 1) for state in states_then]
    assert len(clara.bookings()) == 1
    asked = [r.path for r in world.sandbox.requests]
    assert "/calcom/v2/me" not in asked
    assert all(path.startswith("/calcom/v2/bookings/") for path in asked)


# ---- replay ----------------------------------------------------------------------------------------------------------------


def replayed(admin: Caller, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = admin.one(REPLAY, input=given)
    return found


@pytest.fixture
def dead(world: World, clara: Caller, admin: Caller) -> dict[str, Any]:
    """A delivery that was given up while its booking could not be read; by now it can be."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    broken = world.sandbox.fault({"kind": "status", "status": 403, "body": {"status": "error"}}, method="GET", path=READ_BACK, times=None)
    for _ in range(15):
        webhooks.apply_due(world.rt)
        world.rt.transport._breakers.clear()
        world.move_clock(hours=1)
    broken.remove()
    (event,) = inbox(admin)
    assert (event["state"], event["attempts"]) == ("DEAD", 15)
    return event


@pytest.mark.parametrize("how", ["ids", "allDead"])
def test_a_dead_delivery_is_applied_when_an_admin_replays_it(
    world: World, clara: Caller, admin: Caller, dead: dict[str, Any], how: str
) -> None:
    given = {"ids": [dead["id"]]} if how == "ids" else {"allDead": True}
    assert replayed(admin, **given) == {"__typename": "WebhookEventsReplayed", "replayed": 1, "skipped": 0}
    (due,) = inbox(admin)
    assert (due["state"], due["attempts"], due["appliedAt"]) == ("PENDING", 0, None)
    assert webhooks.apply_due(world.rt) == 1
    (event,) = inbox(admin)
    assert (event["state"], event["attempts"], event["lastError"]) == ("APPLIED", 1, None)
    assert [b["id"] for b in clara.bookings()] == [event["bookingId"]]
    assert len(clara.notifications()) == 1


def test_only_admins_replay(world: World, clara: Caller, admin: Caller, dead: dict[str, Any]) -> None:
    for given in ({"ids": [dead["id"]]}, {"allDead": True}, {}, {"ids": []}, {"ids": ["unknown"]}):
        assert replayed(clara, **given) == {"__typename": "NotPermitted", "code": "NOT_PERMITTED"}
    assert inbox(admin) == [dead]
    world.jobs()
    assert inbox(admin) == [dead]


EITHER, HOW_MANY = "Give either ids or allDead.", "Give 1 to 100 ids."
NAMES_NOTHING_USABLE: list[tuple[dict[str, Any], str]] = [
    ({}, EITHER),
    ({"ids": None}, EITHER),
    ({"allDead": False}, EITHER),
    ({"allDead": None}, EITHER),
    ({"ids": ["x"], "allDead": True}, EITHER),
    ({"ids": [], "allDead": True}, EITHER),
    ({"ids": []}, HOW_MANY),
    ({"ids": ["x"] * 101}, HOW_MANY),
]


def test_what_a_replay_must_name(admin: Caller, dead: dict[str, Any]) -> None:
    for given, message in NAMES_NOTHING_USABLE:
        assert replayed(admin, **given) == {"__typename": "InvalidInput", "fields": [{"path": ["ids"], "message": message}]}
    assert inbox(admin) == [dead]


def test_a_hundred_ids_are_allowed_and_null_means_not_given(admin: Caller, dead: dict[str, Any]) -> None:
    ids = [dead["id"], *(f"unknown {number}" for number in range(99))]
    assert replayed(admin, ids=ids, allDead=None) == {"__typename": "WebhookEventsReplayed", "replayed": 1, "skipped": 99}


def test_what_cannot_be_replayed_is_counted(world: World, clara: Caller, admin: Caller, dead: dict[str, Any]) -> None:
    """Unknown ids, deliveries that wait already, and ones whose body is gone; an id given twice is one."""
    world.move_clock(days=15)
    webhooks.clean_up(world.rt)
    uid = silent_booking(world, clara, at(30, 9))
    deliver(world, clara, uid)
    (waiting,) = inbox(admin, state="PENDING")
    ids = [dead["id"], waiting["id"], waiting["id"], "unknown", "ü" * 300, ""]
    assert replayed(admin, ids=ids) == {"__typename": "WebhookEventsReplayed", "replayed": 0, "skipped": 5}
    assert replayed(admin, allDead=True) == {"__typename": "WebhookEventsReplayed", "replayed": 0, "skipped": 0}
    assert inbox(admin, state="DEAD") == [dead]
    assert inbox(admin, state="PENDING") == [waiting]


def test_one_in_somebodys_hands_is_not_replayed(world: World, clara: Caller, admin: Caller) -> None:
    deliver(world, clara, silent_booking(world, clara, at(2, 9)))
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=READ_BACK)
    working = begun(lambda: webhooks.apply_due(world.rt))
    assert held.wait_held()
    (event,) = inbox(admin)
    assert replayed(admin, ids=[event["id"]])["skipped"] == 1
    held.release()
    assert working.result() == 1
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("APPLIED", 1)]


def test_replaying_what_was_applied_changes_nothing_more(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9), name="Otto")
    deliver(world, clara, uid)
    world.jobs()
    before, told = clara.bookings(), clara.notifications()
    (event,) = inbox(admin)
    world.move_clock(minutes=1)
    assert replayed(admin, ids=[event["id"]])["replayed"] == 1
    # meanwhile the identical bytes are still a repeat
    assert send(world, clara, news(uid)).status_code == 200
    asked = read_backs(world, uid)
    assert webhooks.apply_due(world.rt) == 1
    assert read_backs(world, uid) - asked == 1
    (again,) = inbox(admin)
    assert moment(again["appliedAt"]) == world.clock.now()
    assert again | {"appliedAt": None} == event | {"appliedAt": None}
    assert (clara.bookings(), clara.notifications()) == (before, told)


def test_a_replay_of_old_news_brings_nothing_old_back(world: World, clara: Caller, admin: Caller) -> None:
    """The booking was cancelled since: the delivery says which to look at, not what it was then."""
    uid = silent_booking(world, clara, at(2, 9))
    deliver(world, clara, uid)
    world.jobs()
    (booking,) = clara.bookings()
    assert clara.cancel(booking["id"])["__typename"] == "BookingCancelled"
    world.jobs()
    told = len(clara.notifications())
    created = next(e for e in inbox(admin) if e["kind"] == "BOOKING_CREATED")
    world.move_clock(minutes=1)
    replayed(admin, ids=[created["id"]])
    world.jobs()
    assert [(b["status"], b["version"]) for b in clara.bookings()] == [("CANCELLED", 2)]
    assert len(clara.notifications()) == told


def test_two_replays_at_once_make_it_due_once(world: World, clara: Caller, admin: Caller, dead: dict[str, Any]) -> None:
    answers = at_once([lambda: replayed(admin, ids=[dead["id"]])["replayed"]] * 6)
    assert sorted(answers) == [0, 0, 0, 0, 0, 1]
    world.jobs()
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("APPLIED", 1)]


# ---- refusing before it hurts ----------------------------------------------------------------------------------------------


def refused_for_now(answer: httpx.Response) -> bool:
    envelope = {"code": "TRY_AGAIN", "message": "The delivery could not be stored now. Send it again.", "details": None}
    return (answer.status_code, answer.headers.get("Retry-After"), answer.json()) == (503, "5", {"data": None, "error": envelope})


ANNOUNCED = f"Content-Length: {MIB}"
CHUNKED = "Transfer-Encoding: chunked"


@contextmanager
def slow_senders(world: World, count: int, length: str = ANNOUNCED) -> Iterator[Callable[[], None]]:
    """Open connections that announce a body and send none of it. What is yielded has those come again that were refused."""
    address = (world.http.base_url.host, world.http.base_url.port)
    opened: list[socket.socket] = []

    def come() -> None:
        connection = connections.enter_context(socket.create_connection(address, timeout=30))
        connection.sendall(f"POST {SHARED} HTTP/1.1\r\nHost: convene\r\n{length}\r\n\r\n".encode())
        opened.append(connection)

    def again() -> None:
        # one that came while a probe was in hand was one too many
        for connection in select.select(opened, [], [], 0)[0]:
            opened.remove(connection)
            come()

    with ExitStack() as connections:
        for _ in range(count):
            come()
        yield again


def until(world: World, status: int, again: Callable[[], None] = lambda: None) -> bool:
    """Ask with unsigned deliveries until one is answered so; their own refusal is a 401."""
    for _ in range(5000):
        if world.http.post(SHARED, content=b"{}").status_code == status:
            return True
        again()
    return False


@pytest.mark.parametrize("length", [ANNOUNCED, CHUNKED], ids=["announced", "chunked"])
def test_with_32_mib_in_hand_the_next_delivery_is_refused_for_now(world: World, clara: Caller, admin: Caller, length: str) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    with slow_senders(world, 32, length) as again:
        assert until(world, 503, again)
        assert refused_for_now(send(world, clara, news(uid)))
        assert refused_for_now(send(world, None, news(uid)))
        assert inbox(admin) == [], "nothing was stored, and everything else is answered"
    assert until(world, 401)
    assert send(world, clara, news(uid)).status_code == 200
    world.jobs()
    assert [e["state"] for e in inbox(admin)] == ["APPLIED"]
    assert len(clara.notifications()) == 1


def test_with_a_little_less_in_hand_a_delivery_is_taken(world: World, clara: Caller, admin: Caller) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    with slow_senders(world, 31):
        with slow_senders(world, 1) as again:
            assert until(world, 503, again)
        assert until(world, 401)
        assert send(world, clara, news(uid)).status_code == 200
    assert [e["state"] for e in inbox(admin)] == ["PENDING"]


def test_a_sender_that_goes_away_is_no_surprise(world: World) -> None:
    with slow_senders(world, 32) as again:
        assert until(world, 503, again)
    assert until(world, 401)
    assert "unexpected error" not in world.logged.getvalue()


@contextmanager
def pool_exhausted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection of the pool is in somebody's hands, and nobody waits long for one."""
    db.close()
    monkeypatch.setattr(db.obj, "_wait_timeout", 0.05)
    count = db.obj._max_connections
    taken, done = threading.Barrier(count + 1), threading.Event()

    def hold() -> None:
        db.connect()
        taken.wait(10)
        done.wait(30)
        db.close()

    threads = [threading.Thread(target=hold) for _ in range(count)]
    for thread in threads:
        thread.start()
    taken.wait(10)
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_what_the_database_cannot_take_is_not_acknowledged(
    world: World, clara: Caller, admin: Caller, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    uid = silent_booking(world, clara, at(2, 9))
    mine = WebhookSubscription.get()
    secret = world.rt.vault.open(mine.secret, place("webhook_subscription", mine.id, "secret")) if own else LEGACY_SECRET
    path = f"/webhooks/calcom/{mine.endpoint}" if own else SHARED
    with pool_exhausted(monkeypatch):
        answers = [post(world, path, secret, news(uid)) for _ in range(3)]
    assert all(refused_for_now(answer) for answer in answers)
    assert inbox(admin) == []
    assert post(world, path, secret, news(uid)).status_code == 200
    world.jobs()
    assert [e["state"] for e in inbox(admin)] == ["APPLIED"]
    assert mine.endpoint not in world.logged.getvalue()
    assert uid not in world.logged.getvalue()


def test_a_query_for_which_there_is_no_connection_is_told_to_come_again(
    world: World, clara: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool_exhausted(monkeypatch):
        answer = clara.post("{ viewer { id } }")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
    assert clara.one("{ viewer { name } }") == {"name": "Clara"}


class DisconnectingClock(StandingClock):
    """Asked for the time, between our look at the subscription and our insert, it first lets somebody disconnect."""

    def __init__(self, world: World, person: Caller) -> None:
        super().__init__(world.clock.at)
        self.person: Caller | None = person

    def now(self) -> datetime:
        person, self.person = self.person, None
        if person is not None:
            assert person.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
        return self.at


def test_unsubscribed_between_look_and_insert_is_an_unknown_address(world: World, clara: Caller, admin: Caller) -> None:
    mine = WebhookSubscription.get()
    secret = world.rt.vault.open(mine.secret, place("webhook_subscription", mine.id, "secret"))
    uid = silent_booking(world, clara, at(2, 9))
    db.close()
    world.rt.clock = DisconnectingClock(world, clara)
    answer = post(world, f"/webhooks/calcom/{mine.endpoint}", secret, news(uid))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert WebhookSubscription.select().count() == 0
    assert inbox(admin) == []


def test_a_delivery_is_committed_before_it_is_acknowledged(world: World, clara: Caller, admin: Caller) -> None:
    """At the point between the two the row can be seen from elsewhere, once for any number of repeats."""
    uid = silent_booking(world, clara, at(2, 9))
    seen: list[int] = []

    def step(name: str) -> None:
        if name == "webhook.stored":
            with ThreadPoolExecutor(1) as elsewhere:
                seen.append(elsewhere.submit(lambda: (WebhookEvent.select().count(), db.close())[0]).result())

    world.rt.step = step
    assert [send(world, clara, news(uid)).status_code for _ in range(3)] == [200] * 3
    assert seen == [1, 1, 1]
    assert len(inbox(admin)) == 1


def test_a_burst_is_taken_and_applied_once_each(world: World, clara: Caller, ida: Caller, admin: Caller) -> None:
    """Deliveries come while four replicas work; whatever was acknowledged is applied, once."""
    uids = {person: silent_booking(world, person, at(2, 9)) for person in (clara, ida)}
    world.sandbox.world.requests.clear()
    replicas = [replica(world, f"replica {number}") for number in range(4)]
    sent = threading.Event()

    def work(one: Runtime) -> int:
        done = 0
        while True:
            last = sent.is_set()
            found = webhooks.apply_due(one)
            done += found
            if last and not found and not in_hand():
                return done

    def flood() -> int:
        statuses = [send(world, person, news(uid, number)).status_code for number in range(20) for person, uid in uids.items()]
        sent.set()
        return statuses.count(200)

    taken, *done = at_once([flood, *[lambda one=one: work(one) for one in replicas]])
    assert (taken, sum(done)) == (40, 40)
    assert [(e["state"], e["attempts"]) for e in inbox(admin)] == [("APPLIED", 1)] * 40
    assert [read_backs(world, uid) for uid in uids.values()] == [20, 20]
    assert [len(person.notifications()) for person in (clara, ida)] == [1, 1]


def test_what_waits_is_kept_however_old_it_is(world: World, clara: Caller, admin: Caller) -> None:
    """Cleaning up takes the bodies of what came to an end, never of what is still to be applied."""
    deliver(world, clara, silent_booking(world, clara, at(26, 9)))
    world.move_clock(days=20)
    webhooks.clean_up(world.rt)
    assert WebhookEvent.get().body is not None
    world.move_clock(days=-20)
    world.jobs()
    assert [e["state"] for e in inbox(admin)] == ["APPLIED"]
    world.move_clock(seconds=timedelta(days=29).total_seconds())
    webhooks.clean_up(world.rt)
    assert inbox(admin) == []
