"""The table of DESIGN 10: who moves, whose calendars are asked, what is offered, answered and told. Each row at each pair of providers.

Clara coaches in Berlin, Max attends from Kolkata. On Wednesday the third Max has something from 09:00 to 09:30 UTC and Clara from
10:00 to 10:30; he works until 11:30 UTC, she from 08:00 to 16:00. Their booking stands on Tuesday at 09:00 UTC.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from calendly_people import calendly_account, calendly_type, hear, invite
from harness import AVAILABILITY, DISCONNECT, REFRESH, Caller, World, at, iso

from models import Hold, Operation

CALCOM, CALENDLY = "CAL_COM", "CALENDLY"
MIXED = [(CALENDLY, CALCOM), (CALCOM, CALENDLY)]
PAIRS = [(CALCOM, CALCOM), *MIXED]
HALF_HOUR = timedelta(minutes=30)
LABEL = {CALCOM: "Cal.com", CALENDLY: "Calendly"}
FOLDER = {CALCOM: "calcom", CALENDLY: "calendly"}
SLOTS = {CALCOM: "/calcom/v2/slots", CALENDLY: "/calendly/api/event_type_available_times"}
BUSY = {CALCOM: "/calcom/v2/calendars/busy-times", CALENDLY: "/calendly/api/user_busy_times"}
WRITES = {CALCOM: "/calcom/v2/bookings/", CALENDLY: "/calendly/api/invitees"}
DOWN: dict[str, Any] = {"kind": "status", "status": 503}

OLD, NEW = at(2, 9), at(3, 8, 30)
MAXS, CLARAS = at(3, 9), at(3, 10)
MUTUAL = [iso(at(3, *time)) for time in ((8, 0), (8, 30), (9, 30), (10, 30), (11, 0))]
COACHS = [iso(at(3, *time)) for time in ((8, 0), (8, 30), (9, 0), (9, 30), (10, 30), (11, 0), (11, 30), (12, 0), (12, 30))]
IN_BERLIN = "from Tue 2 Mar 2027, 10:00 (Europe/Berlin) to Wed 3 Mar 2027, 09:30 (Europe/Berlin)"
IN_KOLKATA = "from Tue 2 Mar 2027, 14:30 (Asia/Kolkata) to Wed 3 Mar 2027, 14:00 (Asia/Kolkata)"
CHECK = "Make sure this time works for you. Let us know if you need to change it."
NO_ACCESS = (
    "We can't check your calendar for conflicts without access. The times shown are based on the coach's availability. "
    "Want to connect your {} account now?"
)
UNVERIFIED = """mutation($input: RescheduleBookingInput!) { rescheduleBooking(input: $input) {
  ... on SourceUnverified { message participant { name } role canAccept } } }"""


class Pair:
    """A coach at one provider, a mentee whose account is at one, their booking, and what the third of March looks like."""

    def __init__(self, world: World, there: str, here: str) -> None:
        self.world, self.there, self.here = world, there, here
        self.clara = self._coach()
        self.max = world.caller("Max", time_zone="Asia/Kolkata")
        self.max.gql("{ viewer { id } }")
        self._account(self.max, here)
        self.title = "Session between Clara and Max" if there == CALCOM else "Session"
        self.book(OLD)
        (booking,) = self.clara.bookings()
        assert booking["title"] == self.title
        self.id = str(booking["id"])
        self.taken(self.max, here, MAXS)
        self.taken(self.clara, there, CLARAS)

    def _coach(self) -> Caller:
        person = self.world.caller("Clara", time_zone="Europe/Berlin")
        self._account(person, self.there)
        return person.link(provider=self.there)

    def _account(self, person: Caller, provider: str) -> None:
        if provider == CALCOM:
            self.world.account(person, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
        else:
            calendly_account(self.world, person, [{"name": "Session", "duration": 30}])

    def book(self, start: datetime, coach: Caller | None = None) -> None:
        """Max books outside with Clara, or with another coach at Cal.com."""
        if coach is not None or self.there == CALCOM:
            self.world.book(coach or self.clara, start, name="Max", email=self.max.email)
        else:
            invite(self.world, self.clara, "Session", start, "Max", email=self.max.email)
        hear(self.world)

    def taken(self, person: Caller, provider: str, start: datetime) -> None:
        self.world.sandbox_call(f"{FOLDER[provider]}/busy", email=person.email, start=iso(start), end=iso(start + HALF_HOUR))

    # ---- links ------------------------------------------------------------------------------------------------------------

    def link(self) -> None:
        self.max.link(provider=self.here)

    def revoke(self, person: Caller, provider: str) -> None:
        """At the provider; Convene does not know yet."""
        self.world.sandbox_call(f"{FOLDER[provider]}/tokens/revoke", email=person.email)

    def expire(self) -> None:
        """Every access token of both, from now on."""
        for person, provider in ((self.clara, self.there), (self.max, self.here)):
            self.world.sandbox_call(f"{FOLDER[provider]}/tokens/expire", email=person.email)

    def break_link(self) -> None:
        """Max's link is there and needs reconnecting."""
        self.link()
        self.revoke(self.max, self.here)
        assert self.max.one(REFRESH, force=True, provider=self.here)["__typename"] == "ConnectionUnusable"

    def unlink(self) -> None:
        assert self.max.one(DISCONNECT, provider=self.here)["__typename"] == "ProviderUnlinked"

    def lose(self, paths: dict[str, str], provider: str) -> Any:
        return self.world.sandbox.fault(DOWN, method="GET", path=paths[provider], times=None)

    # ---- asking -----------------------------------------------------------------------------------------------------------

    def availability(self, person: Caller, **more: Any) -> dict[str, Any]:
        """Wednesday from 08:00 to 13:00 UTC."""
        window = {"start": iso(at(3, 8)), "end": iso(at(3, 13))}
        found: dict[str, Any] = person.one(AVAILABILITY, input={"target": {"bookingId": self.id}, "window": window, **more})
        assert found["__typename"] == "Availability", found
        return found

    def sources(self, found: dict[str, Any]) -> list[tuple[str, str | None, str]]:
        return [(one["participant"]["name"], one["provider"], one["state"]) for one in found["sources"]]

    def forget_requests(self) -> None:
        hear(self.world)
        self.world.sandbox.world.requests.clear()

    def asked(self) -> tuple[int, int]:
        """How often the coach's slots and the mentee's busy times were read."""
        return self.world.calls("GET", SLOTS[self.there]), self.world.calls("GET", BUSY[self.here])

    def writes(self) -> int:
        return self.world.calls("POST", WRITES[self.there])

    def move(self, person: Caller, start: datetime, key: str = "k1", **more: Any) -> dict[str, Any]:
        return person.move(self.id, start, key, **more)

    def while_asking(self, person: Caller, then: Callable[[], object]) -> dict[str, Any]:
        """The move to NEW, during whose reading of the coach's slots something happens."""
        held = self.world.sandbox.fault({"kind": "hold", "when": "after"}, method="GET", path=SLOTS[self.there])
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(self.move, person, NEW)
            assert held.wait_held()
            then()
            held.release()
            return moving.result()

    # ---- what became of it --------------------------------------------------------------------------------------------------

    def standing(self) -> list[str]:
        """When what stands at the coach's provider begins."""
        known = self.world.sandbox.world
        if self.there == CALCOM:
            return [iso(row.start) for row in known.calcom.bookings.values() if row.status in {"accepted", "pending"}]
        return [iso(row.start) for row in known.calendly.events.values() if row.status == "active"]

    def assert_stands(self, start: datetime) -> None:
        """One booking, here for both and there, at that time; nothing is held and nothing under way."""
        hear(self.world)
        assert self.standing() == [iso(start)]
        for person in (self.clara, self.max):
            assert [(one["id"], one["start"], one["status"]) for one in person.bookings()] == [(self.id, iso(start), "CONFIRMED")]
        self.assert_nothing_open()

    def assert_nothing_open(self) -> None:
        assert (Hold.select().count(), Operation.select().where(Operation.open).count()) == (0, 0)

    def assert_untouched(self) -> None:
        assert self.writes() == 0
        self.assert_stands(OLD)
        assert (news_of(self.clara), news_of(self.max)) == ([], [])


def news_of(person: Caller) -> list[dict[str, Any]]:
    """What they were told since the booking was made, newest first."""
    fields = ("kind", "title", "body", "previousStart", "newStart", "by")
    return [{name: one[name] for name in fields} for one in person.notifications() if one["kind"] not in {"BOOKED", "RECONNECT_NEEDED"}]


def moved_news(pair: Pair, body: str, by: str | None) -> list[dict[str, Any]]:
    return [
        {
            "kind": "MOVED",
            "title": f"Moved: {pair.title}",
            "body": body,
            "previousStart": iso(OLD),
            "newStart": iso(NEW),
            "by": by,
        }
    ]


def brief(answer: dict[str, Any]) -> tuple[str, list[str], list[tuple[str, str, str | None]], list[str]]:
    """Of a move: its type, whose calendars were asked, the warnings, who is told."""
    assert answer["__typename"] == "BookingRescheduled", answer
    assert (answer["booking"]["start"], answer["previousStart"], answer["previousEnd"]) == (iso(NEW), iso(OLD), iso(at(2, 9, 30)))
    return (
        answer["__typename"],
        [one["name"] for one in answer["checked"]],
        [(one["code"], one["message"], one["connectProvider"]) for one in answer["warnings"]],
        sorted(one["name"] for one in answer["notificationsQueuedFor"]),
    )


def warned(found: dict[str, Any]) -> list[str]:
    return [one["code"] for one in found["warnings"]]


def conflict(name: str, role: str, reason: str, start: datetime) -> dict[str, Any]:
    return {"participant": {"name": name}, "role": role, "reason": reason, "start": iso(start), "end": iso(start + HALF_HOUR)}


def named(pair: tuple[str, str]) -> str:
    return f"coach at {LABEL[pair[0]]}, mentee at {LABEL[pair[1]]}"


ALL_PAIRS = pytest.mark.parametrize("pair", PAIRS, ids=named, indirect=True)


BOTH_WAYS = pytest.mark.parametrize("pair", MIXED, ids=named, indirect=True)


@pytest.fixture(params=MIXED[:1], ids=named)
def pair(request: pytest.FixtureRequest, world: World) -> Iterator[Pair]:
    yield Pair(world, *request.param)
    world.sandbox.settle()


@pytest.fixture(params=["never linked", "needs reconnecting"])
def unlinked(request: pytest.FixtureRequest, pair: Pair) -> Pair:
    """Max's calendar cannot be looked at."""
    if request.param == "needs reconnecting":
        pair.break_link()
    return pair


@pytest.fixture
def linked(pair: Pair) -> Pair:
    pair.link()
    return pair


BY_BOTH = pytest.mark.parametrize("mover", ["clara", "max"], ids=["the coach moves", "the mentee moves"])


# ---- the four rows ----------------------------------------------------------------------------------------------------------


@ALL_PAIRS
def test_a_coach_moves_and_the_mentee_is_linked(linked: Pair) -> None:
    pair = linked
    offered = pair.availability(pair.clara)
    assert (offered["starts"], offered["warnings"]) == (MUTUAL, [])
    assert pair.sources(offered) == [("Clara", pair.there, "FRESH"), ("Max", pair.here, "FRESH")]
    pair.forget_requests()
    assert brief(pair.move(pair.clara, NEW)) == ("BookingRescheduled", ["Clara", "Max"], [], ["Clara", "Max"])
    assert pair.asked() == (1, 1)
    pair.assert_stands(NEW)
    assert news_of(pair.clara) == moved_news(pair, f"You moved “{pair.title}” {IN_BERLIN}.", None)
    assert news_of(pair.max) == moved_news(pair, f"Clara moved “{pair.title}” {IN_KOLKATA}.", "Clara")
    # and the mentee may move it again
    assert pair.move(pair.max, at(3, 11), "again")["__typename"] == "BookingRescheduled"
    pair.assert_stands(at(3, 11))


@ALL_PAIRS
def test_a_coach_moves_and_the_mentee_is_not_linked(unlinked: Pair) -> None:
    pair = unlinked
    offered = pair.availability(pair.clara)
    assert (offered["starts"], offered["warnings"]) == (COACHS, [])
    assert pair.sources(offered)[0] == ("Clara", pair.there, "FRESH")
    assert [state for _, _, state in pair.sources(offered)[1:]] == ["NOT_CONNECTED"]
    pair.forget_requests()
    assert brief(pair.move(pair.clara, NEW)) == ("BookingRescheduled", ["Clara"], [], ["Clara", "Max"])
    assert pair.asked() == (1, 0)
    pair.assert_stands(NEW)
    assert news_of(pair.clara) == moved_news(pair, f"You moved “{pair.title}” {IN_BERLIN}.", None)
    assert news_of(pair.max) == moved_news(pair, f"Clara moved “{pair.title}” {IN_KOLKATA}. {CHECK}", "Clara")


@ALL_PAIRS
def test_a_mentee_moves_and_is_linked(linked: Pair) -> None:
    pair = linked
    offered = pair.availability(pair.max)
    assert (offered["starts"], offered["warnings"]) == (MUTUAL, [])
    assert pair.sources(offered) == [("Clara", pair.there, "FRESH"), ("Max", pair.here, "FRESH")]
    pair.forget_requests()
    assert brief(pair.move(pair.max, NEW)) == ("BookingRescheduled", ["Clara", "Max"], [], ["Clara", "Max"])
    assert pair.asked() == (1, 1)
    pair.assert_stands(NEW)
    assert news_of(pair.clara) == moved_news(pair, f"Max moved “{pair.title}” {IN_BERLIN}.", "Max")
    assert news_of(pair.max) == moved_news(pair, f"You moved “{pair.title}” {IN_KOLKATA}.", None)


@ALL_PAIRS
def test_a_mentee_moves_and_is_not_linked(unlinked: Pair) -> None:
    pair = unlinked
    offered = pair.availability(pair.max)
    (warning,) = offered["warnings"]
    label = LABEL[CALENDLY if warning["connectProvider"] == CALENDLY else CALCOM]
    assert (offered["starts"], warning["code"], warning["message"]) == (COACHS, "MENTEE_NOT_CONNECTED", NO_ACCESS.format(label))
    assert [state for _, _, state in pair.sources(offered)] == ["FRESH", "NOT_CONNECTED"]
    pair.forget_requests()
    told = [(warning["code"], warning["message"], warning["connectProvider"])]
    assert brief(pair.move(pair.max, NEW)) == ("BookingRescheduled", ["Clara"], told, ["Clara", "Max"])
    assert pair.asked() == (1, 0)
    pair.assert_stands(NEW)
    assert news_of(pair.clara) == moved_news(pair, f"Max moved “{pair.title}” {IN_BERLIN}.", "Max")
    assert news_of(pair.max) == moved_news(pair, f"You moved “{pair.title}” {IN_KOLKATA}.", None)


@BOTH_WAYS
def test_who_never_linked_is_asked_to_connect_the_provider_of_the_booking(pair: Pair) -> None:
    (warning,) = pair.availability(pair.max)["warnings"]
    assert (warning["connectProvider"], warning["message"]) == (pair.there, NO_ACCESS.format(LABEL[pair.there]))


@BOTH_WAYS
def test_whose_link_broke_is_asked_to_connect_that_one_again(pair: Pair) -> None:
    """Another provider's account would be no help: they may not have one."""
    pair.break_link()
    (warning,) = pair.availability(pair.max)["warnings"]
    assert (warning["connectProvider"], warning["message"]) == (pair.here, NO_ACCESS.format(LABEL[pair.here]))


# ---- the mentee has something else ---------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_the_mentees_calendar_is_told_to_the_coach_who_accepts_it(linked: Pair) -> None:
    pair = linked
    pair.forget_requests()
    refused = pair.move(pair.clara, MAXS)
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", True)
    assert refused["message"] == "The mentee has something else at that time."
    assert refused["conflicts"] == [conflict("Max", "MENTEE", "OTHER_PARTY_UNAVAILABLE", MAXS)]
    assert [one["start"] for one in refused["alternatives"]] == [
        iso(at(3, 9, 30)), iso(at(3, 10, 30)), iso(at(3, 11)), iso(at(4, 8)), iso(at(4, 8, 30)),
    ]  # fmt: skip
    pair.assert_untouched()
    accepted = pair.move(pair.clara, MAXS, acceptConflicts=True)
    assert (accepted["__typename"], warned(accepted)) == ("BookingRescheduled", ["MENTEE_CONFLICT"])
    assert accepted["warnings"][0]["message"] == "The mentee has something else at that time."
    assert [one["name"] for one in accepted["checked"]] == ["Clara", "Max"]
    pair.assert_stands(MAXS)


def test_a_linked_mentees_own_calendar_forbids_whatever_they_accept(linked: Pair) -> None:
    pair = linked
    pair.forget_requests()
    for key, accept in (("k1", False), ("k2", True)):
        refused = pair.move(pair.max, MAXS, key, acceptConflicts=accept)
        assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
        assert refused["message"] == "You have something else at that time."
        assert refused["conflicts"] == [conflict("Max", "MENTEE", "BUSY", MAXS)]
        assert len(refused["alternatives"]) == 5
    pair.assert_untouched()


def with_another_coach(pair: Pair) -> datetime:
    """Max has a booking with Carl on Wednesday at eleven."""
    carl = pair.world.coach("Carl")
    pair.book(at(3, 11), carl)
    pair.forget_requests()
    return at(3, 11)


def assert_only_old_stands(pair: Pair) -> None:
    assert pair.writes() == 0
    assert [one["start"] for one in pair.clara.bookings()] == [iso(OLD)]
    pair.assert_nothing_open()
    assert (news_of(pair.clara), news_of(pair.max)) == ([], [])


def test_another_booking_of_the_mentees_is_told_to_the_coach_who_accepts_it(pair: Pair) -> None:
    taken = with_another_coach(pair)
    refused = pair.move(pair.clara, taken)
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", True)
    assert refused["conflicts"] == [conflict("Max", "MENTEE", "OTHER_PARTY_UNAVAILABLE", taken)]
    assert_only_old_stands(pair)
    accepted = pair.move(pair.clara, taken, acceptConflicts=True)
    assert (accepted["__typename"], warned(accepted)) == ("BookingRescheduled", ["MENTEE_CONFLICT"])
    pair.assert_nothing_open()


def test_another_booking_of_a_linked_mentees_forbids_their_own_move(linked: Pair) -> None:
    pair = linked
    taken = with_another_coach(pair)
    for key, accept in (("k1", False), ("k2", True)):
        refused = pair.move(pair.max, taken, key, acceptConflicts=accept)
        assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
        assert refused["conflicts"] == [conflict("Max", "MENTEE", "BOOKED", taken)]
    assert_only_old_stands(pair)


def test_an_unlinked_mentee_may_accept_a_clash_with_another_booking_of_theirs(pair: Pair) -> None:
    taken = with_another_coach(pair)
    refused = pair.move(pair.max, taken)
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", True)
    assert refused["conflicts"] == [conflict("Max", "MENTEE", "BOOKED", taken)]
    assert_only_old_stands(pair)
    accepted = pair.move(pair.max, taken, acceptConflicts=True)
    assert (accepted["__typename"], warned(accepted)) == ("BookingRescheduled", ["MENTEE_NOT_CONNECTED", "MENTEE_CONFLICT"])
    pair.assert_nothing_open()


# ---- the coach has something else ----------------------------------------------------------------------------------------------


@BY_BOTH
def test_the_coachs_calendar_forbids_whatever_anybody_accepts(linked: Pair, mover: str) -> None:
    pair, person = linked, getattr(linked, mover)
    pair.forget_requests()
    reason = "BUSY" if mover == "clara" else "OTHER_PARTY_UNAVAILABLE"
    for key, accept in (("k1", False), ("k2", True)):
        refused = pair.move(person, CLARAS, key, acceptConflicts=accept)
        assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
        assert refused["message"] == "The coach is not available at that time."
        assert refused["conflicts"] == [conflict("Clara", "COACH", reason, CLARAS)]
        assert [one["start"] for one in refused["alternatives"]][:2] == [iso(at(3, 10, 30)), iso(at(3, 11))]
    pair.assert_untouched()


@BY_BOTH
def test_outside_the_mentees_hours_it_is_not_offered_and_a_move_says_so(linked: Pair, mover: str) -> None:
    pair, late = linked, at(3, 12)
    assert iso(late) not in pair.availability(pair.max)["starts"]
    moved = pair.move(getattr(pair, mover), late)
    assert (moved["__typename"], warned(moved)) == ("BookingRescheduled", ["OUTSIDE_OVERLAP"])
    pair.assert_stands(late)


# ---- a calendar cannot be asked --------------------------------------------------------------------------------------------------


LOSING = pytest.mark.parametrize(("mover", "seen"), [("clara", True), ("max", False)], ids=["the coach moves, cached", "the mentee moves"])


@BOTH_WAYS
@LOSING
def test_the_coachs_calendar_is_lost(linked: Pair, mover: str, seen: bool) -> None:
    """What was known of it before does not do."""
    pair, person = linked, getattr(linked, mover)
    if seen:
        pair.availability(person)
    lost = pair.lose(SLOTS, pair.there)
    pair.forget_requests()
    refused = pair.move(person, NEW, acceptConflicts=True)
    assert (refused["__typename"], refused["role"], refused["canAccept"]) == ("SourceUnverified", "COACH", False)
    pair.assert_untouched()
    lost.remove()
    # the key was left free
    assert pair.move(person, NEW)["__typename"] == "BookingRescheduled"
    pair.assert_stands(NEW)


@BOTH_WAYS
@LOSING
def test_the_mentees_calendar_is_lost_and_the_risk_accepted(linked: Pair, mover: str, seen: bool) -> None:
    pair, person = linked, getattr(linked, mover)
    if seen:
        pair.availability(person)
    pair.lose(BUSY, pair.here)
    pair.forget_requests()
    asked = {"bookingId": pair.id, "newStart": iso(NEW), "idempotencyKey": "k1"}
    whose = "The mentee's" if mover == "clara" else "Your"
    assert person.one(UNVERIFIED, input=asked) == {
        "message": f"{whose} calendar cannot be asked right now. Try again in a moment, or accept the risk with acceptConflicts.",
        "participant": {"name": "Max"},
        "role": "MENTEE",
        "canAccept": True,
    }
    pair.assert_untouched()
    accepted = brief(pair.move(person, NEW, acceptConflicts=True))
    risk = "The mentee's calendar could not be asked; the risk was accepted."
    assert accepted == ("BookingRescheduled", ["Clara"], [("SOURCE_UNAVAILABLE", risk, None)], ["Clara", "Max"])
    pair.assert_stands(NEW)


# ---- in mid-flow -----------------------------------------------------------------------------------------------------------------


def test_the_mentee_unlinks_between_looking_and_moving(linked: Pair) -> None:
    pair = linked
    assert pair.availability(pair.max)["starts"] == MUTUAL
    pair.unlink()
    pair.forget_requests()
    moved = pair.move(pair.max, MAXS)
    assert (moved["__typename"], warned(moved)) == ("BookingRescheduled", ["MENTEE_NOT_CONNECTED"])
    assert ([one["name"] for one in moved["checked"]], pair.asked()) == (["Clara"], (1, 0))
    pair.assert_stands(MAXS)


@BY_BOTH
def test_the_mentee_unlinks_while_the_calendars_are_asked(linked: Pair, mover: str) -> None:
    pair = linked
    pair.forget_requests()
    moved = pair.while_asking(getattr(pair, mover), pair.unlink)
    assert (moved["__typename"], [one["name"] for one in moved["checked"]]) == ("BookingRescheduled", ["Clara"])
    pair.assert_stands(NEW)


@BOTH_WAYS
def test_the_mentees_link_turns_out_to_be_dead_in_a_coachs_move(linked: Pair) -> None:
    """Nobody may be told that a calendar was checked which could not be read."""
    pair = linked
    pair.revoke(pair.max, pair.here)
    moved = pair.move(pair.clara, MAXS)
    assert (moved["__typename"], [one["name"] for one in moved["checked"]]) == ("BookingRescheduled", ["Clara"])
    pair.assert_stands(MAXS)
    assert news_of(pair.max)[0]["body"].endswith(CHECK)


def test_the_mentees_link_turns_out_to_be_dead_in_their_own_move(linked: Pair) -> None:
    pair = linked
    pair.revoke(pair.max, pair.here)
    assert warned(pair.availability(pair.max, maxAgeSeconds=0)) == ["MENTEE_NOT_CONNECTED"]
    moved = pair.move(pair.max, MAXS)
    assert (moved["__typename"], [one["name"] for one in moved["checked"]]) == ("BookingRescheduled", ["Clara"])
    assert warned(moved) == ["MENTEE_NOT_CONNECTED"]
    pair.assert_stands(MAXS)


def test_the_mentees_own_move_finds_the_dead_link_itself(linked: Pair) -> None:
    """Nothing was asked before: the warning is in the answer of the move all the same."""
    pair = linked
    pair.revoke(pair.max, pair.here)
    moved = pair.move(pair.max, NEW)
    assert (moved["__typename"], [one["name"] for one in moved["checked"]]) == ("BookingRescheduled", ["Clara"])
    assert warned(moved) == ["MENTEE_NOT_CONNECTED"]
    pair.assert_stands(NEW)


@BOTH_WAYS
@BY_BOTH
def test_the_coachs_link_turns_out_to_be_dead(linked: Pair, mover: str) -> None:
    pair = linked
    pair.forget_requests()
    pair.revoke(pair.clara, pair.there)
    refused = pair.move(getattr(pair, mover), NEW)
    assert refused["__typename"] == "ConnectionUnusable"
    assert (refused["isViewers"], refused["provider"]) == (mover == "clara", pair.there)
    assert pair.writes() == 0
    assert pair.standing() == [iso(OLD)]
    pair.assert_nothing_open()
    assert (news_of(pair.max), news_of(pair.clara)) == ([], [])


@BY_BOTH
def test_tokens_expire_between_looking_and_moving(linked: Pair, mover: str) -> None:
    pair = linked
    assert pair.availability(getattr(pair, mover))["starts"] == MUTUAL
    pair.expire()
    assert brief(pair.move(getattr(pair, mover), NEW)) == ("BookingRescheduled", ["Clara", "Max"], [], ["Clara", "Max"])
    pair.assert_stands(NEW)


@BOTH_WAYS
@BY_BOTH
def test_tokens_expire_while_the_calendars_are_asked(linked: Pair, mover: str) -> None:
    pair = linked
    assert brief(pair.while_asking(getattr(pair, mover), pair.expire)) == ("BookingRescheduled", ["Clara", "Max"], [], ["Clara", "Max"])
    pair.assert_stands(NEW)


@BY_BOTH
def test_the_coach_unlinks_between_looking_and_moving(linked: Pair, mover: str) -> None:
    """It goes on at the provider's own page."""
    pair = linked
    pair.availability(getattr(pair, mover))
    assert pair.clara.one(DISCONNECT, provider=pair.there)["__typename"] == "ProviderUnlinked"
    pair.forget_requests()
    answer = pair.move(getattr(pair, mover), NEW)
    assert (answer["__typename"], bool(answer["url"])) == ("RescheduleOnProviderPage", True)
    assert pair.writes() == 0
    assert pair.standing() == [iso(OLD)]
    pair.assert_nothing_open()


@BOTH_WAYS
def test_the_slot_is_taken_at_the_provider_while_it_is_moved_there(linked: Pair) -> None:
    """The provider has the last word; its refusal is told as any other conflict, with other times."""
    pair = linked

    def somebody_books() -> None:
        if pair.there == CALCOM:
            pair.world.book(pair.clara, NEW, name="Otto")
        else:
            kind, invitee = (
                calendly_type(pair.world, pair.clara, "Session").id,
                {"name": "Otto", "email": "otto@example.test", "timeZone": "UTC"},
            )
            pair.world.sandbox_call("calendly/bookings", eventType=kind, start=iso(NEW), invitee=invitee)

    refused = pair.while_asking(pair.max, somebody_books)
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
    assert refused["conflicts"] == [conflict("Clara", "COACH", "OTHER_PARTY_UNAVAILABLE", NEW)]
    assert len(refused["alternatives"]) == 5
    hear(pair.world)
    assert sorted(pair.standing()) == [iso(OLD), iso(NEW)]
    assert [(one["id"], one["start"]) for one in pair.max.bookings()] == [(pair.id, iso(OLD))]
    assert news_of(pair.max) == []
    pair.assert_nothing_open()
