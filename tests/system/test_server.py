"""Whole processes: what scripts/server starts, used as a person would, stopped, killed and started again.

It runs in a copy of the checkout, so that the state of whoever works here is left alone.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from harness import BOOKINGS, MOVE, NOTIFICATIONS

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("app.py", "settings.py", "gunicorn.conf.py", "schema", "routes", "services", "models", "sandbox", "scripts")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], Any], seconds: float = 20) -> Any:
    """Ask again and again until the answer is true; whole processes have no clock that a test could move."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if answer := what():
                return answer
        threading.Event().wait(0.05)
    raise AssertionError(f"nothing came of it within {seconds} s")


class Server:
    def __init__(self, folder: Path, port: int, sandbox_port: int) -> None:
        self.folder, self.port, self.sandbox_port = folder, port, sandbox_port
        self.url, self.sandbox = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"

    def __enter__(self) -> Self:
        self.log = (self.folder / "log.txt").open("ab")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CONVENE_", "PYTEST_"))}
        self.process = subprocess.Popen(
            [sys.executable, "scripts/development.py", "--port", str(self.port), "--sandbox-port", str(self.sandbox_port)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=clean,
        )
        assert self.process.stdout is not None
        self.said = b""
        while b"State is kept" not in self.said:
            line = self.process.stdout.readline()
            assert line, (self.folder / "log.txt").read_text()[-2000:]
            self.said += line
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(40)
        self.log.close()

    def token(self, email: str) -> str:
        return str(httpx.post(f"{self.url}/dev/token", json={"email": email}).json()["accessToken"])

    def gql(self, email: str, query: str, **variables: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token(email)}"}
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, headers=headers, timeout=30).json()
        assert "errors" not in answer, answer
        (value,) = answer["data"].values()
        return value

    def bookings(self, email: str = "coach@demo.test", **wanted: Any) -> list[dict[str, Any]]:
        return [edge["node"] for edge in self.gql(email, BOOKINGS, filter=wanted or None)["edges"]]

    def live(self) -> set[str]:
        state = httpx.get(f"{self.sandbox}/_sandbox/state").json()
        return {b["uid"] for b in _rows(state["calcom"]["bookings"]) if b["status"] in {"accepted", "pending"}}


def _rows(table: Any) -> list[dict[str, Any]]:
    return list(table.values()) if isinstance(table, dict) else list(table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "convene"
    target.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / part)
    return target


def test_the_main_job_by_hand_and_after_a_restart(folder: Path) -> None:
    ports = free_port(), free_port()
    with Server(folder, *ports) as server:
        assert f"{server.url}/graphql".encode() in server.said
        ready = httpx.get(f"{server.url}/ready")
        assert (ready.status_code, ready.json()["scheduler"]) == (200, True)
        first = server.bookings(status=["CONFIRMED"], text="gina")[0]

        # an outsider books on the sandbox; within seconds it is here, with one notification
        taken = {b["start"] for b in server.bookings()}
        event_type = next(t["id"] for t in _rows(httpx.get(f"{server.sandbox}/_sandbox/state").json()["calcom"]["event_types"]))
        slots = httpx.get(
            f"{server.sandbox}/calcom/v2/slots",
            params={"eventTypeId": event_type, "start": first["start"], "end": _plus_days(first["start"], 14)},
            headers={"cal-api-version": "2024-09-04"},
        ).json()["data"]
        free = sorted(s["start"] for day in slots.values() for s in day if s["start"].replace(".000", "") not in taken)
        made = httpx.post(
            f"{server.sandbox}/_sandbox/calcom/bookings",
            json={
                "eventTypeId": event_type,
                "start": free[3],
                "attendee": {"name": "Otto", "email": "otto@example.test", "timeZone": "UTC"},
            },
        )
        assert made.status_code == 201, made.text
        until(lambda: server.bookings(text="otto"), 5)
        news = server.gql("coach@demo.test", NOTIFICATIONS)["edges"]
        assert [n["node"]["kind"] for n in news] == ["BOOKED"]

        # moved through GraphQL it keeps its id, and the sandbox holds one live booking for it
        before = server.live()
        move = {"bookingId": first["id"], "newStart": free[10], "idempotencyKey": "by-hand"}
        moved = server.gql("guest@demo.test", MOVE, input=move)
        assert moved["__typename"] == "BookingRescheduled", moved
        assert moved["booking"]["id"] == first["id"]
        assert len(server.live()) == len(before)
        until(lambda: all(e["node"]["state"] == "APPLIED" for e in server.gql("admin@demo.test", INBOX_STATES)["edges"]), 5)
        assert [n["node"]["kind"] for n in server.gql("guest@demo.test", NOTIFICATIONS)["edges"]] == ["MOVED"]

        # killed outright, in the middle of a move whose answer is on its way
        hold = {"match": {"method": "POST", "path": "/calcom/v2/bookings/*/reschedule"}, "effect": {"kind": "hold", "when": "after"}}
        fault = httpx.post(f"{server.sandbox}/_sandbox/faults", json=hold).json()["id"]
        killer = {"bookingId": first["id"], "newStart": free[12], "idempotencyKey": "killed"}
        with contextlib.suppress(httpx.HTTPError):
            headers = {"Authorization": f"Bearer {server.token('coach@demo.test')}"}
            httpx.post(f"{server.url}/graphql", json={"query": MOVE, "variables": {"input": killer}}, headers=headers, timeout=2)
        waiting = httpx.get(f"{server.sandbox}/_sandbox/faults/{fault}").json()
        assert waiting["hits"] == 1
        _kill_group(server)

    assert _closed(ports[0])
    assert _closed(ports[1])
    with Server(folder, *ports) as server:
        # the links, the bookings and the move that was under way survived
        again = until(lambda: [b for b in server.bookings() if b["id"] == first["id"] and b["start"] == free[12].replace(".000", "")])
        assert again[0]["status"] == "CONFIRMED"
        same = until(lambda: _done(server.gql("coach@demo.test", MOVE, input=killer)), 60)
        assert same["booking"]["id"] == first["id"]
        assert len(server.live()) == len(before)
        process = server.process
    assert process.returncode == 0


INBOX_STATES = "{ webhookEvents { edges { node { state } } } }"


def _done(answer: dict[str, Any]) -> dict[str, Any] | None:
    return answer if answer["__typename"] == "BookingRescheduled" else None


def _plus_days(moment: str, days: int) -> str:
    return (datetime.fromisoformat(moment) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kill_group(server: Server) -> None:
    """Kill -9 for the parent: its children must not stay behind and keep the ports."""
    server.process.kill()
    server.process.wait()
    until(lambda: _closed(server.port) and _closed(server.sandbox_port), 40)


def _closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_told_in_one_sentence(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "scripts/development.py", "--port", str(port), "--sandbox-port", str(free_port())],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.strip() == f"Port {port} is taken. Stop what listens there, or choose others: --port, --sandbox-port."


def test_production_names_everything_that_is_missing(folder: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CONVENE_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "gunicorn", "--bind", f"127.0.0.1:{free_port()}", "app:create_app()"],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    for name in ("PUBLIC_URL", "SEALING_KEYS", "IDENTITY_ISSUER", "IDENTITY_AUDIENCE", "CALCOM_CLIENT_ID", "CALCOM_CLIENT_SECRET"):
        assert f"CONVENE_{name} is missing." in done.stderr


def test_each_job_runs_once_from_the_command_line(folder: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CONVENE_", "PYTEST_"))}
    settings = {
        "CONVENE_DEVELOPMENT": "1",
        "CONVENE_PUBLIC_URL": "http://127.0.0.1:8000",
        "CONVENE_SEALING_KEYS": f"k:{'A' * 43}=",
        "CONVENE_CALCOM_CLIENT_ID": "x",
        "CONVENE_CALCOM_CLIENT_SECRET": "x",
        "CONVENE_LOG_LEVEL": "WARNING",
    }
    subprocess.run([sys.executable, "scripts/migrate"], cwd=folder, env=clean | settings, check=True, capture_output=True)

    def job(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "scripts/job", name], cwd=folder, env=clean | settings, capture_output=True, text=True, check=False
        )

    names = job("--list").stdout.split()
    assert names == [
        "apply_webhooks",
        "settle_operations",
        "send_mail",
        "event_types",
        "webhooks",
        "sync",
        "reconcile",
        "warm",
        "refresh",
        "revoke",
        "reconnect",
        "remind",
        "schedules",
        "booking",
        "meeting",
        "sweep_meetings",
        "chain_audit",
        "scrub",
        "clean_up",
    ]
    assert job("sync").stdout == "sync: 0 done\n"
    assert job("nonsense").returncode != 0
