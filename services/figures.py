"""What the database tells of the installation, for /metrics: backlogs, lags, broken links.

Each count stops at MOST, goes by an index as far as there is one, and reads no body: a backlog of millions must not be
made worse by looking at it. Where all rows of a table have to be looked at, it is done seldom (services/gauges.py).
"""

import os
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from peewee import SQL, Select, fn
from prometheus_client import Gauge

from models import AuditChain, AuditEntry, Delivery, JobClaim, LinkedAccount, Operation, ProviderHealth, RateBucket, WebhookEvent
from models.base import db, from_ms, is_sqlite
from models.migrate import pending
from services import audit_chain, deliveries, jobs, tokens, webhooks
from services.budgets import LITTLE
from services.linked_accounts import DOWN_FOR
from services.runtime import Runtime

MOST = 10_000
"""What is counted stops here; larger ones are told as this many."""
STATES = ("ACTIVE", "DEGRADED", "NEEDS_RECONNECT")


def look(rt: Runtime) -> bool:
    """What costs little at any size. False, and nothing but their number, where migrations are pending: tables may be missing."""
    missing = len(pending())
    rt.metrics.migrations_pending.set(missing)
    if missing:
        return False
    _webhooks(rt)
    _outbox(rt)
    _operations(rt)
    _jobs(rt)
    _providers(rt)
    _audit(rt)
    _database(rt)
    return True


def look_at_all(rt: Runtime) -> None:
    """What grows with the installation: all linked accounts, from their index alone; and what needs attention."""
    # written out, or SQLite would not see that the index is for this
    attention = (Operation.state == SQL("'NEEDS_ATTENTION'")) & Operation.attended_at.is_null()
    rt.metrics.operations_attention.set(Operation.select().where(attention).count())
    rows = LinkedAccount.select(LinkedAccount.provider, LinkedAccount.problem_code, fn.COUNT(LinkedAccount.id))
    found: Counter[tuple[str, str]] = Counter()
    for slug, code, number in rows.where(LinkedAccount.connected).group_by(LinkedAccount.provider, LinkedAccount.problem_code).tuples():
        found[slug, "ACTIVE" if code is None else "NEEDS_RECONNECT" if code in tokens.NEEDS_PERSON else "DEGRADED"] += number
    for slug in rt.providers:
        for state in STATES:
            rt.metrics.accounts.labels(slug, state).set(found[slug, state])


def _webhooks(rt: Runtime) -> None:
    m, now = rt.metrics, rt.clock.now()
    _queue(WebhookEvent, webhooks.WAITING, now, m.webhooks_waiting, m.webhooks_oldest, m.webhooks_overdue)
    m.webhooks_dead.set(_dead(WebhookEvent))


def _outbox(rt: Runtime) -> None:
    m, now = rt.metrics, rt.clock.now()
    _queue(Delivery, deliveries.WAITING, now, m.outbox_waiting, m.outbox_oldest, m.outbox_overdue)
    m.outbox_dead.set(_dead(Delivery))


def _queue(model: Any, states: Iterable[str], now: datetime, waiting: Gauge, oldest: Gauge, overdue: Gauge) -> None:
    """`oldest` is that of the MOST that are due first. It goes by `created_at`, which stands before the body in a row."""
    made, due = [], []
    for state in states:
        some = model.select(model.created_at, model.due_at).where(model.state == state).order_by(model.due_at).limit(MOST)
        number, first_made, first_due = _of(some, "created_at", "due_at")
        waiting.labels(state.lower()).set(number)
        if number:
            made.append(first_made)
            due.append(first_due)
    oldest.set(_since(min(made, default=None), now))
    overdue.set(_since(min(due, default=None), now))


def _dead(model: Any) -> int:
    return _number(model.select(model.id).where((model.state == "DEAD") & model.attended_at.is_null()).limit(MOST))


def _operations(rt: Runtime) -> None:
    number, first = _of(Operation.select(Operation.created_at).where(Operation.open).limit(MOST), "created_at")
    rt.metrics.operations_open.set(number)
    rt.metrics.operations_oldest.set(_since(first, rt.clock.now()))


def _jobs(rt: Runtime) -> None:
    """Kinds are told apart outside: asked for inside, SQLite goes through all work there is by the index of kinds."""
    now = rt.clock.now()
    free = JobClaim.lease_until.is_null() | (JobClaim.lease_until < rt.clock.database_now())
    due = JobClaim.select(JobClaim.kind, JobClaim.due_at).where((JobClaim.due_at <= now) & free)
    some = due.order_by(JobClaim.due_at).limit(MOST).alias("some")
    rows = Select([some], [some.c.kind, fn.COUNT(1), fn.MIN(some.c.due_at)]).group_by(some.c.kind).bind(db).tuples()
    found = {kind: (number, first) for kind, number, first in rows}
    for kind in jobs.WORK:
        number, first = found.get(kind, (0, None))
        rt.metrics.jobs_overdue.labels(kind).set(number)
        rt.metrics.jobs_lag.labels(kind).set(_since(first, now))


def _providers(rt: Runtime) -> None:
    now = rt.clock.now()
    # the word of a process that died with an open circuit is taken back by nobody
    lately = ProviderHealth.down_since.is_null(False) & (ProviderHealth.retry_at > now - DOWN_FOR)
    down = {row.provider: row.down_since for row in ProviderHealth.select().where(lately)}
    low: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    few = (RateBucket.remaining <= LITTLE) & (RateBucket.reset_at > now)
    for key, remaining in RateBucket.select(RateBucket.key, RateBucket.remaining).where(few).limit(MOST).tuples():
        slug = key.partition(":")[0]
        low[slug] += 1
        spent[slug] += remaining <= 0
    for slug in rt.providers:
        since = down.get(slug)
        rt.metrics.provider_down.labels(slug).set(0 if since is None else max((now - since).total_seconds(), 0))
        rt.metrics.budgets_low.labels(slug).set(low[slug])
        rt.metrics.budgets_spent.labels(slug).set(spent[slug])


def _audit(rt: Runtime) -> None:
    chain = AuditChain.get_or_none(AuditChain.id == audit_chain.ROW)
    rt.metrics.audit_seq.set(0 if chain is None else chain.seq)
    rt.metrics.audit_waiting.set(_number(AuditEntry.select(AuditEntry.id).where(AuditEntry.seq.is_null()).limit(MOST)))


def _database(rt: Runtime) -> None:
    if not is_sqlite():
        rt.metrics.database_bytes.set(db.execute_sql("SELECT pg_database_size(current_database())").fetchone()[0])
        return
    path = Path(db.obj.database)
    # the journal beside it grows as well, where nobody lets it be written back
    rt.metrics.database_bytes.set(sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()))
    disk = os.statvfs(path.parent)
    rt.metrics.disk_free.labels("sqlite").set(disk.f_bavail * disk.f_frsize)


def _of(some: Any, *columns: str) -> tuple[Any, ...]:
    """How many rows `some` finds, and the least of each column, as the database has it."""
    inner = some.alias("some")
    ((*found,),) = Select([inner], [fn.COUNT(1), *(fn.MIN(getattr(inner.c, name)) for name in columns)]).bind(db).tuples()
    return tuple(found)


def _number(some: Any) -> int:
    return int(_of(some)[0])


def _since(ms: int | None, now: datetime) -> float:
    """Seconds; 0 for what is still to come, or is not."""
    return 0.0 if ms is None else max((now - from_ms(ms)).total_seconds(), 0.0)
