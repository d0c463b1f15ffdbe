"""What a request handler needs: the world, the time, and the caller's body."""

from datetime import datetime
from typing import cast

from flask import current_app, request

from sandbox.world import World
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import Json
from sandbox.zoom.state import ZoomState


def world() -> World:
    return cast("World", current_app.extensions["world"])


def state() -> ZoomState:
    return world().zoom


def now() -> datetime:
    return world().clock.now()


def web() -> str:
    """What stands for https://zoom.us."""
    return f"{world().url}/zoom/web"


def body() -> Json:
    """The JSON object sent; an empty body counts as an empty object."""
    if not request.get_data():
        return {}
    content = request.get_json(force=True, silent=True)
    if not isinstance(content, dict):
        raise ZoomError(400, 300, "Request Body should be a valid JSON object.")
    return content
