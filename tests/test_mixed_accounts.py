"""One person with Cal.com and Calendly: one list of bookings, one calendar, one person."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from harness import AVAILABILITY, BOOKINGS, EVENT_TYPES, SYNC, Caller, World, at, iso

DOWN: dict[str, Any] = {"kind": "status", "status": 503}
BUSY = {"CAL_COM": "/calcom/v2/calendars/busy-times", "CALENDLY": "/calendly/api/user_busy_times"}
SLOTS = {"CAL_COM": "/calcom/v2/slots", "CALENDLY": "/calendly/api/event_type_available_times"}
PROVIDERS = ("CAL_COM", "CALENDLY")
BOTH_WAYS = pytest.mark.parametrize(("here", "there"), [PROVIDERS, PROVIDERS[::-1]], ids=["at Cal.com", "at Calendly"])


@pytest.fixture(autouse=True)
def _all_deliveries_have_arrived(world: World) -> Iterator[None]:
    """Calendly's go out after the answer: one must not meet a database that is being closed."""
    yield
    world.sandbox.settle()


def calendly_account(world: World, person: Caller, email: str | None = None, **more: Any) -> None:
    kinds = more.pop("eventTypes", [{"name": "Call", "duration": 30}])
    ours = {"email": email or person.email, "name": person.name, "timeZone": person.time_zone}
    world.sandbox_call("calendly/users", **ours, eventTypes=kinds, **more)


def linked_at_both(
    world: World, name: str = "Cora", *, session: dict[str, Any] | None = None, call: dict[str, Any] | None = None
) -> Caller:
    """Somebody in Berlin: a Session of 30 minutes at Cal.com and a Call of 30 at Calendly, from nine to five at both."""
    person = world.caller(name, time_zone="Europe/Berlin")
    world.account(person, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30, **(session or {})}])
    calendly_account(world, person, eventTypes=[{"name": "Call", "duration": 30, **(call or {})}])
    return person.link().link(provider="CALENDLY")


def call_of(world: World, person: Caller, name: str = "Call") -> str:
    known = world.sandbox.world.calendly
    owner = next(user for user in known.users.values() if user.email == person.email)
    return str(next(row.id for row in known.types_of(owner.id) if row.name == name))


def book(
    world: World, person: Caller, provider: str, start: datetime, name: str = "Otto", email: str | None = None, **more: Any
) -> dict[str, Any]:
    """Somebody books outside; what follows of it is done."""
    if provider == "CAL_COM":
        found: dict[str, Any] = {"uid": world.book(person, start, name=name, email=email, **more)}
    else:
        invitee = {"name": name, "email": email or f"{name.lower()}@example.test", "timeZone": "Europe/London"}
        found = world.sandbox_call("calendly/bookings", eventType=call_of(world, person), start=iso(start), invitee=invitee, **more)
    news(world)
    return found


def news(world: World) -> None:
    world.sandbox.settle()
    world.jobs()


def taken(world: World, person: Caller, provider: str, start: datetime, end: datetime) -> None:
    """Something stands in the calendar that this provider looks at."""
    folder = "calcom" if provider == "CAL_COM" else "calendly"
    world.sandbox_call(f"{folder}/busy", email=person.email, start=iso(start), end=iso(end))


def kind(person: Caller, provider: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e["node"] for e in person.one(EVENT_TYPES)["edges"] if e["node"]["provider"] == provider)
    return found


def free(caller: Caller, target: dict[str, str], start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = caller.one(AVAILABILITY, input={"target": target, "window": {"start": iso(start), "end": iso(end)}, **more})
    assert found["__typename"] == "Availability", found
    return found


def morning(caller: Caller, event_type: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The second of March from eight to ten: four starts where nothing is in the way."""
    return free(caller, {"eventTypeId": event_type["id"]}, at(2, 8), at(2, 10), **more)


def states(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(source["provider"], source["state"]) for source in found["sources"]]


def warnings(found: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in found["warnings"]]


FOUR = [iso(at(2, 8)), iso(at(2, 8, 30)), iso(at(2, 9)), iso(at(2, 9, 30))]


# ---- one list ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def four(world: World) -> Caller:
    """Four bookings, by turns at one provider and the other."""
    cora = linked_at_both(world)
    book(world, cora, "CALENDLY", at(3, 10), "Mia")
    book(world, cora, "CAL_COM", at(2, 9), "Otto")
    book(world, cora, "CAL_COM", at(4, 9), "Mia")
    book(world, cora, "CALENDLY", at(5, 13), "Otto")
    return cora


def brief(bookings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["provider"], one["start"]) for one in bookings]


ALL_FOUR = [
    ("CAL_COM", iso(at(2, 9))),
    ("CALENDLY", iso(at(3, 10))),
    ("CAL_COM", iso(at(4, 9))),
    ("CALENDLY", iso(at(5, 13))),
]


def test_one_list_in_the_order_of_time(four: Caller) -> None:
    assert brief(four.bookings()) == ALL_FOUR
    assert brief(four.bookings(order="START_DESC")) == ALL_FOUR[::-1]


@pytest.mark.parametrize("order", ["START_ASC", "START_DESC"])
def test_pages_go_across_both(four: Caller, order: str) -> None:
    found, after = [], None
    for _ in range(4):
        page = four.one(BOOKINGS, first=1, after=after, order=order)
        found += [edge["node"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    assert page["pageInfo"]["hasNextPage"] is False
    assert brief(found) == (ALL_FOUR if order == "START_ASC" else ALL_FOUR[::-1])


@pytest.mark.parametrize(
    ("wanted", "which"),
    [
        ({"provider": "CAL_COM"}, [0, 2]),
        ({"provider": "CALENDLY"}, [1, 3]),
        ({"text": "mia"}, [1, 2]),
        ({"text": "otto@example"}, [0, 3]),
        ({"role": "COACH"}, [0, 1, 2, 3]),
        ({"role": "MENTEE"}, []),
        ({"startsAfter": iso(at(3, 0)), "startsBefore": iso(at(5, 0))}, [1, 2]),
        ({"provider": "CALENDLY", "text": "mia", "status": ["CONFIRMED"]}, [1]),
        ({"status": ["CANCELLED"]}, []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_filters_work_across(four: Caller, wanted: dict[str, Any], which: list[int]) -> None:
    assert brief(four.bookings(filter=wanted)) == [ALL_FOUR[number] for number in which]


def test_a_cancelled_one_is_found_by_its_status_whoever_made_it(world: World, four: Caller) -> None:
    for number, one in enumerate(four.bookings()[:2]):
        assert four.cancel(one["id"], key=f"c{number}")["__typename"] == "BookingCancelled"
        news(world)
    assert brief(four.bookings(filter={"status": ["CANCELLED"]})) == ALL_FOUR[:2]
    assert brief(four.bookings(filter={"status": ["CONFIRMED"]})) == ALL_FOUR[2:]


@pytest.mark.parametrize("gone", PROVIDERS)
def test_unlinking_one_leaves_the_list_and_the_other_working(world: World, four: Caller, gone: str) -> None:
    ids = [one["id"] for one in four.bookings()]
    four.gql("mutation($p: Provider!) { disconnectProvider(input: {provider: $p}) { __typename } }", p=gone)
    assert [one["id"] for one in four.bookings()] == ids
    kept = next(provider for provider in PROVIDERS if provider != gone)
    assert [edge["node"]["provider"] for edge in four.one(EVENT_TYPES)["edges"]] == [kept]
    found = morning(four, kind(four, kept))
    assert states(found) == [(kept, "FRESH")]
    # what Convene knows of the unlinked one is still in the way
    assert (iso(at(2, 9)) in found["starts"], found["warnings"]) == (False, [])


# ---- one calendar -----------------------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_what_stands_in_the_others_calendar_is_taken(world: World, here: str, there: str) -> None:
    cora = linked_at_both(world)
    assert morning(cora, kind(cora, here))["starts"] == FOUR
    taken(world, cora, there, at(2, 8, 40), at(2, 9))
    found = morning(cora, kind(cora, here), maxAgeSeconds=0)
    assert (found["starts"], states(found)) == ([FOUR[0], FOUR[2], FOUR[3]], [(here, "FRESH"), (there, "FRESH")])


@BOTH_WAYS
def test_a_booking_at_the_other_is_taken_as_soon_as_it_is_known(world: World, here: str, there: str) -> None:
    """The cached answer is forgotten by the webhook: nobody has to ask anew."""
    cora = linked_at_both(world)
    assert morning(cora, kind(cora, here))["starts"] == FOUR
    book(world, cora, there, at(2, 9))
    assert morning(cora, kind(cora, here))["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    assert cora.cancel(cora.bookings()[0]["id"])["__typename"] == "BookingCancelled"
    news(world)
    assert morning(cora, kind(cora, here))["starts"] == FOUR


@BOTH_WAYS
def test_others_see_the_same_times_and_nothing_of_why(world: World, here: str, there: str) -> None:
    cora, otto = linked_at_both(world), world.caller("Otto")
    book(world, cora, there, at(2, 9), "Sally")
    found = morning(otto, kind(cora, here))
    assert found["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    assert [source["participant"]["name"] for source in found["sources"]] == ["Cora", "Cora", "Otto"]
    assert "Sally" not in str(found)


def test_calendlys_buffers_are_taken_too(world: World) -> None:
    cora = linked_at_both(world, call={"buffers": {"before": 30, "after": 15}})
    book(world, cora, "CALENDLY", at(2, 9))
    # taken from 08:30 to 09:45
    assert morning(cora, kind(cora, "CAL_COM"))["starts"] == [FOUR[0]]
    assert iso(at(2, 10)) in free(cora, {"eventTypeId": kind(cora, "CAL_COM")["id"]}, at(2, 9), at(2, 11))["starts"]


def test_what_waits_for_confirmation_at_cal_com_is_taken_at_calendly(world: World) -> None:
    """Cal.com's busy times have accepted bookings only; Convene knows of the pending one."""
    cora = linked_at_both(world, session={"confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False}})
    book(world, cora, "CAL_COM", at(2, 9))
    assert [one["status"] for one in cora.bookings()] == ["PENDING"]
    assert morning(cora, kind(cora, "CALENDLY"))["starts"] == [FOUR[0], FOUR[1], FOUR[3]]


def test_the_places_of_a_group_event_are_taken_once_and_the_group_stays_open(world: World) -> None:
    cora = linked_at_both(world, call={"kind": "group", "limit": 3})
    for name in ("Mia", "Otto"):
        book(world, cora, "CALENDLY", at(2, 9), name)
    assert len(cora.bookings()) == 2
    assert morning(cora, kind(cora, "CAL_COM"))["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    assert morning(cora, kind(cora, "CALENDLY"))["starts"] == FOUR


def test_somebody_elses_bookings_take_nothing(world: World) -> None:
    cora, eve = linked_at_both(world), linked_at_both(world, "Eve")
    book(world, eve, "CALENDLY", at(2, 9))
    taken(world, eve, "CALENDLY", at(2, 8), at(2, 8, 30))
    assert morning(cora, kind(cora, "CAL_COM"), maxAgeSeconds=0)["starts"] == FOUR


def test_a_long_window_is_asked_for_in_the_pieces_that_each_takes(world: World) -> None:
    """Busy times at Calendly a week at a time."""
    cora = linked_at_both(world)
    taken(world, cora, "CALENDLY", at(22, 9), at(22, 10))
    before = world.calls("GET", BUSY["CALENDLY"])
    found = free(cora, {"eventTypeId": kind(cora, "CAL_COM")["id"]}, at(2, 0), at(23, 0), maxAgeSeconds=0)
    assert world.calls("GET", BUSY["CALENDLY"]) == before + 3
    assert [start for start in found["starts"] if start.startswith("2027-03-22T09")] == []
    assert [start for start in found["starts"] if start.startswith("2027-03-19T09")] == [iso(at(19, 9)), iso(at(19, 9, 30))]


@BOTH_WAYS
def test_a_warm_read_calls_nobody(world: World, here: str, there: str) -> None:
    cora = linked_at_both(world)
    first = morning(cora, kind(cora, here))
    before = len(world.sandbox.requests)
    world.move_clock(minutes=4)
    second = morning(cora, kind(cora, here))
    assert len(world.sandbox.requests) == before
    assert states(second) == [(here, "CACHED"), (there, "CACHED")]
    assert (second["starts"], [source["asOf"] for source in second["sources"]]) == (first["starts"], ["2027-03-01T08:00:00Z"] * 2)


@BOTH_WAYS
def test_the_job_keeps_both_calendars_warm(world: World, here: str, there: str) -> None:
    cora = linked_at_both(world)
    event_type = kind(cora, here)
    # an account that nobody uses is not kept warm
    morning(cora, event_type)
    world.move_clock(minutes=10)
    world.jobs()
    taken(world, cora, there, at(2, 9), at(2, 9, 30))
    world.move_clock(minutes=4)
    world.jobs()
    before = len(world.sandbox.requests)
    assert morning(cora, event_type)["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    assert len(world.sandbox.requests) == before


@BOTH_WAYS
def test_an_answer_on_its_way_from_before_the_news_is_not_kept(world: World, here: str, there: str) -> None:
    """While the other's busy times are being read, the booking in them is cancelled: the next reader sees it free."""
    cora = linked_at_both(world)
    book(world, cora, there, at(2, 9))
    event_type, (booking,) = kind(cora, here), cora.bookings()
    reading = world.sandbox.fault({"kind": "hold", "when": "after"}, method="GET", path=BUSY[there])
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(morning, cora, event_type, maxAgeSeconds=0)
        assert reading.wait_held()
        world.move_clock(seconds=1)
        assert cora.cancel(booking["id"])["__typename"] == "BookingCancelled"
        reading.release()
        before.result()
    news(world)
    assert morning(cora, event_type)["starts"] == FOUR


@BOTH_WAYS
def test_the_other_cannot_be_asked_and_nothing_is_known_of_it(world: World, here: str, there: str) -> None:
    cora = linked_at_both(world)
    world.move_clock(days=3)
    world.sandbox.fault(DOWN, method="GET", path=BUSY[there], times=None)
    found = free(cora, {"eventTypeId": kind(cora, here)["id"]}, at(15, 8), at(15, 10), maxAgeSeconds=0)
    assert (states(found), warnings(found)) == ([(here, "FRESH"), (there, "UNAVAILABLE")], ["SOURCE_UNAVAILABLE"])
    assert len(found["starts"]) == 4


@BOTH_WAYS
def test_the_other_cannot_be_asked_and_what_was_known_still_holds(world: World, here: str, there: str) -> None:
    cora = linked_at_both(world)
    taken(world, cora, there, at(2, 9), at(2, 9, 30))
    assert morning(cora, kind(cora, here), maxAgeSeconds=0)["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    world.move_clock(minutes=10)
    world.sandbox.fault(DOWN, method="GET", path=BUSY[there], times=None)
    found = morning(cora, kind(cora, here))
    assert found["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    assert (states(found), warnings(found)) == ([(here, "FRESH"), (there, "UNAVAILABLE")], ["SOURCE_UNAVAILABLE"])
    assert [source["asOf"] for source in found["sources"]] == ["2027-03-01T08:10:00Z", "2027-03-01T08:00:00Z"]


@BOTH_WAYS
def test_the_one_that_is_asked_is_down_and_the_other_is_not(world: World, here: str, there: str) -> None:
    cora = linked_at_both(world)
    assert morning(cora, kind(cora, here))["starts"] == FOUR
    world.sandbox.fault(DOWN, method="GET", path=SLOTS[here], times=None)
    taken(world, cora, there, at(2, 9), at(2, 9, 30))
    world.move_clock(minutes=10)
    found = morning(cora, kind(cora, here))
    assert found["starts"] == [FOUR[0], FOUR[1], FOUR[3]]
    assert (states(found), warnings(found)) == ([(here, "UNAVAILABLE"), (there, "FRESH")], ["STALE"])


@BOTH_WAYS
def test_a_link_that_needs_its_person_is_told_as_not_connected(world: World, here: str, there: str) -> None:
    """Its bookings are known all the same."""
    cora = linked_at_both(world)
    book(world, cora, there, at(2, 9))
    world.sandbox_call(f"{'calcom' if there == 'CAL_COM' else 'calendly'}/tokens/revoke", email=cora.email)
    assert cora.one(SYNC, provider=there)["__typename"] == "ConnectionUnusable"
    found = morning(cora, kind(cora, here), maxAgeSeconds=0)
    assert states(found) == [(here, "FRESH"), (there, "NOT_CONNECTED")]
    assert found["starts"] == [FOUR[0], FOUR[1], FOUR[3]]


def test_with_one_link_there_is_one_source(world: World) -> None:
    clara = world.coach()
    world.sandbox_call("zoom/users", email=clara.email, name=clara.name)
    clara.link(provider="ZOOM")
    assert states(morning(clara, kind(clara, "CAL_COM"))) == [("CAL_COM", "FRESH")]


# ---- moving -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def booked(world: World) -> tuple[Caller, dict[str, Any]]:
    """Cora's booking with Otto at Cal.com, on the second at eight."""
    cora = linked_at_both(world)
    book(world, cora, "CAL_COM", at(2, 8))
    (booking,) = cora.bookings()
    return cora, booking


def unmoved(world: World, caller: Caller, booking: dict[str, Any]) -> None:
    assert world.calls("POST", "/reschedule") == 0
    assert (len(world.live_uids()), world.live_uids()[0]) == (1, booking["externalId"])
    now = next(one for one in caller.bookings() if one["id"] == booking["id"])
    assert (now["start"], now["version"], now["rescheduling"]["blockedBy"]) == (booking["start"], booking["version"], [])


@pytest.mark.parametrize("who", ["coach", "mentee"])
def test_not_into_what_stands_in_calendlys_calendar(world: World, booked: tuple[Caller, dict[str, Any]], who: str) -> None:
    cora, booking = booked
    taken(world, cora, "CALENDLY", at(2, 9), at(2, 9, 30))
    mover = cora if who == "coach" else world.caller("Otto")
    refused = mover.move(booking["id"], at(2, 9))
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
    (conflict,) = refused["conflicts"]
    assert (conflict["role"], conflict["reason"], conflict["start"], conflict["end"]) == (
        "COACH",
        "BUSY" if who == "coach" else "OTHER_PARTY_UNAVAILABLE",
        iso(at(2, 9)),
        iso(at(2, 9, 30)),
    )
    assert [slot["start"] for slot in refused["alternatives"]] == [
        iso(at(2, 9, 30)),
        iso(at(2, 10)),
        iso(at(2, 10, 30)),
        iso(at(2, 11)),
        iso(at(2, 11, 30)),
    ]
    unmoved(world, cora, booking)
    moved = mover.move(booking["id"], at(2, 9, 30), key="k2")
    assert (moved["__typename"], moved["booking"]["start"]) == ("BookingRescheduled", iso(at(2, 9, 30)))


def test_not_into_a_booking_at_calendly(world: World, booked: tuple[Caller, dict[str, Any]]) -> None:
    cora, booking = booked
    book(world, cora, "CALENDLY", at(2, 9), "Mia")
    refused = cora.move(booking["id"], at(2, 9))
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
    assert [(one["role"], one["reason"]) for one in refused["conflicts"]] == [("COACH", "BOOKED")]
    unmoved(world, cora, booking)


def test_a_booking_at_calendly_of_which_nobody_has_told(world: World, booked: tuple[Caller, dict[str, Any]]) -> None:
    cora, booking = booked
    invitee = {"name": "Mia", "email": "mia@example.test", "timeZone": "UTC"}
    world.sandbox_call("calendly/bookings", eventType=call_of(world, cora), start=iso(at(2, 9)), invitee=invitee, silent=True)
    assert cora.move(booking["id"], at(2, 9))["__typename"] == "SlotUnavailable"
    unmoved(world, cora, booking)


def test_while_calendly_is_down_nothing_is_moved(world: World, booked: tuple[Caller, dict[str, Any]]) -> None:
    """Not even into what the cache says is free: a move asks now. It can be had as soon as Calendly answers."""
    cora, booking = booked
    assert iso(at(2, 9)) in free(cora, {"bookingId": booking["id"]}, at(2, 8), at(2, 10))["starts"]
    down = world.sandbox.fault(DOWN, method="GET", path=BUSY["CALENDLY"], times=None)
    refused = cora.move(booking["id"], at(2, 9), acceptConflicts=True)
    assert (refused["__typename"], refused["role"], refused["canAccept"]) == ("SourceUnverified", "COACH", False)
    unmoved(world, cora, booking)
    down.remove()
    # nothing was sent, so the key is free
    assert cora.move(booking["id"], at(2, 9))["__typename"] == "BookingRescheduled"


def test_calendlys_booking_forbids_although_its_link_is_revoked(world: World, booked: tuple[Caller, dict[str, Any]]) -> None:
    cora, booking = booked
    book(world, cora, "CALENDLY", at(2, 9), "Mia")
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    assert cora.one(SYNC, provider="CALENDLY")["__typename"] == "ConnectionUnusable"
    assert cora.move(booking["id"], at(2, 9))["__typename"] == "SlotUnavailable"
    unmoved(world, cora, booking)
    assert cora.move(booking["id"], at(2, 9, 30), key="k2")["__typename"] == "BookingRescheduled"


def test_a_booking_that_a_shared_calendar_shows_to_calendly_does_not_block_itself(
    world: World, booked: tuple[Caller, dict[str, Any]]
) -> None:
    """Of an hour by eight, moved by half of it."""
    cora = booked[0]
    taken(world, cora, "CALENDLY", at(2, 8), at(2, 8, 30))
    found = free(cora, {"bookingId": booked[1]["id"]}, at(2, 8), at(2, 10), maxAgeSeconds=0)
    assert found["starts"] == FOUR


def test_another_booking_at_the_very_same_time_is_not_taken_for_itself(world: World) -> None:
    """Booked twice outside, of an hour each: half an hour later the Cal.com one would still stand in Calendly's."""
    cora = linked_at_both(world, session={"lengthInMinutes": 60, "slotInterval": 30}, call={"duration": 60})
    book(world, cora, "CAL_COM", at(2, 9))
    book(world, cora, "CALENDLY", at(2, 9), "Mia")
    booking = next(one for one in cora.bookings() if one["provider"] == "CAL_COM")
    offered = free(cora, {"bookingId": booking["id"]}, at(2, 8), at(2, 11), maxAgeSeconds=0)["starts"]
    assert cora.move(booking["id"], at(2, 9, 30))["__typename"] == "SlotUnavailable"
    assert offered == [iso(at(2, 8)), iso(at(2, 10)), iso(at(2, 10, 30))]


# ---- one person -------------------------------------------------------------------------------------------------------------


def test_a_host_at_both_is_one_person(four: Caller) -> None:
    hosts = {edge["node"]["host"]["id"] for edge in four.one(EVENT_TYPES)["edges"]}
    assert len(hosts) == 1
    coaches = {participant["id"] for one in four.bookings() for participant in one["participants"] if participant["role"] == "COACH"}
    assert (len(coaches), {one["viewerRole"] for one in four.bookings()}) == (4, {"COACH"})
    (host,) = hosts
    assert len(four.one(EVENT_TYPES, hostId=host)["edges"]) == 2


def test_a_verified_address_is_one_person_at_both(world: World, four: Caller) -> None:
    mia = world.caller("Mia")
    assert [(one["provider"], one["viewerRole"]) for one in mia.bookings()] == [("CALENDLY", "MENTEE"), ("CAL_COM", "MENTEE")]
    assert brief(mia.bookings()) == ALL_FOUR[1:3]
    assert {participant["name"] for one in mia.bookings() for participant in one["participants"] if participant["isViewer"]} == {"Mia"}


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": None}, {"email_verified": "true"}], ids=str)
def test_a_mere_claim_is_nobody(world: World, four: Caller, claims: dict[str, Any]) -> None:
    assert world.caller("Mia", **claims).bookings() == []


def test_an_address_that_somebody_typed_gives_nobody_anything(world: World, four: Caller) -> None:
    """Whoever books with a coach's address does not become the coach, and the coach hosts no more than before."""
    eve = linked_at_both(world, "Eve")
    book(world, eve, "CALENDLY", at(8, 9), "Cora", email=four.email)
    found = {(one["provider"], one["start"]): one["viewerRole"] for one in four.bookings()}
    assert found[("CALENDLY", iso(at(8, 9)))] == "MENTEE"
    assert brief(eve.bookings()) == [("CALENDLY", iso(at(8, 9)))]
    assert [edge["node"]["host"]["name"] for edge in eve.one(EVENT_TYPES)["edges"]] == ["Eve", "Eve"]


@pytest.mark.parametrize("linked", PROVIDERS)
def test_a_mentee_who_is_linked_at_one_sees_the_bookings_of_both(world: World, four: Caller, linked: str) -> None:
    mia = world.caller("Mia")
    if linked == "CAL_COM":
        world.account(mia)
    else:
        calendly_account(world, mia)
    mia.link(provider=linked)
    assert brief(mia.bookings()) == ALL_FOUR[1:3]
    assert brief(mia.bookings(filter={"provider": "CALENDLY"})) == ALL_FOUR[1:2]
    world.move_clock(hours=2)
    news(world)
    assert brief(mia.bookings()) == ALL_FOUR[1:3]


def test_linking_an_account_brings_what_was_booked_with_its_address(world: World, four: Caller) -> None:
    """Max books with another address, at both; the completed link proves that it is his."""
    book(world, four, "CAL_COM", at(8, 9), "Maxim", email="alias@example.test")
    book(world, four, "CALENDLY", at(9, 9), "Maxim", email="alias@example.test")
    maxim = world.caller("Max")
    assert maxim.bookings() == []
    calendly_account(world, maxim, email="alias@example.test")
    maxim.link(provider="CALENDLY", user="alias@example.test")
    assert brief(maxim.bookings()) == [("CAL_COM", iso(at(8, 9))), ("CALENDLY", iso(at(9, 9)))]
    assert {one["viewerRole"] for one in maxim.bookings()} == {"MENTEE"}
    # what comes later under either address is his as well
    book(world, four, "CAL_COM", at(10, 9), "Max", email=maxim.email)
    book(world, four, "CALENDLY", at(11, 9), "Max", email="alias@example.test")
    assert [one["start"] for one in maxim.bookings()] == [iso(at(day, 9)) for day in (8, 9, 10, 11)]


def test_a_link_does_not_take_what_is_another_users(world: World, four: Caller) -> None:
    """Eve links a Calendly account that has Mia's address; Mia is signed in with it, verified."""
    mia, eve = world.caller("Mia"), world.caller("Eve")
    before = [one["id"] for one in mia.bookings()]
    calendly_account(world, eve, email=mia.email)
    eve.link(provider="CALENDLY", user=mia.email)
    assert eve.bookings() == []
    assert [one["id"] for one in mia.bookings()] == before
    world.move_clock(hours=2)
    news(world)
    assert (eve.bookings(), [one["id"] for one in mia.bookings()]) == ([], before)


def test_who_hosts_at_one_and_is_invited_at_the_other_is_one_person(world: World) -> None:
    """Clashes are seen across roles and providers."""
    cora, clara = linked_at_both(world), world.coach()
    book(world, cora, "CALENDLY", at(2, 9), "Clara", email=clara.email)
    book(world, clara, "CAL_COM", at(2, 8))
    mine = next(one for one in clara.bookings() if one["viewerRole"] == "COACH")
    assert brief(clara.bookings()) == [("CAL_COM", iso(at(2, 8))), ("CALENDLY", iso(at(2, 9)))]
    refused = clara.move(mine["id"], at(2, 9))
    assert (refused["__typename"], [one["reason"] for one in refused["conflicts"]]) == ("SlotUnavailable", ["BOOKED"])
    assert morning(clara, kind(clara, "CAL_COM"), maxAgeSeconds=0)["starts"] == [FOUR[1], FOUR[3]]
