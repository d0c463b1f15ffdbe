"""The API's frame: the token, then the limit, then the route, then the headers that every answer carries."""

import traceback
import uuid

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox.calendly import auth, limits
from sandbox.calendly.context import state
from sandbox.calendly.errors import ApiError
from sandbox.calendly.limits import TooManyError
from sandbox.calendly.rows import Json

blueprint = Blueprint("calendly", __name__, url_prefix="/calendly/api")


@blueprint.before_request
def admit() -> None:
    """Who cannot be told by a token is counted by address [?]."""
    try:
        g.caller = auth.resolve()
    except ApiError:
        limits.general(f"ip:{request.remote_addr}", None)
        raise
    limits.general(g.caller.key, state().organizations[g.caller.user.organization_id])


@blueprint.errorhandler(ApiError)
def refused(problem: ApiError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


@blueprint.errorhandler(TooManyError)
def too_many(problem: TooManyError) -> ResponseReturnValue:
    del problem
    return jsonify(too_many_body()), 429


def too_many_body() -> Json:
    return {} if state().switches["limitBody"] == "empty" else ApiError(429).body()


@blueprint.errorhandler(Exception)
def broken(problem: Exception) -> ResponseReturnValue:
    """A fault of the sandbox itself looks like one of the provider's; whoever runs it reads the reason."""
    traceback.print_exception(problem)
    return refused(ApiError(500))


@blueprint.after_request
def dress(response: Response) -> Response:
    response.headers["X-Request-Id"] = str(uuid.uuid4())
    tell_limits(response)
    response.add_etag(weak=True)  # sent, but nothing answers 304
    return response


def tell_limits(response: Response) -> None:
    if not state().switches["noHeaders"]:
        for name, value in (g.get("limit_headers") or {}).items():
            response.headers[name] = value
