from peewee import BooleanField, CharField, ForeignKeyField, TextField

from models.base import BaseModel, JsonText
from models.linked_account import LinkedAccount


class Schedule(BaseModel):
    """Working hours as last read from the provider.

    `weekly` is [[ISO weekday, [[start, end], ...]], ...], `overrides` [[date, [[start, end], ...]], ...]; times are
    `HH:MM` in `time_zone`, and an override without hours is a day off.
    """

    linked_account = ForeignKeyField(LinkedAccount, on_delete="CASCADE")
    provider = CharField(max_length=20)
    external_id = TextField()
    name = TextField()
    time_zone = TextField()
    is_default = BooleanField(default=False)
    weekly = JsonText(default=list)
    overrides = JsonText(default=list)

    class Meta:
        indexes = ((("linked_account", "external_id"), True),)
