"""A small balancer, as one is to be set up (docs/scaling.md): round robin over what is ready, and nothing is repeated."""

import http.client
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOKS_EVERY = 0.25
IDLE = 3.0
"""Seconds after which a connection is not used again: less than the five after which Convene closes it."""
PATIENCE = 60
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "date", "server", "content-length", "host"}


class Upstream:
    """One replica: whether requests go there, and its open connections that nobody uses."""

    def __init__(self, port: int) -> None:
        self.port, self.ready = port, False
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()

    def look(self) -> None:
        try:
            self.ready = self._get("/ready") == 200
        except (OSError, http.client.HTTPException):
            self.ready = False
        if not self.ready:
            self._idle.clear()

    def _get(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """One that was used lately, or a new one; kept if both sides want it."""
        taken = self._taken()
        yield taken
        if taken.sock is not None:
            self._idle.append((time.monotonic(), taken))

    def _taken(self) -> http.client.HTTPConnection:
        with suppress(IndexError):
            while True:
                since, kept = self._idle.pop()
                if time.monotonic() - since < IDLE:
                    return kept
        made = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        made.connect()
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class Balancer:
    """Listens on `port` for the replicas that it is told to `serve`; `failures` are requests that it could not pass on."""

    def __init__(self, port: int = 0) -> None:
        self.upstreams: list[Upstream] = []
        self.failures: list[str] = []
        self._turns = itertools.count()
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, *ports: int) -> None:
        """From now on these; they take part as soon as they are ready."""
        known = {upstream.port: upstream for upstream in self.upstreams}
        chosen = [known.get(port) or Upstream(port) for port in ports]
        for upstream in chosen:
            upstream.look()
        self.upstreams = chosen

    def has(self, port: int) -> bool:
        return any(upstream.port == port and upstream.ready for upstream in self.upstreams)

    def _watch(self) -> None:
        while not self._ended.wait(LOOKS_EVERY):
            for upstream in self.upstreams:
                upstream.look()

    def _next(self) -> Upstream | None:
        ready = [upstream for upstream in self.upstreams if upstream.ready]
        return ready[next(self._turns) % len(ready)] if ready else None

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = self._next()
        if upstream is None:
            return 503, [], b""
        try:
            with upstream.connection() as connection:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{upstream.port}: {type(error).__name__} {error}")
            return 502, [], b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        balancer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = {name: value for name, value in self.headers.items() if name.lower() not in OF_THE_CONNECTION}
                status, headers, content = balancer.pass_on(self.command, self.path, asked, body)
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - the name that is looked for

            def log_message(self, *_: Any) -> None: ...

        return Handler
