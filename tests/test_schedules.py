"""Working hours: read at both providers, kept in step by polling, and changed where the provider allows it."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from harness import AVAILABILITY, EVENT_TYPES, PROBLEM, Caller, World, at, iso

FIELDS = """fragment F on Schedule { id provider name timeZone isDefault editable providerPageUrl
  weekly { day hours { start end } } overrides { date hours { start end } } }"""
SCHEDULES = f"query($provider: Provider) {{ schedules(provider: $provider) {{ ...F }} }} {FIELDS}"
UPDATE = f"""mutation($input: UpdateScheduleInput!) {{ updateSchedule(input: $input) {{ __typename
  ... on ScheduleUpdated {{ schedule {{ ...F }} }} ... on NotSupported {{ unsupported }} ... on InvalidInput {{ fields {{ path message }} }}
  ... on ConnectionUnusable {{ isViewers problem {{ code }} }} ... on ProviderFailure {{ retryable retryAt }} {PROBLEM} }} }} {FIELDS}"""
NINE_TO_FIVE = [{"start": "09:00", "end": "17:00"}]
WEEKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
READ = {"CAL_COM": "/calcom/v2/schedules", "CALENDLY": "/calendly/api/user_availability_schedules"}
DOWN: dict[str, Any] = {"kind": "status", "status": 503}
BOTH = pytest.mark.parametrize("provider", ["CAL_COM", "CALENDLY"])
CALENDLY_RULES: list[dict[str, Any]] = [
    {"type": "wday", "wday": "monday", "intervals": [{"from": "09:00", "to": "12:00"}, {"from": "13:30", "to": "24:00"}]},
    {"type": "wday", "wday": "sunday", "intervals": []},
    {"type": "date", "date": "2027-03-10", "intervals": []},
    {"type": "date", "date": "2027-03-06", "intervals": [{"from": "10:00", "to": "11:00"}]},
]
CALCOM_HOURS: dict[str, Any] = {
    "availability": [
        {"days": ["Monday", "Wednesday"], "startTime": "13:30", "endTime": "18:00"},
        {"days": ["Monday"], "startTime": "09:00", "endTime": "12:00"},
    ],
    "overrides": [
        {"date": "2027-03-10", "startTime": "00:00", "endTime": "00:00"},
        {"date": "2027-03-06", "startTime": "10:00", "endTime": "11:00"},
    ],
}


@pytest.fixture(autouse=True)
def _all_deliveries_have_arrived(world: World) -> Iterator[None]:
    """Calendly's go out after the answer: one must not meet a database that is being closed."""
    yield
    world.sandbox.settle()


def hours(start: str, end: str) -> dict[str, str]:
    return {"start": start, "end": end}


def person(world: World, provider: str, name: str = "Cora", **more: Any) -> Caller:
    """Somebody in Berlin with an account and an event type of 30 minutes at one provider."""
    caller = world.caller(name, time_zone="Europe/Berlin")
    if provider == "CAL_COM":
        world.account(caller, eventTypes=[{"title": "Call", "slug": "call", "lengthInMinutes": 30}], **more)
    else:
        ours = {"email": caller.email, "name": caller.name, "timeZone": caller.time_zone, "eventTypes": [{"name": "Call", "duration": 30}]}
        world.sandbox_call("calendly/users", **ours, **more)
    return caller.link(provider=provider)


def schedules(caller: Caller, provider: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = caller.one(SCHEDULES, provider=provider)
    return found


def update(caller: Caller, schedule_id: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = caller.one(UPDATE, input={"scheduleId": schedule_id, **more})
    return found


def at_calcom(world: World) -> Any:
    (row,) = world.sandbox.world.calcom.schedules.values()
    return row


def first_start(caller: Caller, day: int) -> str | None:
    """The first free start of the only event type on that day in March."""
    event_type = caller.one(EVENT_TYPES)["edges"][0]["node"]["id"]
    window = {"start": iso(at(day, 0)), "end": iso(at(day + 1, 0))}
    starts = caller.one(AVAILABILITY, input={"target": {"eventTypeId": event_type}, "window": window})["starts"]
    return starts[0] if starts else None


# ---- reading ----------------------------------------------------------------------------------------------------------------


def test_hours_of_both_providers_in_one_shape(world: World) -> None:
    """Several stretches a day, closed days, days with hours of their own and days off, in the schedule's own zone."""
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    world.account(cora, schedule=CALCOM_HOURS)
    ours = {"email": cora.email, "name": cora.name, "timeZone": cora.time_zone}
    world.sandbox_call("calendly/users", **ours, schedule={"timezone": "America/New_York", "rules": CALENDLY_RULES})
    cora.link().link(provider="CALENDLY")
    calcom, calendly = schedules(cora)
    assert (calcom["provider"], calcom["timeZone"], calcom["isDefault"], calcom["editable"]) == ("CAL_COM", "Europe/Berlin", True, True)
    assert calcom["weekly"] == [
        {"day": "MONDAY", "hours": [hours("09:00", "12:00"), hours("13:30", "18:00")]},
        {"day": "WEDNESDAY", "hours": [hours("13:30", "18:00")]},
    ]
    special = [{"date": "2027-03-06", "hours": [hours("10:00", "11:00")]}, {"date": "2027-03-10", "hours": []}]
    assert calcom["overrides"] == special
    assert calcom["providerPageUrl"] == f"{world.sandbox.url}/calcom/availability"
    assert (calendly["provider"], calendly["timeZone"], calendly["isDefault"]) == ("CALENDLY", "America/New_York", True)
    assert (calendly["name"], calendly["editable"]) == ("Working hours", False)
    assert calendly["weekly"] == [{"day": "MONDAY", "hours": [hours("09:00", "12:00"), hours("13:30", "24:00")]}]
    assert calendly["overrides"] == special
    assert calendly["providerPageUrl"] == f"{world.sandbox.url}/calendly/web/app/availability/schedules"
    assert schedules(cora, "CAL_COM") == [calcom]
    assert schedules(cora, "CALENDLY") == [calendly]
    assert schedules(cora, "ZOOM") == []


@BOTH
def test_nine_to_five_unless_told_otherwise(world: World, provider: str) -> None:
    (found,) = schedules(person(world, provider))
    assert found["weekly"] == [{"day": day, "hours": NINE_TO_FIVE} for day in WEEKDAYS]
    assert found["overrides"] == []


def test_the_default_comes_first(world: World) -> None:
    cora = person(world, "CAL_COM")
    row = at_calcom(world)
    for number, name in enumerate(("Zeta", "Alpha"), row.id + 100):
        world.sandbox.world.calcom.schedules.add(type(row)(number, row.owner_id, name, "UTC", [], []))
    world.move_clock(minutes=31)
    world.jobs()
    assert [(one["name"], one["isDefault"]) for one in schedules(cora)] == [(row.name, True), ("Alpha", False), ("Zeta", False)]
    assert schedules(cora)[1]["weekly"] == []


@BOTH
def test_only_ones_own_are_shown(world: World, provider: str) -> None:
    cora = person(world, provider)
    assert len(schedules(cora)) == 1
    assert schedules(person(world, provider, "Eve")) != schedules(cora)
    assert schedules(world.caller("Otto")) == []


@BOTH
def test_reading_them_again_calls_nobody(world: World, provider: str) -> None:
    cora = person(world, provider)
    before = world.calls("GET", READ[provider])
    assert schedules(cora) == schedules(cora)
    assert world.calls("GET", READ[provider]) == before


@BOTH
def test_after_unlinking_they_are_gone_and_linking_brings_them_back(world: World, provider: str) -> None:
    cora = person(world, provider)
    before = schedules(cora)
    cora.gql("mutation($p: Provider!) { disconnectProvider(input: {provider: $p}) { __typename } }", p=provider)
    assert schedules(cora) == []
    cora.link(provider=provider)
    assert [one | {"id": ""} for one in schedules(cora)] == [one | {"id": ""} for one in before]


# ---- polling ----------------------------------------------------------------------------------------------------------------


def open_later(world: World, provider: str) -> None:
    """At the provider's own page the day now begins at noon."""
    if provider == "CAL_COM":
        at_calcom(world).availability = [{"days": [day.title() for day in WEEKDAYS], "startTime": "12:00", "endTime": "17:00"}]
        return
    (row,) = world.sandbox.world.calendly.schedules.values()
    row.rules = [{"type": "wday", "wday": day.lower(), "intervals": [{"from": "12:00", "to": "17:00"}]} for day in WEEKDAYS]


@BOTH
def test_a_change_at_the_provider_arrives_within_half_an_hour(world: World, provider: str) -> None:
    """Neither provider tells it. What was cached of free times goes with it, however young it is."""
    cora = person(world, provider)
    assert first_start(cora, 3) == "2027-03-03T08:00:00Z"
    open_later(world, provider)
    world.move_clock(minutes=29)
    world.jobs()
    # the warm cache is younger than the change, so it is right already; the schedule itself is not read more often
    assert schedules(cora)[0]["weekly"][0]["hours"] == NINE_TO_FIVE
    world.move_clock(minutes=1)
    world.jobs()
    assert schedules(cora)[0]["weekly"] == [{"day": day, "hours": [hours("12:00", "17:00")]} for day in WEEKDAYS]
    assert first_start(cora, 3) == "2027-03-03T11:00:00Z"


@BOTH
def test_reading_changed_hours_forgets_cached_free_times(world: World, provider: str) -> None:
    """The clock stands still between the cached answer and the reading: only the difference can have made it forget."""
    cora = person(world, provider)
    world.move_clock(minutes=30)
    assert first_start(cora, 3) == "2027-03-03T08:00:00Z"
    open_later(world, provider)
    assert first_start(cora, 3) == "2027-03-03T08:00:00Z"
    world.jobs()
    assert first_start(cora, 3) == "2027-03-03T11:00:00Z"


@BOTH
def test_a_schedule_that_is_gone_at_the_provider_is_gone_here(world: World, provider: str) -> None:
    cora = person(world, provider)
    assert len(schedules(cora)) == 1
    place = world.sandbox.world.calcom if provider == "CAL_COM" else world.sandbox.world.calendly
    place.schedules.remove(lambda _: False)
    world.move_clock(minutes=30)
    world.jobs()
    assert schedules(cora) == []


@BOTH
def test_a_provider_that_is_down_leaves_what_was_known(world: World, provider: str) -> None:
    cora = person(world, provider)
    before = schedules(cora)
    world.sandbox.fault(DOWN, method="GET", path=f"{READ[provider]}*", times=None)
    world.move_clock(minutes=31)
    world.jobs()
    assert schedules(cora) == before


# ---- changing ---------------------------------------------------------------------------------------------------------------


def test_changed_at_cal_com_to_exactly_what_was_asked_for(world: World) -> None:
    cora = person(world, "CAL_COM")
    (before,) = schedules(cora)
    weekly = [
        {"day": "TUESDAY", "hours": [hours("14:00", "16:00"), hours("09:00", "10:30")]},
        {"day": "MONDAY", "hours": [hours("08:00", "12:00")]},
        {"day": "SUNDAY", "hours": []},
    ]
    overrides = [{"date": "2027-03-10", "hours": []}, {"date": "2027-03-06", "hours": [hours("10:00", "11:00")]}]
    done = update(cora, before["id"], name="  Summer ", timeZone="Europe/Lisbon", weekly=weekly, overrides=overrides)
    assert done["__typename"] == "ScheduleUpdated", done
    changed = before | {
        "name": "Summer",
        "timeZone": "Europe/Lisbon",
        "weekly": [
            {"day": "MONDAY", "hours": [hours("08:00", "12:00")]},
            {"day": "TUESDAY", "hours": [hours("09:00", "10:30"), hours("14:00", "16:00")]},
        ],
        "overrides": [{"date": "2027-03-06", "hours": [hours("10:00", "11:00")]}, {"date": "2027-03-10", "hours": []}],
    }
    assert done["schedule"] == changed
    assert schedules(cora) == [changed]
    row = at_calcom(world)
    assert (row.name, row.time_zone) == ("Summer", "Europe/Lisbon")
    assert row.availability == [
        {"days": ["Monday"], "startTime": "08:00", "endTime": "12:00"},
        {"days": ["Tuesday"], "startTime": "09:00", "endTime": "10:30"},
        {"days": ["Tuesday"], "startTime": "14:00", "endTime": "16:00"},
    ]
    assert row.overrides == [
        {"date": "2027-03-06", "startTime": "10:00", "endTime": "11:00"},
        {"date": "2027-03-10", "startTime": "00:00", "endTime": "00:00"},
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Other"},
        {"timeZone": "Asia/Tokyo"},
        {"weekly": [{"day": "FRIDAY", "hours": [{"start": "09:00", "end": "10:00"}]}]},
        {"overrides": [{"date": "2027-03-10", "hours": []}]},
        {"overrides": []},
    ],
    ids=["name", "zone", "weekly", "overrides", "no overrides"],
)
def test_what_is_left_out_stays(world: World, change: dict[str, Any]) -> None:
    cora = person(world, "CAL_COM", schedule=CALCOM_HOURS)
    (before,) = schedules(cora)
    assert update(cora, before["id"], **change)["schedule"] == before | change
    world.move_clock(minutes=31)
    world.jobs()
    assert schedules(cora) == [before | change]


def test_a_change_takes_effect_on_free_times_at_once(world: World) -> None:
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    assert first_start(cora, 3) == "2027-03-03T08:00:00Z"
    update(cora, found["id"], weekly=[{"day": "WEDNESDAY", "hours": [hours("12:00", "13:00")]}])
    assert (first_start(cora, 3), first_start(cora, 4)) == ("2027-03-03T11:00:00Z", None)
    update(cora, found["id"], overrides=[{"date": "2027-03-03", "hours": []}, {"date": "2027-03-04", "hours": [hours("10:00", "11:00")]}])
    assert (first_start(cora, 3), first_start(cora, 4)) == (None, "2027-03-04T09:00:00Z")


def test_the_end_of_the_day(world: World) -> None:
    """24:00 is what Convene says for it; Cal.com knows no later minute than 23:59."""
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    done = update(cora, found["id"], weekly=[{"day": "MONDAY", "hours": [hours("22:00", "24:00")]}])
    assert done["__typename"] == "ScheduleUpdated", done
    assert at_calcom(world).availability == [{"days": ["Monday"], "startTime": "22:00", "endTime": "23:59"}]


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"weekly": [{"day": "MONDAY", "hours": [hours("9:00", "17:00")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("09:00", "25:00")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("09:60", "17:00")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("09:00\n", "17:00")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("", "")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("17:00", "09:00")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("24:00", "24:00")]}]}, ["weekly", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": [hours("00:00", "00:00")]}]}, ["weekly", "0", "hours"]),
    (
        {"weekly": [{"day": "MONDAY", "hours": []}, {"day": "TUESDAY", "hours": [hours("11:00", "13:00"), hours("09:00", "11:01")]}]},
        ["weekly", "1", "hours"],
    ),
    ({"overrides": [{"date": "2027-03-10", "hours": [hours("09:00", "12:00"), hours("10:00", "11:00")]}]}, ["overrides", "0", "hours"]),
    ({"weekly": [{"day": "MONDAY", "hours": []}, {"day": "MONDAY", "hours": []}]}, ["weekly"]),
    ({"overrides": [{"date": "2027-03-10", "hours": []}, {"date": "2027-03-10", "hours": []}]}, ["overrides"]),
    ({"overrides": [{"date": date.fromordinal(739_700 + n).isoformat(), "hours": []} for n in range(101)]}, ["overrides"]),
    ({"name": " "}, ["name"]),
    ({"name": "x" * 201}, ["name"]),
]


@pytest.mark.parametrize(("change", "path"), BAD, ids=[f"{number}-{path[0]}" for number, (_, path) in enumerate(BAD)])
def test_bad_hours_are_told_by_field_and_change_nothing(world: World, change: dict[str, Any], path: list[str]) -> None:
    cora = person(world, "CAL_COM")
    before = schedules(cora)
    refused = update(cora, before[0]["id"], **change)
    assert (refused["__typename"], [one["path"] for one in refused["fields"]]) == ("InvalidInput", [path])
    assert world.calls("PATCH", "/schedules") == 0
    assert schedules(cora) == before


def test_stretches_that_touch_are_fine(world: World) -> None:
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    both = [hours("09:00", "11:00"), hours("11:00", "13:00")]
    done = update(cora, found["id"], weekly=[{"day": "MONDAY", "hours": both}])
    assert done["schedule"]["weekly"] == [{"day": "MONDAY", "hours": both}]


@pytest.mark.parametrize("text", ["10.03.2027", "2027-02-30", "", "20270310T"])
def test_a_date_that_is_none_is_a_mistake_in_the_query(world: World, text: str) -> None:
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    errors = cora.errors(UPDATE, input={"scheduleId": found["id"], "overrides": [{"date": text, "hours": []}]})
    assert [one["extensions"]["code"] for one in errors] == ["BAD_USER_INPUT"]
    assert world.calls("PATCH", "/schedules") == 0


def test_a_zone_that_is_none_is_a_mistake_in_the_query(world: World) -> None:
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    errors = cora.errors(UPDATE, input={"scheduleId": found["id"], "timeZone": "Berlin"})
    assert [one["extensions"]["code"] for one in errors] == ["BAD_USER_INPUT"]
    assert world.calls("PATCH", "/schedules") == 0


def test_calendly_has_no_way_and_names_its_page(world: World) -> None:
    cora = person(world, "CALENDLY")
    (found,) = schedules(cora)
    refused = update(cora, found["id"], name="Summer")
    assert (refused["__typename"], refused["code"], refused["unsupported"]) == ("NotSupported", "NOT_SUPPORTED", [])
    assert found["providerPageUrl"] in refused["message"]
    assert (world.calls("PATCH", "/calendly/"), world.calls("POST", "/user_availability_schedules")) == (0, 0)
    assert schedules(cora) == [found]


@BOTH
def test_somebody_elses_cannot_be_changed(world: World, provider: str) -> None:
    (found,) = schedules(person(world, provider))
    for stranger in (person(world, provider, "Eve"), world.caller("Otto")):
        assert update(stranger, found["id"], name="Mine")["__typename"] == "NotFound"
        assert update(stranger, "no-such-id", name="Mine")["__typename"] == "NotFound"
    assert world.calls("PATCH", "/schedules") == 0


def test_a_provider_that_is_down_changes_nothing(world: World) -> None:
    cora = person(world, "CAL_COM")
    before = schedules(cora)
    world.sandbox.fault(DOWN, method="PATCH", path="/calcom/v2/schedules/*")
    refused = update(cora, before[0]["id"], name="Summer")
    assert (refused["__typename"], refused["retryable"], refused["retryAt"]) == ("ProviderFailure", True, "2027-03-01T08:00:30Z")
    assert (schedules(cora), at_calcom(world).name) == (before, before[0]["name"])


def test_a_change_whose_answer_is_lost_shows_as_the_provider_has_it(world: World) -> None:
    """Whether it is told as done or as failed: what is shown from then on, and the free times, are the provider's."""
    cora = person(world, "CAL_COM")
    (before,) = schedules(cora)
    assert first_start(cora, 3) == "2027-03-03T08:00:00Z"
    fault = world.sandbox.fault({"kind": "drop", "when": "after"}, method="PATCH", path="/calcom/v2/schedules/*")
    weekly = [{"day": "WEDNESDAY", "hours": [hours("12:00", "13:00")]}]
    answer = update(cora, before["id"], weekly=weekly)
    assert (fault.hits, answer["__typename"] in {"ScheduleUpdated", "ProviderFailure"}) == (1, True)
    world.jobs()
    assert schedules(cora)[0]["weekly"] == weekly
    assert first_start(cora, 3) == "2027-03-03T11:00:00Z"


def test_a_link_that_was_revoked(world: World) -> None:
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    world.sandbox_call("calcom/tokens/revoke", email=cora.email)
    refused = update(cora, found["id"], name="Summer")
    assert (refused["__typename"], refused["isViewers"], refused["problem"]["code"]) == ("ConnectionUnusable", True, "REVOKED")
    assert at_calcom(world).name == found["name"]


def test_one_that_is_gone_at_the_provider(world: World) -> None:
    cora = person(world, "CAL_COM")
    (found,) = schedules(cora)
    world.sandbox.world.calcom.schedules.remove(lambda _: False)
    refused = update(cora, found["id"], name="Summer")
    assert refused["__typename"] == "NotFound", refused
