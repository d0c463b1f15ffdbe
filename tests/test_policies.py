"""What a coach lets mentees do with their bookings: told before, enforced in the service, and nothing done against it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from calendly_people import calendly_coach, hear, invite, live_events
from harness import EVENT_TYPES, Caller, World, at, iso

from models import Booking, Hold, Operation, Participant
from models.base import db, new_id

RULES = "moveNoticeMinutes cancelNoticeMinutes maxMoves menteeMayMove menteeMayCancel reasonRequired"
UPDATE = f"""mutation($input: UpdatePolicyInput!) {{ updatePolicy(input: $input) {{ __typename
  ... on PolicyUpdated {{ policy {{ {RULES} }} }} ... on InvalidInput {{ fields {{ path message }} }} ... on Problem {{ code message }} }} }}"""
POLICY = f"query($id: ID) {{ policy(eventTypeId: $id) {{ {RULES} }} }}"
CANCEL = """mutation($input: CancelBookingInput!) { cancelBooking(input: $input) { __typename
  ... on PolicyViolation { rule code message } ... on Problem { code message } } }"""
FREE = {
    "moveNoticeMinutes": 0,
    "cancelNoticeMinutes": 0,
    "maxMoves": None,
    "menteeMayMove": True,
    "menteeMayCancel": True,
    "reasonRequired": False,
}
KINDS = [
    {"title": "Session", "slug": "session", "lengthInMinutes": 30},
    {"title": "Intro", "slug": "intro", "lengthInMinutes": 30},
]
HOUR = 60


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach(eventTypes=KINDS)


@pytest.fixture
def max_(world: World) -> Caller:
    person = world.caller("Max")
    person.gql("{ viewer { id } }")
    return person


def booked(world: World, clara: Caller, max_: Caller, *, slug: str = "session", hour: int = 9) -> str:
    """Max's booking on the second, in 25 hours where nothing else is said."""
    world.book(clara, at(2, hour), name="Max", email=max_.email, slug=slug)
    world.jobs()
    return next(str(one["id"]) for one in max_.bookings() if one["start"] == iso(at(2, hour)))


@pytest.fixture
def booking(world: World, clara: Caller, max_: Caller) -> str:
    return booked(world, clara, max_)


def kind(coach: Caller, title: str) -> str:
    return next(str(edge["node"]["id"]) for edge in coach.one(EVENT_TYPES)["edges"] if edge["node"]["title"] == title)


def update(coach: Caller, **change: Any) -> dict[str, Any]:
    done = coach.one(UPDATE, input=change)
    assert done["__typename"] == "PolicyUpdated", done
    found: dict[str, Any] = done["policy"]
    return found


def told(person: Caller, booking: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one["rescheduling"] for one in person.bookings() if one["id"] == booking)
    return found


def cancel(person: Caller, booking: str, key: str = "c1", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = person.one(CANCEL, input={"bookingId": booking, "idempotencyKey": key, **more})
    return found


def assert_violated(answer: dict[str, Any], rule: str, message: str) -> None:
    assert (answer["__typename"], answer["rule"], answer["message"]) == ("PolicyViolation", rule, message)


def assert_nothing_done(world: World, person: Caller, booking: str, start: str = iso(at(2, 9))) -> None:
    assert (world.calls("POST", "/reschedule"), world.calls("POST", "/cancel")) == (0, 0)
    assert len(world.live_uids()) == 1
    assert [(one["id"], one["start"], one["status"]) for one in person.bookings()] == [(booking, start, "CONFIRMED")]
    assert [one["kind"] for one in person.notifications()] == ["BOOKED"]
    assert (Hold.select().count(), Operation.select().count()) == (0, 0)


# ---- each rule, told and enforced ------------------------------------------------------------------------------------------------


def test_without_rules_everything_is_free(max_: Caller, booking: str) -> None:
    assert told(max_, booking) == {
        "mode": "API",
        "blockedBy": [],
        "providerPageUrl": None,
        "closesAt": iso(at(2, 9, 30)),
        "movesLeft": None,
        "reasonRequired": False,
    }


def test_notice_for_moving(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    """Tomorrow at nine; it is eight. Exactly at the limit it may still be moved."""
    assert update(clara, moveNoticeMinutes=25 * HOUR)["moveNoticeMinutes"] == 25 * HOUR
    assert (told(max_, booking)["blockedBy"], told(max_, booking)["closesAt"]) == ([], iso(at(1, 8)))
    world.move_clock(seconds=1)
    assert (told(max_, booking)["mode"], told(max_, booking)["blockedBy"]) == ("NONE", ["NOTICE"])
    refused = max_.move(booking, at(3, 10))
    assert_violated(refused, "MOVE_NOTICE", "It is too late for this change: the coach asks for more notice.")
    assert_nothing_done(world, max_, booking)
    # it says nothing of cancelling
    assert cancel(max_, booking)["__typename"] == "BookingCancelled"


def test_at_the_limit_it_may_still_be_moved(clara: Caller, max_: Caller, booking: str) -> None:
    update(clara, moveNoticeMinutes=25 * HOUR)
    assert max_.move(booking, at(3, 10))["__typename"] == "BookingRescheduled"


def test_notice_for_cancelling(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    update(clara, cancelNoticeMinutes=25 * HOUR)
    world.move_clock(seconds=1)
    refused = cancel(max_, booking)
    assert_violated(refused, "CANCEL_NOTICE", "It is too late for this change: the coach asks for more notice.")
    assert_nothing_done(world, max_, booking)
    assert told(max_, booking)["blockedBy"] == []
    assert max_.move(booking, at(3, 10))["__typename"] == "BookingRescheduled"
    # two days ahead, it is in time again
    assert cancel(max_, booking)["__typename"] == "BookingCancelled"


def test_number_of_moves(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    """The coach's own moves are not counted; those that the mentee makes at the provider are."""
    update(clara, maxMoves=1)
    assert told(max_, booking)["movesLeft"] == 1
    assert clara.move(booking, at(3, 9), "by the coach")["__typename"] == "BookingRescheduled"
    world.jobs()
    assert told(max_, booking)["movesLeft"] == 1
    assert max_.move(booking, at(3, 10))["__typename"] == "BookingRescheduled"
    world.jobs()
    assert (told(max_, booking)["movesLeft"], told(max_, booking)["blockedBy"]) == (0, ["MOVES_USED_UP"])
    before = (world.calls("POST", "/reschedule"), world.live_uids())
    assert_violated(max_.move(booking, at(3, 11), "k2"), "MAXIMUM_MOVES", "This booking was moved as often as the coach allows.")
    assert (world.calls("POST", "/reschedule"), world.live_uids()) == before
    assert [one["start"] for one in max_.bookings()] == [iso(at(3, 10))]
    assert cancel(max_, booking)["__typename"] == "BookingCancelled"


def test_no_moves_at_all(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    assert update(clara, maxMoves=0)["maxMoves"] == 0
    assert (told(max_, booking)["movesLeft"], told(max_, booking)["blockedBy"]) == (0, ["MOVES_USED_UP"])
    assert max_.move(booking, at(3, 10))["rule"] == "MAXIMUM_MOVES"
    assert_nothing_done(world, max_, booking)


def test_mentees_may_not_move(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    update(clara, menteeMayMove=False)
    assert (told(max_, booking)["mode"], told(max_, booking)["blockedBy"]) == ("NONE", ["POLICY"])
    sentence = "The coach does not let mentees change this booking themselves."
    assert_violated(max_.move(booking, at(3, 10)), "WHO_MAY_MOVE", sentence)
    assert_nothing_done(world, max_, booking)
    assert cancel(max_, booking)["__typename"] == "BookingCancelled"


def test_mentees_may_not_cancel(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    update(clara, menteeMayCancel=False)
    assert told(max_, booking)["blockedBy"] == []
    sentence = "The coach does not let mentees change this booking themselves."
    assert_violated(cancel(max_, booking), "WHO_MAY_CANCEL", sentence)
    assert_nothing_done(world, max_, booking)
    assert max_.move(booking, at(3, 10))["__typename"] == "BookingRescheduled"


@pytest.mark.parametrize("reason", [None, "", "  "], ids=["none", "empty", "blank"])
def test_a_reason_is_required(world: World, clara: Caller, max_: Caller, booking: str, reason: str | None) -> None:
    update(clara, reasonRequired=True)
    assert (told(max_, booking)["reasonRequired"], told(max_, booking)["blockedBy"]) == (True, [])
    assert_violated(max_.move(booking, at(3, 10), reason=reason), "REASON_REQUIRED", "The coach asks for a reason.")
    assert_violated(cancel(max_, booking, reason=reason), "REASON_REQUIRED", "The coach asks for a reason.")
    assert_nothing_done(world, max_, booking)
    # neither key was used up
    assert max_.move(booking, at(3, 10), reason="A dentist")["__typename"] == "BookingRescheduled"
    assert cancel(max_, booking, reason="Ill")["__typename"] == "BookingCancelled"


def test_several_rules_are_told_at_once_and_the_most_final_is_the_answer(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    update(clara, menteeMayMove=False, maxMoves=0, moveNoticeMinutes=100 * HOUR, reasonRequired=True)
    assert told(max_, booking)["blockedBy"] == ["POLICY", "MOVES_USED_UP", "NOTICE"]
    assert max_.move(booking, at(3, 10))["rule"] == "WHO_MAY_MOVE"
    assert_nothing_done(world, max_, booking)


def test_the_coach_is_free(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    update(
        clara,
        menteeMayMove=False,
        menteeMayCancel=False,
        maxMoves=0,
        moveNoticeMinutes=1000 * HOUR,
        cancelNoticeMinutes=1000 * HOUR,
        reasonRequired=True,
    )
    assert told(clara, booking) == {
        "mode": "API",
        "blockedBy": [],
        "providerPageUrl": None,
        "closesAt": iso(at(2, 9, 30)),
        "movesLeft": None,
        "reasonRequired": False,
    }
    assert clara.move(booking, at(3, 10))["__typename"] == "BookingRescheduled"
    assert cancel(clara, booking)["__typename"] == "BookingCancelled"
    assert world.live_uids() == []


def test_a_rule_made_after_the_page_was_shown_holds(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    assert told(max_, booking)["blockedBy"] == []
    update(clara, menteeMayMove=False)
    assert max_.move(booking, at(3, 10))["rule"] == "WHO_MAY_MOVE"
    assert_nothing_done(world, max_, booking)
    update(clara, menteeMayMove=None)
    # the refusal left the key free
    assert max_.move(booking, at(3, 10))["__typename"] == "BookingRescheduled"


def test_rules_hold_at_calendly_too(world: World, max_: Caller) -> None:
    """There a move is a new booking and a cancellation; neither is asked for."""
    cora = calendly_coach(world)
    invite(world, cora, "Call", at(2, 9), "Max", email=max_.email)
    hear(world)
    (one,) = max_.bookings()
    update(cora, maxMoves=1, cancelNoticeMinutes=100 * HOUR)
    assert max_.move(one["id"], at(3, 10))["__typename"] == "BookingRescheduled"
    hear(world)
    assert told(max_, one["id"])["movesLeft"] == 0
    world.sandbox.world.requests.clear()
    assert max_.move(one["id"], at(3, 12), "k2")["rule"] == "MAXIMUM_MOVES"
    assert cancel(max_, one["id"])["rule"] == "CANCEL_NOTICE"
    assert (world.calls("POST", "/invitees"), world.calls("POST", "/cancellation"), live_events(world)) == (0, 0, 1)


# ---- general and of one event type -------------------------------------------------------------------------------------------------


def test_an_event_types_rule_is_over_the_general_one_and_what_it_leaves_out_is_not(world: World, clara: Caller, max_: Caller) -> None:
    session, intro = booked(world, clara, max_), booked(world, clara, max_, slug="intro", hour=13)
    update(clara, maxMoves=2, reasonRequired=True)
    own = update(clara, eventTypeId=kind(clara, "Intro"), maxMoves=5, moveNoticeMinutes=HOUR)
    assert own == {**FREE, "maxMoves": 5, "moveNoticeMinutes": HOUR, "reasonRequired": True}
    assert clara.one(POLICY) == {**FREE, "maxMoves": 2, "reasonRequired": True}
    assert (told(max_, session)["movesLeft"], told(max_, intro)["movesLeft"]) == (2, 5)
    assert (told(max_, session)["closesAt"], told(max_, intro)["closesAt"]) == (iso(at(2, 9, 30)), iso(at(2, 12)))
    assert [told(max_, one)["reasonRequired"] for one in (session, intro)] == [True, True]


def test_an_event_type_may_be_freer_than_the_general_rule(world: World, clara: Caller, max_: Caller) -> None:
    session, intro = booked(world, clara, max_), booked(world, clara, max_, slug="intro", hour=13)
    update(clara, menteeMayMove=False, reasonRequired=True)
    update(clara, eventTypeId=kind(clara, "Intro"), menteeMayMove=True, reasonRequired=False)
    assert max_.move(session, at(3, 10))["rule"] == "WHO_MAY_MOVE"
    assert max_.move(intro, at(3, 10))["__typename"] == "BookingRescheduled"
    assert world.calls("POST", "/reschedule") == 1


def test_null_takes_a_rule_back_and_what_is_left_out_stays(clara: Caller) -> None:
    intro = kind(clara, "Intro")
    update(clara, maxMoves=2, moveNoticeMinutes=HOUR)
    update(clara, eventTypeId=intro, maxMoves=5)
    assert update(clara, eventTypeId=intro, maxMoves=None) == {**FREE, "maxMoves": 2, "moveNoticeMinutes": HOUR}
    assert update(clara, maxMoves=None) == {**FREE, "moveNoticeMinutes": HOUR}
    assert clara.one(POLICY, id=intro) == {**FREE, "moveNoticeMinutes": HOUR}
    assert update(clara) == {**FREE, "moveNoticeMinutes": HOUR}
    assert update(clara, moveNoticeMinutes=None, reasonRequired=None) == FREE


def test_rules_are_the_coachs_own(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    """Another coach's rules, and a mentee's own as a coach, say nothing of this booking."""
    carl = world.coach("Carl")
    update(carl, menteeMayMove=False)
    update(max_, menteeMayMove=False)
    assert clara.one(POLICY) == FREE
    assert told(max_, booking)["blockedBy"] == []


# ---- refusals ------------------------------------------------------------------------------------------------------------------------


def test_others_event_types_are_not_found(world: World, clara: Caller, max_: Caller) -> None:
    carl = world.coach("Carl")
    theirs = kind(carl, "Session")
    for person in (clara, max_):
        assert person.one(UPDATE, input={"eventTypeId": theirs, "maxMoves": 0})["__typename"] == "NotFound"
    assert clara.one(UPDATE, input={"eventTypeId": "01HZZZZZZZZZZZZZZZZZZZZZZZ", "maxMoves": 0})["__typename"] == "NotFound"
    assert carl.one(POLICY, id=theirs) == FREE
    # nor is anything learnt of theirs
    update(carl, eventTypeId=theirs, maxMoves=3)
    assert clara.one(POLICY, id=theirs) == FREE


@pytest.mark.parametrize(
    ("change", "path", "most"),
    [
        ({"moveNoticeMinutes": -1}, "moveNoticeMinutes", 129600),
        ({"moveNoticeMinutes": 129601}, "moveNoticeMinutes", 129600),
        ({"cancelNoticeMinutes": -1}, "cancelNoticeMinutes", 129600),
        ({"cancelNoticeMinutes": 2147483647}, "cancelNoticeMinutes", 129600),
        ({"maxMoves": -1}, "maxMoves", 100),
        ({"maxMoves": 101}, "maxMoves", 100),
    ],
)
def test_bad_numbers(clara: Caller, change: dict[str, int], path: str, most: int) -> None:
    refused = clara.one(UPDATE, input={**change, "reasonRequired": True})
    assert refused["__typename"] == "InvalidInput"
    assert refused["fields"] == [{"path": [path], "message": f"Write a whole number from 0 to {most}, or null for no rule."}]
    assert clara.one(POLICY) == FREE


def test_all_that_is_wrong_is_told_at_once(clara: Caller) -> None:
    refused = clara.one(UPDATE, input={"moveNoticeMinutes": -1, "cancelNoticeMinutes": -1, "maxMoves": 101})
    assert [field["path"] for field in refused["fields"]] == [["moveNoticeMinutes"], ["cancelNoticeMinutes"], ["maxMoves"]]


def test_the_largest_numbers_are_taken(clara: Caller) -> None:
    most = {"moveNoticeMinutes": 129600, "cancelNoticeMinutes": 129600, "maxMoves": 100}
    assert update(clara, **most) == {**FREE, **most}


# ---- statements ------------------------------------------------------------------------------------------------------------------------

PAGE = """{ bookings(first: 100) { edges { node { id rescheduling { mode blockedBy closesAt movesLeft reasonRequired } } } } }"""


@contextmanager
def counting() -> Iterator[list[str]]:
    """Every SQL statement that is executed meanwhile, by whichever thread."""
    seen: list[str] = []

    def note(event: Any) -> None:
        seen.append(event.sql)

    db.obj.query_hooks.append(note)
    try:
        yield seen
    finally:
        db.obj.query_hooks.remove(note)


def test_a_page_of_bookings_costs_as_many_statements_as_one(world: World, clara: Caller, max_: Caller, booking: str) -> None:
    update(clara, maxMoves=3, moveNoticeMinutes=HOUR)
    update(clara, eventTypeId=kind(clara, "Intro"), maxMoves=5)
    with counting() as one:
        assert len(max_.one(PAGE)["edges"]) == 1
    copy_bookings(booking, 49)
    with counting() as fifty:
        found = max_.one(PAGE)["edges"]
    assert len(fifty) == len(one), fifty
    assert [edge["node"]["rescheduling"]["movesLeft"] for edge in found] == [3] * 50


def copy_bookings(booking: str, count: int) -> None:
    """The same people's bookings, of the same event type."""
    row, people = Booking.get_by_id(booking), list(Participant.select().where(Participant.booking == booking))
    for number in range(count):
        start = at(3 + number // 10, 8 + number % 10)
        same = {**row.__data__, "id": new_id(), "external_id": f"copy-{number}", "start": start, "end": start.replace(minute=30)}
        made = Booking.create(**same)
        for person in people:
            Participant.create(**{**person.__data__, "id": new_id(), "booking": made.id})
    db.close()
