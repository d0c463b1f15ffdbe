"""`GET /users/{id}/meetings`: which of a host's meetings belong to which list."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from flask import request

from sandbox.zoom import errors
from sandbox.zoom.meetings import expired
from sandbox.zoom.rows import Meeting, User
from sandbox.zoom.state import ZoomState

_FAR = datetime.max.replace(tzinfo=UTC)
Test = Callable[[Meeting], bool]


def _over(meeting: Meeting, now: datetime) -> bool:
    """Its planned time has passed, and it does not run."""
    planned_end = meeting.start + timedelta(minutes=meeting.duration) if meeting.start else _FAR
    return meeting.started_at is None and planned_end <= now


def _kinds(now: datetime) -> dict[str, Test]:
    """`upcoming` and `upcoming_meetings` both have the running ones in them [?]."""
    return {
        "scheduled": lambda _: True,
        "live": lambda meeting: meeting.started_at is not None,
        "upcoming": lambda meeting: not _over(meeting, now),
        "upcoming_meetings": lambda meeting: not _over(meeting, now),
        "previous_meetings": lambda meeting: _over(meeting, now),
    }


def chosen(known: ZoomState, host: User, now: datetime) -> list[Meeting]:
    """By start; those without one last. Instant meetings are in no list but that of running ones."""
    kind = request.args.get("type", "scheduled")
    kinds = _kinds(now)
    if kind not in kinds:
        raise errors.invalid("type")
    first, last = _day("from"), _day("to")

    def wanted(meeting: Meeting) -> bool:
        if meeting.host != host.email or expired(meeting, now) or (meeting.type == 1 and kind != "live"):
            return False
        day = meeting.start.date() if meeting.start else None
        in_time = day is None or ((first is None or day >= first) and (last is None or day <= last))
        return in_time and kinds[kind](meeting)

    return sorted(filter(wanted, known.meetings.values()), key=lambda one: (one.start or _FAR, one.id))


def _day(name: str) -> date | None:
    text = request.args.get(name)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise errors.invalid(name) from None
