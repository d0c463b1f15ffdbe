"""What somebody who asks or moves should know, besides the answer."""

from dataclasses import dataclass
from typing import Any

from services.providers.base import Provider


@dataclass(frozen=True)
class Notice:
    """`code` is a WarningCode."""

    code: str
    message: str
    connect_provider: str | None = None

    def kept(self) -> dict[str, Any]:
        """As an operation keeps it."""
        return {"code": self.code, "message": self.message, "connect": self.connect_provider}

    @classmethod
    def again(cls, kept: dict[str, Any]) -> "Notice":
        return cls(kept["code"], kept["message"], kept.get("connect"))


def mentee_not_connected(provider: Provider) -> Notice:
    """What a mentee without a usable link is told before and after moving a booking; word for word (DESIGN 10)."""
    return Notice(
        "MENTEE_NOT_CONNECTED",
        "We can't check your calendar for conflicts without access. The times shown are based on the coach's availability. "
        f"Want to connect your {provider.label} account now?",
        provider.slug,
    )


def mentee_conflict(*, own: bool) -> Notice:
    """What was accepted. `own`: told to the mentee."""
    return Notice("MENTEE_CONFLICT", f"{'You have' if own else 'The mentee has'} something else at that time.")


MENTEE_UNKNOWN = Notice("SOURCE_UNAVAILABLE", "The mentee's calendar could not be asked; the risk was accepted.")
OUTSIDE_OVERLAP = Notice("OUTSIDE_OVERLAP", "This lies outside the hours in which both are usually available.")
