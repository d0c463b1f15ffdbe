"""Video meetings that bookings take place in, and their recordings."""

from peewee import BooleanField, CharField, ForeignKeyField, IntegerField, TextField

from models.base import BaseModel, UtcDateTime
from models.linked_account import LinkedAccount


class Meeting(BaseModel):
    """One video meeting. `key` names what it is for: one booking, or the event in which several bookings are places.

    `adopted`: the scheduling provider made it, so it is never changed from here. Otherwise it is ours: `external_id` is
    null until its provider confirmed it, `sent_at` stands while the outcome of making it is not known, and `deleted` is
    true once it is gone there. `start` and `minutes` are what the provider has; `asked_start` is what it was last asked for.
    """

    key = CharField(max_length=120, unique=True)
    provider = CharField(max_length=20)
    linked_account = ForeignKeyField(LinkedAccount, null=True, on_delete="SET NULL")
    external_id = TextField(null=True)
    join_url = TextField(null=True)
    start = UtcDateTime(null=True)
    asked_start = UtcDateTime(null=True)
    minutes = IntegerField(default=0)
    records = BooleanField(default=False)
    adopted = BooleanField(default=False)
    deleted = BooleanField(default=False)
    sent_at = UtcDateTime(null=True)

    class Meta:
        indexes = ((("provider", "external_id"), False),)


class Recording(BaseModel):
    """One file of a recorded session; `url` is the page on which it is played."""

    meeting = ForeignKeyField(Meeting, on_delete="CASCADE")
    session = TextField()
    external_id = TextField()
    kind = TextField()
    url = TextField()
    start = UtcDateTime()
    end = UtcDateTime()

    class Meta:
        indexes = ((("meeting", "external_id"), True),)
