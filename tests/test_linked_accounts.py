"""Linking, unlinking, and what a person is told about their connection."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from harness import COMPLETE, CONNECT, CONNECTION, DISCONNECT, REFRESH, SYNC, Caller, Issuer, World, at
from keeping import Ways

from models import AvailabilityCache, LinkedAccount, OAuthState, WebhookSubscription
from sandbox.app import Sandbox
from services.vault import Vault, new_key

TOKEN = "/calcom/v2/auth/oauth2/token"
ME = "/calcom/v2/me"
WEBHOOKS = "/calcom/v2/webhooks"
BOOKINGS = "/calcom/v2/bookings"
RETURN_TO = "https://app.example.test/connected?tab=calendar"
LINKED = "query { linkedAccounts { id provider state account { email } } }"
VIEWER = "query { viewer { name timeZone } }"


def person(world: World, name: str = "Clara") -> Caller:
    """Somebody with a Cal.com account and no link."""
    caller = world.caller(name)
    world.account(caller)
    return caller


def returned(caller: Caller, **more: Any) -> dict[str, Any]:
    """An authorization whose browser is back with a code."""
    begun = caller.begin(**more)
    caller.consent(begun)
    return begun


def told(caller: Caller) -> tuple[str, str | None]:
    status = caller.one(CONNECTION)
    return status["state"], (status["problem"] or {}).get("code")


def at_once(*works: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def subscriptions(world: World) -> list[str]:
    """The addresses that Cal.com calls."""
    return [hook.url for hook in world.sandbox.world.calcom.webhooks.values()]


@pytest.fixture
def with_frontend(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    """An installation whose frontend may be returned to."""
    shared_sandbox.reset()
    with World(database_url, issuer, shared_sandbox, ways=ways, return_addresses=(RETURN_TO,)) as running:
        yield running


# ---- consent -------------------------------------------------------------------------------------------------------------


def test_approving_links_the_account(world: World) -> None:
    clara = person(world)
    assert clara.one(CONNECTION) | {"id": "-"} == {
        "id": "-",
        "provider": "CAL_COM",
        "state": "NOT_CONNECTED",
        "sandbox": True,
        "message": "Cal.com is not connected. Connect it with connectProvider.",
        "problem": None,
        "linkedAccount": None,
    }
    begun = returned(clara)
    assert begun["expiresAt"] == "2027-03-01T08:10:00Z"
    status = clara.complete(begun["state"])["status"]
    assert (status["state"], status["sandbox"], status["problem"]) == ("ACTIVE", True, None)
    assert status["message"] == "Cal.com is connected. Your bookings are being fetched."
    upstream = world.sandbox.world.calcom.user_by_email(clara.email)
    account = status["linkedAccount"]
    assert account["account"] == {
        "externalId": str(upstream.id),
        "name": "Clara",
        "email": clara.email,
        "schedulingUrl": f"{world.sandbox.url}/calcom/clara",
        "organization": None,
        "timeZone": "UTC",
    }
    assert (account["kind"], account["linkedAt"]) == ("OAUTH", "2027-03-01T08:00:00Z")
    assert account["accessTokenExpiresAt"] == "2027-03-01T08:30:00Z"
    asked = parse_qs(urlsplit(begun["authorizationUrl"]).query)
    assert sorted(account["scopes"]) == sorted(asked["scope"][0].split())
    assert clara.one(LINKED) == [{"id": account["id"], "provider": "CAL_COM", "state": "ACTIVE", "account": {"email": clara.email}}]
    world.jobs()
    assert clara.one(CONNECTION)["message"] == "Cal.com is connected."


def test_the_authorization_is_bound_by_pkce_and_exact_address(world: World) -> None:
    asked = parse_qs(urlsplit(person(world).begin()["authorizationUrl"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert asked["redirect_uri"] == [f"{world.url}/oauth/calcom/callback"]


def test_denying_links_nothing_and_asks_the_provider_nothing(world: World) -> None:
    clara = person(world)
    begun = clara.begin()
    landed = clara.consent(begun, decision="deny")
    assert landed == f"{world.url}/oauth/calcom/return?state={begun['state']}&error=access_denied"
    denied = clara.complete(begun["state"])
    assert (denied["__typename"], denied["code"]) == ("AuthorizationDenied", "AUTHORIZATION_DENIED")
    assert denied["message"] == "Cal.com was not connected: access was declined on the consent page."
    assert world.calls("POST", TOKEN) == 0
    assert LinkedAccount.select().count() == 0


def test_a_refusal_is_final_for_its_state(world: World) -> None:
    clara = person(world)
    begun = clara.begin()
    clara.consent(begun, decision="deny")
    clara.consent(begun)
    assert clara.complete(begun["state"])["__typename"] == "AuthorizationDenied"
    assert told(clara.link()) == ("ACTIVE", None)


def test_granting_less_stores_nothing(world: World) -> None:
    clara = person(world)
    begun = clara.begin()
    asked = parse_qs(urlsplit(begun["authorizationUrl"]).query)["scope"][0].split()
    clara.consent(begun, granted=[scope for scope in asked if scope not in {"WEBHOOK_WRITE", "BOOKING_READ"}])
    less = clara.complete(begun["state"])
    assert (less["__typename"], less["code"]) == ("ScopeMissing", "SCOPE_MISSING")
    assert "BOOKING_READ, WEBHOOK_WRITE" in less["message"]
    assert LinkedAccount.select().count() == 0
    assert world.jobs() == 0
    assert told(clara) == ("NOT_CONNECTED", None)
    assert told(clara.link()) == ("ACTIVE", None)


def test_granting_less_on_a_reconnect_leaves_the_link_as_it_is(world: World) -> None:
    clara = world.coach()
    before = LinkedAccount.get().refresh_token
    begun = clara.begin()
    clara.consent(begun, granted=["PROFILE_READ"])
    assert clara.complete(begun["state"])["__typename"] == "ScopeMissing"
    assert LinkedAccount.get().refresh_token == before
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"


# ---- states --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "nonsense", "a" * 5000, "\u200b"])
def test_a_state_that_never_was(world: World, state: str) -> None:
    found = person(world).complete(state)
    assert (found["__typename"], found["code"]) == ("AuthorizationExpired", "AUTHORIZATION_EXPIRED")


def test_a_state_before_the_browser_is_back(world: World) -> None:
    clara = person(world)
    begun = clara.begin()
    found = clara.complete(begun["state"])
    assert found["__typename"] == "AuthorizationExpired"
    assert "Open the authorization address first" in found["message"]
    clara.consent(begun)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"


@pytest.mark.parametrize(("minutes", "answer"), [(9, "ProviderLinked"), (10, "AuthorizationExpired")])
def test_a_state_lives_ten_minutes(world: World, minutes: int, answer: str) -> None:
    clara = person(world)
    begun = returned(clara)
    world.move_clock(minutes=minutes)
    world.sandbox.world.requests.clear()
    for code in world.sandbox.world.calcom.codes.values():
        code.expires_at = at(2, 8)
    assert clara.complete(begun["state"])["__typename"] == answer
    assert world.calls("POST", TOKEN) == (1 if answer == "ProviderLinked" else 0)


def test_a_callback_that_comes_too_late_is_refused(world: World) -> None:
    clara = person(world)
    begun = clara.begin()
    world.move_clock(minutes=10)
    late = httpx.get(f"{world.url}/oauth/calcom/callback", params={"state": begun["state"], "code": "c"})
    assert late.status_code == 400
    assert late.json()["error"]["code"] == "AUTHORIZATION_EXPIRED"


def test_nobody_completes_what_somebody_else_began(world: World) -> None:
    clara, mallory = person(world), person(world, "Mallory")
    begun = returned(clara)
    found = mallory.complete(begun["state"])
    assert found["__typename"] == "AuthorizationExpired"
    assert world.calls("POST", TOKEN) == 0
    assert told(mallory) == ("NOT_CONNECTED", None)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"


def test_the_browser_that_consents_links_nothing_by_itself(world: World) -> None:
    """What comes back to a browser is worth nothing to anybody but the user who began."""
    clara, mallory = person(world), person(world, "Mallory")
    begun = mallory.begin()
    clara.consent(begun)
    assert clara.complete(begun["state"])["__typename"] == "AuthorizationExpired"
    assert (told(clara), told(mallory)) == (("NOT_CONNECTED", None), ("NOT_CONNECTED", None))
    assert world.calls("POST", TOKEN) == 0


def test_completing_twice_exchanges_once(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    first, second = clara.complete(begun["state"]), clara.complete(begun["state"])
    assert first == second
    assert second["__typename"] == "ProviderLinked"
    assert world.calls("POST", TOKEN) == 1


def test_completing_twice_at_once_exchanges_once(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    kinds = [found["__typename"] for found in at_once(*[lambda: clara.complete(begun["state"])] * 4)]
    assert "ProviderLinked" in kinds
    assert set(kinds) <= {"ProviderLinked", "AuthorizationExpired"}
    assert world.calls("POST", TOKEN) == 1
    assert LinkedAccount.select().count() == 1


def test_a_used_state_does_not_claim_a_link_that_is_gone(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    clara.complete(begun["state"])
    clara.one(DISCONNECT)
    assert clara.complete(begun["state"])["__typename"] == "AuthorizationExpired"
    assert told(clara) == ("NOT_CONNECTED", None)


def test_a_state_that_came_to_nothing_says_begin_again(world: World) -> None:
    clara = person(world)
    begun = clara.begin()
    clara.consent(begun, granted=["PROFILE_READ"])
    clara.complete(begun["state"])
    again = clara.complete(begun["state"])
    assert again["__typename"] == "AuthorizationExpired"
    assert "another request" not in again["message"]
    assert "connectProvider" in again["message"]


# ---- callback ------------------------------------------------------------------------------------------------------------


def test_a_browser_that_comes_back_twice_changes_nothing(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    again = httpx.get(f"{world.url}/oauth/calcom/callback", params={"state": begun["state"], "code": "forged"})
    assert again.status_code == 303
    refused = httpx.get(f"{world.url}/oauth/calcom/callback", params={"state": begun["state"], "error": "access_denied"})
    assert refused.status_code == 303
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    late = httpx.get(f"{world.url}/oauth/calcom/callback", params={"state": begun["state"], "code": "forged"})
    assert late.status_code == 303
    assert told(clara) == ("ACTIVE", None)
    assert world.calls("POST", TOKEN) == 1


@pytest.mark.parametrize(
    "query",
    [{}, {"state": ""}, {"code": "c"}, {"state": "unknown", "code": "c"}, {"state": "s" * 5000}, {"state": "s", "code": "c" * 5000}],
)
def test_a_callback_that_answers_nothing_of_ours_is_a_400(world: World, query: dict[str, str]) -> None:
    found = httpx.get(f"{world.url}/oauth/calcom/callback", params=query)
    assert found.status_code == 400
    assert found.json()["error"]["code"] in {"BAD_USER_INPUT", "AUTHORIZATION_EXPIRED"}
    assert found.json()["data"] is None
    assert OAuthState.select().count() == 0


def test_a_callback_of_an_unknown_provider_is_a_400(world: World) -> None:
    found = httpx.get(f"{world.url}/oauth/nobody/callback", params={"state": "s", "code": "c"})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "BAD_USER_INPUT")


def test_the_return_page_shows_what_came_back_and_runs_nothing(world: World) -> None:
    found = httpx.get(f"{world.url}/oauth/calcom/return", params={"state": "<script>alert(1)</script>", "error": "<b>x</b>"})
    assert found.status_code == 200
    assert "<script>alert(1)" not in found.text
    assert "<b>x</b>" not in found.text
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]


# ---- where the browser goes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", [RETURN_TO + "&x=1", "https://app.example.test/", "javascript:alert(1)", "", "//evil.test", RETURN_TO + "/"]
)
def test_an_address_that_is_not_allowed_is_refused_before_anything(with_frontend: World, address: str) -> None:
    clara = person(with_frontend)
    found = clara.begin(returnTo=address)
    assert (found["__typename"], found["code"]) == ("InvalidInput", "INVALID_INPUT")
    assert [field["path"] for field in found["fields"]] == [["returnTo"]]
    assert OAuthState.select().count() == 0


def test_an_allowed_address_gets_the_state_and_keeps_its_query(with_frontend: World) -> None:
    clara = person(with_frontend)
    begun = clara.begin(returnTo=RETURN_TO)
    assert clara.consent(begun) == f"{RETURN_TO}&state={begun['state']}"
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    again = clara.begin(returnTo=RETURN_TO)
    assert clara.consent(again, decision="deny") == f"{RETURN_TO}&state={again['state']}&error=access_denied"


def test_our_own_page_may_be_named(world: World) -> None:
    clara = person(world)
    assert clara.begin(returnTo=f"{world.url}/oauth/calcom/return")["__typename"] == "AuthorizationRedirect"


def test_an_unknown_provider_or_kind_is_a_bad_request(world: World) -> None:
    clara = person(world)
    for given in ({"provider": "NOBODY"}, {"provider": "CAL_COM", "kind": "MAGIC"}):
        answer = clara.post(CONNECT, {"input": given}).json()
        assert answer["errors"]
        assert not answer.get("data")


# ---- again ---------------------------------------------------------------------------------------------------------------


def test_reconnecting_keeps_the_id_and_the_bookings(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9))
    world.jobs()
    before, (booking,) = clara.one(CONNECTION)["linkedAccount"], clara.bookings()
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    clara.one(SYNC)
    assert told(clara) == ("NEEDS_RECONNECT", "REVOKED")
    world.move_clock(hours=1)
    clara.link()
    after = clara.one(CONNECTION)["linkedAccount"]
    assert (after["id"], after["state"], after["failedRefreshCount"]) == (before["id"], "ACTIVE", 0)
    assert after["linkedAt"] == before["linkedAt"]
    assert [b["id"] for b in clara.bookings()] == [booking["id"]]
    assert len(subscriptions(world)) == 1


def full_listings(world: World) -> int:
    return sum("afterStart" in r.query for r in world.sandbox.requests if r.path == BOOKINGS)


def _revoke(world: World, clara: Caller) -> None:
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)


def _disconnect(_world: World, clara: Caller) -> None:
    clara.one(DISCONNECT)


@pytest.mark.parametrize("interrupt", [lambda _world, _clara: None, _revoke, _disconnect], ids=["uninterrupted", "reconnected", "relinked"])
def test_the_reconciling_job_goes_on_after_connecting_again(world: World, interrupt: Callable[[World, Caller], None]) -> None:
    clara = world.coach()
    interrupt(world, clara)
    for _ in range(3):
        world.move_clock(hours=1)
        world.jobs()
    clara.link()
    world.sandbox.world.requests.clear()
    for _ in range(3):
        world.move_clock(hours=1)
        world.jobs()
    assert full_listings(world) >= 2


def test_another_account_is_not_taken_for_the_linked_one(world: World) -> None:
    clara = world.coach()
    world.account(world.caller("Private"))
    before = LinkedAccount.get()
    begun = clara.begin()
    clara.consent(begun, user="private@example.test")
    found = clara.complete(begun["state"])
    assert (found["__typename"], found["code"]) == ("DifferentAccount", "DIFFERENT_ACCOUNT")
    assert (found["expected"], found["got"]) == (clara.email, "private@example.test")
    after = LinkedAccount.get()
    assert (after.refresh_token, after.external_id) == (before.refresh_token, before.external_id)
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"


def test_switching_replaces_the_upstream_account(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9))
    world.jobs()
    before, (booking,) = clara.one(CONNECTION)["linkedAccount"], clara.bookings()
    world.account(world.caller("Private"))
    old_address = subscriptions(world)
    clara.link(user="private@example.test", switchAccount=True)
    after = clara.one(CONNECTION)["linkedAccount"]
    assert (after["id"], after["account"]["email"], after["state"]) == (before["id"], "private@example.test", "ACTIVE")
    assert after["sync"]["webhooks"] == "RECEIVING"
    assert after["sync"]["bookings"] == 0
    assert [b["id"] for b in clara.bookings()] == [booking["id"]], "history stays"
    assert set(subscriptions(world)).isdisjoint(old_address), "the old account's subscription calls nobody any more"
    assert len(subscriptions(world)) == 1


def test_an_account_belongs_to_one_user(world: World) -> None:
    clara, mallory = world.coach(), world.caller("Mallory")
    begun = mallory.begin()
    mallory.consent(begun, user=clara.email)
    found = mallory.complete(begun["state"])
    assert (found["__typename"], found["code"]) == ("AccountInUse", "ACCOUNT_IN_USE")
    assert clara.email not in found["message"]
    assert LinkedAccount.select().count() == 1
    assert told(mallory) == ("NOT_CONNECTED", None)
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"


def test_two_users_who_link_one_account_at_once(world: World) -> None:
    clara, otto = person(world), world.caller("Otto")
    mine, theirs = returned(clara), otto.begin()
    otto.consent(theirs, user=clara.email)
    found = at_once(lambda: clara.complete(mine["state"]), lambda: otto.complete(theirs["state"]))
    assert sorted(f["__typename"] for f in found) == ["AccountInUse", "ProviderLinked"]
    assert LinkedAccount.select().count() == 1


def test_one_user_who_links_twice_at_once_has_one_link(world: World) -> None:
    clara = person(world)
    first, second = returned(clara), returned(clara)
    found = at_once(lambda: clara.complete(first["state"]), lambda: clara.complete(second["state"]))
    assert [f["__typename"] for f in found] == ["ProviderLinked", "ProviderLinked"]
    assert LinkedAccount.select().count() == 1
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_an_account_that_was_given_up_may_be_anothers(world: World) -> None:
    clara, otto = world.coach(), world.caller("Otto")
    clara.one(DISCONNECT)
    otto.link(user=clara.email)
    assert told(otto) == ("ACTIVE", None)
    begun = returned(clara)
    assert clara.complete(begun["state"])["__typename"] == "AccountInUse"


# ---- a provider in trouble ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "effect",
    [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "drop", "when": "after"}, {"kind": "malformed"}],
    ids=["503", "dropped before", "dropped after", "malformed"],
)
def test_an_exchange_that_fails_says_begin_again_and_that_works(world: World, effect: dict[str, Any]) -> None:
    clara = person(world)
    begun = returned(clara)
    world.sandbox.fault(effect, method="POST", path=TOKEN)
    failed = clara.complete(begun["state"])
    assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE")
    assert "Begin again with connectProvider." in failed["message"]
    assert world.calls("POST", TOKEN) == 1
    assert LinkedAccount.select().count() == 0
    assert clara.complete(begun["state"])["__typename"] == "AuthorizationExpired"
    assert world.calls("POST", TOKEN) == 1
    assert told(clara.link()) == ("ACTIVE", None)


def test_a_code_that_was_certainly_not_spent_may_be_completed_again(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    world.sandbox.stop()
    try:
        failed = clara.complete(begun["state"])
        assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE")
        assert "Begin again" not in failed["message"]
    finally:
        world.sandbox.start()
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"


def test_an_exchange_told_to_slow_down_spends_no_code_however_early_it_is_repeated(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    headers = {"X-RateLimit-Remaining-Default": "0", "X-RateLimit-Reset-Default": "30"}
    world.sandbox.fault({"kind": "status", "status": 429, "headers": headers}, method="POST", path=TOKEN)
    failed = clara.complete(begun["state"])
    assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "RATE_LIMITED")
    early = clara.complete(begun["state"])
    assert (early["__typename"], early["code"]) == ("ProviderFailure", "RATE_LIMITED")
    assert world.calls("POST", TOKEN) == 1
    world.move_clock(seconds=30)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"


def test_wrong_client_credentials_are_the_operators(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    world.sandbox.fault({"kind": "status", "status": 401, "body": {"error": "invalid_client"}}, method="POST", path=TOKEN)
    failed = clara.complete(begun["state"])
    assert (failed["__typename"], failed["code"], "operator" in failed["message"]) == ("ProviderFailure", "CLIENT_MISCONFIGURED", True)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"


def test_a_code_that_the_provider_no_longer_takes(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    for code in list(world.sandbox.world.calcom.codes.values()):
        code.expires_at = world.clock.now()
    found = clara.complete(begun["state"])
    assert found["__typename"] == "AuthorizationExpired"
    assert "connectProvider" in found["message"]
    assert LinkedAccount.select().count() == 0


def test_a_profile_that_cannot_be_read_after_the_exchange_says_begin_again(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=ME, times=3)
    failed = clara.complete(begun["state"])
    assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE")
    assert "Begin again with connectProvider." in failed["message"], "the code is spent: this state cannot be completed"
    assert LinkedAccount.select().count() == 0
    assert world.jobs() == 0
    assert told(clara.link()) == ("ACTIVE", None)


def test_one_bad_moment_while_the_profile_is_read_is_not_felt(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    world.sandbox.fault({"kind": "drop"}, method="GET", path=ME, times=2)
    assert clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    assert (world.calls("POST", TOKEN), world.calls("GET", ME)) == (1, 3)


# ---- unlinking -------------------------------------------------------------------------------------------------------------


def test_disconnecting_takes_back_what_can_be_taken_back(world: World) -> None:
    clara = world.coach()
    (address,) = subscriptions(world)
    uid = world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    done = clara.one(DISCONNECT)
    assert (done["__typename"], done["revokedUpstream"]) == ("ProviderUnlinked", False)
    assert done["message"] == (
        "Cal.com is disconnected and its tokens are deleted here. Cal.com has no way to revoke them: "
        "to take the permission back there too, remove the app in its settings."
    )
    assert (done["status"]["state"], done["status"]["linkedAccount"]) == ("NOT_CONNECTED", None)
    assert subscriptions(world) == []
    row = LinkedAccount.get()
    assert (row.connected, row.access_token, row.refresh_token, row.access_expires_at) == (False, None, None, None)
    assert (WebhookSubscription.select().count(), AvailabilityCache.select().count()) == (0, 0)
    assert httpx.post(address, content=b"{}").status_code == 404
    assert clara.one(LINKED) == []
    assert [b["id"] for b in clara.bookings()] == [booking["id"]]
    assert world.live_uids() == [uid]

    world.sandbox.world.requests.clear()
    world.move_clock(hours=2)
    world.jobs()
    assert world.sandbox.requests == []
    second = clara.one(DISCONNECT)
    assert (second["__typename"], second["code"]) == ("NotConnected", "NOT_CONNECTED")
    assert clara.one(SYNC)["__typename"] == "NotConnected"


def test_of_two_disconnects_at_once_one_does_it(world: World) -> None:
    clara = world.coach()
    found = at_once(*[lambda: clara.one(DISCONNECT)] * 2)
    assert sorted(f["__typename"] for f in found) == ["NotConnected", "ProviderUnlinked"]
    assert world.calls("DELETE", WEBHOOKS) == 1


@pytest.mark.parametrize(
    ("method", "path", "effect"),
    [("*", "/calcom/v2/*", {"kind": "status", "status": 503}), ("DELETE", WEBHOOKS + "/*", {"kind": "drop", "when": "after"})],
    ids=["everything 503", "answer lost"],
)
def test_disconnecting_does_not_need_the_provider(world: World, method: str, path: str, effect: dict[str, Any]) -> None:
    clara = world.coach()
    world.move_clock(minutes=30)
    world.sandbox.fault(effect, method=method, path=path, times=None)
    assert clara.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    assert told(clara) == ("NOT_CONNECTED", None)
    assert LinkedAccount.get().refresh_token is None


def test_a_connection_that_needs_its_person_can_be_disconnected(world: World) -> None:
    clara = world.coach()
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    clara.one(SYNC)
    assert clara.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    assert told(clara) == ("NOT_CONNECTED", None)


def test_a_link_whose_tokens_cannot_be_opened_can_be_taken_back_and_made_again(world: World) -> None:
    """The installation lost its sealing key; its people must not be stuck with that."""
    clara, ida = world.coach(), world.coach("Ida")
    world.rt.vault = Vault([new_key("other")])
    assert clara.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    for person in (clara, ida):
        begun = returned(person)
        assert person.complete(begun["state"])["__typename"] == "ProviderLinked"
        assert person.one(SYNC)["__typename"] == "BookingsSynced"


def test_a_subscription_made_while_disconnecting_is_not_left_behind(world: World) -> None:
    clara = person(world)
    begun = returned(clara)
    clara.complete(begun["state"])
    held = world.sandbox.fault({"kind": "hold"}, method="POST", path=WEBHOOKS)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.jobs)
        assert held.wait_held()
        assert clara.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
        held.release()
        running.result()
    assert subscriptions(world) == []
    assert WebhookSubscription.select().count() == 0


def test_linking_again_after_a_disconnect_reuses_the_row(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9))
    world.jobs()
    before, (booking,) = clara.one(CONNECTION)["linkedAccount"], clara.bookings()
    clara.one(DISCONNECT)
    world.book(clara, at(2, 11), name="Olga")
    world.move_clock(minutes=5)
    clara.link()
    after = clara.one(CONNECTION)["linkedAccount"]
    assert (after["id"], after["linkedAt"], after["state"]) == (before["id"], "2027-03-01T08:05:00Z", "ACTIVE")
    assert len(subscriptions(world)) == 1
    assert clara.bookings()[0]["id"] == booking["id"]
    assert len(clara.bookings()) == 2


# ---- telling ---------------------------------------------------------------------------------------------------------------

SENTENCES = {
    "REVOKED": "Cal.com no longer accepts this connection: access was withdrawn there, or it was unused for too long. "
    "Connect Cal.com again; bookings and history stay.",
    "ROTATION_LOST": "Cal.com renewed this connection, but its answer was lost on the way, and the old key no longer works. "
    "Connect Cal.com again; bookings and history stay.",
    "SCOPE_MISSING": "Cal.com does not give Convene every permission it needs: BOOKING_READ. "
    "Connect Cal.com again; bookings and history stay.",
    "PROVIDER_UNAVAILABLE": "Cal.com cannot be reached right now. Nothing is lost and you need not do anything: it is tried again by itself.",
    "RATE_LIMITED": "Cal.com asks us to slow down. Nothing is lost and you need not do anything: it is tried again by itself.",
    "CLIENT_MISCONFIGURED": "Cal.com does not accept this installation's own credentials; its operator has been alarmed. "
    "Nothing is lost and you need not do anything: it is tried again by itself.",
}


def _revoked(world: World, clara: Caller) -> None:
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    clara.one(REFRESH, force=True)


def _rotation_lost(world: World, clara: Caller) -> None:
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=TOKEN)
    clara.one(REFRESH, force=True)
    world.move_clock(seconds=10)
    clara.one(REFRESH, force=True)


def _scope_missing(world: World, clara: Caller) -> None:
    for row in world.sandbox.world.calcom.tokens.values():
        row.scopes = [scope for scope in row.scopes if scope != "BOOKING_READ"]
    clara.one(SYNC)


def _token_endpoint(status: int, body: Any = None) -> Callable[[World, Caller], None]:
    def spoil(world: World, clara: Caller) -> None:
        world.move_clock(minutes=30)
        effect = {"kind": "status", "status": status} | ({"body": body} if body else {})
        world.sandbox.fault(effect, method="POST", path=TOKEN)
        clara.one(REFRESH)

    return spoil


SPOILT = {
    "REVOKED": (_revoked, "NEEDS_RECONNECT", "ConnectionUnusable"),
    "ROTATION_LOST": (_rotation_lost, "NEEDS_RECONNECT", "ConnectionUnusable"),
    "SCOPE_MISSING": (_scope_missing, "NEEDS_RECONNECT", "ConnectionUnusable"),
    "PROVIDER_UNAVAILABLE": (_token_endpoint(503), "DEGRADED", "ProviderFailure"),
    "RATE_LIMITED": (_token_endpoint(429), "DEGRADED", "ProviderFailure"),
    "CLIENT_MISCONFIGURED": (_token_endpoint(401, {"error": "invalid_client"}), "DEGRADED", "ProviderFailure"),
}


@pytest.mark.parametrize("code", SPOILT)
def test_every_problem_has_a_state_a_sentence_and_a_way_back(world: World, code: str) -> None:
    spoil, state, refusal = SPOILT[code]
    clara = world.coach()
    spoil(world, clara)
    status = clara.one(CONNECTION)
    assert (status["state"], status["problem"]["code"], status["message"]) == (state, code, SENTENCES[code])
    assert status["problem"]["missingScopes"] == (["BOOKING_READ"] if code == "SCOPE_MISSING" else [])
    assert (status["problem"]["retryAt"] is None) == (state == "NEEDS_RECONNECT")
    assert status["linkedAccount"]["state"] == state
    world.sandbox.world.requests.clear()
    assert clara.one(SYNC)["__typename"] == refusal
    assert world.calls("GET", BOOKINGS) == 0
    world.move_clock(seconds=61)
    clara.link()
    assert told(clara) == ("ACTIVE", None)


def test_a_status_is_known_by_user_and_provider(world: World) -> None:
    clara, ida = world.coach(), world.coach("Ida")
    mine, theirs = clara.one(CONNECTION)["id"], ida.one(CONNECTION)["id"]
    assert mine.endswith(":CAL_COM")
    assert mine != theirs


def test_what_an_installation_without_a_public_address_is_told(world: World) -> None:
    """A real provider cannot call a loopback address; linking and syncing work all the same."""
    world.rt.sandboxes = frozenset()
    clara = world.coach()
    status = clara.one(CONNECTION)
    assert (status["state"], status["sandbox"], status["linkedAccount"]["sync"]["webhooks"]) == ("ACTIVE", False, "UNREACHABLE")
    assert status["message"] == (
        "Cal.com is connected. It cannot reach this installation, so changes made there show up within some minutes."
    )
    assert subscriptions(world) == []
    assert world.calls("POST", WEBHOOKS) == 0
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"


def test_a_subscription_that_fails_is_retried_and_told(world: World) -> None:
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=WEBHOOKS)
    clara = world.coach()
    assert clara.one(CONNECTION)["linkedAccount"]["sync"]["webhooks"] == "RETRYING"
    world.move_clock(seconds=30)
    world.jobs()
    assert clara.one(CONNECTION)["linkedAccount"]["sync"]["webhooks"] == "RECEIVING"
    assert len(subscriptions(world)) == 1


def test_a_subscription_whose_answer_was_lost_is_adopted(world: World) -> None:
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=WEBHOOKS)
    clara = world.coach()
    assert clara.one(CONNECTION)["linkedAccount"]["sync"]["webhooks"] == "RETRYING"
    world.move_clock(seconds=30)
    world.jobs()
    assert clara.one(CONNECTION)["linkedAccount"]["sync"]["webhooks"] == "RECEIVING"
    assert len(subscriptions(world)) == 1
    world.book(clara, at(2, 9))
    world.jobs()
    assert len(clara.bookings()) == 1


def test_a_subscription_that_somebody_removed_is_made_again(world: World) -> None:
    clara = world.coach()
    (before,) = subscriptions(world)
    world.sandbox.world.calcom.webhooks.remove(lambda _: False)
    world.move_clock(hours=1, minutes=1)
    world.jobs()
    assert subscriptions(world) == [before]
    assert clara.one(CONNECTION)["linkedAccount"]["sync"]["webhooks"] == "RECEIVING"


def test_a_failed_reading_is_told_and_forgotten_when_it_works_again(world: World) -> None:
    clara = world.coach()
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=BOOKINGS, times=3)
    world.move_clock(minutes=1)
    assert clara.one(SYNC)["__typename"] == "ProviderFailure"
    sync = clara.one(CONNECTION)["linkedAccount"]["sync"]
    assert (sync["lastSyncedAt"], sync["lastError"]) == ("2027-03-01T08:00:00Z", "PROVIDER_OUTCOME_UNKNOWN")
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    sync = clara.one(CONNECTION)["linkedAccount"]["sync"]
    assert (sync["lastSyncedAt"], sync["lastError"]) == ("2027-03-01T08:01:00Z", None)


def test_name_and_zone_come_from_the_account_where_nobody_else_told(world: World) -> None:
    clara = Caller(world, "Clara", "clara@example.test", "Europe/Berlin", {"name": None, "zoneinfo": None})
    world.account(clara)
    assert clara.one(VIEWER) == {"name": "Unnamed", "timeZone": "UTC"}
    clara.link()
    assert clara.one(VIEWER) == {"name": "Clara", "timeZone": "Europe/Berlin"}
    clara.one(DISCONNECT)
    assert clara.one(VIEWER) == {"name": "Clara", "timeZone": "Europe/Berlin"}


def test_name_and_zone_of_the_identity_provider_stay(world: World) -> None:
    clara = world.caller("Clara Claims", "clara@example.test", "America/New_York")
    world.sandbox_call("calcom/users", email=clara.email, name="C. Upstream", timeZone="Europe/Berlin")
    clara.link()
    assert clara.one(VIEWER) == {"name": "Clara Claims", "timeZone": "America/New_York"}


def test_nobody_without_a_sign_in_links_anything(world: World) -> None:
    for query in (CONNECT, COMPLETE, DISCONNECT, CONNECTION, LINKED):
        answer = world.http.post("/graphql", json={"query": query})
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert OAuthState.select().count() == 0
