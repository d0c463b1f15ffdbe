"""What nobody had told us of is kept for an admin to look at, once; what goes its ordinary way leaves nothing."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from harness import SYNC, Caller, World, at, iso

from models import Drift

PROVIDERS = ("CAL_COM", "CALENDLY")
BOTH = pytest.mark.parametrize("provider", PROVIDERS)
DROP = {"kind": "drop"}
VERSION = {"cal-api-version": "2026-02-25"}


@pytest.fixture(autouse=True)
def _all_deliveries_have_arrived(world: World) -> Iterator[None]:
    """Calendly's go out after the answer: one must not meet a database that is being closed."""
    yield
    world.sandbox.settle()


class Coach:
    """A coach linked at one provider, and what people do there without Convene."""

    def __init__(self, world: World, provider: str) -> None:
        self.world, self.provider = world, provider
        self.slug = "calcom" if provider == "CAL_COM" else "calendly"
        person = world.caller("Cora", time_zone="Europe/Berlin")
        if provider == "CAL_COM":
            world.account(person, eventTypes=[{"title": "Call", "slug": "call", "lengthInMinutes": 30}])
        else:
            ours = {"email": person.email, "name": person.name, "timeZone": person.time_zone}
            world.sandbox_call("calendly/users", **ours, eventTypes=[{"name": "Call", "duration": 30}])
        self.caller: Caller = person.link(provider=provider)

    def book(self, start: datetime, name: str = "Otto") -> str:
        """Answers what the provider calls it."""
        if self.provider == "CAL_COM":
            return self.world.book(self.caller, start, name=name, slug="call")
        (kind,) = (row.id for row in self.world.sandbox.world.calendly.event_types.values())
        invitee = {"name": name, "email": f"{name.lower()}@example.test", "timeZone": "Europe/London"}
        made = self.world.sandbox_call("calendly/bookings", eventType=kind, start=iso(start), invitee=invitee)
        return str(made["invitee"]["uri"])

    def move(self, known: str, start: datetime) -> str:
        if self.provider == "CALENDLY":
            return str(self.world.sandbox_call("calendly/reschedule", invitee=known, start=iso(start))["new"]["uri"])
        return str(self._at_calcom(known, "reschedule", {"start": iso(start)})["data"]["uid"])

    def cancel(self, known: str) -> None:
        if self.provider == "CALENDLY":
            self.world.sandbox_call("calendly/cancel", invitee=known, by="invitee")
        else:
            self._at_calcom(known, "cancel", {"cancellationReason": "Ill"})

    def _at_calcom(self, uid: str, what: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.world.sandbox.url}/calcom/v2/bookings/{uid}/{what}", json=body, headers=VERSION)
        assert answer.is_success, answer.text
        return answer.json()

    def read_the_list(self) -> None:
        assert self.caller.one(SYNC, provider=self.provider)["__typename"] == "BookingsSynced"

    def brief(self) -> list[tuple[str, str]]:
        return [(one["status"], one["start"]) for one in self.caller.bookings()]


def news(world: World) -> None:
    world.sandbox.settle()
    world.jobs()


def drifts() -> list[tuple[str, str]]:
    """Kind and provider of all that was recorded, oldest first."""
    return [(row.kind, row.provider) for row in Drift.select().order_by(Drift.id)]


# ---- the ordinary course ----------------------------------------------------------------------------------------------------


@BOTH
def test_what_webhooks_tell_and_lists_repeat_is_no_drift(world: World, provider: str) -> None:
    cora = Coach(world, provider)
    first, second = cora.book(at(2, 9)), cora.book(at(3, 9), "Mia")
    news(world)
    world.move_clock(minutes=10)
    moved = cora.move(first, at(4, 10))
    news(world)
    world.move_clock(minutes=10)
    cora.cancel(second)
    news(world)
    world.move_clock(hours=2)
    world.jobs()
    cora.read_the_list()
    assert cora.brief() == [("CANCELLED", iso(at(3, 9))), ("CONFIRMED", iso(at(4, 10)))]
    cora.cancel(moved)
    news(world)
    cora.read_the_list()
    assert drifts() == []


@BOTH
def test_what_was_there_before_the_link_is_no_drift(world: World, provider: str) -> None:
    """The first reading finds it all by the list, and so does the first one after linking again."""
    cora = Coach(world, provider)
    cora.caller.gql("mutation($p: Provider!) { disconnectProvider(input: {provider: $p}) { __typename } }", p=provider)
    cora.book(at(2, 9))
    world.sandbox.settle()
    world.move_clock(hours=3)
    cora.caller.link(provider=provider)
    news(world)
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(2, 9)))], [])


@BOTH
def test_our_own_changes_are_no_drift(world: World, provider: str) -> None:
    cora = Coach(world, provider)
    cora.book(at(2, 9))
    news(world)
    (booking,) = cora.caller.bookings()
    world.sandbox.fault(DROP, webhook="*", times=None)
    if provider == "CAL_COM":
        assert cora.caller.move(booking["id"], at(3, 10))["__typename"] == "BookingRescheduled"
    assert cora.caller.cancel(booking["id"])["__typename"] == "BookingCancelled"
    world.move_clock(hours=2)
    news(world)
    cora.read_the_list()
    assert ([status for status, _ in cora.brief()], drifts()) == (["CANCELLED"], [])


@BOTH
def test_what_is_still_on_its_way_is_no_drift(world: World, provider: str) -> None:
    """Read from the list half a minute before its delivery comes."""
    cora = Coach(world, provider)
    known = cora.book(at(2, 9))
    news(world)
    world.move_clock(minutes=10)
    parked = world.sandbox.fault({"kind": "park"}, webhook="*", times=None)
    cora.move(known, at(3, 10))
    world.sandbox.settle()
    world.move_clock(seconds=30)
    cora.read_the_list()
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(3, 10)))], [])
    parked.remove()
    world.sandbox_call("deliveries/flush")
    news(world)
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(3, 10)))], [])


def test_where_no_webhook_could_have_told_it_nothing_was_missed(world: World) -> None:
    """Without a subscription the list is the only source, and reading it is the ordinary course."""
    world.sandbox.fault({"kind": "status", "status": 503}, method="POST", path="/calcom/v2/webhooks", times=None)
    cora = Coach(world, "CAL_COM")
    known = cora.book(at(2, 9))
    cora.read_the_list()
    cora.move(known, at(3, 10))
    world.move_clock(minutes=20)
    cora.read_the_list()
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(3, 10)))], [])


# ---- missed -----------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("what", ["move", "cancel"])
def test_a_lost_delivery_is_recorded_once(world: World, provider: str, what: str) -> None:
    cora = Coach(world, provider)
    known = cora.book(at(2, 9))
    news(world)
    world.move_clock(minutes=10)
    world.sandbox.fault(DROP, webhook="*", times=None)
    if what == "move":
        cora.move(known, at(3, 10))
    else:
        cora.cancel(known)
    world.sandbox.settle()
    world.move_clock(minutes=6)
    world.jobs()
    expected = [("CONFIRMED", iso(at(3, 10)))] if what == "move" else [("CANCELLED", iso(at(2, 9)))]
    assert (cora.brief(), drifts()) == (expected, [("MISSED", cora.slug)])
    for _ in range(3):
        world.move_clock(hours=1)
        world.jobs()
        cora.read_the_list()
    assert drifts() == [("MISSED", cora.slug)]


@BOTH
def test_each_missed_change_is_one(world: World, provider: str) -> None:
    cora = Coach(world, provider)
    known = cora.book(at(2, 9))
    news(world)
    world.sandbox.fault(DROP, webhook="*", times=None)
    for day in (3, 4):
        world.move_clock(minutes=10)
        known = cora.move(known, at(day, 10))
        world.sandbox.settle()
        world.move_clock(minutes=10)
        world.jobs()
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(4, 10)))], [("MISSED", cora.slug)] * 2)


@BOTH
def test_a_new_booking_of_which_nobody_told_is_missed_as_well(world: World, provider: str) -> None:
    cora = Coach(world, provider)
    world.move_clock(minutes=10)
    world.jobs()
    world.sandbox.fault(DROP, webhook="*", times=None)
    cora.book(at(2, 9))
    world.sandbox.settle()
    world.move_clock(minutes=10)
    world.jobs()
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(2, 9)))], [("MISSED", cora.slug)])


@BOTH
def test_a_delivery_that_comes_after_all_adds_nothing(world: World, provider: str) -> None:
    cora = Coach(world, provider)
    known = cora.book(at(2, 9))
    news(world)
    world.move_clock(minutes=10)
    parked = world.sandbox.fault({"kind": "park"}, webhook="*", times=None)
    cora.move(known, at(3, 10))
    world.sandbox.settle()
    world.move_clock(minutes=6)
    world.jobs()
    parked.remove()
    before = [notification["kind"] for notification in cora.caller.notifications()]
    world.sandbox_call("deliveries/flush")
    news(world)
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(3, 10)))], [("MISSED", cora.slug)])
    assert [notification["kind"] for notification in cora.caller.notifications()] == before


# ---- gone -------------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_booking_that_the_provider_no_longer_knows(world: World, provider: str) -> None:
    """Told once, by the reading of the whole list; the others stay as they are."""
    cora = Coach(world, provider)
    cora.book(at(2, 9))
    cora.book(at(3, 9), "Mia")
    news(world)
    gone, kept = cora.caller.bookings()
    if provider == "CAL_COM":
        world.sandbox.world.calcom.bookings.remove(lambda row: row.uid != gone["externalId"])
    else:
        event, _, invitee = gone["externalId"].partition("/")
        world.sandbox.world.calendly.invitees.remove(lambda row: row.id != invitee)
        world.sandbox.world.calendly.events.remove(lambda row: row.id != event)
    cora.read_the_list()
    cora.read_the_list()
    world.move_clock(hours=2)
    world.jobs()
    assert drifts() == [("GONE", cora.slug)]
    (row,) = Drift.select()
    assert row.booking_id == gone["id"]
    assert next(one for one in cora.caller.bookings() if one["id"] == kept["id"])["version"] == kept["version"]


@BOTH
def test_a_provider_that_cannot_be_asked_has_lost_nothing(world: World, provider: str) -> None:
    cora = Coach(world, provider)
    cora.book(at(2, 9))
    news(world)
    lists = {"CAL_COM": "/calcom/v2/bookings*", "CALENDLY": "/calendly/api/scheduled_events*"}
    world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path=lists[provider], times=None)
    assert cora.caller.one(SYNC, provider=provider)["__typename"] == "ProviderFailure"
    world.move_clock(hours=2)
    world.jobs()
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(2, 9)))], [])


# ---- forked -----------------------------------------------------------------------------------------------------------------


def test_the_branch_that_was_followed_is_let_go_and_it_is_recorded(world: World) -> None:
    """The provider names the other branch as the continuation after we had followed this one."""
    cora = Coach(world, "CAL_COM")
    uid = cora.book(at(2, 9))
    news(world)
    (booking,) = cora.caller.bookings()
    cora.move(uid, at(3, 10))
    news(world)
    remotes = world.sandbox.world.calcom.bookings
    first = next(one for one in remotes.values() if one.uid == uid)
    second = next(one for one in remotes.values() if one.uid != uid)
    hours = timedelta(hours=3)
    remotes.add(replace(second, uid="other-branch", id=second.id + 1000, start=second.start + hours, end=second.end + hours))
    world.move_clock(seconds=5)
    first.to_uid, first.updated_at = "other-branch", world.clock.now()
    for _ in range(2):
        cora.read_the_list()
        world.jobs()
    found = {one["id"]: one["start"] for one in cora.caller.bookings()}
    assert (len(found), found[booking["id"]]) == (2, iso(at(3, 13)))
    forked = [row for row in Drift.select() if row.kind == "FORKED"]
    assert [(row.booking_id, row.provider) for row in forked] == [(booking["id"], "calcom")]


def test_a_fork_is_recorded_whichever_branch_was_read_first(world: World) -> None:
    """Two moves at once; everything is read only after both: one goes on as the booking, the other is flagged."""
    cora = Coach(world, "CAL_COM")
    uid = cora.book(at(2, 9))
    news(world)
    world.sandbox.fault(DROP, webhook="*", times=None)
    held = world.sandbox.fault({"kind": "hold", "when": "before"}, method="POST", path="/calcom/v2/bookings/*/reschedule", times=2)
    threads = [threading.Thread(target=cora.move, args=(uid, at(3, hour))) for hour in (10, 14)]
    [t.start() for t in threads]
    assert held.wait_held(2, 10)
    held.release()
    [t.join() for t in threads]
    cora.read_the_list()
    cora.read_the_list()
    assert sorted(cora.brief()) == [("CONFIRMED", iso(at(3, 10))), ("CONFIRMED", iso(at(3, 14)))]
    assert [kind for kind, _ in drifts() if kind == "FORKED"] == ["FORKED"]


# ---- what is written --------------------------------------------------------------------------------------------------------


@BOTH
def test_a_record_names_nobody_and_no_link(world: World, provider: str) -> None:
    """Whoever knows a Cal.com uid can cancel the booking, and an address is a person's own."""
    cora = Coach(world, provider)
    known = cora.book(at(2, 9))
    news(world)
    (booking,) = cora.caller.bookings()
    world.sandbox.fault(DROP, webhook="*", times=None)
    world.move_clock(minutes=10)
    cora.move(known, at(3, 10))
    world.sandbox.settle()
    world.move_clock(minutes=10)
    world.jobs()
    (row,) = Drift.select()
    assert (row.booking_id, row.linked_account_id) == (booking["id"], cora.caller.one(ACCOUNTS)[0]["id"])
    assert row.detail == "A change was found by reading the provider's list; no webhook had told it."
    secret = [booking["externalId"], known, "Otto", "otto@example.test", "Cora", cora.caller.email, "http"]
    assert [text for text in secret if text in str(row.__data__)] == []


ACCOUNTS = "{ linkedAccounts { id } }"


@BOTH
def test_unlinking_keeps_what_was_found(world: World, provider: str) -> None:
    """Unlinking keeps bookings and what was found about them."""
    cora = Coach(world, provider)
    known = cora.book(at(2, 9))
    news(world)
    world.sandbox.fault(DROP, webhook="*", times=None)
    world.move_clock(minutes=10)
    cora.move(known, at(3, 10))
    world.sandbox.settle()
    world.move_clock(minutes=10)
    world.jobs()
    cora.caller.gql("mutation($p: Provider!) { disconnectProvider(input: {provider: $p}) { __typename } }", p=provider)
    assert (cora.brief(), drifts()) == ([("CONFIRMED", iso(at(3, 10)))], [("MISSED", cora.slug)])
