"""Bookings: one, and lists with everything that goes with a page in a constant number of statements."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Annotated

import strawberry
from strawberry.relay import PageInfo

from models import Booking as Row
from models import BookingChange as ChangeRow
from models import LinkedAccount as AccountRow
from models import Meeting as MeetingRow
from models import Participant as ParticipantRow
from models import Recording as RecordingRow
from schema.connections import Edge, Key, cut, page, size
from schema.context import Context, Info, given
from schema.event_types import EventType, shown
from schema.scalars import BookingOrder, BookingStatus, ParticipantRole, Provider, TimeZone
from services import bookings, change_rules, policies
from services.errors import NotFound

PARTIES = {"COACH", "MENTEE"}
HISTORY = 10


@strawberry.type(description="One person in one booking.")
class Participant:
    id: strawberry.ID = strawberry.field(description="This person in this booking.")
    role: ParticipantRole = strawberry.field(description="What they are in it.")
    name: str = strawberry.field(description="As the booking gives it.")
    email: str | None = strawberry.field(description="Only where the viewer already has it from the booking.")
    time_zone: TimeZone | None = strawberry.field(description="As the booking gives it.")
    is_viewer: bool = strawberry.field(description="Whether this is the viewer.")
    no_show: bool = strawberry.field(description="Marked as absent at the provider.")


@strawberry.type(description="A question of the booking form and what was answered.")
class Answer:
    question: str = strawberry.field(description="The question.")
    answer: str = strawberry.field(description="The answer.")


@strawberry.type(description="One file of a recorded meeting; for participants.")
class Recording:
    id: strawberry.ID = strawberry.field(description="Convene's id.")
    kind: str = strawberry.field(description="What it is, in the provider's words, as in shared_screen_with_speaker_view.")
    url: str = strawberry.field(description="The page on which it is played.")
    start: datetime = strawberry.field(description="When it begins.")
    end: datetime = strawberry.field(description="When it ends.")


@strawberry.enum(description="How a booking can be moved by the viewer.")
class RescheduleMode(Enum):
    API = strawberry.enum_value("API", description="With rescheduleBooking.")
    PROVIDER_PAGE = strawberry.enum_value("PROVIDER_PAGE", description="On the provider's own page.")
    NONE = strawberry.enum_value("NONE", description="Not at all.")


@strawberry.enum(description="What stands in the way of a change.")
class RescheduleBlocker(Enum):
    NOT_A_PARTY = "NOT_A_PARTY"
    STATUS = "STATUS"
    PAST = "PAST"
    GROUP_EVENT = "GROUP_EVENT"
    HOST_NOT_CONNECTED = "HOST_NOT_CONNECTED"
    NOTICE = "NOTICE"
    MOVES_USED_UP = "MOVES_USED_UP"
    POLICY = "POLICY"
    OPERATION_IN_PROGRESS = "OPERATION_IN_PROGRESS"


@strawberry.type(description="Whether and how the viewer can move the booking.")
class Rescheduling:
    mode: RescheduleMode = strawberry.field(description="How.")
    blocked_by: list[RescheduleBlocker] = strawberry.field(description="What stands in the way.")
    provider_page_url: str | None = strawberry.field(description="The provider's page, for PROVIDER_PAGE.")
    closes_at: datetime | None = strawberry.field(description="Until when it may be moved.")
    moves_left: int | None = strawberry.field(description="How often it may still be moved; null: no limit.")
    reason_required: bool = strawberry.field(description="Whether a move needs a reason.")


@strawberry.enum(description="What happened, or is to happen, to a booking.")
class BookingChangeKind(Enum):
    BOOKED = "BOOKED"
    MOVED = "MOVED"
    CANCELLED = "CANCELLED"
    CONFIRMED = "CONFIRMED"
    DECLINED = "DECLINED"
    NO_SHOW = "NO_SHOW"
    COMPLETED = "COMPLETED"
    MEETING_ADDED = "MEETING_ADDED"


@strawberry.enum(description="Where a change came from.")
class ChangeSource(Enum):
    CONVENE = strawberry.enum_value("CONVENE", description="Made through Convene.")
    PROVIDER = strawberry.enum_value("PROVIDER", description="Made at the provider, told by its webhook.")
    RECONCILER = strawberry.enum_value("RECONCILER", description="Found by reading the provider's list.")


@strawberry.type(description="One thing that happened to a booking.")
class BookingChange:
    id: strawberry.ID = strawberry.field(description="Its id.")
    kind: BookingChangeKind = strawberry.field(description="What happened.")
    at: datetime = strawberry.field(description="When.")
    by: str | None = strawberry.field(description="Who did it, where that is known.")
    source: ChangeSource = strawberry.field(description="Where it came from.")
    previous_start: datetime | None = strawberry.field(description="The start before.")
    new_start: datetime | None = strawberry.field(description="The start after.")
    reason: str | None = strawberry.field(description="Why, as the person wrote it.")


@strawberry.type(description="A page of changes, newest first.")
class BookingChangeConnection:
    edges: list[Edge[BookingChange]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")


class Batch:
    """A page of bookings: what one of them needs is loaded for all, once, and only when it is asked for."""

    def __init__(self, context: Context, rows: Sequence[Row]) -> None:
        self.context, self.rows, self.ids = context, rows, [row.id for row in rows]

    @cached_property
    def participants(self) -> dict[str, list[ParticipantRow]]:
        return bookings.participants_of(self.ids)

    @cached_property
    def event_types(self) -> dict[str, EventType]:
        ids = [row.event_type_id for row in self.rows if row.event_type_id]
        return {str(item.id): item for item in shown(list(bookings.event_types_by_id(ids).values()))}

    @cached_property
    def hosts(self) -> dict[str, AccountRow]:
        return bookings.host_accounts_of(self.ids)

    @cached_property
    def meetings(self) -> dict[str, MeetingRow]:
        ids = {row.meeting_id for row in self.rows if row.meeting_id}
        return {row.id: row for row in MeetingRow.select().where(MeetingRow.id.in_(ids))} if ids else {}

    @cached_property
    def recordings(self) -> dict[str, list[RecordingRow]]:
        grouped: dict[str, list[RecordingRow]] = {}
        if self.meetings:
            query = RecordingRow.select().where(RecordingRow.meeting.in_(list(self.meetings)))
            for row in query.order_by(RecordingRow.start, RecordingRow.id):
                grouped.setdefault(row.meeting_id, []).append(row)
        return grouped

    @cached_property
    def rules(self) -> dict[str, policies.Rules]:
        return policies.of_bookings(self.rows)

    @cached_property
    def moves(self) -> dict[str, int]:
        """Counted only where somebody set a limit."""
        limited = [booking_id for booking_id, rules in self.rules.items() if rules.most_moves is not None]
        return policies.moves_of(limited) if limited else {}

    @cached_property
    def busy(self) -> set[str]:
        return bookings.busy_with_operations(self.ids)

    @cached_property
    def roles(self) -> dict[str, str]:
        """What the viewer is in each booking in which they take part."""
        mine = self.context.viewer.person_id
        return {booking_id: p.role for booking_id, people in self.participants.items() for p in people if p.person_id == mine}

    def role(self, row: Row) -> str | None:
        return self.roles.get(row.id)


@strawberry.type(description="One meeting, with one id whatever the provider does to its own ids on a move.")
class Booking:
    row: strawberry.Private[Row]
    batch: strawberry.Private[Batch]
    id: strawberry.ID = strawberry.field(description="Convene's own ULID; never changes, whatever the provider does on a move.")
    version: int = strawberry.field(description="Rises with every change; pass it as expectedVersion.")
    provider: Provider = strawberry.field(description="Where it is kept.")
    title: str = strawberry.field(description="What it is called.")
    start: datetime = strawberry.field(description="When it begins.")
    end: datetime = strawberry.field(description="When it ends.")
    created_at: datetime = strawberry.field(description="When it was booked.")
    updated_at: datetime = strawberry.field(description="When our copy last changed.")

    @strawberry.field(description="What it is now.")
    def status(self, info: Info) -> BookingStatus:
        return BookingStatus(bookings.status_at(self.row, info.context.rt.clock.now()))

    @strawberry.field(description="The event type it was booked from, where it is known here.")
    def event_type(self) -> EventType | None:
        return self.batch.event_types.get(self.row.event_type_id) if self.row.event_type_id else None

    @strawberry.field(description="Who takes part, the coach first.")
    def participants(self, info: Info) -> list[Participant]:
        role = self.batch.role(self.row)
        return [participant(info, self.row, role, p) for p in self.batch.participants[self.row.id]]

    @strawberry.field(description="What the viewer is in it; null for an admin who takes no part.")
    def viewer_role(self) -> ParticipantRole | None:
        role = self.batch.role(self.row)
        return ParticipantRole(role) if role else None

    @property
    def _attended(self) -> bool:
        """Whether the viewer is to be there: a place that was given up in a group event opens no door any more."""
        return self.batch.role(self.row) is not None and self.row.status in change_rules.OPEN_STATUSES

    @strawberry.field(description="Where it takes place, as the provider gives it; for participants. No link once it is cancelled.")
    def location(self) -> str | None:
        link = str(self.row.location or "").startswith(("https://", "http://"))
        return self.row.location if self._attended or (self.batch.role(self.row) and not link) else None

    @strawberry.field(description="The link to join, where there is one; for participants, until it is cancelled.")
    def meeting_url(self) -> str | None:
        if not self._attended:
            return None
        meeting = self.batch.meetings.get(self.row.meeting_id)
        return self.row.meeting_url or (meeting.join_url if meeting is not None else None)

    @strawberry.field(description="What was recorded of it, and what was made of that; for participants.")
    def recordings(self) -> list[Recording]:
        if not self._attended:
            return []
        rows = self.batch.recordings.get(self.row.meeting_id, [])
        return [Recording(id=strawberry.ID(r.id), kind=r.kind, url=r.url, start=r.start, end=r.end) for r in rows]

    @strawberry.field(description="What was answered on the booking form; for the parties only.")
    def answers(self, info: Info) -> list[Answer]:
        if self.batch.role(self.row) not in PARTIES:
            return []
        return [Answer(question=q, answer=a) for q, a in bookings.answers(info.context.rt, self.row)]

    @strawberry.field(description="The provider's id: at Cal.com whoever knows it can cancel, so for the coach and admins only.")
    def external_id(self, info: Info) -> str | None:
        allowed = self.batch.role(self.row) == "COACH" or info.context.viewer.is_admin
        return self.row.external_id if allowed else None

    @strawberry.field(description="Whether and how the viewer can move it.")
    def rescheduling(self, info: Info) -> Rescheduling:
        return _rescheduling(info, self.row, self.batch)

    @strawberry.field(description="What happened to it, newest first.")
    def history(
        self,
        info: Info,
        first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = HISTORY,
        after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
    ) -> BookingChangeConnection:
        return _history(info, self.row, self.batch, first, after)

    @strawberry.field(description="Why it was cancelled, as the person wrote it.")
    def cancellation_reason(self, info: Info) -> str | None:
        return bookings.cancellation_reason(info.context.rt, self.row) if _reads_words(info, self.row, self.batch) else None

    @classmethod
    def of(cls, row: Row, batch: Batch) -> "Booking":
        return cls(
            row=row,
            batch=batch,
            id=strawberry.ID(row.id),
            version=row.version,
            provider=Provider(row.provider),
            title=row.title,
            start=row.start,
            end=row.end,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    @classmethod
    def by_id(cls, info: Info, booking_id: str) -> "Booking":
        """Raises NotFound for somebody who no longer takes part."""
        row = bookings.visible(info.context.viewer, booking_id)
        return cls.of(row, Batch(info.context, [row]))

    @classmethod
    def many(cls, context: Context, rows: Sequence[Row]) -> "list[Booking]":
        batch = Batch(context, rows)
        return [cls.of(row, batch) for row in rows]


def participant(info: Info, booking: Row, viewer_role: str | None, row: ParticipantRow) -> Participant:
    mine = row.person_id == info.context.viewer.person_id
    return Participant(
        id=strawberry.ID(row.id),
        role=ParticipantRole(row.role),
        name=row.name or "Unnamed",
        email=row.email if mine or _knows_address(info, booking, viewer_role, row) else None,
        time_zone=TimeZone(row.time_zone) if row.time_zone else None,
        is_viewer=mine,
        no_show=row.no_show,
    )


def _reads_words(info: Info, row: Row, batch: Batch) -> bool:
    """Whether the viewer may read what people wrote: whoever booked for somebody else takes no part in it."""
    return batch.role(row) is not None or info.context.viewer.is_admin


def _knows_address(info: Info, booking: Row, viewer_role: str | None, of: ParticipantRow) -> bool:
    """The coach has every address from the booking, the booker those they gave; invitees of a group only the coach's."""
    if viewer_role == "COACH" or info.context.viewer.is_admin:
        return True
    if viewer_role == "MENTEE" and not booking.is_group:
        return True
    return of.role == "COACH" and viewer_role is not None


def _rescheduling(info: Info, row: Row, batch: Batch) -> Rescheduling:
    rt, role = info.context.rt, batch.role(row)
    rules, is_mentee = batch.rules[row.id], role == "MENTEE"
    blockers = change_rules.blockers(
        row,
        role,
        batch.hosts.get(row.id),
        rt.clock.now(),
        busy=row.id in batch.busy,
        action="move",
        rules=rules,
        moves=batch.moves.get(row.id, 0),
    )
    page_url = change_rules.page_instead(rt, row, blockers, "move")
    mode = RescheduleMode.PROVIDER_PAGE if page_url else (RescheduleMode.NONE if blockers else RescheduleMode.API)
    return Rescheduling(
        mode=mode,
        blocked_by=[RescheduleBlocker(b) for b in blockers],
        provider_page_url=page_url,
        closes_at=_closes_at(row, rules if is_mentee else None) if mode is RescheduleMode.API else None,
        moves_left=policies.moves_left(rules, row.id, batch.moves) if is_mentee else None,
        reason_required=is_mentee and rules.reason_required,
    )


def _closes_at(row: Row, rules: policies.Rules | None) -> datetime:
    start: datetime = row.start
    end: datetime = row.end
    return start - rules.move_notice if rules and rules.move_notice else end


HISTORY_KEY = Key("history", ChangeRow.at, ChangeRow.id, lambda row: row.at, descending=True)


def _history(info: Info, row: Row, batch: Batch, first: int | None, after: str | None) -> BookingChangeConnection:
    if given(after) is not None:
        found = page(ChangeRow.select().where(ChangeRow.booking == row.id), HISTORY_KEY, first, after, default=HISTORY)
    else:
        limit = size(first, HISTORY)
        found = cut(_recent_changes(batch, limit)[row.id], HISTORY_KEY, limit, None)
    names = {p.person_id: p.name for p in batch.participants[row.id]}
    reads = _reads_words(info, row, batch)
    nodes = [
        BookingChange(
            id=strawberry.ID(change.id),
            kind=BookingChangeKind(change.kind),
            at=change.at,
            by=names.get(change.actor_id) or change.by,
            source=ChangeSource(change.source),
            previous_start=change.previous_start,
            new_start=change.new_start,
            reason=bookings.change_reason(info.context.rt, change) if reads else None,
        )
        for change in found.rows
    ]
    return BookingChangeConnection(edges=found.edges(nodes), page_info=found.info)


def _recent_changes(batch: Batch, limit: int) -> dict[str, list[ChangeRow]]:
    """The newest changes of every booking of the page, one statement for each `first` that is asked for."""
    cache: dict[int, dict[str, list[ChangeRow]]] = batch.__dict__.setdefault("recent_changes", {})
    if limit not in cache:
        cache[limit] = bookings.recent_changes(batch.ids, limit + 1)
    return cache[limit]


@strawberry.type(description="A page of bookings.")
class BookingConnection:
    edges: list[Edge[Booking]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")


@strawberry.input(description="Which bookings. All that is given must fit.")
class BookingFilter:
    status: list[BookingStatus] | None = strawberry.field(default=strawberry.UNSET, description="Any of these.")
    provider: Provider | None = strawberry.field(default=strawberry.UNSET, description="Kept at this provider.")
    role: ParticipantRole | None = strawberry.field(default=strawberry.UNSET, description="In which the viewer is this.")
    starts_after: datetime | None = strawberry.field(default=strawberry.UNSET, description="That start then or later.")
    starts_before: datetime | None = strawberry.field(default=strawberry.UNSET, description="That start before then.")
    text: str | None = strawberry.field(default=strawberry.UNSET, description="In title, participant names or e-mails.")


def listed(
    info: Info,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = 25,
    after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
    filter: Annotated[BookingFilter | None, strawberry.argument(description="Which ones.")] = strawberry.UNSET,  # noqa: A002
    order: Annotated[BookingOrder | None, strawberry.argument(description="In which order.")] = BookingOrder.START_ASC,
) -> BookingConnection | None:
    wanted = filter or BookingFilter()
    query = bookings.query(
        info.context.rt,
        info.context.viewer,
        bookings.Filter(
            status=tuple(s.value for s in wanted.status or ()),
            provider=wanted.provider.value if wanted.provider else None,
            role=wanted.role.value if wanted.role else None,
            starts_after=given(wanted.starts_after),
            starts_before=given(wanted.starts_before),
            text=given(wanted.text),
        ),
    )
    descending = order is BookingOrder.START_DESC
    name = "bookings_desc" if descending else "bookings_asc"
    found = page(query, Key(name, Row.start, Row.id, lambda row: row.start, descending=descending), first, after)
    return BookingConnection(edges=found.edges(Booking.many(info.context, found.rows)), page_info=found.info)


def one(info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Convene's id.")]) -> Booking | None:  # noqa: A002
    try:
        row = bookings.visible(info.context.viewer, str(id))
    except NotFound:
        return None
    return Booking.of(row, Batch(info.context, [row]))
