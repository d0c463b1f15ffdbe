"""What the people's page of the sandbox shows of Calendly, and the common faults it offers."""

from typing import Any
from zoneinfo import ZoneInfo

from sandbox.calendly.rows import Event
from sandbox.world import World

API = {"path": "/calendly/api/*"}
TOKEN = {"path": "/calendly/auth/oauth/token"}
FAULTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "calendly-slow": ("Calendly's API answers two seconds late", API, {"kind": "latency", "seconds": 2}),
    "calendly-down": ("Calendly's API answers 503", API, {"kind": "status", "status": 503}),
    "calendly-lost": (
        "A Calendly booking is made, its answer lost",
        {"method": "POST", "path": "/calendly/api/invitees"},
        {"kind": "drop", "when": "after"},
    ),
    "calendly-rotated": ("A Calendly token is refreshed, its answer lost", TOKEN, {"kind": "drop", "when": "after"}),
    "calendly-refresh": ("Refreshing a Calendly token fails", TOKEN, {"kind": "status", "status": 500}),
}


def of(world: World) -> dict[str, Any]:
    """Call it under the world's lock."""
    known = world.calendly
    return {
        "people": list(known.users.values()),
        "types": known.types_of,
        "events": [_line(world, row) for row in sorted(known.events.values(), key=lambda row: (row.start, row.created_at))],
        "subscriptions": list(known.subscriptions.values()),
    }


def _line(world: World, event: Event) -> dict[str, Any]:
    """Times in the host's zone."""
    known, now = world.calendly, world.clock.now()
    host = known.users[event.owner_id]
    zone = ZoneInfo(host.time_zone)
    begin, end = event.start.astimezone(zone), event.end.astimezone(zone)
    when = f"{begin:%a %d %b %Y %H:%M} to {end:%H:%M} ({host.time_zone})"
    return {"row": event, "when": when, "host": host, "invitees": known.invitees_of(event), "ahead": event.start > now}
