"""Unlinking, and telling a user how their connection is. Linking is in services/linking.py."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from models import (
    AtomsSession,
    AvailabilityCache,
    HandedOutToken,
    JobClaim,
    LinkedAccount,
    ProviderHealth,
    WebhookSubscription,
)
from models.base import transactional
from services import claims, tokens, webhook_subscriptions
from services.errors import (
    ConnectionUnusable,
    InvalidClient,
    InvalidGrant,
    NotConnected,
    ProviderError,
    ProviderFailure,
    RateLimited,
)
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import BearerAuth, Provider
from services.runtime import Runtime

log = get_logger("linked_accounts")

ACCOUNT_WORK = {
    "event_types": timedelta(0),
    "webhooks": timedelta(0),
    "sync": timedelta(0),
    "warm": timedelta(0),
    "reconcile": timedelta(hours=1),
}
"""What is to be done for an account from the moment it is linked, and how long after (services/jobs.py)."""


def plan_work(rt: Runtime, account_id: str) -> None:
    """Make everything due that is done for a linked account; what is due earlier already stays so."""
    for kind, wait in ACCOUNT_WORK.items():
        claims.schedule(kind, account_id, rt.clock.now() + wait)


def plan_missing_work(rt: Runtime) -> None:
    """The net under it: a usable account whose work stopped being scheduled, whatever the reason, is taken up again."""
    needs = LinkedAccount.problem_code.is_null() | LinkedAccount.problem_code.not_in(tokens.NEEDS_PERSON)
    for (account_id,) in list(LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.connected & needs).tuples()):
        planned = {row[0] for row in JobClaim.select(JobClaim.kind).where(JobClaim.key == account_id).tuples()}
        for kind in ACCOUNT_WORK.keys() - planned:
            claims.schedule(kind, account_id, rt.clock.now())


REVOKES_AFTER = timedelta(seconds=30)
DOWN_FOR = timedelta(minutes=2)
"""A provider counts as down this long after its next try was due: whoever said so may have died before it came back."""


@dataclass(frozen=True)
class Status:
    """What a user is told about one provider. `account` is None when it was never linked or is unlinked."""

    id: str
    provider: str
    state: str
    sandbox: bool
    message: str
    problem: "StatusProblem | None"
    account: LinkedAccount | None


@dataclass(frozen=True)
class StatusProblem:
    code: str
    message: str
    missing_scopes: list[str]
    retry_at: datetime | None


# ---- unlinking -----------------------------------------------------------------------------------------------------------


def disconnect(rt: Runtime, viewer: Viewer, slug: str) -> tuple[Status, str, bool]:
    """Unlink: tokens and caches go at once, the webhook subscription as far as the provider can be reached.

    Answers the status, a sentence, and whether the provider confirmed a revocation. Raises NotConnected, also for the
    second of two at once.
    """
    account = find(viewer, slug)
    label = rt.providers[slug].label
    try:
        bearer: BearerAuth | None = BearerAuth(tokens.ensure_valid(rt, account.id).value)
    except (ProviderError, ProviderFailure, ConnectionUnusable):
        bearer = None
    subscription = WebhookSubscription.get_or_none(WebhookSubscription.linked_account == account.id)
    if not _unlink(account.id):
        raise NotConnected(f"{label} is not connected.")
    if subscription is not None and subscription.external_id and bearer is not None:
        webhook_subscriptions.remove_upstream(rt, slug, bearer, subscription.external_id)
    revoked = account.kind == tokens.MANAGED_USER and _revoked(rt, account)
    log.info("account unlinked", account=account.id, provider=slug, revoked=revoked)
    return status(rt, viewer, slug), _unlinked_sentence(rt.providers[slug], account.kind, revoked=revoked), revoked


@transactional
def _unlink(account_id: str) -> bool:
    if not tokens.drop(account_id, connected=False):
        return False
    for model in (AvailabilityCache, WebhookSubscription, AtomsSession, HandedOutToken):
        model.delete().where(model.linked_account == account_id).execute()
    for kind in ("refresh", *ACCOUNT_WORK):
        claims.unschedule(kind, account_id)
    return True


def _revoked(rt: Runtime, account: LinkedAccount) -> bool:
    """Now if the provider can be reached, else by a job that tries until it is done."""
    try:
        revoke(rt, account.provider, account.external_id)
    except ProviderError:
        plan_revocation(rt, account)
        return False
    return True


def plan_revocation(rt: Runtime, account: LinkedAccount) -> None:
    """By the upstream account, since the row may have another one by then."""
    claims.schedule("revoke", f"{account.provider}:{account.external_id}", rt.clock.now() + REVOKES_AFTER)


def revoke(rt: Runtime, slug: str, external_id: str) -> None:
    """Kill every token of an unlinked managed user, also those that browsers hold: a new pair, which nobody keeps.

    Raises ProviderError. An upstream account that was linked again meanwhile is left alone.
    """
    again = (LinkedAccount.provider == slug) & (LinkedAccount.external_id == external_id) & LinkedAccount.connected
    if not LinkedAccount.select().where(again).exists():
        with suppress(InvalidGrant):  # the user is gone, and every token with it
            rt.providers[slug].force_refresh(external_id)


def _unlinked_sentence(provider: Provider, kind: str, *, revoked: bool) -> str:
    if revoked:
        return f"{provider.label} is disconnected. Every token of it is revoked there and deleted here."
    if kind == tokens.MANAGED_USER:
        return f"{provider.label} is disconnected and its tokens are deleted here. {provider.label} could not be told; it is tried again."
    return (
        f"{provider.label} is disconnected and its tokens are deleted here. {provider.label} has no way to revoke them: "
        "to take the permission back there too, remove the app in its settings."
    )


# ---- telling -------------------------------------------------------------------------------------------------------------


def find(viewer: Viewer, slug: str) -> LinkedAccount:
    """The viewer's own connected account. Raises NotConnected."""
    account = LinkedAccount.get_or_none((LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug) & LinkedAccount.connected)
    if account is None:
        raise NotConnected("Connect this provider first (connectProvider).")
    return account


def mine(viewer: Viewer) -> list[LinkedAccount]:
    query = LinkedAccount.select().where((LinkedAccount.user == viewer.user_id) & LinkedAccount.connected)
    return list(query.order_by(LinkedAccount.provider))


def status(rt: Runtime, viewer: Viewer, slug: str) -> Status:
    """How the viewer's connection to a provider is, with a sentence that helps."""
    account = LinkedAccount.get_or_none((LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug) & LinkedAccount.connected)
    state, problem = state_of(rt, account) if account is not None else ("NOT_CONNECTED", None)
    return Status(
        id=f"{viewer.user_id}:{slug}",
        provider=slug,
        state=state,
        sandbox=slug in rt.sandboxes,
        message=_sentence(rt, slug, state, problem, account),
        problem=problem,
        account=account,
    )


def state_of(rt: Runtime, account: LinkedAccount) -> tuple[str, StatusProblem | None]:
    """ACTIVE, DEGRADED or NEEDS_RECONNECT, and why."""
    if not account.connected:
        return "NOT_CONNECTED", None
    code, retry_at = account.problem_code, account.retry_at
    if code is None:
        lately = ProviderHealth.retry_at > rt.clock.now() - DOWN_FOR
        health = ProviderHealth.get_or_none((ProviderHealth.provider == account.provider) & lately)
        if health is None:
            return "ACTIVE", None
        code, retry_at = "PROVIDER_UNAVAILABLE", health.retry_at
    problem = StatusProblem(code, _problem_sentence(rt, account, code), list(account.missing_scopes or ()), retry_at)
    return ("NEEDS_RECONNECT" if code in tokens.NEEDS_PERSON else "DEGRADED"), problem


def _problem_sentence(rt: Runtime, account: LinkedAccount, code: str) -> str:
    label = rt.providers[account.provider].label
    return {
        "REVOKED": f"{label} no longer accepts this connection: access was withdrawn there, or it was unused for too long.",
        "ROTATION_LOST": f"{label} renewed this connection, but its answer was lost on the way, and the old key no longer works.",
        "SCOPE_MISSING": f"{label} does not give Convene every permission it needs: {', '.join(account.missing_scopes or ())}.",
        "PLAN_REQUIRED": f"Your {label} plan does not include what Convene needs.",
        "PROVIDER_UNAVAILABLE": f"{label} cannot be reached right now.",
        "RATE_LIMITED": f"{label} asks us to slow down.",
        "CLIENT_MISCONFIGURED": f"{label} does not accept this installation's own credentials; its operator has been alarmed.",
    }[code]


def _sentence(rt: Runtime, slug: str, state: str, problem: StatusProblem | None, account: LinkedAccount | None) -> str:
    label = rt.providers[slug].label
    if state == "NOT_CONNECTED":
        return f"{label} is not connected. Connect it with connectProvider."
    if state == "NEEDS_RECONNECT" and problem:
        return f"{problem.message} Connect {label} again; bookings and history stay."
    if state == "DEGRADED" and problem:
        return f"{problem.message} Nothing is lost and you need not do anything: it is tried again by itself."
    return f"{label} is connected{_but(rt, slug, account)}"


def _but(rt: Runtime, slug: str, account: LinkedAccount | None) -> str:
    """What else somebody with a working connection should know."""
    label = rt.providers[slug].label
    if account is not None and not account.bookable:
        return (
            ", but nobody can book this account: it has no schedule, as one that is made without a time zone. "
            f"Make a schedule in {label}'s availability settings."
        )
    if account is not None and account.last_synced_at is None:
        return ". Your bookings are being fetched."
    if not webhook_subscriptions.reachable(rt, slug):
        return ". It cannot reach this installation, so changes made there show up within some minutes."
    return "."


def failure(rt: Runtime, slug: str, error: ProviderError, advice: str = "Try again in a moment.") -> ProviderFailure:
    """A provider's error as what a user is told: typed, with `retry_at` where it is known, and without its details."""
    label = rt.providers[slug].label
    if isinstance(error, RateLimited):
        return ProviderFailure(f"{label} asks us to slow down. {advice}", code="RATE_LIMITED", retry_at=error.retry_at)
    if isinstance(error, InvalidClient):
        return ProviderFailure(
            f"{label} does not accept this installation's own credentials. Tell its operator.",
            code="CLIENT_MISCONFIGURED",
            retryable=False,
        )
    if error.retryable:
        return ProviderFailure(f"{label} cannot be reached right now. {advice}", retry_at=rt.clock.now() + timedelta(seconds=30))
    log.warning("provider refused", provider=slug, status=error.status)
    return ProviderFailure(f"{label} refused this request. {advice}", code="PROVIDER_REFUSED", retryable=False)
