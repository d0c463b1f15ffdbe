"""Other processes on the world's database and clock: to race with, to kill and to freeze.

They are forked from a server that has everything imported and no connection open, so that one costs milliseconds. Each
stands before its task until `go`, and answers with what the task returned.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import stamina
from flask import Flask
from harness import StandingClock, World, from_ms

from app import Convene, assemble, create_app
from models.base import db
from services import logging, tokens

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["processes"])
HERE = Path(__file__).parent
PATIENCE = 60
SHARE = float(os.environ.get("CONVENE_TESTS_SHARE", "1"))
"""Which part of the long runs' length to go: 1 for all of it."""


def scaled(length: int) -> int:
    return max(round(length * SHARE), 10)


@dataclass(frozen=True)
class Plan:
    """What becomes of the process: nothing, or death or sleep at a named step."""

    die_at: str = ""
    freeze_at: str = ""
    pool: int = 8
    ahead: timedelta = timedelta(0)
    """How far the process's own clock is ahead; the database's is everybody's."""
    request_wait: float = tokens.REQUEST_WAIT


@dataclass
class Task:
    """One process's part: its own Convene, and the callers' tokens by name."""

    convene: Convene
    app: Flask

    def post(self, token: str, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The only field of an operation's data, through the whole face but for the socket."""
        answer = self.app.test_client().post(
            "/graphql", json={"query": query, "variables": variables}, headers={"Authorization": f"Bearer {token}"}
        )
        body = answer.get_json()
        assert "errors" not in body, body
        (value,) = body["data"].values()
        return value


class _Ahead(StandingClock):
    def __init__(self, cell: Any, ahead: timedelta) -> None:
        super().__init__(from_ms(cell.value), cell)
        self._ahead = ahead

    def now(self) -> datetime:
        return self.at + self._ahead


def _live(convene: Convene, plan: Plan) -> None:
    def step(name: str) -> None:
        if name == plan.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == plan.freeze_at:
            os.kill(os.getpid(), signal.SIGSTOP)
            # it takes effect a little later in a process with threads; nothing goes on before it is thawed
            signal.sigwait({signal.SIGCONT})

    convene.rt.step = step
    db.obj._max_connections = plan.pool
    tokens.REQUEST_WAIT = plan.request_wait


def _main(pipe: Connection, settings: Any, providers: Any, cell: Any, plan: Plan, do: Callable[..., Any]) -> None:
    # kept for whoever waits for it: every thread made from here on inherits this
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
    stamina.set_testing(True, attempts=3, cap=True)
    logging.configure("CRITICAL")
    convene = assemble(settings, providers, clock=_Ahead(cell, plan.ahead))
    _live(convene, plan)
    task = Task(convene, create_app(convene=convene))
    pipe.send("ready")
    while (given := pipe.recv()) is not None:
        pipe.send(do(task, *given))
    convene.rt.transport.close()
    db.close_all()


def _serve_forks() -> None:
    """The server looks for what it is to have imported in its own path alone, before it is told ours."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{HERE}:{HERE.parent}"
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


class Process:
    """Another process of this world, which does `do(task, *args)` each time it is told to `go(*args)`."""

    def __init__(self, world: World, do: Callable[..., Any], plan: Plan | None = None) -> None:
        _serve_forks()
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=_main, args=(theirs, world.rt.settings, world.providers, world.clock.cell, plan or Plan(), do), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        assert self._receive() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            if self.frozen:
                self._process.kill()
            else:
                self._pipe.send(None)
            self._process.join(PATIENCE)
        self._pipe.close()

    def _receive(self) -> Any:
        assert self._pipe.poll(PATIENCE), "the process says nothing"
        return self._pipe.recv()

    def go(self, *args: Any) -> Self:
        self._pipe.send(args)
        return self

    def result(self) -> Any:
        return self._receive()

    def wait_dead(self) -> None:
        self._process.join(PATIENCE)
        assert self._process.exitcode == -signal.SIGKILL, "it did not come to the step at which it dies"

    @property
    def frozen(self) -> bool:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        return stat.rsplit(")", 1)[1].split()[0] == "T"

    def wait_frozen(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self.frozen:
            assert time.monotonic() < end, "it did not come to the step at which it freezes"
            threading.Event().wait(0.01)

    def thaw(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)


def all_at_once(processes: Iterable[Process], *args: Any) -> list[Any]:
    started = [process.go(*args) for process in processes]
    return [process.result() for process in started]


def many(task: Task, threads: int, token: str, query: str, variables: dict[str, Any] | None = None) -> list[Any]:
    """The same operation by so many threads of the process at once."""
    barrier = threading.Barrier(threads)

    def one() -> Any:
        barrier.wait()
        return task.post(token, query, variables)

    with ThreadPoolExecutor(threads) as pool:
        return [call.result() for call in [pool.submit(one) for _ in range(threads)]]


def once(task: Task, token: str, query: str, variables: dict[str, Any] | None = None) -> Any:
    return task.post(token, query, variables)
