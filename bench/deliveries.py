"""Signed deliveries of Cal.com's shape, 2 KB each, every one another."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

SIZE = 2048
_numbers = count()


@dataclass(frozen=True)
class Subscribed:
    """An endpoint of ours with its secret; `uids`: the bookings that are told of in turn."""

    endpoint: str
    secret: str
    uids: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/webhooks/calcom/{self.endpoint}"

    def bodies(self, trigger: str, made_at: datetime | None = None) -> Iterator[bytes]:
        while True:
            number = next(_numbers)
            body = {
                "triggerEvent": trigger,
                "createdAt": (made_at or datetime.now(UTC)).isoformat(timespec="milliseconds"),
                "payload": {"uid": self.uids[number % len(self.uids)], "title": f"Delivery {number}", "notes": ""},
            }
            body["payload"]["notes"] = "x" * (SIZE - len(json.dumps(body)))  # type: ignore[index]
            yield json.dumps(body).encode()

    def headers(self, body: bytes) -> dict[str, str]:
        return {"X-Cal-Signature-256": hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()}
