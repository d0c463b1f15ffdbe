"""The pages people click at Calendly: book, reschedule, cancel; and the sandbox's own page."""

from urllib.parse import parse_qs, urlsplit

import pytest
from calendly_house import GINA, furnished

START = "2026-12-02T09:00:00Z"
FORM = {"start": START, "name": "Mia", "email": "mia@demo.test", "timeZone": "America/New_York"}


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def went(calendly, answer):
    """The page after a form that worked."""
    assert answer.status_code == 303, answer.text
    return calendly.http.get(answer.headers["location"])


def path(house, name):
    return urlsplit(house.get(house.kind(name))["resource"]["scheduling_url"]).path


def test_booking_on_the_page(calendly):
    page = calendly.http.get(path(calendly, "Talk"), params={"date": "2026-12-02", "timeZone": "America/New_York"})
    assert 'value="2026-12-02T09:00:00Z" required> 04:00' in page.text
    address = path(calendly, "Talk") + "?utm_content=our-id"
    done = went(calendly, calendly.http.post(address, data=FORM | {"guests": "g@demo.test, h@demo.test"}))
    assert "Talk on Wed 02 Dec 2026 04:00 (America/New_York) is booked." in done.text
    (event,) = calendly.get("/scheduled_events", user=calendly.user())["collection"]
    assert [guest["email"] for guest in event["event_guests"]] == ["g@demo.test", "h@demo.test"]
    (invitee,) = calendly.get(event["uri"] + "/invitees")["collection"]
    assert (invitee["scheduling_method"], invitee["tracking"]["utm_content"], invitee["timezone"]) == (None, "our-id", "America/New_York")
    assert invitee["reschedule_url"].rpartition("/")[2] in done.text


def test_the_address_of_an_available_time(calendly):
    params = {"event_type": calendly.kind("Talk"), "start_time": "2026-12-04T00:00:00Z", "end_time": "2026-12-05T00:00:00Z"}
    row = calendly.get("/event_type_available_times", **params)["collection"][0]
    assert 'name="date" value="2026-12-04"' in calendly.http.get(row["scheduling_url"]).text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"start": ""}, "Choose a time."),
        ({"start": "2026-12-02T09:10:00Z"}, "This time is no longer available. Choose another one."),
        ({"start": "soon"}, "start must be a valid ISO 8601 date-time"),
        ({"name": " "}, "name is missing"),
        ({"email": "x"}, "email must be a valid email"),
        ({"timeZone": "Moon"}, "timeZone must be a valid time zone"),
    ],
)
def test_a_bad_choice_is_told(calendly, change, text):
    answer = calendly.http.post(path(calendly, "Talk"), data=FORM | change)
    assert answer.status_code == 400
    assert f'role="alert">{text}<' in answer.text
    assert calendly.sandbox.world.calendly.invitees == {}


def test_questions_and_places_of_the_invitee(calendly):
    kind = {"name": "Talk", "questions": [{"name": "Why?", "required": True}], "locations": [{"kind": "ask_invitee"}]}
    calendly.person("quin", eventTypes=[kind])
    page = "/calendly/web/quin-test/talk"
    assert 'name="a1"' in calendly.http.get(page, params={"date": "2026-12-02"}).text
    assert "Please answer: Why?" in calendly.http.post(page, data=FORM).text
    assert "Please say where." in calendly.http.post(page, data=FORM | {"a1": "Because"}).text
    went(calendly, calendly.http.post(page, data=FORM | {"a1": "Because", "location": "Cafe"}))
    (event,) = calendly.api("GET", "/scheduled_events", who="quin", params={"user": calendly.user("quin")}).json()["collection"]
    assert event["location"] == {"type": "ask_invitee", "location": "Cafe"}
    (invitee,) = calendly.api("GET", event["uri"] + "/invitees", who="quin").json()["collection"]
    assert invitee["questions_and_answers"] == [{"answer": "Because", "position": 0, "question": "Why?"}]


def test_what_is_offered(calendly):
    kinds = [{"name": "Open"}, {"name": "Hidden", "secret": True}, {"name": "Off", "active": False}]
    calendly.person("ola", eventTypes=kinds)
    text = calendly.http.get("/calendly/web/ola-test").text
    assert ("Open" in text, "Hidden" in text, "Off<" in text) == (True, False, False)
    assert calendly.http.get("/calendly/web/ola-test/hidden").status_code == 200
    for page in ("ola-test/off", "ola-test/x", "nobody", "nobody/x", "reschedulings/x", "cancellations/x", "d/x/y"):
        assert calendly.http.get(f"/calendly/web/{page}").status_code == 404


def test_rescheduling_on_the_page(calendly):
    booked = calendly.book(START)["invitee"]
    page = calendly.http.get(booked["reschedule_url"], params={"date": "2026-12-02"}).text
    assert "you are booked for Wed 02 Dec 2026 04:00 (America/New_York)" in page
    assert 'value="2026-12-02T09:00:00Z"' in page  # its own time is free again
    same = calendly.http.post(booked["reschedule_url"], data={"start": START})
    assert "the booking is already at this one." in same.text
    done = went(calendly, calendly.http.post(booked["reschedule_url"], data={"start": "2026-12-02T10:00:00Z"}))
    assert "Wed 02 Dec 2026 05:00 (America/New_York) is booked." in done.text
    old = calendly.get(booked["uri"])["resource"]
    new = calendly.get(old["new_invitee"])["resource"]
    assert (old["status"], old["rescheduled"], new["old_invitee"], new["event"] != old["event"]) == ("canceled", True, booked["uri"], True)
    assert calendly.get(old["event"])["resource"]["status"] == "canceled"
    for again in (calendly.http.get(booked["reschedule_url"]), calendly.http.post(booked["cancel_url"])):
        assert again.status_code == 403
        assert "This booking is already canceled." in again.text
    third = calendly.control("POST", "/reschedule", {"invitee": new["uri"], "start": "2026-12-03T10:00:00Z"})
    assert third["old"]["old_invitee"] == booked["uri"]
    assert third["new"]["old_invitee"] == new["uri"]


def test_a_taken_time_moves_nothing(calendly):
    booked = calendly.book(START)["invitee"]
    calendly.book("2026-12-02T10:00:00Z", invitee=GINA)
    answer = calendly.http.post(booked["reschedule_url"], data={"start": "2026-12-02T10:00:00Z"})
    assert (answer.status_code, "This time is no longer available." in answer.text) == (400, True)
    assert calendly.get(booked["uri"])["resource"]["status"] == "active"


def test_one_of_a_group_moves_away_and_joins_another(calendly):
    mia = calendly.book(START, "Workshop")["invitee"]
    gina = calendly.book(START, "Workshop", invitee=GINA)["invitee"]
    later = calendly.book("2026-12-03T09:00:00Z", "Workshop", invitee=GINA | {"name": "Gus"})["event"]["uri"]
    went(calendly, calendly.http.post(mia["reschedule_url"], data={"start": "2026-12-03T09:00:00Z"}))
    moved = calendly.get(calendly.get(mia["uri"])["resource"]["new_invitee"])["resource"]
    assert moved["event"] == later
    left = calendly.get(mia["event"])["resource"]
    assert (left["status"], left["invitees_counter"]) == ("active", {"total": 2, "active": 1, "limit": 3})
    assert calendly.get(gina["uri"])["resource"]["status"] == "active"
    # the last one takes the event along
    went(calendly, calendly.http.post(gina["reschedule_url"], data={"start": "2026-12-04T09:00:00Z"}))
    assert calendly.get(mia["event"])["resource"]["status"] == "canceled"


def test_one_of_a_group_leaves(calendly, inbox):
    calendly.subscribe(inbox.url)
    mia = calendly.book(START, "Workshop", silent=True)["invitee"]
    gina = calendly.book(START, "Workshop", invitee=GINA, silent=True)["invitee"]
    assert "Reason" in calendly.http.get(mia["cancel_url"]).text
    done = went(calendly, calendly.http.post(mia["cancel_url"], data={"reason": "ill"}))
    assert "is canceled." in done.text
    calendly.settle()
    (letter,) = inbox.letters
    assert letter.json["payload"]["cancellation"] == {
        "canceled_by": "Mia Mentee",
        "reason": "ill",
        "canceler_type": "invitee",
        "created_at": "2026-12-01T08:00:00.000000Z",
    }
    assert letter.json["payload"]["rescheduled"] is False
    assert letter.json["payload"]["scheduled_event"]["status"] == "active"
    assert "cancellation" not in letter.json["payload"]["scheduled_event"]
    calendly.control("POST", "/cancel", {"invitee": gina["uri"], "by": "invitee"})
    shown = calendly.get(mia["event"])["resource"]
    assert (shown["status"], shown["cancellation"]["canceler_type"]) == ("canceled", "invitee")


def test_what_has_begun_stays(calendly):
    booked = calendly.book(START)["invitee"]
    calendly.forward(2 * 86400)
    for page in ("reschedule_url", "cancel_url"):
        assert "This event has already begun." in calendly.http.post(booked[page], data={"start": "2026-12-04T09:00:00Z"}).text


def test_the_page_of_the_sandbox(calendly, inbox):
    calendly.subscribe(inbox.url, scope="organization")
    booked = calendly.book(START, invitee=GINA | {"name": "<script>x"})["invitee"]
    calendly.settle()
    text = calendly.http.get("/").text
    for part in (booked["reschedule_url"], booked["cancel_url"]):
        assert urlsplit(part).path in text
    for part in ("Cora Coach", "Long talk", "Wed 02 Dec 2026 10:00 to 10:30 (Europe/Berlin)", inbox.url, "invitee.created", 'href="/zoom"'):
        assert part in text
    calendly.control("POST", "/reschedule", {"invitee": booked["uri"], "start": "2026-12-03T10:00:00Z"})
    assert "gina@demo.test</span> moved" in calendly.http.get("/").text
    answer = calendly.http.post("/page/faults", data={"fault": "calendly-down", "times": "1"})
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {"message": ["Calendly's API answers 503."]}
    assert calendly.http.get("/calendly/api/users/me").status_code == 503


def test_an_empty_calendly_says_so(calendly):
    calendly.control("POST", "/reset", provider="")
    text = calendly.http.get("/").text
    for part in ("Nobody is at Calendly.", "No events.", "Nobody has subscribed at Calendly."):
        assert part in text
    query = {"client_id": "app", "redirect_uri": "http://127.0.0.1:9/callback", "response_type": "code"}
    assert calendly.http.get("/calendly/auth/oauth/authorize", params=query).status_code == 400
