"""GET /events?ticket=...: what changed, as server-sent events (docs/live-updates.md).

A stream occupies a thread and no database connection. It ends with the session, the process, or its client.
"""

import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from flask import Blueprint, Response, request

from routes.common import error
from services import live
from services.live_feed import Event, Full, Listener
from services.runtime import Runtime

HEARTBEAT = 15.0
"""Seconds after which a comment is sent when there is nothing else: proxies close what is silent for long."""
TICK = 0.5
"""Seconds between two looks at whether the stream is to end."""
LONGEST_WRITE = 30.0
"""Seconds after which a client that reads nothing more is given up."""
RETRY_AFTER = 10
BEGIN = b"retry: 3000\n\n"
BEAT = b":\n\n"
END = b"event: end\ndata: {}\n\n"


def blueprint(rt: Runtime) -> Blueprint:
    routes = Blueprint("events", __name__)

    @routes.get("/events")
    def events() -> Response:
        """One stream for one ticket of `startLiveUpdates`."""
        # a browser that connects again by itself sends the header; the address still has what it began with
        last_id = request.headers.get("Last-Event-ID") or request.args.get("lastEventId")
        try:
            listener = live.listen(rt, request.args.get("ticket", ""), last_id)
        except live.TicketRefused:
            return error(401, "UNAUTHENTICATED", "This ticket is unknown, used or too old. Ask for another one with startLiveUpdates.")
        except Full:
            response = error(503, "TRY_AGAIN", "There are too many live streams now. Close some, or try again in a moment.")
            response.headers["Retry-After"] = str(RETRY_AFTER)
            return response
        response = Response(_stream(rt, listener, _departure(request.environ)), content_type="text/event-stream")
        # also when the client is gone before the first byte, and the generator is never begun
        response.call_on_close(lambda: rt.live.leave(listener))
        response.headers["X-Accel-Buffering"] = "no"
        return response

    return routes


def _stream(rt: Runtime, listener: Listener, gone: Callable[[], bool]) -> Iterator[bytes]:
    yield BEGIN
    sent_at = time.monotonic()
    while not rt.stopping.is_set() and not gone():
        if listener.ends_at <= rt.clock.now():
            yield END
            return
        events = listener.take(TICK)
        if events or time.monotonic() - sent_at >= HEARTBEAT:
            yield b"".join(_written(event) for event in events) or BEAT
            sent_at = time.monotonic()


def _written(event: Event) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.name.encode(), orjson.dumps(event.data))


def _departure(environ: dict[str, Any]) -> Callable[[], bool]:
    """Whether the client has closed the connection, as the server's socket tells; never, where it cannot be asked.

    Without it that shows at the second write that fails, a heartbeat or two later. Writes get a limit as well: one to a
    client that has stopped reading would keep its thread for ever.
    """
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if not isinstance(connection, socket.socket):
        return lambda: False
    connection.settimeout(LONGEST_WRITE)
    poll = select.poll()
    poll.register(connection, getattr(select, "POLLRDHUP", 0))
    return lambda: bool(poll.poll(0))
