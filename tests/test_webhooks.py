"""The inbox: stored, then acknowledged; applied in any order, any number of times, with the same result."""

import hashlib
import hmac
import itertools
import json
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest
from harness import DISCONNECT, INBOX, LEGACY_SECRET, Caller, World, at, iso

from models import LinkedAccount, WebhookEvent, WebhookSubscription
from services import claims, webhook_subscriptions, webhooks
from services.vault import place


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


def inbox(admin: Caller, **arguments: Any) -> list[dict[str, Any]]:
    return [edge["node"] for edge in admin.one(INBOX, **arguments)["edges"]]


def deliveries(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.control.get("/deliveries").json()
    return found


def outsider(world: World, uid: str, action: str, **body: Any) -> str:
    """Somebody acts at Cal.com; answers the uid of the booking that then stands."""
    answer = httpx.post(f"{world.sandbox.url}/calcom/v2/bookings/{uid}/{action}", json=body, headers={"cal-api-version": "2026-02-25"})
    assert answer.is_success, answer.text
    return str(answer.json()["data"]["uid"])


def test_an_outsiders_booking_is_here_with_one_notification(world: World, clara: Caller, admin: Caller) -> None:
    uid = world.book(clara, at(2, 9), name="Otto")
    (stored,) = inbox(admin)
    assert (stored["kind"], stored["state"], stored["attempts"]) == ("BOOKING_CREATED", "PENDING", 0)
    world.jobs()
    (booking,) = clara.bookings()
    assert (booking["externalId"], booking["status"]) == (uid, "CONFIRMED")
    (told,) = clara.notifications()
    assert told["body"] == "Otto booked “Session between Clara and Otto” for Tue 2 Mar 2027, 10:00 (Europe/Berlin)."
    (applied,) = inbox(admin)
    assert (applied["state"], applied["bookingId"], applied["lastError"]) == ("APPLIED", booking["id"], None)


def test_the_same_webhook_fifty_times_at_once(world: World, clara: Caller, admin: Caller) -> None:
    world.book(clara, at(2, 9))
    (delivery,) = deliveries(world)
    gate, answers = threading.Barrier(50), []
    headers = {name: value for name, value in delivery["headers"].items() if name.lower() != "content-length"}

    def send() -> None:
        with httpx.Client(timeout=30) as client:
            gate.wait()
            answers.append(client.post(delivery["url"], content=delivery["body"].encode(), headers=headers).status_code)

    threads = [threading.Thread(target=send) for _ in range(50)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert answers == [200] * 50
    assert len(inbox(admin)) == 1
    world.jobs()
    assert len(clara.bookings()) == 1
    assert len(clara.notifications()) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=lambda o: "".join(map(str, o)))
def test_created_rescheduled_cancelled_in_every_order(world: World, clara: Caller, order: tuple[int, ...]) -> None:
    parked = world.sandbox.fault(webhook="*", effect={"kind": "park"}, times=None)
    uid = world.book(clara, at(2, 9), name="Otto")
    moved = outsider(world, uid, "reschedule", start=iso(at(3, 13)))
    outsider(world, moved, "cancel", cancellationReason="Ill")
    parked.remove()
    sent = world.sandbox_call("deliveries/flush", order=list(order))
    assert sent == {"sent": 3}
    world.jobs()
    (booking,) = clara.bookings()
    assert (booking["status"], booking["start"], booking["cancellationReason"]) == ("CANCELLED", "2027-03-03T13:00:00Z", "Ill")
    kinds = [edge["node"]["kind"] for edge in booking["history"]["edges"]]
    assert sorted(kinds) == ["BOOKED", "CANCELLED", "MOVED"]
    assert sorted(n["kind"] for n in clara.notifications()) == ["BOOKED", "CANCELLED", "MOVED"]


def test_news_that_come_one_by_one_while_it_happens(world: World, clara: Caller) -> None:
    uid = world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (first,) = clara.bookings()
    world.move_clock(minutes=1)
    moved = outsider(world, uid, "reschedule", start=iso(at(3, 13)), rescheduledBy="otto@example.test")
    world.jobs()
    (second,) = clara.bookings()
    assert (second["id"], second["externalId"], second["version"]) == (first["id"], moved, 2)
    world.move_clock(minutes=1)
    outsider(world, moved, "cancel")
    world.jobs()
    (third,) = clara.bookings()
    assert (third["id"], third["status"], third["version"]) == (first["id"], "CANCELLED", 3)
    assert [n["kind"] for n in clara.notifications()] == ["CANCELLED", "MOVED", "BOOKED"]


def test_confirming_and_declining_at_the_provider(world: World) -> None:
    policy = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    clara = world.coach(eventTypes=[{"title": "Deep", "slug": "deep", "lengthInMinutes": 30, "confirmationPolicy": policy}])
    otto = world.caller("Otto")
    kept, refused = world.book(clara, at(2, 9), name="Otto", slug="deep"), world.book(clara, at(2, 10), name="Otto", slug="deep")
    world.jobs()
    assert [n["kind"] for n in clara.notifications()] == ["AWAITING_CONFIRMATION"] * 2
    key = world.sandbox_call("calcom/api-keys", email=clara.email)["apiKey"]
    for uid, action in ((kept, "confirm"), (refused, "decline")):
        answer = httpx.post(
            f"{world.sandbox.url}/calcom/v2/bookings/{uid}/{action}",
            json={},
            headers={"cal-api-version": "2026-02-25", "Authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 200, answer.text
    world.jobs()
    assert [b["status"] for b in otto.bookings()] == ["CONFIRMED", "DECLINED"]
    assert sorted(n["kind"] for n in otto.notifications()) == ["AWAITING_CONFIRMATION", "AWAITING_CONFIRMATION", "CONFIRMED", "DECLINED"]


def test_each_subscription_fires_and_one_change_is_told_once(world: World, clara: Caller, admin: Caller) -> None:
    """Cal.com fires every matching subscription on its own, with other bytes; sameness of meaning is decided by reading back."""
    key = world.sandbox_call("calcom/api-keys", email=clara.email)["apiKey"]
    answer = httpx.post(
        f"{world.sandbox.url}/calcom/v2/webhooks",
        json={
            "subscriberUrl": f"{world.url}/webhooks/cal/booking.created",
            "triggers": ["BOOKING_CREATED"],
            "active": True,
            "secret": LEGACY_SECRET,
        },
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 201, answer.text
    world.book(clara, at(2, 9))
    assert len(inbox(admin)) == 2
    world.jobs()
    assert {event["state"] for event in inbox(admin)} == {"APPLIED"}
    assert (len(clara.bookings()), len(clara.notifications())) == (1, 1)


@pytest.mark.parametrize("effect", ["unsigned", "wrong-signature"])
def test_what_is_not_signed_is_refused_and_not_stored(world: World, clara: Caller, admin: Caller, effect: str) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": effect})
    world.book(clara, at(2, 9))
    assert [d["status"] for d in deliveries(world)] == [401]
    assert inbox(admin) == []
    world.jobs()
    assert clara.bookings() == []


def test_a_lost_webhook_is_found_by_reconciling(world: World, clara: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    uid = world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    assert clara.bookings() == []
    world.move_clock(minutes=6)
    world.jobs()
    (booking,) = clara.bookings()
    assert [n["kind"] for n in clara.notifications()] == ["BOOKED"]
    outsider(world, uid, "reschedule", start=iso(at(3, 13)))
    world.move_clock(minutes=6)
    world.jobs()
    (after,) = clara.bookings()
    assert (after["id"], after["start"]) == (booking["id"], "2027-03-03T13:00:00Z")
    assert [n["kind"] for n in clara.notifications()] == ["MOVED", "BOOKED"]
    assert after["history"]["edges"][0]["node"]["source"] == "RECONCILER"


def test_a_provider_that_cannot_be_read_means_retry_then_success(world: World, clara: Caller, admin: Caller) -> None:
    down = world.sandbox.fault(method="GET", path="/calcom/v2/bookings/*", effect={"kind": "status", "status": 503}, times=None)
    world.book(clara, at(2, 9))
    world.jobs()
    (event,) = inbox(admin)
    assert (event["state"], event["attempts"], event["lastError"]) == ("RETRYING", 1, "PROVIDER_OUTCOME_UNKNOWN")
    assert event["nextAttemptAt"] == "2027-03-01T08:00:02Z"
    down.remove()
    world.move_clock(seconds=3)
    world.jobs()
    assert inbox(admin)[0]["state"] == "APPLIED"
    assert len(clara.notifications()) == 1


def test_what_never_works_dies_with_a_reason(world: World, clara: Caller, admin: Caller) -> None:
    world.sandbox.fault(method="GET", path="/calcom/v2/bookings/*", effect={"kind": "malformed"}, times=None)
    world.book(clara, at(2, 9))
    for _ in range(17):
        world.jobs()
        world.rt.transport._breakers.clear()
        world.move_clock(hours=1)
    (event,) = inbox(admin, state="DEAD")
    assert (event["attempts"], event["lastError"]) == (15, "PROVIDER_BAD_ANSWER")
    assert inbox(admin, state="RETRYING") == []


def test_a_row_whose_worker_died_is_taken_over_when_its_lease_ends(world: World, clara: Caller, admin: Caller) -> None:
    world.book(clara, at(2, 9))
    WebhookEvent.update(lease_owner="a dead process", lease_until=at(1, 8, 2), attempts=1).execute()
    world.jobs()
    assert inbox(admin)[0]["state"] == "PENDING"
    world.move_clock(minutes=3)
    world.jobs()
    assert (inbox(admin)[0]["state"], inbox(admin)[0]["attempts"]) == ("APPLIED", 2)


def test_unknown_kinds_and_tests_are_stored_and_ignored(world: World, clara: Caller, admin: Caller) -> None:
    endpoint = WebhookSubscription.get()
    secret = world.rt.vault.open(endpoint.secret, f"webhook_subscription/{endpoint.id}/secret".encode())
    for body in ({"triggerEvent": "OOO_CREATED", "payload": {}}, {"triggerEvent": "BOOKING_CREATED", "payload": {"type": "Test"}}, ["odd"]):
        raw = json.dumps(body).encode()
        signature = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        assert httpx.post(endpoint.url, content=raw, headers={"X-Cal-Signature-256": signature}).status_code == 200
    world.jobs()
    assert sorted((e["kind"], e["state"]) for e in inbox(admin)) == [
        ("BOOKING_CREATED", "IGNORED"),
        ("OOO_CREATED", "IGNORED"),
        ("UNKNOWN", "IGNORED"),
    ]


def test_a_subscription_that_vanished_is_made_anew(world: World, clara: Caller) -> None:
    world.sandbox.world.calcom.webhooks.clear()
    world.move_clock(hours=1, minutes=1)
    world.jobs()
    world.book(clara, at(2, 9))
    world.jobs()
    assert len(clara.bookings()) == 1


def test_a_left_over_subscription_with_our_address_is_adopted(world: World) -> None:
    """The answer to the creation was lost: the next run finds the address taken and takes it over."""
    clara = world.caller("Clara")
    world.account(clara, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
    world.sandbox.fault(method="POST", path="/calcom/v2/webhooks", effect={"kind": "drop", "when": "after"})
    clara.link()
    assert clara.one("{ connectionStatus(provider: CAL_COM) { linkedAccount { sync { webhooks } } } }") == {
        "linkedAccount": {"sync": {"webhooks": "RETRYING"}}
    }
    world.move_clock(minutes=1)
    world.jobs()
    assert len(world.sandbox.world.calcom.webhooks) == 1
    world.book(clara, at(2, 9))
    world.jobs()
    assert len(clara.notifications()) == 1


def test_only_admins_see_the_inbox(world: World, clara: Caller) -> None:
    answer = clara.post(INBOX).json()
    assert answer["data"] == {"webhookEvents": None}
    assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN"}


def test_raw_bodies_are_sealed_and_forgotten_after_two_weeks(world: World, clara: Caller, admin: Caller) -> None:
    uid = world.book(clara, at(2, 9))
    world.jobs()
    row = WebhookEvent.get()
    assert uid not in row.body
    world.move_clock(days=15)
    webhooks.clean_up(world.rt)
    assert WebhookEvent.get().body is None
    assert inbox(admin)[0]["state"] == "APPLIED"


def test_an_installation_that_moved_is_called_at_its_new_address(world: World, clara: Caller) -> None:
    (before,) = world.sandbox.world.calcom.webhooks.values()
    WebhookSubscription.update(url="http://127.0.0.1:9/webhooks/calcom/old").execute()
    assert webhook_subscriptions.moved(world.rt) == [WebhookSubscription.get().linked_account_id]
    world.move_clock(hours=1, minutes=1)
    world.jobs()
    assert webhook_subscriptions.moved(world.rt) == []
    (after,) = world.sandbox.world.calcom.webhooks.values()
    assert after.id != before.id
    world.book(clara, at(2, 9))
    world.jobs()
    assert len(clara.notifications()) == 1


def test_an_answer_that_is_older_than_what_we_have_changes_nothing(world: World, clara: Caller) -> None:
    """One worker reads the booking and dawdles; another reads and records its cancellation; then the first goes on."""
    held = world.sandbox.fault(method="GET", path="/calcom/v2/bookings/*", effect={"kind": "hold", "when": "after"})
    uid = world.book(clara, at(2, 9), name="Otto")
    slow = threading.Thread(target=world.jobs)
    slow.start()
    assert held.wait_held(1, 10)
    world.move_clock(seconds=5)
    outsider(world, uid, "cancel")
    world.jobs()
    assert clara.bookings()[0]["status"] == "CANCELLED"
    held.release()
    slow.join()
    (booking,) = clara.bookings()
    assert booking["status"] == "CANCELLED"
    assert sorted(n["kind"] for n in clara.notifications()) == ["BOOKED", "CANCELLED"]


def test_a_signed_delivery_older_than_the_keys_is_taken_for_a_repeat(world: World, clara: Caller, admin: Caller) -> None:
    parked = world.sandbox.fault(webhook="*", effect={"kind": "park"})
    world.book(clara, at(30, 9))
    parked.remove()
    world.move_clock(days=29)
    world.sandbox_call("deliveries/flush")
    assert deliveries(world)[-1]["status"] == 401
    assert inbox(admin) == []


def test_work_asked_for_while_it_runs_is_done_once_more(world: World, clara: Caller) -> None:
    """A booking that comes while the list is being read is not on it; the run that follows must find it."""
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    account = WebhookSubscription.get().linked_account_id
    claims.schedule("reconcile", account, world.clock.now())
    held = world.sandbox.fault(method="GET", path="/calcom/v2/bookings", effect={"kind": "hold", "when": "after"})
    running = threading.Thread(target=world.jobs)
    running.start()
    assert held.wait_held(1, 10)
    world.book(clara, at(2, 9))
    world.move_clock(seconds=1)
    claims.schedule("reconcile", account, world.clock.now())
    held.release()
    running.join()
    world.jobs()
    assert len(clara.bookings()) == 1


def test_a_delivery_is_read_back_with_its_accounts_token(world: World, clara: Caller) -> None:
    """Without it the reading would count against the address of this installation, which everybody shares."""
    world.book(clara, at(2, 9))
    world.sandbox.world.calcom.windows.clear()
    world.jobs()
    (event,) = WebhookEvent.select()
    assert event.linked_account_id == LinkedAccount.get().id
    assert [key.split("_")[0] for key in world.sandbox.world.calcom.windows] == ["token"]


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "yesterday", 7, None])
def test_a_signed_delivery_with_an_odd_time_is_taken(world: World, clara: Caller, created: object) -> None:
    """The time only tells repeats; what cannot be read as one is none."""
    row = WebhookSubscription.get()
    secret = world.rt.vault.open(row.secret, place("webhook_subscription", row.id, "secret"))
    body = json.dumps({"triggerEvent": "BOOKING_CREATED", "createdAt": created, "payload": {"uid": "nobody-knows"}}).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    answer = world.http.post(f"/webhooks/calcom/{row.endpoint}", content=body, headers={"X-Cal-Signature-256": signature})
    assert answer.status_code == 200, answer.text
    assert WebhookEvent.select().count() == 1
    assert "unexpected" not in world.logged.getvalue()


def test_a_subscription_left_behind_is_taken_down_when_the_account_is_linked_again(world: World, clara: Caller) -> None:
    """Cal.com's answers wait for every subscriber, also for one that calls an endpoint which is no more."""
    unreachable = world.sandbox.fault({"kind": "status", "status": 500}, method="DELETE", path="/calcom/v2/webhooks/*", times=None)
    assert clara.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    unreachable.remove()
    world.sandbox.world.calcom.webhooks.add(
        replace(next(iter(world.sandbox.world.calcom.webhooks.values())), id="theirs", url="https://else.test/hook")
    )
    assert len(world.sandbox.world.calcom.webhooks.values()) == 2
    clara.link()
    kept = {hook.url for hook in world.sandbox.world.calcom.webhooks.values()}
    assert kept == {"https://else.test/hook", WebhookSubscription.get().url}
