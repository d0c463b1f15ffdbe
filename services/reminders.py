"""Reminders before meetings, each person's own many minutes ahead."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from peewee import Value

from models import Booking, Participant, User
from services import notifications, recipients, wording
from services.notifications import Telling
from services.runtime import Runtime

NONE = Value("[]", converter=False)
"""An empty list as its column has it: a list that is compared with becomes a list of values."""
EVERY = timedelta(minutes=1)
LATE = timedelta(minutes=10)
"""A reminder whose moment passed longer ago is not caught up on: a booking may have been made or found since."""


def remind(rt: Runtime, _key: str) -> timedelta:
    """The job: tell everybody whose reminder's moment has come, once per start and setting. Answers in how long again.

    Four statements, however many are due (those of tell() once for each few hundred).
    """
    wanted = [row[0] for row in User.select(User.reminders).distinct().where(User.reminders != NONE).tuples()]
    minutes = {number for numbers in wanted for number in numbers}
    if minutes:
        notifications.tell(rt, list(_due(rt, minutes)))
    return EVERY


def _due(rt: Runtime, minutes: set[int]) -> Iterator[Telling]:
    now = rt.clock.now()
    for participant in _candidates(now, minutes):
        booking, to = participant.booking, recipients.of_participant(participant)
        for before in participant.user.reminders:
            moment = booking.start - timedelta(minutes=before)
            if now - LATE < moment <= now < booking.start:
                key = notifications.key_of("REMINDER", booking.id, booking.start.isoformat(), before)
                words = wording.of_reminder(booking.title, booking.start, to.zone)
                yield Telling(to, key, "REMINDER", words, booking, new_start=booking.start)


def _candidates(now: datetime, minutes: set[int]) -> Any:
    """Everybody with reminders in confirmed bookings that begin in so many minutes, in one statement."""
    moments = [now + timedelta(minutes=before) for before in sorted(minutes)]
    begins = reduce(or_, ((Booking.start > at - LATE) & (Booking.start <= at) for at in moments))
    rows = (
        Participant.select(Participant, Booking, User)
        .join(Booking, on=(Participant.booking == Booking.id))
        .switch(Participant)
        .join(User, on=(User.person == Participant.person), attr="user")
    )
    wanted = (Booking.status == "CONFIRMED") & (Booking.start > now) & begins & (User.reminders != NONE)
    return rows.where(wanted & Participant.role.in_(recipients.PARTIES)).order_by(Booking.start, Participant.id)
