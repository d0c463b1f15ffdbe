"""What operators go by: metrics that rise with the trouble they are about, alerts that use them, a page for each alert."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import REFRESH, SYNC, Issuer, World, at, remove
from keeping import Ways
from mailing import fault, mailing_world
from prometheus_client.parser import text_string_to_metric_families

from models import LinkedAccount
from models.base import db
from models.migrate import migrate
from sandbox.app import Sandbox
from services import audit_chain, deliveries, figures, gauges, webhooks
from services.metrics import Metrics

DOCS = Path(__file__).parent.parent / "docs"
RUNBOOKS = DOCS / "runbooks"
RULES = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"][0]["rules"]
OF_TARGETS = {"up": {"job", "instance"}}
BY_SCRAPING = {"job", "instance"}
PARTS = ["**It means.**", "**People notice.**", "**Look.**", "**Do.**", "**It ends by itself**"]
TOKEN = "/calcom/v2/auth/oauth2/token"
BOOKINGS, READ_BACK = "/calcom/v2/bookings*", "/calcom/v2/bookings/*"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

# ---- metrics, alerts, pages ------------------------------------------------------------------------------------------------


def there_are() -> dict[str, set[str]]:
    """Every metric of a new process with its labels, by the name under which it is scraped."""
    found: dict[str, set[str]] = {}
    for collector in Metrics().registry._collector_to_names:
        for family in collector.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = set(getattr(collector, "_labelnames", ()))
    return found


def as_scraped() -> dict[str, set[str]]:
    scraped = dict(OF_TARGETS)
    for name, labels in there_are().items():
        scraped[name] = labels | BY_SCRAPING
        if name.endswith("_seconds") and name.startswith(("convene_http", "convene_provider_call")):
            scraped |= {f"{name}_bucket": labels | BY_SCRAPING | {"le"}, f"{name}_count": labels | BY_SCRAPING}
    return scraped


def wrong_in(expression: str) -> list[str]:
    """What an expression names that is not there."""
    scraped, wrong = as_scraped(), []
    bare = re.sub(r'"[^"]*"', '""', expression)
    used = re.findall(r"\b((?:convene|process)_\w+|up)\b(?:\{([^}]*)\})?", bare)
    for name, matchers in used:
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        if name not in scraped:
            wrong.append(name)
        elif not labels <= scraped[name]:
            wrong.append(f"{name}{labels - scraped[name]}")
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", bare) for label in group.split(",")}
    known = set().union(*(scraped.get(name, set()) for name, _ in used))
    return wrong + sorted(grouped - known) + ([] if used else ["nothing"])


def test_every_alert_uses_what_is_there_and_has_its_page() -> None:
    assert {rule["alert"]: wrong_in(rule["expr"]) for rule in RULES if wrong_in(rule["expr"])} == {}
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(page.stem for page in RUNBOOKS.iterdir())
    for rule in RULES:
        page = RUNBOOKS / f"{rule['alert']}.md"
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{page.name}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        text = page.read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        assert [text.count(part) for part in PARTS] == [1] * len(PARTS), page.name
        named = set(re.findall(r"\bconvene_[a-z_]+", text)) - set(as_scraped())
        assert named == set(), page.name
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert (RUNBOOKS / link).exists(), (page.name, link)
    assert wrong_in('sum by (colour) (rate(convene_http_requests_total{stage="x"}[5m])) + convene_nothing') == [
        "convene_http_requests_total{'stage'}",
        "convene_nothing",
        "colour",
    ]


def test_every_metric_is_documented_with_its_labels_and_nothing_else() -> None:
    table = (DOCS / "operations.md").read_text()
    rows = re.findall(r"^\| `((?:convene|process)_\w+)` \|([a-z, ]*)\|", table, re.MULTILINE)
    documented = {name: set(labels.replace(",", " ").split()) for name, labels in rows}
    assert len(rows) == len(documented)
    assert documented == there_are()


# ---- trouble shows -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """How long a look took, and how long one waits for it, must not depend on the machine."""
    monkeypatch.setattr(gauges, "SHARE", 0)
    monkeypatch.setattr(gauges, "WAIT", 30)
    with mailing_world(database_url, issuer, shared_sandbox, ways) as running:
        yield running


def scraped(world: World) -> Samples:
    """What Prometheus gets, a look's pause later."""
    world.move_clock(seconds=15)
    return read(world)


def read(world: World) -> Samples:
    answer = world.http.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def said(samples: Samples, *names: str) -> dict[str, float]:
    """Without labels, by the name's own part; of those with labels the ones that are not 0."""
    found = {}
    for (name, labels), number in samples.items():
        if name.removeprefix("convene_") in names and (number or not labels):
            found["/".join([name.removeprefix("convene_"), *(v for _, v in sorted(labels))])] = number
    return found


WEBHOOKS = ("webhooks_waiting", "webhooks_oldest_seconds", "webhooks_overdue_seconds", "webhooks_dead")
OUTBOX = ("outbox_waiting", "outbox_oldest_seconds", "outbox_overdue_seconds", "outbox_dead")
OPERATIONS = ("operations_open", "operations_oldest_seconds", "operations_attention")


def test_backlogs_lags_and_what_was_given_up(world: World) -> None:
    clara = world.coach()
    world.jobs()
    nothing = {"webhooks_oldest_seconds": 0, "webhooks_overdue_seconds": 0, "webhooks_dead": 0}
    assert said(scraped(world), *WEBHOOKS) == nothing
    # nobody applies what comes in
    world.book(clara, at(5, 9))
    world.sandbox.settle()
    world.move_clock(seconds=90)
    found = scraped(world)
    assert said(found, *WEBHOOKS) == {
        "webhooks_waiting/pending": 1, "webhooks_oldest_seconds": 105, "webhooks_overdue_seconds": 105, "webhooks_dead": 0
    }  # fmt: skip
    # its booking cannot be read back, until it is given up
    broken = world.sandbox.fault({"kind": "status", "status": 403, "body": {"status": "error"}}, method="GET", path=READ_BACK, times=None)
    webhooks.apply_due(world.rt)
    db.close()
    assert said(scraped(world), *WEBHOOKS) == {
        "webhooks_waiting/retrying": 1, "webhooks_oldest_seconds": 120, "webhooks_overdue_seconds": 13, "webhooks_dead": 0
    }  # fmt: skip
    for _ in range(14):
        world.move_clock(hours=1)
        webhooks.apply_due(world.rt)
        world.rt.transport._breakers.clear()
    db.close()
    assert said(scraped(world), *WEBHOOKS) == {**nothing, "webhooks_dead": 1}
    broken.remove()
    # work that nobody does: sync has been due since five minutes after it ran
    late = scraped(world)
    assert value(late, "convene_jobs_overdue", kind="sync") == 1
    assert value(late, "convene_jobs_lag_seconds", kind="sync") == 14 * 3600 + 90 + 5 * 15 - 300
    assert value(late, "convene_jobs_lag_seconds", kind="scrub") == 0
    # mail: put off, then refused for good
    fault(world, "temporary")
    world.jobs()
    assert said(scraped(world), *OUTBOX) == {
        "outbox_waiting/retrying": 1, "outbox_oldest_seconds": 15, "outbox_overdue_seconds": 0, "outbox_dead": 0
    }  # fmt: skip
    fault(world, "permanent", times=None)
    world.move_clock(minutes=2)
    deliveries.send_due(world.rt)
    db.close()
    assert said(scraped(world), *OUTBOX) == {"outbox_oldest_seconds": 0, "outbox_overdue_seconds": 0, "outbox_dead": 1}
    world.jobs()
    assert value(scraped(world), "convene_jobs_overdue", kind="sync") == 0


def test_links_tokens_providers_and_changes(world: World) -> None:
    clara, ida = world.coach(), world.coach("Ida")
    world.book(ida, at(5, 9))
    world.jobs()
    began = scraped(world)
    assert said(began, "accounts", "provider_down_seconds", "provider_circuit_open", "token_waits_total") == {"accounts/calcom/ACTIVE": 2}
    assert value(began, "convene_migrations_pending") == 0
    assert (value(began, "convene_database_bytes") or 0) > 100_000
    assert said(began, "audit_seq", "audit_waiting") == {"audit_seq": 0, "audit_waiting": 3}
    # tokens have ended: the answer of one exchange is lost, and the next try is refused
    world.move_clock(minutes=30)
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=TOKEN)
    assert clara.one(REFRESH)["__typename"] == "ProviderFailure"
    assert said(scraped(world), "accounts") == {"accounts/calcom/ACTIVE": 1, "accounts/calcom/DEGRADED": 1}
    assert clara.one(REFRESH)["__typename"] == "ConnectionUnusable"
    # another waits for its exchange, and then has used up its limit
    limited = {"kind": "status", "status": 429, "headers": {"Retry-After": "120", "X-RateLimit-Remaining": "0"}}
    world.sandbox.fault(limited, method="GET", path=BOOKINGS)
    assert ida.one(SYNC)["__typename"] == "ProviderFailure"
    found = scraped(world)
    assert said(found, "accounts") == {"accounts/calcom/ACTIVE": 1, "accounts/calcom/NEEDS_RECONNECT": 1}
    assert said(found, "token_waits_total") == {"token_waits_total/calcom": 1}
    assert value(found, "convene_token_refreshes_total", provider="calcom", outcome="rotation_lost") == 1
    assert said(found, "provider_budgets_spent") == {"provider_budgets_spent/calcom": 1}
    assert said(found, "audit_seq", "audit_waiting") == {"audit_seq": 0, "audit_waiting": 4}
    audit_chain.extend(world.rt)
    world.move_clock(minutes=2)
    world.jobs()
    assert said(scraped(world), "audit_seq", "audit_waiting") == {"audit_seq": 4, "audit_waiting": 0}
    # a move whose answer, webhook and read-back are lost
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=BOOKINGS, times=None)
    (booking,) = ida.bookings()
    assert ida.move(booking["id"], at(5, 13))["__typename"] == "RescheduleInProgress"
    assert said(scraped(world), *OPERATIONS) == {"operations_open": 1, "operations_oldest_seconds": 15, "operations_attention": 0}
    # calls fail until the circuit opens, here and for everybody
    for _ in range(2):
        assert ida.one(SYNC)["__typename"] == "ProviderFailure"
    found = scraped(world)
    assert said(found, "provider_circuit_open") == {"provider_circuit_open/calcom": 1}
    assert said(found, "provider_down_seconds") == {"provider_down_seconds/calcom": 15}
    world.move_clock(hours=24, minutes=1)
    world.jobs()
    assert said(scraped(world), *OPERATIONS) == {"operations_open": 0, "operations_oldest_seconds": 0, "operations_attention": 1}


# ---- at any time ---------------------------------------------------------------------------------------------------------------


@contextmanager
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(event: Any) -> None:
        seen.append(event.sql)

    db.obj.query_hooks.append(note)
    try:
        yield seen
    finally:
        db.obj.query_hooks.remove(note)


def test_it_answers_without_a_connection_and_looks_seldom(world: World) -> None:
    with statements() as seen:
        first = read(world)
        looked = len(seen)
        assert 10 < looked <= 30
        world.move_clock(seconds=14)
        assert value(read(world), "convene_figures_seconds") == value(first, "convene_figures_seconds")
        assert len(seen) == looked
        world.move_clock(seconds=1)
        again = read(world)
        assert value(again, "convene_figures_seconds") == world.clock.now().timestamp()
        assert len(seen) > looked
    # as long as every connection is in somebody's hands, nothing is asked
    with all_taken(), statements() as seen:
        begun = time.monotonic()
        found = scraped(world)
        assert time.monotonic() - begun < 1
        assert seen == []
        size = value(found, "convene_database_connections_max")
        assert value(found, "convene_database_connections", state="in_use") == size
        assert value(found, "convene_database_connections", state="awaited") == 1
        assert value(found, "convene_figures_seconds") == value(again, "convene_figures_seconds")
    found = scraped(world)
    assert value(found, "convene_figures_seconds") == world.clock.now().timestamp()
    assert value(found, "convene_database_connections", state="awaited") == 0
    assert world.http.get("/ready").json()["database"] is True


@contextmanager
def all_taken() -> Iterator[None]:
    """Every connection is in use, and one more thread waits for one."""
    db.close()
    size, done = db.obj._max_connections, threading.Event()
    ready = threading.Barrier(size + 1)

    def hold() -> None:
        with db.connection_context():
            ready.wait(10)
            done.wait(30)

    def want() -> None:
        with db.connection_context():
            pass

    threads = [threading.Thread(target=hold) for _ in range(size)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    waiting = threading.Thread(target=want)
    waiting.start()
    end = time.monotonic() + 10
    while not db.obj._pool_available._waiters and time.monotonic() < end:
        threading.Event().wait(0.005)
    try:
        yield
    finally:
        done.set()
        for thread in (*threads, waiting):
            thread.join()


def test_it_answers_while_the_database_is_away_or_not_migrated(world: World, fresh_database: str) -> None:
    with World(fresh_database, world.issuer, world.sandbox) as mine:
        found = scraped(mine)
        assert (value(found, "convene_migrations_pending") or 0) >= 6
        assert value(found, "convene_audit_seq") == 0
        migrate()
        db.close()
        found = scraped(mine)
        assert value(found, "convene_migrations_pending") == 0
        seen_at = value(found, "convene_figures_seconds")
        db.close_all()
        remove(fresh_database)
        found = scraped(mine)
        assert value(found, "convene_figures_seconds") == seen_at
        assert sum(n for (name, _), n in found.items() if name == "convene_database_errors_total") > 0
        assert value(found, "convene_unexpected_errors_total", where="metrics") is None
        assert value(found, "process_open_fds") is not None
        assert mine.logged.getvalue().count("the database could not be looked at") == 1


def test_a_count_stops_where_it_is_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST", 2)
    clara = world.coach()
    for hour in (8, 9, 10):
        world.book(clara, at(5, hour))
    world.sandbox.settle()
    assert value(scraped(world), "convene_webhooks_waiting", state="pending") == 2
    assert LinkedAccount.select().count() == 1
