"""Several Convenes on one PostgreSQL, as in production: gunicorn, all of them running all jobs, each with a clock of its own.

The world of the tests links people and judges in the end. In between it is silent: the fleet has its database, its
sandbox, and through a balancer its address.
"""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Self

import pytest
from harness import MONDAY, Issuer, World, clean
from mailing import empty
from postgres import FOLDER, Postgres
from replicas_balancer import Balancer
from test_killed import Gunicorn

from models import Delivery, JobClaim, Operation, TokenRotation, WebhookEvent
from models.base import connect, db, release_connection
from models.migrate import migrate
from sandbox.app import Sandbox

ENOUGH = 1_000_000
LEASED = (WebhookEvent, JobClaim, Operation, Delivery)
SKEWS = (-15, 15, -5, 5)
"""Seconds by which the replicas' clocks are wrong."""
THREADS = 16


class Replica(Gunicorn):
    """One process of the fleet, on a port that it keeps over its lives."""

    def __init__(self, world: World, database_url: str, folder: Path, offset: timedelta, **more: str) -> None:
        folder.mkdir()
        super().__init__(world, database_url, folder)
        self._environment |= {
            "CONVENE_THREADS": str(THREADS),
            "CONVENE_SMTP_URL": world.sandbox.smtp_url,
            "CONVENE_MAIL_FROM": world.rt.settings.mail_from,
            **more,
        }
        # a connection that stays open keeps a stopping process waiting
        self.http.headers["Connection"] = "close"
        self.set_clock(offset)

    def set_clock(self, offset: timedelta) -> None:
        """How far ahead of the machine's it is, from its next start on."""
        self._environment["CONVENE_CLOCK_OFFSET_SECONDS"] = str(offset.total_seconds())

    def kill(self) -> list[int]:
        """As a machine that loses its power; the worker's ids."""
        workers = self.workers
        for pid in (self._master.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        self._master.wait()
        return workers

    def memory(self) -> int:
        """Bytes that its processes hold, what they share counted in parts."""
        pids = (self._master.pid, *self.workers)
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
        return sum(int(line.split()[1]) * 1024 for text in rollups for line in text.splitlines() if line.startswith("Pss:"))

    def cpu(self) -> float:
        """Seconds that it has computed in this life."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in (self._master.pid, *self.workers)]
        return sum(int(part[11]) + int(part[12]) for part in fields) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """So many replicas behind one balancer, which has the address that the world had."""

    def __init__(self, world: World, database_url: str, folder: Path, skews: tuple[int, ...] = SKEWS, **more: str) -> None:
        self.world, self._skews, self._ahead = world, skews, timedelta(0)
        # in whole minutes, which shift the database's time for all alike
        self._offset = timedelta(minutes=ceil((MONDAY - datetime.now(UTC)) / timedelta(minutes=1)) + 1)
        self._made = 0
        self._setting = (database_url, folder, more)
        self.replicas = [self.another(skew) for skew in skews]
        self.gone: list[Replica] = []

    def another(self, skew: int = 0) -> Replica:
        database_url, folder, more = self._setting
        self._made += 1
        return Replica(self.world, database_url, folder / str(self._made), self._offset + timedelta(seconds=skew), **more)

    def __enter__(self) -> Self:
        self.world.silence()
        self.balancer = Balancer(self.world.port)
        self._set_sandbox_clock()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.balancer.close()
        self.stop()
        for replica in (*self.replicas, *self.gone):
            replica.http.close()

    def start(self) -> None:
        with ThreadPoolExecutor(len(self.replicas)) as pool:
            list(pool.map(lambda replica: replica.start(), self.replicas))
        self.balancer.serve(*(replica.port for replica in self.replicas))

    def stop(self) -> list[int]:
        """All at once; their exit codes."""
        with ThreadPoolExecutor(len(self.replicas)) as pool:
            return list(pool.map(lambda replica: replica.stop(), self.replicas))

    def now(self) -> datetime:
        """The time at which the fleet is, but for its replicas' errors."""
        return datetime.now(UTC) + self._offset + self._ahead

    def later(self, span: timedelta) -> None:
        """All stop, and start again that much later: whoever died before is out of its leases."""
        assert set(self.stop()) == {0}
        self._ahead += span
        for replica, skew in zip(self.replicas, self._skews, strict=True):
            replica.set_clock(self._offset + self._ahead + timedelta(seconds=skew))
        self._set_sandbox_clock()
        self.start()

    def _set_sandbox_clock(self) -> None:
        clock = self.world.sandbox.world.clock
        clock.reset()
        clock.shift((self._offset + self._ahead).total_seconds())

    def logs(self) -> str:
        return "".join(replica.log() for replica in (*self.replicas, *self.gone))


class FleetWorld(World):
    """A world that hands its address over."""

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def silence(self) -> None:
        """From here on others answer at its address."""
        self._server.shutdown()
        self._server.server_close()


def held_by(pids: list[int]) -> dict[str, set[str]]:
    """What stands in the hands of those processes: ids by table."""
    found: dict[str, set[str]] = {}
    for model in (*LEASED, TokenRotation):
        owner = model.owner if model is TokenRotation else model.lease_owner
        mine = [owner.contains(f":{pid}:") for pid in pids]
        open_ = (TokenRotation.state == "open") if model is TokenRotation else model.id.is_null(False)
        for condition in mine:
            rows = model.select(model.id).where(condition & open_).tuples()
            found.setdefault(model._meta.table_name, set()).update(row[0] for row in rows)
    release_connection()
    return found


@pytest.fixture(scope="module")
def own_postgres(worker_id: str, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server for the replicas alone: they have many connections, and what is killed here disturbs nobody."""
    with Postgres(Path(os.environ[FOLDER]) / f"replicas-{worker_id}", f"{worker_id}_{request.module.__name__}") as server:
        yield server


@pytest.fixture(scope="module")
def migrated(own_postgres: Postgres) -> str:
    url = own_postgres.create()
    connect(url)
    migrate()
    db.close_all()
    return url


@contextmanager
def fleet_world_on(database_url: str, issuer: Issuer, sandbox: Sandbox) -> Iterator[FleetWorld]:
    """A world with mail, at providers that count nothing."""
    sandbox.reset()
    mail = {"smtp_url": sandbox.smtp_url, "mail_from": "Convene <notifications@convene.test>"}
    with FleetWorld(database_url, issuer, sandbox, **mail) as running:
        clean()
        empty(running)
        running.sandbox_call("calcom/limits", "PUT", token=ENOUGH, anonymous=ENOUGH)
        yield running


@pytest.fixture
def fleet_world(migrated: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[FleetWorld]:
    """A world on a database that replicas may share."""
    with fleet_world_on(migrated, issuer, shared_sandbox) as running:
        yield running
