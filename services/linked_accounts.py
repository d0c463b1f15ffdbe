"""Linking, unlinking, and telling a user how their connection is.

The provider's code never leaves the server, and only the user who began an authorization can finish it: a consent link
sent to somebody else cannot put their account into mine.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from models import (
    AvailabilityCache,
    Booking,
    EventType,
    LinkedAccount,
    OAuthState,
    PersonIdentity,
    ProviderHealth,
    WebhookSubscription,
)
from models.base import for_update, new_id, transactional
from services import claims, identity, people, tokens, webhook_subscriptions
from services.errors import (
    AccountInUse,
    AuthorizationDenied,
    AuthorizationExpired,
    ConnectionUnusable,
    DifferentAccount,
    InvalidClient,
    InvalidGrant,
    InvalidInput,
    NotConnected,
    NotSent,
    ProviderError,
    ProviderFailure,
    RateLimited,
    ScopeMissing,
)
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import BearerAuth, Grant, Provider, RemoteAccount
from services.runtime import Runtime
from services.vault import place

log = get_logger("linked_accounts")

AUTHORIZATION_LIFE = timedelta(minutes=10)
"""As long as Cal.com's codes live."""


@dataclass(frozen=True)
class Authorization:
    """Where to send the browser, and the state it comes back with."""

    url: str
    state: str
    expires_at: datetime


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


# ---- linking -------------------------------------------------------------------------------------------------------------


def begin(rt: Runtime, viewer: Viewer, slug: str, *, return_to: str | None, switch_account: bool) -> Authorization:
    """Start an authorization. Raises InvalidInput when `return_to` is not exactly one of the allowed addresses."""
    own_page = return_page(rt, slug)
    if return_to is not None and return_to not in (*rt.settings.return_addresses, own_page):
        raise InvalidInput.of(
            "returnTo",
            "This address is not allowed. It must be exactly one of CONVENE_RETURN_ADDRESSES; leave it out for our own page.",
        )
    state, verifier, row_id = secrets.token_urlsafe(32), secrets.token_urlsafe(64), new_id()
    expires_at = rt.clock.now() + AUTHORIZATION_LIFE
    OAuthState.insert(
        id=row_id,
        state_hash=_hash(state),
        user=viewer.user_id,
        provider=slug,
        verifier=rt.vault.seal(verifier, place("oauth_state", row_id, "verifier")),
        return_to=return_to or own_page,
        switch_account=switch_account,
        expires_at=expires_at,
    ).execute()
    url = rt.providers[slug].authorization_url(redirect_uri=callback_address(rt, slug), state=state, verifier=verifier)
    return Authorization(url, state, expires_at)


def callback_address(rt: Runtime, slug: str) -> str:
    return f"{rt.settings.public_url}/oauth/{slug}/callback"


def return_page(rt: Runtime, slug: str) -> str:
    return f"{rt.settings.public_url}/oauth/{slug}/return"


def receive_callback(rt: Runtime, slug: str, *, state: str, code: str | None, error: str | None) -> str | None:
    """Keep the code (or the refusal) of a returning browser; answers where to send it, or None for an unknown state.

    Nothing is exchanged here: the browser proves nothing about who the user is.
    """
    row = OAuthState.get_or_none(
        (OAuthState.state_hash == _hash(state)) & (OAuthState.provider == slug) & (OAuthState.expires_at > rt.clock.now())
    )
    if row is None:
        return None
    if code and not error:
        sealed = rt.vault.seal(code, place("oauth_state", row.id, "code"))
        change = {"status": "returned", "code": sealed}
    else:
        change = {"status": "denied", "error": (error or "no code")[:100]}
    # a browser that comes back twice changes nothing the second time
    OAuthState.update(**change).where((OAuthState.id == row.id) & (OAuthState.status == "started")).execute()
    query = {"state": state} if code and not error else {"state": state, "error": (error or "invalid_request")[:100]}
    return f"{row.return_to}{'&' if '?' in row.return_to else '?'}{urlencode(query)}"


def complete(rt: Runtime, viewer: Viewer, state: str) -> Status:
    """Exchange the code that came back and link the account. Raises the problems of CompleteConnectionResult.

    Once only: a second call for a completed state answers the present status, an interrupted one starts over.
    """
    row = OAuthState.get_or_none((OAuthState.state_hash == _hash(state)) & (OAuthState.user == viewer.user_id))
    expired = AuthorizationExpired("This authorization is unknown, used or too old. Begin again with connectProvider.")
    if row is None:
        raise expired
    slug = row.provider
    if row.status == "completed":
        return status(rt, viewer, slug)
    if row.expires_at <= rt.clock.now():
        raise expired
    label = rt.providers[slug].label
    if row.status == "denied":
        raise AuthorizationDenied(f"{label} was not connected: access was declined on the consent page.")
    if row.status == "started":
        raise AuthorizationExpired(f"{label} has not sent the browser back yet. Open the authorization address first.")
    taken = OAuthState.update(status="completing").where((OAuthState.id == row.id) & (OAuthState.status == "returned")).execute()
    if not taken:
        raise AuthorizationExpired("This authorization is being completed by another request.")
    grant = _exchange(rt, row)
    missing = tokens.missing_scopes(rt, slug, grant.scopes)
    if missing:
        raise ScopeMissing(
            f"{label} was not connected: Convene also needs {', '.join(missing)}. Connect again and leave every permission ticked."
        )
    try:
        remote = rt.providers[slug].account(BearerAuth(grant.access_token))
    except ProviderError as error:
        raise failure(rt, slug, error) from error
    account_id = _link(rt, viewer, row, remote, grant)
    identity.adopt_account_profile(viewer.user_id, remote.name, remote.time_zone)
    for kind in ("event_types", "webhooks", "sync", "warm"):
        claims.schedule(kind, account_id, rt.clock.now())
    rt.wake("work")
    log.info("account linked", account=account_id, provider=slug)
    return status(rt, viewer, slug)


def _exchange(rt: Runtime, row: OAuthState) -> Grant:
    provider = rt.providers[row.provider]
    try:
        return provider.exchange_code(
            code=rt.vault.open(row.code, place("oauth_state", row.id, "code")),
            redirect_uri=callback_address(rt, row.provider),
            verifier=rt.vault.open(row.verifier, place("oauth_state", row.id, "verifier")),
        )
    except InvalidGrant as error:
        raise AuthorizationExpired("The code is used or too old. Begin again with connectProvider.") from error
    except (NotSent, InvalidClient) as error:
        # the code was not spent: the same state may be completed again
        OAuthState.update(status="returned").where(OAuthState.id == row.id).execute()
        raise failure(rt, row.provider, error) from error
    except ProviderError as error:
        raise failure(rt, row.provider, error, advice="Begin again with connectProvider.") from error


@transactional
def _link(rt: Runtime, viewer: Viewer, state: OAuthState, remote: RemoteAccount, grant: Grant) -> str:
    """One transaction: the row, its tokens, and whom the account proves the user to be."""
    slug, label = state.provider, rt.providers[state.provider].label
    people.lock([viewer.person_id])
    row = for_update(LinkedAccount.select().where((LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug))).first()
    elsewhere = LinkedAccount.select().where(
        (LinkedAccount.provider == slug)
        & (LinkedAccount.external_id == remote.external_id)
        & LinkedAccount.connected
        & (LinkedAccount.user != viewer.user_id)
    )
    if elsewhere.exists():
        raise AccountInUse(f"This {label} account is already connected to another user. Disconnect it there first.")
    now = rt.clock.now()
    profile = {
        "external_id": remote.external_id,
        "name": remote.name,
        "email": remote.email,
        "username": remote.username,
        "scheduling_url": remote.scheduling_url,
        "organization": remote.organization,
        "time_zone": remote.time_zone,
    }
    if row is None:
        row = LinkedAccount.create(user=viewer.user_id, provider=slug, kind="OAUTH", linked_at=now, **profile)
    else:
        if row.external_id != remote.external_id:
            if row.connected and not state.switch_account:
                raise DifferentAccount(_called(row), remote.email or remote.name or "another account")
            _detach(row)
        since = {} if row.connected and row.external_id == remote.external_id else {"linked_at": now}
        LinkedAccount.update(connected=True, kind="OAUTH", last_sync_error=None, **profile, **since).where(
            LinkedAccount.id == row.id
        ).execute()
    tokens.update_tokens(rt, row.id, row.token_version, grant)
    _claim_identities(viewer, slug, remote)
    OAuthState.update(status="completed", code=None).where(OAuthState.id == state.id).execute()
    account_id: str = row.id
    return account_id


def _claim_identities(viewer: Viewer, slug: str, remote: RemoteAccount) -> None:
    """The account proves its own id; and its address, which the provider verified when the account got it."""
    if not people.claim(viewer.person_id, (slug, remote.external_id)):
        # it was another user's until they unlinked it: from now on it means this one
        PersonIdentity.update(person=viewer.person_id).where(
            (PersonIdentity.kind == slug) & (PersonIdentity.value == remote.external_id)
        ).execute()
    if remote.email:
        people.claim(viewer.person_id, people.email_identity(remote.email))


def _detach(row: LinkedAccount) -> None:
    """Another upstream account takes the row: what came from the old one no longer reads through it."""
    EventType.update(linked_account=None, active=False).where(EventType.linked_account == row.id).execute()
    Booking.update(linked_account=None).where(Booking.linked_account == row.id).execute()
    AvailabilityCache.delete().where(AvailabilityCache.linked_account == row.id).execute()
    WebhookSubscription.delete().where(WebhookSubscription.linked_account == row.id).execute()
    LinkedAccount.update(last_synced_at=None).where(LinkedAccount.id == row.id).execute()


def _called(row: LinkedAccount) -> str:
    return str(row.email or row.name or "the linked account")


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
    log.info("account unlinked", account=account.id, provider=slug)
    return status(rt, viewer, slug), _unlinked_sentence(rt.providers[slug]), False


@transactional
def _unlink(account_id: str) -> bool:
    gone = (
        LinkedAccount.update(
            connected=False,
            access_token=None,
            refresh_token=None,
            access_expires_at=None,
            token_version=LinkedAccount.token_version + 1,
            problem_code=None,
            missing_scopes=[],
            retry_at=None,
            failed_refresh_count=0,
        )
        .where((LinkedAccount.id == account_id) & LinkedAccount.connected)
        .execute()
    )
    if not gone:
        return False
    AvailabilityCache.delete().where(AvailabilityCache.linked_account == account_id).execute()
    WebhookSubscription.delete().where(WebhookSubscription.linked_account == account_id).execute()
    for kind in ("refresh", "event_types", "webhooks", "sync", "warm"):
        claims.unschedule(kind, account_id)
    return True


def _unlinked_sentence(provider: Provider) -> str:
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
        health = ProviderHealth.get_or_none((ProviderHealth.provider == account.provider) & ProviderHealth.down_since.is_null(False))
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
    if account is not None and account.last_synced_at is None:
        return f"{label} is connected. Your bookings are being fetched."
    if not webhook_subscriptions.reachable(rt, slug):
        return f"{label} is connected. It cannot reach this installation, so changes made there show up within some minutes."
    return f"{label} is connected."


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
    log.warning("provider refused", provider=slug, detail=error.detail, status=error.status)
    return ProviderFailure(f"{label} refused this request. {advice}", code="PROVIDER_REFUSED", retryable=False)


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
