"""The main job, end to end: link, look, move, and the webhook that follows."""

import httpx
from harness import CONNECTION, World, at, iso


def test_a_person_links_looks_and_moves_a_meeting(world: World) -> None:
    clara = world.coach()
    status = clara.one(CONNECTION)
    assert status["state"] == "ACTIVE"
    assert status["sandbox"] is True
    assert status["linkedAccount"]["sync"] == {
        "lastSyncedAt": "2027-03-01T08:00:00Z",
        "lastError": None,
        "webhooks": "RECEIVING",
        "bookings": 0,
    }

    uid = world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (booking,) = clara.bookings()
    assert booking["start"] == "2027-03-02T09:00:00Z"
    assert booking["externalId"] == uid
    assert [(p["role"], p["name"], p["isViewer"]) for p in booking["participants"]] == [("COACH", "Clara", True), ("MENTEE", "Otto", False)]
    assert [n["kind"] for n in clara.notifications()] == ["BOOKED"]

    moved = clara.move(booking["id"], at(3, 13), reason="A dentist")
    assert moved["__typename"] == "BookingRescheduled"
    assert moved["previousStart"] == "2027-03-02T09:00:00Z"
    assert moved["booking"]["id"] == booking["id"]
    assert moved["booking"]["start"] == "2027-03-03T13:00:00Z"
    assert moved["booking"]["externalId"] != uid
    assert moved["booking"]["version"] == 2
    world.jobs()
    assert world.live_uids() == [moved["booking"]["externalId"]]
    assert [n["kind"] for n in clara.notifications()] == ["MOVED", "BOOKED"]
    (after,) = clara.bookings()
    history = [(e["node"]["kind"], e["node"]["by"], e["node"]["source"], e["node"]["reason"]) for e in after["history"]["edges"]]
    assert history == [("MOVED", "Clara", "CONVENE", "A dentist"), ("BOOKED", "Otto", "PROVIDER", None)]


def test_the_callback_only_keeps_the_code(world: World) -> None:
    clara = world.caller("Clara")
    world.account(clara)
    begun = clara.begin()
    landed = clara.consent(begun)
    assert landed == f"{world.url}/oauth/calcom/return?state={begun['state']}"
    assert world.calls("POST", "/oauth2/token") == 0
    page = httpx.get(landed)
    assert "completeConnection" in page.text
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    assert world.calls("POST", "/oauth2/token") == 1
    assert iso(world.clock.now()) == "2027-03-01T08:00:00Z"
