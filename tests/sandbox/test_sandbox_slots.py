from datetime import UTC, datetime

import pytest

V = "2024-09-04"


def test_a_day_on_the_grid_in_utc(house):
    days = house.slots()
    assert list(days) == ["2026-12-02"]
    assert days["2026-12-02"][0] == {"start": "2026-12-02T08:00:00.000Z"}
    assert days["2026-12-02"][-1] == {"start": "2026-12-02T15:30:00.000Z"}
    assert len(days["2026-12-02"]) == 16


def test_offsets_and_local_days_only_with_a_time_zone(house):
    days = house.slots(timeZone="Pacific/Auckland")
    assert list(days) == ["2026-12-02", "2026-12-03"]
    assert days["2026-12-02"][0] == {"start": "2026-12-02T21:00:00.000+13:00"}
    ranges = house.slots(timeZone="America/New_York", format="range")["2026-12-02"]
    assert ranges[0] == {"start": "2026-12-02T03:00:00.000-05:00", "end": "2026-12-02T03:30:00.000-05:00"}


def test_the_end_is_exclusive(house):
    assert house.starts(start="2026-12-02T08:00:00Z", end="2026-12-02T09:30:00Z") == ["08:00", "08:30", "09:00"]
    assert house.slots(start="2026-12-03", end="2026-12-02") == {}


def test_days_without_slots_are_absent(house):
    assert list(house.slots(start="2026-12-04", end="2026-12-07")) == ["2026-12-04", "2026-12-07"]


def test_notice_of_two_hours(house):
    assert house.starts(start="2026-12-01", end="2026-12-01")[0] == "10:00"


@pytest.mark.parametrize("version", [None, "2024-08-13", "2027-01-01"])
def test_without_the_right_version_there_is_no_such_route(house, version):
    answer = house.api("GET", "/slots", version=version, params={"eventTypeId": 1})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Cannot GET /v2/slots?eventTypeId=1")
    assert house.api("POST", "/slots/reservations", version=version, json={}).status_code == 404


def test_by_user_name(house):
    query = {"username": "clara", "eventTypeSlug": "session", "start": "2026-12-02", "end": "2026-12-02"}
    assert len(house.api("GET", "/slots", version=V, params=query).json()["data"]["2026-12-02"]) == 16
    unknown = house.api("GET", "/slots", version=V, params=query | {"username": "x"})
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "User with username x not found")
    other = house.api("GET", "/slots", version=V, params=query | {"eventTypeSlug": "x"})
    assert (other.status_code, other.json()["error"]["message"]) == (404, "Event Type not found")


def test_bad_queries_are_told_in_a_sentence(house):
    query = {"eventTypeId": house.ids["session"], "start": "tomorrow", "end": "2026-12-02", "colour": "red"}
    answer = house.api("GET", "/slots", version=V, params=query)
    text = "colour property is wrong,property colour should not exist , start property is wrong,start must be a valid ISO 8601 date string "
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, text)


def test_duration_makes_its_own_grid(house):
    assert house.starts(duration=60) == [f"{hour:02}:00" for hour in range(8, 16)]


def test_interval_and_buffers(house):
    change = {"slotInterval": 60, "beforeEventBuffer": 15, "afterEventBuffer": 30}
    house.api("PATCH", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach", json=change)
    house.booked("2026-12-02T11:00:00Z")
    # 11:00 with its buffers takes 10:45 to 12:00, and a new one needs 15 minutes before and 30 after itself
    assert house.starts() == ["08:00", "09:00", "13:00", "14:00", "15:00"]


def test_accepted_and_pending_bookings_busy_blocks_and_reservations_hide_slots(house):
    house.booked("2026-12-02T09:00:00Z")
    house.booked("2026-12-02T10:00:00Z", "dive")
    house.control("POST", "/calcom/busy", {"email": "coach@demo.test", "start": "2026-12-02T11:10:00Z", "end": "2026-12-02T11:20:00Z"})
    body = {"eventTypeId": house.ids["session"], "slotStart": "2026-12-02T12:00:00Z"}
    assert house.api("POST", "/slots/reservations", version=V, json=body).status_code == 201
    taken = {"09:00", "10:00", "10:30", "11:00", "12:00"}
    grid = [f"{hour:02}:{minute:02}" for hour in range(8, 16) for minute in (0, 30)]
    assert house.starts() == [one for one in grid if one not in taken]


def test_a_booking_gets_its_own_slot_back(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    assert "09:00" not in house.starts()
    assert "09:00" in house.starts(bookingUidToReschedule=uid)


def test_a_cancelled_booking_frees_its_slot(house):
    house.do(house.booked("2026-12-02T09:00:00Z")["uid"], "cancel")
    assert "09:00" in house.starts()


def test_summer_time_moves_the_hours_in_utc(house):
    house.sandbox.world.clock.freeze(datetime(2027, 3, 1, tzinfo=UTC))
    days = house.slots(start="2027-03-26", end="2027-03-29")
    assert [(day, slots[0]["start"][11:16], slots[-1]["start"][11:16]) for day, slots in days.items()] == [
        ("2027-03-26", "08:00", "15:30"),
        ("2027-03-29", "07:00", "14:30"),
    ]


def test_the_night_of_the_change(house):
    house.sandbox.world.clock.freeze(datetime(2027, 3, 1, tzinfo=UTC))
    night = [{"days": ["Sunday"], "startTime": "01:00", "endTime": "04:00"}]
    body = {"name": "Night", "timeZone": "Europe/Berlin", "isDefault": True, "availability": night}
    house.api("POST", "/schedules", version="2024-06-11", who="coach", json=body)
    short = house.slots(start="2027-03-28T00:00:00Z", end="2027-03-28T23:00:00Z", timeZone="Europe/Berlin", kind="dive")
    assert [slot["start"] for slot in short["2027-03-28"]] == ["2027-03-28T01:00:00.000+01:00", "2027-03-28T03:00:00.000+02:00"]
    house.sandbox.world.clock.freeze(datetime(2027, 10, 1, tzinfo=UTC))
    long = house.slots(start="2027-10-30T20:00:00Z", end="2027-10-31T23:00:00Z", timeZone="Europe/Berlin", kind="dive")
    assert [slot["start"][11:] for slot in long["2027-10-31"]] == [
        "01:00:00.000+02:00",
        "02:00:00.000+02:00",
        "02:00:00.000+01:00",
        "03:00:00.000+01:00",
    ]


def test_an_override_replaces_the_day(house):
    schedule = house.api("GET", "/schedules/default", version="2024-06-11", who="coach").json()["data"]["id"]
    overrides = [
        {"date": "2026-12-02", "startTime": "20:00", "endTime": "21:00"},
        {"date": "2026-12-03", "startTime": "00:00", "endTime": "00:00"},
    ]
    house.api("PATCH", f"/schedules/{schedule}", version="2024-06-11", who="coach", json={"overrides": overrides})
    assert house.slots(end="2026-12-03") == {"2026-12-02": [{"start": "2026-12-02T19:00:00.000Z"}, {"start": "2026-12-02T19:30:00.000Z"}]}


def test_a_host_without_a_schedule_is_never_free(house):
    body = {
        "email": "new@demo.test",
        "name": "New",
        "timeZone": "Europe/Berlin",
        "schedule": None,
        "eventTypes": [{"title": "a", "slug": "a", "lengthInMinutes": 30}],
    }
    house.ids["new"] = house.control("POST", "/calcom/users", body)["eventTypes"][0]["id"]
    assert house.slots(kind="new") == {}
    assert house.book("2026-12-02T09:00:00Z", "new").status_code == 400


def test_reservations(house):
    body = {"eventTypeId": house.ids["session"], "slotStart": "2026-12-02T09:00:00Z"}
    made = house.api("POST", "/slots/reservations", version=V, json=body).json()["data"]
    assert (made["slotDuration"], made["reservationDuration"], made["reservationUntil"]) == (30, 5, "2026-12-01T08:05:00.000Z")
    path = f"/slots/reservations/{made['reservationUid']}"
    assert house.api("GET", path, version=V).json()["data"]["slotStart"] == "2026-12-02T09:00:00.000Z"
    moved = house.api("PATCH", path, version=V, json=body | {"slotStart": "2026-12-02T20:00:00Z"}).json()["data"]
    assert moved["slotStart"] == "2026-12-02T20:00:00.000Z"  # outside the hours, and reservable all the same
    assert house.api("POST", "/slots/reservations", version=V, json=body | {"reservationDuration": 9}).status_code == 401
    assert house.api("DELETE", path, version=V).json() == {"status": "success"}
    house.booked("2026-12-02T09:00:00Z")
    booked = house.api("POST", "/slots/reservations", version=V, json=body)
    assert (booked.status_code, booked.json()["error"]["message"]) == (
        422,
        "Can't reserve a slot if the event is already booked.",
    )


def test_a_reservation_stops_nobody_and_ends(house):
    body = {"eventTypeId": house.ids["session"], "slotStart": "2026-12-02T09:00:00Z"}
    house.api("POST", "/slots/reservations", version=V, json=body)
    assert "09:00" not in house.starts()
    house.sandbox.world.clock.shift(300)
    assert "09:00" in house.starts()
    house.api("POST", "/slots/reservations", version=V, json=body)
    assert house.book("2026-12-02T09:00:00Z").status_code == 201


def test_stale_slots_for_two_seconds_when_switched_on(house):
    house.control("PUT", "/calcom/switches", {"staleSlots": True})
    assert "09:00" in house.starts()
    house.booked("2026-12-02T09:00:00Z")
    assert "09:00" in house.starts()
    assert "09:00" not in house.starts(format="range")  # another query
    house.sandbox.world.clock.shift(2)
    assert "09:00" not in house.starts()
