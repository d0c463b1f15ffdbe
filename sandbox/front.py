"""What every provider request passes first: the request log and the faults. The control face and the pages are exempt."""

import json
import socket
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from io import BytesIO
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.test import run_wsgi_app

from sandbox import times
from sandbox.faults import Fault
from sandbox.requests import Request
from sandbox.world import World

ARRIVED = "sandbox.arrived"
Headers = list[tuple[str, str]]


class DroppedError(ConnectionError):
    """The connection is to be closed without an answer; the server takes a ConnectionError as its end."""


class Front:
    def __init__(self, app: WSGIApplication, world: World, prefixes: tuple[str, ...]) -> None:
        self._app, self._world, self._prefixes = app, world, prefixes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # The whole body is read here: on a kept-alive connection an unread rest would be taken for the next request.
        environ["wsgi.input"] = BytesIO(_whole_body(environ))
        if not environ["PATH_INFO"].startswith(self._prefixes):
            return self._app(environ, start_response)
        environ[ARRIVED] = self._world.commits
        at = times.millis(self._world.clock.now())
        try:
            status, headers, body = self._answer(environ)
        except DroppedError:
            self._log(environ, None, at)  # first, so that whoever sees the broken connection finds it in the log
            cast("socket.socket", environ["werkzeug.socket"]).shutdown(socket.SHUT_RDWR)
            raise
        self._log(environ, int(status.split()[0]), at)
        start_response(status, headers)
        return body

    def _log(self, environ: WSGIEnvironment, status: int | None, at: str) -> None:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        self._world.requests.add(Request(environ["REQUEST_METHOD"], path, query, status, at))

    def _answer(self, environ: WSGIEnvironment) -> tuple[str, Headers, Iterable[bytes]]:
        faults = self._world.faults.for_request(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        for fault in faults:
            if fault.when == "before" and fault.kind in {"latency", "hold", "drop"}:
                _disturb(fault)
        for fault in faults:
            if fault.kind == "status":
                return _status_answer(fault)
        chunks, status, wsgi_headers = run_wsgi_app(self._app, environ, buffered=True)
        headers, body = list(wsgi_headers), b"".join(chunks)
        drip: Fault | None = None
        for fault in faults:
            if fault.when == "after" and fault.kind in {"latency", "hold", "drop"}:
                _disturb(fault)
            elif fault.kind == "malformed":
                body = body[: max(1, len(body) // 2)]
                headers = [*(pair for pair in headers if pair[0].lower() != "content-length"), ("Content-Length", str(len(body)))]
            elif fault.kind == "drip":
                drip = fault
        return status, headers, [body] if drip is None else _dripping(body, drip)


def _whole_body(environ: WSGIEnvironment) -> bytes:
    if environ.get("wsgi.input_terminated"):  # sent in chunks
        return cast("bytes", environ["wsgi.input"].read())
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return cast("bytes", environ["wsgi.input"].read(length)) if length else b""


def _disturb(fault: Fault) -> None:
    if fault.kind == "latency":
        time.sleep(float(fault.effect.get("seconds", 1)))
    elif fault.kind == "hold":
        fault.hold()
    else:
        raise DroppedError(fault.id)


def _status_answer(fault: Fault) -> tuple[str, Headers, Iterable[bytes]]:
    """The work is not done. Without a body of its own the answer looks like an unmapped failure of the provider's core."""
    code = int(fault.effect.get("status", 500))
    phrase = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else "Unknown"
    given: Any = fault.effect.get("body", {"statusCode": code, "message": phrase})
    body = given.encode() if isinstance(given, str) else json.dumps(given).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "Access-Control-Allow-Origin": "*"}
    headers |= dict(fault.effect.get("headers") or {})
    return f"{code} {phrase}", [*headers.items(), ("Content-Length", str(len(body)))], [body]


def _dripping(body: bytes, fault: Fault) -> Iterator[bytes]:
    chunks = max(1, int(fault.effect.get("chunks", 5)))
    pause, size = float(fault.effect.get("seconds", 1)) / chunks, -(-len(body) // chunks)
    for begin in range(0, len(body), size):
        time.sleep(pause)
        yield body[begin : begin + size]
