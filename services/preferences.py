"""How a person wants to be told: in which zone, by which channels, and how long before a meeting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models import User
from services.errors import FieldProblem, InvalidInput
from services.identity import Viewer, is_zone
from services.recipients import CHANNELS

MOST_REMINDERS = 5
SHORTEST, LONGEST = 5, 14 * 24 * 60


@dataclass(frozen=True)
class Preferences:
    """`time_zone` None: the sign-in's. `reminders`: minutes before a meeting, the longest first."""

    time_zone: str | None
    channels: tuple[str, ...]
    reminders: tuple[int, ...]


def of(viewer: Viewer) -> Preferences:
    user = User.get_by_id(viewer.user_id)
    channels = CHANNELS if user.channels is None else tuple(user.channels)
    return Preferences(user.chosen_time_zone, channels, tuple(sorted(user.reminders or (), reverse=True)))


def update(viewer: Viewer, **changed: Any) -> Preferences:
    """Change what is named among `time_zone`, `channels` and `reminders`; None brings back the default.

    Raises InvalidInput for a zone that is none, and for reminders that are too many, too early, too late or the same.
    """
    values: dict[str, Any] = {}
    if "time_zone" in changed:
        values["chosen_time_zone"] = _zone(changed["time_zone"])
    if "channels" in changed:
        chosen = changed["channels"]
        values["channels"] = None if chosen is None else sorted(set(chosen))
    if "reminders" in changed:
        values["reminders"] = _reminders(changed["reminders"] or ())
    if values:
        User.update(**values).where(User.id == viewer.user_id).execute()
    return of(viewer)


def _zone(name: str | None) -> str | None:
    if name is not None and not is_zone(name):
        raise InvalidInput.of("timeZone", "This is no IANA time zone.")
    return name


def _reminders(minutes: Sequence[int]) -> list[int]:
    wrong = []
    if len(minutes) > MOST_REMINDERS:
        wrong.append(f"At most {MOST_REMINDERS} reminders.")
    if len(set(minutes)) != len(minutes):
        wrong.append("Each reminder only once.")
    if not all(SHORTEST <= number <= LONGEST for number in minutes):
        wrong.append(f"A reminder is {SHORTEST} minutes to {LONGEST} minutes (two weeks) ahead.")
    if wrong:
        raise InvalidInput(*(FieldProblem(("reminderMinutes",), message) for message in wrong))
    return sorted(minutes, reverse=True)
