"""Where providers send news, and the news."""

from peewee import CharField, ForeignKeyField, IntegerField, TextField

from models.base import BaseModel, UtcDateTime, db, is_sqlite, to_ms
from models.booking import Booking
from models.linked_account import LinkedAccount


class WebhookSubscription(BaseModel):
    """Our registration at a provider: an unguessable endpoint and a secret (sealed) of its own.

    state: wanted (the row is made before the provider is asked) -> active | retrying | disabled | gone (until it is made
    anew). Unlinking deletes the row.

    While the secret is being replaced, `previous_secret` (sealed) is accepted as well: until the provider was told of the
    new one (`secret_told_at`), and for a while after that.
    """

    linked_account = ForeignKeyField(LinkedAccount, unique=True, on_delete="CASCADE")
    provider = CharField(max_length=20)
    endpoint = CharField(max_length=64, unique=True)
    secret = TextField()
    previous_secret = TextField(null=True)
    secret_told_at = UtcDateTime(null=True)
    url = TextField()
    external_id = TextField(null=True)
    state = CharField(max_length=12, default="wanted")
    last_received_at = UtcDateTime(null=True)
    last_error = TextField(null=True)


STORE = """
    INSERT INTO webhook_event
        (id, created_at, updated_at, provider, subscription_id, linked_account_id, delivery_key, kind, body, received_at, due_at,
         state, attempts)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'PENDING', 0)
    ON CONFLICT (delivery_key) DO NOTHING RETURNING id
"""
"""Written out: it runs once per delivery, and to have it written by Peewee took as long as to run it.

The conflict's target is named: "or ignore" would also swallow what must fail.
"""


class WebhookEvent(BaseModel):
    """One verified delivery; stored before it is acknowledged, applied later, as often as needed.

    `delivery_key` is the sha256 of endpoint and raw body. `body` is sealed: it carries a booking uid and what people
    wrote. state: PENDING -> APPLIED | IGNORED | DEAD; RETRYING is a pending one that failed at least once.
    """

    provider = CharField(max_length=20)
    subscription = ForeignKeyField(WebhookSubscription, null=True, on_delete="SET NULL")
    linked_account = ForeignKeyField(LinkedAccount, null=True, on_delete="SET NULL")
    delivery_key = CharField(max_length=64, unique=True)
    kind = CharField(max_length=60)
    body = TextField(null=True)
    received_at = UtcDateTime()
    state = CharField(max_length=10, default="PENDING")
    attempts = IntegerField(default=0)
    due_at = UtcDateTime()
    lease_owner = CharField(max_length=64, null=True)
    lease_until = UtcDateTime(null=True)
    last_error = TextField(null=True)
    applied_at = UtcDateTime(null=True)
    attended_at = UtcDateTime(null=True)
    booking = ForeignKeyField(Booking, null=True, on_delete="SET NULL")

    @classmethod
    def store(cls, event: "WebhookEvent") -> bool:
        """Insert a new delivery, in one statement that commits by itself; False when it is there already."""
        now = to_ms(event.received_at)
        of = (event.provider, event.subscription_id, event.linked_account_id, event.delivery_key, event.kind)
        values = (event.id, now, now, *of, event.body, now, to_ms(event.due_at))
        statement = STORE if is_sqlite() else STORE.replace("?", "%s")
        return bool(db.execute_sql(statement, values).fetchall())

    class Meta:
        indexes = ((("state", "due_at"), False), (("state", "linked_account", "due_at"), False), (("received_at", "id"), False))
