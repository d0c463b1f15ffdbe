"""The jobs: what runs by itself, in process, in any number of replicas at once.

Every job works on claimed rows, so a doubled tick is harmless and a killed replica's work is taken over when its lease
ends. Each can be run once from the command line (`scripts/job NAME`). The scheduler is started by gunicorn.conf.py and
never by the application factory: tests, migrations and exports have none.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from models import JobClaim, LinkedAccount, OAuthState, Operation, TokenRotation
from models.base import is_away, release_connection
from models.migrate import pending
from services import (
    atoms,
    audit_chain,
    availability,
    availability_cache,
    booking_sync,
    budgets,
    claims,
    completer,
    deliveries,
    erasure,
    event_types,
    key_rotation,
    linked_accounts,
    live,
    meeting_work,
    notifications,
    operations,
    origins,
    reminders,
    revocations,
    schedules,
    tokens,
    webhook_subscriptions,
    webhooks,
)
from services.budgets import Budgets
from services.errors import ConnectionUnusable, ConveneError, ProviderFailure, RateLimited
from services.logging import get_logger
from services.runtime import Runtime

log = get_logger("jobs")

BATCH = 5
OPERATIONS = claims.Queue(Operation, lambda row: row.open)
LEASE = timedelta(seconds=120)
"""Longer than for deliveries and operations: a first reading of many bookings takes its time."""
SYNC_EVERY = timedelta(minutes=5)
RECONCILE_EVERY = timedelta(hours=1)
EVENT_TYPES_EVERY = timedelta(minutes=30)
SCHEDULES_EVERY = timedelta(minutes=30)
WEBHOOKS_EVERY = timedelta(minutes=30)
"""The watchdog's period: a subscription that a provider switched off is back within it."""
WARM_EVERY = timedelta(minutes=4)
CLEAN_UP_EVERY = timedelta(hours=1)
LONGEST_BACKOFF = timedelta(hours=1)
BUSY_SECONDS = 0.1
"""So soon after a delivery the next one is expected."""
LONGEST_WAY = 0.5
"""Seconds for which a job gives way."""


def _sync(rt: Runtime, account_id: str) -> timedelta | None:
    """Incremental every few minutes; the first run lists the whole window."""
    account = LinkedAccount.get_or_none((LinkedAccount.id == account_id) & LinkedAccount.connected)
    if account is None:
        return None
    booking_sync.sync(rt, account_id, full=account.last_synced_at is None)
    return SYNC_EVERY


def _reconcile(rt: Runtime, account_id: str) -> timedelta | None:
    if not _connected(account_id):
        return None
    booking_sync.sync(rt, account_id, full=True)
    return RECONCILE_EVERY


def _event_types(rt: Runtime, account_id: str) -> timedelta | None:
    if not _connected(account_id):
        return None
    event_types.sync(rt, account_id)
    linked_accounts.read_profile(rt, account_id)
    return EVENT_TYPES_EVERY


def _webhooks(rt: Runtime, account_id: str) -> timedelta | None:
    if not _connected(account_id):
        return None
    webhook_subscriptions.ensure(rt, account_id)
    return WEBHOOKS_EVERY


def _warm(rt: Runtime, account_id: str) -> timedelta | None:
    if not _connected(account_id):
        return None
    availability.warm(rt, account_id)
    return WARM_EVERY


def _refresh(rt: Runtime, account_id: str) -> timedelta | None:
    return tokens.refresh_ahead(rt, account_id)


def _revoke(rt: Runtime, key: str) -> timedelta | None:
    revocations.work_off(rt, key)
    return None


def _reconnect(rt: Runtime, account_id: str) -> timedelta | None:
    notifications.about_broken_link(rt, account_id)
    return None


def _schedules(rt: Runtime, account_id: str) -> timedelta | None:
    if not _connected(account_id):
        return None
    schedules.sync(rt, account_id)
    return SCHEDULES_EVERY


def _scrub(rt: Runtime, key: str) -> timedelta | None:
    erasure.scrub(rt, key)
    return None


def _clean_up(rt: Runtime, _key: str) -> timedelta | None:
    now = rt.clock.now()
    OAuthState.delete().where(OAuthState.expires_at < now - timedelta(days=1)).execute()
    TokenRotation.delete().where((TokenRotation.state == "done") & (TokenRotation.updated_at < now - timedelta(days=7))).execute()
    availability_cache.clean_up(rt)
    atoms.clean_up(rt)
    webhooks.clean_up(rt)
    deliveries.clean_up(rt)
    operations.clean_up(rt)
    live.clean_up(rt)
    budgets.clean_up(rt.clock)
    audit_chain.trim(rt)
    linked_accounts.plan_missing_work(rt)
    return CLEAN_UP_EVERY


def _connected(account_id: str) -> bool:
    return tokens.connected.first(account_id) is not None


WORK: dict[str, Callable[[Runtime, str], timedelta | None]] = {
    "event_types": _event_types,
    "webhooks": _webhooks,
    "sync": _sync,
    "reconcile": _reconcile,
    "warm": _warm,
    "refresh": _refresh,
    "revoke": _revoke,
    "reconnect": _reconnect,
    "remind": reminders.remind,
    "schedules": _schedules,
    "booking": booking_sync.read_again,
    "meeting": meeting_work.settle,
    "sweep_meetings": meeting_work.sweep,
    "chain_audit": audit_chain.extend,
    "scrub": _scrub,
    "clean_up": _clean_up,
}
"""Work kept in `job_claim`: does one key's work and answers when it is due again (None: not by itself)."""


def run_work(rt: Runtime, kind: str | None = None, *, limit: int = BATCH) -> int:
    """Claim due work (of one kind, or any) and do it; answers how many pieces were claimed."""
    batch = _queue(kind).claim(rt, limit=limit)
    claims.work_off(rt, JobClaim, batch, lambda claim: _do(rt, claim), lease=LEASE)
    return len(batch)


@cache
def _queue(kind: str | None) -> claims.Queue:
    kinds = [kind] if kind else list(WORK)
    return claims.Queue(JobClaim, lambda row: row.kind.in_(kinds))


def _do(rt: Runtime, claim: JobClaim) -> None:
    result, error_code = "ok", None
    try:
        with origins.within(origins.job(claim.kind)):
            again = WORK[claim.kind](rt, claim.key)
    except ConnectionUnusable:
        # nothing to do until the person connects again, which schedules everything anew
        again, result = None, "unusable"
    except ConveneError as error:
        again, result, error_code = _backoff(rt, claim, error), "failed", error.code
        log.warning("job failed", job=claim.kind, key=claim.key, error_code=error.code)
    except Exception as error:
        if is_away(error):
            raise
        again, result, error_code = _backoff(rt, claim, error), "failed", type(error).__name__
        log.exception("job failed unexpectedly", job=claim.kind, key=claim.key)
        rt.metrics.errors.labels("jobs").inc()
    rt.metrics.job_runs.labels(claim.kind, result).inc()
    _finish(rt, claim, again, error_code)


def _finish(rt: Runtime, claim: JobClaim, again: timedelta | None, error_code: str | None) -> None:
    """Arrange the next run, unless somebody asked for an earlier one while this one ran."""
    mine = claims.held(JobClaim, claim)
    unchanged = mine & (JobClaim.due_at == claim.due_at)
    if again is None:
        if JobClaim.delete().where(unchanged).execute():
            return
    else:
        attempts = claim.attempts if error_code else 0
        due_at = rt.clock.now() + again
        if (
            JobClaim.update(due_at=due_at, lease_owner=None, lease_until=None, attempts=attempts, last_error=error_code)
            .where(unchanged)
            .execute()
        ):
            return
    JobClaim.update(lease_owner=None, lease_until=None, attempts=claim.attempts if error_code else 0).where(mine).execute()


def _backoff(rt: Runtime, claim: JobClaim, error: Exception) -> timedelta:
    if isinstance(error, (RateLimited, ProviderFailure)) and error.retry_at:
        return max(error.retry_at - rt.clock.now(), timedelta(seconds=1))
    return min(LONGEST_BACKOFF, timedelta(seconds=5 * 2 ** min(claim.attempts, 10)))


def settle_operations(rt: Runtime) -> int:
    """The completer: claim operations whose outcome is overdue and end them; answers how many were claimed."""
    batch = OPERATIONS.claim(rt, limit=BATCH)
    claims.work_off(rt, Operation, batch, lambda operation: _settle(rt, operation))
    return len(batch)


def _settle(rt: Runtime, operation: Operation) -> None:
    try:
        with origins.within(origins.job("settle_operations")):
            completer.complete(rt, operation)
        rt.metrics.job_runs.labels("operations", "ok").inc()
    except Exception as error:
        if is_away(error):
            raise
        log.exception("operation could not be settled", operation=operation.id)
        rt.metrics.job_runs.labels("operations", "failed").inc()
        completer.later(rt, operation)


JOBS: dict[str, Callable[[Runtime], int]] = {
    "apply_webhooks": webhooks.apply_due,
    "settle_operations": settle_operations,
    "send_mail": deliveries.send_due,
    **{kind: (lambda rt, kind=kind: run_work(rt, kind)) for kind in WORK},  # type: ignore[misc]
}
"""Every job by name, for the command line: claims what is due once and does it."""


def run_until_quiet(rt: Runtime, *, rounds: int = 2000) -> int:
    """Do all that is due now, and what becomes due by it, until nothing is; answers how many pieces were done."""
    done = 0
    for _ in range(rounds):
        step = webhooks.apply_due(rt) + settle_operations(rt) + run_work(rt) + deliveries.send_due(rt)
        if not step:
            break
        done += step
    return done


@dataclass(frozen=True)
class _Kind:
    """Threads that do one kind of work, and how often they look for it when nobody rings."""

    job: Callable[[Runtime], int]
    threads: int
    seconds: int


WORKERS = {
    # more than one, so that a provider that is slow for one account does not keep the others waiting
    "webhooks": _Kind(webhooks.apply_due, 3, 5),
    "work": _Kind(run_work, 3, 2),
    "operations": _Kind(settle_operations, 1, 5),
    "mail": _Kind(deliveries.send_due, 1, 2),
}
THREADS = sum(kind.threads for kind in WORKERS.values()) + 1
"""How many database connections the scheduler may use at a time."""


class Scheduler:
    """APScheduler in this process: it rings the workers' bells at intervals and beats the heart.

    A bell is rung at once when work comes in. It is an event that a worker clears before it looks, so that no ringing is
    lost while a worker is at it; the interval is for what other processes left, and for what becomes due.
    """

    def __init__(self, rt: Runtime, budgets: Budgets) -> None:
        self._rt, self._budgets = rt, budgets
        self._beat: float | None = None
        self._prepared = False
        self._bells: dict[str, list[threading.Event]] = {name: [threading.Event() for _ in range(k.threads)] for name, k in WORKERS.items()}
        self._threads: list[threading.Thread] = []
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2)},
            # the default grace silently drops a tick that is a second late
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for name, kind in WORKERS.items():
            self._scheduler.add_job(self._ring, "interval", seconds=kind.seconds, id=name, args=[name])
        self._scheduler.add_job(self._run, "interval", seconds=5, id="heartbeat", args=["heartbeat", self._tick])

    def _work(self, name: str, bell: threading.Event) -> None:
        """A worker's life: wait for the bell, then work as long as there is any."""
        while True:
            bell.wait()
            bell.clear()
            if self._rt.stopping.is_set():
                return
            self._run(name, WORKERS[name].job)

    def _run(self, name: str, job: Callable[[Runtime], int]) -> None:
        """As long as there is something to do; the thread's connection is given back after it."""
        try:
            while not self._rt.stopping.is_set():
                began = time.monotonic()
                if not job(self._rt):
                    break
                self._give_way(time.monotonic() - began)
        except Exception as error:
            if is_away(error):
                log.warning("the database is away", job=name, reason=type(error).__name__)
                return
            log.exception("tick failed", job=name)
            self._rt.metrics.errors.labels("scheduler").inc()
        finally:
            release_connection()

    def _give_way(self, took: float) -> None:
        """While deliveries come in, to take them in goes first: Python runs one thread at a time, and the senders wait."""
        if time.monotonic() - self._rt.taken_in_at < BUSY_SECONDS:
            self._rt.stopping.wait(min(2 * took, LONGEST_WAY))

    def _tick(self, _rt: Runtime) -> int:
        self._beat = time.monotonic()
        self._rt.metrics.scheduler_heartbeat.set_to_current_time()
        self._prepare()
        self._budgets.refresh()
        return 0

    def heartbeat_age(self) -> float | None:
        return None if self._beat is None else time.monotonic() - self._beat

    def _prepare(self) -> None:
        """What a start arranges in the database; at a later beat of the heart when that is away, or not migrated yet."""
        if self._prepared:
            return
        try:
            if pending():
                return
            key_rotation.note(self._rt.vault)
            now = self._rt.clock.now()
            claims.schedule("clean_up", "", now + CLEAN_UP_EVERY)
            claims.schedule("remind", "", now)
            claims.schedule("chain_audit", "", now)
            linked_accounts.plan_missing_work(self._rt)
            for account_id in webhook_subscriptions.moved(self._rt):
                claims.schedule("webhooks", account_id, now)
            self._prepared = True
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("the database is away", job="start", reason=type(error).__name__)
        finally:
            release_connection()

    def start(self) -> None:
        self._rt.wake = self._ring
        self._prepare()
        for name, bells in self._bells.items():
            for number, bell in enumerate(bells, 1):
                thread = threading.Thread(target=self._work, args=[name, bell], name=f"{name}-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._ring(name)
        self._scheduler.start()
        self._scheduler.modify_job("heartbeat", next_run_time=datetime.now(UTC))

    def _ring(self, name: str) -> None:
        for bell in self._bells[name]:
            bell.set()

    def stop(self) -> None:
        """Finish what is in hand and take nothing new."""
        self._rt.stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        for name in self._bells:
            self._ring(name)
        for thread in self._threads:
            thread.join()
        self._rt.live.stop()
