"""Free slots of an event type, or of a booking that is to move: both parties considered, whatever their providers.

The coach's side begins with the provider's own slots: grid, hours, buffers and rules are its own. They are cached per linked
account, subject and UTC day, with the time each day was told; a warm read makes no provider call. What either party has
elsewhere is taken out (services/sides.py).
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from models import Booking, EventType, LinkedAccount, Participant, User
from services import availability_cache as cache
from services import bookings, calendars, intervals, linked_accounts, sides, tokens
from services.availability_cache import Days
from services.calendars import DAY, Source, Subject
from services.errors import FieldProblem, InvalidInput, NotFound, ProviderError, ProviderFailure
from services.identity import Viewer, zone
from services.notices import Notice, mentee_not_connected
from services.runtime import Runtime
from services.sides import Side

LONGEST_WINDOW = timedelta(days=92)
FARTHEST = timedelta(days=731)
WARM_DAYS = 14
LOOK_BACK, LOOK_AHEAD = timedelta(days=1), timedelta(days=8)
ALTERNATIVES = 5


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
    """Free starts in [start, end) for all who must be free. Raises NotFound, InvalidInput, ConnectionUnusable, ProviderFailure."""
    _check_window(rt.clock.now(), start, end, max_age)
    subject, attends = target(rt, viewer, booking_id=booking_id, event_type_id=event_type_id, minutes=minutes)
    now = rt.clock.now()
    found = mutual(rt, subject, attends, max(start, now), end, max_age)
    warnings = []
    if attends == viewer.person_id and found.mentee is not None and not found.mentee.linked:
        warnings.append(not_connected(rt, attends, subject.account.provider))
    if found.stale:
        warnings.append(Notice("STALE", f"These times were last checked at {found.as_of:%H:%M} UTC; the calendar cannot be reached now."))
    if found.coach.unknown:
        warnings.append(Notice("SOURCE_UNAVAILABLE", "Another calendar of the coach's cannot be asked now."))
    if found.mentee is not None and found.mentee.unknown:
        warnings.append(Notice("SOURCE_UNAVAILABLE", "The mentee's calendar cannot be asked now: these times leave it out."))
    sources = [found.source, *found.coach.sources, *(found.mentee.sources if found.mentee else [])]
    return Availability(found.starts(), subject.minutes, zone_name or viewer.time_zone, now, sources, warnings)


def not_connected(rt: Runtime, person_id: str, slug: str) -> Notice:
    """What somebody without a usable link is told who attends at this provider."""
    return mentee_not_connected(rt.providers[calendars.to_connect(rt, person_id, slug)])


@dataclass(frozen=True)
class Mutual:
    """What is known of a window: `told` are the starts that the coach's provider offers, in minutes."""

    subject: Subject
    told: list[int]
    source: Source
    coach: Side
    mentee: Side | None
    as_of: datetime
    stale: bool

    def free(self, *, mentee: bool = True) -> list[int]:
        """Those that work for the coach, and (unless told otherwise) for the mentee within their hours."""
        length = self.subject.minutes
        free = intervals.free_of(self.told, length, self.coach.taken())
        if mentee and self.mentee is not None:
            free = intervals.free_of(free, length, self.mentee.taken())
            if self.mentee.hours is not None:
                free = intervals.within(free, length, self.mentee.hours)
        return free

    def starts(self) -> list[datetime]:
        return [at(minute) for minute in self.free()]


def at(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def mutual(rt: Runtime, subject: Subject, attends: str | None, start: datetime, end: datetime, max_age: timedelta) -> Mutual:
    """Both parties' time in [start, end). `attends`: the person who attends, where one does. Raises as `find` does."""
    starts, as_of, asked, error = _starts(rt, subject, start, end, max_age)
    state = calendars.state_of(asked=asked, error=error)
    source = Source(subject.host_id, subject.host_name, "COACH", subject.account.provider, state, as_of)
    # what begins inside may end after it
    until = max([end, *(one + timedelta(minutes=subject.minutes) for one in starts[-1:])]) if end > start else start
    coach = sides.coach(rt, subject, start, until, max_age)
    mentee = sides.mentee(rt, subject, attends, start, until, max_age) if attends else None
    return Mutual(subject, [intervals.minute(one) for one in starts], source, coach, mentee, as_of, stale=error)


def alternatives(rt: Runtime, subject: Subject, attends: str | None, start: datetime) -> list[tuple[datetime, datetime]]:
    """Up to five slots near `start` that work for everybody: the next ones, and where there are none the ones before.

    Help and no promise: where it cannot be asked there are none.
    """
    now = rt.clock.now()
    try:
        found = mutual(rt, subject, attends, max(start - LOOK_BACK, now), max(start, now) + LOOK_AHEAD, timedelta(minutes=5))
    except (ProviderError, ProviderFailure):
        return []
    free = [one for one in found.starts() if one != start]
    near = [one for one in free if one > start] + [one for one in reversed(free) if one < start]
    length = timedelta(minutes=subject.minutes)
    return [(one, one + length) for one in sorted(near[:ALTERNATIVES])]


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


def target(
    rt: Runtime, viewer: Viewer, *, booking_id: str | None, event_type_id: str | None, minutes: int | None
) -> tuple[Subject, str | None]:
    """What slots are asked of, and the person who attends: the booking's mentee, or whoever would book."""
    if booking_id is not None:
        subject = subject_of(rt, bookings.visible(viewer, booking_id), minutes)
        assert subject.moving is not None
        # guests, and whoever booked for somebody else, have no business in the mentee's calendar
        looks = viewer.is_admin or bookings.role_of(viewer, subject.moving) in {"COACH", "MENTEE"}
        return subject, attendee_of(subject.moving) if looks else None
    subject = of_event_type(rt, viewer, event_type_id or "", minutes)
    return subject, None if subject.host_id == viewer.person_id else viewer.person_id


def attendee_of(booking: Booking | None) -> str | None:
    mentee = sides.mentee_of(booking) if booking else None
    return mentee.person_id if mentee else None


def of_event_type(rt: Runtime, viewer: Viewer, event_type_id: str, minutes: int | None) -> Subject:
    """Its free slots, of one of its lengths. Raises NotFound and InvalidInput."""
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
    return subject_of_event_type(row, account, minutes)


def subject_of_event_type(row: EventType, account: LinkedAccount, minutes: int | None) -> Subject:
    own = minutes if minutes not in {None, row.duration_minutes} else None
    name = User.get_by_id(account.user_id).name or account.name or ""
    return Subject(account, row.external_id, minutes or row.duration_minutes, own, None, row.host_id, name)


def subject_of(rt: Runtime, booking: Booking, minutes: int | None = None) -> Subject:
    """Where a booking can move. Raises NotFound, InvalidInput and ConnectionUnusable."""
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
