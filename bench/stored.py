"""A database with so many bookings of one coach, written in bulk."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from models import Booking, EventType, LinkedAccount, Participant, Person
from models.base import BaseModel, db, is_sqlite, present, to_ms

KINDS, MENTEES = 5, 500
EVERY = timedelta(minutes=45)
START = datetime(2020, 1, 1, tzinfo=UTC)
CHUNK = 10_000
Row = tuple[Any, ...]


def fill(viewer_person: str, viewer_user: str, bookings: int, *, already: int = 0) -> None:
    """The coach's bookings number `already` up to `bookings`; each has two participants and an event type."""
    if not already:
        _coach(viewer_person, viewer_user)
    for first in range(already, bookings, CHUNK):
        numbers = range(first, min(first + CHUNK, bookings))
        _insert(Booking, [_booking(number) for number in numbers])
        _insert(Participant, [row for number in numbers for row in _participants(number, viewer_person)])
    db.execute_sql("ANALYZE")
    db.close()


def _coach(person: str, user: str) -> None:
    account = LinkedAccount.insert(id=_id("A", 0), user=user, provider="calcom", linked_at=present(), external_id="1", name="Clara")
    account.execute()
    people = [{"id": _id("P", n), "name": f"Mentee {n}"} for n in range(MENTEES)]
    Person.insert_many(people).execute()
    kinds = [
        {
            "id": _id("E", n),
            "linked_account": _id("A", 0),
            "host": person,
            "provider": "calcom",
            "external_id": str(n),
            "title": f"Session of kind {n}",
            "duration_minutes": 30,
        }
        for n in range(KINDS)
    ]
    EventType.insert_many(kinds).execute()


def _id(kind: str, number: int) -> str:
    return f"01KBENCH{kind}{number:017d}"


def _booking(number: int) -> dict[str, Any]:
    start = to_ms(START + number * EVERY)
    return {
        "id": _id("B", number),
        "provider": "calcom",
        "external_id": f"uid-{number}",
        "linked_account_id": _id("A", 0),
        "event_type_id": _id("E", number % KINDS),
        "event_type_external_id": str(number % KINDS),
        "title": f"Coaching session {number} between Clara Coach and Mentee {number % MENTEES}",
        "status": "CONFIRMED",
        "start": start,
        "end": start + 30 * 60_000,
        "remote_updated_at": start,
    }


def _participants(number: int, coach: str) -> Iterator[dict[str, Any]]:
    mentee = number % MENTEES
    coachs = {"person_id": coach, "role": "COACH", "name": "Clara Coach", "email": "clara.coach@example.test"}
    mentees = {"person_id": _id("P", mentee), "role": "MENTEE", "name": f"Mentee {mentee}", "email": f"mentee{mentee}@example.test"}
    for place, who in enumerate((coachs, mentees)):
        yield {"id": _id("C", 2 * number + place), "booking_id": _id("B", number), **who}


def _insert(model: type[BaseModel], rows: Sequence[dict[str, Any]]) -> None:
    """With every column of the model, so that its defaults stand; by COPY on PostgreSQL."""
    fixed, now = _defaults(model), to_ms(present())
    columns = [field.column_name for field in model._meta.sorted_fields]
    values: Iterator[Row] = (tuple({**fixed, "created_at": now, "updated_at": now, **row}[c] for c in columns) for row in rows)
    table, names = f'"{model._meta.table_name}"', ", ".join(f'"{column}"' for column in columns)
    connection = db.connection()
    if is_sqlite():
        with db.atomic():
            connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", values)
        return
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in values:
            copy.write_row(row)
    connection.commit()


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    return {
        field.column_name: None if field.default is None else field.db_value(field.default() if callable(field.default) else field.default)
        for field in model._meta.sorted_fields
    }
