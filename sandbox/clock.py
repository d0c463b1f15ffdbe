from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox import times


class Clock:
    """The time the sandbox lives in: the real one unless it is frozen or shifted."""

    def __init__(self) -> None:
        self._frozen: datetime | None = None
        self._offset = timedelta()

    def now(self) -> datetime:
        return times.cut((self._frozen or datetime.now(UTC)) + self._offset)

    def freeze(self, moment: datetime) -> None:
        self._frozen, self._offset = times.cut(moment), timedelta()

    def shift(self, seconds: float) -> None:
        """Moves the time on (or back) from where it is, frozen or running."""
        self._offset += timedelta(seconds=seconds)

    def reset(self) -> None:
        self._frozen, self._offset = None, timedelta()

    def dump(self) -> dict[str, Any]:
        return {"frozen": self._frozen, "offsetSeconds": self._offset.total_seconds()}

    def load(self, saved: dict[str, Any]) -> None:
        self._frozen, self._offset = saved["frozen"], timedelta(seconds=saved["offsetSeconds"])

    def describe(self) -> dict[str, Any]:
        return {
            "now": times.millis(self.now()),
            "frozen": self._frozen is not None,
            "offsetSeconds": self._offset.total_seconds(),
        }
