"""Bring the database to the schema of this code; safe when several processes start at once.

playhouse.migrations takes no lock of its own, so one is taken around it: an advisory lock on PostgreSQL, a lock file
beside the database on SQLite. PostgreSQL applies all that is pending in one transaction, which also holds the lock: a
process that is killed leaves nothing half done and nothing locked, and a pooler in transaction mode may stand between.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playhouse.migrations import Runner

from models.base import check_settings, db, is_sqlite

DIRECTORY = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x436F6E76656E65  # "Convene"


def migrate() -> list[str]:
    """Apply what is pending, in order; returns the names applied (an empty list when up to date).

    Raises UnsafeDatabaseError when the server is not set as Convene needs it.
    """
    # before the first connection: it switches SQLite to WAL, which fails at once beside somebody who writes
    with _file_lock(), db.connection_context():
        check_settings()
        with _advisory_lock():
            return list(_runner().up())


def pending() -> list[str]:
    """Names of migrations that this code has and the database does not."""
    return [m.name for m in _runner().status() if m.applied is None]


def _runner() -> Runner:
    return Runner(db.obj, str(DIRECTORY))


@contextmanager
def _file_lock() -> Iterator[None]:
    if not is_sqlite():
        yield
        return
    with Path(f"{db.obj.database}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _advisory_lock() -> Iterator[None]:
    if is_sqlite():
        yield
        return
    with db.atomic():
        db.execute_sql("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        yield
