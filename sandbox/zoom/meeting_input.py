"""What may be sent about a meeting. Unknown keys are passed over in silence; a bad value names its field."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox import times
from sandbox.zoom.errors import invalid
from sandbox.zoom.rows import Json

Rule = Callable[[Any], bool]
_START = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?")
_PASSWORD = re.compile(r"[A-Za-z0-9@_*-]{0,10}")


def _text(limit: int) -> Rule:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _one_of(*allowed: Any) -> Rule:
    return lambda value: not isinstance(value, bool) and value in allowed


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000


def _start(value: Any) -> bool:
    """Seconds, and `Z` or nothing: no fraction and no offset [?]."""
    if not isinstance(value, str) or not _START.fullmatch(value):
        return False
    try:
        times.parse(value)
    except ValueError:
        return False
    return True


def _invitees(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and isinstance(one.get("email"), str) for one in value)


def _kind(kind: type) -> Rule:
    return lambda value: isinstance(value, kind)


MEETING: Mapping[str, Rule] = {
    "topic": _text(200),
    "type": _one_of(1, 2, 3, 8, 10),
    "start_time": _start,
    "duration": _whole,
    "timezone": lambda value: times.zone(value) is not None,
    "agenda": _text(2000),
    "password": lambda value: isinstance(value, str) and _PASSWORD.fullmatch(value) is not None,
    "default_password": _boolean,
    "schedule_for": _text(200),
    "pre_schedule": _boolean,
    "template_id": _text(200),
    "tracking_fields": _kind(list),
    "recurrence": _kind(dict),
    "settings": _kind(dict),
}
SETTINGS: Mapping[str, Rule] = {
    "auto_recording": _one_of("local", "cloud", "none"),
    "jbh_time": _one_of(0, 5, 10, 15),
    "approval_type": _one_of(0, 1, 2),
    "audio": _one_of("both", "telephony", "voip", "thirdParty"),
    "encryption_type": _one_of("enhanced_encryption", "e2ee"),
    "alternative_hosts": _text(2000),
    "meeting_invitees": _invitees,
} | dict.fromkeys(
    (
        "join_before_host",
        "waiting_room",
        "host_video",
        "participant_video",
        "mute_upon_entry",
        "email_notification",
        "meeting_authentication",
        "use_pmi",
    ),
    _boolean,
)


def checked(given: Json) -> Json:
    """The known keys, or 400 with code 300 and the bad ones."""
    found = {name: value for name, value in given.items() if name in MEETING and value is not None}
    bad = [name for name, value in found.items() if not MEETING[name](value)]
    settings = found.get("settings")
    if isinstance(settings, dict):
        found["settings"] = {name: value for name, value in settings.items() if name in SETTINGS and value is not None}
        bad += [f"settings.{name}" for name, value in found["settings"].items() if not SETTINGS[name](value)]
    if bad:
        raise invalid(*bad)
    return found


def start(given: Json, zone_name: str) -> datetime:
    """With `Z` it is GMT whatever the time zone; without, local to it."""
    text = str(given["start_time"])
    moment = times.parse(text)
    zone = times.zone(zone_name)
    if text.endswith("Z") or zone is None:
        return moment
    return moment.replace(tzinfo=zone).astimezone(UTC)
