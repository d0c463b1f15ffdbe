"""What a whole run logs and answers, searched for everything that must not be in it."""

import json

import httpx
import pytest
from harness import (
    AVAILABILITY,
    CLIENT_SECRET,
    CONNECTION,
    DEFAULTS,
    DISCONNECT,
    EVENT_TYPES,
    INBOX,
    LEGACY_SECRET,
    ONE_BOOKING,
    REFRESH,
    SYNC,
    Caller,
    World,
    at,
    iso,
)

from models import LinkedAccount, OAuthState, WebhookEvent, WebhookSubscription
from models.base import db
from services.logging import redact, redact_text
from services.vault import place


class Recorder:
    """Keeps every answer that Convene gives, with the links that it may hold taken out of its own pages."""

    def __init__(self, world: World) -> None:
        self.answers: list[str] = []
        world.http.event_hooks["response"].append(self._keep)

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        self.answers.append(f"{response.headers}\n{response.text}")

    @property
    def text(self) -> str:
        return "\n".join(self.answers)


def known_secrets(world: World) -> dict[str, str]:
    """Secret -> what it is, as both sides know them now. Collected again and again: they rotate."""
    calcom = world.sandbox.world.calcom
    found = {CLIENT_SECRET: "client secret", LEGACY_SECRET: "shared webhook secret", calcom.signing_secret: "signing secret"}
    found |= {code.code: "authorization code" for code in calcom.codes.values()}
    found |= {hook.secret: "webhook secret" for hook in calcom.webhooks.values()}
    found |= {httpx.URL(hook.url).path.rsplit("/", 1)[1]: "webhook endpoint" for hook in calcom.webhooks.values()}
    found |= {booking.uid: "booking uid" for booking in calcom.bookings.values()}
    found |= {value.split(":")[1]: "sealing key" for value in world.rt.settings.sealing_keys}
    for row in LinkedAccount.select():
        for column in ("access_token", "refresh_token"):
            if sealed := getattr(row, column):
                found[world.rt.vault.open(sealed, place("linked_account", row.id, column))] = column
    db.close()
    return found


def tell(secrets: dict[str, str], text: str) -> list[str]:
    """Which kinds of secrets are in the text; the values themselves stay out of the failure."""
    return sorted({kind for secret, kind in secrets.items() if secret in text})


@pytest.fixture
def recorder(world: World) -> Recorder:
    return Recorder(world)


def without(secrets: dict[str, str], kind: str) -> dict[str, str]:
    return {secret: k for secret, k in secrets.items() if k != kind}


def failing_deliveries(world: World) -> None:
    """Somebody guesses at the endpoints."""
    row = WebhookSubscription.get()
    for path in (f"/webhooks/calcom/{row.endpoint}", "/webhooks/cal/booking.created", f"/webhooks/calcom/{row.endpoint}x"):
        for signature in ("0" * 64, "no-secret-provided"):
            answer = world.http.post(path, content=b'{"triggerEvent": "BOOKING_CREATED"}', headers={"X-Cal-Signature-256": signature})
            assert answer.status_code in {401, 404}


def everything_read(caller: Caller, booking_id: str) -> None:
    caller.bookings()
    caller.one(ONE_BOOKING, id=booking_id)
    caller.one(CONNECTION)
    caller.one(EVENT_TYPES)
    caller.notifications()
    window = {"start": iso(at(2, 0)), "end": iso(at(4, 0))}
    caller.one(AVAILABILITY, input={"target": {"bookingId": booking_id}, "window": window, "maxAgeSeconds": 0})


def test_a_whole_story_gives_no_secret_away(world: World, recorder: Recorder) -> None:
    secrets: dict[str, str] = {}

    def collect() -> None:
        secrets.update(known_secrets(world))

    clara = world.caller("Clara", time_zone="Europe/Berlin")
    world.account(clara, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
    begun = clara.begin()
    landed = clara.consent(begun)
    collect()
    world.http.get(landed)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    world.jobs()
    collect()
    otto = world.caller("Otto")
    world.book(clara, at(2, 9), name="Otto")
    world.book(clara, at(2, 11), name="Otto")
    world.jobs()
    collect()
    first, second = (b["id"] for b in otto.bookings())
    for caller in (otto, world.caller("Nobody")):
        caller.post(ONE_BOOKING, {"id": first})
        caller.bookings()
    everything_read(otto, first)
    assert otto.move(first, at(3, 9))["__typename"] == "BookingRescheduled"
    collect()
    world.jobs()
    assert otto.cancel(second, reason="Ill")["__typename"] == "BookingCancelled"
    world.jobs()
    clara.one(DEFAULTS)
    clara.one(SYNC)
    clara.one(REFRESH, force=True)
    collect()
    failing_deliveries(world)
    for status in (500, 401, 403, 404, 429):
        fault = world.sandbox.fault({"kind": "status", "status": status}, path="/calcom/*", times=None)
        clara.post(SYNC, {})
        otto.move(first, at(3, 10), key=f"failing-{status}")
        otto.cancel(first, key=f"failing-{status}")
        world.jobs()
        fault.remove()
        world.move_clock(minutes=2)
        world.jobs()
        collect()
    for kind in ({"kind": "malformed"}, {"kind": "drop", "when": "after"}):
        fault = world.sandbox.fault(kind, path="/calcom/*", times=None)
        clara.post(SYNC, {})
        clara.post(REFRESH, {"force": True})
        fault.remove()
        world.move_clock(minutes=2)
        world.jobs()
        collect()
    for wrong in (clara.token + "x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."):
        secrets[wrong] = "caller's token"
        world.http.post("/graphql", json={"query": "{ viewer { id } }"}, headers={"Authorization": f"Bearer {wrong}"})
    secrets[clara.token] = "caller's token"
    clara.post(INBOX, {})
    clara.gql(DISCONNECT)
    collect()

    kinds = set(secrets.values())
    assert {"booking uid", "webhook secret", "webhook endpoint", "client secret", "sealing key", "authorization code"} <= kinds
    assert len([k for k in secrets.values() if k == "access_token"]) >= 2, "also those that were replaced"
    assert len([k for k in secrets.values() if k == "refresh_token"]) >= 2
    assert len([k for k in secrets.values() if k == "booking uid"]) >= 3
    logged = world.logged.getvalue()
    assert len(logged.splitlines()) > 50
    assert tell(secrets, logged) == []
    answered = recorder.text
    assert tell(without(secrets, "booking uid"), answered) == []
    assert begun["state"] not in logged


def test_only_the_coach_and_admins_see_the_external_id(world: World) -> None:
    clara = world.coach()
    uid = world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    otto = world.caller("Otto")
    (booking,) = otto.bookings()
    seen = otto.post(ONE_BOOKING, {"id": booking["id"]}).text
    assert booking["externalId"] is None
    assert uid not in json.dumps({k: v for k, v in booking.items() if k not in {"location", "meetingUrl"}})
    assert clara.one(ONE_BOOKING, id=booking["id"])["externalId"] == uid
    assert world.caller("Ada", admin=True).one(ONE_BOOKING, id=booking["id"])["externalId"] == uid
    links = " ".join(filter(None, (booking["location"], booking["meetingUrl"])))
    assert (uid in seen) is (uid in links), "a link that the provider itself gave may hold it, nothing else"


def test_the_inbox_shows_an_admin_no_body_and_no_uid(world: World) -> None:
    clara = world.coach()
    uid = world.book(clara, at(2, 9))
    world.jobs()
    answer = world.caller("Ada", admin=True).post(INBOX, {})
    assert answer.json()["data"]["webhookEvents"]["edges"]
    assert uid not in answer.text
    for row in WebhookEvent.select():
        assert row.last_error is None


def test_nothing_secret_lies_open_in_the_database(world: World) -> None:
    """Tokens, codes, webhook secrets, PKCE verifiers and what people wrote are sealed."""
    clara = world.caller("Clara")
    world.account(clara, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
    begun = clara.begin()
    clara.consent(begun)
    secrets = known_secrets(world)
    code = OAuthState.get().code
    assert code
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    world.jobs()
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    clara.cancel(booking["id"], reason="A very private reason")
    world.jobs()
    secrets.update(known_secrets(world))
    secrets = {s: k for s, k in secrets.items() if k not in {"booking uid", "webhook endpoint"}}
    secrets["A very private reason"] = "reason"
    secrets[begun["state"]] = "state"
    dump = "\n".join(str(row) for table in db.get_tables() for row in db.execute_sql(f'SELECT * FROM "{table}"').fetchall())
    db.close()
    assert LinkedAccount.select().count() == 1
    assert tell(secrets, dump) == []


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer abc.def-ghi",
        "bearer cal_live_1234567890",
        "GET /v2/bookings/2NtMkSLQeqQxT3nCpzKoy9 answered 404",
        "https://app.cal.com/booking/2NtMkSLQeqQxT3nCpzKoy9?x=1",
        "/oauth/calcom/callback?code=2NtMkSLQeqQxT3nCpzKoy9&state=2NtMkSLQeqQxT3nCpzKoy9",
        "POST /webhooks/calcom/2NtMkSLQeqQxT3nCpzKoy9",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIyTnRNa1NMUWVxUXhUM25DcHpLb3k5In0.2NtMkSLQeqQxT3nCpzKoy9",
    ],
)
def test_secrets_are_known_by_their_shape(line: str) -> None:
    told = redact_text(line)
    assert "[redacted]" in told
    for secret in ("2NtMkSLQeqQxT3nCpzKoy9", "abc.def-ghi", "cal_live_1234567890"):
        assert secret not in told


def test_secrets_are_known_by_their_name() -> None:
    event = redact(
        None,
        "info",
        {
            "access_token": "a",
            "client_secret": "b",
            "Authorization": "c",
            "uid": "d",
            "api_key": "e",
            "nested": {"refresh_token": "f", "list": [{"code_verifier": "g"}]},
            "token_version": 3,
            "booking": "kept",
        },
    )
    assert event["token_version"] == 3
    assert event["booking"] == "kept"
    text = json.dumps({k: v for k, v in event.items() if k not in {"token_version", "booking"}})
    for secret in "abcdefg":
        assert f'"{secret}"' not in text
