from peewee import CharField, ForeignKeyField

from models.base import BaseModel, JsonText, UtcDateTime
from models.linked_account import LinkedAccount


class AvailabilityCache(BaseModel):
    """The free starts of one subject on one UTC day, as the provider last told them.

    `starts` are minutes since the epoch; `subject` names event type, length and, for a move, the booking that does not
    block itself. Under the subject `busy` they are [from, to] spans in which the account's person is taken.
    """

    linked_account = ForeignKeyField(LinkedAccount, on_delete="CASCADE")
    subject = CharField(max_length=120)
    day = CharField(max_length=10)
    starts = JsonText()
    as_of = UtcDateTime()

    class Meta:
        indexes = ((("linked_account", "subject", "day"), True), (("as_of",), False))
