"""The two databases as Peewee drives them: their pools, and how long anybody waits for what."""

import select
import threading
import time
from typing import Any

import psycopg
from peewee import Psycopg3Adapter
from playhouse.pool import PooledSqliteDatabase
from playhouse.postgres_ext import PooledPsycopg3Database

WAIT_FOR_POOL = 10
"""Seconds to wait for a connection of the pool."""
CONNECT_SECONDS = 5
SLOW_SECONDS = 1.0
"""A connect that failed so slowly lets the next ones fail at once for as long: they come one after the other, and each would wait anew."""


class Sqlite(PooledSqliteDatabase):
    """SQLite whose writers, transactions and single statements, queue on one lock per process.

    SQLite's own busy handler sleeps and retries; threads behind one lock commit 2.5 times as much.
    """

    WRITING = ("INSERT", "UPDATE", "DELETE", "WITH")

    def __init__(self, path: str, pool_size: int) -> None:
        super().__init__(
            path,
            # PooledDatabase takes `timeout` for its own waiting, so SQLite's busy time-out is the pragma
            max_connections=pool_size,
            timeout=WAIT_FOR_POOL,
            lock_type="IMMEDIATE",
            # a pooled connection serves one thread after another, never two at once
            check_same_thread=False,
            pragmas=[("journal_mode", "wal"), ("synchronous", "full"), ("foreign_keys", 1), ("busy_timeout", 30_000)],
        )
        self.write_lock = threading.RLock()
        # SQLite's own LOWER knows ASCII only
        self.register_function(lambda text: text.lower() if isinstance(text, str) else text, "lower", 1)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        if sql.startswith(self.WRITING):
            with self.write_lock:
                return super().execute_sql(sql, params)
        return super().execute_sql(sql, params)

    def rollback(self) -> Any:
        # a full disk ends the transaction by itself, and an error about that would hide the one that matters
        return super().rollback() if self.connection().in_transaction else None


class Postgres(PooledPsycopg3Database):
    """PostgreSQL through psycopg 3. `patience`: seconds that one statement may take, None for ever.

    A server that has vanished without a word answers nothing: TCP gives up after fifteen seconds, `patience` ends what
    TCP cannot see. An idle connection is not tried out before it is used, which would cost each request a round trip, and
    all of them the pool's lock while a dead one is waited for: a server that ends a connection says so, and that is seen.
    """

    def __init__(self, address: str, pool_size: int, patience: float | None) -> None:
        super().__init__(
            # the whole address goes to libpq, with whatever it says of sslmode and sockets
            address,
            max_connections=pool_size,
            timeout=WAIT_FOR_POOL,
            connect_timeout=CONNECT_SECONDS,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=2,
            tcp_user_timeout=15_000,
            # a prepared statement belongs to a session, and a pooler gives each transaction another one
            prepare_threshold=None,
        )
        self._adapter = _Adapter(patience)

    def _is_closed(self, conn: Any) -> bool:
        if conn.closed:
            return True
        poll = select.poll()
        poll.register(conn.fileno(), select.POLLIN)
        return bool(poll.poll(0))


class _Adapter(Psycopg3Adapter):
    def __init__(self, patience: float | None) -> None:
        super().__init__()
        self._kind: type[_Connection] = type("Connection", (_Connection,), {"patience": patience})
        self._away_until = float("-inf")

    def connect(self, db: Any, **params: Any) -> Any:
        """Called under the pool's lock."""
        if time.monotonic() < self._away_until:
            raise psycopg.OperationalError("the database could not be reached a moment ago")
        began = time.monotonic()
        try:
            return self._kind.connect(db.database, client_encoding="utf-8", **params)
        except psycopg.OperationalError:
            ended = time.monotonic()
            if ended - began > SLOW_SECONDS:
                self._away_until = ended + SLOW_SECONDS
            raise


class _Connection(psycopg.Connection[Any]):
    patience: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - an OperationalError, which has no other name
            # what comes back for this statement would be taken for the next one's
            self.close()
            raise
