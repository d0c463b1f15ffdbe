"""Making and changing event types at both providers: exactly what was asked for, once, or a typed answer and nothing."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import AVAILABILITY, EVENT_TYPES, PROBLEM, Caller, World, at, iso

CREATE, UPDATE = (
    f"""mutation($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ __typename
  ... on {done} {{ eventType {{ id provider title slug description durationMinutes durationOptions active hidden requiresConfirmation
    group schedulingUrl isDefault createsZoomMeeting recordsMeeting host {{ id name }} }} }}
  ... on NotSupported {{ unsupported }} ... on InvalidInput {{ fields {{ path message }} }}
  ... on ConnectionUnusable {{ isViewers provider problem {{ code missingScopes }} }} ... on ProviderFailure {{ retryable retryAt }} {PROBLEM} }} }}"""
    for name, done in (("createEventType", "EventTypeCreated"), ("updateEventType", "EventTypeUpdated"))
)
POSTS = {"CAL_COM": "/calcom/v2/event-types", "CALENDLY": "/calendly/api/event_types"}
BOTH = pytest.mark.parametrize("provider", ["CAL_COM", "CALENDLY"])
LOST: dict[str, Any] = {"kind": "drop", "when": "after"}


@pytest.fixture(autouse=True)
def _all_deliveries_have_arrived(world: World) -> Iterator[None]:
    """Calendly's go out after the answer: one must not meet a database that is being closed."""
    yield
    world.sandbox.settle()


def create(person: Caller, provider: str = "CAL_COM", title: str = "Call", minutes: int = 30, **more: Any) -> dict[str, Any]:
    wanted = {"provider": provider, "title": title, "durationMinutes": minutes, **more}
    found: dict[str, Any] = person.one(CREATE, input=wanted)
    return found


def update(person: Caller, event_type_id: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = person.one(UPDATE, input={"eventTypeId": event_type_id, **more})
    return found


def listed(person: Caller) -> list[dict[str, Any]]:
    return [edge["node"] for edge in person.one(EVENT_TYPES)["edges"]]


def titles(person: Caller) -> list[str]:
    return [one["title"] for one in listed(person)]


def there(world: World, provider: str) -> list[tuple[str, int]]:
    """Title and length of every event type that the provider has."""
    if provider == "CALENDLY":
        return sorted((row.name, row.duration) for row in world.sandbox.world.calendly.event_types.values())
    return sorted((row.data["title"], row.length) for row in world.sandbox.world.calcom.event_types.values())


def at_calcom(world: World, title: str) -> dict[str, Any]:
    return next(row.data for row in world.sandbox.world.calcom.event_types.values() if row.data["title"] == title)


def at_calendly(world: World, name: str) -> Any:
    return next(row for row in world.sandbox.world.calendly.event_types.values() if row.name == name)


def writes(world: World) -> int:
    """How often anybody tried to make or change an event type."""
    return sum(1 for r in world.sandbox.requests if r.method in {"POST", "PATCH"} and ("event-types" in r.path or "event_types" in r.path))


def path_of(refused: dict[str, Any]) -> list[list[str]]:
    assert refused["__typename"] == "InvalidInput", refused
    return [one["path"] for one in refused["fields"]]


@pytest.fixture
def coach(world: World) -> Callable[[str], Caller]:
    """Somebody linked at one provider, who has no event type there yet."""

    def make(provider: str, name: str = "Cora") -> Caller:
        person = world.caller(name, time_zone="Europe/Berlin")
        if provider == "CAL_COM":
            world.account(person)
        else:
            world.sandbox_call("calendly/users", email=person.email, name=person.name, timeZone=person.time_zone)
        return person.link(provider=provider)

    return make


def with_zoom(world: World, person: Caller) -> Caller:
    world.sandbox_call("zoom/users", email=person.email, name=person.name)
    return person.link(provider="ZOOM")


# ---- making one -------------------------------------------------------------------------------------------------------------


def test_made_at_cal_com_as_it_was_asked_for(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    more = {"description": "For *everybody*", "hidden": True, "requiresConfirmation": True, "durationOptions": [30, 60], "slug": "talk"}
    made = create(cora, title="Première séance", minutes=30, **more)
    assert made["__typename"] == "EventTypeCreated", made
    shown = made["eventType"]
    assert shown | {"id": "", "schedulingUrl": ""} == {
        "id": "",
        "provider": "CAL_COM",
        "title": "Première séance",
        "slug": "talk",
        "description": "For *everybody*",
        "durationMinutes": 30,
        "durationOptions": [30, 60],
        "active": True,
        "hidden": True,
        "requiresConfirmation": True,
        "group": False,
        "schedulingUrl": "",
        "isDefault": False,
        "createsZoomMeeting": False,
        "recordsMeeting": False,
        "host": shown["host"],
    }
    assert (shown["host"]["name"], shown["schedulingUrl"].endswith("/talk")) == ("Cora", True)
    data = at_calcom(world, "Première séance")
    assert (data["slug"], data["description"], data["hidden"], data["lengthInMinutes"], data["lengthInMinutesOptions"]) == (
        "talk",
        "For *everybody*",
        True,
        30,
        [30, 60],
    )
    assert data["confirmationPolicy"] == {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    assert titles(cora) == ["Première séance"]


def test_made_at_calendly_and_bookable_at_once(world: World, coach: Any) -> None:
    cora = coach("CALENDLY")
    made = create(cora, "CALENDLY", "Call", 45, description="Bring a question", durationOptions=[45, 60])
    assert made["__typename"] == "EventTypeCreated", made
    shown, row = made["eventType"], at_calendly(world, "Call")
    assert (row.duration, row.description, row.duration_options, row.active, row.kind) == (45, "Bring a question", [45, 60], True, "solo")
    assert (shown["durationMinutes"], shown["description"], shown["durationOptions"], shown["active"], shown["provider"]) == (
        45,
        "Bring a question",
        [45, 60],
        True,
        "CALENDLY",
    )
    window = {"start": iso(at(2, 8)), "end": iso(at(2, 9))}
    free = cora.one(AVAILABILITY, input={"target": {"eventTypeId": shown["id"]}, "window": window})
    assert free["starts"] == [iso(at(2, 8)), iso(at(2, 8, 30))]


@pytest.mark.parametrize(
    ("title", "slug"),
    [("First call", "first-call"), ("  Über & unter!  ", "uber-unter"), ("会议", "meeting"), ("x" * 200, "x" * 80)],
    ids=["plain", "accents", "no letters", "long"],
)
def test_without_a_slug_one_is_made_of_the_title(world: World, coach: Any, title: str, slug: str) -> None:
    assert create(coach("CAL_COM"), title=title)["eventType"]["slug"] == slug
    assert [row.data["slug"] for row in world.sandbox.world.calcom.event_types.values()] == [slug]


def test_other_lengths_alone_are_completed_with_its_own_for_cal_com(world: World, coach: Any) -> None:
    """Cal.com wants its own length among them: 'Must include the provided lengthInMinutes'."""
    made = create(coach("CAL_COM"), minutes=30, durationOptions=[60])
    assert made["__typename"] == "EventTypeCreated", made
    assert sorted(at_calcom(world, "Call")["lengthInMinutesOptions"]) == [30, 60]


# ---- what cannot be, and what may not be ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"slug": "call"}, ["slug"]),
        ({"hidden": True}, ["hidden"]),
        ({"hidden": False}, ["hidden"]),
        ({"requiresConfirmation": True, "slug": "x", "hidden": True}, ["hidden", "requiresConfirmation", "slug"]),
    ],
    ids=["slug", "hidden", "not hidden", "all"],
)
def test_what_calendly_cannot_set_is_named_with_the_page(world: World, coach: Any, more: dict[str, Any], fields: list[str]) -> None:
    cora = coach("CALENDLY")
    before = writes(world)
    refused = create(cora, "CALENDLY", **more)
    assert (refused["__typename"], refused["code"], refused["unsupported"]) == ("NotSupported", "NOT_SUPPORTED", fields)
    assert f"{world.sandbox.url}/calendly/web/app/scheduling/meeting_types" in refused["message"]
    assert all(field in refused["message"] for field in fields)
    assert (writes(world), there(world, "CALENDLY")) == (before, [])


def test_cal_com_cannot_switch_one_off(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    made = create(cora)["eventType"]
    before = writes(world)
    refused = update(cora, made["id"], active=False, title="Other")
    assert (refused["__typename"], refused["unsupported"]) == ("NotSupported", ["active"])
    assert f"{world.sandbox.url}/calcom/event-types" in refused["message"]
    assert (writes(world), there(world, "CAL_COM"), titles(cora)) == (before, [("Call", 30)], ["Call"])


@pytest.mark.parametrize(
    ("provider", "wish", "path"),
    [
        ("CAL_COM", {"title": ""}, ["title"]),
        ("CALENDLY", {"title": "   "}, ["title"]),
        ("CAL_COM", {"title": "x" * 201}, ["title"]),
        ("CAL_COM", {"slug": "Not a slug"}, ["slug"]),
        ("CAL_COM", {"slug": "-x"}, ["slug"]),
        ("CAL_COM", {"slug": ""}, ["slug"]),
        ("CALENDLY", {"description": "x" * 5001}, ["description"]),
        ("CAL_COM", {"minutes": 0}, ["durationMinutes"]),
        ("CAL_COM", {"minutes": -5}, ["durationMinutes"]),
        ("CAL_COM", {"minutes": 1441}, ["durationMinutes"]),
        ("CALENDLY", {"minutes": 721}, ["durationMinutes"]),
        ("CALENDLY", {"durationOptions": [15, 30, 45, 60, 90]}, ["durationOptions"]),
        ("CALENDLY", {"durationOptions": [30, 30]}, ["durationOptions"]),
        ("CAL_COM", {"durationOptions": [30, 0]}, ["durationOptions"]),
        ("CAL_COM", {"recordsMeeting": True}, ["recordsMeeting"]),
    ],
)
def test_nonsense_is_told_by_field_and_nobody_is_called(
    world: World, coach: Any, provider: str, wish: dict[str, Any], path: list[str]
) -> None:
    cora = coach(provider)
    before = writes(world)
    assert path_of(create(cora, provider, **wish)) == [path]
    assert (writes(world), there(world, provider), listed(cora)) == (before, [], [])


def test_everything_that_is_wrong_is_told_at_once(coach: Any) -> None:
    refused = create(coach("CAL_COM"), title=" ", minutes=0, slug="?", durationOptions=[1, 1])
    assert path_of(refused) == [["title"], ["slug"], ["durationMinutes"], ["durationOptions"]]


@BOTH
def test_without_a_link_nothing_is_made(world: World, provider: str) -> None:
    refused = create(world.caller("Otto"), provider)
    assert (refused["__typename"], writes(world)) == ("NotConnected", 0)


def test_a_provider_of_meetings_has_no_event_types(world: World, coach: Any) -> None:
    cora = with_zoom(world, coach("CAL_COM"))
    before = writes(world)
    refused = create(cora, "ZOOM")
    assert (refused["__typename"], refused["code"], refused["retryable"]) == ("ProviderFailure", "NOT_SUPPORTED", False)
    assert writes(world) == before


@BOTH
def test_somebody_elses_cannot_be_changed_and_is_not_even_known(world: World, coach: Any, provider: str) -> None:
    cora, eve = coach(provider), coach(provider, "Eve")
    made = create(cora, provider)["eventType"]
    before = writes(world)
    for stranger in (eve, world.caller("Otto")):
        assert update(stranger, made["id"], title="Mine")["__typename"] == "NotFound"
    assert update(eve, "no-such-id", title="Mine")["__typename"] == "NotFound"
    assert (writes(world), there(world, provider), titles(cora)) == (before, [("Call", 30)], ["Call"])


@BOTH
def test_after_unlinking_it_cannot_be_changed(world: World, coach: Any, provider: str) -> None:
    cora = coach(provider)
    made = create(cora, provider)["eventType"]
    cora.gql("mutation($p: Provider!) { disconnectProvider(input: {provider: $p}) { __typename } }", p=provider)
    before = writes(world)
    assert update(cora, made["id"], title="Other")["__typename"] == "NotFound"
    assert create(cora, provider, "Another")["__typename"] == "NotConnected"
    assert (writes(world), there(world, provider)) == (before, [("Call", 30)])


@BOTH
def test_with_a_link_that_was_revoked(world: World, coach: Any, provider: str) -> None:
    cora = coach(provider)
    world.sandbox_call(f"{'calcom' if provider == 'CAL_COM' else 'calendly'}/tokens/revoke", email=cora.email)
    refused = create(cora, provider)
    assert (refused["__typename"], refused["isViewers"], refused["problem"]["code"]) == ("ConnectionUnusable", True, "REVOKED")
    assert (there(world, provider), listed(cora)) == ([], [])


# ---- slugs that are taken ---------------------------------------------------------------------------------------------------


def test_a_taken_slug_is_told_of_the_slug(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    create(cora)
    refused = create(cora)
    assert path_of(refused) == [["slug"]]
    assert (there(world, "CAL_COM"), titles(cora)) == ([("Call", 30)], ["Call"])


def test_a_slug_cannot_be_changed_to_a_taken_one(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    create(cora)
    other = create(cora, title="Other")["eventType"]
    assert path_of(update(cora, other["id"], slug="call")) == [["slug"]]
    assert at_calcom(world, "Other")["slug"] == "other"
    assert sorted(one["slug"] for one in listed(cora)) == ["call", "other"]


def test_a_conflict_by_its_status(world: World, coach: Any) -> None:
    world.sandbox.fault({"kind": "status", "status": 409}, method="POST", path=POSTS["CAL_COM"])
    assert path_of(create(coach("CAL_COM"))) == [["slug"]]
    assert there(world, "CAL_COM") == []


# ---- lost answers, and two at once ------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("effect", [LOST, {"kind": "malformed"}], ids=["lost", "malformed"])
def test_after_a_lost_answer_the_list_tells_that_it_is_there(world: World, coach: Any, provider: str, effect: dict[str, Any]) -> None:
    cora = coach(provider)
    fault = world.sandbox.fault(effect, method="POST", path=POSTS[provider])
    made = create(cora, provider)
    assert (made["__typename"], fault.hits) == ("EventTypeCreated", 1)
    assert (there(world, provider), titles(cora)) == ([("Call", 30)], ["Call"])
    assert [one["id"] for one in listed(cora)] == [made["eventType"]["id"]]


@BOTH
@pytest.mark.parametrize("effect", [{"kind": "status", "status": 503}, {"kind": "drop", "when": "before"}], ids=["503", "not done"])
def test_what_was_not_done_is_told_as_unknown_and_not_made_again(world: World, coach: Any, provider: str, effect: dict[str, Any]) -> None:
    cora = coach(provider)
    fault = world.sandbox.fault(effect, method="POST", path=POSTS[provider], times=None)
    refused = create(cora, provider)
    assert (refused["__typename"], refused["retryable"], fault.hits) == ("ProviderFailure", True, 1)
    assert refused["retryAt"] == "2027-03-01T08:00:30Z"
    assert "not known" in refused["message"]
    assert (there(world, provider), listed(cora)) == ([], [])
    fault.remove()
    world.move_clock(seconds=31)
    assert create(cora, provider)["__typename"] == "EventTypeCreated"
    assert there(world, provider) == [("Call", 30)]


@BOTH
def test_a_lost_answer_and_a_list_that_cannot_be_had(world: World, coach: Any, provider: str) -> None:
    """It is there, and nobody knows: told so, made once, and on the list as soon as the provider answers."""
    cora = coach(provider)
    world.sandbox.fault(LOST, method="POST", path=POSTS[provider])
    reading = world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=f"{POSTS[provider]}*", times=None)
    refused = create(cora, provider)
    assert (refused["__typename"], refused["retryable"]) == ("ProviderFailure", True)
    assert there(world, provider) == [("Call", 30)]
    reading.remove()
    world.move_clock(minutes=31)
    world.jobs()
    assert (there(world, provider), titles(cora)) == ([("Call", 30)], ["Call"])


def test_one_that_somebody_made_by_hand_is_not_taken_for_ours(world: World, coach: Any) -> None:
    """The request never arrived; what has the same title and length there has another slug than we asked for."""
    cora = coach("CAL_COM")
    row = create(cora)["eventType"]
    by_hand = next(iter(world.sandbox.world.calcom.event_types.values()))
    update(cora, row["id"], title="Renamed")
    other = type(by_hand)(by_hand.id + 5000, by_hand.owner_id, {**by_hand.data, "title": "Talk", "slug": "by-hand"}, by_hand.created_at)
    world.sandbox.world.calcom.event_types.add(other)
    world.sandbox.fault({"kind": "drop", "when": "before"}, method="POST", path=POSTS["CAL_COM"])
    refused = create(cora, title="Talk", slug="talk")
    assert (refused["__typename"], refused.get("retryable")) == ("ProviderFailure", True), refused
    assert sorted(r.data["slug"] for r in world.sandbox.world.calcom.event_types.values()) == ["by-hand", "call"]


def at_once(*calls: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    gate, answers = threading.Barrier(len(calls)), []

    def run(call: Callable[[], dict[str, Any]]) -> None:
        gate.wait()
        answers.append(call())

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return answers


def test_two_at_once_with_one_slug_make_one(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    answers = at_once(*[lambda: create(cora)] * 4)
    assert sorted(answer["__typename"] for answer in answers) == ["EventTypeCreated", *["InvalidInput"] * 3]
    assert (there(world, "CAL_COM"), titles(cora)) == ([("Call", 30)], ["Call"])


def test_two_at_once_of_one_name_and_a_lost_answer_are_two_of_their_own(world: World, coach: Any) -> None:
    """At Calendly two may have one name: the one whose answer was lost must not take the other for its own."""
    cora = coach("CALENDLY")
    world.sandbox.fault(LOST, method="POST", path=POSTS["CALENDLY"])
    answers = at_once(*[lambda: create(cora, "CALENDLY")] * 2)
    assert [answer["__typename"] for answer in answers] == ["EventTypeCreated"] * 2
    assert len({answer["eventType"]["id"] for answer in answers}) == 2
    assert (there(world, "CALENDLY"), len(listed(cora))) == ([("Call", 30)] * 2, 2)


# ---- changing one -----------------------------------------------------------------------------------------------------------


def test_changed_at_cal_com_and_what_is_not_named_stays(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    made = create(cora, description="Long", durationOptions=[30, 60])["eventType"]
    done = update(cora, made["id"], title="Talk", durationMinutes=60, hidden=True, requiresConfirmation=True)
    assert done["__typename"] == "EventTypeUpdated", done
    assert done["eventType"] == made | {"title": "Talk", "durationMinutes": 60, "hidden": True, "requiresConfirmation": True}
    data = at_calcom(world, "Talk")
    assert (data["slug"], data["lengthInMinutes"], data["hidden"], data["description"]) == ("call", 60, True, "Long")
    assert data["confirmationPolicy"] == {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    back = update(cora, made["id"], requiresConfirmation=False, hidden=False, slug="talk", description="")
    assert back["eventType"] == done["eventType"] | {
        "requiresConfirmation": False,
        "hidden": False,
        "slug": "talk",
        "description": None,
        "schedulingUrl": made["schedulingUrl"].replace("/call", "/talk"),
    }
    assert (data["title"], at_calcom(world, "Talk")["confirmationPolicy"]) == ("Talk", {"disabled": True})


def test_changed_at_calendly_and_switched_off_and_on(world: World, coach: Any) -> None:
    cora = coach("CALENDLY")
    made = create(cora, "CALENDLY", description="Long")["eventType"]
    done = update(cora, made["id"], title="Talk", durationMinutes=60, durationOptions=[60, 90])
    assert done["eventType"] == made | {"title": "Talk", "durationMinutes": 60, "durationOptions": [60, 90]}
    row = at_calendly(world, "Talk")
    assert (row.duration, row.duration_options, row.description, row.slug, row.active) == (60, [60, 90], "Long", "call", True)
    off = update(cora, made["id"], active=False)
    assert (off["__typename"], off["eventType"]["active"], row.active) == ("EventTypeUpdated", False, False)
    world.sandbox.settle()
    world.jobs()
    on = update(cora, made["id"], active=True)
    assert (on["__typename"], on["eventType"]["active"], row.active) == ("EventTypeUpdated", True, True)
    assert on["eventType"]["id"] == made["id"]


def test_one_that_is_switched_off_cannot_be_booked_by_anybody(world: World, coach: Any) -> None:
    cora = coach("CALENDLY")
    made = create(cora, "CALENDLY")["eventType"]
    host = made["host"]["id"]
    update(cora, made["id"], active=False)
    window = {"start": iso(at(2, 8)), "end": iso(at(2, 9))}
    asked = {"target": {"eventTypeId": made["id"]}, "window": window}
    assert world.caller("Otto").one(AVAILABILITY, input=asked)["__typename"] == "NotFound"
    assert world.caller("Otto").one(EVENT_TYPES, hostId=host)["edges"] == []


def test_a_change_makes_cached_free_times_out_of_date(world: World, coach: Any) -> None:
    cora = coach("CAL_COM")
    made = create(cora)["eventType"]
    asked = {"target": {"eventTypeId": made["id"]}, "window": {"start": iso(at(2, 8)), "end": iso(at(2, 10))}}
    assert len(cora.one(AVAILABILITY, input=asked)["starts"]) == 4
    update(cora, made["id"], durationMinutes=60)
    found = cora.one(AVAILABILITY, input=asked)
    assert (found["durationMinutes"], found["starts"]) == (60, [iso(at(2, 8)), iso(at(2, 9))])


@BOTH
def test_a_change_of_nothing_calls_nobody(world: World, coach: Any, provider: str) -> None:
    cora = coach(provider)
    made = create(cora, provider)["eventType"]
    before = writes(world)
    done = update(cora, made["id"], title=None)
    assert (done["__typename"], done["eventType"], writes(world)) == ("EventTypeUpdated", made, before)


@BOTH
@pytest.mark.parametrize("wish", [{"title": ""}, {"durationMinutes": 0}, {"recordsMeeting": True}], ids=lambda wish: next(iter(wish)))
def test_nonsense_changes_nothing(world: World, coach: Any, provider: str, wish: dict[str, Any]) -> None:
    cora = coach(provider)
    made = create(cora, provider)["eventType"]
    before = writes(world)
    assert path_of(update(cora, made["id"], **wish)) == [[next(iter(wish))]]
    assert (writes(world), there(world, provider), listed(cora)[0]["title"]) == (before, [("Call", 30)], "Call")


@BOTH
def test_a_change_whose_answer_is_lost_is_on_the_list(world: World, coach: Any, provider: str) -> None:
    """Whether it is told as done or as unknown ('look at the list'): the list has what the provider has."""
    cora = coach(provider)
    made = create(cora, provider)["eventType"]
    fault = world.sandbox.fault(LOST, method="PATCH", path=f"{POSTS[provider]}/*")
    answer = update(cora, made["id"], title="Talk")
    assert fault.hits == 1
    assert answer["__typename"] in {"EventTypeUpdated", "ProviderFailure"}
    assert (there(world, provider), titles(cora)) == ([("Talk", 30)], ["Talk"])


@BOTH
def test_a_change_that_did_not_arrive_changes_nothing_here(world: World, coach: Any, provider: str) -> None:
    cora = coach(provider)
    made = create(cora, provider)["eventType"]
    world.sandbox.fault({"kind": "status", "status": 503}, method="PATCH", path=f"{POSTS[provider]}/*")
    refused = update(cora, made["id"], title="Talk")
    assert (refused["__typename"], refused["retryable"]) == ("ProviderFailure", True)
    assert (there(world, provider), titles(cora)) == ([("Call", 30)], ["Call"])


@BOTH
def test_one_that_is_gone_at_the_provider(world: World, coach: Any, provider: str) -> None:
    cora = coach(provider)
    made = create(cora, provider)["eventType"]
    rows = world.sandbox.world.calcom.event_types if provider == "CAL_COM" else world.sandbox.world.calendly.event_types
    rows.remove(lambda _: False)
    refused = update(cora, made["id"], title="Talk")
    assert refused["__typename"] == "NotFound", refused
    assert listed(cora) == []


# ---- meetings of its own ----------------------------------------------------------------------------------------------------


@BOTH
def test_zoom_meetings_need_a_linked_zoom(world: World, coach: Any, provider: str) -> None:
    cora = coach(provider)
    before = writes(world)
    refused = create(cora, provider, createsZoomMeeting=True)
    assert (refused["__typename"], writes(world), there(world, provider)) == ("NotConnected", before, [])
    assert "Zoom" in refused["message"]
    made = create(cora, provider)["eventType"]
    refused = update(cora, made["id"], createsZoomMeeting=True, title="With Zoom")
    assert (refused["__typename"], there(world, provider)) == ("NotConnected", [("Call", 30)])
    assert [(one["title"], one["createsZoomMeeting"]) for one in listed(cora)] == [("Call", False)]


@BOTH
def test_with_zoom_they_are_made_and_recorded(world: World, coach: Any, provider: str) -> None:
    cora = with_zoom(world, coach(provider))
    made = create(cora, provider, createsZoomMeeting=True, recordsMeeting=True)
    assert made["__typename"] == "EventTypeCreated", made
    assert (made["eventType"]["createsZoomMeeting"], made["eventType"]["recordsMeeting"]) == (True, True)
    # what is read from the provider later does not undo what is Convene's own
    world.move_clock(minutes=31)
    world.jobs()
    assert [(one["createsZoomMeeting"], one["recordsMeeting"]) for one in listed(cora)] == [(True, True)]


@BOTH
def test_what_is_convenes_own_is_set_without_calling_the_provider(world: World, coach: Any, provider: str) -> None:
    cora = with_zoom(world, coach(provider))
    made = create(cora, provider)["eventType"]
    before = writes(world)
    done = update(cora, made["id"], createsZoomMeeting=True)
    assert done["eventType"] == made | {"createsZoomMeeting": True}
    done = update(cora, made["id"], recordsMeeting=True)
    assert done["eventType"] == made | {"createsZoomMeeting": True, "recordsMeeting": True}
    assert writes(world) == before


def test_without_meetings_of_its_own_nothing_is_recorded(world: World, coach: Any) -> None:
    cora = with_zoom(world, coach("CAL_COM"))
    made = create(cora, createsZoomMeeting=True, recordsMeeting=True)["eventType"]
    done = update(cora, made["id"], createsZoomMeeting=False)
    assert (done["eventType"]["createsZoomMeeting"], done["eventType"]["recordsMeeting"]) == (False, False)
