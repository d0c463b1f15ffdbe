"""Calendly's subscriptions and deliveries: signatures, retries, disabling, the pair of a move."""

import json

import pytest
from calendly_house import GINA, furnished, signature_fits

START = "2026-12-02T09:00:00Z"
ALL = [
    "invitee.created",
    "invitee.canceled",
    "invitee_no_show.created",
    "invitee_no_show.deleted",
    "event_type.created",
    "event_type.updated",
]


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def names(inbox):
    return [letter.json["event"] for letter in inbox.letters]


def test_a_subscription(calendly, inbox):
    answer = calendly.subscribe(inbox.url, signing_key="ignored with OAuth")
    assert answer.status_code == 201
    made = answer.json()["resource"]
    assert (made["callback_url"], made["state"], made["retry_started_at"], made["scope"]) == (inbox.url, "active", None, "user")
    assert (made["user"], made["organization"], made["creator"]) == (calendly.user(), calendly.organization(), calendly.user())
    assert not [name for name in made if "key" in name]
    assert calendly.get(made["uri"])["resource"] == made
    params = {"organization": calendly.organization(), "scope": "user", "user": calendly.user()}
    assert calendly.get("/webhook_subscriptions", **params)["collection"] == [made]
    again = calendly.subscribe(inbox.url, ["invitee.created"])
    assert (again.status_code, again.json()["message"]) == (409, "Hook with this url already exists")
    assert calendly.api("DELETE", made["uri"]).status_code == 204
    assert calendly.api("GET", made["uri"]).status_code == 404
    assert calendly.subscribe(inbox.url).status_code == 201


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"organization": None}, ["organization"]),
        ({"user": None}, ["user"]),
        ({"scope": "team"}, ["scope"]),
        ({"events": []}, None),
        ({"events": ["invitee.rescheduled"]}, ["events"]),
        ({"events": ["routing_form_submission.created"]}, ["events"]),
        ({"url": "ftp://x"}, ["url"]),
    ],
)
def test_what_a_subscription_needs(calendly, change, names):
    body = {
        "url": "http://127.0.0.1:9/x",
        "events": ["invitee.created"],
        "organization": calendly.organization(),
        "user": calendly.user(),
        "scope": "user",
    }
    answer = calendly.api("POST", "/webhook_subscriptions", json=body | change)
    assert answer.status_code == 400
    assert [one["parameter"] for one in answer.json()["details"]] == (names or ["events"])


def test_rights_and_scopes_of_subscriptions(calendly):
    calendly.person("cleo", organization="cora@demo.test")
    assert calendly.subscribe("http://127.0.0.1:9/a", who="cleo", scope="organization").status_code == 403
    assert calendly.subscribe("http://127.0.0.1:9/a", who="cleo", user=calendly.user()).status_code == 403
    assert calendly.subscribe("http://127.0.0.1:9/b", user=calendly.user("cleo")).status_code == 201
    assert calendly.subscribe("http://127.0.0.1:9/c", scope="organization").status_code == 201
    assert calendly.subscribe("http://127.0.0.1:9/d", user=calendly.user("mia")).status_code == 403
    token = calendly.connect(scope="webhooks:write event_types:read")["access_token"]
    body = {"url": "http://127.0.0.1:9/e", "events": ALL, "organization": calendly.organization(), "user": calendly.user(), "scope": "user"}
    answer = calendly.api("POST", "/webhook_subscriptions", token=token, json=body)
    assert (answer.status_code, answer.json()["required_scopes"]) == (403, ["scheduled_events:read"])


def test_a_delivery_is_signed_over_raw_bytes(calendly, inbox):
    calendly.subscribe(inbox.url)
    calendly.book(START, invitee=GINA | {"name": "Zoë Ünal"}, tracking={"utm_content": "our-id"})
    calendly.settle()
    (letter,) = inbox.letters
    assert signature_fits(letter)
    assert letter.headers["calendly-webhook-signature"].startswith("t=1796112000,v1=")
    assert "Zoë Ünal".encode() in letter.body
    assert json.dumps(letter.json).encode() != letter.body
    content = letter.json
    assert (content["event"], content["created_at"], content["created_by"]) == (
        "invitee.created",
        "2026-12-01T08:00:00.000000Z",
        calendly.user(),
    )
    payload = content["payload"]
    assert payload["event"] == payload["scheduled_event"]["uri"]
    assert payload["tracking"]["utm_content"] == "our-id"
    assert "calendar_event" not in payload["scheduled_event"]
    assert sorted(payload["scheduled_event"]["event_memberships"][0]) == ["user", "user_email", "user_name"]
    assert calendly.get(payload["uri"])["resource"] == {name: value for name, value in payload.items() if name != "scheduled_event"}


def test_two_signatures_and_odd_whitespace(calendly, inbox):
    calendly.switch(twoSignatures=True, oddWhitespace=True)
    calendly.subscribe(inbox.url)
    calendly.book(START)
    calendly.settle()
    (letter,) = inbox.letters
    assert [part.partition("=")[0] for part in letter.headers["calendly-webhook-signature"].split(",")] == ["t", "v1", "v0", "v1"]
    assert signature_fits(letter)
    assert letter.body.startswith(b"{\n   ")


def test_personal_tokens_sign_with_their_own_key_or_not_at_all(calendly, inbox):
    token = calendly.control("POST", "/personal-tokens", {"email": "cora@demo.test"})["token"]
    body = {"events": ["invitee.created"], "organization": calendly.organization(), "user": calendly.user(), "scope": "user"}
    for path, more in (("/keyed", {"signing_key": "mine"}), ("/bare", {})):
        made = calendly.api("POST", "/webhook_subscriptions", token=token, json=body | more | {"url": inbox.url + path})
        assert made.status_code == 201
    calendly.book(START)
    calendly.settle()
    letters = {letter.path: letter for letter in inbox.letters}
    assert signature_fits(letters["/keyed"], "mine")
    assert "calendly-webhook-signature" not in letters["/bare"].headers


def test_faults_of_signatures(calendly, inbox):
    calendly.subscribe(inbox.url)
    calendly.sandbox.fault({"kind": "unsigned"}, webhook="invitee.created")
    calendly.book(START)
    calendly.settle()
    calendly.sandbox.fault({"kind": "wrong-signature"}, webhook="*")
    calendly.book("2026-12-02T10:00:00Z")
    calendly.settle()
    assert "calendly-webhook-signature" not in inbox.letters[0].headers
    assert not signature_fits(inbox.letters[1])


@pytest.mark.parametrize(("order", "events"), [("canceled-first", ["canceled", "created"]), ("created-first", ["created", "canceled"])])
def test_a_move_is_a_pair(calendly, inbox, order, events):
    calendly.switch(pairOrder=order)
    booked = calendly.book(START)
    calendly.subscribe(inbox.url)
    calendly.forward(60)
    moved = calendly.control("POST", "/reschedule", {"invitee": booked["invitee"]["uri"], "start": "2026-12-03T10:00:00Z"})
    calendly.settle()
    assert names(inbox) == [f"invitee.{event}" for event in events]
    letters = {letter.json["event"]: letter.json["payload"] for letter in inbox.letters}
    old, new = letters["invitee.canceled"], letters["invitee.created"]
    assert (old["uri"], old["status"], old["rescheduled"], old["new_invitee"], old["old_invitee"]) == (
        booked["invitee"]["uri"],
        "canceled",
        True,
        new["uri"],
        None,
    )
    assert (new["status"], new["rescheduled"], new["new_invitee"], new["old_invitee"]) == ("active", False, None, old["uri"])
    assert new["event"] == moved["event"]["uri"] != old["event"]
    assert old["scheduled_event"]["status"] == "canceled"
    assert new["scheduled_event"]["start_time"] == "2026-12-03T10:00:00.000000Z"


def test_a_canceled_group_is_told_for_each_invitee(calendly, inbox):
    calendly.subscribe(inbox.url)
    event = calendly.book(START, "Workshop", silent=True)["event"]["uri"]
    calendly.book(START, "Workshop", invitee=GINA, silent=True)
    calendly.api("POST", event + "/cancellation")
    calendly.settle()
    assert names(inbox) == ["invitee.canceled", "invitee.canceled"]
    assert sorted(letter.json["payload"]["email"] for letter in inbox.letters) == ["gina@demo.test", "mia@demo.test"]


def test_no_shows_and_event_types_are_told(calendly, inbox):
    calendly.subscribe(inbox.url, ALL)
    invitee = calendly.book(START, silent=True)["invitee"]["uri"]
    made = calendly.api("POST", "/invitee_no_shows", json={"invitee": invitee}).json()["resource"]
    calendly.settle()
    calendly.api("DELETE", made["uri"])
    calendly.settle()
    kind = calendly.api("POST", "/event_types", json={"owner": calendly.user(), "name": "New"}).json()["resource"]
    calendly.settle()
    calendly.api("PATCH", kind["uri"], json={"active": True})
    calendly.settle()
    assert names(inbox) == ["invitee_no_show.created", "invitee_no_show.deleted", "event_type.created", "event_type.updated"]
    assert inbox.letters[0].json["payload"]["no_show"]["uri"] == made["uri"]
    assert inbox.letters[3].json["payload"]["active"] is True
    assert "description_html" not in inbox.letters[3].json["payload"]


def hook(calendly):
    (row,) = calendly.get("/webhook_subscriptions", organization=calendly.organization(), scope="user", user=calendly.user())["collection"]
    return row


@pytest.mark.parametrize("status", [500, 404, 302])
def test_failures_are_tried_again_with_a_new_timestamp(calendly, inbox, status):
    calendly.subscribe(inbox.url)
    inbox.status, inbox.location = status, inbox.url + "/elsewhere"
    calendly.book(START)
    calendly.settle()
    assert hook(calendly)["retry_started_at"] == "2026-12-01T08:00:00.000000Z"
    assert calendly.control("POST", "/deliveries/repeat", provider="") == {"sent": 0}
    calendly.forward(60)
    inbox.status, inbox.location = 204, None
    assert calendly.control("POST", "/deliveries/repeat", provider="") == {"sent": 1}
    assert [letter.path for letter in inbox.letters] == ["/", "/"]
    assert inbox.letters[0].body == inbox.letters[1].body
    assert inbox.letters[1].headers["calendly-webhook-signature"].startswith("t=1796112060,")
    assert signature_fits(inbox.letters[1])
    assert hook(calendly)["retry_started_at"] is None
    calendly.forward(86400)
    calendly.tokens.clear()
    assert calendly.control("POST", "/deliveries/repeat", provider="") == {"sent": 0}


def test_a_retry_may_keep_its_timestamp(calendly, inbox):
    calendly.switch(retryKeepsTimestamp=True)
    calendly.subscribe(inbox.url)
    inbox.status = 500
    calendly.book(START)
    calendly.settle()
    calendly.forward(60)
    calendly.control("POST", "/deliveries/repeat", provider="")
    first, second = (letter.headers["calendly-webhook-signature"] for letter in inbox.letters)
    assert first == second


def test_disabled_after_a_day_of_nothing_delivered(calendly, inbox):
    calendly.subscribe(inbox.url)
    inbox.status = 500
    calendly.book(START)
    calendly.book("2026-12-02T10:00:00Z")
    calendly.settle()
    tries = 0
    for pause in (60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720):
        calendly.forward(pause)
        tries += calendly.control("POST", "/deliveries/repeat", provider="")["sent"]
    calendly.tokens.clear()
    assert tries == 20
    assert hook(calendly)["state"] == "active"
    calendly.forward(25020)
    calendly.control("POST", "/deliveries/repeat", provider="")
    calendly.tokens.clear()
    row = hook(calendly)
    assert (row["state"], row["retry_started_at"], row["updated_at"]) == (
        "disabled",
        "2026-12-01T08:00:00.000000Z",
        "2026-12-02T08:00:00.000000Z",
    )
    inbox.status, count = 200, len(inbox.letters)
    calendly.book("2026-12-03T10:00:00Z")
    calendly.settle()
    calendly.forward(86400)
    assert calendly.control("POST", "/deliveries/repeat", provider="") == {"sent": 0}
    assert len(inbox.letters) == count
    # there is no way back but deleting it
    calendly.tokens.clear()
    assert calendly.subscribe(inbox.url).status_code == 409
    calendly.api("DELETE", row["uri"])
    assert calendly.subscribe(inbox.url).status_code == 201


def test_a_deleted_subscription_is_not_tried_again(calendly, inbox):
    made = calendly.subscribe(inbox.url).json()["resource"]
    inbox.status = 500
    calendly.book(START)
    calendly.settle()
    calendly.api("DELETE", made["uri"])
    calendly.forward(86400)
    assert calendly.control("POST", "/deliveries/repeat", provider="") == {"sent": 0}


def test_webhooks_of_a_removed_member(calendly, inbox):
    calendly.person("cleo", organization="cora@demo.test", eventTypes=[{"name": "Talk"}])
    calendly.subscribe(inbox.url + "/own", who="cleo")
    calendly.subscribe(inbox.url + "/all", scope="organization")

    def book(hour):
        calendly.control(
            "POST", "/bookings", {"eventType": calendly.kind("Talk", "cleo"), "start": f"2026-12-02T{hour}:00:00Z", "invitee": GINA}
        )
        calendly.settle()

    book("09")
    assert sorted(letter.path for letter in inbox.letters) == ["/all", "/own"]
    removed = calendly.control("POST", "/users/cleo@demo.test/remove")
    assert removed["user"]["current_organization"] != calendly.organization()
    book("10")
    assert len(inbox.letters) == 2
    calendly.book("2026-12-02T11:00:00Z")
    calendly.settle()
    assert [letter.path for letter in inbox.letters][2:] == ["/all"]


def test_samples(calendly):
    params = {"organization": calendly.organization(), "scope": "user", "user": calendly.user()}
    for event in ("invitee.created", "invitee.canceled", "invitee_no_show.created"):
        sample = calendly.get("/sample_webhook_data", event=event, **params)
        assert sorted(sample) == ["created_at", "created_by", "event", "payload"]
        assert sample["payload"]["scheduled_event"]["name"] == "Sample meeting"
    assert calendly.get("/sample_webhook_data", event="event_type.updated", **params)["payload"]["name"] == "Sample meeting"
    assert calendly.api("GET", "/sample_webhook_data", params=params | {"event": "x"}).status_code == 400
    assert calendly.get("/scheduled_events", user=calendly.user())["collection"] == []
