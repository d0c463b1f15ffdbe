"""What people write into bookings, on its way into mails and calendar entries: no header, no property and no second event comes of it."""

import email
import email.policy
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import vobject
from harness import Issuer, World
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from keeping import Ways
from mailing import mailing_world
from system.fuzz_operations import STRANGE
from test_fuzz_parsers import both
from test_managed_users import PLATFORM, SECRET, configure, linked

from models import Booking, Delivery, Notification
from sandbox.app import Sandbox
from services import invitations, letters, outbox, recipients
from services.letters import Unaddressable

HEADERS = {"From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted", "In-Reply-To", "References", "MIME-Version", "Content-Type"}
BREAKS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029\x00\x1b"
EVIL = st.sampled_from([text for text in STRANGE if text.isprintable() or not any(0xD800 <= ord(c) <= 0xDFFF for c in text)])
INJECTED = st.sampled_from(
    [
        "\r\nBcc: evil@example.test",
        "\nX-Evil: 1\n\nbody",
        "=?utf-8?q?=0d=0aBcc:_evil@example.test?=",
        "\r\nEND:VEVENT\r\nBEGIN:VEVENT",
        ";CN=x:mailto:evil@example.test",
    ]
)
WORDS = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=30) | INJECTED | st.sampled_from(BREAKS) | EVIL.map(lambda t: t[:300]), max_size=4
).map("".join)
ADDRESSES = (
    st.builds("{}@{}".format, WORDS.map(lambda t: t[:30]), st.sampled_from(["example.test", "é.test", "", "[127.0.0.1]", "a..b"])) | WORDS
)


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    with mailing_world(database_url, issuer, shared_sandbox, ways) as running:
        yield running


@pytest.fixture
def told(world: World) -> tuple[World, Delivery]:
    """A mail to the mentee of a managed user's booking, which has a calendar entry."""
    world.sandbox_call("calcom/platform-clients", clientId=PLATFORM, clientSecret=SECRET, defaultEventTypes=True)
    configure(world)
    mona = linked(world)
    kind = next(one for one in world.sandbox.world.calcom.event_types.values())
    who = {"name": "Otto", "email": "otto@example.test", "timeZone": "Europe/London"}
    world.sandbox_call("calcom/bookings", eventTypeId=kind.id, start="2027-03-02T10:00:00Z", attendee=who)
    world.jobs()
    assert mona.bookings()
    delivery = Delivery.get(Delivery.address == "otto@example.test")
    assert delivery.calendar is not None
    return world, delivery


def one_line(text: str) -> bool:
    return not any(mark in text for mark in BREAKS)


@both
def test_mails_and_calendar_entries(told: tuple[World, Delivery], how: hypothesis_settings) -> None:
    world, delivery = told
    notification = Notification.get_by_id(delivery.notification_id)
    booking = Booking.get_by_id(notification.booking_id)
    known = recipients.in_booking(booking.id, notification.person_id)
    assert known is not None

    @how
    @given(WORDS, WORDS, WORDS, WORDS)
    def check(title: str, name: str, location: str, body: str) -> None:
        to = replace(known, name=name)
        booking.title, booking.location = title, location
        notification.booking, notification.title, notification.body, notification.by = booking, f"Booked: {title}", body, name
        entry = invitations.write(world.rt, booking, to, "convene.test")
        assert entry is not None
        delivery.calendar = outbox.seal_calendar(world.rt, delivery.id, entry)
        judge_mail(letters.compose(world.rt, delivery, notification, to).as_bytes(policy=email.policy.SMTP), "otto@example.test")
        judge_entry(entry, to.line(title))

    check()


@both
def test_addresses(told: tuple[World, Delivery], how: hypothesis_settings) -> None:
    """One address of one person, or none that mail is sent to."""
    world, delivery = told
    notification = Notification.get_by_id(delivery.notification_id)
    known = recipients.in_booking(notification.booking_id, notification.person_id)
    assert known is not None

    @how
    @given(ADDRESSES, WORDS)
    def check(address: str, name: str) -> None:
        delivery.address = address
        try:
            message = letters.compose(world.rt, delivery, notification, replace(known, name=name, address=address))
        except Unaddressable:
            return
        judge_mail(message.as_bytes(policy=email.policy.SMTPUTF8), address)

    check()


def judge_mail(raw: bytes, address: str) -> None:
    head = raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if line[:1] not in {b" ", b"\t"}]
    assert sorted(names) == sorted(HEADERS), names
    message: Any = email.message_from_bytes(raw, policy=email.policy.default)
    (to,) = message["To"].addresses
    # what stands in a header as UTF-8 is bytes to this parser
    assert to.addr_spec.encode("utf-8", "surrogateescape").decode("utf-8", "replace") == address
    assert one_line(str(message["Subject"]))
    assert message.get_body(("plain",)) is not None
    assert message.get_body(("html",)) is not None


def judge_entry(entry: str, title: str) -> None:
    assert all(len(line.encode()) <= 75 for line in entry.split("\r\n"))
    assert entry.split("\r\n").count("BEGIN:VEVENT") == 1
    calendar = vobject.readOne(entry)
    (event,) = calendar.vevent_list
    assert event.summary.value == title
    assert event.attendee.value == "mailto:otto@example.test"
    assert len(event.attendee_list) == 1
    assert set(event.attendee.params) == {"CN", "ROLE", "PARTSTAT", "RSVP"}
    allowed = {"uid", "sequence", "dtstamp", "dtstart", "dtend", "summary", "status", "organizer", "attendee", "location", "url"}
    assert set(event.contents) <= allowed, event.contents
    assert set(event.uid.value) <= {*string.ascii_letters, *string.digits, "@", "."}
