"""Webhook intake at a sustained rate: the real server with its jobs, an open-loop client, and what became of every delivery."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import databases, house, load
from bench.deliveries import Subscribed
from bench.places import PYTHON, ROOT
from bench.report import Result, at_least, at_most
from bench.rounds import Spread
from bench.servers import Server
from models import Booking, LinkedAccount, WebhookEvent, WebhookSubscription
from models.base import connect, db, release_connection
from sandbox.app import Sandbox
from services.vault import place
from services.webhooks import WAITING

RATE = 200
CONNECTIONS = 64
COACHES, BOOKINGS = 8, 6
DRAINED_WITHIN = 300
TRIGGER = "BOOKING_RESCHEDULED"


@dataclass(frozen=True)
class Site:
    """An installation with linked coaches, ready to be started; its clock is `ahead` of the machine's."""

    environment: dict[str, str]
    subscriptions: list[Subscribed]
    ahead: timedelta
    now: datetime


@dataclass
class Watch:
    """How much waited to be applied, and how long the oldest of it had, at each look."""

    backlog: list[int]
    lag: list[float]
    drained_after: float = 0
    left: int = 0


def run(quick: bool) -> Result:
    from harness import Issuer  # noqa: PLC0415 - of the tests, whose folder is on the path by now

    result, seconds = Result(), 10 if quick else 60
    with databases.both("intake") as urls:
        for kind, url in urls.items():
            with Issuer() as issuer, Sandbox() as sandbox:
                site = _set_up(url, issuer, sandbox)
                connect(url)
                _measure(result, kind, site, seconds)
                db.close_all()
    result.notes.append(
        f"gunicorn with gunicorn.conf.py (one process, its jobs running), {RATE} deliveries/s of 2 KB for {seconds} s to {COACHES} "
        "subscriptions, each delivery another one, each read back from the sandbox and applied. Latency counts from the time at which the "
        "delivery was due to be sent. The client, the sandbox and PostgreSQL share the cores with the server; the sandbox's rate limit is "
        "lifted."
    )
    return result


def _set_up(url: str, issuer: Any, sandbox: Sandbox) -> Site:
    """Coaches with bookings, as linking and the first jobs leave them."""
    from harness import CLIENT_ID, CLIENT_SECRET, World  # noqa: PLC0415

    house.prepare(url)
    with World(url, issuer, sandbox) as world:
        house.log_to_file()
        for number in range(COACHES):
            coach = world.coach(f"Coach{number}", time_zone="UTC")
            for day in range(BOOKINGS):
                world.book(coach, world.clock.now() + timedelta(days=day // 3 + 1, hours=1 + day % 3), name=f"Mentee{day}")
        world.jobs()
        sandbox.world.calcom.limits["token"] = 10**9
        environment = {
            **house.environment(url, f"{sandbox.url}/calcom"),
            "CONVENE_CALCOM_CLIENT_ID": CLIENT_ID,
            "CONVENE_CALCOM_CLIENT_SECRET": CLIENT_SECRET,
            # the same address: a new one would have the subscriptions moved
            "CONVENE_PUBLIC_URL": world.url,
            "CONVENE_SEALING_KEYS": world.rt.settings.sealing_keys[0],
        }
        ahead = world.clock.now() - datetime.now(UTC)
        environment["CONVENE_CLOCK_OFFSET_SECONDS"] = str(ahead.total_seconds())
        return Site(environment, _subscriptions(world), ahead, world.clock.now())


def _subscriptions(world: Any) -> list[Subscribed]:
    found = []
    for row in WebhookSubscription.select().order_by(WebhookSubscription.id):
        uids = Booking.select(Booking.external_id).where(Booking.linked_account == row.linked_account_id).tuples()
        secret = world.rt.vault.open(row.secret, place("webhook_subscription", row.id, "secret"))
        found.append(Subscribed(row.endpoint, secret, tuple(uid for (uid,) in uids)))
    release_connection()
    assert len(found) == LinkedAccount.select().count() == COACHES
    release_connection()
    return found


def _prepared(site: Site, number: int) -> tuple[list[bytes], list[str]]:
    """The requests, and the keys under which their deliveries must be found."""
    sources = [(one, one.bodies(TRIGGER, site.now)) for one in site.subscriptions]
    requests, keys = [], []
    for index in range(number):
        subscribed, bodies = sources[index % len(sources)]
        body = next(bodies)
        requests.append(load.post(subscribed.path, body, subscribed.headers(body)))
        keys.append(hashlib.sha256(f"{subscribed.endpoint}\n{body.decode()}".encode()).hexdigest())
    return requests, keys


def _measure(result: Result, kind: str, site: Site, seconds: int) -> None:
    requests, keys = _prepared(site, RATE * seconds)
    warm, _ = _prepared(site, 50)
    command: list[str | Path] = [PYTHON, "-m", "gunicorn", "-c", ROOT / "gunicorn.conf.py", "app:create_app()"]
    with Server(f"intake on {kind}", command, site.environment) as server:
        for request in warm:
            load.ask(server.port, request)
        before = server.cpu_seconds()
        with _watching(site.ahead) as watch:
            outcome = load.run(load.Plan(server.port, requests, CONNECTIONS, rate=RATE))
        used = server.cpu_seconds() - before
        _wait_until_drained(watch)
    _say(result, kind, outcome, watch, keys)
    result.add(f"{kind}: CPU of the server while it came in, in cores", _exactly(used / outcome.seconds), unit="")
    result.details[kind] = {"statuses": outcome.statuses, "backlog": watch.backlog, "lag": watch.lag}


def _say(result: Result, kind: str, outcome: load.Outcome, watch: Watch, keys: list[str]) -> None:
    stored = sum(WebhookEvent.select().where(WebhookEvent.delivery_key.in_(keys[i : i + 500])).count() for i in range(0, len(keys), 500))
    states = dict(WebhookEvent.raw("SELECT state, COUNT(*) FROM webhook_event GROUP BY state").tuples())
    release_connection()
    acknowledged = outcome.statuses.get("200", 0)
    result.add(f"{kind}: deliveries/s acknowledged", _exactly(outcome.rate), at_least(RATE * 0.98, ""))
    result.add(f"{kind}: not acknowledged", _exactly(outcome.failed), at_most(0, ""))
    result.add(f"{kind}: acknowledged and not there", _exactly(max(acknowledged - stored, 0)), at_most(0, ""))
    for name in ("p50", "p95", "p99", "longest"):
        result.add(f"{kind}: acknowledgement, {name}", _exactly(getattr(outcome, name)), unit="ms")
    result.add(f"{kind}: backlog at its largest", _exactly(max(watch.backlog)), unit="")
    result.add(f"{kind}: lag at its longest", _exactly(max(watch.lag)), unit="s")
    result.add(f"{kind}: looked until it was applied, at most {DRAINED_WITHIN} s", _exactly(watch.drained_after), unit="s")
    result.add(f"{kind}: not applied by then", _exactly(watch.left), unit="")
    result.details[f"{kind} states"] = states


def _exactly(value: float) -> Spread:
    return Spread(value, value, value)


@contextmanager
def _watching(ahead: timedelta) -> Iterator[Watch]:
    """Look twice a second while it comes in."""
    watch, over = Watch([0], [0.0]), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            waiting = WebhookEvent.state.in_(WAITING)
            watch.backlog.append(WebhookEvent.select().where(waiting).count())
            oldest = WebhookEvent.select().where(waiting).order_by(WebhookEvent.received_at).first()
            now = datetime.now(UTC) + ahead
            watch.lag.append(max((now - oldest.received_at).total_seconds(), 0) if oldest else 0)
            release_connection()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def _wait_until_drained(watch: Watch) -> None:
    began = time.monotonic()
    while (left := WebhookEvent.select().where(WebhookEvent.state.in_(WAITING)).count()) and time.monotonic() - began < DRAINED_WITHIN:
        watch.backlog.append(left)
        release_connection()
        time.sleep(0.5)
    release_connection()
    watch.left, watch.drained_after = left, time.monotonic() - began
