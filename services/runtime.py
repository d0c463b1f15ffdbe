"""What every service function is given: the parts that the composition root wired together."""

import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import cast

from services.clock import Clock
from services.live_feed import Feed
from services.metrics import Metrics
from services.providers.base import (
    Bookable,
    Deciding,
    ManagedUsers,
    Meetings,
    Provider,
    Replacing,
    Rescheduling,
    Revoking,
    ScheduleChanging,
    Scheduling,
)
from services.providers.transport import Transport
from services.vault import Vault
from settings import Settings

in_background: ContextVar[bool] = ContextVar("in_background", default=False)
"""Set by the jobs: what they do by themselves does not make an account one that is in use, and ends when the process stops."""


@dataclass(frozen=True)
class DemoPerson:
    """Somebody whom the development issuer signs in."""

    email: str
    name: str
    time_zone: str
    admin: bool = False


@dataclass
class Runtime:
    """One per process. `owner` names this process in claims; `wake` nudges the scheduler about due work.

    `stopping` ends jobs between two items; requests in flight are answered all the same.
    `step` is told the name of each point at which a death or a freeze must do no harm (docs/operations.md lists them).
    Nothing listens there but tests that die or freeze at that point.
    `taken_in_at` is when the last delivery was taken in, by time.monotonic().
    """

    settings: Settings
    clock: Clock
    vault: Vault
    metrics: Metrics
    providers: dict[str, Provider]
    sandboxes: frozenset[str]
    demo_people: tuple[DemoPerson, ...] = ()
    legacy_webhook_secret: str = field(default="", repr=False)
    transport: Transport = field(init=False)
    live: Feed = field(init=False)
    wake: Callable[[str], None] = field(default=lambda _job: None)
    step: Callable[[str], None] = field(default=lambda _name: None)
    taken_in_at: float = field(default=float("-inf"), init=False)
    stopping: threading.Event = field(default_factory=threading.Event)
    owner: str = field(default_factory=lambda: f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}")

    def scheduling(self, slug: str) -> Scheduling:
        """The provider as one with event types and bookings; only for what came from such a one (its capabilities say so)."""
        return cast("Scheduling", self.providers[slug])

    def bookable(self, slug: str) -> Bookable:
        return cast("Bookable", self.providers[slug])

    def rescheduling(self, slug: str) -> Rescheduling:
        return cast("Rescheduling", self.providers[slug])

    def replacing(self, slug: str) -> Replacing:
        return cast("Replacing", self.providers[slug])

    def deciding(self, slug: str) -> Deciding:
        return cast("Deciding", self.providers[slug])

    def schedule_changing(self, slug: str) -> ScheduleChanging:
        return cast("ScheduleChanging", self.providers[slug])

    def revoking(self, slug: str) -> Revoking:
        return cast("Revoking", self.providers[slug])

    def managed_users(self, slug: str) -> ManagedUsers:
        return cast("ManagedUsers", self.providers[slug])

    def meetings(self, slug: str) -> Meetings:
        return cast("Meetings", self.providers[slug])

    @property
    def interrupted(self) -> bool:
        """This is a job's work, and the process is stopping."""
        return self.stopping.is_set() and in_background.get()
