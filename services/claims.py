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
from typing import Any

from peewee import Case, Select, fn

from models import JobClaim
from models.base import BaseModel, is_sqlite, new_id, release_connection
from services.errors import ProviderFailure
from services.runtime import Runtime, in_background

LEASE = timedelta(seconds=60)
"""How long a row that was begun is nobody else's, by the database's clock."""
TURN = timedelta(seconds=5)
"""How long a row is kept that is claimed and not begun: what waits behind a slow one is soon anybody's again."""

PATIENCE = 8.0
"""Seconds one waits for what somebody else does alone."""

Due = Callable[[Any], Any]
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


def claim(rt: Runtime, model: type[BaseModel], due: Due, *, limit: int) -> Batch:
    """Up to `limit` rows that are `due` and in nobody's hands, the longest due first; now in ours for a TURN."""
    inner = model.alias("candidate")
    query = inner.select(inner.id).where(due(inner) & _free(rt, inner)).order_by(inner.due_at, inner.id).limit(limit)
    return _take(rt, model, inner, query)


def claim_in_turns(
    rt: Runtime, model: type[BaseModel], due: Due, *, by: Callable[[Any], Any], most: Callable[[Any], Any], limit: int
) -> Batch:
    """The same, in turns: whoever `by` tells apart has at most `most` rows in anybody's hands at a time.

    So neither a flood nor a slow provider behind one of them keeps the others waiting. The ranking stands in expressions
    of its own, each run once, and hands on few rows: a planner that has never seen the table full must not join with it.
    """
    row, inner = model.alias("waiting"), model.alias("candidate")
    free = Case(None, [(_free(rt, row), 1)], 0)
    place = fn.ROW_NUMBER().over(
        partition_by=[by(row)],
        # what is in somebody's hands takes up places first
        order_by=[free, row.due_at, row.id],
    )
    ranked = (
        row.select(row.id, row.due_at, free.alias("free"), most(row).alias("most"), place.alias("place"))
        .where(due(row))
        .cte("ranked", materialized=True, columns=["id", "due_at", "free", "most", "place"])
    )
    turns = (
        Select([ranked], [ranked.c.id, ranked.c.place])
        .where((ranked.c.free == 1) & (ranked.c.place <= ranked.c.most))
        .order_by(ranked.c.place, ranked.c.due_at, ranked.c.id)
        # more than are wanted: others may be taking the first ones right now
        .limit(10 * limit)
        .cte("turns", materialized=True, columns=["id", "place"])
    )
    named = Select([turns], [turns.c.id])
    query = (
        inner.select(inner.id)
        .join(turns, on=(turns.c.id == inner.id))
        .where((inner.id.in_(named) if is_sqlite() else inner.id == fn.ANY(fn.ARRAY(named))) & due(inner) & _free(rt, inner))
        .order_by(turns.c.place, inner.due_at, inner.id)
        .limit(limit)
    )
    return _take(rt, model, inner, query, ranked, turns)


def _free(rt: Runtime, row: Any) -> Any:
    return row.lease_until.is_null() | (row.lease_until < rt.clock.database_now())


def _take(rt: Runtime, model: Any, inner: Any, candidates: Any, *before: Any) -> Batch:
    if not is_sqlite():
        # without SKIP LOCKED *inside* the sub-select two workers claim the same row: the outer UPDATE does not recheck
        candidates = candidates.for_update("FOR UPDATE", of=inner, skip_locked=True)
    # named, so that it is run once: as a plain sub-select a planner may run it again and again, and take more than its limit
    picked = candidates.cte("picked", columns=["id"])
    owner = f"{rt.owner}:{next(_numbers)}"
    rows = (
        model.update(lease_owner=owner, lease_until=rt.clock.database_now(TURN))
        .with_cte(*before, picked)
        .where(model.id.in_(Select([picked], [picked.c.id])))
        .returning(model.attempts, model.due_at, model.id)
    )
    return Batch(owner, [row[2] for row in sorted(rows.tuples().execute())])


def begin(rt: Runtime, model: Any, owner: str, row_id: str, *, lease: timedelta = LEASE) -> Any | None:
    """Count the attempt and hold the row for `lease`; the row, or None when its turn is over and it is anybody's again."""
    mine = (model.id == row_id) & (model.lease_owner == owner) & (model.lease_until >= rt.clock.database_now())
    begun = model.update(attempts=model.attempts + 1, lease_until=rt.clock.database_now(lease)).where(mine).execute()
    return model.get_or_none(model.id == row_id) if begun else None


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
    insert = JobClaim.insert(id=new_id(), kind=kind, key=key, due_at=due_at)
    list(
        insert.on_conflict(
            conflict_target=[JobClaim.kind, JobClaim.key],
            update={JobClaim.due_at: due_at},
            # a row that is being worked on was due before: it is to be done once more
            where=(JobClaim.due_at > due_at) | JobClaim.lease_owner.is_null(False),
        )
        .returning(JobClaim.id)
        .tuples()
        .execute()
    )


def unschedule(kind: str, key: str) -> None:
    JobClaim.delete().where((JobClaim.kind == kind) & (JobClaim.key == key)).execute()
