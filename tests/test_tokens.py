"""Token life-cycles: one exchange per version, honest states on every failure, nothing readable at rest or in the log."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from harness import CLIENT_ID, CLIENT_SECRET, CONNECTION, DISCONNECT, LEGACY_SECRET, REFRESH, SYNC, Caller, World, iso, stored

from models import LinkedAccount, TokenRotation, User
from services import tokens
from services.errors import ConnectionUnusable
from services.providers import transport
from services.providers.base import AccountAuth, BearerAuth
from services.providers.calcom.provider import CalcomProvider, CalcomSettings
from services.vault import place

TOKEN = "/calcom/v2/auth/oauth2/token"
BOOKINGS = "/calcom/v2/bookings"
REFUSED_TOKEN = {"status": "error", "error": {"code": "UnauthorizedException", "message": "Invalid Access Token."}}
TRPC = {"status": "error", "error": {"code": "TRPCError", "message": "You are not authorized to access this resource"}}


def linked(world: World, name: str = "Clara") -> Caller:
    """Somebody linked, with an empty request log behind them."""
    person = world.coach(name)
    world.sandbox.world.requests.clear()
    return person


def exchanges(world: World) -> int:
    return world.calls("POST", TOKEN)


def told(person: Caller) -> tuple[str, str | None, str | None]:
    """State, problem and retryAt of the connection."""
    status = person.one(CONNECTION)
    problem = status["problem"] or {}
    return status["state"], problem.get("code"), problem.get("retryAt")


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(count)

    def run() -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]


def in_background(work: Callable[[], Any]) -> "Future[Any]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def row_of(person: Caller) -> LinkedAccount:
    return LinkedAccount.get(LinkedAccount.email == person.email)


def plain(world: World, person: Caller, column: str = "access_token") -> str:
    row = row_of(person)
    return world.rt.vault.open(getattr(row, column), place("linked_account", row.id, column))


# ---- need ----------------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once_and_used(world: World) -> None:
    clara = linked(world)
    before = plain(world, clara)
    world.move_clock(minutes=30)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 1
    assert [r.status for r in world.sandbox.requests if r.path == BOOKINGS] == [200]
    assert plain(world, clara) != before
    account = clara.one(CONNECTION)["linkedAccount"]
    assert account["lastRefreshedAt"] == "2027-03-01T08:30:00Z"
    assert account["accessTokenExpiresAt"] == "2027-03-01T09:00:00Z"
    assert account["failedRefreshCount"] == 0
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 1


def test_a_token_in_its_last_minute_is_not_begun_with(world: World) -> None:
    clara = linked(world)
    world.move_clock(minutes=28, seconds=59)
    clara.one(SYNC)
    assert exchanges(world) == 0
    world.move_clock(seconds=1)
    clara.one(SYNC)
    assert exchanges(world) == 1


def test_renewing_by_hand_with_and_without_force(world: World) -> None:
    clara = linked(world)
    kept = clara.one(REFRESH)
    assert (kept["__typename"], kept["refreshed"]) == ("ConnectionRefreshed", False)
    assert exchanges(world) == 0
    forced = clara.one(REFRESH, force=True)
    assert (forced["refreshed"], forced["status"]["state"]) == (True, "ACTIVE")
    assert exchanges(world) == 1
    world.move_clock(minutes=30)
    assert clara.one(REFRESH)["refreshed"] is True
    assert exchanges(world) == 2


def test_nothing_is_renewed_for_whoever_is_not_connected(world: World) -> None:
    assert world.caller("Clara").one(REFRESH, force=True)["__typename"] == "NotConnected"
    assert exchanges(world) == 0


@pytest.mark.parametrize(("query", "answer"), [(REFRESH, "ConnectionRefreshed"), (SYNC, "BookingsSynced")])
def test_twenty_callers_of_one_expired_token_make_one_exchange(world: World, query: str, answer: str) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    assert {found["__typename"] for found in at_once(20, lambda: clara.one(query))} == {answer}
    assert exchanges(world) == 1
    assert told(clara) == ("ACTIVE", None, None)


def test_twenty_callers_wait_for_an_exchange_that_takes_its_time(world: World) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    held = world.sandbox.fault({"kind": "hold"}, method="POST", path=TOKEN)
    callers = in_background(lambda: at_once(20, lambda: clara.one(SYNC)))
    assert held.wait_held()
    held.release()
    assert {found["__typename"] for found in callers.result()} == {"BookingsSynced"}
    assert exchanges(world) == 1


def test_who_waits_too_long_is_told_when_to_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    monkeypatch.setattr(tokens, "REQUEST_WAIT", 0.05)
    held = world.sandbox.fault({"kind": "hold"}, method="POST", path=TOKEN)
    first = in_background(lambda: clara.one(REFRESH))
    assert held.wait_held()
    second = clara.one(REFRESH)
    assert (second["__typename"], second["code"], second["retryable"]) == ("ProviderFailure", "REFRESH_IN_PROGRESS", True)
    assert second["retryAt"] == iso(world.clock.now() + tokens.LEASE)
    held.release()
    assert first.result()["__typename"] == "ConnectionRefreshed"
    assert exchanges(world) == 1
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


# ---- ahead ---------------------------------------------------------------------------------------------------------------


def test_the_job_renews_ahead_what_is_in_use_and_leaves_what_is_idle(world: World) -> None:
    clara, ida = world.coach("Clara"), world.coach("Ida")
    clara.one(SYNC)
    world.sandbox.world.requests.clear()
    world.move_clock(minutes=17, seconds=59)
    world.jobs()
    assert exchanges(world) == 0
    world.move_clock(minutes=6, seconds=1)
    world.jobs()
    assert exchanges(world) == 1
    assert clara.one(CONNECTION)["linkedAccount"]["lastRefreshedAt"] == iso(world.clock.now())
    assert ida.one(CONNECTION)["linkedAccount"]["lastRefreshedAt"] == "2027-03-01T08:00:00Z"


def test_the_job_renews_ahead_again_and_again(world: World) -> None:
    clara = linked(world)
    for renewals in (1, 2, 3):
        clara.one(SYNC)
        world.move_clock(minutes=25)
        world.jobs()
        assert exchanges(world) == renewals
    assert told(clara) == ("ACTIVE", None, None)


def test_a_renewal_ahead_that_fails_costs_the_person_nothing(world: World) -> None:
    clara = linked(world)
    clara.one(SYNC)
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=TOKEN)
    world.move_clock(minutes=24)
    world.jobs()
    assert exchanges(world) == 1
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(CONNECTION)["linkedAccount"]["failedRefreshCount"] == 1
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    world.move_clock(seconds=6)
    world.jobs()
    assert exchanges(world) == 2
    assert clara.one(CONNECTION)["linkedAccount"]["failedRefreshCount"] == 0


def test_a_second_try_ahead_at_the_very_end_of_the_pause_is_not_lost(world: World) -> None:
    """The pause ends at the moment at which the job is due again."""
    clara = linked(world)
    clara.one(SYNC)
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=TOKEN)
    world.move_clock(minutes=24)
    world.jobs()
    world.move_clock(seconds=5)
    world.jobs()
    world.move_clock(seconds=1)
    world.jobs()
    assert exchanges(world) == 2
    assert clara.one(CONNECTION)["linkedAccount"]["failedRefreshCount"] == 0


# ---- answers -------------------------------------------------------------------------------------------------------------


def test_an_answer_without_a_refresh_token_keeps_the_old_one(world: World) -> None:
    clara = linked(world)
    kept = plain(world, clara, "refresh_token")
    body = {"access_token": "another", "token_type": "bearer", "expires_in": 1800}
    world.sandbox.fault({"kind": "status", "status": 200, "body": body}, method="POST", path=TOKEN)
    scopes = clara.one(CONNECTION)["linkedAccount"]["scopes"]
    assert clara.one(REFRESH, force=True)["refreshed"] is True
    assert plain(world, clara) == "another"
    assert plain(world, clara, "refresh_token") == kept
    assert clara.one(CONNECTION)["linkedAccount"]["scopes"] == scopes
    assert clara.one(REFRESH, force=True)["refreshed"] is True
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_an_answer_that_does_not_say_how_long_it_lives_is_used_until_it_is_refused(world: World) -> None:
    """The job that renews ahead takes it too, and has nothing more to plan."""
    clara = linked(world)
    clara.one(SYNC)
    body = {"access_token": plain(world, clara), "token_type": "bearer"}
    world.sandbox.fault({"kind": "status", "status": 200, "body": body}, method="POST", path=TOKEN)
    world.move_clock(minutes=24)
    world.jobs()
    assert exchanges(world) == 1
    assert "job failed" not in world.logged.getvalue()
    assert clara.one(CONNECTION)["linkedAccount"]["accessTokenExpiresAt"] is None
    world.move_clock(minutes=10)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 2


def test_an_account_that_never_got_a_refresh_token_asks_for_its_person_at_the_end(world: World) -> None:
    clara = linked(world)
    body = {"access_token": plain(world, clara), "token_type": "bearer", "expires_in": 1800}
    clara.one(DISCONNECT)
    world.sandbox.fault({"kind": "status", "status": 200, "body": body}, method="POST", path=TOKEN)
    clara.link()
    assert row_of(clara).refresh_token is None
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    world.sandbox.world.requests.clear()
    world.move_clock(minutes=30)
    assert clara.one(SYNC)["__typename"] == "ConnectionUnusable"
    assert told(clara)[0] == "NEEDS_RECONNECT"
    assert exchanges(world) == 0
    assert told(clara.link()) == ("ACTIVE", None, None)


def test_an_answer_with_fewer_scopes_asks_for_the_person(world: World) -> None:
    clara = linked(world)
    for row in world.sandbox.world.calcom.tokens.values():
        row.scopes = [scope for scope in row.scopes if scope != "WEBHOOK_WRITE"]
    clara.one(REFRESH, force=True)
    assert told(clara)[:2] == ("NEEDS_RECONNECT", "SCOPE_MISSING")
    assert clara.one(CONNECTION)["problem"]["missingScopes"] == ["WEBHOOK_WRITE"]


@pytest.mark.parametrize("effect", [{"kind": "drop", "when": "after"}, {"kind": "malformed"}])
def test_a_lost_answer_is_rotation_lost_and_never_revoked(world: World, effect: dict[str, Any]) -> None:
    clara = linked(world)
    account_id = row_of(clara).id
    world.move_clock(minutes=30)
    world.sandbox.fault(effect, method="POST", path=TOKEN)
    lost = clara.one(REFRESH)
    assert (lost["__typename"], lost["code"], lost["retryAt"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", "2027-03-01T08:30:05Z")
    assert told(clara) == ("DEGRADED", "PROVIDER_UNAVAILABLE", "2027-03-01T08:30:05Z")
    world.move_clock(seconds=6)
    after = clara.one(REFRESH)
    assert (after["__typename"], after["problem"], after["isViewers"]) == ("ConnectionUnusable", {"code": "ROTATION_LOST"}, True)
    assert told(clara) == ("NEEDS_RECONNECT", "ROTATION_LOST", None)
    assert exchanges(world) == 2
    world.move_clock(hours=1)
    world.jobs()
    assert exchanges(world) == 2
    clara.link()
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(CONNECTION)["linkedAccount"]["id"] == account_id


def test_while_the_old_access_token_lives_a_lost_answer_is_not_felt(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=TOKEN)
    assert clara.one(REFRESH, force=True)["__typename"] == "ProviderFailure"
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 1


def test_what_was_not_renewed_is_not_called_renewed(world: World) -> None:
    """A forced renewal during the pause after a failure makes no exchange, and says so."""
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=TOKEN)
    assert clara.one(REFRESH, force=True)["__typename"] == "ProviderFailure"
    again = clara.one(REFRESH, force=True)
    assert exchanges(world) == 1
    assert again.get("refreshed") is not True


def test_revoked_at_the_provider(world: World) -> None:
    clara = linked(world)
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    found = clara.one(REFRESH, force=True)
    assert (found["__typename"], found["code"], found["problem"]) == ("ConnectionUnusable", "CONNECTION_UNUSABLE", {"code": "REVOKED"})
    assert told(clara) == ("NEEDS_RECONNECT", "REVOKED", None)
    assert clara.one(SYNC)["__typename"] == "ConnectionUnusable"
    assert exchanges(world) == 1


def test_revoked_is_found_out_by_an_ordinary_call(world: World) -> None:
    clara = linked(world)
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    assert clara.one(SYNC)["__typename"] == "ConnectionUnusable"
    assert told(clara) == ("NEEDS_RECONNECT", "REVOKED", None)
    assert (world.calls("GET", BOOKINGS), exchanges(world)) == (1, 1)


# ---- a token endpoint in trouble -------------------------------------------------------------------------------------------

LIMIT_HEADERS = {"X-RateLimit-Limit-Default": "120", "X-RateLimit-Remaining-Default": "0", "X-RateLimit-Reset-Default": "30"}
TROUBLE = {
    "503": ({"kind": "status", "status": 503}, "PROVIDER_UNAVAILABLE", 5),
    "dropped before": ({"kind": "drop"}, "PROVIDER_UNAVAILABLE", 5),
    "an HTML page": ({"kind": "status", "status": 403, "body": "<h1>Attention</h1>"}, "PROVIDER_UNAVAILABLE", 5),
    "429, reset": ({"kind": "status", "status": 429, "headers": LIMIT_HEADERS}, "RATE_LIMITED", 30),
    "429, Retry-After": ({"kind": "status", "status": 429, "headers": LIMIT_HEADERS | {"Retry-After": "12"}}, "RATE_LIMITED", 12),
    "invalid_client": ({"kind": "status", "status": 401, "body": {"error": "invalid_client"}}, "CLIENT_MISCONFIGURED", 5),
    "unauthorized_client": ({"kind": "status", "status": 401, "body": {"error": "unauthorized_client"}}, "CLIENT_MISCONFIGURED", 5),
}


@pytest.mark.parametrize(("effect", "code", "pause"), TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_at_the_token_endpoint_passes_by_itself(world: World, effect: dict[str, Any], code: str, pause: int) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    retry_at = iso(world.clock.now() + timedelta(seconds=pause))
    world.sandbox.fault(effect, method="POST", path=TOKEN)
    failed = clara.one(REFRESH)
    assert (failed["__typename"], failed["code"], failed["retryable"], failed["retryAt"]) == ("ProviderFailure", code, True, retry_at)
    assert told(clara) == ("DEGRADED", code, retry_at)

    early = clara.one(SYNC)
    assert (early["__typename"], early["code"], early["retryAt"]) == ("ProviderFailure", code, retry_at)
    assert (exchanges(world), world.calls("GET", BOOKINGS)) == (1, 0)

    world.move_clock(seconds=pause + 1)
    world.jobs()
    assert exchanges(world) == 2
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_what_is_told_as_retry_at_is_early_enough(world: World) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=TOKEN)
    assert clara.one(REFRESH)["retryAt"] == "2027-03-01T08:30:05Z"
    world.move_clock(seconds=5)
    assert clara.one(REFRESH)["__typename"] == "ConnectionRefreshed"


def test_a_refused_connection_passes_by_itself(world: World) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    world.sandbox.stop()
    try:
        assert clara.one(REFRESH)["code"] == "PROVIDER_UNAVAILABLE"
        assert told(clara) == ("DEGRADED", "PROVIDER_UNAVAILABLE", "2027-03-01T08:30:05Z")
        assert TokenRotation.get().attempt == 0, "what was certainly not sent does not count"
    finally:
        world.sandbox.start()
    world.move_clock(seconds=6)
    world.jobs()
    assert told(clara) == ("ACTIVE", None, None)
    assert exchanges(world) == 1


def test_a_late_token_endpoint_passes_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    monkeypatch.setattr(transport, "EXCHANGE_LIMIT", timedelta(seconds=0.2))
    late = world.sandbox.fault({"kind": "hold"}, method="POST", path=TOKEN)
    assert clara.one(REFRESH)["code"] == "PROVIDER_UNAVAILABLE"
    assert told(clara) == ("DEGRADED", "PROVIDER_UNAVAILABLE", "2027-03-01T08:30:05Z")
    monkeypatch.undo()
    world.move_clock(seconds=6)
    world.jobs()
    assert told(clara) == ("ACTIVE", None, None)
    late.release()
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_failures_in_a_row_are_asked_for_ever_more_rarely(world: World) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=TOKEN, times=4)
    pauses = []
    for _ in range(4):
        retry_at = clara.one(REFRESH)["retryAt"]
        pause = next(s for s in range(600) if iso(world.clock.now() + timedelta(seconds=s)) == retry_at)
        pauses.append(pause)
        world.move_clock(seconds=pause + 1)
    assert pauses == [5, 10, 20, 40]
    assert clara.one(REFRESH)["__typename"] == "ConnectionRefreshed"


def test_a_wrong_client_secret_burns_no_account(world: World) -> None:
    clara, ida = linked(world, "Clara"), linked(world, "Ida")
    client = {"clientId": CLIENT_ID, "redirectUris": [f"{world.url}/oauth/calcom/callback"]}
    world.sandbox_call("calcom/oauth-clients", clientSecret="changed there", **client)
    world.move_clock(minutes=30)
    for person in (clara, ida):
        failed = person.one(REFRESH)
        assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "CLIENT_MISCONFIGURED")
        assert "cannot be reached" not in failed["message"]
        assert told(person)[:2] == ("DEGRADED", "CLIENT_MISCONFIGURED")
        assert "operator" in person.one(CONNECTION)["message"]
    assert "the provider refuses our client id or secret" in world.logged.getvalue()
    world.sandbox_call("calcom/oauth-clients", clientSecret=CLIENT_SECRET, **client)
    world.move_clock(seconds=10)
    world.jobs()
    for person in (clara, ida):
        assert told(person) == ("ACTIVE", None, None)
        assert person.one(SYNC)["__typename"] == "BookingsSynced"


# ---- refused by the API ----------------------------------------------------------------------------------------------------


def test_a_refused_token_is_renewed_once_and_the_call_repeated_once(world: World) -> None:
    clara = linked(world)
    world.sandbox_call("calcom/tokens/expire", email=clara.email)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    calls = [(r.method, r.path, r.status) for r in world.sandbox.requests if r.path in {BOOKINGS, TOKEN}]
    assert calls == [("GET", BOOKINGS, 401), ("POST", TOKEN, 200), ("GET", BOOKINGS, 200)]


def test_twenty_calls_with_one_refused_token_make_one_exchange(world: World) -> None:
    clara = linked(world)
    world.sandbox_call("calcom/tokens/expire", email=clara.email)
    assert {found["__typename"] for found in at_once(20, lambda: clara.one(SYNC))} == {"BookingsSynced"}
    assert exchanges(world) == 1


def test_a_token_that_is_refused_even_when_fresh_leads_to_no_storm(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 401, "body": REFUSED_TOKEN}, method="GET", path=BOOKINGS, times=None)
    assert {clara.one(SYNC)["__typename"] for _ in range(6)} == {"ProviderFailure"}
    assert exchanges(world) == 1
    assert world.calls("GET", BOOKINGS) == 7


def test_twenty_calls_that_are_refused_even_when_fresh_lead_to_no_storm(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 401, "body": REFUSED_TOKEN}, method="GET", path=BOOKINGS, times=None)
    assert {found["__typename"] for found in at_once(20, lambda: clara.one(SYNC))} == {"ProviderFailure"}
    assert exchanges(world) == 1
    assert told(clara) == ("ACTIVE", None, None)


def test_a_token_that_served_and_is_refused_later_is_renewed_like_any_other(world: World) -> None:
    clara = linked(world)
    for renewals in (1, 2, 3):
        world.sandbox_call("calcom/tokens/expire", email=clara.email)
        assert clara.one(SYNC)["__typename"] == "BookingsSynced"
        assert clara.one(SYNC)["__typename"] == "BookingsSynced"
        assert exchanges(world) == renewals
        world.move_clock(minutes=1)


def test_asking_again_during_the_pause_does_not_lock_an_account_out(world: World) -> None:
    """The API refuses the token and the token endpoint is down for a moment: that passes by itself."""
    clara = linked(world)
    world.sandbox_call("calcom/tokens/expire", email=clara.email)
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=TOKEN)
    first = clara.one(SYNC)
    assert (first["__typename"], first["code"], first["retryable"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    second = clara.one(SYNC)
    assert (second["__typename"], second["code"], second["retryable"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert exchanges(world) == 1
    world.move_clock(seconds=30)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 2


def test_a_401_that_is_not_about_the_token_renews_nothing(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 401, "body": TRPC}, method="GET", path=BOOKINGS)
    refused = clara.one(SYNC)
    assert (refused["__typename"], refused["code"], refused["retryable"]) == ("ProviderFailure", "PROVIDER_REFUSED", False)
    assert (world.calls("GET", BOOKINGS), exchanges(world)) == (1, 0)
    assert told(clara) == ("ACTIVE", None, None)


def test_a_missing_scope_asks_for_the_person_and_names_it(world: World) -> None:
    clara = linked(world)
    for row in world.sandbox.world.calcom.tokens.values():
        row.scopes = [scope for scope in row.scopes if scope != "BOOKING_READ"]
    clara.one(SYNC)
    assert told(clara) == ("NEEDS_RECONNECT", "SCOPE_MISSING", None)
    problem = clara.one(CONNECTION)["problem"]
    assert problem["missingScopes"] == ["BOOKING_READ"]
    assert "BOOKING_READ" in problem["message"]
    assert exchanges(world) == 0
    world.sandbox.world.requests.clear()
    assert clara.one(SYNC)["__typename"] == "ConnectionUnusable"
    assert world.calls("GET", BOOKINGS) == 0
    clara.link()
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(CONNECTION)["problem"] is None


def test_the_answer_that_met_the_missing_scope_says_so_itself(world: World) -> None:
    clara = linked(world)
    for row in world.sandbox.world.calcom.tokens.values():
        row.scopes = [scope for scope in row.scopes if scope != "BOOKING_READ"]
    assert clara.one(SYNC)["__typename"] == "ConnectionUnusable"


# ---- crossing paths --------------------------------------------------------------------------------------------------------


def test_disconnected_while_a_renewal_is_under_way_stays_disconnected(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    monkeypatch.setattr(tokens, "REQUEST_WAIT", 0.05)
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=TOKEN)
    refreshing = in_background(lambda: clara.one(REFRESH))
    assert held.wait_held()
    assert clara.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    held.release()
    assert refreshing.result()["__typename"] in {"NotConnected", "ConnectionUnusable"}
    assert told(clara)[0] == "NOT_CONNECTED"
    row = row_of(clara)
    assert (row.connected, row.access_token, row.refresh_token) == (False, None, None)
    assert clara.link().one(SYNC)["__typename"] == "BookingsSynced"


def test_a_late_answer_restores_what_was_given_up_as_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    account_id = row_of(clara).id
    world.move_clock(minutes=30)
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=TOKEN)
    late = in_background(lambda: clara.one(REFRESH))
    assert held.wait_held()

    world.move_clock(seconds=tokens.LEASE.total_seconds() + 1)
    another = copy.copy(world.rt)
    another.owner = "another process"
    monkeypatch.setattr(tokens, "_flights", tokens._Flights())
    with pytest.raises(ConnectionUnusable):
        tokens.ensure_valid(another, account_id)
    assert told(clara) == ("NEEDS_RECONNECT", "ROTATION_LOST", None)

    held.release()
    assert late.result()["__typename"] == "ConnectionRefreshed"
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert exchanges(world) == 2


def test_within_the_lease_another_process_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    world.move_clock(minutes=30)
    held = world.sandbox.fault({"kind": "hold"}, method="POST", path=TOKEN)
    first = in_background(lambda: clara.one(REFRESH))
    assert held.wait_held()
    another = copy.copy(world.rt)
    another.owner = "another process"
    monkeypatch.setattr(tokens, "_flights", tokens._Flights())
    second = in_background(lambda: tokens.ensure_valid(another, row_of(clara).id))
    held.release()
    assert first.result()["__typename"] == "ConnectionRefreshed"
    assert second.result().value == plain(world, clara)
    assert exchanges(world) == 1


# ---- secrets ---------------------------------------------------------------------------------------------------------------


def test_no_secret_is_readable_in_the_database_or_in_the_log(world: World, database_url: str) -> None:
    clara = world.caller("Clara")
    world.account(clara)
    begun = clara.begin()
    clara.consent(begun)
    (code,) = [row.code for row in world.sandbox.world.calcom.codes.values()]
    clara.complete(begun["state"])
    world.jobs()
    secrets = {code, begun["state"], CLIENT_SECRET, LEGACY_SECRET}
    for _ in range(2):
        secrets |= {plain(world, clara), plain(world, clara, "refresh_token")}
        clara.one(REFRESH, force=True)
    secrets |= {plain(world, clara), plain(world, clara, "refresh_token")}
    secrets |= {hook.secret for hook in world.sandbox.world.calcom.webhooks.values()}
    world.sandbox.fault({"kind": "status", "status": 400, "body": {"error": "invalid_grant"}}, method="POST", path=TOKEN)
    clara.one(REFRESH, force=True)
    assert len(secrets) == 11

    held = stored(database_url)
    assert row_of(clara).refresh_token.encode() in held, "it was read after the last write"
    assert [s for s in secrets if s.encode() in held] == []
    logged = world.logged.getvalue()
    assert "token refreshed" in logged
    assert [s for s in secrets if s in logged] == []


# ---- managed users ---------------------------------------------------------------------------------------------------------

PLATFORM = {"clientId": "platform-tests", "clientSecret": "platform-secret"}


def managed(world: World) -> LinkedAccount:
    """A managed user of a platform client, with a link that has no token yet."""
    world.sandbox_call("calcom/platform-clients", **PLATFORM)
    settings = CalcomSettings(
        api_url=f"{world.sandbox.url}/calcom",
        app_url=f"{world.sandbox.url}/calcom",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        platform_client_id=PLATFORM["clientId"],
        platform_client_secret=PLATFORM["clientSecret"],
    )
    world.rt.providers["calcom"] = CalcomProvider(settings, world.rt.transport, world.clock.now)
    made = httpx.post(
        f"{world.sandbox.url}/calcom/v2/oauth-clients/{PLATFORM['clientId']}/users",
        headers={"x-cal-secret-key": PLATFORM["clientSecret"]},
        json={"email": "mona@example.test", "name": "Mona", "timeZone": "UTC"},
    )
    assert made.status_code == 201, made.text
    mona = world.caller("Mona")
    mona.gql("{ viewer { id } }")
    user = User.get(User.email == mona.email)
    external_id = str(made.json()["data"]["user"]["id"])
    return LinkedAccount.create(
        user=user, provider="calcom", kind="MANAGED_USER", linked_at=world.clock.now(), external_id=external_id, email=mona.email
    )


def who_am_i(world: World, account: LinkedAccount) -> str:
    return world.rt.providers["calcom"].account(AccountAuth(account.id)).external_id


def test_a_managed_user_recovers_with_our_credentials_alone(world: World) -> None:
    account = managed(world)
    assert tokens.refresh_managed_user(world.rt, account.id) is True
    stored = LinkedAccount.get_by_id(account.id)
    assert stored.access_expires_at == world.clock.now() + timedelta(minutes=60)
    assert (stored.token_version, stored.last_refreshed_at) == (1, world.clock.now())
    assert who_am_i(world, account) == account.external_id
    world.move_clock(minutes=60)
    assert tokens.refresh_managed_user(world.rt, account.id) is True
    assert who_am_i(world, account) == account.external_id
    assert exchanges(world) == 0


def test_an_expired_managed_user_is_renewed_on_need(world: World) -> None:
    account = managed(world)
    tokens.refresh_managed_user(world.rt, account.id)
    world.move_clock(minutes=60)
    assert who_am_i(world, account) == account.external_id
    assert LinkedAccount.get_by_id(account.id).problem_code is None
    assert exchanges(world) == 0, "a managed user's tokens are not the OAuth endpoint's"


def test_two_recoveries_of_a_managed_user_at_once_store_the_pair_that_lives(world: World) -> None:
    """The second force-refresh kills the first one's pair, so the first must not be what is kept."""
    account = managed(world)
    path = "/calcom/v2/oauth-clients/*/force-refresh"
    first = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=path)
    second = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=path, skip=1)
    a = in_background(lambda: tokens.refresh_managed_user(world.rt, account.id))
    assert first.wait_held()
    b = in_background(lambda: tokens.refresh_managed_user(world.rt, account.id))
    second.wait_held(timeout=0.5)
    first.release()
    a.result()
    second.release()
    b.result()
    kept = LinkedAccount.get_by_id(account.id)
    token = world.rt.vault.open(kept.access_token, place("linked_account", kept.id, "access_token"))
    assert world.rt.providers["calcom"].account(BearerAuth(token)).external_id == account.external_id


def test_a_late_pair_does_not_replace_a_newer_one(world: World) -> None:
    """The exchange dawdles; meanwhile the person connects again. What comes late belongs to a version that is gone."""
    clara = world.coach()
    world.move_clock(minutes=31)
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=TOKEN)
    slow = threading.Thread(target=lambda: clara.post("mutation { syncBookings(input: {provider: CAL_COM}) { __typename } }"))
    slow.start()
    assert held.wait_held(1, 10)
    begun = clara.begin()
    clara.consent(begun)
    # while it may still be answered, connecting again waits: at Cal.com the refresh would kill what the consent gave
    early = clara.complete(begun["state"])
    assert (early["__typename"], early["code"]) == ("ProviderFailure", "REFRESH_IN_PROGRESS")
    world.move_clock(seconds=30)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    (newer,) = LinkedAccount.select(LinkedAccount.token_version, LinkedAccount.access_token, LinkedAccount.refresh_token).tuples()
    held.release()
    slow.join()
    (after,) = LinkedAccount.select(LinkedAccount.token_version, LinkedAccount.access_token, LinkedAccount.refresh_token).tuples()
    assert after == newer
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
