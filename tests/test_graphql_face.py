"""POST /graphql as clients meet it: what is refused and how, limits, masking, paging, filters, statements per request."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query
from harness import BOOKINGS, EVENT_TYPES, INBOX, NOTIFICATIONS, ONE_BOOKING, Caller, World, at, iso

from models import Booking, Notification, Participant, WebhookEvent
from models.base import db, new_id
from routes import graphiql as face
from routes.examples import examples
from schema import documents
from schema.limits import MAX_ALIASES, MAX_DEPTH
from services.identity import Viewer, sign_in

ROOT = Path(__file__).parent.parent
VIEWER = "{ viewer { id name } }"
MARK = """mutation($input: MarkNotificationsReadInput!) { markNotificationsRead(input: $input) { __typename
  ... on NotificationsMarkedRead { unreadCount } ... on InvalidInput { code message fields { path message } } } }"""
NEWS = """query($first: Int, $after: String, $unreadOnly: Boolean) { notifications(first: $first, after: $after, unreadOnly: $unreadOnly) {
  unreadCount edges { cursor node { id kind readAt booking { id participants { name } } } } pageInfo { hasNextPage endCursor } } }"""


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def dora(world: World) -> Caller:
    """Somebody signed in, with nothing else."""
    return world.caller("Dora")


def post(caller: Caller, content: bytes, kind: str | None = "application/json", **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {caller.token}", **headers, **({"Content-Type": kind} if kind else {})}
    return caller.world.http.post("/graphql", content=content, headers=given)


def assert_refused(answer: httpx.Response, status: int, code: str) -> str:
    """A GraphQL-shaped refusal: no data, one coded error with a sentence; answers the sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] in {"application/json", "application/graphql-response+json"}
    body = answer.json()
    assert body.get("data") is None
    (error,) = body["errors"]
    assert error["extensions"] == {"code": code}
    assert error["message"]
    assert "Traceback" not in answer.text
    return str(error["message"])


# ---- what is taken as a request ---------------------------------------------------------------------------------------------


def test_queries_by_get_and_nothing_else(dora: Caller) -> None:
    headers = {"Authorization": f"Bearer {dora.token}"}
    get = dora.world.http.get
    assert get("/graphql", params={"query": VIEWER}, headers=headers).json()["data"]["viewer"]["name"] == "Dora"
    assert_refused(get("/graphql", params={"query": VIEWER}), 401, "UNAUTHENTICATED")
    change = get("/graphql", params={"query": "mutation { markNotificationsRead(input: {all: true}) { __typename } }"}, headers=headers)
    assert assert_refused(change, 405, "METHOD_NOT_ALLOWED") == "Send mutations with POST."
    assert change.headers["Allow"] == "POST"
    assert_refused(get("/graphql", headers=headers), 405, "METHOD_NOT_ALLOWED")
    for odd in ({"variables": "{"}, {"variables": "[]"}, {"extensions": "7"}, {"variables": '{"x": "\\u0000"}'}):
        assert_refused(get("/graphql", params={"query": VIEWER, **odd}, headers=headers), 400, "BAD_USER_INPUT")


def test_no_batches(dora: Caller) -> None:
    for content in [b"[]", b'[{"query": "{ viewer { id } }"}]', b'[{"query": "{ viewer { id } }"}, {"query": "{ viewer { id } }"}]']:
        assert_refused(post(dora, content), 400, "BAD_USER_INPUT")


def test_nothing_but_json_is_taken(dora: Caller) -> None:
    """A form or a text can be posted by any page without asking first."""
    for kind in [
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/graphql",
        None,
        "application/xml",
    ]:
        assert_refused(post(dora, json.dumps({"query": VIEWER}).encode(), kind), 400, "BAD_USER_INPUT")


def test_multipart_uploads_are_not_taken(dora: Caller) -> None:
    parts = {"operations": (None, json.dumps({"query": VIEWER})), "map": (None, "{}")}
    answer = dora.world.http.post("/graphql", files=parts, headers={"Authorization": f"Bearer {dora.token}"})
    assert_refused(answer, 400, "BAD_USER_INPUT")


def test_json_by_its_names(dora: Caller) -> None:
    for kind in ["application/json", "application/json; charset=utf-8"]:
        assert post(dora, json.dumps({"query": VIEWER}).encode(), kind).json()["data"]["viewer"]["name"] == "Dora"


def test_a_body_that_is_too_large(dora: Caller) -> None:
    content = json.dumps({"query": VIEWER, "variables": {"x": "y" * 256 * 1024}}).encode()
    assert assert_refused(post(dora, content), 413, "TOO_LARGE") == "The request may have at most 256 KiB."
    chunked = dora.world.http.post(
        "/graphql",
        content=iter([content[:200_000], content[200_000:]]),
        headers={"Authorization": f"Bearer {dora.token}", "Content-Type": "application/json"},
    )
    assert_refused(chunked, 413, "TOO_LARGE")


def test_a_body_just_small_enough(dora: Caller) -> None:
    small = json.dumps({"query": VIEWER, "variables": {"x": ""}}).encode()
    content = small.replace(b'"x": ""', b'"x": "' + b"y" * (256 * 1024 - len(small)) + b'"')
    assert len(content) == 256 * 1024
    assert post(dora, content).status_code == 200


def test_a_body_that_is_not_json(dora: Caller) -> None:
    for content in [b"", b"{", b"query", b"\xff\xfe", b"{'query': 1}", b'{"query": NaN}', b"[" * 100_000]:
        assert "not JSON" in assert_refused(post(dora, content), 400, "BAD_USER_INPUT")


def test_a_body_without_a_query(dora: Caller) -> None:
    for content in [b"{}", b"null", b"7", b'"text"', b'{"query": null}', b'{"query": 7}', b'{"query": {}}', b'{"Query": "x"}']:
        assert_refused(post(dora, content), 400, "BAD_USER_INPUT")


def test_a_document_that_does_not_parse(dora: Caller) -> None:
    for query in ["", "   ", "# only a comment", "{", "query {", "{ viewer { id }", "\x00", "}{", "{ viewer { id(: } }", "fragment"]:
        answer = dora.post(query)
        assert answer.status_code in {200, 400}
        assert_refused(answer, answer.status_code, "BAD_USER_INPUT")


def test_variables_that_are_no_object(dora: Caller) -> None:
    for variables in [[], "text", 7, True, [{"id": 1}]]:
        assert_refused(post(dora, json.dumps({"query": VIEWER, "variables": variables}).encode()), 400, "BAD_USER_INPUT")


def test_an_operation_name_that_is_no_text(dora: Caller) -> None:
    for name in [7, [], {}, True, ["A"], {"name": "A"}]:
        answer = post(dora, json.dumps({"query": f"query A {VIEWER}", "operationName": name}).encode())
        assert answer.status_code in {200, 400}
        assert_refused(answer, answer.status_code, "BAD_USER_INPUT")


def test_extensions_that_are_no_object(dora: Caller) -> None:
    for extensions in [7, "x", [], True]:
        assert_refused(post(dora, json.dumps({"query": VIEWER, "extensions": extensions}).encode()), 400, "BAD_USER_INPUT")


def test_several_operations_need_a_name(dora: Caller) -> None:
    both = "query A { viewer { name } } query B { viewer { email } }"
    assert_refused(post(dora, json.dumps({"query": both}).encode()), 200, "BAD_USER_INPUT")
    answer = post(dora, json.dumps({"query": both, "operationName": "B"}).encode())
    assert answer.json() == {"data": {"viewer": {"email": "dora@example.test"}}}
    assert_refused(post(dora, json.dumps({"query": both, "operationName": "C"}).encode()), 400, "BAD_USER_INPUT")


def test_a_subscription_is_refused(dora: Caller) -> None:
    answer = dora.post("subscription { viewer { id } }")
    assert answer.status_code in {200, 400}
    assert_refused(answer, answer.status_code, "BAD_USER_INPUT")


def test_no_streams(dora: Caller) -> None:
    for accept in ["multipart/mixed", "text/event-stream"]:
        answer = dora.post(VIEWER, None, Accept=accept)
        assert answer.status_code in {200, 400, 406}
        assert "Traceback" not in answer.text


def test_a_document_that_is_not_valid(dora: Caller) -> None:
    for query in [
        "{ viewer { password } }",
        "{ nothing }",
        "{ viewer }",
        "{ viewer { id { x } } }",
        "query($x: Nothing) { viewer { id } }",
        "query($id: ID!) { booking(id: $id) { id } }",
        "{ booking { id } }",
        '{ booking(id: "a", other: 1) { id } }',
        "{ bookings(first: 1.5) { edges { cursor } } }",
        "{ bookings(order: SIDEWAYS) { edges { cursor } } }",
        "{ bookings(first: 99999999999) { edges { cursor } } }",
        "{ connectionStatus(provider: ZOHO) { id } }",
        "mutation { deleteEverything }",
        "{ viewer { ...A } } fragment A on User { ...A }",
        "{ viewer @nothing { id } }",
    ]:
        answer = dora.post(query)
        assert answer.status_code == 200
        for error in answer.json()["errors"]:
            assert error["extensions"] == {"code": "BAD_USER_INPUT"}
            assert error["message"]
        assert answer.json()["data"] is None


# ---- limits -----------------------------------------------------------------------------------------------------------------


def too_complex(answer: httpx.Response) -> None:
    assert answer.status_code == 200
    body = answer.json()
    assert body["data"] is None
    assert {e["extensions"]["code"] for e in body["errors"]} == {"TOO_COMPLEX"}
    assert all(e["message"] for e in body["errors"])


def test_a_document_that_is_too_deep(dora: Caller) -> None:
    """Our types end before the limit, so a document beyond it is wrong in other ways too."""
    deep = "{ a " * (MAX_DEPTH + 100) + "}" * (MAX_DEPTH + 100)
    for query in (f"{{ viewer {deep} }}", f"{{ viewer {{ ...A }} }} fragment A on User {deep}"):
        answer = dora.post(query)
        assert answer.status_code == 200
        assert answer.json()["data"] is None
        assert {e["extensions"]["code"] for e in answer.json()["errors"]} <= {"TOO_COMPLEX", "BAD_USER_INPUT"}


def test_introspection_that_goes_round_in_circles_is_too_complex(dora: Caller) -> None:
    too_complex(dora.post("{ __schema { types " + "{ fields { type " * 4 + "{ name }" + " } }" * 4 + " } }"))


def test_an_unknown_fragment_is_the_callers_mistake(dora: Caller) -> None:
    assert assert_refused(dora.post("{ viewer { ...Missing } }"), 200, "BAD_USER_INPUT") == "Unknown fragment 'Missing'."


def test_what_a_client_really_asks_is_not_too_deep(clara: Caller) -> None:
    assert "errors" not in clara.post(BOOKINGS, {}).json()
    for example in examples(clara.world.clock.now()):
        assert "TOO_COMPLEX" not in clara.post(str(example["query"]), example["variables"]).text  # type: ignore[arg-type]


def test_too_many_aliases(dora: Caller) -> None:
    many = "{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(MAX_ALIASES + 1)) + " }"
    too_complex(dora.post(many))
    enough = "{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(MAX_ALIASES)) + " }"
    assert len(dora.gql(enough)) == MAX_ALIASES


def test_aliases_in_fragments_count_too(dora: Caller) -> None:
    parts = " ".join(f"a{n}: id" for n in range(MAX_ALIASES + 1))
    too_complex(dora.post("{ viewer { ...A } } fragment A on User { " + parts + " }"))


def test_too_many_tokens(dora: Caller) -> None:
    def marking(ids: int) -> str:
        return "mutation { markNotificationsRead(input: { ids: [" + '"x" ' * ids + "] }) { __typename } }"

    too_complex(dora.post(marking(2000)))
    assert dora.one(marking(1900)) == {"__typename": "InvalidInput"}


def test_a_document_whose_check_is_given_up_is_too_complex(dora: Caller) -> None:
    too_complex(dora.post("{ viewer { " + "id " * 1900 + "} }"))


def test_fragments_that_double_at_each_step_cost_no_more_than_their_length() -> None:
    """2 ** 60 fields in 600 tokens. In a process of its own, which can be stopped when the check never ends."""
    steps = " ".join(f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    query = "{ viewer { ...F0 } } " + steps + " fragment F60 on User { id }"
    program = f"from schema.answering import answer; from schema.root import schema; answer(schema, {query!r}); print('came to an end')"
    try:
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=15, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        pytest.fail("one small document occupies a thread for ever")
    assert run.stdout == "came to an end\n", run.stderr


def test_one_request_cannot_list_everything_thirty_times(clara: Caller) -> None:
    """The same list under many aliases is bounded by the number of aliases, and each list by `first`."""
    many = "{ " + " ".join(f"a{n}: bookings(first: 100) {{ edges {{ cursor }} }}" for n in range(MAX_ALIASES + 1)) + " }"
    too_complex(clara.post(many))


def test_introspection_works_signed_in_where_it_is_on(world: World, database_url: str) -> None:
    with World(database_url, world.issuer, world.sandbox, introspection=True) as mine:
        data = mine.caller("Dora").gql(get_introspection_query(descriptions=True))
    assert {"Query", "Mutation", "Booking"} <= {t["name"] for t in data["__schema"]["types"]}


def test_introspection_needs_a_token_too(world: World) -> None:
    answer = world.http.post("/graphql", json={"query": get_introspection_query()})
    assert_refused(answer, 401, "UNAUTHENTICATED")


def test_without_a_token_nothing_is_told_of_the_document(world: World) -> None:
    for query in ("{", "{ nothing }", "a" * 100_000):
        assert_refused(world.http.post("/graphql", json={"query": query}), 401, "UNAUTHENTICATED")


def test_documents_are_parsed_and_validated_once(clara: Caller) -> None:
    query = f"query Once{new_id()} {VIEWER}"
    before = documents._kept.cache_info()
    for _ in range(5):
        clara.gql(query)
    after = documents._kept.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 4)


# ---- surprises --------------------------------------------------------------------------------------------------------------


def test_a_surprise_is_masked_counted_and_logged(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9))
    world.jobs()
    Booking.update(status="NO-SUCH").execute()
    answer = clara.post("{ bookings { edges { node { id status } } } }", None, **{"X-Request-Id": "find-me"})
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert error["message"] == "Something unexpected happened. It is logged under request id find-me."
    assert error["extensions"] == {"code": "INTERNAL"}
    assert error["path"] == ["bookings", "edges", 0, "node", "status"]
    assert "NO-SUCH" not in answer.text
    assert answer.headers["X-Request-Id"] == "find-me"
    logged = [json.loads(line) for line in world.logged.getvalue().splitlines() if "unexpected error" in line]
    assert [(entry["request_id"], entry["event"]) for entry in logged] == [("find-me", "unexpected error")]
    assert "NO-SUCH" in logged[0]["exception"]
    assert world.rt.metrics.registry.get_sample_value("convene_unexpected_errors_total", {"where": "graphql"}) == 1


@contextmanager
def without_table(name: str) -> Iterator[None]:
    """The table under another name, as after a half-done repair."""
    db.execute_sql(f'ALTER TABLE "{name}" RENAME TO "{name}_away"')
    try:
        yield
    finally:
        db.execute_sql(f'ALTER TABLE "{name}_away" RENAME TO "{name}"')
        db.close()


@pytest.mark.parametrize(
    ("table", "query"),
    [
        ("notification", "{ viewer { name unreadNotifications } }"),
        ("webhook_subscription", "{ linkedAccounts { id sync { bookings } } }"),
        ("event_type", "{ eventTypes { edges { cursor } } }"),
        ("participant", "{ bookings { edges { cursor } } }"),
    ],
)
def test_no_sql_and_no_path_in_an_answer(clara: Caller, table: str, query: str) -> None:
    with without_table(table):
        answer = clara.post(query)
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "INTERNAL"}
    assert re.fullmatch(r"Something unexpected happened. It is logged under request id [0-9a-f]{32}\.", error["message"])
    for inside in ("no such table", table, "SELECT", "sqlite", "Traceback", str(Path(face.__file__).parent)):
        assert inside not in answer.text
    assert "errors" not in clara.post(query).json()


def test_a_surprise_while_signing_in_is_graphql_shaped_too(world: World, dora: Caller) -> None:
    with without_table("app_user"):
        answer = dora.post(VIEWER)
    assert answer.status_code == 500
    assert "no such table" not in answer.text
    assert "Traceback" not in answer.text
    body = answer.json()
    assert body["data"] is None
    assert body["errors"][0]["extensions"]["code"] == "INTERNAL"


def test_the_request_id_is_echoed_or_made(dora: Caller) -> None:
    assert dora.post(VIEWER, None, **{"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    assert re.fullmatch(r"[0-9a-f]{32}", dora.post(VIEWER).headers["X-Request-Id"])
    assert re.fullmatch(r"[0-9a-f]{32}", dora.post(VIEWER, None, **{"X-Request-Id": "two words"}).headers["X-Request-Id"])


# ---- GraphiQL ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_page(world: World, database_url: str) -> Iterator[World]:
    with World(database_url, world.issuer, world.sandbox, graphiql=True) as mine:
        yield mine


@pytest.fixture(params=[True, False], ids=["installed", "not-installed"])
def assets(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The files of the page are there, or not."""
    if request.param:
        (tmp_path / ".stamp").touch()
        (tmp_path / "page.js").write_text("// page")
    monkeypatch.setattr(face, "ASSETS", tmp_path)
    return bool(request.param)


HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_the_page_renders_with_and_without_its_files(with_page: World, assets: bool) -> None:
    answer = with_page.http.get("/graphql", headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]{22})'", policy)
    assert nonce is not None
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert ("is not installed" in answer.text) is not assets
    assert "nothing real is touched" in answer.text
    if assets:
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert len(scripts) == 6
        assert all(f'nonce="{nonce[1]}"' in script for script in scripts)
    again = with_page.http.get("/graphql", headers=HTML)
    assert nonce[1] not in again.headers["Content-Security-Policy"]
    assert "https://" not in re.sub(r"https://[\w.]*example\S*", "", answer.text), "everything comes from ourselves"


def test_its_files_are_served_and_nothing_else(with_page: World, assets: bool) -> None:
    answer = with_page.http.get("/assets/graphiql/page.js")
    assert answer.status_code == (200 if assets else 404)
    for path in ("../../app.py", "..%2f..%2fapp.py", "%2e%2e/%2e%2e/app.py", "nothing.js"):
        assert with_page.http.get(f"/assets/graphiql/{path}").status_code == 404


def test_only_a_browser_gets_the_page(with_page: World) -> None:
    for accept in ["application/json", "*/*", "", "text/plain", "application/graphql-response+json"]:
        assert_refused(with_page.http.get("/graphql", headers={"Accept": accept}), 405, "METHOD_NOT_ALLOWED")


def test_the_page_is_off_unless_switched_on(world: World) -> None:
    assert_refused(world.http.get("/graphql", headers=HTML), 405, "METHOD_NOT_ALLOWED")


def test_the_page_names_no_demo_people_outside_development(with_page: World) -> None:
    assert "demo.test" not in with_page.http.get("/graphql", headers=HTML).text


# ---- pages ------------------------------------------------------------------------------------------------------------------


def make_bookings(caller: Caller, starts: list[datetime], **values: Any) -> list[str]:
    """Rows as the sync would write them; answers their ids in the order of `starts`."""
    person = viewer_of(caller).person_id
    ids = []
    with db.atomic():
        for start in starts:
            row = Booking.create(
                provider="calcom",
                external_id=new_id(),
                title=values.get("title", "Session"),
                status=values.get("status", "CONFIRMED"),
                start=start,
                end=start + timedelta(minutes=30),
                remote_updated_at=start,
            )
            Participant.create(booking=row.id, person=person, role=values.get("role", "COACH"), name=caller.name, email=caller.email)
            ids.append(row.id)
    db.close()
    return ids


def viewer_of(caller: Caller) -> Viewer:
    claims = caller.world.convene.verifier.verify(f"Bearer {caller.token}")
    return sign_in(caller.world.rt, claims)


def walk(caller: Caller, **arguments: Any) -> list[list[str]]:
    """The ids of every page, to the end."""
    pages, after = [], None
    while True:
        found = caller.one(BOOKINGS, after=after, **arguments)
        pages.append([edge["node"]["id"] for edge in found["edges"]])
        assert found["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert found["pageInfo"]["startCursor"] == found["edges"][0]["cursor"]
        after = found["pageInfo"]["endCursor"]
        assert after == found["edges"][-1]["cursor"]
        if not found["pageInfo"]["hasNextPage"]:
            return pages


@pytest.mark.parametrize("order", ["START_ASC", "START_DESC"])
@pytest.mark.parametrize("first", [1, 7, 10, 30, 31])
def test_every_booking_is_on_one_page_once(dora: Caller, order: str, first: int) -> None:
    """Thirty bookings of which many start together."""
    starts = [at(2 + n // 9, 9) for n in range(30)]
    ids = make_bookings(dora, starts)
    pages = walk(dora, first=first, order=order)
    seen = [i for page in pages for i in page]
    expected = sorted(range(30), key=lambda n: (starts[n], ids[n]), reverse=order == "START_DESC")
    assert seen == [ids[n] for n in expected]
    assert [len(p) for p in pages[:-1]] == [first] * (len(pages) - 1)


def test_a_booking_that_appears_behind_the_cursor_is_met_and_one_before_it_shifts_nothing(dora: Caller) -> None:
    ids = make_bookings(dora, [at(2, 9), at(2, 10), at(2, 11), at(2, 12)])
    first = dora.one(BOOKINGS, first=2)
    make_bookings(dora, [at(2, 8)])
    (later,) = make_bookings(dora, [at(2, 13)])
    rest = dora.one(BOOKINGS, first=10, after=first["pageInfo"]["endCursor"])
    assert [e["node"]["id"] for e in rest["edges"]] == [*ids[2:], later]


def test_an_empty_list(dora: Caller) -> None:
    found = dora.one(BOOKINGS)
    assert found == {"edges": [], "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}}


LISTS = {
    "bookings": "query($first: Int, $after: String) { bookings(first: $first, after: $after) { edges { cursor } } }",
    "bookings, latest first": "query($first: Int, $after: String) { bookings(first: $first, after: $after, order: START_DESC) { edges { cursor } } }",
    "eventTypes": "query($first: Int, $after: String) { eventTypes(first: $first, after: $after) { edges { cursor } } }",
    "notifications": "query($first: Int, $after: String) { notifications(first: $first, after: $after) { edges { cursor } } }",
    "webhookEvents": "query($first: Int, $after: String) { webhookEvents(first: $first, after: $after) { edges { cursor } } }",
}


@pytest.fixture
def everything(world: World) -> Caller:
    """An admin with something in every list."""
    clara = world.caller("Clara", admin=True)
    world.account(clara, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
    clara.link()
    world.book(clara, at(2, 9))
    world.jobs()
    return clara


def test_how_many(everything: Caller) -> None:
    for query in LISTS.values():
        for wrong in (0, 101, -1, 2**31 - 1, -(2**31)):
            (error,) = everything.errors(query, first=wrong)
            assert error["message"] == "`first` must be between 1 and 100."
            assert error["extensions"] == {"code": "BAD_USER_INPUT"}
        for right in (1, 100, None):
            (found,) = everything.gql(query, first=right).values()
            assert len(found["edges"]) >= 1


def test_a_bad_page_is_null_and_the_rest_of_the_answer_stands(dora: Caller) -> None:
    answer = dora.post("{ viewer { name } bookings(first: 0) { edges { cursor } } }").json()
    assert answer["data"] == {"viewer": {"name": "Dora"}, "bookings": None}
    assert [e["path"] for e in answer["errors"]] == [["bookings"]]


def test_a_cursor_serves_its_own_list_only(everything: Caller) -> None:
    cursors = {name: next(iter(everything.gql(query).values()))["edges"][0]["cursor"] for name, query in LISTS.items()}
    assert len(set(cursors.values())) == len(LISTS)
    for name, query in LISTS.items():
        for of, cursor in cursors.items():
            answer = everything.post(query, {"after": cursor}).json()
            if of == name:
                assert "errors" not in answer
            else:
                (error,) = answer["errors"]
                assert error["message"] == "`after` is not a cursor of this list. Take it from `pageInfo.endCursor` or an edge."
                assert error["extensions"] == {"code": "BAD_USER_INPUT"}


def test_history_is_paged_and_its_cursors_are_its_own(world: World, everything: Caller) -> None:
    (booking,) = everything.bookings()
    for n, hour in enumerate((10, 11, 12)):
        everything.move(booking["id"], at(3, hour), key=f"k{n}")
        world.jobs()
        world.move_clock(minutes=1)
    query = """query($id: ID!, $first: Int, $after: String) { booking(id: $id) { history(first: $first, after: $after) {
      edges { cursor node { kind newStart } } pageInfo { hasNextPage endCursor } } } }"""
    seen, after = [], None
    for expected in (True, False):
        found = everything.one(query, id=booking["id"], first=2, after=after)["history"]
        seen += [(e["node"]["kind"], e["node"]["newStart"]) for e in found["edges"]]
        assert found["pageInfo"]["hasNextPage"] is expected
        after = found["pageInfo"]["endCursor"]
    assert seen == [
        ("MOVED", iso(at(3, 12))),
        ("MOVED", iso(at(3, 11))),
        ("MOVED", iso(at(3, 10))),
        ("BOOKED", iso(at(2, 9))),
    ]
    bad = everything.gql(LISTS["bookings"])["bookings"]["edges"][0]["cursor"]
    for arguments in ({"after": bad}, {"after": "x"}, {"first": 0}, {"first": 101}):
        (error,) = everything.errors(query, id=booking["id"], **arguments)
        assert error["extensions"] == {"code": "BAD_USER_INPUT"}


# ---- filters ----------------------------------------------------------------------------------------------------------------


def ids(caller: Caller, **wanted: Any) -> set[str]:
    return {b["id"] for b in caller.bookings(filter=wanted)}


def test_status_tells_completed_from_confirmed(dora: Caller) -> None:
    past, running, ends_now, future = make_bookings(dora, [at(1, 6), at(1, 7, 45), at(1, 7, 30), at(2, 9)])
    (pending_past,) = make_bookings(dora, [at(1, 6)], status="PENDING")
    (cancelled,) = make_bookings(dora, [at(1, 6)], status="CANCELLED")
    (declined,) = make_bookings(dora, [at(2, 6)], status="DECLINED")
    assert ids(dora, status=["COMPLETED"]) == {past, ends_now}
    assert ids(dora, status=["CONFIRMED"]) == {running, future}
    assert ids(dora, status=["CONFIRMED", "COMPLETED"]) == {past, running, ends_now, future}
    assert ids(dora, status=["PENDING"]) == {pending_past}
    assert ids(dora, status=["CANCELLED", "DECLINED", "COMPLETED"]) == {cancelled, declined, past, ends_now}
    assert {b["status"] for b in dora.bookings(filter={"status": ["COMPLETED"]})} == {"COMPLETED"}
    assert len(ids(dora)) == 7
    assert ids(dora, status=[]) == ids(dora)
    assert ids(dora, status=None) == ids(dora)


def test_a_confirmed_booking_becomes_completed_by_time_alone(dora: Caller) -> None:
    (booking,) = make_bookings(dora, [at(1, 9)])
    assert ids(dora, status=["CONFIRMED"]) == {booking}
    dora.world.move_clock(hours=1, minutes=30)
    assert ids(dora, status=["COMPLETED"]) == {booking}
    assert ids(dora, status=["CONFIRMED"]) == set()
    assert dora.one(ONE_BOOKING, id=booking)["status"] == "COMPLETED"


def test_provider_and_role(dora: Caller) -> None:
    (hosted,) = make_bookings(dora, [at(2, 9)])
    (visited,) = make_bookings(dora, [at(2, 10)], role="MENTEE")
    (guest,) = make_bookings(dora, [at(2, 11)], role="GUEST")
    assert ids(dora, provider="CAL_COM") == {hosted, visited, guest}
    assert ids(dora, role="COACH") == {hosted}
    assert ids(dora, role="MENTEE") == {visited}
    assert ids(dora, role="GUEST") == {guest}
    assert ids(dora, role="COACH", provider="CAL_COM", status=["CONFIRMED"]) == {hosted}


def test_the_span_includes_its_beginning_and_excludes_its_end(dora: Caller) -> None:
    nine, ten, eleven = make_bookings(dora, [at(2, 9), at(2, 10), at(2, 11)])
    assert ids(dora, startsAfter=iso(at(2, 10))) == {ten, eleven}
    assert ids(dora, startsBefore=iso(at(2, 10))) == {nine}
    assert ids(dora, startsAfter=iso(at(2, 9)), startsBefore=iso(at(2, 11))) == {nine, ten}
    assert ids(dora, startsAfter="2027-03-02T11:00:00+01:00") == {ten, eleven}
    assert ids(dora, startsAfter=iso(at(2, 11)), startsBefore=iso(at(2, 9))) == set()
    assert ids(dora, startsAfter="2027-03-02T10:00:00.001Z") == {eleven}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("100%", {"100% sure"}),
        ("%", {"100% sure"}),
        ("_", {"snake_case"}),
        ("'", {"O'Hara's"}),
        ("o'hara", {"O'Hara's"}),
        ("ÜBERBLICK", {"Überblick"}),
        ("überblick", {"Überblick"}),
        ("ЖУРНАЛ", {"журнал"}),
        ("\\", {"back\\slash"}),
        ("  sure ", {"100% sure"}),
        ("nothing like it", set()),
        ("'; DROP TABLE booking; --", set()),
        ("🦊", {"fox 🦊"}),
    ],
)
def test_text_is_taken_literally_and_whatever_its_case(dora: Caller, text: str, found: set[str]) -> None:
    for n, title in enumerate(("100% sure", "snake_case", "O'Hara's", "Überblick", "журнал", "back\\slash", "fox 🦊", "plain")):
        make_bookings(dora, [at(2, 9 + n)], title=title)
    assert {b["title"] for b in dora.bookings(filter={"text": text})} == found


def test_text_looks_at_names_and_addresses(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9), name="Łukasz", email="l.k@example.test")
    world.book(clara, at(2, 10), name="Otto", email="otto_x@example.test")
    world.jobs()

    def starts(text: str) -> list[str]:
        return [b["start"] for b in clara.bookings(filter={"text": text})]

    assert starts("łUKASZ") == [iso(at(2, 9))]
    assert starts("L.K@EXAMPLE") == [iso(at(2, 9))]
    assert starts("o_x@") == [iso(at(2, 10))]
    assert starts("") == starts("   ") == [iso(at(2, 9)), iso(at(2, 10))]


def test_a_filter_never_shows_other_peoples_bookings(world: World, clara: Caller, dora: Caller) -> None:
    world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    for wanted in ({}, {"text": "Otto"}, {"role": "COACH"}, {"status": ["CONFIRMED"]}, {"provider": "CAL_COM"}):
        assert dora.bookings(filter=wanted) == []


def test_event_types_are_paged(world: World) -> None:
    kinds = [{"title": f"Kind {n}", "slug": f"kind-{n}", "lengthInMinutes": 15 + n} for n in range(7)]
    clara = world.coach(eventTypes=kinds)
    seen, after = [], None
    for expected in (3, 3, 1):
        found = clara.one(EVENT_TYPES, first=3, after=after)
        assert len(found["edges"]) == expected
        seen += [e["node"]["durationMinutes"] for e in found["edges"]]
        after = found["pageInfo"]["endCursor"]
        assert found["pageInfo"]["hasNextPage"] is (len(seen) < 7)
    assert sorted(seen) == [15 + n for n in range(7)]


def test_event_types_of_a_host_who_does_not_exist(dora: Caller) -> None:
    for host in ("", "nobody", new_id(), "' OR 1=1 --", "x" * 10_000):
        assert dora.one(EVENT_TYPES, hostId=host)["edges"] == []


# ---- notifications ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(world: World, clara: Caller) -> Caller:
    for hour in (9, 10, 11):
        world.book(clara, at(2, hour))
        world.jobs()
        world.move_clock(minutes=1)
    return clara


def marked(caller: Caller, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = caller.one(MARK, input=given)
    return found


def test_notifications_are_paged_newest_first(told: Caller) -> None:
    first = told.one(NEWS, first=2)
    rest = told.one(NEWS, first=2, after=first["pageInfo"]["endCursor"])
    assert [len(p["edges"]) for p in (first, rest)] == [2, 1]
    starts = [n["newStart"] for n in told.notifications()]
    assert starts == [iso(at(2, 11)), iso(at(2, 10)), iso(at(2, 9))]
    seen = [e["node"]["id"] for p in (first, rest) for e in p["edges"]]
    assert seen == [n["id"] for n in told.notifications()]


def test_some_are_marked_as_read(told: Caller) -> None:
    newest, middle, oldest = [n["id"] for n in told.notifications()]
    assert told.one("{ viewer { unreadNotifications } }")["unreadNotifications"] == 3
    assert marked(told, ids=[middle]) == {"__typename": "NotificationsMarkedRead", "unreadCount": 2}
    unread = told.one(NEWS, unreadOnly=True)
    assert ([e["node"]["id"] for e in unread["edges"]], unread["unreadCount"]) == ([newest, oldest], 2)
    assert len(told.one(NEWS, unreadOnly=False)["edges"]) == len(told.one(NEWS, unreadOnly=None)["edges"]) == 3
    read_at = told.notifications()[1]["readAt"]
    told.world.move_clock(minutes=5)
    assert marked(told, ids=[middle, middle])["unreadCount"] == 2
    assert told.notifications()[1]["readAt"] == read_at, "the first reading counts"


def test_all_are_marked_as_read(told: Caller) -> None:
    assert marked(told, all=True) == {"__typename": "NotificationsMarkedRead", "unreadCount": 0}
    assert told.one(NEWS, unreadOnly=True)["edges"] == []
    assert marked(told, all=True)["unreadCount"] == 0


@pytest.mark.parametrize(
    "given", [{}, {"ids": []}, {"all": False}, {"ids": None, "all": None}, {"ids": ["x"], "all": True}, {"ids": ["x"] * 101}]
)
def test_neither_both_or_too_many_are_refused(told: Caller, given: dict[str, Any]) -> None:
    answer = marked(told, **given)
    assert (answer["__typename"], answer["code"]) == ("InvalidInput", "INVALID_INPUT")
    assert [f["path"] for f in answer["fields"]] == [["ids"]]
    assert told.one(NEWS)["unreadCount"] == 3


def test_other_peoples_notifications_stay_as_they_are(told: Caller, dora: Caller) -> None:
    theirs = [n["id"] for n in told.notifications()]
    assert marked(dora, ids=theirs) == {"__typename": "NotificationsMarkedRead", "unreadCount": 0}
    assert marked(dora, all=True)["unreadCount"] == 0
    assert told.one(NEWS)["unreadCount"] == 3
    assert Notification.select().where(Notification.read_at.is_null(False)).count() == 0
    assert dora.one(NOTIFICATIONS)["edges"] == []


def test_unknown_ids_change_nothing(told: Caller) -> None:
    for odd in ("", "x" * 10_000, "' OR '1'='1", "🦊", new_id()):
        assert marked(told, ids=[odd])["unreadCount"] == 3


def test_two_readers_at_once(told: Caller) -> None:
    together = threading.Barrier(4)

    def read(_: int) -> int:
        together.wait(10)
        return int(marked(told, all=True)["unreadCount"])

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(4))) == {0}


# ---- the inbox --------------------------------------------------------------------------------------------------------------


def test_the_inbox_is_for_admins(told: Caller, world: World) -> None:
    answer = told.post(INBOX, {}).json()
    assert answer["data"] == {"webhookEvents": None}
    assert [(e["message"], e["extensions"]) for e in answer["errors"]] == [("Only admins see the inbox.", {"code": "FORBIDDEN"})]
    admin = world.caller("Ada", admin=True)
    found = admin.one(INBOX)["edges"]
    assert [e["node"]["state"] for e in found] == ["APPLIED"] * WebhookEvent.select().count()
    assert [e["node"]["kind"] for e in found][:3] == ["BOOKING_CREATED"] * 3
    assert admin.one(INBOX, state="DEAD")["edges"] == []
    assert len(admin.one(INBOX, first=2)["edges"]) == 2


# ---- statements -------------------------------------------------------------------------------------------------------------


@contextmanager
def counting() -> Iterator[list[str]]:
    """Every SQL statement that is executed meanwhile, by whichever thread."""
    seen: list[str] = []

    def note(event: Any) -> None:
        seen.append(event.sql)

    db.obj.query_hooks.append(note)
    try:
        yield seen
    finally:
        db.obj.query_hooks.remove(note)


LISTED = """{ bookings(first: 100) { edges { node { id title status start viewerRole
  participants { id role name email isViewer } eventType { id title host { id name } } } } } }"""
MORE = """{ bookings(first: 100) { edges { node { id participants { name } eventType { title }
  rescheduling { mode blockedBy } history { edges { node { kind by } } } answers { question } cancellationReason externalId } } } }"""


def statements(caller: Caller, query: str, expected: int) -> list[str]:
    with counting() as seen:
        found = caller.one(query)
    assert len(found["edges"]) == expected
    return seen


def test_a_hundred_bookings_cost_as_many_statements_as_one(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9))
    world.jobs()
    clara.one("{ viewer { id } }")
    one, one_more = statements(clara, LISTED, 1), statements(clara, MORE, 1)
    assert len(one) <= 6, one
    (real,) = clara.bookings()
    row = Booking.get()
    make_bookings(clara, [at(3 + n // 20, n % 20) for n in range(99)])
    Booking.update(event_type=row.event_type_id).execute()
    guests = [
        {"booking": b.id, "person": p.person_id, "role": "MENTEE", "name": "Otto"}
        for p in Participant.select().where((Participant.role == "MENTEE") & (Participant.booking == real["id"]))
        for b in Booking.select().where(Booking.id != real["id"])
    ]
    for guest in guests:
        Participant.create(**guest)
    db.close()
    hundred, hundred_more = statements(clara, LISTED, 100), statements(clara, MORE, 100)
    assert len(hundred) == len(one), hundred
    assert len(hundred_more) == len(one_more), hundred_more
    shown = clara.one(LISTED)["edges"]
    assert all(e["node"]["eventType"]["title"] == "Session" for e in shown)
    assert all(len(e["node"]["participants"]) == 2 for e in shown)


def test_notifications_with_their_bookings_cost_a_constant_number_of_statements(world: World, clara: Caller) -> None:
    query = "{ notifications(first: 100) { unreadCount edges { node { id booking { id participants { name } eventType { title } } } } } }"
    world.book(clara, at(2, 9))
    world.jobs()
    clara.one("{ viewer { id } }")
    one = statements(clara, query, 1)
    for hour in (10, 11, 12, 13, 14):
        world.book(clara, at(2, hour))
    world.jobs()
    six = statements(clara, query, 6)
    assert len(six) == len(one), six
