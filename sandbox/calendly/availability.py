"""When a host can be booked: hours of the rules, less what is already there. All intervals are half-open and in UTC."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sandbox.calendly.rows import Event, EventType, Json
from sandbox.calendly.state import CalendlyState

DAY = timedelta(days=1)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Span:
    start: datetime
    end: datetime

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class Slot:
    start: datetime
    remaining: int


def rule_of(known: CalendlyState, event_type: EventType) -> Json:
    """The type's own rule, else the host's default schedule; without any the host is never free."""
    if event_type.own_rule is not None:
        return event_type.own_rule
    schedule = known.default_schedule(event_type.owner_id)
    zone = known.users[event_type.owner_id].time_zone
    return {"timezone": schedule.time_zone, "rules": schedule.rules} if schedule else {"timezone": zone, "rules": []}


def hours(rule: Json, span: Span) -> Iterator[Span]:
    """The stretches that touch the span. Local days: a summer-time change moves them in UTC and not on the wall."""
    zone = ZoneInfo(rule["timezone"])
    day, last = span.start.astimezone(zone).date() - DAY, span.end.astimezone(zone).date() + DAY
    while day <= last:
        for interval in _intervals(rule["rules"], day):
            stretch = Span(_at(day, interval["from"], zone), _at(day, interval["to"], zone))
            if stretch.overlaps(span):
                yield stretch
        day += DAY


def _intervals(rules: list[Json], day: date) -> list[Json]:
    """A rule for the date replaces the one for the day of the week."""
    dated = [rule for rule in rules if rule["type"] == "date" and rule["date"] == day.isoformat()]
    chosen = dated or [rule for rule in rules if rule["type"] == "wday" and rule["wday"] == WEEKDAYS[day.weekday()]]
    return [interval for rule in chosen for interval in rule["intervals"]]


def _at(day: date, text: str, zone: ZoneInfo) -> datetime:
    if text == "24:00":
        day, text = day + DAY, "00:00"
    return datetime.combine(day, time.fromisoformat(text), zone).astimezone(UTC)


def taken(known: CalendlyState, host_id: str, without: str | None = None) -> list[Span]:
    """Active events of any type with their buffers, and external rows. `without` gives one event its time back."""
    spans = [Span(*row.buffered) for row in active_events(known, host_id) if row.id != without]
    return spans + [Span(row.start, row.end) for row in known.busy.values() if row.user_id == host_id]


def active_events(known: CalendlyState, host_id: str) -> list[Event]:
    return [row for row in known.events.values() if row.owner_id == host_id and row.status == "active"]


def open_group(known: CalendlyState, event_type: EventType, start: datetime) -> Event | None:
    """The group event at that time, full or not."""
    if event_type.kind != "group":
        return None
    events = active_events(known, event_type.owner_id)
    return next((row for row in events if row.type_id == event_type.id and row.start == start), None)


def slots(known: CalendlyState, event_type: EventType, span: Span, now: datetime, without: str | None = None) -> Iterator[Slot]:
    """Free starts within `start <= slot < end`, on the grid of local wall-clock time."""
    rule, earliest = rule_of(known, event_type), now + timedelta(minutes=event_type.notice)
    # Nobody waits for an answer about the next thousand years.
    span = Span(max(span.start, now), min(span.end, now + 730 * DAY))
    if span.start >= span.end:
        return
    busy = taken(known, event_type.owner_id, without)
    for stretch in sorted(set(hours(rule, span)), key=lambda one: one.start):
        start = _first_on_grid(stretch.start, event_type.interval, ZoneInfo(rule["timezone"]))
        while start + event_type.length <= stretch.end and start < span.end:
            if start >= span.start and start > now and start >= earliest:
                yield from _free(known, event_type, start, busy)
            start += timedelta(minutes=event_type.interval)


def _first_on_grid(moment: datetime, step: int, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    return moment + timedelta(minutes=-(local.hour * 60 + local.minute) % step)


def _free(known: CalendlyState, event_type: EventType, start: datetime, busy: list[Span]) -> Iterator[Slot]:
    """A group event stays open at its own time until it is full."""
    group = open_group(known, event_type, start)
    if group is not None:
        remaining = group.limit - len(known.active_invitees(group))
        if remaining > 0:
            yield Slot(start, remaining)
        return
    before, after = timedelta(minutes=event_type.buffer_before), timedelta(minutes=event_type.buffer_after)
    wide = Span(start - before, start + event_type.length + after)
    if not any(wide.overlaps(one) for one in busy):
        yield Slot(start, event_type.limit)


def is_free(known: CalendlyState, event_type: EventType, start: datetime, now: datetime, without: str | None = None) -> bool:
    """Whether exactly this start would be listed."""
    return any(slot.start == start for slot in slots(known, event_type, Span(start, start + timedelta(seconds=1)), now, without))
