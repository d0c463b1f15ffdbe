"""What is written down of changes of bookings: when they are, and how they stand; nobody's names, and nothing people wrote.

Once per change, whichever path reports it, because it hangs on the change's own row; by whoever asked for it, wherever
it was recorded. What happened before the account was linked is history and no change.
"""

from collections.abc import Sequence

from models import Booking, BookingChange, Operation, User
from services import audit, origins
from services.origins import Actor
from services.runtime import Runtime

ACTIONS = {
    "BOOKED": "booking.created",
    "MOVED": "booking.moved",
    "CANCELLED": "booking.cancelled",
    "CONFIRMED": "booking.confirmed",
    "DECLINED": "booking.declined",
    "NO_SHOW": "booking.no_show",
}
SHOWN = ("status", "start", "end", "is_group")
DETAILS = ("title", "location", "meeting_url", *SHOWN)


def note(rt: Runtime, was: Booking, change_ids: Sequence[str], *, otherwise: bool) -> None:
    """These changes are news; `was` is the booking before they were taken in. `otherwise`: it is different without any."""
    if otherwise:
        _of_details(rt, was)
    if change_ids:
        _of_changes(rt, was, change_ids)


def _of_changes(rt: Runtime, was: Booking, change_ids: Sequence[str]) -> None:
    booking = Booking.get_by_id(was.id)
    for change in BookingChange.select().where(BookingChange.id.in_(change_ids)).order_by(BookingChange.at, BookingChange.id):
        operation = Operation.get_or_none(Operation.id == change.operation_id)
        audit.record(
            rt,
            ACTIONS[change.kind],
            ("Booking", booking.id),
            before={"start": change.previous_start, "end": change.previous_end} if change.previous_start else None,
            after={"start": change.new_start or booking.start, "status": booking.status, "source": change.source, "change": change.id},
            actor=_actor(operation) or Actor(origins.PROVIDER),
            origin=audit.kept_origin(rt, operation.id, operation.origin) if operation else None,
        )


def _actor(operation: Operation | None) -> Actor | None:
    """Whoever asked for it, though a job may be recording it."""
    if operation is None:
        return None
    kept = User.get_or_none(User.id == operation.user_id)
    return Actor(origins.ADMIN if kept.is_admin else origins.USER, kept.id, kept.name, kept.email) if kept else None


def _of_details(rt: Runtime, was: Booking) -> None:
    """Which values, and those of them that tell of nobody."""
    booking = Booking.get_by_id(was.id)
    fields = [name for name in DETAILS if getattr(booking, name) != getattr(was, name)]
    before, after = audit.difference({n: getattr(was, n) for n in SHOWN}, {n: getattr(booking, n) for n in SHOWN})
    audit.record(
        rt,
        "booking.updated",
        ("Booking", booking.id),
        before=before,
        after={**after, "fields": fields or ["participants"]},
        actor=Actor(origins.PROVIDER),
    )
