"""A process dies or freezes in the middle of changing a booking: it is completed or undone, once, and told once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from harness import CANCEL, COMPLETE, CONNECTION, DEFAULTS, DISCONNECT, EVENT_TYPES, MOVE, OPERATION, SYNC, Caller, World, at, iso
from processes import Plan, Process, all_at_once, once

from models import LinkedAccount, Operation, Person
from models.base import is_sqlite, release_connection, transactional
from services import operations
from services.providers.calcom import client

BEFORE_SENDING = ("operation.begun", "operation.checked")
DONE = ("operation.answered", "operation.recorded", "operation.settled")
BOOKING = "/calcom/v2/bookings/*"
QUARANTINE = 151
"""Seconds: sent within ten, two writes and a renewal between them, Cal.com's longest processing time, the clocks' difference, and one more."""


class Story:
    """A coach, her booking with Otto, and a process that moves it and does not come back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clara, self.otto = world.coach(), world.caller("Otto")
        world.book(self.clara, at(2, 9))
        world.jobs()
        self.otto.gql("{ viewer { id } }")
        (self.booking,) = self.clara.bookings()
        self.input = {"bookingId": self.booking["id"], "newStart": iso(at(3, 10)), "idempotencyKey": "k1"}

    def interrupted(self, step: str, query: str = MOVE, **changed: Any) -> None:
        with Process(self.world, once, Plan(die_at=step)) as process:
            process.go(self.clara.token, query, {"input": {**self.input, **changed}})
            process.wait_dead()

    def again(self, query: str = MOVE, **changed: Any) -> Any:
        return self.clara.one(query, input={**self.input, **changed})

    def later(self, seconds: float) -> None:
        self.world.move_clock(seconds=seconds)
        self.world.jobs()

    def start(self) -> str:
        (booking,) = self.clara.bookings()
        assert booking["id"] == self.booking["id"]
        return str(booking["start"])

    def told(self, caller: Caller) -> list[str]:
        return [n["kind"] for n in caller.notifications() if n["kind"] != "BOOKED"]

    def assert_moved_once(self) -> None:
        assert self.start() == iso(at(3, 10))
        assert len(self.world.live_uids()) == 1
        assert (self.told(self.clara), self.told(self.otto)) == (["MOVED"], ["MOVED"])
        (booking,) = self.clara.bookings()
        assert [e["node"]["kind"] for e in booking["history"]["edges"]].count("MOVED") == 1
        assert Operation.select().where(Operation.open).count() == 0

    def assert_untouched(self) -> None:
        assert self.start() == iso(at(2, 9))
        assert len(self.world.live_uids()) == 1
        assert (self.told(self.clara), self.told(self.otto)) == ([], [])
        assert Operation.select().where(Operation.open).count() == 0


@pytest.fixture
def story(world: World) -> Story:
    return Story(world)


# ---- deaths --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", BEFORE_SENDING)
def test_killed_before_it_asked_the_provider(story: Story, step: str) -> None:
    story.interrupted(step)
    assert story.world.calls("POST", "/reschedule") == 0
    assert story.again()["__typename"] == "RescheduleInProgress"
    assert story.otto.move(story.booking["id"], at(4, 10), "other")["blockedBy"] == ["OPERATION_IN_PROGRESS"]
    story.later(operations.BEFORE_SENDING.total_seconds() + 1)
    story.assert_untouched()
    # nothing was sent, so the key is free and means the same again
    assert story.again()["__typename"] == "BookingRescheduled"
    story.world.jobs()
    story.assert_moved_once()


def test_killed_right_before_it_sent_it_is_undone_when_it_can_no_longer_be_under_way(story: Story) -> None:
    story.interrupted("operation.sent")
    waiting = story.again()
    assert waiting["__typename"] == "RescheduleInProgress"
    story.later(31)
    assert story.again()["__typename"] == "RescheduleInProgress", "a negative reading does not count yet"
    assert story.otto.move(story.booking["id"], at(4, 10), "other")["blockedBy"] == ["OPERATION_IN_PROGRESS"]
    story.later(QUARANTINE - 31)
    story.assert_untouched()
    assert story.clara.one(OPERATION, id=waiting["operation"]["id"])["state"] == "UNDONE"
    undone = story.again()
    assert (undone["__typename"], undone["code"], undone["retryable"]) == ("ProviderFailure", "NOT_DONE", False)
    assert story.world.calls("POST", "/reschedule") == 0
    assert story.again(idempotencyKey="k2")["__typename"] == "BookingRescheduled"
    story.world.jobs()
    story.assert_moved_once()


@pytest.mark.parametrize("webhook", ["arrives", "is lost"])
@pytest.mark.parametrize("step", DONE)
def test_killed_after_the_provider_did_it(story: Story, step: str, webhook: str) -> None:
    if webhook == "is lost":
        story.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    story.interrupted(step)
    story.later(operations.COMPLETER_PERIOD.total_seconds() + 1)
    story.assert_moved_once()
    assert story.again()["__typename"] == "BookingRescheduled"
    assert story.world.calls("POST", "/reschedule") == 1
    story.assert_moved_once()


def test_it_ends_within_one_period_of_the_provider_being_back(story: Story) -> None:
    """However long the provider was away: the pauses do not grow."""
    story.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    story.interrupted("operation.answered")
    away = story.world.sandbox.fault(
        {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}}, method="GET", path=BOOKING, times=None
    )
    for _ in range(40):
        story.later(operations.COMPLETER_PERIOD.total_seconds())
        assert Operation.select().where(Operation.open).count() == 1
    away.remove()
    story.later(operations.COMPLETER_PERIOD.total_seconds())
    assert Operation.select().where(Operation.open).count() == 0
    story.assert_moved_once()


@pytest.mark.parametrize("step", [*BEFORE_SENDING, "operation.sent", *DONE])
def test_a_cancellation_that_was_cut_off_ends_as_well(story: Story, step: str) -> None:
    asked = {"bookingId": story.booking["id"], "idempotencyKey": "c1"}
    with Process(story.world, once, Plan(die_at=step)) as process:
        process.go(story.clara.token, CANCEL, {"input": asked})
        process.wait_dead()
    story.later(operations.BEFORE_SENDING.total_seconds() + 1)
    story.later(QUARANTINE)
    assert Operation.select().where(Operation.open).count() == 0
    done = step in DONE
    assert story.clara.bookings()[0]["status"] == ("CANCELLED" if done else "CONFIRMED")
    assert len(story.world.live_uids()) == (0 if done else 1)
    assert story.clara.cancel(story.booking["id"], "c2")["__typename"] == "BookingCancelled"
    story.world.jobs()
    assert (story.told(story.clara), story.told(story.otto)) == (["CANCELLED"], ["CANCELLED"])
    assert story.world.calls("POST", "/cancel") == 1


# ---- freezes -------------------------------------------------------------------------------------------------------------


def test_frozen_right_before_it_sent_it_sends_nothing_any_more(story: Story) -> None:
    with Process(story.world, once, Plan(freeze_at="operation.sent")) as process:
        process.go(story.clara.token, MOVE, {"input": story.input})
        process.wait_frozen()
        story.later(31)
        story.later(QUARANTINE)
        story.assert_untouched()
        moved = story.otto.move(story.booking["id"], at(4, 10), "other")
        assert moved["__typename"] == "BookingRescheduled", moved
        process.thaw()
        answer = process.result()
    assert (answer["__typename"], answer["code"]) == ("ProviderFailure", "TIMED_OUT")
    story.world.jobs()
    assert story.start() == iso(at(4, 10))
    assert story.world.calls("POST", "/reschedule") == 1
    assert len(story.world.live_uids()) == 1


def test_frozen_with_the_answer_in_hand_it_wakes_to_what_others_settled(story: Story) -> None:
    with Process(story.world, once, Plan(freeze_at="operation.answered")) as process:
        process.go(story.clara.token, MOVE, {"input": story.input})
        process.wait_frozen()
        story.later(31)
        story.assert_moved_once()
        process.thaw()
        answer = process.result()
    assert (answer["__typename"], answer["booking"]["start"]) == ("BookingRescheduled", iso(at(3, 10)))
    assert (answer["previousStart"], sorted(p["name"] for p in answer["notificationsQueuedFor"])) == (iso(at(2, 9)), ["Clara", "Otto"])
    story.assert_moved_once()


# ---- the same by two processes at once ---------------------------------------------------------------------------------------


def together(world: World, query: str, token: str, variables: dict[str, Any] | None = None, count: int = 4) -> list[dict[str, Any]]:
    """The same operation by so many processes at once."""
    opened = [Process(world, once) for _ in range(count)]
    try:
        return all_at_once([p.__enter__() for p in opened], token, query, variables)
    finally:
        for process in opened:
            process.__exit__()


def test_default_event_types_by_four_processes_are_one_set(world: World) -> None:
    clara = world.coach(eventTypes=[])
    world.sandbox.world.requests.clear()
    answers = together(world, DEFAULTS, clara.token)
    assert {a["__typename"] for a in answers} <= {"DefaultEventTypes", "ProviderFailure"}, answers
    made = [a for a in answers if a["__typename"] == "DefaultEventTypes"]
    assert sum(a["totalCreated"] for a in made) == 3
    assert len(world.sandbox.world.calcom.event_types.values()) == 3
    assert sorted(e["node"]["durationMinutes"] for e in clara.one(EVENT_TYPES)["edges"]) == [15, 30, 60]


def test_one_authorization_completed_by_four_processes_is_one_link(world: World) -> None:
    clara = world.caller("Clara")
    world.account(clara)
    begun = clara.begin()
    clara.consent(begun)
    answers = together(world, COMPLETE, clara.token, {"input": {"state": begun["state"]}})
    kinds = [a["__typename"] for a in answers]
    assert set(kinds) <= {"ProviderLinked", "AuthorizationExpired"}
    assert "ProviderLinked" in kinds
    assert world.calls("POST", "/auth/oauth2/token") == 1
    assert LinkedAccount.select().count() == 1
    assert clara.one(CONNECTION)["state"] == "ACTIVE"


def test_one_upstream_account_linked_by_two_people_at_once_is_one_persons(world: World) -> None:
    """At Cal.com a refresh of one would kill the other's refresh token."""
    world.account(world.caller("Clara"))
    people = [world.caller("Clara"), world.caller("Carla")]
    states = []
    for person in people:
        begun = person.begin()
        person.consent(begun, user="clara@example.test")
        states.append(begun["state"])
    with Process(world, once) as one, Process(world, once) as two:
        for process, person, state in zip((one, two), people, states, strict=True):
            process.go(person.token, COMPLETE, {"input": {"state": state}})
        answers = [one.result(), two.result()]
    assert sorted(a["__typename"] for a in answers) == ["AccountInUse", "ProviderLinked"]
    assert LinkedAccount.select().where(LinkedAccount.connected).count() == 1


def test_disconnected_by_four_processes_it_is_disconnected_once(world: World) -> None:
    clara = world.coach()
    answers = together(world, DISCONNECT, clara.token)
    assert sorted(a["__typename"] for a in answers) == ["NotConnected"] * 3 + ["ProviderUnlinked"]
    assert world.calls("DELETE", "/webhooks") == 1
    assert clara.one(CONNECTION)["state"] == "NOT_CONNECTED"


def test_synced_by_four_processes_everything_is_there_once(world: World) -> None:
    clara = world.coach()
    world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    for hour in range(9, 15):
        world.book(clara, at(2, hour), name=f"Otto{hour}")
    answers = together(world, SYNC, clara.token)
    assert [a["__typename"] for a in answers] == ["BookingsSynced"] * 4
    assert sum(a["added"] for a in answers) == 6
    bookings = clara.bookings()
    assert len(bookings) == 6
    assert all([e["node"]["kind"] for e in b["history"]["edges"]] == ["BOOKED"] for b in bookings)
    assert len(clara.notifications()) == 6


# ---- lists that are read while something moves ---------------------------------------------------------------------------------


def test_a_list_read_while_a_booking_moves_makes_no_second_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list's first page still has the old booking; its second page has the new one already."""
    monkeypatch.setattr(client, "PAGE", 1)
    clara = world.coach()
    for hour, name in ((9, "Otto"), (11, "Uta"), (13, "Kim")):
        world.book(clara, at(2, hour), name=name)
    world.jobs()
    booking = next(b for b in clara.bookings() if b["start"] == iso(at(2, 9)))
    world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    page = world.sandbox.fault({"kind": "hold"}, method="GET", path="/calcom/v2/bookings", skip=1)
    with ThreadPoolExecutor(2) as pool:
        syncing = pool.submit(clara.one, SYNC)
        assert page.wait_held()
        answer = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=f"{BOOKING}/reschedule")
        world.move_clock(seconds=1)
        moving = pool.submit(clara.move, booking["id"], at(5, 15))
        assert answer.wait_held()
        page.release()
        assert syncing.result()["__typename"] == "BookingsSynced"
        answer.release()
        moved = moving.result()
    assert (moved["__typename"], moved["booking"]["id"]) == ("BookingRescheduled", booking["id"])
    assert sorted(b["start"] for b in clara.bookings()) == [iso(at(2, 11)), iso(at(2, 13)), iso(at(5, 15))]
    assert Operation.select().where(Operation.open).count() == 0
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert len(clara.bookings()) == len(world.live_uids()) == 3


def test_two_bookings_that_turn_out_to_be_one_become_the_older_one(world: World) -> None:
    """The other branch of a fork was taken for a booking of its own; then the provider names it as the continuation."""
    clara = world.coach()
    uid = world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    assert clara.move(booking["id"], at(3, 10))["__typename"] == "BookingRescheduled"
    world.jobs()
    remotes = world.sandbox.world.calcom.bookings
    first = next(b for b in remotes.values() if b.uid == uid)
    second = next(b for b in remotes.values() if b.uid != uid)
    hours = timedelta(hours=3)
    remotes.add(replace(second, uid="other-branch", id=second.id + 1000, start=second.start + hours, end=second.end + hours))
    world.move_clock(seconds=5)
    assert clara.one(SYNC)["added"] == 1
    assert len(clara.bookings()) == 2
    first.to_uid, first.updated_at = "other-branch", world.clock.now()
    world.move_clock(minutes=10)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    world.jobs()
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    kept = {b["id"]: b["start"] for b in clara.bookings()}
    assert kept[booking["id"]] == iso(at(3, 13))
    assert all(e["node"]["kind"] != "CANCELLED" for b in clara.bookings() for e in b["history"]["edges"])


# ---- deadlocks -----------------------------------------------------------------------------------------------------------


def test_two_transactions_that_lock_in_opposite_order_both_come_through(world: World) -> None:
    """No code of ours does; should one slip in, the database picks a victim, and the victim is run again."""
    rows = [Person.create(name=name).id for name in ("A", "B")]
    together_, ran = threading.Barrier(2), []

    def change(mine: list[str]) -> None:
        first = True

        @transactional
        def run() -> None:
            nonlocal first
            ran.append(mine[0])
            Person.update(name=mine[0]).where(Person.id == mine[0]).execute()
            if first and not is_sqlite():
                first = False
                together_.wait()
            Person.update(name=mine[0]).where(Person.id == mine[1]).execute()

        run()
        release_connection()

    threads = [threading.Thread(target=change, args=[order]) for order in (rows, rows[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == (2 if is_sqlite() else 3), "one of them ran twice"
    assert len({p.name for p in Person.select().where(Person.id.in_(rows))}) == 1, "whoever came last wrote both"
