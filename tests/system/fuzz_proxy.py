"""What stands between Convene and the sandbox, and lets answers arrive as something else."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
import orjson
import pytest
from harness import Issuer, World
from keeping import Ways
from werkzeug.serving import BaseWSGIServer

from sandbox.app import Sandbox
from services.providers.base import ProviderSettings

IDS = re.compile(r"/(?:[A-Za-z]*\d[\w.@+-]*|[0-9a-zA-Z-]{16,}|[\w.+%-]+(?:@|%40)[\w.-]+)(?=/|$)")
HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "server", "date"}


@dataclass(frozen=True)
class Exchange:
    """One request and what the sandbox answered to it."""

    method: str
    path: str
    status: int
    body: bytes

    @property
    def kind(self) -> str:
        """The same for all requests of the same kind: without ids."""
        return f"{self.method} {IDS.sub('/*', self.path)}"

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What is sent in its place; `raw` instead of everything else, the status line included."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    raw: bytes | None = None


Change = Callable[[Exchange], Answer | None]


class Proxy:
    """Passes everything through; `change` may put another answer in the place of any. `seen`: what passed, `cookies`: with which."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.change: Change | None = None
        self.seen: list[Exchange] = []
        self.cookies: list[str] = []

    def __enter__(self) -> Self:
        proxy = self
        client = self._client = httpx.Client(base_url=self.target, timeout=30, follow_redirects=False, verify=False)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # headers and body leave together: else each answer waits forty milliseconds for an acknowledgement
            wbufsize = -1
            disable_nagle_algorithm = True

            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                content = proxy.meant(self.rfile.read(length).decode()).encode() if length else None
                headers = {name: value for name, value in self.headers.items() if name.lower() not in {*HOP, "host"}}
                answer = client.request(self.command, proxy.meant(self.path), content=content, headers=headers)
                proxy.cookies.append(self.headers.get("Cookie", ""))
                exchange = Exchange(self.command, self.path.partition("?")[0], answer.status_code, answer.content)
                proxy.seen.append(exchange)
                other = proxy.change(exchange) if proxy.change else None
                if other is not None and other.raw is not None:
                    self.wfile.write(other.raw)
                    self.wfile.flush()
                    self.close_connection = True
                    return
                if other is None:
                    kept = [(n, v) for n, v in answer.headers.multi_items() if n.lower() not in {*HOP, "content-encoding"}]
                    other = Answer(answer.content, answer.status_code, tuple(kept))
                self.send_response_only(other.status)
                for name, value in other.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(other.body)))
                self.end_headers()
                self.wfile.write(other.body)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_one  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def meant(self, text: str) -> str:
        """Addresses of the sandbox's where ours stand: some providers name their resources by them."""
        own, other = self.url.rpartition(":")[2], self.target.rpartition(":")[2]
        return text.replace(f"127.0.0.1:{own}", f"127.0.0.1:{other}").replace(f"127.0.0.1%3A{own}", f"127.0.0.1%3A{other}")


class TappedWorld(World):
    """A world whose providers are reached through the proxy."""

    proxy: Proxy

    def __enter__(self) -> Self:
        self.proxy.change = None
        self.proxy.seen.clear()
        self.proxy.cookies.clear()
        return super().__enter__()

    def _unchanged(self, parts: dict[str, Any]) -> Callable[[], bool]:
        same = super()._unchanged(parts)
        return lambda: self.proxy.change is None and same()

    def _provider_settings(self) -> dict[str, ProviderSettings]:
        found = super()._provider_settings()

        def through(value: Any) -> Any:
            return value.replace(self.sandbox.url, self.proxy.url) if isinstance(value, str) else value

        return {
            slug: given.model_copy(update={name: through(getattr(given, name)) for name in type(given).model_fields})
            for slug, given in found.items()
        }

    def recover(self) -> None:
        """The breakers' pauses are real time: nobody waits for them here."""
        self.rt.transport._breakers.clear()


@pytest.fixture(scope="module")
def proxy(shared_sandbox: Sandbox) -> Iterator[Proxy]:
    with Proxy(shared_sandbox.url) as running:
        yield running


@pytest.fixture(scope="module")
def tapped_ways(door: BaseWSGIServer) -> Ways:
    return Ways(door)


@pytest.fixture
def tapped(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, tapped_ways: Ways, proxy: Proxy) -> Iterator[TappedWorld]:
    shared_sandbox.reset()
    world = TappedWorld(database_url, issuer, shared_sandbox, ways=tapped_ways)
    world.proxy = proxy
    with world:
        yield world
