"""/graphql: one operation per request; GET with a browser's Accept header is GraphiQL.

POST takes JSON. GET takes queries only, and a token as everywhere: nothing is changed, and nothing told, by an address
that somebody is made to open. Answers follow "GraphQL over HTTP" for both media types: with `application/json` an
operation that cannot be executed is 200, with `application/graphql-response+json` it is 400.

A request without a good token gets 401 with a GraphQL-shaped body. Surprises are masked, logged with the request id and
counted; expected errors keep their `extensions.code`.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, redirect, request, send_from_directory
from graphql import OperationType
from werkzeug.exceptions import ClientDisconnected

from routes import graphiql
from routes.common import CUT_OFF, MAX_GRAPHQL_BODY, read_body
from routes.deadlines import TooSlow
from routes.doors import Doors, TooMany
from routes.graphql_answers import executed, log, refused, surprised
from routes.graphql_requests import Operation, from_address, from_body
from schema.answering import OperationTypeError, answer
from schema.context import Context
from schema.root import schema
from schema.trusted_documents import DocumentsNotTaken, DocumentUnknown, NotTrusted, TrustedDocuments
from services.errors import BadUserInput, ConveneError, Unauthenticated
from services.identity import Verifier, sign_in
from services.runtime import Runtime

QUERIES = {OperationType.QUERY}
ALL = {OperationType.QUERY, OperationType.MUTATION}
ASKING = {"query", "documentId", "extensions"}


class TooLarge(ConveneError):
    """More than one operation may have."""

    code = "TOO_LARGE"


REFUSALS: dict[type[ConveneError], int] = {
    Unauthenticated: 401,
    BadUserInput: 400,
    OperationTypeError: 400,
    DocumentUnknown: 400,
    DocumentsNotTaken: 400,
    NotTrusted: 400,
    TooLarge: 413,
    TooSlow: 408,
    TooMany: 429,
}
"""What a request is refused for before its operation is looked at."""


class _Face:
    """What answers operations, with the parts that it needs."""

    def __init__(self, rt: Runtime, verifier: Verifier, doors: Doors, documents: TrustedDocuments) -> None:
        self._rt, self._verifier, self._doors, self._documents = rt, verifier, doors, documents

    def answer(self, read: Callable[[], Operation], allowed: set[OperationType]) -> Response:
        """One request, from its bytes to its answer."""
        try:
            self._doors.count_address()
            operation = read()
            claims = self._verifier.verify(request.headers.get("Authorization"))
            self._doors.count_user(claims.subject)
            return self._execute(operation, Context(self._rt, sign_in(self._rt, claims)), allowed)
        except tuple(REFUSALS) as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - logged and counted there
            return surprised(self._rt, error)

    def _execute(self, operation: Operation, context: Context, allowed: set[OperationType]) -> Response:
        text = self._documents.text(operation.text, operation.document_id)
        if self._documents.is_free(text):
            log.info("free text", operation=operation.name)
            self._rt.metrics.free_texts.inc()
        try:
            result = answer(schema, text, variables=operation.variables, name=operation.name, context=context, allowed=allowed)
        except OperationTypeError as error:
            if request.method == "GET" and error.type is OperationType.MUTATION:
                return refused(405, "METHOD_NOT_ALLOWED", "Send mutations with POST.", Allow="POST")
            raise
        return executed(self._rt, result)


def _body() -> Operation:
    try:
        body = read_body(MAX_GRAPHQL_BODY)
    except ClientDisconnected as error:
        raise BadUserInput(CUT_OFF) from error
    if body is None:
        raise TooLarge(f"The request may have at most {MAX_GRAPHQL_BODY // 1024} KiB.")
    return from_body(body)


def _refusal(error: ConveneError) -> Response:
    response = refused(REFUSALS[type(error)], error.code, error.message)
    if isinstance(error, Unauthenticated):
        log.info("not signed in", reason=error.reason)
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TooSlow):
        response.headers["Connection"] = "close"
    return response


def blueprint(rt: Runtime, verifier: Verifier, doors: Doors, documents: TrustedDocuments) -> Blueprint:
    routes = Blueprint("graphql", __name__, template_folder=".")
    face = _Face(rt, verifier, doors, documents)
    on = rt.settings.graphiql or rt.settings.development

    @routes.post("/graphql")
    def post() -> Response:
        return face.answer(_body, ALL)

    @routes.get("/graphql")
    def get() -> Response:
        if on and "text/html" in request.headers.get("Accept", ""):
            return graphiql.page(rt)
        if ASKING.isdisjoint(request.args):
            return refused(405, "METHOD_NOT_ALLOWED", "Send operations with POST and a JSON body.", Allow="POST")
        return face.answer(from_address, QUERIES)

    if on:

        @routes.get("/")
        def home() -> Any:
            return redirect("/graphql", 303)

    @routes.get("/assets/graphiql/<path:name>")
    def assets(name: str) -> Response:
        response = send_from_directory(graphiql.ASSETS, name, max_age=3600)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    return routes
