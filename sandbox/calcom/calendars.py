from flask import request

from sandbox import times
from sandbox.calcom import auth, checks
from sandbox.calcom.availability import Span
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field
from sandbox.calcom.context import state, success, world
from sandbox.calcom.state import Json

BUSY_QUERY = {
    "dateFrom": Field(checks.edge, required=True),
    "dateTo": Field(checks.edge, required=True),
    "timeZone": Field(checks.time_zone),
    "loggedInUsersTz": Field(checks.time_zone),
}


@blueprint.get("/calendars")
def list_calendars() -> Json:
    """Nobody here has connected one."""
    auth.needed("APPS_READ")
    return success({"connectedCalendars": [], "destinationCalendar": {}})


@blueprint.get("/calendars/busy-times")
def busy_times() -> Json:
    """Accepted bookings, and the blocks put in through the control face, which stand for a connected calendar."""
    user = auth.needed("APPS_READ")
    query = checks.listed(request.args.to_dict(), BUSY_QUERY)
    asked = Span(times.parse_edge(query["dateFrom"], end=False), times.parse_edge(query["dateTo"], end=True))
    with world().lock:
        known = state()
        mine = [row for row in known.bookings.values() if row.owner_id == user.id and row.status == "accepted"]
        spans = [(Span(row.start, row.end), "cal.com") for row in mine]
        spans += [(Span(row.start, row.end), "google_calendar") for row in known.busy.values() if row.user_id == user.id]
    spans = sorted(((span, source) for span, source in spans if span.overlaps(asked)), key=lambda pair: pair[0].start)
    return success([{"start": times.millis(span.start), "end": times.millis(span.end), "source": source} for span, source in spans])


@blueprint.get("/allowlists")
def allowlists() -> Json:
    """Public: the addresses that webhooks come from. This machine's own."""
    services = {"webhooks": {"direction": "egress-from-cal", "ipv4": ["127.0.0.1/32"]}}
    return success({"metadata": {"schemaVersion": "v1"}, "services": services})
