"""When somebody can be booked at Calendly, and when not."""

import pytest
from calendly_house import GINA, furnished

from sandbox.calendly.availability import WEEKDAYS

DAY = ("2026-12-02T00:00:00Z", "2026-12-03T00:00:00Z")


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def asked(house, begin, end, kind="Talk"):
    params = {"event_type": house.kind(kind), "start_time": begin, "end_time": end}
    return house.api("GET", "/event_type_available_times", params=params)


def week(**days):
    return [{"type": "wday", "wday": day, "intervals": days.get(day, [])} for day in WEEKDAYS]


def test_nine_to_five_where_the_host_lives(calendly):
    starts = calendly.starts()
    assert (starts[0], starts[1], starts[-1], len(starts)) == ("08:00", "08:30", "15:30", 16)
    assert calendly.starts("Long talk")[-1] == "15:00"
    assert calendly.starts(begin="2026-12-05T00:00:00Z", end="2026-12-07T00:00:00Z") == []  # a weekend


def test_summer_time_moves_utc_and_not_the_wall(calendly):
    calendly.forward(110 * 86400)
    assert calendly.starts(begin="2027-03-26T00:00:00Z", end="2027-03-27T00:00:00Z")[0] == "08:00"
    assert calendly.starts(begin="2027-03-29T00:00:00Z", end="2027-03-30T00:00:00Z")[0] == "07:00"


def test_an_item(calendly):
    row = asked(calendly, *DAY).json()["collection"][0]
    assert row == {
        "status": "available",
        "invitees_remaining": 1,
        "start_time": "2026-12-02T08:00:00Z",
        "scheduling_url": f"{calendly.sandbox.url}/calendly/web/cora-coach/talk/2026-12-02T08:00:00Z?month=2026-12&date=2026-12-02",
    }
    assert "pagination" not in asked(calendly, *DAY).json()


@pytest.mark.parametrize(
    ("begin", "end", "wrong"),
    [
        ("2026-12-01T08:00:00Z", "2026-12-02T00:00:00Z", {"start_time": "start_time must be in the future"}),
        ("2026-12-02T00:00:00Z", "2027-01-02T00:00:01Z", {"end_time": "date range can never be greater than 31 days"}),
        ("2026-12-02T00:00:00Z", "2026-12-02T00:00:00Z", {"end_time": "end_time must be after start_time"}),
        ("soon", "2026-12-02T00:00:00Z", {"start_time": "must be a valid ISO 8601 date-time"}),
        ("", "", {"start_time": "is missing", "end_time": "is missing"}),
    ],
)
def test_windows(calendly, begin, end, wrong):
    answer = asked(calendly, begin, end)
    assert answer.status_code == 400
    assert {one["parameter"]: one["message"] for one in answer.json()["details"]} == wrong


def test_the_narrow_window_of_before(calendly):
    assert asked(calendly, "2026-12-02T00:00:00Z", "2027-01-02T00:00:00Z").status_code == 200
    calendly.switch(windowDays=7)
    assert asked(calendly, "2026-12-02T00:00:00Z", "2026-12-09T00:00:00Z").status_code == 200
    assert asked(calendly, "2026-12-02T00:00:00Z", "2026-12-09T00:00:01Z").status_code == 400


def test_taken_times_of_any_type_with_buffers_and_external_rows(calendly):
    calendly.book("2026-12-02T10:00:00Z", "Long talk")  # with a quarter of an hour before and after it
    starts = calendly.starts()
    assert [one for one in starts if "09:00" <= one < "12:00"] == ["09:00", "11:30"]
    calendly.control("POST", "/busy", {"email": "cora@demo.test", "start": "2026-12-02T12:10:00Z", "end": "2026-12-02T12:20:00Z"})
    assert "12:00" not in calendly.starts()
    assert "12:30" in calendly.starts()
    assert calendly.starts("Long talk")[:3] == ["08:00", "08:30", "13:00"]


def test_minimum_notice_and_interval(calendly):
    kinds = [{"name": "Late", "notice": 24 * 60 + 120}, {"name": "Quick", "duration": 20, "interval": 20}]
    calendly.person("nora", eventTypes=kinds)
    params = {"start_time": DAY[0], "end_time": DAY[1]}

    def starts(name):
        rows = calendly.api("GET", "/event_type_available_times", who="nora", params=params | {"event_type": calendly.kind(name, "nora")})
        return [row["start_time"][11:16] for row in rows.json()["collection"]]

    assert starts("Late")[0] == "10:00"
    assert starts("Quick")[:4] == ["08:00", "08:20", "08:40", "09:00"]


def test_the_grid_stands_on_the_hour(calendly):
    schedule = {"rules": week(wednesday=[{"from": "09:10", "to": "10:10"}, {"from": "23:00", "to": "24:00"}])}
    calendly.person("gwen", schedule=schedule, eventTypes=[{"name": "Talk"}])
    params = {"start_time": DAY[0], "end_time": DAY[1], "event_type": calendly.kind("Talk", "gwen")}
    rows = calendly.api("GET", "/event_type_available_times", who="gwen", params=params).json()["collection"]
    assert [row["start_time"][11:16] for row in rows] == ["08:30", "22:00", "22:30"]


def test_a_group_stays_open_until_it_is_full(calendly):
    start = "2026-12-02T09:00:00Z"

    def remaining():
        rows = asked(calendly, *DAY, "Workshop").json()["collection"]
        return {row["start_time"][11:16]: row["invitees_remaining"] for row in rows if "08:00" <= row["start_time"][11:16] < "10:30"}

    assert remaining() == {"08:00": 3, "08:30": 3, "09:00": 3, "09:30": 3, "10:00": 3}
    first = calendly.book(start, "Workshop")["event"]["uri"]
    assert remaining() == {"08:00": 3, "09:00": 2, "10:00": 3}
    assert calendly.book(start, "Workshop", invitee=GINA)["event"]["uri"] == first
    calendly.book(start, "Workshop")
    assert remaining() == {"08:00": 3, "10:00": 3}
    assert "09:00" not in calendly.starts("Talk")


def test_inactive_types_and_the_empty_list(calendly):
    calendly.api("PATCH", calendly.kind("Talk"), json={"active": False})
    assert calendly.starts() == []
    assert calendly.starts("Workshop") != []
    calendly.switch(noTimes=True)
    assert calendly.starts("Workshop") == []


def test_both_scopes_are_asked_for(calendly):
    for scope in ("event_types:read", "availability:read"):
        token = calendly.connect(scope=scope)["access_token"]
        params = {"event_type": calendly.kind("Talk"), "start_time": DAY[0], "end_time": DAY[1]}
        answer = calendly.api("GET", "/event_type_available_times", token=token, params=params)
        assert answer.json()["required_scopes"] == ["event_types:read", "availability:read"]


def test_busy_times(calendly):
    event = calendly.book("2026-12-02T10:00:00Z", "Long talk")["event"]
    calendly.control("POST", "/busy", {"email": "cora@demo.test", "start": "2026-12-02T09:00:00Z", "end": "2026-12-02T09:30:00Z"})
    params = {"user": calendly.user(), "start_time": DAY[0], "end_time": DAY[1]}
    assert calendly.get("/user_busy_times", **params) == {
        "collection": [
            {"type": "external", "start_time": "2026-12-02T09:00:00.000000Z", "end_time": "2026-12-02T09:30:00.000000Z"},
            {
                "type": "calendly",
                "start_time": "2026-12-02T10:00:00.000000Z",
                "end_time": "2026-12-02T11:00:00.000000Z",
                "buffered_start_time": "2026-12-02T09:45:00.000000Z",
                "buffered_end_time": "2026-12-02T11:15:00.000000Z",
                "event": {"uri": event["uri"]},
            },
        ]
    }
    late = params | {"end_time": "2026-12-09T00:00:01Z"}
    assert calendly.api("GET", "/user_busy_times", params=late).status_code == 400
    assert calendly.api("GET", "/user_busy_times", who="mia", params=params).status_code == 403
    calendly.switch(brokenCalendars=["cora@demo.test"])
    broken = calendly.api("GET", "/user_busy_times", params=params)
    assert (broken.status_code, broken.json()["title"]) == (424, "External Calendar Error")
    assert calendly.http.request("DELETE", "/_sandbox/calendly/busy").json() == {"count": 1}


def test_schedules(calendly):
    (first,) = calendly.get("/user_availability_schedules", user=calendly.user())["collection"]
    assert (first["default"], first["name"], first["timezone"]) == (True, "Working hours", "Europe/Berlin")
    assert first["rules"][1] == {"type": "wday", "wday": "monday", "intervals": [{"from": "09:00", "to": "17:00"}]}
    rules = [*week(monday=[{"from": "08:00", "to": "12:00"}]), {"type": "date", "date": "2026-12-24", "intervals": []}]
    body = {"name": "Mornings", "timezone": "Europe/Paris", "rules": rules}
    answer = calendly.api("POST", "/user_availability_schedules", json=body)
    assert answer.status_code == 201
    made = answer.json()["resource"]
    assert (made["default"], made["rules"]) == (False, rules)
    assert calendly.get(made["uri"])["resource"] == made
    assert calendly.starts()[0] == "08:00"  # applied to nothing
    past = [*week(), {"type": "date", "date": "2026-11-30", "intervals": []}]
    for wrong in (rules[1:], [*rules, rules[0]], past, week(monday=[{"from": "12:00", "to": "08:00"}]), None, ["x"]):
        assert calendly.api("POST", "/user_availability_schedules", json=body | {"rules": wrong}).status_code == 400


def test_rules_of_an_event_type_replace_all(calendly):
    params = {"event_type": calendly.kind("Talk")}
    (before,) = calendly.get("/event_type_availability_schedules", **params)["collection"]
    assert (before["availability_setting"], len(before["availability_rule"]["rules"])) == ("host", 7)
    rule = {"timezone": "UTC", "rules": [{"type": "date", "date": "2026-12-02", "intervals": [{"from": "20:00", "to": "21:00"}]}]}
    answer = calendly.api("PATCH", "/event_type_availability_schedules", params=params, json={"availability_rule": rule})
    assert answer.json()["resource"]["availability_rule"]["rules"] == rule["rules"]
    assert calendly.starts() == ["20:00", "20:30"]
    assert calendly.starts("Workshop")[0] == "08:00"
    for wrong in ({}, {"availability_rule": {"rules": []}}, {"availability_rule": rule | {"timezone": "Moon"}}):
        assert calendly.api("PATCH", "/event_type_availability_schedules", params=params, json=wrong).status_code == 400
