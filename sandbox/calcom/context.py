"""What a request handler needs: the world, the caller's body and the usual answer."""

from datetime import datetime
from typing import Any, cast

from flask import current_app, request

from sandbox.calcom.errors import CalError
from sandbox.calcom.state import CalcomState, Json
from sandbox.front import ARRIVED
from sandbox.world import World

PREFIX = "/calcom"


def world() -> World:
    return cast("World", current_app.extensions["world"])


def state() -> CalcomState:
    return world().calcom


def now() -> datetime:
    return world().clock.now()


def arrived() -> int:
    """The count of commits when this request came in."""
    return int(request.environ.get(ARRIVED, world().commits))


def version() -> str:
    return request.headers.get("cal-api-version", "")


def asked() -> str:
    """Path and query without our prefix, as Cal.com repeats it in errors."""
    query = request.query_string.decode(errors="replace")
    return request.path.removeprefix(PREFIX) + (f"?{query}" if query else "")


def body() -> Json:
    """The JSON object sent; an empty body counts as an empty object."""
    if not request.get_data():
        return {}
    content = request.get_json(force=True, silent=True)
    if not isinstance(content, dict):
        raise CalError(400, "Request body is not a valid JSON object")
    return content


def success(data: Any, **more: Any) -> Json:
    return {"status": "success", "data": data, **more}
