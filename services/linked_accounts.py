"""Unlinking, and telling a user how their connection is. Linking is in services/linking.py."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models import (
    AtomsSession,
    AvailabilityCache,
    HandedOutToken,
    JobClaim,
    LinkedAccount,
    Meeting,
    ProviderHealth,
    Schedule,
    WebhookSubscription,
)
from models.base import transactional
from services import claims, link_audit, live, revocations, tokens, webhook_subscriptions
from services.errors import (
    ConnectionUnusable,
    InvalidClient,
    NotConnected,
    ProviderError,
    ProviderFailure,
    RateLimited,
)
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import BearerAuth, Provider, RemoteAccount
from services.runtime import Runtime

log = get_logger("linked_accounts")

NOW = timedelta(0)
SCHEDULING_WORK = {
    "event_types": NOW,
    "schedules": NOW,
    "webhooks": NOW,
    "sync": NOW,
    "warm": NOW,
    "reconcile": timedelta(hours=1),
}
MEETINGS_WORK = {"sweep_meetings": NOW}
"""What is to be done for an account from the moment it is linked, and how long after (services/jobs.py)."""


def account_work(provider: Provider) -> dict[str, timedelta]:
    can = provider.capabilities
    return (SCHEDULING_WORK if can.scheduling else {}) | (MEETINGS_WORK if can.meetings else {})


def plan_work(rt: Runtime, account: LinkedAccount) -> None:
    """Make everything due that is done for a linked account; what is due earlier already stays so."""
    for kind, wait in account_work(rt.providers[account.provider]).items():
        claims.schedule(kind, account.id, rt.clock.now() + wait)


def plan_missing_work(rt: Runtime) -> None:
    """The net under it: a usable account whose work stopped being scheduled, whatever the reason, is taken up again."""
    needs = LinkedAccount.problem_code.is_null() | LinkedAccount.problem_code.not_in(tokens.NEEDS_PERSON)
    for account in list(LinkedAccount.select().where(LinkedAccount.connected & needs)):
        planned = {row[0] for row in JobClaim.select(JobClaim.kind).where(JobClaim.key == account.id).tuples()}
        for kind in account_work(rt.providers[account.provider]).keys() - planned:
            claims.schedule(kind, account.id, rt.clock.now())


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
    subscription = WebhookSubscription.get_or_none(WebhookSubscription.linked_account == account.id)
    bearer = _last_bearer(rt, account) if subscription is not None and subscription.external_id else None
    account = find(viewer, slug)  # as it is now: its tokens may just have been renewed
    revocable = tokens.to_revoke(rt, account)
    if not _unlink(rt, account):
        raise NotConnected(f"{label} is not connected.")
    if subscription is not None and bearer is not None:
        webhook_subscriptions.remove_upstream(rt, slug, bearer, subscription.external_id)
    revoked = revocations.now_or_later(rt, account, revocable)
    log.info("account unlinked", account=account.id, provider=slug, revoked=revoked)
    return status(rt, viewer, slug), _unlinked_sentence(rt.providers[slug], account.kind, revoked=revoked), revoked


def read_profile(rt: Runtime, account_id: str) -> None:
    """What the account is called and where it belongs, as it is now: no provider tells when that changes.

    Raises ProviderError and Problems.
    """
    account = LinkedAccount.get_by_id(account_id)
    remote = rt.providers[account.provider].account(tokens.auth_of(account))
    if remote.external_id == account.external_id:
        LinkedAccount.update(**profile(remote)).where((LinkedAccount.id == account_id) & LinkedAccount.connected).execute()


def profile(remote: RemoteAccount) -> dict[str, object]:
    return {
        "name": remote.name,
        "email": remote.email,
        "username": remote.username,
        "scheduling_url": remote.scheduling_url,
        "organization": remote.organization,
        "time_zone": remote.time_zone,
        "bookable": remote.bookable,
    }


def withdraw(rt: Runtime, slug: str, external_id: str) -> None:
    """The person took the permission back at the provider: the same without a call, and what came from there is deleted."""
    account = LinkedAccount.get_or_none(
        (LinkedAccount.provider == slug)
        & (LinkedAccount.external_id == external_id)
        & (LinkedAccount.kind == tokens.OAUTH)
        & LinkedAccount.connected
    )
    if account is not None and _unlink(rt, account):
        Meeting.delete().where(Meeting.linked_account == account.id).execute()
        LinkedAccount.update(name=None, email=None, username=None, scheduling_url=None).where(LinkedAccount.id == account.id).execute()
        log.info("account withdrawn", account=account.id, provider=slug)


def _last_bearer(rt: Runtime, account: LinkedAccount) -> BearerAuth | None:
    try:
        return BearerAuth(tokens.ensure_valid(rt, account.id).value)
    except (ProviderError, ProviderFailure, ConnectionUnusable):
        return None


@transactional
def _unlink(rt: Runtime, account: LinkedAccount) -> bool:
    if not tokens.drop(account.id, connected=False):
        return False
    for model in (AvailabilityCache, WebhookSubscription, AtomsSession, HandedOutToken, Schedule):
        model.delete().where(model.linked_account == account.id).execute()
    for kind in ("refresh", *account_work(rt.providers[account.provider])):
        claims.unschedule(kind, account.id)
    link_audit.note(rt, "linked_account.disconnected", None, account)
    live.tell_of_connection(rt, account)
    return True


def _unlinked_sentence(provider: Provider, kind: str, *, revoked: bool) -> str:
    if revoked:
        return f"{provider.label} is disconnected. Every token of it is revoked there and deleted here."
    if kind == tokens.SERVER_TO_SERVER:
        return f"{provider.label} is disconnected. The installation's own access to the {provider.label} account stays."
    if kind == tokens.MANAGED_USER or provider.capabilities.revocation:
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


def not_scheduling(rt: Runtime, slug: str) -> ProviderFailure:
    """Of a provider that has no event types and bookings."""
    return ProviderFailure(f"{rt.providers[slug].label} has no event types and no bookings.", code="NOT_SUPPORTED", retryable=False)


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
    if state == "NOT_CONNECTED" and not rt.providers[slug].link_kinds:
        return f"{label} is not set up in this installation."
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
    if not rt.providers[slug].capabilities.scheduling:
        return "."
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
