"""Calendly from the outside: the link and its tokens, event types, free times, bookings, and what a small plan allows."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from calendly_people import (
    API,
    CALL,
    GROUP,
    TOKEN,
    api_calls,
    calendly_account,
    calendly_coach,
    calendly_type,
    calendly_user,
    cancel_there,
    event_row,
    external_id,
    forget_requests,
    hear,
    invite,
    invitee_row,
    live_events,
    live_invitees,
    move_there,
    set_limits,
    set_switches,
)
from harness import (
    AVAILABILITY,
    CLIENT_ID,
    CLIENT_SECRET,
    CONNECTION,
    DEFAULTS,
    DISCONNECT,
    EVENT_TYPES,
    MONDAY,
    REFRESH,
    SIGNING_KEY,
    SYNC,
    Caller,
    World,
    at,
    iso,
    stored,
)

from models import JobClaim, LinkedAccount, PendingRevocation
from sandbox.calendly.rows import Token
from services.vault import place

SCOPES = [
    "users:read",
    "organizations:read",
    "event_types:write",
    "availability:read",
    "scheduled_events:write",
    "webhooks:write",
]
REVOKE = "/calendly/auth/oauth/revoke"
INSUFFICIENT = {"title": "Insufficient scope", "message": "It is not enough.", "required_scopes": ["scheduled_events:read"]}
LOST = {"kind": "drop", "when": "after"}
DOWN = {"kind": "status", "status": 503}


@pytest.fixture(autouse=True)
def _nothing_on_its_way(world: World) -> Iterator[None]:
    """Webhooks go out after the answer: one that arrives while the database is being closed would take the process down."""
    yield
    world.sandbox.settle()


def status(person: Caller) -> dict[str, Any]:
    found: dict[str, Any] = person.one(CONNECTION, provider="CALENDLY")
    return found


def told(person: Caller) -> tuple[str, str | None]:
    """State and problem of the connection."""
    now = status(person)
    return now["state"], (now["problem"] or {}).get("code")


def sync(person: Caller) -> dict[str, Any]:
    found: dict[str, Any] = person.one(SYNC, provider="CALENDLY")
    return found


def refresh(person: Caller) -> dict[str, Any]:
    found: dict[str, Any] = person.one(REFRESH, provider="CALENDLY", force=True)
    return found


def begun(world: World, name: str = "Cora") -> tuple[Caller, dict[str, Any]]:
    """Somebody with a Calendly account and an authorization that waits for their consent."""
    person = world.caller(name, time_zone="Europe/Berlin")
    calendly_account(world, person)
    return person, person.begin(provider="CALENDLY")


def exchanges(world: World) -> int:
    return world.calls("POST", TOKEN)


def tokens_of(world: World, person: Caller) -> list[Token]:
    """Every pair that Calendly ever gave out for the person, oldest first."""
    user = calendly_user(world, person)
    return [row for row in world.sandbox.world.calendly.tokens.values() if row.user_id == user.id]


def row_of(person: Caller) -> LinkedAccount:
    return LinkedAccount.get((LinkedAccount.email == person.email) & (LinkedAccount.provider == "calendly"))


def access_token(world: World, person: Caller) -> str:
    row = row_of(person)
    return world.rt.vault.open(row.access_token, place("linked_account", row.id, "access_token"))


def at_once(*works: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


# ---- consent -------------------------------------------------------------------------------------------------------------


def test_consent_links_the_account_with_everything_it_tells(world: World) -> None:
    cora, authorization = begun(world)
    user = calendly_user(world, cora)
    assert authorization["expiresAt"] == "2027-03-01T08:10:00Z"
    assert cora.consent(authorization) == f"{world.url}/oauth/calendly/return?state={authorization['state']}"
    assert exchanges(world) == 0

    done = cora.complete(authorization["state"])
    assert done["__typename"] == "ProviderLinked"
    assert exchanges(world) == 1
    world.jobs()
    now = status(cora)
    assert (now["provider"], now["state"], now["sandbox"], now["message"]) == ("CALENDLY", "ACTIVE", True, "Calendly is connected.")
    account = now["linkedAccount"]
    assert account | {"id": "-"} == {
        "id": "-",
        "provider": "CALENDLY",
        "kind": "OAUTH",
        "state": "ACTIVE",
        "scopes": SCOPES,
        "accessTokenExpiresAt": "2027-03-01T10:00:00Z",
        "lastRefreshedAt": "2027-03-01T08:00:00Z",
        "failedRefreshCount": 0,
        "linkedAt": "2027-03-01T08:00:00Z",
        "account": {
            "externalId": user.id,
            "name": "Cora",
            "email": "cora@example.test",
            "schedulingUrl": f"{world.sandbox.url}/calendly/web/cora",
            "organization": user.organization_id,
            "timeZone": "Europe/Berlin",
        },
        "sync": {"lastSyncedAt": "2027-03-01T08:00:00Z", "lastError": None, "webhooks": "RECEIVING", "bookings": 0},
    }


def test_what_is_asked_for_is_the_least_and_bound_by_a_proof_key(world: World) -> None:
    _, authorization = begun(world)
    asked = parse_qs(urlsplit(authorization["authorizationUrl"]).query)
    assert asked["scope"] == [" ".join(SCOPES)]
    assert asked["response_type"] == ["code"]
    assert asked["redirect_uri"] == [f"{world.url}/oauth/calendly/callback"]
    assert asked["state"] == [authorization["state"]]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43


def test_the_proof_key_is_what_finishes_an_authorization(world: World) -> None:
    """A code that was made for another challenge is worth nothing to us, and neither is ours to somebody without the verifier."""
    cora, authorization = begun(world)
    cora.consent(authorization)
    (code,) = world.sandbox.world.calendly.codes.values()
    assert code.challenge == parse_qs(urlsplit(authorization["authorizationUrl"]).query)["code_challenge"][0]
    code.challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert cora.complete(authorization["state"])["__typename"] == "AuthorizationExpired"
    assert exchanges(world) == 1
    assert told(cora) == ("NOT_CONNECTED", None)
    assert tokens_of(world, cora) == []


def test_declining_links_nothing(world: World) -> None:
    cora, authorization = begun(world)
    landed = cora.consent(authorization, decision="deny")
    assert landed == f"{world.url}/oauth/calendly/return?state={authorization['state']}&error=access_denied"
    assert cora.complete(authorization["state"])["__typename"] == "AuthorizationDenied"
    assert exchanges(world) == 0
    assert told(cora) == ("NOT_CONNECTED", None)


def test_a_code_that_somebody_used_before_us_is_expired(world: World) -> None:
    """Whoever gets hold of a code lacks the verifier: they get nothing, and neither do we."""
    cora, authorization = begun(world)
    cora.consent(authorization)
    (code,) = world.sandbox.world.calendly.codes.values()
    form = {"grant_type": "authorization_code", "code": code.code, "redirect_uri": code.redirect_uri}
    stolen = httpx.post(f"{world.sandbox.url}{TOKEN}", data=form, auth=(CLIENT_ID, CLIENT_SECRET))
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert cora.complete(authorization["state"])["__typename"] == "AuthorizationExpired"
    assert told(cora) == ("NOT_CONNECTED", None)
    assert tokens_of(world, cora) == []


def test_completing_twice_exchanges_once(world: World) -> None:
    cora, authorization = begun(world)
    cora.consent(authorization)
    assert cora.complete(authorization["state"])["__typename"] == "ProviderLinked"
    assert cora.complete(authorization["state"])["__typename"] == "ProviderLinked"
    assert exchanges(world) == 1


def test_a_code_is_no_good_after_ten_minutes(world: World) -> None:
    cora, authorization = begun(world)
    cora.consent(authorization)
    world.move_clock(minutes=10)
    assert cora.complete(authorization["state"])["__typename"] == "AuthorizationExpired"
    assert exchanges(world) == 0


def test_fewer_scopes_than_needed_link_nothing_and_are_named(world: World) -> None:
    cora, authorization = begun(world)
    cora.consent(authorization, granted=["users:read", "organizations:read", "event_types:write", "availability:read"])
    done = cora.complete(authorization["state"])
    assert done["__typename"] == "ScopeMissing"
    assert "scheduled_events:write, webhooks:write" in done["message"]
    assert "users:read" not in done["message"]
    assert told(cora) == ("NOT_CONNECTED", None)
    world.jobs()
    assert api_calls(world) == []
    assert api_calls(world, "POST") == []


def test_the_account_of_another_user_is_in_use(world: World) -> None:
    cora = calendly_coach(world)
    other = world.caller("Dora")
    authorization = other.begin(provider="CALENDLY")
    other.consent(authorization, user=cora.email)
    assert other.complete(authorization["state"])["__typename"] == "AccountInUse"
    assert told(other) == ("NOT_CONNECTED", None)
    assert told(cora) == ("ACTIVE", None)


def test_another_account_takes_the_place_only_when_asked_to(world: World) -> None:
    cora = calendly_coach(world)
    calendly_account(world, world.caller("Second"))
    authorization = cora.begin(provider="CALENDLY")
    cora.consent(authorization, user="second@example.test")
    done = cora.complete(authorization["state"])
    assert (done["__typename"], done["expected"], done["got"]) == ("DifferentAccount", "cora@example.test", "second@example.test")
    before = status(cora)["linkedAccount"]
    cora.link(provider="CALENDLY", user="second@example.test", switchAccount=True)
    after = status(cora)["linkedAccount"]
    assert (before["account"]["email"], after["account"]["email"]) == ("cora@example.test", "second@example.test")
    assert after["id"] == before["id"]
    world.move_clock(minutes=1)
    world.jobs()
    # the pair of the account that was left is dead there
    assert [row.revoked for row in tokens_of(world, cora)] == [True]


def test_a_code_exchange_that_is_rate_limited_can_be_finished_later(world: World) -> None:
    """Nothing was spent: the same authorization is still good."""
    cora, authorization = begun(world)
    cora.consent(authorization)
    set_limits(world, token=0)
    limited = cora.complete(authorization["state"])
    assert (limited["__typename"], limited["code"]) == ("ProviderFailure", "RATE_LIMITED")
    set_limits(world, token=8)
    world.move_clock(minutes=1)
    assert cora.complete(authorization["state"])["__typename"] == "ProviderLinked"


def test_a_code_exchange_whose_answer_is_lost_begins_anew(world: World) -> None:
    cora, authorization = begun(world)
    cora.consent(authorization)
    world.sandbox.fault(LOST, method="POST", path=TOKEN)
    assert cora.complete(authorization["state"])["__typename"] == "ProviderFailure"
    assert told(cora) == ("NOT_CONNECTED", None)
    assert cora.complete(authorization["state"])["__typename"] == "AuthorizationExpired"
    cora.link(provider="CALENDLY")
    assert told(cora) == ("ACTIVE", None)


def test_twelve_completions_at_once_exchange_once(world: World) -> None:
    cora, authorization = begun(world)
    cora.consent(authorization)
    answers = at_once(*[lambda: cora.complete(authorization["state"])] * 12)
    assert "ProviderLinked" in {one["__typename"] for one in answers}
    assert {one["__typename"] for one in answers} <= {"ProviderLinked", "AuthorizationExpired"}
    assert exchanges(world) == 1
    assert told(cora) == ("ACTIVE", None)


def test_name_and_zone_come_from_the_account_where_the_sign_in_has_none(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin", zoneinfo=None)
    cora.claims["name"] = None
    calendly_account(world, cora)
    cora.link(provider="CALENDLY")
    assert cora.one("query { viewer { name timeZone } }") == {"name": "Cora", "timeZone": "Europe/Berlin"}


# ---- tokens --------------------------------------------------------------------------------------------------------------


def test_an_expired_access_token_is_renewed_once_and_used(world: World) -> None:
    cora = calendly_coach(world)
    forget_requests(world)
    world.move_clock(hours=2)
    assert sync(cora)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 1
    assert {request.status for request in world.sandbox.requests} == {200}
    now = status(cora)["linkedAccount"]
    assert (now["accessTokenExpiresAt"], now["lastRefreshedAt"]) == ("2027-03-01T12:00:00Z", "2027-03-01T10:00:00Z")


def test_a_refused_access_token_is_renewed_once_and_the_call_repeated_once(world: World) -> None:
    cora = calendly_coach(world)
    forget_requests(world)
    world.sandbox_call("calendly/tokens/expire", email=cora.email)
    assert sync(cora)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 1
    assert [r.status for r in world.sandbox.requests if r.path.endswith("/scheduled_events")] == [401, 200]
    assert told(cora) == ("ACTIVE", None)


def test_twelve_calls_with_an_expired_token_make_one_exchange(world: World) -> None:
    cora = calendly_coach(world)
    forget_requests(world)
    world.move_clock(hours=2)
    answers = at_once(*[lambda: sync(cora)] * 12)
    assert {one["__typename"] for one in answers} == {"BookingsSynced"}
    assert exchanges(world) == 1


def test_a_token_that_is_refused_again_and_again_is_not_renewed_again_and_again(world: World) -> None:
    cora = calendly_coach(world)
    forget_requests(world)
    body = {"title": "Unauthenticated", "message": "The access token is invalid"}
    world.sandbox.fault({"kind": "status", "status": 401, "body": body}, path=f"{API}/scheduled_events", times=None)
    answers = [sync(cora)["__typename"] for _ in range(5)]
    assert set(answers) == {"ProviderFailure"}
    assert exchanges(world) == 1


def test_a_ninth_token_call_in_a_minute_is_told_with_its_time(world: World) -> None:
    """Eight a minute and user; the link itself was the first. Calendly tells seconds until the reset, not a moment."""
    cora = calendly_coach(world)
    world.move_clock(seconds=20)
    for _ in range(7):
        assert refresh(cora)["refreshed"] is True
    world.sandbox_call("calendly/tokens/expire", email=cora.email)
    limited = refresh(cora)
    assert (limited["__typename"], limited["code"], limited["retryable"]) == ("ProviderFailure", "RATE_LIMITED", True)
    assert limited["retryAt"] == "2027-03-01T08:01:00Z"
    asked = exchanges(world)
    assert sync(cora)["retryAt"] == "2027-03-01T08:01:00Z"
    assert exchanges(world) == asked
    world.move_clock(seconds=40)
    assert sync(cora)["__typename"] == "BookingsSynced"
    assert told(cora) == ("ACTIVE", None)


def test_a_rate_limit_without_a_living_token_degrades_the_connection_until_it_is_over(world: World) -> None:
    cora = calendly_coach(world)
    world.move_clock(hours=2)
    set_limits(world, token=0)
    assert sync(cora)["code"] == "RATE_LIMITED"
    now = status(cora)
    assert (now["state"], now["problem"]["code"], now["problem"]["retryAt"]) == ("DEGRADED", "RATE_LIMITED", "2027-03-01T10:01:00Z")
    set_limits(world, token=8)
    world.move_clock(minutes=1)
    world.jobs()
    assert told(cora) == ("ACTIVE", None)


def test_one_persons_token_limit_keeps_nobody_else_waiting(world: World) -> None:
    """Calendly counts token calls per user: eight of Cora's are none of Dora's."""
    cora, dora, emil = calendly_coach(world), calendly_coach(world, "Dora"), begun(world, "Emil")
    emil[0].consent(emil[1])
    answers = [refresh(cora) for _ in range(8)]
    assert (answers[-1]["__typename"], answers[-1]["code"]) == ("ProviderFailure", "RATE_LIMITED")
    assert refresh(dora)["__typename"] == "ConnectionRefreshed"
    assert emil[0].complete(emil[1]["state"])["__typename"] == "ProviderLinked"
    assert dora.one(DISCONNECT, provider="CALENDLY")["revokedUpstream"] is True


def test_a_limit_that_is_told_without_headers_or_body_is_a_minute(world: World) -> None:
    cora = calendly_coach(world)
    set_switches(world, noHeaders=True, limitBody="empty")
    set_limits(world, general=0)
    limited = sync(cora)
    assert (limited["__typename"], limited["code"], limited["retryAt"]) == ("ProviderFailure", "RATE_LIMITED", "2027-03-01T08:01:00Z")
    assert told(cora) == ("ACTIVE", None)
    forget_requests(world)
    assert sync(cora)["code"] == "RATE_LIMITED"
    assert api_calls(world) == []
    set_limits(world, general=500)
    world.move_clock(minutes=1)
    assert sync(cora)["__typename"] == "BookingsSynced"


def test_a_good_token_is_not_renewed_unless_forced(world: World) -> None:
    cora = calendly_coach(world)
    forget_requests(world)
    assert cora.one(REFRESH, provider="CALENDLY")["refreshed"] is False
    assert exchanges(world) == 0
    assert refresh(cora)["refreshed"] is True
    assert exchanges(world) == 1


@pytest.mark.parametrize("as_401", [False, True])
def test_a_revoked_refresh_token_needs_the_person(world: World, as_401: bool) -> None:
    """The documents say 400, some report 401: the `error` decides, not the status."""
    cora = calendly_coach(world)
    set_switches(world, invalidGrantAs401=as_401)
    forget_requests(world)
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    assert sync(cora)["__typename"] == "ConnectionUnusable"
    assert told(cora) == ("NEEDS_RECONNECT", "REVOKED")
    assert sync(cora)["__typename"] == "ConnectionUnusable"
    assert exchanges(world) == 1


def test_a_wrong_client_secret_burns_no_account(world: World) -> None:
    cora = calendly_coach(world)
    world.move_clock(hours=2)
    app = world.sandbox.world.calendly.apps["convene-tests"]
    app.secret = "another"
    failed = sync(cora)
    assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "CLIENT_MISCONFIGURED")
    assert told(cora) == ("DEGRADED", "CLIENT_MISCONFIGURED")
    app.secret = CLIENT_SECRET
    world.move_clock(minutes=5)
    world.jobs()
    assert told(cora) == ("ACTIVE", None)


def test_a_lost_refresh_answer_is_told_as_lost_and_reconnecting_keeps_everything(world: World) -> None:
    cora = calendly_coach(world)
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    (booking,) = cora.bookings()
    linked = status(cora)["linkedAccount"]["id"]
    world.move_clock(hours=2)
    world.sandbox.fault(LOST, method="POST", path=TOKEN)
    forget_requests(world)
    unknown = sync(cora)
    assert (unknown["__typename"], unknown["retryable"]) == ("ProviderFailure", True)
    world.move_clock(minutes=10)
    assert sync(cora)["__typename"] == "ConnectionUnusable"
    assert told(cora) == ("NEEDS_RECONNECT", "ROTATION_LOST")
    assert exchanges(world) == 2
    # bookings stay to be looked at
    assert [b["id"] for b in cora.bookings()] == [booking["id"]]

    cora.link(provider="CALENDLY")
    now = status(cora)
    assert (now["state"], now["linkedAccount"]["id"], now["linkedAccount"]["sync"]["bookings"]) == ("ACTIVE", linked, 1)
    (after,) = cora.bookings()
    assert (after["id"], after["history"]) == (booking["id"], booking["history"])
    assert [n["kind"] for n in cora.notifications() if n["kind"] == "BOOKED"] == ["BOOKED"]


def test_a_scope_that_is_lost_later_is_named_and_reconnecting_brings_it_back(world: World) -> None:
    cora = calendly_coach(world)
    world.sandbox.fault({"kind": "status", "status": 403, "body": INSUFFICIENT}, path=f"{API}/scheduled_events")
    lost = sync(cora)
    assert lost["__typename"] == "ConnectionUnusable"
    now = status(cora)
    assert (now["state"], now["problem"]["code"]) == ("NEEDS_RECONNECT", "SCOPE_MISSING")
    assert now["problem"]["missingScopes"] == ["scheduled_events:read"]
    assert "scheduled_events:read" in now["message"]
    forget_requests(world)
    assert sync(cora)["__typename"] == "ConnectionUnusable"
    assert api_calls(world) == []
    cora.link(provider="CALENDLY")
    assert told(cora) == ("ACTIVE", None)


def test_a_missing_scope_of_the_old_token_is_none_of_the_new_one(world: World) -> None:
    """The answer to a call with the old token arrives when the person has connected again with every scope."""
    cora = calendly_coach(world)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path=f"{API}/scheduled_events")
    world.sandbox.fault({"kind": "status", "status": 403, "body": INSUFFICIENT}, method="GET", path=f"{API}/scheduled_events")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(sync, cora)
        assert held.wait_held()
        cora.link(provider="CALENDLY")
        held.release()
        late.result()
    assert told(cora) == ("ACTIVE", None)


def test_an_ordinary_403_is_no_missing_scope(world: World) -> None:
    cora = calendly_coach(world)
    body = {"title": "Permission Denied", "message": "You do not have permission to access this resource."}
    world.sandbox.fault({"kind": "status", "status": 403, "body": body}, path=f"{API}/scheduled_events")
    refused = sync(cora)
    assert (refused["__typename"], refused["code"], refused["retryable"]) == ("ProviderFailure", "PROVIDER_REFUSED", False)
    assert told(cora) == ("ACTIVE", None)


def test_a_token_in_use_is_renewed_ahead_of_its_end(world: World) -> None:
    cora = calendly_coach(world)
    sync(cora)
    world.move_clock(minutes=97)
    forget_requests(world)
    world.jobs()
    assert exchanges(world) == 1
    assert status(cora)["linkedAccount"]["accessTokenExpiresAt"] == "2027-03-01T11:37:00Z"


# ---- unlinking -----------------------------------------------------------------------------------------------------------


def use_of(world: World, token: str) -> int:
    """The status that Calendly answers to whoever still has the token."""
    return httpx.get(f"{world.sandbox.url}{API}/users/me", headers={"Authorization": f"Bearer {token}"}).status_code


def test_disconnecting_revokes_at_calendly_and_takes_the_subscription_down(world: World) -> None:
    cora = calendly_coach(world)
    token = access_token(world, cora)
    assert use_of(world, token) == 200
    assert len(world.sandbox.world.calendly.subscriptions) == 1
    gone = cora.one(DISCONNECT, provider="CALENDLY")
    assert (gone["__typename"], gone["revokedUpstream"]) == ("ProviderUnlinked", True)
    assert gone["message"] == "Calendly is disconnected. Every token of it is revoked there and deleted here."
    assert gone["status"]["state"] == "NOT_CONNECTED"
    assert use_of(world, token) == 401
    assert [row.revoked for row in tokens_of(world, cora)] == [True]
    assert len(world.sandbox.world.calendly.subscriptions) == 0
    assert row_of(cora).access_token is None
    assert cora.one(DISCONNECT, provider="CALENDLY")["__typename"] == "NotConnected"


def test_while_calendly_is_down_the_token_waits_sealed_and_is_revoked_later(world: World) -> None:
    cora = calendly_coach(world)
    token, refresh_token = access_token(world, cora), tokens_of(world, cora)[0].refresh
    outage = world.sandbox.fault(DOWN, path="/calendly/*", times=None)
    gone = cora.one(DISCONNECT, provider="CALENDLY")
    assert (gone["__typename"], gone["revokedUpstream"]) == ("ProviderUnlinked", False)
    assert gone["message"] == "Calendly is disconnected and its tokens are deleted here. Calendly could not be told; it is tried again."
    assert PendingRevocation.select().count() == 1
    assert refresh_token is not None
    assert refresh_token.encode() not in stored(world.database_url)
    world.move_clock(minutes=1)
    world.jobs()
    assert PendingRevocation.select().count() == 1
    outage.remove()
    assert use_of(world, token) == 200
    world.move_clock(minutes=5)
    world.jobs()
    assert PendingRevocation.select().count() == 0
    assert use_of(world, token) == 401


def test_connecting_again_while_the_old_pair_waits_for_its_end_keeps_the_new_one(world: World) -> None:
    cora = calendly_coach(world)
    old = access_token(world, cora)
    world.sandbox.fault(DOWN, method="POST", path=REVOKE)
    assert cora.one(DISCONNECT, provider="CALENDLY")["revokedUpstream"] is False
    cora.link(provider="CALENDLY")
    new = access_token(world, cora)
    world.move_clock(minutes=5)
    world.jobs()
    assert (use_of(world, old), use_of(world, new)) == (401, 200)
    assert told(cora) == ("ACTIVE", None)


def test_a_pair_that_arrives_during_the_disconnect_is_revoked_as_well(world: World) -> None:
    """The exchange under way has nothing to store over; what it got must not live on at Calendly."""
    cora = calendly_coach(world)
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=TOKEN)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(refresh, cora)
        assert held.wait_held()
        assert cora.one(DISCONNECT, provider="CALENDLY")["__typename"] == "ProviderUnlinked"
        held.release()
        assert late.result()["__typename"] != "ConnectionRefreshed"
    world.move_clock(minutes=5)
    world.jobs()
    assert told(cora) == ("NOT_CONNECTED", None)
    assert [row.revoked for row in tokens_of(world, cora)] == [True, True]


def test_connecting_after_a_disconnect_keeps_ids_and_history(world: World) -> None:
    cora = calendly_coach(world)
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    (before,) = cora.bookings()
    linked = status(cora)["linkedAccount"]["id"]
    cora.one(DISCONNECT, provider="CALENDLY")
    cora.link(provider="CALENDLY")
    (after,) = cora.bookings()
    assert status(cora)["linkedAccount"]["id"] == linked
    assert (after["id"], after["history"]) == (before["id"], before["history"])
    assert len(world.sandbox.world.calendly.subscriptions) == 1


def test_no_token_code_or_key_is_readable_anywhere(world: World) -> None:
    cora, authorization = begun(world)
    cora.consent(authorization)
    (code,) = [row.code for row in world.sandbox.world.calendly.codes.values()]
    assert code.encode() not in stored(world.database_url)
    answers = [cora.complete(authorization["state"])]
    world.jobs()
    invite(world, cora, "Call", at(2, 9), answers={})
    hear(world)
    answers += [refresh(cora), status(cora), cora.bookings(), sync(cora)]
    pairs = tokens_of(world, cora)
    secrets = [code, CLIENT_SECRET, SIGNING_KEY, *(row.access for row in pairs), *(row.refresh or "" for row in pairs)]
    assert len(pairs) == 2
    answers.append(cora.one(DISCONNECT, provider="CALENDLY"))
    at_rest, logged = stored(world.database_url), world.logged.getvalue()
    for secret in secrets:
        assert secret
        assert secret.encode() not in at_rest
        assert secret not in logged
        assert secret not in str(answers)


# ---- event types ---------------------------------------------------------------------------------------------------------


def kinds(person: Caller, **more: Any) -> list[dict[str, Any]]:
    return [edge["node"] for edge in person.one(EVENT_TYPES, **more)["edges"]]


def kind_id(person: Caller, title: str = "Call") -> str:
    return next(str(kind["id"]) for kind in kinds(person) if kind["title"] == title)


def at_calendly(world: World, person: Caller) -> list[tuple[int, bool]]:
    """Length and whether it can be booked, of every event type that the person has there."""
    return sorted((row.duration, row.active) for row in world.sandbox.world.calendly.types_of(calendly_user(world, person).id))


def defaults(person: Caller) -> dict[str, Any]:
    found: dict[str, Any] = person.one(DEFAULTS, provider="CALENDLY")
    return found


def lengths(answer: dict[str, Any], name: str) -> list[int]:
    return [one["durationMinutes"] for one in answer[name]]


def test_event_types_tell_what_they_are(world: World) -> None:
    cora = calendly_coach(
        world,
        event_types=[
            {**CALL, "description": "Talk", "duration_options": [15, 30, 45]},
            GROUP,
            {"name": "For friends", "duration": 60, "secret": True},
            {"name": "Retired", "duration": 20, "active": False},
        ],
    )
    shown = {kind["title"]: kind for kind in kinds(cora)}
    assert {title: kind["active"] for title, kind in shown.items()} == {"Call": True, "Circle": True, "For friends": True, "Retired": False}
    call = shown["Call"]
    assert {name: value for name, value in call.items() if name not in {"id", "host"}} == {
        "title": "Call",
        "slug": "call",
        "durationMinutes": 30,
        "durationOptions": [15, 30, 45],
        "active": True,
        "hidden": False,
        "requiresConfirmation": False,
        "group": False,
        "schedulingUrl": f"{world.sandbox.url}/calendly/web/cora/call",
        "isDefault": False,
        "provider": "CALENDLY",
        "createsZoomMeeting": False,
        "recordsMeeting": False,
    }
    assert call["host"]["name"] == "Cora"
    assert [(shown[name]["group"], shown[name]["hidden"]) for name in ("Circle", "For friends")] == [(True, False), (False, True)]
    otto = world.caller("Otto")
    assert sorted(kind["title"] for kind in kinds(otto, hostId=call["host"]["id"])) == ["Call", "Circle"]


def test_thirty_event_types_are_one_call_and_more_than_a_page_are_all_read(world: World) -> None:
    thirty = calendly_coach(world, "Tina", [{"name": f"T{n:03}", "duration": 30} for n in range(30)])
    assert len(api_calls(world, pattern="/event_types")) == 1
    assert len(kinds(thirty, first=100)) == 30
    forget_requests(world)
    many = calendly_coach(world, "Mona", [{"name": f"M{n:03}", "duration": 30} for n in range(230)])
    asked = [parse_qs(query) for _, query in api_calls(world, pattern="/event_types")]
    assert [(one["count"], "page_token" in one) for one in asked] == [(["100"], False), (["100"], True), (["100"], True)]
    titles, after = [], None
    for _ in range(3):
        page = many.one(EVENT_TYPES, first=100, after=after)
        titles += [edge["node"]["title"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    assert sorted(titles) == [f"M{n:03}" for n in range(230)]


def test_a_change_at_calendly_is_told_by_its_webhook(world: World) -> None:
    cora = calendly_coach(world)
    there = calendly_type(world, cora)
    by_hand(world, cora, "PATCH", f"event_types/{there.id}", name="Long call", duration=45)
    hear(world)
    assert [(kind["title"], kind["durationMinutes"]) for kind in kinds(cora)] == [("Long call", 45)]
    by_hand(world, cora, "PATCH", f"event_types/{there.id}", active=False)
    hear(world)
    assert [(kind["title"], kind["active"]) for kind in kinds(cora)] == [("Long call", False)]
    assert kinds(world.caller("Otto"), hostId=kinds(cora)[0]["host"]["id"]) == []


def by_hand(world: World, person: Caller, method: str, path: str, **body: Any) -> dict[str, Any]:
    """The person does it at Calendly with a token of their own, not through Convene."""
    token = world.sandbox_call("calendly/personal-tokens", email=person.email)["token"]
    answer = httpx.request(method, f"{world.sandbox.url}{API}/{path}", json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()["resource"] if answer.content else {}
    return found


def test_the_default_set_can_be_booked_and_is_made_once(world: World) -> None:
    cora = calendly_coach(world, event_types=[{"name": "For friends", "duration": 15, "secret": True}])
    first = defaults(cora)
    assert (first["totalCreated"], lengths(first, "createdEventTypes"), lengths(first, "existingEventTypes")) == (3, [15, 30, 60], [])
    again = defaults(cora)
    assert (again["totalCreated"], lengths(again, "createdEventTypes"), lengths(again, "existingEventTypes")) == (0, [], [15, 30, 60])
    assert at_calendly(world, cora) == [(15, True), (15, True), (30, True), (60, True)]
    hear(world)
    assert sorted((kind["durationMinutes"], kind["isDefault"]) for kind in kinds(cora)) == [
        (15, False),
        (15, True),
        (30, True),
        (60, True),
    ]


def test_twelve_calls_at_once_make_one_default_set(world: World) -> None:
    """Calendly would make twelve: it has no slug that stops a second one of the same name."""
    cora = calendly_coach(world, event_types=[])
    answers = at_once(*[lambda: defaults(cora)] * 12)
    assert {one["__typename"] for one in answers} == {"DefaultEventTypes"}
    assert sorted(one["totalCreated"] for one in answers) == [0] * 11 + [3]
    assert len({tuple(sorted(kind["id"] for kind in one["createdEventTypes"] + one["existingEventTypes"])) for one in answers}) == 1
    assert at_calendly(world, cora) == [(15, True), (30, True), (60, True)]


def test_a_default_set_whose_answers_are_lost_is_made_once(world: World) -> None:
    cora = calendly_coach(world, event_types=[])
    world.sandbox.fault(LOST, method="POST", path=f"{API}/event_types", times=3)
    made = defaults(cora)
    assert (made["__typename"], made["totalCreated"]) == ("DefaultEventTypes", 3)
    assert at_calendly(world, cora) == [(15, True), (30, True), (60, True)]
    assert defaults(cora)["totalCreated"] == 0
    hear(world)
    assert [kind["isDefault"] for kind in kinds(cora)] == [True, True, True]


def test_an_answer_lost_together_with_the_list_makes_no_second_one(world: World) -> None:
    """It cannot be looked for now, so nothing is said of it; the next call finds it there."""
    cora = calendly_coach(world, event_types=[])
    world.sandbox.fault(LOST, method="POST", path=f"{API}/event_types")
    world.sandbox.fault(DOWN, method="GET", path=f"{API}/event_types", times=3, skip=1)
    failed = defaults(cora)
    assert (failed["__typename"], failed["retryable"]) == ("ProviderFailure", True)
    assert at_calendly(world, cora) == [(15, True)]
    world.move_clock(minutes=2)
    after = defaults(cora)
    assert (lengths(after, "existingEventTypes"), lengths(after, "createdEventTypes")) == ([15], [30, 60])
    assert at_calendly(world, cora) == [(15, True), (30, True), (60, True)]


def test_twelve_calls_at_once_make_one_default_set_although_answers_are_lost(world: World) -> None:
    cora = calendly_coach(world, event_types=[])
    world.sandbox.fault(LOST, method="POST", path=f"{API}/event_types", times=3)
    answers = at_once(*[lambda: defaults(cora)] * 12)
    assert {one["__typename"] for one in answers} == {"DefaultEventTypes"}
    assert at_calendly(world, cora) == [(15, True), (30, True), (60, True)]


def test_a_wish_that_was_lost_on_its_way_is_made_by_the_next_call(world: World) -> None:
    cora = calendly_coach(world, event_types=[])
    world.sandbox.fault({"kind": "drop", "when": "before"}, method="POST", path=f"{API}/event_types")
    assert defaults(cora)["__typename"] == "ProviderFailure"
    assert at_calendly(world, cora) == []
    world.move_clock(minutes=1)
    assert defaults(cora)["totalCreated"] == 3
    assert at_calendly(world, cora) == [(15, True), (30, True), (60, True)]


def test_a_default_set_that_a_rate_limit_interrupts_is_completed_later(world: World) -> None:
    cora = calendly_coach(world, event_types=[])
    set_limits(world, general=3)
    limited = defaults(cora)
    assert (limited["__typename"], limited["code"], limited["retryAt"]) == ("ProviderFailure", "RATE_LIMITED", "2027-03-01T08:01:00Z")
    assert at_calendly(world, cora) == [(15, True), (30, True)]
    set_limits(world, general=500)
    world.move_clock(minutes=1)
    after = defaults(cora)
    assert (lengths(after, "existingEventTypes"), lengths(after, "createdEventTypes")) == ([15, 30], [60])


def test_one_that_calendly_switched_off_is_made_anew(world: World) -> None:
    cora = calendly_coach(world, event_types=[])
    defaults(cora)
    gone = next(row for row in world.sandbox.world.calendly.types_of(calendly_user(world, cora).id) if row.duration == 60)
    by_hand(world, cora, "PATCH", f"event_types/{gone.id}", active=False)
    assert lengths(defaults(cora), "createdEventTypes") == [60]
    assert at_calendly(world, cora) == [(15, True), (30, True), (60, False), (60, True)]


CREATE = """mutation($input: CreateEventTypeInput!) { createEventType(input: $input) { __typename
  ... on EventTypeCreated { eventType { id title active durationOptions } } ... on InvalidInput { fields { path message } }
  ... on Problem { code message } } }"""


def test_one_that_is_made_here_can_be_booked_there_at_once(world: World) -> None:
    cora = calendly_coach(world, event_types=[])
    wish = {"provider": "CALENDLY", "title": "Deep dive", "durationMinutes": 90, "durationOptions": [90, 120]}
    made = cora.one(CREATE, input=wish)["eventType"]
    assert (made["title"], made["active"], made["durationOptions"]) == ("Deep dive", True, [90, 120])
    there = calendly_type(world, cora, "Deep dive")
    assert (there.active, there.duration, there.duration_options) == (True, 90, [90, 120])


@pytest.mark.parametrize(("name", "value"), [("slug", "deep"), ("hidden", True), ("requiresConfirmation", True)])
def test_what_calendly_cannot_set_is_said_and_nothing_is_made(world: World, name: str, value: Any) -> None:
    """Calendly would ignore it without a word."""
    cora = calendly_coach(world, event_types=[])
    forget_requests(world)
    refused = cora.one(CREATE, input={"provider": "CALENDLY", "title": "Deep dive", "durationMinutes": 90, name: value})
    assert name in str(refused)
    assert refused["__typename"] != "EventTypeCreated"
    assert api_calls(world, "POST") == []


# ---- free times ----------------------------------------------------------------------------------------------------------

SLOTS = "/event_type_available_times"


def ask(caller: Caller, event_type: str, start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    window = {"start": iso(start), "end": iso(end)}
    found: dict[str, Any] = caller.one(AVAILABILITY, input={"target": {"eventTypeId": event_type}, "window": window, **more})
    return found


def spans(world: World) -> list[tuple[str, str]]:
    """Which windows Calendly was asked for."""
    asked = [parse_qs(query) for _, query in api_calls(world, pattern=SLOTS)]
    return [(one["start_time"][0][:16], one["end_time"][0][:16]) for one in asked]


def test_a_long_window_is_stitched_from_pieces_of_thirty_one_days(world: World) -> None:
    cora = calendly_coach(world)
    call = kind_id(cora)
    forget_requests(world)
    found = ask(cora, call, at(8, 0), at(8, 0) + timedelta(days=60), maxAgeSeconds=0)
    assert spans(world) == [("2027-03-08T00:00", "2027-04-08T00:00"), ("2027-04-08T00:00", "2027-05-07T00:00")]
    # sixteen half hours on each of the weekdays, and none twice
    assert len(found["starts"]) == len(set(found["starts"])) == 44 * 16
    assert found["starts"] == sorted(found["starts"])
    # 09:00 in Berlin, before and after the change to summer time
    assert (found["starts"][0], found["starts"][-1]) == ("2027-03-08T08:00:00Z", "2027-05-06T14:30:00Z")


def test_nothing_is_asked_for_that_is_past(world: World) -> None:
    """Calendly answers 400 to a window that began already."""
    cora = calendly_coach(world)
    call = kind_id(cora)
    forget_requests(world)
    found = ask(cora, call, at(1, 0), at(2, 0), maxAgeSeconds=0)
    assert spans(world) == [("2027-03-01T08:01", "2027-03-02T00:00")]
    assert found["starts"][0] == "2027-03-01T08:30:00Z"
    forget_requests(world)
    over = ask(cora, call, MONDAY - timedelta(days=3), MONDAY, maxAgeSeconds=0)
    assert (over["__typename"], over["starts"], spans(world)) == ("Availability", [], [])


def test_whole_local_days_over_the_change_to_summer_time(world: World) -> None:
    """On Sunday, 28 March 2027, the clocks in Berlin go from 02:00 to 03:00: the day has 23 hours."""
    around_the_clock = [
        {"type": "wday", "wday": day, "intervals": [{"from": "00:00", "to": "24:00"}]} for day in ("saturday", "sunday", "monday")
    ]
    cora = calendly_coach(world, schedule={"timezone": "Europe/Berlin", "rules": around_the_clock})
    found = ask(cora, kind_id(cora), at(26, 23), at(29, 22), timeZone="Europe/Berlin")
    assert [(day["date"], len(day["starts"]), day["starts"][0], day["starts"][-1]) for day in found["days"]] == [
        ("2027-03-27", 48, "2027-03-26T23:00:00Z", "2027-03-27T22:30:00Z"),
        ("2027-03-28", 46, "2027-03-27T23:00:00Z", "2027-03-28T21:30:00Z"),
        ("2027-03-29", 48, "2027-03-28T22:00:00Z", "2027-03-29T21:30:00Z"),
    ]


def test_office_hours_stay_at_nine_on_the_wall(world: World) -> None:
    cora = calendly_coach(world)
    found = ask(cora, kind_id(cora), at(26, 0), at(30, 0), timeZone="Europe/Berlin")
    assert [(day["date"], day["starts"][0], day["starts"][-1]) for day in found["days"]] == [
        ("2027-03-26", "2027-03-26T08:00:00Z", "2027-03-26T15:30:00Z"),
        ("2027-03-29", "2027-03-29T07:00:00Z", "2027-03-29T14:30:00Z"),
    ]


def test_a_warm_read_asks_nobody_and_a_webhook_makes_it_forget(world: World) -> None:
    cora = calendly_coach(world)
    call, otto = kind_id(cora), world.caller("Otto")
    first = ask(otto, call, at(2, 0), at(3, 0))
    forget_requests(world)
    world.move_clock(minutes=3)
    second = ask(otto, call, at(2, 0), at(3, 0))
    assert (second["starts"], second["sources"][0]["state"], second["sources"][0]["asOf"]) == (first["starts"], "CACHED", iso(MONDAY))
    assert api_calls(world) == []

    invitee = invite(world, cora, "Call", at(2, 9))
    hear(world)
    third = ask(otto, call, at(2, 0), at(3, 0))
    assert set(first["starts"]) - set(third["starts"]) == {"2027-03-02T09:00:00Z"}
    cancel_there(world, invitee)
    hear(world)
    assert ask(otto, call, at(2, 0), at(3, 0))["starts"] == first["starts"]


def test_an_external_calendar_and_buffers_are_calendlys_to_look_at(world: World) -> None:
    cora = calendly_coach(world, event_types=[{**CALL, "buffers": {"before": 0, "after": 30}}])
    world.sandbox_call("calendly/busy", email=cora.email, start=iso(at(2, 8)), end=iso(at(2, 10)))
    invite(world, cora, "Call", at(2, 12))
    found = ask(cora, kind_id(cora), at(2, 8), at(2, 14), maxAgeSeconds=0)["starts"]
    # 11:30 would need the half hour after it, and so does the booking at 12:00
    assert found == [iso(at(2, 10)), iso(at(2, 10, 30)), iso(at(2, 11)), iso(at(2, 13)), iso(at(2, 13, 30))]


def test_another_length_than_the_types_own_is_refused_without_asking(world: World) -> None:
    """Calendly tells free times for the type's own length alone, also where invitees may choose another."""
    cora = calendly_coach(world, event_types=[{**CALL, "duration_options": [15, 30, 60]}])
    call = kind_id(cora)
    forget_requests(world)
    for minutes in (60, 20):
        refused = ask(cora, call, at(2, 0), at(3, 0), durationMinutes=minutes)
        assert (refused["__typename"], [field["path"] for field in refused["fields"]]) == ("InvalidInput", [["durationMinutes"]])
    assert api_calls(world) == []
    assert ask(cora, call, at(2, 0), at(3, 0), durationMinutes=30)["durationMinutes"] == 30


def test_a_group_event_is_offered_until_its_last_place_is_taken(world: World) -> None:
    cora = calendly_coach(world, event_types=[{**GROUP, "limit": 2}])
    circle = kind_id(cora, "Circle")
    for name, still in (("Anna", True), ("Bert", False)):
        invite(world, cora, "Circle", at(3, 9), name)
        hear(world)
        assert (iso(at(3, 9)) in ask(cora, circle, at(3, 0), at(4, 0))["starts"]) is still


def where_to(caller: Caller, booking_id: str, start: datetime, end: datetime) -> dict[str, Any]:
    window = {"start": iso(start), "end": iso(end)}
    found: dict[str, Any] = caller.one(AVAILABILITY, input={"target": {"bookingId": booking_id}, "window": window, "maxAgeSeconds": 0})
    return found


def test_where_a_booking_can_move_is_told_before_its_own_page_is_opened(world: World) -> None:
    """The old time still blocks itself there."""
    cora, _, booking = booked(world)
    found = where_to(cora, booking["id"], at(2, 8), at(2, 11))
    assert found["starts"] == [iso(at(2, 8)), iso(at(2, 8, 30)), iso(at(2, 9, 30)), iso(at(2, 10)), iso(at(2, 10, 30))]
    assert (found["durationMinutes"], found["warnings"]) == (30, [])
    theirs = where_to(world.caller("Otto"), booking["id"], at(2, 8), at(2, 11))
    assert theirs["starts"] == found["starts"]
    assert [(w["code"], w["connectProvider"]) for w in theirs["warnings"]] == [("MENTEE_NOT_CONNECTED", "CALENDLY")]


def test_a_slot_is_free_for_as_long_as_it_is_said_to_be(world: World) -> None:
    """Calendly tells the type's present length alone, and the booking was made when that was another one."""
    cora = calendly_coach(world, event_types=[{**CALL, "duration": 60}])
    invite(world, cora, "Call", at(2, 13))
    by_hand(world, cora, "PATCH", f"event_types/{calendly_type(world, cora).id}", duration=30)
    hear(world)
    world.sandbox_call("calendly/busy", email=cora.email, start=iso(at(2, 10, 30)), end=iso(at(2, 12)))
    found = where_to(cora, only(cora)["id"], at(2, 10), at(2, 12))
    told_free = [(slot["start"], slot["end"]) for slot in found.get("slots", [])]
    assert (iso(at(2, 10)), iso(at(2, 11))) not in told_free


def test_while_calendly_is_down_the_last_answer_is_told_with_its_age(world: World) -> None:
    cora = calendly_coach(world)
    call = kind_id(cora)
    first = ask(cora, call, at(2, 0), at(3, 0), maxAgeSeconds=0)
    world.move_clock(minutes=20)
    world.sandbox.fault(DOWN, path=f"{API}/*", times=None)
    stale = ask(cora, call, at(2, 0), at(3, 0))
    assert stale["starts"] == first["starts"]
    assert (stale["sources"][0]["state"], stale["sources"][0]["asOf"]) == ("UNAVAILABLE", iso(MONDAY))
    assert [warning["code"] for warning in stale["warnings"]] == ["STALE"]
    unknown = ask(cora, call, at(2, 0) + timedelta(days=60), at(3, 0) + timedelta(days=60))
    assert (unknown["__typename"], unknown["retryable"]) == ("ProviderFailure", True)


def test_an_inactive_or_secret_type_offers_nothing_to_others(world: World) -> None:
    cora = calendly_coach(world, event_types=[CALL, {"name": "For friends", "duration": 60, "secret": True}])
    call, secret, otto = kind_id(cora), kind_id(cora, "For friends"), world.caller("Otto")
    assert ask(otto, secret, at(2, 0), at(3, 0))["__typename"] == "NotFound"
    assert ask(cora, secret, at(2, 0), at(3, 0))["__typename"] == "Availability"
    by_hand(world, cora, "PATCH", f"event_types/{calendly_type(world, cora).id}", active=False)
    hear(world)
    assert ask(otto, call, at(2, 0), at(3, 0))["__typename"] == "NotFound"


# ---- bookings ------------------------------------------------------------------------------------------------------------


def only(person: Caller) -> dict[str, Any]:
    (booking,) = person.bookings()
    return booking


def history(booking: dict[str, Any]) -> list[tuple[str, str | None, str, str | None]]:
    """Kind, who, how we know, why; the latest first."""
    return [(e["node"]["kind"], e["node"]["by"], e["node"]["source"], e["node"]["reason"]) for e in booking["history"]["edges"]]


def people(booking: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted((p["role"], p["name"], p["email"], p["timeZone"], p["noShow"]) for p in booking["participants"])


def heard(person: Caller) -> list[tuple[str, str | None]]:
    return [(one["kind"], one["by"]) for one in person.notifications()]


def test_a_booking_made_at_calendly_is_told_in_full(world: World) -> None:
    question = {"name": "What about?", "required": True}
    cora = calendly_coach(world, event_types=[{**CALL, "questions": [question, {"name": "Else?"}]}])
    world.move_clock(minutes=1)
    invitee = invite(
        world,
        cora,
        "Call",
        at(2, 9),
        "Otto Ünal",
        email="Otto@Example.test",
        zone="America/New_York",
        answers={"What about?": "Schöne Grüße & more"},
        guests=["Guest@Example.test"],
    )
    hear(world)
    booking = only(cora)
    assert booking | {"id": "-", "participants": [], "eventType": {}, "history": {}} == {
        "id": "-",
        "version": 1,
        "provider": "CALENDLY",
        "title": "Call",
        "status": "CONFIRMED",
        "start": "2027-03-02T09:00:00Z",
        "end": "2027-03-02T09:30:00Z",
        "viewerRole": "COACH",
        "location": None,
        "meetingUrl": None,
        "externalId": external_id(invitee),
        "cancellationReason": None,
        "createdAt": "2027-03-01T08:01:00Z",
        "participants": [],
        "eventType": {},
        "answers": [{"question": "What about?", "answer": "Schöne Grüße & more"}],
        "rescheduling": {
            "mode": "API",
            "blockedBy": [],
            "providerPageUrl": None,
            "closesAt": "2027-03-02T09:30:00Z",
            "movesLeft": None,
            "reasonRequired": False,
        },
        "history": {},
    }
    assert booking["eventType"] | {"id": "-", "host": {}} == {"id": "-", "title": "Call", "durationMinutes": 30, "host": {}}
    told_people = people(booking)
    assert told_people[0] == ("COACH", "Cora", "cora@example.test", None, False)
    assert (told_people[1][0], told_people[1][2]) == ("GUEST", "guest@example.test")
    assert told_people[2] == ("MENTEE", "Otto Ünal", "otto@example.test", "America/New_York", False)
    assert history(booking) == [("BOOKED", "Otto Ünal", "PROVIDER", None)]
    assert heard(cora) == [("BOOKED", "Otto Ünal")]
    assert "Grüße".encode() not in stored(world.database_url)


def page_of(world: World, invitee: str, what: str) -> str:
    return f"{world.sandbox.url}/calendly/web/{what}/{invitee.rpartition('/')[2]}"


def test_a_form_with_two_name_fields_makes_one_name(world: World) -> None:
    cora = calendly_coach(world, event_types=[{**CALL, "splitName": True}])
    invite(world, cora, "Call", at(2, 9), "Otto von Bismarck")
    hear(world)
    assert [name for role, name, *_ in people(only(cora)) if role == "MENTEE"] == ["Otto von Bismarck"]


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ({"kind": "physical", "location": "Main Street 1", "additional_info": "Ring twice"}, "Main Street 1"),
        ({"kind": "custom", "location": "By the lake"}, "By the lake"),
        ({"kind": "inbound_call", "phone_number": "+49 30 5550100"}, "+49 30 5550100"),
        ({"kind": "ask_invitee", "location": "At my office"}, "At my office"),
        ({"kind": "outbound_call", "location": "+1 212 5550100"}, "+1 212 5550100"),
    ],
)
def test_a_place_without_a_link(world: World, place: dict[str, str], shown: str) -> None:
    cora = calendly_coach(world, event_types=[{**CALL, "locations": [place]}])
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    booking = only(cora)
    assert (booking["location"], booking["meetingUrl"]) == (shown, None)


@pytest.mark.parametrize("kind", ["zoom_conference", "google_conference", "microsoft_teams_conference", "webex_conference"])
def test_a_conference_link_that_comes_later_is_found_by_looking_again(world: World, kind: str) -> None:
    """No webhook tells that it is there."""
    cora = calendly_coach(world, event_types=[{**CALL, "locations": [{"kind": kind}]}])
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    assert (only(cora)["meetingUrl"], only(cora)["location"]) == (None, None)
    deliveries = len(world.sandbox.world.deliveries.entries())
    world.move_clock(seconds=5)
    world.jobs()
    link = only(cora)["meetingUrl"]
    assert link.startswith("http")
    assert len(world.sandbox.world.deliveries.entries()) == deliveries
    # told once, and not looked for any longer
    assert heard(cora) == [("BOOKED", "Otto")]
    assert JobClaim.select().where(JobClaim.kind == "booking").count() == 0


def test_a_conference_that_is_slow_is_found_after_some_minutes(world: World) -> None:
    set_switches(world, conferenceSeconds=20 * 60)
    cora = calendly_coach(world, event_types=[{**CALL, "locations": [{"kind": "zoom_conference"}]}])
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    for _ in range(21):
        world.move_clock(minutes=1)
        world.jobs()
    assert only(cora)["meetingUrl"].startswith("https://zoom.example/j/")


def test_a_conference_that_fails_or_never_comes_is_not_asked_for_forever(world: World) -> None:
    kind = {**CALL, "locations": [{"kind": "zoom_conference"}]}
    set_switches(world, conferenceFails=True)
    cora = calendly_coach(world, event_types=[kind])
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    set_switches(world, conferenceFails=False, conferenceSeconds=None)
    invite(world, cora, "Call", at(2, 10))
    hear(world)
    for _ in range(35):
        world.move_clock(minutes=1)
        world.jobs()
    assert [(b["status"], b["meetingUrl"]) for b in cora.bookings()] == [("CONFIRMED", None)] * 2
    assert JobClaim.select().where(JobClaim.kind == "booking").count() == 0


def test_the_first_reading_notifies_nobody(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, [CALL, GROUP])
    invite(world, cora, "Call", at(2, 9))
    gone = invite(world, cora, "Call", at(2, 10), "Gone")
    cancel_there(world, gone, by="host", reason="Ill")
    moved = invite(world, cora, "Call", at(2, 11), "Moved")
    move_there(world, moved, at(4, 11))
    for name in ("Anna", "Bert"):
        invite(world, cora, "Circle", at(3, 9), name)
    world.move_clock(minutes=5)
    cora.link(provider="CALENDLY")
    hear(world)
    assert [(b["status"], b["start"]) for b in cora.bookings()] == [
        ("CONFIRMED", "2027-03-02T09:00:00Z"),
        ("CANCELLED", "2027-03-02T10:00:00Z"),
        ("CONFIRMED", "2027-03-03T09:00:00Z"),
        ("CONFIRMED", "2027-03-03T09:00:00Z"),
        ("CONFIRMED", "2027-03-04T11:00:00Z"),
    ]
    assert heard(cora) == []
    assert [heard(world.caller(name)) for name in ("Otto", "Gone", "Moved", "Anna")] == [[]] * 4
    assert status(cora)["linkedAccount"]["sync"]["bookings"] == 5


def kind_titles(person: Caller) -> list[str | None]:
    return [(booking["eventType"] or {}).get("title") for booking in person.bookings()]


def test_what_the_first_reading_brings_knows_its_event_type(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, [CALL, GROUP])
    crowd(world, cora, 3)
    cora.link(provider="CALENDLY")
    assert kind_titles(cora) == ["Call", "Call", "Call"]


def test_bookings_that_are_read_before_the_event_types_know_theirs_in_the_end(world: World) -> None:
    """Both are read at once after linking, by whichever worker comes first."""
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora)
    crowd(world, cora, 3)
    # one call with its repeats
    world.sandbox.fault(DOWN, method="GET", path=f"{API}/event_types", times=3)
    cora.link(provider="CALENDLY")
    for _ in range(2):
        world.move_clock(minutes=61)
        world.jobs()
    assert [kind["title"] for kind in kinds(cora)] == ["Call"]
    assert kind_titles(cora) == ["Call", "Call", "Call"]


def test_a_booking_that_is_heard_of_before_its_event_type_gets_it_later(world: World) -> None:
    cora = calendly_coach(world)
    world.sandbox.fault({"kind": "drop"}, webhook="event_type.created")
    made = by_hand(world, cora, "POST", "event_types", owner=world_uri(world, cora), name="New", duration=30, active=True)
    assert made["active"] is True
    invite(world, cora, "New", at(2, 9))
    hear(world)
    for _ in range(2):
        world.move_clock(minutes=61)
        world.jobs()
    assert "New" in [kind["title"] for kind in kinds(cora)]
    assert kind_titles(cora) == ["New"]


def world_uri(world: World, person: Caller) -> str:
    """The person's address at Calendly, which names the owner of what is made."""
    return f"{world.sandbox.url}{API}/users/{calendly_user(world, person).id}"


def test_a_broken_link_still_hears_of_bookings_and_cancellations(world: World) -> None:
    """They cannot be read back then, but what Calendly signed says it all."""
    cora = calendly_coach(world)
    stays = invite(world, cora, "Call", at(2, 9))
    hear(world)
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    sync(cora)
    assert told(cora) == ("NEEDS_RECONNECT", "REVOKED")
    world.move_clock(minutes=5)
    cancel_there(world, stays, reason="A dentist")
    hear(world)
    world.move_clock(minutes=1)
    invite(world, cora, "Call", at(2, 10), "Anna", answers={})
    hear(world)
    expected = [("CANCELLED", "2027-03-02T09:00:00Z"), ("CONFIRMED", "2027-03-02T10:00:00Z")]
    assert [(b["status"], b["start"]) for b in cora.bookings()] == expected
    before = {b["id"]: history(b) for b in cora.bookings()}
    world.move_clock(minutes=5)
    cora.link(provider="CALENDLY")
    hear(world)
    assert [(b["status"], b["start"]) for b in cora.bookings()] == expected
    assert {b["id"]: history(b) for b in cora.bookings()} == before
    assert [kind for kind, _ in heard(cora) if kind in {"BOOKED", "CANCELLED"}] == ["BOOKED", "CANCELLED", "BOOKED"]


def test_what_was_booked_while_the_link_was_lost_and_unheard_is_news_afterwards(world: World) -> None:
    cora = calendly_coach(world)
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    sync(cora)
    world.move_clock(hours=1)
    invite(world, cora, "Call", at(2, 10), "Anna", silent=True)
    world.move_clock(hours=1)
    cora.link(provider="CALENDLY")
    assert [b["start"] for b in cora.bookings()] == ["2027-03-02T10:00:00Z"]
    assert [kind for kind, _ in heard(cora) if kind == "BOOKED"] == ["BOOKED"]


@pytest.mark.parametrize(("by", "who"), [("host", "Cora"), ("invitee", "Otto")])
def test_cancelled_at_calendly_with_who_and_why(world: World, by: str, who: str) -> None:
    cora = calendly_coach(world)
    invitee = invite(world, cora, "Call", at(2, 9))
    hear(world)
    world.move_clock(minutes=5)
    cancel_there(world, invitee, by=by, reason="Märzgrippe")
    hear(world)
    booking = only(cora)
    assert (booking["status"], booking["cancellationReason"]) == ("CANCELLED", "Märzgrippe")
    assert history(booking)[0] == ("CANCELLED", who, "PROVIDER", "Märzgrippe")
    assert (booking["rescheduling"]["mode"], booking["rescheduling"]["blockedBy"]) == ("NONE", ["STATUS"])
    assert "Märzgrippe".encode() not in stored(world.database_url)
    told_cora = [kind for kind, _ in heard(cora)]
    assert told_cora == ["CANCELLED", "BOOKED"]
    assert [kind for kind, _ in heard(world.caller("Otto"))][:1] == ["CANCELLED"]


def test_a_cancellation_heard_twice_and_listed_once_more_is_one(world: World) -> None:
    cora = calendly_coach(world)
    invitee = invite(world, cora, "Call", at(2, 9))
    hear(world)
    world.sandbox.fault({"kind": "duplicate", "count": 3}, webhook="invitee.canceled")
    cancel_there(world, invitee)
    hear(world)
    world.move_clock(hours=2)
    sync(cora)
    world.jobs()
    assert [kind for kind, *_ in history(only(cora))] == ["CANCELLED", "BOOKED"]
    assert [kind for kind, _ in heard(cora)] == ["CANCELLED", "BOOKED"]


def test_who_did_not_come_and_that_they_did_after_all(world: World) -> None:
    cora = calendly_coach(world)
    invitee = invite(world, cora, "Call", at(1, 9))
    hear(world)
    world.move_clock(hours=3)

    def missed() -> list[bool]:
        return [no_show for role, *_, no_show in people(only(cora)) if role == "MENTEE"]

    assert missed() == [False]
    mark = by_hand(world, cora, "POST", "invitee_no_shows", invitee=invitee)
    hear(world)
    assert missed() == [True]
    by_hand(world, cora, "DELETE", f"invitee_no_shows/{mark['uri'].rpartition('/')[2]}")
    hear(world)
    assert missed() == [False]


def test_a_no_show_whose_webhook_is_lost_is_found_by_the_next_full_reading(world: World) -> None:
    cora = calendly_coach(world)
    invitee = invite(world, cora, "Call", at(1, 9))
    hear(world)
    world.move_clock(hours=3)
    world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    by_hand(world, cora, "POST", "invitee_no_shows", invitee=invitee)
    hear(world)
    sync(cora)
    assert [no_show for role, *_, no_show in people(only(cora)) if role == "MENTEE"] == [True]


# ---- changing ------------------------------------------------------------------------------------------------------------

CANCELLATION = f"{API}/scheduled_events/*/cancellation"


def cancellations(world: World) -> list[int | None]:
    """What Calendly answered to each cancellation through its API."""
    return [r.status for r in world.sandbox.requests if r.method == "POST" and r.path.endswith("/cancellation")]


def booked(world: World, **more: Any) -> tuple[Caller, str, dict[str, Any]]:
    """A coach, the invitee's address and the booking, heard and told."""
    cora = calendly_coach(world, **more)
    invitee = invite(world, cora, "Call", at(2, 9))
    hear(world)
    forget_requests(world)
    return cora, invitee, only(cora)


def test_a_coach_cancels_through_convene(world: World) -> None:
    cora, invitee, booking = booked(world)
    done = cora.cancel(booking["id"], reason="Märzgrippe")
    assert done["__typename"] == "BookingCancelled"
    assert (done["booking"]["status"], done["booking"]["cancellationReason"]) == ("CANCELLED", "Märzgrippe")
    assert done["booking"]["version"] == 2
    there = event_row(world, invitee)
    assert (there.status, there.cancellation["reason"] if there.cancellation else None) == ("canceled", "Märzgrippe")
    hear(world)
    assert cancellations(world) == [201]
    assert history(only(cora)) == [("CANCELLED", "Cora", "CONVENE", "Märzgrippe"), ("BOOKED", "Otto", "PROVIDER", None)]
    assert [kind for kind, _ in heard(cora)] == ["CANCELLED", "BOOKED"]
    assert [kind for kind, _ in heard(world.caller("Otto"))][:1] == ["CANCELLED"]


def test_cancelling_again_answers_the_same_without_a_call(world: World) -> None:
    cora, _, booking = booked(world)
    cora.cancel(booking["id"], key="one")
    assert cora.cancel(booking["id"], key="one")["__typename"] == "BookingCancelled"
    assert cora.cancel(booking["id"], key="two")["__typename"] == "BookingCancelled"
    assert cora.cancel(booking["id"], key="one", reason="Other")["__typename"] == "IdempotencyKeyReused"
    assert cancellations(world) == [201]


def test_twelve_cancellations_at_once_are_one(world: World) -> None:
    cora, _, booking = booked(world)
    answers = at_once(*[lambda n=n: cora.cancel(booking["id"], key=f"k{n}") for n in range(12)])
    kinds_told = {one["__typename"] for one in answers}
    assert "BookingCancelled" in kinds_told
    assert kinds_told <= {"BookingCancelled", "BookingNotCancellable"}
    assert cancellations(world) == [201]
    hear(world)
    assert [kind for kind, *_ in history(only(cora))] == ["CANCELLED", "BOOKED"]


@pytest.mark.parametrize("linked", [True, False])
def test_a_mentee_cancels_with_the_coachs_token(world: World, linked: bool) -> None:
    """Calendly lets only the host cancel through the API; Convene knows that it was the mentee."""
    cora, invitee, booking = booked(world)
    otto = world.caller("Otto", time_zone="Europe/London")
    if linked:
        calendly_account(world, otto, [])
        otto.link(provider="CALENDLY")
    mine = only(otto)
    assert (mine["id"], mine["viewerRole"], mine["externalId"]) == (booking["id"], "MENTEE", None)
    done = otto.cancel(booking["id"], reason="A dentist")
    assert done["__typename"] == "BookingCancelled"
    there = event_row(world, invitee)
    assert there.cancellation is not None
    assert (there.cancellation["canceled_by"], there.cancellation["canceler_type"]) == ("Cora", "host")
    hear(world)
    sync(cora)
    assert history(only(cora))[0] == ("CANCELLED", "Otto", "CONVENE", "A dentist")
    assert heard(cora)[0] == ("CANCELLED", "Otto")
    assert cancellations(world) == [201]


def test_a_stranger_sees_nothing_and_cancels_nothing(world: World) -> None:
    _, _, booking = booked(world)
    eve = world.caller("Eve")
    calendly_account(world, eve, [])
    eve.link(provider="CALENDLY")
    assert eve.bookings() == []
    assert eve.cancel(booking["id"])["__typename"] == "NotFound"
    assert cancellations(world) == []
    assert live_events(world) == 1


def test_a_guest_may_not_cancel(world: World) -> None:
    cora = calendly_coach(world)
    invite(world, cora, "Call", at(2, 9), guests=["gast@example.test"])
    hear(world)
    refused = world.caller("Gast").cancel(only(cora)["id"])
    assert refused["__typename"] in {"NotPermitted", "BookingNotCancellable"}
    assert live_events(world) == 1


def test_a_lost_answer_is_settled_by_reading_back(world: World) -> None:
    cora, _, booking = booked(world)
    world.sandbox.fault(LOST, method="POST", path=CANCELLATION)
    done = cora.cancel(booking["id"], reason="Ill")
    assert (done["__typename"], done["booking"]["status"]) == ("BookingCancelled", "CANCELLED")
    hear(world)
    assert cancellations(world) == [None]
    assert history(only(cora))[0] == ("CANCELLED", "Cora", "CONVENE", "Ill")
    assert [kind for kind, _ in heard(cora)] == ["CANCELLED", "BOOKED"]


def test_a_lost_answer_that_cannot_be_read_back_is_settled_later(world: World) -> None:
    cora, _, booking = booked(world)
    world.sandbox.fault(LOST, method="POST", path=CANCELLATION)
    # the one before the call goes through
    outage = world.sandbox.fault(DOWN, method="GET", path=f"{API}/scheduled_events/*", times=None, skip=2)
    assert cora.cancel(booking["id"])["__typename"] == "CancelInProgress"
    other = cora.cancel(booking["id"], key="other")
    assert (other["__typename"], other["blockedBy"]) == ("BookingNotCancellable", ["OPERATION_IN_PROGRESS"])
    outage.remove()
    world.move_clock(minutes=2)
    world.jobs()
    assert cora.cancel(booking["id"])["__typename"] == "BookingCancelled"
    hear(world)
    assert cancellations(world) == [None]
    assert [kind for kind, _ in heard(cora)] == ["CANCELLED", "BOOKED"]


def test_what_never_reached_calendly_leaves_the_booking_and_frees_the_key(world: World) -> None:
    cora, _, booking = booked(world)
    world.sandbox.fault({"kind": "drop", "when": "before"}, method="POST", path=CANCELLATION)
    assert cora.cancel(booking["id"])["__typename"] == "CancelInProgress"
    world.move_clock(minutes=5)
    world.jobs()
    undone = cora.cancel(booking["id"])
    assert (undone["__typename"], undone["code"]) == ("ProviderFailure", "NOT_DONE")
    assert (only(cora)["status"], live_events(world)) == ("CONFIRMED", 1)
    assert cora.cancel(booking["id"], key="again")["__typename"] == "BookingCancelled"
    assert live_events(world) == 0


def test_a_reading_that_fails_before_the_call_cancels_nothing_and_frees_the_key(world: World) -> None:
    """Nothing was sent that could be unknown: it is no operation in progress."""
    cora, _, booking = booked(world)
    # one call with its repeats
    world.sandbox.fault(DOWN, method="GET", path=f"{API}/scheduled_events/*", times=3)
    failed = cora.cancel(booking["id"])
    assert (cancellations(world), live_events(world)) == ([], 1)
    assert (failed["__typename"], failed.get("retryable")) == ("ProviderFailure", True)
    assert cora.cancel(booking["id"])["__typename"] == "BookingCancelled"
    assert cancellations(world) == [201]


def meanwhile(world: World, cora: Caller, booking: dict[str, Any], act: Callable[[], Any]) -> dict[str, Any]:
    """What Convene answers when something happens at Calendly between its reading and its cancellation."""
    held = world.sandbox.fault({"kind": "hold", "when": "before"}, method="POST", path=CANCELLATION)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(cora.cancel, booking["id"], reason="Ill")
        assert held.wait_held()
        act()
        held.release()
        found: dict[str, Any] = answer.result()
    return found


def test_what_was_cancelled_at_the_same_time_is_cancelled(world: World) -> None:
    cora, invitee, booking = booked(world)
    done = meanwhile(world, cora, booking, lambda: cancel_there(world, invitee, reason="A dentist"))
    assert (done["__typename"], cancellations(world)) == ("BookingCancelled", [403])
    hear(world)
    assert (only(cora)["status"], only(cora)["cancellationReason"]) == ("CANCELLED", "A dentist")
    assert [kind for kind, *_ in history(only(cora))] == ["CANCELLED", "BOOKED"]
    assert [kind for kind, _ in heard(cora)] == ["CANCELLED", "BOOKED"]


def test_a_cancellation_that_calendly_refused_as_done_is_whose_it_was(world: World) -> None:
    """403 says that ours did nothing: it was the invitee, with the invitee's reason."""
    cora, invitee, booking = booked(world)
    meanwhile(world, cora, booking, lambda: cancel_there(world, invitee, reason="A dentist", silent=True))
    assert history(only(cora))[0] == ("CANCELLED", "Otto", "PROVIDER", "A dentist")


def test_what_was_cancelled_before_and_not_heard_is_whose_it_was(world: World) -> None:
    cora, invitee, booking = booked(world)
    cancel_there(world, invitee, reason="A dentist", silent=True)
    assert cora.cancel(booking["id"], reason="Ill")["__typename"] == "BookingCancelled"
    assert history(only(cora))[0] == ("CANCELLED", "Otto", "PROVIDER", "A dentist")


def test_a_token_that_is_refused_at_the_cancellation_is_renewed_and_it_is_sent_once_more(world: World) -> None:
    cora, _, booking = booked(world)
    body = {"title": "Unauthenticated", "message": "The access token is invalid"}
    world.sandbox.fault({"kind": "status", "status": 401, "body": body}, method="POST", path=CANCELLATION)
    assert cora.cancel(booking["id"])["__typename"] == "BookingCancelled"
    assert cancellations(world) == [401, 201]
    assert exchanges(world) == 1


def test_after_the_coach_has_left_the_invitee_is_sent_to_their_own_pages(world: World) -> None:
    cora, invitee, booking = booked(world)
    cora.one(DISCONNECT, provider="CALENDLY")
    otto = world.caller("Otto")
    leaving, moving = otto.cancel(booking["id"]), otto.move(booking["id"], at(4, 9))
    assert (leaving["__typename"], leaving["url"]) == ("CancelOnProviderPage", page_of(world, invitee, "cancellations"))
    assert (moving["__typename"], moving["url"]) == ("RescheduleOnProviderPage", page_of(world, invitee, "reschedulings"))
    assert cancellations(world) == []


def test_a_webhook_that_overtakes_the_answer_joins_the_operation(world: World) -> None:
    cora, invitee, booking = booked(world)
    answered = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=CANCELLATION)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(cora.cancel, booking["id"], reason="Ill")
        assert answered.wait_held()
        hear(world)
        assert event_row(world, invitee).status == "canceled"
        answered.release()
        assert answer.result()["__typename"] == "BookingCancelled"
    hear(world)
    assert history(only(cora)) == [("CANCELLED", "Cora", "CONVENE", "Ill"), ("BOOKED", "Otto", "PROVIDER", None)]
    assert [kind for kind, _ in heard(cora)] == ["CANCELLED", "BOOKED"]


def test_a_rate_limit_refuses_a_cancellation_and_frees_its_key(world: World) -> None:
    cora, _, booking = booked(world)
    set_limits(world, general=2)  # what is read before it
    limited = cora.cancel(booking["id"])
    assert (limited["__typename"], limited["code"], limited["retryAt"]) == ("ProviderFailure", "RATE_LIMITED", "2027-03-01T08:01:00Z")
    assert (only(cora)["status"], live_events(world)) == ("CONFIRMED", 1)
    set_limits(world, general=500)
    world.move_clock(minutes=1)
    assert cora.cancel(booking["id"])["__typename"] == "BookingCancelled"


def test_what_was_moved_at_the_same_time_is_told_as_it_is_now(world: World) -> None:
    cora, invitee, booking = booked(world)
    moved: list[str] = []
    stale = meanwhile(world, cora, booking, lambda: moved.append(move_there(world, invitee, at(4, 9))))
    assert stale["__typename"] == "StaleBooking"
    hear(world)
    assert (only(cora)["id"], only(cora)["status"], only(cora)["start"]) == (booking["id"], "CONFIRMED", "2027-03-04T09:00:00Z")
    assert live_invitees(world) == [external_id(moved[0])]


def test_a_group_events_place_is_cancelled_on_its_own_page(world: World) -> None:
    """Through the API it would end for everybody."""
    cora = calendly_coach(world, event_types=[GROUP])
    anna, bert = (invite(world, cora, "Circle", at(3, 9), name) for name in ("Anna", "Bert"))
    hear(world)
    forget_requests(world)
    places = {b["externalId"]: b for b in cora.bookings()}
    for person in (cora, world.caller("Anna")):
        told_page = person.cancel(places[external_id(anna)]["id"])
        assert (told_page["__typename"], told_page["url"]) == ("CancelOnProviderPage", page_of(world, anna, "cancellations"))
    assert cancellations(world) == []
    assert httpx.get(told_page["url"]).status_code == 200
    assert httpx.post(told_page["url"], data={"reason": "Ill"}).status_code == 303
    hear(world)
    now = {b["externalId"]: b["status"] for b in cora.bookings()}
    assert now == {external_id(anna): "CANCELLED", external_id(bert): "CONFIRMED"}
    assert live_invitees(world) == [external_id(bert)]
    assert invitee_row(world, bert).status == "active"


def test_a_move_to_an_overlapping_time_is_done_on_the_invitees_own_page(world: World) -> None:
    """The old event would block the new one."""
    cora, invitee, booking = booked(world)
    for person in (cora, world.caller("Otto")):
        told_page = person.move(booking["id"], at(2, 9, 15))
        assert (told_page["__typename"], told_page["url"]) == ("RescheduleOnProviderPage", page_of(world, invitee, "reschedulings"))
    assert api_calls(world, "POST") == []
    assert httpx.get(told_page["url"]).status_code == 200
    assert httpx.post(told_page["url"], data={"start": iso(at(2, 10))}).status_code == 303
    hear(world)
    after = only(cora)
    assert (after["id"], after["status"], after["start"]) == (booking["id"], "CONFIRMED", "2027-03-02T10:00:00Z")
    # from then on the page is the new invitee's
    again = cora.move(booking["id"], at(2, 10, 15), key="k2")
    assert again["url"] == page_of(world, after["externalId"], "reschedulings")
    assert [kind for kind, _ in heard(cora)] == ["MOVED", "BOOKED"]


def test_a_guest_gets_no_page_on_which_they_would_act_as_the_invitee(world: World) -> None:
    cora = calendly_coach(world)
    invitee = invite(world, cora, "Call", at(2, 9), guests=["gast@example.test"])
    hear(world)
    gast = world.caller("Gast")
    seen = only(gast)
    assert (seen["viewerRole"], seen["externalId"]) == ("GUEST", None)
    assert (seen["rescheduling"]["mode"], seen["rescheduling"]["blockedBy"][0]) == ("NONE", "NOT_A_PARTY")
    assert gast.move(seen["id"], at(4, 9))["__typename"] == "NotPermitted"
    assert invitee.rpartition("/")[2] not in str(gast.bookings())


def test_an_invitees_id_with_which_anybody_could_cancel_is_in_no_log(world: World) -> None:
    cora, invitee, booking = booked(world)
    moved = move_there(world, invitee, at(4, 9))
    hear(world)
    sync(cora)
    cora.cancel(booking["id"])
    hear(world)
    assert "provider call" in world.logged.getvalue()
    for one in (invitee, moved):
        assert one.rpartition("/")[2] not in world.logged.getvalue()


def test_a_broken_link_cancels_nothing_and_says_why(world: World) -> None:
    cora, _, booking = booked(world)
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    forget_requests(world)
    broken = cora.cancel(booking["id"])
    assert broken["__typename"] == "ConnectionUnusable"
    assert world.caller("Otto").cancel(booking["id"])["__typename"] == "ConnectionUnusable"
    assert live_events(world) == 1
    cora.link(provider="CALENDLY")
    assert cora.cancel(booking["id"], key="again")["__typename"] == "BookingCancelled"


def test_what_is_over_cannot_be_cancelled(world: World) -> None:
    cora = calendly_coach(world)
    invite(world, cora, "Call", at(1, 9))
    hear(world)
    world.move_clock(hours=2)
    forget_requests(world)
    refused = cora.cancel(only(cora)["id"])
    assert (refused["__typename"], refused["blockedBy"]) == ("BookingNotCancellable", ["PAST"])
    assert cancellations(world) == []


def test_what_has_begun_is_calendlys_to_refuse(world: World) -> None:
    cora = calendly_coach(world)
    invite(world, cora, "Call", at(1, 9))
    hear(world)
    world.move_clock(minutes=70)
    forget_requests(world)
    refused = cora.cancel(only(cora)["id"])
    assert (refused["__typename"], cancellations(world)) == ("PolicyViolation", [403])
    assert [kind for kind, *_ in history(only(cora))] == ["BOOKED"]


# ---- reading it all ------------------------------------------------------------------------------------------------------


def crowd(world: World, coach: Caller, count: int) -> None:
    """That many people booked before the coach linked, four a day."""
    for number in range(count):
        start = at(2, 8) + timedelta(days=number // 4, hours=2 * (number % 4))
        invite(world, coach, "Call", start, f"P{number}", force=True, silent=True)


def invitee_lists(world: World) -> list[str]:
    """The events whose invitees were asked for, one by one."""
    return [path.split("/")[2] for path, _ in api_calls(world, pattern="/invitees")]


def test_a_free_plan_comes_to_the_end_of_a_long_list_over_several_minutes(world: World) -> None:
    """Fifty calls a minute, and one for each of 120 events: every run goes on where the one before had to stop."""
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, stage="free")
    crowd(world, cora, 120)
    world.move_clock(minutes=1)
    cora.link(provider="CALENDLY")
    counts = [status(cora)["linkedAccount"]["sync"]["bookings"]]
    assert 0 < counts[0] < 50
    assert status(cora)["linkedAccount"]["sync"]["lastError"] == "RATE_LIMITED"
    assert told(cora)[0] != "NEEDS_RECONNECT"
    for _ in range(3):
        world.move_clock(seconds=61)
        world.jobs()
        counts.append(status(cora)["linkedAccount"]["sync"]["bookings"])
    assert counts[-1] == 120
    assert counts == sorted(counts)
    now = status(cora)["linkedAccount"]["sync"]
    assert (now["lastError"], now["webhooks"]) == (None, "RECEIVING")
    # no event was read twice, and never more than the plan allows
    assert len(invitee_lists(world)) == len(set(invitee_lists(world))) == 120
    assert sum(request.status == 429 for request in world.sandbox.requests) <= 4
    assert heard(cora) == []


def test_a_full_reading_of_what_is_unchanged_reads_no_invitees(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, [CALL, GROUP])
    crowd(world, cora, 12)
    for name in ("Anna", "Bert", "Carl"):
        invite(world, cora, "Circle", at(20, 9), name, force=True, silent=True)
    world.move_clock(minutes=1)
    cora.link(provider="CALENDLY")
    assert len(invitee_lists(world)) == 13
    forget_requests(world)
    world.move_clock(minutes=10)
    again = sync(cora)
    assert (again["synced"], again["added"], again["changed"]) == (15, 0, 0)
    assert invitee_lists(world) == []
    assert len(api_calls(world, pattern="/scheduled_events")) == 1


def test_only_the_event_that_changed_is_read_again(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, [CALL, GROUP])
    crowd(world, cora, 6)
    anna, bert = (invite(world, cora, "Circle", at(20, 9), name, force=True, silent=True) for name in ("Anna", "Bert"))
    world.move_clock(minutes=1)
    cora.link(provider="CALENDLY")
    forget_requests(world)
    world.move_clock(minutes=10)
    cancel_there(world, anna, reason="Ill", silent=True)
    again = sync(cora)
    assert (again["added"], again["changed"]) == (0, 1)
    assert set(invitee_lists(world)) == {event_row(world, bert).id}
    now = {b["externalId"]: b["status"] for b in cora.bookings()}
    assert (now[external_id(anna)], now[external_id(bert)]) == ("CANCELLED", "CONFIRMED")


def test_one_event_that_cannot_be_read_keeps_no_other_away(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora)
    crowd(world, cora, 3)
    broken = invite(world, cora, "Call", at(10, 9), "Broken", silent=True)
    body = {"collection": [{"uri": 7}], "pagination": {"count": 1, "next_page_token": None}}
    world.sandbox.fault(
        {"kind": "status", "status": 200, "body": body}, path=f"{API}/scheduled_events/{event_row(world, broken).id}/invitees"
    )
    cora.link(provider="CALENDLY")
    assert status(cora)["linkedAccount"]["sync"]["bookings"] == 3
    assert sync(cora)["added"] == 1


def test_all_pages_of_a_big_groups_invitees_are_read(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, [{**GROUP, "limit": 150}])
    for number in range(105):
        invite(world, cora, "Circle", at(3, 9), f"P{number}", silent=True)
    world.move_clock(minutes=1)
    cora.link(provider="CALENDLY")
    assert len(invitee_lists(world)) == 2
    assert status(cora)["linkedAccount"]["sync"]["bookings"] == 105
    assert {b["externalId"] for b in cora.bookings(first=100)} < set(live_invitees(world))


@pytest.mark.parametrize("code", [403, 404, 500])
def test_one_event_that_is_always_refused_keeps_no_other_away(world: World, code: int) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora)
    crowd(world, cora, 4)
    broken = invite(world, cora, "Call", at(2, 11), "Broken", force=True, silent=True)
    address = f"{API}/scheduled_events/{event_row(world, broken).id}/invitees"
    refusal = world.sandbox.fault(
        {"kind": "status", "status": code, "body": {"title": "No", "message": "Not now"}}, path=address, times=None
    )
    cora.link(provider="CALENDLY")
    assert status(cora)["linkedAccount"]["sync"]["bookings"] == 4
    refusal.remove()
    assert sync(cora)["added"] == 1
