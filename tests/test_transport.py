"""The one way to call a provider: total limits, repeats, budgets, the breaker, and what is never done."""

import importlib.util
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import time_machine
from authlib.integrations.httpx_client import OAuth2Client
from harness import CONNECTION, DEFAULTS, REFRESH, SYNC, Caller, World, iso

from models import LinkedAccount, RateBucket
from models.base import db
from services import health
from services.budgets import Budgets
from services.errors import OutcomeUnknown, RateLimited
from services.providers import transport
from services.providers.base import AccountAuth

TOKEN = "/calcom/v2/auth/oauth2/token"
BOOKINGS = "/calcom/v2/bookings"
EVENT_TYPES = "/calcom/v2/event-types"
ME = "/calcom/v2/me"
BROKEN = {"kind": "status", "status": 503}


def linked(world: World, name: str = "Clara") -> Caller:
    person = world.coach(name)
    world.sandbox.world.requests.clear()
    return person


def auth_of(person: Caller) -> AccountAuth:
    return AccountAuth(LinkedAccount.get(LinkedAccount.email == person.email).id)


def told(person: Caller) -> tuple[str, str | None, str | None]:
    status = person.one(CONNECTION)
    problem = status["problem"] or {}
    return status["state"], problem.get("code"), problem.get("retryAt")


def failure(found: dict[str, Any]) -> tuple[str, str, bool, str | None]:
    return found["__typename"], found["code"], found["retryable"], found["retryAt"]


def create_event_type(world: World, person: Caller) -> Any:
    return world.rt.providers["calcom"].create_event_type(auth_of(person), {"title": "T", "slug": "t", "duration_minutes": 15})


def provider_calls(world: World) -> list[dict[str, Any]]:
    """What the log says about calls."""
    lines = [json.loads(line) for line in world.logged.getvalue().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "provider call"]


# ---- a total time limit ------------------------------------------------------------------------------------------------------


def test_a_dripping_answer_ends_at_the_total_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes well within a limit per read; the whole takes longer than is allowed."""
    clara = linked(world)
    monkeypatch.setattr(transport, "READ_LIMIT", timedelta(seconds=0.2))
    world.sandbox.fault({"kind": "drip", "seconds": 2, "chunks": 40}, method="GET", path=BOOKINGS, times=None)
    began = time.monotonic()
    found = clara.one(SYNC)
    assert time.monotonic() - began < 1.5
    assert (found["__typename"], found["code"], found["retryable"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert world.calls("GET", BOOKINGS) == 3


def test_a_dripping_token_endpoint_ends_at_the_total_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    monkeypatch.setattr(transport, "EXCHANGE_LIMIT", timedelta(seconds=0.2))
    world.sandbox.fault({"kind": "drip", "seconds": 2, "chunks": 40}, method="POST", path=TOKEN)
    began = time.monotonic()
    assert clara.one(REFRESH, force=True)["__typename"] == "ProviderFailure"
    assert time.monotonic() - began < 1
    assert world.calls("POST", TOKEN) == 1


def test_a_dripping_write_ends_at_the_total_limit_with_an_unknown_outcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clara = linked(world)
    monkeypatch.setattr(transport, "WRITE_LIMIT", timedelta(seconds=0.2))
    world.sandbox.fault({"kind": "drip", "seconds": 2, "chunks": 40}, method="POST", path=EVENT_TYPES)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        create_event_type(world, clara)
    assert time.monotonic() - began < 1
    assert world.calls("POST", EVENT_TYPES) == 1


def test_an_answer_that_drips_within_the_limit_is_read(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "drip", "seconds": 0.2, "chunks": 10}, method="GET", path=BOOKINGS)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert world.calls("GET", BOOKINGS) == 1


# ---- repeats -----------------------------------------------------------------------------------------------------------------

PASSING = {
    "503": BROKEN,
    "dropped": {"kind": "drop"},
    "dropped after": {"kind": "drop", "when": "after"},
    "malformed": {"kind": "malformed"},
}


@pytest.mark.parametrize("effect", PASSING.values(), ids=PASSING.keys())
def test_a_safe_call_is_sent_three_times_at_most(world: World, effect: dict[str, Any]) -> None:
    clara = linked(world)
    world.sandbox.fault(effect, method="GET", path=BOOKINGS, times=2)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert world.calls("GET", BOOKINGS) == 3
    world.sandbox.world.requests.clear()
    world.sandbox.fault(effect, method="GET", path=BOOKINGS, times=None)
    assert failure(clara.one(SYNC))[:3] == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert world.calls("GET", BOOKINGS) == 3


@pytest.mark.parametrize("effect", PASSING.values(), ids=PASSING.keys())
def test_an_unsafe_call_is_sent_once_and_its_outcome_is_unknown(world: World, effect: dict[str, Any]) -> None:
    clara = linked(world)
    world.sandbox.fault(effect, method="POST", path=EVENT_TYPES, times=None)
    with pytest.raises(OutcomeUnknown):
        create_event_type(world, clara)
    assert world.calls("POST", EVENT_TYPES) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_what_the_provider_refuses_is_not_repeated(world: World, status: int) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": status}, method="GET", path=BOOKINGS)
    assert failure(clara.one(SYNC)) == ("ProviderFailure", "PROVIDER_REFUSED", False, None)
    assert world.calls("GET", BOOKINGS) == 1


def test_a_provider_that_is_away_is_told_as_such(world: World) -> None:
    clara = linked(world)
    world.sandbox.stop()
    try:
        assert failure(clara.one(SYNC))[:3] == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    finally:
        world.sandbox.start()
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "{}", '{"data": null}', '{"data": {}}'])
def test_an_answer_of_another_shape_is_a_typed_problem(world: World, body: str) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 200, "body": body}, method="GET", path=BOOKINGS, times=None)
    found = clara.one(SYNC)
    assert (found["__typename"], found["code"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE")
    assert told(clara) == ("ACTIVE", None, None)


@pytest.mark.parametrize("body", ["[]", "{}", '{"access_token": 1}', '{"access_token": null}', "text", ""])
def test_a_token_answer_of_another_shape_is_a_typed_problem(world: World, body: str) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 200, "body": body}, method="POST", path=TOKEN)
    assert failure(clara.one(REFRESH, force=True))[:3] == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


# ---- redirects -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_with_the_token(world: World, status: int) -> None:
    clara = linked(world)
    away = {"Location": f"{world.sandbox.url}{ME}"}
    world.sandbox.fault({"kind": "status", "status": status, "headers": away}, method="GET", path=BOOKINGS)
    assert clara.one(SYNC)["__typename"] == "ProviderFailure"
    assert (world.calls("GET", BOOKINGS), world.calls("GET", ME)) == (1, 0)


def test_a_redirect_of_the_token_endpoint_is_not_followed_with_the_refresh_token(world: World) -> None:
    clara = linked(world)
    away = {"Location": f"{world.sandbox.url}/calcom/v2/elsewhere"}
    world.sandbox.fault({"kind": "status", "status": 307, "headers": away}, method="POST", path=TOKEN)
    assert clara.one(REFRESH, force=True)["__typename"] == "ProviderFailure"
    assert (world.calls("POST", TOKEN), world.calls("POST", "elsewhere")) == (1, 0)


# ---- the provider's limits -----------------------------------------------------------------------------------------------------

RESET = {"X-RateLimit-Limit-Default": "500", "X-RateLimit-Remaining-Default": "0", "X-RateLimit-Reset-Default": "25"}
WAITS = {
    "reset header": (RESET, 25),
    "Retry-After": (RESET | {"Retry-After": "7"}, 7),
    "Retry-After alone": ({"Retry-After": "9"}, 9),
    "Retry-After as a date": ({"Retry-After": "Mon, 01 Mar 2027 08:00:12 GMT"}, 12),
    "nothing": ({}, 60),
    "nonsense": ({"Retry-After": "soon", "X-RateLimit-Reset-Default": "later", "X-RateLimit-Remaining-Default": "few"}, 60),
}


@pytest.mark.parametrize(("headers", "wait"), WAITS.values(), ids=WAITS.keys())
def test_a_429_says_when_and_nothing_is_sent_before(world: World, headers: dict[str, str], wait: int) -> None:
    clara = linked(world)
    retry_at = iso(world.clock.now() + timedelta(seconds=wait))
    world.sandbox.fault({"kind": "status", "status": 429, "headers": headers}, method="GET", path=BOOKINGS)
    assert failure(clara.one(SYNC)) == ("ProviderFailure", "RATE_LIMITED", True, retry_at)
    world.move_clock(seconds=wait - 1)
    assert failure(clara.one(SYNC)) == ("ProviderFailure", "RATE_LIMITED", True, retry_at)
    with pytest.raises(RateLimited):
        create_event_type(world, clara)
    assert world.calls("GET", "/v2/") + world.calls("POST", "/v2/") == 1
    world.move_clock(seconds=1)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_the_last_call_of_the_budget_is_the_last(world: World) -> None:
    """The sandbox's own limit: one call, and its answer says that nothing is left for a minute."""
    clara = linked(world)
    world.sandbox_call("calcom/limits", "PUT", token=1)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert failure(clara.one(SYNC)) == ("ProviderFailure", "RATE_LIMITED", True, "2027-03-01T08:01:00Z")
    assert [r.status for r in world.sandbox.requests if r.path == BOOKINGS] == [200]
    world.move_clock(seconds=60)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_one_accounts_budget_is_not_anothers(world: World) -> None:
    clara, ida = linked(world, "Clara"), linked(world, "Ida")
    world.sandbox.fault({"kind": "status", "status": 429, "headers": RESET}, method="GET", path=BOOKINGS)
    assert clara.one(SYNC)["code"] == "RATE_LIMITED"
    assert ida.one(SYNC)["__typename"] == "BookingsSynced"


def test_a_429_that_is_over_at_once_is_repeated_if_the_call_is_safe(world: World) -> None:
    clara = linked(world)
    effect = {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}}
    world.sandbox.fault(effect, method="GET", path=BOOKINGS)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert world.calls("GET", BOOKINGS) == 2
    world.sandbox.fault(effect, method="POST", path=EVENT_TYPES)
    with pytest.raises(RateLimited):
        create_event_type(world, clara)
    assert world.calls("POST", EVENT_TYPES) == 1


def test_another_replica_learns_what_was_spent(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault({"kind": "status", "status": 429, "headers": RESET}, method="GET", path=BOOKINGS)
    clara.one(SYNC)
    key = f"calcom:{auth_of(clara).account_id}"
    replica = Budgets(world.clock)
    replica.check("calcom", key)
    replica.refresh()
    with pytest.raises(RateLimited) as told_when:
        replica.check("calcom", key)
    assert told_when.value.retry_at == world.clock.now() + timedelta(seconds=25)
    world.move_clock(seconds=25)
    replica.check("calcom", key)


def test_a_spent_token_endpoint_is_left_alone_by_every_account(world: World) -> None:
    """Its limit is by address, so what one account was told holds for the others."""
    clara, ida = linked(world, "Clara"), linked(world, "Ida")
    world.sandbox.fault({"kind": "status", "status": 429, "headers": RESET}, method="POST", path=TOKEN)
    assert clara.one(REFRESH, force=True)["code"] == "RATE_LIMITED"
    assert failure(ida.one(REFRESH, force=True)) == ("ProviderFailure", "RATE_LIMITED", True, "2027-03-01T08:00:25Z")
    assert world.calls("POST", TOKEN) == 1
    world.move_clock(seconds=26)
    assert ida.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"


def test_an_ordinary_call_costs_the_budget_no_row(world: World) -> None:
    clara = linked(world)
    clara.one(SYNC)
    assert RateBucket.select().count() == 0


# ---- the breaker -----------------------------------------------------------------------------------------------------------------


def later(seconds: float) -> Any:
    """The breaker keeps time by the machine's own clock."""
    return time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)


def test_the_breaker_opens_after_five_failures_and_closes_again(world: World) -> None:
    clara, ida = linked(world, "Clara"), linked(world, "Ida")
    fault = world.sandbox.fault(BROKEN, method="GET", path=BOOKINGS, times=None)
    for _ in range(3):
        assert failure(clara.one(SYNC))[:3] == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert world.calls("GET", BOOKINGS) == 5
    for person in (clara, ida):
        assert told(person) == ("DEGRADED", "PROVIDER_UNAVAILABLE", "2027-03-01T08:00:20Z")
    assert clara.one(REFRESH, force=True)["code"] == "PROVIDER_UNAVAILABLE"
    assert world.calls("POST", TOKEN) == 0, "paused for every call"

    with later(21):
        assert clara.one(SYNC)["__typename"] == "ProviderFailure"
        assert world.calls("GET", BOOKINGS) == 6, "one trial, and the pause begins anew"
        assert told(ida)[0] == "DEGRADED"
    fault.remove()
    with later(60):
        assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    for person in (clara, ida):
        assert told(person) == ("ACTIVE", None, None)
        assert person.one(SYNC)["__typename"] == "BookingsSynced"


def test_refusals_and_limits_do_not_open_the_breaker(world: World) -> None:
    clara = linked(world)
    for status in (400, 401, 403, 404, 409, 422):
        body = {"error": {"code": "TRPCError", "message": "no"}}
        world.sandbox.fault({"kind": "status", "status": status, "body": body}, method="GET", path=BOOKINGS)
        clara.one(SYNC)
    world.sandbox.fault({"kind": "status", "status": 429, "headers": {"Retry-After": "0"}}, method="GET", path=BOOKINGS, times=6)
    clara.one(SYNC)
    clara.one(SYNC)
    assert told(clara) == ("ACTIVE", None, None)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_a_success_in_between_starts_the_count_anew(world: World) -> None:
    clara = linked(world)
    for _ in range(3):
        world.sandbox.fault(BROKEN, method="GET", path=BOOKINGS, times=3)
        assert clara.one(SYNC)["__typename"] == "ProviderFailure"
        assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert told(clara) == ("ACTIVE", None, None)


def test_a_replica_that_died_with_an_open_breaker_does_not_keep_a_provider_down(world: World) -> None:
    """Only the process whose breaker closes takes the word back; a dead one never does."""
    clara = linked(world)
    health.tell(world.clock, "calcom", up=False)
    assert told(clara)[0] == "DEGRADED"
    world.move_clock(minutes=10)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert told(clara) == ("ACTIVE", None, None)


# ---- what is never done ------------------------------------------------------------------------------------------------------------


def test_no_provider_is_called_inside_a_transaction(world: World) -> None:
    clara = linked(world)
    auth = auth_of(clara)
    with pytest.raises(RuntimeError, match="inside a database transaction"), db.atomic():
        world.rt.providers["calcom"].account(auth)
    with pytest.raises(RuntimeError, match="inside a database transaction"), db.atomic():
        world.rt.providers["calcom"].refresh("a refresh token")
    assert world.sandbox.requests == []
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_no_database_connection_is_held_during_a_call(world: World) -> None:
    clara = linked(world)
    auth = auth_of(clara)
    world.rt.providers["calcom"].account(auth)
    assert db.is_closed()


def test_the_oauth_client_is_ours_to_catch() -> None:
    """Were httpx2 installed, Authlib would use it silently, and none of our error handling would see its exceptions."""
    assert issubclass(OAuth2Client, httpx.Client)
    assert importlib.util.find_spec("httpx2") is None


def test_an_answer_beyond_all_measure_is_refused(world: World) -> None:
    clara = linked(world)
    body = json.dumps({"status": "success", "data": [], "padding": "x" * (transport.MAX_BODY + 1)})
    world.sandbox.fault({"kind": "status", "status": 200, "body": body}, method="GET", path=BOOKINGS, times=None)
    assert clara.one(SYNC)["__typename"] == "ProviderFailure"


# ---- what is told ------------------------------------------------------------------------------------------------------------------


def test_every_call_has_one_log_line_with_the_request_id(world: World) -> None:
    clara = linked(world)
    clara.one(CONNECTION)  # the issuer's keys are known from here on
    world.logged.truncate(0)
    world.logged.seek(0)
    world.sandbox.fault(BROKEN, method="GET", path=BOOKINGS)
    clara.post(SYNC, None, **{"X-Request-Id": "asked-by-clara"})
    lines = [(c["provider"], c["operation"], c["status"], c["outcome"], c["request_id"]) for c in provider_calls(world)]
    assert lines == [
        ("calcom", "bookings", 503, "PROVIDER_OUTCOME_UNKNOWN", "asked-by-clara"),
        ("calcom", "bookings", 200, "ok", "asked-by-clara"),
    ]
    assert all(c["account"] == auth_of(clara).account_id and c["ms"] >= 0 for c in provider_calls(world))


def test_calls_are_counted_by_operation_and_outcome(world: World) -> None:
    clara = linked(world)
    world.sandbox.fault(BROKEN, method="GET", path=BOOKINGS, times=2)
    clara.one(SYNC)
    shown = world.http.get("/metrics").text
    assert 'operation="bookings",outcome="PROVIDER_OUTCOME_UNKNOWN",provider="calcom"} 2.0' in shown


def test_default_event_types_after_a_lost_answer_are_three_and_no_more(world: World) -> None:
    """The same rule seen from outside: an unsafe call with an unknown outcome is looked up before it is repeated."""
    clara = linked(world)
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=EVENT_TYPES)
    first = clara.one(DEFAULTS)
    assert first["__typename"] in {"ProviderFailure", "DefaultEventTypes"}
    assert clara.one(DEFAULTS)["__typename"] == "DefaultEventTypes"
    lengths = [e.data["lengthInMinutes"] for e in world.sandbox.world.calcom.event_types.values()]
    assert sorted(lengths) == [15, 30, 60]
