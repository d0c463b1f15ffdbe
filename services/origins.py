"""From where something is done, and by whom: set where work comes in, read where it is written down.

Requests, jobs and scripts each say it once; no service has to hand it on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

GRAPHQL, REST, OAUTH, WEBHOOK, JOB, SCRIPT = "GRAPHQL", "REST", "OAUTH", "WEBHOOK", "JOB", "SCRIPT"
USER, ADMIN, PROVIDER, OPERATOR = "USER", "ADMIN", "PROVIDER", "OPERATOR"
LONGEST_AGENT = 160


@dataclass(frozen=True)
class Actor:
    """Who does it. kind: USER, ADMIN, PROVIDER, JOB or OPERATOR (whoever runs a script); only the first two are users."""

    kind: str
    user_id: str | None = None
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True)
class Origin:
    """From where. face: GRAPHQL, REST, OAUTH, WEBHOOK, JOB or SCRIPT. `name`: the job's or the script's."""

    face: str
    name: str | None = None
    request_id: str | None = None
    address: str | None = None
    agent: str | None = None
    actor: Actor | None = None


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin:
    """From where the present work comes; what nobody announced is taken for a script's."""
    return _current.get() or Origin(SCRIPT)


def come_in(origin: Origin | None) -> None:
    """A request begins (or ends, with None) on this thread."""
    _current.set(origin)


def signed_in(actor: Actor) -> None:
    """Who sent the present request, now that it is known. What is done for them by a job stays the job's."""
    origin = _current.get()
    if origin is not None and origin.face != JOB:
        _current.set(replace(origin, actor=actor))


@contextmanager
def within(origin: Origin) -> Iterator[None]:
    """While a job or a script does its work."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)


def job(name: str) -> Origin:
    return Origin(JOB, name)
