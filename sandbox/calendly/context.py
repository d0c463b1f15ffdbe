"""What a request handler needs: the world, the caller's body and the usual answers."""

from typing import Any, cast

from flask import current_app, request

from sandbox.calendly.errors import ApiError
from sandbox.calendly.setting import Setting
from sandbox.calendly.state import CalendlyState, Json
from sandbox.world import World


def world() -> World:
    return cast("World", current_app.extensions["world"])


def state() -> CalendlyState:
    return world().calendly


def setting() -> Setting:
    return setting_of(world())


def setting_of(place: World) -> Setting:
    return Setting(place.calendly, place.clock.now(), place.url)


def body() -> Json:
    """The JSON object sent; an empty body counts as an empty object."""
    if not request.get_data():
        return {}
    content = request.get_json(force=True, silent=True)
    if not isinstance(content, dict):
        raise ApiError(400, "The request body is not a JSON object.")
    return content


def resource(content: Any) -> Json:
    return {"resource": content}
