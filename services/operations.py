"""Intended booking changes: intent, hold, idempotency and fate in one row.

    begin     lock persons by id, then the booking; refuse or write the row (one open per booking) - one transaction
    send      committed before the provider is called; from here the idempotency key is bound
    settle    when the outcome is known: by the caller, by a webhook that arrives in mid-flight, or by the completer
    refuse    when it is certain that nothing was sent: the key is free again

An unknown outcome keeps the row open, and its hold with it, until the provider can be read back; a negative answer
counts only after the provider's longest processing time has passed.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from peewee import IntegrityError

from models import Booking, Operation, Participant
from models.base import for_update, new_id, transactional
from services import people
from services.booking_records import seal
from services.errors import FieldProblem, IdempotencyKeyReused, InvalidInput, StaleBooking
from services.identity import Viewer
from services.providers.transport import WRITE_LIMIT
from services.runtime import Runtime

LONGEST_KEY = 200
KEPT_FOR = timedelta(days=30)
BEFORE_SENDING = timedelta(seconds=60)
"""A row that was begun and not sent after this long belongs to a dead process."""
COMPLETER_PERIOD = timedelta(seconds=30)
"""An open operation whose provider cannot be asked is looked at again this often, until it can."""


@dataclass(frozen=True)
class Intent:
    """What the caller asked: the mutation's name, its idempotency key, and everything else of its input."""

    mutation: str
    key: str
    payload: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.key.strip() or len(self.key) > LONGEST_KEY:
            raise InvalidInput(FieldProblem(("idempotencyKey",), f"The key must have 1 to {LONGEST_KEY} characters."))

    @property
    def input_hash(self) -> str:
        return hashlib.sha256(orjson.dumps(self.payload, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What an operation is to do. The hold is the new time of a move; a cancellation holds nothing."""

    kind: str
    hold_start: datetime | None = None
    hold_end: datetime | None = None
    reason: str | None = None


def replay(viewer: Viewer, intent: Intent) -> Operation | None:
    """The operation that this key stands for, if it is bound. Raises IdempotencyKeyReused for another input."""
    row: Operation | None = Operation.get_or_none(
        (Operation.user == viewer.user_id) & (Operation.mutation == intent.mutation) & (Operation.idempotency_key == intent.key)
    )
    if row is not None and row.input_hash != intent.input_hash:
        raise IdempotencyKeyReused("This idempotency key was used with another input. Take a new key for a new intention.")
    return row


def begin(
    rt: Runtime,
    viewer: Viewer,
    intent: Intent,
    booking_id: str,
    plan: Plan,
    *,
    expected_version: int | None,
    check: Callable[[Booking, list[Participant]], list[Any]],
) -> tuple[Operation, bool]:
    """(operation, is it new). `check` runs under the locks, raises the refusal and answers warnings."""
    try:
        return _begin(rt, viewer, intent, booking_id, plan, expected_version, check)
    except IntegrityError:
        # the same key arrived twice at once, for two bookings that share nobody
        row = replay(viewer, intent)
        if row is None:
            raise
        return row, False


@transactional
def _begin(
    rt: Runtime,
    viewer: Viewer,
    intent: Intent,
    booking_id: str,
    plan: Plan,
    expected_version: int | None,
    check: Callable[[Booking, list[Participant]], list[Any]],
) -> tuple[Operation, bool]:
    participants = _locked_participants(booking_id)
    booking = for_update(Booking.select().where(Booking.id == booking_id)).get()
    if (row := replay(viewer, intent)) is not None:
        return row, False
    if expected_version is not None and expected_version != booking.version:
        raise StaleBooking(booking_id)
    warnings = check(booking, participants)
    operation_id, now = new_id(), rt.clock.now()
    Operation.insert(
        id=operation_id,
        user=viewer.user_id,
        actor=viewer.person_id,
        booking=booking_id,
        kind=plan.kind,
        mutation=intent.mutation,
        idempotency_key=intent.key,
        input_hash=intent.input_hash,
        from_external_id=booking.external_id,
        hold_start=plan.hold_start,
        hold_end=plan.hold_end,
        reason=seal(rt, "operation", operation_id, "reason", plan.reason),
        warnings=warnings,
        due_at=now + BEFORE_SENDING,
        created_at=now,
    ).execute()
    return Operation.get_by_id(operation_id), True


def _locked_participants(booking_id: str) -> list[Participant]:
    """The participants as they are once everybody is locked: while we waited, one may have been merged into another."""
    while True:
        before = {row[0] for row in Participant.select(Participant.person).where(Participant.booking == booking_id).tuples()}
        locked = people.lock(before)
        participants = list(Participant.select().where(Participant.booking == booking_id))
        if {p.person_id for p in participants} <= set(locked):
            return participants


def send(rt: Runtime, operation: Operation) -> bool:
    """Commit that the provider is about to be asked; False when the completer has given the operation up meanwhile."""
    now = rt.clock.now()
    # nobody else looks at it while the living process may still be waiting for its answer
    due = now + WRITE_LIMIT + timedelta(seconds=10)
    return bool(
        Operation.update(phase="sent", sent_at=now, due_at=due)
        .where((Operation.id == operation.id) & Operation.open & (Operation.phase == "claimed"))
        .execute()
    )


@contextmanager
def unsent(rt: Runtime, operation: Operation) -> Iterator[None]:
    """Around what is done before sending: whatever goes wrong there ends the operation and frees its key."""
    try:
        yield
    except BaseException:
        refuse(operation, rt.clock.now())
        raise


def refuse(operation: Operation, now: datetime) -> None:
    """Nothing was sent: the operation ends and its key is free for another try."""
    Operation.update(state="REFUSED", open=False, idempotency_key=None, settled_at=now, due_at=None).where(
        (Operation.id == operation.id) & Operation.open
    ).execute()


def settle(rt: Runtime, operation_id: str, state: str, outcome: dict[str, Any]) -> None:
    """End an operation with its outcome, once: whoever is first decides.

    Only that it was done after all, by a process that was frozen for longer than the quarantine, corrects UNDONE.
    """
    free = Operation.open | ((Operation.state == "UNDONE") & (state == "COMPLETED"))
    settled = (
        Operation.update(
            state=state, open=False, phase="settled", outcome=outcome, settled_at=rt.clock.now(), due_at=None, lease_owner=None
        )
        .where((Operation.id == operation_id) & free)
        .execute()
    )
    if settled:
        rt.metrics.operations.labels(Operation.get_by_id(operation_id).kind, state).inc()


def look_again(operation: Operation, at: datetime) -> None:
    Operation.update(due_at=at, lease_owner=None, lease_until=None).where((Operation.id == operation.id) & Operation.open).execute()


def visible(viewer: Viewer, operation_id: str) -> Operation | None:
    """The viewer's own operation (an admin sees any)."""
    row: Operation | None = Operation.get_or_none(Operation.id == operation_id)
    return row if row is not None and (viewer.is_admin or row.user_id == viewer.user_id) else None


def clean_up(rt: Runtime) -> int:
    """Keys are kept for thirty days; the rows stay as history."""
    old = (Operation.settled_at < rt.clock.now() - KEPT_FOR) & Operation.idempotency_key.is_null(False)
    return int(Operation.update(idempotency_key=None).where(old).execute())
