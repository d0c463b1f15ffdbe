"""GraphQL over HTTP, audit by audit: the 61 of npm's `graphql-http`, by their ids.

https://graphql.github.io/graphql-over-http/draft/. Each is one request and what its answer must be. All are made by
somebody signed in, where questions about the schema are answered.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from harness import Caller, World

JSON, GRAPHQL = "application/json", "application/graphql-response+json"
OLDER, NEWER = {"Accept": JSON}, {"Accept": GRAPHQL}
TYPENAME = "{ __typename }"
ODD: tuple[Any, ...] = ({"obj": "ect"}, 0, False, ["array"])
NO_MAP: tuple[Any, ...] = ("string", 0, False, ["array"])
BY_NAME = "query Type($name: String!) { __type(name: $name) { name } }"
NAMED = {"name": "sometype"}
UNKNOWN = "{ field8f31403d }"
COERCION = {"query": "query CoerceFailure($id: ID!){ __typename }", "variables": {"id": None}}
NULLABLE = ("variables", "operationName", "extensions")


@dataclass(frozen=True)
class Audit:
    id: str
    text: str
    body: Any = None
    """Sent as JSON; bytes as they are."""
    headers: dict[str, str] = field(default_factory=dict)
    get: dict[str, str] | None = None
    kind: str | None = JSON
    status: int | range = 200
    answers: str | None = None
    """The media type of the answer."""
    no: str | None = None
    """A key that the answer may not have."""


def of(query: Any = TYPENAME, **more: Any) -> dict[str, Any]:
    return {"query": query, **more}


AUDITS = [
    Audit("22EB", "accepts graphql-response+json and matches the content type", of(), NEWER, answers=GRAPHQL),
    Audit("4655", "accepts application/json and matches the content type", of(), OLDER, answers=JSON),
    Audit("47DE", "accepts */* and answers application/json", of(), {"Accept": "*/*"}, answers=JSON),
    Audit("80D8", "takes application/json when Accept is missing", of(), {"Accept": ""}, answers=JSON),
    Audit("82A3", "answers in UTF-8", of()),
    Audit("BF61", "accepts UTF-8", of('{ __type(name: "Run🏃Swim🏊") { name } }'), kind=f"{JSON}; charset=utf-8"),
    Audit("78D5", "takes UTF-8 where none is told", of()),
    Audit("2C94", "accepts POST", of()),
    Audit("5A70", "accepts GET", get={"query": TYPENAME}),
    Audit("9C48", "executes no mutation by GET", get={"query": "mutation { __typename }"}, headers=NEWER, status=range(400, 500)),
    Audit("9ABE", "4xx without a content type", of(), kind=None, status=range(400, 500)),
    Audit("03D4", "accepts application/json by POST", of()),
    Audit("A5BF", "400 without a body", b"", status=400),
    Audit("423L", "400 without a query", {"notquery": TYPENAME}, NEWER, status=400),
    *(Audit(f"LKJ{n}", f"400 for the query {odd!r}", of(odd), status=400) for n, odd in enumerate(ODD)),
    Audit("34A2", "a text as query, newer", of(), NEWER),
    Audit("13EE", "a text as query, older", of(), OLDER, no="errors"),
    *(Audit(f"6C0{n}", f"400 for the operationName {odd!r}", of(operationName=odd), status=400) for n, odd in enumerate(ODD)),
    Audit("8161", "a text as operationName, newer", of("query Query { __typename }", operationName="Query"), NEWER),
    Audit("B8B3", "a text as operationName, older", of("query Query { __typename }", operationName="Query"), OLDER, no="errors"),
    *(Audit(f"94B{n}", f"null as {name}, newer", of(**{name: None}), NEWER, no="errors") for n, name in enumerate(NULLABLE)),
    *(Audit(f"022{n}", f"null as {name}, older", of(**{name: None}), OLDER, no="errors") for n, name in enumerate(NULLABLE)),
    *(Audit(f"476{n}", f"400 for the variables {odd!r}", of(variables=odd), status=400) for n, odd in enumerate(NO_MAP)),
    Audit("2EA1", "a map as variables, newer", of(BY_NAME, variables=NAMED), NEWER, no="errors"),
    Audit("28B9", "a map as variables, older", of(BY_NAME, variables=NAMED), OLDER, no="errors"),
    Audit("D6D5", "variables in an address, newer", get={"query": BY_NAME, "variables": json.dumps(NAMED)}, headers=NEWER, no="errors"),
    Audit("6A70", "variables in an address, older", get={"query": BY_NAME, "variables": json.dumps(NAMED)}, headers=OLDER, no="errors"),
    *(Audit(f"58B{n}", f"400 for the extensions {odd!r}", of(extensions=odd), status=400) for n, odd in enumerate(NO_MAP)),
    Audit("428F", "a map as extensions, newer", of(extensions={"some": "value"}), NEWER),
    Audit("1B7A", "a map as extensions, older", of(extensions={"some": "value"}), OLDER, no="errors"),
    Audit("B6DC", "some status for what is no JSON, older", b'{ "not a JSON', OLDER, status=range(200, 600)),
    Audit("BCF8", "400 for what is no JSON, older", b'{ "not a JSON', OLDER, status=400),
    Audit("B7N8", "400 for what is no JSON, newer", b'{ "not a JSON', NEWER, status=400),
    Audit("8764", "4xx or 5xx for bad parameters", {"qeury": TYPENAME}, status=range(400, 600)),
    Audit("3E3A", "400 for bad parameters", {"qeury": TYPENAME}, status=400),
    Audit("572B", "200 for what does not parse, older", of("{"), OLDER),
    Audit("FDE2", "200 for what is not valid, older", of(UNKNOWN), OLDER),
    Audit("7B9B", "200 for variables that do not fit, older", COERCION, OLDER),
    Audit("865D", "4xx or 5xx for what does not parse, newer", of("{"), NEWER, status=range(400, 600)),
    Audit("556A", "400 for what does not parse, newer", of("{"), NEWER, status=400),
    Audit("D586", "no data for what does not parse, newer", of("{"), NEWER, status=400, no="data"),
    Audit("51FE", "4xx or 5xx for what is not valid, newer", of(UNKNOWN), NEWER, status=range(400, 600)),
    Audit("74FF", "400 for what is not valid, newer", of(UNKNOWN), NEWER, status=400),
    Audit("5E5B", "no data for what is not valid, newer", of(UNKNOWN), NEWER, status=400, no="data"),
    Audit("86EE", "400 for variables that do not fit, newer", COERCION, NEWER, status=400),
]


@pytest.fixture
def dora(world: World, database_url: str) -> Iterator[Caller]:
    with World(database_url, world.issuer, world.sandbox, introspection=True) as mine:
        yield mine.caller("Dora")


def sent(caller: Caller, audit: Audit) -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller.token}", **audit.headers}
    if audit.get is not None:
        return caller.world.http.get(f"/graphql?{urlencode(audit.get)}", headers=headers)
    body = audit.body if isinstance(audit.body, bytes) else json.dumps(audit.body).encode()
    return caller.world.http.post("/graphql", content=body, headers={**headers, **({"Content-Type": audit.kind} if audit.kind else {})})


def test_all_of_them(dora: Caller) -> None:
    """In one test: a server for each would take longer than all the rest."""
    assert len({audit.id for audit in AUDITS}) == len(AUDITS) == 61
    for audit in AUDITS:
        answer = sent(dora, audit)
        what = f"{audit.id} {audit.text}: {answer.status_code} {answer.text}"
        assert answer.status_code in (audit.status if isinstance(audit.status, range) else {audit.status}), what
        assert answer.headers["Content-Type"] == (audit.answers or audit.headers.get("Accept", JSON) or JSON), what
        body = answer.content.decode("utf-8")
        assert "data" in json.loads(body) or "errors" in json.loads(body), what
        assert audit.no not in json.loads(body), what


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
        (f"{JSON}, {GRAPHQL};q=0.5", JSON),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"{GRAPHQL}; charset=utf-8", GRAPHQL),
        ("multipart/mixed", JSON),
    ],
)
def test_the_newer_media_type_is_for_whoever_names_it(dora: Caller, accept: str, answered: str) -> None:
    assert dora.post(TYPENAME, None, Accept=accept).headers["Content-Type"] == answered


def test_refusals_have_the_media_type_too(dora: Caller) -> None:
    answer = dora.world.http.post("/graphql", json={"query": TYPENAME}, headers=NEWER)
    assert (answer.status_code, answer.headers["Content-Type"], set(answer.json())) == (401, GRAPHQL, {"errors"})
    executed = dora.post("{ webhookEvents { edges { cursor } } }", None, **NEWER)
    assert (executed.status_code, executed.json()["data"]) == (200, {"webhookEvents": None})
