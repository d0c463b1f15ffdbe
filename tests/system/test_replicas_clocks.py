"""Processes whose clocks are half a minute wrong take nothing out of each other's hands: leases go by the database's time."""

from datetime import timedelta
from typing import Any

import pytest
from harness import MOVE, Caller, World, at, iso
from processes import Plan, Process, Task

from models import BookingChange, Operation, WebhookEvent
from models.base import release_connection
from services import jobs, webhooks
from services.clock import SystemClock

MOVES = "/calcom/v2/bookings/*/reschedule"


def act(task: Task, token: str, query: str = "", variables: dict[str, Any] | None = None) -> Any:
    """An operation, or without one all jobs that are due by this process's clock."""
    return task.post(token, query, variables) if query else jobs.run_until_quiet(task.convene.rt)


def ahead(world: World, seconds: int) -> Process:
    return Process(world, act, Plan(ahead=timedelta(seconds=seconds)))


@pytest.fixture
def clara(world: World) -> Caller:
    person = world.coach()
    world.book(person, at(2, 9))
    world.jobs()
    return person


def test_a_move_under_way_is_nobody_elses(world: World, clara: Caller) -> None:
    """Neither the completer of a hasty process nor the same key at a late one does anything to it."""
    (booking,) = clara.bookings()
    asked = {"input": {"bookingId": booking["id"], "newStart": iso(at(3, 10)), "idempotencyKey": "k1"}}
    held = world.sandbox.fault({"kind": "hold"}, method="POST", path=MOVES)
    with Process(world, act) as mover, ahead(world, 30) as hasty, ahead(world, -30) as late:
        mover.go(clara.token, MOVE, asked)
        assert held.wait_held()
        for other in (hasty, late):
            other.go("").result()
            assert other.go(clara.token, MOVE, asked).result()["__typename"] == "RescheduleInProgress"
        assert [row.phase for row in Operation.select().where(Operation.open)] == ["sent"]
        release_connection()
        held.release()
        assert mover.result()["__typename"] == "BookingRescheduled"
        for other in (hasty, late):
            assert other.go(clara.token, MOVE, asked).result()["__typename"] == "BookingRescheduled"
            other.go("").result()
    assert world.calls("POST", "/reschedule") == 1
    assert [b["start"] for b in clara.bookings()] == [iso(at(3, 10))]
    assert BookingChange.select().where(BookingChange.kind == "MOVED").count() == 1
    assert [n["kind"] for n in clara.notifications()] == ["MOVED", "BOOKED"]


def test_processes_that_are_set_half_a_minute_apart_have_one_database_time() -> None:
    """And those that are set minutes ahead see leases end as well."""
    jump = timedelta(days=90)
    slow, fast = (SystemClock(jump + timedelta(seconds=wrong)) for wrong in (-15, 15))
    assert slow.database_now().params == fast.database_now().params == [jump / timedelta(milliseconds=1)]
    assert timedelta(seconds=29) < fast.now() - slow.now() < timedelta(seconds=31)
    assert SystemClock(timedelta(minutes=10)).database_now(timedelta(seconds=5)).params == [605_000]


def test_a_delivery_in_hand_stays_there_until_its_lease_ends(world: World, clara: Caller) -> None:
    world.book(clara, at(4, 9), name="Uta")
    with Process(world, act, Plan(freeze_at="webhook.applied")) as slow, ahead(world, 30) as hasty:
        slow.go("")
        slow.wait_frozen()
        (event,) = WebhookEvent.select().where(WebhookEvent.state == "PENDING")
        release_connection()
        hasty.go("").result()
        untouched = WebhookEvent.get_by_id(event.id)
        assert (untouched.lease_owner, untouched.attempts, untouched.state) == (event.lease_owner, 1, "PENDING")
        release_connection()
        world.move_clock(seconds=webhooks.LEASE.total_seconds() + 1)
        hasty.go("").result()
        taken = WebhookEvent.get_by_id(event.id)
        assert (taken.lease_owner, taken.attempts, taken.state) == (None, 2, "APPLIED")
        release_connection()
        slow.thaw()
        slow.result()
    assert [n["kind"] for n in clara.notifications()] == ["BOOKED", "BOOKED"]
