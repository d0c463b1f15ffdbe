"""Zoom's events: the challenge, signatures, shapes, retries, and who is told."""

import threading

import pytest
from sandbox_house import NOW, Inbox
from zoom_house import SECRET, START, USER_APP, signature

pytest_plugins = ["zoom_fixtures"]
NOW_TEXT, NOW_MS = "2026-12-01T08:00:00Z", int(NOW.timestamp()) * 1000


def settle(zoom):
    zoom.sandbox.settle()


def repeat(zoom):
    return zoom.http.post("/_sandbox/deliveries/repeat").json()["sent"]


def test_our_own_calls_come_back_as_events(zoom, endpoint):
    zoom.listen(endpoint.url)
    made = zoom.made()
    settle(zoom)
    zoom.api("PATCH", f"/meetings/{made['id']}", json={"start_time": "2026-12-04T10:00:00Z", "duration": 30})
    settle(zoom)
    zoom.api("DELETE", f"/meetings/{made['id']}")
    settle(zoom)
    assert endpoint.events == ["meeting.created", "meeting.updated", "meeting.deleted"]
    user_id = made["host_id"]
    head = {"account_id": "account-1", "operator": "coach@demo.test", "operator_id": user_id}
    plan = {
        "id": made["id"],
        "uuid": made["uuid"],
        "host_id": user_id,
        "topic": "Session",
        "type": 2,
        "start_time": START,
        "timezone": "Europe/Berlin",
        "duration": 30,
    }
    settings = {"use_pmi": False, "alternative_hosts": "", "join_before_host": False, "meeting_invitees": []}
    shown = plan | {"join_url": made["join_url"], "password": made["password"], "settings": settings}
    created = head | {"operation": "all", "object": shown}
    assert endpoint.of("meeting.created") == {"event": "meeting.created", "event_ts": NOW_MS, "payload": created}
    names = {"id": made["id"], "uuid": made["uuid"]}
    changed = {
        "scope": "single",
        "object": names | {"start_time": "2026-12-04T10:00:00Z"},
        "old_object": names | {"start_time": START},
        "time_stamp": NOW_MS,
    }
    assert endpoint.of("meeting.updated")["payload"] == head | changed
    moved = plan | {"start_time": "2026-12-04T10:00:00Z"}
    assert endpoint.of("meeting.deleted")["payload"] == head | {"operation": "all", "object": moved}


def test_an_update_that_changes_nothing_is_not_told(zoom, endpoint):
    zoom.listen(endpoint.url)
    made = zoom.made()
    for body in ({"start_time": "2026-11-01T10:00:00Z"}, {"topic": "Session"}, {"settings": {"auto_recording": "none"}}, {}):
        zoom.api("PATCH", f"/meetings/{made['id']}", json=body)
    settle(zoom)
    assert endpoint.events == ["meeting.created"]
    zoom.api("PATCH", f"/meetings/{made['id']}", json={"settings": {"auto_recording": "cloud"}})
    settle(zoom)
    payload = endpoint.of("meeting.updated")["payload"]
    assert (payload["old_object"]["settings"], payload["object"]["settings"]) == ({"auto_recording": "none"}, {"auto_recording": "cloud"})


def test_what_the_host_does_outside(zoom, endpoint):
    zoom.listen(endpoint.url)
    made = zoom.control("POST", "/meetings", {"email": "coach2@demo.test", "topic": "Own", "start_time": START})
    assert (made["host_email"], made["creation_source"]) == ("coach2@demo.test", "web_portal")
    assert zoom.control("PATCH", f"/meetings/{made['id']}", {"topic": "Other"}) == {"sent": 1}
    assert zoom.control("DELETE", f"/meetings/{made['id']}") == {"sent": 1}
    assert endpoint.events == ["meeting.created", "meeting.updated", "meeting.deleted"]
    assert endpoint.of("meeting.deleted")["payload"]["operator"] == "coach2@demo.test"


def test_a_meeting_that_is_held(zoom, endpoint):
    zoom.listen(endpoint.url)
    made = zoom.made()
    settle(zoom)
    zoom.sandbox.world.clock.freeze(NOW.replace(day=3, hour=9))
    people = [{"name": "Max Mentee", "email": "mentee@demo.test"}, {"name": "Clara", "email": "coach@demo.test"}]
    assert zoom.control("POST", f"/meetings/{made['id']}/start", {"participants": people}) == {"sent": 3}
    assert zoom.control("POST", f"/meetings/{made['id']}/start") == {"sent": 0}
    zoom.shift(1700)
    assert zoom.control("POST", f"/meetings/{made['id']}/end") == {"sent": 3}
    assert endpoint.events[1:] == [
        "meeting.started",
        "meeting.participant_joined",
        "meeting.participant_joined",
        "meeting.participant_left",
        "meeting.participant_left",
        "meeting.ended",
    ]
    about = {
        "id": str(made["id"]),
        "uuid": made["uuid"],
        "host_id": made["host_id"],
        "topic": "Session",
        "type": 2,
        "start_time": "2026-12-03T09:00:00Z",
        "timezone": "Europe/Berlin",
        "duration": 30,
    }
    assert endpoint.of("meeting.started")["payload"] == {"account_id": "account-1", "object": about}
    assert endpoint.of("meeting.ended")["payload"]["object"] == about | {"end_time": "2026-12-03T09:28:20Z"}
    guest, host = (letter.json["payload"]["object"]["participant"] for letter in endpoint.letters[2:4])
    assert {name: value for name, value in guest.items() if name not in {"user_id", "participant_uuid"}} == {
        "user_name": "Max Mentee",
        "id": "",
        "email": "mentee@demo.test",
        "registrant_id": "",
        "participant_user_id": "",
        "join_time": "2026-12-03T09:00:00Z",
        "customer_key": "",
        "phone_number": "",
    }
    assert host["id"] == host["participant_user_id"] == made["host_id"]
    gone = endpoint.letters[4].json["payload"]["object"]["participant"]
    assert (gone["leave_time"], gone["leave_reason"]) == ("2026-12-03T09:28:20Z", "left the meeting")
    assert gone["participant_uuid"] == guest["participant_uuid"]


def test_the_api_ends_a_meeting_for_everybody(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = zoom.made()["id"]
    zoom.control("POST", f"/meetings/{meeting}/start", {"participants": [{"name": "Max"}]})
    zoom.api("PUT", f"/meetings/{meeting}/status", json={"action": "end"})
    zoom.api("PUT", f"/meetings/{meeting}/status", json={"action": "end"})
    settle(zoom)
    expected = ["meeting.started", "meeting.participant_joined", "meeting.participant_left", "meeting.ended"]
    assert [event for event in endpoint.events if event != "meeting.created"] == expected


def test_every_delivery_is_signed_over_its_raw_bytes(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.made(topic="Grüße, 你好")
    settle(zoom)
    (letter,) = endpoint.letters
    assert "Grüße, 你好".encode() in letter.body
    assert letter.headers["x-zm-request-timestamp"] == str(NOW_MS // 1000)
    assert letter.headers["x-zm-signature"] == signature(str(NOW_MS // 1000), letter.body)
    assert letter.headers["content-type"] == "application/json; charset=utf-8"


def test_the_timestamp_may_be_in_milliseconds(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.control("PUT", "/switches", {"millisecondTimestamp": True})
    zoom.made()
    settle(zoom)
    (letter,) = endpoint.letters
    assert letter.headers["x-zm-request-timestamp"] == str(NOW_MS)
    assert letter.headers["x-zm-signature"] == signature(str(NOW_MS), letter.body)


@pytest.mark.parametrize(("kind", "shape"), [("unsigned", None), ("wrong-signature", 67)])
def test_signatures_fail_on_demand(zoom, endpoint, kind, shape):
    zoom.listen(endpoint.url)
    zoom.sandbox.fault({"kind": kind}, webhook="meeting.created")
    zoom.made()
    settle(zoom)
    (letter,) = endpoint.letters
    found = letter.headers.get("x-zm-signature")
    assert (found and len(found)) == shape
    assert found != signature(letter.headers["x-zm-request-timestamp"], letter.body)


def test_no_two_events_share_their_moment_even_with_a_frozen_clock(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = zoom.made()["id"]
    for topic in ("a", "b", "c"):
        zoom.api("PATCH", f"/meetings/{meeting}", json={"topic": topic})
    settle(zoom)
    updates = [letter.json for letter in endpoint.letters if letter.json["event"] == "meeting.updated"]
    keys = {(one["event"], one["payload"]["object"]["uuid"], one["event_ts"]) for one in updates}
    assert len(keys) == 3


def test_retries_after_5_20_and_60_minutes_are_signed_anew(zoom, endpoint):
    zoom.listen(endpoint.url)
    endpoint.status = 503
    zoom.made()
    settle(zoom)
    for pause, count in ((299, 0), (1, 1), (1199, 0), (1, 1), (3599, 0), (1, 1), (86400, 0)):
        zoom.shift(pause)
        assert repeat(zoom) == count
    assert len(endpoint.letters) == 4
    assert len({letter.body for letter in endpoint.letters}) == 1
    stamps = [int(letter.headers["x-zm-request-timestamp"]) - NOW_MS // 1000 for letter in endpoint.letters]
    assert stamps == [0, 300, 1500, 5100]
    for letter in endpoint.letters:
        assert letter.headers["x-zm-signature"] == signature(letter.headers["x-zm-request-timestamp"], letter.body)


def test_a_retry_may_repeat_the_old_timestamp(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.control("PUT", "/switches", {"staleRetryTimestamp": True})
    endpoint.status = 500
    zoom.made()
    settle(zoom)
    zoom.shift(300)
    repeat(zoom)
    first, second = endpoint.letters
    assert first.headers == second.headers


@pytest.mark.parametrize(("status", "usual", "any_failure"), [(200, 0, 0), (204, 0, 0), (201, 0, 1), (302, 0, 1), (401, 0, 1), (500, 1, 1)])
def test_which_answers_are_tried_again(zoom, endpoint, status, usual, any_failure):
    zoom.listen(endpoint.url)
    endpoint.status = status
    for switch, expected in ((False, usual), (True, any_failure)):
        zoom.control("PUT", "/switches", {"retryAny": switch})
        zoom.made()
        settle(zoom)
        zoom.shift(300)
        assert repeat(zoom) == expected


def test_nobody_there_is_tried_again(zoom, endpoint):
    zoom.listen(endpoint.url)
    endpoint.close()
    zoom.made()
    settle(zoom)
    zoom.shift(300)
    assert repeat(zoom) == 1


def test_a_users_app_hears_of_its_users_only(zoom, endpoint):
    zoom.listen(endpoint.url, USER_APP)
    zoom.made()
    settle(zoom)
    assert endpoint.letters == []
    zoom.connect("coach")
    zoom.made()
    zoom.made("coach2@demo.test")
    settle(zoom)
    assert [letter.json["payload"]["object"]["host_id"] for letter in endpoint.letters] == [
        zoom.sandbox.world.zoom.user("coach@demo.test").id
    ]


def test_each_app_is_told_with_its_own_signature(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.listen(endpoint.url, USER_APP, secretToken="other")
    endpoint.secret = "other"
    zoom.control("POST", "/validate", {"clientId": "app"})
    zoom.connect("coach")
    zoom.made()
    settle(zoom)
    found = {letter.headers["clientid"]: letter for letter in endpoint.letters}
    for client_id, secret in (("server", SECRET), ("app", "other")):
        letter = found[client_id]
        assert letter.headers["x-zm-signature"] == signature(letter.headers["x-zm-request-timestamp"], letter.body, secret)


def test_deauthorizing_ends_the_tokens_and_is_told(zoom, endpoint):
    zoom.listen(endpoint.url, USER_APP)
    tokens, other = zoom.connect("coach"), zoom.connect("coach2")
    assert zoom.control("POST", "/deauthorize", {"email": "coach@demo.test"}) == {"count": 1}
    assert zoom.control("POST", "/deauthorize", {"email": "coach@demo.test"}) == {"count": 0}
    user = zoom.sandbox.world.zoom.user("coach@demo.test")
    (letter,) = endpoint.letters
    payload = letter.json["payload"]
    assert payload.pop("signature")
    assert payload == {
        "user_id": user.id,
        "account_id": "account-1",
        "client_id": "app",
        "deauthorization_time": "2026-12-01T08:00:00.000Z",
    }
    assert zoom.api("GET", "/users/me", token=tokens["access_token"]).json()["code"] == 124
    assert zoom.refresh(tokens["refresh_token"]).status_code == 400
    assert zoom.api("GET", "/users/me", token=other["access_token"]).status_code == 200
    zoom.made()
    settle(zoom)
    assert len(endpoint.letters) == 1  # and no more events of this user


def test_the_answer_does_not_wait_for_the_endpoint(zoom, inbox: Inbox):
    """At Cal.com it would; here the endpoint may even call back for what it was told of."""
    zoom.listen(inbox.url)
    zoom.control("PUT", "/switches", {"deliverUnvalidated": True})
    answered = threading.Event()
    inbox.during = lambda _: answered.wait(10) and None
    made = zoom.made()
    answered.set()
    settle(zoom)
    assert inbox.letters[-1].json["payload"]["object"]["id"] == made["id"]
    assert made["created_at"] == NOW_TEXT
