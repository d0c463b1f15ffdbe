"""When a host can be booked: hours of the schedule, less what is already there. All intervals are half-open and in UTC."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sandbox.calcom.me import DAYS
from sandbox.calcom.state import Booking, CalcomState, EventType, Json, Schedule

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    start: datetime
    end: datetime
    committed: int = 0  # of the booking that takes this time

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


def schedule_of(known: CalcomState, event_type: EventType) -> Schedule | None:
    """The event type's own schedule, else the owner's default one. A host without any is never bookable."""
    own = event_type.data["scheduleId"]
    return known.schedules.get(own or known.users[event_type.owner_id].default_schedule_id or 0)


def hours(schedule: Schedule, start: datetime, end: datetime) -> list[Span]:
    """The working hours that touch [start, end). Local days, so a summer-time change moves them in UTC and not on the wall."""
    zone = ZoneInfo(schedule.time_zone)
    day, last = start.astimezone(zone).date() - DAY, end.astimezone(zone).date() + DAY
    spans = []
    while day <= last:
        spans += [_span(day, rule, zone) for rule in _rules(schedule, day)]
        day += DAY
    return [span for span in _joined(spans) if span.start < end and start < span.end]


def _rules(schedule: Schedule, day: date) -> list[Json]:
    """An override replaces the whole day."""
    overrides = [rule for rule in schedule.overrides if rule["date"] == day.isoformat()]
    return overrides or [rule for rule in schedule.availability if DAYS[day.weekday()] in rule["days"]]


def _span(day: date, rule: Json, zone: ZoneInfo) -> Span:
    """23:59 means the end of the day, as everywhere at Cal.com."""
    begin, until = time.fromisoformat(rule["startTime"]), time.fromisoformat(rule["endTime"])
    if until == time(23, 59):
        day_of_end, until = day + DAY, time(0)
    else:
        day_of_end = day
    return Span(
        datetime.combine(day, begin, zone).astimezone(UTC),
        datetime.combine(day_of_end, until, zone).astimezone(UTC),
    )


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted((one for one in spans if one.start < one.end), key=lambda one: one.start):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def taken(known: CalcomState, host_id: int, without: str | None = None) -> list[Span]:
    """Accepted and pending bookings with their own buffers, and busy blocks. `without` gives one booking its time back."""
    spans = [
        _with_buffers(known, row) for row in known.bookings.values() if row.owner_id == host_id and row.takes_time and row.uid != without
    ]
    return spans + [Span(row.start, row.end) for row in known.busy.values() if row.user_id == host_id]


def _with_buffers(known: CalcomState, booking: Booking) -> Span:
    event_type = known.event_types.get(booking.event_type_id)
    before, after = event_type.buffers if event_type else (timedelta(), timedelta())
    return Span(booking.start - before, booking.end + after, booking.committed)


def widened(event_type: EventType, start: datetime, end: datetime) -> Span:
    before, after = event_type.buffers
    return Span(start - before, end + after)


def in_hours(known: CalcomState, event_type: EventType, start: datetime, end: datetime) -> bool:
    schedule = schedule_of(known, event_type)
    return schedule is not None and any(span.start <= start and end <= span.end for span in hours(schedule, start, end))


def in_window(event_type: EventType, start: datetime, now: datetime) -> bool:
    """Not too soon and not too far: minimumBookingNotice and bookingWindow."""
    if start < now + event_type.notice:
        return False
    window = event_type.data["bookingWindow"]
    window = window[0] if isinstance(window, list) and window else window
    if not isinstance(window, dict) or window.get("disabled") or "value" not in window:
        return True
    if window.get("type") == "range":
        first, last = (str(edge)[:10] for edge in window["value"])
        return first <= start.date().isoformat() <= last
    return start < now + DAY * int(window["value"]) * (1.4 if window.get("type") == "businessDays" else 1)


def slots(
    known: CalcomState, event_type: EventType, span: Span, now: datetime, *, length: int | None = None, without: str | None = None
) -> Iterator[Span]:
    """Free starts on the grid of each stretch of working hours, `start <= slot < end`."""
    schedule = schedule_of(known, event_type)
    # Nothing is free in the past, and nobody needs to wait for an answer about the next thousand years.
    span = Span(max(span.start, now), min(span.end, now + 730 * DAY))
    if schedule is None or span.start >= span.end:
        return
    size = timedelta(minutes=length or event_type.length)
    step = timedelta(minutes=event_type.data["slotInterval"] or length or event_type.length)
    busy = taken(known, event_type.owner_id, without)
    busy += [Span(row.start, row.end) for row in known.reservations.values() if row.event_type_id == event_type.id and row.until > now]
    for stretch in hours(schedule, span.start, span.end):
        start = stretch.start + timedelta(minutes=event_type.data["offsetStart"])
        while start + size <= stretch.end and start < span.end:
            wide = widened(event_type, start, start + size)
            if start >= span.start and in_window(event_type, start, now) and not any(wide.overlaps(one) for one in busy):
                yield Span(start, start + size)
            start += step
