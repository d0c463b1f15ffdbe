"""Calls of a WSGI application in this process: the whole face but for the socket."""

import io
import sys
from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

Call = Callable[[], bytes]


def caller(application: WSGIApplication, path: str, body: bytes, headers: dict[str, str] | None = None) -> Call:
    """Posts the same body each time and answers the response's. Raises for any status but 200."""
    fixed: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()},
    }

    def call() -> bytes:
        told: list[str] = []

        def start(status: str, _headers: Any, _exception: Any = None) -> Callable[[bytes], object]:
            told.append(status)
            return bytes

        answer = application({**fixed, "wsgi.input": io.BytesIO(body)}, start)
        try:
            whole = b"".join(answer)
        finally:
            getattr(answer, "close", bytes)()
        if not told[0].startswith("200"):
            raise RuntimeError(f"answered {told[0]}: {whole[:500]!r}")
        return whole

    return call
