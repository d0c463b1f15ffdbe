"""What must have arrived in time: a sender who drips bytes keeps a thread no longer than that.

Sockets know time-outs per read only, and none at all under gunicorn's threads. So one thread per process looks at what
is being received, and closes the receiving half of a connection that takes too long: the read then ends at once, and an
answer can still be sent.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.errors import ConveneError

TICK = 0.5
"""Seconds between two looks."""


class Receiving:
    """The connections on which this process waits for bytes, with the moment at which each is late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._late_at: dict[socket.socket, float] = {}
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def begin(self, connection: socket.socket, seconds: float) -> None:
        """Close the receiving half after so many seconds, a tick more at most, unless it `end`s before."""
        with self._lock:
            self._late_at[connection] = time.monotonic() + seconds
            if self._thread is None:
                # not at import: a fork keeps no threads
                self._thread = threading.Thread(target=self._look, name="deadlines", daemon=True)
                self._thread.start()

    def end(self, connection: socket.socket) -> bool:
        """False when it was closed, being late."""
        with self._lock:
            return self._late_at.pop(connection, None) is not None

    def _look(self) -> None:
        while not self._stopped.wait(TICK):
            now = time.monotonic()
            # also while closing: whatever ended in time may be at its next request already
            with self._lock:
                for connection in [connection for connection, late_at in self._late_at.items() if late_at <= now]:
                    del self._late_at[connection]
                    with contextlib.suppress(OSError):  # the peer was faster
                        # past TLS, which would take the shutdown for the end of encryption
                        socket.socket.shutdown(connection, socket.SHUT_RD)


receiving = Receiving()


class TooSlow(ConveneError):
    """A body did not arrive in time."""

    code = "TIMEOUT"

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time.")


@contextmanager
def in_time(environ: dict[str, Any], seconds: float) -> Iterator[None]:
    """What is read of the body within must have arrived in so many seconds. Raises TooSlow."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if not isinstance(connection, socket.socket):
        yield
        return
    receiving.begin(connection, seconds)
    ended: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - servers differ in what they raise at the end of a connection
        ended = error
    if not receiving.end(connection):
        raise TooSlow from ended
    if ended is not None:
        raise ended
