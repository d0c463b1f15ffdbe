"""Migrations make exactly what the models say, on a fresh file, twice, and in four processes at once."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import World
from peewee import IntegrityError, SqliteDatabase

import models
from models.base import connect, db, new_id
from models.migrate import DIRECTORY, migrate, pending

ROOT = Path(__file__).parent.parent
Shape = dict[str, Any]


@pytest.fixture
def elsewhere(tmp_path: Path, database_url: str) -> Iterator[str]:
    """A fresh file that the models are bound to for one test."""
    db.close_all()
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    connect(url)
    yield url
    db.close_all()
    connect(database_url)


def affinity(kind: str) -> str:
    """SQLite's own rule for whole numbers; Peewee writes BIGINT and BOOLEAN as INTEGER there."""
    return "INTEGER" if "INT" in kind.upper() or kind.upper() == "BOOLEAN" else kind.upper()


def shape(path: Path) -> Shape:
    """Tables, columns (type, null-ness, key), foreign keys and indexes of a database file."""
    with closing(sqlite3.connect(path)) as connection:
        ask = connection.execute
        tables = [row[0] for row in ask("SELECT name FROM sqlite_master WHERE type = 'table'") if not row[0].startswith("sqlite_")]
        found = {}
        for table in (t for t in tables if t in {m._meta.table_name for m in models.ALL}):
            columns = {
                name: (affinity(kind), bool(needed), bool(key)) for _, name, kind, needed, _, key in ask(f'PRAGMA table_info("{table}")')
            }
            foreign = {(row[3], row[2], row[4], row[6]) for row in ask(f'PRAGMA foreign_key_list("{table}")')}
            indexes = set()
            for _, name, unique, origin, partial in ask(f'PRAGMA index_list("{table}")').fetchall():
                if origin == "pk":
                    continue
                named = tuple(row[2] for row in ask(f'PRAGMA index_info("{name}")'))
                sql = ask("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
                where = " ".join(sql.split(" WHERE ")[1].strip("()").split()).lower().replace('"', "") if partial else None
                indexes.add((named, bool(unique), where))
            found[table] = {"columns": columns, "foreign": foreign, "indexes": indexes}
        return found


def made_by_models(path: Path) -> Shape:
    database = SqliteDatabase(path)
    with database.bind_ctx(models.ALL, bind_refs=False, bind_backrefs=False):
        database.create_tables(models.ALL)
    database.close()
    return shape(path)


@pytest.mark.parametrize("table", [m._meta.table_name for m in models.ALL])
def test_migrations_make_what_the_models_say(table: str, elsewhere: str, tmp_path: Path) -> None:
    migrate()
    migrated, wanted = shape(tmp_path / "fresh.db"), made_by_models(tmp_path / "models.db")
    for part in ("columns", "foreign", "indexes"):
        assert migrated[table][part] == wanted[table][part], part


def test_every_model_has_a_table_and_every_table_a_model(elsewhere: str) -> None:
    migrate()
    kept = {t for t in db.get_tables() if "migration" not in t}
    assert kept == {m._meta.table_name for m in models.ALL}
    assert len(kept) == len(models.ALL)


def test_one_open_operation_and_one_meaning_per_key_are_the_databases_own_rules(elsewhere: str, tmp_path: Path) -> None:
    migrate()
    indexes = shape(tmp_path / "fresh.db")["operation"]["indexes"]
    assert (("booking_id",), True, "open") in indexes
    assert (("user_id", "mutation", "idempotency_key"), True, "idempotency_key is not null") in indexes


def test_running_twice_is_harmless(elsewhere: str) -> None:
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


def test_four_processes_at_once_all_succeed(tmp_path: Path) -> None:
    """On a fresh file: one of them applies, the others wait and find it done."""
    environment = {"CONVENE_DATABASE_URL": f"sqlite:///{tmp_path / 'together.db'}"}
    command = [sys.executable, str(ROOT / "scripts" / "migrate")]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0, 0], answers
    names = [p.stem for p in DIRECTORY.glob("[0-9]*.py")]
    applied = [line for out, _ in answers for line in out.splitlines() if line.startswith("applied ")]
    assert sorted(applied) == sorted(f"applied {name}" for name in names)
    assert set(shape(tmp_path / "together.db")) == {m._meta.table_name for m in models.ALL}


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
