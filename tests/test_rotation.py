"""One exchange per token version, whatever happens to the processes that need it."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from harness import CONNECTION, REFRESH, Caller, World, at, iso
from processes import Plan, Process, all_at_once, many, once, scaled

from models import LinkedAccount, TokenRotation
from models.base import db, is_sqlite, release_connection
from services import tokens
from services.errors import Refused
from services.providers.base import AccountAuth
from services.providers.calcom.provider import CalcomProvider

TOKEN = "/calcom/v2/auth/oauth2/token"
NOT_SENT = ("rotation.claimed", "rotation.checked")
STORED = ("rotation.stored", "rotation.closed")
CONNECT_MANAGED = (
    """mutation { connectProvider(input: {provider: CAL_COM, kind: MANAGED_USER}) { __typename ... on Problem { message } } }"""
)


@pytest.fixture
def clara(world: World) -> Caller:
    """Linked, with an expired token and an empty request log behind her."""
    person = world.coach()
    world.move_clock(minutes=31)
    world.sandbox.world.requests.clear()
    return person


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for another process gives up at once: nothing is going to come."""
    monkeypatch.setattr(tokens, "REQUEST_WAIT", 0.05)


def exchanges(world: World) -> int:
    return world.calls("POST", TOKEN)


def state(caller: Caller) -> tuple[str, str | None]:
    """State and problem, as the person is told."""
    told = caller.one(CONNECTION)
    return told["state"], told["problem"] and told["problem"]["code"]


def works(world: World) -> bool:
    """The stored token is the one that lives at the provider; nothing is renewed to find that out."""
    account = LinkedAccount.get()
    token = tokens.living(world.rt, account)
    assert token is not None
    return world.rt.providers["calcom"].account(token).external_id == str(account.external_id)


# ---- races ---------------------------------------------------------------------------------------------------------------


def race(world: World, caller: Caller, plan: Plan) -> list[dict[str, Any]]:
    """Everybody in 8 processes of 25 threads (SQLite: 4 of 10) needs the token at once; all their answers."""
    processes, threads = (4, 10) if is_sqlite() else (8, 25)
    opened = [Process(world, many, plan) for _ in range(processes)]
    try:
        answers = [answer for part in all_at_once([p.__enter__() for p in opened], threads, caller.token, REFRESH) for answer in part]
    finally:
        for process in opened:
            process.__exit__()
    assert len(answers) == processes * threads
    return answers


@pytest.mark.parametrize("seconds", [0.02, pytest.param(2, marks=pytest.mark.long)])
def test_one_exchange_serves_every_thread_of_every_process(world: World, clara: Caller, seconds: float) -> None:
    world.sandbox.fault({"kind": "latency", "seconds": seconds}, method="POST", path=TOKEN, times=None)
    answers = race(world, clara, Plan())
    assert {(a["__typename"], a["status"]["state"]) for a in answers} == {("ConnectionRefreshed", "ACTIVE")}
    assert exchanges(world) == 1
    assert LinkedAccount.get().token_version == 2
    assert works(world)


@pytest.mark.long
def test_an_exchange_that_outlasts_the_requests_is_still_the_only_one(world: World, clara: Caller) -> None:
    """Who cannot wait any longer is told so, truly: asked again after `retryAt`, the token is there."""
    world.sandbox.fault({"kind": "latency", "seconds": 3}, method="POST", path=TOKEN, times=None)
    answers = race(world, clara, Plan(request_wait=1.0))
    kinds = {(a["__typename"], a.get("code")) for a in answers}
    assert kinds == {("ConnectionRefreshed", None), ("ProviderFailure", "REFRESH_IN_PROGRESS")}
    assert all(a["retryable"] and a["retryAt"] for a in answers if a["__typename"] == "ProviderFailure")
    assert exchanges(world) == 1
    world.move_clock(seconds=20)
    again = clara.one(REFRESH)
    assert (again["__typename"], again["refreshed"]) == ("ConnectionRefreshed", False)
    assert exchanges(world) == 1


def test_replicas_whose_clocks_differ_exchange_once(world: World, clara: Caller) -> None:
    """Leases go by the database's time; a process that thinks it is half a minute later takes nothing over."""
    held = world.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=TOKEN)
    with (
        Process(world, once) as first,
        Process(world, once, Plan(request_wait=0.05, ahead=timedelta(seconds=30))) as hasty,
        Process(world, once, Plan(request_wait=0.05, ahead=timedelta(seconds=-30))) as late,
    ):
        first.go(clara.token, REFRESH)
        assert held.wait_held()
        for other in (hasty, late):
            waiting = other.go(clara.token, REFRESH).result()
            assert (waiting["__typename"], waiting["code"]) == ("ProviderFailure", "REFRESH_IN_PROGRESS")
        held.release()
        assert first.result()["__typename"] == "ConnectionRefreshed"
        for other in (hasty, late):
            assert other.go(clara.token, REFRESH).result()["__typename"] == "ConnectionRefreshed"
    assert exchanges(world) == 1


# ---- deaths --------------------------------------------------------------------------------------------------------------


def die(world: World, caller: Caller, step: str) -> None:
    with Process(world, once, Plan(die_at=step)) as process:
        process.go(caller.token, REFRESH)
        process.wait_dead()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("step", NOT_SENT)
def test_killed_before_it_sent_the_account_is_usable_when_the_lease_ends(world: World, clara: Caller, step: str) -> None:
    die(world, clara, step)
    waiting = clara.one(REFRESH)
    assert (waiting["code"], waiting["retryable"]) == ("REFRESH_IN_PROGRESS", True)
    assert waiting["retryAt"] == (world.clock.now() + tokens.LEASE).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert exchanges(world) == 0
    world.move_clock(seconds=tokens.LEASE.total_seconds() + 1)
    assert clara.one(REFRESH)["__typename"] == "ConnectionRefreshed"
    assert (exchanges(world), state(clara)) == (1, ("ACTIVE", None))
    assert works(world)


@pytest.mark.usefixtures("_impatient")
def test_killed_with_the_answer_in_hand_it_is_rotation_lost_and_never_revoked(world: World, clara: Caller) -> None:
    world.book(clara, world.clock.now() + timedelta(days=1))
    world.jobs()
    (before,) = clara.bookings()
    row = LinkedAccount.get()
    world.move_clock(minutes=31)
    world.sandbox.world.requests.clear()
    die(world, clara, "rotation.answered")
    assert state(clara) == ("ACTIVE", None), "nobody knows yet"
    world.move_clock(seconds=tokens.LEASE.total_seconds() + 1)
    lost = clara.one(REFRESH)
    assert (lost["__typename"], lost["problem"]["code"]) == ("ConnectionUnusable", "ROTATION_LOST")
    assert state(clara) == ("NEEDS_RECONNECT", "ROTATION_LOST")
    assert clara.one(REFRESH)["__typename"] == "ConnectionUnusable"
    assert exchanges(world) == 2, "the lost one and the one that showed it; nobody asks a third time"
    # connecting again keeps the link's id and the history
    clara.link()
    assert (LinkedAccount.get().id, state(clara)) == (row.id, ("ACTIVE", None))
    assert [b["id"] for b in clara.bookings()] == [before["id"]]
    assert works(world)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("step", STORED)
def test_killed_after_it_stored_the_pair_is_there_at_once(world: World, clara: Caller, step: str) -> None:
    die(world, clara, step)
    assert clara.one(REFRESH) | {"status": None} == {"__typename": "ConnectionRefreshed", "refreshed": False, "status": None}
    assert (exchanges(world), state(clara)) == (1, ("ACTIVE", None))
    assert works(world)


# ---- freezes -------------------------------------------------------------------------------------------------------------


def frozen_past_the_deadline(world: World, caller: Caller, step: str, meanwhile: Callable[[], None]) -> dict[str, Any]:
    """The process stops at the step; the lease ends, the others go on, then it wakes; what its own caller is told."""
    with Process(world, once, Plan(freeze_at=step)) as process:
        process.go(caller.token, REFRESH)
        process.wait_frozen()
        world.move_clock(seconds=tokens.LEASE.total_seconds() + 1)
        meanwhile()
        process.thaw()
        answer: dict[str, Any] = process.result()
    return answer


def test_a_claim_that_slept_too_long_sends_nothing(world: World, clara: Caller) -> None:
    def others() -> None:
        assert clara.one(REFRESH)["__typename"] == "ConnectionRefreshed"

    answer = frozen_past_the_deadline(world, clara, "rotation.claimed", others)
    assert answer["__typename"] == "ConnectionRefreshed"
    assert exchanges(world) == 1
    assert (LinkedAccount.get().token_version, LinkedAccount.get().failed_refresh_count) == (2, 0)
    assert works(world)


def test_a_pair_that_comes_late_is_kept_and_takes_the_loss_back(world: World, clara: Caller) -> None:
    def others() -> None:
        assert clara.one(REFRESH)["problem"]["code"] == "ROTATION_LOST"
        assert state(clara) == ("NEEDS_RECONNECT", "ROTATION_LOST")

    answer = frozen_past_the_deadline(world, clara, "rotation.answered", others)
    assert answer["__typename"] == "ConnectionRefreshed"
    assert state(clara) == ("ACTIVE", None)
    assert works(world)
    assert TokenRotation.get(TokenRotation.from_version == 1).state == "done"


# ---- lost answers, life after life -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where an account is, the path of its token endpoint, and how many minutes a token lives there."""

    provider: str
    token: str
    minutes: int

    @property
    def refresh(self) -> str:
        return REFRESH.replace("= CAL_COM", f"= {self.provider}")

    def exchanges(self, world: World) -> int:
        return world.calls("POST", self.token)


CALCOM, CALENDLY = Place("CAL_COM", TOKEN, 30), Place("CALENDLY", "/calendly/auth/oauth/token", 120)


def with_a_booking(world: World, place: Place) -> Caller:
    """Linked there, with one booking."""
    person = world.caller("Clara", time_zone="Europe/Berlin")
    if place is CALCOM:
        world.account(person, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
        world.book(person, at(2, 9))
    else:
        kind = {"name": "Session", "duration": 30}
        made = world.sandbox_call("calendly/users", email=person.email, name=person.name, timeZone=person.time_zone, eventTypes=[kind])
        otto = {"name": "Otto", "email": "otto@example.test", "timeZone": "Europe/London"}
        world.sandbox_call("calendly/bookings", eventType=made["eventTypes"][0]["uri"], start=iso(at(2, 9)), invitee=otto)
    return person.link(provider=place.provider)


@pytest.mark.parametrize("place", [CALCOM, CALENDLY], ids=["calcom", "calendly"])
@pytest.mark.parametrize("lives", [30, pytest.param(scaled(200), marks=pytest.mark.long)])
def test_one_answer_in_ten_lost_makes_no_storm(world: World, place: Place, lives: int) -> None:
    """Two processes need the token in every life. A lost answer costs its person one connecting again, and says so."""
    clara = with_a_booking(world, place)
    account, before, lost, chance = LinkedAccount.get().id, clara.bookings(), 0, random.Random(7)
    losses = set(chance.sample(range(lives), lives // 10))
    with Process(world, once, Plan(request_wait=0.05)) as one:
        for life in range(lives):
            world.move_clock(minutes=place.minutes + 1)
            world.sandbox.world.requests.clear()
            if life in losses:
                lost += 1
                _lose(world, clara, place, one)
            else:
                one.go(clara.token, place.refresh)
                mine, other = clara.one(place.refresh), one.result()
                # whoever came second waited, for a while; a process that waits in this test gives up at once
                assert {a.get("code", "REFRESH_IN_PROGRESS") for a in (mine, other)} == {"REFRESH_IN_PROGRESS"}
                assert "ConnectionRefreshed" in {mine["__typename"], other["__typename"]}
                assert place.exchanges(world) == 1
            assert LinkedAccount.get().id == account
            told = clara.one(CONNECTION, provider=place.provider)
            assert (told["state"], told["problem"]) == ("ACTIVE", None)
    assert lost == lives // 10
    assert LinkedAccount.get().token_version == 1 + lives
    (booking,) = clara.bookings()
    assert (booking["id"], booking["history"]) == (before[0]["id"], before[0]["history"])


def _lose(world: World, clara: Caller, place: Place, other: Process) -> None:
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=place.token)
    first = other.go(clara.token, place.refresh).result()
    assert (first["__typename"], first["code"], first["retryable"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert clara.one(place.refresh)["__typename"] == "ProviderFailure", "it pauses for everybody"
    assert place.exchanges(world) == 1
    world.move_clock(seconds=6)
    again = (clara.one(place.refresh), other.go(clara.token, place.refresh).result())
    assert {a["problem"]["code"] for a in again} == {"ROTATION_LOST"}
    assert place.exchanges(world) == 2
    clara.link(provider=place.provider)


# ---- managed users ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("step", [*NOT_SENT, "rotation.answered", *STORED])
def test_a_managed_user_recovers_by_itself_wherever_its_process_died(world: World, step: str) -> None:
    mona = managed(world)
    world.move_clock(minutes=61)
    die(world, mona, step)
    world.move_clock(seconds=tokens.LEASE.total_seconds() + 1)
    assert mona.one(REFRESH)["__typename"] == "ConnectionRefreshed"
    assert state(mona) == ("ACTIVE", None)
    assert works(world)
    forced = 1 + (step == "rotation.answered")
    assert world.calls("POST", "/force-refresh") == forced, "the first pair, and one for the pair that was lost"


def managed(world: World) -> Caller:
    """A managed user, just linked."""
    platform = {"platform_client_id": "platform", "platform_client_secret": "platform-secret"}
    world.sandbox_call("calcom/platform-clients", clientId="platform", clientSecret="platform-secret")
    world.providers["calcom"] = world.providers["calcom"].model_copy(update=platform)
    world.rt.providers["calcom"] = CalcomProvider(world.providers["calcom"], world.rt.transport, world.clock.now)
    mona = world.caller("Mona")
    linked = mona.one(CONNECT_MANAGED)
    assert linked["__typename"] == "ProviderLinked", linked
    return mona


def test_a_refused_refresh_does_not_force_over_a_newer_pair(world: World) -> None:
    """A refresh is under way; the person connects again, which kills its token. Its second way must not kill the new pair."""
    mona = managed(world)
    world.move_clock(minutes=61)
    LinkedAccount.update(problem_code="PROVIDER_UNAVAILABLE").execute()
    held = world.sandbox.fault({"kind": "hold"}, method="POST", path="/calcom/v2/oauth/platform/refresh")
    slow = threading.Thread(target=lambda: mona.post(REFRESH))
    slow.start()
    assert held.wait_held()
    assert mona.one(CONNECT_MANAGED)["__typename"] == "ProviderLinked"
    forced = world.calls("POST", "/force-refresh")
    held.release()
    slow.join()
    assert world.calls("POST", "/force-refresh") == forced
    assert works(world)


def test_a_token_on_trial_is_served_by_any_answer_but_a_refusal(world: World) -> None:
    mona = managed(world)
    account, provider = LinkedAccount.get(), world.rt.providers["calcom"]
    world.sandbox_call("calcom/tokens/revoke", email=account.email.replace("@", "+platform@"))
    not_there = world.sandbox.fault({"kind": "status", "status": 404}, method="GET", path="/calcom/v2/event-types", skip=1)
    with pytest.raises(Refused):
        provider.event_types(AccountAuth(account.id))
    assert not_there.hits == 1
    world.sandbox_call("calcom/tokens/revoke", email=account.email.replace("@", "+platform@"))
    assert provider.event_types(AccountAuth(account.id)) == []
    assert state(mona) == ("ACTIVE", None)


# ---- connecting again ------------------------------------------------------------------------------------------------------


@contextmanager
def reconnecting(world: World, caller: Caller) -> Iterator[list[dict[str, Any]]]:
    """While the caller's reconnection waits for the provider; afterwards the list has its answer."""
    begun = caller.begin()
    caller.consent(begun)
    profile = world.sandbox.fault({"kind": "hold"}, method="GET", path="/calcom/v2/me")
    answers: list[dict[str, Any]] = []
    slow = threading.Thread(target=lambda: answers.append(caller.complete(begun["state"])))
    slow.start()
    assert profile.wait_held()
    yield answers
    profile.release()
    slow.join()


@pytest.mark.usefixtures("_impatient")
def test_a_slow_reconnection_keeps_exchanges_away_until_it_is_done(world: World, clara: Caller) -> None:
    """At Cal.com a refresh of the old pair deletes the refresh token that the consent just gave."""
    with reconnecting(world, clara) as answers:
        world.move_clock(seconds=50)
        with Process(world, once, Plan(request_wait=0.05)) as other:
            waiting = other.go(clara.token, REFRESH).result()
        assert (waiting["__typename"], waiting["code"]) == ("ProviderFailure", "REFRESH_IN_PROGRESS")
    assert answers[0]["__typename"] == "ProviderLinked"
    world.move_clock(minutes=31)
    assert clara.one(REFRESH)["__typename"] == "ConnectionRefreshed"
    assert state(clara) == ("ACTIVE", None)


def test_a_reconnection_that_slept_past_its_lease_stores_nothing(world: World, clara: Caller) -> None:
    with reconnecting(world, clara) as answers:
        world.move_clock(seconds=61)
        with Process(world, once) as other:
            assert other.go(clara.token, REFRESH).result()["__typename"] == "ConnectionRefreshed"
    assert (answers[0]["__typename"], answers[0]["code"]) == ("ProviderFailure", "REFRESH_IN_PROGRESS")
    assert works(world)
    assert state(clara) == ("ACTIVE", None)


@pytest.mark.usefixtures("_impatient")
def test_who_waits_behind_a_reconnection_that_failed_is_told_so(world: World, clara: Caller) -> None:
    begun = clara.begin()
    clara.consent(begun)
    world.sandbox.fault({"kind": "status", "status": 400, "body": {"error": "invalid_grant"}}, method="POST", path=TOKEN)
    assert clara.complete(begun["state"])["__typename"] == "AuthorizationExpired"
    TokenRotation.update(deadline=world.clock.now() + timedelta(seconds=5)).execute()
    waiting = clara.one(REFRESH)
    assert (waiting["__typename"], waiting["code"]) == ("ProviderFailure", "REFRESH_IN_PROGRESS")
    world.move_clock(seconds=6)
    assert clara.one(REFRESH)["__typename"] == "ConnectionRefreshed"


def test_a_pair_outlives_a_database_that_is_away_for_a_moment(world: World, clara: Caller) -> None:
    """It is the only pair that lives: it is held on to until it can be stored."""

    def step(name: str) -> None:
        if name == "rotation.answered":
            with db.connection_context():
                db.execute_sql('ALTER TABLE "linked_account" RENAME TO "linked_account_away"')
            release_connection()

    def back() -> None:
        with db.connection_context():
            db.execute_sql('ALTER TABLE "linked_account_away" RENAME TO "linked_account"')

    if not is_sqlite():
        # there a missing table is the statement's fault, not the database's: take the database itself away
        step, back = _closing(world)
    timer = threading.Timer(0.5, back)

    def go(name: str) -> None:
        step(name)
        if name == "rotation.answered":
            timer.start()

    world.rt.step = go
    release_connection()
    answer = clara.one(REFRESH)
    timer.join()
    assert answer["__typename"] == "ConnectionRefreshed"
    assert exchanges(world) == 1
    assert "cannot be stored yet" in world.logged.getvalue()
    assert works(world)


def _closing(world: World) -> tuple[Callable[[str], None], Callable[[], None]]:
    address = urlsplit(world.database_url)
    name, admin = address.path[1:], address._replace(path="/postgres").geturl()

    def run(*statements: str) -> None:
        with psycopg.connect(admin, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def step(at: str) -> None:
        if at == "rotation.answered":
            ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', ending)

    return step, lambda: run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
