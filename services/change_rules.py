"""Who may change a booking, in whose name, and what Convene itself knows against a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from models import Booking, LinkedAccount, Operation, Participant
from models.base import from_ms
from services import bookings, people, tokens
from services.errors import Conflict, NotPermitted
from services.identity import Viewer
from services.providers.base import AccountAuth, Auth
from services.runtime import Runtime

OPEN_STATUSES = {"PENDING", "CONFIRMED"}
PARTIES = {"COACH", "MENTEE"}


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
    "OPERATION_IN_PROGRESS": "Another change of this booking is under way. Try again in a moment.",
}


def move_blockers(booking: Booking, role: str | None, host: LinkedAccount | None, now: datetime, *, busy: bool) -> list[str]:
    """RescheduleBlocker names, most final first; empty when the viewer may try."""
    found = []
    if role not in {"COACH", "MENTEE"}:
        found.append("NOT_A_PARTY")
    if booking.status not in OPEN_STATUSES:
        found.append("STATUS")
    if booking.end <= now:
        found.append("PAST")
    if booking.is_group:
        found.append("GROUP_EVENT")
    if host is None:
        found.append("HOST_NOT_CONNECTED")
    if busy:
        found.append("OPERATION_IN_PROGRESS")
    return found


def page_instead(rt: Runtime, booking: Booking, blockers: list[str], action: Literal["move", "cancel"]) -> str | None:
    """The provider's own page, where nothing but our missing access, a group, or a provider that cannot stands in the way."""
    can = rt.providers[booking.provider].capabilities
    ours = (action == "move" and not can.reschedules) or (can.places and booking.is_group)
    if not (blockers or ours) or not set(blockers) <= {"GROUP_EVENT", "HOST_NOT_CONNECTED"}:
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


def clashes(viewer: Viewer, booking: Booking, participants: list[Participant], start: datetime, end: datetime) -> list[Conflict]:
    """Convene's own bookings and holds of the parties that overlap; of the other party only that they are busy."""
    parties = {p.person_id: p for p in participants if p.role in {"COACH", "MENTEE"}}
    found = []
    taken = (
        Participant.select(Participant.person, Booking.start, Booking.end)
        .join(Booking)
        .where(
            Participant.person.in_(list(parties))
            & (Booking.id != booking.id)
            & Booking.status.in_(sorted(OPEN_STATUSES))
            & (Booking.start < end)
            & (Booking.end > start)
        )
    )
    held = (
        Participant.select(Participant.person, Operation.hold_start, Operation.hold_end)
        .join(Booking)
        .join(Operation)
        .where(
            Participant.person.in_(list(parties))
            & (Booking.id != booking.id)
            & Operation.open
            & (Operation.hold_start < end)
            & (Operation.hold_end > start)
        )
    )
    for query, reason in ((taken, "BOOKED"), (held, "HELD")):
        # the places of a group event are one event
        for person_id, busy_from, busy_to in sorted(set(query.tuples())):
            own = person_id == viewer.person_id
            found.append(
                Conflict(
                    person_id,
                    parties[person_id].name,
                    parties[person_id].role,
                    reason if own else "OTHER_PARTY_UNAVAILABLE",
                    max(_at(busy_from), start),
                    min(_at(busy_to), end),
                )
            )
    return found


def _at(value: Any) -> datetime:
    return value if isinstance(value, datetime) else from_ms(int(value))
