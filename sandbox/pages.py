"""The page for people: who is here, what is booked, what was delivered, and buttons to act as the outside world."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, current_app, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox import times
from sandbox.calcom import availability, booking_changes, booking_routes, hooks
from sandbox.calcom.auth import Caller
from sandbox.calcom.availability import Span
from sandbox.calcom.booking_changes import Setting
from sandbox.calcom.errors import CalError, CoreError
from sandbox.calcom.state import Booking, EventType
from sandbox.calendly import overview as calendly
from sandbox.deliveries import Outgoing
from sandbox.world import World

blueprint = Blueprint("pages", __name__)
FaultMenu = dict[str, tuple[str, dict[str, Any], dict[str, Any]]]
FAULTS: FaultMenu = {
    "slow": ("The API answers two seconds late", {"path": "/calcom/v2/*"}, {"kind": "latency", "seconds": 2}),
    "down": ("The API answers 503", {"path": "/calcom/v2/*"}, {"kind": "status", "status": 503}),
    "lost": (
        "A reschedule is done, its answer lost",
        {"method": "POST", "path": "/calcom/v2/bookings/*/reschedule"},
        {"kind": "drop", "when": "after"},
    ),
    "malformed": ("The API's JSON breaks off", {"path": "/calcom/v2/*"}, {"kind": "malformed"}),
    "refresh": ("Refreshing a token fails", {"path": "/calcom/v2/auth/oauth2/token"}, {"kind": "status", "status": 500}),
    "duplicate": ("Webhooks arrive twice", {"webhook": "*"}, {"kind": "duplicate", "count": 2}),
    "dropped": ("Webhooks are lost", {"webhook": "*"}, {"kind": "drop"}),
    "reorder": ("Webhooks arrive in the wrong order", {"webhook": "*"}, {"kind": "reorder"}),
    "unsigned": ("Webhooks come without a signature", {"webhook": "*"}, {"kind": "unsigned"}),
    **calendly.FAULTS,
}


class InputError(Exception):
    """Told to the person on the page."""


def _world() -> World:
    return cast("World", current_app.extensions["world"])


def _back(message: str, *, bad: bool = False) -> Response:
    return redirect("/?" + urlencode({"message": message} | ({"bad": "1"} if bad else {})), 303)


@blueprint.errorhandler(InputError)
@blueprint.errorhandler(CalError)
@blueprint.errorhandler(CoreError)
def told(problem: Exception) -> ResponseReturnValue:
    return _back(str(problem), bad=True)


@blueprint.get("/")
def index() -> str:
    world = _world()
    with world.lock:
        known = world.calcom
        return render_template(
            "index.html",
            users=list(known.users.values()),
            event_types=known.owned_event_types,
            bookings=[_line(row) for row in sorted(known.bookings.values(), key=lambda row: (row.start, row.id))],
            webhooks=list(known.webhooks.values()),
            deliveries=world.deliveries.entries()[-15:][::-1],
            parked=len(world.deliveries.parked()),
            faults=world.faults.entries(),
            common=FAULTS,
            clock=world.clock.describe(),
            calendly=calendly.of(world),
        )


def _line(booking: Booking) -> dict[str, Any]:
    """Times in the host's zone."""
    host = _world().calcom.users[booking.owner_id]
    zone = ZoneInfo(host.time_zone)
    begin, end = booking.start.astimezone(zone), booking.end.astimezone(zone)
    when = f"{begin:%a %d %b %Y %H:%M} to {end:%H:%M} ({host.time_zone})"
    return {"row": booking, "host": host, "when": when}


@blueprint.get("/book")
def choose_slot() -> ResponseReturnValue:
    """First an event type and a day, then its free times."""
    with _world().lock:
        event_type, day = _chosen(), _day()
        host = _world().calcom.users[event_type.owner_id]
        zone = ZoneInfo(host.time_zone)
        begin = datetime.combine(day, time(0), zone)
        span = Span(begin, datetime.combine(day + timedelta(days=1), time(0), zone))
        free = list(availability.slots(_world().calcom, event_type, span, _world().clock.now()))
    labels = [(times.millis(slot.start), f"{slot.start.astimezone(zone):%H:%M}") for slot in free]
    return render_template("book.html", event_type=event_type, host=host, day=day, slots=labels)


def _chosen() -> EventType:
    found = _world().calcom.event_types.get(request.values.get("eventTypeId", 0, int))
    if found is None:
        raise InputError("Choose an event type first.")
    return found


def _day() -> date:
    try:
        return date.fromisoformat(request.values.get("date", ""))
    except ValueError:
        raise InputError("Choose a day, as YYYY-MM-DD.") from None


@blueprint.post("/book")
def book() -> Response:
    form = request.form
    if not form.get("start"):
        raise InputError("Choose a time.")
    if not form.get("name", "").strip():
        raise InputError("A name is needed to book.")
    given = {
        "eventTypeId": _chosen().id,
        "start": form["start"],
        "attendee": {
            "name": form["name"].strip(),
            "email": form.get("email", "").strip(),
            "timeZone": form.get("timeZone") or "Etc/UTC",
        },
    }
    made = booking_routes.create(given, None)["data"]
    return _back(f"Booked: {made['title']}, {made['status']}.")


@blueprint.post("/bookings/<uid>/<action>")
def act_on_booking(uid: str, action: str) -> Response:
    """Cancelled as an outsider who knows the uid; confirmed and declined as the host."""
    booking = booking_changes.find(_world().calcom, uid)
    host = Caller(_world().calcom.users[booking.owner_id])

    def cancel(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        ended = booking_changes.cancel(setting, uid, {"cancellationReason": "Cancelled on the sandbox's page"})
        return ended, hooks.cancelled(setting, ended)

    def confirm(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        accepted = booking_changes.answer(setting, uid, accept=True)
        return accepted, hooks.confirmed(setting, accepted)

    def decline(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        rejected = booking_changes.answer(setting, uid, accept=False, reason="Declined on the sandbox's page")
        return rejected, hooks.declined(setting, rejected)

    actions: dict[str, tuple[Caller | None, booking_routes.Change]] = {
        "cancel": (None, cancel),
        "confirm": (host, confirm),
        "decline": (host, decline),
    }
    if action not in actions:
        raise InputError(f"A booking cannot {action}.")
    shown = booking_routes.change(*actions[action])["data"]
    return _back(f"{shown['title']} is now {shown['status']}.")


@blueprint.post("/page/faults")
def add_fault() -> Response:
    return _back(f"{add_chosen_fault(FAULTS)}.")


def add_chosen_fault(menu: FaultMenu) -> str:
    """Adds the one that the form chose; answers its label."""
    label, match, effect = menu.get(request.form.get("fault", "")) or _unknown(menu)
    count = request.form.get("times", "1").strip()
    if count and (not count.isdigit() or int(count) < 1):
        raise InputError("How often must be a number from 1 up, or empty for: until removed.")
    _world().faults.add(dict(match), dict(effect), times=int(count) if count else None)
    return label


def _unknown(known: Iterable[str]) -> Any:
    raise InputError(f"Choose one of: {', '.join(known)}.")


@blueprint.post("/page/faults/<fault_id>/remove")
def remove_fault(fault_id: str) -> Response:
    _world().faults.remove(fault_id)
    return _back("The fault is gone.")


@blueprint.post("/page/deliveries/flush")
def flush() -> Response:
    return _back(f"{_world().deliveries.flush()} parked deliveries sent.")


@blueprint.post("/page/deliveries/<int:delivery_id>/resend")
def resend(delivery_id: int) -> Response:
    if _world().deliveries.resend(delivery_id) is None:
        raise InputError("That delivery is no longer known.")
    return _back("The same bytes were sent again.")


@blueprint.post("/page/clock")
def set_clock() -> Response:
    world, action = _world(), request.form.get("action", "")
    changes: dict[str, Callable[[], None]] = {
        "freeze": lambda: world.clock.freeze(_moment()),
        "hour": lambda: world.clock.shift(3600),
        "day": lambda: world.clock.shift(86400),
        "real": world.clock.reset,
    }
    if action not in changes:
        raise InputError("Choose what to do with the clock.")
    with world.writing():
        changes[action]()
    return _back(f"It is now {world.clock.describe()['now']}.")


def _moment() -> datetime:
    try:
        return times.parse(request.form.get("now", ""))
    except ValueError:
        raise InputError("Write the moment as 2026-12-01T09:00:00Z.") from None
