"""Telling a provider to forget the tokens of an account that is no longer linked here: now, or as often as it takes."""

from contextlib import suppress
from datetime import timedelta

from models import LinkedAccount, PendingRevocation
from services import claims, tokens
from services.errors import InvalidGrant, ProviderError, Refused
from services.logging import get_logger
from services.runtime import Runtime
from services.vault import VaultError, place

log = get_logger("linked_accounts")

TRIED_FOR = timedelta(days=30)
TOKEN = "token"  # noqa: S105 - what a job's key begins with


def now_or_later(rt: Runtime, account: LinkedAccount, token: str | None) -> bool:
    """True when the provider confirmed. `token`: what the account's tokens were, read before they were dropped."""
    try:
        if account.kind == tokens.MANAGED_USER:
            _kill(rt, account.provider, account.external_id)
            return True
        if account.kind == tokens.OAUTH and token is not None and rt.providers[account.provider].capabilities.revocation:
            rt.revoking(account.provider).revoke(token)
            return True
    except ProviderError:
        plan(rt, account, token)
    return False


def plan(rt: Runtime, account: LinkedAccount, token: str | None) -> None:
    """By the upstream account, or by the token itself: the row may have another account by then."""
    if account.kind == tokens.MANAGED_USER:
        claims.schedule("revoke", f"{account.provider}:{account.external_id}", rt.clock.now() + tokens.REVOKED_AFTER)
    elif account.kind == tokens.OAUTH and token is not None:
        tokens.revoke_later(rt, account.provider, token)


def work_off(rt: Runtime, key: str) -> None:
    """The job. Raises ProviderError while it has to be tried again."""
    kind, _, rest = key.partition(":")
    if kind != TOKEN:
        _kill(rt, kind, rest)
        return
    row = PendingRevocation.get_or_none(PendingRevocation.id == rest)
    if row is None:
        return
    try:
        if row.created_at > rt.clock.now() - TRIED_FOR:
            rt.revoking(row.provider).revoke(rt.vault.open(row.token, place("pending_revocation", row.id, "token")))
    except (Refused, VaultError):
        log.warning("a token could not be revoked", provider=row.provider)
    PendingRevocation.delete().where(PendingRevocation.id == row.id).execute()


def _kill(rt: Runtime, slug: str, external_id: str) -> None:
    """Every token of an unlinked managed user, also those that browsers hold: a new pair, which nobody keeps.

    Raises ProviderError. An upstream account that was linked again meanwhile is left alone.
    """
    again = (LinkedAccount.provider == slug) & (LinkedAccount.external_id == external_id) & LinkedAccount.connected
    if not LinkedAccount.select().where(again).exists():
        with suppress(InvalidGrant):  # the user is gone, and every token with it
            rt.managed_users(slug).force_refresh(external_id)
