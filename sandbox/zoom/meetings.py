"""What happens to meetings. Everything here runs under the world's lock."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sandbox import times
from sandbox.zoom import errors, ids, meeting_input, settings
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import Json, Meeting, User
from sandbox.zoom.state import ZoomState

LIFE = timedelta(days=30)
_TEXTS = {"topic": "topic", "agenda": "agenda", "duration": "duration", "timezone": "time_zone", "password": "password", "type": "type"}
_KEPT = ("tracking_fields", "recurrence", "pre_schedule")


@dataclass(frozen=True)
class Change:
    """Values before and after of the keys that changed, as Zoom names them."""

    old: Json
    new: Json


def find(known: ZoomState, meeting_id: str, now: datetime) -> Meeting:
    """A number that is expired, 30 days after its last use, is as good as unknown [?]."""
    if not meeting_id.isdecimal():
        raise errors.invalid("meetingId")
    meeting = known.meetings.get(int(meeting_id))
    if meeting is None or expired(meeting, now):
        raise errors.no_meeting(meeting_id)
    return meeting


def expired(meeting: Meeting, now: datetime) -> bool:
    if meeting.type not in {1, 2}:
        return False
    last = max(moment for moment in (meeting.created_at, meeting.start, meeting.last_used) if moment is not None)
    return meeting.started_at is None and last + LIFE < now


def check_host(user: User) -> None:
    """[?] What exactly a user who has not come yet is answered."""
    if user.status != "active":
        raise ZoomError(400, 3161, "Your user account is not allowed meeting hosting and scheduling capabilities.")


def create(known: ZoomState, now: datetime, host: User, given: Json, source: str = "open_api") -> Meeting:
    """Never idempotent: the same body again makes another meeting. A start in the past is taken as it is, or as now [?]."""
    kind, zone = given.get("type", 2), given.get("timezone") or host.time_zone
    password = given.get("password") or ids.password()
    meeting = Meeting(
        id=ids.meeting(known),
        uuid=ids.uuid(known),
        host=host.email,
        topic=given.get("topic") or "Zoom Meeting",
        type=kind,
        start=None if kind in {1, 3} else _start(known, now, given, zone),
        duration=given.get("duration") or 60,
        time_zone=zone,
        agenda=given.get("agenda", ""),
        password=password,
        encrypted_password=_encrypted(),
        settings=settings.merged(settings.DEFAULTS, given.get("settings", {}), licensed=host.plan != "basic"),
        created_at=now,
        source=source,
        extras={name: given[name] for name in _KEPT if name in given},
    )
    return known.meetings.add(meeting)


def _encrypted() -> str:
    return f"{secrets.token_urlsafe(24)}.1"


def _start(known: ZoomState, now: datetime, given: Json, zone: str) -> datetime:
    wanted = meeting_input.start(given, zone) if "start_time" in given else now
    return max(wanted, now) if known.switches["pastStart"] == "now" else wanted


def update(meeting: Meeting, host: User, now: datetime, given: Json) -> Change | None:
    """Only what was sent. A start in the past is passed over without a word. The number and the link stay."""
    before = _comparable(meeting)
    for name, column in _TEXTS.items():
        if name in given:
            setattr(meeting, column, given[name])
    if "start_time" in given:
        wanted = meeting_input.start(given, meeting.time_zone)
        meeting.start = wanted if wanted >= now else meeting.start
    meeting.settings = settings.merged(meeting.settings, given.get("settings", {}), licensed=host.plan != "basic")
    meeting.extras |= {name: given[name] for name in _KEPT if name in given}
    return _difference(before, _comparable(meeting))


def _comparable(meeting: Meeting) -> Json:
    shown: Json = {name: getattr(meeting, column) for name, column in _TEXTS.items()}
    shown["start_time"] = times.seconds(meeting.start) if meeting.start else None
    return shown | {"settings": dict(meeting.settings)} | dict(meeting.extras)


def _difference(before: Json, after: Json) -> Change | None:
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name, value in after.items():
        if name == "settings":
            changed = [key for key in value if value[key] != before[name].get(key)]
            if changed:
                old[name], new[name] = {key: before[name].get(key) for key in changed}, {key: value[key] for key in changed}
        elif value != before.get(name):
            old[name], new[name] = before.get(name), value
    return Change(old, new) if new else None


def delete(known: ZoomState, meeting: Meeting) -> None:
    """A running one is refused in older lists of errors [?]."""
    if meeting.started_at is not None and known.switches["refuseDeleteRunning"]:
        raise ZoomError(400, 3002, "Sorry, you cannot delete this meeting since it is in progress.")
    del known.meetings[meeting.id]


def begin(meeting: Meeting, at: datetime, present: list[Json]) -> None:
    meeting.started_at = meeting.last_used = at
    meeting.present = present


def end(known: ZoomState, meeting: Meeting, at: datetime) -> Meeting:
    """The next instance gets a uuid of its own. Answers the meeting as the ended instance was."""
    ended = replace(meeting)
    meeting.started_at, meeting.last_used, meeting.uuid, meeting.present = None, at, ids.uuid(known), []
    return ended
