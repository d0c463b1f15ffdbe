"""Profile, event types, schedules and calendars."""

import pytest

V = "2024-06-14"


def test_the_profile_can_change(house):
    answer = house.api("PATCH", "/me", who="coach", json={"timeZone": "Europe/Lisbon", "unknown": 1}).json()["data"]
    assert answer["timeZone"] == "Europe/Lisbon"
    assert answer["organizationId"] is None
    assert "organization" not in answer
    schedule = house.api("GET", "/schedules/default", version="2024-06-11", who="coach").json()["data"]
    assert schedule["timeZone"] == "Europe/Berlin"  # the schedule stays where it was
    bad = house.api("PATCH", "/me", who="coach", json={"timeZone": "Mars/Base"}).json()["error"]["details"]["errors"]
    assert bad == [
        {
            "target": {"timeZone": "Mars/Base"},
            "value": "Mars/Base",
            "property": "timeZone",
            "children": [],
            "constraints": {"isTimeZone": "timeZone must be a valid IANA time-zone"},
        }
    ]


def test_event_types_live_and_die(house):
    body = {"title": "New", "slug": "new", "lengthInMinutes": 45, "unknown": True}
    made = house.api("POST", "/event-types", version=V, who="coach", json=body)
    assert made.status_code == 201
    data = made.json()["data"]
    assert (data["minimumBookingNotice"], data["confirmationPolicy"], data["slotInterval"]) == (120, {"disabled": True}, None)
    assert "unknown" not in data
    changed = house.api("PATCH", f"/event-types/{data['id']}", version=V, who="coach", json={"lengthInMinutes": 20}).json()["data"]
    assert (changed["lengthInMinutes"], changed["title"]) == (20, "New")
    gone = house.api("DELETE", f"/event-types/{data['id']}", version=V, who="coach").json()["data"]
    assert gone == {"id": data["id"], "lengthInMinutes": 20, "slug": "new", "title": "New"}
    after = house.api("GET", f"/event-types/{data['id']}", version=V, who="coach")
    assert (after.status_code, after.json()["error"]["message"]) == (404, f"Event type with id {data['id']} not found")


def test_public_listing_hides_hidden_ones_from_all_but_the_owner(house):
    body = {"title": "Secret", "slug": "secret", "lengthInMinutes": 15, "hidden": True}
    house.api("POST", "/event-types", version=V, who="coach", json=body)

    def slugs(who=None, **query):
        return [one["slug"] for one in house.api("GET", "/event-types", version=V, who=who, params=query).json()["data"]]

    assert slugs(username="clara") == ["session", "dive"]
    assert slugs("mentee", username="clara") == ["session", "dive"]
    assert slugs("coach", username="clara") == ["session", "dive", "secret"]
    assert slugs("coach") == ["session", "dive", "secret"]
    assert slugs(usernames="clara,mentee") == ["session", "dive"]
    assert slugs(username="clara", eventSlug="dive") == ["dive"]
    assert slugs(username="nobody") == []


def test_the_newest_version_has_the_same_shape_and_an_unknown_one_the_oldest(house):
    def get(version):
        return house.api("GET", f"/event-types/{house.ids['session']}", version=version, who="coach").json()["data"]

    assert get("2026-06-12") == get(V)
    for version in (None, "2030-01-01"):
        assert get(version)["eventType"]["length"] == 30
    assert "eventTypeGroups" in house.api("GET", "/event-types", who="coach").json()["data"]


def test_event_types_of_others_are_out_of_reach(house):
    path = f"/event-types/{house.ids['session']}"
    assert house.api("GET", path, version=V, who="mentee").status_code == 404
    assert house.api("PATCH", path, version=V, who="mentee", json={"title": "x"}).status_code == 403
    assert house.api("DELETE", path, version=V, who="mentee").status_code == 403


def test_schedules(house):
    v = "2024-06-11"
    own = house.api("GET", "/schedules/default", version=v, who="coach").json()["data"]
    assert own["availability"] == [
        {"days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"], "startTime": "09:00", "endTime": "17:00"}
    ]
    body = {"name": "Evenings", "timeZone": "Europe/Berlin", "isDefault": True}
    made = house.api("POST", "/schedules", version=v, who="coach", json=body)
    assert made.status_code == 201
    evening = made.json()["data"]
    assert evening["isDefault"] is True
    assert [one["isDefault"] for one in house.api("GET", "/schedules", version=v, who="coach").json()["data"]] == [False, True]
    stranger = house.api("GET", f"/schedules/{evening['id']}", version=v, who="mentee")
    text = f"User with ID={house.ids['mentee']} does not own schedule with ID={evening['id']}"
    assert (stranger.status_code, stranger.json()["error"]["message"]) == (403, text)
    assert house.api("DELETE", f"/schedules/{own['id']}", version=v, who="coach").json() == {"status": "success"}
    assert house.api("GET", f"/schedules/{own['id']}", version=v, who="coach").status_code == 404


@pytest.mark.parametrize(
    "availability",
    [
        [{"days": ["Funday"], "startTime": "09:00", "endTime": "17:00"}],
        [{"days": ["Monday"], "startTime": "9", "endTime": "17:00"}],
        "x",
    ],
)
def test_bad_hours_are_refused(house, availability):
    body = {"name": "x", "timeZone": "Europe/Berlin", "isDefault": False, "availability": availability}
    assert house.api("POST", "/schedules", version="2024-06-11", who="coach", json=body).status_code == 400


def test_busy_times_are_accepted_bookings_and_blocks(house):
    house.booked("2026-12-02T09:00:00Z")
    house.booked("2026-12-02T12:00:00Z", "dive")  # pending
    house.control("POST", "/calcom/busy", {"email": "coach@demo.test", "start": "2026-12-02T14:00:00Z", "end": "2026-12-02T15:00:00Z"})
    query = {"dateFrom": "2026-12-02", "dateTo": "2026-12-02", "loggedInUsersTz": "Europe/Berlin"}
    found = house.api("GET", "/calendars/busy-times", who="coach", params=query).json()["data"]
    assert found == [
        {"start": "2026-12-02T09:00:00.000Z", "end": "2026-12-02T09:30:00.000Z", "source": "cal.com"},
        {"start": "2026-12-02T14:00:00.000Z", "end": "2026-12-02T15:00:00.000Z", "source": "google_calendar"},
    ]


def test_unknown_routes(house):
    answer = house.api("PUT", "/nothing?a=1")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Cannot PUT /v2/nothing?a=1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minimumBookingNotice", 10**20),
        ("lengthInMinutes", 10**20),
        ("lengthInMinutes", True),
        ("bookingWindow", {"type": "range", "value": [1]}),
        ("bookingWindow", {"value": "x"}),
        ("disableRescheduling", {"minutesBefore": "x"}),
        ("confirmationPolicy", {"type": "time", "noticeThreshold": {}}),
        ("locations", [{"type": []}]),
        ("bookingFields", [{"type": "text"}]),
        ("slug", "dive"),
        ("scheduleId", 1),
    ],
)
def test_what_an_event_type_cannot_be(house, name, value):
    path = f"/event-types/{house.ids['session']}"
    before = house.api("GET", path, version=V, who="coach").json()
    assert house.api("PATCH", path, version=V, who="coach", json={name: value}).status_code in {400, 404}
    assert house.api("GET", path, version=V, who="coach").json() == before


def test_a_booking_window(house):
    window = {"type": "calendarDays", "value": 2, "rolling": True}
    house.api("PATCH", f"/event-types/{house.ids['session']}", version=V, who="coach", json={"bookingWindow": window})
    assert list(house.slots(start="2026-12-01", end="2026-12-20")) == ["2026-12-01", "2026-12-02"]
    assert house.book("2026-12-09T09:00:00Z").json()["error"]["message"].startswith("The event type can't be booked")
