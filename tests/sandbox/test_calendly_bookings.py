"""Booking and canceling through Calendly's API; events, invitees and no-shows; who may see what."""

import pytest
from calendly_house import GINA, furnished

START = "2026-12-02T09:00:00Z"
PERSON = {"name": "Mia", "email": "mia@demo.test", "timezone": "UTC"}


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def wrong(answer):
    assert answer.status_code == 400, answer.text
    return [one["parameter"] for one in answer.json()["details"]]


def test_booking_through_the_api(calendly):
    tracking = {"utm_content": "our-id", "other": "dropped"}
    answer = calendly.invite(START, tracking=tracking, event_guests=["guest@demo.test"])
    assert answer.status_code == 201
    made = answer.json()["resource"]
    assert (made["scheduling_method"], made["invitee_scheduled_by"]) == ("api", calendly.user())
    assert made["tracking"] == dict.fromkeys(made["tracking"]) | {"utm_content": "our-id"}
    assert made["reschedule_url"] == f"{calendly.sandbox.url}/calendly/web/reschedulings/{made['uri'].rpartition('/')[2]}"
    assert calendly.get(made["uri"])["resource"] == made
    event = calendly.get(made["event"])["resource"]
    assert (event["start_time"], event["end_time"]) == ("2026-12-02T09:00:00.000000Z", "2026-12-02T10:00:00.000000Z")
    assert event["event_memberships"][0]["buffered_start_time"] == "2026-12-02T08:45:00.000000Z"
    assert event["invitees_counter"] == {"total": 1, "active": 1, "limit": 1}
    assert [guest["email"] for guest in event["event_guests"]] == ["guest@demo.test"]
    assert event["location"] is None
    assert "cancellation" not in event
    assert "cancellation" not in made


def test_repeating_a_booking_of_a_group_books_twice(calendly):
    first, second = (calendly.invite(START, "Workshop").json()["resource"] for _ in range(2))
    assert first["uri"] != second["uri"]
    assert first["event"] == second["event"]


@pytest.mark.parametrize("status", [404, 400, 409])
def test_a_taken_slot(calendly, status):
    calendly.switch(takenSlotStatus=status)
    assert calendly.invite(START).status_code == 201
    assert calendly.invite(START).status_code == status
    assert calendly.invite("2026-12-02T13:10:00Z").status_code == status
    assert calendly.invite("2026-12-05T09:00:00Z").status_code == status
    assert wrong(calendly.invite("2026-11-30T09:00:00Z")) == ["start_time"]


def test_the_answer_of_before(calendly):
    calendly.switch(legacyInviteeAnswer=True)
    answer = calendly.invite(START).json()
    assert answer["resource"] == answer["invitee"]["event"]


def test_a_lost_answer_has_booked(calendly):
    calendly.sandbox.fault({"kind": "drop", "when": "after"}, path="/calendly/api/invitees")
    with pytest.raises(Exception, match="disconnected"):
        calendly.invite(START)
    params = {"user": calendly.user(), "invitee_email": "MIA@demo.test", "min_start_time": START, "max_start_time": START}
    assert len(calendly.get("/scheduled_events", **params)["collection"]) == 1


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"event_type": None, "start_time": None}, ["event_type", "start_time"]),
        ({"invitee": None}, ["invitee"]),
        ({"invitee": {"name": "x", "email": "x", "timezone": "Moon"}}, ["email", "timezone"]),
        ({"invitee": {"email": "x@demo.test", "timezone": "UTC"}}, ["name"]),
        ({"location": {"kind": "physical"}}, ["location"]),
        ({"tracking": {"utm_source": "x" * 256}}, ["utm_source"]),
        ({"event_guests": ["x"]}, ["event_guests"]),
        ({"event_guests": [f"g{number}@demo.test" for number in range(11)]}, ["event_guests"]),
        ({"questions_and_answers": [{"question": "?", "answer": "!", "position": 0}]}, ["questions_and_answers"]),
    ],
)
def test_what_a_booking_needs(calendly, change, names):
    assert wrong(calendly.invite(START, **change)) == names


def test_unknown_foreign_inactive_and_paid_types(calendly):
    kinds = [{"name": "Paid", "paid": True}, {"name": "Off", "active": False}]
    calendly.person("pat", eventTypes=kinds, organization="cora@demo.test")
    assert calendly.invite(START, event_type=calendly.kind("Talk") + "x").status_code == 404
    assert calendly.invite(START, event_type=calendly.kind("Off", "pat")).status_code == 404
    assert calendly.invite(START, event_type=calendly.kind("Paid", "pat")).status_code == 403
    token = calendly.connect("mia")["access_token"]
    body = {"event_type": calendly.kind("Long talk"), "start_time": START, "invitee": PERSON}
    assert calendly.api("POST", "/invitees", token=token, json=body).status_code == 403


def test_locations_must_match(calendly):
    places = [
        {"kind": "physical", "location": "Room 1"},
        {"kind": "outbound_call"},
        {"kind": "custom"},
        {"kind": "inbound_call", "phone_number": "+49 1", "additional_info": "ask"},
    ]
    calendly.person("lou", eventTypes=[{"name": "Talk", "locations": places}])

    def book(hour, **location):
        body = {"event_type": calendly.kind("Talk", "lou"), "start_time": f"2026-12-02T{hour}:00:00Z", "invitee": PERSON}
        answer = calendly.api("POST", "/invitees", who="lou", json=body | ({"location": location} if location else {}))
        if answer.status_code == 400:
            return wrong(answer)
        return calendly.api("GET", answer.json()["resource"]["event"], who="lou").json()["resource"]["location"]

    assert book("09") == ["location"]
    assert book("09", kind="zoom_conference") == ["location"]
    assert book("09", kind="physical", location="Room 2") == ["location"]
    assert book("09", kind="outbound_call") == ["location.location"]
    assert book("09", kind="inbound_call", location="+49 2") == ["location.location"]
    assert book("09", kind="physical", location="Room 1") == {"type": "physical", "location": "Room 1", "additional_info": None}
    assert book("10", kind="outbound_call", location="+49 3") == {"type": "outbound_call", "location": "+49 3"}
    assert book("11", kind="custom", location="https://x") == {"type": "custom", "location": "https://x"}
    assert book("12", kind="inbound_call") == {"type": "inbound_call", "location": "+49 1", "additional_info": "ask"}


def test_questions_must_be_repeated_letter_for_letter(calendly):
    choice = {"name": "Which?", "type": "single_select", "required": True, "answer_choices": ["a", "b"]}
    calendly.person("quin", eventTypes=[{"name": "Talk", "questions": [choice, "More?"], "splitName": True}])

    def book(*answers):
        rows = [{"question": question, "answer": answer, "position": 7} for question, answer in answers]
        body = {"event_type": calendly.kind("Talk", "quin"), "start_time": START, "invitee": PERSON | {"name": "Mia M. Miller"}}
        return calendly.api("POST", "/invitees", who="quin", json=body | {"questions_and_answers": rows})

    for answers in ([], [("which?", "a")], [("Which?", "c")], [("Which?", "")], [("More?", "x")]):
        assert set(wrong(book(*answers))) == {"questions_and_answers"}
    made = book(("More?", "yes"), ("Which?", "b")).json()["resource"]
    assert made["questions_and_answers"] == [
        {"answer": "b", "position": 0, "question": "Which?"},
        {"answer": "yes", "position": 1, "question": "More?"},
    ]
    assert (made["first_name"], made["last_name"]) == ("Mia", "M. Miller")


@pytest.mark.parametrize(
    ("who", "limits", "reset"),
    [
        ({"stage": "trial"}, {"trialPerDay": 2}, "86400"),
        ({"stage": "free", "plan": "basic"}, {"freePerDay": 2}, "86400"),
        ({}, {"paidPerMinute": 2}, "60"),
        ({}, {"paidPerHour": 2}, "3600"),
        ({}, {"paidPerDay": 2}, "86400"),
        ({"plan": "enterprise"}, {"enterprisePerMinute": 2}, "60"),
    ],
)
def test_caps_on_booking(calendly, who, limits, reset):
    calendly.control("PUT", "/limits", limits)
    calendly.person("cap", eventTypes=[{"name": "Long talk"}], **who)
    body = {"event_type": calendly.kind("Long talk", "cap"), "invitee": PERSON}
    answers = [
        calendly.api("POST", "/invitees", who="cap", json=body | {"start_time": f"2026-12-02T{hour}:00:00Z"}) for hour in ("09", "10", "11")
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert (answers[2].headers["x-ratelimit-limit"], answers[2].headers["x-ratelimit-reset"]) == ("2", reset)
    assert calendly.api("GET", "/users/me", who="cap").status_code == 200


def test_usual_caps(calendly):
    assert calendly.control("PUT", "/limits", {}) == {
        "general": 500,
        "generalFree": 50,
        "token": 8,
        "trialPerDay": 5,
        "freePerDay": 5,
        "paidPerMinute": 10,
        "paidPerHour": 50,
        "paidPerDay": 100,
        "enterprisePerMinute": 500,
    }


def test_canceling_is_201_once_and_403_afterwards(calendly):
    event = calendly.book(START)["event"]["uri"]
    answer = calendly.api("POST", event + "/cancellation", json={"reason": "ill"})
    assert answer.status_code == 201
    assert answer.json() == {
        "resource": {"canceled_by": "Cora Coach", "reason": "ill", "canceler_type": "host", "created_at": "2026-12-01T08:00:00.000000Z"}
    }
    again = calendly.api("POST", event + "/cancellation")
    assert (again.status_code, again.json()) == (403, {"title": "Permission Denied", "message": "Event is already canceled"})
    shown = calendly.get(event)["resource"]
    assert (shown["status"], shown["cancellation"]["reason"]) == ("canceled", "ill")
    (invitee,) = calendly.get(event + "/invitees")["collection"]
    assert (invitee["status"], invitee["rescheduled"], invitee["cancellation"]["canceler_type"]) == ("canceled", False, "host")
    assert "09:00" in calendly.starts()


def test_canceling_the_past_and_foreign_events(calendly):
    event = calendly.book(START)["event"]["uri"]
    assert calendly.api("POST", event + "/cancellation", who="mia").status_code == 403
    assert calendly.api("POST", event + "/cancellation", json={"reason": "x" * 10_001}).status_code == 400
    calendly.forward(2 * 86400)
    calendly.tokens.clear()
    assert calendly.api("POST", event + "/cancellation").status_code == 403
    assert calendly.get(event)["resource"]["status"] == "active"


def test_listing_events(calendly):
    calendly.book("2026-12-03T09:00:00Z", invitee=GINA)
    first = calendly.book(START)
    calendly.api("POST", first["event"]["uri"] + "/cancellation")
    user = calendly.user()

    def starts(**params):
        return [row["start_time"][8:10] for row in calendly.get("/scheduled_events", user=user, **params)["collection"]]

    assert starts() == ["02", "03"]
    assert starts(sort="start_time:desc") == ["03", "02"]
    assert starts(status="active") == ["03"]
    assert starts(invitee_email="gina@demo.test") == ["03"]
    assert starts(min_start_time="2026-12-02T09:00:01Z") == ["03"]
    assert starts(max_start_time=START) == ["02"]
    assert starts(count=1) == ["02"]


def test_rights_on_events(calendly):
    event = calendly.book(START)["event"]["uri"]
    calendly.person("cleo", organization="cora@demo.test", eventTypes=[{"name": "Talk"}])
    own = {"eventType": calendly.kind("Talk", "cleo"), "start": START, "invitee": GINA}
    calendly.control("POST", "/bookings", own)

    def listed(who, **params):
        answer = calendly.api("GET", "/scheduled_events", who=who, params=params)
        return len(answer.json()["collection"]) if answer.status_code == 200 else answer.status_code

    organization, cleo = calendly.organization(), calendly.user("cleo")
    assert listed("cora", user=calendly.user()) == 1
    assert listed("cora", organization=organization) == 2
    assert listed("cora", organization=organization, user=cleo) == 1
    assert listed("cora", user=cleo) == 403
    assert listed("cleo", organization=organization) == 403
    assert listed("cleo", user=cleo) == 1
    assert listed("cleo", user=cleo, organization=organization) == 1
    assert listed("mia", user=calendly.user()) == 403
    assert listed("cora") == 400
    assert listed("cora", group="x") == 404
    assert calendly.api("GET", event, who="cleo").json()["message"] == "You are not allowed to view this event"
    assert calendly.api("GET", event + "/invitees", who="cleo").status_code == 403


def test_listing_invitees(calendly):
    event = calendly.book(START, "Workshop")["event"]["uri"]
    calendly.forward(1)
    calendly.book(START, "Workshop", invitee=GINA)
    names = [row["name"] for row in calendly.get(event + "/invitees", sort="created_at:desc")["collection"]]
    assert names == ["Gina Guest", "Mia Mentee"]
    assert calendly.get(event + "/invitees", email="gina@demo.test")["pagination"]["count"] == 1
    assert calendly.get(event + "/invitees", status="canceled")["collection"] == []
    assert calendly.get(event)["resource"]["invitees_counter"] == {"total": 2, "active": 2, "limit": 3}
    other = calendly.book("2026-12-03T09:00:00Z")["invitee"]["uri"].rpartition("/")[2]
    assert calendly.api("GET", f"{event}/invitees/{other}").status_code == 404


def test_no_shows(calendly):
    invitee = calendly.book(START)["invitee"]["uri"]
    answer = calendly.api("POST", "/invitee_no_shows", json={"invitee": invitee})
    assert answer.status_code == 201
    made = answer.json()["resource"]
    assert made["invitee"] == invitee
    assert calendly.api("POST", "/invitee_no_shows", json={"invitee": invitee}).json()["resource"] == made
    assert calendly.get(made["uri"])["resource"] == made
    assert calendly.get(invitee)["resource"]["no_show"] == {"uri": made["uri"], "created_at": made["created_at"]}
    assert calendly.api("DELETE", made["uri"], who="mia").status_code == 403
    assert calendly.api("DELETE", made["uri"]).status_code == 204
    assert calendly.api("DELETE", made["uri"]).status_code == 404
    assert calendly.get(invitee)["resource"]["no_show"] is None
    assert wrong(calendly.api("POST", "/invitee_no_shows", json={"invitee": "x"})) == ["invitee"]


def test_a_conference_is_made_later(calendly):
    event = calendly.book(START, "Call")["event"]
    assert event["location"] == {"type": "zoom", "status": "processing", "join_url": None, "data": None}
    calendly.forward(4)
    assert calendly.get(event["uri"])["resource"]["location"]["status"] == "processing"
    calendly.forward(1)
    later = calendly.get(event["uri"])["resource"]
    assert later["location"]["status"] == "pushed"
    assert later["location"]["join_url"].startswith("https://zoom.example/j/8")
    assert later["updated_at"] == "2026-12-01T08:00:05.000000Z"


def test_a_conference_that_fails_or_never_comes(calendly):
    calendly.switch(conferenceFails=True)
    failed = calendly.book(START, "Call")["event"]["uri"]
    calendly.switch(conferenceFails=False, conferenceSeconds=None)
    never = calendly.book("2026-12-02T10:00:00Z", "Call")["event"]["uri"]
    calendly.forward(3600)
    assert calendly.get(failed)["resource"]["location"] == {"type": "zoom", "status": "failed", "join_url": None, "data": None}
    assert calendly.get(never)["resource"]["location"]["status"] == "processing"
