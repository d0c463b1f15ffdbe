"""Reading bookings: who may see one, lists with filter, order and keyset paging, and what goes with a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from peewee import Select, fn

from models import Booking, BookingChange, EventType, LinkedAccount, Operation, Participant, User
from models.prepared import Prepared, among
from services.booking_records import unseal
from services.errors import BadUserInput, NotFound
from services.identity import Viewer
from services.runtime import Runtime

LONGEST_TEXT = 200


@dataclass(frozen=True)
class Filter:
    """What to list. status COMPLETED is a confirmed booking whose end has passed."""

    status: tuple[str, ...] = ()
    provider: str | None = None
    role: str | None = None
    starts_after: datetime | None = None
    starts_before: datetime | None = None
    text: str | None = None


def visible(viewer: Viewer, booking_id: str) -> Booking:
    """A booking that the viewer takes part in, or made for somebody else (an admin reads any).

    Raises NotFound for every other id alike.
    """
    booking = Booking.get_or_none(Booking.id == booking_id)
    if booking is None or not (viewer.is_admin or role_of(viewer, booking) or _made_by(viewer, booking)):
        raise NotFound("There is no such booking.")
    found: Booking = booking
    return found


def _made_by(viewer: Viewer, booking: Booking) -> bool:
    made = (Operation.booking == booking.id) & (Operation.kind == "BOOKED") & (Operation.user == viewer.user_id)
    return bool(Operation.select().where(made).exists())


def role_of(viewer: Viewer, booking: Booking) -> str | None:
    row = (
        Participant.select(Participant.role)
        .where((Participant.booking == booking.id) & (Participant.person == viewer.person_id))
        .tuples()
        .first()
    )
    return row[0] if row else None


def minutes_of(booking: Booking) -> int:
    return int((booking.end - booking.start).total_seconds()) // 60


def status_at(booking: Booking, now: datetime) -> str:
    return "COMPLETED" if booking.status == "CONFIRMED" and booking.end <= now else str(booking.status)


def host_account(booking: Booking) -> LinkedAccount | None:
    """The connected account of the booking's coach at the booking's provider."""
    found: LinkedAccount | None = (
        LinkedAccount.select()
        .join(User)
        .join(Participant, on=(Participant.person == User.person))
        .where(
            (Participant.booking == booking.id)
            & (Participant.role == "COACH")
            & (LinkedAccount.provider == booking.provider)
            & LinkedAccount.connected
        )
        .first()
    )
    return found


def query(rt: Runtime, viewer: Viewer, wanted: Filter) -> Any:
    """The viewer's bookings that fit, unordered and unlimited."""
    mine = Participant.select(Participant.booking).where(Participant.person == viewer.person_id)
    if wanted.role:
        mine = mine.where(Participant.role == wanted.role)
    found = Booking.select().where(Booking.id.in_(mine))
    if wanted.provider:
        found = found.where(Booking.provider == wanted.provider)
    if wanted.starts_after:
        found = found.where(Booking.start >= wanted.starts_after)
    if wanted.starts_before:
        found = found.where(Booking.start < wanted.starts_before)
    if wanted.status:
        found = found.where(_any_status(wanted.status, rt.clock.now()))
    if wanted.text and wanted.text.strip():
        if len(wanted.text) > LONGEST_TEXT:
            raise BadUserInput(f"`text` may have at most {LONGEST_TEXT} characters.")
        found = found.where(_matches(viewer, mine, wanted.text.strip()))
    return found


def _any_status(statuses: Sequence[str], now: datetime) -> Any:
    over = (Booking.status == "CONFIRMED") & (Booking.end <= now)
    plain = [s for s in statuses if s not in {"CONFIRMED", "COMPLETED"}]
    condition: Any = Booking.status.in_(plain) if plain else None
    for status, clause in (("COMPLETED", over), ("CONFIRMED", (Booking.status == "CONFIRMED") & (Booking.end > now))):
        if status in statuses:
            condition = clause if condition is None else condition | clause
    return condition


def _matches(viewer: Viewer, mine: Any, text: str) -> Any:
    """Case-insensitive, in title, names or addresses; `contains` lets % and _ stand for themselves.

    Addresses only where the viewer may read them: what cannot be seen cannot be found either.
    """

    def holds(column: Any) -> Any:
        return fn.LOWER(column).contains(text.lower())

    own = Participant.alias("own")
    sees_all = (
        own.select(own.booking)
        .join(Booking)
        .where((own.person == viewer.person_id) & ((own.role == "COACH") | ((own.role == "MENTEE") & ~Booking.is_group)))
    )
    readable = Participant.booking.in_(sees_all) | (Participant.role == "COACH") | (Participant.person == viewer.person_id)
    # of the viewer's bookings alone: the search must not go through everybody's names
    people = Participant.select(Participant.booking).where(
        Participant.booking.in_(mine) & (holds(Participant.name) | (holds(Participant.email) & readable))
    )
    return holds(Booking.title) | Booking.id.in_(people)


# ---- what goes with a page of bookings: one statement each, only when asked for -------------------------------------------


def participants_of(booking_ids: Sequence[str]) -> dict[str, list[Participant]]:
    """By booking, coach first, then in the order the provider gave."""
    grouped: dict[str, list[Participant]] = {booking_id: [] for booking_id in booking_ids}
    for row in _participants(booking_ids):
        grouped[row.booking_id].append(row)
    return grouped


@Prepared
def _participants(booking_ids: Any) -> Any:
    return Participant.select().where(among(Participant.booking, booking_ids)).order_by(Participant.role, Participant.id)


def event_types_by_id(ids: Sequence[str]) -> dict[str, EventType]:
    return {row.id: row for row in _event_types(ids)}


@Prepared
def _event_types(ids: Any) -> Any:
    return EventType.select().where(among(EventType.id, ids))


def host_accounts_of(booking_ids: Sequence[str]) -> dict[str, LinkedAccount]:
    """The coach's connected account at the booking's provider, by booking."""
    return {row.booking_id: row.user.linkedaccount for row in _host_accounts(booking_ids)}


@Prepared
def _host_accounts(booking_ids: Any) -> Any:
    return (
        Participant.select(Participant.booking, LinkedAccount)
        .join(User, on=(User.person == Participant.person))
        .join(LinkedAccount, on=(LinkedAccount.user == User.id))
        .join(Booking, on=(Booking.id == Participant.booking))
        .where(
            among(Participant.booking, booking_ids)
            & (Participant.role == "COACH")
            & LinkedAccount.connected
            & (LinkedAccount.provider == Booking.provider)
        )
    )


def busy_with_operations(booking_ids: Sequence[str]) -> set[str]:
    """Bookings that an unsettled operation holds."""
    return {row[0] for row in _busy(booking_ids)}


@Prepared
def _busy(booking_ids: Any) -> Any:
    return Operation.select(Operation.booking).where(among(Operation.booking, booking_ids) & Operation.open).tuples()


def recent_changes(booking_ids: Sequence[str], limit: int) -> dict[str, list[BookingChange]]:
    """The newest `limit` changes of each booking, newest first, in one statement."""
    grouped: dict[str, list[BookingChange]] = {booking_id: [] for booking_id in booking_ids}
    for row in _recent_changes(booking_ids, limit):
        grouped[row.booking_id].append(row)
    return grouped


@Prepared
def _recent_changes(booking_ids: Any, limit: Any) -> Any:
    rank = fn.ROW_NUMBER().over(partition_by=[BookingChange.booking], order_by=[BookingChange.at.desc(), BookingChange.id.desc()])
    ranked = BookingChange.select(BookingChange.id, rank.alias("rank")).where(among(BookingChange.booking, booking_ids))
    wanted = Select(columns=[ranked.c.id]).from_(ranked).where(ranked.c.rank <= limit)
    return BookingChange.select().where(BookingChange.id.in_(wanted)).order_by(BookingChange.at.desc(), BookingChange.id.desc())


def answers(rt: Runtime, booking: Booking) -> list[tuple[str, str]]:
    text = unseal(rt, "booking", booking.id, "answers", booking.answers)
    return [(question, answer) for question, answer in orjson.loads(text)] if text else []


def cancellation_reason(rt: Runtime, booking: Booking) -> str | None:
    return unseal(rt, "booking", booking.id, "cancellation_reason", booking.cancellation_reason)


def change_reason(rt: Runtime, change: BookingChange) -> str | None:
    return unseal(rt, "booking_change", change.id, "reason", change.reason)
