"""Erasing a user: nothing of them is left in the database but ids, whatever comes again from providers, and the chain holds."""

import json
from typing import Any

import pytest
from harness import NOTIFICATIONS, Caller, World, at, iso, stored

from models import (
    AuditEntry,
    Booking,
    BookingChange,
    Delivery,
    LinkedAccount,
    Operation,
    Participant,
    PersonIdentity,
    Policy,
    User,
)
from models.base import db, is_sqlite
from services import audit_chain, audit_check, claims, erased

ERASE = """mutation($input: EraseUserInput!) { eraseUser(input: $input) { __typename ... on UserErased { userId alreadyErased bookings }
  ... on InvalidInput { fields { path message } } ... on ProviderFailure { retryable retryAt } ... on Problem { code message } } }"""
NAME, EMAIL = "Zebulon Quagga", "zebulon.quagga@mailhost.test"
TRACES = (b"Zebulon", b"Quagga", b"zebulon.quagga", b"mailhost.test", b"+49 170 5550199")


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


@pytest.fixture
def zeb(world: World, clara: Caller) -> Caller:
    """A mentee with an account of his own, a booking that he wrote much into, and one that he moved and cancelled."""
    person = world.caller(NAME, EMAIL)
    world.account(person)
    person.link()
    for day in (2, 4):
        world.book(
            clara,
            at(day, 9),
            name=NAME,
            email=EMAIL,
            bookingFieldsResponses={"notes": f"Call {NAME} on +49 170 5550199"},
        )
    world.jobs()
    first, second = person.bookings()
    assert person.move(first["id"], at(2, 13), reason=f"{NAME} is late")["__typename"] == "BookingRescheduled"
    assert person.cancel(second["id"], reason=f"{NAME} is ill")["__typename"] == "BookingCancelled"
    world.jobs()
    return person


def who(caller: Caller) -> str:
    return str(caller.one("{ viewer { id } }")["id"])


def erase(admin: Caller, user_id: str, email: str | None = EMAIL) -> dict[str, Any]:
    found: dict[str, Any] = admin.one(ERASE, input={"userId": user_id, "confirmEmail": email})
    return found


def mentees(clara: Caller) -> list[tuple[str, str | None]]:
    return [(p["name"], p["email"]) for b in clara.bookings() for p in b["participants"] if p["role"] == "MENTEE"]


def read_everything_anew(world: World) -> None:
    """As if each booking had changed at its provider in a way that nobody sees."""
    Booking.update(remote_updated_at=at(1, 0)).execute()
    db.close()
    world.move_clock(hours=1, minutes=1)
    world.jobs()


def traces(world: World) -> list[bytes]:
    db.close()
    return [trace for trace in TRACES if trace in stored(world.database_url)]


def check(world: World) -> audit_check.Report:
    audit_chain.extend(world.rt)
    report = audit_check.check(world.rt)
    db.close()
    assert report.wrong is None, report.wrong
    return report


def test_nothing_is_left_but_ids_and_what_happened(world: World, clara: Caller, zeb: Caller, admin: Caller) -> None:
    user_id, tokens = who(zeb), world.calls("POST", "/oauth2/token")
    # as it was kept before: sealed, so bytes do not tell
    assert b"Zebulon" in stored(world.database_url)
    before = check(world).entries
    assert erase(admin, user_id) == {"__typename": "UserErased", "userId": user_id, "alreadyErased": False, "bookings": 2}
    world.jobs()
    assert traces(world) == []
    # sealed columns do not show as bytes
    assert [(row.answers, row.cancellation_reason) for row in Booking.select()] == [(None, None)] * 2
    assert [row.reason for row in BookingChange.select()] == [None] * BookingChange.select().count()
    assert [(row.reason, row.wish, row.origin) for row in Operation.select()] == [(None, None, None)] * 2
    account = LinkedAccount.get(LinkedAccount.user == user_id)
    assert (account.connected, account.access_token, account.refresh_token, account.name, account.email) == (False, None, None, None, None)
    assert PersonIdentity.select().where(PersonIdentity.value.contains("quagga")).count() == 0
    user = User.get_by_id(user_id)
    assert (user.subject, user.email, user.name, user.is_admin) == (f"erased|{user_id}", None, "Erased person", False)
    # the trail is whole, and knows what was done under which id
    report = check(world)
    assert (report.entries, report.erased) == (before + 2, 4)
    rows = list(AuditEntry.select().where((AuditEntry.actor_id == user_id) | (AuditEntry.owner_id == user_id)).order_by(AuditEntry.seq))
    assert [(row.action, row.personal) for row in rows] == [
        ("linked_account.connected", None),
        ("booking.moved", None),
        ("booking.cancelled", None),
        ("linked_account.disconnected", None),
    ]
    (erasure,) = AuditEntry.select().where(AuditEntry.action == "user.erased")
    assert (erasure.subject_id, {row.erased_by for row in rows}) == (user_id, {erasure.id})
    db.close()
    shown = admin.one(
        "query($f: AuditFilter) { auditEntries(filter: $f) { edges { node { action actorId actorName erased } } } }", f={"actorId": user_id}
    )
    assert shown["edges"][0]["node"] == {"action": "booking.cancelled", "actorId": user_id, "actorName": None, "erased": True}
    # the coach keeps the bookings and the history
    assert mentees(clara) == [("Erased person", None)] * 2
    assert NAME not in json.dumps(clara.one(NOTIFICATIONS))
    assert {n["kind"] for n in clara.notifications()} == {"BOOKED", "MOVED", "CANCELLED"}
    kinds = {(e["node"]["kind"], e["node"]["by"]) for b in clara.bookings() for e in b["history"]["edges"]}
    assert kinds == {("BOOKED", "Erased person"), ("MOVED", "Erased person"), ("CANCELLED", "Erased person")}
    assert erase(admin, user_id) == {"__typename": "UserErased", "userId": user_id, "alreadyErased": True, "bookings": 0}
    assert world.calls("POST", "/oauth2/token") == tokens


def test_what_providers_tell_later_brings_nothing_back(world: World, clara: Caller, zeb: Caller, admin: Caller) -> None:
    """The coach's calendar at Cal.com goes on naming him: in lists, in webhooks, and when the coach moves the booking there."""
    assert erase(admin, who(zeb))["__typename"] == "UserErased"
    uid = world.live_uids()[0]
    read_everything_anew(world)
    assert mentees(clara) == [("Erased person", None)] * 2
    booking = next(b for b in clara.bookings() if b["status"] == "CONFIRMED")
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "BookingRescheduled"
    world.jobs()
    assert world.live_uids() != [uid]
    assert mentees(clara) == [("Erased person", None)] * 2
    read_everything_anew(world)
    claims.schedule("scrub", "", world.clock.now())
    world.jobs()
    assert traces(world) == []
    assert {row.answers for row in Booking.select()} == {None}
    assert Participant.select().count() == 4
    # who books again is somebody new to us, and the coach has to know their name
    world.book(clara, at(5, 9), name=NAME, email=EMAIL)
    world.jobs()
    assert sorted(mentees(clara)) == [("Erased person", None)] * 2 + [(NAME, EMAIL)]
    assert check(world).erased == 4


def test_signing_in_again_makes_somebody_new(world: World, clara: Caller, zeb: Caller, admin: Caller) -> None:
    before = who(zeb)
    assert erase(admin, before)["__typename"] == "UserErased"
    again = who(zeb)
    assert again != before
    assert (zeb.bookings(), zeb.notifications()) == ([], [])
    assert zeb.one("{ viewer { name } }") == {"name": NAME}
    # he has proved to be the one whom Cal.com names, so what is read anew is his again
    read_everything_anew(world)
    assert len(zeb.bookings()) == 2
    assert erase(admin, again)["bookings"] == 2
    world.jobs()
    assert traces(world) == []


def test_a_coach_goes_with_links_rules_and_event_types(world: World, clara: Caller, zeb: Caller, admin: Caller) -> None:
    clara.one("mutation { updatePolicy(input: {maxMoves: 2}) { __typename } }")
    assert erase(admin, who(clara), clara.email)["bookings"] == 2
    world.jobs()
    assert (Policy.select().count(), Delivery.select().count()) == (0, 0)
    assert LinkedAccount.select().where(LinkedAccount.connected).count() == 1
    db.close()
    assert {(p["role"], p["name"], p["email"]) for b in zeb.bookings() for p in b["participants"]} == {
        ("COACH", "Erased person", None),
        ("MENTEE", NAME, EMAIL),
    }
    assert {b["eventType"]["title"] for b in zeb.bookings()} == {"Erased person"}
    # what the mentee wrote is the mentee's
    assert all(row.answers for row in Booking.select())
    db.close()
    content = stored(world.database_url)
    assert [trace for trace in (b"clara@", b"Clara") if trace in content] == []
    check(world)


def test_refusals_erase_nothing(world: World, clara: Caller, zeb: Caller, admin: Caller) -> None:
    user_id = who(zeb)
    assert erase(clara, user_id)["__typename"] == "NotPermitted"
    assert erase(admin, "0" * 26)["__typename"] == "NotFound"
    wrong = erase(admin, user_id, clara.email)
    assert (wrong["__typename"], wrong["fields"][0]["path"]) == ("InvalidInput", ["confirmEmail"])
    assert erase(admin, who(admin), admin.email)["fields"][0]["path"] == ["userId"]
    # a booking of his is being moved, by whomever, and nobody knows yet how it ends
    booking = next(b for b in clara.bookings() if b["status"] == "CONFIRMED")
    world.sandbox.fault({"kind": "drop", "when": "before"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    away = world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path="/calcom/v2/bookings*", times=None)
    assert clara.move(booking["id"], at(3, 15), key="k9")["__typename"] == "RescheduleInProgress"
    busy = erase(admin, user_id)
    assert (busy["__typename"], busy["code"], busy["retryAt"]) == (
        "ProviderFailure",
        "OPERATION_IN_PROGRESS",
        iso(at(1, 8).replace(second=30)),
    )
    assert AuditEntry.select().where(AuditEntry.action == "user.erased").count() == 0
    assert LinkedAccount.get(LinkedAccount.user == user_id).connected
    db.close()
    assert mentees(clara) == [(NAME, EMAIL)] * 2
    assert zeb.one("{ viewer { email } }") == {"email": EMAIL}
    away.remove()


def test_a_reading_that_the_erasure_overtakes_starts_over(world: World, clara: Caller, zeb: Caller, admin: Caller) -> None:
    """It had found nobody erased, and goes on after the erasure is committed. On SQLite no writer can overtake another."""
    user_id, answers = who(zeb), []
    execute = db.obj.execute_sql

    def executed(sql: str, params: Any = None, **more: Any) -> Any:
        cursor = execute(sql, params, **more)
        if not answers and "person_identity" in sql and params and erased.KIND in params:
            answers.append(None)
            answers.append(erase(admin, user_id))
        return cursor

    if is_sqlite():
        answers += [None, erase(admin, user_id)]
    db.obj.execute_sql = executed
    try:
        read_everything_anew(world)
    finally:
        db.obj.execute_sql = execute
    assert answers[1]["__typename"] == "UserErased"
    assert mentees(clara) == [("Erased person", None)] * 2
    world.jobs()
    assert traces(world) == []
