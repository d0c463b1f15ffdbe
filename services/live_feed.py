"""One reader of changes per process, and the listeners that it hands them to.

It reads twice a second what was written within a window, and at once when this process has written something. It starts
with the first listener and ends with the last. Nothing here is the truth: a process that dies takes nothing with it.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models import LiveChange
from models.base import is_away, release_connection
from services.clock import Clock
from services.logging import get_logger
from services.metrics import Metrics

log = get_logger("live")

LATEST = timedelta(seconds=75)
"""How late after it was written a change may become visible: when its transaction commits, or until a slow read is through."""
EVERY = 0.5
"""Seconds between two reads when nobody rings."""
BREATH = 0.05
"""Seconds between two reads at least, however often somebody rings."""
MOST_PER_USER = 20
MOST_WAITING = 256
"""Events that wait for one listener at most: reading everything again is cheaper than so many single questions."""


class Full(Exception):
    """No more listeners are taken in now: of this user, or of this process."""


@dataclass(frozen=True)
class Event:
    """What is sent: `change` with what changed; or `reset`, that everything must be read again. `id` is where to go on."""

    name: str
    id: str
    data: dict[str, Any]


def event_of(row: LiveChange) -> Event:
    return Event("change", row.id, {"type": row.type, "id": row.object_id, "version": row.version})


def reset_at(last_id: str) -> Event:
    return Event("reset", last_id, {})


class Listener:
    """One stream of a user's, until their session ends at `ends_at`. `take` waits for what `offer` is given."""

    def __init__(self, user_id: str, person_id: str, ends_at: datetime) -> None:
        self.user_id, self.person_id, self.ends_at = user_id, person_id, ends_at
        self._changed = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._seen: dict[str, float] | None = None

    def begin(self, seen: list[str], events: list[Event]) -> None:
        """From now on take what is offered, but not what was `seen`; `events` come first."""
        with self._changed:
            self._waiting.extend(events)
            self._seen = dict.fromkeys(seen, time.monotonic())

    def offer(self, rows: list[LiveChange], read_at: float) -> None:
        """All rows of this person in the window, as they were at `read_at` (monotonic) or later; new ones become events."""
        with self._changed:
            if self._seen is None:
                return  # it reads by itself what there is before it begins
            before = self._seen
            fresh = [row for row in rows if row.id not in before]
            # the window only moves on: what was not in it at this read does not come back
            listed = {row.id for row in rows}
            self._seen = {row_id: at for row_id, at in before.items() if row_id in listed or at > read_at}
            self._seen |= dict.fromkeys((row.id for row in fresh), read_at)
            if len(self._waiting) + len(fresh) > MOST_WAITING:
                self._waiting.clear()
                self._waiting.append(reset_at(fresh[-1].id))
            else:
                self._waiting.extend(event_of(row) for row in fresh)
            if fresh:
                self._changed.notify_all()

    def take(self, seconds: float) -> list[Event]:
        """What there is to send, after waiting for it so long at most; empty when there was nothing, or the feed stops."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(seconds)
            events = list(self._waiting)
            self._waiting.clear()
            return events

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Feed:
    """The process's listeners, `most` at a time, and the thread that reads for them. It ends when `stopping` is set."""

    def __init__(self, clock: Clock, metrics: Metrics, stopping: threading.Event, most: int) -> None:
        self._clock, self._metrics, self._stopping, self._most = clock, metrics, stopping, most
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._thread: threading.Thread | None = None
        self._bell = threading.Event()
        self._failing = False

    def join(self, user_id: str, person_id: str, ends_at: datetime) -> Listener:
        """A place for one more stream. Raises Full when there is none; `leave` gives it back."""
        with self._lock:
            mine = sum(listener.user_id == user_id for listener in self._listeners)
            if self._stopping.is_set() or len(self._listeners) >= self._most or mine >= MOST_PER_USER:
                raise Full
            listener = Listener(user_id, person_id, ends_at)
            self._listeners.append(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
            return listener

    def leave(self, listener: Listener) -> None:
        """Give the place back; harmless when it is free already."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    @property
    def streams(self) -> int:
        """How many listen right now."""
        return len(self._listeners)

    def ring(self) -> None:
        """Something was written: read it now. Never raises, as it is called after commits."""
        self._bell.set()

    def stop(self) -> None:
        """Wait for the reader's end; `stopping` is set."""
        with self._lock:
            thread = self._thread
        self.ring()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        succeeded = time.monotonic()
        while listeners := self._present():
            self._bell.clear()
            started = time.monotonic()
            if self._read(listeners, started, since=started - succeeded):
                succeeded = started
            self._stopping.wait(BREATH)
            self._bell.wait(EVERY - BREATH)

    def _present(self) -> list[Listener]:
        """Who listens; none any more when the process stops. The thread that finds nobody is gone with this."""
        with self._lock:
            listeners = list(self._listeners)
            if listeners and not self._stopping.is_set():
                return listeners
            self._thread = None
        for listener in listeners:
            listener.wake()
        return []

    def _read(self, listeners: list[Listener], started: float, *, since: float) -> bool:
        """Read once and hand on; `since`: seconds from the last read that succeeded. False while the database is away."""
        try:
            rows = self._rows({listener.person_id for listener in listeners}, timedelta(seconds=since))
        except Exception as error:  # noqa: BLE001 - logged and counted there
            if not self._failing:  # once, not twice a second
                self._tell(error)
            self._failing = True
            return False
        self._failing = False
        for listener in listeners:
            listener.offer([row for row in rows if row.person_id == listener.person_id], started)
        return True

    def _rows(self, person_ids: set[str], since: timedelta) -> list[LiveChange]:
        bound = self._clock.database_now(-LATEST - since)
        within = LiveChange.person.in_(person_ids) & (LiveChange.created_at >= bound)
        try:
            return list(LiveChange.select().where(within).order_by(LiveChange.created_at, LiveChange.id))
        finally:
            release_connection()

    def _tell(self, error: Exception) -> None:
        if is_away(error):
            log.warning("the database is away", job="live", reason=type(error).__name__)
            return
        log.error("changes could not be read", exc_info=error)
        self._metrics.errors.labels("live").inc()
