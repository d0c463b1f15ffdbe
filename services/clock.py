"""The only source of the present time, so that tests can move it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from models.base import database_now


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, aware, in UTC."""

    def database_now(self, plus: timedelta = timedelta(0)) -> Any:
        """SQL for the present plus a span, in the database's own time: what leases and claims compare.

        Replicas' clocks differ; the database has one.
        """


class SystemClock:
    """The machine's clock. `offset` shifts this process, and by its whole minutes the view of the database's clock, for tests.

    So processes that are set half a minute apart differ as machines do whose clocks are wrong: the database has one time.
    """

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self.offset = offset
        self._shared = timedelta(minutes=round(offset / timedelta(minutes=1)))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def database_now(self, plus: timedelta = timedelta(0)) -> Any:
        return database_now(round((self._shared + plus).total_seconds() * 1000))
