"""Event types: one's own, a host's public ones, and the default set made once."""

import threading
from typing import Any

import pytest
from harness import DEFAULTS, EVENT_TYPES, Caller, World


def lengths(answer: dict[str, Any], name: str) -> list[int]:
    return [e["durationMinutes"] for e in answer[name]]


def at_provider(world: World) -> list[int]:
    return sorted(e.length for e in world.sandbox.world.calcom.event_types.values())


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach(
        eventTypes=[
            {"title": "Open", "slug": "open", "lengthInMinutes": 45, "lengthInMinutesOptions": [45, 90], "description": "Talk"},
            {"title": "Secret", "slug": "secret", "lengthInMinutes": 15, "hidden": True},
        ]
    )


def test_all_of_ones_own_and_the_public_ones_of_a_host(world: World, clara: Caller) -> None:
    mine = [e["node"] for e in clara.one(EVENT_TYPES)["edges"]]
    assert [(e["title"], e["hidden"], e["durationOptions"]) for e in mine] == [("Open", False, [45, 90]), ("Secret", True, [])]
    host = mine[0]["host"]
    assert host["name"] == "Clara"
    otto = world.caller("Otto")
    theirs = [e["node"] for e in otto.one(EVENT_TYPES, hostId=host["id"])["edges"]]
    assert [e["title"] for e in theirs] == ["Open"]
    assert otto.one(EVENT_TYPES)["edges"] == []
    assert otto.one(EVENT_TYPES, hostId="nobody")["edges"] == []
    clara.gql("mutation { disconnectProvider(input: {provider: CAL_COM}) { __typename } }")
    assert otto.one(EVENT_TYPES, hostId=host["id"])["edges"] == []


def test_the_default_set_is_made_once(world: World, clara: Caller) -> None:
    first = clara.one(DEFAULTS)
    assert (first["totalCreated"], lengths(first, "createdEventTypes"), lengths(first, "existingEventTypes")) == (3, [15, 30, 60], [])
    again = clara.one(DEFAULTS)
    assert (again["totalCreated"], lengths(again, "createdEventTypes"), lengths(again, "existingEventTypes")) == (0, [], [15, 30, 60])
    assert at_provider(world) == [15, 15, 30, 45, 60]
    shown = [(e["node"]["durationMinutes"], e["node"]["isDefault"]) for e in clara.one(EVENT_TYPES)["edges"]]
    assert shown == [(45, False), (15, False), (15, True), (30, True), (60, True)]


def test_a_visible_type_of_that_length_counts(world: World) -> None:
    clara = world.coach()  # has one of 30 minutes
    made = clara.one(DEFAULTS)
    assert (lengths(made, "createdEventTypes"), lengths(made, "existingEventTypes")) == ([15, 60], [30])


def test_one_that_was_deleted_at_the_provider_is_made_anew(world: World, clara: Caller) -> None:
    clara.one(DEFAULTS)
    gone = next(i for i, e in world.sandbox.world.calcom.event_types.items() if e.length == 60)
    del world.sandbox.world.calcom.event_types[gone]
    again = clara.one(DEFAULTS)
    # the slug is free again there, and the new one has another id
    assert (lengths(again, "createdEventTypes"), lengths(again, "existingEventTypes")) == ([60], [15, 30])


def test_twelve_calls_at_once_make_three(world: World, clara: Caller) -> None:
    gate, answers = threading.Barrier(12), []

    def call() -> None:
        gate.wait()
        answers.append(clara.one(DEFAULTS))

    threads = [threading.Thread(target=call) for _ in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert {a["__typename"] for a in answers} == {"DefaultEventTypes"}
    assert sum(a["totalCreated"] for a in answers) == 3
    assert at_provider(world) == [15, 15, 30, 45, 60]


@pytest.mark.parametrize("effect", [{"kind": "drop", "when": "after"}, {"kind": "malformed"}], ids=["lost", "malformed"])
def test_after_a_lost_answer_it_looks_before_it_creates(world: World, clara: Caller, effect: dict[str, Any]) -> None:
    world.sandbox.fault(method="POST", path="/calcom/v2/event-types", effect=effect, times=3)
    made = clara.one(DEFAULTS)
    assert (made["totalCreated"], lengths(made, "createdEventTypes")) == (3, [15, 30, 60])
    assert at_provider(world) == [15, 15, 30, 45, 60]


def test_a_provider_that_is_down_leaves_nothing_half_known(world: World, clara: Caller) -> None:
    world.sandbox.fault(method="POST", path="/calcom/v2/event-types", effect={"kind": "status", "status": 503}, times=1, skip=1)
    failed = clara.one(DEFAULTS)
    assert (failed["__typename"], failed["retryable"]) == ("ProviderFailure", True)
    again = clara.one(DEFAULTS)
    assert (lengths(again, "createdEventTypes"), lengths(again, "existingEventTypes")) == ([30, 60], [15])


def test_without_a_link_or_with_a_broken_one(world: World, clara: Caller) -> None:
    assert world.caller("Otto").one(DEFAULTS)["__typename"] == "NotConnected"
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    assert clara.one(DEFAULTS) == {"__typename": "ConnectionUnusable", "isViewers": True} | {
        "code": "CONNECTION_UNUSABLE",
        "message": "The Cal.com connection has to be made again by its owner: open the connection settings and connect Cal.com again.",
    }
    assert at_provider(world) == [15, 45]


def test_changes_at_the_provider_arrive_by_the_job(world: World, clara: Caller) -> None:
    kept = next(e for e in world.sandbox.world.calcom.event_types.values() if e.length == 45)
    kept.data["title"] = "Renamed"
    world.move_clock(minutes=31)
    world.jobs()
    assert clara.one(EVENT_TYPES)["edges"][0]["node"]["title"] == "Renamed"
