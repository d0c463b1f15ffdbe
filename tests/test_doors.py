"""How often one may ask, and what browsers may do with the answers."""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import LEGACY_SECRET, World
from werkzeug.routing import Rule

from models import User, WebhookEvent
from routes.doors import COUNTED
from services.request_limits import MOST_BUCKETS, Buckets, address_of

ROOT = Path(__file__).parent.parent
VIEWER = "{ viewer { id } }"
PING = b'{"triggerEvent": "PING"}'
PROXIED = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}


@pytest.fixture
def made(world: World, database_url: str) -> Callable[..., Any]:
    """Another Convene with settings of its own."""

    @contextmanager
    def make(**settings: Any) -> Iterator[World]:
        with World(database_url, world.issuer, world.sandbox, **settings) as mine:
            yield mine

    return make


def limited(answer: httpx.Response, seconds: int) -> None:
    """A refusal for the number of requests, in the shape of its face."""
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, str(seconds)), answer.text
    body = answer.json()
    error = body["errors"][0] if "errors" in body else body["error"]
    assert error.get("code") or error["extensions"]["code"] == "TOO_MANY_REQUESTS"
    assert error["message"] == f"There were too many requests. Try again in {seconds} s."
    assert body.get("data") is None


# ---- how often --------------------------------------------------------------------------------------------------------------


def test_a_user_has_so_many_requests_a_minute(made: Callable[..., Any]) -> None:
    with made(requests_per_user=3, requests_per_address=3) as mine:
        dora, carl = mine.caller("Dora"), mine.caller("Carl")
        change = 'mutation { updatePreferences(input: {timeZone: "Asia/Tokyo"}) { __typename } }'
        for _ in range(3):
            assert dora.post(VIEWER).status_code == 200
        limited(dora.post(change), 20)
        assert User.get(User.email == dora.email).chosen_time_zone is None
        # neither are others less free, nor has the address used up anything: each request was somebody's
        for _ in range(3):
            assert carl.post(VIEWER).status_code == 200
        mine.move_clock(seconds=19)
        limited(dora.post(VIEWER), 1)
        mine.move_clock(seconds=1)
        assert dora.post(VIEWER).status_code == 200
        limited(dora.post(VIEWER), 20)
        mine.move_clock(minutes=10)
        assert [dora.post(VIEWER).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_before_anybody_is_known_the_address_counts(made: Callable[..., Any]) -> None:
    with made(requests_per_address=4, allowed_origins=("https://app.example.test",)) as mine:
        dora = mine.caller("Dora")
        bad = {"Authorization": "Bearer x"}
        for headers in (bad, {}, PROXIED, bad):
            assert mine.http.post("/graphql", json={"query": VIEWER}, headers=headers).status_code == 401
        limited(mine.http.post("/graphql", json={"query": VIEWER}, headers=bad), 15)
        limited(dora.post(VIEWER), 15)
        refused = mine.http.get("/tokens/cal/refresh", headers={"Origin": "https://app.example.test"})
        limited(refused, 15)
        assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.test"
        assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
        for method, path in (
            ("POST", "/tokens/cal/managed-user"),
            ("GET", "/oauth/calcom/callback?state=s&code=c"),
            ("GET", "/oauth/calcom/return"),
            ("GET", "/events?ticket=x"),
        ):
            limited(mine.http.request(method, path), 15)
        assert mine.http.get("/health").status_code == 200
        mine.move_clock(seconds=15)
        assert dora.post(VIEWER).status_code == 200


def test_what_is_limited_by_address_is_there(made: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.DEVELOPMENT_KEY", tmp_path / "key.json")
    with made(development=True, requests_per_address=1) as mine:
        rules: Iterator[Rule] = mine._server.app.url_map.iter_rules()
        assert {rule.endpoint for rule in rules} >= COUNTED
        assert mine.http.post("/dev/token", json={"email": "coach@demo.test"}).status_code == 200
        limited(mine.http.post("/dev/token", json={"email": "coach@demo.test"}), 60)


def test_behind_proxies_the_hop_before_them_counts(made: Callable[..., Any]) -> None:
    with made(requests_per_address=1, trusted_proxies=1) as mine:

        def ask(hops: str) -> int:
            return mine.http.get("/oauth/calcom/return", headers={"X-Forwarded-For": hops}).status_code

        assert [ask("203.0.113.7"), ask("203.0.113.7"), ask("203.0.113.8")] == [200, 429, 200]
        # whatever a caller writes itself stands before that
        assert [ask("1.1.1.1, 203.0.113.7"), ask("203.0.113.9, 203.0.113.8")] == [429, 429]


@pytest.mark.parametrize(
    ("peer", "hops", "proxies", "address"),
    [
        ("192.0.2.1", "203.0.113.7", 0, "192.0.2.1"),
        ("192.0.2.1", "", 1, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.7", 1, "203.0.113.7"),
        ("192.0.2.1", "8.8.8.8, 203.0.113.7, 10.0.0.1", 2, "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7", 2, "192.0.2.1"),
        ("192.0.2.1", "unknown", 1, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.7:5555", 1, "203.0.113.7"),
        ("192.0.2.1", "[2001:db8:1:2:3::4]:443", 1, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("", "", 0, ""),
    ],
)
def test_which_address_counts(peer: str, hops: str, proxies: int, address: str) -> None:
    assert address_of(peer, hops, proxies) == address


def signed(body: bytes) -> dict[str, str]:
    return {"X-Cal-Signature-256": hmac.new(LEGACY_SECRET.encode(), body, hashlib.sha256).hexdigest()}


def test_deliveries_are_not_counted_but_refused_ones_are(made: Callable[..., Any]) -> None:
    with made(requests_per_address=2) as mine:

        def deliver(n: int, headers: dict[str, str] | None = None) -> httpx.Response:
            body = b'{"triggerEvent": "PING", "n": %d}' % n
            return mine.http.post("/webhooks/cal/booking.created", content=body, headers=headers or signed(body))

        assert {deliver(n).status_code for n in range(10)} == {200}
        assert [deliver(n, {"X-Cal-Signature-256": "0"}).status_code for n in range(2)] == [401, 401]
        limited(deliver(99, {"X-Cal-Signature-256": "0"}), 30)
        limited(mine.http.post("/webhooks/calcom/nobody", content=PING), 30)
        limited(mine.http.get("/oauth/calcom/return"), 30)
        # well signed ones are taken all the same
        assert {deliver(n).status_code for n in range(10, 20)} == {200}
        assert WebhookEvent.select().count() == 20


def test_zero_is_no_limit(made: Callable[..., Any]) -> None:
    with made(requests_per_user=0, requests_per_address=0) as mine:
        for _ in range(30):
            assert mine.http.get("/oauth/calcom/return").status_code == 200
            assert mine.caller("Dora").post(VIEWER).status_code == 200


def test_the_table_is_bounded_and_forgets_who_asked_longest_ago(world: World) -> None:
    buckets = Buckets(world.clock, 1)
    assert [buckets.take("first"), buckets.take("second"), buckets.take("first")] == [0.0, 0.0, 60.0]
    for n in range(MOST_BUCKETS - 1):
        buckets.take(str(n))
    assert len(buckets._buckets) == MOST_BUCKETS
    assert [buckets.take("first"), buckets.take("second")] == [60.0, 0.0]
    # a clock that is set back gives nothing and takes nothing
    world.clock.at -= world.clock.at - world.clock.at.replace(hour=0)
    assert buckets.take("first") == 60.0
    together = Buckets(world.clock, 100)
    threads = [threading.Thread(target=lambda: [together.take("one") for _ in range(20)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together.take("one") == pytest.approx(0.6)


# ---- what browsers may do ---------------------------------------------------------------------------------------------------

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"


def test_every_answer_is_closed(made: Callable[..., Any]) -> None:
    with made(graphiql=True) as mine:
        pages = {"/oauth/calcom/return", "/graphql"}
        for method, path in (
            ("GET", "/health"), ("GET", "/nowhere"), ("POST", "/health"), ("OPTIONS", "/graphql"), ("POST", "/graphql"), ("GET", "/metrics"),
            ("GET", "/"), ("POST", "/webhooks/calcom/x"), ("GET", "/tokens/cal/refresh"), ("GET", "/assets/graphiql/none.js"),
            ("GET", "/oauth/calcom/callback"), *(("GET", page) for page in pages),
        ):  # fmt: skip
            answer = mine.http.request(method, path, headers={"Accept": "text/html" if path in pages else "application/json"})
            assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS, path
            page = answer.headers.get("Content-Type", "").startswith("text/html") and answer.status_code == 200 and method == "GET"
            assert page is (path in pages and method == "GET"), path
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers.get_list("Content-Security-Policy") == [policy]
            assert method == "OPTIONS" or answer.headers.get("Cross-Origin-Opener-Policy") == ("same-origin" if page else None), path
            assert "Strict-Transport-Security" not in answer.headers, "there is no TLS"
            if page:
                assert policy.startswith("default-src 'none'; ")
                assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} <= {part.strip() for part in policy.split(";")}
                assert "script-src 'unsafe-inline'" not in policy
            else:
                assert policy == NOTHING, path
        returned = mine.http.get("/oauth/calcom/return")
        nonce = returned.headers["Content-Security-Policy"].partition("style-src 'nonce-")[2].partition("'")[0]
        assert f'<style nonce="{nonce}">' in returned.text
