"""Replicas on one PostgreSQL, all running all jobs, with clocks half a minute apart: they are like one, whoever is killed."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import AVAILABILITY, CANCEL, MOVE, NOTIFICATIONS, REFRESH, Caller, at, iso
from processes import SHARE
from replicas import SKEWS, Fleet, FleetWorld, fleet_world, held_by, migrated, own_postgres
from replicas_judge import Before, at_rest, judge, left_behind
from test_creating import CREATE, event_type
from test_server import ROOT, until

from models import WebhookSubscription
from models.base import release_connection
from services.vault import place

__all__ = ["fleet_world", "migrated", "own_postgres"]
HERE = Path(__file__).parent
DAYS = (2, 3, 4, 5, 8, 9, 10, 11, 12)
SLOTS = [at(day, hour, minute) for day in DAYS for hour in range(8, 16) for minute in (0, 30)]
BOOKINGS = "query { bookings(first: 50) { edges { node { id status start title } } } }"
COME_AGAIN = {"ProviderFailure", "RescheduleInProgress", "CancelInProgress", "BookingInProgress"}
"""Answers that tell a caller to come again."""
RATE = 40
"""Requests per second, of all callers together."""
FIGURES = ROOT / "var" / "replicas.json"


@dataclass
class Crowd:
    """Three coaches, three mentees with a calendar and three without, and what is booked among them at first."""

    world: FleetWorld
    coaches: list[Caller] = field(default_factory=list)
    linked: list[Caller] = field(default_factory=list)
    others: list[Caller] = field(default_factory=list)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world
        self.coaches = [world.coach(name) for name in ("Clara", "Carl", "Cora")]
        for name in ("Mia", "Max", "Moe"):
            person = world.caller(name)
            world.account(person, eventTypes=[])
            self.linked.append(person.link())
        self.others = [world.caller(name) for name in ("Otto", "Uta", "Kim")]
        for person in self.others:
            person.gql("{ viewer { id } }")
        mentees = [*self.linked, *self.others]
        uids: dict[str, list[str]] = defaultdict(list)
        for number, slot in enumerate(SLOTS[::3]):
            coach, mentee = self.coaches[number % 3], mentees[number % 6]
            uids[coach.email].append(world.book(coach, slot, name=mentee.name, email=mentee.email))
        world.jobs()
        self.kinds = [event_type(coach) for coach in self.coaches]
        for row in WebhookSubscription.select():
            email = row.linked_account.email
            if uids[email]:
                secret = world.rt.vault.open(row.secret, place("webhook_subscription", row.id, "secret"))
                self.hooks.append({"endpoint": row.endpoint, "secret": secret, "uids": uids[email]})
        release_connection()

    def plan(self, ports: list[int], seconds: float, rate: float) -> dict[str, Any]:
        """What the callers are told."""
        people = [*self.coaches, *self.linked, *self.others]
        return {
            "ports": ports,
            "sandbox": f"{self.world.sandbox.url}/_sandbox",
            "seconds": seconds,
            "rate": rate,
            "threads": 8,
            "seed": 6,
            "people": [{"email": p.email, "token": p.token, "linked": p not in self.others} for p in people],
            "eventTypes": self.kinds,
            "hooks": self.hooks,
            "slots": [iso(slot) for slot in SLOTS],
            "window": {"start": iso(at(2, 8)), "end": iso(at(12, 16))},
            "queries": {
                "bookings": BOOKINGS,
                "availability": AVAILABILITY,
                "notifications": NOTIFICATIONS,
                "move": MOVE,
                "cancel": CANCEL,
                "create": CREATE,
                "refresh": REFRESH,
            },
        }


class Callers:
    """The load, in a process of its own."""

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        path = folder / "plan.json"
        path.write_text(json.dumps(plan))
        self._process = subprocess.Popen([sys.executable, HERE / "replicas_load.py", path], stdout=subprocess.PIPE)
        self._told = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._told = self._process.stdout.read()

    @property
    def at_it(self) -> bool:
        return self._process.poll() is None

    def result(self) -> dict[str, Any]:
        self._reader.join(300)
        assert self._process.wait(60) == 0
        found: dict[str, Any] = json.loads(self._told)
        return found


def figures(samples: list[dict[str, Any]], deaths: int, taken_over: dict[str, set[str]]) -> dict[str, Any]:
    """What is published: shares of all requests, milliseconds by kind."""
    by_kind = defaultdict(list)
    for sample in samples:
        by_kind[sample["kind"]].append(sample)
    failed = [sample for sample in samples if sample["outcome"] != "ok"]
    return {
        "requests": len(samples),
        "kills": deaths,
        "takenOver": {table: len(ids) for table, ids in sorted(taken_over.items()) if ids},
        "secondTries": sum(1 for sample in samples if sample["tries"] > 1),
        "errorsAfterOneRetry": len(failed),
        "errorShare": round(len(failed) / len(samples), 6),
        "errors": dict(Counter(f"{sample['kind']} {sample['outcome']}" for sample in failed)),
        "toldToComeAgain": dict(Counter(f"{s['kind']} {s['typename']}" for s in samples if s["typename"] in COME_AGAIN)),
        "kinds": {kind: _kind(mine) for kind, mine in sorted(by_kind.items())},
    }


def _kind(samples: list[dict[str, Any]]) -> dict[str, Any]:
    times = sorted(sample["ms"] for sample in samples)
    percentiles = {f"p{part}": round(times[min(len(times) * part // 100, len(times) - 1)], 1) for part in (50, 95, 99)}
    answers = Counter(sample["typename"] for sample in samples if sample["typename"])
    return {"requests": len(times), **percentiles, "longest": round(times[-1], 1), "answers": dict(answers.most_common())}


def disturb(fleet: Fleet, callers: Callers, every: float) -> tuple[int, dict[str, set[str]]]:
    """One after the other is killed and started again; how many were, and what stood in their hands."""
    deaths, held = 0, defaultdict(set)
    due = time.monotonic() + every / 2
    while callers.at_it:
        threading.Event().wait(0.1)
        if time.monotonic() < due:
            continue
        replica = fleet.replicas[deaths % len(fleet.replicas)]
        for table, ids in held_by(replica.kill()).items():
            held[table] |= ids
        deaths += 1
        replica.start()
        due += every
    return deaths, held


def run(world: FleetWorld, fleet: Fleet, folder: Path, seconds: float, every: float, rate: float) -> dict[str, Any]:
    """The whole of it: load and deaths, rest, judgement; the figures."""
    crowd = Crowd(world)
    before = Before(world)
    with fleet:
        callers = Callers(crowd.plan([replica.port for replica in fleet.replicas], seconds, rate), folder)
        deaths, held = disturb(fleet, callers, every)
        told = callers.result()
        memory = [round(replica.memory() / 2**20) for replica in fleet.replicas]
        # past every lease and quarantine: what the dead left is anybody's
        fleet.later(timedelta(minutes=10))
        try:
            until(lambda: at_rest(fleet.now()), 120)
        except AssertionError as error:
            raise AssertionError(left_behind(fleet.now())) from error
        assert set(fleet.stop()) == {0}
    found = {"memoryMiB": memory, **figures(told["samples"], deaths, held)}
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    world.clock.at = fleet.now()
    found |= judge(world, before, set(told["acknowledged"]), held)
    assert "Traceback" not in fleet.logs()
    return found


LONG = max(round(300 * SHARE), 40)


@pytest.mark.long
@pytest.mark.parametrize(("replicas", "seconds", "every"), [(2, 5, 4), (4, LONG, 20)])
def test_replicas_are_like_one_while_they_are_killed(
    fleet_world: FleetWorld, migrated: str, tmp_path: Path, replicas: int, seconds: int, every: int
) -> None:
    fleet = Fleet(fleet_world, migrated, tmp_path, SKEWS[:replicas])
    found = {"seconds": seconds, "replicas": replicas} | run(fleet_world, fleet, tmp_path, seconds, every, rate=RATE)
    if seconds == LONG:
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(found, indent=2) + "\n")
    assert found["kills"] >= seconds // (2 * every) + 1
    assert found["errorShare"] < 0.02, found
    assert found["kinds"]["move"]["answers"]["BookingRescheduled"] > 0, found
