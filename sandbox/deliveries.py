"""Sending webhooks: one POST each, redirects not followed, never repeated, at most ten seconds."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from sandbox import times
from sandbox.clock import Clock
from sandbox.faults import Fault, Faults

TIME_LIMIT = 10.0


@dataclass(frozen=True)
class Outgoing:
    """What is to be sent to one subscription.

    `variants` are the headers that replace those of the same name when a fault asks for them: `unsigned`, `wrong-signature`.
    """

    subscription: str
    event: str
    url: str
    body: bytes
    headers: dict[str, str]
    variants: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Delivery:
    id: int
    outgoing: Outgoing
    at: str
    status: int | None = None
    error: str | None = None

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "triggerEvent": self.outgoing.event,
            "subscription": self.outgoing.subscription,
            "url": self.outgoing.url,
            "body": self.outgoing.body.decode(),
            "headers": self.outgoing.headers,
            "status": self.status,
            "error": self.error,
            "at": self.at,
        }


class Deliveries:
    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock, self._faults = clock, faults
        self._lock = threading.Lock()
        self._log: list[Delivery] = []
        self._made = 0
        self._parked: list[Outgoing] = []
        self._waiting: dict[str, list[Outgoing]] = {}  # reordered ones, by subscription
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="delivery")
        # No connection is kept: a subscriber that restarts between two deliveries must not be met on a dead one.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(timeout=TIME_LIMIT, follow_redirects=False, trust_env=False, limits=limits)

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Sends to every subscription at once and waits for the slowest.

        The caller must not hold the world's lock: the subscriber may call back while it handles the delivery.
        """
        if batch:
            wait([self._pool.submit(self._with_faults, outgoing) for outgoing in batch], timeout=TIME_LIMIT)

    def _with_faults(self, outgoing: Outgoing) -> None:
        faults = self._faults.for_webhook(outgoing.event)
        copies = 1
        for fault in faults:
            if fault.kind in outgoing.variants:
                outgoing = replace(outgoing, headers=outgoing.headers | outgoing.variants[fault.kind])
            elif fault.kind == "duplicate":
                copies = int(fault.effect.get("count", 2))
        stop = next((fault for fault in faults if fault.kind in {"drop", "park", "reorder", "delay"}), None)
        for _ in range(copies):
            if stop is None:
                self._post(outgoing)
                self._release_reordered(outgoing.subscription)
            else:
                self._detain(outgoing, stop)

    def _detain(self, outgoing: Outgoing, fault: Fault) -> None:
        if fault.kind == "drop":
            self._record(outgoing).error = "dropped by a fault"
        elif fault.kind == "park":
            with self._lock:
                self._parked.append(outgoing)
        elif fault.kind == "reorder":
            with self._lock:
                self._waiting.setdefault(outgoing.subscription, []).append(outgoing)
        else:
            timer = threading.Timer(float(fault.effect.get("seconds", 1)), self._post, [outgoing])
            timer.daemon = True
            timer.start()

    def _release_reordered(self, subscription: str) -> None:
        with self._lock:
            late = self._waiting.pop(subscription, [])
        for outgoing in late:
            self._post(outgoing)

    def flush(self, order: Sequence[int] | None = None) -> int:
        """Sends what is parked, one after the other, in the given order of their numbers (default: as they came)."""
        with self._lock:
            parked, self._parked = self._parked, []
        chosen = [parked[index] for index in order] if order is not None else parked
        for outgoing in chosen:
            self._post(outgoing)
        return len(chosen)

    def resend(self, delivery_id: int) -> Delivery | None:
        """The identical bytes and headers once more."""
        with self._lock:
            known = next((entry for entry in self._log if entry.id == delivery_id), None)
        return None if known is None else self._post(known.outgoing)

    def _post(self, outgoing: Outgoing) -> Delivery:
        entry = self._record(outgoing)
        try:
            answer = self._client.post(outgoing.url, content=outgoing.body, headers=outgoing.headers)
            entry.status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as problem:
            # A subscriber that cannot be reached is never an error for the one who made the booking.
            entry.error = f"{type(problem).__name__}: {problem}"
        return entry

    def _record(self, outgoing: Outgoing) -> Delivery:
        with self._lock:
            self._made += 1
            entry = Delivery(self._made, outgoing, times.millis(self._clock.now()))
            self._log.append(entry)
            return entry

    def entries(self) -> list[Delivery]:
        with self._lock:
            return list(self._log)

    def parked(self) -> list[Outgoing]:
        with self._lock:
            return list(self._parked)

    def clear(self) -> None:
        with self._lock:
            self._log.clear()
            self._parked.clear()
            self._waiting.clear()
