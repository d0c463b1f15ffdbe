"""Claiming work: one conditional statement, so that any number of replicas and threads may try.

Rows that can be claimed have `lease_owner`, `lease_until` and `attempts`. A batch is claimed, then each row is begun:
beginning counts the attempt before anything is done, so a row that kills its process is counted and dies in the end,
and the rest of its batch is not. Rows with fewer attempts come first, so that such a row kills nobody else's turn.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from peewee import Case, Select, fn

from models import JobClaim
from models.base import BaseModel, is_sqlite, new_id, present, release_connection, to_ms
from models.prepared import Prepared
from services.errors import ProviderFailure
from services.runtime import Runtime, in_background

LEASE = timedelta(seconds=60)
"""How long a row that was begun is nobody else's, by the database's clock."""
TURN = timedelta(seconds=5)
"""How long a row is kept that is claimed and not begun: what waits behind a slow one is soon anybody's again."""

PATIENCE = 8.0
"""Seconds one waits for what somebody else does alone."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Batch:
    """Rows that one claim took, in the order in which to begin them.

    `owner` names this claim, not only its process: two threads of one process must not begin the same row either.
    """

    owner: str
    ids: list[str]

    def __len__(self) -> int:
        return len(self.ids)


class Queue:
    """A table as a queue: rows that are `due(row)`, whose time has come and that are in nobody's hands, the longest due first.

    With `by` and `most` in turns: whoever `by` tells apart has at most `most` rows in anybody's hands at a time, so neither
    a flood nor a slow provider behind one of them keeps the others waiting.
    """

    def __init__(
        self,
        model: type[BaseModel],
        due: Callable[[Any], Any],
        *,
        by: Callable[[Any], Any] | None = None,
        most: Callable[[Any], Any] | None = None,
    ) -> None:
        self.model, self._due, self._by, self._most = model, due, by, most
        self._statement = Prepared(self._take)

    def claim(self, rt: Runtime, *, limit: int) -> Batch:
        """Up to `limit` rows, now in ours for a TURN."""
        owner = f"{rt.owner}:{next(_numbers)}"
        present, until = rt.clock.database_now(), rt.clock.database_now(TURN)
        # in turns more than are wanted are looked at: others may be taking the first ones right now
        rows = self._statement(owner, until, to_ms(rt.clock.now()), present, limit, 10 * limit)
        return Batch(owner, [row[2] for row in sorted(rows)])

    def _take(self, owner: Any, until: Any, now: Any, present: Any, limit: Any, wide: Any) -> Any:
        model, row = self.model, self.model.alias("candidate")

        def waiting(row: Any) -> Any:
            return self._due(row) & (row.due_at <= now)

        def free(row: Any) -> Any:
            return row.lease_until.is_null() | (row.lease_until < present)

        query = row.select(row.id)
        before: tuple[Any, ...] = ()
        if self._by is None:
            query = query.where(waiting(row) & free(row)).order_by(row.due_at, row.id)
        else:
            query, before = self._in_turns(row, waiting, free, wide)
        query = query.limit(limit)
        if not is_sqlite():
            # without SKIP LOCKED *inside* the sub-select two workers claim the same row: the outer UPDATE does not recheck
            query = query.for_update("FOR UPDATE", of=row, skip_locked=True)
        # named, so that it is run once: as a plain sub-select a planner may run it again and again, and take more than its limit
        picked = query.cte("picked", columns=["id"])
        return (
            model.update(lease_owner=owner, lease_until=until)
            .with_cte(*before, picked)
            .where(model.id.in_(Select([picked], [picked.c.id])))
            .returning(model.attempts, model.due_at, model.id)
            .tuples()
        )

    def _in_turns(self, inner: Any, waiting: Callable[[Any], Any], free: Callable[[Any], Any], wide: Any) -> tuple[Any, tuple[Any, Any]]:
        """The ranking stands in expressions of its own, each run once, and hands on few rows.

        A planner that has never seen the table full must not join with it.
        """
        assert self._by is not None
        assert self._most is not None
        row = self.model.alias("waiting")
        idle = Case(None, [(free(row), 1)], 0)
        place = fn.ROW_NUMBER().over(
            partition_by=[self._by(row)],
            # what is in somebody's hands takes up places first
            order_by=[idle, row.due_at, row.id],
        )
        ranked = (
            row.select(row.id, row.due_at, idle.alias("free"), self._most(row).alias("most"), place.alias("place"))
            .where(waiting(row))
            .cte("ranked", materialized=True, columns=["id", "due_at", "free", "most", "place"])
        )
        turns = (
            Select([ranked], [ranked.c.id, ranked.c.place])
            .where((ranked.c.free == 1) & (ranked.c.place <= ranked.c.most))
            .order_by(ranked.c.place, ranked.c.due_at, ranked.c.id)
            .limit(wide)
            .cte("turns", materialized=True, columns=["id", "place"])
        )
        named = Select([turns], [turns.c.id])
        query = (
            inner.select(inner.id)
            .join(turns, on=(turns.c.id == inner.id))
            .where((inner.id.in_(named) if is_sqlite() else inner.id == fn.ANY(fn.ARRAY(named))) & waiting(inner) & free(inner))
            .order_by(turns.c.place, inner.due_at, inner.id)
        )
        return query, (ranked, turns)


def begin(rt: Runtime, model: Any, owner: str, row_id: str, *, lease: timedelta = LEASE) -> Any | None:
    """Count the attempt and hold the row for `lease`; the row, or None when its turn is over and it is anybody's again."""
    return _beginning(model).first(row_id, owner, rt.clock.database_now(), rt.clock.database_now(lease))


@cache
def _beginning(model: Any) -> Prepared:
    def make(row_id: Any, owner: Any, present: Any, until: Any) -> Any:
        mine = (model.id == row_id) & (model.lease_owner == owner) & (model.lease_until >= present)
        return model.update(attempts=model.attempts + 1, lease_until=until).where(mine).returning(model)

    return Prepared(make)


def held(model: Any, row: Any) -> Any:
    """The condition under which a row that was begun is still ours to end."""
    return (model.id == row.id) & (model.lease_owner == row.lease_owner) & (model.attempts == row.attempts)


def give_back(model: type[BaseModel], owner: str, ids: list[str]) -> None:
    """What was claimed and not begun is anybody's again."""
    model.update(lease_owner=None, lease_until=None).where(model.id.in_(ids) & (model.lease_owner == owner)).execute()


def work_off(rt: Runtime, model: type[BaseModel], batch: Batch, do: Callable[[Any], None], *, lease: timedelta = LEASE) -> None:
    """Begin and do one claimed row after the other; when the process stops, the rest is given back."""
    for done, row_id in enumerate(batch.ids):
        if rt.stopping.is_set():
            give_back(model, batch.owner, batch.ids[done:])
            return
        row = begin(rt, model, batch.owner, row_id, lease=lease)
        if row is not None:  # else somebody else has it by now, or it is gone
            marked = in_background.set(True)
            try:
                do(row)
            finally:
                in_background.reset(marked)


@dataclass
class Exclusive:
    """That nobody else is at this. `hold`: also for so long after we are done, because an outcome is not known."""

    hold: timedelta | None = None


@contextmanager
def exclusive(rt: Runtime, kind: str, key: str, *, lease: timedelta = LEASE) -> Iterator[Exclusive]:
    """One at a time, over all replicas: waits for whoever is at it. The lease ends what a dead process held.

    The row is no piece of work: its kind must not be one that jobs do. Raises ProviderFailure when the wait is too long.
    """
    owner, end = f"{rt.owner}:{next(_numbers)}", time.monotonic() + PATIENCE
    while not _taken(rt, kind, key, owner, lease):
        if time.monotonic() > end or rt.interrupted:
            soon = rt.clock.now() + timedelta(seconds=5)
            raise ProviderFailure("Somebody else is doing this right now. Try again in a moment.", code="IN_PROGRESS", retry_at=soon)
        release_connection()
        time.sleep(0.05)
    mine, turn = (JobClaim.kind == kind) & (JobClaim.key == key) & (JobClaim.lease_owner == owner), Exclusive()
    try:
        yield turn
    finally:
        if turn.hold is None:
            JobClaim.delete().where(mine).execute()
        else:
            JobClaim.update(lease_until=rt.clock.database_now(turn.hold)).where(mine).execute()


def _taken(rt: Runtime, kind: str, key: str, owner: str, lease: timedelta) -> bool:
    until = rt.clock.database_now(lease)
    insert = JobClaim.insert(id=new_id(), kind=kind, key=key, due_at=rt.clock.now(), lease_owner=owner, lease_until=until)
    rows = (
        insert.on_conflict(
            conflict_target=[JobClaim.kind, JobClaim.key],
            update={JobClaim.lease_owner: owner, JobClaim.lease_until: until},
            where=JobClaim.lease_until < rt.clock.database_now(),
        )
        .returning(JobClaim.id)
        .tuples()
        .execute()
    )
    return bool(list(rows))


def schedule(kind: str, key: str, due_at: datetime) -> None:
    """Make this piece of work due at `due_at`, or earlier if it already is; one row per (kind, key)."""
    list(_schedule(new_id(), to_ms(present()), kind, key, to_ms(due_at)))


@Prepared
def _schedule(row_id: Any, now: Any, kind: Any, key: Any, due_at: Any) -> Any:
    insert = JobClaim.insert(id=row_id, created_at=now, updated_at=now, kind=kind, key=key, due_at=due_at)
    return (
        insert.on_conflict(
            conflict_target=[JobClaim.kind, JobClaim.key],
            update={JobClaim.due_at: due_at},
            # a row that is being worked on was due before: it is to be done once more
            where=(JobClaim.due_at > due_at) | JobClaim.lease_owner.is_null(False),
        )
        .returning(JobClaim.id)
        .tuples()
    )


def unschedule(kind: str, key: str) -> None:
    JobClaim.delete().where((JobClaim.kind == kind) & (JobClaim.key == key)).execute()
