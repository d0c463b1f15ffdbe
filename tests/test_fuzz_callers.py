"""What callers send beside their operation: tokens, handles, tickets, headers, parameters. Whatever it is, nobody is surprised.

No answer is a 500, none tells of the inside, and each is in its documented shape.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from harness import Caller, World
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from system.fuzz_mutations import JSON, ODD, TEXT
from test_fuzz_answers import surprise, told
from test_fuzz_parsers import QUICK, both

from routes.graphql_requests import GRAPHQL_JSON, media_type
from services.request_limits import address_of

INSIDE = ("Traceback", "site-packages", "sqlite3", "psycopg", "peewee", "/services/", "SELECT ")
BYTES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80).map(str.strip)
"""What a header may hold on the wire."""
ESCAPED = st.binary(max_size=40).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw))
CODES = {
    "BAD_USER_INPUT", "AUTHORIZATION_EXPIRED", "BAD_SIGNATURE", "TOO_OLD", "UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED",
    "TIMEOUT", "TOO_MANY_REQUESTS", "TOO_LARGE", "CONNECTION_UNUSABLE", "TOO_COMPLEX", "INTROSPECTION_DISABLED", "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED", "DOCUMENT_NOT_TRUSTED", "UNAVAILABLE",
}  # fmt: skip
"""Of docs/errors.md, without INTERNAL."""


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def fine(answer: httpx.Response) -> None:
    """An answer of ours in a documented shape that is no surprise."""
    assert answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", answer.headers["X-Request-Id"])
    assert not any(word in answer.text for word in INSIDE), answer.text[:300]
    if answer.status_code >= 400 and answer.headers["Content-Type"].startswith("application/"):
        body = answer.json()
        codes = [error["extensions"]["code"] for error in body["errors"]] if "errors" in body else [(body.get("error") or {}).get("code")]
        assert body == {"accessToken": ""} or set(codes) <= CODES, body


def quiet(world: World) -> None:
    causes = {cause for line in world.logged.getvalue().splitlines() if (cause := surprise(line))}
    assert not causes, told({cause: [] for cause in causes})


def fuzz(world: World, how: settings, strategy: st.SearchStrategy[Any], send: Callable[[Any], httpx.Response]) -> None:
    # what goes over the wire costs more than what is only read
    @settings(how, max_examples=max(how.max_examples // 4, 25))
    @given(strategy)
    def check(value: Any) -> None:
        fine(send(value))

    check()
    quiet(world)


# ---- tokens -----------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["alg", "kid", "crit", "b64", "typ", "cty", "jwk", "jku", "x5c", "x5t", "zip", "enc", "epk", "p2c"])
VALUES = JSON | st.sampled_from([odd for odd in ODD if repr(odd) != "GONE"]) | st.sampled_from(["ES256", "HS256", "none", "first", "dir"])
TOKEN_HEADERS = st.dictionaries(NAMES, VALUES, max_size=4).map(lambda more: {"alg": "ES256", "kid": "first", **more})
RAW_TOKENS = (
    st.builds(
        lambda header, payload, signature: f"{b64(json.dumps(header).encode())}.{b64(payload)}.{b64(signature)}",
        TOKEN_HEADERS,
        st.binary(max_size=60) | JSON.map(lambda content: json.dumps(content).encode()),
        st.binary(max_size=70) | st.binary(min_size=64, max_size=64),
    )
    | st.lists(st.binary(max_size=30).map(b64), max_size=6).map(".".join)
    | st.sampled_from([f"{b64(b'[' * 12_000)}.e30.x", f"{b64(b'{{' * 3000)}.e30.x", "..", "a.b.c.d.e", "e30.e30.", "e30.W10.AA"])
)


@both
@pytest.mark.parametrize(("method", "path"), [("POST", "/graphql"), ("POST", "/tokens/cal/managed-user"), ("GET", "/audit/export")])
def test_tokens_that_nobody_signed(world: World, method: str, path: str, how: settings) -> None:
    """401, whatever the token's parts hold."""
    world.caller("Clara").gql("{ viewer { id } }")

    def send(token: str) -> httpx.Response:
        answer = world.http.request(method, path, headers={"Authorization": f"Bearer {token}".strip()}, json={"query": "{ viewer { id } }"})
        assert answer.status_code == 401, answer.text
        return answer

    fuzz(world, how, RAW_TOKENS, send)


CLAIMS = st.dictionaries(
    st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "azp", "email", "email_verified", "name", "zoneinfo", "admin", "jti"]),
    VALUES | st.floats() | st.sampled_from([10**400, -(10**400), float("nan"), float("inf")]),
    min_size=1,
    max_size=2,
)


@both
def test_claims_that_the_issuer_signed(world: World, how: settings) -> None:
    """An issuer that says strange things of somebody: they are signed in or not, and what they are told can be shown."""
    now = int(world.clock.now().timestamp())

    def send(claims: dict[str, Any]) -> httpx.Response:
        payload = {"iss": world.issuer.url, "aud": world.issuer.audience, "sub": "strange", "iat": now, "exp": now + 3600, **claims}
        token = jwt.encode({"alg": "ES256", "kid": world.issuer.key.kid}, payload, world.issuer.key)
        query = (
            "{ viewer { id name email timeZone isAdmin } bookings { edges { node { id } } } connectionStatus(provider: ZOOM) { message } }"
        )
        answer = world.http.post("/graphql", json={"query": query}, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401 or "errors" not in answer.json(), (claims, answer.text[:300])
        return answer

    fuzz(world, how, CLAIMS, send)


@both
def test_atoms_handles(world: World, how: settings) -> None:
    handles = ESCAPED | TEXT.map(quote) | st.lists(st.binary(max_size=20).map(b64), min_size=1, max_size=4).map(".".join)

    def send(given: tuple[str, str, str]) -> httpx.Response:
        handle, token, origin = given
        headers = {"Authorization": f"Bearer {token}".strip().encode("latin-1"), "Origin": origin.encode("latin-1")}
        answer = world.http.get(f"/tokens/cal/refresh?session={handle}" if "%" in handle else "/tokens/cal/refresh", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"accessToken": ""})
        return answer

    fuzz(world, how, st.tuples(handles, BYTES, BYTES), send)


# ---- live updates --------------------------------------------------------------------------------------------------------------

TICKET = "mutation { startLiveUpdates { url } }"


@both
def test_tickets(world: World, how: settings) -> None:
    def send(given: tuple[str, str]) -> httpx.Response:
        answer = world.http.get(f"/events?ticket={given[0]}", headers={"Last-Event-ID": given[1].encode("latin-1")})
        assert answer.status_code == 401
        return answer

    fuzz(world, how, st.tuples(ESCAPED, BYTES), send)


def test_the_id_from_which_a_stream_is_taken_up(world: World) -> None:
    """A real ticket with any id: the stream begins, with `reset` where the id means nothing."""
    clara = world.caller("Clara")

    @settings(QUICK, max_examples=20)
    @given(BYTES)
    def check(last_id: str) -> None:
        url = clara.one(TICKET)["url"]
        with world.http.stream("GET", url, headers={"Last-Event-ID": last_id.encode("latin-1")}) as stream:
            assert stream.status_code == 200
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert next(stream.iter_bytes()).startswith(b"retry: 3000\n\n")

    check()
    quiet(world)


# ---- addresses and headers ---------------------------------------------------------------------------------------------------

PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["state", "code", "error", "error_description", "session", "ticket", "after", "since", "until", "query", "variables", "extensions"]
    ),
    ESCAPED
    | st.sampled_from(["0" * 5000, "00000000000000000001" + "9" * 40, "9999-12-31T23:59:59-14:00", "2027-W01", "nan"])
    | BYTES.map(lambda t: t.encode().hex()),
    max_size=4,
)
PATHS = st.sampled_from(
    [
        "/oauth/calcom/callback", "/oauth/zoom/callback", "/oauth/nobody/callback", "/oauth/calendly/return", "/audit/export", "/graphql",
        "/events", "/tokens/cal/refresh", "/metrics", "/health", "/webhooks/zoom", "/webhooks/calcom/x", "/webhooks/x/y", "/assets/graphiql/x",
    ]
) | ESCAPED.map(lambda path: f"/oauth/{path}/callback") | ESCAPED.map(lambda path: f"/{path}")  # fmt: skip


@both
def test_addresses_with_any_parameters(world: World, how: settings) -> None:
    admin = world.caller("Ada", admin=True)

    def send(given: tuple[str, str, dict[str, str]]) -> httpx.Response:
        method, path, parameters = given
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return world.http.request(method, f"{path}?{query}", headers={"Authorization": f"Bearer {admin.token}"}, content=b"{}")

    fuzz(world, how, st.tuples(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]), PATHS, PARAMETERS), send)


HEADERS = st.dictionaries(
    st.sampled_from(
        ["Accept", "X-Request-Id", "X-Forwarded-For", "Forwarded", "Origin", "Content-Type", "User-Agent", "Cookie", "Range", "If-None-Match",
         "Accept-Encoding", "Accept-Language", "Referer", "X-Real-Ip", "Last-Event-ID", "If-Modified-Since", "Access-Control-Request-Headers"]
    ),
    BYTES | st.sampled_from(["application/graphql-response+json;q=x", "*/*;q=nan", ';;,,q="', 'application/json;charset="', "1.2.3.4, ::ffff:1.2.3.4%eth0"]),
    max_size=5,
)  # fmt: skip


@both
def test_headers_of_any_kind(world: World, how: settings) -> None:
    clara = world.caller("Clara")

    def send(given: dict[str, str]) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {clara.token}",
            "Content-Type": "application/json",
            **{n: v.encode("latin-1") for n, v in given.items()},
        }
        answer = world.http.post("/graphql", content=b'{"query": "{ viewer { id } }"}', headers=headers)
        assert answer.headers["Content-Type"] in {"application/json", GRAPHQL_JSON}
        return answer

    fuzz(world, how, HEADERS, send)


@both
def test_media_types(how: settings) -> None:
    @how
    @given(st.text(max_size=60) | BYTES | TEXT.map(lambda text: f"application/graphql-response+json;{text}"))
    def check(accept: str) -> None:
        assert media_type(accept) in {"application/json", GRAPHQL_JSON}

    check()


@both
def test_who_a_request_counts_for(how: settings) -> None:
    """Never a surprise, never more than an address: whatever somebody writes into X-Forwarded-For."""
    parts = (
        st.ip_addresses().map(str)
        | st.text(max_size=30)
        | st.sampled_from(["[::1", "[::1]:80", "::ffff:1.2.3.4", "1.2.3.4:5", "fe80::1%eth0"])
    )

    @how
    @given(st.ip_addresses().map(str), st.lists(parts, max_size=5).map(", ".join), st.integers(0, 3))
    def check(peer: str, forwarded: str, proxies: int) -> None:
        found = address_of(peer, forwarded, proxies)
        assert 0 < len(found) <= 45
        if proxies == 0:
            assert found == address_of(peer, "", 0)

    check()


# ---- signing in somebody else's way ---------------------------------------------------------------------------------------------


@both
def test_callbacks_of_a_state_that_is_known(world: World, how: settings) -> None:
    """Whatever comes back with a real state: the browser goes where it was promised, and no further."""
    clara = world.caller("Clara")
    texts = st.text(st.characters(codec="utf-8"), max_size=120)

    def send(given: dict[str, str]) -> httpx.Response:
        begun = clara.begin()
        answer = world.http.get("/oauth/calcom/callback", params={"state": begun["state"], **given})
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith(f"{world.url}/oauth/calcom/return?state={begun['state']}")
        assert "\n" not in answer.headers["Location"]
        fine(world.http.get(answer.headers["Location"]))
        return answer

    fuzz(world, how, st.dictionaries(st.sampled_from(["code", "error", "error_description", "scope", "iss"]), texts), send)


@both
def test_pages_with_any_cursor(world: World, how: settings) -> None:
    clara = world.coach()
    admin = world.caller("Ada", admin=True)
    cursors = st.text(st.characters(codec="utf-8"), max_size=60) | st.tuples(
        st.sampled_from(["bookings", "notifications", "event_types", "webhook_events", "audit", "attention"]),
        st.integers() | JSON,
        TEXT | JSON,
    ).map(lambda parts: b64(json.dumps(parts).encode()))
    lists = st.sampled_from(["bookings", "notifications", "eventTypes", "webhookEvents", "attention", "auditEntries"])

    def send(given: tuple[str, str, int]) -> httpx.Response:
        field, cursor, first = given
        caller: Caller = clara if field in {"bookings", "notifications", "eventTypes"} else admin
        query = f"query($after: String, $first: Int) {{ {field}(after: $after, first: $first) {{ edges {{ cursor }} pageInfo {{ endCursor }} }} }}"
        answer = caller.post(query, {"after": cursor, "first": first})
        assert all(error["extensions"]["code"] == "BAD_USER_INPUT" for error in answer.json().get("errors", [])), answer.text
        return answer

    fuzz(world, how, st.tuples(lists, cursors, st.integers(-5, 105)), send)
