"""Bookings: how they get here, who sees them, and what is told of them."""

import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from harness import ONE_BOOKING, SYNC, Caller, World, at, iso

from models import Booking, JobClaim, Person
from services import claims, jobs


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


# ---- how they get here ---------------------------------------------------------------------------------------------------


def test_the_first_reading_brings_the_past_and_notifies_nobody(world: World) -> None:
    clara = world.caller("Clara", time_zone="Europe/Berlin")
    world.account(clara, eventTypes=[{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
    world.book(clara, at(2, 9), name="Otto")
    moved = world.book(clara, at(2, 10), name="Mia")
    httpx.post(
        f"{world.sandbox.url}/calcom/v2/bookings/{moved}/reschedule",
        json={"start": iso(at(4, 10))},
        headers={"cal-api-version": "2026-02-25"},
    )
    world.move_clock(hours=1)
    clara.link()
    assert [(b["start"], b["status"]) for b in clara.bookings()] == [(iso(at(2, 9)), "CONFIRMED"), (iso(at(4, 10)), "CONFIRMED")]
    kinds = [[e["node"]["kind"] for e in b["history"]["edges"]] for b in clara.bookings()]
    assert kinds == [["BOOKED"], ["MOVED", "BOOKED"]]
    assert clara.notifications() == []
    world.book(clara, at(3, 9), name="Otto")
    world.jobs()
    assert [n["kind"] for n in clara.notifications()] == ["BOOKED"]


def test_sync_says_what_it_did(world: World, clara: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    uid = world.book(clara, at(2, 9))
    world.book(clara, at(2, 10))
    first = clara.one(SYNC)
    assert first == {"__typename": "BookingsSynced", "synced": 2, "added": 2, "changed": 0, "status": {"state": "ACTIVE"}}
    httpx.post(
        f"{world.sandbox.url}/calcom/v2/bookings/{uid}/cancel", json={}, headers={"cal-api-version": "2026-02-25"}
    ).raise_for_status()
    second = clara.one(SYNC)
    assert (second["synced"], second["added"], second["changed"]) == (2, 0, 1)
    third = clara.one(SYNC)
    assert (third["synced"], third["added"], third["changed"]) == (2, 0, 0)
    assert world.caller("Otto").one(SYNC)["__typename"] == "NotConnected"


def test_a_list_of_several_pages_is_read_whole(world: World, clara: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    for day in range(8, 20):
        for quarter in range(10):
            world.book(clara, at(day, 8 + quarter // 2, 30 * (quarter % 2)), force=True)
    done = clara.one(SYNC)
    assert (done["synced"], done["added"]) == (120, 120)


def test_one_unreadable_booking_does_not_keep_the_others_away(world: World, clara: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    odd = world.book(clara, at(2, 9))
    world.book(clara, at(2, 10))
    next(b for b in world.sandbox.world.calcom.bookings.values() if b.uid == odd).status = "nobody knows"
    assert clara.one(SYNC)["added"] == 1
    assert [b["start"] for b in clara.bookings()] == [iso(at(2, 10))]


def test_a_sync_that_was_stopped_is_not_remembered_as_done(world: World, clara: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    world.book(clara, at(2, 9))
    world.move_clock(minutes=6)
    held = world.sandbox.fault({"kind": "hold"}, method="GET", path="/calcom/v2/bookings")
    job = threading.Thread(target=jobs.run_work, args=[world.rt, "sync"])
    job.start()
    assert held.wait_held()
    world.rt.stopping.set()
    held.release()
    job.join()
    assert clara.bookings() == []
    # what somebody asked for is finished all the same
    assert clara.one(SYNC)["added"] == 1
    world.rt.stopping.clear()
    world.jobs()
    assert len(clara.bookings()) == 1
    assert JobClaim.select().where(JobClaim.lease_owner.is_null(False)).count() == 0


def test_an_account_whose_work_was_lost_is_taken_up_again(world: World, clara: Caller) -> None:
    JobClaim.delete().where(JobClaim.key != "").execute()
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    world.book(clara, at(2, 9))
    claims.schedule("clean_up", "", world.clock.now())
    world.jobs()
    assert len(clara.bookings()) == 1
    assert {row.kind for row in JobClaim.select()} >= {"sync", "reconcile", "webhooks", "event_types", "warm"}


def test_six_syncs_at_once_are_like_one(world: World, clara: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    for hour in range(9, 14):
        world.book(clara, at(2, hour))
    gate, answers = threading.Barrier(6), []

    def sync() -> None:
        gate.wait()
        answers.append(clara.one(SYNC))

    threads = [threading.Thread(target=sync) for _ in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [a["__typename"] for a in answers] == ["BookingsSynced"] * 6
    assert sum(a["added"] for a in answers) == 5
    assert len(clara.bookings()) == 5
    assert len(clara.notifications()) == 5


def test_a_failing_sync_is_told_and_loses_nothing(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9))
    world.jobs()
    world.sandbox.fault(method="GET", path="/calcom/v2/bookings", effect={"kind": "status", "status": 503}, times=3)
    failed = clara.one(SYNC)
    assert (failed["__typename"], failed["retryable"]) == ("ProviderFailure", True)
    sync = clara.one("{ linkedAccounts { sync { lastError bookings } } }")
    assert sync == [{"sync": {"lastError": "PROVIDER_OUTCOME_UNKNOWN", "bookings": 1}}]
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert clara.one("{ linkedAccounts { sync { lastError } } }") == [{"sync": {"lastError": None}}]


def test_one_booking_between_two_linked_people_is_one(world: World, clara: Caller) -> None:
    mia = world.caller("Mia")
    world.account(mia)
    mia.link()
    world.book(clara, at(2, 9), name="Mia")
    world.jobs()
    clara.one(SYNC)
    mia.one(SYNC)
    (hers,), (coachs,) = mia.bookings(), clara.bookings()
    assert hers["id"] == coachs["id"]
    assert (hers["viewerRole"], coachs["viewerRole"]) == ("MENTEE", "COACH")
    assert Booking.select().count() == 1
    assert len(mia.notifications()) == len(clara.notifications()) == 1


def test_both_branches_of_a_fork_are_shown(world: World, clara: Caller) -> None:
    """Two reschedules at once fork one booking at Cal.com; the one it names keeps our id, the other is a booking of its own."""
    uid = world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (before,) = clara.bookings()
    held = world.sandbox.fault(method="POST", path="/calcom/v2/bookings/*/reschedule", effect={"kind": "hold", "when": "before"}, times=2)

    def outsider(hour: int) -> None:
        httpx.post(
            f"{world.sandbox.url}/calcom/v2/bookings/{uid}/reschedule",
            json={"start": iso(at(3, hour))},
            headers={"cal-api-version": "2026-02-25"},
            timeout=20,
        )

    threads = [threading.Thread(target=outsider, args=(hour,)) for hour in (10, 14)]
    [t.start() for t in threads]
    assert held.wait_held(2, 10)
    held.release()
    [t.join() for t in threads]
    world.jobs()
    clara.one(SYNC)
    assert len(world.live_uids()) == 2
    found = clara.bookings(filter={"status": ["CONFIRMED"]})
    assert sorted(b["start"] for b in found) == [iso(at(3, 10)), iso(at(3, 14))]
    bookings = world.sandbox.world.calcom.bookings.values()
    named = next(b.to_uid for b in bookings if b.uid == uid)
    assert {b["externalId"]: b["id"] for b in found}[named] == before["id"]


# ---- who sees them -------------------------------------------------------------------------------------------------------


def test_alice_bob_and_charlie(world: World) -> None:
    alice, bob, charlie = world.coach("Alice"), world.caller("Bob"), world.coach("Charlie")
    world.book(alice, at(2, 9), name="Bob")
    world.jobs()
    (booking,) = alice.bookings()
    assert bob.one(ONE_BOOKING, id=booking["id"])["viewerRole"] == "MENTEE"
    assert charlie.one(ONE_BOOKING, id=booking["id"]) is None
    assert charlie.bookings() == []
    assert charlie.bookings(filter={"text": "bob"}) == []
    assert charlie.notifications() == []
    operation = alice.move(booking["id"], at(3, 10))
    assert operation["__typename"] == "BookingRescheduled"
    assert charlie.one(ONE_BOOKING, id=booking["id"]) is None


def test_an_address_counts_only_when_it_is_verified(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    pretender = world.caller("Otto", email_verified=False)
    assert pretender.bookings() == []
    assert pretender.one("{ viewer { email } }") == {"email": None}
    assert len(world.caller("Otto").bookings()) == 1


def test_somebody_who_signs_in_later_finds_what_was_said(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (booking,) = clara.bookings()
    clara.move(booking["id"], at(3, 9))
    otto = world.caller("Otto", time_zone="Europe/London")
    assert [n["kind"] for n in otto.notifications()] == ["MOVED", "BOOKED"]
    assert otto.bookings()[0]["participants"][1]["isViewer"] is True
    # the person that the booking made is now this user's: one survivor, the other points to it
    assert Person.select().where(Person.merged_into.is_null(False)).count() >= 1


def test_a_link_claims_the_account_and_its_address(world: World, clara: Caller) -> None:
    """Mia signs in with another address than her Cal.com account has; the completed link proves both."""
    mia = world.caller("Mia", "mia@private.test")
    world.sandbox_call("calcom/users", email="mia@work.test", name="Mia", timeZone="UTC")
    world.book(clara, at(2, 9), name="Mia", email="mia@work.test")
    world.jobs()
    assert mia.bookings() == []
    mia.link(user="mia@work.test")
    assert [b["viewerRole"] for b in mia.bookings()] == ["MENTEE"]


def test_addresses_and_ids_are_told_to_those_who_have_them(world: World, clara: Caller) -> None:
    gina, otto, admin = world.caller("Gina"), world.caller("Otto"), world.caller("Ada", admin=True)
    uid = world.book(clara, at(2, 9), name="Otto", guests=[gina.email])
    world.jobs()

    def seen(caller: Caller) -> tuple[list[Any], Any]:
        (booking,) = caller.bookings()
        return [p["email"] for p in booking["participants"]], booking["externalId"]

    everybody = ["clara@example.test", "gina@example.test", "otto@example.test"]
    emails, external = seen(clara)
    assert (sorted(emails), external) == (everybody, uid)
    emails, external = seen(otto)
    assert (sorted(emails), external) == (everybody, None)
    emails, external = seen(gina)
    assert (sorted(filter(None, emails)), external) == (["clara@example.test", "gina@example.test"], None)
    (booking,) = clara.bookings()
    seen_by_admin = admin.one(ONE_BOOKING, id=booking["id"])
    assert (seen_by_admin["externalId"], seen_by_admin["meetingUrl"], seen_by_admin["location"]) == (uid, None, None)
    assert admin.bookings() == []
    # what cannot be read cannot be found either
    assert len(clara.bookings(filter={"text": "otto@example"})) == 1
    assert len(gina.bookings(filter={"text": "clara@example"})) == 1
    assert gina.bookings(filter={"text": "otto@example"}) == []
    assert admin.move(booking["id"], at(3, 9))["__typename"] == "NotPermitted"


def test_who_was_taken_out_of_a_booking_sees_no_more_of_it(world: World, clara: Caller) -> None:
    max_ = world.caller("Max")
    world.book(clara, at(2, 9), name="Max")
    world.jobs()
    (booking,) = max_.bookings()
    moved = max_.move(booking["id"], at(3, 9))
    assert moved["__typename"] == "BookingRescheduled"
    state = next(b for b in world.sandbox.world.calcom.bookings.values() if b.uid in world.live_uids())
    state.attendees[0] |= {"name": "Zoe", "email": "zoe@example.test", "displayEmail": "zoe@example.test"}
    state.title, state.updated_at = "Secret with Zoe", world.clock.now() + timedelta(seconds=1)
    clara.one(SYNC)
    assert (clara.bookings()[0]["title"], max_.bookings()) == ("Secret with Zoe", [])
    told = max_.notifications()
    assert [(n["kind"], n["booking"]) for n in told] == [("MOVED", None), ("BOOKED", None)]
    assert "Zoe" not in str(told)
    assert max_.move(booking["id"], at(3, 9))["__typename"] == "NotFound"
    assert max_.move(booking["id"], at(3, 10), key="again")["__typename"] == "NotFound"


# ---- what is told of them ------------------------------------------------------------------------------------------------


def test_answers_are_sealed_and_for_the_parties(world: World, clara: Caller) -> None:
    gina = world.caller("Gina")
    world.book(clara, at(2, 9), name="Otto", guests=[gina.email], bookingFieldsResponses={"notes": "Über die Prüfung"})
    world.jobs()
    assert clara.bookings()[0]["answers"] == [{"question": "Additional notes", "answer": "Über die Prüfung"}]
    assert world.caller("Otto").bookings()[0]["answers"] == clara.bookings()[0]["answers"]
    assert gina.bookings()[0]["answers"] == []
    assert "Prüfung" not in Booking.get().answers


def test_a_booking_that_is_over_is_completed(world: World, clara: Caller) -> None:
    world.book(clara, at(1, 10))
    world.jobs()
    assert clara.bookings()[0]["status"] == "CONFIRMED"
    world.move_clock(hours=3)
    (over,) = clara.bookings()
    assert (over["status"], over["rescheduling"]["mode"], over["rescheduling"]["blockedBy"]) == ("COMPLETED", "NONE", ["PAST"])
    assert clara.bookings(filter={"status": ["CONFIRMED"]}) == []
    assert len(clara.bookings(filter={"status": ["COMPLETED", "CANCELLED"]})) == 1


def test_history_is_newest_first_and_paged(world: World, clara: Caller) -> None:
    world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (booking,) = clara.bookings()
    for day in (3, 4, 5):
        world.move_clock(minutes=1)
        assert clara.move(booking["id"], at(day, 9), key=f"k{day}")["__typename"] == "BookingRescheduled"
    query = """query($id: ID!, $after: String) { booking(id: $id) { history(first: 3, after: $after) {
      edges { node { kind newStart } } pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
    first = clara.one(query, id=booking["id"])["history"]
    assert [e["node"]["newStart"] for e in first["edges"]] == [iso(at(5, 9)), iso(at(4, 9)), iso(at(3, 9))]
    assert first["pageInfo"]["hasNextPage"] is True
    second = clara.one(query, id=booking["id"], after=first["pageInfo"]["endCursor"])["history"]
    assert [e["node"]["kind"] for e in second["edges"]] == ["BOOKED"]
    assert second["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": True, "endCursor": second["pageInfo"]["endCursor"]}
