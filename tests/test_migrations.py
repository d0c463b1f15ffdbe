"""Migrations make exactly what the models say, on a fresh database, twice, and in four processes at once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness import World
from peewee import IntegrityError

import models
from models.base import UnsafeDatabaseError, check_settings, connect, db, is_sqlite, new_id, to_ms
from models.migrate import DIRECTORY, _runner, migrate, pending

ROOT = Path(__file__).parent.parent
Shape = dict[str, Any]


def kind_of(declared: str) -> str:
    """SQLite's own rule for whole numbers: Peewee writes BIGINT and BOOLEAN as INTEGER there."""
    kind = declared.upper()
    return "INTEGER" if is_sqlite() and ("INT" in kind or kind == "BOOLEAN") else kind


def shape() -> Shape:
    """Tables, columns (type, null-ness, key), foreign keys and indexes of the bound database."""
    found = {}
    with db.connection_context():
        for table in (t for t in db.get_tables() if t in {m._meta.table_name for m in models.ALL}):
            columns = {c.name: (kind_of(c.data_type), c.null, c.primary_key) for c in db.get_columns(table)}
            foreign = {(key.column, key.dest_table, key.dest_column, deletes(table, key.column)) for key in db.get_foreign_keys(table)}
            indexes = set()
            for index in db.get_indexes(table):
                # the key's own index is named by the database
                if index.sql and not index.name.endswith("_pkey"):
                    _, _, where = index.sql.partition(" WHERE ")
                    indexes.add((tuple(index.columns), bool(index.unique), " ".join(where.split()).strip("()").lower().replace('"', "")))
            found[table] = {"columns": columns, "foreign": foreign, "indexes": indexes}
    return found


def deletes(table: str, column: str) -> str:
    """What happens to a row when the one it refers to is deleted."""
    if is_sqlite():
        return next(str(row[6]) for row in db.execute_sql(f'PRAGMA foreign_key_list("{table}")').fetchall() if row[3] == column)
    rows = db.execute_sql(
        "SELECT confdeltype FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
        "WHERE c.contype = 'f' AND c.conrelid = %s::regclass AND a.attname = %s",
        (f'"{table}"', column),
    ).fetchall()
    return str(rows[0][0])


@pytest.fixture
def made_by_models(fresh_database: str, new_database: Callable[[], str]) -> Shape:
    connect(new_database())
    with db.connection_context():
        db.create_tables(models.ALL)
    found = shape()
    db.close_all()
    connect(fresh_database)
    return found


def test_migrations_make_what_the_models_say(made_by_models: Shape) -> None:
    migrate()
    migrated = shape()
    assert set(migrated) == {m._meta.table_name for m in models.ALL}
    assert len(migrated["linked_account"]["columns"]) > 20
    for table, wanted in made_by_models.items():
        for part in ("columns", "foreign", "indexes"):
            assert migrated[table][part] == wanted[part], (table, part)


def test_every_model_has_a_table_and_every_table_a_model(fresh_database: str) -> None:
    migrate()
    with db.connection_context():
        kept = {t for t in db.get_tables() if "migration" not in t}
    assert kept == {m._meta.table_name for m in models.ALL}
    assert len(kept) == len(models.ALL)


def test_one_open_operation_and_one_meaning_per_key_are_the_databases_own_rules(fresh_database: str) -> None:
    migrate()
    indexes = shape()["operation"]["indexes"]
    assert (("booking_id",), True, "open") in indexes
    assert (("user_id", "mutation", "idempotency_key"), True, "idempotency_key is not null") in indexes


def test_changes_under_way_keep_their_holds_and_history_its_operations(fresh_database: str) -> None:
    """0004 makes the table of operations anew on SQLite; nothing that refers to it may be lost."""
    names = sorted(p.stem for p in DIRECTORY.glob("[0-9]*.py"))
    with db.connection_context():
        list(_runner().up(names[2]))
        _rows_of_before()
    migrate()
    with db.connection_context():
        (open_, done) = models.Operation.select().order_by(models.Operation.id)
        assert (open_.open, open_.from_external_id, open_.checked, open_.attended_at) == (True, "uid-1", [], None)
        assert (done.state, done.outcome) == ("COMPLETED", {"type": "changed"})
        held = models.Hold.select(models.Hold.operation, models.Hold.person, models.Hold.start, models.Hold.end)
        taken = {(row.operation_id, row.person_id, to_ms(row.start), to_ms(row.end)) for row in held}
        assert taken == {(open_.id, "P1".rjust(26, "0"), 3000, 4000), (open_.id, "P2".rjust(26, "0"), 3000, 4000)}
        (change,) = models.BookingChange.select()
        assert change.operation_id == done.id
        with pytest.raises(IntegrityError):
            models.Operation.create(actor=open_.actor_id, booking=open_.booking_id, kind="MOVED", mutation="m", input_hash="h")


def _rows_of_before() -> None:
    """Two people and a booking of theirs that was cancelled once and is being moved, as they were kept before 0004."""
    at = '"created_at", "updated_at"'

    def row(table: str, columns: str, *values: object) -> None:
        marks = ", ".join(["%s" if not is_sqlite() else "?"] * (len(values) + 2))
        names = f'"id", {at}' + (f", {columns}" if columns else "")
        db.execute_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", (values[0], 1, 1, *values[1:]))

    def key(name: str) -> str:
        return name.rjust(26, "0")

    for person in ("P1", "P2"):
        row("person", "name", key(person), person)
    columns = 'provider, external_id, version, title, status, start, "end", is_group, remote_updated_at, has_conference'
    row("booking", columns, key("B"), "calcom", "uid-1", 1, "Session", "CONFIRMED", 1000, 2000, False, 1, False)
    for name, person, role in (("X1", "P1", "COACH"), ("X2", "P2", "MENTEE")):
        row("participant", "booking_id, person_id, role, name, no_show", key(name), key("B"), key(person), role, "", False)
    columns = "actor_id, booking_id, kind, state, phase, open, mutation, input_hash, from_external_id, hold_start, hold_end, warnings, outcome, attempts"
    row(
        "operation",
        columns,
        key("O1"),
        key("P1"),
        key("B"),
        "MOVED",
        "IN_PROGRESS",
        "sent",
        True,
        "m",
        "h",
        "uid-1",
        3000,
        4000,
        "[]",
        None,
        0,
    )
    done = ("CANCELLED", "COMPLETED", "settled", False, "m", "h", "uid-0", None, None, "[]", '{"type": "changed"}', 0)
    row("operation", columns, key("O2"), key("P1"), key("B"), *done)
    columns = "booking_id, logical_key, kind, at, source, operation_id"
    row("booking_change", columns, key("C"), key("B"), "k", "CANCELLED", 1, "CONVENE", key("O2"))


def test_running_twice_is_harmless(fresh_database: str) -> None:
    names = sorted(p.stem for p in DIRECTORY.glob("[0-9]*.py"))
    with db.connection_context():
        assert sorted(pending()) == names
    assert sorted(migrate()) == names
    with db.connection_context():
        models.Person.create(name="Clara")
    assert migrate() == []
    with db.connection_context():
        assert pending() == []
        assert [p.name for p in models.Person.select()] == ["Clara"]


def test_four_processes_at_once_all_succeed(fresh_database: str, tmp_path: Path) -> None:
    """On a fresh database: one of them applies, the others wait and find it done."""
    command = [sys.executable, str(ROOT / "scripts" / "migrate")]
    environment = {"CONVENE_DATABASE_URL": fresh_database}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0, 0], answers
    names = [p.stem for p in DIRECTORY.glob("[0-9]*.py")]
    applied = [line for out, _ in answers for line in out.splitlines() if line.startswith("applied ")]
    assert sorted(applied) == sorted(f"applied {name}" for name in names)
    assert set(shape()) == {m._meta.table_name for m in models.ALL}


# ---- settings of the server ----------------------------------------------------------------------------------------------


def test_an_isolation_that_lets_overlaps_through_is_refused(fresh_database: str) -> None:
    if is_sqlite():
        with db.connection_context():
            db.execute_sql("PRAGMA synchronous = NORMAL")
            with pytest.raises(UnsafeDatabaseError, match="synchronous is 1, must be 2"):
                check_settings()
        return
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation TO "repeatable read"')
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit TO off')
    with pytest.raises(UnsafeDatabaseError) as refused:
        migrate()
    assert "transaction_isolation is repeatable read, must be read committed" in str(refused.value)
    assert "synchronous_commit is off" in str(refused.value)
    with db.connection_context():
        assert db.get_tables() == [], "nothing was migrated"


def test_connections_keep_nothing_of_a_session(world: World) -> None:
    """A pooler in transaction mode gives every transaction another session."""
    with db.connection_context():
        check_settings()
        if not is_sqlite():
            assert db.connection().prepare_threshold is None
            for _ in range(7):
                models.User.select().count()
            assert db.execute_sql("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] == 0


def test_a_database_address_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "migrate")],
        env={"CONVENE_DATABASE_URL": "mysql://nowhere"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("CONVENE_DATABASE_URL: the database address must look like")
    assert "Traceback" not in run.stderr


def test_foreign_keys_are_enforced(world: World) -> None:
    with db.connection_context():
        before = models.Notification.select().count()
        with pytest.raises(IntegrityError):
            models.Notification.create(person=new_id(), logical_key="k", kind="BOOKED", title="t", body="b")
        assert models.Notification.select().count() == before
