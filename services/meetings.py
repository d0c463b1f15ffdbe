"""Which video meeting a booking has or should have: one for its whole life, if its event type wants one.

Only noted here, inside the transaction that records the booking; a job makes it so (services/meeting_work.py). A meeting
that the scheduling provider makes itself is adopted: known by its id, so that recordings find their booking, and never
touched.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from models import Booking, EventType, LinkedAccount, Meeting, Participant, User
from models.base import new_id
from services import claims
from services.providers.base import RemoteBooking
from services.runtime import Runtime

ADOPTED = "adopted:"
LOOKED_FOR_AGAIN = timedelta(seconds=5)


def follow(rt: Runtime, booking_id: str, remote: RemoteBooking) -> None:
    """Note which meeting the booking has or should have, and have it made so. Call with the booking locked."""
    booking = Booking.get_by_id(booking_id)
    before = booking.meeting_id
    meeting_id = _adopt(rt, booking, remote)
    if remote.conference is None and _wants_one(rt, booking):
        meeting_id = row_of(rt, booking)
    if meeting_id is None and before is not None and _still_of(booking, before):
        meeting_id = before
    if meeting_id != before:
        Booking.update(meeting=meeting_id).where(Booking.id == booking_id).execute()
    if remote.incomplete and (wait := _patience(rt.clock.now() - remote.created_at)):
        claims.schedule("booking", booking_id, rt.clock.now() + wait)
    for one in {before, meeting_id} - {None}:
        claims.schedule("meeting", one, rt.clock.now())


def _still_of(booking: Booking, meeting_id: str) -> bool:
    row = Meeting.get_or_none(Meeting.id == meeting_id)
    return row is not None and row.key.removeprefix(ADOPTED) == _key(booking)


def _patience(age: timedelta) -> timedelta | None:
    """A conference is ready within seconds, or it takes its time, or it never comes; no webhook says so."""
    if age < timedelta(minutes=1):
        return LOOKED_FOR_AGAIN
    return timedelta(minutes=1) if age < timedelta(minutes=30) else None


def _adopt(rt: Runtime, booking: Booking, remote: RemoteBooking) -> str | None:
    """One that the provider made. Of which nothing is known but that it comes, there is nothing to keep."""
    conference = remote.conference
    if conference is None or conference.provider is None or conference.external_id is None:
        return None
    key = f"{ADOPTED}{_key(booking)}"
    values = {
        "provider": conference.provider,
        "linked_account": next((a.id for a in accounts_of(rt, booking) if a.provider == conference.provider), None),
        "external_id": conference.external_id,
        "start": booking.start,
        "minutes": minutes_of(booking),
        "adopted": True,
    }
    return _upsert(key, values)


def _wants_one(rt: Runtime, booking: Booking) -> bool:
    kind = EventType.get_or_none(EventType.id == booking.event_type_id)
    wanted = kind is not None and kind.creates_meeting and booking.status == "CONFIRMED" and booking.end > rt.clock.now()
    return wanted or Meeting.select().where(Meeting.key == _key(booking)).exists()


def row_of(rt: Runtime, booking: Booking) -> str:
    found = Meeting.get_or_none(Meeting.key == _key(booking))
    if found is not None:
        return str(found.id)
    hosts = [account.provider for account in accounts_of(rt, booking)]
    return _upsert(_key(booking), {"provider": (hosts or _makers(rt))[0]})


def _makers(rt: Runtime) -> list[str]:
    return [slug for slug, provider in rt.providers.items() if provider.capabilities.meetings]


def _upsert(key: str, values: Mapping[str, object]) -> str:
    changes = {getattr(Meeting, name): value for name, value in values.items()}
    rows = list(
        Meeting.insert(id=new_id(), key=key, **values)
        .on_conflict(conflict_target=[Meeting.key], update=changes)
        .returning(Meeting.id)
        .tuples()
        .execute()
    )
    return str(rows[0][0])


def _key(booking: Booking) -> str:
    """The places of a group event share one meeting."""
    shared = booking.is_group and booking.occasion_id
    return f"occasion:{booking.provider}:{booking.occasion_id}" if shared else f"booking:{booking.id}"


def bookings_of(meeting: Meeting) -> list[Booking]:
    kind, _, rest = meeting.key.partition(":")
    if kind == "booking":
        query = Booking.select().where(Booking.id == rest)
    else:
        slug, _, occasion = rest.partition(":")
        query = Booking.select().where((Booking.provider == slug) & (Booking.occasion_id == occasion))
    # one that has become a place of a group event since, or the other way round, is no longer this meeting's
    return [booking for booking in query.order_by(Booking.id) if _key(booking) == meeting.key]


def start_of(booking: Booking) -> datetime:
    """Meeting providers know no fractions of a second."""
    at: datetime = booking.start
    return at.replace(microsecond=0)


def minutes_of(booking: Booking) -> int:
    return int((booking.end - booking.start).total_seconds()) // 60


def accounts_of(rt: Runtime, booking: Booking) -> list[LinkedAccount]:
    """The coach's accounts at providers that make meetings."""
    return list(
        LinkedAccount.select()
        .join(User)
        .join(Participant, on=(Participant.person == User.person))
        .where(
            (Participant.booking == booking.id)
            & (Participant.role == "COACH")
            & LinkedAccount.provider.in_(_makers(rt))
            & LinkedAccount.connected
        )
        .order_by(LinkedAccount.id)
    )


def look_again(rt: Runtime, slug: str, external_id: str) -> None:
    """Somebody (perhaps we) changed or deleted this meeting: have it looked at."""
    query = Meeting.select(Meeting.id).where((Meeting.provider == slug) & (Meeting.external_id == external_id) & ~Meeting.adopted)
    for (meeting_id,) in list(query.tuples()):
        claims.schedule("meeting", meeting_id, rt.clock.now())


def plan_for_event_type(rt: Runtime, event_type_id: str) -> None:
    """Its bookings to come get a meeting, or the settings that it has now."""
    wanted = Booking.select().where(
        (Booking.event_type == event_type_id) & (Booking.status == "CONFIRMED") & (Booking.end > rt.clock.now()) & ~Booking.has_conference
    )
    for booking in list(wanted):
        _plan(rt, booking)


def _plan(rt: Runtime, booking: Booking) -> None:
    if _wants_one(rt, booking):
        meeting_id = row_of(rt, booking)
        Booking.update(meeting=meeting_id).where(Booking.id == booking.id).execute()
        claims.schedule("meeting", meeting_id, rt.clock.now())
