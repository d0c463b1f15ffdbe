"""Zoom's lists of meetings, their pages, and its users."""

import pytest

pytest_plugins = ["zoom_fixtures"]


def test_the_list_is_short_but_has_the_agenda(zoom):
    made = zoom.made(agenda="a" * 300)
    answer = zoom.listed()
    (line,) = answer.pop("meetings")
    assert answer == {"page_size": 30, "total_records": 1, "next_page_token": ""}
    kept = ("uuid", "id", "host_id", "topic", "type", "start_time", "duration", "timezone", "created_at", "join_url")
    assert line == {name: made[name] for name in kept} | {"agenda": "a" * 250}


def test_which_list_a_meeting_is_in(zoom):
    past, live, ahead = (zoom.made(start_time=f"2026-{day}T07:00:00Z")["id"] for day in ("11-30", "12-01", "12-02"))
    zoom.made("coach2@demo.test")
    zoom.control("POST", f"/meetings/{live}/start")
    expected = {
        "scheduled": [past, live, ahead],
        "live": [live],
        "upcoming": [live, ahead],
        "upcoming_meetings": [live, ahead],
        "previous_meetings": [past],
    }
    assert {kind: [line["id"] for line in zoom.listed(type=kind)["meetings"]] for kind in expected} == expected
    assert [line["id"] for line in zoom.listed(**{"from": "2026-12-01", "to": "2026-12-01"})["meetings"]] == [live]


def test_pages(zoom):
    ids = [zoom.made(start_time=f"2026-12-{day:02}T09:00:00Z")["id"] for day in range(2, 7)]
    first = zoom.listed(page_size=2)
    second = zoom.listed(page_size=2, next_page_token=first["next_page_token"])
    last = zoom.listed(page_size=2, next_page_token=second["next_page_token"])
    assert [[line["id"] for line in page["meetings"]] for page in (first, second, last)] == [ids[:2], ids[2:4], ids[4:]]
    assert [page["total_records"] for page in (first, last)] == [5, 5]
    assert last["next_page_token"] == ""
    assert [line["id"] for line in zoom.listed(page_size=2, page_number=2)["meetings"]] == ids[2:4]


def test_a_page_token_ages_and_belongs_to_its_list(zoom):
    for day in (2, 3):
        zoom.made(start_time=f"2026-12-0{day}T09:00:00Z")
    token = zoom.listed(page_size=1)["next_page_token"]
    path, query = "/users/coach@demo.test/meetings", {"page_size": 1, "next_page_token": token}
    refused = {"code": 300, "message": "The next page token is invalid or expired."}
    assert zoom.api("GET", path, params=query | {"type": "live"}).json() == refused
    assert zoom.api("GET", path, params=query | {"next_page_token": "x"}).json() == refused
    zoom.shift(899)
    assert zoom.api("GET", path, params=query).status_code == 200
    zoom.shift(1)
    answer = zoom.api("GET", path, params=query)
    assert (answer.status_code, answer.json()) == (400, refused)


@pytest.mark.parametrize("query", [{"page_size": "301"}, {"page_size": "0"}, {"page_size": "x"}, {"type": "all"}, {"from": "soon"}])
def test_bad_queries_of_the_list(zoom, query):
    answer = zoom.api("GET", "/users/coach@demo.test/meetings", params=query)
    assert (answer.status_code, answer.json()["errors"]) == (400, [{"field": next(iter(query)), "message": "Invalid field."}])


def test_users_are_found_by_id_and_by_email(zoom):
    by_email = zoom.api("GET", "/users/COACH@demo.test").json()
    assert zoom.api("GET", f"/users/{by_email['id']}").json() == by_email
    assert (by_email["email"], by_email["status"], by_email["type"], by_email["account_id"]) == (
        "coach@demo.test",
        "active",
        2,
        "account-1",
    )
    assert by_email["timezone"] == "Europe/Berlin"
    assert zoom.made(by_email["id"])["host_id"] == by_email["id"]
    answer = zoom.api("GET", "/users/nobody@demo.test")
    assert (answer.status_code, answer.json()) == (404, {"code": 1001, "message": "User does not exist: nobody@demo.test."})


def test_the_list_of_users_has_the_active_ones(zoom):
    zoom.control("POST", "/users", {"email": "new@demo.test", "name": "New", "status": "pending", "plan": "basic"})
    assert [user["email"] for user in zoom.api("GET", "/users").json()["users"]] == ["coach@demo.test", "coach2@demo.test"]
    (pending,) = zoom.api("GET", "/users", params={"status": "pending"}).json()["users"]
    assert (pending["email"], pending["status"], pending["type"]) == ("new@demo.test", "pending", 1)
    assert zoom.api("GET", "/users/new@demo.test").json()["status"] == "pending"
    page = zoom.api("GET", "/users", params={"page_size": 1}).json()
    assert (page["total_records"], page["page_count"], page["next_page_token"] != "") == (2, 2, True)
    assert zoom.api("GET", "/users", params={"status": "odd"}).status_code == 400
    assert zoom.api("GET", "/users", who="coach").json()["code"] == 4711
