"""POST /graphql: one operation per request, as JSON; GET with a browser's Accept header is GraphiQL.

A request without a good token gets 401 with a GraphQL-shaped body. Surprises are masked, logged with the request id and
counted; expected errors keep their `extensions.code`.
"""

import json
import secrets
from pathlib import Path
from typing import Any

import orjson
from cross_web import HTTPException
from flask import Blueprint, Request, Response, g, redirect, render_template, request, send_from_directory
from graphql import GraphQLError
from strawberry.flask.views import GraphQLView as StrawberryView
from strawberry.http import GraphQLRequestData
from strawberry.types import ExecutionResult

from models.base import is_away
from routes.common import MAX_GRAPHQL_BODY, json_response, read_body
from routes.examples import examples
from schema.context import Context
from schema.limits import TooComplexError
from schema.root import schema
from services.errors import BadUserInput, ConveneError, Forbidden, Unauthenticated
from services.identity import Verifier, sign_in
from services.logging import get_logger
from services.runtime import Runtime

log = get_logger("graphql")

ASSETS = Path(__file__).parent.parent / "var" / "assets" / "graphiql"
SHOWN = (BadUserInput, Forbidden)
GIVEN_UP = ("Validation aborted", "Syntax Error: Document contains more than", "Too many validation errors", "Maximum introspection depth")


class View(StrawberryView):
    """Strawberry's view without GET queries and batches, with our context, JSON and errors."""

    def __init__(self, rt: Runtime, verifier: Verifier) -> None:
        super().__init__(schema=schema, graphql_ide=None, allow_queries_via_get=False)
        self._rt, self._verifier = rt, verifier

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    def parse_http_body(self, request: Any) -> GraphQLRequestData:  # noqa: ARG002
        """The body was read and checked by the route: media types have no case there, and there are no batches."""
        operation: GraphQLRequestData = g.operation
        return operation

    def get_context(self, request: Request, response: Response) -> Any:  # noqa: ARG002
        claims = self._verifier.verify(request.headers.get("Authorization"))
        return Context(self._rt, sign_in(self._rt, claims))

    def process_result(self, request: Request, result: ExecutionResult) -> Any:  # noqa: ARG002
        data: dict[str, Any] = {"data": result.data}
        if result.errors:
            data["errors"] = [self._shown(error) for error in result.errors]
        return data

    def _shown(self, error: GraphQLError) -> dict[str, Any]:
        """One error as the caller sees it: expected ones as they are, surprises masked."""
        shown = dict(error.formatted)
        cause = _cause(error)
        if isinstance(cause, SHOWN):
            shown["message"], code = cause.message, cause.code
        elif isinstance(cause, TooComplexError) or error.message.startswith(GIVEN_UP):
            code = "TOO_COMPLEX"
        elif error.path is None and (cause is None or isinstance(cause, GraphQLError)):
            # before execution: the document or its variables are at fault
            code = BadUserInput.code
        elif is_away(cause):
            shown["message"], code = AWAY, "UNAVAILABLE"
            log.error("the database is away", reason=type(cause).__name__)
        else:
            shown["message"] = masked(error)
            code = ConveneError.code
            log.error("unexpected error", path=[str(p) for p in error.path or ()], exc_info=cause or error)
            self._rt.metrics.errors.labels("graphql").inc()
        shown["extensions"] = {"code": code}
        return shown


def _cause(error: GraphQLError) -> BaseException | None:
    """The innermost error: coercion wraps ours in GraphQLErrors of its own."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def masked(_error: BaseException) -> str:
    return f"Something unexpected happened. It is logged under request id {g.request_id}."


def _operation(body: bytes) -> GraphQLRequestData:
    """One operation as JSON. Raises BadUserInput with what is accepted."""
    if request.mimetype != "application/json":
        raise BadUserInput("Send the operation as application/json.")
    if b"\\u0000" in body:
        # PostgreSQL keeps no such text; refused for both databases alike
        raise BadUserInput("A text may not contain the character U+0000.")
    try:
        operation = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadUserInput('The body is not JSON. Send {"query": "...", "variables": {...}}.') from error
    if not isinstance(operation, dict) or not isinstance(operation.get("query"), str):
        raise BadUserInput('Send one operation as {"query": "...", "variables": {...}}.')
    variables, name = operation.get("variables"), operation.get("operationName")
    for field in ("variables", "extensions"):
        if not isinstance(operation.get(field), (dict, type(None))):
            raise BadUserInput(f"`{field}` must be an object.")
    if not isinstance(name, (str, type(None))):
        raise BadUserInput("`operationName` must be a text.")
    return GraphQLRequestData(query=operation["query"], variables=variables, operation_name=name, extensions=None)


def _refused(status: int, code: str, message: str) -> Response:
    return json_response({"data": None, "errors": [{"message": message, "extensions": {"code": code}}]}, status)


AWAY = "The database cannot be reached right now. Try again, a change with the same idempotency key."


def _surprised(rt: Runtime, error: Exception) -> Response:
    if is_away(error):
        log.error("the database is away", reason=type(error).__name__)
        response = _refused(503, "UNAVAILABLE", AWAY)
        response.headers["Retry-After"] = "5"
        return response
    log.error("unexpected error", exc_info=error)
    rt.metrics.errors.labels("graphql").inc()
    return _refused(500, ConveneError.code, masked(error))


def _execute(rt: Runtime, view: View) -> Any:
    """One request, from its bytes to its answer."""
    body = read_body(MAX_GRAPHQL_BODY)
    if body is None:
        return _refused(413, "TOO_LARGE", f"The request may have at most {MAX_GRAPHQL_BODY // 1024} KiB.")
    try:
        g.operation = _operation(body)
        return view.run(request=request)
    except Unauthenticated as error:
        log.info("not signed in", reason=error.reason)
        return _refused(401, error.code, error.message)
    except BadUserInput as error:
        return _refused(400, error.code, error.message)
    except HTTPException as error:
        return _refused(error.status_code, BadUserInput.code, error.reason)
    except Exception as error:  # noqa: BLE001 - logged and counted there
        return _surprised(rt, error)


def blueprint(rt: Runtime, verifier: Verifier) -> Blueprint:
    routes = Blueprint("graphql", __name__, template_folder=".")
    view = View(rt, verifier)
    on = rt.settings.graphiql or rt.settings.development

    @routes.post("/graphql")
    def post() -> Any:
        return _execute(rt, view)

    @routes.get("/graphql")
    def graphiql() -> Response:
        wants_page = "text/html" in request.headers.get("Accept", "")
        if not on or not wants_page:
            return _refused(405, "METHOD_NOT_ALLOWED", "Send operations with POST and a JSON body.")
        return _page(rt)

    if on:

        @routes.get("/")
        def home() -> Any:
            return redirect("/graphql", 303)

    @routes.get("/assets/graphiql/<path:name>")
    def assets(name: str) -> Response:
        response = send_from_directory(ASSETS, name, max_age=3600)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    return routes


def _page(rt: Runtime) -> Response:
    nonce = secrets.token_urlsafe(16)
    ready = (ASSETS / ".stamp").exists()
    text = render_template(
        "graphiql_page.html" if ready else "graphiql_missing.html",
        endpoint="/graphql",
        assets="/assets/graphiql",
        nonce=nonce,
        sandbox_note="Sandbox: the providers are local stand-ins, nothing real is touched." if rt.sandboxes else "",
        dev_people=[person.email for person in rt.demo_people],
        examples=json.dumps(examples(rt.clock.now())),
    )
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
