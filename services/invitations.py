"""Calendar entries (RFC 5545, RFC 5546) for bookings whose provider sends none of its own."""

from datetime import timedelta
from email.utils import parseaddr

from icalendar import Calendar, Event, vCalAddress, vText

from models import Booking, LinkedAccount, Meeting, Participant, User
from services.recipients import Recipient
from services.runtime import Runtime

PRODUCT = "-//Convene//Convene//EN"
STATUS = {"CONFIRMED": "CONFIRMED", "PENDING": "TENTATIVE"}
ENDED = "CANCELLED"


def write(rt: Runtime, booking: Booking, to: Recipient, host: str) -> str | None:
    """The entry as it is to be now, for this one person; None where the provider sends it itself.

    The same UID all the booking's life, SEQUENCE its version. It names no other address than the recipient's and ours.
    """
    if to.address is None or provider_invites(rt, booking):
        return None
    calendar, event = Calendar(), Event()
    status = STATUS.get(booking.status, ENDED)
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", "CANCEL" if status == ENDED else "REQUEST")
    event.add("uid", f"{booking.id}@{host}")
    event.add("sequence", booking.version)
    event.add("dtstamp", rt.clock.now())
    event.add("dtstart", booking.start)
    event.add("dtend", max(booking.end, booking.start + timedelta(minutes=1)))
    event.add("summary", to.line(booking.title))
    event.add("status", status)
    event.add("organizer", _organizer(rt, booking, to), encode=False)
    event.add("attendee", _attendee(to, status), encode=False)
    if status != ENDED:
        _place(event, booking, to)
    calendar.add_component(event)
    return calendar.to_ical().decode()


def provider_invites(rt: Runtime, booking: Booking) -> bool:
    """Whether the provider sends calendar entries itself, by the kind of the host's link; a host without one has an ordinary account."""
    invites = rt.providers[booking.provider].capabilities.invites
    hosts = (
        LinkedAccount.select(LinkedAccount.kind)
        .join(User)
        .join(Participant, on=(Participant.person == User.person))
        .where((Participant.booking == booking.id) & (Participant.role == "COACH") & (LinkedAccount.provider == booking.provider))
    )
    kinds = [row[0] for row in hosts.tuples()]
    return any(kind in invites for kind in kinds) if kinds else bool(invites)


def _organizer(rt: Runtime, booking: Booking, to: Recipient) -> vCalAddress:
    name, address = parseaddr(rt.settings.mail_from)
    coach = Participant.get_or_none((Participant.booking == booking.id) & (Participant.role == "COACH"))
    organizer = vCalAddress(f"mailto:{address}")
    organizer.params["CN"] = vText(_quotable(to.line(coach.name if coach else "") or name or "Convene"))
    return organizer


def _attendee(to: Recipient, status: str) -> vCalAddress:
    attendee = vCalAddress(f"mailto:{to.address}")
    attendee.params["CN"] = vText(_quotable(to.line(to.name) or str(to.address)))
    attendee.params["ROLE"] = vText("REQ-PARTICIPANT")
    attendee.params["PARTSTAT"] = vText("ACCEPTED" if status == "CONFIRMED" else "TENTATIVE" if status == "TENTATIVE" else "DECLINED")
    # nobody reads answers at our address
    attendee.params["RSVP"] = vText("FALSE")
    return attendee


def _quotable(text: str) -> str:
    """A parameter's value has no way to escape a double quote."""
    return text.replace('"', "'")


def _place(event: Event, booking: Booking, to: Recipient) -> None:
    link = join_link(booking, to)
    where = to.line(booking.location) or link
    if where:
        event.add("location", where)
    if link:
        event.add("url", link)


def join_link(booking: Booking, to: Recipient) -> str | None:
    """The link to join, while there is something to join."""
    if booking.status not in STATUS:
        return None
    meeting = Meeting.get_or_none(Meeting.id == booking.meeting_id) if booking.meeting_id else None
    return to.link(booking.meeting_url or (meeting.join_url if meeting is not None else None))
