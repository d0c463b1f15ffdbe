"""The API's frame: limits first, then the route, then the headers that every answer carries."""

import traceback
import uuid
from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox import times
from sandbox.calcom import limits
from sandbox.calcom.context import asked, now
from sandbox.calcom.errors import CalError, CoreError, OAuthError

ALLOWED_HEADERS = "Authorization, Content-Type, cal-api-version, x-cal-client-id, x-cal-secret-key, x-cal-platform-embed"

blueprint = Blueprint("calcom", __name__, url_prefix="/calcom/v2")


@blueprint.before_request
def count() -> None:
    """A browser's preflight is answered before the API counts anything."""
    if request.method != "OPTIONS":
        limits.check()


@blueprint.errorhandler(CalError)
def enveloped(problem: CalError) -> ResponseReturnValue:
    return jsonify(problem.body(times.millis(now()), asked())), problem.status


@blueprint.errorhandler(CoreError)
def bare(problem: CoreError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


@blueprint.errorhandler(OAuthError)
def oauth(problem: OAuthError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


@blueprint.errorhandler(Exception)
def broken(problem: Exception) -> ResponseReturnValue:
    """A fault of the sandbox itself looks like one of the provider's core; whoever runs it reads the reason."""
    traceback.print_exception(problem)
    return bare(CoreError(500, "Internal server error"))


@blueprint.after_request
def dress(response: Response) -> Response:
    response.headers["X-Request-Id"] = str(uuid.uuid4())
    response.headers["Access-Control-Allow-Origin"] = response.headers["Access-Control-Allow-Methods"] = "*"
    # browsers do not let a star stand for Authorization
    response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
    for name, value in _limit_headers().items():
        response.headers[name] = value
    response.add_etag(weak=True)
    return response


def _limit_headers() -> dict[str, str]:
    headers: dict[str, Any] = g.get("limit_headers", {})
    return headers
