"""Reminders before a meeting: at each person's own times, once per start, and never long after their moment."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from harness import Caller, Issuer, World, at, iso
from keeping import Ways
from mailing import empty, fault, mailing_world, mails, set_preferences, states

from models import JobClaim, Notification
from models.base import db
from sandbox.app import Sandbox
from services import claims, jobs, reminders


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    with mailing_world(database_url, issuer, shared_sandbox, ways) as running:
        yield running


@pytest.fixture
def clara(world: World) -> Caller:
    """A coach who wants to be reminded a day and ten minutes before."""
    coach = world.coach()
    set_preferences(coach, reminderMinutes=[10, 1440])
    return coach


def booked(world: World, clara: Caller, hour: int = 9, **more: Any) -> str:
    world.book(clara, at(3, hour), **more)
    world.jobs()
    empty(world)
    return str(clara.bookings()[0]["id"])


def tick(world: World, moment: Any) -> None:
    """The minute's job at that moment."""
    world.clock.at = moment
    world.sandbox.world.clock.freeze(moment)
    claims.schedule("remind", "", moment)
    world.jobs()


def reminded() -> list[tuple[str, str]]:
    rows = Notification.select(Notification.new_start, Notification.body).where(Notification.kind == "REMINDER").order_by(Notification.id)
    return [(iso(row.new_start), row.body) for row in rows]


def test_at_each_set_time_once_with_the_link_in_the_mail(world: World, clara: Caller) -> None:
    booked(world, clara)
    tick(world, at(2, 8, 59))
    assert reminded() == []
    tick(world, at(2, 9))
    tick(world, at(2, 9, 1))
    sentence = "“Session between Clara and Otto” begins on Wed 3 Mar 2027, 10:00 (Europe/Berlin)."
    assert reminded() == [("2027-03-03T09:00:00Z", sentence)]
    tick(world, at(3, 8, 50))
    assert reminded() == [("2027-03-03T09:00:00Z", sentence)] * 2
    first, second = mails(world)
    assert first["envelope"]["to"] == second["envelope"]["to"] == ["clara@example.test"]
    assert "When: Wednesday, 3 March 2027, 10:00 to 10:30 (Europe/Berlin)" in first["text"]
    assert first["headers"]["messageId"] != second["headers"]["messageId"]
    (booking,) = clara.bookings()
    assert f"Join: {booking['meetingUrl']}" in first["text"]
    assert JobClaim.get(JobClaim.kind == "remind").due_at == world.clock.now() + timedelta(minutes=1)


def test_a_moved_meeting_is_reminded_of_anew(world: World, clara: Caller) -> None:
    booking_id = booked(world, clara)
    tick(world, at(3, 8, 50))
    clara.move(booking_id, at(3, 13))
    tick(world, at(3, 8, 51))
    assert [start for start, _ in reminded()] == [iso(at(3, 9))]
    tick(world, at(3, 12, 50))
    assert [start for start, _ in reminded()] == [iso(at(3, 9)), iso(at(3, 13))]


@pytest.mark.parametrize(("minutes", "count"), [(9, 1), (10, 0)])
def test_what_is_found_late_is_reminded_of_within_ten_minutes_alone(world: World, clara: Caller, minutes: int, count: int) -> None:
    booked(world, clara)
    tick(world, at(2, 9, minutes))
    assert len(reminded()) == count


def test_nobody_is_reminded_of_what_has_begun_is_cancelled_or_waits(world: World, clara: Caller) -> None:
    set_preferences(clara, reminderMinutes=[5])
    booking_id = booked(world, clara)
    booked(world, clara, hour=13, status="pending", force=True, name="Pia")
    clara.cancel(booking_id)
    tick(world, at(3, 8, 56))
    tick(world, at(3, 12, 56))
    booked(world, clara, hour=14, name="Rolf", force=True)
    tick(world, at(3, 14))
    assert reminded() == []


def test_a_reminder_that_became_wrong_before_it_was_sent_is_dropped(world: World, clara: Caller) -> None:
    booking_id = booked(world, clara)
    fault(world, "temporary", times=1)
    tick(world, at(2, 9))
    assert states()[-1][0] == "RETRYING"
    clara.move(booking_id, at(4, 13))
    tick(world, at(2, 9, 1))
    assert [state for state, *_ in states()][-2:] == ["DROPPED", "SENT"]
    assert [mail["subject"] for mail in mails(world) if mail["subject"].startswith("Reminder")] == []


def test_the_job_asks_as_often_for_one_booking_as_for_ten(world: World, clara: Caller) -> None:
    otto = world.caller("Otto")
    set_preferences(otto, reminderMinutes=[1440])
    booked(world, clara)
    counts = [statements(world, at(2, 9))]
    for minute in range(1, 10):
        world.book(clara, at(3, 9) + timedelta(minutes=minute), force=True)
    world.jobs()
    counts.append(statements(world, at(2, 9, 9)))
    assert len(reminded()) == 20
    assert counts[0] == counts[1]


def statements(world: World, moment: Any) -> int:
    world.clock.at = moment
    asked: list[str] = []
    before = db.obj.execute_sql

    def counted(sql: str, *args: Any, **more: Any) -> Any:
        asked.append(sql)
        return before(sql, *args, **more)

    db.obj.execute_sql = counted
    try:
        reminders.remind(world.rt, "")
    finally:
        db.obj.execute_sql = before
    return len([sql for sql in asked if sql.split()[0] in {"SELECT", "INSERT", "UPDATE", "WITH"}])


def test_it_is_a_job_of_its_own(world: World) -> None:
    assert "remind" in jobs.JOBS
