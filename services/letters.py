"""What a mail looks like: text, HTML and, where there is one, the calendar entry.

Everything that people wrote is one line, escaped, and shows nobody's address but the recipient's own.
"""

from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from models import Booking, BookingChange, Delivery, Notification
from services import invitations, outbox
from services.recipients import Recipient
from services.runtime import Runtime
from services.vault import place

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
LONGEST_SUBJECT = 200
LONGEST_NAME = 60
UNQUOTED = str.maketrans(dict.fromkeys('()<>[]:;@\\,."', " "))
"""The specials of RFC 5322."""
ENDED = ("CANCELLED", "DECLINED")


class Unaddressable(Exception):
    """What stands as the recipient's address is none."""


@dataclass(frozen=True)
class Letter:
    """What the templates show. `was` is struck through."""

    title: str
    body: str
    preheader: str
    name: str | None
    was: str | None
    when: str | None
    ended: bool
    place: str | None
    place_link: str | None
    join: str | None
    by: str | None
    reason: str | None
    why: str
    how: str


def compose(rt: Runtime, delivery: Delivery, notification: Notification, to: Recipient) -> EmailMessage:
    """The mail of a delivery, the same at every try but for its date. Raises Unaddressable."""
    # a booking that the person was taken out of shows no more than what they were told
    booking = notification.booking if to.role else None
    letter = _letter(rt, notification, booking, to)
    message = EmailMessage()
    _address(rt, message, delivery, to)
    message["Subject"] = letter.title[:LONGEST_SUBJECT]
    message["Message-ID"] = delivery.message_id
    message["Date"] = format_datetime(rt.clock.now())
    message["Auto-Submitted"] = "auto-generated"
    if notification.booking_id:
        # nobody sent such a message: mails that refer to the same one are shown together
        thread = f"<{notification.booking_id}@{outbox.host(rt)}>"
        message["In-Reply-To"], message["References"] = thread, thread
    message.set_content(TEMPLATES.get_template("letter.txt").render(letter=letter))
    message.add_alternative(TEMPLATES.get_template("letter.html").render(letter=letter), subtype="html")
    calendar = outbox.calendar_of(rt, delivery)
    if calendar is not None:
        _invite(message, calendar)
    return message


def _address(rt: Runtime, message: EmailMessage, delivery: Delivery, to: Recipient) -> None:
    name, sender = parseaddr(rt.settings.mail_from)
    message["From"] = Address(name, addr_spec=sender)
    try:
        message["To"] = recipient = Address(_display_name(to), addr_spec=delivery.address)
    except (ValueError, IndexError, HeaderParseError) as error:
        raise Unaddressable from error
    if recipient.addr_spec != delivery.address:
        raise Unaddressable  # what the parser leaves out, a space for one, makes it another's address


def _display_name(to: Recipient) -> str:
    """Their name without what would have to be quoted: where a long header is folded, the quotes get lost."""
    return " ".join(to.line(to.name).translate(UNQUOTED).split())[:LONGEST_NAME]


def _invite(message: EmailMessage, calendar: str) -> None:
    """As an alternative for clients that show a calendar entry in its place, and as a file for those that do not."""
    method = "CANCEL" if "METHOD:CANCEL" in calendar else "REQUEST"
    message.add_alternative(calendar.encode(), "text", "calendar", cte="base64", params={"method": method, "charset": "utf-8"})
    message.add_attachment(calendar.encode(), "application", "ics", filename="invite.ics")


def _letter(rt: Runtime, notification: Notification, booking: Booking | None, to: Recipient) -> Letter:
    body, about = to.line(notification.body), notification.kind != "RECONNECT_NEEDED"
    ended = notification.kind in ENDED or (booking is not None and booking.status in ENDED)
    start: datetime | None = notification.new_start or (booking.start if booking is not None else None)
    was: datetime | None = notification.previous_start
    if notification.kind in ENDED:
        was, start = was or start, None
    join = invitations.join_link(booking, to) if booking is not None and not ended else None
    where = to.line(booking.location) if booking is not None and not ended else ""
    return Letter(
        title=to.line(notification.title),
        body=body,
        preheader=body[:LONGEST_SUBJECT],
        name=to.line(booking.title) if booking is not None else None,
        was=_time(was, None, to.zone) if was and booking is not None else None,
        when=_time(start, _length(booking, start), to.zone) if start and booking is not None else None,
        ended=ended,
        place=where if where and where != join else None,
        place_link=to.link(where) if where else None,
        join=join,
        by=to.line(notification.by) or None,
        reason=_reason(rt, notification, to) if booking is not None else None,
        why=_why(to, about_booking=about),
        how="Which e-mails you get, and in which time zone, is set in the application's notification settings."
        if to.signs_in
        else "Sign in to the application with this address to choose which e-mails you get.",
    )


def _length(booking: Booking | None, start: datetime) -> datetime | None:
    return start + (booking.end - booking.start) if booking is not None else None


def _time(start: datetime, end: datetime | None, zone: ZoneInfo) -> str:
    local = start.astimezone(zone)
    text = f"{local:%A}, {local.day} {local:%B %Y}, {local:%H:%M}"
    if end is None:
        return f"{text} ({zone})"
    until = end.astimezone(zone)
    shown = f"{until:%H:%M}" if until.date() == local.date() else f"{until:%A}, {until.day} {until:%B}, {until:%H:%M}"
    return f"{text} to {shown} ({zone})"


def _reason(rt: Runtime, notification: Notification, to: Recipient) -> str | None:
    """As it stands in the booking's history, which every participant may read."""
    same = (BookingChange.booking == notification.booking_id) & (BookingChange.logical_key == notification.logical_key)
    change = BookingChange.get_or_none(same)
    if change is None or not change.reason:
        return None
    return to.line(rt.vault.open(change.reason, place("booking_change", change.id, "reason"))) or None


def _why(to: Recipient, *, about_booking: bool) -> str:
    if not about_booking:
        return "You get this e-mail because you linked this account."
    role = "host" if to.role == "COACH" else "take part in"
    return f"You get this e-mail because you {role} this booking."
