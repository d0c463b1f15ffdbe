"""What does not come right by itself: an admin sees what it is and what to do, and does it with a button."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from harness import INBOX, OPERATION, SYNC, Caller, World, at, iso

from models import Hold, Operation, WebhookEvent
from services import webhooks

LIST = """query($first: Int, $after: String) { attention(first: $first, after: $after) { edges { cursor node {
  id kind since title detail advice actions provider booking { id start } } } pageInfo { hasNextPage endCursor } } }"""
RESOLVE = """mutation($input: ResolveAttentionInput!) { resolveAttention(input: $input) { __typename
  ... on AttentionResolved { id action } ... on InvalidInput { fields { path message } } ... on Problem { code message } } }"""
READ_BACK = "/calcom/v2/bookings/*"
BOTH_ACTIONS = ["TRY_AGAIN", "DISMISS"]


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def max_(world: World) -> Caller:
    return world.caller("Max")


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


def items(admin: Caller) -> list[dict[str, Any]]:
    return [edge["node"] for edge in admin.one(LIST)["edges"]]


def resolve(person: Caller, item: str, action: str) -> dict[str, Any]:
    found: dict[str, Any] = person.one(RESOLVE, input={"id": item, "action": action})
    return found


def booked(world: World, clara: Caller, max_: Caller) -> str:
    world.book(clara, at(5, 9), name="Max", email=max_.email)
    world.jobs()
    return str(clara.bookings()[0]["id"])


class Stuck:
    """A move of which nothing more is heard for a day: the answer is lost, the webhook too, and nothing can be read."""

    def __init__(self, world: World, clara: Caller, max_: Caller, when: str) -> None:
        self.world, self.clara, self.max = world, clara, max_
        self.booking = booked(world, clara, max_)
        world.sandbox.fault({"kind": "drop", "when": when}, method="POST", path="/calcom/v2/bookings/*/reschedule")
        world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
        self.away = world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path="/calcom/v2/bookings*", times=None)
        answer = clara.move(self.booking, at(5, 13))
        assert answer["__typename"] == "RescheduleInProgress"
        self.operation = str(answer["operation"]["id"])
        self.world.jobs()
        self.world.move_clock(hours=24, minutes=1)
        self.world.jobs()

    def back(self) -> None:
        """The provider can be asked again; its breaker keeps the machine's own time."""
        self.away.remove()
        self.world.rt.transport._breakers.clear()

    def state(self) -> str:
        return str(self.clara.one(OPERATION, id=self.operation)["state"])

    def moves_told(self) -> list[list[str]]:
        return [[one["kind"] for one in person.notifications() if one["kind"] == "MOVED"] for person in (self.clara, self.max)]


def dead_delivery(world: World, clara: Caller) -> None:
    """Its booking could not be read back until it was given up; by now it can."""
    broken = world.sandbox.fault({"kind": "status", "status": 403, "body": {"status": "error"}}, method="GET", path=READ_BACK, times=None)
    world.book(clara, at(5, 9))
    for _ in range(15):
        webhooks.apply_due(world.rt)
        world.rt.transport._breakers.clear()
        world.move_clock(hours=1)
    broken.remove()


def test_there_is_nothing_to_do(admin: Caller) -> None:
    assert admin.one(LIST) == {"edges": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}


# ---- a change that is stuck ------------------------------------------------------------------------------------------------------


def test_a_move_of_which_nothing_is_heard_for_a_day(world: World, clara: Caller, max_: Caller, admin: Caller) -> None:
    stuck = Stuck(world, clara, max_, "after")
    assert stuck.state() == "NEEDS_ATTENTION"
    (item,) = items(admin)
    assert item == {
        "id": stuck.operation,
        "kind": "OPERATION",
        "since": "2027-03-02T08:01:00Z",
        "title": "Could be neither completed nor undone: a move",
        "detail": "What became of it could not be learnt from the provider for a day.",
        "advice": "See that the account is connected and the provider reachable, then try again. "
        "Otherwise look at the booking there, and dismiss this.",
        "actions": BOTH_ACTIONS,
        "provider": "CAL_COM",
        "booking": {"id": stuck.booking, "start": iso(at(5, 9))},
    }


@pytest.mark.parametrize(("when", "state", "start"), [("after", "COMPLETED", at(5, 13)), ("before", "UNDONE", at(5, 9))])
def test_trying_again_ends_it(world: World, clara: Caller, max_: Caller, admin: Caller, when: str, state: str, start: Any) -> None:
    """Done there after all, or not: what the provider has is what is told, once."""
    stuck = Stuck(world, clara, max_, when)
    stuck.back()
    assert resolve(admin, stuck.operation, "TRY_AGAIN") == {
        "__typename": "AttentionResolved",
        "id": stuck.operation,
        "action": "TRY_AGAIN",
    }
    assert items(admin) == []
    for _ in range(2):
        world.jobs()
        world.move_clock(minutes=5)
    world.jobs()
    assert (stuck.state(), items(admin)) == (state, [])
    for person in (clara, max_):
        assert [(one["id"], one["start"]) for one in person.bookings()] == [(stuck.booking, iso(start))]
    assert stuck.moves_told() == ([["MOVED"], ["MOVED"]] if when == "after" else [[], []])
    assert world.calls("POST", "/reschedule") == 1
    assert len(world.live_uids()) == 1
    assert (Hold.select().count(), Operation.select().where(Operation.open).count()) == (0, 0)


def test_trying_again_while_the_provider_is_still_away_keeps_it_alive(world: World, clara: Caller, max_: Caller, admin: Caller) -> None:
    """It is under way again, holds its time, and after another day it is back on the list."""
    stuck = Stuck(world, clara, max_, "after")
    assert resolve(admin, stuck.operation, "TRY_AGAIN")["__typename"] == "AttentionResolved"
    world.jobs()
    assert (stuck.state(), items(admin), Hold.select().count()) == ("IN_PROGRESS", [], 2)
    world.move_clock(hours=24, minutes=1)
    world.jobs()
    assert (stuck.state(), [one["id"] for one in items(admin)], Hold.select().count()) == ("NEEDS_ATTENTION", [stuck.operation], 0)


def test_dismissed_it_is_off_the_list_and_nothing_is_done(world: World, clara: Caller, max_: Caller, admin: Caller) -> None:
    stuck = Stuck(world, clara, max_, "before")
    stuck.back()
    world.sandbox.world.requests.clear()
    assert resolve(admin, stuck.operation, "DISMISS")["__typename"] == "AttentionResolved"
    assert [request.path for request in world.sandbox.requests] == []
    assert (items(admin), stuck.state(), Hold.select().count()) == ([], "NEEDS_ATTENTION", 0)
    assert resolve(admin, stuck.operation, "DISMISS")["__typename"] == "NotFound"
    assert resolve(admin, stuck.operation, "TRY_AGAIN")["__typename"] == "NotFound"
    assert stuck.state() == "NEEDS_ATTENTION"


# ---- a dead delivery ---------------------------------------------------------------------------------------------------------------


def test_a_dead_delivery_is_tried_again(world: World, clara: Caller, admin: Caller) -> None:
    dead_delivery(world, clara)
    (item,) = items(admin)
    assert (item["kind"], item["title"], item["provider"]) == ("WEBHOOK", "A delivery could not be applied: BOOKING_CREATED", "CAL_COM")
    assert item["detail"].startswith("Given up after 15 attempts; the last one failed with ")
    assert item["advice"] == (
        "See that the account is connected, then try again. The regular reading of the provider's list repairs bookings meanwhile."
    )
    assert item["actions"] == BOTH_ACTIONS
    assert resolve(admin, item["id"], "TRY_AGAIN")["__typename"] == "AttentionResolved"
    world.jobs()
    assert items(admin) == []
    assert [one["node"]["state"] for one in admin.one(INBOX)["edges"]] == ["APPLIED"]
    assert [one["start"] for one in clara.bookings()] == [iso(at(5, 9))]


def test_a_dead_delivery_is_dismissed(world: World, clara: Caller, admin: Caller) -> None:
    dead_delivery(world, clara)
    (item,) = items(admin)
    assert resolve(admin, item["id"], "DISMISS")["__typename"] == "AttentionResolved"
    assert (items(admin), [one["node"]["state"] for one in admin.one(INBOX)["edges"]]) == ([], ["DEAD"])


# ---- drift -----------------------------------------------------------------------------------------------------------------------


def drifted(world: World, clara: Caller, number: int) -> None:
    """A booking that Cal.com no longer has, and of which nobody told us."""
    uid = world.book(clara, at(5, 8 + number))
    world.jobs()
    known = world.sandbox.world.calcom.bookings
    known.remove(lambda row: row.uid != uid)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    world.jobs()


def test_what_the_provider_no_longer_has(world: World, clara: Caller, admin: Caller) -> None:
    drifted(world, clara, 1)
    (item,) = items(admin)
    assert (item["kind"], item["title"]) == ("DRIFT", "The provider no longer has a booking")
    assert item["advice"] == "Ask coach and mentee whether they still meet, and cancel it here if not."
    assert (item["actions"], item["provider"], item["booking"]["start"]) == (["DISMISS"], "CAL_COM", iso(at(5, 9)))
    refused = resolve(admin, item["id"], "TRY_AGAIN")
    sentence = "There is nothing to try again here: see to it by hand, then dismiss it."
    assert (refused["__typename"], refused["fields"]) == ("InvalidInput", [{"path": ["action"], "message": sentence}])
    assert [one["id"] for one in items(admin)] == [item["id"]]
    assert resolve(admin, item["id"], "DISMISS")["__typename"] == "AttentionResolved"
    assert items(admin) == []


def test_a_missed_change_that_was_taken_in_needs_nobody(world: World, clara: Caller, admin: Caller) -> None:
    world.sandbox.fault(webhook="*", effect={"kind": "drop"}, times=None)
    world.book(clara, at(5, 9))
    world.move_clock(hours=2)
    world.jobs()
    assert len(clara.bookings()) == 1
    assert items(admin) == []


# ---- the list ----------------------------------------------------------------------------------------------------------------------


def test_pages_newest_first_across_kinds(world: World, clara: Caller, max_: Caller, admin: Caller) -> None:
    dead_delivery(world, clara)
    again = WebhookEvent.get()
    for number in range(4):
        rows = {**again.__data__, "id": f"copy-{number}", "delivery_key": f"copy-{number}"}
        WebhookEvent.create(**{**rows, "received_at": again.received_at - timedelta(minutes=number + 1)})
    found, after = [], None
    while True:
        page = admin.one(LIST, first=2, after=after)
        assert len(page["edges"]) <= 2
        found += [edge["node"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [one["id"] for one in found] == [again.id, "copy-0", "copy-1", "copy-2", "copy-3"]
    assert [one["since"] for one in found] == sorted((one["since"] for one in found), reverse=True)


def test_only_admins(world: World, clara: Caller, max_: Caller, admin: Caller) -> None:
    dead_delivery(world, clara)
    (item,) = items(admin)
    for person in (clara, max_):
        (error,) = person.errors(LIST)
        assert error["extensions"]["code"] == "FORBIDDEN"
        for action in BOTH_ACTIONS:
            assert resolve(person, item["id"], action)["__typename"] == "NotPermitted"
    world.jobs()
    assert [(one["id"], one["kind"]) for one in items(admin)] == [(item["id"], "WEBHOOK")]


def test_nothing_there_is_a_secret_or_an_address(world: World, clara: Caller, max_: Caller, admin: Caller) -> None:
    stuck = Stuck(world, clara, max_, "after")
    told = str([{name: one[name] for name in ("title", "detail", "advice")} for one in items(admin)])
    uids = list(world.sandbox.world.calcom.bookings)
    assert stuck.operation in str(items(admin))
    for secret in (*uids, clara.email, max_.email, "Bearer", "http"):
        assert secret not in told


def test_an_unknown_item_is_not_found(admin: Caller) -> None:
    assert resolve(admin, "01HZZZZZZZZZZZZZZZZZZZZZZZ", "DISMISS")["__typename"] == "NotFound"


def test_whoever_is_not_signed_in_sees_nothing(world: World) -> None:
    answer = httpx.post(f"{world.url}/graphql", json={"query": LIST})
    assert "edges" not in answer.text
