"""All routes of API v2, also under a regional address. Importing a module adds its routes; the catch-all comes last."""

from typing import NoReturn

from flask import Blueprint

from sandbox.zoom import meeting_routes, recording_routes, user_routes  # noqa: F401 - imported for their routes
from sandbox.zoom.blueprint import blueprint
from sandbox.zoom.errors import unknown_route

__all__ = ["blueprint", "regional"]


@blueprint.route("/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def nothing_here(rest: str) -> NoReturn:
    del rest
    raise unknown_route()


regional = Blueprint("zoom_regional", __name__, url_prefix="/zoom/eu")
regional.register_blueprint(blueprint, url_prefix="/api/v2")
