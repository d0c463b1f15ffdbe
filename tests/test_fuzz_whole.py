"""A whole installation under fuzz: GraphQL and REST by schemathesis, our own generators of valid and of hostile operations.

No 500, nothing that hangs, no trace of the inside and no secret in any answer, every answer in its documented shape with a
documented code, nothing unexpected in the log, and a server that afterwards holds hardly more memory than before.
"""

import json
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from harness import BOOKINGS, EVENT_TYPES, NOTIFICATIONS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from processes import scaled
from schemathesis import graphql as nodes
from system.fuzz_operations import Mutations, hostile
from system.fuzz_server import FuzzedServer, Judge
from system.test_server import folder, free_port
from test_execution import Generator
from test_fuzz_answers import surprise

ROOT = Path(__file__).parent.parent
OPERATIONS = 10_000
"""Of the long run: in four equal parts."""
PEOPLE = ("coach@demo.test", "mentee@demo.test", "coach2@demo.test", "guest@demo.test", "admin@demo.test")
MOST_GROWTH = 150
"""MB that the server may have grown by: its caches are bounded, and full after some thousand different documents."""
SEED = 20270303
UNTOUCHED = {"disconnectProvider", "eraseUser"}

__all__ = ["folder"]


def drawing(cases: int) -> settings:
    return settings(
        max_examples=cases,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def server(folder: Path) -> Iterator[FuzzedServer]:
    with FuzzedServer(folder, free_port(), free_port()) as running:
        yield running


# ---- schemathesis -------------------------------------------------------------------------------------------------------------


def graphql_operations() -> st.SearchStrategy[str]:
    """Documents of one operation each, by the committed SDL."""
    text = nodes_of_text
    schemathesis.graphql.scalar(
        "DateTime", text(["2027-03-02T09:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon"])
    )
    schemathesis.graphql.scalar("TimeZone", text(["Europe/Berlin", "UTC", "Mars/Olympus", ""]))
    schema = schemathesis.graphql.from_file((ROOT / "schema" / "schema.graphql").read_text())
    found = [result.ok() for result in schema.get_all_operations()]
    wanted = [one for one in found if one.label.partition(".")[2] not in UNTOUCHED]
    assert len(wanted) > 30
    return st.one_of([one.as_strategy() for one in wanted]).map(lambda case: str(case.body))


def nodes_of_text(values: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values).map(nodes.nodes.String)


def rest_cases() -> st.SearchStrategy[Any]:
    """Requests by the small description of the REST face that is kept beside this test, good ones and bad ones."""
    document = json.loads((Path(__file__).parent / "system" / "fuzz_rest.json").read_text())
    schema = schemathesis.openapi.from_dict(document)
    found = [result.ok() for result in schema.get_all_operations()]
    return st.one_of([one.as_strategy() for one in found])


def by_schemathesis(judge: Judge, cases: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = graphql_operations()

        @drawing(cases)
        @given(strategy, st.sampled_from(PEOPLE))
        def ask(document: str, email: str) -> None:
            judge.graphql(email, json.dumps({"query": document}).encode())

        ask()


def rest_by_schemathesis(judge: Judge, cases: int) -> None:
    admin = judge.token("admin@demo.test")

    @drawing(cases)
    @given(rest_cases(), st.booleans())
    def ask(case: Any, signed_in: bool) -> None:
        headers = {str(name): str(value).encode("latin-1", "replace") for name, value in (case.headers or {}).items()}
        if signed_in:
            headers.setdefault("Authorization", f"Bearer {admin}".encode())
        content = (
            case.body if isinstance(case.body, bytes) else b"" if type(case.body).__name__ == "NotSet" else json.dumps(case.body).encode()
        )
        if case.media_type:
            headers.setdefault("Content-Type", case.media_type.encode())
        judge.rest(case.method, case.formatted_path, params=case.query or None, headers=headers, content=content)

    ask()


# ---- our own ------------------------------------------------------------------------------------------------------------------


def known(server: FuzzedServer) -> tuple[dict[str, list[str]], list[str]]:
    """Ids that there are, by the name of the field that takes them, and times that may be free."""
    found: list[str] = []
    for email in PEOPLE[:4]:
        found += [edge["node"]["id"] for edge in server.gql(email, BOOKINGS, first=50)["edges"]]
        found += [edge["node"]["id"] for edge in server.gql(email, EVENT_TYPES, first=50)["edges"]]
        found += [edge["node"]["id"] for edge in server.gql(email, NOTIFICATIONS)["edges"]]
    starts = [edge["node"]["start"] for edge in server.gql(PEOPLE[0], BOOKINGS, first=50)["edges"]]
    times = [re.sub(r"T\d\d:\d\d", f"T{hour:02d}:{minute:02d}", start) for start in starts for hour in range(8, 17) for minute in (0, 30)]
    ids = {"id": [*found, "01UNKNOWN"]}
    return {**ids, "bookingId": ids["id"], "hostId": ids["id"]}, times


def of_our_own(judge: Judge, cases: int) -> None:
    """Valid queries and mutations with strange inputs, and documents that ask for too much."""
    chance = random.Random(SEED)
    ids, times = known(judge.server)
    mutations = Mutations(chance, ids["id"], times)
    for number in range(cases):
        email = chance.choice(PEOPLE)
        match number % 5:
            case 0 | 1:
                document, variables = Generator(random.Random(SEED + number), ids).query()
            case 2 | 3:
                document, variables = mutations.operation()
            case _:
                document, variables = hostile(chance), {}
        media = {"Accept": "application/graphql-response+json"} if chance.random() < 0.3 else {}
        judge.graphql(email, json.dumps({"query": document, "variables": variables}).encode(), **media)


def bodies(judge: Judge, cases: int) -> None:
    """What is no operation at all: other shapes of JSON, cut bodies, other encodings, other types."""
    chance = random.Random(SEED + 1)
    good = json.dumps({"query": "query Q($a: ID!) { booking(id: $a) { id } }", "variables": {"a": "x"}, "operationName": "Q"}).encode()
    types = [
        "application/json",
        "application/json; charset=utf-16",
        "text/plain",
        "application/graphql",
        "",
        "application/x-www-form-urlencoded",
    ]
    for _ in range(cases):
        body = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            match chance.randint(0, 3):
                case 0:
                    body[chance.randrange(len(body))] = chance.randrange(256)
                case 1:
                    del body[chance.randrange(len(body)) :]
                    body += b" "
                case 2:
                    place = chance.randrange(len(body))
                    body[place:place] = chance.choice(
                        [b"\\u0000", b"\\ud800", b"null", b"[", b"{", b"9" * 400, b"1e999", b"\x00", b"\xff", b"NaN"]
                    )
                case _:
                    body += chance.choice([b"{}", b"]", b"\n" * 50, good])
        judge.graphql(chance.choice(PEOPLE), bytes(body), **{"Content-Type": chance.choice(types[:1] * 6 + types)})


PARTS: tuple[tuple[str, Callable[[Judge, int], None]], ...] = (
    ("schemathesis over GraphQL", by_schemathesis),
    ("schemathesis over REST", rest_by_schemathesis),
    ("our own operations", of_our_own),
    ("bodies that are none", bodies),
)


def surprised(log: str) -> list[str]:
    """What the log tells of that nobody expected, by its cause."""
    return sorted({cause for line in log.splitlines() if line.startswith("{") and (cause := surprise(line))})


def run(server: FuzzedServer, operations: int, capsys: pytest.CaptureFixture[str]) -> Judge:
    judge = Judge(server, server.secrets())
    assert len(judge.secrets) > 5  # what is looked for is there
    # what every server makes once: caches, pools, the first page of everything
    of_our_own(judge, 50)
    judge.seen.clear()
    before = server.rss()
    for name, part in PARTS:
        part(judge, operations // len(PARTS))
        tell(capsys, f"{name}: {judge.seen['sent']} sent so far, {server.rss():.0f} MB")
    after = server.rss()
    judge.secrets |= server.secrets()
    log = server.logged()
    tell(
        capsys,
        f"memory before {before:.0f} MB, after {after:.0f} MB; slowest answer {judge.slowest:.2f} s; {dict(judge.seen.most_common(25))}",
    )
    assert not judge.wrong, "\n".join([judge.verdict(), *surprised(log)])
    assert not surprised(log), "\n".join(surprised(log))
    assert not [one[:6] for one in judge.secrets | server.uids() if one in log], "a secret in the log"
    assert after - before < MOST_GROWTH, (before, after)
    assert server.process.poll() is None
    return judge


def tell(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Past what pytest keeps for failures: the figures are wanted of a good run."""
    with capsys.disabled():
        sys.stdout.write(f"\n{line}")


@pytest.mark.long
def test_ten_thousand_fuzzed_operations(server: FuzzedServer, capsys: pytest.CaptureFixture[str]) -> None:
    judge = run(server, scaled(OPERATIONS), capsys)
    assert judge.seen["sent"] > 0.95 * scaled(OPERATIONS)
