"""How often one caller may ask, counted in this process's memory: token buckets, the least recently used forgotten first.

With several processes behind one balancer each counts for itself. What must hold for all of them together is counted in
the database (services/limits.py).
"""

import threading
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from services.clock import Clock

MOST_BUCKETS = 20_000
"""About 4 MB. Whoever is forgotten begins with a full bucket."""
MINUTE = 60.0


class Buckets:
    """One bucket per caller: `per_minute` requests at once, refilled evenly. 0 refuses nobody."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock, self._most, self._rate = clock, float(per_minute), per_minute / MINUTE
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}
        """What was left of each, and when; the least recently used is the first."""

    def take(self, caller: str) -> float:
        """Count one request. Answers 0.0, or the seconds after which the next one is taken; that costs nothing."""
        if not self._most:
            return 0.0
        now = self._clock.now().timestamp()
        with self._lock:
            left = self._left(caller, now)
            enough = left >= 1
            self._keep(caller, left - 1 if enough else left, now)
        return 0.0 if enough else (1 - left) / self._rate

    def give_back(self, caller: str) -> None:
        """Take back the count of one request: it turned out to be somebody else's."""
        if self._most:
            now = self._clock.now().timestamp()
            with self._lock:
                self._keep(caller, min(self._left(caller, now) + 1, self._most), now)

    def _left(self, caller: str, now: float) -> float:
        left, then = self._buckets.pop(caller, (self._most, now))
        return min(left + max(now - then, 0.0) * self._rate, self._most)

    def _keep(self, caller: str, left: float, now: float) -> None:
        self._buckets[caller] = (left, now)
        if len(self._buckets) > MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]


@lru_cache(maxsize=1000)
def address_of(peer: str, forwarded_for: str, trusted_proxies: int) -> str:
    """Whom an address limit counts for: the peer, or who the last of our own proxies says that it was called by.

    Each of `trusted_proxies` adds who called it to the end of X-Forwarded-For; what stands before that anybody can
    write. With fewer entries than proxies the request came another way, and counts for the peer. Somebody with IPv6 has
    a /64 at least, so that counts as one address.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",")] if trusted_proxies else []
    named = _network(hops[-trusted_proxies]) if hops and len(hops) >= trusted_proxies else None
    return named or _network(peer) or peer


def _network(text: str) -> str | None:
    host = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0] if text.count(":") == 1 else text
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
