"""A booking that waits for its coach: confirmed or declined, once, and both are told."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from harness import BOOKING, ONE_BOOKING, OPERATION, Caller, World, at, iso
from processes import Plan, Process, once

from models import Hold, Operation
from services import operations

CREATE = "mutation($input: CreateBookingInput!) { createBooking(input: $input) { ... on BookingAwaitingConfirmation { booking { id } } } }"
DECIDE = (
    """mutation($input: DecideBookingInput!) { %s(input: $input) { __typename
  ... on BookingDecided { booking { ...B } } ... on DecisionInProgress { operation { id kind state } }
  ... on StaleBooking { booking { id status } }
  ... on SlotUnavailable { canAccept conflicts { participant { name } role reason start end } }
  ... on InvalidInput { fields { path message } } ... on ConnectionUnusable { isViewers provider }
  ... on ProviderFailure { retryable retryAt } ... on Problem { code message } } }"""
    + BOOKING
)
CONFIRM, DECLINE = DECIDE.replace("%s", "confirmBooking"), DECIDE.replace("%s", "declineBooking")
POLICY = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
DEEP = {"title": "Deep", "slug": "session", "lengthInMinutes": 30, "confirmationPolicy": POLICY}
NINE = at(2, 9)
TITLE = "Deep between Clara and Max"


class Request:
    """A booking that Max asked for and Clara has to decide on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clara = world.coach(eventTypes=[DEEP])
        self.max = world.caller("Max", time_zone="America/New_York")
        self.kind = self.clara.one("{ eventTypes { edges { node { id } } } }")["edges"][0]["node"]["id"]
        given = {"eventTypeId": self.kind, "start": iso(NINE), "idempotencyKey": "b1"}
        self.id = self.max.one(CREATE, input=given)["booking"]["id"]
        world.jobs()

    def decide(self, query: str, key: str = "d1", *, by: Caller | None = None, booking: str | None = None, **more: Any) -> Any:
        return (by or self.clara).one(query, input={"bookingId": booking or self.id, "idempotencyKey": key, **more})

    def another(self, start: datetime = NINE, name: str = "Otto") -> str:
        """Somebody else asked for a time that is no longer offered, as two people may at once; answers Convene's id."""
        self.world.book(self.clara, start, name=name, force=True, status="pending")
        self.world.jobs()
        return next(b["id"] for b in self.clara.bookings() if any(p["name"] == name for p in b["participants"]))

    def told(self, caller: Caller) -> list[str]:
        return [n["kind"] for n in caller.notifications()][::-1]

    def calls(self, what: str) -> int:
        return self.world.calls("POST", f"/{what}")

    def status(self) -> str:
        return next(b["status"] for b in self.clara.bookings() if b["id"] == self.id)

    def later(self, seconds: float) -> None:
        self.world.move_clock(seconds=seconds)
        self.world.jobs()

    def fault(self, what: str, effect: dict[str, Any], times: int | None = 1) -> Any:
        return self.world.sandbox.fault(effect, method="POST", path=f"/calcom/v2/bookings/*/{what}", times=times)

    def assert_decided_once(self, status: str) -> None:
        self.world.jobs()
        assert self.status() == status
        assert (self.told(self.clara), self.told(self.max)) == (["AWAITING_CONFIRMATION", status], ["AWAITING_CONFIRMATION", status])
        self.assert_quiet()

    def assert_waiting(self) -> None:
        self.world.jobs()
        assert self.status() == "PENDING"
        assert (self.told(self.clara), self.told(self.max)) == (["AWAITING_CONFIRMATION"], ["AWAITING_CONFIRMATION"])
        self.assert_quiet()

    def assert_quiet(self) -> None:
        assert (Operation.select().where(Operation.open).count(), Hold.select().count()) == (0, 0)


@pytest.fixture
def request_(world: World) -> Request:
    return Request(world)


# ---- what is decided -------------------------------------------------------------------------------------------------------


def test_confirmed(request_: Request) -> None:
    done = request_.decide(CONFIRM)
    assert (done["__typename"], done["booking"]["status"], done["booking"]["start"]) == ("BookingDecided", "CONFIRMED", iso(NINE))
    kinds = [(e["node"]["kind"], e["node"]["by"], e["node"]["source"]) for e in done["booking"]["history"]["edges"]]
    assert kinds[0] == ("CONFIRMED", "Clara", "CONVENE")
    assert kinds[1][0] == "BOOKED"
    request_.assert_decided_once("CONFIRMED")
    for caller, moment in ((request_.clara, "10:00 (Europe/Berlin)"), (request_.max, "04:00 (America/New_York)")):
        news = caller.notifications()[0]
        assert (news["title"], news["body"]) == (f"Confirmed: {TITLE}", f"“{TITLE}” on Tue 2 Mar 2027, {moment} is confirmed.")
    # the same again, by the same key and by another one
    assert request_.decide(CONFIRM) == done
    assert request_.decide(CONFIRM, "d2") == done
    assert request_.calls("confirm") == 1
    assert request_.decide(CONFIRM, reason="another input")["__typename"] == "IdempotencyKeyReused"
    too_late = request_.decide(DECLINE, "d3")
    assert (too_late["__typename"], too_late["booking"]) == ("StaleBooking", {"id": request_.id, "status": "CONFIRMED"})
    assert request_.calls("decline") == 0
    request_.assert_decided_once("CONFIRMED")


def test_declined_with_a_reason(request_: Request) -> None:
    done = request_.decide(DECLINE, reason="I am on leave.")
    assert (done["__typename"], done["booking"]["status"]) == ("BookingDecided", "DECLINED")
    (change, _) = done["booking"]["history"]["edges"]
    assert {name: change["node"][name] for name in ("kind", "by", "source", "previousStart", "reason")} == {
        "kind": "DECLINED",
        "by": "Clara",
        "source": "CONVENE",
        "previousStart": iso(NINE),
        "reason": "I am on leave.",
    }
    request_.assert_decided_once("DECLINED")
    for caller, moment in ((request_.clara, "10:00 (Europe/Berlin)"), (request_.max, "04:00 (America/New_York)")):
        news = caller.notifications()[0]
        assert (news["title"], news["body"]) == (f"Declined: {TITLE}", f"“{TITLE}” on Tue 2 Mar 2027, {moment} was declined.")
    (told, _) = request_.max.one(ONE_BOOKING, id=request_.id)["history"]["edges"]
    assert told["node"]["reason"] == "I am on leave."
    assert request_.decide(DECLINE, reason="I am on leave.") == done
    assert request_.decide(DECLINE, "d2") == done
    assert (request_.calls("decline"), request_.world.live_uids()) == (1, [])
    too_late = request_.decide(CONFIRM, "d3")
    assert (too_late["__typename"], too_late["booking"]["status"]) == ("StaleBooking", "DECLINED")
    assert request_.calls("confirm") == 0


def test_a_declined_move_ends_the_booking_and_says_so(world: World) -> None:
    """Cal.com gave the earlier time up when the move was asked for, and a refusal does not bring it back."""
    request = Request(world)
    request.decide(CONFIRM)
    asked = request.max.move(request.id, at(3, 13))
    assert (asked["__typename"], asked["booking"]["status"]) == ("RescheduleAwaitingConfirmation", "PENDING")
    done = request.decide(DECLINE, "d2", reason="Not then.")
    world.jobs()
    booking = done["booking"]
    assert (done["__typename"], booking["status"], booking["start"], booking["id"]) == (
        "BookingDecided",
        "DECLINED",
        iso(at(3, 13)),
        request.id,
    )
    assert [e["node"]["kind"] for e in booking["history"]["edges"]] == ["DECLINED", "MOVED", "CONFIRMED", "BOOKED"]
    assert (booking["rescheduling"]["mode"], booking["rescheduling"]["blockedBy"]) == ("NONE", ["STATUS"])
    assert [b.status for b in world.sandbox.world.calcom.bookings.values()] == ["cancelled", "rejected"]
    for caller, asked_for, earlier in (
        (request.clara, "Wed 3 Mar 2027, 14:00 (Europe/Berlin)", "Tue 2 Mar 2027, 10:00 (Europe/Berlin)"),
        (request.max, "Wed 3 Mar 2027, 08:00 (America/New_York)", "Tue 2 Mar 2027, 04:00 (America/New_York)"),
    ):
        declined, consequence = f"“{TITLE}” on {asked_for} was declined.", f"The earlier time, {earlier}, is not restored"
        assert caller.notifications()[0]["body"] == f"{declined} {consequence}: the booking is cancelled."
    told = ["AWAITING_CONFIRMATION", "CONFIRMED", "AWAITING_CONFIRMATION", "DECLINED"]
    assert (request.told(request.clara), request.told(request.max)) == (told, told)
    # a new booking takes the time that was given up
    assert (
        request.max.one(CREATE, input={"eventTypeId": request.kind, "start": iso(NINE), "idempotencyKey": "b2"})["booking"]["id"]
        != request.id
    )


def test_a_confirmed_move_keeps_the_booking(world: World) -> None:
    request = Request(world)
    request.decide(CONFIRM)
    request.max.move(request.id, at(3, 13))
    done = request.decide(CONFIRM, "d2")
    world.jobs()
    assert (done["booking"]["id"], done["booking"]["status"], done["booking"]["start"]) == (request.id, "CONFIRMED", iso(at(3, 13)))
    assert len(world.live_uids()) == 1
    told = ["AWAITING_CONFIRMATION", "CONFIRMED", "AWAITING_CONFIRMATION", "CONFIRMED"]
    assert (request.told(request.clara), request.told(request.max)) == (told, told)


# ---- who and what not ------------------------------------------------------------------------------------------------------


def test_only_the_coach_decides(request_: Request) -> None:
    for query in (CONFIRM, DECLINE):
        own = request_.decide(query, by=request_.max)
        assert (own["__typename"], own["message"]) == ("NotPermitted", "Only the coach decides on this booking.")
        assert request_.decide(query, by=request_.world.caller("Eve"))["__typename"] == "NotFound"
        assert request_.decide(query, booking="01ARZ3NDEKTSV4RRFFQ69G5FAV")["__typename"] == "NotFound"
        assert request_.decide(query, key="")["fields"][0]["path"] == ["idempotencyKey"]
        assert request_.decide(query, reason="x" * 1001)["fields"][0]["path"] == ["reason"]
    assert (request_.calls("confirm"), request_.calls("decline")) == (0, 0)
    request_.assert_waiting()


@pytest.mark.parametrize("query", [CONFIRM, DECLINE], ids=["confirm", "decline"])
def test_what_was_withdrawn_cannot_be_decided(request_: Request, query: str) -> None:
    assert request_.max.cancel(request_.id)["__typename"] == "BookingCancelled"
    stale = request_.decide(query)
    assert (stale["__typename"], stale["booking"]) == ("StaleBooking", {"id": request_.id, "status": "CANCELLED"})
    assert (request_.calls("confirm"), request_.calls("decline")) == (0, 0)
    request_.assert_quiet()


@pytest.mark.parametrize("query", [CONFIRM, DECLINE], ids=["confirm", "decline"])
def test_withdrawn_meanwhile_at_the_provider(request_: Request, query: str) -> None:
    """Nothing was heard of it; the provider refuses, and what it has is taken in."""
    request_.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    (uid,) = request_.world.live_uids()
    request_.world.sandbox.world.calcom.bookings.get(uid).status = "cancelled"
    stale = request_.decide(query)
    assert (stale["__typename"], stale["booking"]["status"]) == ("StaleBooking", "CANCELLED")
    assert request_.decide(query)["__typename"] == "StaleBooking"
    request_.assert_quiet()


def test_decided_meanwhile_at_the_provider_is_decided(request_: Request) -> None:
    request_.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    (uid,) = request_.world.live_uids()
    request_.world.sandbox.world.calcom.bookings.get(uid).status = "accepted"
    assert request_.decide(CONFIRM)["__typename"] == "BookingDecided"
    request_.assert_decided_once("CONFIRMED")


def test_a_broken_link_is_the_coachs_to_repair(request_: Request) -> None:
    request_.world.sandbox_call("calcom/tokens/revoke", email=request_.clara.email)
    refused = request_.decide(CONFIRM)
    assert (refused["__typename"], refused["isViewers"], refused["provider"]) == ("ConnectionUnusable", True, "CAL_COM")
    assert request_.status() == "PENDING"
    request_.assert_quiet()
    request_.clara.link()
    assert request_.decide(CONFIRM)["__typename"] == "BookingDecided", "the key is free"


def test_a_rate_limit_frees_the_key(request_: Request) -> None:
    request_.fault("confirm", {"kind": "status", "status": 429, "headers": {"Retry-After": "40"}})
    refused = request_.decide(CONFIRM)
    assert (refused["__typename"], refused["code"], refused["retryAt"]) == ("ProviderFailure", "RATE_LIMITED", "2027-03-01T08:00:40Z")
    request_.assert_waiting()
    request_.later(41)
    assert request_.decide(CONFIRM)["__typename"] == "BookingDecided"


# ---- two requests for one time -----------------------------------------------------------------------------------------------


def test_of_two_requests_for_one_time_one_is_confirmed(request_: Request) -> None:
    other = request_.another()
    assert request_.decide(CONFIRM)["__typename"] == "BookingDecided"
    refused = request_.decide(CONFIRM, "d2", booking=other)
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
    assert refused["conflicts"] == [
        {"participant": {"name": "Clara"}, "role": "COACH", "reason": "BOOKED", "start": iso(NINE), "end": iso(at(2, 9, 30))}
    ]
    assert request_.calls("confirm") == 1
    declined = request_.decide(DECLINE, "d3", booking=other)
    assert (declined["__typename"], declined["booking"]["status"]) == ("BookingDecided", "DECLINED")
    assert len(request_.world.live_uids()) == 1
    request_.assert_quiet()


def test_two_requests_for_one_time_confirmed_at_once(request_: Request) -> None:
    ids, barrier = [request_.id, request_.another()], threading.Barrier(2)

    def one(booking: str) -> Any:
        barrier.wait()
        return request_.decide(CONFIRM, f"for {booking}", booking=booking)["__typename"]

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(one, ids)) == ["BookingDecided", "SlotUnavailable"]
    request_.world.jobs()
    statuses = sorted(b.status for b in request_.world.sandbox.world.calcom.bookings.values())
    assert (statuses, request_.calls("confirm")) == (["accepted", "pending"], 1)
    request_.assert_quiet()


def test_confirming_while_the_time_is_held_by_another_confirmation(request_: Request) -> None:
    other, held = request_.another(), request_.fault("confirm", {"kind": "hold"})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(request_.decide, CONFIRM)
        assert held.wait_held()
        refused = request_.decide(CONFIRM, "d2", booking=other)
        assert [c["reason"] for c in refused["conflicts"]] == ["HELD"]
        busy = request_.decide(DECLINE, "d3")
        assert (busy["__typename"], busy["code"]) == ("ProviderFailure", "OPERATION_IN_PROGRESS")
        assert request_.decide(CONFIRM)["__typename"] == "DecisionInProgress"
        held.release()
        assert first.result()["__typename"] == "BookingDecided"
    assert request_.calls("confirm") == 1
    request_.assert_quiet()


def test_two_keys_at_once_decide_once(request_: Request) -> None:
    barrier = threading.Barrier(4)

    def one(number: int) -> Any:
        barrier.wait()
        answer = request_.decide(CONFIRM, f"d{number}")
        return answer["__typename"], answer.get("code")

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(one, range(4)))
    assert answers <= {("BookingDecided", None), ("ProviderFailure", "OPERATION_IN_PROGRESS")}
    assert ("BookingDecided", None) in answers
    assert request_.calls("confirm") == 1
    request_.assert_decided_once("CONFIRMED")


# ---- lost answers and deaths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "what", "status"), [(CONFIRM, "confirm", "CONFIRMED"), (DECLINE, "decline", "DECLINED")])
def test_a_lost_answer_is_read_back(request_: Request, query: str, what: str, status: str) -> None:
    request_.fault(what, {"kind": "drop", "when": "after"})
    assert request_.decide(query)["__typename"] == "BookingDecided"
    assert request_.decide(query)["__typename"] == "BookingDecided"
    assert request_.calls(what) == 1
    request_.assert_decided_once(status)


def test_a_decision_that_never_arrived_is_undone(request_: Request) -> None:
    request_.fault("confirm", {"kind": "drop", "when": "before"})
    unknown = request_.decide(CONFIRM)
    assert (unknown["__typename"], unknown["operation"]["kind"], unknown["operation"]["state"]) == (
        "DecisionInProgress",
        "CONFIRMED",
        "IN_PROGRESS",
    )
    request_.later(40)
    assert request_.decide(CONFIRM)["__typename"] == "DecisionInProgress"
    request_.later(200)
    assert request_.clara.one(OPERATION, id=unknown["operation"]["id"])["state"] == "UNDONE"
    final = request_.decide(CONFIRM)
    assert (final["__typename"], final["code"]) == ("ProviderFailure", "NOT_DONE")
    request_.assert_waiting()
    assert request_.decide(CONFIRM, "d2")["__typename"] == "BookingDecided"


def die(request: Request, step: str, query: str = CONFIRM) -> None:
    with Process(request.world, once, Plan(die_at=step)) as process:
        process.go(request.clara.token, query, {"input": {"bookingId": request.id, "idempotencyKey": "d1"}})
        process.wait_dead()


@pytest.mark.parametrize("step", ["operation.begun", "operation.checked"])
def test_dead_before_anything_was_sent(request_: Request, step: str) -> None:
    die(request_, step)
    assert request_.decide(CONFIRM)["__typename"] == "DecisionInProgress"
    request_.later(operations.BEFORE_SENDING.total_seconds() + 1)
    request_.assert_waiting()
    assert request_.calls("confirm") == 0
    assert request_.decide(CONFIRM)["__typename"] == "BookingDecided"


def test_dead_right_before_sending(request_: Request) -> None:
    die(request_, "operation.sent", DECLINE)
    request_.later(40)
    assert request_.decide(DECLINE)["__typename"] == "DecisionInProgress"
    request_.later(200)
    request_.assert_waiting()
    assert (request_.decide(DECLINE)["code"], request_.calls("decline")) == ("NOT_DONE", 0)


@pytest.mark.parametrize(
    ("step", "query", "status"),
    [
        ("operation.answered", CONFIRM, "CONFIRMED"),
        ("operation.answered", DECLINE, "DECLINED"),
        ("operation.recorded", CONFIRM, "CONFIRMED"),
        ("operation.settled", DECLINE, "DECLINED"),
    ],
)
def test_dead_after_the_provider_decided(request_: Request, step: str, query: str, status: str) -> None:
    request_.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    die(request_, step, query)
    request_.later(operations.COMPLETER_PERIOD.total_seconds() + 1)
    request_.assert_decided_once(status)
    assert request_.decide(query)["__typename"] == "BookingDecided"
    assert request_.calls("confirm") + request_.calls("decline") == 1
