"""Calendly's conventions: pages, errors, rate limits; people and event types."""

import pytest
from calendly_house import ROOM, furnished


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def details(answer):
    assert answer.status_code == 400
    assert answer.json()["title"] == "Invalid Argument"
    return {one["parameter"]: one["message"] for one in answer.json()["details"]}


def test_pages(calendly):
    first = calendly.get("/event_types", user=calendly.user(), count=3)
    assert [one["name"] for one in first["collection"]] == ["Call", "Long talk", "Talk"]
    links = first["pagination"]
    assert (links["count"], links["previous_page"], links["previous_page_token"]) == (3, None, None)
    second = calendly.get(links["next_page"])
    assert [one["name"] for one in second["collection"]] == ["Workshop"]
    assert (second["pagination"]["count"], second["pagination"]["next_page"]) == (1, None)
    assert calendly.get(second["pagination"]["previous_page"])["collection"] == first["collection"]
    token = links["next_page_token"]
    assert calendly.get("/event_types", user=calendly.user(), count=3, page_token=token)["collection"] == second["collection"]


def test_page_tokens_go_stale_and_belong_to_their_list(calendly):
    token = calendly.get("/event_types", user=calendly.user(), count=1)["pagination"]["next_page_token"]
    params = {"user": calendly.user(), "count": 1, "page_token": token}
    other = {"organization": calendly.organization(), "count": 1, "page_token": token}
    assert details(calendly.api("GET", "/event_types", params=other)) == {"page_token": "is invalid"}
    calendly.forward(299)
    assert calendly.api("GET", "/event_types", params=params).status_code == 200
    calendly.forward(1)
    assert details(calendly.api("GET", "/event_types", params=params)) == {"page_token": "is invalid"}
    assert details(calendly.api("GET", "/event_types", params={"user": calendly.user(), "page_token": "made-up"})) == {
        "page_token": "is invalid"
    }


def test_all_that_is_wrong_is_told_at_once(calendly):
    assert details(calendly.api("GET", "/event_types", params={"count": 101})) == {
        "user": "is missing",
        "count": "must be less than or equal to 100",
    }
    assert details(calendly.api("GET", "/event_types", params={"user": "https://api.calendly.com/users/x"})) == {"user": "is invalid"}


def test_an_empty_list(calendly):
    answer = calendly.api("GET", "/event_types", who="mia", params={"user": calendly.user("mia")}).json()
    nothing = dict.fromkeys(("next_page", "previous_page", "next_page_token", "previous_page_token"))
    assert answer == {"collection": [], "pagination": {"count": 0, **nothing}}


def test_rate_limit_by_app_and_user(calendly):
    calendly.control("PUT", "/limits", {"general": 3})
    answers = [calendly.api("GET", "/users/me") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["x-ratelimit-reset"] == "60"
    assert answers[0].headers["x-ratelimit-tier"] == "paid"
    assert answers[3].json() == {"title": "Too Many Requests", "message": "Rate limit exceeded."}
    assert "retry-after" not in answers[3].headers
    assert calendly.api("GET", "/users/me", who="mia").status_code == 200
    calendly.forward(45)
    assert calendly.api("GET", "/users/me").headers["x-ratelimit-reset"] == "15"
    calendly.switch(limitBody="empty", noHeaders=True)
    late = calendly.api("GET", "/users/me")
    assert (late.status_code, late.json()) == (429, {})
    assert not [name for name in late.headers if name.startswith("x-ratelimit")]
    calendly.forward(15)
    assert calendly.api("GET", "/users/me").status_code == 200


def test_limits_of_free_accounts_and_headers_of_401(calendly):
    calendly.person("fred", stage="free", plan="basic")
    assert calendly.api("GET", "/users/me", who="fred").headers["x-ratelimit-limit"] == "50"
    assert calendly.api("GET", "/users/me", who=None).headers["x-ratelimit-limit"] == "500"


def test_people_of_other_organizations_are_hidden(calendly):
    calendly.person("cleo", organization="cora@demo.test")
    assert calendly.api("GET", calendly.user("cleo")).json()["resource"]["name"] == "Cleo Test"
    assert calendly.api("GET", calendly.user("mia")).status_code == 403
    assert calendly.api("GET", "/users/unknown").json() == {
        "title": "Resource Not Found",
        "message": "The server could not find the requested resource.",
    }
    assert calendly.api("GET", calendly.organization("mia")).status_code == 403
    shown = calendly.get(calendly.organization())["resource"]
    assert (shown["kind"], shown["plan"], shown["stage"]) == ("multiple", "professional", "paid")
    assert calendly.get("/users/me")["resource"]["current_organization"] == calendly.organization("cleo")


def test_memberships(calendly):
    calendly.person("cleo", organization="cora@demo.test")
    rows = calendly.get("/organization_memberships", organization=calendly.organization())["collection"]
    assert [(row["role"], row["user"]["email"]) for row in rows] == [("owner", "cora@demo.test"), ("user", "cleo@demo.test")]
    assert len(calendly.get("/organization_memberships", organization=calendly.organization(), role="user")["collection"]) == 1
    params = {"organization": calendly.organization()}
    assert calendly.api("GET", "/organization_memberships", who="cleo", params=params).status_code == 403
    params = {"user": calendly.user("cleo")}
    (own,) = calendly.api("GET", "/organization_memberships", who="cleo", params=params).json()["collection"]
    assert own["organization"] == calendly.organization()
    assert calendly.api("GET", own["uri"], who="cleo").json()["resource"] == own


def test_making_and_changing_event_types(calendly):
    body = {"owner": calendly.user(), "name": "Short talk", "duration": 15, "slug": "mine", "custom_questions": [{"name": "x"}]}
    answer = calendly.api("POST", "/event_types", json=body)
    made = answer.json()["resource"]
    assert answer.status_code == 201
    assert (made["active"], made["slug"], made["custom_questions"], made["kind"]) == (False, "short-talk", [], "solo")
    changed = calendly.api("PATCH", made["uri"], json={"active": True, "name": "Brief talk", "slug": "x", "locations": ROOM}).json()[
        "resource"
    ]
    assert (changed["active"], changed["name"], changed["slug"], changed["locations"]) == (True, "Brief talk", "short-talk", ROOM)
    assert calendly.get(made["uri"])["resource"] == changed
    assert calendly.api("DELETE", made["uri"]).status_code == 404
    active = calendly.get("/event_types", user=calendly.user(), active="true", sort="position:desc")["collection"]
    assert active[0]["name"] == "Brief talk"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"duration": 721}, "duration"),
        ({"duration": "30"}, None),
        ({"duration_options": [1, 2, 3, 4, 5]}, "duration_options"),
        ({"duration_options": [15, 15]}, "duration_options"),
        ({"color": "#FF0000"}, "color"),
        ({"locale": "xx"}, "locale"),
        ({"locations": [{"kind": "zoom"}]}, "locations"),
        ({"name": ""}, "name"),
        ({"owner": None}, "owner"),
    ],
)
def test_what_event_types_may_be(calendly, change, wrong):
    answer = calendly.api("POST", "/event_types", json={"owner": calendly.user(), "name": "X"} | change)
    assert (list(details(answer)) == [wrong]) if wrong else answer.status_code == 201


def test_an_administrator_makes_event_types_for_members(calendly):
    calendly.person("cleo", organization="cora@demo.test")
    assert calendly.api("POST", "/event_types", json={"owner": calendly.user("cleo"), "name": "X"}).status_code == 201
    assert calendly.api("POST", "/event_types", who="cleo", json={"owner": calendly.user(), "name": "X"}).status_code == 403
    assert calendly.api("POST", "/event_types", json={"owner": calendly.user("mia"), "name": "X"}).status_code == 403
    assert calendly.api("GET", calendly.kind("Talk"), who="cleo").status_code == 200
    assert calendly.api("GET", calendly.kind("Talk"), who="mia").status_code == 403
    answer = calendly.api("GET", "/event_types", who="mia", params={"user": calendly.user()})
    assert answer.json()["message"] == "This user is not in your organization"


def test_no_call_moves_an_event(calendly):
    event = calendly.book("2026-12-02T09:00:00Z")["event"]["uri"]
    for method, path in (("PATCH", event), ("POST", event + "/reschedule"), ("POST", "/scheduled_events"), ("DELETE", event)):
        assert calendly.api(method, path, json={}).status_code == 404


def test_scheduling_links(calendly):
    body = {"max_event_count": 1, "owner": calendly.kind("Talk"), "owner_type": "EventType"}
    answer = calendly.api("POST", "/scheduling_links", json=body)
    assert answer.status_code == 201
    address = answer.json()["resource"]["booking_url"]
    assert calendly.api("POST", "/scheduling_links", json=body | {"max_event_count": "1"}).status_code == 201
    assert list(details(calendly.api("POST", "/scheduling_links", json=body | {"max_event_count": 2}))) == ["max_event_count"]
    form = {"start": "2026-12-02T09:00:00Z", "name": "Mia", "email": "m@demo.test", "timeZone": "UTC"}
    assert calendly.http.post(address, data=form).status_code == 303
    again = calendly.http.post(address, data=form | {"start": "2026-12-02T10:00:00Z"})
    assert again.status_code == 404
    assert "This link has been used already." in again.text
