"""How long a sender may take, and where a server listens."""

import base64
import contextlib
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness import World

from models import WebhookEvent

ROOT = Path(__file__).parent.parent


def half_sent(port: int, head: str, drip: bytes = b"") -> tuple[float, bytes]:
    """Begin a request, go on a byte at a time, and never come to its end: how long that is borne, and the answer."""
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head.encode())
        connection.settimeout(0.05)
        while time.monotonic() - began < 10:
            with contextlib.suppress(TimeoutError):
                received = connection.recv(65536)
                if not received:
                    break
                answer += received
            if drip and not answer:
                with contextlib.suppress(OSError):
                    connection.sendall(drip)
    return time.monotonic() - began, answer


def head(path: str, *lines: str) -> str:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, "", ""])


def test_a_body_that_drips_is_given_up(world: World, database_url: str) -> None:
    with World(database_url, world.issuer, world.sandbox, receive_seconds=0.1) as mine:
        port = httpx.URL(mine.url).port
        for path, shape in (
            ("/graphql", b'"extensions":{"code":"TIMEOUT"}'),
            ("/webhooks/cal/booking.created", b'"error":{"code":"TIMEOUT"'),
        ):
            seconds, answer = half_sent(port, head(path, "Content-Length: 1000"), b" ")
            assert 0.1 < seconds < 5
            assert b"408 REQUEST TIMEOUT" in answer
            assert shape in answer
        assert mine.rt.metrics.registry.get_sample_value("convene_unexpected_errors_total", {"where": "http"}) is None
        assert WebhookEvent.select().count() == 0
        # whoever is in time is not touched, on the same process
        assert mine.caller("Dora").post("{ viewer { id } }").status_code == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[int]:
    """The server of production with four threads; answers its port."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONVENE_")} | {
        "CONVENE_DATABASE_URL": f"sqlite:///{tmp_path}/convene.db",
        "CONVENE_PORT": str(port),
        "CONVENE_PUBLIC_URL": "https://convene.example.org",
        "CONVENE_SEALING_KEYS": f"k1:{base64.b64encode(bytes(32)).decode()}",
        "CONVENE_IDENTITY_ISSUER": "https://issuer.example.org",
        "CONVENE_IDENTITY_AUDIENCE": "convene",
        "CONVENE_CALCOM_CLIENT_ID": "id",
        "CONVENE_CALCOM_CLIENT_SECRET": "secret",
        "CONVENE_RECEIVE_SECONDS": "0.5",
        "CONVENE_THREADS": "4",
        "CONVENE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--log-level", "warning", "app:create_app()"]
    subprocess.run([sys.executable, "scripts/migrate"], cwd=ROOT, env=environment, check=True, capture_output=True)
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            threading.Event().wait(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(40)


@pytest.mark.long
def test_nobody_keeps_the_threads_of_a_real_server(gunicorn: int) -> None:
    url = f"http://127.0.0.1:{gunicorn}"
    answer = httpx.get(f"{url}/health")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    mine = {
        line.split()[1].split(":")[0]
        for line in listening.splitlines()[1:]
        if line.split()[1].endswith(f":{gunicorn:04X}") and line.split()[3] == "0A"
    }
    assert mine == {"0100007F"}, "it listens on loopback alone"

    unfinished = [
        (head("/graphql", "Content-Length: 1000"), b" "),
        (head("/graphql", "Transfer-Encoding: chunked") + "400\r\n", b" "),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"x"),
        ("GET /hea", b""),
        # refused at once, and then neither finished nor closed
        (head("/health", "Content-Length: 1000"), b""),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b""),
    ]
    results: list[tuple[float, bytes]] = []
    threads = [threading.Thread(target=lambda item=item: results.append(half_sent(gunicorn, *item))) for item in unfinished * 2]
    for thread in threads:
        thread.start()
    # with four threads of which all are taken, others are answered soon
    assert httpx.get(f"{url}/health", timeout=20).status_code == 200
    for thread in threads:
        thread.join()
    assert max(seconds for seconds, _ in results) < 10
    assert sum(b"408 REQUEST TIMEOUT" in answer for _, answer in results) == 4
    for long in ({"X-Long": "x" * 8200}, {f"X-{n}": "x" for n in range(101)}):
        assert httpx.get(f"{url}/health", headers=long).status_code in {400, 431}
    assert httpx.get(f"{url}/health?{'x' * 8200}").status_code in {400, 414}


def test_loopback_unless_told() -> None:
    assert runpy.run_path(str(ROOT / "gunicorn.conf.py"))["bind"].startswith("127.0.0.1:")
    development = runpy.run_path(str(ROOT / "scripts" / "development.py"))
    assert development["_environment"](8000, None)["CONVENE_HOST"] == "127.0.0.1"
