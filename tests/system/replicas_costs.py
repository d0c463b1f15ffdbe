"""What one piece of work costs: `.venv/bin/python tests/system/replicas_costs.py` prints the figures of docs/scaling.md.

CPU is that of the thread that does the work; the sandbox and PostgreSQL have threads and processes of their own, so the
machine may be busy. Claims per second are wall time and want a quiet one.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]
os.environ.setdefault("CONVENE_TESTS_FOLDER", tempfile.mkdtemp(prefix="convene-costs-", dir="/dev/shm"))

from harness import BOOKINGS, Caller, Issuer, World, at  # noqa: E402 - the paths come first
from postgres import Postgres  # noqa: E402
from replicas import FleetWorld, fleet_world_on  # noqa: E402

from models import ALL, JobClaim, LinkedAccount  # noqa: E402
from models.base import connect, db, new_id, release_connection, to_ms  # noqa: E402
from models.migrate import migrate  # noqa: E402
from sandbox.app import Sandbox  # noqa: E402
from services import claims, jobs, tokens  # noqa: E402

BOOKED = 30
TIMES = 20
KINDS = ("sync", "reconcile", "warm", "event_types", "schedules", "webhooks")
CLAIMED = 2000
WAITING = 200_000
BUSY = ("booking", "participant", "booking_change", "notification", "webhook_event", "operation", "audit_entry", "token_rotation")


def say(what: str, *figures: object) -> None:
    sys.stdout.write(f"{what:44} {' '.join(f'{figure:>14}' for figure in figures)}\n")
    sys.stdout.flush()


def cost(world: World, do: Callable[[], Any]) -> tuple[str, str]:
    """CPU of one time in milliseconds, and calls to the provider."""
    do()
    before, calls = time.thread_time(), len(world.sandbox.requests)
    for _ in range(TIMES):
        do()
        release_connection()
    return f"{(time.thread_time() - before) / TIMES * 1000:.1f} ms", f"{(len(world.sandbox.requests) - calls) / TIMES:.1f} calls"


def pieces(world: World, clara: Caller) -> None:
    account = LinkedAccount.get()
    for kind in KINDS:

        def once(kind: str = kind) -> None:
            world.move_clock(seconds=300)
            jobs.WORK[kind](world.rt, account.id)

        say(f"job {kind}, {BOOKED} bookings", *cost(world, once))
    say("exchange of a token", *cost(world, lambda: tokens.refresh(world.rt, account.id, force=True)))
    for number in range(TIMES):
        world.book(clara, at(8 + number, 9), name=f"Uta{number}", force=True)
    before = time.thread_time()
    assert jobs.run_until_quiet(world.rt) >= TIMES
    say("a new booking's delivery, applied", f"{(time.thread_time() - before) / TIMES * 1000:.1f} ms", "1.0 calls")
    face = world._server.app.test_client()
    asked = {"query": BOOKINGS, "variables": {"first": 50}}
    say(
        "50 bookings, the whole face",
        *cost(world, lambda: face.post("/graphql", json=asked, headers={"Authorization": f"Bearer {clara.token}"})),
    )


def rate(world: World, threads: int) -> str:
    """Pieces claimed, begun and ended per second, as jobs.run_work does it."""
    now = world.clock.now()
    JobClaim.delete().execute()
    rows = [{"id": new_id(), "kind": "sync", "key": f"k{number}", "due_at": now} for number in range(CLAIMED)]
    JobClaim.insert_many(rows).execute()
    db.execute_sql(
        "INSERT INTO job_claim (id, created_at, updated_at, kind, key, due_at, attempts)"
        " SELECT 'w' || n, 0, 0, 'warm', n::text, %s, 0 FROM generate_series(1, %s) n",
        (to_ms(now + timedelta(days=1)), WAITING),
    )
    db.execute_sql("ANALYZE job_claim")
    release_connection()

    def end(claim: JobClaim) -> None:
        JobClaim.update(due_at=now + timedelta(days=1), lease_owner=None, lease_until=None, attempts=0).where(
            claims.held(JobClaim, claim)
        ).execute()

    def work() -> int:
        done = 0
        queue = claims.Queue(JobClaim, lambda row: row.kind.in_(KINDS))
        while (batch := queue.claim(world.rt, limit=jobs.BATCH)).ids:
            claims.work_off(world.rt, JobClaim, batch, end)
            done += len(batch)
        release_connection()
        return done

    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(one.result() for one in [pool.submit(work) for _ in range(threads)])
    assert done == CLAIMED
    return f"{done / (time.monotonic() - began):.0f}/s"


def sizes() -> None:
    for name in sorted(model._meta.table_name for model in ALL):
        if name in BUSY:
            size, count = db.execute_sql(f'SELECT COALESCE(AVG(pg_column_size(t.*)), 0), COUNT(*) FROM "{name}" t').fetchone()
            say(f"{name}, without indexes", f"{size:.0f} B/row", f"{count} rows")


def measure(world: FleetWorld) -> None:
    clara = world.coach()
    for number in range(BOOKED):
        world.book(clara, at(2 + number // 8, 8 + number % 8), name=f"Otto{number}", force=True)
    world.jobs()
    clara.one(BOOKINGS)
    pieces(world, clara)
    sizes()
    for threads in (1, 4):
        say(f"claimed, begun, ended; {threads} threads, {WAITING} rows wait", rate(world, threads))


if __name__ == "__main__":
    folder = Path(os.environ["CONVENE_TESTS_FOLDER"])
    try:
        with Postgres(folder / "data", "costs") as server, Issuer() as issuer, Sandbox() as sandbox:
            connect(url := server.create())
            migrate()
            db.close_all()
            with fleet_world_on(url, issuer, sandbox) as world:
                measure(world)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
