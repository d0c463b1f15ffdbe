"""Providers that answer nonsense: whatever they say, callers get a typed answer, and the jobs go on with the next piece of work.

A proxy stands between Convene and the sandbox. In each case one kind of answer arrives with something else in one place,
or as something else altogether, while one thing is done; afterwards the provider is itself again.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest
from harness import (
    AVAILABILITY,
    BOOKINGS,
    CONNECTION,
    DEFAULTS,
    EVENT_TYPES,
    MONDAY,
    REFRESH,
    SYNC,
    Caller,
    at,
    iso,
)
from processes import scaled
from system.fuzz_mutations import BROKEN, Mutation, chosen
from system.fuzz_proxy import Answer, Exchange, TappedWorld, proxy, tapped, tapped_ways

__all__ = ["proxy", "tapped", "tapped_ways"]
CREATE = """mutation($input: CreateBookingInput!) { createBooking(input: $input) { __typename ... on Problem { code message } } }"""
MOVE = """mutation($input: RescheduleBookingInput!) { rescheduleBooking(input: $input) { __typename
  ... on SlotUnavailable { alternatives { start } conflicts { start end } } ... on Problem { code message } } }"""
CANCEL = """mutation($input: CancelBookingInput!) { cancelBooking(input: $input) { __typename ... on Problem { code message } } }"""
KIND = """mutation($input: CreateEventTypeInput!) { createEventType(input: $input) { __typename ... on Problem { code message } } }"""
RENAME = """mutation($input: UpdateEventTypeInput!) { updateEventType(input: $input) { __typename ... on Problem { code message } } }"""
HOURS = """mutation($input: UpdateScheduleInput!) { updateSchedule(input: $input) { __typename ... on Problem { code message } } }"""
SCHEDULES = (
    """query($provider: Provider) { schedules(provider: $provider) { id name timeZone isDefault weekly { day hours { start end } } } }"""
)
CONNECT = """mutation($input: ConnectProviderInput!) { connectProvider(input: $input) { __typename
  ... on AuthorizationRedirect { authorizationUrl state } ... on Problem { code message } } }"""
COMPLETE = (
    """mutation($input: CompleteConnectionInput!) { completeConnection(input: $input) { __typename ... on Problem { code message } } }"""
)
DISCONNECT = (
    """mutation($provider: Provider!) { disconnectProvider(input: {provider: $provider}) { __typename ... on Problem { code message } } }"""
)
ATOMS = "mutation { startAtomsSession { __typename ... on Problem { code message } } }"
EVERYTHING = """query { viewer { name timeZone } linkedAccounts { id state problem { code } account { externalId name email schedulingUrl
    organization timeZone } sync { lastSyncedAt lastError webhooks bookings } accessTokenExpiresAt lastRefreshedAt }
  bookings(first: 50) { edges { node { id title status start end location meetingUrl cancellationReason
    participants { name email timeZone noShow } answers { question answer } recordings { url start end }
    eventType { title durationMinutes durationOptions host { name } }
    rescheduling { mode blockedBy closesAt movesLeft } history { edges { node { kind at by previousStart newStart reason } } } } } }
  notifications(first: 50) { edges { node { title body by previousStart newStart } } } }"""

PROVIDERS = ("CAL_COM", "CALENDLY", "ZOOM")
SEED = 20270301


@dataclass
class Stage:
    """A coach who is linked everywhere, a mentee who is too, and their bookings; one thing after another is done with them."""

    world: TappedWorld
    number: int = 0
    findings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.set_up()

    def set_up(self) -> None:
        world = self.world
        world.proxy.change = None
        world.sandbox.reset()
        world.clock.at = MONDAY
        world.sandbox.world.clock.freeze(MONDAY)
        world.begin()
        world.recover()
        self.coach, self.mentee = world.caller("Clara", time_zone="Europe/Berlin"), world.caller("Max", time_zone="America/New_York")
        self.kinds, self.number = world.step("stage", self.furnish)

    def furnish(self) -> tuple[dict[str, str], int]:
        """The event types by provider, and how many keys were used."""
        world = self.world
        for person in (self.coach, self.mentee):
            world.account(person, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
            kinds = [{"name": "Call", "duration": 30}]
            world.sandbox_call("calendly/users", email=person.email, name=person.name, timeZone=person.time_zone, eventTypes=kinds)
            world.sandbox_call("zoom/users", email=person.email, name=person.name, timeZone=person.time_zone)
            for provider in PROVIDERS:
                person.link(provider=provider)
        self.kinds = {e["node"]["provider"]: e["node"]["id"] for e in self.coach.one(EVENT_TYPES)["edges"]}
        for day, provider in ((2, "CAL_COM"), (3, "CALENDLY"), (4, "CAL_COM"), (5, "CALENDLY")):
            done = self.ask(self.mentee, CREATE, eventTypeId=self.kinds[provider], start=iso(at(day, 10)), idempotencyKey=self.key())
            assert done == "BookingCreated", done
        for kind in self.kinds.values():
            self.ask(self.coach, RENAME, eventTypeId=kind, createsZoomMeeting=True)
        self.quiet()
        return self.kinds, self.number

    def key(self) -> str:
        self.number += 1
        return f"key-{self.number}"

    def ask(self, person: Caller, query: str, **given: Any) -> str:
        """The name of what an operation with an `input` answered."""
        return self.answered(person, query, {"input": given})

    def answered(self, person: Caller, query: str, variables: dict[str, Any]) -> str:
        body = person.post(query, variables).json()
        assert "errors" not in body, body["errors"]
        (value,) = body["data"].values()
        return str(value["__typename"]) if isinstance(value, dict) and "__typename" in value else "answered"

    def quiet(self) -> None:
        self.world.sandbox.settle()
        self.world.jobs()

    def booking(self, provider: str) -> dict[str, Any] | None:
        filters = {"provider": provider, "status": ["CONFIRMED"], "startsAfter": iso(self.world.clock.now())}
        found = self.coach.one(BOOKINGS, filter=filters)["edges"]
        return found[0]["node"] if found else None

    # ---- what is done ------------------------------------------------------------------------------------------------

    def sync(self, provider: str) -> None:
        self.answered(self.coach, SYNC, {"provider": provider})

    def jobs(self, provider: str) -> None:  # noqa: ARG002 - as every other act
        self.world.move_clock(hours=2)
        self.quiet()

    def slots(self, provider: str) -> None:
        window = {"start": iso(self.world.clock.now()), "end": iso(self.world.clock.now() + timedelta(days=9))}
        asked = {"target": {"eventTypeId": self.kinds[provider]}, "window": window, "maxAgeSeconds": 0, "timeZone": "Europe/Berlin"}
        self.answered(self.mentee, AVAILABILITY, {"input": asked})

    def move(self, provider: str) -> None:
        if found := self.booking(provider):
            start = at(8 + self.number % 5, 10 + self.number % 3)
            self.ask(self.mentee, MOVE, bookingId=found["id"], newStart=iso(start), idempotencyKey=self.key())

    def cancel(self, provider: str) -> None:
        if found := self.booking(provider):
            self.ask(self.coach, CANCEL, bookingId=found["id"], idempotencyKey=self.key(), reason="Ill")

    def book(self, provider: str) -> None:
        start = at(15 + self.number % 5, 10 + self.number % 4)
        self.ask(self.mentee, CREATE, eventTypeId=self.kinds[provider], start=iso(start), idempotencyKey=self.key())

    def refresh(self, provider: str) -> None:
        self.answered(self.coach, REFRESH, {"provider": provider, "force": True})

    def connect(self, provider: str) -> None:
        person = self.coach
        begun = person.one(CONNECT, input={"provider": provider})
        person.consent(begun)
        self.ask(person, COMPLETE, state=begun["state"])

    def disconnect(self, provider: str) -> None:
        self.answered(self.mentee, DISCONNECT, {"provider": provider})

    def defaults(self, provider: str) -> None:
        self.answered(self.coach, DEFAULTS, {"provider": provider})

    def kind(self, provider: str) -> None:
        self.ask(self.coach, KIND, provider=provider, title=f"New {self.key()}", durationMinutes=45)

    def rename(self, provider: str) -> None:
        self.ask(self.coach, RENAME, eventTypeId=self.kinds[provider], title=f"Name {self.key()}")

    def hours(self, provider: str) -> None:
        for found in self.coach.one(SCHEDULES, provider=provider)[:1]:
            self.ask(self.coach, HOURS, scheduleId=found["id"], name=f"Hours {self.key()}")

    def atoms(self, provider: str) -> None:  # noqa: ARG002 - as every other act
        self.answered(self.coach, ATOMS, {})

    def outside(self, provider: str) -> None:
        """Somebody books at the provider, whose webhook tells it."""
        start = at(22 + self.number % 5, 10 + self.number % 4)
        self.key()
        who = {"name": "Otto", "email": "otto@example.test", "timeZone": "Europe/London"}
        if provider == "CAL_COM":
            self.world.control.post(
                "/calcom/bookings", json={"eventTypeId": self.world.event_type(self.coach), "start": iso(start), "attendee": who}
            )
        else:
            user = self.world.sandbox.world.calendly.user_by_email(self.coach.email)
            (kind, *_) = self.world.sandbox.world.calendly.types_of(user.id)
            self.world.control.post("/calendly/bookings", json={"eventType": kind.id, "start": iso(start), "invitee": who})
        self.quiet()

    @property
    def acts(self) -> dict[str, Callable[[], None]]:
        scheduling = ("sync", "slots", "move", "cancel", "book", "defaults", "kind", "rename", "hours", "outside")
        everywhere = ("refresh", "connect", "disconnect", "jobs")
        names = [(name, provider) for name in scheduling for provider in PROVIDERS[:2]]
        names += [(name, provider) for name in everywhere for provider in PROVIDERS]
        names.append(("atoms", "CAL_COM"))
        return {f"{name} {provider}": (lambda n=name, p=provider: getattr(self, n)(p)) for name, provider in names}

    # ---- what is said ------------------------------------------------------------------------------------------------

    def rehearse(self) -> dict[str, dict[str, Exchange]]:
        """Which answers each act gets when all is well: the last of each kind."""
        heard: dict[str, dict[str, Exchange]] = {}
        for name, act in self.acts.items():
            self.world.proxy.seen.clear()
            act()
            heard[name] = {exchange.kind: exchange for exchange in self.world.proxy.seen if exchange.status < 300}
            self.restore()
        return heard

    def restore(self) -> None:
        """The provider is itself again; whoever lost their link gets it back."""
        self.world.proxy.change = None
        self.world.recover()
        self.quiet()
        for person in (self.coach, self.mentee):
            for provider in PROVIDERS:
                if person.one(CONNECTION, provider=provider)["state"] in {"NOT_CONNECTED", "NEEDS_RECONNECT"}:
                    begun = person.one(CONNECT, input={"provider": provider})
                    person.consent(begun)
                    self.ask(person, COMPLETE, state=begun["state"])
        self.quiet()

    def play(self, name: str, told: str, change: Callable[[Exchange], Answer | None]) -> None:
        """One case: what goes wrong is noted under its cause."""
        begin = len(self.world.logged.getvalue())
        self.world.proxy.change = change
        wrong: list[str] = []
        for step in (self.acts[name], self.quiet, self.restore, self.read):
            try:
                step()
            except AssertionError as error:
                wrong.append(str(error)[:300])
        causes = {cause for line in self.world.logged.getvalue()[begin:].splitlines() if (cause := surprise(line))}
        for cause in causes or wrong[:1]:
            self.findings[cause].append(f"{name}: {told}")

    def read(self) -> None:
        """All that is stored can be read, by both."""
        for person in (self.coach, self.mentee):
            body = person.post(EVERYTHING).json()
            assert "errors" not in body, body["errors"]


def surprise(line: str) -> str | None:
    """What was not expected, by the place in our code where it came up."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return f"a line that is not JSON: {line[:200]}"
    if "exception" not in told:
        return None
    lines = told["exception"].strip().splitlines()
    ours = [one.strip() for one in lines if one.strip().startswith("File ") and "site-packages" not in one and "/lib/python" not in one]
    return f"{lines[-1][:120]} <- {' <- '.join(shorter(one) for one in ours[-1:-4:-1])}"


def shorter(frame: str) -> str:
    return frame.replace('"', "").rpartition("/")[2].replace(", line ", ":")


@pytest.fixture
def stage(tapped: TappedWorld) -> Stage:
    return Stage(tapped)


def replaced(kind: str, document: Any, mutation: Mutation) -> Callable[[Exchange], Answer | None]:
    def change(exchange: Exchange) -> Answer | None:
        if exchange.kind != kind or exchange.status >= 300 or not exchange.body:
            return None
        return Answer(mutation.body(exchange.document), exchange.status)

    return change


def broken(kind: str, body: bytes, status: int, headers: tuple[tuple[str, str], ...]) -> Callable[[Exchange], Answer | None]:
    return lambda exchange: Answer(body, status, headers) if exchange.kind == kind else None


def survey(stage: Stage, cases: int, seed: int) -> dict[str, list[str]]:
    """So many cases, the state made anew now and then."""
    chance = random.Random(seed)
    heard = stage.rehearse()
    spoken = [(name, kind) for name, kinds in heard.items() for kind in kinds]
    for number in range(cases):
        if number % 40 == 39:
            stage.set_up()
        name, kind = chance.choice(spoken)
        exchange = heard[name][kind]
        if exchange.body and chance.random() < 0.8:
            document = exchange.document
            mutation = chosen(chance, document)
            stage.play(name, f"{kind}: {mutation}", replaced(kind, document, mutation))
        else:
            body, status = chance.choice(BROKEN), chance.choice([200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 409, 422, 429, 500, 503])
            stage.play(name, f"{kind}: {status} {body[:60]!r}", broken(kind, body, status, chance.choice(HEADERS)))
    return dict(stage.findings)


HEADERS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("Content-Type", "application/json"),),
    (("Content-Type", "text/html; charset=utf-8"),),
    (("Content-Type", "application/json; charset=utf-16"),),
    (("Content-Type", "application/json; charset=nonsense"),),
    (("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
    (("Content-Type", "application/json"), ("Retry-After", "9" * 5000)),
    (("Content-Type", "application/json"), ("Retry-After", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT")),
    (("Content-Type", "application/json"), ("Retry-After", "-1"), ("X-RateLimit-Reset", "nan"), ("X-RateLimit-Remaining", "0")),
    (("Content-Type", "application/json"), ("X-RateLimit-Remaining-x", "0"), ("X-RateLimit-Reset-x", "1e300")),
    (("Content-Type", "application/json"), ("Location", "http://[")),
    (("Content-Type", "application/json"), ("Set-Cookie", "a=b; Max-Age=999999999999999999999999")),
)


def told(findings: dict[str, list[str]]) -> str:
    return "\n".join(f"{cause}\n" + "\n".join(f"    {case}" for case in cases[:3]) for cause, cases in sorted(findings.items()))


def test_a_provider_that_answers_nonsense_surprises_nobody(stage: Stage) -> None:
    findings = survey(stage, 12, SEED)
    assert not findings, told(findings)


@pytest.mark.deep
def test_a_provider_that_answers_nonsense_again_and_again_surprises_nobody(stage: Stage) -> None:
    findings = survey(stage, scaled(3000), SEED + 1)
    assert not findings, told(findings)
