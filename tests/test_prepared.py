"""Statements that are written once take other values each time, and answer what they would answer if written anew."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from harness import MONDAY, World

from models import JobClaim, Person
from models.base import connect, db, new_id, to_ms
from models.migrate import migrate
from models.prepared import Prepared, among
from services.clock import SystemClock

BY_TIME = Prepared(lambda moment: JobClaim.select().where(JobClaim.due_at >= moment).order_by(JobClaim.key))
AMONG = Prepared(
    lambda keys, most: JobClaim.select(JobClaim.key).where(among(JobClaim.key, keys)).order_by(JobClaim.key).limit(most).tuples()
)
CHANGE = Prepared(lambda key, due_at: JobClaim.update(due_at=due_at, last_error=None).where(JobClaim.key == key))
UNTIL = Prepared(lambda there: JobClaim.select().where(JobClaim.due_at < there).order_by(JobClaim.key))
GONE = Prepared(lambda key: JobClaim.delete().where(JobClaim.key == key))


@pytest.fixture
def claims(world: World) -> None:
    for number, key in enumerate("abc"):
        JobClaim.create(kind="sync", key=key, due_at=MONDAY + timedelta(hours=number))


def keys(rows: Any) -> list[str]:
    return [row.key for row in rows]


def test_a_value_is_compared_as_its_column_stores_it(claims: None) -> None:
    assert [keys(BY_TIME(MONDAY + timedelta(hours=hours))) for hours in (2, 0, 1, 3)] == [["c"], ["a", "b", "c"], ["b", "c"], []]
    assert BY_TIME.first(MONDAY).due_at == MONDAY
    assert BY_TIME.first(MONDAY + timedelta(days=1)) is None
    assert BY_TIME.first(None) is None
    assert CHANGE(None, 0) == 0, "nothing equals None"


@pytest.mark.parametrize(("wanted", "found"), [([], []), (["b"], ["b"]), (("c", "a", "x", "'"), ["a", "c"]), ([*"abc"] * 500, [*"abc"])])
def test_a_list_of_any_length_is_one_parameter(claims: None, wanted: Any, found: list[str]) -> None:
    assert [row[0] for row in AMONG(wanted, 10)] == found
    assert [row[0] for row in AMONG(wanted, 1)] == found[:1]


def test_a_change_tells_when_it_was_made_each_time(world: World, claims: None) -> None:
    for hours in (1, 2):
        world.move_clock(hours=1)
        assert CHANGE("a", to_ms(MONDAY)) == 1
        row = JobClaim.get(JobClaim.key == "a")
        assert (row.due_at, row.updated_at, row.created_at) == (MONDAY, MONDAY + timedelta(hours=hours), MONDAY)
    assert CHANGE("nobody", 0) == 0
    assert (GONE("a"), GONE("a")) == (1, 0)


def test_the_databases_time_is_part_of_the_text_and_its_offset_a_value(world: World, claims: None) -> None:
    assert [keys(UNTIL(world.clock.database_now(timedelta(hours=hours)))) for hours in (0, 1, 5)] == [[], ["a"], ["a", "b", "c"]]
    # the system's clock: SQL of the database instead of a value

    passed = JobClaim.create(kind="sync", key="z", due_at=SystemClock().now() - timedelta(minutes=1))
    there = [SystemClock().database_now(timedelta(minutes=minutes)) for minutes in (0, -5)]
    assert [passed.key in keys(UNTIL(one)) for one in there] == [True, False]


def test_what_is_made_anew_for_each_row_must_be_given() -> None:
    """An id that stood in the text would be the same for every row."""
    make: Callable[..., Any] = lambda name: Person.insert(name=name)  # noqa: E731
    with pytest.raises(AssertionError, match="given with each call"):
        Prepared(make)("Clara")


def test_another_database_in_the_same_process_has_a_text_of_its_own(database_url: str, tmp_path: Any) -> None:
    insert = Prepared(lambda row_id, now, name: Person.insert(id=row_id, created_at=now, updated_at=now, name=name))
    for url in (database_url, f"sqlite:///{tmp_path}/other.db"):
        connect(url)
        migrate()
        row_id = new_id()
        insert(row_id, 7, "Clara")
        assert Person.get_by_id(row_id).name == "Clara"
        assert [row[0] for row in AMONG(["nobody"], 1)] == []
        Person.delete().where(Person.id == row_id).execute()
        db.close_all()
    connect(database_url)
