"""The client, in a process of its own: `python -m bench.load PLAN` sends what the plan says and prints what came of it.

Closed loop: every connection sends its next request when the answer to the last one is there. Open loop (`rate`): the times
of arrival are fixed in advance, and latency counts from them, whether or not a connection was free by then; so a server
that stalls is charged for everybody whom it keeps waiting.
"""

import json
import pickle
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.places import PYTHON, ROOT, RUN


@dataclass(frozen=True)
class Plan:
    """`requests` are sent in turn, over and over in a closed loop, each once in an open one."""

    port: int
    requests: Sequence[bytes]
    connections: int = 8
    seconds: float = 0
    rate: float = 0


@dataclass(frozen=True)
class Outcome:
    """Latencies in milliseconds; `statuses` by HTTP status, "broken" for no answer at all."""

    count: int
    seconds: float
    statuses: dict[str, int]
    p50: float
    p95: float
    p99: float
    longest: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def failed(self) -> int:
        return sum(number for status, number in self.statuses.items() if status != "200")


def run(plan: Plan) -> Outcome:
    """In another process, so that the client's work is not the server's or ours."""
    path = RUN / "plan.pickle"
    path.write_bytes(pickle.dumps(plan))
    said = subprocess.run([PYTHON, "-m", "bench.load", path], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    return Outcome(**json.loads(said))


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """One HTTP/1.1 request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(port: int, request: bytes) -> Any:
    """The JSON that one request is answered with."""
    line = _Connection(port)
    line.send(request, 0)
    while (status := line.read()) is None:
        pass
    if status != "200":
        raise RuntimeError(f"answered {status}: {line.body[:500]!r}")
    return json.loads(line.body)


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self.body = b""
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got, self._ends, self._chunked = b"", -1, False

    def send(self, request: bytes, began: float) -> None:
        self.began = began
        self._got, self._ends, self._chunked = b"", -1, False
        self.socket.sendall(request)

    def read(self) -> str | None:
        """Take what has come; the status once the answer is whole, "broken" when the server hung up."""
        try:
            part = self.socket.recv(1 << 18)
        except OSError:
            part = b""
        if not part:
            self.socket.close()
            self._open()
            return "broken"
        self._got += part
        if self._ends < 0 and not self._chunked:
            self._head()
        whole = self._got.endswith(b"0\r\n\r\n") if self._chunked else 0 <= self._ends <= len(self._got)
        if not whole:
            return None
        head, _, body = self._got.partition(b"\r\n\r\n")
        self.body = _joined(body) if self._chunked else body
        return head[9:12].decode()

    def _head(self) -> None:
        head, found, _ = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self._ends = len(head) + 4 + int(line[15:])
            elif line.startswith(b"transfer-encoding:"):
                self._chunked = b"chunked" in line


def _joined(chunks: bytes) -> bytes:
    found = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size, 16)
        found, chunks = found + rest[:length], rest[length + 2 :]
        if length == 0:
            break
    return found


class _Client:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._selector = selectors.DefaultSelector()
        self._free = deque(_Connection(plan.port) for _ in range(plan.connections))
        self._times: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._sent = 0

    def _planned(self, start: float) -> float | None:
        """When the next request is to be sent; None when there is none any more."""
        if self._plan.rate:
            return start + self._sent / self._plan.rate if self._sent < len(self._plan.requests) else None
        now = time.perf_counter()
        return now if now < start + self._plan.seconds else None

    def go(self) -> dict[str, Any]:
        start = time.perf_counter()
        while True:
            planned = self._planned(start)
            if planned is None and len(self._free) == self._plan.connections:
                break
            if planned is not None and self._free and planned <= time.perf_counter():
                self._send(planned)
                continue
            waits = max(planned - time.perf_counter(), 0) if planned is not None and self._free else None
            for key, _ in self._selector.select(waits):
                self._take(key.data)
        return self._outcome(time.perf_counter() - start)

    def _send(self, planned: float) -> None:
        connection = self._free.popleft()
        connection.send(self._plan.requests[self._sent % len(self._plan.requests)], planned)
        self._sent += 1
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _take(self, connection: _Connection) -> None:
        listening = connection.socket
        status = connection.read()
        if status is not None:
            self._times.append((time.perf_counter() - connection.began) * 1000)
            self._statuses[status] += 1
            self._selector.unregister(listening)
            self._free.append(connection)

    def _outcome(self, seconds: float) -> dict[str, Any]:
        times = sorted(self._times)
        return {
            "count": len(self._times),
            "seconds": seconds,
            "statuses": dict(self._statuses),
            "p50": times[len(times) // 2],
            "p95": times[len(times) * 95 // 100],
            "p99": times[len(times) * 99 // 100],
            "longest": times[-1],
        }


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:  # noqa: PTH123 - nothing more is imported than it takes
        _plan = pickle.load(file)
    print(json.dumps(_Client(_plan).go()))
