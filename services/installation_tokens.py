"""The token with which this installation acts for a provider's whole account (SERVER_TO_SERVER): one row for all replicas.

It comes of our own credentials and there is no refresh token to spend, so a lost answer costs nothing: one asks again.
One exchange per expiry all the same: one asks, the others wait and find the row.
"""

from datetime import timedelta

from models import InstallationToken
from models.base import new_id
from services import claims
from services.errors import TokenRefused
from services.logging import get_logger
from services.providers.base import AccessToken
from services.providers.transport import EXCHANGE_LIMIT
from services.runtime import Runtime
from services.vault import place

log = get_logger("tokens")

EXPIRY_MARGIN = timedelta(seconds=60)
LEASE = EXCHANGE_LIMIT + timedelta(seconds=10)
TRIAL = timedelta(minutes=1)
"""What is refused so young is refused for another reason than its age."""


def current(rt: Runtime, slug: str) -> AccessToken:
    """A living token. Raises ProviderError, and ProviderFailure when somebody else is still asking for one."""
    row = _row(slug)
    if row.access_token is not None and row.expires_at is not None and row.expires_at > rt.clock.now() + EXPIRY_MARGIN:
        return _token(rt, row)
    return another(rt, slug, row.version)


def renew(rt: Runtime, slug: str, refused: AccessToken) -> AccessToken:
    """Another one than the one that was refused. Raises like `current`, and TokenRefused for a fresh one."""
    row = _row(slug)
    if row.version > refused.version:
        return _token(rt, row)
    if rt.clock.now() - refused.received_at < TRIAL:
        raise TokenRefused(slug, "refused a token that was fresh")
    return another(rt, slug, refused.version)


def forget(slug: str) -> None:
    """What it lacks it will lack until its end; the next one may have it."""
    InstallationToken.update(expires_at=None).where(InstallationToken.provider == slug).execute()


def another(rt: Runtime, slug: str, version: int) -> AccessToken:
    """A newer one than this version, from our exchange or from whoever did it. Raises ProviderError."""
    with claims.exclusive(rt, "installation_token", slug, lease=LEASE):
        row = _row(slug)
        if row.version > version:
            return _token(rt, row)
        grant, now = rt.meetings(slug).installation_grant(), rt.clock.now()
        InstallationToken.update(
            access_token=rt.vault.seal(grant.access_token, place("installation_token", row.id, "access_token")),
            version=version + 1,
            received_at=now,
            expires_at=now + (grant.expires_in or timedelta(hours=1)),
        ).where((InstallationToken.id == row.id) & (InstallationToken.version == version)).execute()
        log.info("token of the installation renewed", provider=slug)
        return _token(rt, _row(slug))


def _row(slug: str) -> InstallationToken:
    row = InstallationToken.get_or_none(InstallationToken.provider == slug)
    if row is None:
        list(
            InstallationToken.insert(id=new_id(), provider=slug)
            .on_conflict(conflict_target=[InstallationToken.provider], action="nothing")
            .returning(InstallationToken.id)
            .tuples()
            .execute()
        )
        row = InstallationToken.get(InstallationToken.provider == slug)
    found: InstallationToken = row
    return found


def _token(rt: Runtime, row: InstallationToken) -> AccessToken:
    value = rt.vault.open(row.access_token, place("installation_token", row.id, "access_token"))
    return AccessToken(value, row.version, row.received_at, row.expires_at)
