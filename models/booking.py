"""A booking, who takes part, what happened to it, and what somebody intends to do to it."""

from peewee import SQL, BooleanField, CharField, ForeignKeyField, IntegerField, TextField

from models.base import BaseModel, JsonText, UtcDateTime
from models.event_type import EventType
from models.linked_account import LinkedAccount
from models.meeting import Meeting
from models.person import Person, User


class Booking(BaseModel):
    """One meeting with one id, whatever the provider does to its own ids on a move.

    `linked_account` is the account through which it is read; the host's where the host is linked.
    status: PENDING, CONFIRMED, DECLINED or CANCELLED; COMPLETED is a confirmed one whose end has passed.
    `occasion_id` is the provider's id of the one event in which several bookings are places; `has_conference`: the provider
    makes a video meeting for it itself. `meeting` is the one we know of, whoever made it. `movable` is false where the
    provider told something that keeps it from being moved by us (it is paid for, or has several hosts).
    """

    provider = CharField(max_length=20)
    external_id = TextField()
    linked_account = ForeignKeyField(LinkedAccount, null=True, on_delete="SET NULL")
    event_type = ForeignKeyField(EventType, null=True, on_delete="SET NULL")
    event_type_external_id = TextField(null=True)
    version = IntegerField(default=1)
    title = TextField()
    status = CharField(max_length=12)
    start = UtcDateTime()
    end = UtcDateTime()
    is_group = BooleanField(default=False)
    location = TextField(null=True)
    meeting_url = TextField(null=True)
    answers = TextField(null=True)
    cancellation_reason = TextField(null=True)
    remote_updated_at = UtcDateTime()
    occasion_id = TextField(null=True)
    has_conference = BooleanField(default=False)
    movable = BooleanField(default=True)
    meeting = ForeignKeyField(Meeting, null=True, on_delete="SET NULL")

    class Meta:
        indexes = ((("provider", "external_id"), True), (("start", "id"), False), (("provider", "occasion_id"), False))


class BookingExternalId(BaseModel):
    """Every id that the provider ever gave a booking, so that news about an old id find it; and the occasion that it was of."""

    booking = ForeignKeyField(Booking, on_delete="CASCADE")
    provider = CharField(max_length=20)
    external_id = TextField()
    occasion_id = TextField(null=True)

    class Meta:
        indexes = ((("provider", "external_id"), True), (("provider", "occasion_id"), False))


class Participant(BaseModel):
    """One person in one booking, with the name, address and zone that the booking gives them."""

    booking = ForeignKeyField(Booking, on_delete="CASCADE")
    person = ForeignKeyField(Person, on_delete="RESTRICT")
    role = CharField(max_length=8)
    name = TextField(default="")
    email = TextField(null=True)
    time_zone = TextField(null=True)
    no_show = BooleanField(default=False)

    class Meta:
        indexes = ((("booking", "person"), True), (("person", "booking"), False))


class Operation(BaseModel):
    """One intended change of a booking, and its fate: intent, idempotency and history in one row.

    phase: claimed (nothing sent) -> sent -> settled. Where a move is a new booking and then a cancellation of the old one:
    sent -> booked (the new one, `to_external_id`, stands) -> settled, or -> undoing (the new one is to go again). While
    `open` no other operation may touch the booking, and [hold_start, hold_end) is taken for everybody in `hold`.
    `booking` is unknown while it is being made; `event_type` and `wish` (sealed JSON) say what is to be booked.
    `linked_account`: through which it is written, for the provider's quotas. `checked`: the roles whose calendars were asked.
    `origin`: from where it was asked for (sealed JSON), whoever comes to record it.
    """

    user = ForeignKeyField(User, null=True, on_delete="SET NULL")
    actor = ForeignKeyField(Person, on_delete="RESTRICT")
    booking = ForeignKeyField(Booking, null=True, on_delete="CASCADE")
    event_type = ForeignKeyField(EventType, null=True, on_delete="SET NULL")
    linked_account = ForeignKeyField(LinkedAccount, null=True, on_delete="SET NULL")
    kind = CharField(max_length=12)
    state = CharField(max_length=16, default="IN_PROGRESS")
    phase = CharField(max_length=8, default="claimed")
    open = BooleanField(default=True)
    mutation = CharField(max_length=40)
    idempotency_key = CharField(max_length=200, null=True)
    input_hash = CharField(max_length=64)
    from_external_id = TextField(null=True)
    to_external_id = TextField(null=True)
    wish = TextField(null=True)
    hold_start = UtcDateTime(null=True)
    hold_end = UtcDateTime(null=True)
    reason = TextField(null=True)
    warnings = JsonText(default=list)
    checked = JsonText(default=list)
    outcome = JsonText(null=True)
    sent_at = UtcDateTime(null=True)
    settled_at = UtcDateTime(null=True)
    due_at = UtcDateTime(null=True)
    lease_owner = CharField(max_length=64, null=True)
    lease_until = UtcDateTime(null=True)
    attempts = IntegerField(default=0)
    attended_at = UtcDateTime(null=True)
    origin = TextField(null=True)

    class Meta:
        indexes = ((("from_external_id",), False), (("to_external_id",), False), (("linked_account", "sent_at"), False))


class Hold(BaseModel):
    """That a person's time is taken by an operation under way; gone when the operation ends."""

    operation = ForeignKeyField(Operation, on_delete="CASCADE")
    person = ForeignKeyField(Person, on_delete="RESTRICT")
    start = UtcDateTime()
    end = UtcDateTime()

    class Meta:
        indexes = ((("operation", "person"), True), (("person", "start"), False))


# One open operation per booking, and one meaning per idempotency key; both by the database, not by good manners.
Operation.add_index(Operation.index(Operation.booking, unique=True, where=SQL("open"), name="operation_open"))
Operation.add_index(
    Operation.index(
        Operation.user,
        Operation.mutation,
        Operation.idempotency_key,
        unique=True,
        where=SQL("idempotency_key IS NOT NULL"),
        name="operation_idempotency",
    )
)
# what needs attention is looked at every few seconds, and is next to nothing of a table that only grows
Operation.add_index(
    Operation.index(Operation.settled_at, where=SQL("state = 'NEEDS_ATTENTION' AND attended_at IS NULL"), name="operation_attention")
)


class BookingChange(BaseModel):
    """One thing that really happened to a booking.

    `logical_key` is the hash of what the provider's own ids say happened, so that webhook, reconciler and our own write
    record it once between them.
    """

    booking = ForeignKeyField(Booking, on_delete="CASCADE")
    logical_key = CharField(max_length=64, unique=True)
    kind = CharField(max_length=16)
    at = UtcDateTime()
    actor = ForeignKeyField(Person, null=True, on_delete="SET NULL")
    by = TextField(null=True)
    source = CharField(max_length=12)
    previous_start = UtcDateTime(null=True)
    previous_end = UtcDateTime(null=True)
    new_start = UtcDateTime(null=True)
    reason = TextField(null=True)
    operation = ForeignKeyField(Operation, null=True, on_delete="SET NULL")

    class Meta:
        indexes = ((("booking", "at", "id"), False),)
