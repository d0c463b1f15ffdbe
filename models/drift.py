from peewee import CharField, ForeignKeyField, TextField

from models.base import BaseModel, UtcDateTime
from models.booking import Booking
from models.linked_account import LinkedAccount


class Drift(BaseModel):
    """A difference between us and a provider that nobody had told us of; once for each `logical_key`.

    kind: MISSED (found by reading a list), GONE (the provider no longer has it), FORKED (one meeting became two),
    ORPHAN (a meeting of ours that nothing needs), CHANGED (a meeting of ours was changed or deleted there).
    """

    provider = CharField(max_length=20)
    linked_account = ForeignKeyField(LinkedAccount, null=True, on_delete="CASCADE")
    booking = ForeignKeyField(Booking, null=True, on_delete="CASCADE")
    kind = CharField(max_length=12)
    detail = TextField()
    logical_key = CharField(max_length=64, unique=True)
    attended_at = UtcDateTime(null=True)
