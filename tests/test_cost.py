"""What an operation may cost, by the sizes of its lists; how many directives; what is told of the schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import BOOKINGS, CONNECTION, MOVE, NOTIFICATIONS, Caller, World

from routes.examples import examples
from schema import documents
from schema.cost import evaluate
from schema.limits import MAX_DIRECTIVES
from schema.root import schema

HISTORY = """query($n: Int, $m: Int) { bookings(first: $n) { edges { node { id history(first: $m) {
  edges { node { kind at by source previousStart newStart reason } } pageInfo { hasNextPage } } } } } }"""


@pytest.fixture
def dora(world: World) -> Caller:
    return world.caller("Dora")


def cost(query: str, **variables: Any) -> int:
    (found,) = documents.prepare(schema._schema, query).costs.values()
    return evaluate(found, variables)


def refusal(caller: Caller, query: str, code: str = "TOO_COMPLEX", **variables: Any) -> str:
    """The sentence of the only error."""
    body = caller.post(query, variables).json()
    (error,) = body["errors"]
    assert (body["data"], error["extensions"]) == (None, {"code": code})
    return str(error["message"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ __typename }", 1),
        ("{ viewer { id name } }", 3),
        # one, its edges, and a hundred times the cursor
        ("{ bookings(first: 100) { edges { cursor } } }", 102),
        ("{ bookings { edges { cursor } pageInfo { hasNextPage } } }", 29),
        ("{ bookings(first: null) { edges { cursor } } }", 27),
        # ten things are in a list without pages
        ("{ bookings(first: 2) { edges { node { id participants { name role } } } } }", 2 + 2 * (1 + 1 + 1 + 10 * 2)),
        ("{ bookings(first: 3) { edges { node { history(first: 4) { edges { node { kind } } } } } } }", 2 + 3 * (1 + 2 + 4 * 2)),
        ("{ bookings(first: 3) { edges { node { history { edges { node { kind } } } } } } }", 2 + 3 * (1 + 2 + 10 * 2)),
        (
            "{ a: bookings(first: 5) { ...E } b: bookings(first: 7) { ...E } } fragment E on BookingConnection { edges { cursor } }",
            6 + 8 + 2,
        ),
        ("{ bookings(first: 5) { ... { edges { ... on BookingEdge { cursor } } } } }", 7),
        # what is refused later, in words that fit better, counts as the longest page
        ("{ bookings(first: -5) { edges { cursor } } }", 102),
        ("{ bookings(first: 1000000) { edges { cursor } } }", 102),
        ("{ viewer { preferences { reminderMinutes } } }", 1 + 1 + 1 + 10),
    ],
)
def test_the_cost_of_a_document(query: str, expected: int) -> None:
    assert cost(query) == expected


def test_variables_give_sizes() -> None:
    assert cost(HISTORY, n=100, m=100) == 2 + 100 * (1 + 1 + 1 + 100 * 8 + 2 + 1)
    assert cost(HISTORY, n=100, m=None) == cost(HISTORY, n=100) == cost(HISTORY, n=100, m=10)
    assert cost(HISTORY, n=0, m=0) == cost(HISTORY, n="x", m=[]) == cost(HISTORY, n=100, m=100)
    defaulted = HISTORY.replace("$n: Int", "$n: Int = 50")
    assert cost(defaulted, m=1) == cost(HISTORY, n=50, m=1)
    assert cost(defaulted, n=None, m=1) == cost(HISTORY, n=25, m=1)


def test_fragments_that_double_with_open_sizes_are_measured_at_once() -> None:
    steps = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40))
    query = "query($n: Int) { ...F0 } " + steps + " fragment F40 on Query { bookings(first: $n) { edges { cursor } } }"
    assert cost(query, n=100) == 2**40 * 102


def test_what_clients_really_ask_is_far_below_and_lists_of_lists_of_lists_are_not(dora: Caller) -> None:
    for query in (BOOKINGS, NOTIFICATIONS, CONNECTION, MOVE):
        assert cost(query, first=100) < 25_000, query
    for example in examples(dora.world.clock.now()):
        assert "TOO_COMPLEX" not in dora.post(str(example["query"]), example["variables"]).text  # type: ignore[arg-type]
    assert dora.one(BOOKINGS, first=100)["edges"] == []
    assert refusal(dora, HISTORY, n=100, m=100) == (
        "The answer may have 80,602 values; at most 50,000 are given. Ask for smaller pages or fewer fields."
    )
    assert dora.one(HISTORY, n=50, m=100)["edges"] == []
    four = " ".join(f"b{n}: bookings(first: 100) {{ ...H }}" for n in range(4))
    nested = (
        f"{{ {four} }} fragment H on BookingConnection {{ edges {{ node {{ history(first: 100) {{ edges {{ node {{ kind }} }} }} }} }} }}"
    )
    assert refusal(dora, nested).startswith("The answer may have 81,208 values;")


@pytest.fixture
def cheap(world: World, database_url: str) -> Iterator[World]:
    with World(database_url, world.issuer, world.sandbox, query_cost=20, introspection=True) as mine:
        yield mine


def test_the_limit_is_a_setting(cheap: World, world: World, database_url: str) -> None:
    carl = cheap.caller("Carl")
    assert refusal(carl, "{ bookings(first: 19) { edges { cursor } } }").startswith("The answer may have 21 values; at most 20")
    assert carl.one("{ bookings(first: 18) { edges { cursor } } }") == {"edges": []}
    with World(database_url, world.issuer, world.sandbox, query_cost=0) as without:
        assert without.caller("Carl").one(HISTORY, n=100, m=100) == {"edges": []}


def test_a_change_that_costs_too_much_is_not_made(cheap: World) -> None:
    carl = cheap.caller("Carl", time_zone="UTC")
    change = 'mutation { updatePreferences(input: {timeZone: "Asia/Tokyo"}) { __typename %s } }'
    assert refusal(carl, change % ("... on Problem { " + "code " * 20 + "}")).startswith("The answer may have 22 values;")
    assert carl.one("{ viewer { timeZone } }") == {"timeZone": "UTC"}
    assert carl.one(change % "") == {"__typename": "PreferencesUpdated"}
    assert carl.one("{ viewer { timeZone } }") == {"timeZone": "Asia/Tokyo"}
    both = f"query A {{ bookings(first: 50) {{ edges {{ cursor }} }} }} {change.replace('mutation', 'mutation B') % ''}"
    # each operation of a document is weighed for itself
    headers = {"Authorization": f"Bearer {carl.token}"}
    answer = cheap.http.post("/graphql", json={"query": both, "operationName": "B"}, headers=headers)
    assert answer.json() == {"data": {"updatePreferences": {"__typename": "PreferencesUpdated"}}}


def test_directives(dora: Caller) -> None:
    def with_directives(number: int) -> str:
        return "{ viewer { " + " ".join("id @include(if: true)" for _ in range(number)) + " name } }"

    assert dora.one(with_directives(MAX_DIRECTIVES))["name"] == "Dora"
    assert refusal(dora, with_directives(MAX_DIRECTIVES + 1)) == "The document has 51 directives; at most 50 are answered."
    twice = "{ viewer { id @skip(if: false) @skip(if: false) } }"
    assert "can only be used once" in refusal(dora, twice, "BAD_USER_INPUT")


def test_the_schema_is_not_told_in_production(dora: Caller, cheap: World) -> None:
    for query in (
        "{ __schema { types { name } } }",
        '{ __type(name: "Booking") { name } }',
        "{ ...A } fragment A on Query { __schema { types { name } } }",
    ):
        said = refusal(dora, query, "INTROSPECTION_DISABLED")
        assert said == "This server answers no questions about its schema. Read schema/schema.graphql instead."
        assert "errors" not in cheap.caller("Carl").post(query).json()
    assert (Path(__file__).parent.parent / "schema" / "schema.graphql").exists()
    assert dora.gql("{ __typename }") == {"__typename": "Query"}


def test_names_are_not_suggested_in_production(dora: Caller, cheap: World) -> None:
    for query, variables, without, suggestion in (
        ("{ vewer { id } }", {}, "Cannot query field 'vewer' on type 'Query'.", "viewer"),
        ("{ bookings(fist: 1) { edges { cursor } } }", {}, "Unknown argument 'fist' on field 'Query.bookings'.", "first"),
        ("query($p: Provider!) { connectionStatus(provider: $p) { id } }", {"p": "CAL_CON"}, None, "CAL_COM"),
    ):
        said = dora.post(query, variables).json()["errors"][0]["message"]
        assert "Did you mean" not in said
        assert suggestion not in said
        assert without is None or said == without
        told = cheap.caller("Carl").post(query, variables).json()["errors"][0]["message"]
        assert "Did you mean " in told
        assert f"'{suggestion}'?" in told
