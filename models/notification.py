from peewee import BooleanField, CharField, ForeignKeyField, IntegerField, TextField

from models.base import BaseModel, UtcDateTime
from models.booking import Booking
from models.person import Person


class Notification(BaseModel):
    """What a person is told, once per logical change: unique on (person, logical_key).

    `in_app`: whether their list shows it; a person may want e-mail only.
    """

    person = ForeignKeyField(Person, on_delete="CASCADE")
    booking = ForeignKeyField(Booking, null=True, on_delete="CASCADE")
    logical_key = CharField(max_length=64)
    kind = CharField(max_length=24)
    title = TextField()
    body = TextField()
    previous_start = UtcDateTime(null=True)
    new_start = UtcDateTime(null=True)
    by = TextField(null=True)
    read_at = UtcDateTime(null=True)
    in_app = BooleanField(default=True)

    class Meta:
        indexes = ((("person", "logical_key"), True), (("person", "created_at", "id"), False))


class Delivery(BaseModel):
    """One message of the outbox, written in the transaction of its notification.

    state: PENDING -> SENT, or RETRYING with backoff, or DEAD. `message_id` stays the same over all attempts, so that what
    was sent twice is shown once. `calendar`: the iCalendar part, sealed; none where the provider sends its own.
    """

    notification = ForeignKeyField(Notification, on_delete="CASCADE")
    channel = CharField(max_length=8)
    address = TextField()
    message_id = TextField(unique=True)
    calendar = TextField(null=True)
    state = CharField(max_length=8, default="PENDING")
    attempts = IntegerField(default=0)
    due_at = UtcDateTime()
    lease_owner = CharField(max_length=64, null=True)
    lease_until = UtcDateTime(null=True)
    last_error = TextField(null=True)
    sent_at = UtcDateTime(null=True)
    attended_at = UtcDateTime(null=True)

    class Meta:
        indexes = ((("notification", "channel"), True), (("state", "due_at"), False))
