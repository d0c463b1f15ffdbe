"""Faults on demand.

A fault is `{"match": {...}, "effect": {...}, "times": 1, "skip": 0, "share": 1.0}`. `times` counts how often it acts (None:
until removed), `skip` lets that many matching events through first, `share` acts on that part of them by chance.

Requests are matched by `method` (default any) and `path` (fnmatch against the full path with the provider's prefix):
latency, status, drop, drip, malformed, hold. Webhooks are matched by `webhook` (a trigger name or `*`): duplicate, delay,
drop, unsigned, wrong-signature, reorder, park. Mail is matched by `mail` (fnmatch against a recipient's address):
refuse-connection, temporary, permanent, lost-answer, slow, hold.
"""

import random
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

REQUEST_KINDS = {"latency", "status", "drop", "drip", "malformed", "hold"}
WEBHOOK_KINDS = {"duplicate", "delay", "drop", "unsigned", "wrong-signature", "reorder", "park"}
MAIL_KINDS = {"refuse-connection", "temporary", "permanent", "lost-answer", "slow", "hold"}
_NUMBERS = ("seconds", "chunks", "count", "status")
HOLD_LIMIT = 60.0  # seconds a request is held when nobody releases it


@dataclass
class Fault:
    id: str
    match: dict[str, str]
    effect: dict[str, Any]
    times: int | None = 1
    skip: int = 0
    share: float = 1.0
    hits: int = 0
    waiting: int = 0
    released: bool = False
    owner: "Faults | None" = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        return str(self.effect["kind"])

    @property
    def when(self) -> str:
        return str(self.effect.get("when", "before"))

    def describe(self) -> dict[str, Any]:
        names = ("id", "match", "effect", "times", "skip", "share", "hits", "waiting", "released")
        return {name: getattr(self, name) for name in names}

    def wait_held(self, count: int = 1, timeout: float = 10.0) -> bool:
        """True as soon as that many requests are on hold here."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting >= count, timeout)

    def hold(self) -> None:
        """The request stays here until somebody releases it."""
        with self._changed:
            self.waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.released, HOLD_LIMIT)
            self.waiting -= 1
            self._changed.notify_all()

    def release(self) -> None:
        """Everyone on hold goes on, and later requests are no longer held."""
        with self._changed:
            self.released = True
            self._changed.notify_all()

    def remove(self) -> None:
        assert self.owner is not None
        self.owner.remove(self.id)

    @property
    def _changed(self) -> threading.Condition:
        assert self.owner is not None
        return self.owner.changed


class Faults:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._faults: dict[str, Fault] = {}
        self._made = 0

    def add(self, match: dict[str, str], effect: dict[str, Any], *, times: int | None = 1, skip: int = 0, share: float = 1.0) -> Fault:
        """Raises ValueError with a sentence for the person who asked."""
        allowed = WEBHOOK_KINDS if "webhook" in match else MAIL_KINDS if "mail" in match else REQUEST_KINDS
        if effect.get("kind") not in allowed:
            raise ValueError(f"effect.kind must be one of {', '.join(sorted(allowed))}")
        if effect.get("when", "before") not in {"before", "after"}:
            raise ValueError("effect.when must be before or after")
        if not isinstance(match.get("mail", ""), str):
            raise ValueError("match.mail must be a recipient's address or a pattern")  # noqa: TRY004 - as below
        if effect["kind"] == "refuse-connection" and match["mail"] != "*":
            raise ValueError("match.mail must be * here: a connection is refused before it names a recipient")
        numbers = {"times": times or 0, "skip": skip, "share": share} | {name: effect.get(name, 0) for name in _NUMBERS}
        for name, value in numbers.items():
            if not isinstance(value, int | float):
                raise ValueError(f"{name} must be a number")  # noqa: TRY004 - all refusals are one kind for the caller
        with self.changed:
            self._made += 1
            fault = Fault(f"fault-{self._made}", match, effect, times, skip, share, owner=self)
            self._faults[fault.id] = fault
        return fault

    def for_request(self, method: str, path: str) -> list[Fault]:
        """The faults that act on this request now; each is counted as a hit."""

        def matches(fault: Fault) -> bool:
            if fault.match.keys() & {"webhook", "mail"}:
                return False
            wanted = fault.match.get("method", "*")
            return wanted in {"*", method} and fnmatchcase(path, fault.match.get("path", "*"))

        return self._take(matches)

    def for_webhook(self, event: str) -> list[Fault]:
        return self._take(lambda fault: fault.match.get("webhook") in {"*", event})

    def for_mail(self, kinds: Collection[str], recipients: Iterable[str] = ()) -> list[Fault]:
        """Those of these kinds that match any of the recipients; a fault that matches several of them is hit once."""
        known = [address.lower() for address in recipients]

        def matches(fault: Fault) -> bool:
            wanted = fault.match.get("mail", "").lower()
            return fault.kind in kinds and (wanted == "*" or any(fnmatchcase(address, wanted) for address in known))

        return self._take(matches)

    def _take(self, matches: Callable[[Fault], bool]) -> list[Fault]:
        with self.changed:
            return [fault for fault in self._faults.values() if matches(fault) and self._acts(fault)]

    @staticmethod
    def _acts(fault: Fault) -> bool:
        if fault.released or (fault.times is not None and fault.hits >= fault.times):
            return False
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.share < 1.0 and random.random() >= fault.share:
            return False
        fault.hits += 1
        return True

    def get(self, fault_id: str) -> Fault | None:
        with self.changed:
            return self._faults.get(fault_id)

    def entries(self) -> list[Fault]:
        with self.changed:
            return list(self._faults.values())

    def remove(self, fault_id: str) -> bool:
        """Whoever is on hold there goes on."""
        with self.changed:
            fault = self._faults.pop(fault_id, None)
            if fault is not None:
                fault.release()
            return fault is not None

    def clear(self) -> None:
        for fault in self.entries():
            self.remove(fault.id)
