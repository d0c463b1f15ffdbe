from peewee import BooleanField, CharField, ForeignKeyField, IntegerField

from models.base import BaseModel
from models.event_type import EventType
from models.person import Person


class Policy(BaseModel):
    """A coach's rules for what mentees may do: of one event type, or of all (`scope` "").

    A column that is null says nothing: the coach's general rule holds, or none. `scope` is the event type's id.
    """

    host = ForeignKeyField(Person, on_delete="CASCADE")
    event_type = ForeignKeyField(EventType, null=True, on_delete="CASCADE")
    scope = CharField(max_length=26, default="")
    move_notice_minutes = IntegerField(null=True)
    cancel_notice_minutes = IntegerField(null=True)
    most_moves = IntegerField(null=True)
    mentee_may_move = BooleanField(null=True)
    mentee_may_cancel = BooleanField(null=True)
    reason_required = BooleanField(null=True)

    class Meta:
        indexes = ((("host", "scope"), True),)
