"""Times that work for both, whatever providers they are at: what is looked at, how it is told, and that it can really be had.

Clara coaches in Berlin, from 08:00 to 16:00 UTC; Max attends from London, from 09:00 to 17:00 UTC. Starts are every half hour.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from calendly_people import calendly_account, hear, invite, invitee_row, move_there
from harness import AVAILABILITY, DISCONNECT, EVENT_TYPES, Caller, World, at, iso

CALCOM, CALENDLY = "CAL_COM", "CALENDLY"
FOLDER = {CALCOM: "calcom", CALENDLY: "calendly"}
SLOTS = {CALCOM: "/calcom/v2/slots", CALENDLY: "/calendly/api/event_type_available_times"}
BUSY = {CALCOM: "/calcom/v2/calendars/busy-times", CALENDLY: "/calendly/api/user_busy_times"}
MIXED = pytest.mark.parametrize(("there", "here"), [(CALCOM, CALENDLY), (CALENDLY, CALCOM)], ids=["coach at Cal.com", "coach at Calendly"])
EACH = pytest.mark.parametrize("provider", [CALCOM, CALENDLY])
HALF_HOUR = timedelta(minutes=30)
ALWAYS = [{"days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"], "startTime": "00:00", "endTime": "23:59"}]


@pytest.fixture(autouse=True)
def _all_deliveries_have_arrived(world: World) -> Iterator[None]:
    """Calendly's go out after the answer: one must not meet a database that is being closed."""
    yield
    world.sandbox.settle()


def account(world: World, person: Caller, provider: str, kind: dict[str, Any] | None = None, **more: Any) -> Caller:
    """An account with an event type of half an hour, and a link to it."""
    if provider == CALCOM:
        world.account(person, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30, **(kind or {})}], **more)
    else:
        calendly_account(world, person, [{"name": "Session", "duration": 30, **(kind or {})}], **more)
    return person.link(provider=provider)


def clara_at(world: World, *providers: str, **more: Any) -> Caller:
    person = world.caller("Clara", time_zone="Europe/Berlin")
    for provider in providers:
        account(world, person, provider, **more)
    return person


def max_at(world: World, *providers: str, **more: Any) -> Caller:
    person = world.caller("Max", time_zone="Europe/London")
    person.gql("{ viewer { id } }")
    for provider in providers:
        account(world, person, provider, **more)
    return person


def taken(world: World, person: Caller, provider: str, start: datetime, end: datetime | None = None) -> None:
    """Something stands in the calendar that this provider looks at."""
    world.sandbox_call(f"{FOLDER[provider]}/busy", email=person.email, start=iso(start), end=iso(end or start + HALF_HOUR))


def book(world: World, coach: Caller, provider: str, start: datetime, mentee: Caller, **more: Any) -> str:
    """Booked outside; answers what Convene calls it."""
    if provider == CALCOM:
        world.book(coach, start, name=mentee.name, email=mentee.email, **more)
    else:
        invite(world, coach, "Session", start, mentee.name, email=mentee.email)
    hear(world)
    return next(str(one["id"]) for one in coach.bookings() if one["start"] == iso(start))


def session(coach: Caller, provider: str) -> dict[str, str]:
    """The coach's event type at that provider, as a target."""
    nodes = [edge["node"] for edge in coach.one(EVENT_TYPES)["edges"]]
    return {"eventTypeId": next(str(one["id"]) for one in nodes if one["provider"] == provider)}


def ask(person: Caller, target: dict[str, str], start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = person.one(AVAILABILITY, input={"target": target, "window": {"start": iso(start), "end": iso(end)}, **more})
    assert found["__typename"] == "Availability", found
    return found


def morning(person: Caller, target: dict[str, str], **more: Any) -> list[str]:
    """What is free on the third from 08:00 to 11:00 UTC, as in 0830."""
    return clock(ask(person, target, at(3, 8), at(3, 11), **more))


def clock(found: dict[str, Any]) -> list[str]:
    return [start[11:13] + start[14:16] for start in found["starts"]]


def sources(found: dict[str, Any]) -> list[tuple[str, str, str | None, str]]:
    return [(one["participant"]["name"], one["role"], one["provider"], one["state"]) for one in found["sources"]]


def warnings(found: dict[str, Any]) -> list[str]:
    return [one["code"] for one in found["warnings"]]


# ---- whose calendars ---------------------------------------------------------------------------------------------------------


@MIXED
def test_both_calendars_and_both_working_hours(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    target = session(clara, there)
    assert morning(max_, target) == ["0900", "0930", "1000", "1030"]
    taken(world, clara, there, at(3, 9))
    taken(world, max_, here, at(3, 10))
    found = ask(max_, target, at(3, 8), at(3, 11), maxAgeSeconds=0)
    assert (clock(found), warnings(found)) == (["0930", "1030"], [])
    assert sources(found) == [("Clara", "COACH", there, "FRESH"), ("Max", "MENTEE", here, "FRESH")]
    # the coach's own look at the event type is about nobody else
    assert morning(clara, target, maxAgeSeconds=0) == ["0800", "0830", "0930", "1000", "1030"]


@MIXED
def test_for_a_booking_both_see_the_same_times(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    booking = {"bookingId": book(world, clara, there, at(2, 9), max_)}
    taken(world, clara, there, at(3, 9))
    taken(world, max_, here, at(3, 10))
    assert morning(clara, booking, maxAgeSeconds=0) == ["0930", "1030"]
    assert morning(max_, booking, maxAgeSeconds=0) == ["0930", "1030"]


def test_a_mentee_with_both_linked(world: World) -> None:
    clara, max_ = clara_at(world, CALCOM), max_at(world, CALCOM, CALENDLY)
    taken(world, max_, CALCOM, at(3, 9))
    taken(world, max_, CALENDLY, at(3, 10))
    found = ask(max_, session(clara, CALCOM), at(3, 8), at(3, 11), maxAgeSeconds=0)
    assert clock(found) == ["0930", "1030"]
    assert sources(found) == [("Clara", "COACH", CALCOM, "FRESH"), ("Max", "MENTEE", CALCOM, "FRESH"), ("Max", "MENTEE", CALENDLY, "FRESH")]


def test_a_coach_with_both_linked_keeps_the_event_types_buffers_around_the_other(world: World) -> None:
    """A quarter before and half an hour behind: 10:30 would end too late before eleven, and twelve is far enough from 11:30."""
    clara, max_ = world.caller("Clara", time_zone="Europe/Berlin"), max_at(world, CALCOM)
    account(world, clara, CALCOM, {"beforeEventBuffer": 15, "afterEventBuffer": 30})
    account(world, clara, CALENDLY)
    taken(world, clara, CALENDLY, at(3, 11))
    found = ask(max_, session(clara, CALCOM), at(3, 9), at(3, 14), maxAgeSeconds=0)
    assert clock(found) == ["0900", "0930", "1000", "1200", "1230", "1300", "1330"]
    assert sources(found) == [
        ("Clara", "COACH", CALCOM, "FRESH"),
        ("Clara", "COACH", CALENDLY, "FRESH"),
        ("Max", "MENTEE", CALCOM, "FRESH"),
    ]


def test_a_coach_with_both_linked_at_calendly(world: World) -> None:
    """Calendly does not tell the buffers of an event type: the time itself is kept free."""
    clara, max_ = clara_at(world, CALENDLY, CALCOM), max_at(world, CALCOM)
    taken(world, clara, CALCOM, at(3, 10))
    found = ask(max_, session(clara, CALENDLY), at(3, 8), at(3, 11), maxAgeSeconds=0)
    assert clock(found) == ["0900", "0930", "1030"]
    assert [one[2] for one in sources(found)] == [CALENDLY, CALCOM, CALCOM]


# ---- what Convene itself knows -------------------------------------------------------------------------------------------------


@MIXED
def test_the_mentees_bookings_as_a_coach_elsewhere(world: World, there: str, here: str) -> None:
    """Also one that waits for confirmation, of which the busy times of Cal.com say nothing."""
    clara = clara_at(world, there)
    waits = {"confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False}} if here == CALCOM else {}
    max_ = max_at(world, here, kind=waits)
    book(world, max_, here, at(3, 10), world.caller("Otto"))
    assert morning(max_, session(clara, there)) == ["0900", "0930", "1030"]


@MIXED
def test_bookings_with_another_coach_count_without_a_link(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world)
    carl = account(world, world.caller("Carl"), here)
    book(world, carl, here, at(3, 9), max_)
    found = ask(max_, session(clara, there), at(3, 8), at(3, 11))
    assert (clock(found), warnings(found)) == (["0800", "0830", "0930", "1000", "1030"], ["MENTEE_NOT_CONNECTED"])
    assert sources(found) == [("Clara", "COACH", there, "FRESH"), ("Max", "MENTEE", None, "NOT_CONNECTED")]
    # somebody else is free then
    assert "0900" in morning(world.caller("Otto"), session(clara, there))


@MIXED
def test_what_the_coach_attends_elsewhere(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world)
    carl = account(world, world.caller("Carl"), here)
    book(world, carl, here, at(3, 9), clara)
    assert morning(max_, session(clara, there)) == ["0800", "0830", "0930", "1000", "1030"]


def test_a_cancelled_booking_takes_nothing(world: World) -> None:
    clara, max_ = clara_at(world, CALCOM), max_at(world)
    carl = account(world, world.caller("Carl"), CALENDLY)
    other = book(world, carl, CALENDLY, at(3, 9), max_)
    assert "0900" not in morning(max_, session(clara, CALCOM))
    assert max_.cancel(other)["__typename"] == "BookingCancelled"
    assert "0900" in morning(max_, session(clara, CALCOM))


@pytest.mark.parametrize("held", ["the mentee's", "the coach's"])
def test_a_move_under_way_holds_its_time(world: World, held: str) -> None:
    """Its answer is held back: the time that it is to take, and the one that it has, are nobody's."""
    clara, max_, otto = clara_at(world, CALCOM), max_at(world), world.caller("Otto")
    if held == "the mentee's":
        carl = account(world, world.caller("Carl"), CALENDLY)
        provider, mover, booking = CALENDLY, carl, book(world, carl, CALENDLY, at(4, 9), max_)
    else:
        provider, mover, booking = CALCOM, clara, book(world, clara, CALCOM, at(4, 9), otto)
    path = {CALCOM: "/calcom/v2/bookings/*/reschedule", CALENDLY: "/calendly/api/invitees"}[provider]
    under_way = world.sandbox.fault({"kind": "hold", "when": "before"}, method="POST", path=path)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(mover.move, booking, at(3, 10))
        assert under_way.wait_held()
        assert morning(max_, session(clara, CALCOM), maxAgeSeconds=0) == ["0800", "0830", "0900", "0930", "1030"]
        under_way.release()
        assert moving.result()["__typename"] == "BookingRescheduled"
    hear(world)
    assert morning(max_, session(clara, CALCOM), maxAgeSeconds=0) == ["0800", "0830", "0900", "0930", "1030"]


# ---- hours ---------------------------------------------------------------------------------------------------------------------


def test_a_special_day_of_the_mentees_replaces_their_week(world: World) -> None:
    clara = clara_at(world, CALENDLY)
    overrides = [{"date": "2027-03-03", "startTime": "09:30", "endTime": "10:15"}]
    max_ = max_at(world, CALCOM, schedule={"overrides": overrides})
    target = session(clara, CALENDLY)
    assert morning(max_, target) == ["0930"]
    assert clock(ask(max_, target, at(4, 8), at(4, 10))) == ["0900", "0930"]


def test_who_works_by_two_schedules_is_there_in_either(world: World) -> None:
    clara, max_ = clara_at(world, CALCOM), world.caller("Max", time_zone="Europe/London")
    week = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    account(world, max_, CALCOM, schedule={"availability": [{"days": week, "startTime": "08:30", "endTime": "09:30"}]})
    rules = [{"type": "wday", "wday": day.lower(), "intervals": [{"from": "10:30", "to": "12:00"}]} for day in week]
    account(world, max_, CALENDLY, schedule={"rules": rules})
    assert morning(max_, session(clara, CALCOM)) == ["0830", "0900", "1030"]


def test_hours_follow_the_mentees_own_zone_across_summer_time(world: World) -> None:
    """London changes on 28 March: nine there is nine in UTC before, and eight behind it."""
    clara, max_ = clara_at(world, CALCOM), max_at(world, CALENDLY)
    target = session(clara, CALCOM)
    assert clock(ask(max_, target, at(26, 0), at(26, 23)))[0] == "0900"
    assert clock(ask(max_, target, at(29, 0), at(29, 23)))[0] == "0800"


@pytest.mark.parametrize(
    ("provider", "kind"), [(CALCOM, {"minimumBookingNotice": 240}), (CALENDLY, {"notice": 240})], ids=["Cal.com", "Calendly"]
)
def test_minimum_notice(world: World, provider: str, kind: dict[str, Any]) -> None:
    """It is eight o'clock, and four hours are asked for."""
    clara, max_ = clara_at(world, provider, kind=kind), max_at(world)
    assert clock(ask(max_, session(clara, provider), at(1, 8), at(1, 13)))[0] == "1200"


# ---- the booking that moves -----------------------------------------------------------------------------------------------------


@MIXED
def test_the_moving_booking_gives_its_own_time_back_where_the_provider_does(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    booking = {"bookingId": book(world, clara, there, at(3, 9, 30), max_)}
    # the mentee's calendar shows it too
    taken(world, max_, here, at(3, 9, 30))
    own = ["0930"] if there == CALCOM else []
    assert morning(max_, booking, maxAgeSeconds=0) == ["0900", *own, "1000", "1030"]
    assert morning(max_, session(clara, there), maxAgeSeconds=0) == ["0900", "1000", "1030"]


def test_what_the_mentees_calendar_has_beside_the_moving_booking_still_counts(world: World) -> None:
    clara, max_ = clara_at(world, CALCOM), max_at(world, CALENDLY)
    booking = {"bookingId": book(world, clara, CALCOM, at(3, 9, 30), max_)}
    taken(world, max_, CALENDLY, at(3, 9, 30))
    taken(world, max_, CALENDLY, at(3, 10))
    taken(world, max_, CALENDLY, at(3, 9, 45), at(3, 9, 50))
    assert morning(max_, booking, maxAgeSeconds=0) == ["0900", "1030"]


@EACH
def test_a_slot_that_runs_into_the_next_utc_day(world: World, provider: str) -> None:
    """What begins before midnight and ends after it must miss what the mentee has after midnight, also from the cache."""
    clara = clara_at(world, CALCOM, kind={"slotInterval": 15}, schedule={"availability": ALWAYS})
    # nine to five there is 17:00 to 01:00 UTC
    max_ = account(world, world.caller("Max", time_zone="America/Los_Angeles"), provider)
    target = session(clara, CALCOM)
    assert clock(ask(max_, target, at(3, 22, 30), at(4, 0))) == ["2230", "2245", "2300", "2315", "2330", "2345"]
    taken(world, max_, provider, at(4, 0), at(4, 0, 15))
    for age in (0, 300):
        assert clock(ask(max_, target, at(3, 22, 30), at(4, 0), maxAgeSeconds=age)) == ["2230", "2245", "2300", "2315", "2330"]
    assert clock(ask(max_, target, at(4, 0), at(4, 1), maxAgeSeconds=0)) == ["0015", "0030"]


def test_a_day_that_ends_at_2359_at_cal_com_ends_at_midnight(world: World) -> None:
    """Cal.com cannot write 24:00; who works round the clock there is there at midnight too."""
    clara = clara_at(world, CALCOM, schedule={"availability": ALWAYS})
    max_ = account(world, world.caller("Max"), CALCOM, schedule={"availability": ALWAYS, "timeZone": "Europe/Berlin"})
    assert clock(ask(max_, session(clara, CALCOM), at(3, 22), at(4, 0))) == ["2200", "2230", "2300", "2330"]


# ---- sources and warnings -------------------------------------------------------------------------------------------------------


@MIXED
def test_a_warm_read_calls_nobody_and_says_how_old_it_is(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    target = session(clara, there)
    first = ask(max_, target, at(3, 8), at(3, 11))
    world.sandbox.world.requests.clear()
    world.move_clock(minutes=4)
    second = ask(max_, target, at(3, 8), at(3, 11))
    assert [request.path for request in world.sandbox.requests] == []
    assert sources(second) == [("Clara", "COACH", there, "CACHED"), ("Max", "MENTEE", here, "CACHED")]
    assert [one["asOf"] for one in second["sources"]] == ["2027-03-01T08:00:00Z"] * 2
    assert (second["computedAt"], second["starts"], warnings(second)) == ("2027-03-01T08:04:00Z", first["starts"], [])
    world.move_clock(minutes=2)
    third = ask(max_, target, at(3, 8), at(3, 11))
    assert [state for *_, state in sources(third)] == ["FRESH", "FRESH"]
    assert (world.calls("GET", SLOTS[there]), world.calls("GET", BUSY[here])) == (1, 1)


@MIXED
def test_the_mentees_calendar_is_lost_and_was_known(world: World, there: str, here: str) -> None:
    """What was known of it still holds; it is said that it may not be all."""
    clara, max_ = clara_at(world, there), max_at(world, here)
    taken(world, max_, here, at(3, 9, 30))
    target = session(clara, there)
    assert morning(max_, target) == ["0900", "1000", "1030"]
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=BUSY[here], times=None)
    world.move_clock(minutes=6)
    found = ask(max_, target, at(3, 8), at(3, 11))
    assert (clock(found), warnings(found)) == (["0900", "1000", "1030"], ["SOURCE_UNAVAILABLE"])
    assert sources(found) == [("Clara", "COACH", there, "FRESH"), ("Max", "MENTEE", here, "UNAVAILABLE")]
    assert [one["asOf"] for one in found["sources"]] == ["2027-03-01T08:06:00Z", "2027-03-01T08:00:00Z"]


@MIXED
def test_the_mentees_calendar_is_lost_and_was_never_known(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=BUSY[here], times=None)
    found = ask(max_, session(clara, there), at(24, 8), at(24, 11))
    assert (clock(found), warnings(found)) == (["0900", "0930", "1000", "1030"], ["SOURCE_UNAVAILABLE"])
    assert [(one["state"], one["asOf"]) for one in found["sources"]] == [("FRESH", "2027-03-01T08:00:00Z"), ("UNAVAILABLE", None)]


@MIXED
def test_the_coachs_calendar_is_lost(world: World, there: str, here: str) -> None:
    """With what was known of it the answer is old and says so; without it there is none."""
    clara, max_ = clara_at(world, there), max_at(world, here)
    target = session(clara, there)
    ask(max_, target, at(3, 8), at(3, 11))
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=SLOTS[there], times=None)
    world.move_clock(minutes=6)
    found = ask(max_, target, at(3, 8), at(3, 11))
    assert (clock(found), warnings(found)) == (["0900", "0930", "1000", "1030"], ["STALE"])
    assert sources(found) == [("Clara", "COACH", there, "UNAVAILABLE"), ("Max", "MENTEE", here, "FRESH")]
    window = {"start": iso(at(24, 8)), "end": iso(at(24, 9))}
    assert max_.one(AVAILABILITY, input={"target": target, "window": window})["__typename"] == "ProviderFailure"


@MIXED
def test_an_unlinked_mentee_is_left_out_and_told_so(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    taken(world, max_, here, at(3, 9))
    assert max_.one(DISCONNECT, provider=here)["__typename"] == "ProviderUnlinked"
    found = ask(max_, session(clara, there), at(3, 8), at(3, 11))
    assert (clock(found), warnings(found)) == (["0800", "0830", "0900", "0930", "1000", "1030"], ["MENTEE_NOT_CONNECTED"])
    assert sources(found)[1] == ("Max", "MENTEE", None, "NOT_CONNECTED")


# ---- news ------------------------------------------------------------------------------------------------------------------------


@MIXED
def test_a_booking_made_and_moved_elsewhere_is_in_the_next_answer(world: World, there: str, here: str) -> None:
    """The webhook makes the cached answer forgotten."""
    clara, max_ = clara_at(world, there), max_at(world, here)
    target = session(clara, there)
    assert morning(max_, target) == ["0900", "0930", "1000", "1030"]
    book(world, max_, here, at(3, 10), world.caller("Otto"))
    assert morning(max_, target) == ["0900", "0930", "1030"]
    if here == CALENDLY:
        (uri,) = (row.id for row in world.sandbox.world.calendly.invitees.values())
        assert invitee_row(world, f"/{uri}").name == "Otto"
        move_there(world, uri, at(3, 10, 30))
        hear(world)
    else:
        assert max_.move(max_.bookings()[0]["id"], at(3, 10, 30))["__typename"] == "BookingRescheduled"
    assert morning(max_, target) == ["0900", "0930", "1000"]


# ---- alternatives ------------------------------------------------------------------------------------------------------------------


@MIXED
def test_every_alternative_can_really_be_had(world: World, there: str, here: str) -> None:
    clara, max_ = clara_at(world, there), max_at(world, here)
    booking = book(world, clara, there, at(2, 9), max_)
    taken(world, clara, there, at(3, 14))
    taken(world, max_, here, at(3, 14, 30))
    taken(world, max_, here, at(4, 9, 30))
    refused = max_.move(booking, at(3, 14, 30))
    assert refused["__typename"] == "SlotUnavailable"
    offered = [one["start"] for one in refused["alternatives"]]
    assert offered == [iso(at(3, 15)), iso(at(3, 15, 30)), iso(at(4, 9)), iso(at(4, 10)), iso(at(4, 10, 30))]
    for number, start in enumerate(offered):
        moved = max_.move(booking, start, f"a{number}")
        assert (moved["__typename"], moved["warnings"], moved["booking"]["start"]) == ("BookingRescheduled", [], start)
        hear(world)


def test_where_nothing_comes_later_what_comes_before_is_offered(world: World) -> None:
    """The coach works on one morning only; there are no five."""
    day, window = (
        [{"date": "2027-03-03", "startTime": "09:00", "endTime": "11:30"}],
        {"type": "range", "value": ["2027-03-03", "2027-03-03"]},
    )
    clara, max_ = clara_at(world, CALCOM, kind={"bookingWindow": window}, schedule={"overrides": day}), max_at(world)
    booking = book(world, clara, CALCOM, at(2, 9), max_, force=True)
    taken(world, clara, CALCOM, at(3, 9, 30))
    refused = max_.move(booking, at(3, 9, 30))
    assert [one["start"] for one in refused["alternatives"]] == [iso(at(3, 8)), iso(at(3, 8, 30)), iso(at(3, 9)), iso(at(3, 10))]
    assert refused["alternatives"][0]["end"] == iso(at(3, 8, 30))
