"""All routes of the API. Importing a module adds its routes; the catch-all comes last."""

from sandbox.calendly import (  # noqa: F401 - imported for their routes
    availability_routes,
    event_types,
    events,
    invitees,
    links,
    no_shows,
    people_routes,
    webhooks,
)
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.errors import ApiError
from sandbox.calendly.rows import Json

__all__ = ["blueprint"]


@blueprint.route("/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def nothing_here(rest: str) -> Json:
    """No route: there is no call to move an event or to delete an event type."""
    del rest
    raise ApiError(404)
