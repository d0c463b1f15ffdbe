"""Who is calling and with which scopes. Missing, expired and revoked tokens are all the same 401."""

from dataclasses import dataclass

from flask import g, request

from sandbox.calendly.context import setting, state, world
from sandbox.calendly.errors import NO_ACCESS, ApiError, insufficient
from sandbox.calendly.rows import Token, User

ADMINS = {"owner", "admin"}


@dataclass(frozen=True)
class Caller:
    user: User
    token: Token

    @property
    def key(self) -> str:
        """Of the rate limit: one bucket for each app and user, another one for all personal tokens of a user [?]."""
        kind = f"oauth:{self.token.app_id}" if self.token.app_id else "personal"
        return f"{kind}:{self.user.id}"

    @property
    def is_admin(self) -> bool:
        return state().membership_of(self.user).role in ADMINS

    def holds(self, scope: str) -> bool:
        """`X:write` includes `X:read`."""
        held = self.token.scopes
        return held is None or state().switches["legacyFullAccess"] or scope in held or scope.replace(":read", ":write") in held

    def need(self, *scopes: str) -> None:
        if not all(self.holds(scope) for scope in scopes):
            raise insufficient(list(scopes))

    def same_organization(self, user: User) -> bool:
        return user.organization_id == self.user.organization_id

    def may_manage(self, user_id: str) -> bool:
        """Oneself, or a member of the organization one administers."""
        other = state().users[user_id]
        return other.id == self.user.id or (self.is_admin and self.same_organization(other))

    def check_manages(self, user_id: str) -> None:
        if not self.may_manage(user_id):
            raise ApiError(403, NO_ACCESS)


def bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def resolve() -> Caller:
    now, row = setting().now, state().tokens.get(bearer() or "")
    if row is None or row.revoked or row.user_id not in state().users or (row.expires_at is not None and row.expires_at <= now):
        raise ApiError(401)
    if not row.used:
        with world().writing():
            row.used = True  # under the old rules this is what ends its predecessor's refresh token
    return Caller(state().users[row.user_id], row)


def needed(*scopes: str) -> Caller:
    """The caller, who must hold all the scopes."""
    caller = g.caller
    assert isinstance(caller, Caller)
    caller.need(*scopes)
    return caller
