"""What is left of a provider's rate limit, shared by all replicas through the database.

Every answer says what is left; it is written down only when that is little, so an ordinary call costs no statement.
"""

import threading
from datetime import datetime, timedelta

from models import RateBucket
from models.base import new_id, noted
from services.clock import Clock
from services.errors import RateLimited

LITTLE = 20


class Budgets:
    """The transport's budget (services/providers/base.py)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def check(self, provider: str, key: str) -> None:
        """Raise RateLimited when nothing is left until a time that has not come."""
        now = self._clock.now()
        with self._lock:
            until = self._spent.get(key)
            if until is not None and until <= now:
                del self._spent[key]
                until = None
        if until is not None:
            raise RateLimited(provider, until)

    def observe(self, key: str, remaining: int, reset_after: timedelta) -> None:
        reset_at = self._clock.now() + reset_after
        if remaining <= 0:
            with self._lock:
                self._spent[key] = reset_at
        if remaining <= LITTLE:
            values = {RateBucket.remaining: remaining, RateBucket.reset_at: reset_at}
            with noted("budget"):
                list(
                    RateBucket.insert(id=new_id(), key=key, remaining=remaining, reset_at=reset_at)
                    .on_conflict(conflict_target=[RateBucket.key], update=values)
                    .returning(RateBucket.id)
                    .tuples()
                    .execute()
                )

    def refresh(self) -> None:
        """Learn what other replicas spent; a job calls it every few seconds."""
        now = self._clock.now()
        rows = RateBucket.select().where((RateBucket.remaining <= 0) & (RateBucket.reset_at > now))
        spent = {row.key: row.reset_at for row in rows}
        with self._lock:
            self._spent.update(spent)


def clean_up(clock: Clock) -> int:
    return int(RateBucket.delete().where(RateBucket.reset_at < clock.now()).execute())
