"""Intended booking changes: intent, hold, idempotency and fate.

    begin     lock persons by id, then the booking; refuse or write the row (one open per booking) - one transaction
    send      committed before the provider is called; from here the idempotency key is bound
    booked    of a move that is a new booking and a cancellation: the new one stands
    settle    when the outcome is known: by the caller, by a webhook that arrives in mid-flight, or by the completer
    refuse    when it is certain that nothing was sent: the key is free again

An unknown outcome keeps the row open, and its hold with it, until the provider can be read back; a negative answer
counts only after the provider's longest processing time has passed.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from peewee import IntegrityError

from models import Booking, EventType, Hold, LinkedAccount, Operation, Participant
from models.base import for_update, new_id, transactional
from services import audit, live, people
from services.booking_records import seal, unseal
from services.errors import FieldProblem, IdempotencyKeyReused, InvalidInput, Problem, QuotaExhausted, StaleBooking
from services.identity import Viewer
from services.providers.base import Quota
from services.providers.transport import WRITE_LIMIT
from services.runtime import Runtime

LONGEST_KEY = 200
KEPT_FOR = timedelta(days=30)
PARTIES = ("COACH", "MENTEE")
BOOKS = ("BOOKED", "MOVED")
"""Kinds of operations that a provider with quotas counts."""
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
    """What an operation is to do. The hold is the time that is wanted; a cancellation or decision holds nothing.

    `account_id`: through which it will be written. Of a new booking also `event_type_id` and `wish`: what finds it again.
    """

    kind: str
    hold_start: datetime | None = None
    hold_end: datetime | None = None
    reason: str | None = None
    account_id: str | None = None
    event_type_id: str | None = None
    wish: dict[str, Any] | None = None


@dataclass
class Verdict:
    """What a check found that does not forbid it: warnings to keep."""

    warnings: list[dict[str, Any]] = field(default_factory=list)


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
    check: Callable[[Booking, list[Participant]], Verdict],
) -> tuple[Operation, bool]:
    """(operation, is it new). `check` runs under the locks, raises the refusal and answers warnings."""
    return _once(viewer, intent, lambda: _begin(rt, viewer, intent, booking_id, plan, expected_version, check))


def begin_booking(
    rt: Runtime, viewer: Viewer, intent: Intent, plan: Plan, *, parties: Callable[[], list[str]], check: Callable[[list[str]], Verdict]
) -> tuple[Operation, bool]:
    """The same for a booking that is to be made: `parties` answers the persons whose time it takes, made if need be."""
    return _once(viewer, intent, lambda: _begin_booking(rt, viewer, intent, plan, parties, check))


def _once(viewer: Viewer, intent: Intent, begin_: Callable[[], tuple[Operation, bool]]) -> tuple[Operation, bool]:
    try:
        return begin_()
    except IntegrityError:
        # the same key arrived twice at once, for two bookings that share nobody
        row = replay(viewer, intent)
        if row is None:
            raise
        return row, False


@transactional
def _begin_booking(
    rt: Runtime, viewer: Viewer, intent: Intent, plan: Plan, parties: Callable[[], list[str]], check: Callable[[list[str]], Verdict]
) -> tuple[Operation, bool]:
    people_ids = people.lock(parties())
    if (row := replay(viewer, intent)) is not None:
        return row, False
    verdict = check(people_ids)
    return _insert(rt, viewer, intent, plan, None, people_ids, verdict), True


@transactional
def _begin(
    rt: Runtime,
    viewer: Viewer,
    intent: Intent,
    booking_id: str,
    plan: Plan,
    expected_version: int | None,
    check: Callable[[Booking, list[Participant]], Verdict],
) -> tuple[Operation, bool]:
    participants = _locked_participants(booking_id)
    booking = for_update(Booking.select().where(Booking.id == booking_id)).get()
    if (row := replay(viewer, intent)) is not None:
        return row, False
    if expected_version is not None and expected_version != booking.version:
        raise StaleBooking(booking_id)
    verdict = check(booking, participants)
    held = [p.person_id for p in participants if p.role in PARTIES]
    return _insert(rt, viewer, intent, plan, booking, held, verdict), True


def _insert(
    rt: Runtime, viewer: Viewer, intent: Intent, plan: Plan, booking: Booking | None, held: list[str], verdict: Verdict
) -> Operation:
    operation_id, now = new_id(), rt.clock.now()
    Operation.insert(
        id=operation_id,
        user=viewer.user_id,
        actor=viewer.person_id,
        booking=booking.id if booking else None,
        event_type=plan.event_type_id,
        linked_account=plan.account_id,
        kind=plan.kind,
        mutation=intent.mutation,
        idempotency_key=intent.key,
        input_hash=intent.input_hash,
        from_external_id=booking.external_id if booking else None,
        wish=seal(rt, "operation", operation_id, "wish", orjson.dumps(plan.wish).decode() if plan.wish else None),
        hold_start=plan.hold_start,
        hold_end=plan.hold_end,
        reason=seal(rt, "operation", operation_id, "reason", plan.reason),
        warnings=verdict.warnings,
        due_at=now + BEFORE_SENDING,
        created_at=now,
        origin=audit.keep_origin(rt, operation_id),
    ).execute()
    operation = Operation.get_by_id(operation_id)
    hold(operation, held)
    return operation


def hold(operation: Operation, person_ids: list[str]) -> None:
    """These people's time is taken by it; call under their locks."""
    if operation.hold_start is None or not person_ids:
        return
    span = {"operation": operation.id, "start": operation.hold_start, "end": operation.hold_end}
    Hold.insert_many([{"id": new_id(), "person": person_id, **span} for person_id in person_ids]).execute()


def parties_of(rt: Runtime, operation: Operation) -> list[str]:
    """Whose time it takes; of a booking that is not there yet the host, and whoever is to attend."""
    if operation.booking_id is not None:
        rows = Participant.select(Participant.person).where((Participant.booking == operation.booking_id) & Participant.role.in_(PARTIES))
        return [person_id for (person_id,) in rows.tuples()]
    kind, wish = EventType.get_or_none(EventType.id == operation.event_type_id), wish_of(rt, operation)
    attends = people.known(people.email_identity(wish["email"])) if wish else None
    return [person_id for person_id in (kind.host_id if kind else None, attends) if person_id]


def wish_of(rt: Runtime, operation: Operation) -> dict[str, Any]:
    """What finds the booking again that the operation makes."""
    found: dict[str, Any] = orjson.loads(unseal(rt, "operation", operation.id, "wish", operation.wish) or "{}")
    return found


def reason_of(rt: Runtime, operation: Operation) -> str | None:
    return unseal(rt, "operation", operation.id, "reason", operation.reason)


def _locked_participants(booking_id: str) -> list[Participant]:
    """The participants as they are once everybody is locked: while we waited, one may have been merged into another."""
    while True:
        before = {row[0] for row in Participant.select(Participant.person).where(Participant.booking == booking_id).tuples()}
        locked = people.lock(before)
        participants = list(Participant.select().where(Participant.booking == booking_id))
        if {p.person_id for p in participants} <= set(locked):
            return participants


@transactional
def send(
    rt: Runtime, operation: Operation, *, verdict: Verdict | None = None, checked: tuple[str, ...] = (), quotas: tuple[Quota, ...] = ()
) -> bool:
    """Commit that the provider is about to be asked; False when the completer has given the operation up meanwhile.

    `verdict` is what was found since it began, `checked` whose calendars were asked. Raises QuotaExhausted, counted under
    the account's lock, so that no two may take the last one.
    """
    now = rt.clock.now()
    _check_quotas(operation, quotas, now)
    # nobody else looks at it while the living process may still be waiting for its answer
    due = now + WRITE_LIMIT + timedelta(seconds=10)
    return bool(
        Operation.update(
            phase="sent",
            sent_at=now,
            due_at=due,
            checked=list(checked),
            warnings=[*(operation.warnings or ()), *(verdict.warnings if verdict else ())],
        )
        .where((Operation.id == operation.id) & Operation.open & (Operation.phase == "claimed"))
        .execute()
    )


def _check_quotas(operation: Operation, quotas: tuple[Quota, ...], now: datetime) -> None:
    if not quotas:
        return
    list(for_update(LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.id == operation.linked_account_id)).tuples())
    for quota in quotas:
        used = (
            Operation.select(Operation.sent_at)
            .where(
                (Operation.linked_account == operation.linked_account_id)
                & Operation.kind.in_(BOOKS)
                & (Operation.sent_at > now - quota.span)
                & (Operation.id != operation.id)
            )
            .order_by(Operation.sent_at.desc())
            .limit(quota.most)
            .tuples()
        )
        times = [row[0] for row in used]
        if len(times) >= quota.most:
            raise out_of_quota(times[-1] + quota.span)


def out_of_quota(reset_at: datetime) -> QuotaExhausted:
    return QuotaExhausted(f"The provider takes no more bookings for this account until {reset_at:%d %b %Y, %H:%M} UTC.", reset_at)


@transactional
def booked(rt: Runtime, operation: Operation, external_id: str) -> bool:
    """The new booking stands, and the old one is to go; False when somebody else has come further."""
    due = rt.clock.now() + WRITE_LIMIT + timedelta(seconds=10)
    mine = (Operation.id == operation.id) & Operation.open & (Operation.phase == "sent")
    return bool(Operation.update(phase="booked", to_external_id=external_id, due_at=due).where(mine).execute())


def undoing(operation: Operation) -> None:
    Operation.update(phase="undoing").where((Operation.id == operation.id) & Operation.open & (Operation.phase == "booked")).execute()


@contextmanager
def unsent(rt: Runtime, operation: Operation) -> Iterator[None]:
    """Around what is done before sending: whatever goes wrong there ends the operation and frees its key."""
    try:
        yield
    except BaseException:
        refuse(operation, rt.clock.now())
        raise


@contextmanager
def unsent_on(rt: Runtime, operation: Operation, problem: type[Problem]) -> Iterator[None]:
    """The same for one kind of refusal; anything else may have been committed."""
    try:
        yield
    except problem:
        refuse(operation, rt.clock.now())
        raise


@transactional
def refuse(operation: Operation, now: datetime, *, phase: str = "claimed") -> None:
    """Nothing was sent: the operation ends and its key is free for another try.

    Only in the phase in which the caller knows that: the process whose it is may go on while the completer gives it up.
    """
    ended = {"state": "REFUSED", "open": False, "idempotency_key": None, "settled_at": now, "sent_at": None, "due_at": None}
    ended |= {"lease_owner": None, "lease_until": None}
    mine = (Operation.id == operation.id) & Operation.open & (Operation.phase == phase)
    if Operation.update(**ended).where(mine).execute():
        Hold.delete().where(Hold.operation == operation.id).execute()


@transactional
def settle(rt: Runtime, operation_id: str, state: str, outcome: dict[str, Any]) -> None:
    """End an operation with its outcome, once: whoever is first decides.

    Only that it was done after all, by a process that was frozen for longer than the quarantine, corrects UNDONE.
    """
    free = Operation.open | ((Operation.state == "UNDONE") & (state == "COMPLETED"))
    # what needs a person may be taken up again where it stopped
    ended = {"attended_at": None} if state == "NEEDS_ATTENTION" else {"phase": "settled"}
    settled = (
        Operation.update(
            state=state, open=False, outcome=outcome, settled_at=rt.clock.now(), due_at=None, lease_owner=None, lease_until=None, **ended
        )
        .where((Operation.id == operation_id) & free)
        .execute()
    )
    Hold.delete().where(Hold.operation == operation_id).execute()
    if settled:
        live.tell(rt, [Operation.get_by_id(operation_id).actor_id], "BookingOperation", operation_id)
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
