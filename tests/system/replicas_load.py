"""The callers: `python replicas_load.py PLAN` sends a mixed load at a set rate and prints what came of it.

A process of its own that knows nothing but HTTP. Each request goes to a replica by chance, and once more, to another by
chance, when the connection broke or the answer was 502 or 503. What counts is what the caller sees in the end; the time
is that of both tries.
"""

import hashlib
import hmac
import json
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

AGAIN = {502, 503}
TRIES = 2
DOUBLED = 0.4
"""So large a part of deliveries comes twice."""


@dataclass
class Sample:
    """One request as its caller saw it. outcome: ok, broken, an HTTP status, or the code of a GraphQL error."""

    kind: str
    at: float
    ms: float
    outcome: str
    tries: int
    typename: str = ""


@dataclass
class Person:
    email: str
    token: str
    linked: bool
    bookings: list[dict[str, Any]] = field(default_factory=list)


class Load:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan, self._queries = plan, plan["queries"]
        self._people = [Person(one["email"], one["token"], one["linked"]) for one in plan["people"]]
        self._linked = [person for person in self._people if person.linked]
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self.acknowledged: set[str] = set()
        kinds: dict[str, tuple[int, Callable[[random.Random, httpx.Client], None]]] = {
            "bookings": (30, self._list),
            "availability": (10, self._availability),
            "notifications": (8, self._notifications),
            "move": (18, self._move),
            "create": (6, self._create),
            "cancel": (3, self._cancel),
            "webhook": (20, self._webhook),
            "refresh": (3, self._refresh),
            "expire": (2, self._expire),
        }
        self._acts = [act for _, act in kinds.values()]
        self._weights = [weight for weight, _ in kinds.values()]

    def run(self) -> None:
        with ThreadPoolExecutor(self._plan["threads"]) as pool:
            for sender in [pool.submit(self._send, number) for number in range(self._plan["threads"])]:
                sender.result()

    def _send(self, number: int) -> None:
        """One caller after the other, at its part of the rate."""
        chance = random.Random(self._plan["seed"] * 1000 + number)
        pause = self._plan["threads"] / self._plan["rate"]
        due = self._began + pause * chance.random()
        with httpx.Client(timeout=30, verify=False) as http:
            for person in self._people[number :: self._plan["threads"]]:
                self._look(person, chance, http)
            while due < self._began + self._plan["seconds"]:
                threading.Event().wait(max(due - time.monotonic(), 0))
                (act,) = chance.choices(self._acts, self._weights)
                act(chance, http)
                # whoever is late does not hurry: the load stays what it is
                due = max(due + pause, time.monotonic())

    # ---- one request ---------------------------------------------------------------------------------------------------

    def _ask(
        self, chance: random.Random, http: httpx.Client, kind: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[Sample, Any]:
        """How it went, with one more try if need be, and the body of the answer."""
        began, answer, tries = time.monotonic(), None, 0
        for port in chance.sample(self._plan["ports"], TRIES):
            tries += 1
            try:
                answer = http.post(f"http://127.0.0.1:{port}{path}", content=body, headers={"Content-Type": "application/json", **headers})
            except httpx.HTTPError:
                answer = None
                continue
            if answer.status_code not in AGAIN:
                break
        ms = (time.monotonic() - began) * 1000
        found = answer.json() if answer is not None and answer.headers.get("content-type", "").startswith("application/json") else None
        sample = Sample(kind, began - self._began, ms, _outcome(answer, found), tries)
        if sample.outcome == "ok" and path == "/graphql":
            (value,) = found["data"].values()
            sample.typename = value.get("__typename", "")
        self.samples.append(sample)
        return sample, found

    def _gql(self, chance: random.Random, http: httpx.Client, kind: str, person: Person, variables: dict[str, Any] | None = None) -> Any:
        body = json.dumps({"query": self._queries[kind], "variables": variables or {}}).encode()
        sample, found = self._ask(chance, http, kind, "/graphql", body, {"Authorization": f"Bearer {person.token}"})
        return next(iter(found["data"].values())) if sample.outcome == "ok" else None

    # ---- what callers do -----------------------------------------------------------------------------------------------

    def _look(self, person: Person, chance: random.Random, http: httpx.Client) -> None:
        found = self._gql(chance, http, "bookings", person)
        if found:
            person.bookings = [edge["node"] for edge in found["edges"]]

    def _list(self, chance: random.Random, http: httpx.Client) -> None:
        self._look(chance.choice(self._people), chance, http)

    def _availability(self, chance: random.Random, http: httpx.Client) -> None:
        asked = {"target": {"eventTypeId": chance.choice(self._plan["eventTypes"])}, "window": self._plan["window"]}
        self._gql(chance, http, "availability", chance.choice(self._people), {"input": asked})

    def _notifications(self, chance: random.Random, http: httpx.Client) -> None:
        self._gql(chance, http, "notifications", chance.choice(self._people))

    def _of_somebody(self, chance: random.Random) -> tuple[Person, dict[str, Any]] | None:
        person = chance.choice(self._people)
        open_ = [row for row in person.bookings if row["status"] == "CONFIRMED"]
        return (person, chance.choice(open_)) if open_ else None

    def _move(self, chance: random.Random, http: httpx.Client) -> None:
        if found := self._of_somebody(chance):
            person, booking = found
            asked = {"bookingId": booking["id"], "newStart": chance.choice(self._plan["slots"]), "idempotencyKey": uuid.uuid4().hex}
            self._gql(chance, http, "move", person, {"input": asked})

    def _cancel(self, chance: random.Random, http: httpx.Client) -> None:
        if found := self._of_somebody(chance):
            person, booking = found
            self._gql(chance, http, "cancel", person, {"input": {"bookingId": booking["id"], "idempotencyKey": uuid.uuid4().hex}})

    def _create(self, chance: random.Random, http: httpx.Client) -> None:
        asked = {
            "eventTypeId": chance.choice(self._plan["eventTypes"]),
            "start": chance.choice(self._plan["slots"]),
            "idempotencyKey": uuid.uuid4().hex,
        }
        self._gql(chance, http, "create", chance.choice(self._people), {"input": asked})

    def _refresh(self, chance: random.Random, http: httpx.Client) -> None:
        self._gql(chance, http, "refresh", chance.choice(self._linked), {"force": True})

    def _expire(self, chance: random.Random, http: httpx.Client) -> None:
        """At the provider: Convene learns of it when it is next refused."""
        http.post(f"{self._plan['sandbox']}/calcom/tokens/expire", json={"email": chance.choice(self._linked).email}).raise_for_status()

    def _webhook(self, chance: random.Random, http: httpx.Client) -> None:
        """A provider's news, signed by it; sometimes they come twice."""
        hook = chance.choice(self._plan["hooks"])
        created = f"2027-03-01T08:{chance.randrange(60):02}:{chance.randrange(60):02}.{chance.randrange(1000):03}Z"
        content = {"triggerEvent": "BOOKING_CREATED", "createdAt": created, "payload": {"uid": chance.choice(hook["uids"])}}
        body = json.dumps(content).encode()
        signed = {"X-Cal-Signature-256": hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()}
        for _ in range(2 if chance.random() < DOUBLED else 1):
            sample, _ = self._ask(chance, http, "webhook", f"/webhooks/calcom/{hook['endpoint']}", body, signed)
            if sample.outcome == "ok":
                self.acknowledged.add(hashlib.sha256(hook["endpoint"].encode() + b"\n" + body).hexdigest())


def _outcome(answer: httpx.Response | None, found: Any) -> str:
    if answer is None:
        return "broken"
    if answer.status_code != 200:
        return str(answer.status_code)
    if found and found.get("errors"):
        return str(found["errors"][0].get("extensions", {}).get("code", "error"))
    return "ok"


if __name__ == "__main__":
    load = Load(json.loads(Path(sys.argv[1]).read_text()))
    load.run()
    told = {"samples": [vars(sample) for sample in load.samples], "acknowledged": sorted(load.acknowledged)}
    sys.stdout.write(json.dumps(told))
