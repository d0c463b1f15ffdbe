"""All routes of API v2. Importing a module adds its routes; the catch-all comes last."""

from flask import request

from sandbox.calcom import (  # noqa: F401 - imported for their routes
    booking_parts,
    booking_routes,
    calendars,
    event_types,
    managed,
    me,
    oauth,
    schedules,
    slots,
    webhooks,
)
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.context import asked
from sandbox.calcom.errors import cannot
from sandbox.calcom.state import Json

__all__ = ["blueprint"]


@blueprint.route("/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def nothing_here(rest: str) -> Json:
    del rest
    raise cannot(request.method, asked())
