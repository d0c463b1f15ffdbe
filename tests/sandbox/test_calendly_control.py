"""The control face of the sandbox's Calendly, its demo, and what survives."""

import pytest
from calendly_house import CALLBACK, GINA, NOW, CalendlyHouse, furnished
from httpx import Client

from sandbox.app import Sandbox
from sandbox.calendly import demo
from sandbox.calendly.state import SWITCHES

START = "2026-12-02T09:00:00Z"


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def refused(house, method, path, body):
    answer = house.http.request(method, f"/_sandbox/calendly{path}", json=body)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, [one["parameter"] for one in answer.json().get("details", [])]


def test_the_manual(calendly):
    text = calendly.http.get("/_sandbox").text
    for part in ("/_sandbox/calendly/apps", "/_sandbox/calendly/switches", *SWITCHES):
        assert part in text


def test_people(calendly):
    made = calendly.person("tess", slug="tess", stage="trial", plan="teams", schedule=None)
    assert (made["user"]["slug"], made["organization"]["stage"], made["organization"]["plan"]) == ("tess", "trial", "teams")
    assert made["user"]["current_organization"] == made["organization"]["uri"]
    assert made["membership"]["role"] == "owner"
    joined = calendly.person("tim", organization="tess@demo.test", role="admin")
    assert (joined["organization"]["uri"], joined["membership"]["role"]) == (made["organization"]["uri"], "admin")
    assert calendly.person("tess2", name="Tess")["user"]["slug"] == "tess-1"
    person = {"email": "new@demo.test", "name": "New", "timeZone": "UTC"}
    assert refused(calendly, "POST", "/users", {}) == (400, ["email", "name", "timeZone"])
    assert refused(calendly, "POST", "/users", person | {"email": "cora@demo.test"}) == (409, [])
    assert refused(calendly, "POST", "/users", person | {"organization": "x@demo.test"}) == (404, [])
    assert refused(calendly, "POST", "/users", person | {"schedule": {"rules": [{"type": "wday"}]}}) == (400, ["schedule"])
    assert refused(calendly, "POST", "/users", person | {"eventTypes": [{"duration": 30}]}) == (400, ["eventTypes"])


def test_a_host_without_hours_is_never_free(calendly):
    calendly.person("tess", schedule=None, eventTypes=[{"name": "Talk"}])
    params = {"event_type": calendly.kind("Talk", "tess"), "start_time": "2026-12-02T00:00:00Z", "end_time": "2026-12-09T00:00:00Z"}
    assert calendly.api("GET", "/event_type_available_times", who="tess", params=params).json() == {"collection": []}


def test_bookings_by_force_and_in_silence(calendly, inbox):
    calendly.subscribe(inbox.url)
    body = {"eventType": calendly.kind("Talk"), "start": "2026-11-29T03:10:00Z", "invitee": GINA}
    assert refused(calendly, "POST", "/bookings", body) == (400, [])
    made = calendly.control("POST", "/bookings", body | {"force": True, "silent": True, "answers": {"Unknown": "x"}})
    assert made["event"]["start_time"] == "2026-11-29T03:10:00.000000Z"
    assert refused(calendly, "POST", "/bookings", body | {"eventType": "x"}) == (404, [])
    assert refused(calendly, "POST", "/bookings", body | {"invitee": {}}) == (400, ["name", "email", "timeZone"])
    calendly.settle()
    assert inbox.letters == []


def test_moving_to_another_event_type(calendly):
    booked = calendly.book(START)["invitee"]["uri"]
    moved = calendly.control(
        "POST", "/reschedule", {"invitee": booked, "start": "2026-12-02T10:00:00Z", "eventType": calendly.kind("Call")}
    )
    assert moved["event"]["event_type"] == calendly.kind("Call")
    assert moved["event"]["location"]["type"] == "zoom"


def test_a_host_cancels_for_all(calendly):
    mia = calendly.book(START, "Workshop")["invitee"]
    gina = calendly.book(START, "Workshop", invitee=GINA)["invitee"]
    made = calendly.control("POST", "/cancel", {"invitee": mia["uri"], "by": "host", "reason": "ill"})
    assert (made["event"]["status"], made["event"]["cancellation"]["canceler_type"]) == ("canceled", "host")
    assert calendly.get(gina["uri"])["resource"]["status"] == "canceled"
    assert refused(calendly, "POST", "/cancel", {"invitee": mia["uri"]}) == (400, ["by"])
    assert refused(calendly, "POST", "/cancel", {"invitee": "x", "by": "host"}) == (404, [])


def test_a_paid_booking(calendly):
    calendly.person("pat", eventTypes=[{"name": "Paid", "paid": True}])
    body = {"eventType": calendly.kind("Paid", "pat"), "start": START, "invitee": GINA}
    payment = calendly.control("POST", "/bookings", body)["invitee"]["payment"]
    assert (payment["provider"], payment["successful"]) == ("stripe", True)


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/switches", {"unknown": True}, ["unknown"]),
        ("/switches", {"oldGrace": "yes"}, ["oldGrace"]),
        ("/switches", {"takenSlotStatus": 500}, ["takenSlotStatus"]),
        ("/switches", {"windowDays": None}, ["windowDays"]),
        ("/switches", {"brokenCalendars": "x"}, ["brokenCalendars"]),
        ("/limits", {"general": -1}, ["general"]),
        ("/limits", {"other": 1}, ["other"]),
    ],
)
def test_bad_switches_and_limits(calendly, path, body, names):
    assert refused(calendly, "PUT", path, body) == (400, names)


def test_apps_and_tokens(calendly):
    app = calendly.control("POST", "/apps", {"clientId": "second", "redirectUris": [CALLBACK], "scopes": ["users:read"]})
    assert len(app["clientSecret"]) > 20
    assert len(app["webhookSigningKey"]) > 20
    assert "invalid_scope" in calendly.consent(client_id="second").headers["location"]
    assert "code=" in calendly.consent(client_id="second", scope="users:read").headers["location"]
    assert refused(calendly, "POST", "/apps", {"clientId": "x"}) == (400, ["redirectUris"])
    assert refused(calendly, "POST", "/apps", {"clientId": "x", "redirectUris": [CALLBACK], "scopes": ["x"]}) == (400, ["scopes"])
    assert refused(calendly, "POST", "/tokens/revoke", {"email": "x@demo.test"}) == (404, [])
    assert refused(calendly, "POST", "/personal-tokens", {"email": "cora@demo.test", "scopes": ["x"]}) == (400, ["scopes"])


def test_everything_survives_a_restart(tmp_path):
    path = tmp_path / "world.json"
    with Sandbox(state=path) as first:
        first.world.clock.freeze(NOW)
        keeping = furnished(first)  # kept, or the client closes with it
        house = next(keeping)
        token = house.connect()
        booked = house.book(START)["invitee"]
        house.subscribe("http://127.0.0.1:9/x")
        house.switch(pairOrder="created-first")
        before = first.world.dump()
    with Sandbox(state=path) as second, Client(base_url=second.url) as http:
        assert second.world.dump()["calendly"] == before["calendly"]
        house = CalendlyHouse(second, http)
        answer = house.refresh(token["refresh_token"])
        assert answer.status_code == 200
        invitee = booked["uri"].rpartition("/")[2]
        moved = house.control("POST", "/reschedule", {"invitee": invitee, "start": "2026-12-03T09:00:00Z"})
        assert moved["old"]["rescheduled"] is True


def test_the_demo(sandbox):
    sandbox.reset()
    sandbox.world.clock.freeze(NOW)
    demo.seed(sandbox.world)
    known = sandbox.world.calendly
    coach = known.user_by_email("coach2@demo.test")
    assert [(row.name, row.duration, row.kind, row.limit) for row in known.types_of(coach.id)] == [
        ("Coaching call", 30, "solo", 1),
        ("Deep session", 60, "solo", 1),
        ("Group workshop", 45, "group", 5),
    ]
    assert known.user_by_email("mentee2@demo.test").time_zone == "America/New_York"
    plan = [(row.name, row.start.isoformat(), [one.email for one in known.invitees_of(row)]) for row in known.events.values()]
    mia, gina = "mentee2@demo.test", "guest@demo.test"
    assert plan == [
        ("Coaching call", "2026-11-30T10:00:00+00:00", [mia]),
        ("Coaching call", "2026-12-02T14:00:00+00:00", [mia]),
        ("Coaching call", "2026-12-03T13:30:00+00:00", [mia]),
        ("Deep session", "2026-12-04T13:00:00+00:00", [mia]),
        ("Coaching call", "2026-12-07T14:30:00+00:00", [mia]),
        ("Coaching call", "2026-12-03T10:00:00+00:00", [gina]),
        ("First talk", "2026-12-03T08:00:00+00:00", [mia]),
        ("Group workshop", "2026-12-07T09:00:00+00:00", [mia, gina, "gus@demo.test"]),
    ]
    demo.seed(sandbox.world)
    assert len(known.users) == 3
