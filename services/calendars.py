"""Whose calendar is asked for slots, and when an account's person is taken."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from models import Booking, LinkedAccount, User
from services import availability_cache as cache
from services import intervals, tokens
from services.availability_cache import Days
from services.errors import ConnectionUnusable, ProviderError, ProviderFailure
from services.intervals import Span
from services.runtime import Runtime

DAY = timedelta(days=1)
BUSY = "busy"
"""The subject under which an account's busy times are kept, in spans of minutes."""


@dataclass(frozen=True)
class Subject:
    """What slots are asked of: an event type of a linked account, with the length and the booking that is moved."""

    account: LinkedAccount
    event_type_external_id: str
    minutes: int
    own_minutes: int | None
    moving: Booking | None
    host_id: str
    host_name: str
    asked_by: str | None = None
    """The operation that asks: what it holds itself does not stand in its way."""

    @property
    def key(self) -> str:
        moving = f":{self.moving.id}" if self.moving else ""
        return f"{self.event_type_external_id}:{self.minutes}{moving}"


@dataclass(frozen=True)
class Source:
    """Whose calendar was looked at, how, and as of when."""

    person_id: str
    name: str
    role: str
    provider: str | None
    state: str
    as_of: datetime | None


def linked(rt: Runtime, person_id: str) -> list[LinkedAccount]:
    """The person's connected accounts at providers that have calendars, whether usable or not."""
    query = LinkedAccount.select().join(User).where((User.person == person_id) & _has_calendar(rt))
    return list(query.order_by(LinkedAccount.provider))


def is_linked(rt: Runtime, person_id: str) -> bool:
    """Whether their calendar can be looked at through any link."""
    return any(account.problem_code not in tokens.NEEDS_PERSON for account in linked(rt, person_id))


def to_connect(rt: Runtime, person_id: str, otherwise: str) -> str:
    """Which provider somebody without a usable link is to connect: the one whose link broke, else `otherwise`."""
    broken = [account.provider for account in linked(rt, person_id)]
    return broken[0] if broken else otherwise


def others_of(rt: Runtime, account: LinkedAccount) -> list[LinkedAccount]:
    query = LinkedAccount.select().where((LinkedAccount.user == account.user_id) & (LinkedAccount.id != account.id) & _has_calendar(rt))
    return list(query.order_by(LinkedAccount.provider))


def _has_calendar(rt: Runtime) -> Any:
    scheduling = [slug for slug, provider in rt.providers.items() if provider.capabilities.scheduling]
    return LinkedAccount.connected & LinkedAccount.provider.in_(scheduling)


def busy(
    rt: Runtime, account: LinkedAccount, start: datetime, end: datetime, max_age: timedelta
) -> tuple[list[Span], datetime | None, str]:
    """(when the account's person is taken, as of when, SourceState); what could not be asked is answered as last known."""
    if end <= start:
        return [], rt.clock.now(), "CACHED"
    wanted = cache.days_of(start, end)
    cached = cache.known(account.id, BUSY, wanted)
    fresh_from = rt.clock.now() - max_age
    missing = [d for d in wanted if d not in cached or max_age == timedelta(0) or cached[d][1] < fresh_from]
    error = False
    if missing:
        try:
            cached |= fetch_busy(rt, account, missing[0], missing[-1])
        except ConnectionUnusable:
            return [], None, "NOT_CONNECTED"
        except (ProviderError, ProviderFailure):
            error = True
    known = [cached[d] for d in wanted if d in cached]
    as_of = min((at for _, at in known), default=None)
    return [(s, e) for spans, _ in known for s, e in spans], as_of, state_of(asked=bool(missing), error=error)


def fetch_busy(rt: Runtime, account: LinkedAccount, first: str, last: str) -> Days:
    """Whole UTC days, in pieces that the provider accepts; a span is kept with each day that it touches."""
    provider = rt.scheduling(account.provider)
    start = begin = datetime.fromisoformat(first).replace(tzinfo=UTC)
    end = datetime.fromisoformat(last).replace(tzinfo=UTC) + DAY
    as_of, found = rt.clock.now(), []
    while start < end:
        until = min(start + provider.capabilities.busy_window, end)
        found += provider.busy(tokens.auth_of(account), start=start, end=until)
        start = until
    days: Days = {day: ([], as_of) for day in cache.days_of(begin, end)}
    for busy_from, busy_to in found:
        for day in cache.days_of(max(busy_from, begin), min(busy_to, end)) if busy_to > begin and busy_from < end else ():
            days[day][0].append(intervals.covering(busy_from, busy_to))
    cache.keep(account.id, BUSY, days)
    return days


def state_of(*, asked: bool, error: bool) -> str:
    return "UNAVAILABLE" if error else ("FRESH" if asked else "CACHED")
