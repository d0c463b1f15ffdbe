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
from flask import Blueprint, Request, Response, g, render_template, request, send_from_directory
from graphql import GraphQLError
from strawberry.flask.views import GraphQLView as StrawberryView
from strawberry.types import ExecutionResult

from routes.common import MAX_GRAPHQL_BODY, json_response, read_body
from routes.examples import EXAMPLES
from schema.context import Context
from schema.root import schema
from services.errors import BadUserInput, ConveneError, Forbidden, Unauthenticated
from services.identity import Verifier, sign_in
from services.logging import get_logger
from services.runtime import Runtime

log = get_logger("graphql")

ASSETS = Path(__file__).parent.parent / "var" / "assets" / "graphiql"
SHOWN = (BadUserInput, Forbidden)
LIMITS = ("exceeds maximum operation depth", "aliases found", "token limit", "Document contains more than")


class View(StrawberryView):
    """Strawberry's view without GET queries and batches, with our context, JSON and errors."""

    def __init__(self, rt: Runtime, verifier: Verifier) -> None:
        super().__init__(schema=schema, graphql_ide=None, allow_queries_via_get=False)
        self._rt, self._verifier = rt, verifier

    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

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
        elif error.path is None and (cause is None or isinstance(cause, GraphQLError)):
            # before execution: the document or its variables are at fault
            code = "TOO_COMPLEX" if any(hint in error.message for hint in LIMITS) else BadUserInput.code
        else:
            shown["message"] = f"Something unexpected happened. It is logged under request id {g.request_id}."
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


def _refused(status: int, code: str, message: str) -> Response:
    return json_response({"data": None, "errors": [{"message": message, "extensions": {"code": code}}]}, status)


def blueprint(rt: Runtime, verifier: Verifier) -> Blueprint:
    routes = Blueprint("graphql", __name__, template_folder=".")
    view = View(rt, verifier)
    on = rt.settings.graphiql or rt.settings.development

    @routes.post("/graphql")
    def post() -> Any:
        body = read_body(MAX_GRAPHQL_BODY)
        if body is None:
            return _refused(413, "TOO_LARGE", f"The request may have at most {MAX_GRAPHQL_BODY // 1024} KiB.")
        try:
            operation = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _refused(400, BadUserInput.code, 'The body is not JSON. Send {"query": "...", "variables": {...}}.')
        if not isinstance(operation, dict) or not isinstance(operation.get("query"), str):
            return _refused(400, BadUserInput.code, 'Send one operation as {"query": "...", "variables": {...}}.')
        # Strawberry reads the body through the request, which caches what was read here
        request._cached_data = body  # noqa: SLF001
        try:
            return view.run(request=request)
        except Unauthenticated as error:
            log.info("not signed in", reason=error.reason)
            return _refused(401, error.code, error.message)
        except HTTPException as error:
            return _refused(error.status_code, BadUserInput.code, error.reason)

    @routes.get("/graphql")
    def graphiql() -> Response:
        wants_page = "text/html" in request.headers.get("Accept", "")
        if not on or not wants_page:
            return _refused(405, "METHOD_NOT_ALLOWED", "Send operations with POST and a JSON body.")
        return _page(rt)

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
        examples=json.dumps(EXAMPLES),
    )
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
