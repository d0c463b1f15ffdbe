"""One party's time: when they are taken, by what, and how well that is known.

Of the coach the provider's own slots say most: hours, buffers, notice and limits are in them. What it cannot know is added
here: other linked accounts, what they attend, and what is held by changes under way. Of the mentee everything is put
together here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models import Booking, EventType, Hold, LinkedAccount, Operation, Participant, Person, User
from services import calendars, intervals, tokens, working_hours
from services.calendars import Source, Subject
from services.change_rules import OPEN_STATUSES
from services.intervals import Span
from services.runtime import Runtime

PARTIES = ("COACH", "MENTEE")


@dataclass(frozen=True)
class Side:
    """Spans of minutes. `hours` None: no working hours are known. `unknown`: a calendar that should be usable could not be asked."""

    person_id: str
    name: str
    role: str
    busy: list[Span] = field(default_factory=list)
    booked: list[Span] = field(default_factory=list)
    held: list[Span] = field(default_factory=list)
    hours: list[Span] | None = None
    sources: list[Source] = field(default_factory=list)
    unknown: bool = False
    linked: bool = False
    """There is a usable link through which their calendar was looked at."""

    def taken(self) -> list[Span]:
        return intervals.merged([*self.busy, *self.booked, *self.held])


def coach(rt: Runtime, subject: Subject, start: datetime, end: datetime, max_age: timedelta) -> Side:
    """What the slots of `subject` do not know of its host; buffers of the event type are added to it."""
    accounts = calendars.others_of(rt, subject.account)
    busy, sources, unknown = _calendars(rt, accounts, (subject.host_id, subject.host_name, "COACH"), (start, end), max_age)
    # as a host of this account the provider itself looks at them
    elsewhere = (Booking.provider != subject.account.provider) | (Participant.role == "MENTEE")
    kind = EventType.get_or_none(
        (EventType.provider == subject.account.provider) & (EventType.external_id == subject.event_type_external_id)
    )
    before, after = (kind.buffer_before, kind.buffer_after) if kind else (0, 0)
    occasion = kind if kind is not None and kind.is_group else None
    return Side(
        subject.host_id,
        subject.host_name,
        "COACH",
        busy=intervals.widened(_without(busy, subject.moving), before, after),
        booked=intervals.widened(_booked(subject.host_id, elsewhere, subject.moving, start, end), before, after),
        held=intervals.widened(_held(subject.host_id, subject, start, end, occasion=occasion), before, after),
        sources=sources,
        unknown=unknown,
        linked=True,
    )


def mentee(rt: Runtime, subject: Subject, person_id: str, start: datetime, end: datetime, max_age: timedelta) -> Side:
    """Everything that is known of somebody who attends: calendars and hours of every linked account, bookings, holds."""
    name, moving = name_of(person_id), subject.moving
    accounts = calendars.linked(rt, person_id)
    busy, sources, unknown = _calendars(rt, accounts, (person_id, name, "MENTEE"), (start, end), max_age)
    # as they turned out when they were asked: a link may have broken just now
    asked = {source.provider for source in sources if source.state != "NOT_CONNECTED"}
    usable = [account for account in accounts if account.provider in asked]
    return Side(
        person_id,
        name,
        "MENTEE",
        busy=_without(busy, moving),
        booked=_booked(person_id, Participant.role.in_(PARTIES), moving, start, end),
        held=_held(person_id, subject, start, end),
        hours=working_hours.of_accounts(usable, start, end),
        sources=sources or [Source(person_id, name, "MENTEE", None, "NOT_CONNECTED", None)],
        unknown=unknown,
        linked=bool(usable),
    )


def mentee_of(booking: Booking) -> Participant | None:
    """The one who attends; None in a group event."""
    rows = list(Participant.select().where((Participant.booking == booking.id) & (Participant.role == "MENTEE")).limit(2))
    return rows[0] if len(rows) == 1 and not booking.is_group else None


def name_of(person_id: str) -> str:
    row = User.select(User.name).where(User.person == person_id).tuples().first()
    return (row[0] if row else "") or Person.get_by_id(person_id).name


def _calendars(
    rt: Runtime, accounts: Iterable[LinkedAccount], who: tuple[str, str, str], window: tuple[datetime, datetime], max_age: timedelta
) -> tuple[list[Span], list[Source], bool]:
    spans: list[Span] = []
    sources, unknown = [], False
    for account in accounts:
        if account.problem_code in tokens.NEEDS_PERSON:
            sources.append(Source(*who, account.provider, "NOT_CONNECTED", None))
            continue
        found, as_of, state = calendars.busy(rt, account, *window, max_age)
        spans += found
        unknown |= state == "UNAVAILABLE"
        sources.append(Source(*who, account.provider, state, as_of))
    return spans, sources, unknown


def _without(spans: list[Span], moving: Booking | None) -> list[Span]:
    """Through a calendar that both providers look at, the booking that moves may stand there as well."""
    if moving is None:
        return intervals.merged(spans)
    itself = intervals.covering(moving.start, moving.end)
    return intervals.merged(span for span in spans if span != itself)


def _booked(person_id: str, which: object, moving: Booking | None, start: datetime, end: datetime) -> list[Span]:
    rows = (
        Booking.select(Booking.start, Booking.end)
        .join(Participant)
        .where(
            (Participant.person == person_id)
            & Participant.role.in_(PARTIES)
            & which
            & (Booking.id != (moving.id if moving else ""))
            & Booking.status.in_(sorted(OPEN_STATUSES))
            & (Booking.start < end)
            & (Booking.end > start)
        )
        .tuples()
    )
    return intervals.merged(intervals.covering(*row) for row in rows)


def _held(person_id: str, subject: Subject, start: datetime, end: datetime, *, occasion: EventType | None = None) -> list[Span]:
    """By changes under way; a change of the booking itself does not stand in its own way.

    `occasion`: places of this group event are booked beside one another.
    """
    query = Hold.select(Hold.start, Hold.end).where((Hold.person == person_id) & (Hold.start < end) & (Hold.end > start))
    if occasion is not None:
        places = Operation.select(Operation.id).where((Operation.event_type == occasion.id) & Operation.open)
        query = query.where(Hold.operation.not_in(places))
    if subject.asked_by is not None:
        query = query.where(Hold.operation != subject.asked_by)
    if subject.moving is not None:
        own = Operation.select(Operation.id).where((Operation.booking == subject.moving.id) & Operation.open)
        query = query.where(Hold.operation.not_in(own))
    return intervals.merged(intervals.covering(*row) for row in query.tuples())
