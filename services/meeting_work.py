"""Making a video meeting follow its bookings: a job that may run any number of times, at any moment.

    no meeting yet      intent (`sent_at`) -> one call -> id and link. Making one is not idempotent: after a lost answer
                        the host's list is searched for our mark, and it is made again only when it is not there and the
                        provider can no longer be working on it
    other time          changed there; the link stays
    no longer needed    deleted there; what is gone already is as good
    changed there       put back: the booking is what people agreed on

What bears our mark and belongs to nothing is swept up.
"""

import hashlib
from datetime import datetime, timedelta

from peewee import fn

from models import Booking, BookingChange, EventType, LinkedAccount, Meeting, Participant, User
from models.base import new_id
from services import claims, drift, tokens
from services.errors import InvalidClient, NotSent, OutcomeUnknown, PlanRequired, Problem, RateLimited, Refused
from services.logging import get_logger
from services.meetings import LOOKED_FOR_AGAIN, accounts_of, bookings_of, minutes_of, row_of, start_of
from services.providers.base import MeetingWish, RemoteMeeting
from services.providers.transport import EXCHANGE_LIMIT, WRITE_LIMIT
from services.runtime import Runtime

log = get_logger("meetings")

OPEN = ("PENDING", "CONFIRMED")
CLOCK_SKEW = timedelta(seconds=30)
SENDS_WITHIN = timedelta(seconds=10)
"""After saying that it is sent, it is sent at once; the quarantine counts from there."""
SWEPT_EVERY = timedelta(hours=1)


def settle(rt: Runtime, meeting_id: str) -> timedelta | None:
    """Bring one meeting in step with its bookings; answers in how long to look again. Raises ProviderError and Problems."""
    row = Meeting.get_or_none(Meeting.id == meeting_id)
    if row is None or row.adopted:
        return None
    bookings = bookings_of(row)
    needed = [b for b in bookings if b.status in OPEN and not b.has_conference]
    account = _account(rt, row, needed or bookings)
    if account is None:
        return None
    try:
        wait = _keep(rt, row, account, needed) if needed else _remove(rt, row, account)
    except (RateLimited, InvalidClient) as error:
        _tell(rt, account, "RATE_LIMITED" if isinstance(error, RateLimited) else "CLIENT_MISCONFIGURED", getattr(error, "retry_at", None))
        raise
    except PlanRequired:
        _tell(rt, account, "PLAN_REQUIRED", None)
        raise
    over = account.retry_at is None or account.retry_at <= rt.clock.now()  # what else went well says nothing about a limit
    if account.problem_code in {"RATE_LIMITED", "CLIENT_MISCONFIGURED"} and over:
        _tell(rt, account, None, None)
    return wait


def _account(rt: Runtime, row: Meeting, bookings: list[Booking]) -> LinkedAccount | None:
    """The account that made it; for a new one the coach's. None: there is nothing to do without one."""
    if row.linked_account_id is not None:
        made_by: LinkedAccount = LinkedAccount.get_by_id(row.linked_account_id)
        return made_by if made_by.connected else None
    return next((account for booking in bookings for account in accounts_of(rt, booking)), None)


def _tell(rt: Runtime, account: LinkedAccount, code: str | None, retry_at: datetime | None) -> None:
    """What keeps meetings from being made shows on the connection; what only the person can repair stays."""
    passes = LinkedAccount.problem_code.is_null() | LinkedAccount.problem_code.not_in(tokens.NEEDS_PERSON)
    tokens.set_problem(rt, account.id, (LinkedAccount.id == account.id) & passes, {"problem_code": code, "retry_at": retry_at})


def _host_id(account: LinkedAccount) -> str | None:
    return str(account.external_id) if account.kind == tokens.SERVER_TO_SERVER else None


def _keep(rt: Runtime, row: Meeting, account: LinkedAccount, bookings: list[Booking]) -> timedelta | None:
    booking = bookings[0]
    if booking.end <= rt.clock.now():
        return None  # it took place; its recordings may still come
    wish = _wish(row, booking)
    if row.external_id is None or row.deleted:
        if not any(b.status == "CONFIRMED" and b.event_type_id and b.event_type.creates_meeting for b in bookings):
            return None
        return _make(rt, row, account, wish, bookings)
    provider, auth = rt.meetings(account.provider), tokens.auth_of(account)
    there = provider.meeting(auth, row.external_id)
    if there is None:
        drift.note(booking, "CHANGED", "Its video meeting was deleted at the provider and is made anew.", key=row.external_id)
        Meeting.update(external_id=None, join_url=None, sent_at=None).where(Meeting.id == row.id).execute()
        return _make(rt, Meeting.get_by_id(row.id), account, wish, bookings)
    for other in bookings:
        _tell_history(rt, other, there)  # who joined a group event later has it in their history too
    if (there.start, there.minutes, row.records) == (wish.start, wish.minutes, wish.record):
        _store(row, account, there, records=wish.record)
        return None
    if there.start not in {row.start, row.asked_start}:
        moved = f"{row.external_id}:{there.start}"
        drift.note(booking, "CHANGED", "Its video meeting was moved at the provider and is put back.", key=moved)
    Meeting.update(asked_start=wish.start).where(Meeting.id == row.id).execute()
    rt.step("meeting.changing")
    provider.update_meeting(auth, row.external_id, wish)
    rt.step("meeting.changed")
    changed = provider.meeting(auth, row.external_id)
    if changed is not None:
        _store(row, account, changed, records=wish.record)
    return None


def _wish(row: Meeting, booking: Booking) -> MeetingWish:
    records = bool(booking.event_type_id and booking.event_type.records_meeting)
    coach = Participant.get_or_none((Participant.booking == booking.id) & (Participant.role == "COACH"))
    own = User.select(fn.COALESCE(User.chosen_time_zone, User.time_zone))
    zone = own.where(User.person == coach.person_id).tuples().first() if coach else None
    return MeetingWish(booking.title, start_of(booking), minutes_of(booking), (zone[0] if zone else None) or "UTC", row.id, records)


def _make(rt: Runtime, row: Meeting, account: LinkedAccount, wish: MeetingWish, bookings: list[Booking]) -> timedelta | None:
    provider, auth = rt.meetings(account.provider), tokens.auth_of(account)
    if row.sent_at is not None:
        found, wait = _look_for(rt, row, account)
        if found is not None:
            _made(rt, row, account, found, wish, bookings)
            return timedelta(0)  # once more: what was asked for then may be another time now
        if wait is not None:
            return wait
    sent_at = rt.clock.now()
    if not _mark_sent(row, sent_at):
        return LOOKED_FOR_AGAIN  # somebody else is at it
    rt.step("meeting.sent")
    if rt.clock.now() - sent_at > SENDS_WITHIN:
        return LOOKED_FOR_AGAIN  # frozen meanwhile: somebody else may be about to make it
    try:
        made = provider.create_meeting(auth, _host_id(account), wish)
    except (NotSent, Refused, Problem):
        Meeting.update(sent_at=None).where((Meeting.id == row.id) & Meeting.external_id.is_null()).execute()
        raise
    except OutcomeUnknown:
        return LOOKED_FOR_AGAIN
    rt.step("meeting.answered")
    _made(rt, row, account, made, wish, bookings)
    rt.step("meeting.stored")
    return None


def _look_for(rt: Runtime, row: Meeting, account: LinkedAccount) -> tuple[RemoteMeeting | None, timedelta | None]:
    """(what bears our mark, how long to wait before its absence counts). More than one: the first stays."""
    provider, auth = rt.meetings(account.provider), tokens.auth_of(account)
    found = sorted((m for mark, m in provider.marked_meetings(auth, _host_id(account)) if mark == row.id), key=lambda m: m.external_id)
    for extra in found[1:]:
        provider.delete_meeting(auth, extra.external_id)
    if found:
        return found[0], None
    # it may be refused for its token, renew that and be sent once more, and the provider may still work on it
    works = rt.providers[account.provider].capabilities.processing_limit
    takes = SENDS_WITHIN + 2 * WRITE_LIMIT + EXCHANGE_LIMIT + works + CLOCK_SKEW
    sent_at: datetime = row.sent_at
    left = sent_at + takes - rt.clock.now()
    return None, left if left > timedelta(0) else None


def _mark_sent(row: Meeting, now: datetime) -> bool:
    """One conditional statement: of two workers one sends."""
    as_read = Meeting.sent_at.is_null() if row.sent_at is None else (Meeting.sent_at == row.sent_at)
    free = (Meeting.id == row.id) & (Meeting.external_id.is_null() | Meeting.deleted) & as_read
    return bool(Meeting.update(sent_at=now, external_id=None, deleted=False).where(free).execute())


def _made(rt: Runtime, row: Meeting, account: LinkedAccount, made: RemoteMeeting, wish: MeetingWish, bookings: list[Booking]) -> None:
    _store(row, account, made, records=wish.record)
    log.info("meeting made", meeting=row.id, provider=account.provider)
    for booking in bookings:
        Booking.update(version=Booking.version + 1, meeting=row.id).where(Booking.id == booking.id).execute()
        _tell_history(rt, booking, made)


def _tell_history(rt: Runtime, booking: Booking, made: RemoteMeeting) -> None:
    facts = f"MEETING_ADDED:{booking.id}:{made.external_id}"
    list(
        BookingChange.insert(
            id=new_id(),
            booking=booking.id,
            logical_key=hashlib.sha256(facts.encode()).hexdigest(),
            kind="MEETING_ADDED",
            at=rt.clock.now(),
            source="CONVENE",
        )
        .on_conflict(conflict_target=[BookingChange.logical_key], action="nothing")
        .returning(BookingChange.id)
        .tuples()
        .execute()
    )


def _store(row: Meeting, account: LinkedAccount, there: RemoteMeeting, *, records: bool) -> None:
    Meeting.update(
        provider=account.provider,
        linked_account=account.id,
        external_id=there.external_id,
        join_url=there.join_url,
        start=there.start,
        minutes=there.minutes,
        records=records,
        deleted=False,
        sent_at=None,
    ).where(Meeting.id == row.id).execute()


def _remove(rt: Runtime, row: Meeting, account: LinkedAccount) -> timedelta | None:
    if row.deleted:
        return None
    external_id = row.external_id
    if external_id is None and row.sent_at is not None:
        found, wait = _look_for(rt, row, account)
        if found is None and wait is not None:
            return wait
        external_id = found.external_id if found else None
    if external_id is not None:
        rt.step("meeting.deleting")
        rt.meetings(account.provider).delete_meeting(tokens.auth_of(account), external_id)
        rt.step("meeting.deleted")
        log.info("meeting deleted", meeting=row.id, provider=account.provider)
    Meeting.update(deleted=True, join_url=None, sent_at=None, linked_account=account.id).where(Meeting.id == row.id).execute()
    return None


# ---- sweeping -------------------------------------------------------------------------------------------------------------


def sweep(rt: Runtime, account_id: str) -> timedelta | None:
    """The job: what bears our mark and belongs to nothing goes; what should be there and is not is made.

    A mark that we do not know is another installation's. Raises ProviderError and Problems.
    """
    account = LinkedAccount.get_or_none((LinkedAccount.id == account_id) & LinkedAccount.connected)
    if account is None:
        return None
    provider, auth = rt.meetings(account.provider), tokens.auth_of(account)
    seen = set()
    for mark, there in provider.marked_meetings(auth, _host_id(account)):
        seen.add(there.external_id)
        row = Meeting.get_or_none(Meeting.id == mark)
        if row is None:
            continue
        if not row.deleted and (row.external_id == there.external_id or (row.external_id is None and row.sent_at is not None)):
            # it is this one, or the one whose answer was lost; `settle` sees whether it is still needed, and as it should be
            if not _as_it_should_be(row, there):
                claims.schedule("meeting", row.id, rt.clock.now())
            continue
        provider.delete_meeting(auth, there.external_id)
        drift.note_account(account, "ORPHAN", "A video meeting of ours belonged to nothing and was deleted.", key=there.external_id)
    for meeting_id in _upcoming(rt, account, seen):
        claims.schedule("meeting", meeting_id, rt.clock.now())
    return SWEPT_EVERY


def _as_it_should_be(row: Meeting, there: RemoteMeeting) -> bool:
    needed = [b for b in bookings_of(row) if b.status in OPEN and not b.has_conference]
    return bool(needed) and row.external_id is not None and (there.start, there.minutes) == (start_of(needed[0]), minutes_of(needed[0]))


def _upcoming(rt: Runtime, account: LinkedAccount, seen: set[str]) -> list[str]:
    """Meetings that the coach should have and has not: from before the account was linked, lost on the way, or gone there."""
    person = User.get_by_id(account.user_id).person_id
    coached = Participant.select(Participant.booking).where((Participant.person == person) & (Participant.role == "COACH"))
    rows = (
        Booking.select(Booking, EventType)
        .join(EventType)
        .where(
            Booking.id.in_(coached)
            & (Booking.status == "CONFIRMED")
            & (Booking.end > rt.clock.now())
            & ~Booking.has_conference
            & EventType.creates_meeting
        )
    )
    found = []
    for booking in list(rows):
        meeting_id = booking.meeting_id or row_of(rt, booking)
        row = Meeting.get_by_id(meeting_id)
        if booking.meeting_id is None:
            Booking.update(meeting=meeting_id).where(Booking.id == booking.id).execute()
        gone = row.linked_account_id == account.id and row.external_id not in seen
        if row.external_id is None or row.deleted or gone:
            found.append(meeting_id)
    return found
