"""Managed users: accounts that the installation makes at Cal.com itself, from the first link to the last revocation."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from harness import (
    AVAILABILITY,
    CLIENT_ID,
    CLIENT_SECRET,
    CONNECTION,
    DEFAULTS,
    DISCONNECT,
    EVENT_TYPES,
    MONDAY,
    REFRESH,
    STATUS,
    SYNC,
    Caller,
    World,
    at,
    iso,
)

from models import AuditEntry, JobClaim, LinkedAccount
from sandbox.calcom.state import User
from services.providers.calcom.provider import CalcomProvider, CalcomSettings
from services.vault import place

PLATFORM, SECRET = "platform-tests", "platform-secret"
USERS = f"/calcom/v2/oauth-clients/{PLATFORM}/users"
FORCE = "/calcom/v2/oauth-clients/*/force-refresh"
RENEWAL = "/calcom/v2/oauth/*/refresh"
DOWN = {"kind": "status", "status": 503}
CONNECT_ANY = (
    """mutation($input: ConnectProviderInput!) { connectProvider(input: $input) { __typename
  ... on ProviderLinked { status { ...S } } ... on InvalidInput { fields { path message } }
  ... on DifferentAccount { expected got } ... on ProviderFailure { retryable retryAt } ... on ConnectionUnusable { isViewers }
  ... on Problem { code message } } }"""
    + STATUS
)


def configure(world: World, secret: str = SECRET) -> None:
    """Give Convene credentials of a platform client."""
    world.rt.providers["calcom"] = CalcomProvider(
        CalcomSettings(
            api_url=f"{world.sandbox.url}/calcom",
            app_url=f"{world.sandbox.url}/calcom",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            platform_client_id=PLATFORM,
            platform_client_secret=secret,
        ),
        world.rt.transport,
        world.clock.now,
    )


@pytest.fixture
def plat(world: World) -> World:
    """The world with a platform client, whose users are made with four event types each."""
    world.sandbox_call("calcom/platform-clients", clientId=PLATFORM, clientSecret=SECRET, defaultEventTypes=True)
    configure(world)
    return world


def connect(person: Caller, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = person.one(CONNECT_ANY, input={"provider": "CAL_COM", "kind": "MANAGED_USER", **more})
    return found


def linked(world: World, name: str = "Mona", time_zone: str = "Europe/Lisbon") -> Caller:
    """A person with a managed user, all jobs done."""
    person = world.caller(name, time_zone=time_zone)
    assert connect(person)["__typename"] == "ProviderLinked"
    world.jobs()
    return person


def upstream(world: World) -> list[User]:
    """The managed users at the provider."""
    return [user for user in world.sandbox.world.calcom.users.values() if user.managed_by == PLATFORM]


def marked(person: Caller) -> str:
    """The address as the provider keeps it."""
    return person.email.replace("@", f"+{PLATFORM}@")


def forced(world: World) -> int:
    return world.calls("POST", "/force-refresh")


def renewed(world: World) -> int:
    return world.calls("POST", f"/calcom/v2/oauth/{PLATFORM}/refresh")


def row_of(person: Caller) -> LinkedAccount:
    return LinkedAccount.get(LinkedAccount.email == person.email)


def kept(world: World, person: Caller, column: str = "access_token") -> str:
    """A token as Convene keeps it."""
    row = row_of(person)
    return world.rt.vault.open(getattr(row, column), place("linked_account", row.id, column))


def accepted(world: World, token: str) -> int:
    """What the provider answers to a token."""
    return httpx.get(f"{world.sandbox.url}/calcom/v2/me", headers={"Authorization": f"Bearer {token}"}).status_code


def delete_upstream(world: World) -> None:
    (user,) = upstream(world)
    gone = httpx.delete(f"{world.sandbox.url}{USERS}/{user.id}", headers={"x-cal-secret-key": SECRET})
    assert gone.status_code == 200, gone.text


def told(person: Caller) -> tuple[str, str | None]:
    status = person.one(CONNECTION)
    return status["state"], (status["problem"] or {}).get("code")


def booked(world: World, person: Caller, start: datetime, name: str = "Otto") -> str:
    """Somebody books the managed user at Cal.com; answers the uid."""
    user = next(user for user in upstream(world) if user.email == marked(person))
    kinds = world.sandbox.world.calcom.owned_event_types(user.id)
    kind = next(one.id for one in kinds if one.data["slug"] == "thirty-minutes")
    attendee = {"name": name, "email": f"{name.lower()}@example.test", "timeZone": "Europe/London"}
    answer = world.sandbox_call("calcom/bookings", eventTypeId=kind, start=iso(start), attendee=attendee)
    return str(answer["data"]["uid"])


def in_background(work: Callable[[], Any]) -> "Future[Any]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


# ---- linking ---------------------------------------------------------------------------------------------------------------


def test_a_managed_user_is_linked_at_once(plat: World) -> None:
    answer = connect(plat.caller("Mona", time_zone="Europe/Lisbon"))
    (user,) = upstream(plat)
    assert answer["__typename"] == "ProviderLinked"
    status = answer["status"]
    assert (status["state"], status["problem"], status["sandbox"]) == ("ACTIVE", None, True)
    assert status["message"] == "Cal.com is connected. Your bookings are being fetched."
    account = status["linkedAccount"]
    assert (account["kind"], account["state"], account["scopes"]) == ("MANAGED_USER", "ACTIVE", [])
    assert (account["linkedAt"], account["accessTokenExpiresAt"]) == ("2027-03-01T08:00:00Z", "2027-03-01T09:00:00Z")
    assert account["account"] == {
        "externalId": str(user.id),
        "name": "Mona",
        "email": "mona@example.test",
        "schedulingUrl": f"{plat.sandbox.url}/calcom/mona-{PLATFORM}-example-test",
        "organization": None,
        "timeZone": "Europe/Lisbon",
    }
    assert user.email == f"mona+{PLATFORM}@example.test"
    assert plat.calls("GET", "/oauth2/authorize") == plat.calls("POST", "/oauth2/token") == 0


def test_the_jobs_make_a_managed_user_as_complete_as_any(plat: World) -> None:
    mona = linked(plat)
    status = mona.one(CONNECTION)
    assert status["message"] == "Cal.com is connected."
    assert status["linkedAccount"]["sync"] == {
        "lastSyncedAt": "2027-03-01T08:00:00Z",
        "lastError": None,
        "webhooks": "RECEIVING",
        "bookings": 0,
    }
    assert status["linkedAccount"]["account"]["email"] == "mona@example.test"
    slugs = {edge["node"]["slug"] for edge in mona.one(EVENT_TYPES)["edges"]}
    assert slugs == {"thirty-minutes", "thirty-minutes-video", "sixty-minutes", "sixty-minutes-video"}


def test_default_event_types_of_a_managed_user(plat: World) -> None:
    """It has half an hour and an hour already, and a quarter is missing."""
    mona = linked(plat)
    made = mona.one(DEFAULTS)
    assert made["__typename"] == "DefaultEventTypes"
    assert [one["durationMinutes"] for one in made["createdEventTypes"]] == [15]
    assert made["totalCreated"] == 1


def test_id_and_history_survive_unlinking_and_linking_again(plat: World) -> None:
    mona = linked(plat)
    before = mona.one(CONNECTION)["linkedAccount"]
    booked(plat, mona, at(2, 9))
    plat.jobs()
    (booking,) = mona.bookings()
    mona.move(booking["id"], at(3, 13))
    plat.jobs()
    (moved,) = mona.bookings()
    assert mona.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    assert told(mona) == ("NOT_CONNECTED", None)

    plat.move_clock(minutes=10)
    assert connect(mona)["__typename"] == "ProviderLinked"
    plat.jobs()
    after = mona.one(CONNECTION)["linkedAccount"]
    assert (after["id"], after["account"]) == (before["id"], before["account"])
    assert after["linkedAt"] == "2027-03-01T08:10:00Z"
    (again,) = mona.bookings()
    assert (again["id"], again["start"], again["history"]) == (moved["id"], "2027-03-03T13:00:00Z", moved["history"])
    assert len(upstream(plat)) == 1
    assert accepted(plat, kept(plat, mona)) == 200


def test_the_hosts_address_is_the_persons_own(plat: World) -> None:
    mona = linked(plat)
    uid = booked(plat, mona, at(2, 9))
    plat.jobs()
    (booking,) = mona.bookings()
    assert [(p["role"], p["email"], p["isViewer"]) for p in booking["participants"]] == [
        ("COACH", "mona@example.test", True),
        ("MENTEE", "otto@example.test", False),
    ]
    shown = httpx.get(f"{plat.sandbox.url}/calcom/v2/bookings/{uid}", headers={"cal-api-version": "2026-02-25"}).json()
    assert shown["data"]["hosts"][0]["email"] == f"mona+{PLATFORM}@example.test"
    otto = plat.caller("Otto")
    (seen,) = otto.bookings()
    assert (seen["id"], seen["viewerRole"]) == (booking["id"], "MENTEE")
    assert PLATFORM not in otto.post("{ bookings { edges { node { participants { name email } location meetingUrl } } } }").text


def test_doing_it_again_makes_nothing_more(plat: World) -> None:
    mona = linked(plat)
    first, token = mona.one(CONNECTION)["linkedAccount"], kept(plat, mona)
    for _ in range(3):
        plat.move_clock(minutes=1)
        assert connect(mona)["__typename"] == "ProviderLinked"
    assert len(upstream(plat)) == 1
    assert (forced(plat), renewed(plat)) == (1, 0)
    again = mona.one(CONNECTION)["linkedAccount"]
    assert (again["id"], again["linkedAt"]) == (first["id"], first["linkedAt"])
    assert (kept(plat, mona), accepted(plat, token)) == (token, 200)


def test_a_user_that_exists_there_is_adopted(plat: World) -> None:
    made = httpx.post(
        f"{plat.sandbox.url}{USERS}",
        headers={"x-cal-secret-key": SECRET},
        json={"email": "mona@example.test", "name": "Old Name", "timeZone": "Asia/Tokyo"},
    )
    other = httpx.post(
        f"{plat.sandbox.url}{USERS}", headers={"x-cal-secret-key": SECRET}, json={"email": "aaa@example.test", "name": "Other"}
    )
    assert (made.status_code, other.status_code) == (201, 201)
    user = made.json()["data"]["user"]
    account = connect(plat.caller("Mona"))["status"]["linkedAccount"]
    assert account["account"]["externalId"] == str(user["id"])
    assert (account["account"]["email"], account["account"]["timeZone"]) == ("mona@example.test", "Asia/Tokyo")
    assert [r.status for r in plat.sandbox.requests if r.method == "POST" and r.path == USERS][-1] == 409
    assert len(upstream(plat)) == 2


def test_the_answer_to_the_making_is_lost_and_the_next_try_adopts(plat: World) -> None:
    mona = plat.caller("Mona", time_zone="Europe/Lisbon")
    plat.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=USERS)
    failed = connect(mona)
    assert (failed["__typename"], failed["code"], failed["retryable"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", True)
    assert told(mona) == ("NOT_CONNECTED", None)
    assert connect(mona)["status"]["linkedAccount"]["account"]["externalId"] == str(upstream(plat)[0].id)
    assert len(upstream(plat)) == 1


def test_an_address_with_a_plus_is_made_once_and_shown_as_it_is(plat: World) -> None:
    mona = plat.caller("Mona", "mona+work@example.test", time_zone="Europe/Lisbon")
    for _ in range(2):
        assert connect(mona)["status"]["linkedAccount"]["account"]["email"] == "mona+work@example.test"
    assert [user.email for user in upstream(plat)] == [f"mona+work+{PLATFORM}@example.test"]


def test_a_link_whose_pair_could_not_be_got_completes_itself(plat: World) -> None:
    mona = plat.caller("Mona", time_zone="Europe/Lisbon")
    plat.sandbox.fault(DOWN, method="POST", path=FORCE)
    failed = connect(mona)
    assert (failed["__typename"], failed["retryable"], failed["retryAt"]) == ("ProviderFailure", True, "2027-03-01T08:00:05Z")
    assert told(mona) == ("DEGRADED", "PROVIDER_UNAVAILABLE")
    plat.move_clock(seconds=30)
    plat.jobs()
    status = mona.one(CONNECTION)
    assert (status["state"], status["message"]) == ("ACTIVE", "Cal.com is connected.")
    assert len(upstream(plat)) == 1


def test_two_people_have_a_managed_user_each(plat: World) -> None:
    mona, nora = linked(plat), linked(plat, "Nora")
    accounts = [person.one(CONNECTION)["linkedAccount"] for person in (mona, nora)]
    assert accounts[0]["id"] != accounts[1]["id"]
    assert [a["account"]["email"] for a in accounts] == ["mona@example.test", "nora@example.test"]
    assert len(upstream(plat)) == 2


def test_two_links_at_once_have_the_outcome_of_one(plat: World) -> None:
    """Both ask the provider to make it; then the second must not force a pair that kills the first one's."""
    mona = plat.caller("Mona", time_zone="Europe/Lisbon")
    mona.gql("{ viewer { id } }")
    gate = plat.sandbox.fault({"kind": "hold"}, method="POST", path=USERS, times=2)
    first = plat.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=FORCE)
    second = plat.sandbox.fault({"kind": "hold", "when": "after"}, method="POST", path=FORCE, skip=1)
    both = [in_background(lambda: connect(mona)) for _ in range(2)]
    assert gate.wait_held(2)
    gate.release()
    assert first.wait_held()
    assert not second.wait_held(timeout=0.4)
    second.release()
    first.release()
    answers = [future.result() for future in both]
    assert [answer["__typename"] for answer in answers] == ["ProviderLinked", "ProviderLinked"]
    assert len({answer["status"]["linkedAccount"]["id"] for answer in answers}) == 1
    assert len(upstream(plat)) == 1
    assert LinkedAccount.select().count() == 1
    assert forced(plat) == 1
    assert accepted(plat, kept(plat, mona)) == 200
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"


def test_many_links_at_once_store_a_pair_that_lives(plat: World) -> None:
    mona = plat.caller("Mona", time_zone="Europe/Lisbon")
    barrier = threading.Barrier(6)

    def go() -> dict[str, Any]:
        barrier.wait()
        return connect(mona)

    with ThreadPoolExecutor(6) as pool:
        answers = [future.result() for future in [pool.submit(go) for _ in range(6)]]
    assert {answer["__typename"] for answer in answers} == {"ProviderLinked"}
    assert (len(upstream(plat)), LinkedAccount.select().count(), forced(plat)) == (1, 1, 1)
    assert accepted(plat, kept(plat, mona)) == 200


# ---- what is refused -------------------------------------------------------------------------------------------------------


def test_without_platform_credentials_it_is_not_set_up(world: World) -> None:
    answer = connect(world.caller("Mona"))
    sentence = "Cal.com with managed users is not set up in this installation. Here it is linked with kind OAUTH."
    assert answer == {
        "__typename": "InvalidInput",
        "fields": [{"path": ["kind"], "message": sentence}],
        "code": "INVALID_INPUT",
        "message": sentence,
    }
    assert world.sandbox.requests == []
    assert LinkedAccount.select().count() == 0


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": "true"}, {"email": None}])
def test_a_sign_in_without_verified_address_makes_nobody(plat: World, claims: dict[str, Any]) -> None:
    answer = connect(Caller(plat, "Mona", "mona@example.test", "UTC", claims))
    assert (answer["__typename"], [f["path"] for f in answer["fields"]]) == ("InvalidInput", [["kind"]])
    assert upstream(plat) == []
    assert plat.calls("POST", "/oauth-clients/") == 0
    assert LinkedAccount.select().count() == 0


def test_a_wrong_platform_secret_is_the_operators_affair(plat: World) -> None:
    configure(plat, "wrong")
    mona = plat.caller("Mona")
    answer = connect(mona)
    assert (answer["__typename"], answer["code"], answer["retryable"]) == ("ProviderFailure", "CLIENT_MISCONFIGURED", False)
    assert upstream(plat) == []
    assert told(mona) == ("NOT_CONNECTED", None)


def test_a_provider_that_is_down_links_nobody(plat: World) -> None:
    mona = plat.caller("Mona")
    plat.sandbox.fault(DOWN, method="POST", path=USERS)
    answer = connect(mona)
    assert (answer["__typename"], answer["code"], answer["retryAt"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", "2027-03-01T08:00:30Z")
    assert told(mona) == ("NOT_CONNECTED", None)
    assert upstream(plat) == []


def test_an_oauth_link_is_not_replaced_unasked(plat: World) -> None:
    mona = plat.caller("Mona")
    plat.account(plat.caller("Private"))
    mona.link(user="private@example.test")
    before = mona.one(CONNECTION)["linkedAccount"]
    answer = connect(mona)
    assert (answer["__typename"], answer["expected"], answer["got"]) == ("DifferentAccount", "private@example.test", "mona@example.test")
    after = mona.one(CONNECTION)["linkedAccount"]
    assert (after["kind"], after["account"], after["id"]) == ("OAUTH", before["account"], before["id"])
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert forced(plat) == 0


def test_an_oauth_link_is_replaced_when_asked(plat: World) -> None:
    mona = plat.caller("Mona")
    plat.account(plat.caller("Private"))
    mona.link(user="private@example.test")
    before = mona.one(CONNECTION)["linkedAccount"]
    answer = connect(mona, switchAccount=True)
    assert answer["__typename"] == "ProviderLinked"
    plat.jobs()
    after = mona.one(CONNECTION)
    assert (after["state"], after["linkedAccount"]["kind"]) == ("ACTIVE", "MANAGED_USER")
    assert after["linkedAccount"]["id"] == before["id"]
    assert after["linkedAccount"]["account"]["email"] == "mona@example.test"
    (user,) = upstream(plat)
    assert [hook.user_id for hook in plat.sandbox.world.calcom.webhooks.values()] == [user.id]
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"


def test_what_oauth_granted_is_not_said_of_a_managed_user(plat: World) -> None:
    mona = plat.caller("Mona")
    plat.account(plat.caller("Private"))
    mona.link(user="private@example.test")
    assert mona.one(CONNECTION)["linkedAccount"]["scopes"] != []
    assert connect(mona, switchAccount=True)["status"]["linkedAccount"]["scopes"] == []


def test_a_managed_user_is_not_replaced_by_oauth_unasked(plat: World) -> None:
    mona = linked(plat)
    plat.account(plat.caller("Private"))
    begun = mona.begin()
    mona.consent(begun, user="private@example.test")
    assert mona.complete(begun["state"])["__typename"] == "DifferentAccount"
    account = mona.one(CONNECTION)["linkedAccount"]
    assert (account["kind"], account["account"]["email"]) == ("MANAGED_USER", "mona@example.test")
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"


# ---- without a time zone ---------------------------------------------------------------------------------------------------

NEVER_BOOKABLE = (
    "Cal.com is connected, but nobody can book this account: it has no schedule, as one that is made without a time zone. "
    "Make a schedule in Cal.com's availability settings."
)


def test_without_a_zone_it_is_linked_and_said_to_be_never_bookable(plat: World) -> None:
    mona = plat.caller("Mona", zoneinfo=None)
    status = connect(mona)["status"]
    assert (status["state"], status["message"]) == ("ACTIVE", NEVER_BOOKABLE)
    plat.jobs()
    assert mona.one(CONNECTION)["message"] == NEVER_BOOKABLE
    (user,) = upstream(plat)
    assert user.default_schedule_id is None
    kind = next(e["node"]["id"] for e in mona.one(EVENT_TYPES)["edges"] if e["node"]["slug"] == "thirty-minutes")
    window = {"start": iso(at(2, 0)), "end": iso(at(6, 0))}
    found = mona.one(AVAILABILITY, input={"target": {"eventTypeId": kind}, "window": window})
    assert (found["__typename"], found["starts"]) == ("Availability", [])


def test_a_schedule_that_is_made_there_is_noticed(plat: World) -> None:
    mona = plat.caller("Mona", zoneinfo=None)
    connect(mona)
    plat.jobs()
    made = httpx.post(
        f"{plat.sandbox.url}/calcom/v2/schedules",
        headers={"Authorization": f"Bearer {kept(plat, mona)}", "cal-api-version": "2024-06-11"},
        json={"name": "Office", "timeZone": "Europe/London", "isDefault": True},
    )
    assert made.status_code == 201, made.text
    assert mona.one(CONNECTION)["message"] == NEVER_BOOKABLE
    plat.move_clock(minutes=31)
    plat.jobs()
    status = mona.one(CONNECTION)
    assert (status["state"], status["message"]) == ("ACTIVE", "Cal.com is connected.")
    assert status["linkedAccount"]["account"]["email"] == "mona@example.test"
    booked(plat, mona, at(2, 10))
    plat.jobs()
    assert len(mona.bookings()) == 1


# ---- tokens ----------------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_with_the_refresh_token(plat: World) -> None:
    mona = linked(plat)
    before = kept(plat, mona)
    plat.move_clock(minutes=60)
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert (forced(plat), renewed(plat)) == (1, 1)
    assert kept(plat, mona) != before
    assert mona.one(CONNECTION)["linkedAccount"]["accessTokenExpiresAt"] == "2027-03-01T10:00:00Z"


def test_a_renewal_leaves_the_token_of_a_browser_alive(plat: World) -> None:
    """Force-refresh would kill it, so it is only the second way."""
    mona = linked(plat)
    old = kept(plat, mona)
    answer = mona.one(REFRESH, force=True)
    assert (answer["__typename"], answer["refreshed"]) == ("ConnectionRefreshed", True)
    assert (forced(plat), renewed(plat)) == (1, 1)
    assert kept(plat, mona) != old
    assert (accepted(plat, old), accepted(plat, kept(plat, mona))) == (200, 200)


def test_a_498_is_answered_with_one_renewal_and_one_repeat(plat: World) -> None:
    """The provider says that it expired although our clock does not."""
    mona = linked(plat)
    plat.sandbox.world.requests.clear()
    plat.sandbox_call("calcom/tokens/expire", email=marked(mona))
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    listed = [r.status for r in plat.sandbox.requests if r.method == "GET" and r.path == "/calcom/v2/bookings"]
    assert listed == [498, 200]
    assert (forced(plat), renewed(plat)) == (0, 1)
    assert told(mona) == ("ACTIVE", None)


def test_a_lost_answer_is_recovered_from_by_force(plat: World) -> None:
    """The refresh token is spent and the pair that it bought is lost: no ROTATION_LOST for a managed user."""
    mona = linked(plat)
    plat.move_clock(minutes=60)
    lost = plat.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=RENEWAL)
    failed = mona.one(SYNC)
    assert (failed["__typename"], failed["code"], failed["retryAt"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE", "2027-03-01T09:00:05Z")
    assert lost.hits == 1
    assert told(mona) == ("DEGRADED", "PROVIDER_UNAVAILABLE")
    plat.move_clock(seconds=6)
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert (renewed(plat), forced(plat)) == (2, 2)
    assert told(mona) == ("ACTIVE", None)
    assert mona.one(CONNECTION)["linkedAccount"]["failedRefreshCount"] == 0
    assert accepted(plat, kept(plat, mona)) == 200


def test_a_lost_answer_is_recovered_from_without_anybody_asking(plat: World) -> None:
    mona = linked(plat)
    plat.move_clock(minutes=60)
    plat.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=RENEWAL)
    mona.one(SYNC)
    plat.move_clock(seconds=6)
    plat.jobs()
    assert told(mona) == ("ACTIVE", None)
    assert accepted(plat, kept(plat, mona)) == 200


def test_lost_answers_to_both_ways_are_recovered_from(plat: World) -> None:
    mona = linked(plat)
    plat.move_clock(minutes=60)
    plat.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=RENEWAL)
    plat.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=FORCE)
    states = []
    for seconds in (0, 6, 11):
        plat.move_clock(seconds=seconds)
        states.append((mona.one(SYNC)["__typename"], *told(mona)))
    degraded = ("ProviderFailure", "DEGRADED", "PROVIDER_UNAVAILABLE")
    assert states == [degraded, degraded, ("BookingsSynced", "ACTIVE", None)]
    assert accepted(plat, kept(plat, mona)) == 200


def test_killed_tokens_are_recovered_from_within_the_call(plat: World) -> None:
    mona = linked(plat)
    plat.sandbox.world.requests.clear()
    assert plat.sandbox_call("calcom/tokens/revoke", email=marked(mona))["count"] > 0
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert [r.status for r in plat.sandbox.requests if r.path.endswith("/refresh")] == [400]
    assert forced(plat) == 1
    assert told(mona) == ("ACTIVE", None)


def test_the_loser_of_a_race_at_the_provider_recovers(plat: World) -> None:
    """Another installation with the same credentials was first: the refresh answers 404 then."""
    mona = linked(plat)
    plat.move_clock(minutes=60)
    gone = {"status": "error", "error": {"code": "NOT_FOUND", "message": "Invalid Query: The requested record was not found."}}
    plat.sandbox.fault({"kind": "status", "status": 404, "body": gone}, method="POST", path=RENEWAL)
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert forced(plat) == 2
    assert told(mona) == ("ACTIVE", None)


def test_a_secret_that_became_wrong_burns_nothing(plat: World) -> None:
    mona = linked(plat)
    refresh_token = kept(plat, mona, "refresh_token")
    plat.move_clock(minutes=60)
    configure(plat, "wrong")
    failed = mona.one(SYNC)
    assert (failed["__typename"], failed["code"]) == ("ProviderFailure", "CLIENT_MISCONFIGURED")
    assert told(mona) == ("DEGRADED", "CLIENT_MISCONFIGURED")
    assert kept(plat, mona, "refresh_token") == refresh_token
    assert "the provider refuses our client id or secret" in plat.logged.getvalue()
    configure(plat)
    plat.move_clock(seconds=6)
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert told(mona) == ("ACTIVE", None)
    assert forced(plat) == 1, "the refresh token was as good as before"


def test_the_job_renews_ahead_of_time(plat: World) -> None:
    mona = linked(plat)
    old = kept(plat, mona)
    plat.move_clock(minutes=49)
    mona.one(SYNC)
    plat.jobs()
    assert kept(plat, mona) != old
    assert (forced(plat), renewed(plat)) == (1, 1)


# ---- gone at the provider --------------------------------------------------------------------------------------------------


def test_a_user_deleted_there_needs_its_person(plat: World) -> None:
    mona = linked(plat)
    before = mona.one(CONNECTION)["linkedAccount"]
    delete_upstream(plat)
    answer = mona.one(SYNC)
    assert answer["__typename"] == "ConnectionUnusable"
    assert told(mona) == ("NEEDS_RECONNECT", "REVOKED")

    assert connect(mona)["__typename"] == "ProviderLinked"
    plat.jobs()
    status = mona.one(CONNECTION)
    (user,) = upstream(plat)
    assert (status["state"], status["problem"]) == ("ACTIVE", None)
    assert status["linkedAccount"]["id"] == before["id"]
    assert status["linkedAccount"]["account"]["externalId"] == str(user.id) != before["account"]["externalId"]
    assert status["linkedAccount"]["sync"]["webhooks"] == "RECEIVING"
    booked(plat, mona, at(2, 10))
    plat.jobs()
    assert len(mona.bookings()) == 1


def test_a_user_deleted_there_can_be_connected_again_before_anybody_noticed(plat: World) -> None:
    mona = linked(plat)
    before = mona.one(CONNECTION)["linkedAccount"]
    delete_upstream(plat)
    answer = connect(mona)
    assert answer["__typename"] == "ProviderLinked", answer
    assert answer["status"]["linkedAccount"]["id"] == before["id"]
    assert answer["status"]["linkedAccount"]["account"]["externalId"] == str(upstream(plat)[0].id)
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"


def test_a_deleted_user_can_be_unlinked(plat: World) -> None:
    mona = linked(plat)
    delete_upstream(plat)
    answer = mona.one(DISCONNECT)
    assert (answer["__typename"], answer["revokedUpstream"]) == ("ProviderUnlinked", True)
    assert told(mona) == ("NOT_CONNECTED", None)


# ---- unlinking -------------------------------------------------------------------------------------------------------------


def test_unlinking_revokes_at_the_provider(plat: World) -> None:
    mona = linked(plat)
    first = kept(plat, mona)
    mona.one(REFRESH, force=True)
    tokens = [first, kept(plat, mona)]
    assert [accepted(plat, token) for token in tokens] == [200, 200]
    answer = mona.one(DISCONNECT)
    assert (answer["__typename"], answer["revokedUpstream"]) == ("ProviderUnlinked", True)
    assert answer["message"] == "Cal.com is disconnected. Every token of it is revoked there and deleted here."
    assert answer["status"]["state"] == "NOT_CONNECTED"
    assert [accepted(plat, token) for token in tokens] == [401, 401]
    row = row_of(mona)
    assert (row.access_token, row.refresh_token) == (None, None)
    assert list(plat.sandbox.world.calcom.webhooks.values()) == []


def test_unlinking_while_the_provider_is_away_revokes_later(plat: World) -> None:
    mona = linked(plat)
    token = kept(plat, mona)
    down = plat.sandbox.fault(DOWN, method="POST", path=FORCE, times=None)
    answer = mona.one(DISCONNECT)
    assert (answer["__typename"], answer["revokedUpstream"]) == ("ProviderUnlinked", False)
    assert answer["message"] == "Cal.com is disconnected and its tokens are deleted here. Cal.com could not be told; it is tried again."
    assert told(mona) == ("NOT_CONNECTED", None)
    plat.move_clock(seconds=31)
    plat.jobs()
    assert (down.hits, accepted(plat, token)) == (2, 200)
    down.remove()
    plat.move_clock(minutes=5)
    plat.jobs()
    assert accepted(plat, token) == 401
    assert JobClaim.select().where(JobClaim.kind == "revoke").count() == 0


def test_a_pending_revocation_spares_a_link_that_was_made_again(plat: World) -> None:
    mona = linked(plat)
    down = plat.sandbox.fault(DOWN, method="POST", path=FORCE)
    assert mona.one(DISCONNECT)["revokedUpstream"] is False
    down.remove()
    assert connect(mona)["__typename"] == "ProviderLinked"
    token, count = kept(plat, mona), forced(plat)
    plat.move_clock(seconds=31)
    plat.jobs()
    assert forced(plat) == count
    assert (kept(plat, mona), accepted(plat, token)) == (token, 200)
    assert JobClaim.select().where(JobClaim.kind == "revoke").count() == 0


def test_a_pending_revocation_is_not_forgotten_when_another_account_is_linked(plat: World) -> None:
    mona = linked(plat)
    token = kept(plat, mona)
    down = plat.sandbox.fault(DOWN, method="POST", path=FORCE)
    assert mona.one(DISCONNECT)["revokedUpstream"] is False
    down.remove()
    plat.account(plat.caller("Private"))
    mona.link(user="private@example.test")
    plat.move_clock(seconds=31)
    plat.jobs()
    assert accepted(plat, token) == 401
    assert told(mona) == ("ACTIVE", None)


def test_a_revocation_under_way_does_not_break_a_link_that_is_made_again(plat: World) -> None:
    """It kills the pair of the new link; the next call gets another one by itself."""
    mona = linked(plat)
    held = plat.sandbox.fault({"kind": "hold"}, method="POST", path=FORCE)
    leaving = in_background(lambda: mona.one(DISCONNECT))
    assert held.wait_held()
    assert connect(mona)["__typename"] == "ProviderLinked"
    held.release()
    assert leaving.result()["__typename"] == "ProviderUnlinked"
    assert mona.one(SYNC)["__typename"] == "BookingsSynced"
    assert told(mona) == ("ACTIVE", None)
    assert accepted(plat, kept(plat, mona)) == 200


def test_two_unlinks_at_once_have_the_outcome_of_one(plat: World) -> None:
    mona = linked(plat)
    barrier = threading.Barrier(2)

    def go() -> str:
        barrier.wait()
        return str(mona.one(DISCONNECT)["__typename"])

    with ThreadPoolExecutor(2) as pool:
        answers = [future.result() for future in [pool.submit(go) for _ in range(2)]]
    assert sorted(answers) == ["NotConnected", "ProviderUnlinked"]
    assert forced(plat) == 2, "one to link, one to revoke"


# ---- bookings --------------------------------------------------------------------------------------------------------------


def test_bookings_of_a_managed_coach_are_like_any_others(plat: World) -> None:
    mona, otto = linked(plat), plat.caller("Otto", time_zone="Europe/London")
    (user,) = upstream(plat)
    (hook,) = plat.sandbox.world.calcom.webhooks.values()
    assert (hook.user_id, hook.active) == (user.id, True)
    uid = booked(plat, mona, at(2, 9))
    plat.jobs()
    (booking,) = mona.bookings()
    assert (booking["externalId"], booking["viewerRole"], booking["start"]) == (uid, "COACH", "2027-03-02T09:00:00Z")
    assert booking["rescheduling"]["mode"] == "API"
    assert [n["kind"] for n in mona.notifications()] == ["BOOKED"]

    moved = mona.move(booking["id"], at(3, 13), reason="A dentist")
    assert (moved["__typename"], moved["booking"]["id"]) == ("BookingRescheduled", booking["id"])
    plat.jobs()
    assert plat.live_uids() == [moved["booking"]["externalId"]]
    assert [n["kind"] for n in mona.notifications()] == ["MOVED", "BOOKED"]
    (theirs,) = otto.bookings()
    assert (theirs["start"], theirs["externalId"]) == ("2027-03-03T13:00:00Z", None)
    assert otto.notifications()[0]["kind"] == "MOVED"

    back = otto.move(booking["id"], at(4, 10), key="k2")
    assert back["__typename"] == "BookingRescheduled"
    plat.jobs()
    assert plat.live_uids() == [mona.bookings()[0]["externalId"]]
    assert [n["kind"] for n in mona.notifications()] == ["MOVED", "MOVED", "BOOKED"]
    assert mona.bookings()[0]["history"]["edges"][0]["node"]["by"] == "Otto"


def test_a_move_made_at_cal_com_by_a_managed_coach_is_theirs(plat: World) -> None:
    """Cal.com names who moved it by the rewritten address."""
    mona = linked(plat)
    uid = booked(plat, mona, at(2, 9))
    plat.jobs()
    answer = httpx.post(
        f"{plat.sandbox.url}/calcom/v2/bookings/{uid}/reschedule",
        headers={"Authorization": f"Bearer {kept(plat, mona)}", "cal-api-version": "2026-02-25"},
        json={"start": iso(at(3, 13)), "rescheduledBy": marked(mona)},
    )
    assert answer.status_code == 201, answer.text
    plat.jobs()
    (booking,) = mona.bookings()
    newest = booking["history"]["edges"][0]["node"]
    assert (newest["kind"], newest["by"], newest["source"]) == ("MOVED", "Mona", "PROVIDER")


def test_a_managed_mentee_moves_under_their_own_address(plat: World) -> None:
    clara, mona = plat.coach(), linked(plat)
    plat.book(clara, at(2, 9), name="Mona", email="mona@example.test")
    plat.jobs()
    (booking,) = mona.bookings()
    assert booking["viewerRole"] == "MENTEE"
    moved = mona.move(booking["id"], at(3, 13))
    assert moved["__typename"] == "BookingRescheduled"
    plat.jobs()
    assert len(plat.live_uids()) == 1
    assert [n["kind"] for n in clara.notifications()] == ["MOVED", "BOOKED"]
    assert clara.bookings()[0]["history"]["edges"][0]["node"]["by"] == "Mona"


# ---- POST /tokens/cal/managed-user -----------------------------------------------------------------------------------------

ROUTE = "/tokens/cal/managed-user"


def ask(person: Caller, username: str) -> httpx.Response:
    return person.world.http.post(ROUTE, json={"username": username}, headers={"Authorization": f"Bearer {person.token}"})


def name_of(person: Caller) -> str:
    """The username, as the scheduling address shows it."""
    url: str = person.one(CONNECTION)["linkedAccount"]["account"]["schedulingUrl"]
    return url.rsplit("/", 1)[1]


def problem(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert (set(body), body["data"]) == ({"data", "error"}, None)
    assert "accessToken" not in answer.text
    found: dict[str, Any] = body["error"]
    return found


def test_the_owner_gets_the_token(plat: World) -> None:
    mona = linked(plat)
    answer = ask(mona, name_of(mona))
    assert answer.status_code == 200
    assert answer.json() == {"accessToken": kept(plat, mona), "expiresAt": "2027-03-01T09:00:00Z"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert accepted(plat, answer.json()["accessToken"]) == 200


def test_an_expired_token_is_renewed_before_it_is_handed_out(plat: World) -> None:
    mona = linked(plat)
    old = kept(plat, mona)
    plat.move_clock(minutes=60)
    answer = ask(mona, name_of(mona)).json()
    assert answer["accessToken"] == kept(plat, mona) != old
    assert answer["expiresAt"] == "2027-03-01T10:00:00Z"
    assert (forced(plat), renewed(plat)) == (1, 1)


def test_only_somebody_signed_in_is_answered(plat: World) -> None:
    mona = linked(plat)
    name = name_of(mona)
    cal_token = kept(plat, mona)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": mona.token}, {"Authorization": f"Bearer {cal_token}"}):
        answer = plat.http.post(ROUTE, json={"username": name}, headers=headers)
        assert (answer.status_code, problem(answer)["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"username": null}', b'{"username": 7}', b'{"username": ""}', b'{"username": ["x"]}'],
)
def test_a_body_of_another_shape(plat: World, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {plat.caller('Mona').token}", "Content-Type": "application/json"}
    answer = plat.http.post(ROUTE, content=body, headers=headers)
    assert (answer.status_code, problem(answer)["code"]) == (400, "BAD_USER_INPUT")


def test_a_body_of_another_type_or_size(plat: World) -> None:
    mona = linked(plat)
    good = b'{"username": "%s"}' % name_of(mona).encode()
    for content, kind in (
        (good, "text/plain"),
        (good, "application/x-www-form-urlencoded"),
        (b'{"username": "a\\u0000b"}', "application/json"),
        (b'{"username": "%s"}' % (b"x" * 20_000), "application/json"),
        (b"\xff", "application/json"),
    ):
        headers = {"Authorization": f"Bearer {mona.token}", "Content-Type": kind}
        answer = plat.http.post(ROUTE, content=content, headers=headers)
        assert (answer.status_code, problem(answer)["code"]) == (400, "BAD_USER_INPUT")


def test_somebody_elses_name_is_as_unknown_as_no_name(plat: World) -> None:
    mona, nora = linked(plat), linked(plat, "Nora")
    theirs, nobodys = ask(nora, name_of(mona)), ask(nora, "nobody")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert problem(theirs) == problem(nobodys)
    assert problem(theirs)["code"] == "NOT_FOUND"
    assert ask(nora, name_of(nora)).json()["accessToken"] == kept(plat, nora)


def test_an_oauth_link_has_no_name_here(plat: World) -> None:
    clara = plat.coach()
    assert ask(clara, name_of(clara)).status_code == 404


def test_an_admin_gets_anybodys(plat: World) -> None:
    mona, ada = linked(plat), plat.caller("Ada", admin=True)
    answer = ask(ada, name_of(mona))
    assert (answer.status_code, answer.json()["accessToken"]) == (200, kept(plat, mona))
    assert ask(ada, "nobody").status_code == 404
    (entry,) = AuditEntry.select().where(AuditEntry.action == "admin.token_issued")
    kept_account = LinkedAccount.get()
    assert (entry.actor_kind, entry.face, entry.subject_id, entry.owner_id) == ("ADMIN", "REST", kept_account.id, kept_account.user_id)


def test_an_unlinked_one_is_unknown(plat: World) -> None:
    mona = linked(plat)
    name = name_of(mona)
    mona.one(DISCONNECT)
    count = forced(plat)
    assert ask(mona, name).status_code == 404
    assert forced(plat) == count


def test_thirty_a_minute(plat: World) -> None:
    mona, nora, ada = linked(plat), linked(plat, "Nora"), plat.caller("Ada", admin=True)
    name = name_of(mona)
    assert [ask(mona, name).status_code for _ in range(30)] == [200] * 30
    for person in (mona, ada):
        answer = ask(person, name)
        assert answer.status_code == 429
        error = problem(answer)
        assert (error["code"], error["details"]) == ("RATE_LIMITED", {"retryable": True, "retryAt": "2027-03-01T08:01:00Z"})
    assert ask(nora, name_of(nora)).status_code == 200
    plat.move_clock(seconds=59)
    assert ask(mona, name).status_code == 429
    plat.move_clock(seconds=1)
    assert ask(mona, name).status_code == 200


def test_thirty_a_minute_also_at_once(plat: World) -> None:
    mona = linked(plat)
    name, jwt = name_of(mona), mona.token
    barrier = threading.Barrier(8)

    def go() -> list[int]:
        barrier.wait()
        headers = {"Authorization": f"Bearer {jwt}"}
        return [plat.http.post(ROUTE, json={"username": name}, headers=headers).status_code for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        answers = [status for future in [pool.submit(go) for _ in range(8)] for status in future.result()]
    assert (answers.count(200), answers.count(429)) == (30, 10)


def test_when_the_provider_is_down(plat: World) -> None:
    mona = linked(plat)
    name = name_of(mona)
    plat.move_clock(minutes=60)
    plat.sandbox.fault(DOWN, method="POST", path=RENEWAL)
    answer = ask(mona, name)
    assert answer.status_code == 503
    error = problem(answer)
    assert (error["code"], error["details"]) == (
        "PROVIDER_UNAVAILABLE",
        {"retryable": True, "retryAt": iso(MONDAY + timedelta(minutes=60, seconds=5))},
    )
    plat.move_clock(seconds=6)
    assert ask(mona, name).status_code == 200


def test_when_only_the_person_can_repair_it(plat: World) -> None:
    mona = linked(plat)
    name = name_of(mona)
    delete_upstream(plat)
    mona.one(SYNC)
    answer = ask(mona, name)
    assert (answer.status_code, problem(answer)["code"]) == (409, "CONNECTION_UNUSABLE")


def test_only_a_managed_user_of_the_same_address_is_adopted(plat: World) -> None:
    """Whoever is listed first is not taken: whose account this is must not hang on how a filter is read."""
    anna, berta = linked(plat, "Anna"), linked(plat, "Berta")
    ids = {person.name: row_of(person).external_id for person in (anna, berta)}
    for person in (anna, berta):
        assert person.one(DISCONNECT)["__typename"] == "ProviderUnlinked"
    users = [{"id": int(ids[p.name]), "email": marked(p), "name": p.name, "username": p.name, "timeZone": "UTC"} for p in (anna, berta)]
    everybody = {"kind": "status", "status": 200, "body": {"status": "success", "data": users}}
    plat.sandbox.fault(everybody, method="GET", path=f"/calcom/v2/oauth-clients/{PLATFORM}/users")
    assert connect(berta)["__typename"] == "ProviderLinked"
    assert row_of(berta).external_id == ids["Berta"]
