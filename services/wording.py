"""The sentences of notifications. Times are told in the recipient's zone, which is named."""

from datetime import datetime
from zoneinfo import ZoneInfo

from models import Booking, BookingChange

CHECK_YOUR_CALENDAR = "Make sure this time works for you. Let us know if you need to change it."

Words = tuple[str, str]
"""Title and body."""


def moment(at: datetime | None, zone: ZoneInfo) -> str:
    if at is None:
        return "?"
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} ({zone})"


def of_change(kind: str, booking: Booking, change: BookingChange, *, who: str, zone: ZoneInfo) -> Words:
    """Of a change of which people are told. `who` made it: "You", a name, or the provider's."""
    old, new = moment(change.previous_start, zone), moment(change.new_start, zone)
    name = booking.title
    if kind == "AWAITING_CONFIRMATION":
        asked = f"{who} asked to move “{name}” from {old} to {new}." if change.kind == "MOVED" else f"{who} asked for “{name}” on {new}."
        return f"Awaiting confirmation: {name}", f"{asked} The coach has to confirm it."
    return {
        "BOOKED": (f"Booked: {name}", f"{who} booked “{name}” for {new}."),
        "MOVED": (f"Moved: {name}", f"{who} moved “{name}” from {old} to {new}."),
        "CANCELLED": (f"Cancelled: {name}", f"{who} cancelled “{name}” on {old}."),
        "CONFIRMED": (f"Confirmed: {name}", f"“{name}” on {moment(booking.start, zone)} is confirmed."),
        "DECLINED": (f"Declined: {name}", f"“{name}” on {old} was declined."),
    }[kind]


def not_restored(earlier: datetime | None, zone: ZoneInfo) -> str:
    """Behind the news that a move was declined: the provider gave the time before it up when the move was asked for."""
    return f"The earlier time, {moment(earlier, zone)}, is not restored: the booking is cancelled."


def of_recording(booking: Booking, zone: ZoneInfo) -> Words:
    return (
        f"Recording ready: {booking.title}",
        f"The recording of “{booking.title}” on {moment(booking.start, zone)} is ready. You find it with the booking.",
    )


def of_reminder(title: str, start: datetime, zone: ZoneInfo) -> Words:
    return f"Reminder: {title}", f"“{title}” begins on {moment(start, zone)}."


def of_broken_link(label: str) -> Words:
    way_back = f"Open the connection settings and connect {label} again; bookings and history stay."
    return f"Connect {label} again", f"The connection to {label} no longer works, and only you can repair it. {way_back}"
