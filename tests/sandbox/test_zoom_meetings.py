"""Zoom's meetings: making, reading, moving, ending, deleting."""

import re

import pytest
from zoom_house import START

pytest_plugins = ["zoom_fixtures"]


def gone(meeting_id):
    return {"code": 3001, "message": f"Meeting does not exist: {meeting_id}."}


def test_a_meeting_is_made(zoom):
    answer = zoom.create(settings={"auto_recording": "cloud"})
    meeting = answer.json()
    assert answer.status_code == 201
    assert answer.headers["x-zm-trackingid"].startswith("v=2.0;clid=us02;rid=WEB_")
    assert meeting["id"] > 2**32 and re.fullmatch(r"\d{11}", str(meeting["id"]))  # noqa: PT018 - one fact: long, yet a number
    told = {name: meeting[name] for name in ("host_email", "topic", "type", "status", "start_time", "duration", "timezone", "agenda")}
    assert told == {
        "host_email": "coach@demo.test",
        "topic": "Session",
        "type": 2,
        "status": "waiting",
        "start_time": START,
        "duration": 30,
        "timezone": "Europe/Berlin",
        "agenda": "booking-1",
    }
    assert meeting["created_at"] == "2026-12-01T08:00:00Z"
    assert meeting["settings"]["auto_recording"] == "cloud"
    assert meeting["join_url"] == f"{zoom.sandbox.url}/zoom/web/j/{meeting['id']}?pwd={meeting['encrypted_password']}"
    assert f"/zoom/web/s/{meeting['id']}?zak=" in meeting["start_url"]
    assert (row := zoom.meetings[meeting["id"]]).host == "coach@demo.test"
    assert (row.topic, row.duration, row.agenda, row.start.isoformat()) == ("Session", 30, "booking-1", "2026-12-03T09:00:00+00:00")


def test_reading_gives_the_same_link_and_a_fresh_secret(zoom):
    made = zoom.made()
    read = zoom.get(made["id"])
    assert read.pop("assistant_id") == ""
    assert read.pop("start_url") != made.pop("start_url")
    assert read == made


def test_a_repeated_creation_makes_another_meeting(zoom):
    first, second = zoom.made(), zoom.made()
    assert first["id"] != second["id"]
    assert len(zoom.meetings) == 2


def test_uuids_have_slashes_where_they_hurt(zoom):
    uuids = [zoom.made()["uuid"] for _ in range(5)]
    assert [(uuid.startswith("/"), "//" in uuid, "/" in uuid) for uuid in uuids] == [
        (True, False, True),
        (False, False, True),
        (False, True, True),
        (False, False, False),
        (False, False, False),
    ]
    assert {len(uuid) for uuid in uuids} == {24}


@pytest.mark.parametrize(
    ("given", "start", "zone"),
    [
        ({"start_time": "2026-12-03T09:00:00Z", "timezone": "America/New_York"}, "2026-12-03T09:00:00Z", "America/New_York"),
        ({"start_time": "2026-12-03T09:00:00", "timezone": "America/New_York"}, "2026-12-03T14:00:00Z", "America/New_York"),
        ({"start_time": "2026-12-03T09:00:00"}, "2026-12-03T08:00:00Z", "Europe/Berlin"),
        ({"start_time": "2026-11-03T09:00:00Z"}, "2026-11-03T09:00:00Z", "Europe/Berlin"),
        ({"start_time": None}, "2026-12-01T08:00:00Z", "Europe/Berlin"),
    ],
)
def test_when_it_starts(zoom, given, start, zone):
    meeting = zoom.made(**given)
    assert (meeting["start_time"], meeting["timezone"]) == (start, zone)


def test_a_past_start_may_become_now(zoom):
    zoom.control("PUT", "/switches", {"pastStart": "now"})
    assert zoom.made(start_time="2026-11-03T09:00:00Z")["start_time"] == "2026-12-01T08:00:00Z"
    assert zoom.made()["start_time"] == START


def test_settings(zoom):
    settings = zoom.made(
        settings={"waiting_room": True, "join_before_host": True, "meeting_invitees": [{"email": "m@demo.test"}], "odd": 1}
    )["settings"]
    assert (settings["waiting_room"], settings["join_before_host"]) == (True, False)
    assert settings["meeting_invitees"] == [{"email": "m@demo.test", "internal_user": False}]
    assert "odd" not in settings
    assert len(settings) == 48


def test_recording_in_the_cloud_needs_a_licence(zoom):
    zoom.control("POST", "/users", {"email": "basic@demo.test", "name": "Basic", "plan": "basic"})
    assert zoom.made("basic@demo.test", settings={"auto_recording": "cloud"})["settings"]["auto_recording"] == "none"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"topic": "x" * 201}, "topic"),
        ({"type": 4}, "type"),
        ({"start_time": "tomorrow"}, "start_time"),
        ({"start_time": "2026-12-03T09:00:00+01:00"}, "start_time"),
        ({"start_time": "2026-13-03T09:00:00Z"}, "start_time"),
        ({"duration": "30"}, "duration"),
        ({"timezone": "Moon"}, "timezone"),
        ({"agenda": "x" * 2001}, "agenda"),
        ({"password": "12345678901"}, "password"),
        ({"settings": []}, "settings"),
        ({"settings": {"auto_recording": "yes"}}, "settings.auto_recording"),
        ({"settings": {"jbh_time": 7}}, "settings.jbh_time"),
        ({"settings": {"approval_type": True}}, "settings.approval_type"),
        ({"settings": {"waiting_room": "yes"}}, "settings.waiting_room"),
        ({"settings": {"meeting_invitees": ["m@demo.test"]}}, "settings.meeting_invitees"),
    ],
)
def test_validation(zoom, change, field):
    refused = {"code": 300, "message": "Validation Failed.", "errors": [{"field": field, "message": "Invalid field."}]}
    answer = zoom.create(**change)
    assert (answer.status_code, answer.json()) == (400, refused)
    assert zoom.meetings == {}
    meeting = zoom.made()["id"]
    assert zoom.api("PATCH", f"/meetings/{meeting}", json=change).json() == refused


def test_no_json(zoom):
    for sent in (b"{", b"[]"):
        answer = zoom.api("POST", "/users/coach@demo.test/meetings", content=sent)
        assert (answer.status_code, answer.json()) == (400, {"code": 300, "message": "Request Body should be a valid JSON object."})


def test_an_unknown_and_a_pending_host(zoom):
    answer = zoom.create("nobody@demo.test")
    assert (answer.status_code, answer.json()) == (404, {"code": 1001, "message": "User does not exist: nobody@demo.test."})
    zoom.control("POST", "/users", {"email": "new@demo.test", "name": "New", "status": "pending"})
    answer = zoom.create("new@demo.test")
    assert (answer.status_code, answer.json()["code"]) == (400, 3161)


def test_schedule_for_somebody_else(zoom):
    assert zoom.made(schedule_for="coach2@demo.test")["host_email"] == "coach2@demo.test"
    assert zoom.create(schedule_for="nobody@demo.test").status_code == 404


def test_a_move_is_empty_and_keeps_number_and_link(zoom):
    made = zoom.made()
    move = {"start_time": "2026-12-04T10:00:00Z", "duration": 45, "timezone": "America/Chicago"}
    answer = zoom.api("PATCH", f"/meetings/{made['id']}", json=move)
    assert (answer.status_code, answer.content, "content-type" in answer.headers) == (204, b"", False)
    read = zoom.get(made["id"])
    assert {name: read[name] for name in move} == move
    for name in ("id", "uuid", "join_url", "topic", "agenda", "settings"):
        assert read[name] == made[name]


def test_a_move_into_the_past_is_passed_over_in_silence(zoom):
    made = zoom.made()
    answer = zoom.api("PATCH", f"/meetings/{made['id']}", json={"start_time": "2026-11-30T10:00:00Z", "topic": "New"})
    assert answer.status_code == 204
    assert (zoom.get(made["id"])["start_time"], zoom.get(made["id"])["topic"]) == (START, "New")


def test_settings_are_changed_one_by_one(zoom):
    made = zoom.made(settings={"mute_upon_entry": True, "auto_recording": "cloud"})
    zoom.api("PATCH", f"/meetings/{made['id']}", json={"settings": {"auto_recording": "none"}})
    settings = zoom.get(made["id"])["settings"]
    assert (settings["mute_upon_entry"], settings["auto_recording"]) == (True, "none")


def test_deleting_and_what_is_gone(zoom):
    meeting = zoom.made()["id"]
    answer = zoom.api("DELETE", f"/meetings/{meeting}", params={"schedule_for_reminder": "false", "cancel_meeting_reminder": "true"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert zoom.meetings == {}
    for method, path in (("DELETE", ""), ("GET", ""), ("PATCH", ""), ("PUT", "/status")):
        answer = zoom.api(method, f"/meetings/{meeting}{path}", json={} if method != "GET" else None)
        assert (answer.status_code, answer.json()) == (404, gone(meeting))


def test_a_running_meeting_is_not_deleted(zoom):
    meeting = zoom.made()["id"]
    zoom.control("POST", f"/meetings/{meeting}/start")
    assert zoom.get(meeting)["status"] == "started"
    answer = zoom.api("DELETE", f"/meetings/{meeting}")
    assert (answer.status_code, answer.json()["code"]) == (400, 3002)
    zoom.control("PUT", "/switches", {"refuseDeleteRunning": False})
    assert zoom.api("DELETE", f"/meetings/{meeting}").status_code == 204


def test_ending_a_meeting_gives_the_next_instance_its_own_uuid(zoom):
    made = zoom.made()
    status = f"/meetings/{made['id']}/status"
    assert zoom.api("PUT", status, json={"action": "end"}).status_code == 204
    assert zoom.get(made["id"])["uuid"] == made["uuid"]
    zoom.control("POST", f"/meetings/{made['id']}/start")
    assert zoom.get(made["id"])["uuid"] == made["uuid"]
    assert zoom.api("PUT", status, json={"action": "end"}).content == b""
    ended = zoom.get(made["id"])
    assert (ended["status"], ended["uuid"] != made["uuid"], ended["join_url"]) == ("waiting", True, made["join_url"])
    assert zoom.api("PUT", status, json={"action": "dance"}).json()["errors"][0]["field"] == "action"


def test_a_number_expires_thirty_days_after_its_last_use(zoom):
    meeting = zoom.made()["id"]  # starts in two days and an hour
    zoom.shift(32 * 86400)
    zoom.tokens.clear()
    zoom.control("POST", f"/meetings/{meeting}/start")
    zoom.control("POST", f"/meetings/{meeting}/end")
    zoom.shift(30 * 86400)
    zoom.tokens.clear()
    assert zoom.get(meeting)["id"] == meeting
    assert zoom.listed()["total_records"] == 1
    zoom.shift(1)
    assert zoom.api("GET", f"/meetings/{meeting}").json() == gone(meeting)
    assert zoom.listed()["meetings"] == []


def test_instant_and_recurring_meetings(zoom):
    instant, recurring = zoom.made(type=1), zoom.made(type=3, recurrence={"type": 1})
    assert "start_time" not in instant | recurring
    assert recurring["recurrence"] == {"type": 1}
    assert [line["id"] for line in zoom.listed()["meetings"]] == [recurring["id"]]


@pytest.mark.parametrize("meeting_id", ["abc", "12x", "/aB=="])
def test_a_number_must_be_one(zoom, meeting_id):
    answer = zoom.api("GET", f"/meetings/{meeting_id}")
    assert (answer.status_code, answer.json()["code"]) in {(400, 300), (404, 2300)}


def test_an_unknown_address(zoom):
    for method in ("GET", "POST", "DELETE"):
        answer = zoom.api(method, "/nothing/here")
        assert (answer.status_code, answer.json()["code"]) == (404, 2300)
