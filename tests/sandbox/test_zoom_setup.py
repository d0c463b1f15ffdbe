"""Zoom's control face, its page, its links, the demo, and what survives a kill."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sandbox_house import NOW
from zoom_house import CALLBACK, SERVER, START, USER_APP, ZoomHouse

from sandbox.app import Sandbox
from sandbox.zoom.state import LIMITS, SWITCHES

pytest_plugins = ["zoom_fixtures"]


def told(answer):
    """The message after a form was sent, and whether it is bad news."""
    assert answer.status_code == 303
    address = urlsplit(answer.headers["location"])
    assert address.path == "/zoom"
    query = parse_qs(address.query)
    return query["message"][0], "bad" in query


def test_the_manual_names_every_route_switch_and_limit(zoom):
    text = zoom.http.get("/_sandbox").text
    rules = [str(rule) for rule in _rules(zoom) if str(rule).startswith("/_sandbox/zoom")]
    for rule in rules:
        for action in ("revoke", "expire") if "<action>" in rule else ("",):
            assert rule.replace("<meeting_id>", "{id}").replace("<action>", action) in text
    assert [name for name in (*SWITCHES, *LIMITS) if f"{name}?" not in text] == []


def _rules(zoom):
    from sandbox.app import create_app  # noqa: PLC0415 - only here

    return create_app(zoom.sandbox.world).url_map.iter_rules()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/apps", {"clientId": "x", "clientSecret": "y"}),
        ("POST", "/apps", SERVER | {"redirectUris": [CALLBACK]}),
        ("POST", "/apps", {"accountId": "a"}),
        ("POST", "/apps", SERVER | {"scopes": ["fly"]}),
        ("POST", "/apps", SERVER | {"odd": 1}),
        ("POST", "/users", {"email": "x", "name": "X"}),
        ("POST", "/users", {"email": "x@demo.test", "name": "X", "plan": "gold"}),
        ("POST", "/users", {"email": "x@demo.test", "name": "X", "timeZone": "Moon"}),
        ("POST", "/meetings", {"email": "coach@demo.test", "type": 9}),
        ("POST", "/meetings/1/end", {"transcript": "never"}),
        ("POST", "/meetings/1/start", {"participants": [{}]}),
        ("POST", "/deauthorize", {}),
        ("PUT", "/switches", {"odd": True}),
        ("PUT", "/switches", {"badClientStatus": 402}),
        ("PUT", "/switches", {"retryAny": "yes"}),
    ],
)
def test_bad_bodies_are_refused(zoom, method, path, body):
    answer = zoom.http.request(method, f"/_sandbox/zoom{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 300)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/meetings/81234567890/end", 404), ("/tokens/burn", 404), ("/deauthorize", 404)],
)
def test_what_is_not_there(zoom, path, status):
    body = {"email": "nobody@demo.test"} if path == "/deauthorize" else {}
    assert zoom.http.post(f"/_sandbox/zoom{path}", json=body).status_code == status


def test_an_e_mail_address_is_used_once(zoom):
    assert zoom.http.post("/_sandbox/zoom/users", json={"email": "COACH@demo.test", "name": "X"}).status_code == 409


def test_registering_an_app_again_replaces_it(zoom):
    shown = zoom.control("POST", "/apps", SERVER | {"clientSecret": "new", "scopes": ["user:read:user:admin"]})
    assert (shown["clientSecret"], shown["scopes"], shown["accountId"]) == ("new", ["user:read:user:admin"], "account-1")
    assert zoom.ask_token(SERVER, grant_type="account_credentials", account_id="account-1").status_code == 400
    answer = zoom.ask_token(SERVER | {"clientSecret": "new"}, grant_type="account_credentials", account_id="account-1")
    assert answer.json()["scope"] == "user:read:user:admin"


def test_the_first_name_given_to_the_account_takes_everybody_along(sandbox):
    with httpx.Client(base_url=sandbox.url) as http:
        zoom = ZoomHouse(sandbox, http)
        zoom.control("POST", "/apps", USER_APP)
        before = zoom.control("POST", "/users", {"email": "coach@demo.test", "name": "Coach"})["account_id"]
        token = zoom.connect()["access_token"]
        zoom.control("POST", "/apps", SERVER)
        assert zoom.api("GET", "/users/coach@demo.test").json()["account_id"] == "account-1" != before
        assert zoom.api("GET", "/users/me", token=token).status_code == 200


def test_tokens_are_spoilt_by_person_and_by_app(zoom):
    coach, other, server = zoom.connect("coach"), zoom.connect("coach2"), zoom.server_token()

    def alive():
        return [zoom.api("GET", "/users/me", token=one["access_token"]).status_code == 200 for one in (coach, other, server)]

    assert zoom.control("POST", "/tokens/expire", {"email": "coach@demo.test"}) == {"count": 1}
    assert alive() == [False, True, True]
    assert zoom.api("GET", "/users/me", token=coach["access_token"]).json()["message"] == "Access token is expired."
    assert zoom.refresh(coach["refresh_token"]).status_code == 200
    assert zoom.control("POST", "/tokens/revoke", {"clientId": "server"}) == {"count": 1}
    assert alive() == [False, True, False]
    assert zoom.control("POST", "/tokens/revoke", {"email": "coach2@demo.test", "clientId": "app"}) == {"count": 2}
    assert alive() == [False, False, False]
    assert zoom.refresh(other["refresh_token"]).status_code == 400


def test_the_state_is_shown(zoom):
    zoom.made()
    shown = zoom.control("GET", "/state")
    assert [row["agenda"] for row in shown["meetings"]] == ["booking-1"]
    assert shown == zoom.http.get("/_sandbox/state").json()["zoom"]


def test_the_demo_has_two_hosts():
    with Sandbox(demo=True) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        users = sandbox.world.zoom.users.values()
        assert [(user.email, user.plan, user.status) for user in users] == [
            ("coach@demo.test", "pro", "active"),
            ("coach2@demo.test", "pro", "active"),
        ]
        zoom = ZoomHouse(sandbox, http)
        zoom.control("POST", "/apps", SERVER)
        assert zoom.create().status_code == 201


def test_everything_survives_a_kill(tmp_path, endpoint):
    path = tmp_path / "state.json"
    with Sandbox(state=path) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        sandbox.world.clock.freeze(NOW)
        zoom = ZoomHouse(sandbox, http)
        zoom.build()
        zoom.listen(endpoint.url)
        zoom.control("PUT", "/limits", {"dailyPerHost": 2})
        made = zoom.made()
        zoom.control("POST", f"/meetings/{made['id']}/end", {"recording": True})
        zoom.control("POST", f"/meetings/{made['id']}/start", {"participants": [{"name": "Max"}]})
        pair, tokens = zoom.connect(), dict(zoom.tokens)
        sandbox.settle()
        before = sandbox.world.zoom.dump()
    with Sandbox(state=path) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        assert sandbox.world.zoom.dump() == before
        zoom = ZoomHouse(sandbox, http, tokens)
        assert zoom.get(made["id"])["status"] == "started"
        assert zoom.api("GET", f"/meetings/{made['id']}/recordings").status_code == 200
        assert zoom.refresh(pair["refresh_token"]).status_code == 200
        assert [zoom.create().status_code for _ in range(2)] == [201, 429]
        sandbox.settle()
        assert endpoint.events[-1] == "meeting.created"


def test_an_empty_page_says_so(sandbox):
    text = httpx.get(f"{sandbox.url}/zoom").text
    for part in ("Nobody yet.", "No meetings.", "Nothing was recorded.", "No app is registered.", "Everything works."):
        assert part in text


def test_acting_from_the_page(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.connect()
    made = zoom.made(topic="<b>Bold</b>")
    zoom.sandbox.settle()
    page = zoom.http.get("/zoom").text
    assert "Thu 03 Dec 2026 10:00 (Europe/Berlin)" in page
    assert "&lt;b&gt;Bold" in page
    assert made["join_url"] in page
    assert "Coach Host uses app." in page
    path = f"/page/zoom/meetings/{made['id']}"
    assert told(zoom.http.post(f"{path}/start")) == ("The meeting is running.", False)
    assert told(zoom.http.post(f"{path}/end")) == ("The meeting has been held and recorded.", False)
    zoom.sandbox.settle()
    assert set(endpoint.events[1:]) == {"meeting.started", "meeting.ended", "recording.completed", "recording.transcript_completed"}
    assert "MP4, M4A, TIMELINE, CHAT, TRANSCRIPT" in zoom.http.get("/zoom").text
    assert told(zoom.http.post(f"{path}/delete"))[1] is False
    assert told(zoom.http.post(f"{path}/delete")) == (f"Meeting does not exist: {made['id']}.", True)
    assert told(zoom.http.post("/page/zoom/meetings/1/dance"))[1] is True


def test_apps_on_the_page(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.connect()
    assert told(zoom.http.post("/page/zoom/apps/server/validate")) == ("The endpoint answered rightly.", False)
    endpoint.secret = "wrong"
    assert told(zoom.http.post("/page/zoom/apps/server/validate")) == ("The endpoint did not answer rightly.", True)
    assert told(zoom.http.post("/page/zoom/apps/app/validate"))[1] is True
    removal = {"email": "coach@demo.test", "clientId": "app"}
    assert told(zoom.http.post("/page/zoom/deauthorize", data=removal)) == ("Coach Host has removed the app.", False)
    assert len(zoom.sandbox.world.zoom.installs) == 0
    assert told(zoom.http.post("/page/zoom/deauthorize"))[1] is True


def test_faults_from_the_page(zoom):
    assert told(zoom.http.post("/page/zoom/faults", data={"fault": "down", "times": "1"})) == ("Zoom answers 503.", False)
    assert zoom.api("GET", "/users/me").status_code == 503
    (fault,) = zoom.sandbox.world.faults.entries()
    assert f"/page/zoom/faults/{fault.id}/remove" in zoom.http.get("/zoom").text
    assert told(zoom.http.post(f"/page/zoom/faults/{fault.id}/remove")) == ("The fault is gone.", False)
    assert told(zoom.http.post("/page/zoom/faults", data={"fault": "x"}))[1] is True
    assert told(zoom.http.post("/page/zoom/faults", data={"fault": "down", "times": "0"}))[1] is True
    assert zoom.sandbox.world.faults.entries() == []


def test_links_for_guests_and_the_host(zoom):
    made = zoom.made()
    join, start = made["join_url"], made["start_url"]
    assert f"It is planned for {START}." in zoom.http.get(join).text
    bare = zoom.http.get(join.partition("?")[0])
    assert (bare.status_code, "Enter the meeting passcode." in bare.text) == (404, True)
    zoom.control("POST", f"/meetings/{made['id']}/start")
    assert "The meeting is running." in zoom.http.get(join).text
    assert "You are the host." in zoom.http.get(start).text
    zoom.shift(7200)
    assert (zoom.http.get(start).status_code, zoom.http.get(join).status_code) == (404, 200)
    zoom.control("POST", f"/meetings/{made['id']}/end", {"recording": True})
    zoom.tokens.clear()
    recording = zoom.api("GET", f"/meetings/{made['id']}/recordings").json()
    for link in (recording["share_url"], recording["recording_files"][0]["play_url"]):
        assert "A recording of" in zoom.http.get(link).text
    assert zoom.http.get(f"{recording['share_url']}x").status_code == 404
    zoom.control("DELETE", f"/meetings/{made['id']}")
    assert zoom.http.get(join).status_code == 404
