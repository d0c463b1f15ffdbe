"""People with Calendly accounts, and what happens to them there: booked, moved, cancelled, not through Convene.

`hear(world)` waits for the webhooks, which go out after the answer, and does what is due then.
"""

from datetime import datetime
from typing import Any

from harness import Caller, World, iso

from sandbox.calendly.rows import Event, EventType, Invitee, User

CALL = {"name": "Call", "duration": 30}
GROUP = {"name": "Circle", "duration": 45, "kind": "group", "limit": 5}
API = "/calendly/api"
TOKEN = "/calendly/auth/oauth/token"


def calendly_account(world: World, person: Caller, event_types: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A Calendly account in the sandbox, not linked."""
    kinds = [CALL] if event_types is None else event_types
    made: dict[str, Any] = world.sandbox_call(
        "calendly/users", email=person.email, name=person.name, timeZone=person.time_zone, eventTypes=kinds, **more
    )
    return made


def calendly_coach(
    world: World,
    name: str = "Cora",
    event_types: list[dict[str, Any]] | None = None,
    time_zone: str = "Europe/Berlin",
    **more: Any,
) -> Caller:
    """Somebody with a Calendly account, a 30-minute event type `Call`, and a link."""
    person = world.caller(name, time_zone=time_zone)
    calendly_account(world, person, event_types, **more)
    return person.link(provider="CALENDLY")


def calendly_user(world: World, person: Caller) -> User:
    """The person's account as the sandbox has it."""
    found = world.sandbox.world.calendly.user_by_email(person.email)
    assert found is not None
    return found


def calendly_type(world: World, coach: Caller, kind: str = "Call") -> EventType:
    """The coach's event type of that name as the sandbox has it."""
    mine = world.sandbox.world.calendly.types_of(calendly_user(world, coach).id)
    return next(row for row in mine if row.name == kind)


def invite(world: World, coach: Caller, kind: str, start: datetime, name: str = "Otto", **more: Any) -> str:
    """Somebody books on the coach's Calendly page; answers the invitee's address there. `email`, `zone`, and as in the sandbox."""
    email = more.pop("email", f"{name.lower().replace(' ', '.')}@example.test")
    person = {"name": name, "email": email, "timeZone": more.pop("zone", "Europe/London")}
    made = world.sandbox_call("calendly/bookings", eventType=calendly_type(world, coach, kind).id, start=iso(start), invitee=person, **more)
    uri: str = made["invitee"]["uri"]
    return uri


def move_there(world: World, invitee: str, start: datetime, **more: Any) -> str:
    """The invitee moves on Calendly's own page; answers the new invitee's address."""
    made = world.sandbox_call("calendly/reschedule", invitee=invitee, start=iso(start), **more)
    uri: str = made["new"]["uri"]
    return uri


def cancel_there(world: World, invitee: str, *, by: str = "invitee", reason: str | None = None, **more: Any) -> None:
    """Cancelled at Calendly: `invitee` leaves alone, `host` cancels for everybody."""
    world.sandbox_call("calendly/cancel", invitee=invitee, by=by, reason=reason, **more)


def hear(world: World) -> None:
    """The webhooks are delivered, and what they cause is done."""
    world.sandbox.settle()
    world.jobs()


def external_id(invitee: str) -> str:
    """What Convene calls the invitee: "<event>/<invitee>"."""
    *_, event, _, own = invitee.split("/")
    return f"{event}/{own}"


def invitee_row(world: World, invitee: str) -> Invitee:
    """An invitee by their address as the sandbox has them."""
    return world.sandbox.world.calendly.invitees[invitee.rpartition("/")[2]]


def event_row(world: World, invitee: str) -> Event:
    """The event of an invitee as the sandbox has it."""
    return world.sandbox.world.calendly.events[invitee_row(world, invitee).event_id]


def live_invitees(world: World) -> list[str]:
    """The external ids of everybody who is active at Calendly."""
    rows = world.sandbox.world.calendly.invitees.values()
    return sorted(f"{row.event_id}/{row.id}" for row in list(rows) if row.status == "active")


def live_events(world: World) -> int:
    """How many events stand at Calendly."""
    return sum(row.status == "active" for row in list(world.sandbox.world.calendly.events.values()))


def set_switches(world: World, **switches: Any) -> None:
    """Switches of the sandbox's Calendly (sandbox/calendly/control.py)."""
    world.sandbox_call("calendly/switches", "PUT", **switches)


def set_limits(world: World, **limits: int) -> None:
    """Rate limits of the sandbox's Calendly; counters start anew."""
    world.sandbox_call("calendly/limits", "PUT", **limits)


def forget_requests(world: World) -> None:
    """Count the provider's requests from here on."""
    world.sandbox.world.requests.clear()


def api_calls(world: World, method: str = "GET", pattern: str = "/") -> list[tuple[str, str]]:
    """(path below the API, query) of the requests of that kind to Calendly's API."""
    return [
        (request.path.removeprefix(API), request.query)
        for request in world.sandbox.requests
        if request.path.startswith(API) and request.method == method and pattern in request.path
    ]
