"""What every table shares: the database handle, ids, time columns, transactions.

Time is stored as whole milliseconds since 1970-01-01T00:00Z in a BIGINT: it sorts and compares alike on SQLite and
PostgreSQL, and no driver or session time zone can bend it (docs/decisions/epoch-milliseconds.md).
"""

import json
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

import psycopg
from peewee import (
    SQL,
    BigIntegerField,
    CharField,
    Database,
    DatabaseProxy,
    Field,
    InterfaceError,
    InternalError,
    Model,
    ModelSelect,
    OperationalError,
    SqliteDatabase,
    TextField,
)
from playhouse.pool import MaxConnectionsExceeded
from ulid import ULID

from models import columns
from models.databases import Postgres, Sqlite

P = ParamSpec("P")
R = TypeVar("R")

db = DatabaseProxy()
Field.__sql__ = columns.write
ModelSelect.__sql_selection__ = columns.select
ModelSelect._get_model_cursor_wrapper = columns.rows  # noqa: SLF001
_now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731 - replaced by use_clock
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def new_id() -> str:
    """A fresh ULID: 26 characters that sort by creation time."""
    return str(ULID())


def use_clock(now: Callable[[], datetime]) -> None:
    """Let `created_at` and `updated_at` follow the clock that the services use."""
    global _now  # noqa: PLW0603 - the models are bound once per process, like their database
    _now = now


changed_at: ContextVar[Any] = ContextVar("changed_at", default=None)
"""What stands for the time of a change while a statement is written that will be made at other times (prepared.py)."""


def present() -> datetime:
    return _now()


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch. A naive time is a programming error and raises TypeError."""
    return (at - EPOCH) // MILLISECOND


def from_ms(value: int) -> datetime:
    return EPOCH + value * MILLISECOND


class UtcDateTime(BigIntegerField):
    """An aware UTC datetime in Python, epoch milliseconds in the database."""

    def db_value(self, value: Any) -> Any:
        return to_ms(value) if isinstance(value, datetime) else value

    def python_value(self, value: Any) -> datetime | None:
        return None if value is None else from_ms(int(value))


class JsonText(TextField):
    """JSON in a text column, so that both databases store it alike; never queried by content."""

    def db_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True)

    def python_value(self, value: str | None) -> Any:
        return None if value is None else json.loads(value)


class UlidField(CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=26, **kwargs)


class BaseModel(Model):
    """A row with a ULID and the times of its making and last change (UTC, by the services' clock)."""

    id = UlidField(primary_key=True, default=new_id)
    created_at = UtcDateTime(default=present)
    updated_at = UtcDateTime(default=present)

    class Meta:
        database = db
        legacy_table_names = False

    @classmethod
    def update(cls, *args: Any, **kwargs: Any) -> Any:
        """Every UPDATE moves `updated_at`, so no caller can forget it."""
        if not (args and isinstance(args[0], dict)):
            kwargs.setdefault("updated_at", changed_at.get() or present())
        return super().update(*args, **kwargs)


def connect(url: str, *, pool_size: int = 20, patience: float | None = None) -> Database:
    """Bind the models to the database behind `url` and return it.

    `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://user:password@host:port/name`.
    SQLite: WAL, synchronous FULL (a commit survives power loss), transactions begin IMMEDIATE (a deferred one that
    turns into a writer fails at once with "database is locked"). PostgreSQL: psycopg 3, READ COMMITTED, and nothing that
    lasts beyond a transaction, so that a pooler in transaction mode may stand between. Both: a bounded pool whose
    exhaustion waits ten seconds before it raises; `patience` is how many seconds a statement of PostgreSQL may take (servers
    set it; a migration may take long). Raises ValueError for any other address.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        path = Path(unquote(parts.path[1:]))
        path.parent.mkdir(parents=True, exist_ok=True)
        database: Database = Sqlite(str(path), pool_size)
    elif parts.scheme in {"postgres", "postgresql"} and parts.path.strip("/"):
        database = Postgres(parts._replace(scheme="postgresql").geturl(), pool_size, patience)
    else:
        raise ValueError("the database address must look like sqlite:///var/convene.db or postgresql://user@host/name")
    db.initialize(database)
    return database


def is_sqlite() -> bool:
    return isinstance(db.obj, SqliteDatabase)


class UnsafeDatabaseError(Exception):
    """The server is set so that what Convene promises would not hold; the message names each setting."""


SAFE_SETTINGS = {
    # the second statement of a transaction must see what was committed while it waited for its locks
    "transaction_isolation": {"read committed"},
    # what was acknowledged must survive a power loss
    "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
    "fsync": {"on"},
}
SAFE_PRAGMAS = {"journal_mode": {"wal"}, "synchronous": {"2"}}


def check_settings() -> None:
    """Raise UnsafeDatabaseError unless this connection locks and commits as Convene relies on it."""
    if is_sqlite():
        found = {name: str(db.execute_sql(f"PRAGMA {name}").fetchone()[0]) for name in SAFE_PRAGMAS}
        wanted = SAFE_PRAGMAS
    else:
        rows = db.execute_sql("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(SAFE_SETTINGS),)).fetchall()
        found, wanted = dict(rows), SAFE_SETTINGS
    wrong = [
        f"{name} is {value}, must be {' or '.join(sorted(wanted[name]))}"
        for name, value in sorted(found.items())
        if value not in wanted[name]
    ]
    if wrong:
        raise UnsafeDatabaseError(f"The database is not set as Convene needs it: {'; '.join(wrong)}.")


# those of the drivers come through where rows are fetched after Peewee's own wrapper has ended
DRIVERS = (sqlite3.OperationalError, psycopg.OperationalError, psycopg.InterfaceError)
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, MaxConnectionsExceeded, *DRIVERS)
"""What a statement raises when the database cannot be reached or cannot take it now."""
SQLITE_AWAY = ("locked", "busy", "full", "unable to open", "disk i/o", "readonly")


def is_away(error: BaseException | None) -> bool:
    """Whether the database is the trouble and not the statement: it passes, and nothing here is at fault."""
    if not isinstance(error, DATABASE_AWAY):
        return False
    if isinstance(error, MaxConnectionsExceeded):
        return True
    # SQLite calls a missing table an OperationalError as well
    return not is_sqlite() or any(word in str(error).lower() for word in SQLITE_AWAY)


RETRYABLE_SQLSTATES = {"40001", "40P01"}  # serialization failure, deadlock
TRIES = 10


def transactional(function: Callable[P, R]) -> Callable[P, R]:
    """Run the function in one transaction, and again (ten times at most) if the database made it a deadlock victim.

    The function may run more than once, so it does nothing that the database cannot take back: no HTTP, no signals.
    Inside another transaction it simply joins it.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if db.in_transaction():
            return function(*args, **kwargs)
        for attempt in range(TRIES):
            try:
                with _write_lock(), db.atomic():
                    return function(*args, **kwargs)
            except OperationalError as error:
                state = getattr(error.__cause__ or error.__context__, "sqlstate", None)
                if state not in RETRYABLE_SQLSTATES or attempt == TRIES - 1:
                    raise
                time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 4)))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    return run


@contextmanager
def _write_lock() -> Iterator[None]:
    lock = getattr(db.obj, "write_lock", None)
    if lock is None:
        yield
    else:
        with lock:
            yield


def release_connection() -> None:
    """Give this thread's connection back to the pool; called before every HTTP call.

    Raises RuntimeError inside a transaction: holding one across the network is the mistake this exists to catch.
    """
    if db.obj is None:
        return
    if db.in_transaction():
        raise RuntimeError("a provider was about to be called inside a database transaction")
    if not db.is_closed():
        db.close()


@contextmanager
def noted(what: str) -> Iterator[None]:
    """Around a statement that is only for the record: a database that is away must not cost what was just achieved."""
    try:
        yield
    except DATABASE_AWAY as error:
        logging.getLogger("database").error("%s could not be noted: %s", what, type(error).__name__)  # noqa: TRY400 - no statement
        release_connection()


def for_update(query: Any, *, skip_locked: bool = False) -> Any:
    """Add row locks on PostgreSQL; on SQLite the IMMEDIATE transaction already excludes every other writer.

    `FOR NO KEY UPDATE` conflicts with itself but does not block inserts that refer to the row.
    """
    if is_sqlite():
        return query
    return query.for_update("FOR NO KEY UPDATE", skip_locked=skip_locked)


def database_now(offset_ms: int = 0) -> Any:
    """SQL for the database's present time in epoch milliseconds, plus an offset that only tests use."""
    if is_sqlite():
        return SQL("(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) + ?)", [offset_ms])
    return SQL("((EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint + %s)", [offset_ms])
