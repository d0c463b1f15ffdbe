"""The contract with Cal.com Atoms: sessions of a browser, and new access tokens for expired ones."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from harness import CLIENT_ID, CLIENT_SECRET, DISCONNECT, REFRESH, SYNC, Caller, World, stored

from app import assemble, create_app
from models import AtomsSession, HandedOutToken, LinkedAccount
from services import claims
from services.providers.calcom.provider import CalcomProvider, CalcomSettings
from services.vault import new_key, place

PLATFORM, SECRET = "platform-tests", "platform-secret"
FRONTEND = "https://app.example.test"
OAUTH, RENEWAL = "/calcom/v2/auth/oauth2/token", "/calcom/v2/oauth/*/refresh"
START = """mutation { startAtomsSession { __typename ... on AtomsSession { clientId apiUrl refreshUrl accessToken expiresAt }
  ... on ConnectionUnusable { isViewers provider problem { code } } ... on ProviderFailure { retryable retryAt }
  ... on Problem { code message } } }"""
CONNECT_ANY = """mutation($input: ConnectProviderInput!) { connectProvider(input: $input) { __typename
  ... on ProviderLinked { status { state } } ... on Problem { code message } } }"""
KINDS = pytest.mark.parametrize("kind", ["OAUTH", "MANAGED_USER"])


def calcom(world: World) -> CalcomSettings:
    return CalcomSettings(
        api_url=f"{world.sandbox.url}/calcom",
        app_url=f"{world.sandbox.url}/calcom",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        platform_client_id=PLATFORM,
        platform_client_secret=SECRET,
    )


@pytest.fixture
def web(world: World, database_url: str) -> Iterator[World]:
    """The world with a frontend that may ask, and with a platform client."""
    with World(database_url, world.issuer, world.sandbox, allowed_origins=(FRONTEND,)) as mine:
        mine.sandbox_call("calcom/platform-clients", clientId=PLATFORM, clientSecret=SECRET, redirectUris=[FRONTEND])
        mine.rt.providers["calcom"] = CalcomProvider(calcom(mine), mine.rt.transport, mine.clock.now)
        yield mine


def linked(world: World, kind: str = "MANAGED_USER", name: str = "Mona") -> Caller:
    if kind == "OAUTH":
        return world.coach(name)
    person = world.caller(name, time_zone="Europe/Lisbon")
    answer = person.one(CONNECT_ANY, input={"provider": "CAL_COM", "kind": "MANAGED_USER"})
    assert answer["__typename"] == "ProviderLinked", answer
    world.jobs()
    return person


def begin(person: Caller) -> dict[str, Any]:
    session: dict[str, Any] = person.one(START)
    assert session["__typename"] == "AtomsSession", session
    return session


def handle_of(session: dict[str, Any]) -> str:
    return parse_qs(urlsplit(session["refreshUrl"]).query)["session"][0]


def ask(world: World, url: str, token: str | None, origin: str | None = FRONTEND) -> httpx.Response:
    """As the browser does at `refreshUrl`."""
    given = {"Origin": origin, "Authorization": None if token is None else f"Bearer {token}"}
    headers = {name: value for name, value in given.items() if value is not None}
    return world.http.get(url, headers={"Content-Type": "application/json", **headers})


def renew(world: World, session: dict[str, Any], token: str | None = None) -> str:
    """The new token for the session's one; an answer has nothing beside it."""
    answer = ask(world, session["refreshUrl"], token or session["accessToken"])
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND
    assert set(answer.json()) == {"accessToken"}
    return str(answer.json()["accessToken"])


def exchanges(world: World) -> int:
    """All that can make a pair at the provider."""
    return world.calls("POST", "/oauth2/token") + world.calls("POST", f"/oauth/{PLATFORM}/refresh") + world.calls("POST", "/force-refresh")


def refused(world: World, url: str, token: str | None, origin: str | None = FRONTEND) -> bool:
    """An empty token at top level, and nobody at the provider was asked."""
    before = exchanges(world)
    answer = ask(world, url, token, origin)
    return answer.json() == {"accessToken": ""} and answer.headers["content-type"] == "application/json" and exchanges(world) == before


def kept(world: World, person: Caller, column: str = "access_token") -> str:
    row = LinkedAccount.get(LinkedAccount.email == person.email)
    return world.rt.vault.open(getattr(row, column), place("linked_account", row.id, column))


def accepted(world: World, token: str) -> int:
    return httpx.get(f"{world.sandbox.url}/calcom/v2/me", headers={"Authorization": f"Bearer {token}"}).status_code


def in_background(work: Callable[[], Any]) -> "Future[Any]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


# ---- starting a session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "client_id"), [("OAUTH", CLIENT_ID), ("MANAGED_USER", PLATFORM)])
def test_a_session_has_what_the_components_are_started_with(web: World, kind: str, client_id: str) -> None:
    person = linked(web, kind)
    session = begin(person)
    assert (session["clientId"], session["apiUrl"]) == (client_id, f"{web.sandbox.url}/calcom/v2")
    assert session["accessToken"] == kept(web, person)
    assert session["expiresAt"] == "2027-03-01T20:00:00Z"
    assert session["refreshUrl"] == f"{web.url}/tokens/cal/refresh?session={handle_of(session)}"
    assert accepted(web, session["accessToken"]) == 200


def test_the_components_can_ask_what_they_ask_first(web: World) -> None:
    session = begin(linked(web))
    client = httpx.get(f"{session['apiUrl']}/provider/{session['clientId']}")
    assert (client.status_code, client.json()["data"]["clientId"]) == (200, PLATFORM)
    headers = {"Authorization": f"Bearer {session['accessToken']}", "Origin": FRONTEND}
    assert httpx.get(f"{session['apiUrl']}/provider/{session['clientId']}/access-token", headers=headers).json() == {"status": "success"}
    web.move_clock(minutes=60)
    assert httpx.get(f"{session['apiUrl']}/provider/{session['clientId']}/access-token", headers=headers).status_code == 498


def test_a_session_begins_with_a_living_token(web: World) -> None:
    mona = linked(web)
    old = kept(web, mona)
    web.move_clock(minutes=60)
    session = begin(mona)
    assert session["accessToken"] == kept(web, mona) != old
    assert session["expiresAt"] == "2027-03-01T21:00:00Z"


def test_nobody_linked_has_no_session(web: World) -> None:
    answer = web.caller("Mona").one(START)
    assert (answer["__typename"], answer["code"]) == ("NotConnected", "NOT_CONNECTED")
    assert AtomsSession.select().count() == 0


def test_a_revoked_link_has_no_session(web: World) -> None:
    clara = linked(web, "OAUTH", "Clara")
    web.sandbox_call("calcom/tokens/revoke", email=clara.email)
    assert clara.one(SYNC)["__typename"] == "ConnectionUnusable"
    answer = clara.one(START)
    assert (answer["__typename"], answer["isViewers"], answer["problem"]) == ("ConnectionUnusable", True, {"code": "REVOKED"})
    assert AtomsSession.select().count() == 0


def test_a_provider_that_is_down_begins_no_session(web: World) -> None:
    mona = linked(web)
    web.move_clock(minutes=60)
    web.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=RENEWAL)
    answer = mona.one(START)
    assert (answer["__typename"], answer["retryable"], answer["retryAt"]) == ("ProviderFailure", True, "2027-03-01T09:00:05Z")
    assert (AtomsSession.select().count(), HandedOutToken.select().count()) == (0, 0)


def test_a_session_needs_a_sign_in(web: World) -> None:
    assert web.http.post("/graphql", json={"query": START}).status_code == 401


# ---- a new token for an expired one ----------------------------------------------------------------------------------------


@KINDS
def test_an_expired_token_is_answered_with_a_new_one(web: World, kind: str) -> None:
    person = linked(web, kind)
    session = begin(person)
    web.move_clock(minutes=60)
    before = exchanges(web)
    answer = ask(web, session["refreshUrl"], session["accessToken"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {"accessToken": kept(web, person)}
    assert answer.json()["accessToken"] != session["accessToken"]
    assert accepted(web, answer.json()["accessToken"]) == 200
    assert exchanges(web) == before + 1


def test_a_session_lives_through_many_tokens(web: World) -> None:
    session = begin(linked(web))
    token, seen = session["accessToken"], {session["accessToken"]}
    for _ in range(11):
        web.move_clock(minutes=60)
        token = renew(web, session, token)
        seen.add(token)
        assert accepted(web, token) == 200
    assert len(seen) == 12


def test_two_tabs_in_turn_get_the_same_token(web: World) -> None:
    session = begin(linked(web))
    web.move_clock(minutes=60)
    before = exchanges(web)
    assert renew(web, session) == renew(web, session)
    assert exchanges(web) == before + 1


@KINDS
def test_two_tabs_at_once_get_the_same_token(web: World, kind: str) -> None:
    person = linked(web, kind)
    first, second = begin(person), begin(person)
    web.move_clock(minutes=60)
    before = exchanges(web)
    path = OAUTH if kind == "OAUTH" else RENEWAL
    held = web.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=path)
    another = web.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=path, skip=1)
    tabs = [in_background(lambda s=session: renew(web, s)) for session in (first, second)]
    assert held.wait_held()
    assert not another.wait_held(timeout=0.3)
    another.release()
    held.release()
    tokens = {tab.result() for tab in tabs}
    assert tokens == {kept(web, person)}
    assert accepted(web, tokens.pop()) == 200
    assert exchanges(web) == before + 1


def test_a_tab_that_slept_through_three_renewals_gets_the_present_token(web: World) -> None:
    mona = linked(web)
    session = begin(mona)
    token = session["accessToken"]
    for _ in range(3):
        web.move_clock(minutes=60)
        token = renew(web, session, token)
    before = exchanges(web)
    assert renew(web, session) == token == kept(web, mona)
    assert exchanges(web) == before


def test_a_tab_that_slept_through_renewals_of_the_server_itself(web: World) -> None:
    """The tokens between were never handed out."""
    mona = linked(web)
    session = begin(mona)
    for _ in range(3):
        web.move_clock(minutes=60)
        assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert renew(web, session) == kept(web, mona)


def test_a_second_session_takes_the_token_of_the_first(web: World) -> None:
    """Both name one account; a page that was reloaded may still hold the older token."""
    mona = linked(web)
    first = begin(mona)
    web.move_clock(minutes=60)
    second = begin(mona)
    assert renew(web, second, first["accessToken"]) == second["accessToken"]


def test_a_token_that_the_provider_refuses_is_renewed_after_a_minute(web: World) -> None:
    """Our clock calls it good. A browser that loops costs one exchange, not one a call."""
    mona = linked(web)
    session = begin(mona)
    web.sandbox_call("calcom/tokens/revoke", email=f"mona+{PLATFORM}@example.test")
    before = exchanges(web)
    assert [ask(web, session["refreshUrl"], session["accessToken"]).json()["accessToken"] for _ in range(5)] == [""] * 5
    assert exchanges(web) == before
    web.move_clock(seconds=61)
    token = renew(web, session)
    assert token not in {"", session["accessToken"]}
    assert accepted(web, token) == 200
    assert [r.status for r in web.sandbox.requests if r.method == "POST" and r.path.endswith("refresh")][-2:] == [400, 200]
    spent = exchanges(web)
    for _ in range(5):
        # the token that was refused is never the answer: Atoms would try it without end
        assert ask(web, session["refreshUrl"], token).json()["accessToken"] == ""
        assert renew(web, session) == token
    assert exchanges(web) == spent


def test_many_tabs_with_a_refused_token_cost_one_exchange(web: World) -> None:
    """Whoever comes while, or right after, another tab's pair is stored gets that pair and makes no other."""
    mona = linked(web)
    session = begin(mona)
    web.sandbox_call("calcom/tokens/revoke", email=f"mona+{PLATFORM}@example.test")
    web.move_clock(seconds=61)
    barrier = threading.Barrier(12)

    def tab() -> str:
        barrier.wait()
        return renew(web, session)

    with ThreadPoolExecutor(12) as pool:
        tokens = {future.result() for future in [pool.submit(tab) for _ in range(12)]}
    assert tokens == {kept(web, mona)}
    assert web.calls("POST", "/force-refresh") == 2, "one to link, one to recover"


def test_a_browser_that_loops_is_stopped_and_costs_nothing(web: World) -> None:
    session = begin(linked(web))
    web.move_clock(minutes=2)
    before, token = exchanges(web), session["accessToken"]
    answers = []
    for _ in range(40):
        answer = ask(web, session["refreshUrl"], token).json()["accessToken"]
        answers.append(answer)
        token = answer or token
    assert exchanges(web) == before + 1
    assert answers == [token] + [""] * 39
    web.move_clock(seconds=61)
    assert renew(web, session, token) not in {"", token}
    assert exchanges(web) == before + 2


@KINDS
def test_a_provider_that_is_down_gives_none_now_and_one_later(web: World, kind: str) -> None:
    session = begin(linked(web, kind))
    web.move_clock(minutes=60)
    web.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=OAUTH if kind == "OAUTH" else RENEWAL)
    assert renew(web, session) == ""
    web.move_clock(seconds=6)
    assert accepted(web, renew(web, session)) == 200


def test_a_managed_users_lost_pair_is_forced(web: World) -> None:
    mona = linked(web)
    session = begin(mona)
    web.move_clock(minutes=60)
    web.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=RENEWAL)
    assert renew(web, session) == ""
    web.move_clock(seconds=6)
    assert accepted(web, renew(web, session)) == 200


# ---- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "https://evil.example", "http://app.example.test", f"{FRONTEND}:444", f"{FRONTEND}/", f"{FRONTEND}.evil.example",
     FRONTEND.upper(), f"{FRONTEND}, https://evil.example"],
)  # fmt: skip
def test_another_origin_gets_nothing(web: World, origin: str | None) -> None:
    session = begin(linked(web))
    web.move_clock(minutes=60)
    assert refused(web, session["refreshUrl"], session["accessToken"], origin)


def test_without_a_frontend_nobody_gets_anything(world: World, database_url: str) -> None:
    with World(database_url, world.issuer, world.sandbox) as mine:
        session = begin(mine.coach())
        mine.move_clock(minutes=60)
        for origin in (None, "", FRONTEND, mine.url):
            assert refused(mine, session["refreshUrl"], session["accessToken"], origin)


def test_an_altered_handle_gets_nothing(web: World) -> None:
    mona, nora = linked(web), linked(web, name="Nora")
    session, other = begin(mona), begin(nora)
    handle, theirs = handle_of(session), handle_of(other)
    payload, signature = handle.rsplit(".", 1)
    web.move_clock(minutes=60)
    altered = [
        "",
        ".",
        "x",
        "%00",
        "%ff",
        "é",
        payload,
        signature,
        f"{payload}.",
        f".{signature}",
        handle[:-1],
        f"{handle}x",
        handle.swapcase(),
        f"{payload}.{theirs.rsplit('.', 1)[1]}",
        f"{theirs.rsplit('.', 1)[0]}.{signature}",
        AtomsSession.select().order_by(AtomsSession.id).first().id,
        "x" * 5000,
    ]
    for one in altered:
        assert refused(web, f"/tokens/cal/refresh?session={one}", session["accessToken"]), one
    assert refused(web, "/tokens/cal/refresh", session["accessToken"])
    assert renew(web, session) != ""


def test_handle_and_token_must_name_one_account(web: World) -> None:
    mona, nora = linked(web), linked(web, name="Nora")
    mine, theirs = begin(mona), begin(nora)
    web.move_clock(minutes=60)
    assert refused(web, theirs["refreshUrl"], mine["accessToken"])
    assert refused(web, mine["refreshUrl"], theirs["accessToken"])
    assert renew(web, mine) != renew(web, theirs)


def test_a_token_that_was_never_handed_out_gets_nothing(web: World) -> None:
    mona = linked(web)
    session = begin(mona)
    mona.one(REFRESH, force=True)
    unseen = kept(web, mona)
    assert unseen != session["accessToken"]
    web.move_clock(minutes=60)
    for token in (unseen, kept(web, mona, "refresh_token"), mona.token, "x", f"{session['accessToken']}x", "x" * 5000):
        assert refused(web, session["refreshUrl"], token), token


def test_without_a_token_there_is_none(web: World) -> None:
    session = begin(linked(web))
    web.move_clock(minutes=60)
    assert refused(web, session["refreshUrl"], None)
    for header in ("", "Bearer", "Bearer x y", "Basic eDp5"):
        before = exchanges(web)
        answer = web.http.get(session["refreshUrl"], headers={"Origin": FRONTEND, "Authorization": header})
        assert (answer.json(), exchanges(web)) == ({"accessToken": ""}, before)


def test_a_handle_ends_after_twelve_hours(web: World) -> None:
    session = begin(linked(web))
    web.move_clock(hours=11, minutes=59)
    token = renew(web, session)
    assert token != ""
    web.move_clock(minutes=1)
    assert refused(web, session["refreshUrl"], token)
    assert refused(web, session["refreshUrl"], session["accessToken"])


def test_the_clean_up_removes_what_ended(web: World) -> None:
    mona = linked(web)
    begin(mona)
    web.move_clock(hours=13)
    session = begin(mona)
    assert (AtomsSession.select().count(), HandedOutToken.select().count()) == (2, 2)
    claims.schedule("clean_up", "", web.clock.now())
    web.jobs()
    assert (AtomsSession.select().count(), HandedOutToken.select().count()) == (1, 2)
    web.move_clock(minutes=60)
    assert renew(web, session) != ""
    web.move_clock(hours=49)
    web.jobs()
    assert (AtomsSession.select().count(), HandedOutToken.select().count()) == (0, 0)


@KINDS
def test_unlinking_ends_the_sessions(web: World, kind: str) -> None:
    person = linked(web, kind)
    session = begin(person)
    assert person.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    assert refused(web, session["refreshUrl"], session["accessToken"])
    web.move_clock(minutes=60)
    assert refused(web, session["refreshUrl"], session["accessToken"])


@KINDS
def test_linking_again_does_not_bring_them_back(web: World, kind: str) -> None:
    person = linked(web, kind)
    session = begin(person)
    person.one(DISCONNECT)
    if kind == "OAUTH":
        person.link()
    else:
        assert person.one(CONNECT_ANY, input={"provider": "CAL_COM", "kind": kind})["__typename"] == "ProviderLinked"
    fresh = begin(person)
    web.move_clock(minutes=60)
    assert refused(web, session["refreshUrl"], session["accessToken"])
    assert refused(web, session["refreshUrl"], fresh["accessToken"])
    assert refused(web, fresh["refreshUrl"], session["accessToken"])
    assert renew(web, fresh) != ""


def test_switching_the_account_ends_them(web: World) -> None:
    mona = web.caller("Mona")
    web.account(web.caller("Private"))
    mona.link(user="private@example.test")
    session = begin(mona)
    switch = {"provider": "CAL_COM", "kind": "MANAGED_USER", "switchAccount": True}
    assert mona.one(CONNECT_ANY, input=switch)["__typename"] == "ProviderLinked"
    fresh = begin(mona)
    assert fresh["clientId"] == PLATFORM
    web.move_clock(minutes=60)
    assert refused(web, session["refreshUrl"], session["accessToken"])
    assert refused(web, fresh["refreshUrl"], session["accessToken"])
    assert renew(web, fresh) != ""


def test_a_revoked_link_gives_no_token(web: World) -> None:
    clara = linked(web, "OAUTH", "Clara")
    session = begin(clara)
    web.sandbox_call("calcom/tokens/revoke", email=clara.email)
    web.move_clock(minutes=60)
    assert renew(web, session) == ""
    assert refused(web, session["refreshUrl"], session["accessToken"])


# ---- CORS ------------------------------------------------------------------------------------------------------------------


def preflight(world: World, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return world.http.options("/tokens/cal/refresh?session=x", headers=headers)


def test_the_frontend_may_send_the_token(web: World) -> None:
    answer = preflight(web, FRONTEND)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, FRONTEND)
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type"} <= allowed
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{FRONTEND}.evil.example"])
def test_nobody_else_may(web: World, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(web, origin).headers
    session = begin(linked(web))
    assert "Access-Control-Allow-Origin" not in ask(web, session["refreshUrl"], session["accessToken"], origin).headers


def test_a_refusal_can_be_read_by_the_frontend(web: World) -> None:
    answer = ask(web, "/tokens/cal/refresh?session=x", "y")
    assert answer.json() == {"accessToken": ""}
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND


# ---- keys and secrets ------------------------------------------------------------------------------------------------------


def restart(world: World, *keys: str) -> None:
    """The same installation, started again with these sealing keys."""
    settings = world.rt.settings.model_copy(update={"sealing_keys": keys})
    world.rt.transport.close()
    world.convene = assemble(settings, {**world.providers, "calcom": calcom(world)}, clock=world.clock)
    world.rt = world.convene.rt
    world._server.app = create_app(convene=world.convene)


def test_a_handle_outlives_a_new_first_key(web: World) -> None:
    session = begin(linked(web))
    old = web.rt.settings.sealing_keys
    restart(web, new_key("next"), *old)
    web.move_clock(minutes=60)
    assert renew(web, session) != ""
    fresh = begin(web.caller("Mona"))
    web.move_clock(minutes=60)
    assert renew(web, fresh) != ""


def test_a_handle_of_a_key_that_is_gone_is_worth_nothing(web: World) -> None:
    mona = linked(web)
    session = begin(mona)
    new = new_key("next")
    restart(web, new, *web.rt.settings.sealing_keys)
    web.move_clock(minutes=60)
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    restart(web, new)
    assert refused(web, session["refreshUrl"], session["accessToken"])


def test_nothing_secret_is_readable_at_rest_or_in_the_log(web: World, database_url: str) -> None:
    secrets = {SECRET, CLIENT_SECRET}
    for kind, name in (("MANAGED_USER", "Mona"), ("OAUTH", "Clara")):
        person = linked(web, kind, name)
        session = begin(person)
        secrets |= {session["accessToken"], handle_of(session), handle_of(session).rsplit(".", 1)[1], kept(web, person, "refresh_token")}
        web.move_clock(minutes=60)
        secrets |= {renew(web, session), kept(web, person, "refresh_token")}
        assert refused(web, session["refreshUrl"] + "x", session["accessToken"])
        if kind == "MANAGED_USER":
            username = LinkedAccount.get(LinkedAccount.email == person.email).username
            headers = {"Authorization": f"Bearer {person.token}"}
            given = web.http.post("/tokens/cal/managed-user", json={"username": username}, headers=headers)
            secrets |= {given.json()["accessToken"]}
        web.sandbox.fault({"kind": "status", "status": 503}, method="POST", path=OAUTH if kind == "OAUTH" else RENEWAL)
        person.one(REFRESH, force=True)
    assert "" not in secrets
    assert len(secrets) == 14
    held = stored(database_url)
    assert HandedOutToken.select().order_by(HandedOutToken.id.desc()).first().token_hash.encode() in held, (
        "it was read after the last write"
    )
    assert [secret for secret in secrets if secret.encode() in held] == []
    logged = web.logged.getvalue()
    assert "no token for a browser" in logged
    assert [secret for secret in secrets if secret in logged] == []
