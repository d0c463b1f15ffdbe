"""The API's frame: the token, then the limits, then the scope, then the route, and the headers that every answer carries."""

import secrets
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from flask import Blueprint, Response, g, jsonify
from flask.typing import ResponseReturnValue

from sandbox.zoom import auth, limits
from sandbox.zoom.auth import Caller
from sandbox.zoom.context import state
from sandbox.zoom.errors import ZoomError

P = ParamSpec("P")
View = Callable[P, ResponseReturnValue]

blueprint = Blueprint("zoom_api", __name__, url_prefix="/zoom/api/v2")


def guarded(label: str, scope: str) -> Callable[[Callable[Concatenate[Caller, P], ResponseReturnValue]], View[P]]:
    """Hands the caller to the view once their token, their rate and their scope are in order."""

    def wrap(view: Callable[Concatenate[Caller, P], ResponseReturnValue]) -> View[P]:
        @wraps(view)
        def run(*args: P.args, **path: P.kwargs) -> ResponseReturnValue:
            caller = auth.caller()
            limits.check(caller.account_id, label)
            user_id = path.get("user_id")
            auth.check_scope(caller, scope, str(user_id) if user_id is not None else None)
            return view(caller, *args, **path)

        return run

    return wrap


def empty() -> ResponseReturnValue:
    answer = Response(status=204)
    del answer.headers["Content-Type"]
    return answer


@blueprint.errorhandler(ZoomError)
def refused(problem: ZoomError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


@blueprint.errorhandler(Exception)
def broken(problem: Exception) -> ResponseReturnValue:
    """A fault of the sandbox itself looks like one of the provider; whoever runs it reads the reason."""
    traceback.print_exception(problem)
    return refused(ZoomError(500, 500, "Internal Server Error"))


@blueprint.after_request
def dress(response: Response) -> Response:
    """Limit headers are optional: recorded answers of the real API had none [?]."""
    response.headers["x-zm-trackingid"] = f"v=2.0;clid=us02;rid=WEB_{secrets.token_hex(16)}"
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json;charset=UTF-8"
    if state().switches["limitHeaders"]:
        response.headers.update(g.get("limit_headers", {}))
    return response
