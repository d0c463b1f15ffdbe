"""A coach's rules for what mentees may do with their bookings, for all event types or one.

They bind the mentee; the coach is free. Only what is done through Convene can be held to them: at the provider its own
settings hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from peewee import fn

from models import Booking, BookingChange, EventType, Participant, Policy
from models.base import new_id, transactional
from models.prepared import Prepared, among
from services import audit
from services.errors import FieldProblem, InvalidInput, NotFound
from services.identity import Viewer
from services.runtime import Runtime

LONGEST_NOTICE = 90 * 24 * 60
MOST_MOVES = 100
FIELDS = ("move_notice_minutes", "cancel_notice_minutes", "most_moves", "mentee_may_move", "mentee_may_cancel", "reason_required")


@dataclass(frozen=True)
class Rules:
    """What holds for one booking. `most_moves` None: as often as one likes."""

    move_notice_minutes: int = 0
    cancel_notice_minutes: int = 0
    most_moves: int | None = None
    mentee_may_move: bool = True
    mentee_may_cancel: bool = True
    reason_required: bool = False

    @property
    def move_notice(self) -> timedelta:
        return timedelta(minutes=self.move_notice_minutes)

    @property
    def cancel_notice(self) -> timedelta:
        return timedelta(minutes=self.cancel_notice_minutes)


def of_bookings(bookings: Sequence[Booking]) -> dict[str, Rules]:
    """By booking, in one statement: the event type's rules over the coach's general ones."""
    event_type = {booking.id: booking.event_type_id for booking in bookings}
    found: dict[str, Rules] = {booking.id: Rules() for booking in bookings}
    for row in _of_bookings([booking.id for booking in bookings]):
        # the general ones come first: their scope is empty
        if row.scope in {"", event_type[row.booking_id]}:
            found[row.booking_id] = _over(found[row.booking_id], row)
    return found


@Prepared
def _of_bookings(booking_ids: Any) -> Any:
    hosts = Participant.alias("host")
    return (
        Policy.select(Policy, hosts.booking.alias("booking_id"))
        .join(hosts, on=((hosts.person == Policy.host) & (hosts.role == "COACH")))
        .where(among(hosts.booking, booking_ids))
        .order_by(Policy.scope)
        .objects()
    )


def of_booking(booking: Booking) -> Rules:
    return of_bookings([booking])[booking.id]


def of_host(host_id: str, event_type_id: str | None) -> Rules:
    """The coach's general rules, or those of one event type."""
    rows = Policy.select().where((Policy.host == host_id) & Policy.scope.in_(["", event_type_id or ""])).order_by(Policy.scope)
    rules = Rules()
    for row in rows:
        rules = _over(rules, row)
    return rules


def _over(rules: Rules, row: Policy) -> Rules:
    return replace(rules, **{name: value for name in FIELDS if (value := getattr(row, name)) is not None})


def moves_of(booking_ids: Sequence[str]) -> dict[str, int]:
    """How often each booking was moved by somebody else than its coach, here or at the provider."""
    coach = Participant.alias("coach")
    coaches = coach.select(coach.person).where((coach.booking == BookingChange.booking) & (coach.role == "COACH"))
    rows = (
        BookingChange.select(BookingChange.booking, fn.COUNT(BookingChange.id))
        .where(
            BookingChange.booking.in_(list(booking_ids))
            & (BookingChange.kind == "MOVED")
            & (BookingChange.actor.is_null() | BookingChange.actor.not_in(coaches))
        )
        .group_by(BookingChange.booking)
        .tuples()
    )
    return {booking_id: int(count) for booking_id, count in rows}


def moves_left(rules: Rules, booking_id: str, moves: Mapping[str, int]) -> int | None:
    return None if rules.most_moves is None else max(0, rules.most_moves - moves.get(booking_id, 0))


@transactional
def update(rt: Runtime, viewer: Viewer, event_type_id: str | None, change: Mapping[str, Any]) -> Rules:
    """Set some of the viewer's own rules; None takes one back. Raises NotFound and InvalidInput."""
    if event_type_id is not None:
        kind = EventType.get_or_none((EventType.id == event_type_id) & (EventType.host == viewer.person_id))
        if kind is None:
            raise NotFound("There is no such event type of yours.")
    _check(change)
    if change:
        values = {getattr(Policy, name): value for name, value in change.items()}
        mine = (Policy.host == viewer.person_id) & (Policy.scope == (event_type_id or ""))
        present = Policy.get_or_none(mine)
        rows = list(
            Policy.insert(id=new_id(), host=viewer.person_id, event_type=event_type_id, scope=event_type_id or "", **dict(change))
            .on_conflict(conflict_target=[Policy.host, Policy.scope], update=values)
            .returning(Policy.id)
            .tuples()
            .execute()
        )
        before, after = audit.difference({name: getattr(present, name, None) for name in change}, change)
        if after:
            audit.record(rt, "policy.updated", ("Policy", rows[0][0]), before=before, after=after, owner=viewer.user_id)
    return of_host(viewer.person_id, event_type_id)


def _check(change: Mapping[str, Any]) -> None:
    limits = {"move_notice_minutes": LONGEST_NOTICE, "cancel_notice_minutes": LONGEST_NOTICE, "most_moves": MOST_MOVES}
    names = {"move_notice_minutes": "moveNoticeMinutes", "cancel_notice_minutes": "cancelNoticeMinutes", "most_moves": "maxMoves"}
    problems = [
        FieldProblem((names[name],), f"Write a whole number from 0 to {most}, or null for no rule.")
        for name, most in limits.items()
        if change.get(name) is not None and not 0 <= change[name] <= most
    ]
    if problems:
        raise InvalidInput(*problems)
