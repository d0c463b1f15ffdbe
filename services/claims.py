"""Claiming work: one conditional statement, so that any number of replicas and threads may try.

Rows that can be claimed have `lease_owner`, `lease_until` and `attempts`. Attempts are counted at the claim: a row that
kills its process is counted too, and dies in the end.
"""

from datetime import datetime, timedelta
from typing import Any

from models import JobClaim
from models.base import BaseModel, is_sqlite, new_id
from services.runtime import Runtime

LEASE = timedelta(seconds=120)


def claim(rt: Runtime, model: type[BaseModel], due: Any, *, limit: int, lease: timedelta = LEASE) -> list[str]:
    """Ids of up to `limit` rows that are `due` and in nobody's hands, now in ours for `lease` (database time)."""
    now = rt.clock.database_now()
    inner = model.alias("candidate")
    free = inner.lease_until.is_null() | (inner.lease_until < now)
    candidates = inner.select(inner.id).where(due(inner) & free).order_by(inner.due_at, inner.id).limit(limit)
    if not is_sqlite():
        # without SKIP LOCKED *inside* the sub-select two workers claim the same row: the outer UPDATE does not recheck
        candidates = candidates.for_update("FOR UPDATE", skip_locked=True)
    rows = (
        model.update(lease_owner=rt.owner, lease_until=rt.clock.database_now(lease), attempts=model.attempts + 1)
        .where(model.id.in_(candidates))
        .returning(model.id)
    )
    return sorted(row[0] for row in list(rows.tuples().execute()))


def give_back(rt: Runtime, model: type[BaseModel], ids: list[str]) -> None:
    """What was claimed and not begun is anybody's again, and the attempt does not count."""
    model.update(lease_owner=None, lease_until=None, attempts=model.attempts - 1).where(
        model.id.in_(ids) & (model.lease_owner == rt.owner)
    ).execute()


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
