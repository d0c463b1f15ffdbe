"""The REST face: liveness, readiness, metrics, CORS, the envelope of errors, the callback, webhooks, development tokens."""

import hashlib
import hmac
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from harness import LEGACY_SECRET, World, at, remove
from prometheus_client.parser import text_string_to_metric_families

import app as composition
from models import JobClaim, LinkedAccount, OAuthState, User, WebhookEvent, WebhookSubscription
from models.base import is_sqlite, release_connection
from models.migrate import migrate
from services import jobs

REQUEST_ID = re.compile(r"^[0-9a-f]{32}$")
FRONTEND = "https://app.example.test"


def made(world: World, database_url: str, **settings: Any) -> World:
    """Another Convene beside the one of the fixture, with settings of its own."""
    return World(database_url, world.issuer, world.sandbox, **settings)


def assert_error(answer: httpx.Response, status: int, code: str, message: str | None = None) -> dict[str, Any]:
    """The envelope, with a sentence; nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"data", "error"}
    assert body["data"] is None
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["error"]["code"] == code
    assert body["error"]["message"].endswith(".")
    if message is not None:
        assert body["error"]["message"] == message
    assert "Traceback" not in answer.text
    return body["error"]


def raw(world: World, request: str) -> bytes:
    """A request that no client library would send."""
    with socket.create_connection(("127.0.0.1", httpx.URL(world.url).port), 10) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


# ---- liveness, readiness, metrics -------------------------------------------------------------------------------------------


def test_health_answers_without_anything(world: World) -> None:
    answer = world.http.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert REQUEST_ID.match(answer.headers["X-Request-Id"])


def test_not_ready_without_a_scheduler(world: World) -> None:
    answer = world.http.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "database": True, "migrations": True, "sealingKeys": True, "scheduler": False}


def test_ready_with_a_scheduler_until_it_stops(world: World) -> None:
    world.convene.scheduler.start()
    try:
        wait_for_a_beat(world)
        answer = world.http.get("/ready")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "ready", "database": True, "migrations": True, "sealingKeys": True, "scheduler": True},
        )
    finally:
        world.convene.scheduler.stop()
    answer = world.http.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "database": True, "migrations": True, "sealingKeys": True, "scheduler": False}


def wait_for_a_beat(world: World) -> None:
    """The scheduler's own event says when a tick is over."""
    ticked = threading.Event()
    scheduler = world.convene.scheduler._scheduler
    scheduler.add_listener(lambda event: ticked.set() if event.job_id == "heartbeat" else None)
    if world.convene.scheduler.heartbeat_age() is None:
        assert ticked.wait(10)
        while world.convene.scheduler.heartbeat_age() is None:
            ticked.clear()
            assert ticked.wait(10)


def test_not_ready_without_migrations(world: World, fresh_database: str) -> None:
    with made(world, fresh_database) as mine:
        answer = mine.http.get("/ready")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready", "database": True, "migrations": False, "sealingKeys": True, "scheduler": False}
        migrate()
        assert mine.http.get("/ready").json()["migrations"] is True


def test_a_start_before_the_migrations_is_made_up_for(world: World, fresh_database: str) -> None:
    """The worker stays, and arranges its work as soon as the tables are there."""
    with made(world, fresh_database) as mine:
        mine.convene.scheduler.start()
        try:
            wait_for_a_beat(mine)
            assert mine.http.get("/ready").status_code == 503
            migrate()
            mine.convene.scheduler._tick(mine.rt)
            assert mine.http.get("/ready").status_code == 200
            assert {row.kind for row in JobClaim.select()} >= {"clean_up", "remind", "chain_audit"}
        finally:
            mine.convene.scheduler.stop()


def test_not_ready_when_the_database_is_gone(world: World, fresh_database: str) -> None:
    with made(world, fresh_database) as mine:
        migrate()
        assert mine.http.get("/ready").json()["database"] is True
        remove(fresh_database)
        answer = mine.http.get("/ready")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready", "database": False, "migrations": False, "sealingKeys": False, "scheduler": False}
        assert mine.http.get("/health").status_code == 200
        answer = mine.caller("Clara").post("{ viewer { id } }")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
        assert mine.rt.metrics.registry.get_sample_value("convene_unexpected_errors_total", {"where": "graphql"}) is None
        assert "Traceback" not in mine.logged.getvalue(), "nothing here is at fault"
        mine.convene.scheduler._run("work", jobs.run_work)
        assert "tick failed" not in mine.logged.getvalue()
        for inside in (urlsplit(fresh_database).path.rsplit("/", 1)[1], "sqlite", "postgres"):
            assert inside not in answer.text.lower()


def test_metrics_on_loopback(world: World) -> None:
    world.http.get("/health")
    answer = world.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    requests = next(f for name, f in families.items() if "http" in name and "requests" in name)
    assert any(s.value == 1 and "/health" in s.labels.values() for s in requests.samples)


def test_metrics_are_refused_to_what_comes_through_a_proxy(world: World) -> None:
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via", "X-Forwarded-Host", "X-Forwarded-Proto"]:
        assert_error(world.http.get("/metrics", headers={header: "203.0.113.7"}), 401, "UNAUTHENTICATED")


def test_metrics_are_refused_to_a_foreign_host(world: World) -> None:
    assert_error(world.http.get("/metrics", headers={"Host": "convene.example.org"}), 401, "UNAUTHENTICATED")


def test_metrics_with_the_secret(world: World, database_url: str) -> None:
    with made(world, database_url, metrics_token="scrape-me") as mine:
        proxied = {"X-Forwarded-For": "203.0.113.7"}
        assert mine.http.get("/metrics", headers={**proxied, "Authorization": "Bearer scrape-me"}).status_code == 200
        for wrong in ("Bearer scrape-m", "Bearer ", "scrape-me", "Basic scrape-me", "Bearer scrape-me2"):
            assert_error(mine.http.get("/metrics", headers={**proxied, "Authorization": wrong.strip()}), 401, "UNAUTHENTICATED")
        assert mine.http.get("/metrics").status_code == 200


def test_without_a_configured_secret_none_opens_the_metrics(world: World) -> None:
    for given in ("Bearer", "Bearer x"):
        answer = world.http.get("/metrics", headers={"X-Forwarded-For": "203.0.113.7", "Authorization": given})
        assert_error(answer, 401, "UNAUTHENTICATED")


# ---- what every answer has --------------------------------------------------------------------------------------------------


def test_a_request_id_is_kept_or_made(world: World) -> None:
    assert world.http.get("/health", headers={"X-Request-Id": "web:1.2-3_4"}).headers["X-Request-Id"] == "web:1.2-3_4"
    for bad in ("x" * 65, "a b", "a\tb", '"><script>', "ä".encode(), ""):
        answer = world.http.get("/health", headers=[(b"X-Request-Id", bad if isinstance(bad, bytes) else bad.encode())])
        assert REQUEST_ID.match(answer.headers["X-Request-Id"]), bad
    assert world.http.get("/nowhere", headers={"X-Request-Id": "mine"}).headers["X-Request-Id"] == "mine"


def test_the_log_carries_the_request_id(world: World) -> None:
    world.http.get("/health", headers={"X-Request-Id": "look-for-me"})
    assert "look-for-me" in world.logged.getvalue()


def test_answers_are_not_kept_nor_sniffed(world: World) -> None:
    for path in ("/health", "/nowhere", "/ready"):
        headers = world.http.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_nothing_there(world: World) -> None:
    for path in ["/", "/nowhere", "/graphql/", "/../etc/passwd", "/webhooks", "/oauth/calcom", "/static/x", "/.env", "/health/x"]:
        assert_error(world.http.get(path), 404, "NOT_FOUND", "There is nothing at this address.")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/health"), ("DELETE", "/ready"), ("GET", "/webhooks/calcom/x"), ("POST", "/oauth/calcom/callback"), ("PUT", "/metrics")],
)
def test_the_wrong_method(world: World, method: str, path: str) -> None:
    answer = world.http.request(method, path)
    assert_error(answer, 405, "METHOD_NOT_ALLOWED", "This address does not take this method.")


def test_the_wrong_method_on_graphql(world: World) -> None:
    for method in ["PUT", "DELETE", "PATCH"]:
        answer = world.http.request(method, "/graphql")
        assert answer.status_code == 405
        assert "Traceback" not in answer.text


def test_a_method_not_allowed_says_which_are(world: World) -> None:
    """RFC 9110: a 405 carries `Allow`."""
    assert "GET" in world.http.post("/health").headers.get("Allow", "")


def test_a_surprise_is_masked_counted_and_logged(world: World, fresh_database: str) -> None:
    with made(world, fresh_database) as mine:  # no tables: nothing that reads them can work
        answer = mine.http.get("/oauth/calcom/callback", params={"state": "s", "code": "c"}, headers={"X-Request-Id": "find-me"})
        error = assert_error(answer, 500, "INTERNAL", "Something unexpected happened. It is logged under this request id.")
        assert error["details"] == {"requestId": "find-me"}
        assert "oauth_state" not in answer.text
        logged = mine.logged.getvalue()
        assert "unexpected error" in logged
        assert "find-me" in logged
        assert mine.rt.metrics.registry.get_sample_value("convene_unexpected_errors_total", {"where": "http"}) == 1


# ---- CORS -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_frontend(world: World, database_url: str) -> Iterator[World]:
    with made(world, database_url, allowed_origins=(FRONTEND,)) as mine:
        yield mine


def preflight(world: World, origin: str, headers: str = "authorization, content-type") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return world.http.options("/graphql", headers=asked)


def test_the_frontend_may_ask_with_a_token(with_frontend: World) -> None:
    answer = preflight(with_frontend, FRONTEND)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND
    allowed = {h.strip().lower() for h in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type"} <= allowed
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    asked = with_frontend.caller("Clara").post("{ viewer { name } }", Origin=FRONTEND)
    assert asked.json() == {"data": {"viewer": {"name": "Clara"}}}
    assert asked.headers["Access-Control-Allow-Origin"] == FRONTEND
    assert "X-Request-Id" in asked.headers["Access-Control-Expose-Headers"]


def test_a_refusal_can_be_read_by_the_frontend_too(with_frontend: World) -> None:
    answer = with_frontend.http.post("/graphql", json={"query": "{ viewer { id } }"}, headers={"Origin": FRONTEND})
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND


def test_a_foreign_origin_is_told_nothing(with_frontend: World) -> None:
    for origin in [
        "https://evil.example",
        "http://app.example.test",
        f"{FRONTEND}:444",
        f"{FRONTEND}.evil.example",
        "https://appXexample.test",
        "https://sub.app.example.test",
        "null",
    ]:
        for answer in (
            preflight(with_frontend, origin),
            with_frontend.http.post("/graphql", json={"query": "{ viewer { id } }"}, headers={"Origin": origin}),
            with_frontend.http.get("/health", headers={"Origin": origin}),
        ):
            assert "Access-Control-Allow-Origin" not in answer.headers


def test_without_origins_nobody_is_allowed(world: World) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(world, FRONTEND).headers


# ---- the callback -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/oauth/calcom/callback", "BAD_USER_INPUT"),
        ("/oauth/calcom/callback?state=", "BAD_USER_INPUT"),
        ("/oauth/calcom/callback?code=abc", "BAD_USER_INPUT"),
        (f"/oauth/calcom/callback?state={'s' * 4097}&code=c", "BAD_USER_INPUT"),
        (f"/oauth/calcom/callback?state=s&code={'c' * 4097}", "BAD_USER_INPUT"),
        ("/oauth/nobody/callback?state=s&code=c", "BAD_USER_INPUT"),
        ("/oauth/zoho/callback?state=s&code=c", "BAD_USER_INPUT"),
        ("/oauth/calcom/callback?state=unknown&code=abc", "AUTHORIZATION_EXPIRED"),
        ("/oauth/calcom/callback?state=%00&code=%ff", "AUTHORIZATION_EXPIRED"),
        ("/oauth/calcom/callback?state='%20OR%201=1--&code=c", "AUTHORIZATION_EXPIRED"),
        ("/oauth/calcom/callback?state=s&error=access_denied", "AUTHORIZATION_EXPIRED"),
    ],
)
def test_a_callback_that_belongs_to_nothing(world: World, path: str, code: str) -> None:
    answer = world.http.get(path)
    assert_error(answer, 400, code)
    assert "location" not in answer.headers
    assert OAuthState.select().count() == 0


def test_a_callback_too_late_keeps_nothing(world: World) -> None:
    begun = world.caller("Clara").begin()
    world.move_clock(minutes=11)
    assert_error(world.http.get(f"/oauth/calcom/callback?state={begun['state']}&code=abc"), 400, "AUTHORIZATION_EXPIRED")
    row = OAuthState.get()
    assert (row.status, row.code) == ("started", None)


def test_a_callback_with_an_error_goes_back_with_it_and_its_text_is_cut(world: World) -> None:
    begun = world.caller("Clara").begin()
    answer = world.http.get("/oauth/calcom/callback", params={"state": begun["state"], "error": "<script>" + "x" * 200})
    assert answer.status_code == 303
    landed = httpx.URL(answer.headers["location"])
    assert landed.params["error"] == ("<script>" + "x" * 200)[:100]
    page = httpx.get(landed)
    assert "<script>x" not in page.text
    assert "was not connected" in page.text


def test_the_return_page_shows_what_it_was_given_as_text(world: World) -> None:
    page = world.http.get("/oauth/calcom/return", params={"state": "</pre><script>alert(1)</script>"})
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert_error(world.http.get("/oauth/nobody/return"), 404, "NOT_FOUND")


def test_the_callback_page_of_another_provider_does_not_take_the_state(world: World) -> None:
    begun = world.caller("Clara").begin()
    assert_error(world.http.get(f"/oauth/calendly/callback?state={begun['state']}&code=abc"), 400, "AUTHORIZATION_EXPIRED")
    assert OAuthState.get().status == "started"


# ---- development tokens -----------------------------------------------------------------------------------------------------


@pytest.fixture
def development(world: World, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(composition, "DEVELOPMENT_KEY", tmp_path / "issuer.json")
    with made(world, database_url, development=True) as mine:
        yield mine


def test_a_demo_person_gets_a_token(development: World) -> None:
    answer = development.http.post("/dev/token", json={"email": "coach@demo.test"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"accessToken", "expiresAt"}
    assert answer.json()["expiresAt"] == "2027-03-01T09:00:00Z"
    asked = development.http.post(
        "/graphql",
        json={"query": "{ viewer { name email timeZone isAdmin } }"},
        headers={"Authorization": f"Bearer {answer.json()['accessToken']}"},
    )
    assert asked.json()["data"]["viewer"] == {
        "name": "Clara Coach",
        "email": "coach@demo.test",
        "timeZone": "Europe/Berlin",
        "isAdmin": False,
    }
    assert answer.json()["accessToken"] not in development.logged.getvalue()


def test_the_admin_is_one(development: World) -> None:
    token = development.http.post("/dev/token", json={"email": " Admin@Demo.test "}).json()["accessToken"]
    headers = {"Authorization": f"Bearer {token}"}
    asked = development.http.post("/graphql", json={"query": "{ viewer { isAdmin } webhookEvents { edges { cursor } } }"}, headers=headers)
    assert asked.json() == {"data": {"viewer": {"isAdmin": True}, "webhookEvents": {"edges": []}}}


def test_tokens_survive_a_restart_and_the_key_is_ours_alone(development: World, database_url: str, tmp_path: Path) -> None:
    token = development.http.post("/dev/token", json={"email": "guest@demo.test"}).json()["accessToken"]
    assert (tmp_path / "issuer.json").stat().st_mode & 0o077 == 0
    with made(development, database_url, development=True) as again:
        asked = again.http.post("/graphql", json={"query": "{ viewer { name } }"}, headers={"Authorization": f"Bearer {token}"})
        assert asked.json() == {"data": {"viewer": {"name": "Gina Guest"}}}


def test_in_development_no_other_issuer_signs_in(development: World) -> None:
    assert development.caller("Clara").post("{ viewer { id } }").status_code == 401
    assert User.select().count() == 0


def test_who_is_not_a_demo_person_gets_none(development: World) -> None:
    for body in [
        b'{"email": "nobody@demo.test"}',
        b'{"email": ""}',
        b'{"email": null}',
        b'{"email": ["coach@demo.test"]}',
        b"{}",
        b"[]",
        b"null",
        b"",
        b"coach@demo.test",
        b"{",
        b"\xff",
        b'{"email": "' + b"x" * 20_000 + b'"}',
    ]:
        answer = development.http.post("/dev/token", content=body, headers={"Content-Type": "application/json"})
        error = assert_error(answer, 400, "BAD_USER_INPUT")
        assert "coach@demo.test" in error["message"]
        assert "accessToken" not in answer.text


def test_a_form_cannot_ask(development: World) -> None:
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", None]:
        headers = {"Content-Type": kind} if kind else {}
        answer = development.http.post("/dev/token", content=b'{"email": "coach@demo.test"}', headers=headers)
        assert_error(answer, 415, "BAD_USER_INPUT")
        assert "eyJ" not in answer.text


def test_nobody_beyond_this_machine_gets_one(development: World) -> None:
    for headers in [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-Ip": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost"},
        {"X-Forwarded-Proto": "https"},
        {"Via": "1.1 proxy"},
        {"Host": "convene.example.org"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example:8000"},
    ]:
        answer = development.http.post("/dev/token", json={"email": "coach@demo.test"}, headers=headers)
        assert_error(answer, 403, "FORBIDDEN", "Development tokens are given on this machine only.")


def test_names_of_this_machine(development: World) -> None:
    for host in ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"]:
        assert development.http.post("/dev/token", json={"email": "coach@demo.test"}, headers={"Host": host}).status_code == 200


def test_a_host_that_is_none(development: World) -> None:
    for host in ["[", "::::", "a b", "http://localhost", "localhost@evil.example", ""]:
        body = '{"email": "coach@demo.test"}'
        answer = raw(
            development,
            f"POST /dev/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}",
        )
        status = int(answer.split()[1])
        assert status in {400, 403}, answer
        assert b"eyJ" not in answer


def test_in_production_there_is_no_such_route(world: World) -> None:
    assert_error(world.http.post("/dev/token", json={"email": "coach@demo.test"}), 404, "NOT_FOUND")


# ---- webhooks ---------------------------------------------------------------------------------------------------------------


class Endpoint:
    """A subscription's address and secret, as Cal.com knows them."""

    def __init__(self, world: World) -> None:
        (hook,) = world.sandbox.world.calcom.webhooks.values()
        self.world, self.path, self.secret = world, httpx.URL(hook.url).path, hook.secret

    def send(self, body: bytes, signature: str | None = "right", **headers: str) -> httpx.Response:
        signed = sign(self.secret, body) if signature == "right" else signature
        given = {"X-Cal-Signature-256": signed} if signed is not None else {}
        return self.world.http.post(self.path, content=body, headers={"Content-Type": "application/json", **given, **headers})


def sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.fixture
def endpoint(world: World) -> Endpoint:
    world.coach()
    WebhookEvent.delete().execute()
    return Endpoint(world)


PING = json.dumps({"triggerEvent": "PING", "createdAt": "2027-03-01T08:00:00Z", "payload": {}}).encode()


def test_a_signed_delivery_is_stored_and_acknowledged(endpoint: Endpoint) -> None:
    answer = endpoint.send(PING)
    assert (answer.status_code, answer.json()) == (200, {"data": {"received": True}, "error": None})
    assert [e.kind for e in WebhookEvent.select()] == ["PING"]
    assert endpoint.send(PING).status_code == 200
    assert WebhookEvent.select().count() == 1


def test_an_unsigned_or_wrongly_signed_delivery_is_refused(endpoint: Endpoint) -> None:
    for signature in [None, "", "no-secret-provided", "0" * 64, "sha256=", "ä", "x" * 5000]:
        headers = [(b"Content-Type", b"application/json")]
        if signature is not None:
            headers.append((b"X-Cal-Signature-256", signature.encode()))
        answer = endpoint.world.http.post(endpoint.path, content=PING, headers=headers)
        assert_error(answer, 401, "BAD_SIGNATURE", "The delivery is not signed with this subscription's secret.")
        assert WebhookEvent.select().count() == 0


def test_signatures_of_other_bytes_or_secrets_are_refused(endpoint: Endpoint) -> None:
    right = sign(endpoint.secret, PING)
    for wrong in (
        sign(endpoint.secret, PING + b" "),
        sign("no-secret-provided", PING),
        sign("", PING),
        sign(LEGACY_SECRET, PING),
        f"sha256={right}",
        right[:-1],
    ):
        assert_error(endpoint.send(PING, wrong), 401, "BAD_SIGNATURE")
    assert WebhookEvent.select().count() == 0


def test_an_unknown_endpoint_is_not_there(world: World, endpoint: Endpoint) -> None:
    for path in (
        "/webhooks/calcom/nobody",
        f"{endpoint.path}x",
        endpoint.path[:-1],
        endpoint.path.replace("calcom", "calendly"),
        "/webhooks/zoom/x",
    ):
        answer = world.http.post(path, content=PING, headers={"X-Cal-Signature-256": sign(endpoint.secret, PING)})
        assert_error(answer, 404, "NOT_FOUND", "No subscription has this address.")
    assert WebhookEvent.select().count() == 0


def test_the_endpoint_of_an_unlinked_account_is_not_there(world: World, endpoint: Endpoint) -> None:
    clara = world.caller("Clara")
    clara.gql("mutation { disconnectProvider(input: {provider: CAL_COM}) { __typename } }")
    assert_error(endpoint.send(PING), 404, "NOT_FOUND")
    assert WebhookEvent.select().count() == 0


def test_a_subscription_that_outlived_its_link_takes_nothing(world: World, endpoint: Endpoint) -> None:
    """One that a job made while somebody disconnected, until it is taken down."""
    LinkedAccount.update(connected=False).execute()
    assert_error(endpoint.send(PING), 404, "NOT_FOUND")
    assert WebhookEvent.select().count() == 0


def test_a_delivery_that_is_too_large(endpoint: Endpoint) -> None:
    body = b'"' + b"x" * (1024 * 1024) + b'"'
    assert_error(endpoint.send(body), 413, "TOO_LARGE", "A delivery may have at most 1024 KiB.")
    answer = endpoint.world.http.post(
        endpoint.path, content=iter([body[:600_000], body[600_000:]]), headers={"X-Cal-Signature-256": sign(endpoint.secret, body)}
    )
    assert_error(answer, 413, "TOO_LARGE")
    assert WebhookEvent.select().count() == 0


def test_a_chunked_delivery_is_read(endpoint: Endpoint) -> None:
    headers = {"X-Cal-Signature-256": sign(endpoint.secret, PING)}
    answer = endpoint.world.http.post(endpoint.path, content=iter([PING[:10], PING[10:]]), headers=headers)
    assert answer.status_code == 200
    assert WebhookEvent.select().count() == 1


def test_a_signed_delivery_that_is_not_json(endpoint: Endpoint) -> None:
    for body in [b"", b"{", b"not json", b"\xff\xfe", b'{"a": NaN}', b"'", b"{} {}"]:
        assert_error(endpoint.send(body), 400, "BAD_USER_INPUT", "The body is not JSON.")
        assert WebhookEvent.select().count() == 0


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"7", b'"text"', b"{}", b'{"triggerEvent": 7}', b'{"triggerEvent": {"a": []}, "payload": [1]}']
)
def test_json_of_an_unknown_shape_is_stored_and_acknowledged(endpoint: Endpoint, body: bytes) -> None:
    assert endpoint.send(body).status_code == 200
    endpoint.world.jobs()
    assert [e.state for e in WebhookEvent.select()] == ["IGNORED"]


def test_a_tower_of_brackets_is_refused_and_harms_nobody(endpoint: Endpoint) -> None:
    answer = endpoint.send(b"[" * 200_000 + b"]" * 200_000)
    assert_error(answer, 400, "BAD_USER_INPUT")
    assert WebhookEvent.select().count() == 0


@pytest.mark.parametrize("path", ["/webhooks/cal/booking.created", "/webhooks/cal/booking.updated"])
def test_the_addresses_of_existing_set_ups(world: World, path: str) -> None:
    clara = world.coach()
    uid = world.book(clara, at(2, 9))
    world.jobs()
    before = WebhookEvent.select().count()
    body = json.dumps({"triggerEvent": "BOOKING_CREATED", "createdAt": "x", "payload": {"uid": uid}}).encode()
    answer = world.http.post(path, content=body, headers={"X-Cal-Signature-256": sign(LEGACY_SECRET, body)})
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})
    world.jobs()
    assert WebhookEvent.select().count() == before + 1
    assert {e.state for e in WebhookEvent.select()} == {"APPLIED"}
    assert len(clara.bookings()) == 1
    assert_error(world.http.post(path, content=body), 401, "BAD_SIGNATURE")
    assert_error(world.http.post(path, content=body, headers={"X-Cal-Signature-256": "no-secret-provided"}), 401, "BAD_SIGNATURE")
    assert_error(world.http.post(path, content=b"{", headers={"X-Cal-Signature-256": sign(LEGACY_SECRET, b"{")}), 400, "BAD_USER_INPUT")
    assert WebhookEvent.select().count() == before + 1


@pytest.mark.parametrize("path", ["/webhooks/cal/booking.created", "/webhooks/cal/booking.updated"])
def test_they_are_off_unless_a_secret_is_set(world: World, path: str) -> None:
    world.rt.legacy_webhook_secret = ""
    for signature in (sign("", PING), "no-secret-provided"):
        answer = world.http.post(path, content=PING, headers={"X-Cal-Signature-256": signature})
        assert_error(answer, 404, "NOT_FOUND")
    assert WebhookEvent.select().count() == 0


def test_the_secret_of_an_endpoint_is_sealed_and_unguessable(world: World, endpoint: Endpoint) -> None:
    row = WebhookSubscription.get()
    assert endpoint.secret not in row.secret
    assert len(endpoint.path.rsplit("/", 1)[1]) >= 32
    assert len(endpoint.secret) >= 32


def test_the_time_of_the_last_delivery_is_kept(endpoint: Endpoint) -> None:
    endpoint.world.move_clock(minutes=5)
    endpoint.send(PING)
    assert WebhookSubscription.get().last_received_at == datetime(2027, 3, 1, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize("state", ["", "short", 'x"}) { __typename } disconnectProvider(input: {provider: CAL_COM', "a" * 65])
def test_the_return_page_repeats_nothing_but_a_state(world: World, state: str) -> None:
    """The page tells people what to run; nobody else's text may stand in it."""
    page = world.http.get("/oauth/calcom/return", params={"state": state})
    assert page.status_code == 200
    assert "Nothing to finish here" in page.text
    assert "mutation" not in page.text


def test_a_restarted_database_costs_no_request(world: World) -> None:
    """Connections that idle in the pool are dead after it; the pool looks before it hands one out."""
    if is_sqlite():
        return  # no server, nothing to restart
    clara = world.caller("Clara")
    with ThreadPoolExecutor(6) as pool:
        assert {a.status_code for a in pool.map(lambda _: clara.post("{ viewer { id } }"), range(12))} == {200}
    release_connection()
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        ended = connection.execute(
            # and wait until they have ended: while one still ends, a statement on it may fail as on any that breaks in use
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert len(ended) >= 1
    for _ in range(8):
        assert clara.post("{ viewer { id } }").status_code == 200
