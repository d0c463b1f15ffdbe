"""Which columns hold sealed values (services/vault.py), and with which keys some may be sealed."""

from peewee import Field, TextField

from models.audit import AuditChain, AuditEntry
from models.base import BaseModel
from models.booking import Booking, BookingChange, Operation
from models.linked_account import InstallationToken, LinkedAccount, OAuthState, PendingRevocation
from models.notification import Delivery
from models.webhook import WebhookEvent, WebhookSubscription


class SealingKey(BaseModel):
    """That values may be sealed with this key. Noted before a server seals with it, forgotten when no value needs it."""

    key_id = TextField(unique=True)


# What is not here is not sealed anew by scripts/rotate-keys, and is lost with its key.
SEALED: tuple[Field, ...] = (
    LinkedAccount.access_token,
    LinkedAccount.refresh_token,
    OAuthState.verifier,
    OAuthState.code,
    InstallationToken.access_token,
    PendingRevocation.token,
    WebhookSubscription.secret,
    WebhookSubscription.previous_secret,
    WebhookEvent.body,
    Booking.answers,
    Booking.cancellation_reason,
    BookingChange.reason,
    Operation.wish,
    Operation.reason,
    Operation.origin,
    Delivery.calendar,
    AuditEntry.personal,
    AuditChain.key,
)
