"""Moving and cancelling a booking: both through operations, everything or nothing, and both parties told.

Cal.com answers a move with a *new* booking, is not idempotent, and sends its webhook before it answers. So: intent
first, one call, and whatever is not known is read back through the old booking's successor, never sent again.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from models import Booking, LinkedAccount, Notification, Operation, Participant
from models.base import from_ms, to_ms
from services import availability, booking_records, bookings, operations, people, tokens
from services.availability import Notice, mentee_not_connected
from services.bookings import minutes_of
from services.errors import (
    BookingNotCancellable,
    BookingNotReschedulable,
    Conflict,
    ConnectionUnusable,
    FieldProblem,
    InProgress,
    InvalidInput,
    NotPermitted,
    NotSent,
    OutcomeUnknown,
    PolicyViolation,
    Problem,
    ProviderError,
    ProviderFailure,
    Refused,
    SlotDetails,
    SlotUnavailable,
    SourceUnverified,
    StaleBooking,
)
from services.identity import Viewer
from services.linked_accounts import failure
from services.logging import get_logger
from services.operations import Intent, Plan
from services.providers.base import AccountAuth, Auth, RemoteBooking
from services.runtime import Runtime

log = get_logger("rescheduling")

LONGEST_REASON = 1000
ALTERNATIVES = 5
LOOK_AHEAD = timedelta(days=8)
OPEN_STATUSES = {"PENDING", "CONFIRMED"}
GIVE_UP_AFTER = timedelta(hours=24)
CONFLICT = 409
BAD_REQUEST = 400
FORBIDDEN = 403


@dataclass(frozen=True)
class MoveRequest:
    booking_id: str
    new_start: datetime
    new_end: datetime | None
    reason: str | None
    expected_version: int | None
    accept_conflicts: bool


@dataclass(frozen=True)
class Changed:
    """A change that took place. `pending`: moved, but the coach must confirm."""

    booking_id: str
    pending: bool = False
    previous_start: datetime | None = None
    previous_end: datetime | None = None
    warnings: list[Notice] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OnProviderPage:
    url: str
    message: str


# ---- what may be done ------------------------------------------------------------------------------------------------------


def move_blockers(booking: Booking, role: str | None, host: LinkedAccount | None, now: datetime, *, busy: bool) -> list[str]:
    """RescheduleBlocker names, most final first; empty when the viewer may try."""
    found = []
    if role not in {"COACH", "MENTEE"}:
        found.append("NOT_A_PARTY")
    if booking.status not in OPEN_STATUSES:
        found.append("STATUS")
    if booking.end <= now:
        found.append("PAST")
    if booking.is_group:
        found.append("GROUP_EVENT")
    if host is None:
        found.append("HOST_NOT_CONNECTED")
    if busy:
        found.append("OPERATION_IN_PROGRESS")
    return found


def page_instead(rt: Runtime, booking: Booking, blockers: list[str]) -> str | None:
    """The provider's own page, where nothing but our missing access (or a group) stands in the way."""
    if not blockers or not set(blockers) <= {"GROUP_EVENT", "HOST_NOT_CONNECTED"}:
        return None
    return rt.providers[booking.provider].booking_page(booking.external_id)


SENTENCES = {
    "NOT_A_PARTY": "Only the coach and the mentee may change this booking.",
    "STATUS": "This booking is not open any more.",
    "PAST": "This booking is over.",
    "GROUP_EVENT": "A group event cannot be changed for everybody here.",
    "HOST_NOT_CONNECTED": "The coach's calendar is not connected, so the booking cannot be changed here.",
    "OPERATION_IN_PROGRESS": "Another change of this booking is under way. Try again in a moment.",
}


def _party(viewer: Viewer, booking: Booking, what: str) -> str:
    role = bookings.role_of(viewer, booking)
    if role not in {"COACH", "MENTEE"}:
        raise NotPermitted(f"Only the coach and the mentee may {what} this booking.")
    return role


# ---- moving --------------------------------------------------------------------------------------------------------------


def reschedule(rt: Runtime, viewer: Viewer, request: MoveRequest, key: str) -> Changed | OnProviderPage:
    """Move a booking. Raises the problems of RescheduleBookingResult, and InProgress when the outcome is not known yet.

    The same key again gives the same outcome, also after a crash.
    """
    payload = {
        "bookingId": request.booking_id,
        "newStart": to_ms(request.new_start),
        "newEnd": to_ms(request.new_end) if request.new_end else None,
        "reason": request.reason,
        "expectedVersion": request.expected_version,
        "acceptConflicts": request.accept_conflicts,
    }
    intent = Intent("rescheduleBooking", key, payload)
    if (earlier := operations.replay(viewer, intent)) is not None:
        return _recorded_outcome(rt, earlier)
    booking = bookings.visible(viewer, request.booking_id)
    role = _party(viewer, booking, "move")
    new_end = request.new_start + (booking.end - booking.start)
    _validate_move(rt, booking, request, new_end)
    blockers = move_blockers(booking, role, bookings.host_account(booking), rt.clock.now(), busy=False)
    if page := page_instead(rt, booking, blockers):
        return OnProviderPage(page, "This booking can only be moved on the provider's own page.")
    plan = Plan("MOVED", request.new_start, new_end, request.reason)
    operation, new = operations.begin(
        rt,
        viewer,
        intent,
        booking.id,
        plan,
        expected_version=request.expected_version,
        check=lambda row, parts: _check_move(rt, viewer, role, row, parts, request),
    )
    if not new:
        return _recorded_outcome(rt, operation)
    try:
        _check_coach(rt, viewer, booking.id, role, request.new_start, new_end)
        auth, by_email = _caller(rt, viewer, booking, role)
        # a token problem must show before anything counts as sent
        if isinstance(auth, AccountAuth):
            tokens.ensure_valid(rt, auth.account_id)
    except BaseException:
        operations.refuse(operation, rt.clock.now())
        raise
    if not operations.send(rt, operation):
        raise ProviderFailure("This took too long and was given up before anything was sent. Try again.", code="TIMED_OUT")
    return _move_upstream(rt, booking, operation, auth, by_email, request)


def _validate_move(rt: Runtime, booking: Booking, request: MoveRequest, new_end: datetime) -> None:
    problems = []
    if request.new_start <= rt.clock.now():
        problems.append(FieldProblem(("newStart",), "The new start lies in the past."))
    if request.new_start == booking.start:
        problems.append(FieldProblem(("newStart",), "The booking is at that time already."))
    if request.new_end is not None and request.new_end != new_end:
        problems.append(
            FieldProblem(
                ("newEnd",), f"A move cannot resize: newEnd must be newStart plus {minutes_of(booking)} minutes, or left out."
            )
        )
    if request.reason is not None and len(request.reason) > LONGEST_REASON:
        problems.append(FieldProblem(("reason",), f"The reason may have at most {LONGEST_REASON} characters."))
    # a booking that cannot be moved at all says so rather than complain of the time
    if problems and booking.status in OPEN_STATUSES and booking.end > rt.clock.now():
        raise InvalidInput(*problems)


def _check_move(
    rt: Runtime, viewer: Viewer, role: str, booking: Booking, participants: list[Participant], request: MoveRequest
) -> list[dict[str, Any]]:
    """Under the locks: state, and what Convene itself knows of everybody's time. Answers warnings to keep."""
    host = bookings.host_account(booking)
    busy = bool(bookings.busy_with_operations([booking.id]))
    blockers = move_blockers(booking, role, host, rt.clock.now(), busy=busy)
    if blockers:
        raise BookingNotReschedulable(SENTENCES[blockers[0]], *blockers)
    if host is not None and host.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, host)
    warnings = []
    if role == "MENTEE" and (warning := mentee_not_connected(rt, viewer, booking.provider)):
        warnings.append(_kept(warning))
    new_end = request.new_start + (booking.end - booking.start)
    linked_mentee_moves = role == "MENTEE" and not warnings
    conflicts = _clashes(viewer, booking, participants, request.new_start, new_end)
    if conflicts:
        coachs = any(conflict.role == "COACH" for conflict in conflicts)
        can_accept = not coachs and not linked_mentee_moves
        if not (can_accept and request.accept_conflicts):
            who = "The coach" if coachs else ("You" if role == "MENTEE" else "The mentee")
            verb = "have" if who == "You" else "has"
            raise SlotUnavailable(f"{who} {verb} something else at that time.", SlotDetails(conflicts, [], can_accept))
        warnings.append(_kept(Notice("MENTEE_CONFLICT", "The mentee has something else at that time.")))
    return warnings


def _clashes(viewer: Viewer, booking: Booking, participants: list[Participant], start: datetime, end: datetime) -> list[Conflict]:
    """Convene's own bookings and holds of the parties that overlap; of the other party only that they are busy."""
    parties = {p.person_id: p for p in participants if p.role in {"COACH", "MENTEE"}}
    found = []
    taken = (
        Participant.select(Participant.person, Booking.start, Booking.end)
        .join(Booking)
        .where(
            Participant.person.in_(list(parties))
            & (Booking.id != booking.id)
            & Booking.status.in_(sorted(OPEN_STATUSES))
            & (Booking.start < end)
            & (Booking.end > start)
        )
    )
    held = (
        Participant.select(Participant.person, Operation.hold_start, Operation.hold_end)
        .join(Booking)
        .join(Operation)
        .where(
            Participant.person.in_(list(parties))
            & (Booking.id != booking.id)
            & Operation.open
            & (Operation.hold_start < end)
            & (Operation.hold_end > start)
        )
    )
    for query, reason in ((taken, "BOOKED"), (held, "HELD")):
        for person_id, busy_from, busy_to in query.tuples():
            own = person_id == viewer.person_id
            found.append(
                Conflict(
                    person_id,
                    parties[person_id].name,
                    parties[person_id].role,
                    reason if own else "OTHER_PARTY_UNAVAILABLE",
                    max(_at(busy_from), start),
                    min(_at(busy_to), end),
                )
            )
    return found


def _at(value: Any) -> datetime:
    return value if isinstance(value, datetime) else from_ms(int(value))


def _check_coach(rt: Runtime, viewer: Viewer, booking_id: str, role: str, start: datetime, end: datetime) -> None:
    """Ask the coach's calendar now; the booking that moves does not block itself. Raises SlotUnavailable, SourceUnverified."""
    if Booking.get_by_id(booking_id).event_type_external_id is None:
        return  # a booking of a deleted event type: Cal.com itself checks the slot when it moves it
    subject = availability.of_booking(rt, viewer, booking_id)
    first = max(start - timedelta(days=1), rt.clock.now())
    try:
        days = availability.fetch(rt, subject, _day(first), _day(start + LOOK_AHEAD))
    except (ProviderError, ProviderFailure) as error:
        raise SourceUnverified(
            "The coach's calendar cannot be asked right now, so the move was not made. Try again in a moment.",
            person_id=subject.host_id,
            name=subject.host_name,
            role="COACH",
            can_accept=False,
        ) from error
    free = sorted(datetime.fromtimestamp(minute * 60, UTC) for starts, _ in days.values() for minute in starts)
    if start in free:
        return
    reason = "BUSY" if role == "COACH" else "OTHER_PARTY_UNAVAILABLE"
    length = end - start
    later = [at for at in free if at > start] + [at for at in reversed(free) if at < start]
    raise SlotUnavailable(
        "The coach is not available at that time.",
        SlotDetails(
            [Conflict(subject.host_id, subject.host_name, "COACH", reason, start, end)],
            [(at, at + length) for at in sorted(later[:ALTERNATIVES])],
        ),
    )


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _caller(rt: Runtime, viewer: Viewer, booking: Booking, role: str) -> tuple[Auth, str | None]:
    """Whose token moves it, and in whose name.

    A coach's own token settles the move at once. A mentee uses theirs or none, with their own address: Cal.com would
    accept the organiser's address from anybody and skip the coach's confirmation.
    """
    if role == "COACH":
        account = bookings.host_account(booking)
        return (AccountAuth(account.id) if account else None), None
    parts = list(Participant.select().where(Participant.booking == booking.id))
    coachs = {p.email for p in parts if p.role == "COACH"}
    own = next((p.email for p in parts if p.person_id == people.resolve(viewer.person_id)), None)
    account = LinkedAccount.get_or_none(
        (LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == booking.provider) & LinkedAccount.connected
    )
    usable = account is not None and account.problem_code not in tokens.NEEDS_PERSON
    return (AccountAuth(account.id) if usable and account else None), (own if own not in coachs else None)


def _move_upstream(
    rt: Runtime, booking: Booking, operation: Operation, auth: Auth, by_email: str | None, request: MoveRequest
) -> Changed:
    provider = rt.providers[booking.provider]
    try:
        remote = provider.reschedule(
            auth, operation.from_external_id, start=request.new_start, by_email=by_email, reason=request.reason
        )
    except NotSent as error:
        operations.refuse(operation, rt.clock.now())
        raise failure(rt, booking.provider, error) from error
    except (OutcomeUnknown, Refused) as error:
        return _read_back(rt, operation, error)
    except Problem:
        # the token went bad between the check and the call; a refused token did nothing
        operations.refuse(operation, rt.clock.now())
        raise
    return _finish(rt, operation, [remote])


def _finish(rt: Runtime, operation: Operation, chain: list[RemoteBooking]) -> Changed:
    """Record what the provider confirmed, then close; a webhook may have recorded it before us."""
    account = Booking.get_by_id(operation.booking_id).linked_account_id
    provider = Booking.get_by_id(operation.booking_id).provider
    booking_records.record(rt, account, provider, chain, source="CONVENE")
    tail = chain[-1]
    before = booking_records.change_of(operation)
    outcome = {
        "type": "changed",
        "pending": tail.status == "PENDING",
        "previousStart": to_ms(before.previous_start) if before and before.previous_start else None,
        "previousEnd": to_ms(before.previous_end) if before and before.previous_end else None,
        "change": before.logical_key if before else None,
    }
    operations.settle(rt, operation.id, "COMPLETED", outcome)
    return _as_changed(Operation.get_by_id(operation.id))


def _as_changed(operation: Operation) -> Changed:
    outcome = operation.outcome or {}
    told = Notification.select(Notification.person).where(
        (Notification.booking == operation.booking_id) & (Notification.logical_key == outcome.get("change"))
    )
    return Changed(
        booking_id=operation.booking_id,
        pending=bool(outcome.get("pending")),
        previous_start=from_ms(outcome["previousStart"]) if outcome.get("previousStart") is not None else None,
        previous_end=from_ms(outcome["previousEnd"]) if outcome.get("previousEnd") is not None else None,
        warnings=[Notice(w["code"], w["message"], w.get("connect")) for w in operation.warnings or ()],
        notified=[row[0] for row in told.tuples()],
    )


def _kept(warning: Notice) -> dict[str, Any]:
    return {"code": warning.code, "message": warning.message, "connect": warning.connect_provider}


# ---- cancelling ----------------------------------------------------------------------------------------------------------


def cancel(
    rt: Runtime, viewer: Viewer, booking_id: str, *, reason: str | None, expected_version: int | None, key: str
) -> Changed | OnProviderPage:
    """Cancel a booking; what is cancelled already answers the same. Raises the problems of CancelBookingResult, InProgress."""
    intent = Intent("cancelBooking", key, {"bookingId": booking_id, "reason": reason, "expectedVersion": expected_version})
    if (earlier := operations.replay(viewer, intent)) is not None:
        return _recorded_outcome(rt, earlier)
    if reason is not None and len(reason) > LONGEST_REASON:
        raise InvalidInput.of("reason", f"The reason may have at most {LONGEST_REASON} characters.")
    booking = bookings.visible(viewer, booking_id)
    role = _party(viewer, booking, "cancel")
    if booking.status == "CANCELLED":
        return Changed(booking.id)
    if booking.is_group and role == "MENTEE":
        page = rt.providers[booking.provider].booking_page(booking.external_id)
        if page:
            return OnProviderPage(
                page, "Leave this group event on the provider's page; cancelling here would end it for everybody."
            )
    operation, new = operations.begin(
        rt,
        viewer,
        intent,
        booking.id,
        Plan("CANCELLED", reason=reason),
        expected_version=expected_version,
        check=lambda row, _: _check_cancel(rt, role, row),
    )
    if not new:
        return _recorded_outcome(rt, operation)
    try:
        auth, _ = _caller(rt, viewer, booking, role)
        if isinstance(auth, AccountAuth):
            tokens.ensure_valid(rt, auth.account_id)
    except BaseException:
        operations.refuse(operation, rt.clock.now())
        raise
    if not operations.send(rt, operation):
        raise ProviderFailure("This took too long and was given up before anything was sent. Try again.", code="TIMED_OUT")
    try:
        remote = rt.providers[booking.provider].cancel(auth, operation.from_external_id, reason=reason)
    except NotSent as error:
        operations.refuse(operation, rt.clock.now())
        raise failure(rt, booking.provider, error) from error
    except (OutcomeUnknown, Refused) as error:
        return _read_back(rt, operation, error)
    except Problem:
        operations.refuse(operation, rt.clock.now())
        raise
    return _finish(rt, operation, [remote])


def _check_cancel(rt: Runtime, role: str, booking: Booking) -> list[Any]:
    host = bookings.host_account(booking)
    busy = bool(bookings.busy_with_operations([booking.id]))
    blockers = [b for b in move_blockers(booking, role, host, rt.clock.now(), busy=busy) if b != "GROUP_EVENT"]
    if blockers:
        raise BookingNotCancellable(SENTENCES[blockers[0]], *blockers)
    if host is not None and host.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, host)
    return []


# ---- outcomes that are not known -----------------------------------------------------------------------------------------


def _read_back(rt: Runtime, operation: Operation, error: ProviderError) -> Changed:
    """After a lost answer or a refusal: what does the provider say of the old booking now?"""
    booking = Booking.get_by_id(operation.booking_id)
    try:
        chain = booking_records.read_chain(rt, booking.provider, _reader(booking), operation.from_external_id)
    except (ProviderError, Problem):
        raise InProgress(operation.id) from error
    if _done(operation, chain):
        return _finish(rt, operation, chain)
    if isinstance(error, Refused):
        raise _refused(rt, operation, chain, error)
    # not done *yet*: the provider may still be working on it
    raise InProgress(operation.id)


def _reader(booking: Booking) -> Auth:
    """Reading by id needs no token at Cal.com; with one the budget is the account's own."""
    account = LinkedAccount.get_or_none((LinkedAccount.id == booking.linked_account_id) & LinkedAccount.connected)
    return AccountAuth(account.id) if account is not None and account.problem_code is None else None


def _done(operation: Operation, chain: list[RemoteBooking]) -> bool:
    """Whether the chain shows what the operation meant: the old booking's own successor stands at the new time, or it is cancelled."""
    for before, after in zip(chain, chain[1:], strict=False):
        if operation.kind == "MOVED" and before.external_id == operation.from_external_id:
            return after.start == operation.hold_start
    return bool(chain) and operation.kind == "CANCELLED" and chain[-1].status == "CANCELLED"


def _refused(rt: Runtime, operation: Operation, chain: list[RemoteBooking], error: Refused) -> Problem:
    """The provider said no. Take in what it has, end the operation, and say why in our words."""
    booking = Booking.get_by_id(operation.booking_id)
    if chain:
        booking_records.record(rt, booking.linked_account_id, booking.provider, chain, source="PROVIDER")
    problem = _why(rt, operation, chain, error)
    outcome = {"type": "problem", "name": type(problem).__name__, "message": problem.message}
    operations.settle(rt, operation.id, "REFUSED", outcome)
    return problem


def _why(rt: Runtime, operation: Operation, chain: list[RemoteBooking], error: Refused) -> Problem:
    booking = Booking.get_by_id(operation.booking_id)
    not_open = chain and (chain[-1].status not in OPEN_STATUSES)
    if chain and chain[-1].external_id != operation.from_external_id:
        return StaleBooking(booking.id)
    if not_open or not chain:
        kind = BookingNotReschedulable if operation.kind == "MOVED" else BookingNotCancellable
        return kind(SENTENCES["STATUS"], "STATUS")
    if operation.kind == "MOVED" and error.status in {BAD_REQUEST, CONFLICT}:
        return _slot_taken(operation)
    if error.status == FORBIDDEN:
        return PolicyViolation("The provider does not allow this change so late or for this booking.", "PROVIDER")
    return failure(rt, booking.provider, error)


def _slot_taken(operation: Operation) -> SlotUnavailable:
    coach = Participant.get((Participant.booking == operation.booking_id) & (Participant.role == "COACH"))
    reason = "BUSY" if coach.person_id == operation.actor_id else "OTHER_PARTY_UNAVAILABLE"
    conflict = Conflict(coach.person_id, coach.name, "COACH", reason, operation.hold_start, operation.hold_end)
    return SlotUnavailable("The provider says that the coach is not available at that time.", SlotDetails([conflict]))


def _recorded_outcome(rt: Runtime, operation: Operation) -> Changed:
    """What the same key answers: the outcome as recorded, or that it is not known yet."""
    if operation.open or operation.state == "IN_PROGRESS":
        raise InProgress(operation.id)
    outcome = operation.outcome or {}
    if outcome.get("type") == "changed":
        return _as_changed(operation)
    if operation.state == "NEEDS_ATTENTION":
        raise InProgress(operation.id)
    raise _rebuilt(operation, outcome)


def _rebuilt(operation: Operation, outcome: dict[str, Any]) -> Problem:
    name, message = outcome.get("name"), str(outcome.get("message", "The change was not made."))
    if name == "SlotUnavailable":
        return _slot_taken(operation)
    if name == "StaleBooking":
        return StaleBooking(operation.booking_id)
    if name == "BookingNotReschedulable":
        return BookingNotReschedulable(message, "STATUS")
    if name == "BookingNotCancellable":
        return BookingNotCancellable(message, "STATUS")
    if name == "PolicyViolation":
        return PolicyViolation(message, "PROVIDER")
    return ProviderFailure(message, code="NOT_DONE", retryable=False)


def complete(rt: Runtime, operation_id: str) -> None:
    """The completer, for one claimed operation: end what a dead process or a lost answer left open."""
    operation = Operation.get_or_none((Operation.id == operation_id) & Operation.open)
    if operation is None:
        return
    now = rt.clock.now()
    if operation.phase == "claimed":
        # the intent was never marked as sent, so nothing reached the provider
        operations.refuse(operation, now)
        return
    booking = Booking.get_by_id(operation.booking_id)
    try:
        chain = booking_records.read_chain(rt, booking.provider, _reader(booking), operation.from_external_id)
    except (ProviderError, ConnectionUnusable, ProviderFailure):
        _later(rt, operation, now)
        return
    if _done(operation, chain):
        _finish(rt, operation, chain)
        return
    still_possible_until = (
        operation.sent_at + operations.WRITE_LIMIT + rt.providers[booking.provider].capabilities.processing_limit
    )
    if now < still_possible_until:
        operations.look_again(operation, still_possible_until)
        return
    if chain:
        booking_records.record(rt, booking.linked_account_id, booking.provider, chain, source="RECONCILER")
    message = "The provider did not make this change; the booking is as it was. Try again with a new key."
    operations.settle(rt, operation.id, "UNDONE", {"type": "problem", "name": "ProviderFailure", "message": message})
    log.info("operation undone", operation=operation.id)


def _later(rt: Runtime, operation: Operation, now: datetime) -> None:
    """The provider cannot be asked: hold on, ask less and less often, and after a day call a person."""
    if now - operation.sent_at > GIVE_UP_AFTER:
        operations.settle(rt, operation.id, "NEEDS_ATTENTION", {"type": "attention"})
        log.error("operation needs attention", operation=operation.id)
        return
    operations.look_again(operation, now + timedelta(seconds=min(600, 10 * 2 ** min(operation.attempts, 6))))
