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
    """The machine's clock. `offset` shifts this process and its view of the database's clock alike, for tests."""

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def database_now(self, plus: timedelta = timedelta(0)) -> Any:
        return database_now(round((self.offset + plus).total_seconds() * 1000))
