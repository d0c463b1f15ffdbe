import hashlib
import hmac
import threading

import pytest

ALL = [
    "BOOKING_CREATED",
    "BOOKING_REQUESTED",
    "BOOKING_RESCHEDULED",
    "BOOKING_CANCELLED",
    "BOOKING_REJECTED",
    "BOOKING_NO_SHOW_UPDATED",
]


def test_subscriptions_live_and_die(house):
    hook = house.subscribe("http://127.0.0.1:9/a", ["BOOKING_CREATED"], secret="s")
    assert isinstance(hook["id"], str)
    assert (hook["userId"], hook["secret"], hook["payloadTemplate"]) == (house.ids["coach"], "s", None)
    path = f"/webhooks/{hook['id']}"
    assert house.api("GET", path, who="coach").json()["data"] == hook
    assert house.api("GET", path, who="mentee").status_code == 403
    changed = house.api("PATCH", path, who="coach", json={"active": False, "triggers": ["BOOKING_CANCELLED"]}).json()["data"]
    assert (changed["active"], changed["triggers"]) == (False, ["BOOKING_CANCELLED"])
    assert house.api("GET", "/webhooks", who="coach").json()["data"] == [changed]
    assert house.api("GET", "/webhooks", who="mentee").json()["data"] == []
    house.api("DELETE", path, who="coach")
    assert house.api("GET", path, who="coach").status_code == 404


@pytest.mark.parametrize("trigger", ["BOOKING_CONFIRMED", "BOOKING_COMPLETED", "BOOKING_NO_SHOW", "BOOKING_REOPENED"])
def test_triggers_that_do_not_exist(house, trigger):
    body = {"active": True, "subscriberUrl": "http://x", "triggers": [trigger]}
    answer = house.api("POST", "/webhooks", who="coach", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["errors"][0]["property"] == "triggers"


def test_one_url_once_per_owner(house):
    house.subscribe("http://127.0.0.1:9/a", ["BOOKING_CREATED"])
    body = {"active": True, "subscriberUrl": "http://127.0.0.1:9/a", "triggers": ["BOOKING_CANCELLED"]}
    path = f"/event-types/{house.ids['session']}/webhooks"
    texts = [house.api("POST", at, who="coach", json=body) for at in ("/webhooks", path, path)]
    assert [answer.status_code for answer in texts] == [409, 201, 409]
    assert texts[2].json()["error"]["message"] == "Webhook with this subscriber url already exists for this event type"
    house.subscribe("http://127.0.0.1:9/a", ["BOOKING_CREATED"], "mentee")


def test_headers_envelope_and_signature(house, inbox):
    house.subscribe(inbox.url, ALL, secret="shared")
    house.booked("2026-12-02T09:00:00Z")
    (letter,) = inbox.letters
    assert letter.headers["x-cal-signature-256"] == hmac.new(b"shared", letter.body, hashlib.sha256).hexdigest()
    assert letter.headers["x-cal-webhook-version"] == "2021-10-20"
    assert (letter.headers["content-type"], letter.headers["user-agent"]) == ("application/json", "node")
    assert list(letter.json) == ["triggerEvent", "createdAt", "payload"]
    assert letter.json["createdAt"] == "2026-12-01T08:00:00.001Z"


def test_without_a_secret(house, inbox):
    house.subscribe(inbox.url, ALL)
    house.booked("2026-12-02T09:00:00Z")
    assert inbox.letters[0].headers["x-cal-signature-256"] == "no-secret-provided"


def test_one_event_per_effect(house, inbox):
    house.subscribe(inbox.url, ALL)
    first = house.booked("2026-12-02T09:00:00Z")
    second = house.moved(first["uid"], "2026-12-02T10:00:00Z")
    house.do(second["uid"], "cancel")
    pending = house.booked("2026-12-02T11:00:00Z", "dive")
    moved = house.moved(pending["uid"], "2026-12-02T12:00:00Z")
    house.do(moved["uid"], "confirm", "coach")
    house.do(house.booked("2026-12-02T14:00:00Z", "dive")["uid"], "decline", "coach", reason="no")
    assert [(letter.event, letter.json["payload"]["status"]) for letter in inbox.letters] == [
        ("BOOKING_CREATED", "ACCEPTED"),
        ("BOOKING_RESCHEDULED", "ACCEPTED"),
        ("BOOKING_CANCELLED", "CANCELLED"),
        ("BOOKING_REQUESTED", "PENDING"),
        ("BOOKING_REQUESTED", "PENDING"),
        ("BOOKING_CREATED", "ACCEPTED"),
        ("BOOKING_REQUESTED", "PENDING"),
        ("BOOKING_REJECTED", "REJECTED"),
    ]
    payloads = [letter.json["payload"] for letter in inbox.letters]
    assert [payload["startTime"] for payload in payloads] == [
        "2026-12-02T09:00:00Z",
        "2026-12-02T10:00:00Z",
        "2026-12-02T10:00:00+00:00",
        "2026-12-02T11:00:00Z",
        "2026-12-02T12:00:00Z",
        "2026-12-02T12:00:00.000Z",
        "2026-12-02T14:00:00Z",
        "2026-12-02T14:00:00.000Z",
    ]
    requested = payloads[4]
    assert (requested["rescheduleUid"], requested["rescheduleId"], requested["uid"]) == (
        pending["uid"],
        pending["id"],
        moved["uid"],
    )
    confirmed = payloads[5]
    assert confirmed["uid"] == moved["uid"]
    assert not [name for name in confirmed if name.startswith(("reschedule", "iCal"))]
    assert "firstName" not in confirmed["attendees"][0]
    assert payloads[7]["rejectionReason"] == "no"


def test_rescheduled_names_new_and_old(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_RESCHEDULED"])
    first = house.booked("2026-12-02T09:00:00Z")
    second = house.moved(first["uid"], "2026-12-02T10:00:00Z", reschedulingReason="secret")
    payload = inbox.letters[0].json["payload"]
    assert (payload["uid"], payload["bookingId"], payload["iCalSequence"]) == (second["uid"], second["id"], 1)
    assert (payload["rescheduleUid"], payload["rescheduleId"]) == (first["uid"], first["id"])
    assert (payload["rescheduleStartTime"], payload["rescheduleEndTime"]) == ("2026-12-02T09:00:00Z", "2026-12-02T09:30:00Z")
    assert "secret" not in inbox.letters[0].body.decode()
    assert "rescheduledBy" not in payload
    assert "iCalUID" not in payload  # a fixed link


def test_video_keeps_the_ical_uid(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_RESCHEDULED"])
    first = house.booked("2026-12-02T09:00:00Z", "dive")
    house.moved(first["uid"], "2026-12-02T11:00:00Z", "coach")
    payload = inbox.letters[0].json["payload"]
    assert payload["iCalUID"] == first["icsUid"]
    assert payload["metadata"]["videoCallUrl"].startswith("https://meet.sandbox.invalid/")


def test_who_cancelled_is_told_only_when_known(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_CANCELLED"])
    house.do(house.booked("2026-12-02T09:00:00Z")["uid"], "cancel", cancellationReason="ill")
    house.do(house.booked("2026-12-02T10:00:00Z")["uid"], "cancel", "coach")
    house.do(house.booked("2026-12-02T11:00:00Z")["uid"], "request-reschedule", "coach", rescheduleReason="away")
    anonymous, known, requested = (letter.json["payload"] for letter in inbox.letters)
    assert (anonymous["cancellationReason"], "cancelledBy" in anonymous) == ("ill", False)
    assert known["cancelledBy"] == "coach@demo.test"
    assert requested["requestReschedule"] is True


def test_absence(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_NO_SHOW_UPDATED"])
    booking = house.booked("2026-12-02T09:00:00Z")
    house.sandbox.world.clock.shift(2 * 86400)
    house.tokens.clear()
    house.do(booking["uid"], "mark-absent", "coach", host=True)
    assert inbox.letters == []
    house.do(booking["uid"], "mark-absent", "coach", attendees=[{"email": "mentee@demo.test", "absent": True}])
    payload = inbox.letters[0].json["payload"]
    assert payload["attendees"] == [{"email": "mentee@demo.test", "noShow": True}]
    assert (payload["bookingUid"], payload["bookingId"], "uid" in payload) == (booking["uid"], booking["id"], False)


def test_every_subscription_fires_on_its_own_with_its_own_signature(house, inbox):
    house.subscribe(f"{inbox.url}/user", ALL, secret="same")
    house.subscribe(f"{inbox.url}/type", ALL, path=f"/event-types/{house.ids['session']}/webhooks", secret="same")
    house.subscribe(f"{inbox.url}/other", ALL, path=f"/event-types/{house.ids['dive']}/webhooks")
    house.subscribe(f"{inbox.url}/mentee", ALL, "mentee")
    house.booked("2026-12-02T09:00:00Z")
    assert sorted(letter.path for letter in inbox.letters) == ["/type", "/user"]
    assert len({letter.headers["x-cal-signature-256"] for letter in inbox.letters}) == 2
    assert inbox.letters[0].json["payload"] == inbox.letters[1].json["payload"]


def test_inactive_and_other_triggers_are_silent(house, inbox):
    hook = house.subscribe(inbox.url, ["BOOKING_CANCELLED"])
    house.booked("2026-12-02T09:00:00Z")
    house.api("PATCH", f"/webhooks/{hook['id']}", who="coach", json={"active": False, "triggers": ALL})
    house.booked("2026-12-02T10:00:00Z")
    assert inbox.letters == []


def test_the_delivery_comes_before_the_answer_and_the_subscriber_may_call_back(house, inbox):
    seen = []
    inbox.during = lambda letter: seen.append(house.get(letter.json["payload"]["uid"])["status"])
    house.subscribe(inbox.url, ALL)
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    assert seen == ["accepted"]
    house.do(uid, "cancel")
    assert seen == ["accepted", "cancelled"]


def test_the_answer_waits_for_the_slowest_subscriber(house, inbox):
    let_go, answered = threading.Event(), threading.Event()
    arrived = threading.Event()
    inbox.during = lambda _: (arrived.set(), let_go.wait(10))
    house.subscribe(inbox.url, ALL)
    thread = threading.Thread(target=lambda: (house.booked("2026-12-02T09:00:00Z"), answered.set()))
    thread.start()
    assert arrived.wait(10)
    assert not answered.is_set()
    let_go.set()
    thread.join(10)
    assert answered.is_set()


@pytest.mark.parametrize("status", [500, 302])
def test_no_retries_no_redirects_and_never_the_bookers_problem(house, inbox, status):
    inbox.status, inbox.location = status, f"{inbox.url}/elsewhere"
    house.subscribe(inbox.url, ALL)
    house.subscribe("http://127.0.0.1:9/dead", ALL)
    assert house.book("2026-12-02T09:00:00Z").status_code == 201
    assert [letter.path for letter in inbox.letters] == ["/"]
    log = house.control("GET", "/deliveries")
    assert [one["status"] for one in log if one["url"] == inbox.url] == [status]
    assert [one["error"].split(":")[0] for one in log if "dead" in one["url"]] == ["ConnectError"]


def test_meetings_are_flat_and_pings_have_no_uid(house, inbox):
    hook = house.subscribe(inbox.url, ["MEETING_STARTED", "BOOKING_CREATED"])
    uid = house.control(
        "POST",
        "/calcom/bookings",
        {
            "eventTypeId": house.ids["session"],
            "start": "2026-12-02T09:00:00Z",
            "attendee": {"name": "A", "email": "a@b.de", "timeZone": "UTC"},
            "force": True,
            "silent": True,
        },
    )["data"]["uid"]
    house.control("POST", "/calcom/events", {"bookingUid": uid, "event": "MEETING_STARTED"})
    house.control("POST", f"/calcom/webhooks/{hook['id']}/ping", {"triggerEvent": "BOOKING_CREATED"})
    started, ping = (letter.json for letter in inbox.letters)
    assert (started["triggerEvent"], started["uid"], "payload" in started) == ("MEETING_STARTED", uid, False)
    assert (ping["payload"]["type"], "uid" in ping["payload"]) == ("Test", False)


def test_a_template_replaces_the_whole_body(house, inbox):
    house.subscribe(inbox.url, ALL, payloadTemplate='{"what":"{{title}}","who":"{{organizer.email}}"}', secret="s")
    house.booked("2026-12-02T09:00:00Z")
    (letter,) = inbox.letters
    assert letter.json == {"what": "Session between Clara Coach and Max Mentee", "who": "coach@demo.test"}
    assert letter.headers["x-cal-signature-256"] == hmac.new(b"s", letter.body, hashlib.sha256).hexdigest()


def fault(house, effect, webhook="*", **more):
    return house.sandbox.fault(effect, webhook=webhook, **more)


def test_duplicates_and_drops(house, inbox):
    house.subscribe(inbox.url, ALL, secret="s")
    fault(house, {"kind": "duplicate", "count": 3}, "BOOKING_CREATED")
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    assert len({letter.body for letter in inbox.letters}) == 1
    assert len(inbox.letters) == 3
    fault(house, {"kind": "drop"})
    house.do(uid, "cancel")
    assert len(inbox.letters) == 3
    assert house.control("GET", "/deliveries")[-1]["error"] == "dropped by a fault"


def test_bad_signatures(house, inbox):
    house.subscribe(inbox.url, ALL, secret="s")
    fault(house, {"kind": "unsigned"})
    house.booked("2026-12-02T09:00:00Z")
    fault(house, {"kind": "wrong-signature"})
    house.booked("2026-12-02T10:00:00Z")
    unsigned, wrong = (letter.headers["x-cal-signature-256"] for letter in inbox.letters)
    assert unsigned == "no-secret-provided"
    assert wrong != hmac.new(b"s", inbox.letters[1].body, hashlib.sha256).hexdigest()
    assert len(wrong) == 64


def test_reordering(house, inbox):
    house.subscribe(inbox.url, ALL)
    fault(house, {"kind": "reorder"}, "BOOKING_CREATED")
    house.do(house.booked("2026-12-02T09:00:00Z")["uid"], "cancel")
    assert inbox.events == ["BOOKING_CANCELLED", "BOOKING_CREATED"]


def test_parking_and_flushing_in_any_order(house, inbox):
    house.subscribe(inbox.url, ALL)
    fault(house, {"kind": "park"}, times=None)
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    uid = house.moved(uid, "2026-12-02T10:00:00Z")["uid"]
    house.do(uid, "cancel")
    assert inbox.letters == []
    assert house.control("POST", "/deliveries/flush", {"order": [2, 0, 1]}) == {"sent": 3}
    assert inbox.events == ["BOOKING_CANCELLED", "BOOKING_CREATED", "BOOKING_RESCHEDULED"]


def test_a_delayed_delivery_comes_after_the_answer(house, inbox):
    came = threading.Event()
    inbox.during = lambda _: came.set()
    house.subscribe(inbox.url, ALL)
    fault(house, {"kind": "delay", "seconds": 0.05})
    house.booked("2026-12-02T09:00:00Z")
    assert came.wait(10)


def test_the_log_and_sending_again(house, inbox):
    house.subscribe(inbox.url, ALL, secret="s")
    house.booked("2026-12-02T09:00:00Z")
    (entry,) = house.control("GET", "/deliveries")
    assert (entry["triggerEvent"], entry["url"], entry["status"], entry["error"]) == ("BOOKING_CREATED", inbox.url, 200, None)
    assert entry["body"].encode() == inbox.letters[0].body
    house.control("POST", f"/deliveries/{entry['id']}/resend")
    first, second = inbox.letters
    assert (first.body, first.headers["x-cal-signature-256"]) == (second.body, second.headers["x-cal-signature-256"])
    assert house.control("DELETE", "/deliveries") == []
