import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox import snapshot
from sandbox.calcom.state import CalcomState
from sandbox.calendly.state import CalendlyState
from sandbox.clock import Clock
from sandbox.deliveries import Deliveries
from sandbox.faults import Faults
from sandbox.mail.box import Mailbox
from sandbox.requests import RequestLog
from sandbox.snapshot import State
from sandbox.zoom.state import ZoomState


class World:
    """All state behind one lock.

    Only what a provider would keep in its database (and the clock) is saved to the state file. Logs, faults, rate-limit
    windows and parked deliveries live in memory; mail in its own folder, or in memory too.
    """

    def __init__(self, path: Path | None = None, mailbox: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.path = path
        self.clock = Clock()
        self.faults = Faults()
        self.requests = RequestLog()
        self.deliveries = Deliveries(self.clock, self.faults)
        self.mail = Mailbox(self.clock, mailbox)
        self.calcom, self.calendly, self.zoom = CalcomState(), CalendlyState(), ZoomState()
        # Where this sandbox is reached: some providers name everything by its full address.
        self.url = ""
        self.smtp_url = ""  # empty: no mail server is running
        # Counts committed writes. A request remembers the count at its arrival: whatever was committed later happened
        # concurrently with it.
        self.commits = 0
        if path is not None and path.exists():
            self._load(snapshot.read(path))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One committed change: alone under the lock, and on disk before anybody is told."""
        with self.lock:
            self.commits += 1
            try:
                yield
            finally:
                self.save()  # a refusal may have changed something as well: a spent code, for one

    def save(self) -> None:
        if self.path is not None:
            snapshot.write(self.path, self.dump())

    def dump(self) -> dict[str, Any]:
        with self.lock:
            return {"commits": self.commits, "clock": self.clock.dump()} | {name: state.dump() for name, state in self._states().items()}

    def _states(self) -> dict[str, State]:
        return {"calcom": self.calcom, "calendly": self.calendly, "zoom": self.zoom}

    def reset(self) -> None:
        """Empty, with a real clock, no faults, no logs and no mail. Requests on hold are let go."""
        self.faults.clear()
        with self.lock:
            self.clock.reset()
            self.calcom, self.calendly, self.zoom = CalcomState(), CalendlyState(), ZoomState()
            self.save()
        self.requests.clear()
        self.deliveries.clear()
        self.mail.clear()

    def _load(self, saved: dict[str, Any]) -> None:
        self.commits = saved["commits"]
        self.clock.load(saved["clock"])
        for name, state in self._states().items():
            if name in saved:
                state.load(saved[name])
