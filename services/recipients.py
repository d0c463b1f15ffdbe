"""Who can be told, where, in which zone and by which channels."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from peewee import JOIN

from models import Participant, Person, User
from services.identity import zone

PARTIES = ("COACH", "MENTEE")
IN_APP, EMAIL = "IN_APP", "EMAIL"
CHANNELS = (EMAIL, IN_APP)
ADDRESS = re.compile(r"[^\s<>()\[\]{},;:\"'“”„«»/?&=]+@[^\s<>()\[\]{},;:\"'“”„«»/?&=]+")
HIDDEN = "[address]"


@dataclass(frozen=True)
class Recipient:
    """One person. `address` None: nobody knows where they read mail. `role`: in the booking it is about."""

    person_id: str
    name: str
    address: str | None
    zone: ZoneInfo
    channels: tuple[str, ...]
    signs_in: bool
    role: str | None = None

    def line(self, text: str | None) -> str:
        """What somebody wrote as one line of a mail to this person: no control characters, nobody else's address.

        Nor the beginning of an encoded word: the mail library decodes one that it finds in a text, line breaks included.
        """
        printable = "".join(c if c.isprintable() else " " for c in text or "").replace("=?", "= ?")
        return ADDRESS.sub(self._own, " ".join(printable.split()))

    def link(self, address: str | None) -> str | None:
        """A web address fit for a mail to this person; None for anything else."""
        clean = self.line(address)
        return clean if clean == address and clean.startswith(("https://", "http://")) else None

    def _own(self, found: re.Match[str]) -> str:
        # a sentence may end behind it
        bare = found[0].rstrip(".!")
        mine = self.address is not None and bare.lower() == self.address.lower()
        return found[0] if mine else HIDDEN + found[0][len(bare) :]


def of_booking(booking_id: str) -> list[Recipient]:
    """The parties of a booking, at their verified address, else at the one that the booking gives them."""
    return [of_participant(row) for row in _parties(booking_id).order_by(Participant.id)]


def in_booking(booking_id: str, person_id: str) -> Recipient | None:
    """One party of a booking; None for somebody who is none any more."""
    row = _parties(booking_id).where(Participant.person == person_id).first()
    return of_participant(row) if row is not None else None


def _parties(booking_id: str) -> Any:
    rows = Participant.select(Participant, User).join(User, JOIN.LEFT_OUTER, on=(User.person == Participant.person), attr="user")
    return rows.where((Participant.booking == booking_id) & Participant.role.in_(PARTIES))


def of_participant(row: Participant) -> Recipient:
    """Of a participant that was read with its user as `user`."""
    user = getattr(row, "user", None)
    return _recipient(row.person_id, row.name, row.email, row.time_zone, user if user is not None and user.id else None, row.role)


def of_person(person_id: str) -> Recipient:
    """The person by themselves, without what any booking says of them."""
    person, user = Person.get_by_id(person_id), User.get_or_none(User.person == person_id)
    return _recipient(person_id, person.name, None, person.time_zone, user, None)


def at_address(to: Recipient, address: str) -> Recipient:
    """The same person at the address for which something was queued."""
    return replace(to, address=address)


def _recipient(person_id: str, name: str, email: str | None, time_zone: str | None, user: User | None, role: str | None) -> Recipient:
    chosen: Iterable[str] | None = user.channels if user else None
    return Recipient(
        person_id=person_id,
        name=name or (user.name if user else ""),
        address=(user.email if user else None) or email,
        zone=zone((user.chosen_time_zone or user.time_zone if user else None) or time_zone),
        channels=CHANNELS if chosen is None else tuple(chosen),
        signs_in=user is not None,
        role=role,
    )
