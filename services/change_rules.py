"""Who may change a booking, in whose name, and what Convene itself knows against a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from models import Booking, EventType, Hold, LinkedAccount, Operation, Participant
from models.base import from_ms
from services import bookings, people, policies, tokens
from services.errors import Conflict, NotPermitted, PolicyViolation
from services.identity import Viewer
from services.policies import Rules
from services.providers.base import AccountAuth, Auth
from services.runtime import Runtime

OPEN_STATUSES = {"PENDING", "CONFIRMED"}
PARTIES = {"COACH", "MENTEE"}
LONGEST_REASON = 1000


@dataclass(frozen=True)
class OnProviderPage:
    """It can only be done on the provider's own page."""

    url: str
    message: str


SENTENCES = {
    "NOT_A_PARTY": "Only the coach and the mentee may change this booking.",
    "STATUS": "This booking is not open any more.",
    "PAST": "This booking is over.",
    "GROUP_EVENT": "A group event cannot be changed for everybody here.",
    "HOST_NOT_CONNECTED": "The coach's calendar is not connected, so the booking cannot be changed here.",
    "POLICY": "The coach does not let mentees change this booking themselves.",
    "MOVES_USED_UP": "This booking was moved as often as the coach allows.",
    "NOTICE": "It is too late for this change: the coach asks for more notice.",
    "OPERATION_IN_PROGRESS": "Another change of this booking is under way. Try again in a moment.",
}


RULE_OF = {
    "move": {"POLICY": "WHO_MAY_MOVE", "MOVES_USED_UP": "MAXIMUM_MOVES", "NOTICE": "MOVE_NOTICE"},
    "cancel": {"POLICY": "WHO_MAY_CANCEL", "NOTICE": "CANCEL_NOTICE"},
}
"""What a blocker of the coach's own making is called as a rule."""


def blockers(
    booking: Booking,
    role: str | None,
    host: LinkedAccount | None,
    now: datetime,
    *,
    busy: bool,
    action: Literal["move", "cancel"],
    rules: Rules,
    moves: int,
) -> list[str]:
    """RescheduleBlocker names, most final first; empty when the viewer may try. `moves`: how often it was moved so far."""
    found = []
    if role not in {"COACH", "MENTEE"}:
        found.append("NOT_A_PARTY")
    if booking.status not in OPEN_STATUSES:
        found.append("STATUS")
    if booking.end <= now:
        found.append("PAST")
    if booking.is_group and action == "move":
        found.append("GROUP_EVENT")
    if host is None:
        found.append("HOST_NOT_CONNECTED")
    if role == "MENTEE":
        found += _by_rules(booking, now, action, rules, moves)
    if busy:
        found.append("OPERATION_IN_PROGRESS")
    return found


def _by_rules(booking: Booking, now: datetime, action: str, rules: Rules, moves: int) -> list[str]:
    moving = action == "move"
    may, notice = (rules.mentee_may_move, rules.move_notice) if moving else (rules.mentee_may_cancel, rules.cancel_notice)
    found = [] if may else ["POLICY"]
    if moving and rules.most_moves is not None and moves >= rules.most_moves:
        found.append("MOVES_USED_UP")
    if notice and booking.start - now < notice:
        found.append("NOTICE")
    return found


def check_rules(found: list[str], action: Literal["move", "cancel"]) -> None:
    """Raise PolicyViolation where what stands in the way first is a rule of the coach's."""
    if found and (rule := RULE_OF[action].get(found[0])):
        raise PolicyViolation(SENTENCES[found[0]], rule)


def check_reason(role: str, rules: Rules, reason: str | None) -> None:
    if role == "MENTEE" and rules.reason_required and not (reason or "").strip():
        raise PolicyViolation("The coach asks for a reason.", "REASON_REQUIRED")


def stands_in_the_way(booking: Booking, role: str, now: datetime, action: Literal["move", "cancel"], *, busy: bool) -> list[str]:
    """The same for one booking, with everything read that it takes."""
    rules = policies.of_booking(booking)
    moves = policies.moves_of([booking.id]).get(booking.id, 0) if rules.most_moves is not None else 0
    host = bookings.host_account(booking)
    return blockers(booking, role, host, now, busy=busy, action=action, rules=rules, moves=moves)


def page_instead(rt: Runtime, booking: Booking, found: list[str], action: Literal["move", "cancel"]) -> str | None:
    """The provider's own page, where nothing but our missing access, a group, or a provider that cannot stands in the way."""
    can = rt.providers[booking.provider].capabilities
    immovable = action == "move" and (not (can.reschedules or can.replaces) or not booking.movable)
    ours = immovable or (can.places and booking.is_group)
    if not (found or ours) or not set(found) <= {"GROUP_EVENT", "HOST_NOT_CONNECTED"}:
        return None
    return rt.scheduling(booking.provider).booking_page(booking.external_id, action)


def party(viewer: Viewer, booking: Booking, what: str) -> str:
    role = bookings.role_of(viewer, booking)
    if role not in {"COACH", "MENTEE"}:
        raise NotPermitted(f"Only the coach and the mentee may {what} this booking.")
    return role


def caller(rt: Runtime, viewer: Viewer, booking: Booking, role: str) -> tuple[Auth, str | None]:
    """Whose token moves it, and in whose name.

    A coach's own token settles the move at once. A mentee uses theirs or none, with their own address: Cal.com would
    accept the organiser's address from anybody and skip the coach's confirmation. The token is made sure of here: its
    problems must show before anything counts as sent. Raises ConnectionUnusable and ProviderFailure.
    """
    if rt.providers[booking.provider].capabilities.anonymous:
        auth, own = _in_whose_name(viewer, booking, role)
    else:
        # only the host's token can do it at all
        host = bookings.host_account(booking)
        auth, own = (tokens.auth_of(host) if host else None), None
    if isinstance(auth, AccountAuth):
        tokens.ensure_valid(rt, auth.account_id)
    return auth, own


def _in_whose_name(viewer: Viewer, booking: Booking, role: str) -> tuple[Auth, str | None]:
    if role == "COACH":
        account = _own_account(viewer, booking) or bookings.host_account(booking)
        return (tokens.auth_of(account) if account else None), None
    parts = list(Participant.select().where(Participant.booking == booking.id))
    coachs = {p.email for p in parts if p.role == "COACH"}
    own = next((p.email for p in parts if p.person_id == people.resolve(viewer.person_id)), None)
    account = _own_account(viewer, booking)
    usable = account is not None and account.problem_code not in tokens.NEEDS_PERSON
    return (tokens.auth_of(account) if usable and account else None), (own if own not in coachs else None)


def _own_account(viewer: Viewer, booking: Booking) -> LinkedAccount | None:
    found: LinkedAccount | None = LinkedAccount.get_or_none(
        (LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == booking.provider) & LinkedAccount.connected
    )
    return found


def clashes(
    viewer: Viewer,
    parties: dict[str, tuple[str, str]],
    start: datetime,
    end: datetime,
    *,
    besides: Booking | None = None,
    occasion: EventType | None = None,
    statuses: Sequence[str] = tuple(sorted(OPEN_STATUSES)),
) -> list[Conflict]:
    """Convene's own bookings and holds that overlap, of `parties`: person to (name, role). Call under their locks.

    Of the other party only that they are busy. `besides`: the booking that is changed does not stand in its own way.
    `occasion`: nor do the places of that group event that begins then.
    """
    own_id = besides.id if besides else ""
    taken = (
        Participant.select(Participant.person, Booking.start, Booking.end)
        .join(Booking)
        .where(
            Participant.person.in_(list(parties))
            & Participant.role.in_(sorted(PARTIES))
            & (Booking.id != own_id)
            & Booking.status.in_(list(statuses))
            & (Booking.start < end)
            & (Booking.end > start)
        )
    )
    held = (
        Hold.select(Hold.person, Hold.start, Hold.end)
        .join(Operation)
        .where(Hold.person.in_(list(parties)) & (Hold.start < end) & (Hold.end > start))
    )
    if occasion is not None:
        same = (Booking.event_type == occasion.id) & (Booking.start == start) & Booking.is_group & (Participant.role == "COACH")
        # of a booking of no known event type it cannot be said
        taken = taken.where(Booking.event_type.is_null() | ~same)
        joins = (Operation.event_type == occasion.id) & (Operation.hold_start == start) & (Hold.person == occasion.host)
        # an operation about no event type is none about this one
        held = held.where(Operation.event_type.is_null() | ~joins)
    found = []
    for query, reason in ((taken, "BOOKED"), (held, "HELD")):
        # the places of a group event are one event
        for person_id, busy_from, busy_to in sorted(set(query.tuples())):
            name, role = parties[person_id]
            why = reason if person_id == viewer.person_id else "OTHER_PARTY_UNAVAILABLE"
            found.append(Conflict(person_id, name, role, why, max(_at(busy_from), start), min(_at(busy_to), end)))
    return found


def _at(value: Any) -> datetime:
    return value if isinstance(value, datetime) else from_ms(int(value))
