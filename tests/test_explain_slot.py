"""Why a time can or cannot be had: one's own side in full, of the other party only that they are not available.

Clara coaches in Berlin, from 08:00 to 16:00 UTC, two hours' notice; Max attends from London, from 09:00 to 17:00 UTC.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from calendly_people import calendly_account, calendly_coach
from harness import EVENT_TYPES, Caller, World, at, iso

EXPLAIN = """query($input: ExplainSlotInput!) { explainSlot(input: $input) { __typename
  ... on SlotExplanation { slot { start end } available reasons { reason message role participant { name } } }
  ... on InvalidInput { fields { path message } } ... on TooManyRequests { message retryAt } ... on Problem { code } } }"""
SENTENCES = {
    "PAST": "The time lies in the past.",
    "OFF_GRID": "Bookings begin at other times here, close to this one.",
    "NOTICE": "It is too soon: the event type asks for more notice.",
    "OUTSIDE_HOURS": "It lies outside your working hours.",
    "BUSY": "Something in your calendar is at that time.",
    "BUFFER": "It is too close to something else: the event type keeps a buffer.",
    "BOOKED": "You have another booking at that time.",
    "HELD": "A change that is under way holds that time.",
    "LIMIT": "A limit of the event type keeps it from being offered.",
    "OTHER_PARTY_UNAVAILABLE": "The other party is not available at that time.",
    "SOURCE_UNAVAILABLE": "A calendar could not be asked, so this may not be all.",
}
WINDOW = {"type": "range", "value": ["2027-03-01", "2027-03-05"]}
KIND = {"title": "Session", "slug": "session", "lengthInMinutes": 30, "bookingWindow": WINDOW}
BUFFERED = {**KIND, "beforeEventBuffer": 30, "afterEventBuffer": 30, "slotInterval": 30}
TUESDAY = at(2, 9)
HALF_HOUR = timedelta(minutes=30)
OTHER = "OTHER_PARTY_UNAVAILABLE"


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach(eventTypes=[KIND])


@pytest.fixture
def max_(world: World) -> Caller:
    """A mentee who linked Cal.com."""
    person = world.caller("Max", time_zone="Europe/London")
    world.account(person)
    return person.link()


def of_kind(coach: Caller) -> dict[str, str]:
    return {"eventTypeId": str(coach.one(EVENT_TYPES)["edges"][0]["node"]["id"])}


def booked(world: World, clara: Caller, mentee: Caller, start: datetime = TUESDAY) -> dict[str, str]:
    world.book(clara, start, name=mentee.name, email=mentee.email)
    world.jobs()
    return {"bookingId": next(str(one["id"]) for one in clara.bookings() if one["start"] == iso(start))}


def taken(world: World, person: Caller, start: datetime) -> None:
    world.sandbox_call("calcom/busy", email=person.email, start=iso(start), end=iso(start + HALF_HOUR))


def ask(person: Caller, target: dict[str, str], start: datetime, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = person.one(EXPLAIN, input={"target": target, "start": iso(start), **more})
    return found


def reasons(person: Caller, target: dict[str, str], start: datetime) -> list[tuple[str, str | None, str | None]]:
    """(reason, whose, their role), after the sentence of each was compared."""
    found = ask(person, target, start)
    assert found["__typename"] == "SlotExplanation", found
    assert found["slot"] == {"start": iso(start), "end": iso(start + HALF_HOUR)}
    assert found["available"] is (not [one for one in found["reasons"] if one["reason"] != "SOURCE_UNAVAILABLE"])
    for one in found["reasons"]:
        assert one["message"] == SENTENCES[one["reason"]]
    return [(one["reason"], (one["participant"] or {}).get("name"), one["role"]) for one in found["reasons"]]


# ---- the coach's own side, and what the other is told of it -------------------------------------------------------------------------


def nothing(_world: World, _clara: Caller) -> None: ...


def busy(world: World, clara: Caller) -> None:
    taken(world, clara, at(2, 13))


def other_booking(world: World, clara: Caller) -> None:
    booked(world, clara, world.caller("Otto"), at(2, 13))


@pytest.mark.parametrize(
    ("reason", "start", "arrange"),
    [
        ("OFF_GRID", at(2, 10, 10), nothing),
        ("NOTICE", at(1, 9, 30), nothing),
        ("OUTSIDE_HOURS", at(2, 16), nothing),
        ("BUSY", at(2, 13), busy),
        ("BOOKED", at(2, 13), other_booking),
        ("LIMIT", at(10, 10), nothing),
    ],
)
def test_the_coachs_side(
    world: World, clara: Caller, max_: Caller, reason: str, start: datetime, arrange: Callable[[World, Caller], None]
) -> None:
    arrange(world, clara)
    assert reasons(clara, of_kind(clara), start) == [(reason, "Clara", "COACH")]
    assert reasons(max_, of_kind(clara), start) == [(OTHER, "Clara", "COACH")]


def test_what_is_past_is_nobodys_in_particular(clara: Caller, max_: Caller) -> None:
    for person in (clara, max_):
        assert reasons(person, of_kind(clara), at(1, 7)) == [("PAST", None, None)]
        assert reasons(person, of_kind(clara), at(1, 8)) == [("PAST", None, None)]


@pytest.mark.parametrize("start", [at(2, 12, 30), at(2, 13, 30)], ids=["before", "behind"])
def test_the_coachs_buffer(world: World, max_: Caller, start: datetime) -> None:
    clara = world.coach(eventTypes=[BUFFERED])
    booked(world, clara, world.caller("Otto"), at(2, 13))
    assert reasons(clara, of_kind(clara), start) == [("BUFFER", "Clara", "COACH")]
    assert reasons(max_, of_kind(clara), start) == [(OTHER, "Clara", "COACH")]


@pytest.mark.parametrize("start", [at(2, 12), at(2, 14)], ids=["before", "behind"])
def test_the_buffers_of_both_bookings_add_up(world: World, start: datetime) -> None:
    """Cal.com keeps the one's behind it and the other's before it."""
    clara = world.coach(eventTypes=[BUFFERED])
    booked(world, clara, world.caller("Otto"), at(2, 13))
    assert reasons(clara, of_kind(clara), start) == [("BUFFER", "Clara", "COACH")]


def test_what_a_change_under_way_holds(world: World, clara: Caller, max_: Caller) -> None:
    moving = booked(world, clara, world.caller("Otto"))
    held = world.sandbox.fault({"kind": "hold", "when": "before"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    with ThreadPoolExecutor(1) as pool:
        move = pool.submit(clara.move, moving["bookingId"], at(2, 13))
        assert held.wait_held()
        assert reasons(clara, of_kind(clara), at(2, 13)) == [("HELD", "Clara", "COACH")]
        assert reasons(max_, of_kind(clara), at(2, 13)) == [(OTHER, "Clara", "COACH")]
        held.release()
        assert move.result()["__typename"] == "BookingRescheduled"


# ---- the mentee's own side ------------------------------------------------------------------------------------------------------------


def attends_elsewhere(world: World, mentee: Caller) -> None:
    booked(world, world.coach("Carl"), mentee, at(3, 10))


def calendar(world: World, mentee: Caller) -> None:
    taken(world, mentee, at(3, 10))


@pytest.mark.parametrize(
    ("reason", "start", "arrange"),
    [("OUTSIDE_HOURS", at(3, 8), nothing), ("BUSY", at(3, 10), calendar), ("BOOKED", at(3, 10), attends_elsewhere)],
)
def test_the_mentees_side(
    world: World, clara: Caller, max_: Caller, reason: str, start: datetime, arrange: Callable[[World, Caller], None]
) -> None:
    booking = booked(world, clara, max_)
    arrange(world, max_)
    assert reasons(max_, booking, start) == [(reason, "Max", "MENTEE")]
    assert reasons(clara, booking, start) == [(OTHER, "Max", "MENTEE")]
    # of the event type: whoever would book is the mentee; to the coach it is about nobody else
    assert reasons(max_, of_kind(clara), start) == [(reason, "Max", "MENTEE")]
    assert reasons(clara, of_kind(clara), start) == []


def test_what_holds_the_mentees_time(world: World, clara: Caller, max_: Caller) -> None:
    booking, carl = booked(world, clara, max_), world.coach("Carl")
    other = booked(world, carl, max_, at(4, 10))
    held = world.sandbox.fault({"kind": "hold", "when": "before"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    with ThreadPoolExecutor(1) as pool:
        move = pool.submit(carl.move, other["bookingId"], at(3, 10))
        assert held.wait_held()
        assert reasons(max_, booking, at(3, 10)) == [("HELD", "Max", "MENTEE")]
        assert reasons(clara, booking, at(3, 10)) == [(OTHER, "Max", "MENTEE")]
        held.release()
        assert move.result()["__typename"] == "BookingRescheduled"


def test_an_unlinked_mentees_own_bookings_are_known_all_the_same(world: World, clara: Caller) -> None:
    otto = world.caller("Otto")
    booking = booked(world, clara, otto)
    attends_elsewhere(world, otto)
    assert reasons(otto, booking, at(3, 10)) == [("BOOKED", "Otto", "MENTEE")]
    assert reasons(clara, booking, at(3, 10)) == [(OTHER, "Otto", "MENTEE")]
    assert reasons(otto, booking, at(3, 8)) == []


# ---- several, none, unknown ------------------------------------------------------------------------------------------------------------


def test_all_of_them_in_order_of_precedence(world: World, max_: Caller) -> None:
    """Evening, too soon, something in the calendar; and the other one is busy as well."""
    clara = world.coach(eventTypes=[{**KIND, "minimumBookingNotice": 5 * 24 * 60}])
    world.book(clara, at(2, 9), name="Max", email=max_.email, force=True)
    world.jobs()
    booking = {"bookingId": str(clara.bookings()[0]["id"])}
    taken(world, clara, at(2, 20))
    taken(world, max_, at(2, 20))
    coachs = [("NOTICE", "Clara", "COACH"), ("OUTSIDE_HOURS", "Clara", "COACH"), ("BUSY", "Clara", "COACH")]
    assert reasons(clara, booking, at(2, 20)) == [*coachs, (OTHER, "Max", "MENTEE")]
    mentees = [("OUTSIDE_HOURS", "Max", "MENTEE"), ("BUSY", "Max", "MENTEE")]
    assert reasons(max_, booking, at(2, 20)) == [*mentees, (OTHER, "Clara", "COACH")]


def test_a_free_time_has_no_reasons(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    for person in (clara, max_):
        assert reasons(person, booking, at(3, 10)) == []
        # its own time is given back to the booking that moves
        assert reasons(person, booking, at(2, 9)) == []
    assert reasons(clara, of_kind(clara), at(2, 9)) == [("BOOKED", "Clara", "COACH")]


def test_a_calendar_that_could_not_be_asked(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path="/calcom/v2/calendars/busy-times", times=3)
    assert reasons(clara, booking, at(3, 10)) == [("SOURCE_UNAVAILABLE", None, None)]


def test_at_calendly(world: World, max_: Caller) -> None:
    """The same across providers."""
    cora = calendly_coach(world)
    world.sandbox_call("calendly/busy", email=cora.email, start=iso(at(3, 13)), end=iso(at(3, 14)))
    taken(world, max_, at(3, 10))
    assert reasons(cora, of_kind(cora), at(3, 13)) == [("BUSY", "Cora", "COACH")]
    assert reasons(max_, of_kind(cora), at(3, 13)) == [(OTHER, "Cora", "COACH")]
    assert reasons(max_, of_kind(cora), at(3, 10)) == [("BUSY", "Max", "MENTEE")]
    assert reasons(cora, of_kind(cora), at(3, 17)) == [("OUTSIDE_HOURS", "Cora", "COACH")]
    assert reasons(max_, of_kind(cora), at(3, 12)) == []


def test_a_mentees_calendar_at_calendly(world: World, clara: Caller) -> None:
    mia = world.caller("Mia", time_zone="Europe/London")
    calendly_account(world, mia)
    mia.link(provider="CALENDLY")
    booking = booked(world, clara, mia)
    world.sandbox_call("calendly/busy", email=mia.email, start=iso(at(3, 10)), end=iso(at(3, 11)))
    assert reasons(mia, booking, at(3, 10, 30)) == [("BUSY", "Mia", "MENTEE")]
    assert reasons(clara, booking, at(3, 10, 30)) == [(OTHER, "Mia", "MENTEE")]


# ---- refusals ----------------------------------------------------------------------------------------------------------------------------


def test_nobody_reads_a_calendar_minute_by_minute(world: World, clara: Caller, max_: Caller) -> None:
    """Thirty in ten minutes, for each viewer; what is refused asks no provider."""
    target = of_kind(clara)
    for _ in range(30):
        assert ask(max_, target, at(2, 10))["__typename"] == "SlotExplanation"
    world.move_clock(minutes=6)
    world.sandbox.world.requests.clear()
    for _ in range(2):
        refused = ask(max_, target, at(2, 10))
        assert refused == {
            "__typename": "TooManyRequests",
            "message": "This was asked too often. Wait a moment.",
            "retryAt": "2027-03-01T08:10:00Z",
            "code": refused["code"],
        }
    assert [request.path for request in world.sandbox.requests] == []
    assert ask(clara, target, at(2, 10))["__typename"] == "SlotExplanation"
    world.move_clock(minutes=4)
    assert ask(max_, target, at(2, 10))["__typename"] == "SlotExplanation"


def test_strangers_bookings_are_not_found(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    eve = world.caller("Eve")
    world.sandbox.world.requests.clear()
    assert ask(eve, booking, at(3, 10))["__typename"] == "NotFound"
    assert ask(eve, {"bookingId": "01HZZZZZZZZZZZZZZZZZZZZZZZ"}, at(3, 10))["__typename"] == "NotFound"
    assert ask(eve, {"eventTypeId": "01HZZZZZZZZZZZZZZZZZZZZZZZ"}, at(3, 10))["__typename"] == "NotFound"
    assert [request.path for request in world.sandbox.requests] == []


def test_hidden_event_types_are_their_coachs_only(world: World, max_: Caller) -> None:
    clara = world.coach(eventTypes=[{**KIND, "hidden": True}])
    assert reasons(clara, of_kind(clara), at(2, 10)) == []
    assert ask(max_, of_kind(clara), at(2, 10))["__typename"] == "NotFound"


def test_well_formed_nonsense(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    far = ask(clara, booking, datetime(2029, 3, 3, 9, tzinfo=at(1, 1).tzinfo))
    assert far["fields"] == [{"path": ["start"], "message": "The start lies more than two years ahead."}]
    longer = ask(clara, booking, at(3, 10), durationMinutes=45)
    assert longer["fields"] == [{"path": ["durationMinutes"], "message": "A move cannot resize: this booking lasts 30 minutes."}]
    other = ask(clara, of_kind(clara), at(3, 10), durationMinutes=45)
    assert other["fields"] == [{"path": ["durationMinutes"], "message": "This event type lasts 30 minutes."}]


@pytest.mark.parametrize("both", [False, True], ids=["neither", "both"])
def test_exactly_one_target_is_named(world: World, clara: Caller, max_: Caller, both: bool) -> None:
    target = {**booked(world, clara, max_), **of_kind(clara)} if both else {}
    (error,) = clara.errors(EXPLAIN, input={"target": target, "start": iso(at(3, 10))})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
