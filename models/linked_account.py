"""One user's account at one provider, its tokens, and the rows that guard how tokens are got."""

from peewee import SQL, BooleanField, CharField, ForeignKeyField, IntegerField, TextField

from models.base import BaseModel, JsonText, UtcDateTime
from models.person import User


class LinkedAccount(BaseModel):
    """Unique on (user, provider). The row survives disconnection, so that its id and history do.

    `access_token` and `refresh_token` are sealed (services/vault.py) and touched by services/tokens.py alone.
    `token_version` rises by one with every new pair; every write of a pair is guarded by it.
    """

    user = ForeignKeyField(User, on_delete="CASCADE")
    provider = CharField(max_length=20)
    kind = CharField(max_length=20, default="OAUTH")
    connected = BooleanField(default=True)
    linked_at = UtcDateTime()

    external_id = TextField()
    name = TextField(null=True)
    email = TextField(null=True)
    username = TextField(null=True)
    scheduling_url = TextField(null=True)
    organization = TextField(null=True)
    time_zone = TextField(null=True)
    bookable = BooleanField(default=True)
    scopes = JsonText(default=list)

    access_token = TextField(null=True)
    refresh_token = TextField(null=True)
    token_version = IntegerField(default=0)
    tokens_received_at = UtcDateTime(null=True)
    access_expires_at = UtcDateTime(null=True)
    last_refreshed_at = UtcDateTime(null=True)
    last_used_at = UtcDateTime(null=True)
    failed_refresh_count = IntegerField(default=0)

    problem_code = CharField(max_length=30, null=True)
    missing_scopes = JsonText(default=list)
    retry_at = UtcDateTime(null=True)

    last_synced_at = UtcDateTime(null=True)
    calendar_changed_at = UtcDateTime(null=True)
    last_sync_error = TextField(null=True)

    class Meta:
        indexes = ((("user", "provider"), True),)


LinkedAccount.add_index(
    LinkedAccount.index(
        LinkedAccount.provider,
        LinkedAccount.external_id,
        unique=True,
        where=SQL("connected"),
        name="linked_account_upstream",
    )
)
# how many accounts have which problem is counted from the index alone
LinkedAccount.add_index(
    LinkedAccount.index(LinkedAccount.provider, LinkedAccount.problem_code, where=SQL("connected"), name="linked_account_problems")
)


class OAuthState(BaseModel):
    """One authorization begun by one user; `state` is kept as a hash, code and verifier sealed.

    status: started -> returned | denied -> completed.
    """

    class Meta:
        table_name = "oauth_state"

    state_hash = CharField(max_length=64, unique=True)
    user = ForeignKeyField(User, on_delete="CASCADE")
    provider = CharField(max_length=20)
    verifier = TextField()
    code = TextField(null=True)
    scopes = JsonText(default=list)
    return_to = TextField(null=True)
    switch_account = BooleanField(default=False)
    status = CharField(max_length=12, default="started")
    error = TextField(null=True)
    expires_at = UtcDateTime(index=True)


class TokenRotation(BaseModel):
    """The intent to exchange one refresh token, which is also the lease on doing so.

    Unique per (linked account, token version): whoever inserts or takes over the row may exchange, nobody else.
    `attempt` counts only exchanges that may have reached the provider.
    """

    linked_account = ForeignKeyField(LinkedAccount, on_delete="CASCADE")
    from_version = IntegerField()
    owner = CharField(max_length=64)
    attempt = IntegerField(default=1)
    deadline = UtcDateTime()
    state = CharField(max_length=12, default="open")
    last_error = TextField(null=True)

    class Meta:
        indexes = ((("linked_account", "from_version"), True),)


class AtomsSession(BaseModel):
    """A browser session in which a provider's own components run; its signed handle names this row.

    Ends at `expires_at`; unlinking deletes it, and the handle is worth nothing then.
    """

    linked_account = ForeignKeyField(LinkedAccount, on_delete="CASCADE")
    expires_at = UtcDateTime(index=True)


class HandedOutToken(BaseModel):
    """That an access token was given to a browser, so that it is recognised when it comes back expired: a sha256."""

    linked_account = ForeignKeyField(LinkedAccount, on_delete="CASCADE")
    token_hash = CharField(max_length=64, unique=True)


class InstallationToken(BaseModel):
    """The one token with which an installation acts for a provider's whole account; sealed.

    It comes of our own credentials, so it is never lost: one asks again.
    """

    provider = CharField(max_length=20, unique=True)
    access_token = TextField(null=True)
    version = IntegerField(default=0)
    received_at = UtcDateTime(null=True)
    expires_at = UtcDateTime(null=True)


class PendingRevocation(BaseModel):
    """A token (sealed) of an unlinked account that its provider could not be told of yet."""

    provider = CharField(max_length=20)
    token = TextField()
