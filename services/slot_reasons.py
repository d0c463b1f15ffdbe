"""Why a time can or cannot be had: every reason, in order of precedence.

To whoever asks their own side is explained in full; of the other party only that they are not available. How often one may
ask is limited, so that nobody reads another's calendar minute by minute.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from peewee import JOIN

from models import Booking, EventType, Participant
from services import availability, calendars, intervals, limits, tokens, working_hours
from services.availability import Mutual
from services.calendars import Subject
from services.errors import InvalidInput, ProviderError, ProviderFailure, TooManyRequests
from services.identity import Viewer
from services.intervals import Span
from services.linked_accounts import failure
from services.runtime import Runtime
from services.sides import Side

ORDER = (
    "PAST", "OFF_GRID", "NOTICE", "OUTSIDE_HOURS", "BUSY", "BUFFER", "BOOKED", "HELD", "LIMIT", "OTHER_PARTY_UNAVAILABLE",
    "SOURCE_UNAVAILABLE",
)  # fmt: skip
"""SlotReason by precedence."""
MOST, SPAN = 30, timedelta(minutes=10)
AGE = timedelta(minutes=5)
LONGEST_BUFFER = timedelta(hours=4)
"""How far from a booking its buffer is looked for."""
SENTENCES = {
    "PAST": "The time lies in the past.",
    "OFF_GRID": "Bookings begin at other times here, close to this one.",
    "NOTICE": "It is too soon: the event type asks for more notice.",
    "OUTSIDE_HOURS": "It lies outside your working hours.",
    "BUSY": "Something in your calendar is at that time.",
    "BUFFER": "It is too close to something else: the event type keeps a buffer.",
    "BOOKED": "You have another booking at that time.",
    "HELD": "A change that is under way holds that time.",
    "LIMIT": "A limit of the event type keeps it from being offered.",
    "OTHER_PARTY_UNAVAILABLE": "The other party is not available at that time.",
    "SOURCE_UNAVAILABLE": "A calendar could not be asked, so this may not be all.",
}


@dataclass(frozen=True)
class Reason:
    """`person_id` None: it is nobody's in particular."""

    code: str
    message: str
    person_id: str | None = None
    name: str = ""
    role: str | None = None


@dataclass(frozen=True)
class Explanation:
    start: datetime
    end: datetime
    available: bool
    reasons: list[Reason]


def explain(
    rt: Runtime, viewer: Viewer, *, booking_id: str | None, event_type_id: str | None, start: datetime, minutes: int | None
) -> Explanation:
    """Raises NotFound, InvalidInput, ConnectionUnusable, ProviderFailure and TooManyRequests."""
    if start > rt.clock.now() + availability.FARTHEST:
        raise InvalidInput.of("start", "The start lies more than two years ahead.")
    subject, attends = availability.target(rt, viewer, booking_id=booking_id, event_type_id=event_type_id, minutes=minutes)
    if retry_at := limits.spend(rt, f"explain:{viewer.user_id}", most=MOST, span=SPAN):
        raise TooManyRequests("This was asked too often. Wait a moment.", retry_at)
    end = start + timedelta(minutes=subject.minutes)
    if start <= rt.clock.now():
        return Explanation(start, end, available=False, reasons=[Reason("PAST", SENTENCES["PAST"])])
    try:
        # the day around it tells whether its neighbours are offered
        around = max(start - timedelta(minutes=subject.minutes), rt.clock.now())
        found = availability.mutual(rt, subject, attends, around, end, AGE)
    except ProviderError as error:
        raise failure(rt, subject.account.provider, error) from error
    free = intervals.minute(start) in found.free() and not (start.second or start.microsecond)
    reasons = [] if free else _reasons(rt, viewer, found, start)
    if found.stale or found.coach.unknown or (found.mentee and found.mentee.unknown):
        reasons.append(Reason("SOURCE_UNAVAILABLE", SENTENCES["SOURCE_UNAVAILABLE"]))
    return Explanation(start, end, available=free, reasons=sorted(reasons, key=lambda reason: ORDER.index(reason.code)))


def _reasons(rt: Runtime, viewer: Viewer, found: Mutual, start: datetime) -> list[Reason]:
    subject, slot = found.subject, _slot(found.subject, start)
    coach_free = slot[0] in found.free(mentee=False)
    reasons = []
    if viewer.person_id == subject.host_id:
        if not coach_free:
            codes = _of_coach(rt, found, slot, start)
            reasons += [Reason(code, SENTENCES[code], subject.host_id, subject.host_name, "COACH") for code in codes]
    elif not coach_free:
        reasons.append(Reason("OTHER_PARTY_UNAVAILABLE", SENTENCES["OTHER_PARTY_UNAVAILABLE"], subject.host_id, subject.host_name, "COACH"))
    if found.mentee is not None:
        codes = _of_mentee(found.mentee, slot)
        if codes and viewer.person_id != found.mentee.person_id:
            codes = ["OTHER_PARTY_UNAVAILABLE"]
        side = found.mentee
        reasons += [Reason(code, SENTENCES[code], side.person_id, side.name, "MENTEE") for code in codes]
    return reasons


def _slot(subject: Subject, start: datetime) -> Span:
    return intervals.minute(start), intervals.minute(start) + subject.minutes


def _of_mentee(side: Side, slot: Span) -> list[str]:
    codes = []
    if side.hours is not None and not intervals.within([slot[0]], slot[1] - slot[0], side.hours):
        codes.append("OUTSIDE_HOURS")
    return codes + _taken(side, slot)


def _taken(side: Side, slot: Span) -> list[str]:
    by = (("BUSY", side.busy), ("BOOKED", side.booked), ("HELD", side.held))
    return [code for code, spans in by if intervals.meets(slot, spans)]


def _of_coach(rt: Runtime, found: Mutual, slot: Span, start: datetime) -> list[str]:
    """What the provider does not say of its own slots is put together from what else is known of the host."""
    subject = found.subject
    kind = EventType.get_or_none(
        (EventType.provider == subject.account.provider) & (EventType.external_id == subject.event_type_external_id)
    )
    notice, before, after = (kind.notice_minutes, kind.buffer_before, kind.buffer_after) if kind else (0, 0, 0)
    codes = ["NOTICE"] if start < rt.clock.now() + timedelta(minutes=notice) else []
    reach = (start - timedelta(minutes=before), start + timedelta(minutes=subject.minutes + after))
    hours = working_hours.of_accounts([subject.account], *reach)
    if hours is not None and not intervals.within([slot[0]], subject.minutes, hours):
        codes.append("OUTSIDE_HOURS")
    booked = _own_bookings(subject, *reach)
    busy = _own_busy(rt, subject, *reach)
    # the provider's busy times may tell its own bookings as well
    busy = [span for span in busy if span not in booked]
    for code, spans in (("BUSY", busy), ("BOOKED", booked)):
        if intervals.meets(slot, spans):
            codes.append(code)
    taken, wide = [*busy, *booked], (slot[0] - before, slot[1] + after)
    if intervals.meets(wide, [*busy, *_with_buffers(subject, *reach)]) and not intervals.meets(slot, taken):
        codes.append("BUFFER")
    codes += [code for code in _taken(found.coach, slot) if code not in codes]
    if codes:
        return codes
    near = any(slot[0] - subject.minutes < told < slot[1] and told != slot[0] for told in found.told)
    return ["OFF_GRID" if near else "LIMIT"]


def _own_busy(rt: Runtime, subject: Subject, start: datetime, end: datetime) -> list[Span]:
    """In the calendars behind the account whose slots are asked for."""
    if subject.account.problem_code in tokens.NEEDS_PERSON:
        return []
    try:
        return calendars.busy(rt, subject.account, start, end, AGE)[0]
    except (ProviderError, ProviderFailure):
        return []


def _own_bookings(subject: Subject, start: datetime, end: datetime) -> list[Span]:
    return [span for span, _, _ in _rows(subject, start, end)]


def _with_buffers(subject: Subject, start: datetime, end: datetime) -> list[Span]:
    """What is booked keeps the buffers of its own event type as well."""
    rows = _rows(subject, start - LONGEST_BUFFER, end + LONGEST_BUFFER)
    return [(span[0] - before, span[1] + after) for span, before, after in rows]


def _rows(subject: Subject, start: datetime, end: datetime) -> list[tuple[Span, int, int]]:
    rows = (
        Booking.select(Booking.start, Booking.end, EventType.buffer_before, EventType.buffer_after)
        .join(Participant)
        .switch(Booking)
        .join(EventType, JOIN.LEFT_OUTER)
        .where(
            (Participant.person == subject.host_id)
            & (Participant.role == "COACH")
            & (Booking.id != (subject.moving.id if subject.moving else ""))
            & Booking.status.in_(["PENDING", "CONFIRMED"])
            & (Booking.start < end)
            & (Booking.end > start)
        )
    )
    return [(intervals.covering(since, until), before or 0, after or 0) for since, until, before, after in rows.tuples()]
