"""Zoom's JSON into our dataclasses. `start_url`, passwords and download tokens are not looked at."""

import re
from datetime import UTC, datetime
from typing import Any

from services.errors import BadAnswer
from services.providers.base import MeetingWish, Recorded, RemoteAccount, RemoteMeeting, RemoteRecording

UNREADABLE = (KeyError, AttributeError, TypeError, ValueError, OverflowError, RecursionError)
MOST = 2**31 - 1
"""The largest number that a column holds."""
MARK = re.compile(r"\[convene:([0-9A-Z]{26})\]")
SCHEDULED = 2
LONGEST_TOPIC = 200


def account(raw: Any) -> RemoteAccount:
    try:
        name = raw.get("display_name") or " ".join(part for part in (raw.get("first_name"), raw.get("last_name")) if part)
        return RemoteAccount(
            external_id=id_of(raw["id"]),
            name=_text(name),
            email=_text(raw.get("email")),
            time_zone=_text(raw.get("timezone")),
            organization=_text(raw.get("account_id")),
        )
    except UNREADABLE as error:
        raise BadAnswer("zoom", "a user that cannot be read") from error


def meeting(raw: Any) -> RemoteMeeting:
    try:
        minutes = int(raw.get("duration") or 0)
        if not _is_link(raw["join_url"]) or not 0 <= minutes <= MOST:
            raise ValueError("no link, or no length")
        return RemoteMeeting(
            external_id=id_of(raw["id"]),
            join_url=raw["join_url"],
            start=moment(raw["start_time"]) if raw.get("start_time") else None,
            minutes=minutes,
            created_at=moment(raw["created_at"]),
        )
    except UNREADABLE as error:
        raise BadAnswer("zoom", "a meeting that cannot be read") from error


def meeting_body(wanted: MeetingWish) -> dict[str, Any]:
    """Times in GMT, marked by Z. Nobody but the host's own app is to mail anybody."""
    return {
        "topic": wanted.topic[:LONGEST_TOPIC],
        "type": SCHEDULED,
        "start_time": wanted.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "duration": wanted.minutes,
        "timezone": wanted.time_zone,
        "agenda": f"[convene:{wanted.mark}]",
        "settings": {"auto_recording": "cloud" if wanted.record else "none", "email_notification": False},
    }


def mark(raw: Any) -> str | None:
    found = MARK.search(str(raw.get("agenda") or "")) if isinstance(raw, dict) else None
    return found[1] if found else None


def recorded(raw: Any, *, complete: bool) -> Recorded:
    """Only finished files with a page to play them. The passcode goes into the link, as Zoom's own mails do it."""
    try:
        passcode = raw.get("recording_play_passcode")
        passcode = id_of(passcode) if passcode else None
        files = []
        for file in raw.get("recording_files") or ():
            page = file.get("play_url") or raw.get("share_url")
            if file.get("status", "completed") != "completed" or not _is_link(page):
                continue
            kind, start = id_of(file.get("recording_type") or file.get("file_type") or "file"), moment(file["recording_start"])
            files.append(
                RemoteRecording(
                    external_id=id_of(file.get("id") or f"{kind}:{start.isoformat()}"),
                    kind=kind,
                    url=f"{page}{'&' if '?' in page else '?'}pwd={passcode}" if passcode else page,
                    start=start,
                    end=moment(file.get("recording_end") or file["recording_start"]),
                )
            )
        return Recorded(id_of(raw["id"]), id_of(raw["host_id"]), id_of(raw["uuid"]), tuple(files), complete)
    except UNREADABLE as error:
        raise BadAnswer("zoom", "a recording that cannot be read") from error


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def id_of(value: Any) -> str:
    """Numbers here and texts there; `None` is nobody's. A text with U+0000 could not be looked for."""
    if type(value) is not int and (not isinstance(value, str) or not value or "\0" in value):
        raise ValueError("no id")
    return str(value)


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://")) and "\0" not in value


def moment(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    if not 1 < at.year < 9999:  # noqa: PLR2004 - the calendar's ends, where not every zone can show it
        raise ValueError("a time outside the calendar")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
