"""Work that is due, and what is known of the providers' limits and health."""

from peewee import CharField, IntegerField, TextField

from models.base import BaseModel, UtcDateTime


class JobClaim(BaseModel):
    """One piece of recurring or pending work, claimed by one conditional statement; unique on (kind, key)."""

    kind = CharField(max_length=30)
    key = CharField(max_length=60, default="")
    due_at = UtcDateTime()
    lease_owner = CharField(max_length=64, null=True)
    lease_until = UtcDateTime(null=True)
    attempts = IntegerField(default=0)
    last_error = TextField(null=True)

    class Meta:
        indexes = ((("kind", "key"), True), (("due_at",), False))


class RateBucket(BaseModel):
    """What a provider said is left of a budget; `key` is provider and linked account."""

    key = CharField(max_length=80, unique=True)
    remaining = IntegerField()
    reset_at = UtcDateTime()


class ProviderHealth(BaseModel):
    """Whether a provider could be reached lately, for all replicas to tell their users."""

    provider = CharField(max_length=20, unique=True)
    down_since = UtcDateTime(null=True)
    retry_at = UtcDateTime(null=True)
    last_error = TextField(null=True)
