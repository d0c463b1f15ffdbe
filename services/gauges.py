"""The gauges of /metrics, brought up to date when somebody asks for them.

What is known in this process is read at once. The database is looked at by a thread of its own, at most every EVERY,
never when all connections are in use, and only so long is waited for it: /metrics answers while the database is away,
with the figures that there were, and `convene_figures_seconds` says how old those are.
"""

import threading
import time
from datetime import datetime, timedelta

from models.base import db, is_away, release_connection
from services import figures
from services.logging import get_logger
from services.runtime import Runtime

log = get_logger("metrics")

EVERY = timedelta(seconds=15)
SHARE = 100
"""A look at whole tables that took long pauses for so many times as long: it never takes more than a hundredth of the time."""
WAIT = 2.0
"""Seconds that a scrape waits for a look: several times what it takes when nothing is wrong."""


class Gauges:
    """One per process."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._looked_at: datetime | None = None
        self._looked_at_all: datetime | None = None
        self._pause = EVERY
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def refresh(self) -> None:
        """Bring all gauges up to date, as far as that is to be had within WAIT. Never raises for the database's sake."""
        self._of_process()
        with self._lock:
            if self._due(self._looked_at, EVERY) and (self._thread is None or not self._thread.is_alive()) and _spare() > 0:
                self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(WAIT)

    def _due(self, last: datetime | None, pause: timedelta) -> bool:
        # a clock that was put back must not stop it
        return last is None or abs(self._rt.clock.now() - last) >= pause

    def _run(self) -> None:
        metrics = self._rt.metrics
        try:
            self._look()
        except Exception as error:
            if is_away(error):
                log.warning("the database could not be looked at", reason=type(error).__name__)
            else:
                log.exception("the database could not be looked at")
                metrics.errors.labels("metrics").inc()
        finally:
            release_connection()

    def _look(self) -> None:
        migrated = figures.look(self._rt)
        self._looked_at = self._rt.clock.now()
        self._rt.metrics.figures_at.set(self._looked_at.timestamp())
        if migrated and self._due(self._looked_at_all, self._pause):
            started = time.perf_counter()
            figures.look_at_all(self._rt)
            self._pause = max(EVERY, SHARE * timedelta(seconds=time.perf_counter() - started))
            self._looked_at_all = self._rt.clock.now()

    def _of_process(self) -> None:
        metrics, rt = self._rt.metrics, self._rt
        open_circuits = rt.transport.open_circuits()
        for slug in rt.providers:
            metrics.circuit_open.labels(slug).set(slug in open_circuits)
        metrics.live_streams.set(rt.live.streams)
        metrics.live_streams_max.set(rt.settings.most_live_streams)
        metrics.connections.labels("in_use").set(len(db.obj._in_use))  # noqa: SLF001 - peewee tells nobody
        metrics.connections.labels("idle").set(len(db.obj._connections))  # noqa: SLF001
        metrics.connections.labels("awaited").set(len(db.obj._pool_available._waiters))  # noqa: SLF001
        metrics.connections_max.set(db.obj._max_connections)  # noqa: SLF001


def _spare() -> int:
    return int(db.obj._max_connections - len(db.obj._in_use))  # noqa: SLF001
