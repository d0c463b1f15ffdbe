"""Linking: from the consent page to a stored pair of tokens.

The provider's code never leaves the server, and only the user who began an authorization can finish it.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from peewee import IntegrityError

from models import (
    AtomsSession,
    AvailabilityCache,
    Booking,
    EventType,
    HandedOutToken,
    LinkedAccount,
    Meeting,
    OAuthState,
    PersonIdentity,
    Schedule,
    User,
    WebhookSubscription,
)
from models.base import for_update, new_id, transactional
from services import identity, link_audit, linked_accounts, live, people, revocations, tokens, webhook_subscriptions
from services.errors import (
    AccountInUse,
    AuthorizationDenied,
    AuthorizationExpired,
    DifferentAccount,
    InvalidClient,
    InvalidGrant,
    InvalidInput,
    NotSent,
    Problem,
    ProviderError,
    ProviderFailure,
    ScopeMissing,
)
from services.identity import Viewer
from services.linked_accounts import Status, failure, status
from services.logging import get_logger
from services.providers.base import BearerAuth, Grant, RemoteAccount
from services.runtime import Runtime
from services.vault import place

log = get_logger("linking")

BEGIN_AGAIN = "Begin again with connectProvider."
AUTHORIZATION_LIFE = timedelta(minutes=10)
"""As long as Cal.com's codes live."""


@dataclass(frozen=True)
class Authorization:
    """Where to send the browser, and the state it comes back with."""

    url: str
    state: str
    expires_at: datetime


def begin(rt: Runtime, viewer: Viewer, slug: str, *, return_to: str | None, switch_account: bool) -> Authorization:
    """Start an authorization. Raises InvalidInput when `return_to` is not exactly one of the allowed addresses."""
    if tokens.OAUTH not in rt.providers[slug].link_kinds:
        raise not_set_up(rt, slug, "OAuth")
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


def not_set_up(rt: Runtime, slug: str, what: str) -> InvalidInput:
    label, kinds = rt.providers[slug].label, sorted(rt.providers[slug].link_kinds)
    other = f" Here it is linked with kind {' or '.join(kinds)}." if kinds else ""
    return InvalidInput.of("kind", f"{label} with {what} is not set up in this installation.{other}")


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
    # RFC 6749: printable ASCII, but anybody can come back with anything
    refusal = "".join(letter for letter in error or "" if letter.isprintable())[:100]
    if code and not error:
        sealed = rt.vault.seal(code, place("oauth_state", row.id, "code"))
        change = {"status": "returned", "code": sealed}
    else:
        change = {"status": "denied", "error": refusal or "no code"}
    # a browser that comes back twice changes nothing the second time
    OAuthState.update(**change).where((OAuthState.id == row.id) & (OAuthState.status == "started")).execute()
    query = {"state": state} if code and not error else {"state": state, "error": refusal or "invalid_request"}
    return f"{row.return_to}{'&' if '?' in row.return_to else '?'}{urlencode(query)}"


def complete(rt: Runtime, viewer: Viewer, state: str) -> Status:
    """Exchange the code that came back and link the account. Raises the problems of CompleteConnectionResult.

    Once only: a second call for a completed state answers the present status, an interrupted one starts over.
    """
    row = _returned(rt, viewer, state)
    slug = row.provider
    if row.status == "completed":
        return status(rt, viewer, slug)
    taken = OAuthState.update(status="completing").where((OAuthState.id == row.id) & (OAuthState.status == "returned")).execute()
    if not taken:
        raise AuthorizationExpired("This authorization is being completed by another request.")
    present = LinkedAccount.get_or_none((LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug))
    try:
        with tokens.undisturbed(rt, present) as still_undisturbed:
            account_id = _complete(rt, viewer, row, still_undisturbed)
    except ProviderFailure as error:
        if error.failure_code == "REFRESH_IN_PROGRESS":
            OAuthState.update(status="returned").where((OAuthState.id == row.id) & (OAuthState.status == "completing")).execute()
        else:
            _fail(row)
        raise
    except BaseException:
        _fail(row)
        raise
    rt.wake("work")
    log.info("account linked", account=account_id, provider=slug)
    return status(rt, viewer, slug)


def _returned(rt: Runtime, viewer: Viewer, state: str) -> OAuthState:
    """The viewer's own authorization, back from the consent page (or completed already). Raises what else it may be."""
    row = OAuthState.get_or_none((OAuthState.state_hash == _hash(state)) & (OAuthState.user == viewer.user_id))
    over = row is None or row.status == "failed" or (row.status != "completed" and row.expires_at <= rt.clock.now())
    if over or (row.status == "completed" and status(rt, viewer, row.provider).account is None):
        raise AuthorizationExpired("This authorization is unknown, used or too old. Begin again with connectProvider.")
    label = rt.providers[row.provider].label
    if row.status == "denied":
        raise AuthorizationDenied(f"{label} was not connected: access was declined on the consent page.")
    if row.status == "started":
        raise AuthorizationExpired(f"{label} has not sent the browser back yet. Open the authorization address first.")
    found: OAuthState = row
    return found


def _fail(row: OAuthState) -> None:
    """What was not put back for another try came to nothing."""
    OAuthState.update(status="failed", code=None).where((OAuthState.id == row.id) & (OAuthState.status == "completing")).execute()


def _complete(rt: Runtime, viewer: Viewer, row: OAuthState, still_undisturbed: Callable[[], None]) -> str:
    """The exchange, the look at what was granted and to whom, and the link. Answers the linked account's id."""
    slug, label = row.provider, rt.providers[row.provider].label
    grant = _exchange(rt, row)
    try:
        missing = tokens.missing_scopes(rt, slug, grant.scopes)
        if missing:
            raise ScopeMissing(
                f"{label} was not connected: Convene also needs {', '.join(missing)}. Connect again and leave every permission ticked."
            )
        try:
            remote = rt.providers[slug].account(BearerAuth(grant.access_token))
        except ProviderError as error:
            raise failure(rt, slug, error, advice=BEGIN_AGAIN) from error
        still_undisturbed()
        return link(rt, viewer, Link(slug, "OAUTH", remote, switch_account=row.switch_account, grant=grant, state_id=row.id))
    except Problem:
        # nobody is going to use this pair
        tokens.revoke_later(rt, slug, grant.refresh_token or grant.access_token)
        raise


@dataclass(frozen=True)
class Link:
    """What is to be linked. `grant` None: its tokens are got when they are first needed."""

    slug: str
    kind: str
    remote: RemoteAccount
    switch_account: bool
    grant: Grant | None = None
    state_id: str | None = None


def link(rt: Runtime, viewer: Viewer, wanted: Link) -> str:
    """Make or renew the viewer's link; answers the linked account's id. Raises DifferentAccount, AccountInUse.

    Two at once have the outcome of one.
    """
    left = _left_behind(rt, viewer, wanted.slug, wanted.remote)
    try:
        account_id = _link_once(rt, viewer, wanted)
    except IntegrityError as error:
        # two users at once: the unique index on (provider, upstream account) let one through
        raise _in_use(rt, wanted.slug) from error
    # an account without a schedule was made without a zone; the one that it has is the provider's guess
    zone = wanted.remote.time_zone if wanted.remote.bookable else None
    identity.adopt_account_profile(viewer.user_id, wanted.remote.name, zone)
    if left is not None:
        webhook_subscriptions.remove_upstream(rt, wanted.slug, *left)
    return account_id


def _left_behind(rt: Runtime, viewer: Viewer, slug: str, remote: RemoteAccount) -> tuple[BearerAuth, str] | None:
    """The webhook subscription of the account that is about to be replaced, and a token that can still remove it."""
    old = LinkedAccount.get_or_none(
        (LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug) & (LinkedAccount.external_id != remote.external_id)
    )
    subscription = WebhookSubscription.get_or_none(WebhookSubscription.linked_account == old.id) if old else None
    bearer = tokens.living(rt, old) if old else None
    return (bearer, subscription.external_id) if bearer and subscription and subscription.external_id else None


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
        raise failure(rt, row.provider, error, advice=BEGIN_AGAIN) from error


def _in_use(rt: Runtime, slug: str) -> AccountInUse:
    return AccountInUse(f"This {rt.providers[slug].label} account is already connected to another user. Disconnect it there first.")


@transactional
def _link_once(rt: Runtime, viewer: Viewer, wanted: Link) -> str:
    """One transaction: the row, its tokens, and whom the account proves the user to be."""
    slug, remote = wanted.slug, wanted.remote
    people.lock([viewer.person_id])
    if User.select().where((User.id == viewer.user_id) & User.erased_at.is_null(False)).exists():
        raise AuthorizationExpired("This user was erased meanwhile. Sign in again.")
    row = for_update(LinkedAccount.select().where((LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == slug))).first()
    elsewhere = LinkedAccount.select().where(
        (LinkedAccount.provider == slug)
        & (LinkedAccount.external_id == remote.external_id)
        & LinkedAccount.connected
        & (LinkedAccount.user != viewer.user_id)
    )
    if elsewhere.exists():
        raise _in_use(rt, slug)
    now, before, what = rt.clock.now(), row, _what_happens(row, wanted)
    profile = {"external_id": remote.external_id, **linked_accounts.profile(remote)}
    if row is None:
        row = LinkedAccount.create(user=viewer.user_id, provider=slug, kind=wanted.kind, linked_at=now, **profile)
    else:
        # there is one managed user per address: that it has another id means that the one we knew is gone
        replaced = row.kind == wanted.kind == tokens.MANAGED_USER and (row.email == remote.email or row.problem_code == "REVOKED")
        if row.external_id != remote.external_id:
            if row.connected and not (wanted.switch_account or replaced):
                raise DifferentAccount(_called(row), remote.email or remote.name or "another account")
            _detach(rt, row)
        same = row.connected and row.external_id == remote.external_id
        since = {} if same else {"linked_at": now}
        well: dict[str, Any] = {"problem_code": None, "missing_scopes": [], "last_sync_error": None}
        LinkedAccount.update(connected=True, kind=wanted.kind, **well, **profile, **since).where(LinkedAccount.id == row.id).execute()
        if wanted.grant is None and not (same and row.kind == wanted.kind and row.problem_code is None):
            tokens.drop(row.id)
    if wanted.grant is not None:
        tokens.update_tokens(rt, row.id, row.token_version, wanted.grant)
    _claim_identities(viewer, slug, remote)
    link_audit.note(rt, what, LinkedAccount.get_by_id(row.id), before)
    live.tell_of_connection(rt, row)
    linked_accounts.plan_work(rt, row)
    OAuthState.update(status="completed", code=None).where(OAuthState.id == wanted.state_id).execute()
    account_id: str = row.id
    return account_id


def _what_happens(row: LinkedAccount | None, wanted: Link) -> str:
    if row is None or not row.connected:
        return "linked_account.connected"
    return "linked_account.reconnected" if row.external_id == wanted.remote.external_id else "linked_account.switched"


def _claim_identities(viewer: Viewer, slug: str, remote: RemoteAccount) -> None:
    """The account proves its own id; and its address, which the provider verified when the account got it."""
    if not people.claim(viewer.person_id, (slug, remote.external_id)):
        # it was another user's until they unlinked it: from now on it means this one
        PersonIdentity.update(person=viewer.person_id).where(
            (PersonIdentity.kind == slug) & (PersonIdentity.value == remote.external_id)
        ).execute()
    if remote.email:
        people.claim(viewer.person_id, people.email_identity(remote.email))


def _detach(rt: Runtime, row: LinkedAccount) -> None:
    """Another upstream account takes the row: what came from the old one no longer reads through it."""
    if row.connected:
        revocations.plan(rt, row, tokens.to_revoke(rt, row))
    EventType.update(linked_account=None, active=False).where(EventType.linked_account == row.id).execute()
    Booking.update(linked_account=None).where(Booking.linked_account == row.id).execute()
    AvailabilityCache.delete().where(AvailabilityCache.linked_account == row.id).execute()
    Meeting.update(linked_account=None).where(Meeting.linked_account == row.id).execute()
    for model in (WebhookSubscription, AtomsSession, HandedOutToken, Schedule):
        model.delete().where(model.linked_account == row.id).execute()
    LinkedAccount.update(last_synced_at=None, scopes=[], access_token=None, refresh_token=None).where(LinkedAccount.id == row.id).execute()


def _called(row: LinkedAccount) -> str:
    return str(row.email or row.name or "the linked account")


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
