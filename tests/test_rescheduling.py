"""Moving a booking on Cal.com: who may, what is checked, and every way in which it can go wrong."""

import threading
from typing import Any

import httpx
import pytest
from harness import ONE_BOOKING, OPERATION, Caller, World, at, iso

from models import Booking, Operation, Participant

RESCHEDULE = "/calcom/v2/bookings/*/reschedule"


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def max_(world: World) -> Caller:
    """A mentee who signs in and has nothing linked."""
    return world.caller("Max", time_zone="America/New_York")


def booked(world: World, clara: Caller, mentee: Caller, day: int = 2, hour: int = 9, **more: Any) -> dict[str, Any]:
    world.book(clara, at(day, hour), name=mentee.name, email=mentee.email, **more)
    world.jobs()
    found = [b for b in clara.bookings() if b["start"] == iso(at(day, hour))]
    assert len(found) == 1
    return found[0]


# ---- who moves -----------------------------------------------------------------------------------------------------------


def test_a_mentee_without_a_link_is_warned_and_both_are_told(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    moved = max_.move(booking["id"], at(3, 13))
    assert moved["__typename"] == "BookingRescheduled"
    assert moved["warnings"] == [
        {
            "code": "MENTEE_NOT_CONNECTED",
            "message": "We can't check your calendar for conflicts without access. The times shown are based on the coach's "
            "availability. Want to connect your Cal.com account now?",
            "connectProvider": "CAL_COM",
        }
    ]
    assert moved["checked"] == [{"name": "Clara", "role": "COACH"}]
    assert sorted(p["name"] for p in moved["notificationsQueuedFor"]) == ["Clara", "Max"]
    assert moved["booking"]["externalId"] is None
    news = clara.notifications()[0]
    assert (news["kind"], news["by"]) == ("MOVED", "Max")
    assert news["body"] == (
        "Max moved “Session between Clara and Max” from Tue 2 Mar 2027, 10:00 (Europe/Berlin) to Wed 3 Mar 2027, 14:00 (Europe/Berlin)."
    )
    confirmation = max_.notifications()[0]
    assert confirmation["body"] == (
        "You moved “Session between Clara and Max” from Tue 2 Mar 2027, 04:00 (America/New_York)"
        " to Wed 3 Mar 2027, 08:00 (America/New_York)."
    )


def test_a_coach_moves_and_an_unlinked_mentee_is_asked_to_check(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    moved = clara.move(booking["id"], at(3, 13))
    assert moved["warnings"] == []
    told = max_.notifications()[0]
    assert told["body"].endswith("Make sure this time works for you. Let us know if you need to change it.")
    assert (told["previousStart"], told["newStart"], told["by"]) == ("2027-03-02T09:00:00Z", "2027-03-03T13:00:00Z", "Clara")


def test_a_linked_mentee_uses_their_own_token(world: World, clara: Caller) -> None:
    mia = world.caller("Mia")
    world.account(mia)
    mia.link()
    booking = booked(world, clara, mia)
    moved = mia.move(booking["id"], at(3, 13))
    assert (moved["__typename"], moved["warnings"]) == ("BookingRescheduled", [])
    told = clara.notifications()[0]
    assert (told["kind"], told["by"]) == ("MOVED", "Mia")
    assert not mia.notifications()[0]["body"].endswith("change it.")


def test_where_the_coach_confirms_a_mentees_move_waits_and_the_coachs_does_not(world: World) -> None:
    policy = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    event_type = {"title": "Deep", "slug": "deep", "lengthInMinutes": 30, "confirmationPolicy": policy}
    clara = world.coach(eventTypes=[event_type])
    max_ = world.caller("Max")
    booking = booked(world, clara, max_, slug="deep", force=True, status="accepted")
    asked = max_.move(booking["id"], at(3, 13))
    assert asked["__typename"] == "RescheduleAwaitingConfirmation"
    assert (asked["booking"]["status"], asked["previousStart"]) == ("PENDING", "2027-03-02T09:00:00Z")
    assert clara.notifications()[0]["kind"] == "AWAITING_CONFIRMATION"
    settled = clara.move(booking["id"], at(4, 13), key="coach")
    assert settled["__typename"] == "BookingRescheduled"
    assert settled["booking"]["status"] == "CONFIRMED"
    assert len(world.live_uids()) == 1


def test_nobody_moves_in_the_coachs_name(world: World) -> None:
    """Cal.com skips the confirmation for whoever names the organiser's address, without asking for a proof."""
    policy = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    clara = world.coach(eventTypes=[{"title": "Deep", "slug": "deep", "lengthInMinutes": 30, "confirmationPolicy": policy}])
    max_ = world.caller("Max")
    booking = booked(world, clara, max_, slug="deep", force=True, status="accepted")
    Participant.update(email=clara.email).where(Participant.role == "MENTEE").execute()
    assert max_.move(booking["id"], at(3, 13))["__typename"] == "RescheduleAwaitingConfirmation"


def test_strangers_cannot_tell_that_it_exists(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    charlie = world.coach("Charlie")
    real, made_up = charlie.move(booking["id"], at(3, 13)), charlie.move("01ARZ3NDEKTSV4RRFFQ69G5FAV", at(3, 13))
    assert real == made_up == {"__typename": "NotFound", "code": "NOT_FOUND", "message": "There is no such booking."}
    assert charlie.one(ONE_BOOKING, id=booking["id"]) is None
    assert charlie.bookings() == []
    assert charlie.cancel(booking["id"])["__typename"] == "NotFound"
    assert world.calls("POST", "/reschedule") + world.calls("POST", "/cancel") == 0


def test_a_guest_may_look_and_not_move(world: World, clara: Caller, max_: Caller) -> None:
    gina = world.caller("Gina")
    booking = booked(world, clara, max_, guests=[gina.email])
    assert gina.bookings()[0]["viewerRole"] == "GUEST"
    assert gina.bookings()[0]["rescheduling"] == {
        "mode": "NONE", "blockedBy": ["NOT_A_PARTY"], "providerPageUrl": None, "closesAt": None, "movesLeft": None, "reasonRequired": False,
    }  # fmt: skip
    assert gina.move(booking["id"], at(3, 13))["__typename"] == "NotPermitted"
    assert gina.cancel(booking["id"])["__typename"] == "NotPermitted"
    assert len(world.live_uids()) == 1


# ---- what is checked -----------------------------------------------------------------------------------------------------


def test_a_busy_coach_is_refused_with_the_next_slots(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox_call("calcom/busy", email=clara.email, start=iso(at(3, 13)), end=iso(at(3, 14)))
    refused = clara.move(booking["id"], at(3, 13))
    assert refused["__typename"] == "SlotUnavailable"
    assert refused["canAccept"] is False
    assert refused["conflicts"] == [
        {
            "participant": {"name": "Clara"},
            "role": "COACH",
            "reason": "BUSY",
            "start": "2027-03-03T13:00:00Z",
            "end": "2027-03-03T13:30:00Z",
        }
    ]
    assert [s["start"] for s in refused["alternatives"]] == [
        iso(at(3, 14)),
        iso(at(3, 14, 30)),
        iso(at(3, 15)),
        iso(at(3, 15, 30)),
        iso(at(4, 8)),
    ]
    assert max_.move(booking["id"], at(3, 13))["conflicts"][0]["reason"] == "OTHER_PARTY_UNAVAILABLE"
    assert world.calls("POST", "/reschedule") == 0
    # a refusal before anything was sent leaves the key free
    assert clara.move(booking["id"], at(3, 14))["__typename"] == "BookingRescheduled"


def test_the_booking_that_moves_does_not_block_itself(world: World, clara: Caller, max_: Caller) -> None:
    long = {"title": "Long", "slug": "long", "lengthInMinutes": 60, "slotInterval": 30}
    world.account(world.caller("Lena"), eventTypes=[long])
    lena = world.caller("Lena").link()
    booking = booked(world, lena, max_, slug="long")
    moved = lena.move(booking["id"], at(2, 9, 30))
    assert moved["__typename"] == "BookingRescheduled", moved


def test_an_own_booking_with_another_provider_event_is_seen(world: World, clara: Caller, max_: Caller) -> None:
    """Max is booked with Dora at 13:00: Clara is told, may accept it, and is warned; Max alone decides the rest."""
    dora = world.coach("Dora")
    booked(world, dora, max_, day=3, hour=13)
    booking = booked(world, clara, max_)
    refused = clara.move(booking["id"], at(3, 13))
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", True)
    assert refused["conflicts"] == [
        {
            "participant": {"name": "Max"},
            "role": "MENTEE",
            "reason": "OTHER_PARTY_UNAVAILABLE",
            "start": "2027-03-03T13:00:00Z",
            "end": "2027-03-03T13:30:00Z",
        }
    ]
    assert len(world.live_uids()) == 2
    accepted = clara.move(booking["id"], at(3, 13), acceptConflicts=True, key="accepted")
    assert (accepted["__typename"], [w["code"] for w in accepted["warnings"]]) == ("BookingRescheduled", ["MENTEE_CONFLICT"])


def test_a_coachs_own_clash_is_never_accepted(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    booked(world, clara, world.caller("Otto"), day=3, hour=13)
    refused = clara.move(booking["id"], at(3, 13), acceptConflicts=True)
    assert (refused["__typename"], refused["canAccept"], refused["conflicts"][0]["reason"]) == ("SlotUnavailable", False, "BOOKED")
    assert world.calls("POST", "/reschedule") == 0


def test_a_coach_calendar_that_cannot_be_asked_forbids(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="GET", path="/calcom/v2/slots*", effect={"kind": "status", "status": 503}, times=None)
    refused = clara.move(booking["id"], at(3, 13), acceptConflicts=True)
    assert (refused["__typename"], refused["role"], refused["canAccept"]) == ("SourceUnverified", "COACH", False)
    assert world.calls("POST", "/reschedule") == 0
    assert clara.bookings()[0]["rescheduling"]["blockedBy"] == []


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"newStart": "2027-02-26T09:00:00Z"}, "newStart", "The new start lies in the past."),
        ({"newStart": "2027-03-02T09:00:00Z"}, "newStart", "The booking is at that time already."),
        ({"newEnd": "2027-03-03T15:00:00Z"}, "newEnd", "A move cannot resize: newEnd must be newStart plus 30 minutes, or left out."),
        ({"reason": "x" * 1001}, "reason", "The reason may have at most 1000 characters."),
        ({"idempotencyKey": " "}, "idempotencyKey", "The key must have 1 to 200 characters."),
    ],
)
def test_well_formed_nonsense(world: World, clara: Caller, max_: Caller, change: dict[str, str], field: str, sentence: str) -> None:
    booking = booked(world, clara, max_)
    change = dict(change)
    start = change.pop("newStart", iso(at(3, 13)))
    refused = clara.move(booking["id"], start, change.pop("idempotencyKey", "k"), **change)
    assert refused["fields"] == [{"path": [field], "message": sentence}]
    assert world.calls("POST", "/reschedule") == 0


def test_a_stale_version_is_refused_with_the_present_booking(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    stale = clara.move(booking["id"], at(3, 13), expectedVersion=7)
    assert (stale["__typename"], stale["booking"]) == ("StaleBooking", {"id": booking["id"], "version": 1})
    assert clara.move(booking["id"], at(3, 13), expectedVersion=1)["__typename"] == "BookingRescheduled"


def test_what_is_over_or_cancelled_cannot_move(world: World, clara: Caller, max_: Caller) -> None:
    over = booked(world, clara, max_, day=1, hour=12)
    gone = booked(world, clara, max_, day=4, hour=12)
    assert clara.cancel(gone["id"])["__typename"] == "BookingCancelled"
    world.move_clock(hours=6)
    assert clara.move(over["id"], at(3, 13))["blockedBy"] == ["PAST"]
    assert clara.move(gone["id"], at(3, 13), key="k2")["blockedBy"] == ["STATUS"]
    assert clara.one(ONE_BOOKING, id=over["id"])["status"] == "COMPLETED"


def test_without_the_coachs_link_the_provider_page_is_named(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    clara.gql("mutation { disconnectProvider(input: {provider: CAL_COM}) { __typename } }")
    answer = max_.move(booking["id"], at(3, 13))
    assert answer["__typename"] == "RescheduleOnProviderPage"
    (seen,) = max_.bookings()
    assert (seen["rescheduling"]["mode"], seen["rescheduling"]["blockedBy"]) == ("PROVIDER_PAGE", ["HOST_NOT_CONNECTED"])
    assert seen["rescheduling"]["providerPageUrl"] == answer["url"]
    cancelled = max_.cancel(booking["id"])
    assert (cancelled["__typename"], cancelled["url"]) == ("CancelOnProviderPage", answer["url"])
    assert world.calls("POST", "/reschedule") == 0


def test_a_coachs_broken_link_is_theirs_to_repair(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    mine = clara.move(booking["id"], at(3, 13))
    assert (mine["__typename"], mine["isViewers"], mine["problem"]) == ("ConnectionUnusable", True, {"code": "REVOKED"})
    theirs = max_.move(booking["id"], at(3, 13))
    assert (theirs["__typename"], theirs["isViewers"], theirs["problem"]) == ("ConnectionUnusable", False, None)
    assert len(world.live_uids()) == 1


# ---- the same key, and outcomes that are not known ---------------------------------------------------------------------


def test_the_same_key_gives_the_same_outcome(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    first = clara.move(booking["id"], at(3, 13))
    again = clara.move(booking["id"], at(3, 13))
    assert again == first
    assert world.calls("POST", "/reschedule") == 1
    other = clara.move(booking["id"], at(3, 14))
    assert other["__typename"] == "IdempotencyKeyReused"
    # the key is this user's and this mutation's
    assert max_.move(booking["id"], at(3, 14))["__typename"] == "BookingRescheduled"
    assert clara.cancel(booking["id"], key="k1")["__typename"] == "BookingCancelled"


def test_the_same_key_twenty_times_at_once_moves_once(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    gate, answers = threading.Barrier(20), []

    def move() -> None:
        gate.wait()
        answers.append(clara.move(booking["id"], at(3, 13))["__typename"])

    threads = [threading.Thread(target=move) for _ in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert set(answers) <= {"BookingRescheduled", "RescheduleInProgress"}
    assert world.calls("POST", "/reschedule") == 1
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "BookingRescheduled"
    assert [n["kind"] for n in max_.notifications()] == ["MOVED", "BOOKED"]


def test_an_answer_lost_after_the_work_was_done_ends_as_moved(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="POST", path=RESCHEDULE, effect={"kind": "drop", "when": "after"})
    moved = clara.move(booking["id"], at(3, 13))
    assert moved["__typename"] == "BookingRescheduled"
    assert moved["previousStart"] == "2027-03-02T09:00:00Z"
    assert clara.move(booking["id"], at(3, 13)) == moved
    world.jobs()
    assert world.live_uids() == [moved["booking"]["externalId"]]
    assert [n["kind"] for n in max_.notifications()] == ["MOVED", "BOOKED"]
    assert world.calls("POST", "/reschedule") == 1


@pytest.mark.parametrize(
    "effect",
    [{"kind": "malformed"}, {"kind": "status", "status": 500, "when": "after"}],
    ids=["malformed", "server error"],
)
def test_an_unreadable_answer_is_read_back(world: World, clara: Caller, max_: Caller, effect: dict[str, Any]) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="POST", path=RESCHEDULE, effect=effect)
    moved = clara.move(booking["id"], at(3, 13))
    done = effect["kind"] == "malformed"
    assert moved["__typename"] == ("BookingRescheduled" if done else "RescheduleInProgress")
    assert len(world.live_uids()) == 1


def test_a_lost_request_is_undone_only_after_the_quarantine(world: World, clara: Caller, max_: Caller) -> None:
    """The provider may still be working: a negative read-back counts only when it can no longer be."""
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="POST", path=RESCHEDULE, effect={"kind": "drop", "when": "before"})
    unknown = clara.move(booking["id"], at(3, 13))
    assert unknown["__typename"] == "RescheduleInProgress"
    operation = unknown["operation"]
    assert (operation["state"], operation["kind"]) == ("IN_PROGRESS", "MOVED")
    # the slot stays held, and nobody else may touch the booking
    blocked = max_.move(booking["id"], at(4, 13))
    assert (blocked["__typename"], blocked["blockedBy"]) == ("BookingNotReschedulable", ["OPERATION_IN_PROGRESS"])
    other = booked(world, clara, world.caller("Otto"), day=4, hour=9)
    assert clara.move(other["id"], at(3, 13), key="other")["conflicts"][0]["reason"] == "HELD"
    world.move_clock(seconds=35)
    world.jobs()
    assert clara.one(OPERATION, id=operation["id"])["state"] == "IN_PROGRESS"
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "RescheduleInProgress"
    world.move_clock(seconds=114)
    world.jobs()
    assert clara.one(OPERATION, id=operation["id"])["state"] == "IN_PROGRESS", "two writes and a renewal may lie between"
    world.move_clock(seconds=2)
    world.jobs()
    assert clara.one(OPERATION, id=operation["id"])["state"] == "UNDONE"
    assert max_.one(OPERATION, id=operation["id"]) is None
    same = clara.move(booking["id"], at(3, 13))
    assert (same["__typename"], same["retryable"]) == ("ProviderFailure", False)
    # the hold ended with the operation: the slot is anybody's again
    assert clara.move(other["id"], at(3, 13), key="other again")["__typename"] == "BookingRescheduled"
    assert clara.move(booking["id"], at(3, 14), key="new")["__typename"] == "BookingRescheduled"
    assert len(world.live_uids()) == 2


def test_what_was_done_late_is_found_by_the_completer(world: World, clara: Caller, max_: Caller) -> None:
    """The answer is lost, and so are the read-back and the webhook; the completer finds the move."""
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="POST", path=RESCHEDULE, effect={"kind": "drop", "when": "after"})
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    blind = world.sandbox.fault(method="GET", path="/calcom/v2/bookings/*", effect={"kind": "status", "status": 503}, times=None)
    unknown = clara.move(booking["id"], at(3, 13))
    assert unknown["__typename"] == "RescheduleInProgress"
    blind.remove()
    world.rt.transport._breakers.clear()
    world.move_clock(seconds=35)
    world.jobs()
    assert clara.one(OPERATION, id=unknown["operation"]["id"])["state"] == "COMPLETED"
    moved = clara.move(booking["id"], at(3, 13))
    assert (moved["__typename"], moved["booking"]["start"]) == ("BookingRescheduled", "2027-03-03T13:00:00Z")
    assert len(world.live_uids()) == 1
    assert [n["kind"] for n in max_.notifications()] == ["MOVED", "BOOKED"]


def test_a_webhook_in_mid_flight_joins_the_operation(world: World, clara: Caller, max_: Caller) -> None:
    """Cal.com sends its webhook before it answers us, and we may apply it first."""
    booking = booked(world, clara, max_)
    held = world.sandbox.fault(method="POST", path=RESCHEDULE, effect={"kind": "hold", "when": "after"})
    answers: list[dict[str, Any]] = []
    mover = threading.Thread(target=lambda: answers.append(clara.move(booking["id"], at(3, 13), reason="Train")))
    mover.start()
    assert held.wait_held(1, 10)
    world.jobs()
    (seen,) = clara.bookings()
    assert (seen["start"], seen["id"]) == ("2027-03-03T13:00:00Z", booking["id"])
    held.release()
    mover.join()
    (moved,) = answers
    assert moved["__typename"] == "BookingRescheduled"
    assert moved["previousStart"] == "2027-03-02T09:00:00Z"
    change = moved["booking"]["history"]["edges"][0]["node"]
    assert (change["kind"], change["source"], change["by"], change["reason"]) == ("MOVED", "CONVENE", "Clara", "Train")
    assert [n["kind"] for n in max_.notifications()] == ["MOVED", "BOOKED"]


def test_a_process_that_died_before_sending_leaves_nothing(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    row = Booking.get_by_id(booking["id"])
    Operation.create(
        actor=clara_person(clara), booking=row.id, kind="MOVED", mutation="rescheduleBooking", input_hash="x",
        from_external_id=row.external_id, hold_start=at(3, 13), hold_end=at(3, 13, 30), due_at=world.clock.now(),
    )  # fmt: skip
    assert clara.move(booking["id"], at(4, 13))["blockedBy"] == ["OPERATION_IN_PROGRESS"]
    world.jobs()
    assert clara.move(booking["id"], at(4, 13))["__typename"] == "BookingRescheduled"


def test_a_request_that_dawdled_is_given_up_before_it_sends(world: World, clara: Caller, max_: Caller) -> None:
    """The completer takes an unsent operation for a dead process's; the living one must see that and send nothing."""
    booking = booked(world, clara, max_)
    held = world.sandbox.fault(method="GET", path="/calcom/v2/slots", effect={"kind": "hold", "when": "after"})
    answers: list[dict[str, Any]] = []
    mover = threading.Thread(target=lambda: answers.append(clara.move(booking["id"], at(3, 13))))
    mover.start()
    assert held.wait_held(1, 10)
    world.move_clock(seconds=61)
    world.jobs()
    held.release()
    mover.join()
    assert (answers[0]["__typename"], answers[0]["code"], answers[0]["retryable"]) == ("ProviderFailure", "TIMED_OUT", True)
    assert world.calls("POST", "/reschedule") == 0
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "BookingRescheduled"


def clara_person(clara: Caller) -> str:
    return str(
        next(e["host"]["id"] for e in [edge["node"] for edge in clara.one("{ eventTypes { edges { node { host { id } } } } }")["edges"]])
    )


def test_the_provider_refuses_what_our_check_let_through(world: World, clara: Caller, max_: Caller) -> None:
    """Somebody books the slot between our look and our call."""
    booking = booked(world, clara, max_)
    held = world.sandbox.fault(method="POST", path=RESCHEDULE, effect={"kind": "hold", "when": "before"})
    answers: list[dict[str, Any]] = []
    mover = threading.Thread(target=lambda: answers.append(clara.move(booking["id"], at(3, 13))))
    mover.start()
    assert held.wait_held(1, 10)
    world.book(clara, at(3, 13), name="Quick")
    held.release()
    mover.join()
    assert answers[0]["__typename"] == "SlotUnavailable"
    assert clara.move(booking["id"], at(3, 13)) == answers[0]
    assert clara.one(ONE_BOOKING, id=booking["id"])["start"] == "2027-03-02T09:00:00Z"


def test_moved_at_the_provider_meanwhile_is_stale(world: World, clara: Caller, max_: Caller) -> None:
    uid_before = booked(world, clara, max_)
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    answer = httpx.post(
        f"{world.sandbox.url}/calcom/v2/bookings/{uid_before['externalId']}/reschedule",
        json={"start": iso(at(4, 9))},
        headers={"cal-api-version": "2026-02-25"},
    )
    assert answer.status_code == 201
    stale = clara.move(uid_before["id"], at(3, 13))
    assert stale["__typename"] == "StaleBooking"
    assert clara.bookings()[0]["start"] == "2027-03-04T09:00:00Z"
    assert len(world.live_uids()) == 1


def test_a_rate_limit_frees_the_key_and_says_when(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault(
        method="POST",
        path=RESCHEDULE,
        effect={"kind": "status", "status": 429, "headers": {"X-RateLimit-Reset-Default": "60", "X-RateLimit-Remaining-Default": "0"}},
    )
    limited = clara.move(booking["id"], at(3, 13))
    assert (limited["__typename"], limited["code"], limited["retryAt"]) == ("ProviderFailure", "RATE_LIMITED", "2027-03-01T08:01:00Z")
    world.move_clock(seconds=61)
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "BookingRescheduled"


# ---- cancelling ----------------------------------------------------------------------------------------------------------


def test_cancelling_tells_both_and_is_idempotent(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    gone = max_.cancel(booking["id"], reason="Ill")
    assert (gone["__typename"], gone["booking"]["status"]) == ("BookingCancelled", "CANCELLED")
    assert sorted(p["name"] for p in gone["notificationsQueuedFor"]) == ["Clara", "Max"]
    assert max_.cancel(booking["id"], reason="Ill") == gone
    assert clara.cancel(booking["id"], key="another")["__typename"] == "BookingCancelled"
    world.jobs()
    assert world.live_uids() == []
    assert world.calls("POST", "/cancel") == 1
    assert [n["kind"] for n in clara.notifications()] == ["CANCELLED", "BOOKED"]
    (seen,) = clara.bookings()
    assert (seen["cancellationReason"], seen["history"]["edges"][0]["node"]["by"]) == ("Ill", "Max")


def test_a_lost_answer_to_a_cancellation_is_read_back(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="POST", path="/calcom/v2/bookings/*/cancel", effect={"kind": "drop", "when": "after"})
    assert clara.cancel(booking["id"])["__typename"] == "BookingCancelled"
    assert world.calls("POST", "/cancel") == 1
    assert world.live_uids() == []


def test_a_cancellation_that_never_arrived_is_undone(world: World, clara: Caller, max_: Caller) -> None:
    booking = booked(world, clara, max_)
    world.sandbox.fault(method="POST", path="/calcom/v2/bookings/*/cancel", effect={"kind": "drop", "when": "before"})
    unknown = clara.cancel(booking["id"])
    assert unknown["__typename"] == "CancelInProgress"
    world.move_clock(seconds=151)
    world.jobs()
    assert clara.one(OPERATION, id=unknown["operation"]["id"])["state"] == "UNDONE"
    assert clara.bookings()[0]["status"] == "CONFIRMED"
