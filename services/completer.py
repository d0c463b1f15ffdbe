"""The completer: ends the operations that a dead process or a lost answer left open."""

from datetime import datetime, timedelta

from models import Operation
from services import booking_records, operations, replacing
from services.change_outcomes import SENDS_WITHIN, done, finish, look, place
from services.errors import Problem, ProviderError
from services.logging import get_logger
from services.providers.transport import EXCHANGE_LIMIT, WRITE_LIMIT
from services.runtime import Runtime

log = get_logger("operations")

GIVE_UP_AFTER = timedelta(hours=24)
CLOCK_SKEW = timedelta(seconds=30)
"""How far the clocks of two replicas may be apart: one writes when it sent, another decides that it is over."""
NOT_MADE = "The provider did not make this change; everything is as it was. Try again with a new key."


def complete(rt: Runtime, operation: Operation) -> None:
    """For one claimed operation: end it if its outcome can be known, else arrange the next look."""
    if not operation.open:
        return
    now = rt.clock.now()
    if operation.phase == "claimed":
        # the intent was never marked as sent, so nothing reached the provider
        operations.refuse(operation, now)
        return
    try:
        ended = replacing.complete(rt, operation) if replacing.concerns(rt, operation) else _complete(rt, operation)
    except (ProviderError, Problem):
        later(rt, operation)
        return
    if ended:
        return
    account_id, slug = place(operation)
    # it may be refused for its token, renew that and be sent once more, and the provider may still work on it
    takes = SENDS_WITHIN + 2 * WRITE_LIMIT + EXCHANGE_LIMIT + rt.providers[slug].capabilities.processing_limit
    sent_at: datetime = operation.sent_at
    possible_until = sent_at + takes + CLOCK_SKEW
    if now < possible_until:
        operations.look_again(operation, possible_until)
        return
    operations.settle(rt, operation.id, "UNDONE", {"type": "problem", "name": "ProviderFailure", "message": NOT_MADE})
    log.info("operation undone", operation=operation.id, account=account_id)


def _complete(rt: Runtime, operation: Operation) -> bool:
    """Whether it is done; False: the provider has nothing of it. Raises ProviderError and Problems."""
    chain = look(rt, operation)
    if done(operation, chain):
        finish(rt, operation, chain)
        return True
    if chain:
        account_id, slug = place(operation)
        booking_records.record(rt, account_id, slug, chain, source="RECONCILER")
    return False


def later(rt: Runtime, operation: Operation) -> None:
    """The provider cannot be asked, or its answer cannot be recorded: hold on, and after a day call a person."""
    now = rt.clock.now()
    since = max(at for at in (operation.sent_at, operation.created_at, operation.attended_at) if at)
    if now - since > GIVE_UP_AFTER:
        operations.settle(rt, operation.id, "NEEDS_ATTENTION", {"type": "attention"})
        log.error("operation needs attention", operation=operation.id)
        return
    # no longer and longer pauses: it is to end within one period of the provider being back
    operations.look_again(operation, now + operations.COMPLETER_PERIOD)
