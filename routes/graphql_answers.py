"""How the answer to an operation looks: its errors, its status, its media type."""

from typing import Any

import orjson
from flask import Response, g, request
from graphql import ExecutionResult, GraphQLError

from models.base import is_away
from routes.graphql_requests import JSON, media_type
from schema.answering import IntrospectionOffError
from schema.limits import TooComplexError
from services.errors import BadUserInput, ConveneError, Forbidden
from services.logging import get_logger
from services.runtime import Runtime

log = get_logger("graphql")

AWAY = "The database cannot be reached right now. Try again, a change with the same idempotency key."
UNAVAILABLE = "UNAVAILABLE"
SHOWN = (BadUserInput, Forbidden)
GIVEN_UP = ("Validation aborted", "Syntax Error: Document contains more than", "Too many validation errors", "Maximum introspection depth")
SUGGESTION = " Did you mean "
STATUS = {ConveneError.code: 500, UNAVAILABLE: 503}
"""Of what is not executed, for the newer media type; else 400."""


def executed(rt: Runtime, result: ExecutionResult) -> Response:
    """The answer to an operation, whether or not it could be executed."""
    errors = [_shown(rt, error) for error in result.errors or ()]
    if result.data is None and not any(error.path for error in result.errors or ()):
        kind = media_type(request.headers.get("Accept", ""))
        return _response(errors, 200 if kind == JSON else STATUS.get(errors[0]["extensions"]["code"], 400))
    body: dict[str, Any] = {"data": result.data, "errors": errors} if errors else {"data": result.data}
    return Response(orjson.dumps(body), content_type=media_type(request.headers.get("Accept", "")))


def refused(status: int, code: str, message: str, **headers: str) -> Response:
    """The answer to a request that is no operation, or not this caller's to ask."""
    response = _response([{"message": message, "extensions": {"code": code}}], status)
    response.headers.extend({name.replace("_", "-"): value for name, value in headers.items()})
    return response


def _response(errors: list[dict[str, Any]], status: int) -> Response:
    kind = media_type(request.headers.get("Accept", ""))
    # what is not executed has no data; the older media type always had the key here
    body = {"data": None, "errors": errors} if kind == JSON else {"errors": errors}
    return Response(orjson.dumps(body), status=status, content_type=kind)


def surprised(rt: Runtime, error: Exception) -> Response:
    if is_away(error):
        log.error("the database is away", reason=type(error).__name__)
        return refused(503, UNAVAILABLE, AWAY, Retry_After="5")
    log.error("unexpected error", exc_info=error)
    rt.metrics.errors.labels("graphql").inc()
    return refused(500, ConveneError.code, _masked())


def _shown(rt: Runtime, error: GraphQLError) -> dict[str, Any]:
    """One error as the caller sees it: expected ones as they are, surprises masked."""
    shown: dict[str, Any] = dict(error.formatted)
    cause = _cause(error)
    if isinstance(cause, SHOWN):
        shown["message"], code = cause.message, cause.code
    elif isinstance(cause, TooComplexError) or error.message.startswith(GIVEN_UP):
        code = "TOO_COMPLEX"
    elif isinstance(cause, IntrospectionOffError):
        code = "INTROSPECTION_DISABLED"
    elif error.path is None and (cause is None or isinstance(cause, GraphQLError)):
        # before execution: the document or its variables are at fault
        code = BadUserInput.code
        if not rt.settings.introspects:
            # it would tell names of the schema to whoever guesses
            shown["message"] = error.message.partition(SUGGESTION)[0]
    elif is_away(cause):
        shown["message"], code = AWAY, UNAVAILABLE
        log.error("the database is away", reason=type(cause).__name__)
    else:
        shown["message"], code = _masked(), ConveneError.code
        log.error("unexpected error", path=[str(p) for p in error.path or ()], exc_info=cause or error)
        rt.metrics.errors.labels("graphql").inc()
    shown["extensions"] = {"code": code}
    return shown


def _cause(error: GraphQLError) -> BaseException | None:
    """The innermost error: coercion wraps ours in GraphQLErrors of its own."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _masked() -> str:
    return f"Something unexpected happened. It is logged under request id {g.request_id}."
