from peewee import CharField, ForeignKeyField, TextField

from models.base import BaseModel, UtcDateTime
from models.booking import Booking
from models.person import Person


class Notification(BaseModel):
    """What a person is told, once per logical change: unique on (person, logical_key)."""

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

    class Meta:
        indexes = ((("person", "logical_key"), True), (("person", "created_at", "id"), False))
