"""Erasing a user: what is known of the human goes, what happened stays under ids that name nobody.

First the links are ended as their owner would end them, with the providers told; then one transaction, under the lock
that every writer of the person's bookings takes, blanks everything else. docs/audit.md lists what goes and what stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from models import (
    AuditEntry,
    Booking,
    BookingChange,
    Delivery,
    EventType,
    LinkedAccount,
    LiveChange,
    LiveTicket,
    Notification,
    OAuthState,
    Operation,
    Participant,
    Person,
    PersonIdentity,
    Policy,
    User,
    WebhookEvent,
)
from models.base import is_sqlite, transactional
from models.vacuum import vacuum
from services import audit, claims, erased, linked_accounts, people
from services.erased import PSEUDONYM
from services.errors import InvalidInput, NotConnected, NotFound, ProviderFailure
from services.identity import Viewer
from services.logging import get_logger
from services.runtime import Runtime

log = get_logger("erasure")

SOON = timedelta(seconds=30)


@dataclass(frozen=True)
class Erased:
    """What was done. `already`: it had been done before, and nothing was done now."""

    user_id: str
    already: bool
    bookings: int = 0


def erase(rt: Runtime, viewer: Viewer, user_id: str, confirm_email: str | None) -> Erased:
    """Erase a user for good; again is harmless. `confirm_email`: their address, where they have one.

    Raises NotFound, InvalidInput, and ProviderFailure OPERATION_IN_PROGRESS while a booking of theirs is being changed.
    """
    user = User.get_or_none(User.id == user_id)
    if user is None:
        raise NotFound("There is no such user.")
    if user.erased_at is not None:
        return Erased(user_id, already=True)
    if user_id == viewer.user_id:
        raise InvalidInput.of("userId", "Another admin has to erase you.")
    if (confirm_email or "").strip().lower() != (user.email or ""):
        raise InvalidInput.of("confirmEmail", "This is not the address of that user. Look whether the id is the one you mean.")
    _refuse_open(rt, user)
    for (slug,) in list(LinkedAccount.select(LinkedAccount.provider).where(_links(user_id)).tuples()):
        try:
            linked_accounts.disconnect(rt, _as_viewer(user, viewer), slug)
        except NotConnected:
            continue  # they have just done it themselves
    bookings = _forget(rt, user_id)
    log.info("user erased", user=user_id)
    rt.wake("work")
    return Erased(user_id, already=False, bookings=bookings)


def scrub(_rt: Runtime, _key: str) -> None:
    """The job: what was blanked is gone from SQLite's file as well, not only from its tables."""
    if is_sqlite():
        vacuum()


def _links(user_id: str) -> Any:
    return (LinkedAccount.user == user_id) & LinkedAccount.connected


def _as_viewer(user: User, admin: Viewer) -> Viewer:
    zone = user.chosen_time_zone or user.time_zone or "UTC"
    return Viewer(user.id, user.person_id, user.name, user.email, zone, is_admin=False, session_ends_at=admin.session_ends_at)


def _theirs(person_id: str) -> Any:
    return Participant.select(Participant.booking).where(Participant.person == person_id)


def _refuse_open(rt: Runtime, user: User) -> None:
    concerns = (Operation.user == user.id) | (Operation.actor == user.person_id) | Operation.booking.in_(_theirs(user.person_id))
    if Operation.select().where(Operation.open & concerns).exists():
        raise ProviderFailure(
            "A booking of theirs is being changed right now. Try again when that is done.",
            code="OPERATION_IN_PROGRESS",
            retry_at=rt.clock.now() + SOON,
        )


@transactional
def _forget(rt: Runtime, user_id: str) -> int:
    """Everything else, at once; answers how many bookings they took part in."""
    user = User.get_by_id(user_id)
    people.lock([user.person_id])
    _refuse_open(rt, user)
    if LinkedAccount.select().where(_links(user_id)).exists():
        raise ProviderFailure("They have just connected an account again. Try again.", code="IN_PROGRESS", retry_at=rt.clock.now())
    names = _names(user)
    bookings = _blank_bookings(user.person_id, names)
    _blank_talk(user.person_id, names)
    _blank_operations(user)
    _blank_accounts(user)
    _blank_person(rt, user)
    after = {"bookings": bookings}
    erasure = audit.record(rt, "user.erased", ("User", user_id), after=after)
    about = (AuditEntry.actor_id == user_id) | (AuditEntry.owner_id == user_id)
    AuditEntry.update(personal=None, erased_by=erasure).where(about & AuditEntry.personal.is_null(False)).execute()
    if is_sqlite():
        claims.schedule("scrub", "", rt.clock.now())
    return bookings


def _names(user: User) -> set[str]:
    """Everything that they are called here."""
    found: set[str | None] = {user.name, user.email, Person.get_by_id(user.person_id).name}
    for model, of in ((Participant, Participant.person == user.person_id), (LinkedAccount, LinkedAccount.user == user.id)):
        found |= {text for row in model.select(model.name, model.email).where(of).tuples() for text in row}
    known = (PersonIdentity.person == user.person_id) & (PersonIdentity.kind == "email")
    found |= {row[0] for row in PersonIdentity.select(PersonIdentity.value).where(known).tuples()}
    return {text for text in found if text} - {PSEUDONYM}


def _blank_bookings(person_id: str, names: set[str]) -> int:
    """Their names in bookings and history; what was written into bookings that they booked; why something was cancelled."""
    wrote = _theirs(person_id).where(Participant.role != "COACH")
    Booking.update(answers=None).where(Booking.id.in_(wrote)).execute()
    Booking.update(cancellation_reason=None).where(Booking.id.in_(_theirs(person_id))).execute()
    count = 0
    for row in _rows(Booking, Booking.select(Booking.id, Booking.title, Booking.location).where(Booking.id.in_(_theirs(person_id)))):
        count += 1
        values = {"title": erased.without(row.title, names), "location": erased.link_alone(row.location)}
        if values != {"title": row.title, "location": row.location}:
            Booking.update(**values).where(Booking.id == row.id).execute()
    of_theirs = BookingChange.booking.in_(_theirs(person_id))
    by_them = (BookingChange.actor == person_id) | (of_theirs & BookingChange.by.in_(list(names)))
    unsaid = of_theirs & BookingChange.actor.is_null()
    BookingChange.update(reason=None).where(by_them | unsaid).execute()
    BookingChange.update(by=PSEUDONYM).where(by_them & BookingChange.by.is_null(False)).execute()
    WebhookEvent.update(body=None).where(WebhookEvent.booking.in_(_theirs(person_id)) & WebhookEvent.applied_at.is_null(False)).execute()
    return count


def _blank_talk(person_id: str, names: set[str]) -> None:
    """What they were told goes; what others were told of them goes on without their name."""
    Delivery.delete().where(Delivery.address.in_(list(names))).execute()
    Notification.delete().where(Notification.person == person_id).execute()
    told = Notification.select().where(Notification.booking.in_(_theirs(person_id)))
    for row in _rows(Notification, told):
        before = {"title": row.title, "body": row.body, "by": row.by}
        after = {name: text and erased.without(text, names) for name, text in before.items()}
        if after != before:
            Notification.update(**after).where(Notification.id == row.id).execute()
    Delivery.update(calendar=None).where(Delivery.notification.in_(told.select(Notification.id))).execute()


def _rows(model: Any, query: Any) -> Iterator[Any]:
    """In batches by id: somebody may have thousands."""
    last = ""
    while batch := list(query.where(model.id > last).order_by(model.id).limit(500)):
        yield from batch
        last = batch[-1].id


def _blank_operations(user: User) -> None:
    mine = (Operation.user == user.id) | (Operation.actor == user.person_id)
    Operation.update(reason=None, origin=None).where(mine).execute()
    Operation.update(wish=None).where(mine | Operation.booking.in_(_theirs(user.person_id))).execute()


def _blank_accounts(user: User) -> None:
    """The rows stay, for their ids; nothing in them says whose they were."""
    accounts = LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.user == user.id)
    WebhookEvent.update(body=None).where(WebhookEvent.linked_account.in_(accounts)).execute()
    nothing = {"name": None, "email": None, "username": None, "scheduling_url": None, "organization": None, "time_zone": None}
    LinkedAccount.update(external_id="erased", scopes=[], last_sync_error=None, **nothing).where(LinkedAccount.user == user.id).execute()
    kinds: dict[str, Any] = {"title": PSEUDONYM, "slug": None, "description": None, "scheduling_url": None, "questions": []}
    EventType.update(active=False, linked_account=None, **kinds).where(EventType.host == user.person_id).execute()
    Policy.delete().where(Policy.host == user.person_id).execute()


def _blank_person(rt: Runtime, user: User) -> None:
    for model in (OAuthState, LiveTicket):
        model.delete().where(model.user == user.id).execute()
    LiveChange.delete().where(LiveChange.person == user.person_id).execute()
    theirs = (PersonIdentity.person == user.person_id) & (PersonIdentity.kind != erased.KIND)
    identities = list(PersonIdentity.select(PersonIdentity.kind, PersonIdentity.value).where(theirs).tuples())
    PersonIdentity.delete().where(theirs).execute()
    erased.remember(rt, identities, user.person_id)
    Participant.update(name=PSEUDONYM, email=None, time_zone=None).where(Participant.person == user.person_id).execute()
    Person.update(name=PSEUDONYM, time_zone=None).where((Person.id == user.person_id) | (Person.merged_into == user.person_id)).execute()
    User.update(
        subject=f"erased|{user.id}",
        email=None,
        name=PSEUDONYM,
        time_zone=None,
        chosen_time_zone=None,
        channels=None,
        reminders=[],
        is_admin=False,
        last_seen_at=None,
        erased_at=rt.clock.now(),
    ).where(User.id == user.id).execute()
