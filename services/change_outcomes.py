"""What became of a change: confirmed, refused, or not known yet; and the completer that ends what was left open."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from models import Booking, Notification, Operation, Participant
from models.base import from_ms, to_ms
from services import booking_chains, booking_records, operations
from services.availability import Notice
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
    Refused,
    SlotDetails,
    SlotUnavailable,
    StaleBooking,
)
from services.linked_accounts import failure
from services.logging import get_logger
from services.providers.base import Auth, RemoteBooking
from services.providers.transport import EXCHANGE_LIMIT, WRITE_LIMIT
from services.runtime import Runtime

log = get_logger("operations")

GIVE_UP_AFTER = timedelta(hours=24)
CLOCK_SKEW = timedelta(seconds=30)
"""How far the clocks of two replicas may be apart: one writes when it sent, another decides that it is over."""
SENDS_WITHIN = timedelta(seconds=10)
"""After saying that it is sent, it is sent at once; the quarantine counts from there."""
CONFLICT = 409
BAD_REQUEST = 400
FORBIDDEN = 403


@dataclass(frozen=True)
class Changed:
    """A change that took place. `pending`: moved, but the coach must confirm."""

    booking_id: str
    pending: bool = False
    previous_start: datetime | None = None
    previous_end: datetime | None = None
    warnings: list[Notice] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)


def attempt(rt: Runtime, booking: Booking, operation: Operation, call: Callable[[], RemoteBooking]) -> Changed:
    """The one write to the provider, from the commit that binds the key to the recorded outcome.

    Raises InProgress when the outcome is not known, and the Problem that the provider's refusal means.
    """
    marked_at: datetime = rt.clock.now()
    if not operations.send(rt, operation):
        raise _too_late()
    rt.step("operation.sent")
    if rt.clock.now() - marked_at > SENDS_WITHIN:
        # frozen meanwhile: the completer may be about to say that it was never done
        operations.refuse(operation, rt.clock.now())
        raise _too_late()
    try:
        remote = call()
    except NotSent as error:
        operations.refuse(operation, rt.clock.now())
        raise failure(rt, booking.provider, error) from error
    except (OutcomeUnknown, Refused) as error:
        return _read_back(rt, operation, error)
    except Problem:
        # the token went bad between the check and the call; a refused token did nothing
        operations.refuse(operation, rt.clock.now())
        raise
    rt.step("operation.answered")
    return _finish(rt, operation, [remote])


def _too_late() -> ProviderFailure:
    return ProviderFailure("This took too long and was given up before anything was sent. Try again.", code="TIMED_OUT")


def _finish(rt: Runtime, operation: Operation, chain: list[RemoteBooking], *, ours: bool = True) -> Changed:
    """Record what the provider confirmed, then close; a webhook may have recorded it before us."""
    account = Booking.get_by_id(operation.booking_id).linked_account_id
    provider = Booking.get_by_id(operation.booking_id).provider
    booking_records.record(rt, account, provider, chain, source="CONVENE" if ours else "PROVIDER", joins=ours)
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
        warnings=[Notice(w["code"], w["message"], w.get("connect")) for w in operation.warnings or ()],
        notified=[row[0] for row in told.tuples()],
    )


def _read_back(rt: Runtime, operation: Operation, error: ProviderError) -> Changed:
    """After a lost answer or a refusal: ask what the provider has of the old booking now."""
    booking = Booking.get_by_id(operation.booking_id)
    try:
        chain = booking_chains.read_chain(rt, booking.provider, _reader(rt, booking), operation.from_external_id)
    except (ProviderError, Problem):
        raise InProgress(operation.id) from error
    if _done(operation, chain):
        # refused, and yet so: somebody else was first, and it is theirs
        return _finish(rt, operation, chain, ours=not isinstance(error, Refused))
    if isinstance(error, Refused):
        raise _refused(rt, operation, chain, error)
    # not done *yet*: the provider may still be working on it
    raise InProgress(operation.id)


def _reader(rt: Runtime, booking: Booking) -> Auth:
    return booking_chains.reader(rt, booking.provider, booking.linked_account_id)


def _done(operation: Operation, chain: list[RemoteBooking]) -> bool:
    """Whether the chain shows what was meant: the old booking's own successor stands at the new time, or it is cancelled."""
    for before, after in pairwise(chain):
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


def complete(rt: Runtime, operation: Operation) -> None:
    """The completer, for one claimed operation: end what a dead process or a lost answer left open."""
    if not operation.open:
        return
    now = rt.clock.now()
    if operation.phase == "claimed":
        # the intent was never marked as sent, so nothing reached the provider
        operations.refuse(operation, now)
        return
    booking = Booking.get_by_id(operation.booking_id)
    try:
        chain = booking_chains.read_chain(rt, booking.provider, _reader(rt, booking), operation.from_external_id)
    except (ProviderError, Problem):
        later(rt, operation)
        return
    if _done(operation, chain):
        _finish(rt, operation, chain)
        return
    sent_at: datetime = operation.sent_at
    # it may be refused for its token, renew that and be sent once more, and the provider may still work on it
    takes = SENDS_WITHIN + 2 * WRITE_LIMIT + EXCHANGE_LIMIT + rt.providers[booking.provider].capabilities.processing_limit
    possible_until = sent_at + takes + CLOCK_SKEW
    if now < possible_until:
        operations.look_again(operation, possible_until)
        return
    if chain:
        booking_records.record(rt, booking.linked_account_id, booking.provider, chain, source="RECONCILER")
    message = "The provider did not make this change; the booking is as it was. Try again with a new key."
    operations.settle(rt, operation.id, "UNDONE", {"type": "problem", "name": "ProviderFailure", "message": message})
    log.info("operation undone", operation=operation.id)


def later(rt: Runtime, operation: Operation) -> None:
    """The provider cannot be asked, or its answer cannot be recorded: hold on, and after a day call a person."""
    now = rt.clock.now()
    if now - (operation.sent_at or operation.created_at) > GIVE_UP_AFTER:
        operations.settle(rt, operation.id, "NEEDS_ATTENTION", {"type": "attention"})
        log.error("operation needs attention", operation=operation.id)
        return
    # no longer and longer pauses: it is to end within one period of the provider being back
    operations.look_again(operation, now + operations.COMPLETER_PERIOD)
