"""Moved at Calendly: one booking with one id per person's place, whatever of the news comes late, twice, in odd order or never.

At Calendly a move is a new invitee of a new event; the old one is cancelled and says `rescheduled`. The truth is the sandbox's
state, and after whatever happened Convene's bookings, their histories and what people were told must equal it.
"""

import hashlib
import hmac
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from calendly_people import (
    GROUP,
    api_calls,
    calendly_account,
    calendly_coach,
    calendly_type,
    calendly_user,
    cancel_there,
    event_row,
    external_id,
    forget_requests,
    hear,
    invite,
    invitee_row,
    move_there,
    set_switches,
)
from harness import CONNECTION, EVENT_TYPES, INBOX, SIGNING_KEY, SYNC, Caller, World, at, clean, iso
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from keeping import Ways

from sandbox.app import Sandbox
from sandbox.calendly.rows import Invitee
from services.jobs import RECONCILE_EVERY, SYNC_EVERY, WEBHOOKS_EVERY

Told = tuple[str, str | None, str | None]
Place = dict[str, Any]
ORDERS = ("canceled-first", "created-first")
GROUPS = [{"name": "Call", "duration": 30}, GROUP]
SEEN = """query { bookings(first: 100) { edges { node { id externalId status title start end
  participants { role name email noShow } history(first: 50) { edges { node { kind previousStart newStart } } } } } } }"""
TOLD = "query { notifications(first: 100) { edges { node { kind previousStart newStart booking { id } } } } }"


@pytest.fixture
def cora(world: World) -> Caller:
    """A coach at Calendly with a solo and a group event type."""
    return calendly_coach(world, event_types=GROUPS)


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


# ---- the truth and what Convene shows of it --------------------------------------------------------------------------------


def chains(world: World, coach: Caller) -> list[list[Invitee]]:
    """Each place at one of the coach's events, as the invitees that it has been, oldest first."""
    state, owner = world.sandbox.world.calendly, calendly_user(world, coach).id
    heads = [row for row in list(state.invitees.values()) if row.old_id is None and state.events[row.event_id].owner_id == owner]
    found = []
    for head in heads:
        chain = [head]
        while chain[-1].new_id:
            chain.append(state.invitees[chain[-1].new_id])
        found.append(chain)
    return found


def story(world: World, chain: list[Invitee]) -> list[Told]:
    """What happened to a place, oldest first: (kind, previous start, new start)."""
    starts = [iso(world.sandbox.world.calendly.events[row.event_id].start) for row in chain]
    told: list[Told] = [("BOOKED", None, starts[0]), *(("MOVED", before, after) for before, after in itertools.pairwise(starts))]
    return told + ([("CANCELLED", starts[-1], None)] if chain[-1].status == "canceled" else [])


def truth(world: World, coach: Caller) -> list[Place]:
    """The bookings as the sandbox has them."""
    state, found = world.sandbox.world.calendly, []
    for chain in chains(world, coach):
        tail = chain[-1]
        event = state.events[tail.event_id]
        mentee = ("MENTEE", tail.name, tail.email, state.no_show_of(tail) is not None)
        found.append(
            {
                "externalId": f"{event.id}/{tail.id}",
                "status": "CANCELLED" if tail.status == "canceled" else "COMPLETED" if event.end <= world.clock.now() else "CONFIRMED",
                "title": event.name,
                "start": iso(event.start),
                "end": iso(event.end),
                "participants": [("COACH", coach.name, coach.email, False), mentee],
                "history": story(world, chain),
            }
        )
    return sorted(found, key=lambda place: place["externalId"])


def seen(coach: Caller) -> list[Place]:
    """The bookings as Convene shows them to the coach, without their ids."""
    found = []
    for edge in coach.one(SEEN)["edges"]:
        node = edge["node"]
        node.pop("id")
        changes = [edge["node"] for edge in node["history"]["edges"]]
        # that somebody was marked as absent stays in the history, also when the mark was taken back
        history = [(one["kind"], one["previousStart"], one["newStart"]) for one in changes if one["kind"] != "NO_SHOW"]
        people = [(one["role"], one["name"], one["email"], one["noShow"]) for one in node["participants"]]
        found.append(node | {"history": history[::-1], "participants": people})
    return sorted(found, key=lambda place: place["externalId"])


def ids(coach: Caller) -> dict[str, str]:
    """Convene's id of each booking by Calendly's present one."""
    return {edge["node"]["externalId"]: edge["node"]["id"] for edge in coach.one(SEEN)["edges"]}


def told(person: Caller) -> list[Told]:
    """What a person was told, oldest first."""
    nodes = [edge["node"] for edge in person.one(TOLD)["edges"]]
    # of a connection that broke they are told as well, which no truth at Calendly knows
    return [(n["kind"], n["previousStart"], n["newStart"]) for n in nodes if n["kind"] != "RECONNECT_NEEDED"][::-1]


def for_the_coach(world: World, places: list[list[Invitee]]) -> Iterator[Told]:
    """The same as all places' stories, but that a group event was cancelled for everybody is one thing."""
    state, ended = world.sandbox.world.calendly, set()
    for place in places:
        *before, last = story(world, place)
        event = state.events[place[-1].event_id]
        yield from before
        left_alone = (place[-1].cancellation or {}).get("canceler_type") == "invitee"
        if last[0] != "CANCELLED" or left_alone or state.event_types[event.type_id].kind != "group":
            yield last
        elif event.id not in ended:
            ended.add(event.id)
            yield last


def check(world: World, coach: Caller) -> None:
    """Bookings, histories and notifications equal the sandbox's truth: each party of a place is told each change once."""
    assert seen(coach) == truth(world, coach)
    places = chains(world, coach)
    assert Counter(told(coach)) == Counter(for_the_coach(world, places))
    for email in {place[0].email for place in places}:
        mine = itertools.chain.from_iterable(story(world, place) for place in places if place[0].email == email)
        assert Counter(told(world.caller(email.partition("@")[0].capitalize(), email))) == Counter(mine)


def parked(world: World, times: int | None = None) -> Any:
    return world.sandbox.fault(webhook="*", effect={"kind": "park"}, times=times)


def flush(world: World, order: list[int] | None = None) -> int:
    return int(world.sandbox_call("deliveries/flush", **({} if order is None else {"order": order}))["sent"])


def later(world: World, **span: float) -> None:
    """Let time go by and do what is due then."""
    world.move_clock(**(span or {"minutes": 1}))
    hear(world)


# ---- one move --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_the_pair_in_either_order_is_one_move(world: World, cora: Caller, order: str) -> None:
    set_switches(world, pairOrder=order)
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(first)]
    world.move_clock(minutes=1)
    second = move_there(world, first, at(3, 10))
    hear(world)
    assert ids(cora) == {external_id(second): before}
    (booking,) = cora.bookings()
    assert (booking["status"], booking["start"], booking["version"]) == ("CONFIRMED", "2027-03-03T10:00:00Z", 2)
    assert booking["history"]["edges"][0]["node"] == {
        "kind": "MOVED",
        "at": "2027-03-01T08:01:00Z",
        "by": "Otto",
        "source": "PROVIDER",
        "previousStart": "2027-03-02T09:00:00Z",
        "newStart": "2027-03-03T10:00:00Z",
        "reason": None,
    }
    assert told(cora) == [("BOOKED", None, "2027-03-02T09:00:00Z"), ("MOVED", "2027-03-02T09:00:00Z", "2027-03-03T10:00:00Z")]
    assert told(world.caller("Otto")) == told(cora)
    check(world, cora)


def test_what_people_read_of_a_move(world: World, cora: Caller) -> None:
    first = invite(world, cora, "Call", at(2, 9), "Otto")
    hear(world)
    world.move_clock(minutes=1)
    move_there(world, first, at(3, 10))
    hear(world)
    assert cora.notifications()[0]["body"] == (
        "Otto moved “Call” from Tue 2 Mar 2027, 10:00 (Europe/Berlin) to Wed 3 Mar 2027, 11:00 (Europe/Berlin)."
    )
    otto = world.caller("Otto", time_zone="Europe/London")
    assert otto.notifications()[0]["body"] == (
        "You moved “Call” from Tue 2 Mar 2027, 09:00 (Europe/London) to Wed 3 Mar 2027, 10:00 (Europe/London)."
    )


def test_moved_on_the_page_that_calendly_shows(world: World, cora: Caller) -> None:
    """The page that the invitee's mail links to."""
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(first)]
    page = f"{world.sandbox.url}/calendly/web/reschedulings/{first.rpartition('/')[2]}"
    answer = httpx.post(page, data={"start": iso(at(3, 10))})
    assert answer.status_code == 303, answer.text
    hear(world)
    new = invitee_row(world, first).new_id
    assert [place.partition("/")[2] for place in ids(cora)] == [new]
    assert list(ids(cora).values()) == [before]
    check(world, cora)


@pytest.mark.parametrize("half", ["invitee.canceled", "invitee.created"])
def test_either_half_late(world: World, cora: Caller, half: str) -> None:
    """One half alone says all there is to know: the other one names it."""
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(first)]
    fault = world.sandbox.fault(webhook=half, effect={"kind": "park"}, times=None)
    world.move_clock(minutes=1)
    second = move_there(world, first, at(3, 10))
    hear(world)
    assert ids(cora) == {external_id(second): before}
    check(world, cora)
    fault.remove()
    world.move_clock(minutes=30)
    assert flush(world) == 1
    hear(world)
    assert ids(cora) == {external_id(second): before}
    check(world, cora)


@pytest.mark.parametrize("half", ["invitee.canceled", "invitee.created"])
def test_either_half_lost(world: World, cora: Caller, half: str) -> None:
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(first)]
    world.sandbox.fault(webhook=half, effect={"kind": "drop"}, times=None)
    world.move_clock(minutes=1)
    second = move_there(world, first, at(3, 10))
    hear(world)
    assert ids(cora) == {external_id(second): before}
    check(world, cora)
    later(world, hours=2)
    assert ids(cora) == {external_id(second): before}
    check(world, cora)


def test_both_halves_lost_are_found_by_reading_the_list(world: World, cora: Caller) -> None:
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(first)]
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    world.move_clock(minutes=1)
    second = move_there(world, first, at(3, 10))
    hear(world)
    assert ids(cora) == {external_id(first): before}
    world.move_clock(seconds=SYNC_EVERY.total_seconds() + 1)
    world.jobs()
    assert ids(cora) == {external_id(second): before}
    assert cora.bookings()[0]["history"]["edges"][0]["node"]["source"] == "RECONCILER"
    check(world, cora)


@pytest.mark.parametrize("lost", [2, 3], ids=["the move", "booking and move"])
def test_a_booking_of_which_little_was_heard(world: World, cora: Caller, lost: int) -> None:
    """Booked and moved before anything of it is read: the whole story is there all the same."""
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=lost, skip=3 - lost)
    first = invite(world, cora, "Call", at(2, 9))
    world.sandbox.settle()
    world.move_clock(minutes=1)
    second = move_there(world, first, at(3, 10))
    hear(world)
    world.move_clock(seconds=RECONCILE_EVERY.total_seconds() + 1)
    world.jobs()
    assert list(ids(cora)) == [external_id(second)]
    check(world, cora)


def test_every_delivery_twice(world: World, cora: Caller, admin: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "duplicate", "count": 3}, times=None)
    first = invite(world, cora, "Call", at(2, 9))
    world.sandbox.settle()
    world.move_clock(minutes=1)
    move_there(world, first, at(3, 10))
    hear(world)
    assert len(world.control.get("/deliveries").json()) == 9
    assert len(admin.one(INBOX)["edges"]) == 3
    check(world, cora)


def test_a_delivery_overtaken_by_the_next(world: World, cora: Caller) -> None:
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    world.sandbox.fault(webhook="*", effect={"kind": "reorder"})
    world.move_clock(minutes=1)
    move_there(world, first, at(3, 10))
    hear(world)
    sent = [delivery["triggerEvent"] for delivery in world.control.get("/deliveries").json()]
    assert sent == ["invitee.created", "invitee.created", "invitee.canceled"]
    check(world, cora)


# ---- chains ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (4, 0, 2, 1, 3), (1, 3, 0, 4, 2), (2, 4, 3, 0, 1)])
def test_booked_and_moved_twice_in_any_order(world: World, cora: Caller, order: tuple[int, ...]) -> None:
    """Each delivery is applied before the next one comes, when all of it has happened already."""
    fault = parked(world)
    place = invite(world, cora, "Call", at(2, 9))
    for start in (at(3, 10), at(4, 11)):
        world.sandbox.settle()
        world.move_clock(minutes=1)
        place = move_there(world, place, start)
    world.sandbox.settle()
    fault.remove()
    waiting = world.sandbox.world.deliveries.parked()
    assert [one.event for one in waiting] == ["invitee.created", *["invitee.canceled", "invitee.created"] * 2]
    for number in order:
        answer = httpx.post(waiting[number].url, content=waiting[number].body, headers=waiting[number].headers)
        assert answer.status_code == 200
        world.jobs()
        assert list(ids(cora)) == [external_id(place)]
        check(world, cora)


def test_a_chain_of_four_heard_one_by_one(world: World, cora: Caller) -> None:
    place = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(place)]
    for number, start in enumerate((at(3, 10), at(4, 11), at(5, 12), at(8, 13)), 2):
        world.move_clock(minutes=1)
        place = move_there(world, place, start)
        hear(world)
        assert ids(cora) == {external_id(place): before}
        assert cora.bookings()[0]["version"] == number
    check(world, cora)


def test_moved_back_to_the_first_time(world: World, cora: Caller) -> None:
    """There and back again are two moves, and both are told."""
    place = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(place)]
    for start in (at(3, 10), at(2, 9), at(3, 10)):
        world.move_clock(minutes=1)
        place = move_there(world, place, start)
        hear(world)
    assert ids(cora) == {external_id(place): before}
    assert [kind for kind, *_ in told(cora)] == ["BOOKED", "MOVED", "MOVED", "MOVED"]
    check(world, cora)


def test_there_and_back_between_two_readings(world: World, cora: Caller) -> None:
    """The list shows the same time as before, and yet it has been moved twice."""
    place = invite(world, cora, "Call", at(2, 9))
    hear(world)
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    for start in (at(3, 10), at(2, 9)):
        world.move_clock(minutes=1)
        place = move_there(world, place, start)
    hear(world)
    later(world, hours=2)
    assert list(ids(cora)) == [external_id(place)]
    check(world, cora)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=lambda order: "".join(map(str, order)))
def test_moved_and_then_cancelled_in_every_order(world: World, cora: Caller, order: tuple[int, ...]) -> None:
    place = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(place)]
    fault = parked(world)
    world.move_clock(minutes=1)
    place = move_there(world, place, at(3, 10))
    world.sandbox.settle()
    world.move_clock(minutes=1)
    cancel_there(world, place, reason="Ill")
    world.sandbox.settle()
    fault.remove()
    assert flush(world, list(order)) == 3
    hear(world)
    assert ids(cora) == {external_id(place): before}
    assert [kind for kind, *_ in told(cora)] == ["BOOKED", "MOVED", "CANCELLED"]
    assert cora.bookings()[0]["cancellationReason"] == "Ill"
    check(world, cora)


def test_moved_to_another_event_type(world: World, cora: Caller) -> None:
    place = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(place)]
    world.move_clock(minutes=1)
    place = move_there(world, place, at(3, 10), eventType=calendly_type(world, cora, "Circle").id)
    hear(world)
    assert ids(cora) == {external_id(place): before}
    (booking,) = cora.bookings()
    assert (booking["title"], booking["eventType"]["title"], booking["end"]) == ("Circle", "Circle", "2027-03-03T10:45:00Z")
    check(world, cora)


def test_what_happened_before_the_link_is_history_and_nobodys_news(world: World) -> None:
    cora = world.caller("Cora", time_zone="Europe/Berlin")
    calendly_account(world, cora, GROUPS)
    place = invite(world, cora, "Call", at(2, 9))
    world.move_clock(minutes=1)
    place = move_there(world, place, at(3, 10))
    world.move_clock(minutes=1)
    cora.link(provider="CALENDLY")
    assert seen(cora) == truth(world, cora)
    assert told(cora) == []
    world.move_clock(minutes=1)
    move_there(world, place, at(4, 11))
    hear(world)
    assert seen(cora) == truth(world, cora)
    assert told(cora) == told(world.caller("Otto")) == [("MOVED", iso(at(3, 10)), iso(at(4, 11)))]


# ---- while the connection is broken ----------------------------------------------------------------------------------------


@pytest.fixture
def place(world: World, cora: Caller) -> str:
    """A booking, heard of, and then Cora's tokens are taken back at Calendly."""
    invitee = invite(world, cora, "Call", at(2, 9))
    hear(world)
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    return invitee


def reconnect(world: World, cora: Caller) -> None:
    """What the status says is what to do: connect again."""
    status = cora.one(CONNECTION, provider="CALENDLY")
    assert (status["state"], status["problem"]["code"]) == ("NEEDS_RECONNECT", "REVOKED")
    world.move_clock(minutes=1)
    cora.link(provider="CALENDLY")
    assert cora.one(CONNECTION, provider="CALENDLY")["state"] == "ACTIVE"


@pytest.mark.parametrize("order", ORDERS)
def test_moved_while_the_connection_is_broken(world: World, cora: Caller, place: str, order: str) -> None:
    """Nothing can be read back; the signed deliveries themselves tell it."""
    set_switches(world, pairOrder=order)
    before = ids(cora)[external_id(place)]
    for start in (at(3, 10), at(4, 11)):
        world.move_clock(minutes=1)
        place = move_there(world, place, start)
        hear(world)
        assert ids(cora) == {external_id(place): before}
        check(world, cora)
    reconnect(world, cora)
    assert ids(cora) == {external_id(place): before}
    check(world, cora)
    world.move_clock(minutes=1)
    place = move_there(world, place, at(5, 12))
    hear(world)
    assert ids(cora) == {external_id(place): before}
    check(world, cora)


def test_cancelled_while_the_connection_is_broken(world: World, cora: Caller, place: str) -> None:
    world.move_clock(minutes=1)
    cancel_there(world, place, reason="Ill")
    hear(world)
    check(world, cora)
    assert cora.bookings()[0]["cancellationReason"] == "Ill"
    reconnect(world, cora)
    check(world, cora)


def test_booked_and_moved_while_the_connection_is_broken(world: World, cora: Caller, place: str) -> None:
    other = invite(world, cora, "Call", at(8, 9), "Anna")
    hear(world)
    check(world, cora)
    world.move_clock(minutes=1)
    other = move_there(world, other, at(9, 10))
    hear(world)
    check(world, cora)
    reconnect(world, cora)
    assert set(ids(cora)) == {external_id(place), external_id(other)}
    check(world, cora)


@pytest.mark.parametrize("half", ["invitee.canceled", "invitee.created"])
def test_half_of_a_move_is_lost_while_the_connection_is_broken(world: World, cora: Caller, place: str, half: str) -> None:
    """The new invitee names the old one; the old one's own half says only that it goes on elsewhere, and ends nothing."""
    before = ids(cora)[external_id(place)]
    world.sandbox.fault(webhook=half, effect={"kind": "drop"})
    world.move_clock(minutes=1)
    moved = move_there(world, place, at(3, 10))
    hear(world)
    (booking,) = cora.bookings()
    known = (place, at(2, 9)) if half == "invitee.created" else (moved, at(3, 10))
    assert (booking["id"], booking["status"]) == (before, "CONFIRMED")
    assert (booking["externalId"], booking["start"]) == (external_id(known[0]), iso(known[1]))
    assert "CANCELLED" not in [kind for kind, *_ in told(cora)]
    reconnect(world, cora)
    assert ids(cora) == {external_id(moved): before}
    check(world, cora)


def test_the_first_news_of_a_booking_is_that_it_goes_on_elsewhere(world: World, cora: Caller, place: str) -> None:
    """Of somebody unknown, with a broken connection: it is never shown or told as cancelled, and whole after the reconnect."""
    world.sandbox.fault(webhook="invitee.created", effect={"kind": "drop"}, times=2)
    other = invite(world, cora, "Call", at(8, 9), "Anna")
    world.sandbox.settle()
    world.move_clock(minutes=1)
    other = move_there(world, other, at(9, 10))
    hear(world)
    anna = world.caller("Anna")
    assert [booking["status"] for booking in anna.bookings() if booking["status"] == "CANCELLED"] == []
    assert "CANCELLED" not in [kind for kind, *_ in told(anna)]
    reconnect(world, cora)
    assert set(ids(cora)) == {external_id(place), external_id(other)}
    check(world, cora)


@pytest.mark.parametrize("order", ["0123", "1320", "2103", "0231", "2301", "3012", "3210"])
def test_two_moves_in_any_order_while_the_connection_is_broken(world: World, cora: Caller, place: str, order: str) -> None:
    """Where the middle of a chain is not known yet, its end must not become a booking of its own that people are told of."""
    before = ids(cora)[external_id(place)]
    fault = parked(world)
    for start in (at(3, 10), at(4, 11)):
        world.move_clock(minutes=1)
        place = move_there(world, place, start)
        world.sandbox.settle()
    fault.remove()
    assert flush(world, [int(number) for number in order]) == 4
    hear(world)
    reconnect(world, cora)
    assert ids(cora) == {external_id(place): before}
    check(world, cora)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["in order", "the cancellation first"])
def test_booked_and_cancelled_while_the_connection_is_broken(world: World, cora: Caller, place: str, order: list[int]) -> None:
    """What was sent earlier and comes later does not bring it back."""
    fault = parked(world)
    other = invite(world, cora, "Call", at(8, 9), "Anna")
    world.sandbox.settle()
    world.move_clock(minutes=1)
    cancel_there(world, other)
    world.sandbox.settle()
    fault.remove()
    flush(world, order)
    hear(world)
    assert statuses(world, "Anna") == [("CANCELLED", iso(at(8, 9)))]
    check(world, cora)
    reconnect(world, cora)
    assert set(ids(cora)) == {external_id(place), external_id(other)}
    check(world, cora)


def test_marked_and_unmarked_while_the_connection_is_broken(world: World, cora: Caller, place: str) -> None:
    """The news of a mark that was taken away may still show it; its kind says what happened."""
    world.move_clock(days=1, hours=2)
    mark = no_show(world, cora, place)
    hear(world)
    assert seen(cora) == truth(world, cora)
    world.move_clock(minutes=1)
    no_show(world, cora, place, unmark=mark)
    hear(world)
    assert seen(cora) == truth(world, cora)
    reconnect(world, cora)
    assert seen(cora) == truth(world, cora)


# ---- group events ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def circle(world: World, cora: Caller) -> list[str]:
    """Three people in one group event, heard of."""
    places = [invite(world, cora, "Circle", at(2, 9), name) for name in ("Otto", "Anna", "Ben")]
    hear(world)
    assert len({event_row(world, place).id for place in places}) == 1
    check(world, cora)
    return places


def statuses(world: World, name: str) -> list[tuple[str, str]]:
    """(status, start) of the bookings of somebody who was invited."""
    return [(booking["status"], booking["start"]) for booking in world.caller(name).bookings()]


def test_one_leaves_a_group_event(world: World, cora: Caller, circle: list[str]) -> None:
    before = ids(cora)
    world.move_clock(minutes=1)
    cancel_there(world, circle[1], reason="Ill")
    hear(world)
    assert ids(cora) == before
    assert [statuses(world, name) for name in ("Otto", "Anna", "Ben")] == [
        [("CONFIRMED", iso(at(2, 9)))],
        [("CANCELLED", iso(at(2, 9)))],
        [("CONFIRMED", iso(at(2, 9)))],
    ]
    assert [told(world.caller(name))[1:] for name in ("Otto", "Anna", "Ben")] == [[], [("CANCELLED", iso(at(2, 9)), None)], []]
    assert [kind for kind, *_ in told(cora)] == ["BOOKED", "BOOKED", "BOOKED", "CANCELLED"]
    check(world, cora)


@pytest.mark.parametrize("order", ORDERS)
def test_one_moves_from_a_group_event_to_another_time(world: World, cora: Caller, circle: list[str], order: str) -> None:
    set_switches(world, pairOrder=order)
    before = ids(cora)
    world.move_clock(minutes=1)
    moved = move_there(world, circle[1], at(3, 10))
    hear(world)
    assert ids(cora) == before | {external_id(moved): before.pop(external_id(circle[1]))}
    assert statuses(world, "Anna") == [("CONFIRMED", iso(at(3, 10)))]
    assert [told(world.caller(name))[1:] for name in ("Otto", "Ben")] == [[], []]
    check(world, cora)


def test_one_moves_into_a_group_event_that_is_there(world: World, cora: Caller, circle: list[str]) -> None:
    other = invite(world, cora, "Circle", at(3, 10), "Dora")
    hear(world)
    before = ids(cora)
    world.move_clock(minutes=1)
    moved = move_there(world, other, at(2, 9))
    hear(world)
    assert event_row(world, moved).id == event_row(world, circle[0]).id
    assert ids(cora)[external_id(moved)] == before[external_id(other)]
    assert len(ids(cora)) == 4
    check(world, cora)


def test_the_host_cancels_a_group_event_for_all(world: World, cora: Caller, circle: list[str]) -> None:
    world.move_clock(minutes=1)
    cancel_there(world, circle[1])
    hear(world)
    world.move_clock(minutes=1)
    cancel_there(world, circle[0], by="host", reason="Ill")
    hear(world)
    assert [kind for kind, *_ in told(cora)] == ["BOOKED"] * 3 + ["CANCELLED"] * 2
    for name, reason in (("Otto", "Ill"), ("Anna", None), ("Ben", "Ill")):
        (booking,) = world.caller(name).bookings()
        assert (booking["status"], booking["cancellationReason"]) == ("CANCELLED", reason)
        assert booking["history"]["edges"][0]["node"]["by"] == ("Anna" if name == "Anna" else "Cora")
        assert [kind for kind, *_ in told(world.caller(name))] == ["BOOKED", "CANCELLED"]
    check(world, cora)


def test_the_host_cancels_for_all_and_nothing_is_heard_of_it(world: World, cora: Caller, circle: list[str]) -> None:
    world.move_clock(minutes=1)
    cancel_there(world, circle[0], by="host", silent=True)
    later(world, seconds=SYNC_EVERY.total_seconds() + 1)
    assert [kind for kind, *_ in told(cora)] == ["BOOKED"] * 3 + ["CANCELLED"]
    check(world, cora)


def test_a_host_cancels_for_all_with_a_broken_connection(world: World, cora: Caller, circle: list[str]) -> None:
    world.sandbox_call("calendly/tokens/revoke", email=cora.email)
    world.move_clock(minutes=1)
    move_there(world, circle[1], at(3, 10))
    hear(world)
    check(world, cora)
    world.move_clock(minutes=1)
    cancel_there(world, circle[0], by="host")
    hear(world)
    check(world, cora)
    reconnect(world, cora)
    check(world, cora)


def test_all_leave_one_after_the_other(world: World, cora: Caller, circle: list[str]) -> None:
    """With the last one the event itself is cancelled, which cancels nobody a second time."""
    for place in circle:
        world.move_clock(minutes=1)
        cancel_there(world, place)
        hear(world)
        check(world, cora)
    assert event_row(world, circle[0]).status == "canceled"
    later(world, hours=2)
    check(world, cora)


def test_the_last_one_moves_away(world: World, cora: Caller, circle: list[str]) -> None:
    """The event that is left behind is cancelled, and that is a cancellation for nobody who moved."""
    for place in circle:
        world.move_clock(minutes=1)
        move_there(world, place, at(3, 10))
        hear(world)
        check(world, cora)
    assert event_row(world, circle[0]).status == "canceled"
    later(world, hours=2)
    check(world, cora)
    assert Counter(kind for kind, *_ in told(cora)) == {"BOOKED": 3, "MOVED": 3}


def test_a_group_event_of_which_nothing_was_heard(world: World, cora: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    first, second, third = (invite(world, cora, "Circle", at(2, 9), name) for name in ("Otto", "Anna", "Ben"))
    world.move_clock(minutes=1)
    move_there(world, first, at(3, 10))
    cancel_there(world, second)
    world.move_clock(minutes=1)
    cancel_there(world, third, by="host")
    later(world, seconds=SYNC_EVERY.total_seconds() + 1)
    check(world, cora)


def test_the_same_person_twice_in_one_group_event(world: World, cora: Caller) -> None:
    """Two places are two bookings, of which one may go."""
    first, second = (invite(world, cora, "Circle", at(2, 9), "Otto") for _ in range(2))
    hear(world)
    check(world, cora)
    world.move_clock(minutes=1)
    cancel_there(world, first)
    hear(world)
    check(world, cora)
    assert sorted(statuses(world, "Otto")) == [("CANCELLED", iso(at(2, 9))), ("CONFIRMED", iso(at(2, 9)))]
    world.move_clock(minutes=1)
    move_there(world, second, at(3, 10))
    hear(world)
    check(world, cora)


def test_who_did_not_come_is_marked_and_unmarked(world: World, cora: Caller, circle: list[str]) -> None:
    world.move_clock(days=1, hours=2)
    world.jobs()
    mark = no_show(world, cora, circle[1])
    hear(world)
    assert seen(cora) == truth(world, cora)
    marked = [one["name"] for booking in cora.bookings() for one in booking["participants"] if one["noShow"]]
    assert marked == ["Anna"]
    kinds = [edge["node"]["kind"] for booking in cora.bookings() for edge in booking["history"]["edges"]]
    assert sorted(kinds) == ["BOOKED", "BOOKED", "BOOKED", "NO_SHOW"]
    no_show(world, cora, circle[1], unmark=mark)
    hear(world)
    assert seen(cora) == truth(world, cora)
    assert not [one for booking in cora.bookings() for one in booking["participants"] if one["noShow"]]
    assert [kind for kind, *_ in told(cora)] == ["BOOKED"] * 3


def no_show(world: World, coach: Caller, invitee: str, unmark: str | None = None) -> str:
    """Marked, or unmarked, by somebody with a token of their own; answers the mark's address."""
    token = world.sandbox_call("calendly/personal-tokens", email=coach.email)["token"]
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        if unmark is not None:
            assert client.delete(unmark).status_code == 204
            return unmark
        answer = client.post(f"{world.sandbox.url}/calendly/api/invitee_no_shows", json={"invitee": invitee})
        assert answer.status_code == 201, answer.text
        uri: str = answer.json()["resource"]["uri"]
        return uri


# ---- at once ---------------------------------------------------------------------------------------------------------------


def held_reads(world: World, times: int, skip: int = 0) -> Any:
    """The answers about single events are made, and wait."""
    return world.sandbox.fault(
        method="GET", path="/calendly/api/scheduled_events/*", effect={"kind": "hold", "when": "after"}, times=times, skip=skip
    )


def send(delivery: Any) -> None:
    assert httpx.post(delivery.url, content=delivery.body, headers=delivery.headers).status_code == 200


@pytest.mark.parametrize("listed", [False, True], ids=["two workers", "two workers and the list"])
def test_both_halves_are_read_at_the_same_moment(world: World, cora: Caller, listed: bool) -> None:
    first = invite(world, cora, "Call", at(2, 9))
    hear(world)
    before = ids(cora)[external_id(first)]
    fault = parked(world)
    world.move_clock(minutes=1)
    second = move_there(world, first, at(3, 10))
    world.sandbox.settle()
    fault.remove()
    held, workers = held_reads(world, 2), []
    for number, half in enumerate(world.sandbox.world.deliveries.parked(), 1):
        send(half)
        workers.append(threading.Thread(target=world.jobs))
        workers[-1].start()
        assert held.wait_held(number)
    if listed:
        assert cora.one(SYNC, provider="CALENDLY")["changed"] == 1
    held.release()
    for worker in workers:
        worker.join()
    assert ids(cora) == {external_id(second): before}
    check(world, cora)


@pytest.mark.parametrize("change", ["moved", "cancelled"])
def test_an_answer_that_was_overtaken_changes_nothing_back(world: World, cora: Caller, change: str) -> None:
    """A reader gets the booking as it was, and writes it when everybody knows better."""
    fault = parked(world)
    place = invite(world, cora, "Call", at(2, 9))
    world.sandbox.settle()
    fault.remove()
    (late,) = world.sandbox.world.deliveries.parked()
    cora.one(SYNC, provider="CALENDLY")
    before = ids(cora)[external_id(place)]
    held = held_reads(world, 1, skip=1)  # the event is read first; it is the answer about the invitee that waits
    send(late)
    worker = threading.Thread(target=world.jobs)
    worker.start()
    assert held.wait_held()
    world.move_clock(minutes=1)
    if change == "moved":
        move_there(world, place, at(3, 10))
    else:
        cancel_there(world, place)
    hear(world)
    check(world, cora)
    held.release()
    worker.join()
    assert list(ids(cora).values()) == [before]
    check(world, cora)


# ---- signatures ------------------------------------------------------------------------------------------------------------

HEADER = "Calendly-Webhook-Signature"


def captured(world: World, cora: Caller, name: str = "Otto") -> dict[str, Any]:
    """A delivery about somebody's booking that was signed and never came."""
    world.sandbox.fault(webhook="*", effect={"kind": "drop"})
    invite(world, cora, "Call", at(2, 9), name, email="otto@example.test")
    world.sandbox.settle()
    found: dict[str, Any] = world.control.get("/deliveries").json()[-1]
    return found


def post(world: World, delivery: dict[str, Any], *, header: str | None, body: str | None = None) -> int:
    """Send it with this signature and body instead; answers the status."""
    headers = {"Content-Type": b"application/json"} | ({} if header is None else {HEADER: header.encode("latin-1")})
    content = (delivery["body"] if body is None else body).encode()
    return world.http.post(httpx.URL(delivery["url"]).path, content=content, headers=headers).status_code


def hexed(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed(body: str, key: str = SIGNING_KEY, stamp: str = "1803974400") -> str:
    return f"t={stamp},v1={hexed(key, f'{stamp}.{body}')}"


@pytest.mark.parametrize("two", [False, True], ids=["one value", "two values"])
def test_the_raw_bytes_are_what_is_signed(world: World, cora: Caller, admin: Caller, two: bool) -> None:
    """Written by others than us, with letters and spaces that no parser would write back; former keys may have signed too."""
    set_switches(world, oddWhitespace=True, twoSignatures=two)
    invite(world, cora, "Call", at(2, 9), "Zoë Ångström 😀", email="otto@example.test")
    hear(world)
    (delivery,) = world.control.get("/deliveries").json()
    assert delivery["status"] == 200
    assert "Zoë Ångström 😀" in delivery["body"]
    assert "\n   " in delivery["body"]
    assert delivery["headers"][HEADER].count("v1=") == (2 if two else 1)
    assert [edge["node"]["state"] for edge in admin.one(INBOX)["edges"]] == ["APPLIED"]
    check(world, cora)


FORGERIES: dict[str, Callable[[str], str | None]] = {
    "no header": lambda _: None,
    "an empty header": lambda _: "",
    "another key": lambda body: signed(body, "not the key"),
    "no time": lambda body: signed(body).partition(",")[2],
    "two times": lambda body: f"t=1,{signed(body)}",
    "another time": lambda body: signed(body).replace("t=1803974400", "t=1803974401"),
    "no value": lambda body: signed(body).partition(",")[0],
    "an empty value": lambda _: "t=1803974400,v1=",
    "the right value as v0": lambda body: signed(body).replace("v1=", "v0="),
    "the right value as v0 beside a wrong v1": lambda body: (
        signed(body, "not the key") + "," + signed(body).partition(",")[2].replace("v1", "v0")
    ),
    "signed as Zoom signs": lambda body: f"t=1803974400,v1={hexed(SIGNING_KEY, f'v0:1803974400:{body}')}",
    "signed as Zoom signs and writes": lambda body: f"t=1803974400,v1=v0={hexed(SIGNING_KEY, f'v0:1803974400:{body}')}",
    "signed as Cal.com signs": lambda body: f"t=1803974400,v1={hexed(SIGNING_KEY, body)}",
    "signed after it was read and written again": lambda body: signed(json.dumps(json.loads(body))),
    "letters that are none": lambda _: "t=1803974400,v1=\xe9\xff",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_is_not_rightly_signed_is_refused_and_not_stored(world: World, cora: Caller, admin: Caller, forgery: str) -> None:
    delivery = captured(world, cora)
    assert post(world, delivery, header=FORGERIES[forgery](delivery["body"])) == 401
    assert admin.one(INBOX)["edges"] == []
    world.jobs()
    assert (cora.bookings(), told(cora)) == ([], [])
    assert post(world, delivery, header=signed(delivery["body"])) == 200
    world.jobs()
    check(world, cora)


@pytest.mark.parametrize("change", [("Otto", "Eve"), ("09:00:00", "10:00:00"), ('"event":', '"event" :'), ("}", "}\n")])
def test_an_altered_body_is_refused_and_not_stored(world: World, cora: Caller, admin: Caller, change: tuple[str, str]) -> None:
    delivery = captured(world, cora)
    altered = delivery["body"].replace(*change)
    assert altered != delivery["body"]
    assert post(world, delivery, header=delivery["headers"][HEADER], body=altered) == 401
    assert admin.one(INBOX)["edges"] == []
    world.jobs()
    assert cora.bookings() == []


def test_a_late_retry_of_something_unseen_is_accepted_once(world: World, cora: Caller, admin: Caller) -> None:
    """With the time of its first try, an hour ago: whether a retry bears a new one is nowhere said."""
    delivery = captured(world, cora)
    world.move_clock(hours=1)
    assert [post(world, delivery, header=delivery["headers"][HEADER]) for _ in range(3)] == [200, 200, 200]
    assert len(admin.one(INBOX)["edges"]) == 1
    world.jobs()
    check(world, cora)
    assert len(told(cora)) == 1


def test_a_try_that_was_refused_comes_again_with_a_new_signature(world: World, cora: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "wrong-signature"})
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    assert cora.bookings() == []
    world.move_clock(seconds=61)
    assert world.sandbox_call("deliveries/repeat") == {"sent": 1}
    world.jobs()
    assert [delivery["status"] for delivery in world.control.get("/deliveries").json()] == [401, 200]
    check(world, cora)


def test_a_repeat_of_something_stored_has_no_effect(world: World, cora: Caller, admin: Caller) -> None:
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    (delivery,) = world.control.get("/deliveries").json()
    forget_requests(world)
    world.move_clock(seconds=30)
    assert world.sandbox_call(f"deliveries/{delivery['id']}/resend")["status"] == 200
    assert post(world, delivery, header=signed(delivery["body"], stamp="1803974430")) == 200
    world.jobs()
    assert len(admin.one(INBOX)["edges"]) == 1
    assert api_calls(world) == []
    assert cora.bookings()[0]["version"] == 1
    check(world, cora)


def test_older_than_the_keys_of_what_was_stored_is_taken_for_a_repeat(world: World, cora: Caller, admin: Caller) -> None:
    delivery = captured(world, cora)
    world.move_clock(days=28, seconds=1)
    assert post(world, delivery, header=delivery["headers"][HEADER]) == 401
    assert admin.one(INBOX)["edges"] == []


def test_one_accounts_news_at_anothers_address(world: World, cora: Caller) -> None:
    """One key signs for all accounts of the app; what is read back with Dana's token shows nothing of Cora's."""
    dana = calendly_coach(world, "Dana")
    hooks = {row.creator_id: row.url for row in world.sandbox.world.calendly.subscriptions.values()}
    delivery = captured(world, cora)
    elsewhere = delivery | {"url": hooks[calendly_user(world, dana).id]}
    assert post(world, elsewhere, header=delivery["headers"][HEADER]) == 200
    world.jobs()
    assert (dana.bookings(), told(dana), cora.bookings()) == ([], [], [])


class Rotating(World):
    """A Convene that knows the app's next signing key beside the present one."""

    def _provider_settings(self) -> dict[str, Any]:
        usual: dict[str, Any] = super()._provider_settings()
        return usual | {"calendly": usual["calendly"].model_copy(update={"webhook_signing_keys": ("the next key", SIGNING_KEY)})}


@pytest.fixture
def rotating(database_url: str, issuer: Any, shared_sandbox: Sandbox) -> Iterator[World]:
    shared_sandbox.reset()
    with Rotating(database_url, issuer, shared_sandbox) as running:
        clean()
        yield running


def test_while_the_apps_key_is_replaced_both_are_good(rotating: World) -> None:
    world = rotating
    cora = calendly_coach(world)
    app = world.sandbox.world.calendly.apps.get("convene-tests")
    assert app is not None
    for number, (key, status) in enumerate([(SIGNING_KEY, 200), ("the next key", 200), ("a stranger's key", 401)]):
        app.signing_key = key
        invite(world, cora, "Call", at(2, 9 + number))
        hear(world)
        assert world.control.get("/deliveries").json()[-1]["status"] == status
        assert len(cora.bookings()) == min(number + 1, 2)


# ---- the subscription and its watchdog -------------------------------------------------------------------------------------


def health(cora: Caller) -> str:
    found: str = cora.one(CONNECTION, provider="CALENDLY")["linkedAccount"]["sync"]["webhooks"]
    return found


def hooks(world: World) -> list[tuple[str, str]]:
    """(id, state) of the subscriptions at Calendly."""
    return [(row.id, row.state) for row in world.sandbox.world.calendly.subscriptions.values()]


def watchdog(world: World) -> None:
    """One period of it goes by."""
    world.move_clock(seconds=WEBHOOKS_EVERY.total_seconds())
    world.jobs()


def unheard(world: World, cora: Caller) -> list[str]:
    """Deliveries fail from now on, for good; somebody books."""
    set_switches(world, retryKeepsTimestamp=True)
    world.sandbox.fault(webhook="*", effect={"kind": "wrong-signature"}, times=None)
    places = [invite(world, cora, "Call", at(8, 9), "Otto"), invite(world, cora, "Call", at(8, 10), "Anna")]
    world.sandbox.settle()
    return places


def disabled(world: World) -> None:
    """A day goes by in which nothing arrives; Convene itself sleeps."""
    for _ in range(30):
        world.move_clock(hours=1)
        world.sandbox_call("deliveries/repeat")
        if hooks(world)[0][1] == "disabled":
            return
    raise AssertionError("the subscription still stands")


def test_a_disabled_subscription_is_back_within_a_period_with_every_event_of_the_gap(world: World, cora: Caller) -> None:
    otto, anna = unheard(world, cora)
    ((before, _),) = hooks(world)
    assert health(cora) == "RECEIVING"
    watchdog(world)
    assert health(cora) == "RETRYING"
    assert hooks(world) == [(before, "active")]
    disabled(world)
    for fault in world.sandbox.world.faults.entries():
        fault.remove()
    move_there(world, otto, at(9, 11))
    world.move_clock(minutes=1)
    cancel_there(world, anna)
    invite(world, cora, "Circle", at(9, 13), "Ben")
    world.sandbox.settle()
    assert hooks(world) == [(before, "disabled")]
    watchdog(world)
    ((after, state),) = hooks(world)
    assert (after != before, state, health(cora)) == (True, "active", "RECEIVING")
    check(world, cora)
    world.move_clock(minutes=1)
    invite(world, cora, "Circle", at(9, 13), "Dora")
    hear(world)
    check(world, cora)


def test_a_disabled_subscription_that_cannot_be_made_anew_is_told_as_disabled(world: World, cora: Caller) -> None:
    unheard(world, cora)
    disabled(world)
    down = world.sandbox.fault(
        method="POST", path="/calendly/api/webhook_subscriptions", effect={"kind": "status", "status": 503}, times=None
    )
    watchdog(world)
    assert hooks(world) == []
    assert health(cora) == "DISABLED"
    down.remove()
    watchdog(world)
    watchdog(world)
    assert [state for _, state in hooks(world)] == ["active"]
    assert health(cora) == "RECEIVING"
    check(world, cora)


def test_a_deleted_subscription_is_back_within_a_period_with_every_event_of_the_gap(world: World, cora: Caller) -> None:
    place = invite(world, cora, "Call", at(8, 9))
    hear(world)
    ((before, _),) = hooks(world)
    token = world.sandbox_call("calendly/personal-tokens", email=cora.email)["token"]
    gone = httpx.delete(f"{world.sandbox.url}/calendly/api/webhook_subscriptions/{before}", headers={"Authorization": f"Bearer {token}"})
    assert gone.status_code == 204
    world.move_clock(minutes=1)
    move_there(world, place, at(9, 10))
    invite(world, cora, "Circle", at(9, 13), "Ben")
    hear(world)
    assert len(cora.bookings()) == 1
    watchdog(world)
    ((after, state),) = hooks(world)
    assert (after != before, state, health(cora)) == (True, "active", "RECEIVING")
    check(world, cora)


def test_the_watchdog_leaves_a_working_subscription_alone(world: World, cora: Caller) -> None:
    before = hooks(world)
    forget_requests(world)
    for _ in range(3):
        watchdog(world)
    assert hooks(world) == before
    assert api_calls(world, "POST") == []
    assert health(cora) == "RECEIVING"


def test_the_answer_to_the_subscription_was_lost_and_it_is_adopted(world: World) -> None:
    """The second try meets 409; the one that is there has our own address."""
    lost = world.sandbox.fault(method="POST", path="/calendly/api/webhook_subscriptions", effect={"kind": "drop", "when": "after"})
    cora = calendly_coach(world)
    ((made, _),) = hooks(world)
    assert lost.hits == 1
    later(world, minutes=5)
    assert hooks(world) == [(made, "active")]
    assert world.calls("POST", "/webhook_subscriptions") == 2
    assert health(cora) == "RECEIVING"
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    check(world, cora)


def test_where_event_type_news_may_not_be_had_the_rest_is_asked_for(world: World) -> None:
    world.sandbox.fault(method="POST", path="/calendly/api/webhook_subscriptions", effect={"kind": "status", "status": 403})
    cora = calendly_coach(world)
    (row,) = world.sandbox.world.calendly.subscriptions.values()
    assert row.events == ["invitee.created", "invitee.canceled", "invitee_no_show.created", "invitee_no_show.deleted"]
    invite(world, cora, "Call", at(2, 9))
    hear(world)
    check(world, cora)


def test_event_types_follow_their_webhooks(world: World, cora: Caller, admin: Caller) -> None:
    """At once, and not only when they are read again anyway."""
    token = world.sandbox_call("calendly/personal-tokens", email=cora.email)["token"]
    owner = f"{world.sandbox.url}/calendly/api/users/{calendly_user(world, cora).id}"
    call = calendly_type(world, cora).id
    with httpx.Client(base_url=f"{world.sandbox.url}/calendly/api", headers={"Authorization": f"Bearer {token}"}) as client:
        made = client.post("/event_types", json={"owner": owner, "name": "Deep", "duration": 90, "active": True})
        changed = client.patch(f"/event_types/{call}", json={"name": "Long call", "duration": 40})
    assert (made.status_code, changed.status_code) == (201, 200)
    hear(world)
    found = {edge["node"]["title"]: edge["node"]["durationMinutes"] for edge in cora.one(EVENT_TYPES)["edges"]}
    assert found == {"Long call": 40, "Circle": 45, "Deep": 90}
    assert sorted(edge["node"]["kind"] for edge in admin.one(INBOX)["edges"]) == ["event_type.created", "event_type.updated"]
    assert {edge["node"]["state"] for edge in admin.one(INBOX)["edges"]} == {"APPLIED"}


# ---- anything, in any order ------------------------------------------------------------------------------------------------

SLOTS = [at(day, hour) for day in (1, 2, 3) for hour in (9, 10, 11, 13, 14)]
NAMES = ("Otto", "Anna", "Ben")
KINDS = ("Call", "Circle")
SPANS = (timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=20), timedelta(hours=3))
LATELY = timedelta(days=1)
NEWS = st.none() | st.tuples(st.sampled_from(("duplicate", "park", "drop", "reorder")), st.integers(1, 2))
EXAMPLES, STEPS = 6, 20


class Outside(RuleBasedStateMachine):
    """People do at Calendly what they like, its deliveries come as they like, and in the end Convene tells the truth."""

    make: Callable[[], World]

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).make().__enter__()
        self.ids: dict[str, str] = {}

    @initialize()
    def link(self) -> None:
        clean()
        self.cora = calendly_coach(self.world, event_types=GROUPS)
        for kind, name, start in (("Call", "Otto", at(1, 9)), ("Circle", "Otto", at(2, 9)), ("Circle", "Anna", at(2, 9))):
            self.book(kind, name, start)

    def active(self) -> list[Invitee]:
        return [chain[-1] for chain in chains(self.world, self.cora) if chain[-1].status == "active"]

    def pick(self, number: int) -> str:
        """One of those who are coming."""
        rows = self.active()
        return rows[number % len(rows)].id

    def disturb(self, news: tuple[str, int] | None) -> None:
        """What becomes of the next deliveries."""
        if news is not None:
            self.world.sandbox.fault(webhook="*", effect={"kind": news[0]}, times=news[1])

    def act(self, path: str, **body: Any) -> None:
        """What Calendly refuses (the time is taken or over) does not happen."""
        answer = self.world.control.post(f"/calendly/{path}", json=body)
        assert answer.status_code in {200, 201, 400, 403}, answer.text
        self.world.sandbox.settle()

    @rule(kind=st.sampled_from(KINDS), name=st.sampled_from(NAMES), start=st.sampled_from(SLOTS), news=NEWS)
    def book(self, kind: str, name: str, start: datetime, news: tuple[str, int] | None = None) -> None:
        self.disturb(news)
        invitee = {"name": name, "email": f"{name.lower()}@example.test", "timeZone": "Europe/London"}
        self.act("bookings", eventType=calendly_type(self.world, self.cora, kind).id, start=iso(start), invitee=invitee)

    @precondition(lambda self: self.active())
    @rule(
        number=st.integers(0, 9),
        start=st.sampled_from(SLOTS),
        kind=st.sampled_from((None, *KINDS)),
        order=st.sampled_from(ORDERS),
        news=NEWS,
    )
    def move(self, number: int, start: datetime, kind: str | None, order: str, news: tuple[str, int] | None) -> None:
        self.disturb(news)
        set_switches(self.world, pairOrder=order)
        other = {"eventType": calendly_type(self.world, self.cora, kind).id} if kind else {}
        self.act("reschedule", invitee=self.pick(number), start=iso(start), **other)

    @precondition(lambda self: self.active())
    @rule(number=st.integers(0, 9), start=st.sampled_from(SLOTS), news=NEWS)
    def move_on_the_page(self, number: int, start: datetime, news: tuple[str, int] | None) -> None:
        self.disturb(news)
        page = f"{self.world.sandbox.url}/calendly/web/reschedulings/{self.pick(number)}"
        assert httpx.post(page, data={"start": iso(start)}).status_code < 500
        self.world.sandbox.settle()

    @precondition(lambda self: self.active())
    @rule(number=st.integers(0, 9), by=st.sampled_from(("invitee", "invitee", "host")), news=NEWS)
    def cancel(self, number: int, by: str, news: tuple[str, int] | None) -> None:
        self.disturb(news)
        self.act("cancel", invitee=self.pick(number), by=by)

    def begun(self) -> list[str]:
        """Addresses of those whose event began lately."""
        now, state = self.world.clock.now(), self.world.sandbox.world.calendly
        rows = [row for row in self.active() if now - LATELY < state.events[row.event_id].start <= now]
        base = f"{self.world.sandbox.url}/calendly/api/scheduled_events"
        return [f"{base}/{row.event_id}/invitees/{row.id}" for row in rows]

    @precondition(lambda self: self.begun())
    @rule(number=st.integers(0, 9), unmark=st.booleans())
    def mark(self, number: int, unmark: bool) -> None:
        begun = self.begun()
        mark = no_show(self.world, self.cora, begun[number % len(begun)])
        if unmark:
            no_show(self.world, self.cora, "", unmark=mark)
        self.world.sandbox.settle()

    @precondition(lambda self: self.world.sandbox.world.deliveries.parked())
    @rule(data=st.data())
    def deliver_late(self, data: st.DataObject) -> None:
        """All that is parked, in any order, one after the other or at once."""
        waiting = len(self.world.sandbox.world.deliveries.parked())
        flush(self.world, data.draw(st.permutations(range(waiting))))

    @rule()
    def work(self) -> None:
        self.world.jobs()
        self.look()

    @rule(span=st.sampled_from(SPANS))
    def wait(self, span: timedelta) -> None:
        self.world.move_clock(seconds=span.total_seconds())
        self.world.jobs()
        self.look()

    def look(self) -> None:
        """At any time: one booking per place, always the same one, and nothing told that did not happen."""
        owners = {f"{row.event_id}/{row.id}": chain[0].id for chain in chains(self.world, self.cora) for row in chain}
        found = {owners[external]: own for external, own in ids(self.cora).items()}
        assert len(found) == len(ids(self.cora))
        assert found == found | {head: own for head, own in self.ids.items() if head in found}
        assert set(self.ids) <= set(found)
        self.ids = found
        happened = Counter(itertools.chain.from_iterable(story(self.world, chain) for chain in chains(self.world, self.cora)))
        assert not Counter(told(self.cora)) - happened

    def teardown(self) -> None:
        """The rest of the news comes, time goes by, the lists are read."""
        world = self.world
        try:
            if hasattr(self, "cora"):
                world.sandbox.world.faults.clear()
                flush(world)
                world.jobs()
                world.move_clock(seconds=RECONCILE_EVERY.total_seconds() + 1)
                world.jobs()
                self.look()
                check(world, self.cora)
        finally:
            world.__exit__()


def test_whatever_happens_at_calendly_in_the_end_the_truth_is_here(
    database_url: str, issuer: Any, shared_sandbox: Sandbox, ways: Ways
) -> None:
    def make() -> World:
        shared_sandbox.reset()
        return World(database_url, issuer, shared_sandbox, ways=ways)

    machine = type("Machine", (Outside,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
