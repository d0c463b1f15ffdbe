"""Who changed what, when and from where; and the chain that makes it show when somebody changes that afterwards."""

from peewee import BigIntegerField, CharField, TextField

from models.base import BaseModel, UtcDateTime


class AuditEntry(BaseModel):
    """One change, written in its transaction; chained by a job afterwards (services/audit_chain.py).

    `actor_id` and `owner_id` are users: who did it, and whose thing it was done to. They refer to no row, so that an entry
    outlives everything it is about. `personal` is the one column with what tells of people: sealed JSON, of which the
    chain knows no more than `personal_digest`; erasing a person blanks it and names the entry of the erasure in
    `erased_by`. `mac` proves who wrote the rest: before the entry has a `seq` by the vault's key, then by the chain's.
    """

    at = UtcDateTime()
    actor_kind = CharField(max_length=10)
    actor_id = CharField(max_length=26, null=True)
    owner_id = CharField(max_length=26, null=True)
    action = CharField(max_length=48)
    subject_type = CharField(max_length=24)
    subject_id = CharField(max_length=80, null=True)
    request_id = CharField(max_length=64, null=True)
    face = CharField(max_length=12)
    personal = TextField(null=True)
    personal_digest = CharField(max_length=64)
    erased_by = CharField(max_length=26, null=True)
    seq = BigIntegerField(null=True, unique=True)
    previous_hash = CharField(max_length=64, null=True)
    hash = CharField(max_length=64, null=True)
    mac = CharField(max_length=64)

    class Meta:
        indexes = (
            (("at", "id"), False),
            (("actor_id", "at"), False),
            (("owner_id", "at"), False),
            (("subject_id", "at"), False),
            (("action", "at"), False),
        )


class AuditChain(BaseModel):
    """The one row about the chain: where it begins and ends, and the key (sealed) that proves its entries.

    `seq` and `hash` are its end, `anchor_seq` and `anchor_hash` what stood right before its first entry. Chaining and
    trimming lock this row.
    """

    seq = BigIntegerField(default=0)
    hash = CharField(max_length=64)
    anchor_seq = BigIntegerField(default=0)
    anchor_hash = CharField(max_length=64)
    mac = CharField(max_length=64)
    key = TextField()
    logged_at = UtcDateTime(null=True)
