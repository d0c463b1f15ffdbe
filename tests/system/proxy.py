"""A TCP door between two parties that fails on demand, with toxics in the sense of Toxiproxy.

    with Door(("127.0.0.1", port)) as door:      # or Door("/path/of/a/socket")
        toxic = door.add(Swallow(b"POST /v2/bookings", times=1))
        ...                                      # speak to door.port
        toxic.remove()

A toxic strikes a line at the moment at which what the client sends holds its `match`, without one at the first byte at
the latest; it acts until the client sends its next request. One thread per line serves both directions, so that a
reset is one at once.
"""

import contextlib
import ctypes
import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

CHUNK = 65536
ATTACH_FILTER, DETACH_FILTER = 26, 27
PATIENCE = 60.0
T = TypeVar("T", bound="Toxic")


@dataclass(eq=False)
class Toxic:
    """`times`: how often it strikes; None: until it is removed. Each kind does with what passes what its name says."""

    match: bytes = b""
    times: int | None = None
    hits: int = field(default=0, init=False)
    gone: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    door: "Door | None" = field(default=None, init=False, repr=False)

    def remove(self) -> None:
        """Whoever waits for it goes on."""
        assert self.door is not None
        self.door.drop(self)

    def wait_hit(self, count: int = 1) -> None:
        assert self.door is not None
        with self.door.changed:
            assert self.door.changed.wait_for(lambda: self.hits >= count, PATIENCE), "it never struck"

    def pause(self, seconds: float | None) -> None:
        self.gone.wait(seconds)

    def request(self, line: "Line", data: bytes) -> None:
        line.forward(data)

    def answer(self, line: "Line", data: bytes) -> None:
        line.back(data)

    def ended(self, line: "Line") -> None:
        """The server has said all."""
        line.finish_answer()


@dataclass(eq=False)
class Latency(Toxic):
    """The answer comes so much later."""

    seconds: float = 1.0

    def answer(self, line: "Line", data: bytes) -> None:
        self.pause(self.seconds)
        line.back(data)


@dataclass(eq=False)
class Drip(Toxic):
    """So many bytes of the answer, now and then."""

    seconds: float = 0.05
    size: int = 1

    def answer(self, line: "Line", data: bytes) -> None:
        for begin in range(0, len(data), self.size):
            self.pause(self.seconds)
            line.back(data[begin : begin + self.size])


@dataclass(eq=False)
class CutRequest(Toxic):
    """So many bytes of the request pass, then the line is reset on both sides."""

    after: int = 0

    def request(self, line: "Line", data: bytes) -> None:
        line.forward(data[: self.after])
        line.reset()


@dataclass(eq=False)
class CutAnswer(Toxic):
    """So many bytes of the answer pass, then the line is reset, or closed in good order."""

    after: int = 0
    orderly: bool = False

    def answer(self, line: "Line", data: bytes) -> None:
        line.back(data[: self.after])
        if self.orderly:
            line.close()
        else:
            line.reset()


@dataclass(eq=False)
class Swallow(CutAnswer):
    """The server did what it was asked; its answer is lost, and the line reset."""


@dataclass(eq=False)
class SlowClose(Toxic):
    """All that is said passes, the end of it so much later."""

    seconds: float = 1.0

    def ended(self, line: "Line") -> None:
        self.pause(self.seconds)
        line.finish_answer()


@dataclass(eq=False)
class Silence(Toxic):
    """Half-open: accepted, acknowledged by TCP, and never answered. When it is removed, the line is reset."""

    def request(self, line: "Line", data: bytes) -> None:
        self.answer(line, data)

    def answer(self, line: "Line", data: bytes) -> None:  # noqa: ARG002 - nobody ever reads it
        self.pause(None)
        line.reset()


@dataclass(eq=False)
class SwallowSilently(Silence):
    """The server did what it was asked, and its answer never comes; nothing is closed."""

    def request(self, line: "Line", data: bytes) -> None:
        line.forward(data)


class Line:
    """One connection through the door."""

    def __init__(self, door: "Door", client: socket.socket) -> None:
        self._door, self.client, self.server = door, client, None
        self._toxic: Toxic | None = None
        self._answered, self._over = False, False

    def run(self) -> None:
        with contextlib.suppress(OSError):
            self._strike(b"")
            self.server = self._door.reach()
            self._serve(self.server)
        self.reset()

    def _serve(self, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            for side in (self.client, server):
                selector.register(side, selectors.EVENT_READ)
            while not self._over:
                for key, _ in selector.select():
                    side = key.fileobj
                    data = side.recv(CHUNK)  # type: ignore[union-attr]
                    if not data:
                        selector.unregister(side)
                    self._pass(data, from_client=side is self.client)
                    if self._over:
                        return
                if not selector.get_map():
                    self.close()

    def _pass(self, data: bytes, *, from_client: bool) -> None:
        if from_client and data:
            self._strike(data)
            (self._toxic or _CLEAN).request(self, data)
        elif from_client:
            self.server.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        elif data:
            self._answered = True
            (self._toxic or _CLEAN).answer(self, data)
        else:
            (self._toxic or _CLEAN).ended(self)

    def _strike(self, data: bytes) -> None:
        if self._answered or (self._toxic is not None and self._toxic.gone.is_set()):
            self._toxic, self._answered = None, False
        if self._toxic is None:
            self._toxic = self._door.struck(data)

    def forward(self, data: bytes) -> None:
        if data:
            self.server.sendall(data)  # type: ignore[attr-defined]

    def back(self, data: bytes) -> None:
        if data:
            self.client.sendall(data)

    def finish_answer(self) -> None:
        self.client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._over = True
        for side in (self.client, self.server):
            if side is not None:
                side.close()

    def reset(self) -> None:
        """RST instead of FIN."""
        if not self._over:
            for side in (self.client, self.server):
                if side is not None and side.family == socket.AF_INET:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Door:
    """Listens on loopback and passes on to `target`: (host, port), or the path of a socket file."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        """How many were accepted."""
        self.changed = threading.Condition()
        self._toxics: list[Toxic] = []
        self._lines: set[Line] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self.clear()
        self.cut_all()
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ---- the listener --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def shut(self) -> None:
        """Connections are refused from now on; those that stand go on."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def vanish(self) -> None:
        """Whatever is sent to it, on lines that stand and for new ones, is dropped without a word: no FIN, no RST, no ACK."""
        for one in self._sockets():
            _drop_all_packets(one)

    def reappear(self) -> None:
        """It is there again, and knows nothing of the lines that stood."""
        for one in self._sockets():
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)
        self.cut_all()

    def _sockets(self) -> list[socket.socket]:
        with self.changed:
            return [one for one in (self._listener, *(line.client for line in self._lines)) if one is not None]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = Line(self, client)
            with self.changed:
                self.connections += 1
                self._lines.add(line)
                self.changed.notify_all()
            self._start(self._live, line)

    def _live(self, line: Line) -> None:
        try:
            line.run()
        finally:
            with self.changed:
                self._lines.discard(line)
                self.changed.notify_all()

    def _start(self, do: Any, argument: Any) -> None:
        thread = threading.Thread(target=do, args=[argument], name="door", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()]
        self._threads.append(thread)
        thread.start()

    def reach(self) -> socket.socket:
        if isinstance(self.target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            return server
        server = socket.create_connection(self.target, timeout=PATIENCE)
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    # ---- lines and toxics ------------------------------------------------------------------------------------------------

    @property
    def lines(self) -> int:
        """How many stand."""
        with self.changed:
            return len(self._lines)

    def cut_all(self) -> None:
        """Every line that stands is broken at once, as when a peer's process is killed."""
        with self.changed:
            standing = list(self._lines)
        for line in standing:
            for side in (line.client, line.server):
                if side is not None:
                    with contextlib.suppress(OSError):
                        side.shutdown(socket.SHUT_RDWR)

    def add(self, toxic: T) -> T:
        toxic.door = self
        with self.changed:
            self._toxics.append(toxic)
        return toxic

    def drop(self, toxic: Toxic) -> None:
        with self.changed:
            if toxic in self._toxics:
                self._toxics.remove(toxic)
        toxic.gone.set()

    def clear(self) -> None:
        with self.changed:
            toxics = list(self._toxics)
        for toxic in toxics:
            self.drop(toxic)

    def struck(self, data: bytes) -> Toxic | None:
        with self.changed:
            for toxic in self._toxics:
                if toxic.match in data and (toxic.times is None or toxic.hits < toxic.times):
                    toxic.hits += 1
                    self.changed.notify_all()
                    return toxic
        return None


def _drop_all_packets(one: socket.socket) -> None:
    """A classic BPF program of one instruction: return 0."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    one.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


_CLEAN = Toxic()
