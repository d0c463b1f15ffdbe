"""A move where the provider has none: the new booking first, then the old one's cancellation; the new one goes again if that fails.

    sent      the new booking was asked for; what came of it is found by its mark
    booked    it stands. The old one is cancelled with a reason that tells our cancellation from anybody else's
    undoing   the old one could not be cancelled, or somebody else had ended it: the new one is cancelled
    settled   COMPLETED with both in one chain, or REFUSED with nothing left of the new one

Each step looks before it acts, so that it can be taken any number of times, by whoever comes: the caller or the completer.
"""

from models import Booking, Operation
from services import booking_chains, booking_records, operations
from services.change_outcomes import Changed, as_outcome, draft_of, finish, reader, recorded_outcome, refused, sent
from services.errors import BookingNotReschedulable, InProgress, Problem, ProviderError, Refused
from services.operations import Verdict
from services.providers.base import Auth, Draft, Quota, RemoteBooking
from services.runtime import Runtime

LIVE = ("PENDING", "CONFIRMED")
UNDONE_REASON = "This time was given up again."
OVERTAKEN = "The booking was changed at the provider meanwhile, so it was not moved here."
NOT_CANCELLED = "The provider does not let the old time be cancelled, so the booking stays where it is."


def concerns(rt: Runtime, operation: Operation) -> bool:
    """Whether it is such a move."""
    if operation.kind != "MOVED" or operation.booking_id is None:
        return False
    return rt.providers[Booking.get_by_id(operation.booking_id).provider].capabilities.replaces


def attempt(
    rt: Runtime, operation: Operation, auth: Auth, draft: Draft, *, verdict: Verdict, checked: tuple[str, ...], quotas: tuple[Quota, ...]
) -> Changed:
    """Raises InProgress while the outcome is not known, and the Problem that a refusal means."""
    provider = rt.replacing(_slug(operation))
    answer = sent(rt, operation, lambda: provider.book(auth, draft), verdict=verdict, checked=checked, quotas=quotas)
    if isinstance(answer, ProviderError):
        answer = _looked_for(rt, operation, auth, draft, answer)
    rt.step("operation.answered")
    operations.booked(rt, operation, answer.external_id)
    rt.step("operation.booked")
    operation = Operation.get_by_id(operation.id)
    if not operation.open:
        return recorded_outcome(operation)  # the completer came first
    try:
        outcome = _advance(rt, operation, auth)
    except (ProviderError, Problem) as error:
        # also when the link broke just now: the new booking stands, and the completer goes on from there
        raise InProgress(operation.id) from error
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def _looked_for(rt: Runtime, operation: Operation, auth: Auth, draft: Draft, error: ProviderError) -> RemoteBooking:
    """After a lost answer or a refusal: the new booking, if it was made after all."""
    try:
        found = rt.replacing(_slug(operation)).marked(auth, draft)
        old = None if found else rt.scheduling(_slug(operation)).booking(auth, operation.from_external_id)
    except (ProviderError, Problem) as unread:
        raise InProgress(operation.id) from unread
    if found is not None:
        return found
    if isinstance(error, Refused):
        raise refused(rt, operation, [old] if old else [], error)
    raise InProgress(operation.id)


def complete(rt: Runtime, operation: Operation) -> bool:
    """The completer's look: whether it is over; False: there is no new booking. Raises ProviderError and Problems."""
    auth = reader(rt, operation)
    if operation.phase == "sent":
        found = rt.replacing(_slug(operation)).marked(auth, draft_of(rt, operation))
        if found is None:
            return False
        operations.booked(rt, operation, found.external_id)
    _advance(rt, Operation.get_by_id(operation.id), auth)
    return True


def _advance(rt: Runtime, operation: Operation, auth: Auth) -> Changed | Problem:
    """From where it stands to its end. Raises ProviderError and Problems where it has to be gone on with later."""
    problem = NOT_CANCELLED
    if operation.phase == "booked":
        old, new = _both(rt, operation, auth)
        if new.status in LIVE and old.status in LIVE:
            old = _cancelled(rt, operation, auth, old)
        else:
            problem = OVERTAKEN
        if _by_us(operation, old):
            rt.step("operation.cancelled")
            return finish(rt, operation, booking_chains.linked(old, new))
        operations.undoing(operation)
    return _undo(rt, operation, auth, BookingNotReschedulable(problem, "STATUS"))


def _both(rt: Runtime, operation: Operation, auth: Auth) -> tuple[RemoteBooking, RemoteBooking]:
    provider = rt.scheduling(_slug(operation))
    old, new = (provider.booking(auth, uid) for uid in (operation.from_external_id, operation.to_external_id))
    if old is None or new is None:
        raise Refused(_slug(operation), "one of the two bookings of a move is gone")
    return old, new


def _cancelled(rt: Runtime, operation: Operation, auth: Auth, old: RemoteBooking) -> RemoteBooking:
    """The old booking after it was cancelled, or as it is where that was refused."""
    provider, why = rt.scheduling(_slug(operation)), operations.reason_of(rt, operation)
    reason = booking_chains.moved_to(operation.hold_start) + (f" {why}" if why else "")
    try:
        return provider.cancel(auth, old.external_id, reason=reason)
    except Refused:
        return provider.booking(auth, old.external_id) or old


def _by_us(operation: Operation, old: RemoteBooking) -> bool:
    ours = (old.cancellation_reason or "").startswith(booking_chains.moved_to(operation.hold_start))
    return old.status == "CANCELLED" and old.next_id is None and ours


def _undo(rt: Runtime, operation: Operation, auth: Auth, problem: Problem) -> Problem:
    """Cancel the new booking, take in what became of the old one, and say that the move was not made."""
    provider = rt.scheduling(_slug(operation))
    new = provider.booking(auth, operation.to_external_id)
    if new is not None and new.status in LIVE:
        provider.cancel(auth, new.external_id, reason=UNDONE_REASON)
    rt.step("operation.undone")
    old = provider.booking(auth, operation.from_external_id)
    operations.settle(rt, operation.id, "UNDONE", as_outcome(problem))
    if old is not None:
        booking_records.record(rt, Booking.get_by_id(operation.booking_id).linked_account_id, provider.slug, [old], source="PROVIDER")
    return problem


def _slug(operation: Operation) -> str:
    slug: str = Booking.get_by_id(operation.booking_id).provider
    return slug
