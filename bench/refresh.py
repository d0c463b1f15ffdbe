"""Refreshing tokens under load: exchanges per expiry, what the lease costs, and who has to wait."""

import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from bench import databases, house
from bench.report import Result, at_most
from bench.rounds import Spread, spread
from models import LinkedAccount, TokenRotation
from models.base import db, release_connection
from sandbox.app import Sandbox
from services import claims, jobs, tokens

TOKEN = "/calcom/v2/auth/oauth2/token"
EXCHANGE = 0.02
LIFE = timedelta(minutes=31)
"""Longer than an access token lives at the sandbox, as at Cal.com."""
PROCESSES = (1, 2, 4, 8)
THREADS = 4
ACCOUNTS, STEP = 5, timedelta(seconds=10)


def run(quick: bool) -> Result:
    from harness import Issuer, World  # noqa: PLC0415 - of the tests, whose folder is on the path by now

    result = Result()
    with databases.both("refresh") as urls, Issuer() as issuer, Sandbox() as sandbox:
        for kind, url in urls.items():
            house.prepare(url)
            sandbox.reset()
            with World(url, issuer, sandbox) as world:
                house.log_to_file()
                people = [world.coach(f"Coach{number}") for number in range(ACCOUNTS)]
                accounts = [row.id for row in LinkedAccount.select().order_by(LinkedAccount.created_at)]
                release_connection()
                assert len(people) == len(accounts)
                slow = sandbox.fault({"kind": "latency", "seconds": EXCHANGE}, path=TOKEN, times=None)
                _exchanges(result, kind, world, accounts[0], quick)
                _lease(result, kind, world, accounts[0], quick)
                _claims(result, kind, world, quick)
                slow.remove()
                _waiting(result, kind, world, accounts, quick)
    result.notes.append(
        f"An exchange takes {EXCHANGE * 1000:.0f} ms at the sandbox. Lease: the intent row taken, checked before the send, closed. "
        "Waiting: the token was expired when a call needed it."
    )
    return result


def ask(task: Any, account_id: str) -> float:
    """Another process's part: THREADS of it need the token at once; answers the longest wait."""
    gate, waits = threading.Barrier(THREADS), []

    def one() -> None:
        gate.wait()
        before = time.perf_counter()
        tokens.ensure_valid(task.convene.rt, account_id)
        waits.append(time.perf_counter() - before)
        release_connection()

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waits) == THREADS
    return max(waits)


def _exchanges(result: Result, kind: str, world: Any, account_id: str, quick: bool) -> None:
    """Every process asks at the same moment, again and again; each time the token has expired."""
    from processes import Process, all_at_once  # noqa: PLC0415

    for number in PROCESSES:
        found = []
        with ExitStack() as stack:
            opened = [stack.enter_context(Process(world, ask)) for _ in range(number)]
            for _ in range(3 if quick else 10):
                world.move_clock(seconds=LIFE.total_seconds())
                before = world.calls("POST", TOKEN)
                all_at_once(opened, account_id)
                found.append(world.calls("POST", TOKEN) - before)
        result.add(f"{kind}, {number} processes x {THREADS}: exchanges per expiry", spread(found), at_most(1, ""))


def _lease(result: Result, kind: str, world: Any, account_id: str, quick: bool) -> None:
    """The row that is both intent and lease: taken by one statement and one commit, looked at before the send, closed."""
    times, cpus = [], []
    for _ in range(30 if quick else 300):
        account = LinkedAccount.get_by_id(account_id)
        began = (time.perf_counter(), time.thread_time())
        claimed = tokens._claim(world.rt, account)
        assert claimed is not None
        tokens._check_room(world.rt, account, *claimed)
        tokens._close(claimed[0], None)
        times.append(time.perf_counter() - began[0])
        cpus.append(time.thread_time() - began[1])
        TokenRotation.delete().execute()
    release_connection()
    result.add(f"{kind}: lease / a 20 ms exchange, time", _typical(times, 100 / EXCHANGE), at_most(2, "%"))
    result.add(f"{kind}: lease / a 20 ms exchange, CPU of the caller", _typical(cpus, 100 / EXCHANGE), unit="%")
    result.add(f"{kind}: lease", _typical(times, 1e6), unit="us")


def _typical(values: list[float], factor: float) -> Spread:
    """The median, and where the middle half lies."""
    ordered = sorted(value * factor for value in values)
    return Spread(ordered[len(ordered) // 2], ordered[len(ordered) // 4], ordered[len(ordered) * 3 // 4])


def _claims(result: Result, kind: str, world: Any, quick: bool) -> None:
    """services/claims.py: one piece of work at a time over all replicas, taken and given back."""
    times = []
    for number in range(30 if quick else 300):
        before = time.perf_counter()
        with claims.exclusive(world.rt, "bench", str(number)):
            pass
        times.append(time.perf_counter() - before)
    release_connection()
    result.add(f"{kind}: claim taken and given back", _typical(times, 1e6), unit="us")


def _waiting(result: Result, kind: str, world: Any, accounts: list[str], quick: bool) -> None:
    """Hours in steps of ten seconds: the job renews ahead, every coach calls in every step."""
    calls = waited = 0
    for account_id in accounts:
        tokens.ensure_valid(world.rt, account_id)  # in use from here on
    for _ in range(round(timedelta(hours=2 if quick else 12) / STEP)):
        world.move_clock(seconds=STEP.total_seconds())
        while jobs.JOBS["refresh"](world.rt):
            pass
        for account_id in accounts:
            waited += tokens.is_expired(world.rt, LinkedAccount.get_by_id(account_id))
            tokens.ensure_valid(world.rt, account_id)
            calls += 1
        db.close()
    share = 100 * waited / calls
    result.add(f"{kind}: calls that waited for a refresh, of {calls}", Spread(share, share, share), at_most(0.1, "%"))
