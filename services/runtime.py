"""What every service function is given: the parts that the composition root wired together."""

import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from services.clock import Clock
from services.metrics import Metrics
from services.providers.base import Provider
from services.providers.transport import Transport
from services.vault import Vault
from settings import Settings


@dataclass(frozen=True)
class DemoPerson:
    """Somebody whom the development issuer signs in."""

    email: str
    name: str
    time_zone: str
    admin: bool = False


@dataclass
class Runtime:
    """One per process. `owner` names this process in claims; `wake` nudges the scheduler about due work."""

    settings: Settings
    clock: Clock
    vault: Vault
    metrics: Metrics
    providers: dict[str, Provider]
    sandboxes: frozenset[str]
    demo_people: tuple[DemoPerson, ...] = ()
    legacy_webhook_secret: str = field(default="", repr=False)
    transport: Transport = field(init=False)
    wake: Callable[[str], None] = field(default=lambda _job: None)
    stopping: threading.Event = field(default_factory=threading.Event)
    owner: str = field(default_factory=lambda: f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}")
