"""How a person wants to be told: their own zone, channels and reminders."""

from typing import Any

import pytest
from harness import Caller, World, at

UPDATE = """mutation($input: UpdatePreferencesInput!) { updatePreferences(input: $input) { __typename
  ... on PreferencesUpdated { preferences { timeZone channels reminderMinutes } }
  ... on InvalidInput { fields { path message } } } }"""
MINE = "{ viewer { timeZone unreadNotifications preferences { timeZone channels reminderMinutes } } }"
DEFAULTS = {"timeZone": None, "channels": ["EMAIL", "IN_APP"], "reminderMinutes": []}


def update(caller: Caller, **changed: Any) -> Any:
    return caller.one(UPDATE, input=changed)


def mine(caller: Caller) -> Any:
    return caller.one(MINE)["preferences"]


def test_what_is_left_out_stays_and_null_brings_back_the_default(world: World) -> None:
    otto = world.caller("Otto", time_zone="Europe/London")
    assert mine(otto) == DEFAULTS
    assert update(otto, timeZone="Asia/Tokyo", reminderMinutes=[10, 1440])["preferences"] == {
        "timeZone": "Asia/Tokyo",
        "channels": ["EMAIL", "IN_APP"],
        "reminderMinutes": [1440, 10],
    }
    assert otto.one(MINE)["timeZone"] == "Asia/Tokyo"
    assert update(otto, channels=["EMAIL", "EMAIL"])["preferences"]["channels"] == ["EMAIL"]
    assert update(otto, channels=[])["preferences"]["channels"] == []
    assert mine(otto) == {"timeZone": "Asia/Tokyo", "channels": [], "reminderMinutes": [1440, 10]}
    assert update(otto, timeZone=None, channels=None, reminderMinutes=[])["preferences"] == DEFAULTS
    assert otto.one(MINE)["timeZone"] == "Europe/London"
    assert update(otto)["preferences"] == DEFAULTS


@pytest.mark.parametrize(
    ("minutes", "messages"),
    [
        ([10, 10], ["Each reminder only once."]),
        ([5, 6, 7, 8, 9, 10], ["At most 5 reminders."]),
        ([4], ["A reminder is 5 minutes to 20160 minutes (two weeks) ahead."]),
        ([20161], ["A reminder is 5 minutes to 20160 minutes (two weeks) ahead."]),
        ([-1, -1], ["Each reminder only once.", "A reminder is 5 minutes to 20160 minutes (two weeks) ahead."]),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(world: World, minutes: list[int], messages: list[str]) -> None:
    otto = world.caller("Otto")
    refused = update(otto, reminderMinutes=minutes, timeZone="Asia/Tokyo", channels=[])
    assert refused["__typename"] == "InvalidInput"
    assert refused["fields"] == [{"path": ["reminderMinutes"], "message": message} for message in messages]
    assert mine(otto) == DEFAULTS


def test_an_unknown_zone_is_malformed(world: World) -> None:
    otto = world.caller("Otto")
    (error,) = otto.errors(UPDATE, input={"timeZone": "Mars/Olympus"})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert mine(otto) == DEFAULTS


def test_the_chosen_zone_goes_before_the_sign_ins_in_what_one_is_told(world: World) -> None:
    clara = world.coach()
    update(clara, timeZone="Asia/Tokyo")
    world.book(clara, at(2, 9))
    world.jobs()
    assert clara.notifications()[0]["body"] == "Otto booked “Session between Clara and Otto” for Tue 2 Mar 2027, 18:00 (Asia/Tokyo)."


def test_who_wants_nothing_in_the_app_sees_and_counts_nothing_there(world: World) -> None:
    clara = world.coach()
    update(clara, channels=["EMAIL"])
    world.book(clara, at(2, 9))
    world.jobs()
    assert clara.notifications() == []
    assert clara.one(MINE)["unreadNotifications"] == 0
    update(clara, channels=["IN_APP"])
    world.book(clara, at(3, 9))
    world.jobs()
    assert [n["newStart"] for n in clara.notifications()] == ["2027-03-03T09:00:00Z"]
    assert clara.one(MINE)["unreadNotifications"] == 1


def test_ones_preferences_are_ones_own(world: World) -> None:
    otto, mia = world.caller("Otto"), world.caller("Mia")
    update(otto, timeZone="Asia/Tokyo", channels=[], reminderMinutes=[5])
    assert mine(mia) == DEFAULTS
