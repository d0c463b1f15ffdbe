"""Free slots of an event type, or of a booking that is to move: the coach's side.

Cached per linked account, subject and UTC day, with the time each day was told. A warm read makes no provider call.
Grid and rules are the provider's own; here they are only kept, cut to the window and turned into local days. What a coach
with several linked accounts has in the others is taken out: to whoever books it is one calendar.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from models import EventType, LinkedAccount, Participant, User
from services import availability_cache as cache
from services import bookings, calendars, intervals, linked_accounts, tokens
from services.availability_cache import Days
from services.calendars import DAY, Elsewhere, Source, Subject
from services.errors import FieldProblem, InvalidInput, NotFound, ProviderError, ProviderFailure
from services.identity import Viewer, zone
from services.intervals import Span
from services.runtime import Runtime

LONGEST_WINDOW = timedelta(days=92)
FARTHEST = timedelta(days=731)
WARM_DAYS = 14


@dataclass(frozen=True)
class Notice:
    """Something the asker should know; `code` is a WarningCode."""

    code: str
    message: str
    connect_provider: str | None = None


@dataclass(frozen=True)
class Availability:
    """Starts in UTC, ascending, each free for `minutes`; `zone_name` is the zone that was asked for."""

    starts: list[datetime]
    minutes: int
    zone_name: str
    computed_at: datetime
    sources: list[Source]
    warnings: list[Notice] = field(default_factory=list)

    def days(self) -> list[tuple[date, list[datetime]]]:
        """The same starts by local day of the zone, right across a change to summer time."""
        local = zone(self.zone_name)
        grouped: dict[date, list[datetime]] = {}
        for start in self.starts:
            grouped.setdefault(start.astimezone(local).date(), []).append(start)
        return sorted(grouped.items())


def find(
    rt: Runtime,
    viewer: Viewer,
    *,
    booking_id: str | None,
    event_type_id: str | None,
    start: datetime,
    end: datetime,
    minutes: int | None,
    zone_name: str | None,
    max_age: timedelta,
) -> Availability:
    """Free starts in [start, end). Raises NotFound, InvalidInput, ConnectionUnusable and ProviderFailure."""
    _check_window(rt.clock.now(), start, end, max_age)
    if booking_id is not None:
        subject = of_booking(rt, viewer, booking_id, minutes)
    else:
        subject = _of_event_type(rt, viewer, event_type_id or "", minutes)
    now = rt.clock.now()
    starts, as_of, asked, error = _starts(rt, subject, max(start, now), end, max_age)
    warnings = _warnings(rt, viewer, subject)
    if error:
        warnings.append(Notice("STALE", f"These times were last checked at {as_of:%H:%M} UTC; the calendar cannot be reached now."))
    state = calendars.state_of(asked=asked, error=error)
    source = Source(subject.host_id, subject.host_name, "COACH", subject.account.provider, state, as_of)
    others = calendars.elsewhere(rt, subject, max(start, now), end, max_age) if end > now else Elsewhere()
    if others.unknown:
        warnings.append(Notice("SOURCE_UNAVAILABLE", "Another calendar of the coach's cannot be asked now."))
    free = _without(starts, subject.minutes, others.busy)
    return Availability(free, subject.minutes, zone_name or viewer.time_zone, now, [source, *others.sources], warnings)


def _without(starts: list[datetime], minutes: int, busy: list[Span]) -> list[datetime]:
    if not busy:
        return starts
    free = set(intervals.free_of([intervals.minute(at) for at in starts], minutes, busy))
    return [at for at in starts if intervals.minute(at) in free]


def _check_window(now: datetime, start: datetime, end: datetime, max_age: timedelta) -> None:
    problems = []
    if end <= start:
        problems.append(FieldProblem(("window", "end"), "The window must end after it starts."))
    elif end > now + FARTHEST:
        problems.append(FieldProblem(("window", "end"), "The window may reach at most two years ahead."))
    elif end - start > LONGEST_WINDOW:
        problems.append(FieldProblem(("window", "end"), f"The window may span at most {LONGEST_WINDOW.days} days."))
    if max_age < timedelta(0):
        problems.append(FieldProblem(("maxAgeSeconds",), "maxAgeSeconds must be 0 or more."))
    if problems:
        raise InvalidInput(*problems)


# ---- subjects ------------------------------------------------------------------------------------------------------------


def _of_event_type(rt: Runtime, viewer: Viewer, event_type_id: str, minutes: int | None) -> Subject:
    row = EventType.get_or_none((EventType.id == event_type_id) & EventType.active)
    account = _account(row.linked_account_id) if row else None
    if row is None or account is None or (row.hidden and row.host_id != viewer.person_id):
        raise NotFound("There is no such event type.")
    offered = {row.duration_minutes, *row.duration_options}
    if minutes is not None and minutes not in offered:
        raise InvalidInput.of("durationMinutes", f"This event type lasts {', '.join(map(str, sorted(offered)))} minutes.")
    own = minutes if minutes not in {None, row.duration_minutes} else None
    if own is not None and not rt.providers[row.provider].capabilities.slots_by_length:
        label = rt.providers[row.provider].label
        raise InvalidInput.of("durationMinutes", f"{label} tells free times for {row.duration_minutes} minutes only.")
    user = User.get_by_id(account.user_id)
    return Subject(account, row.external_id, minutes or row.duration_minutes, own, None, row.host_id, user.name or account.name or "")


def of_booking(rt: Runtime, viewer: Viewer, booking_id: str, minutes: int | None = None) -> Subject:
    """Where a booking of the viewer's can move. Raises NotFound, InvalidInput and ConnectionUnusable."""
    booking = bookings.visible(viewer, booking_id)
    length = bookings.minutes_of(booking)
    if minutes is not None and minutes != length:
        raise InvalidInput.of("durationMinutes", f"A move cannot resize: this booking lasts {length} minutes.")
    account = bookings.host_account(booking)
    host = Participant.get_or_none((Participant.booking == booking.id) & (Participant.role == "COACH"))
    if account is None or host is None or booking.event_type_external_id is None:
        raise NotFound("The coach's calendar is not connected, so there are no times to offer for this booking.")
    if account.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, account)
    event_type = EventType.get_or_none((EventType.provider == booking.provider) & (EventType.external_id == booking.event_type_external_id))
    own = None if event_type is not None and event_type.duration_minutes == length else length
    if own is not None and event_type is not None and not rt.providers[booking.provider].capabilities.slots_by_length:
        # free times are told for the event type's present length, and must not pass for another
        own, length = None, event_type.duration_minutes
    return Subject(account, booking.event_type_external_id, length, own, booking, host.person_id, host.name)


def _account(account_id: str | None) -> LinkedAccount | None:
    found: LinkedAccount | None = LinkedAccount.get_or_none((LinkedAccount.id == account_id) & LinkedAccount.connected)
    return found


def _warnings(rt: Runtime, viewer: Viewer, subject: Subject) -> list[Notice]:
    if subject.moving is None or subject.host_id == viewer.person_id:
        return []
    warning = mentee_not_connected(rt, viewer, subject.moving.provider)
    return [warning] if warning else []


def mentee_not_connected(rt: Runtime, viewer: Viewer, slug: str) -> Notice | None:
    """What a mentee without a usable link is told before and after moving a booking."""
    account = LinkedAccount.get_or_none((LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug) & LinkedAccount.connected)
    if account is not None and account.problem_code not in tokens.NEEDS_PERSON:
        return None
    return Notice(
        "MENTEE_NOT_CONNECTED",
        "We can't check your calendar for conflicts without access. The times shown are based on the coach's availability. "
        f"Want to connect your {rt.providers[slug].label} account now?",
        slug,
    )


# ---- cache ---------------------------------------------------------------------------------------------------------------


def _starts(
    rt: Runtime, subject: Subject, start: datetime, end: datetime, max_age: timedelta
) -> tuple[list[datetime], datetime, bool, bool]:
    """(starts, as of, was the provider asked, could it not be reached). Raises when nothing at all is known."""
    now = rt.clock.now()
    if end <= start:
        return [], now, False, False
    wanted = cache.days_of(start, end)
    cached = cache.known(subject.account.id, subject.key, wanted)
    fresh_from = now - max_age
    missing = [d for d in wanted if d not in cached or max_age == timedelta(0) or cached[d][1] < fresh_from]
    error = False
    if missing:
        try:
            cached |= fetch(rt, subject, missing[0], missing[-1])
        except (ProviderError, ProviderFailure) as failure:
            if any(d not in cached for d in wanted):
                if isinstance(failure, ProviderError):
                    raise linked_accounts.failure(rt, subject.account.provider, failure) from failure
                raise
            error = True
    minutes = (m for d in wanted for m in cached[d][0])
    starts = [at for at in (datetime.fromtimestamp(m * 60, UTC) for m in minutes) if start <= at < end]
    return starts, min(cached[d][1] for d in wanted), bool(missing) and not error, error


def fetch(rt: Runtime, subject: Subject, first: str, last: str) -> Days:
    """Ask the provider for whole UTC days, in pieces that it accepts, and keep the answer. Raises ProviderError, Problems."""
    provider = rt.scheduling(subject.account.provider)
    piece = provider.capabilities.slots_window
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    end = datetime.fromisoformat(last).replace(tzinfo=UTC) + DAY
    as_of, found = rt.clock.now(), []
    while start < end:
        until = min(start + piece, end)
        found += provider.free_starts(
            tokens.auth_of(subject.account),
            subject.event_type_external_id,
            start=start,
            end=until,
            minutes=subject.own_minutes,
            moving=subject.moving.external_id if subject.moving else None,
        )
        start = until
    days: Days = {day: ([], as_of) for day in cache.days_of(datetime.fromisoformat(first).replace(tzinfo=UTC), end)}
    for at in found:
        days[at.date().isoformat()][0].append(int(at.timestamp()) // 60)
    cache.keep(subject.account.id, subject.key, days)
    return days


def warm(rt: Runtime, account_id: str) -> None:
    """The job: keep the coming weeks of an account in use ready. Raises ProviderError and Problems."""
    account = _account(account_id)
    now = rt.clock.now()
    if account is None or account.last_used_at is None or now - account.last_used_at > tokens.USED_WITHIN:
        return
    user, last = User.get_by_id(account.user_id), (now + timedelta(days=WARM_DAYS)).date().isoformat()
    if calendars.others_of(rt, account):
        calendars.fetch_busy(rt, account, now.date().isoformat(), last)
    rows = EventType.select().where((EventType.linked_account == account_id) & EventType.active & ~EventType.hidden)
    # a list: an open cursor would keep its snapshot on a connection that is given back before the provider is called
    for row in list(rows.order_by(EventType.id).limit(10)):
        if rt.stopping.is_set():
            return
        subject = Subject(account, row.external_id, row.duration_minutes, None, None, row.host_id, user.name)
        fetch(rt, subject, now.date().isoformat(), last)
