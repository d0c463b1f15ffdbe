"""Who signs in (`User`) and who takes part in bookings (`Person`)."""

from peewee import BooleanField, CharField, ForeignKeyField, TextField

from models.base import BaseModel, JsonText, UtcDateTime


class Person(BaseModel):
    """A human in a booking, whether or not they ever sign in.

    A claimed row gets `merged_into`; readers follow it (services/people.py) and locks are taken on the survivor.
    """

    name = TextField(default="")
    time_zone = TextField(null=True)
    merged_into = ForeignKeyField("self", null=True, on_delete="RESTRICT")


class PersonIdentity(BaseModel):
    """One thing a person is known by: ('email', lower-case address) or (provider, the provider's user id)."""

    kind = CharField(max_length=20)
    value = TextField()
    person = ForeignKeyField(Person, on_delete="CASCADE")

    class Meta:
        indexes = ((("kind", "value"), True),)


class User(BaseModel):
    """Who signs in: the subject of the application's identity issuer, with exactly one person.

    `time_zone` is what the issuer says, `chosen_time_zone` what the person set here, which goes before it. `channels`: by
    which they are told, None: all. `reminders`: minutes before a meeting. `erased_at`: since when nothing is known of them
    but the id (services/erasure.py).
    """

    class Meta:
        table_name = "app_user"  # `user` is a reserved word in PostgreSQL

    subject = TextField(unique=True)
    person = ForeignKeyField(Person, unique=True, on_delete="RESTRICT")
    email = TextField(null=True)
    name = TextField(default="")
    time_zone = TextField(null=True)
    is_admin = BooleanField(default=False)
    last_seen_at = UtcDateTime(null=True)
    chosen_time_zone = TextField(null=True)
    channels = JsonText(null=True)
    reminders = JsonText(default=list)
    erased_at = UtcDateTime(null=True)
