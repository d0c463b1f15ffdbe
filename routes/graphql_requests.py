"""What a request to /graphql asks: one operation, as a JSON body or as the parameters of an address."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from flask import request
from werkzeug.http import parse_accept_header

from services.errors import BadUserInput

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
SHAPE = '{"query": "...", "variables": {...}}'


@dataclass(frozen=True, slots=True)
class Operation:
    """What the caller sent; `text` or `document_id` is there, or both."""

    text: str | None
    document_id: str | None
    variables: dict[str, Any] | None
    name: str | None


def from_body(body: bytes) -> Operation:
    """The operation of a POST. Raises BadUserInput with what is accepted."""
    if request.mimetype != JSON:
        raise BadUserInput("Send the operation as application/json.")
    return _operation(_parsed(body, f"The body is not JSON. Send {SHAPE}."))


def from_address() -> Operation:
    """The operation of a GET: the same names as parameters, objects in JSON. Raises BadUserInput with what is accepted."""
    given: dict[str, Any] = {name: value for name, value in request.args.items() if "\0" not in value}
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = _parsed(given[name].encode(), f"`{name}` is not JSON.")
    return _operation(given)


def _parsed(text: bytes, otherwise: str) -> Any:
    if b"\\u0000" in text:
        # PostgreSQL keeps no such text; refused for both databases alike
        raise BadUserInput("A text may not contain the character U+0000.")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadUserInput(otherwise) from error


def _operation(given: Any) -> Operation:
    if not isinstance(given, dict):
        raise BadUserInput(f"Send one operation as {SHAPE}.")
    for name in ("variables", "extensions"):
        if not isinstance(given.get(name), (dict, type(None))):
            raise BadUserInput(f"`{name}` must be an object.")
    for name in ("query", "documentId", "operationName"):
        if not isinstance(given.get(name), (str, type(None))):
            raise BadUserInput(f"`{name}` must be a text.")
    text, document_id = given.get("query"), given.get("documentId") or _persisted(given.get("extensions"))
    if text is None and document_id is None:
        raise BadUserInput(f"Send one operation as {SHAPE}.")
    return Operation(text, document_id, given.get("variables"), given.get("operationName"))


def _persisted(extensions: dict[str, Any] | None) -> str | None:
    """The hash as Apollo and urql send it."""
    asked = (extensions or {}).get("persistedQuery")
    found = asked.get("sha256Hash") if isinstance(asked, dict) else None
    return found if isinstance(found, str) else None


@lru_cache(maxsize=200)
def media_type(accept: str) -> str:
    """The media type of the answer: the newer one where it is asked for by name, and the older one not more."""
    wanted = parse_accept_header(accept)
    # a client that knows the newer one names it; `*/*` is from one that may not
    newer = max((quality for kind, quality in wanted if kind.split(";")[0].strip() == GRAPHQL_JSON), default=0.0)
    older = max((quality for kind, quality in wanted if kind.split(";")[0].strip() == JSON), default=0.0)
    return GRAPHQL_JSON if newer and newer >= older else JSON
