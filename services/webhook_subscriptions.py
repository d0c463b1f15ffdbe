"""Our registrations at the providers: one unguessable endpoint and one secret per linked account."""

import secrets
from typing import Any

from models import LinkedAccount, WebhookSubscription
from models.base import new_id
from services import claims, tokens, webhook_secrets
from services.errors import ConveneError, ProviderError
from services.logging import get_logger
from services.providers.base import Auth, BearerAuth, Scheduling
from services.runtime import Runtime
from services.vault import VaultError, place

log = get_logger("webhooks")

STANDING = {"active", "retrying"}
"""States of a subscription whose deliveries come, or may come again."""


def reachable(rt: Runtime, slug: str) -> bool:
    """Whether the provider can call us at all: a loopback address is reached by the local sandbox only."""
    can = rt.providers[slug].capabilities
    return (can.subscriptions or can.app_webhooks) and (not rt.settings.public_is_loopback or slug in rt.sandboxes)


def health(rt: Runtime, account: LinkedAccount, subscription: WebhookSubscription | None) -> str:
    """WebhookHealth of the contract."""
    can = rt.providers[account.provider].capabilities
    if not (can.subscriptions or can.app_webhooks):
        return "NOT_SUPPORTED"
    if not reachable(rt, account.provider):
        return "UNREACHABLE"
    if not can.subscriptions:
        return "RECEIVING"  # set up by hand for the whole app: nobody tells us more
    if subscription is None:
        return "RETRYING"
    return {"active": "RECEIVING", "disabled": "DISABLED", "gone": "DISABLED"}.get(subscription.state, "RETRYING")


def ensure(rt: Runtime, account_id: str) -> None:
    """The job: make the subscription, or look whether it still stands and make it anew.

    The row with endpoint and secret is committed before the provider is asked, so a delivery that arrives at once is
    known; a lost answer is repaired by the next run, which adopts the subscription that has our address. One that the
    provider has switched off, or no longer has, is made anew, and what was missed meanwhile is read from its lists.
    A new secret is told by subscribing again to the same address.
    """
    account = LinkedAccount.get_or_none((LinkedAccount.id == account_id) & LinkedAccount.connected)
    if account is None or not reachable(rt, account.provider):
        return
    provider, auth = rt.scheduling(account.provider), tokens.auth_of(account)
    row = _row(rt, account)
    token = BearerAuth(tokens.ensure_valid(rt, account_id).value)
    try:
        if row.url != _address(rt, row):
            # the installation moved: what still calls the old address is taken down first
            if row.external_id:
                provider.unsubscribe(auth, row.external_id)
            _set(row, url=_address(rt, row), external_id=None)
            row = WebhookSubscription.get_by_id(row.id)
        missed = False
        if row.external_id:
            state = provider.subscription_state(auth, row.external_id, row.url)
            if _stands(rt, row, state):
                return
            missed = state not in STANDING
            _set(row, state=state)
            if state == "disabled":
                provider.unsubscribe(auth, row.external_id)
        secret = _secret(rt, row)
        external_id = provider.subscribe(auth, url=row.url, secret=secret)
    except ConveneError as error:
        stands = WebhookSubscription.get_by_id(row.id).state not in {"disabled", "gone"}
        _set(row, last_error=error.code, **({"state": "retrying"} if stands else {}))
        raise
    if not _set(row, state="active", external_id=external_id, last_error=None):
        # unlinked while the provider made it: nobody else knows of it
        remove_upstream(rt, account.provider, token, external_id)
        return
    webhook_secrets.told(rt, row)
    log.info("webhook subscription made", account=account_id, provider=account.provider, again=missed)
    if missed:
        claims.schedule("reconcile", account_id, rt.clock.now())
    _take_down_older(rt, provider, auth, row)


def _stands(rt: Runtime, row: WebhookSubscription, state: str) -> bool:
    """Whether it is as it should be at the provider; then that is all there is to remember."""
    if state not in STANDING or webhook_secrets.to_be_told(row):
        return False
    _set(row, state=state, last_error=None)
    if webhook_secrets.ended(rt, row):
        webhook_secrets.forget_previous(row)
    return True


def _take_down_older(rt: Runtime, provider: Scheduling, auth: Auth, row: WebhookSubscription) -> None:
    """What an earlier link of this account left behind: it calls an endpoint of ours that no longer exists."""
    ours = f"{rt.settings.public_url}/webhooks/{row.provider}/"
    for external_id, url in provider.subscriptions(auth):
        if url.startswith(ours) and url != row.url:
            remove_upstream(rt, row.provider, auth, external_id)


def _row(rt: Runtime, account: LinkedAccount) -> WebhookSubscription:
    row = WebhookSubscription.get_or_none(WebhookSubscription.linked_account == account.id)
    if row is not None:
        return row
    row_id, endpoint = new_id(), secrets.token_urlsafe(24)
    list(
        WebhookSubscription.insert(
            id=row_id,
            linked_account=account.id,
            provider=account.provider,
            endpoint=endpoint,
            url="",
            secret=webhook_secrets.fresh(rt, row_id),
        )
        .on_conflict(conflict_target=[WebhookSubscription.linked_account], action="nothing")
        .returning(WebhookSubscription.id)
        .tuples()
        .execute()
    )
    return WebhookSubscription.get(WebhookSubscription.linked_account == account.id)


def _address(rt: Runtime, row: WebhookSubscription) -> str:
    return f"{rt.settings.public_url}/webhooks/{row.provider}/{row.endpoint}"


def moved(rt: Runtime) -> list[str]:
    """Accounts whose subscription calls another address than this installation has now."""
    elsewhere = ~WebhookSubscription.url.startswith(f"{rt.settings.public_url}/")
    return [row[0] for row in WebhookSubscription.select(WebhookSubscription.linked_account).where(elsewhere).tuples()]


def _secret(rt: Runtime, row: WebhookSubscription) -> str:
    """The secret; a new one where the old was sealed with a key that is lost."""
    where = place("webhook_subscription", row.id, "secret")
    try:
        return rt.vault.open(row.secret, where)
    except VaultError:
        _set(row, secret=webhook_secrets.fresh(rt, row.id), previous_secret=None, secret_told_at=None)
        return rt.vault.open(WebhookSubscription.get_by_id(row.id).secret, where)


def _set(row: WebhookSubscription, **values: Any) -> bool:
    return bool(WebhookSubscription.update(**values).where(WebhookSubscription.id == row.id).execute())


def remove_upstream(rt: Runtime, slug: str, auth: Auth, external_id: str) -> None:
    """As far as the provider can be reached; a left-over one calls an endpoint that no longer exists."""
    try:
        rt.scheduling(slug).unsubscribe(auth, external_id)
    except ProviderError as error:
        log.warning("webhook subscription left behind", provider=slug, error_code=error.code)
