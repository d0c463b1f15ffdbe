"""What browsers that listen are told, and how they come in."""

from peewee import CharField, ForeignKeyField, IntegerField

from models.base import BaseModel, UtcDateTime
from models.person import Person, User


class LiveChange(BaseModel):
    """That something a person may see has changed; written in the transaction that changed it.

    `type` is the GraphQL type's name and `object_id` its id. `version` rises with each change of it, where it has one.
    """

    person = ForeignKeyField(Person, on_delete="CASCADE")
    type = CharField(max_length=24)
    object_id = CharField(max_length=80)
    version = IntegerField(default=0)

    class Meta:
        indexes = ((("created_at",), False), (("person", "created_at"), False))


class LiveTicket(BaseModel):
    """Opens one stream, once, until `expires_at`; only the hash of it is kept. The stream ends with the session."""

    user = ForeignKeyField(User, on_delete="CASCADE")
    secret_hash = CharField(max_length=64, unique=True)
    expires_at = UtcDateTime()
    session_ends_at = UtcDateTime()
    used_at = UtcDateTime(null=True)
