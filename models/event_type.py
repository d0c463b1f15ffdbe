from peewee import BooleanField, CharField, ForeignKeyField, IntegerField, TextField

from models.base import BaseModel, JsonText
from models.linked_account import LinkedAccount
from models.person import Person


class EventType(BaseModel):
    """A kind of meeting that a host offers, as last read from the provider. `active` is false where nobody can book it.

    `creates_meeting` and `records_meeting` are Convene's own: whether bookings of it get a video meeting, and whether that
    is recorded. `questions`: [key, text, required, choices] of each question of the booking form. Buffers and notice in
    minutes, as far as the provider tells them.
    """

    linked_account = ForeignKeyField(LinkedAccount, null=True, on_delete="SET NULL")
    host = ForeignKeyField(Person, on_delete="RESTRICT")
    provider = CharField(max_length=20)
    external_id = TextField()
    title = TextField()
    slug = TextField(null=True)
    description = TextField(null=True)
    duration_minutes = IntegerField()
    duration_options = JsonText(default=list)
    active = BooleanField(default=True)
    hidden = BooleanField(default=False)
    requires_confirmation = BooleanField(default=False)
    is_group = BooleanField(default=False)
    scheduling_url = TextField(null=True)
    is_default = BooleanField(default=False)
    creates_meeting = BooleanField(default=False)
    records_meeting = BooleanField(default=False)
    questions = JsonText(default=list)
    buffer_before = IntegerField(default=0)
    buffer_after = IntegerField(default=0)
    notice_minutes = IntegerField(default=0)

    class Meta:
        indexes = ((("provider", "external_id"), True), (("host", "active"), False))
