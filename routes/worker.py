"""Gunicorn's threaded worker with limits in time on what it receives and sends.

Its own `timeout` watches the process, not a request: whoever sends half a head, or reads nothing of an answer, would
keep a thread for ever.
"""

import contextlib
import os
import select
import socket
import struct
import time
from typing import Any

from gunicorn.workers import gthread

from routes.deadlines import receiving

LINGER = 2.0
"""Seconds for the other side to close as well."""
MOST_DRAINED = 64 * 1024
SECONDS = float(os.environ.get("CONVENE_RECEIVE_SECONDS") or 30)
LONGEST_SEND = struct.pack("ll", 30, 0)
"""Seconds and microseconds for which a connection may take nothing more of an answer."""


# so long a new connection that says nothing would keep a thread; it goes to the poller, which waits for thousands at once
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.0


class Worker(gthread.ThreadWorker):
    def handle(self, conn: Any) -> Any:
        """From the first byte of a head to the end of its answer."""
        if not self.alive:
            # there is no poller any more for who has said nothing yet
            conn.wait_for_data(LINGER)
        receiving.begin(conn.sock, SECONDS)
        try:
            kept = super().handle(conn)
        finally:
            receiving.end(conn.sock)
        if kept is False:
            _part(conn.sock)
        return kept

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Gunicorn's time for the rest of a body is the one that is set to nothing above: it would keep no connection."""
        return bool(keepalive) and bool(conn.parser.finish_body(deadline=time.monotonic() + LINGER))

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._close_door()

    def _close_door(self) -> None:
        """Take whoever stands there already, and refuse at once whoever comes now, so that they go elsewhere.

        Gunicorn keeps the socket open until the last request in hand is answered: whoever connects meanwhile would wait
        for that, unserved, and be cut off then.
        """
        for listener in self.sockets:
            while select.select([listener], [], [], 0)[0]:
                self.accept(listener)
            listener.close()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """The head is here; of the body the routes take care (routes/deadlines.py)."""
        receiving.end(conn.sock)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, LONGEST_SEND)
        return super().handle_request(req, conn)


def _part(connection: socket.socket) -> None:
    """Let the last of an answer arrive before the connection is closed.

    Gunicorn does so itself, but in its only thread that accepts connections: a few peers that just do not close would
    keep all others out. After this there is nothing left for it to wait for.
    """
    until = time.monotonic() + LINGER
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        drained = 0
        while drained < MOST_DRAINED and (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            received = len(connection.recv(4096))
            if not received:
                return
            drained += received
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
