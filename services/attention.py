"""What an admin has to look at: changes that could be neither completed nor undone, dead deliveries, differences found.

Nothing is kept twice: an item is the row itself, as long as it is in trouble and nobody has dealt with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from peewee import JOIN, IntegrityError, Select, Value, fn

from models import Booking, Delivery, Drift, LinkedAccount, Operation, WebhookEvent
from models.base import BaseModel, db, transactional
from services import audit, deliveries, operations, people, webhooks
from services.errors import InvalidInput, NotFound, ProviderFailure
from services.runtime import Runtime

Row = tuple[str, str]
"""Id and kind."""


@dataclass(frozen=True)
class Item:
    """What is wrong and what to do. `actions` are AttentionAction names that it takes."""

    id: str
    kind: str
    created_at: datetime
    title: str
    detail: str
    advice: str
    actions: tuple[str, ...]
    provider: str | None
    booking_id: str | None


@dataclass(frozen=True)
class Kind:
    """One table: which of its rows are in trouble, since when, how they are told, and what can be done."""

    model: type[BaseModel]
    waits: Callable[[], Any]
    since: Any
    shown: Callable[[Any], Item]
    again: Callable[[Runtime, Any], bool] | None
    joined: Callable[[], Any] | None = None
    """The rows with what their telling needs."""

    def rows(self) -> Any:
        return self.joined() if self.joined is not None else self.model.select()


def items() -> tuple[Any, Any, Any]:
    """All items as (query of id, kind and since, the column since, the column id); unordered. `since` is in milliseconds."""
    found: Any = None
    for name, kind in KINDS.items():
        part = kind.model.select(kind.model.id.alias("id"), Value(name).alias("kind"), kind.since.alias("since")).where(kind.waits())
        found = part if found is None else found.union_all(part)
    every = found.alias("items")
    return Select([every], [every.c.id, every.c.kind, every.c.since]).bind(db).namedtuples(), every.c.since, every.c.id


def shown(rows: list[Row]) -> list[Item]:
    """The items of a page, in its order; one statement for each kind."""
    by_id: dict[str, Item] = {}
    for name, kind in KINDS.items():
        ids = [row_id for row_id, of_kind in rows if of_kind == name]
        if ids:
            by_id |= {row.id: kind.shown(row) for row in kind.rows().where(kind.model.id.in_(ids))}
    return [by_id[row_id] for row_id, _ in rows if row_id in by_id]


def resolve(rt: Runtime, item_id: str, action: str) -> None:
    """Do what the item offers: TRY_AGAIN, or DISMISS once it was seen to by hand. Raises NotFound, InvalidInput, ProviderFailure."""
    for kind in KINDS.values():
        row = kind.model.get_or_none((kind.model.id == item_id) & kind.waits())
        if row is None:
            continue
        if action != "DISMISS" and kind.again is None:
            raise InvalidInput.of("action", "There is nothing to try again here: see to it by hand, then dismiss it.")
        _resolve(rt, kind, row, action)
        return
    raise NotFound("There is no such item (any more).")


@transactional
def _resolve(rt: Runtime, kind: Kind, row: Any, action: str) -> None:
    """Written down by the one of several admins who was first."""
    if action == "DISMISS" or kind.again is None:
        done = bool(kind.model.update(attended_at=rt.clock.now()).where((kind.model.id == row.id) & kind.waits()).execute())
    else:
        done = kind.again(rt, row)
    if done:
        audit.record(rt, "attention.resolved", (kind.model.__name__, row.id), after={"action": action})


# ---- operations ------------------------------------------------------------------------------------------------------------


def _operation(row: Operation) -> Item:
    done = {
        "BOOKED": "making a booking",
        "MOVED": "a move",
        "CANCELLED": "a cancellation",
        "CONFIRMED": "a confirmation",
        "DECLINED": "a refusal",
    }[row.kind]
    half = row.phase in {"booked", "undoing"}
    detail = (
        "The new booking was made, and the old one is still there: the meeting stands at the provider twice."
        if half
        else "What became of it could not be learnt from the provider for a day."
    )
    by_hand = "cancel the one that is not wanted there" if half else "look at the booking there"
    return Item(
        row.id,
        "OPERATION",
        row.settled_at or row.updated_at,
        f"Could be neither completed nor undone: {done}",
        detail,
        f"See that the account is connected and the provider reachable, then try again. Otherwise {by_hand}, and dismiss this.",
        ("TRY_AGAIN", "DISMISS"),
        row.booking.provider if row.booking_id else row.linked_account.provider if row.linked_account_id else None,
        row.booking_id,
    )


def _with_places() -> Any:
    query = Operation.select(Operation, Booking, LinkedAccount).join(Booking, JOIN.LEFT_OUTER)
    return query.switch(Operation).join(LinkedAccount, JOIN.LEFT_OUTER)


@transactional
def _reopen(rt: Runtime, row: Operation) -> bool:
    """The completer takes it up where it stopped, with its people's time held again."""
    now = rt.clock.now()
    again = {"open": True, "state": "IN_PROGRESS", "due_at": now, "settled_at": None, "attended_at": now}
    parties = people.lock(operations.parties_of(rt, row))
    try:
        stuck = (Operation.id == row.id) & (Operation.state == "NEEDS_ATTENTION")
        if not Operation.update(**again).where(stuck).execute():
            return False  # another admin was faster
    except IntegrityError as error:
        raise ProviderFailure(
            "Another change of this booking is under way. Try again in a moment.", code="OPERATION_IN_PROGRESS"
        ) from error
    operations.hold(Operation.get_by_id(row.id), parties)
    db.after_commit(lambda: rt.wake("operations"))
    return True


# ---- the others ------------------------------------------------------------------------------------------------------------


def _webhook(row: WebhookEvent) -> Item:
    return Item(
        row.id,
        "WEBHOOK",
        row.received_at,
        f"A delivery could not be applied: {row.kind}",
        f"Given up after {row.attempts} attempts; the last one failed with {row.last_error}.",
        "See that the account is connected, then try again. The regular reading of the provider's list repairs bookings meanwhile.",
        ("TRY_AGAIN", "DISMISS") if row.body is not None else ("DISMISS",),
        row.provider,
        row.booking_id,
    )


DRIFT = {
    "MISSED": (
        "A change was not told by any webhook",
        "Nothing has to be done: it was taken in. If it happens often, look at the webhooks.",
    ),
    "GONE": ("The provider no longer has a booking", "Ask coach and mentee whether they still meet, and cancel it here if not."),
    "FORKED": ("One meeting became two", "Ask which of the two is meant, and cancel the other one."),
    "ORPHAN": (
        "Something was made at the provider that nothing needs",
        "If it is still there, remove it at the provider; then dismiss this.",
    ),
    "CHANGED": ("A meeting was changed at its provider", "See that the participants have the right link."),
}


def _drift(row: Drift) -> Item:
    title, advice = DRIFT[row.kind]
    return Item(row.id, "DRIFT", row.created_at, title, row.detail, advice, ("DISMISS",), row.provider, row.booking_id)


def _delivery(row: Delivery) -> Item:
    return Item(
        row.id,
        "DELIVERY",
        row.updated_at,
        "An e-mail could not be delivered",
        f"Given up after {row.attempts} attempts; the last one failed with {row.last_error}.",
        "If the mail server was at fault, try again. If the address is wrong, tell the person another way, and dismiss this.",
        ("TRY_AGAIN", "DISMISS"),
        None,
        None,
    )


def _replay(rt: Runtime, row: WebhookEvent) -> bool:
    return bool(webhooks.make_due(rt, [row.id]))


def _send_again(rt: Runtime, row: Delivery) -> bool:
    return deliveries.send_again(rt, row.id)


def _waits(model: Any, state: str | None) -> Callable[[], Any]:
    unattended = model.attended_at.is_null()
    return lambda: unattended & (model.state == state) if state else unattended


KINDS: dict[str, Kind] = {
    "OPERATION": Kind(
        Operation,
        _waits(Operation, "NEEDS_ATTENTION"),
        fn.COALESCE(Operation.settled_at, Operation.updated_at),
        _operation,
        cast("Callable[[Runtime, Any], bool]", _reopen),
        _with_places,
    ),
    "WEBHOOK": Kind(WebhookEvent, _waits(WebhookEvent, "DEAD"), WebhookEvent.received_at, _webhook, _replay),
    "DRIFT": Kind(Drift, lambda: Drift.attended_at.is_null() & (Drift.kind != "MISSED"), Drift.created_at, _drift, None),
    "DELIVERY": Kind(Delivery, _waits(Delivery, "DEAD"), Delivery.updated_at, _delivery, _send_again),
}
