"""People who were erased stay so, whatever providers still tell of them.

The other party's calendar goes on naming them, and every reading of it would bring the name back. Of each address and
provider id that was erased a keyed hash is kept, which says nothing to whoever has no more than the database; what fits
one is shown as nobody in particular. That holds for bookings from before the erasure. Who books again afterwards, or
signs in again with a verified address, is somebody new to us.
"""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models import Booking, BookingExternalId, Participant, PersonIdentity, User
from models.base import new_id, present
from models.prepared import Prepared
from services import audit_chain, people
from services.booking_chains import Change
from services.people import Identity
from services.providers.base import RemoteBooking, RemotePerson
from services.runtime import Runtime

PSEUDONYM = "Erased person"
KIND = "erased"
PURPOSE = b"erased identity:"


def remember(rt: Runtime, identities: Iterable[Identity], person_id: str) -> None:
    """That these were erased, and whose they were; without what they were."""
    key, now = audit_chain.key(rt), present()
    for identity in identities:
        insert = PersonIdentity.insert(id=new_id(), kind=KIND, value=_mark(key, identity), person=person_id)
        update = {PersonIdentity.person: person_id, PersonIdentity.created_at: now}
        conflict = insert.on_conflict(conflict_target=[PersonIdentity.kind, PersonIdentity.value], update=update)
        list(conflict.returning(PersonIdentity.id).tuples().execute())


def _mark(key: bytes, identity: Identity) -> str:
    return hmac.digest(key, PURPOSE + ":".join(identity).encode(), "sha256").hex()


def without(text: str, names: Iterable[str]) -> str:
    """The text with every one of these names and addresses taken out of it, the longest first."""
    for name in sorted({n for n in names if n}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", PSEUDONYM, text, flags=re.IGNORECASE)
    return text


def link_alone(location: str | None) -> str | None:
    """A place may be somebody's telephone number or home; the address of a video meeting is neither."""
    return location if location and location.startswith(("https://", "http://")) else None


@dataclass(frozen=True)
class Veil:
    """Who of a booking's people was erased: the person that they were here, by how the provider tells them."""

    people: Mapping[RemotePerson, str] = field(default_factory=dict)

    def person_of(self, person: RemotePerson) -> str | None:
        return next((person_id for person_id in self.people.values() if person.external_id == person_id), None)

    def over(self, chain: Sequence[RemoteBooking]) -> list[RemoteBooking]:
        """The chain as it may be kept."""
        return [self._over(remote) for remote in chain] if self.people else list(chain)

    def _over(self, remote: RemoteBooking) -> RemoteBooking:
        names = [text for person in self.people for text in (person.name, person.email) if text]
        shown = tuple(self._shown(person) for person in remote.people)
        wrote = any(person.role != "COACH" for person in self.people)
        return replace(
            remote,
            people=shown,
            title=without(remote.title, names),
            location=link_alone(remote.location),
            answers=() if wrote else remote.answers,
            cancellation_reason=None,
        )

    def _shown(self, person: RemotePerson) -> RemotePerson:
        person_id = next((found for one, found in self.people.items() if _same(one, person)), None)
        return replace(person, name=PSEUDONYM, email=None, time_zone=None, external_id=person_id) if person_id else person

    def told(self, changes: Sequence[Change]) -> list[Change]:
        """What the chain says happened, without who they were and what they wrote."""
        names = {person.name for person in self.people}
        addresses = {(person.email or "").lower() for person in self.people} - {""}
        for change in changes:
            if self.people and ((change.by_email or "").lower() in addresses or change.by in names or change.by_email is None):
                change.reason = None
                change.by = PSEUDONYM if change.by in names else change.by
        return list(changes)


def _same(one: RemotePerson, other: RemotePerson) -> bool:
    return (one.email is not None and one.email == other.email) or (one.external_id is not None and one.external_id == other.external_id)


@Prepared
def _anybody() -> Any:
    return PersonIdentity.select(PersonIdentity.id).where(PersonIdentity.kind == KIND).limit(1)


def veil(rt: Runtime, slug: str, chain: Sequence[RemoteBooking]) -> Veil:
    """Who of these people was erased, as far as this booking is one from before that."""
    if _anybody.first() is None:
        return Veil()
    key = audit_chain.key(rt)
    marks = {_mark(key, identity): (person, identity) for person in chain[-1].people for identity in _identities(slug, person)}
    rows = list(PersonIdentity.select().where((PersonIdentity.kind == KIND) & PersonIdentity.value.in_(list(marks))))
    found = {}
    for row in rows:
        person, identity = marks[row.value]
        if _from_before(slug, chain, row) and not _is_back(identity):
            found[person] = people.resolve(row.person_id)
    return Veil(found)


def _identities(slug: str, person: RemotePerson) -> list[Identity]:
    found = [(slug, person.external_id)] if person.external_id else []
    return [*found, people.email_identity(person.email)] if person.email else found


def _from_before(slug: str, chain: Sequence[RemoteBooking], row: PersonIdentity) -> bool:
    ids = [one for remote in chain for one in (remote.external_id, remote.previous_id) if one]
    known = BookingExternalId.select(BookingExternalId.booking).where(
        (BookingExternalId.provider == slug) & BookingExternalId.external_id.in_(ids)
    )
    # a move makes a new booking at some providers: what it continues is what counts
    if Participant.select().where((Participant.person == row.person_id) & Participant.booking.in_(known)).exists():
        return True
    return not Booking.select().where(Booking.id.in_(known)).exists() and chain[0].created_at <= row.created_at


def _is_back(identity: Identity) -> bool:
    """Somebody who signs in has proved to be them since."""
    person_id = people.known(identity)
    return person_id is not None and User.select().where((User.person == person_id) & User.erased_at.is_null()).exists()
