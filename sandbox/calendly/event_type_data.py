"""What an event type may be made of, and its slug. The API makes solo types only; the control face makes the rest as well."""

import re
from typing import Any

from sandbox.calendly.checks import Given
from sandbox.calendly.rows import EventType, Json
from sandbox.calendly.state import CalendlyState

KINDS = (
    "ask_invitee",
    "custom",
    "google_conference",
    "gotomeeting_conference",
    "inbound_call",
    "microsoft_teams_conference",
    "outbound_call",
    "physical",
    "webex_conference",
    "zoom_conference",
)
LOCALES = ("en", "fr", "es", "de", "nl", "pt", "it", "uk")
LONGEST = 720  # minutes
_COLOR = re.compile(r"#[a-f\d]{6}")
_PLACE = ("kind", "location", "additional_info", "phone_number")


def read(given: Given) -> Json:
    """The changes a body asks for. Unknown and read-only keys are ignored without a word."""
    values = given.values
    changes: Json = {}
    if "name" in values:
        changes["name"] = given.text("name", required=True)
    if values.get("active") is not None:
        changes["active"] = given.flag("active")
    if "description" in values:
        changes["description"] = given.text("description")
    if values.get("duration") is not None:
        changes["duration"] = given.whole("duration", 1, LONGEST)
    if "duration_options" in values:
        changes["duration_options"] = _options(given)
    if "locations" in values:
        changes["locations"] = locations(given, "locations")
    if values.get("color") is not None:
        changes["color"] = _color(given)
    if values.get("locale") is not None:
        changes["locale"] = given.choice("locale", LOCALES)
    return changes


def _options(given: Given) -> list[int] | None:
    options = given.listed("duration_options")
    fine = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= LONGEST for one in options)
    if not fine or len(options) > 4 or len(set(options)) < len(options):
        given.wrong("duration_options", f"must be at most 4 distinct numbers from 1 to {LONGEST}")
    return options or None


def _color(given: Given) -> str | None:
    color = given.text("color")
    if color is not None and _COLOR.fullmatch(color) is None:
        given.wrong("color", "is in invalid format")
    return color


def locations(given: Given, name: str) -> list[Json] | None:
    places = given.listed(name)
    if any(not isinstance(place, dict) or place.get("kind") not in KINDS for place in places):
        given.wrong(name, f"kind must be one of: {', '.join(KINDS)}")
        return None
    if any(not isinstance(place.get(key, ""), str | None) for place in places for key in _PLACE):
        given.wrong(name)
        return None
    return [{key: place[key] for key in _PLACE if place.get(key) is not None} for place in places] or None


def apply(row: EventType, changes: Json) -> None:
    for name, value in changes.items():
        setattr(row, name, value)


def free_slug(known: CalendlyState, owner_id: str, name: str) -> str:
    """Made of the name at the start and never changed afterwards."""
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "event"
    taken = {row.slug for row in known.types_of(owner_id)}
    return next(slug for slug in (base, *(f"{base}-{number}" for number in range(1, 10_000))) if slug not in taken)


def sort_key(field: str) -> Any:
    return {
        "name": lambda row: (row.name.lower(), row.id),
        "position": lambda row: row.position,
        "created_at": lambda row: (row.created_at, row.position),
        "updated_at": lambda row: (row.updated_at, row.position),
    }[field]
