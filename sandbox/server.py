"""A small threaded HTTP/1.1 server that keeps connections open, which Werkzeug's own handler refuses to."""

import socket
import sys
import threading
import traceback
from typing import Any, cast
from wsgiref.types import WSGIApplication

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

Headers = list[tuple[str, str]]


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet

    def setup(self) -> None:
        super().setup()
        self._connections.add(self.connection)

    def finish(self) -> None:
        self._connections.discard(self.connection)
        super().finish()

    @property
    def _connections(self) -> set[socket.socket]:
        return cast("Server", self.server).connections

    def run_wsgi(self) -> None:
        """Werkzeug's own version closes the connection after each answer, and reads on into the next request."""
        self.environ = environ = self.make_environ()
        started: list[tuple[str, Headers]] = []

        def start_response(status: str, headers: Headers, _exc_info: object = None) -> Any:
            started.append((status, headers))

        try:
            chunks = self.server.app(environ, start_response)
            status, headers = started[-1]
            self._send_head(status, headers)
            for chunk in chunks:
                self.wfile.write(chunk)
                self.wfile.flush()
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True  # closed on purpose, or by a client that did not wait
        except Exception:  # noqa: BLE001 - a fault of the sandbox itself: tell whoever runs it
            traceback.print_exc()
            self.close_connection = True

    def _send_head(self, status: str, headers: Headers) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del size
        # The path alone: queries carry codes and e-mail addresses.
        if cast("Server", self.server).verbose:
            print(f"{self.command} {self.path.partition('?')[0]} {code}", file=sys.stderr)  # noqa: T201 - the log of a tool

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - Werkzeug's name
        """Silent: broken connections are made on purpose here."""


class Server(ThreadedWSGIServer):
    verbose = False

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(host, port, app, handler=Handler)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=[0.02], name="sandbox", daemon=True).start()

    def stop(self) -> None:
        """No new requests, and no old connection that could still be answered."""
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was faster
