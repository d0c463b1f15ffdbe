import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request to a provider's face. No bodies and no headers: they carry secrets."""

    method: str
    path: str
    query: str
    status: int | None  # None: the connection was closed without an answer
    at: str


class RequestLog:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Request] = []

    def add(self, entry: Request) -> None:
        with self._lock:
            self._entries.append(entry)

    def entries(self) -> list[Request]:
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
