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
from models.base import UnsafeDatabaseError, check_settings, connect, db, is_sqlite, new_id
from models.migrate import DIRECTORY, migrate, pending

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
