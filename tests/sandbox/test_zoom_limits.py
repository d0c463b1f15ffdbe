"""Zoom's rate limits: per second and account, per host and day, per meeting."""

from datetime import timedelta

import pytest
from sandbox_house import NOW
from zoom_house import SERVER, START, USER_APP

pytest_plugins = ["zoom_fixtures"]
SECOND = {"code": 429, "message": "You have reached the maximum per-second rate limit for this API. Try again later."}
DAY = {
    "code": 429,
    "message": "You have reached the maximum daily rate limit for this API. "
    "Refer to the response header for details on when you can make another request.",
}


def told(answer):
    """The limit headers, without their common beginning."""
    found = {name.removeprefix("x-ratelimit-"): value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}
    return found | ({"retry-after": answer.headers["retry-after"]} if "retry-after" in answer.headers else {})


def test_too_many_in_one_second(zoom):
    meeting = zoom.made()["id"]
    zoom.control("PUT", "/limits", {"light": 2})
    path = f"/meetings/{meeting}"
    first, second, refused = (zoom.api("GET", path) for _ in range(3))
    common = {"category": "Light", "type": "QPS", "limit": "2"}
    assert [told(answer) for answer in (first, second)] == [common | {"remaining": "1"}, common | {"remaining": "0"}]
    assert (refused.status_code, refused.json()) == (429, SECOND)
    reset = str(int((NOW + timedelta(seconds=1)).timestamp()))
    assert told(refused) == common | {"remaining": "0", "reset": reset}
    assert zoom.create().status_code == 201  # another label
    zoom.shift(1)
    assert zoom.api("GET", path).status_code == 200


def test_all_apps_of_the_account_share_the_second(zoom):
    meeting = zoom.made("coach@demo.test")["id"]
    zoom.token("coach")
    zoom.control("PUT", "/limits", {"light": 1})
    assert zoom.api("GET", f"/meetings/{meeting}", who="coach").status_code == 200
    assert zoom.api("GET", f"/meetings/{meeting}").status_code == 429


@pytest.mark.parametrize(("plan", "light", "medium"), [("basic", "4", "2"), ("pro", "30", "20"), ("business", "80", "60")])
def test_the_accounts_plan_decides(zoom, plan, light, medium):
    app = SERVER | {"clientId": "second", "accountId": "account-2"}
    zoom.control("POST", "/apps", app)
    zoom.control("POST", "/users", {"email": "far@demo.test", "name": "Far", "accountId": "account-2", "plan": plan})
    token = zoom.ask_token(app, grant_type="account_credentials", account_id="account-2").json()["access_token"]
    answers = [zoom.api("GET", path, token=token) for path in ("/users/me", "/users/me/meetings")]
    assert [told(answer)["limit"] for answer in answers] == [light, medium]


def test_the_plans_second_rests_with_a_frozen_clock_and_counts_with_a_running_one(zoom):
    zoom.token("server")
    zoom.sandbox.world.zoom.users.clear()
    assert [zoom.api("GET", "/users/x").status_code for _ in range(40)] == [404] * 40
    zoom.sandbox.world.clock.reset()
    zoom.tokens.clear()
    zoom.token("server")
    zoom.control("PUT", "/limits", {"light": 1})
    answers = [zoom.api("GET", "/users/x").status_code for _ in range(40)]
    assert 429 in answers


def test_a_free_accounts_day(zoom):
    app = SERVER | {"clientId": "second", "accountId": "account-2"}
    zoom.control("POST", "/apps", app)
    zoom.control("POST", "/users", {"email": "far@demo.test", "name": "Far", "accountId": "account-2", "plan": "basic"})
    token = zoom.ask_token(app, grant_type="account_credentials", account_id="account-2").json()["access_token"]
    midnight = NOW.replace(hour=0)
    zoom.sandbox.world.zoom.windows["account-2 Medium day"] = (midnight, 1999)
    assert zoom.api("GET", "/users/me/meetings", token=token).status_code == 200
    refused = zoom.api("GET", "/users/me/meetings", token=token)
    assert (refused.status_code, refused.json()) == (429, DAY)
    assert (told(refused)["limit"], told(refused)["retry-after"]) == ("2000", "2026-12-02T00:00:00Z")


def test_a_host_has_a_hundred_creations_and_updates_a_day(zoom):
    zoom.control("PUT", "/limits", {"dailyPerHost": 3})
    meeting = zoom.made()["id"]
    zoom.made("me", who="coach")  # whatever app it is
    assert zoom.api("PATCH", f"/meetings/{meeting}", json={"topic": "New"}).status_code == 204
    refused = zoom.create()
    assert (refused.status_code, refused.json()) == (429, DAY)
    expected = {"category": "Medium", "type": "Daily-limit", "limit": "3", "remaining": "0", "retry-after": "2026-12-02T00:00:00Z"}
    assert told(refused) == expected
    assert told(zoom.api("PATCH", f"/meetings/{meeting}", json={"topic": "x"})) == expected | {"category": "Light"}
    assert (zoom.get(meeting)["topic"], len(zoom.meetings)) == ("New", 2)
    assert zoom.create("coach2@demo.test").status_code == 201
    assert zoom.api("DELETE", f"/meetings/{meeting}").status_code == 204
    assert zoom.create().status_code == 429
    zoom.shift(16 * 3600)
    zoom.tokens.clear()
    assert zoom.create().status_code == 201


def test_the_default_is_a_hundred(zoom):
    assert [zoom.create().status_code for _ in range(101)] == [201] * 100 + [429]


def test_what_is_refused_for_its_content_costs_nothing(zoom):
    zoom.control("PUT", "/limits", {"dailyPerHost": 1})
    assert zoom.create(topic=1).status_code == 400
    assert zoom.create().status_code == 201


def test_a_meeting_has_its_own_day_of_updates(zoom):
    zoom.control("PUT", "/limits", {"patchPerMeeting": 2})
    first, second = zoom.made()["id"], zoom.made()["id"]
    answers = [zoom.api("PATCH", f"/meetings/{first}", json={"topic": str(number)}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [204, 204, 429]
    assert (answers[2].json(), told(answers[2])["limit"]) == (DAY, "2")
    assert zoom.api("PATCH", f"/meetings/{second}", json={"topic": "x"}).status_code == 204
    zoom.shift(86400)
    zoom.tokens.clear()
    assert zoom.api("PATCH", f"/meetings/{first}", json={"topic": "x"}).status_code == 204


def test_headers_may_be_missing(zoom):
    zoom.control("PUT", "/switches", {"limitHeaders": False})
    zoom.control("PUT", "/limits", {"dailyPerHost": 1})
    answers = [zoom.create() for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 429]
    assert [told(answer) for answer in answers] == [{}, {}]


@pytest.mark.parametrize("limits", [{"odd": 1}, {"light": 0}, {"light": True}, {"dailyPerHost": None}, {"medium": "2"}])
def test_bad_limits_are_refused(zoom, limits):
    assert zoom.http.put("/_sandbox/zoom/limits", json=limits).status_code == 400


def test_faults_work_on_this_provider_too(zoom):
    zoom.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path="/zoom/api/v2/users/*/meetings")
    with pytest.raises(Exception, match=r"disconnected|reset"):
        zoom.create()
    assert len(zoom.meetings) == 1  # made, though nobody was told
    assert [line["agenda"] for line in zoom.listed()["meetings"]] == ["booking-1"]
    zoom.sandbox.fault({"kind": "status", "status": 500}, path="/zoom/web/oauth/token")
    assert zoom.ask_token(USER_APP).status_code == 500
    assert zoom.listed()["meetings"][0]["start_time"] == START
