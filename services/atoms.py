"""Provider components in the browser (Cal.com Atoms): they run with the account's own short-lived access token.

Two deliberate exceptions to "secrets stay inside" (DESIGN 1.8) are made here, both for the account's owner alone. When
the token expires, the browser asks for another one with the expired token itself and a handle of its session. The handle
is signed and names a row, so that unlinking revokes it; the token is recognised by its hash, so that neither alone is
worth anything.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadSignature, URLSafeSerializer

from models import AtomsSession, HandedOutToken, LinkedAccount
from models.base import new_id, to_ms
from services import limits, tokens
from services.errors import ConveneError, NotConnected, ProviderFailure
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import AccessToken
from services.runtime import Runtime

log = get_logger("atoms")

SESSION_LIFE = timedelta(hours=12)
KEPT_FOR = timedelta(days=2)
"""How long a token that was handed out is recognised: longer than any session, so that a tab may sleep for all of it."""
FRESH = timedelta(seconds=60)
"""A pair this young that is refused all the same is not exchanged again: a page that loops costs one exchange a minute.

Nor is it answered again: Atoms would try it without end, and never ask us a second time.
"""
LONGEST = 4096


@dataclass(frozen=True)
class Session:
    """What the browser components are started with. `expires_at`: when the handle in `refresh_url` ends."""

    client_id: str
    api_url: str
    refresh_url: str
    access_token: str
    expires_at: datetime


def start(rt: Runtime, viewer: Viewer) -> Session:
    """Begin a session for the viewer's account. Raises NotConnected, ConnectionUnusable, ProviderFailure."""
    mine = LinkedAccount.select().where((LinkedAccount.user == viewer.user_id) & LinkedAccount.connected)
    for account in mine.order_by(LinkedAccount.provider):
        if not rt.providers[account.provider].capabilities.managed_users:
            continue
        client = rt.managed_users(account.provider).browser_client(account.kind)
        if client is not None:
            break
    else:
        raise NotConnected("Connect Cal.com first (connectProvider).")
    token = hand_out(rt, account.id)
    session_id, expires_at = new_id(), rt.clock.now() + SESSION_LIFE
    AtomsSession.insert(id=session_id, linked_account=account.id, expires_at=expires_at).execute()
    handle = _signer(rt).dumps([session_id, to_ms(expires_at)])
    return Session(
        client.client_id, client.api_url, f"{rt.settings.public_url}/tokens/cal/refresh?session={handle}", token.value, expires_at
    )


def renew(rt: Runtime, handle: str, origin: str | None, presented: str) -> str | None:
    """A living access token for the session's browser; None when it has no right to one, or there is none now.

    Two tabs that ask with the same expired token get the same new one: there is one exchange per token version.
    """
    account = _named(rt, handle, presented) if origin in rt.settings.allowed_origins else None
    if account is None:
        log.info("no token for a browser", reason="origin, handle or token")
        return None
    try:
        token = hand_out(rt, account.id)
        if token.value == presented:
            # not expired by our clock, and refused all the same: somebody else made another pair
            if token.received_at > rt.clock.now() - FRESH:
                log.info("no token for a browser", reason="refused so soon")
                return None
            tokens.renew_refused(rt, account.id, token)
            token = hand_out(rt, account.id)
    except ConveneError as error:
        log.info("no token for a browser", reason=error.code)
        return None
    return token.value


def hand_out(rt: Runtime, account_id: str) -> AccessToken:
    """A usable access token that leaves the server, remembered by its hash.

    Raises ProviderFailure RATE_LIMITED after thirty in a minute for one account, and like tokens.ensure_valid.
    """
    if retry_at := limits.spend(rt, f"handed-out:{account_id}", most=30, span=timedelta(minutes=1)):
        raise ProviderFailure("Too many tokens were asked for. Wait a moment.", code="RATE_LIMITED", retry_at=retry_at)
    token = tokens.ensure_valid(rt, account_id)
    list(
        HandedOutToken.insert(id=new_id(), linked_account=account_id, token_hash=_hash(token.value))
        .on_conflict(conflict_target=[HandedOutToken.token_hash], action="nothing")
        .returning(HandedOutToken.id)
        .tuples()
        .execute()
    )
    return token


def clean_up(rt: Runtime) -> None:
    now = rt.clock.now()
    AtomsSession.delete().where(AtomsSession.expires_at < now).execute()
    HandedOutToken.delete().where(HandedOutToken.created_at < now - KEPT_FOR).execute()


def _named(rt: Runtime, handle: str, presented: str) -> LinkedAccount | None:
    """The one account that both the handle and the token name."""
    if not presented or max(len(handle), len(presented)) > LONGEST:
        return None
    try:
        session_id, _ = _signer(rt).loads(handle)
    except (BadSignature, ValueError, TypeError):
        return None
    found: LinkedAccount | None = (
        LinkedAccount.select()
        .join(AtomsSession)
        .switch(LinkedAccount)
        .join(HandedOutToken)
        .where(
            (AtomsSession.id == session_id)
            & (AtomsSession.expires_at > rt.clock.now())
            & (HandedOutToken.token_hash == _hash(presented))
            & LinkedAccount.connected
        )
        .first()
    )
    return found


def _signer(rt: Runtime) -> URLSafeSerializer:
    """Signs with a key made of the active sealing key and reads with any, so that handles outlive a rotation of keys."""
    return URLSafeSerializer(rt.vault.derived_keys(b"atoms session"), salt="atoms session")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
