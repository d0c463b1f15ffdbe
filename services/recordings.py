"""Recordings and what is made of them, on the booking whose meeting was recorded."""

from datetime import timedelta

from models import Booking, LinkedAccount, Meeting, Participant, Recording, User
from models.base import new_id, transactional
from services import notifications
from services.providers.base import Recorded
from services.runtime import Runtime

EARLY, LATE = timedelta(hours=1), timedelta(hours=6)
"""How far from its booking's time a meeting may have taken place in a room that was not made for it alone."""


@transactional
def keep(rt: Runtime, slug: str, recorded: Recorded) -> str | None:
    """Store the files, once each, and tell both parties of a finished recording; answers the booking's id.

    None: no booking of ours took place in that meeting.
    """
    bookings = _bookings(slug, recorded)
    if not bookings or not recorded.files:
        return None
    meeting = bookings[0].meeting_id
    for file in recorded.files:
        values = {"session": recorded.session, "kind": file.kind, "url": file.url, "start": file.start, "end": file.end}
        list(
            Recording.insert(id=new_id(), meeting=meeting, external_id=file.external_id, **values)
            .on_conflict(
                conflict_target=[Recording.meeting, Recording.external_id],
                update={getattr(Recording, name): value for name, value in values.items()},
            )
            .returning(Recording.id)
            .tuples()
            .execute()
        )
    for booking in bookings:
        Booking.update(version=Booking.version + 1).where(Booking.id == booking.id).execute()
        if recorded.complete:
            notifications.about_recording(rt, booking, recorded.session)
    return str(bookings[0].id)


def _bookings(slug: str, recorded: Recorded) -> list[Booking]:
    """Those of the one meeting; of a room that the provider chose, and may use for anything, those of that time alone.

    Only where the meeting's host is the booking's coach: which room a booking takes place in may have been written by
    whoever booked it.
    """
    coached = (
        Participant.select(Participant.booking)
        .join(User, on=(User.person == Participant.person))
        .join(LinkedAccount, on=(LinkedAccount.user == User.id))
        .where(
            (Participant.role == "COACH")
            & LinkedAccount.connected
            & (LinkedAccount.provider == slug)
            & (LinkedAccount.external_id == recorded.host_id)
        )
    )
    rows = list(
        Booking.select(Booking, Meeting)
        .join(Meeting)
        .where((Meeting.provider == slug) & (Meeting.external_id == recorded.meeting_id) & Booking.id.in_(coached))
        .order_by(Booking.start, Booking.id)
    )
    rows = [row for row in rows if row.status not in {"CANCELLED", "DECLINED"}]
    if recorded.files and any(row.meeting.adopted for row in rows):
        at = min(file.start for file in recorded.files)
        rows = [row for row in rows if row.start - EARLY <= at <= row.end + LATE]
        nearest = min(rows, key=lambda row: abs(row.start - at), default=None)
        rows = [row for row in rows if nearest is not None and row.meeting_id == nearest.meeting_id]
    return rows
