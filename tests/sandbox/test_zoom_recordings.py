"""Zoom's recordings: events, reading by number and by uuid, lists, downloads."""

from urllib.parse import quote, urlsplit

import pytest
from zoom_house import twice

pytest_plugins = ["zoom_fixtures"]
NONE = {"code": 3301, "message": "There is no recording for this meeting."}
FINISHED = ["shared_screen_with_speaker_view", "audio_only", "timeline", "chat_file"]


def held(zoom, **more):
    meeting = zoom.made()["id"]
    zoom.sandbox.settle()
    zoom.control("POST", f"/meetings/{meeting}/end", {"recording": True} | more)
    return meeting


def read(zoom, name, **query):
    return zoom.api("GET", f"/meetings/{name}/recordings", params=query)


def kinds(files):
    return [file["recording_type"] for file in files]


def test_a_recording_is_told_and_can_be_read(zoom, endpoint):
    zoom.listen(endpoint.url)
    uuid = zoom.made()["uuid"]
    meeting = held(zoom)
    event = endpoint.of("recording.completed")
    told, shown = event["payload"]["object"], read(zoom, meeting).json()
    assert (told["id"], told["type"], shown["id"], shown["type"]) == (meeting, 2, meeting, "2")
    assert told["uuid"] == shown["uuid"] != uuid
    assert (shown["start_time"], shown["duration"], shown["timezone"]) == ("2026-12-01T07:30:00Z", 30, "Europe/Berlin")
    assert kinds(shown["recording_files"]) == kinds(told["recording_files"]) == FINISHED
    assert (shown["recording_count"], shown["total_size"]) == (4, sum(file["file_size"] for file in shown["recording_files"]))
    assert {file["meeting_id"] for file in shown["recording_files"]} == {shown["uuid"]}
    assert (shown["auto_delete"], shown["auto_delete_date"]) == (True, "2027-01-30")
    assert told["participant_audio_files"] == []
    assert len(event["download_token"]) > 255
    assert "download_access_token" not in shown
    assert endpoint.events[-3:] == ["meeting.started", "meeting.ended", "recording.completed"]


def test_the_recording_outlives_the_meeting(zoom):
    meeting = held(zoom)
    zoom.api("DELETE", f"/meetings/{meeting}")
    assert read(zoom, meeting).status_code == 200


@pytest.mark.parametrize("name", ["81234567890", "unknown==", "%252Funknown%253D"])
def test_no_recording(zoom, name):
    zoom.made()
    answer = read(zoom, name)
    assert (answer.status_code, answer.json()) == (404, NONE)


def test_a_meeting_without_a_recording_has_none(zoom):
    meeting = zoom.made()["id"]
    assert read(zoom, meeting).json() == NONE
    zoom.control("POST", f"/meetings/{meeting}/end")
    assert read(zoom, meeting).json() == NONE


def test_stopped_and_started_again(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = held(zoom, twice=True)
    told = [letter.json for letter in endpoint.letters if letter.json["event"] == "recording.completed"]
    uuids = [one["payload"]["object"]["uuid"] for one in told]
    assert len(set(uuids)) == 2
    assert {one["payload"]["object"]["id"] for one in told} == {meeting}
    assert read(zoom, meeting).json()["uuid"] == uuids[1]
    assert [read(zoom, twice(uuid)).json()["uuid"] for uuid in uuids] == uuids
    assert [read(zoom, twice(uuid)).json()["duration"] for uuid in uuids] == [15, 15]


def test_a_uuid_with_slashes_must_be_encoded_twice(zoom):
    for _ in range(5):
        held(zoom)
    uuids = list(zoom.sandbox.world.zoom.recordings)
    assert [read(zoom, twice(uuid)).status_code for uuid in uuids] == [200] * 5
    hard = [uuid.startswith("/") or "//" in uuid for uuid in uuids]
    assert sorted(hard) == [False, False, False, True, True]
    assert [read(zoom, quote(uuid, safe="")).status_code for uuid in uuids] == [404 if one else 200 for one in hard]


def test_the_transcript_comes_with_an_event_of_its_own(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = held(zoom, transcript=True)
    assert endpoint.events[-2:] == ["recording.completed", "recording.transcript_completed"]
    first, second = (endpoint.of(f"recording.{name}")["payload"]["object"] for name in ("completed", "transcript_completed"))
    assert kinds(first["recording_files"]) == FINISHED
    assert kinds(second["recording_files"]) == ["audio_transcript"]
    assert (second["uuid"], second["recording_count"]) == (first["uuid"], 1)
    assert kinds(read(zoom, meeting).json()["recording_files"]) == [*FINISHED, "audio_transcript"]


def test_the_transcript_may_come_later(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = held(zoom, transcript="later")
    assert endpoint.events[-1] == "recording.completed"
    in_work = read(zoom, meeting).json()["recording_files"][-1]
    assert in_work == {"file_type": "TRANSCRIPT", "file_extension": "VTT", "recording_type": "audio_transcript", "status": "processing"}
    assert zoom.control("POST", f"/meetings/{meeting}/transcript") == {"sent": 1}
    assert zoom.control("POST", f"/meetings/{meeting}/transcript") == {"sent": 0}
    assert endpoint.events[-1] == "recording.transcript_completed"
    assert read(zoom, meeting).json()["recording_files"][-1]["status"] == "completed"


def test_the_recording_may_come_long_after_the_end(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = held(zoom, recording="later", transcript="later")
    assert endpoint.events[-1] == "meeting.ended"
    assert read(zoom, meeting).json() == NONE
    (uuid,) = zoom.sandbox.world.zoom.recordings
    assert read(zoom, twice(uuid)).json() == NONE
    assert listed(zoom).json()["meetings"] == []
    assert zoom.control("POST", f"/meetings/{meeting}/transcript") == {"sent": 0}
    zoom.shift(6 * 3600)
    zoom.tokens.clear()
    assert zoom.control("POST", f"/meetings/{meeting}/recording") == {"sent": 1}
    assert zoom.control("POST", f"/meetings/{meeting}/recording") == {"sent": 0}
    assert endpoint.of("recording.completed")["payload"]["object"]["uuid"] == uuid == read(zoom, meeting).json()["uuid"]
    assert zoom.control("POST", f"/meetings/{meeting}/transcript") == {"sent": 1}


def download(zoom, url, token):
    return zoom.http.get(urlsplit(url).path, headers={"Authorization": f"Bearer {token}"} if token else {}, follow_redirects=True)


def test_downloads_take_three_kinds_of_tokens_and_redirect(zoom, endpoint):
    zoom.listen(endpoint.url)
    meeting = held(zoom)
    shown = read(zoom, meeting, include_fields="download_access_token", ttl=60).json()
    file = shown["recording_files"][1]
    event = endpoint.of("recording.completed")
    tokens = [zoom.token("server"), shown["download_access_token"], event["download_token"]]
    for token in tokens:
        answer = download(zoom, file["download_url"], token)
        assert (answer.status_code, len(answer.content)) == (200, file["file_size"])
        assert [step.status_code for step in answer.history] == [302]
    assert zoom.api("GET", "/users/me", token=event["download_token"]).json()["code"] == 124
    assert [download(zoom, file["download_url"], token).status_code for token in ("", "x")] == [401, 401]
    zoom.shift(60)
    assert [download(zoom, file["download_url"], token).status_code for token in tokens] == [200, 401, 200]
    zoom.shift(86400 - 61)
    assert download(zoom, file["download_url"], tokens[2]).status_code == 200
    zoom.shift(1)
    assert download(zoom, file["download_url"], tokens[2]).status_code == 401


@pytest.mark.parametrize("ttl", ["604801", "-1", "x"])
def test_bad_lives_of_a_download_token(zoom, ttl):
    answer = read(zoom, held(zoom), include_fields="download_access_token", ttl=ttl)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "ttl")


def listed(zoom, **query):
    return zoom.api("GET", "/users/coach@demo.test/recordings", params=query)


def test_a_users_recordings_of_the_last_day(zoom):
    assert listed(zoom).json() == {
        "from": "2026-11-30",
        "to": "2026-12-01",
        "page_count": 0,
        "page_size": 0,
        "total_records": 0,
        "next_page_token": "",
        "meetings": [],
    }
    meeting = held(zoom)
    answer = listed(zoom).json()
    assert (answer["page_count"], answer["page_size"], answer["total_records"]) == (1, 30, 1)
    assert answer["meetings"] == [read(zoom, meeting).json()]
    assert zoom.api("GET", "/users/coach2@demo.test/recordings").json()["meetings"] == []
    zoom.shift(2 * 86400)
    zoom.tokens.clear()
    assert listed(zoom).json()["meetings"] == []
    assert len(listed(zoom, **{"from": "2026-12-01"}).json()["meetings"]) == 1


@pytest.mark.parametrize(
    ("first", "last", "status"),
    [("2026-11-01", "2026-12-01", 200), ("2026-10-31", "2026-12-01", 400), ("2026-12-02", "2026-12-01", 400), ("soon", "2026-12-01", 400)],
)
def test_at_most_a_month(zoom, first, last, status):
    assert listed(zoom, **{"from": first, "to": last}).status_code == status


def test_pages_of_recordings(zoom):
    for _ in range(3):
        held(zoom)
    first = listed(zoom, page_size=2).json()
    assert (first["page_count"], len(first["meetings"])) == (2, 2)
    second = listed(zoom, page_size=2, next_page_token=first["next_page_token"]).json()
    assert len({row["uuid"] for row in [*first["meetings"], *second["meetings"]]}) == 3


def test_a_refusal_may_come_as_200(zoom):
    meeting = held(zoom)
    zoom.control("PUT", "/switches", {"recordingsForbidden": True})
    for answer in (read(zoom, meeting), listed(zoom)):
        assert (answer.status_code, answer.json()["code"]) == (200, 200)


def test_a_users_token_sees_its_own_recordings(zoom):
    meeting = held(zoom)
    path = f"/meetings/{meeting}/recordings"
    assert zoom.api("GET", path, who="coach").status_code == 200
    assert zoom.api("GET", path, who="coach2").json() == NONE
