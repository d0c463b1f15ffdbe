"""Persons: found by what they are known by, claimed by whoever proves to be them.

An e-mail address in a booking is only a name somebody typed. It makes a person findable; it becomes somebody's through
a verified e-mail claim or a completed link, never otherwise.
"""

from collections.abc import Iterable
from typing import Any

from models import BookingChange, EventType, Hold, Notification, Operation, Participant, Person, PersonIdentity, User
from models.base import for_update, new_id, transactional
from models.prepared import Prepared, among

Identity = tuple[str, str]  # ("email", address) or (provider slug, the provider's user id)


def email_identity(address: str) -> Identity:
    return ("email", address.strip().lower())


def resolve(person_id: str) -> str:
    """The id of the surviving row; a merged id still resolves."""
    return survivors([person_id])[person_id]


def survivors(person_ids: Iterable[str]) -> dict[str, str]:
    """The same of several: one statement when none is merged."""
    found = {person_id: person_id for person_id in person_ids}
    while True:
        merged = dict(_merged(sorted(set(found.values()))))
        if not merged:
            return found
        found = {person_id: merged.get(survivor, survivor) for person_id, survivor in found.items()}


@Prepared
def _merged(ids: Any) -> Any:
    return Person.select(Person.id, Person.merged_into).where(among(Person.id, ids) & Person.merged_into.is_null(False)).tuples()


def find_or_create(identities: Iterable[Identity], name: str, time_zone: str | None) -> str:
    """The person known by the first identity that is known to anybody; the others are added where they are free.

    An identity that already belongs to somebody else stays theirs: two claims in one booking merge nobody.
    Call inside a transaction.
    """
    wanted = list(dict.fromkeys(identities))
    known = {
        (row.kind, row.value): row.person_id
        for row in PersonIdentity.select().where(
            PersonIdentity.kind.in_([kind for kind, _ in wanted]) & PersonIdentity.value.in_([value for _, value in wanted])
        )
    }
    person_id = next((known[identity] for identity in wanted if identity in known), None)
    if person_id is None:
        person_id = Person.create(name=name, time_zone=time_zone).id
    for identity in wanted:
        if identity not in known:
            person_id = _add(identity, person_id)
    return resolve(person_id)


def known(identity: Identity) -> str | None:
    """Whoever is known by it, if anybody is."""
    row = PersonIdentity.get_or_none((PersonIdentity.kind == identity[0]) & (PersonIdentity.value == identity[1]))
    return resolve(row.person_id) if row is not None else None


def _add(identity: Identity, person_id: str) -> str:
    """Give the identity to the person; if another transaction was first, theirs is the person."""
    kind, value = identity
    list(
        PersonIdentity.insert(id=new_id(), kind=kind, value=value, person=person_id)
        .on_conflict(conflict_target=[PersonIdentity.kind, PersonIdentity.value], action="nothing")
        .returning(PersonIdentity.id)
        .tuples()
        .execute()
    )
    owner: str = PersonIdentity.get((PersonIdentity.kind == kind) & (PersonIdentity.value == value)).person_id
    return owner


@transactional
def claim(person_id: str, identity: Identity) -> bool:
    """Make the identity, and whoever was known by it, this person. False where another user already is that person."""
    while True:
        _add(identity, person_id)
        kind, value = identity
        row = PersonIdentity.get((PersonIdentity.kind == kind) & (PersonIdentity.value == value))
        survivor, other = resolve(person_id), resolve(row.person_id)
        if survivor == other:
            return True
        if User.select().where(User.person == other).exists():
            return False
        lock([survivor, other])
        # somebody may have merged either while we waited for the locks
        if resolve(survivor) == survivor and resolve(other) == other:
            _merge(other, survivor)
            return True


def lock(person_ids: Iterable[str]) -> list[str]:
    """Lock surviving rows in id order; every writer of bookings starts so. Returns them as they are after the wait."""
    wanted = set(person_ids)
    while True:
        ids = sorted(set(survivors(wanted).values()))
        list(for_update(Person.select(Person.id).where(Person.id.in_(ids)).order_by(Person.id)).tuples())
        if ids == sorted(set(survivors(wanted).values())):
            return ids


def _merge(loser: str, winner: str) -> None:
    """Re-point everything of the loser; where both took part in one booking, the loser's row goes."""
    doubled = Participant.select(Participant.booking).where(Participant.person == winner)
    for role in ("MENTEE", "COACH"):  # the stronger role wins
        had = Participant.select(Participant.booking).where((Participant.person == loser) & (Participant.role == role))
        Participant.update(role=role).where((Participant.person == winner) & Participant.booking.in_(had)).execute()
    Participant.delete().where((Participant.person == loser) & Participant.booking.in_(doubled)).execute()
    told = Notification.select(Notification.logical_key).where(Notification.person == winner)
    Notification.delete().where((Notification.person == loser) & Notification.logical_key.in_(told)).execute()
    # an operation that held both of them holds the one that they are
    both = Hold.select(Hold.operation).where(Hold.person == winner)
    Hold.delete().where((Hold.person == loser) & Hold.operation.in_(both)).execute()
    for model, column in (
        (Participant, Participant.person),
        (Hold, Hold.person),
        (Operation, Operation.actor),
        (BookingChange, BookingChange.actor),
        (Notification, Notification.person),
        (EventType, EventType.host),
        (PersonIdentity, PersonIdentity.person),
    ):
        model.update({column: winner}).where(column == loser).execute()
    Person.update(merged_into=winner).where(Person.id == loser).execute()
