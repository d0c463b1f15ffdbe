"""Calendly has no move: Convene books anew and cancels the old booking then, and takes the new one back if that fails.

Here it stays one booking with one id, everybody is told once, and whatever dies, is lost or is done by others in between
leaves one meeting at Calendly and the same one here.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from calendly_people import (
    CALL,
    GROUP,
    calendly_coach,
    calendly_type,
    cancel_there,
    event_row,
    external_id,
    hear,
    invite,
    invitee_row,
    live_events,
    live_invitees,
    move_there,
    set_limits,
)
from harness import MOVE, ONE_BOOKING, OPERATION, SYNC, Caller, World, at, iso
from processes import Plan, Process, once

from models import Hold, Operation
from sandbox.calendly.rows import Invitee
from services import operations

NEW, CANCELLATION = "/calendly/api/invitees", "/calendly/api/scheduled_events/*/cancellation"
NINE, TEN = at(2, 9), at(3, 10)
MOVED = MOVE.replace("... on Problem {", "... on QuotaExhausted { resetAt } ... on Problem {", 1)
UNDONE = "This time was given up again."
PAGE = "This booking can only be moved on Calendly's own page. It keeps its id here when it is moved there."
ATTENTION = "{ attention { edges { node { id kind title detail booking { id } } } } }"
RESOLVE = "mutation($input: ResolveAttentionInput!) { resolveAttention(input: $input) { __typename } }"


class Story:
    """Cora's booking with Mia on Tuesday at nine, to be moved to Wednesday at ten."""

    def __init__(
        self, world: World, *, kinds: list[dict[str, Any]] | None = None, account: dict[str, Any] | None = None, **more: Any
    ) -> None:
        self.world = world
        self.cora = calendly_coach(world, event_types=kinds, **(account or {}))
        self.mia = world.caller("Mia", time_zone="America/New_York")
        self.mia.gql("{ viewer { id } }")
        self.kind = kinds[0]["name"] if kinds else "Call"
        self.invitee = invite(world, self.cora, self.kind, NINE, "Mia", **more)
        hear(world)
        (self.booking,) = self.cora.bookings()
        self.id = self.booking["id"]

    def move(self, start: datetime = TEN, key: str = "k1", *, by: Caller | None = None, **more: Any) -> Any:
        return (by or self.cora).one(MOVED, input={"bookingId": self.id, "newStart": iso(start), "idempotencyKey": key, **more})

    def now(self) -> dict[str, Any]:
        """The booking as it is: the only one."""
        (booking,) = self.cora.bookings()
        assert booking["id"] == self.id
        return booking

    def kinds(self) -> list[str]:
        return [edge["node"]["kind"] for edge in self.now()["history"]["edges"]][::-1]

    def told(self, caller: Caller) -> list[str]:
        return [n["kind"] for n in caller.notifications()][::-1]

    def newest(self) -> Invitee:
        return list(self.world.sandbox.world.calendly.invitees.values())[-1]

    def address(self, row: Invitee) -> str:
        return f"{self.world.sandbox.url}/calendly/api/scheduled_events/{row.event_id}/invitees/{row.id}"

    def fault(self, path: str, effect: dict[str, Any], times: int | None = 1, *, method: str = "POST", skip: int = 0) -> Any:
        return self.world.sandbox.fault(effect, method=method, path=path, times=times, skip=skip)

    def posts(self, what: str = NEW) -> int:
        tail = what.rpartition("/")[2]
        return sum(r.method == "POST" and r.path.startswith("/calendly/api") and r.path.endswith(tail) for r in self.world.sandbox.requests)

    def later(self, seconds: float) -> None:
        self.world.move_clock(seconds=seconds)
        hear(self.world)

    def interrupted(self, step: str) -> None:
        with Process(self.world, once, Plan(die_at=step)) as process:
            process.go(self.cora.token, MOVED, {"input": {"bookingId": self.id, "newStart": iso(TEN), "idempotencyKey": "k1"}})
            process.wait_dead()

    def deaf(self) -> Any:
        return self.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)

    def assert_moved(self, start: datetime = TEN, moves: int = 1) -> None:
        """Also after everything was read anew."""
        for seconds in (1, 3601):
            self.later(seconds)
            booking = self.now()
            assert (booking["start"], booking["status"], live_events(self.world)) == (iso(start), "CONFIRMED", 1)
            assert live_invitees(self.world) == [booking["externalId"]]
            assert self.kinds() == ["BOOKED"] + ["MOVED"] * moves
            assert [self.told(person) for person in (self.cora, self.mia)] == [["BOOKED"] + ["MOVED"] * moves] * 2
        self.assert_quiet()

    def assert_untouched(self) -> None:
        for seconds in (1, 3601):
            self.later(seconds)
            booking = self.now()
            assert (booking["start"], booking["status"], live_events(self.world)) == (iso(NINE), "CONFIRMED", 1)
            assert live_invitees(self.world) == [booking["externalId"]] == [external_id(self.invitee)]
            assert (self.kinds(), self.told(self.cora), self.told(self.mia)) == (["BOOKED"], ["BOOKED"], ["BOOKED"])
        self.assert_quiet()

    def assert_quiet(self) -> None:
        assert (Operation.select().where(Operation.open).count(), Hold.select().count()) == (0, 0)

    def state(self) -> str:
        return str(Operation.get().state)


@pytest.fixture
def story(world: World) -> Story:
    return Story(world)


# ---- moved -----------------------------------------------------------------------------------------------------------------


def test_moved_by_the_coach(story: Story) -> None:
    moved = story.move(reason="The dentist.")
    booking = moved["booking"]
    assert (moved["__typename"], moved["previousStart"], moved["previousEnd"]) == ("BookingRescheduled", iso(NINE), iso(at(2, 9, 30)))
    assert (booking["id"], booking["start"], booking["end"]) == (story.id, iso(TEN), iso(at(3, 10, 30)))
    assert booking["version"] == story.booking["version"] + 1
    assert (moved["checked"], moved["warnings"]) == ([{"name": "Cora", "role": "COACH"}], [])
    assert sorted(p["name"] for p in moved["notificationsQueuedFor"]) == ["Cora", "Mia"]
    story.assert_moved()
    news = booking["history"]["edges"][0]["node"]
    assert {name: news[name] for name in ("kind", "by", "source", "previousStart", "newStart", "reason")} == {
        "kind": "MOVED",
        "by": "Cora",
        "source": "CONVENE",
        "previousStart": iso(NINE),
        "newStart": iso(TEN),
        "reason": "The dentist.",
    }
    assert story.mia.notifications()[0]["body"] == (
        "Cora moved “Call” from Tue 2 Mar 2027, 04:00 (America/New_York) to Wed 3 Mar 2027, 05:00 (America/New_York). "
        "Make sure this time works for you. Let us know if you need to change it."
    )
    assert story.cora.notifications()[0]["body"] == (
        "You moved “Call” from Tue 2 Mar 2027, 10:00 (Europe/Berlin) to Wed 3 Mar 2027, 11:00 (Europe/Berlin)."
    )
    assert story.move(reason="The dentist.")["booking"]["id"] == story.id
    assert (story.posts(), story.posts(CANCELLATION)) == (1, 1)
    old = invitee_row(story.world, story.invitee)
    assert old.cancellation is not None
    assert old.cancellation["reason"] == "Moved to 03 Mar 2027, 10:00 UTC. The dentist."


def test_moved_by_the_mentee_twice_and_cancelled(story: Story) -> None:
    moved = story.move(by=story.mia)
    assert (moved["__typename"], [w["code"] for w in moved["warnings"]]) == ("BookingRescheduled", ["MENTEE_NOT_CONNECTED"])
    assert moved["booking"]["externalId"] is None
    assert story.move(at(4, 11), "k2")["__typename"] == "BookingRescheduled"
    story.assert_moved(at(4, 11), 2)
    history = story.now()["history"]["edges"]
    assert [(e["node"]["by"], e["node"]["previousStart"]) for e in history][:2] == [("Cora", iso(TEN)), ("Mia", iso(NINE))]
    assert story.cora.cancel(story.id, reason="Over.")["__typename"] == "BookingCancelled"
    story.later(3601)
    assert (story.now()["status"], story.now()["cancellationReason"], live_events(story.world)) == ("CANCELLED", "Over.", 0)
    assert story.kinds() == ["BOOKED", "MOVED", "MOVED", "CANCELLED"]
    assert [story.told(p) for p in (story.cora, story.mia)] == [["BOOKED", "MOVED", "MOVED", "CANCELLED"]] * 2


def test_moved_there_and_back(story: Story) -> None:
    assert story.move()["__typename"] == "BookingRescheduled"
    assert story.move(NINE, "k2")["__typename"] == "BookingRescheduled"
    story.assert_moved(NINE, 2)


def test_moved_here_and_then_on_calendlys_page(story: Story) -> None:
    """What is moved there keeps our tracking, and is none the less their move."""
    story.move()
    hear(story.world)
    move_there(story.world, story.address(story.newest()), at(4, 11))
    story.assert_moved(at(4, 11), 2)
    move_there(story.world, story.address(story.newest()), TEN)
    story.assert_moved(TEN, 3)
    assert story.now()["history"]["edges"][0]["node"]["source"] == "PROVIDER"


def test_everything_is_carried_over(world: World) -> None:
    places = [{"kind": "physical", "location": "Main Street 1"}, {"kind": "ask_invitee"}]
    questions = [{"name": "Goal", "required": True}, {"name": "Else"}]
    kind = {"name": "Call", "duration": 30, "locations": places, "questions": questions, "splitName": True}
    tracking = {"utm_source": "newsletter", "utm_campaign": "spring", "salesforce_uuid": "s-1"}
    story = Story(
        world,
        kinds=[kind],
        answers={"Goal": "Reading"},
        guests=["guest@example.test"],
        tracking=tracking,
        location={"kind": "ask_invitee", "location": "My place"},
    )
    moved = story.move(by=story.mia)
    assert moved["__typename"] == "BookingRescheduled"
    row, before = story.newest(), invitee_row(world, story.invitee)
    assert (row.name, row.first_name, row.email, row.time_zone) == (before.name, "Mia", "mia@example.test", "Europe/London")
    assert row.answers == before.answers == [{"answer": "Reading", "position": 0, "question": "Goal"}]
    assert {name: row.tracking[name] for name in tracking} == tracking
    assert row.tracking["utm_term"] == f"convene:{Operation.get().id}"
    event = world.sandbox.world.calendly.events[row.event_id]
    assert ([guest["email"] for guest in event.guests], event.location) == (
        ["guest@example.test"],
        {"kind": "ask_invitee", "location": "My place"},
    )
    assert (moved["booking"]["location"], moved["booking"]["answers"]) == ("My place", [{"question": "Goal", "answer": "Reading"}])
    assert sorted(p["role"] for p in story.now()["participants"]) == ["COACH", "GUEST", "MENTEE"]


def test_a_conference_is_made_anew_and_its_link_follows(world: World) -> None:
    story = Story(world, kinds=[CALL | {"locations": [{"kind": "google_conference"}]}])
    story.later(60)
    before = story.now()["meetingUrl"]
    assert story.move()["__typename"] == "BookingRescheduled"
    story.later(60)
    story.later(3601)
    after = story.now()["meetingUrl"]
    assert before
    assert after
    assert before != after
    story.assert_moved()


# ---- on Calendly's own page --------------------------------------------------------------------------------------------------


def assert_on_page(story: Story, start: datetime = TEN) -> None:
    answer = story.move(start, "page")
    uid = story.invitee.rpartition("/")[2]
    assert (answer["__typename"], answer["url"]) == (
        "RescheduleOnProviderPage",
        f"{story.world.sandbox.url}/calendly/web/reschedulings/{uid}",
    )
    assert answer["message"] == PAGE
    assert (story.posts(), story.posts(CANCELLATION)) == (0, 0)
    story.assert_quiet()


def test_a_place_in_a_group_event(world: World) -> None:
    story = Story(world, kinds=[GROUP])
    assert_on_page(story)
    move_there(world, story.invitee, TEN)
    hear(world)
    assert (story.now()["start"], story.kinds()) == (iso(TEN), ["BOOKED", "MOVED"])


def test_paid_for_or_of_another_length(world: World) -> None:
    story = Story(world, kinds=[CALL | {"paid": True}])
    assert_on_page(story)
    kind = calendly_type(world, story.cora)
    kind.paid, kind.duration = False, 45
    invitee_row(world, story.invitee).payment = None
    story.later(3601)
    assert story.move(key="longer")["__typename"] == "RescheduleOnProviderPage"
    assert story.posts() == 0


@pytest.mark.parametrize("change", ["required question", "question gone", "location", "inactive", "paid since"])
def test_what_the_event_type_has_become_since(world: World, change: str) -> None:
    kind = CALL | {"locations": [{"kind": "physical", "location": "Main Street 1"}], "questions": [{"name": "Goal"}]}
    story = Story(world, kinds=[kind], answers={"Goal": "Reading"})
    row = calendly_type(world, story.cora)
    if change == "required question":
        row.questions = [*row.questions, row.questions[0] | {"name": "Level", "required": True, "position": 1}]
    elif change == "question gone":
        row.questions = []
    elif change == "location":
        row.locations = [{"kind": "physical", "location": "Side Street 2"}]
    elif change == "paid since":
        row.paid = True
    else:
        row.active = False
    if change == "inactive":
        # then it has no free times either
        assert story.move(key="page")["__typename"] in {"RescheduleOnProviderPage", "SlotUnavailable"}
        assert story.posts() == 0
    else:
        assert_on_page(story)
    story.assert_quiet()


def test_a_time_that_overlaps_the_old_one(story: Story) -> None:
    calendly_type(story.world, story.cora).interval = 15
    for start in (at(2, 9, 15), at(2, 8, 45)):
        assert_on_page(story, start)
    assert story.move(at(2, 9, 30))["__typename"] == "BookingRescheduled", "right after it does not overlap"


# ---- webhooks of both halves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_webhooks_late_in_either_order_and_twice(story: Story, order: tuple[int, ...]) -> None:
    story.world.sandbox.fault({"kind": "park"}, webhook="*", times=None)
    assert story.move()["__typename"] == "BookingRescheduled"
    story.world.sandbox.settle()
    assert story.world.sandbox_call("deliveries/flush", order=list(order))["sent"] == 2
    story.world.jobs()
    deliveries = [d["id"] for d in story.world.control.get("/deliveries").json()][-2:]
    for delivery in deliveries:
        story.world.sandbox_call(f"deliveries/{delivery}/resend")
    story.assert_moved()


def test_webhooks_lost_and_found_by_the_list(story: Story) -> None:
    story.deaf()
    assert story.move()["__typename"] == "BookingRescheduled"
    story.assert_moved()


def test_webhooks_as_early_as_they_can_be(story: Story) -> None:
    """The news of each half comes, and is read, before its request is answered."""
    new, gone = story.fault(NEW, {"kind": "hold", "when": "after"}), story.fault(CANCELLATION, {"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(story.move)
        for held, start in ((new, NINE), (gone, None)):
            assert held.wait_held()
            hear(story.world)
            story.cora.one(SYNC, provider="CALENDLY")
            booking = story.now()
            assert booking["status"] == "CONFIRMED"
            assert start is None or booking["start"] == iso(start)
            assert set(story.told(story.mia)) <= {"BOOKED", "MOVED"}
            assert story.move()["__typename"] == "RescheduleInProgress"
            held.release()
        assert answer.result()["__typename"] == "BookingRescheduled"
    story.assert_moved()


def test_both_webhooks_at_the_same_moment_as_the_answer(story: Story) -> None:
    gone = story.fault(CANCELLATION, {"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(story.move)
        assert gone.wait_held()
        story.world.sandbox.settle()
        barrier = threading.Barrier(2)

        def work() -> None:
            barrier.wait()
            story.world.jobs()

        jobs = pool.submit(work)
        barrier.wait()
        gone.release()
        assert answer.result()["__typename"] == "BookingRescheduled"
        jobs.result()
    story.assert_moved()


# ---- lost answers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [NEW, CANCELLATION], ids=["booking", "cancellation"])
def test_a_lost_answer(story: Story, path: str) -> None:
    story.deaf()
    story.fault(path, {"kind": "drop", "when": "after"})
    first = story.move()
    assert first["__typename"] in {"BookingRescheduled", "RescheduleInProgress"}
    story.later(operations.COMPLETER_PERIOD.total_seconds() + 60)
    assert story.move()["__typename"] == "BookingRescheduled"
    assert story.posts() == 1
    story.assert_moved()


def test_the_new_booking_never_arrived(story: Story) -> None:
    story.fault(NEW, {"kind": "drop", "when": "before"})
    unknown = story.move()
    assert unknown["__typename"] == "RescheduleInProgress"
    story.later(40)
    assert story.move()["__typename"] == "RescheduleInProgress"
    story.later(300)
    assert story.cora.one(OPERATION, id=unknown["operation"]["id"])["state"] == "UNDONE"
    assert story.move()["code"] == "NOT_DONE"
    story.assert_untouched()
    assert story.move(key="k2")["__typename"] == "BookingRescheduled"


def test_the_cancellation_never_arrived(story: Story) -> None:
    story.fault(CANCELLATION, {"kind": "drop", "when": "before"})
    assert story.move()["__typename"] == "RescheduleInProgress"
    assert (live_events(story.world), story.now()["start"]) == (2, iso(NINE))
    story.later(60)
    assert story.move()["__typename"] == "BookingRescheduled"
    story.assert_moved()


def test_the_slot_is_taken_meanwhile(story: Story) -> None:
    held = story.fault(NEW, {"kind": "hold"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(story.move)
        assert held.wait_held()
        rival = invite(story.world, story.cora, "Call", TEN, "Rival")
        held.release()
        refused = answer.result()
    assert (refused["__typename"], len(refused["alternatives"])) == ("SlotUnavailable", 5)
    cancel_there(story.world, rival)
    hear(story.world)
    assert [b["status"] for b in story.cora.bookings() if b["id"] == story.id] == ["CONFIRMED"]
    assert (story.told(story.mia), story.posts(CANCELLATION)) == (["BOOKED"], 0)
    story.assert_quiet()


# ---- undone ------------------------------------------------------------------------------------------------------------------


def test_the_old_one_may_not_be_cancelled(story: Story) -> None:
    story.fault(CANCELLATION, {"kind": "status", "status": 403, "body": {"title": "Permission Denied", "message": "No."}})
    refused = story.move()
    assert (refused["__typename"], refused["blockedBy"]) == ("BookingNotReschedulable", ["STATUS"])
    assert refused["message"] == "The provider does not let the old time be cancelled, so the booking stays where it is."
    assert story.newest().cancellation is not None
    assert story.newest().cancellation["reason"] == UNDONE
    assert (story.state(), story.now()["version"]) == ("UNDONE", story.booking["version"])
    story.assert_untouched()
    assert story.move() == refused, "the key stands for this outcome"
    assert story.posts() == 1
    assert story.move(key="k2")["__typename"] == "BookingRescheduled"
    story.assert_moved()


def between(story: Story, act: Any) -> Any:
    """Something happens after the new booking is made and before the old one is cancelled."""
    held = story.fault(NEW, {"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(story.move)
        assert held.wait_held()
        act()
        held.release()
        return answer.result()


OVERTAKEN = "The booking was changed at the provider meanwhile, so it was not moved here."


@pytest.mark.parametrize("heard", ["at once", "later"])
@pytest.mark.parametrize("by", ["invitee", "host"])
def test_somebody_cancels_the_old_one_in_between(story: Story, by: str, heard: str) -> None:
    def act() -> None:
        cancel_there(story.world, story.invitee, by=by, reason="I am ill.")
        if heard == "at once":
            hear(story.world)

    refused = between(story, act)
    assert (refused["__typename"], refused["blockedBy"], refused["message"]) == ("BookingNotReschedulable", ["STATUS"], OVERTAKEN)
    story.later(3601)
    assert (story.now()["status"], story.now()["cancellationReason"], live_events(story.world)) == ("CANCELLED", "I am ill.", 0)
    assert (story.kinds(), story.state()) == (["BOOKED", "CANCELLED"], "UNDONE")
    assert [story.told(person) for person in (story.cora, story.mia)] == [["BOOKED", "CANCELLED"]] * 2
    story.assert_quiet()


def test_somebody_moves_the_old_one_in_between(story: Story) -> None:
    refused = between(story, lambda: move_there(story.world, story.invitee, at(4, 11)))
    assert (refused["__typename"], refused["message"]) == ("BookingNotReschedulable", OVERTAKEN)
    assert story.state() == "UNDONE"
    story.assert_moved(at(4, 11))
    assert story.now()["history"]["edges"][0]["node"]["source"] == "PROVIDER"


def test_somebody_cancels_the_new_one_in_between(story: Story) -> None:
    refused = between(story, lambda: cancel_there(story.world, story.address(story.newest()), reason="Wrong."))
    assert (refused["__typename"], refused["message"], story.state()) == ("BookingNotReschedulable", OVERTAKEN, "UNDONE")
    assert story.posts(CANCELLATION) == 0
    story.assert_untouched()


# ---- deaths --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["operation.begun", "operation.checked"])
def test_dead_before_anything_was_sent(story: Story, step: str) -> None:
    story.interrupted(step)
    story.later(operations.BEFORE_SENDING.total_seconds() + 1)
    assert story.posts() == 0
    story.assert_untouched()
    assert story.move()["__typename"] == "BookingRescheduled"


@pytest.mark.parametrize(
    ("step", "hears"),
    [
        ("operation.answered", False),
        ("operation.booked", True),
        ("operation.booked", False),
        ("operation.cancelled", True),
        ("operation.cancelled", False),
        ("operation.recorded", True),
        ("operation.settled", False),
    ],
)
def test_dead_after_the_new_booking_was_made(story: Story, step: str, *, hears: bool) -> None:
    if not hears:
        story.deaf()
    story.interrupted(step)
    hear(story.world)
    assert set(story.told(story.mia)) <= {"BOOKED", "MOVED"}
    story.later(operations.COMPLETER_PERIOD.total_seconds() + 60)
    story.assert_moved()
    assert story.move()["__typename"] == "BookingRescheduled"
    assert story.posts() == 1


def test_dead_right_before_it_was_sent(story: Story) -> None:
    story.interrupted("operation.sent")
    story.later(40)
    assert story.move()["__typename"] == "RescheduleInProgress"
    story.later(300)
    assert (story.move()["code"], story.posts(), story.state()) == ("NOT_DONE", 0, "UNDONE")
    story.assert_untouched()


def test_dead_while_it_was_undone(story: Story) -> None:
    story.fault(CANCELLATION, {"kind": "status", "status": 403, "body": {"title": "Permission Denied", "message": "No."}})
    story.interrupted("operation.undone")
    story.later(60)
    assert (story.move()["__typename"], story.state()) == ("BookingNotReschedulable", "UNDONE")
    story.assert_untouched()


# ---- away in between -----------------------------------------------------------------------------------------------------------


def test_calendly_is_away_for_twenty_minutes_in_between(story: Story) -> None:
    made = story.fault(NEW, {"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(story.move)
        assert made.wait_held()
        # with 5xx the breaker would open, whose pause is not of the clock that stands still
        refuses = {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}}
        away = story.fault("/calendly/api/*", refuses, None, method="*")
        made.release()
        assert answer.result()["__typename"] == "RescheduleInProgress"
    for _ in range(4):
        story.later(300)
        assert story.move()["__typename"] == "RescheduleInProgress"
    away.remove()
    story.later(60)
    assert story.move()["__typename"] == "BookingRescheduled"
    assert story.posts() == 1
    story.assert_moved()


def revoked(story: Story, path: str = CANCELLATION) -> Any:
    """The token is revoked after the new booking was made: before its answer, or before the cancellation is looked at."""
    held = story.fault(path, {"kind": "hold", "when": "after" if path == NEW else "before"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(story.move)
        assert held.wait_held()
        story.world.sandbox_call("calendly/tokens/revoke", email=story.cora.email)
        held.release()
        assert answer.result()["__typename"] == "RescheduleInProgress"
        return answer.result()


@pytest.mark.parametrize("path", [NEW, CANCELLATION], ids=["before the answer", "before the cancellation"])
def test_the_link_breaks_in_between_and_is_repaired(story: Story, path: str) -> None:
    revoked(story, path)
    story.later(600)
    assert story.move()["__typename"] == "RescheduleInProgress"
    assert (story.now()["start"], live_events(story.world)) == (iso(NINE), 2)
    story.cora.link(provider="CALENDLY")
    story.later(60)
    assert story.move()["__typename"] == "BookingRescheduled"
    booking = story.now()
    assert (booking["start"], live_events(story.world), story.kinds()) == (iso(TEN), 1, ["BOOKED", "MOVED"])
    assert [n for n in story.told(story.cora) if n != "RECONNECT_NEEDED"] == ["BOOKED", "MOVED"]
    assert story.told(story.mia) == ["BOOKED", "MOVED"]
    story.assert_quiet()


def test_what_stays_half_done_for_a_day_is_an_admins(story: Story) -> None:
    ada = story.world.caller("Ada", admin=True)
    operation = revoked(story)["operation"]["id"]
    story.later(86400 + 60)
    assert story.state() == "NEEDS_ATTENTION"
    assert story.move()["__typename"] == "RescheduleInProgress"
    items = [edge["node"] for edge in ada.one(ATTENTION)["edges"] if edge["node"]["kind"] == "OPERATION"]
    assert [(item["id"], item["booking"]) for item in items] == [(operation, {"id": story.id})]
    assert items[0]["title"] == "Could be neither completed nor undone: a move"
    assert items[0]["detail"] == "The new booking was made, and the old one is still there: the meeting stands at the provider twice."
    story.cora.link(provider="CALENDLY")
    assert ada.one(RESOLVE, input={"id": operation, "action": "TRY_AGAIN"})["__typename"] == "AttentionResolved"
    story.later(61)
    assert [edge["node"]["kind"] for edge in ada.one(ATTENTION)["edges"] if edge["node"]["kind"] == "OPERATION"] == []
    assert (story.cora.one(OPERATION, id=operation)["state"], story.move()["__typename"]) == ("COMPLETED", "BookingRescheduled")
    booking = story.now()
    assert (booking["start"], booking["status"], live_invitees(story.world)) == (iso(TEN), "CONFIRMED", [booking["externalId"]])
    assert (story.kinds(), story.told(story.mia)) == (["BOOKED", "MOVED"], ["BOOKED", "MOVED"])
    story.assert_quiet()


# ---- read anew, and the quota -----------------------------------------------------------------------------------------------------


def test_unlinked_and_linked_again_nothing_changes(story: Story) -> None:
    story.move()
    hear(story.world)
    before = story.now()
    unlink = "mutation { disconnectProvider(input: {provider: CALENDLY}) { __typename } }"
    assert story.cora.one(unlink)["__typename"] == "ProviderUnlinked"
    story.later(60)
    story.cora.link(provider="CALENDLY")
    story.assert_moved()
    assert {name: story.now()[name] for name in ("id", "version", "externalId", "start", "history")} == {
        name: before[name] for name in ("id", "version", "externalId", "start", "history")
    }


def test_a_move_counts_and_the_one_too_many_is_not_sent(world: World) -> None:
    story = Story(world, account={"stage": "trial"})
    starts = [at(3, 9), at(3, 11), at(3, 13), at(4, 9), at(4, 11)]
    assert [story.move(start, iso(start))["__typename"] for start in starts] == ["BookingRescheduled"] * 5
    refused = story.move(at(4, 13))
    assert (refused["__typename"], refused["resetAt"]) == ("QuotaExhausted", "2027-03-02T08:00:00Z")
    assert (story.posts(), story.posts(CANCELLATION)) == (5, 5)
    story.assert_quiet()
    assert story.mia.one(ONE_BOOKING, id=story.id)["start"] == iso(at(4, 11))
    world.move_clock(days=1, seconds=1)
    assert story.move(at(4, 13))["__typename"] == "BookingRescheduled", "the key was free"


def test_a_refusal_of_the_free_plan_leaves_the_booking_alone(world: World) -> None:
    story = Story(world, account={"plan": "basic", "stage": "free"})
    set_limits(world, freePerDay=0)
    refused = story.move()
    assert refused["__typename"] == "QuotaExhausted"
    assert (story.posts(), story.posts(CANCELLATION)) == (1, 0)
    assert event_row(world, story.invitee).status == "active"
    story.assert_untouched()
