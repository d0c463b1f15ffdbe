"""Deliveries with a good signature over anything: stored, acknowledged, read as far as they can be, and the next one is applied."""

import hashlib
import hmac
import random
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from harness import INBOX, LEGACY_SECRET, SIGNING_KEY, ZOOM_SECRET, Caller, World, at
from processes import scaled
from system.fuzz_mutations import BROKEN, chosen
from test_fuzz_answers import surprise, told
from test_fuzz_parsers import (
    CALCOM_BOOKING,
    CALENDLY_EVENT,
    CALENDLY_INVITEE,
    ZOOM_RECORDING,
)

from models import LinkedAccount, WebhookSubscription
from services import webhook_secrets

SEED = 20270302
STAMP = "1803888000"


def signature(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


@dataclass
class Inbox:
    """Somebody who is linked to all three, and the address to which each provider sends their news."""

    world: World
    coach: Caller

    def __post_init__(self) -> None:
        self.endpoints = {row.provider: row for row in WebhookSubscription.select()}

    def send(self, provider: str, body: bytes) -> httpx.Response:
        if provider == "zoom":
            path, headers = "/webhooks/zoom", {"x-zm-signature": f"v0={signature(ZOOM_SECRET, f'v0:{STAMP}:'.encode() + body)}"}
            headers["x-zm-request-timestamp"] = STAMP
        elif provider == "calendly":
            path = f"/webhooks/calendly/{self.endpoints['calendly'].endpoint}"
            headers = {"Calendly-Webhook-Signature": f"t={STAMP},v1={signature(SIGNING_KEY, STAMP.encode() + b'.' + body)}"}
        elif provider == "legacy":
            path, headers = "/webhooks/cal/booking.created", {"X-Cal-Signature-256": signature(LEGACY_SECRET, body)}
        else:
            row = self.endpoints["calcom"]
            (secret, *_) = webhook_secrets.accepted(self.world.rt, row)
            path, headers = f"/webhooks/calcom/{row.endpoint}", {"X-Cal-Signature-256": signature(secret, body)}
        return self.world.http.post(path, content=body, headers={"Content-Type": "application/json", **headers})

    def surprises(self, begin: int) -> set[str]:
        return {cause for line in self.world.logged.getvalue()[begin:].splitlines() if (cause := surprise(line))}


@pytest.fixture
def inbox(world: World) -> Inbox:
    coach = world.coach()
    world.sandbox_call(
        "calendly/users", email=coach.email, name=coach.name, timeZone=coach.time_zone, eventTypes=[{"name": "Call", "duration": 30}]
    )
    coach.link(provider="CALENDLY")
    world.sandbox_call("zoom/users", email=coach.email, name=coach.name, timeZone=coach.time_zone)
    coach.link(provider="ZOOM")
    return Inbox(world, coach)


def samples(inbox: Inbox) -> dict[str, list[Any]]:
    """What each provider sends, about a booking that is there and about others."""
    uid = inbox.world.book(inbox.coach, at(2, 9))
    calcom = [
        {"triggerEvent": kind, "createdAt": "2027-03-01T08:00:00.000Z", "payload": {**CALCOM_BOOKING, "uid": uid, "rescheduleUid": "x"}}
        for kind in ("BOOKING_CREATED", "BOOKING_REQUESTED", "BOOKING_CANCELLED", "SOMETHING_ELSE")
    ]
    calendly = [
        {"event": kind, "created_at": "2027-03-01T08:00:00.000000Z", "payload": {**CALENDLY_INVITEE, "scheduled_event": CALENDLY_EVENT}}
        for kind in ("invitee.created", "invitee.canceled", "invitee_no_show.deleted", "event_type.updated", "something.else")
    ]
    zoom: list[Any] = [
        {"event": kind, "event_ts": 1_803_888_000_000, "payload": {"account_id": "A1", "object": ZOOM_RECORDING}}
        for kind in ("recording.completed", "recording.transcript_completed", "meeting.updated", "meeting.deleted", "something.else")
    ]
    zoom.append({"event": "app_deauthorized", "payload": {"user_id": "nobody", "account_id": "A1"}})
    zoom.append({"event": "endpoint.url_validation", "payload": {"plainToken": "abc"}})
    return {"calcom": calcom, "legacy": calcom, "calendly": calendly, "zoom": zoom}


def deliver(inbox: Inbox, cases: int, seed: int) -> dict[str, list[str]]:
    """So many deliveries, and what surprised anybody, by its cause."""
    chance, known, found = random.Random(seed), samples(inbox), dict[str, list[str]]()
    for number in range(cases):
        provider = chance.choice(sorted(known))
        if chance.random() < 0.85:
            document = chance.choice(known[provider])
            mutation = chosen(chance, document)
            body, what = mutation.body(document), str(mutation)
        else:
            body = chance.choice(BROKEN)
            what = repr(body[:60])
        if chance.random() < 0.15:
            body = with_null(body)
            what += " and U+0000"
        if chance.random() < 0.2:
            # as somebody whose link is of no use, so that what is told has to stand for what cannot be read
            LinkedAccount.update(problem_code="REVOKED").where(LinkedAccount.provider == "calendly").execute()
        begin = len(inbox.world.logged.getvalue())
        answer = inbox.send(provider, body)
        wrong = check(answer)
        inbox.world.jobs()
        for cause in inbox.surprises(begin) or wrong:
            found.setdefault(cause, []).append(f"{provider}: {what}")
        LinkedAccount.update(problem_code=None).execute()
        if number % 20 == 19:
            inbox.world.move_clock(hours=2)
            inbox.world.jobs()
    return found


def with_null(body: bytes) -> bytes:
    """U+0000 as JSON writes it, in the middle of each text that names something."""
    for name in (b'"uid": "', b'"id": "', b'"uri": "', b'"email": "', b'"uuid": "', b'"user_id": "', b'"name": "', b'"event": "'):
        body = body.replace(name, name + b"\\u0000")
    return body


def check(answer: httpx.Response) -> list[str]:
    """2xx, or 400 for what is not JSON, in the shape that is documented."""
    content = answer.json()
    if answer.status_code == 200:
        return [] if isinstance(content, dict) else ["an answer that is no object"]
    good = answer.status_code in {400, 401} and content["error"]["code"] in {"BAD_USER_INPUT", "TOO_OLD"}
    return [] if good else [f"{answer.status_code}: {answer.text[:100]}"]


def goes_on(inbox: Inbox) -> None:
    """The next delivery is applied, and the whole inbox can be read."""
    inbox.world.move_clock(days=1)
    inbox.world.jobs()
    uid = inbox.world.book(inbox.coach, at(8, 9), name="Nina")
    inbox.world.jobs()
    assert uid in {booking["externalId"] for booking in inbox.coach.bookings()}
    admin = inbox.world.caller("Ada", admin=True)
    assert admin.one(INBOX, first=100)["edges"]


def test_signed_nonsense_is_stored_and_surprises_nobody(inbox: Inbox) -> None:
    found = deliver(inbox, 60, SEED)
    assert not found, told(found)
    goes_on(inbox)


@pytest.mark.deep
def test_much_signed_nonsense_is_stored_and_surprises_nobody(inbox: Inbox) -> None:
    found = deliver(inbox, scaled(10_000), SEED + 1)
    assert not found, told(found)
    goes_on(inbox)


def test_unsigned_nonsense_is_refused_and_not_stored(inbox: Inbox, world: World) -> None:
    """The same bodies, signed with another secret: nothing of them is kept."""
    paths = [
        "/webhooks/zoom",
        "/webhooks/cal/booking.created",
        *(f"/webhooks/{slug}/{row.endpoint}" for slug, row in inbox.endpoints.items()),
    ]
    before = len(world.caller("Ada", admin=True).one(INBOX, first=100)["edges"])
    for body in BROKEN:
        headers = {
            "X-Cal-Signature-256": signature("another", body),
            "Calendly-Webhook-Signature": f"t={STAMP},v1={signature('another', STAMP.encode() + b'.' + body)}",
            "x-zm-signature": f"v0={signature('another', f'v0:{STAMP}:'.encode() + body)}",
            "x-zm-request-timestamp": STAMP,
        }
        for path in paths:
            answer = world.http.post(path, content=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "BAD_SIGNATURE"), (path, body[:60])
    assert len(world.caller("Ada", admin=True).one(INBOX, first=100)["edges"]) == before
