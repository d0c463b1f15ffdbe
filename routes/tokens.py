"""The two places where an access token of a provider leaves the server, each for the account's own owner."""

from typing import Any

import orjson
from flask import Blueprint, Response, request

from routes.common import MAX_SMALL_BODY, error, json_response, read_body
from services import atoms, managed_users
from services.errors import BadUserInput, ConnectionUnusable, NotFound, ProviderFailure, Unauthenticated
from services.identity import Verifier, sign_in
from services.runtime import Runtime


def blueprint(rt: Runtime, verifier: Verifier) -> Blueprint:
    routes = Blueprint("tokens", __name__)

    @routes.get("/tokens/cal/refresh")
    def refresh() -> Response:
        """The `refreshUrl` of Cal.com Atoms, whose shape is Cal.com's: the token at top level, "" when there is none."""
        presented = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        token = atoms.renew(rt, request.args.get("session", ""), request.headers.get("Origin"), presented)
        return json_response({"accessToken": token or ""}, 200 if token else 401)

    @routes.post("/tokens/cal/managed-user")
    def managed_user() -> Response:
        try:
            viewer = sign_in(rt, verifier.verify(request.headers.get("Authorization")))
            token = managed_users.token_for(rt, viewer, _username())
        except Unauthenticated as problem:
            return error(401, problem.code, problem.message)
        except BadUserInput as problem:
            return error(400, problem.code, problem.message)
        except NotFound as problem:
            return error(404, problem.code, problem.message)
        except ConnectionUnusable as problem:
            return error(409, problem.code, problem.message)
        except ProviderFailure as problem:
            details = {"retryable": problem.may_retry, "retryAt": _time(problem.retry_at)}
            limited = problem.failure_code == "RATE_LIMITED"
            return error(429 if limited else 503, problem.failure_code, problem.message, details)
        return json_response({"accessToken": token.value, "expiresAt": _time(token.expires_at)})

    return routes


def _username() -> str:
    body = read_body(MAX_SMALL_BODY)
    if body is None:
        raise BadUserInput(f"The body may have at most {MAX_SMALL_BODY // 1024} KiB.")
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    username = given.get("username") if isinstance(given, dict) and request.mimetype == "application/json" else None
    if not isinstance(username, str) or not username or "\0" in username:
        raise BadUserInput('Send {"username": "..."} as application/json.')
    return username


def _time(at: Any) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None
