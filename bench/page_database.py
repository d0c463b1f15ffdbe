"""The bookings page with the database: the real query through the real face, against its statements run raw."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app import Convene, create_app
from bench import databases, house, stored, wsgi
from bench.report import Result, at_most
from bench.rounds import Spread, ratio, side_by_side, spread, timed
from models import User
from models.base import db

BOOKINGS = 5000
QUERY = """query Page($first: Int!, $after: String, $filter: BookingFilter) { bookings(first: $first, after: $after, filter: $filter) {
  edges { cursor node { id version title status provider start end createdAt
    participants { name email role } eventType { id title durationMinutes } } }
  pageInfo { hasNextPage endCursor } } }"""
COACH = "coach@demo.test"
Statement = tuple[str, Any]


class Page:
    """The first page through the whole face, signed in, but for the socket."""

    def __init__(self, made: Convene) -> None:
        self._application = create_app(convene=made).wsgi_app
        self._headers = {"Authorization": f"Bearer {house.token(made, COACH)}"}
        # the first request makes the user
        self.call("{ viewer { id } }")()
        self.user = User.get()
        db.close()

    def call(self, query: str, **variables: Any) -> wsgi.Call:
        body = json.dumps({"query": query, "variables": variables}).encode()
        return wsgi.caller(self._application, "/graphql", body, self._headers)

    def of(self, first: int, **more: Any) -> wsgi.Call:
        return self.call(QUERY, first=first, **more)


def statements(call: Callable[[], object]) -> list[Statement]:
    """What it asks the database."""
    found: list[Statement] = []
    with _watched(found):
        call()
    return found


@contextmanager
def _watched(found: list[Statement]) -> Iterator[None]:
    def hook(event: Any) -> None:
        found.append((event.sql, event.params))

    db.obj.query_hooks.append(hook)
    try:
        yield
    finally:
        db.obj.query_hooks.remove(hook)


def raw(found: list[Statement]) -> Callable[[], object]:
    """The same statements on the driver's own connection, every row fetched and nothing made of it."""

    def run() -> None:
        connection = db.connection()
        for sql, params in found:
            connection.execute(sql, params or ()).fetchall()
        db.close()

    return run


def run(quick: bool) -> Result:
    result = Result()
    with databases.both("page") as urls:
        for kind, url in urls.items():
            with house.convene(house.environment(url)) as made:
                _measure(result, kind, Page(made), quick)
    result.notes.append(
        f"{BOOKINGS} bookings of one coach; a page of 50 with participants, event types, cursors and page info, signed in. "
        "`queries alone`: the statements of that very request on the driver's connection, rows fetched and thrown away."
    )
    return result


def _measure(result: Result, kind: str, page: Page, quick: bool) -> None:
    stored.fill(page.user.person_id, page.user.id, BOOKINGS)
    whole = page.of(50)
    assert len(json.loads(whole())["data"]["bookings"]["edges"]) == 50
    asked = statements(whole)
    subjects = {"page": whole, "queries": raw(asked), "signed in only": page.call("{ __typename }")}
    seconds = 0.3 if quick else 1.5
    times = side_by_side(3 if quick else 9, {name: timed(call, seconds) for name, call in subjects.items()})
    result.add(f"{kind}: page / its queries alone", ratio(times["page"], times["queries"]), at_most(2))
    for name, found in times.items():
        result.add(f"{kind}: {name}", spread([one * 1000 for one in found]), unit="ms")
    counts = {first: len(statements(page.of(first))) for first in (1, 100)}
    result.add(f"{kind}: more statements for 100 rows than for 1", _exactly(counts[100] - counts[1]), at_most(0, ""))
    result.add(f"{kind}: statements", _exactly(counts[100]), unit="")
    result.details[f"{kind} statements"] = [sql for sql, _ in asked]


def _exactly(value: float) -> Spread:
    return Spread(value, value, value)
