"""What every route shares: the envelope of errors, request ids, and how much of a body is read."""

import re
import time
import uuid
from typing import Any

import orjson
import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import ClientDisconnected, MethodNotAllowed

from models.base import is_away, release_connection
from routes.deadlines import TooSlow, in_time
from routes.origins import of_request
from services.logging import get_logger
from services.origins import come_in
from services.runtime import Runtime

log = get_logger("http")

MAX_GRAPHQL_BODY = 256 * 1024
MAX_WEBHOOK_BODY = 1024 * 1024
MAX_SMALL_BODY = 16 * 1024
RECEIVE_SECONDS = "CONVENE_RECEIVE_SECONDS"
CUT_OFF = "The body ended before it was whole."
REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def json_response(data: Any, status: int = 200, **headers: str) -> Response:
    response = Response(orjson.dumps(data), status=status, content_type="application/json")
    response.headers.extend({name.replace("_", "-"): value for name, value in headers.items()})
    return response


def error(status: int, code: str, message: str, details: Any = None) -> Response:
    """The envelope of every error outside /graphql."""
    return json_response({"data": None, "error": {"code": code, "message": message, "details": details}}, status)


def read_body(limit: int) -> bytes | None:
    """The raw body; None when it is larger than `limit`, of which no more is read than that. Raises TooSlow."""
    if request.content_length is not None and request.content_length > limit:
        return None
    with in_time(request.environ, current_app.config[RECEIVE_SECONDS]):
        body = request.stream.read(limit + 1)
    return None if len(body) > limit else body


def install(app: Flask, rt: Runtime) -> None:
    """Request ids, one log line and a metric per request, connections given back, surprises masked."""
    app.config[RECEIVE_SECONDS] = rt.settings.receive_seconds

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        g.request_id, g.started = request_id, time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        come_in(of_request(request, rt.settings.trusted_proxies, request_id))

    @app.after_request
    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        seconds = time.perf_counter() - g.started
        response.headers["X-Request-Id"] = g.request_id
        # Flask-CORS says so only where there are several origins
        response.vary.add("Origin")
        rt.metrics.http_requests.labels(route, str(response.status_code)).inc()
        rt.metrics.http_seconds.labels(route).observe(seconds)
        # the route's pattern, not the path: paths carry endpoints, queries carry codes
        log.info("request", method=request.method, route=route, status=response.status_code, ms=round(seconds * 1000))
        return response

    @app.teardown_request
    def done(_error: BaseException | None) -> None:
        release_connection()
        structlog.contextvars.clear_contextvars()
        come_in(None)

    @app.errorhandler(404)
    def not_found(_error: Exception) -> Response:
        return error(404, "NOT_FOUND", "There is nothing at this address.")

    @app.errorhandler(405)
    def not_allowed(problem: MethodNotAllowed) -> Response:
        response = error(405, "METHOD_NOT_ALLOWED", "This address does not take this method.")
        response.headers["Allow"] = ", ".join(sorted(problem.valid_methods or ()))
        return response

    @app.errorhandler(ClientDisconnected)
    def gone(_error: Exception) -> Response:
        return error(400, "BAD_USER_INPUT", CUT_OFF)

    @app.errorhandler(TooSlow)
    def too_slow(problem: TooSlow) -> Response:
        response = error(408, problem.code, problem.message)
        response.headers["Connection"] = "close"
        return response

    @app.errorhandler(Exception)
    def surprise(problem: Exception) -> Response:
        if is_away(problem):
            log.error("the database is away", reason=type(problem).__name__)
            response = error(503, "UNAVAILABLE", "The database cannot be reached right now. Try again.")
            response.headers["Retry-After"] = "5"
            return response
        log.error("unexpected error", route=request.url_rule.rule if request.url_rule else "unknown", exc_info=problem)
        rt.metrics.errors.labels("http").inc()
        return error(500, "INTERNAL", "Something unexpected happened. It is logged under this request id.", {"requestId": g.request_id})
