"""What became of a change: confirmed, refused, or not known yet.

One call to the provider, and what is not known of it is read back. A move that takes two calls is in
services/replacing.py; the completer, which ends what was left open, in services/completer.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from models import Booking, EventType, LinkedAccount, Notification, Operation, Participant, Person
from models.base import from_ms, to_ms
from services import availability, booking_chains, booking_records, operations, tokens
from services.change_rules import OPEN_STATUSES, SENTENCES
from services.errors import (
    BookingNotCancellable,
    BookingNotReschedulable,
    Conflict,
    InProgress,
    NotSent,
    OutcomeUnknown,
    PolicyViolation,
    Problem,
    ProviderError,
    ProviderFailure,
    QuotaExhausted,
    RateLimited,
    Refused,
    SlotDetails,
    SlotUnavailable,
    StaleBooking,
)
from services.linked_accounts import failure
from services.logging import get_logger
from services.notices import Notice
from services.operations import Verdict
from services.providers.base import Auth, Draft, Quota, RemoteBooking
from services.runtime import Runtime

log = get_logger("operations")

SENDS_WITHIN = timedelta(seconds=10)
"""After saying that it is sent, it is sent at once; the quarantine counts from there."""
SLOT_GONE = {400, 404, 409}
"""What providers answer when a slot was taken meanwhile; which of them is not settled for each."""
FORBIDDEN = 403
DECISIONS = {"CONFIRMED", "DECLINED"}


@dataclass(frozen=True)
class Changed:
    """A change that took place. `pending`: moved, but the coach must confirm."""

    booking_id: str
    pending: bool = False
    previous_start: datetime | None = None
    previous_end: datetime | None = None
    warnings: list[Notice] = field(default_factory=list)
    checked: tuple[str, ...] = ()
    """The roles whose calendars were asked."""
    notified: list[str] = field(default_factory=list)


def attempt(
    rt: Runtime,
    operation: Operation,
    call: Callable[[], RemoteBooking],
    *,
    verdict: Verdict | None = None,
    checked: tuple[str, ...] = (),
    quotas: tuple[Quota, ...] = (),
) -> Changed:
    """The one write to the provider, from the commit that binds the key to the recorded outcome.

    Raises InProgress when the outcome is not known, and the Problem that the provider's refusal means.
    """
    remote = sent(rt, operation, call, verdict=verdict, checked=checked, quotas=quotas)
    if isinstance(remote, ProviderError):
        return _read_back(rt, operation, remote)
    rt.step("operation.answered")
    return finish(rt, operation, [remote])


def sent(
    rt: Runtime,
    operation: Operation,
    call: Callable[[], RemoteBooking],
    *,
    verdict: Verdict | None,
    checked: tuple[str, ...],
    quotas: tuple[Quota, ...],
) -> RemoteBooking | ProviderError:
    """Make the one call that may not be repeated. Answers the error where it has to be read back what it came to."""
    marked_at: datetime = rt.clock.now()
    with operations.unsent_on(rt, operation, QuotaExhausted):
        begun = operations.send(rt, operation, verdict=verdict, checked=checked, quotas=quotas)
    if not begun:
        raise _too_late()
    rt.step("operation.sent")
    if rt.clock.now() - marked_at > SENDS_WITHIN:
        # frozen meanwhile: the completer may be about to say that it was never done
        operations.refuse(operation, rt.clock.now(), phase="sent")
        raise _too_late()
    try:
        return call()
    except NotSent as error:
        operations.refuse(operation, rt.clock.now(), phase="sent")
        if isinstance(error, RateLimited) and rt.providers[error.provider].capabilities.replaces and operation.kind in operations.BOOKS:
            # bookings have limits of their own there
            raise operations.out_of_quota(error.retry_at) from error
        raise failure(rt, error.provider, error) from error
    except (OutcomeUnknown, Refused) as error:
        return error
    except Problem:
        # the token went bad between the check and the call; a refused token did nothing
        operations.refuse(operation, rt.clock.now(), phase="sent")
        raise


def _too_late() -> ProviderFailure:
    return ProviderFailure("This took too long and was given up before anything was sent. Try again.", code="TIMED_OUT")


def finish(rt: Runtime, operation: Operation, chain: list[RemoteBooking], *, ours: bool = True) -> Changed:
    """Record what the provider confirmed, then close; a webhook may have recorded it before us."""
    account_id, slug = place(operation)
    recorded = booking_records.record(rt, account_id, slug, chain, source="CONVENE" if ours else "PROVIDER", joins=ours)
    if operation.booking_id is None:
        # a booking that was made: recording it has told the operation which one it is
        Operation.update(booking=recorded.booking_id).where((Operation.id == operation.id) & Operation.booking.is_null()).execute()
    rt.wake("work")  # its video meeting is to follow
    rt.step("operation.recorded")
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
    rt.step("operation.settled")
    return _as_changed(Operation.get_by_id(operation.id))


def place(operation: Operation) -> tuple[str | None, str]:
    """Through which account it is read, and at which provider."""
    if operation.booking_id is not None:
        booking = Booking.get_by_id(operation.booking_id)
        return booking.linked_account_id, booking.provider
    account = LinkedAccount.get_by_id(operation.linked_account_id)
    return account.id, account.provider


def _as_changed(operation: Operation) -> Changed:
    outcome: dict[str, Any] = operation.outcome or {}
    told = Notification.select(Notification.person).where(
        (Notification.booking == operation.booking_id) & (Notification.logical_key == outcome.get("change"))
    )
    return Changed(
        booking_id=operation.booking_id,
        pending=bool(outcome.get("pending")),
        previous_start=from_ms(outcome["previousStart"]) if outcome.get("previousStart") is not None else None,
        previous_end=from_ms(outcome["previousEnd"]) if outcome.get("previousEnd") is not None else None,
        warnings=[Notice.again(kept) for kept in operation.warnings or ()],
        checked=tuple(operation.checked or ()),
        notified=[row[0] for row in told.tuples()],
    )


def _read_back(rt: Runtime, operation: Operation, error: ProviderError) -> Changed:
    """After a lost answer or a refusal: ask what the provider has of it now."""
    try:
        chain = look(rt, operation)
    except (ProviderError, Problem):
        raise InProgress(operation.id) from error
    if done(operation, chain):
        # refused, and yet so: somebody else was first, and it is theirs
        return finish(rt, operation, chain, ours=not isinstance(error, Refused) or operation.kind == "BOOKED")
    if isinstance(error, Refused):
        raise refused(rt, operation, chain, error)
    # not done *yet*: the provider may still be working on it
    raise InProgress(operation.id)


def look(rt: Runtime, operation: Operation) -> list[RemoteBooking]:
    """What the provider has of it now: the booking that was meant to change, or the one that was meant to be made.

    Raises ProviderError and Problems.
    """
    account_id, slug = place(operation)
    if operation.kind != "BOOKED":
        return booking_chains.read_chain(rt, slug, reader(rt, operation), str(operation.from_external_id))
    found = rt.bookable(slug).marked(_owner(rt, account_id), draft_of(rt, operation))
    return [found] if found else []


def reader(rt: Runtime, operation: Operation) -> Auth:
    account_id, slug = place(operation)
    return booking_chains.reader(rt, slug, account_id)


def _owner(rt: Runtime, account_id: str | None) -> Auth:
    """A list is read with the host's own token, also where a single booking can be read without one."""
    account = LinkedAccount.get_by_id(account_id)
    if not account.connected or account.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, account)
    return tokens.auth_of(account)


def draft_of(rt: Runtime, operation: Operation) -> Draft:
    """What finds the booking again that the operation made."""
    wish = operations.wish_of(rt, operation)
    return Draft(wish["eventType"], operation.hold_start, wish["email"], operation.id)


def done(operation: Operation, chain: list[RemoteBooking]) -> bool:
    """Whether the chain shows what was meant: the old booking's own successor stands at the new time, or it is cancelled ..."""
    if not chain:
        return False
    if operation.kind == "BOOKED":
        return True
    for before, after in pairwise(chain):
        if operation.kind == "MOVED" and before.external_id == operation.from_external_id:
            return after.start == operation.hold_start
    return operation.kind in {"CANCELLED", "CONFIRMED", "DECLINED"} and chain[-1].status == operation.kind


def refused(rt: Runtime, operation: Operation, chain: list[RemoteBooking], error: Refused) -> Problem:
    """The provider said no. Take in what it has, end the operation, and say why in our words."""
    account_id, slug = place(operation)
    if chain:
        booking_records.record(rt, account_id, slug, chain, source="PROVIDER")
    problem = _why(rt, operation, chain, error)
    operations.settle(rt, operation.id, "REFUSED", as_outcome(problem))
    return problem


def as_outcome(problem: Problem) -> dict[str, Any]:
    """As it is kept, so that the same key answers the same."""
    kept: dict[str, Any] = {"type": "problem", "name": type(problem).__name__, "message": problem.message}
    if isinstance(problem, SlotUnavailable):
        kept["alternatives"] = [[to_ms(start), to_ms(end)] for start, end in problem.details.alternatives]
    return kept


def _why(rt: Runtime, operation: Operation, chain: list[RemoteBooking], error: Refused) -> Problem:
    _, slug = place(operation)
    if operation.kind != "BOOKED":
        if chain and chain[-1].external_id != operation.from_external_id:
            return StaleBooking(operation.booking_id)
        if operation.kind in DECISIONS and chain and chain[-1].status != "PENDING":
            return StaleBooking(operation.booking_id)
        if not chain or chain[-1].status not in OPEN_STATUSES:
            kind = BookingNotReschedulable if operation.kind == "MOVED" else BookingNotCancellable
            return StaleBooking(operation.booking_id) if operation.kind in DECISIONS else kind(SENTENCES["STATUS"], "STATUS")
    if operation.kind in operations.BOOKS and error.status in SLOT_GONE:
        return _slot_taken(operation, _alternatives(rt, operation))
    if operation.kind not in DECISIONS and operation.kind != "BOOKED" and error.status == FORBIDDEN:
        return PolicyViolation("The provider does not allow this change so late or for this booking.", "PROVIDER")
    return failure(rt, slug, error)


def _alternatives(rt: Runtime, operation: Operation) -> list[tuple[datetime, datetime]]:
    """What to offer after the provider refused the time that its slots had offered."""
    if operation.booking_id is not None:
        booking = Booking.get_by_id(operation.booking_id)
        try:
            subject = availability.subject_of(rt, booking)
        except Problem:
            return []
        return availability.alternatives(rt, subject, availability.attendee_of(booking), operation.hold_start)
    kind, account = EventType.get_by_id(operation.event_type_id), LinkedAccount.get_by_id(operation.linked_account_id)
    wish = operations.wish_of(rt, operation)
    subject = availability.subject_of_event_type(kind, account, wish["minutes"])
    # somebody third learns nothing of the attendee's calendar
    attends = None if wish["askedBy"] == "OTHER" else next((p for p in operations.parties_of(rt, operation) if p != kind.host_id), None)
    return availability.alternatives(rt, subject, attends, operation.hold_start)


def _slot_taken(operation: Operation, alternatives: list[tuple[datetime, datetime]]) -> SlotUnavailable:
    coach_id, name = _coach(operation)
    reason = "BUSY" if coach_id == operation.actor_id else "OTHER_PARTY_UNAVAILABLE"
    conflict = Conflict(coach_id, name, "COACH", reason, operation.hold_start, operation.hold_end)
    return SlotUnavailable("The provider says that the coach is not available at that time.", SlotDetails([conflict], alternatives))


def _coach(operation: Operation) -> tuple[str, str]:
    if operation.booking_id is not None:
        coach = Participant.get((Participant.booking == operation.booking_id) & (Participant.role == "COACH"))
        return coach.person_id, coach.name
    kind = EventType.get_by_id(operation.event_type_id)
    return kind.host_id, Person.get_by_id(kind.host_id).name


def recorded_outcome(operation: Operation) -> Changed:
    """What the same key answers: the outcome as recorded, or that it is not known yet."""
    if operation.open or operation.state == "IN_PROGRESS":
        raise InProgress(operation.id)
    outcome: dict[str, Any] = operation.outcome or {}
    if outcome.get("type") == "changed":
        return _as_changed(operation)
    if operation.state == "NEEDS_ATTENTION":
        raise InProgress(operation.id)
    raise _rebuilt(operation, outcome)


def _rebuilt(operation: Operation, outcome: dict[str, Any]) -> Problem:
    name, message = outcome.get("name"), str(outcome.get("message", "The change was not made."))
    if name == "SlotUnavailable":
        return _slot_taken(operation, [(from_ms(start), from_ms(end)) for start, end in outcome.get("alternatives", ())])
    if name == "StaleBooking":
        return StaleBooking(operation.booking_id)
    if name == "BookingNotReschedulable":
        return BookingNotReschedulable(message, "STATUS")
    if name == "BookingNotCancellable":
        return BookingNotCancellable(message, "STATUS")
    if name == "PolicyViolation":
        return PolicyViolation(message, "PROVIDER")
    return ProviderFailure(message, code="NOT_DONE", retryable=False)
