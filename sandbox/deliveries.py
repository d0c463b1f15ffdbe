"""Sending webhooks: one POST each, redirects not followed, repeated only where the provider does that."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
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
    One that is replaced by nothing is not sent at all.
    """

    subscription: str
    event: str
    url: str
    body: bytes
    headers: dict[str, str]
    variants: dict[str, dict[str, str]] = field(default_factory=dict)
    time_limit: float = TIME_LIMIT
    pauses: tuple[float, ...] = ()
    """Seconds of the sandbox's clock from each failed try to the next one; none: never repeated."""
    renewed: Callable[[], dict[str, str]] | None = None
    """Headers that replace those of the same name when it is tried again; None: the identical bytes and headers."""
    told: Callable[["Outgoing", bool], None] | None = None
    """Called after each try with whether it arrived."""
    settles: Callable[[int, bytes], bool] | None = None
    """Whether an answer of this status and body counts as arrived; None: any 2xx. What counts is not tried again."""


@dataclass(frozen=True)
class Repeat:
    due: datetime
    outgoing: Outgoing
    tries: int


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
        self._repeats: list[Repeat] = []
        self._under_way: set[Future[None]] = set()
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

    def send_soon(self, batch: Sequence[Outgoing]) -> None:
        """The same without waiting: for providers that answer first and deliver afterwards.

        To one subscription one after the other, in this order.
        """
        for subscription in dict.fromkeys(outgoing.subscription for outgoing in batch):
            line = [outgoing for outgoing in batch if outgoing.subscription == subscription]
            future = self._pool.submit(self._in_turn, line)
            with self._lock:
                self._under_way.add(future)
            future.add_done_callback(self._over)

    def _in_turn(self, line: Sequence[Outgoing]) -> None:
        for outgoing in line:
            self._with_faults(outgoing)

    def _over(self, future: Future[None]) -> None:
        with self._lock:
            self._under_way.discard(future)

    def settle(self) -> None:
        """Waits until everything that was sent without waiting has arrived or failed."""
        with self._lock:
            under_way = list(self._under_way)
        wait(under_way, timeout=2 * TIME_LIMIT)

    def repeat(self) -> int:
        """Tries again whatever is due by the sandbox's clock; answers how many."""
        now, sent = self._clock.now(), 0
        # One at a time: a failed try may be what makes the provider give up on the rest of them.
        while (one := self._take_due(now)) is not None:
            fresh = one.outgoing.renewed() if one.outgoing.renewed else {}
            self._post(replace(one.outgoing, headers=one.outgoing.headers | fresh), one.tries)
            sent += 1
        return sent

    def _take_due(self, now: datetime) -> Repeat | None:
        with self._lock:
            due = min((one for one in self._repeats if one.due <= now), key=lambda one: one.due, default=None)
            if due is not None:
                self._repeats.remove(due)
            return due

    def forget(self, subscription: str) -> None:
        """What waits for this subscription is not tried again."""
        with self._lock:
            self._repeats = [one for one in self._repeats if one.outgoing.subscription != subscription]

    def _with_faults(self, outgoing: Outgoing) -> None:
        faults = self._faults.for_webhook(outgoing.event)
        copies = 1
        for fault in faults:
            if fault.kind in outgoing.variants:
                headers = outgoing.headers | outgoing.variants[fault.kind]
                outgoing = replace(outgoing, headers={name: value for name, value in headers.items() if value})
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

    def _post(self, outgoing: Outgoing, tries: int = 0) -> Delivery:
        entry, arrived = self._record(outgoing), False
        try:
            answer = self._client.post(outgoing.url, content=outgoing.body, headers=outgoing.headers, timeout=outgoing.time_limit)
            entry.status = answer.status_code
            arrived = outgoing.settles(answer.status_code, answer.content) if outgoing.settles else answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as problem:
            # A subscriber that cannot be reached is never an error for the one who made the booking.
            entry.error = f"{type(problem).__name__}: {problem}"
        self._note(outgoing, tries, arrived=arrived)
        return entry

    def _note(self, outgoing: Outgoing, tries: int, *, arrived: bool) -> None:
        if not arrived and tries < len(outgoing.pauses):
            due = self._clock.now() + timedelta(seconds=outgoing.pauses[tries])
            with self._lock:
                self._repeats.append(Repeat(due, outgoing, tries + 1))
        if outgoing.told is not None:
            outgoing.told(outgoing, arrived)

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
            self._repeats.clear()
