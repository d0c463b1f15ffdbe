"""The secrets with which providers sign for our subscriptions, and giving a subscription a new one.

The new secret is stored before the provider is told of it, and the old one is accepted beside it: while it is not known
to have been told, and for OVERLAP after that. So no delivery is refused, whichever of the two it was signed with.
"""

import secrets
from datetime import timedelta

from models import LinkedAccount, WebhookSubscription
from services import claims
from services.runtime import Runtime
from services.vault import place

OVERLAP = timedelta(hours=25)
"""Longer than any provider repeats a delivery that it signed before: Calendly does for a day."""
TABLE = "webhook_subscription"


def fresh(rt: Runtime, subscription_id: str) -> str:
    """A new secret, sealed for this subscription."""
    return rt.vault.seal(secrets.token_urlsafe(32), place(TABLE, subscription_id, "secret"))


def accepted(rt: Runtime, row: WebhookSubscription) -> tuple[str, ...]:
    """What may have signed a delivery to this subscription: its secret, and the one before while that still counts."""
    current = rt.vault.open(row.secret, place(TABLE, row.id, "secret"))
    if row.previous_secret is None or ended(rt, row):
        return (current,)
    return (current, rt.vault.open(row.previous_secret, place(TABLE, row.id, "previous_secret")))


def ended(rt: Runtime, row: WebhookSubscription) -> bool:
    """Whether there is a secret before that does not count any more."""
    return row.previous_secret is not None and row.secret_told_at is not None and row.secret_told_at <= rt.clock.now() - OVERLAP


def to_be_told(row: WebhookSubscription) -> bool:
    """Whether the provider is not known to have the secret that replaces another one."""
    return row.previous_secret is not None and row.secret_told_at is None


def told(rt: Runtime, row: WebhookSubscription) -> None:
    """The provider has the secret that `row` had when it was read: the time of the one before begins to run out."""
    if to_be_told(row):
        same = (WebhookSubscription.id == row.id) & (WebhookSubscription.secret == row.secret)
        WebhookSubscription.update(secret_told_at=rt.clock.now()).where(same).execute()


def forget_previous(row: WebhookSubscription) -> None:
    same = (WebhookSubscription.id == row.id) & (WebhookSubscription.previous_secret == row.previous_secret)
    WebhookSubscription.update(previous_secret=None, secret_told_at=None).where(same).execute()


def renew(rt: Runtime) -> tuple[int, int]:
    """Give every subscription that has a secret of its own a new one; the job `webhooks` tells the provider.

    Answers how many, and how many were left because their last secret before is still accepted. May be run twice at once.
    """
    slugs = [slug for slug, provider in rt.providers.items() if provider.capabilities.subscriptions and not provider.webhook_keys]
    rows = list(
        WebhookSubscription.select(WebhookSubscription, LinkedAccount.id)
        .join(LinkedAccount)
        .where(WebhookSubscription.provider.in_(slugs) & LinkedAccount.connected)
        .order_by(WebhookSubscription.id)
    )
    begun = [row for row in rows if _begin(rt, row)]
    for row in begun:
        claims.schedule("webhooks", row.linked_account_id, rt.clock.now())
    rt.wake("work")
    return len(begun), len(rows) - len(begun)


def _begin(rt: Runtime, row: WebhookSubscription) -> bool:
    if row.previous_secret is not None and not ended(rt, row):
        return False
    current = rt.vault.open(row.secret, place(TABLE, row.id, "secret"))
    values = {
        "secret": fresh(rt, row.id),
        "previous_secret": rt.vault.seal(current, place(TABLE, row.id, "previous_secret")),
        "secret_told_at": None,
    }
    same = (WebhookSubscription.id == row.id) & (WebhookSubscription.secret == row.secret)
    return bool(WebhookSubscription.update(**values).where(same).execute())
