"""Availability: the coach's slots, cached with their age, in the zone that was asked for."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from harness import AVAILABILITY, EVENT_TYPES, Caller, World, at, iso


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


def kind(clara: Caller, index: int = 0) -> str:
    return str(clara.one(EVENT_TYPES)["edges"][index]["node"]["id"])


def ask(caller: Caller, target: dict[str, str], start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = caller.one(AVAILABILITY, input={"target": target, "window": {"start": iso(start), "end": iso(end)}, **more})
    return found


def test_slots_of_an_event_type(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9))
    otto = world.caller("Otto", time_zone="America/New_York")
    found = ask(otto, {"eventTypeId": kind(clara)}, at(2, 8), at(2, 11))
    # 09:00 to 17:00 in Berlin is 08:00 to 16:00 UTC; 09:00 UTC is booked; the end is exclusive
    assert found["starts"] == [iso(at(2, 8)), iso(at(2, 8, 30)), iso(at(2, 9, 30)), iso(at(2, 10)), iso(at(2, 10, 30))]
    assert found["slots"][0] == {"start": iso(at(2, 8)), "end": iso(at(2, 8, 30))}
    assert (found["durationMinutes"], found["timeZone"]) == (30, "America/New_York")
    assert found["days"] == [{"date": "2027-03-02", "starts": found["starts"]}]
    assert [(s["participant"]["name"], s["role"], s["provider"], s["state"], s["asOf"]) for s in found["sources"]] == [
        ("Clara", "COACH", "CAL_COM", "FRESH", iso(world.clock.now())),
        ("Otto", "MENTEE", None, "NOT_CONNECTED", None),
    ]
    assert [warning["code"] for warning in found["warnings"]] == ["MENTEE_NOT_CONNECTED"]


def test_a_warm_read_makes_no_provider_call(world: World, clara: Caller) -> None:
    target = {"eventTypeId": kind(clara)}
    first = ask(clara, target, at(2, 0), at(5, 0))
    before = world.calls("GET", "/v2/slots")
    world.move_clock(minutes=4)
    second = ask(clara, target, at(2, 12), at(4, 12))
    assert world.calls("GET", "/v2/slots") == before
    assert (second["sources"][0]["state"], second["sources"][0]["asOf"]) == ("CACHED", "2027-03-01T08:00:00Z")
    assert second["starts"] == [s for s in first["starts"] if iso(at(2, 12)) <= s < iso(at(4, 12))]
    world.move_clock(minutes=2)
    assert ask(clara, target, at(2, 12), at(4, 12))["sources"][0]["state"] == "FRESH"
    assert ask(clara, target, at(2, 12), at(4, 12), maxAgeSeconds=0)["sources"][0]["state"] == "FRESH"
    assert world.calls("GET", "/v2/slots") == before + 2


def test_our_own_move_and_a_webhook_make_it_forget(world: World, clara: Caller) -> None:
    target = {"eventTypeId": kind(clara)}
    assert iso(at(2, 9)) in ask(clara, target, at(2, 0), at(3, 0))["starts"]
    world.book(clara, at(2, 9))
    world.jobs()
    assert iso(at(2, 9)) not in ask(clara, target, at(2, 0), at(3, 0))["starts"]
    (booking,) = clara.bookings()
    clara.move(booking["id"], at(2, 13))
    starts = ask(clara, target, at(2, 0), at(3, 0))["starts"]
    assert (iso(at(2, 9)) in starts, iso(at(2, 13)) in starts) == (True, False)


def test_where_a_booking_can_move_gives_its_own_slot_back(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (booking,) = clara.bookings()
    otto = world.caller("Otto")
    found = ask(otto, {"bookingId": booking["id"]}, at(2, 0), at(3, 0))
    assert iso(at(2, 9)) in found["starts"]
    assert [w["code"] for w in found["warnings"]] == ["MENTEE_NOT_CONNECTED"]
    assert ask(clara, {"bookingId": booking["id"]}, at(2, 0), at(3, 0))["warnings"] == []
    stranger = world.caller("Eve")
    assert ask(stranger, {"bookingId": booking["id"]}, at(2, 0), at(3, 0))["__typename"] == "NotFound"


def test_an_unreachable_provider_answers_from_cache_and_says_so(world: World, clara: Caller) -> None:
    target = {"eventTypeId": kind(clara)}
    ask(clara, target, at(2, 0), at(3, 0))
    world.sandbox.fault(method="GET", path="/calcom/v2/slots", effect={"kind": "status", "status": 503}, times=None)
    world.move_clock(minutes=10)
    stale = ask(clara, target, at(2, 0), at(3, 0))
    assert (stale["sources"][0]["state"], [w["code"] for w in stale["warnings"]]) == ("UNAVAILABLE", ["STALE"])
    assert stale["sources"][0]["asOf"] == "2027-03-01T08:00:00Z"
    unknown = ask(clara, target, at(8, 0), at(9, 0))
    assert (unknown["__typename"], unknown["retryable"]) == ("ProviderFailure", True)


def test_local_days_are_right_across_the_change_to_summer_time(world: World, clara: Caller) -> None:
    """Berlin goes from +01:00 to +02:00 on Sunday 28 March: Monday's first slot is an hour earlier in UTC."""
    found = ask(clara, {"eventTypeId": kind(clara)}, at(26, 0), at(30, 0), timeZone="Europe/Berlin")
    days = {d["date"]: d["starts"] for d in found["days"]}
    assert sorted(days) == ["2027-03-26", "2027-03-29"]
    assert (days["2027-03-26"][0], days["2027-03-29"][0]) == ("2027-03-26T08:00:00Z", "2027-03-29T07:00:00Z")
    assert (len(days["2027-03-26"]), len(days["2027-03-29"])) == (16, 16)


def test_a_day_of_another_zone_begins_the_evening_before(world: World, clara: Caller) -> None:
    found = ask(clara, {"eventTypeId": kind(clara)}, at(2, 0), at(3, 0), timeZone="Pacific/Kiritimati")
    assert [d["date"] for d in found["days"]] == ["2027-03-02", "2027-03-03"]


def test_a_long_window_is_asked_for_in_pieces(world: World, clara: Caller) -> None:
    end = datetime(2027, 5, 25, tzinfo=UTC)
    before = world.calls("GET", "/v2/slots")
    found = ask(clara, {"eventTypeId": kind(clara)}, at(1, 12), end)
    assert world.calls("GET", "/v2/slots") == before + 3
    assert found["starts"] == sorted(set(found["starts"]))
    assert found["starts"][-1] == "2027-05-24T14:30:00Z"


@pytest.mark.parametrize(
    ("window", "more", "path", "sentence"),
    [
        ((at(3, 0), at(2, 0)), {}, ["window", "end"], "The window must end after it starts."),
        ((at(2, 0), at(2, 0)), {}, ["window", "end"], "The window must end after it starts."),
        ((at(2, 0), datetime(2027, 7, 1, tzinfo=UTC)), {}, ["window", "end"], "The window may span at most 92 days."),
        ((at(2, 0), at(3, 0)), {"maxAgeSeconds": -1}, ["maxAgeSeconds"], "maxAgeSeconds must be 0 or more."),
        ((at(2, 0), at(3, 0)), {"durationMinutes": 31}, ["durationMinutes"], "This event type lasts 30 minutes."),
    ],
)
def test_well_formed_nonsense(
    world: World, clara: Caller, window: tuple[datetime, datetime], more: dict[str, Any], path: list[str], sentence: str
) -> None:
    refused = ask(clara, {"eventTypeId": kind(clara)}, *window, **more)
    assert (refused["__typename"], refused["fields"]) == ("InvalidInput", [{"path": path, "message": sentence}])


def test_a_zone_that_is_none_is_bad_user_input(world: World, clara: Caller) -> None:
    (error,) = clara.errors(
        AVAILABILITY,
        input={"target": {"eventTypeId": "x"}, "window": {"start": iso(at(2, 0)), "end": iso(at(3, 0))}, "timeZone": "Europe/Berlinn"},
    )
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert error["message"] == "'Europe/Berlinn' is no IANA time zone. Write a name such as Europe/Berlin or UTC."


def test_nobody_asks_for_a_hidden_event_type_of_somebody_else(world: World) -> None:
    clara = world.coach(eventTypes=[{"title": "Secret", "slug": "secret", "lengthInMinutes": 15, "hidden": True}])
    assert ask(clara, {"eventTypeId": kind(clara)}, at(2, 0), at(3, 0))["__typename"] == "Availability"
    assert ask(world.caller("Otto"), {"eventTypeId": kind(clara)}, at(2, 0), at(3, 0))["__typename"] == "NotFound"


def test_the_past_of_a_window_is_not_offered(world: World, clara: Caller) -> None:
    found = ask(clara, {"eventTypeId": kind(clara)}, at(1, 0), at(1, 23))
    # two hours of notice, from 08:00
    assert found["starts"][0] == "2027-03-01T10:00:00Z"
    gone = ask(clara, {"eventTypeId": kind(clara)}, datetime(2027, 2, 1, tzinfo=UTC), datetime(2027, 2, 2, tzinfo=UTC))
    assert gone["starts"] == []


def test_warming_holds_no_connection_while_it_asks(world: World, clara: Caller) -> None:
    """An open cursor would keep its old snapshot on a connection that others are given meanwhile."""
    clara.one("mutation { createDefaultEventTypes(input: {provider: CAL_COM}) { __typename } }")
    ask(clara, {"eventTypeId": kind(clara)}, at(2, 0), at(3, 0))
    world.move_clock(minutes=5)
    held = world.sandbox.fault(method="GET", path="/calcom/v2/slots", effect={"kind": "hold", "when": "after"})
    warming = threading.Thread(target=world.jobs)
    warming.start()
    assert held.wait_held(1, 10)
    for hour in (9, 10, 11):
        world.book(clara, at(2, hour))
        assert clara.one("mutation { markNotificationsRead(input: {all: true}) { __typename } }") == {
            "__typename": "NotificationsMarkedRead"
        }
    held.release()
    warming.join()
    assert "database is locked" not in world.logged.getvalue()
    assert "job failed" not in world.logged.getvalue()


def test_an_answer_from_before_the_news_is_not_kept(world: World, clara: Caller) -> None:
    target = {"eventTypeId": kind(clara)}
    held = world.sandbox.fault(method="GET", path="/calcom/v2/slots", effect={"kind": "hold", "when": "after"})
    asking = threading.Thread(target=lambda: ask(clara, target, at(2, 0), at(3, 0)))
    asking.start()
    assert held.wait_held(1, 10)
    world.move_clock(seconds=1)
    world.book(clara, at(2, 9))
    world.jobs()
    held.release()
    asking.join()
    assert iso(at(2, 9)) not in ask(clara, target, at(2, 0), at(3, 0))["starts"]


def test_a_job_keeps_the_coming_weeks_warm(world: World, clara: Caller) -> None:
    target = {"eventTypeId": kind(clara)}
    ask(clara, target, at(2, 0), at(3, 0))  # makes the account one that is in use
    world.move_clock(minutes=5)
    world.jobs()
    before = world.calls("GET", "/v2/slots")
    found = ask(clara, target, at(9, 0), at(12, 0))
    assert found["sources"][0]["state"] == "CACHED"
    assert world.calls("GET", "/v2/slots") == before
