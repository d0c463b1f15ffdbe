"""The page for people at `/zoom`: who is here, their meetings, the apps, and buttons to act as hosts do outside the API."""

from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.zoom import meeting_face, outside, validation
from sandbox.zoom.context import state, web, world
from sandbox.zoom.errors import ZoomError, no_user
from sandbox.zoom.rows import Json, Meeting

blueprint = Blueprint("zoom_pages", __name__)
FAULTS: dict[str, tuple[str, dict[str, str], Json]] = {
    "slow": ("Zoom answers two seconds late", {"path": "/zoom/api/*"}, {"kind": "latency", "seconds": 2}),
    "down": ("Zoom answers 503", {"path": "/zoom/api/*"}, {"kind": "status", "status": 503}),
    "lost": (
        "A meeting is made, its answer lost",
        {"method": "POST", "path": "/zoom/api/v2/users/*/meetings"},
        {"kind": "drop", "when": "after"},
    ),
    "token": ("Getting a token fails", {"path": "/zoom/web/oauth/token"}, {"kind": "status", "status": 500}),
    "late": ("A recording's event is parked", {"webhook": "recording.completed"}, {"kind": "park"}),
    "unsigned": ("A recording's event has no signature", {"webhook": "recording.completed"}, {"kind": "unsigned"}),
}


class InputError(Exception):
    """Told to the person on the page."""


def _back(message: str, *, bad: bool = False) -> Response:
    return redirect("/zoom?" + urlencode({"message": message} | ({"bad": "1"} if bad else {})), 303)


@blueprint.errorhandler(InputError)
@blueprint.errorhandler(ZoomError)
def told(problem: Exception) -> ResponseReturnValue:
    return _back(str(problem), bad=True)


@blueprint.get("/zoom")
def index() -> str:
    with world().lock:
        known = state()
        rows = sorted(known.meetings.values(), key=lambda row: (row.start is None, row.start, row.id))
        return render_template(
            "zoom.html",
            users=list(known.users.values()),
            meetings=[_line(row) for row in rows],
            recordings=list(known.recordings.values()),
            apps=list(known.apps.values()),
            installs=[(known.apps[row.client_id], known.users[row.user_id]) for row in known.installs.values()],
            faults=world().faults.entries(),
            common=FAULTS,
        )


def _line(meeting: Meeting) -> dict[str, Any]:
    """Times in the host's zone."""
    host = state().host(meeting)
    start = meeting.start.astimezone(ZoneInfo(host.time_zone)) if meeting.start else None
    when = f"{start:%a %d %b %Y %H:%M} ({host.time_zone})" if start else "no fixed time"
    return {"row": meeting, "host": host, "when": when, "link": meeting_face.join_url(meeting, web())}


@blueprint.post("/page/zoom/meetings/<meeting_id>/<action>")
def act_on_meeting(meeting_id: str, action: str) -> Response:
    if action == "start":
        outside.start(meeting_id, [])
        return _back("The meeting is running.")
    if action == "end":
        outside.end(meeting_id, [], recording=True, transcript=True)
        return _back("The meeting has been held and recorded.")
    if action == "delete":
        outside.delete(meeting_id)
        return _back("The host has deleted the meeting.")
    raise InputError(f"A meeting cannot {action}.")


@blueprint.post("/page/zoom/deauthorize")
def deauthorize() -> Response:
    user = state().user(request.form.get("email", ""))
    if user is None:
        raise no_user(request.form.get("email", ""))
    outside.deauthorize(user, request.form.get("clientId") or None)
    return _back(f"{user.name} has removed the app.")


@blueprint.post("/page/zoom/apps/<client_id>/validate")
def validate(client_id: str) -> Response:
    app = state().apps.get(client_id)
    if app is None or not app.webhook_url:
        raise InputError("This app has no endpoint.")
    validation.ask(world(), [app])
    right = app.failures == 0 and app.validated_at is not None
    return _back("The endpoint answered rightly." if right else "The endpoint did not answer rightly.", bad=not right)


@blueprint.post("/page/zoom/faults")
def add_fault() -> Response:
    chosen, count = request.form.get("fault", ""), request.form.get("times", "1").strip()
    if chosen not in FAULTS:
        raise InputError(f"Choose one of: {', '.join(FAULTS)}.")
    if count and (not count.isdecimal() or int(count) < 1):
        raise InputError("How often must be a number from 1 up, or empty for: until removed.")
    label, match, effect = FAULTS[chosen]
    world().faults.add(dict(match), dict(effect), times=int(count) if count else None)
    return _back(f"{label}.")


@blueprint.post("/page/zoom/faults/<fault_id>/remove")
def remove_fault(fault_id: str) -> Response:
    world().faults.remove(fault_id)
    return _back("The fault is gone.")
