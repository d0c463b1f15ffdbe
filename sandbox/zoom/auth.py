"""Who is calling, and for whom."""

from dataclasses import dataclass

from flask import request

from sandbox.zoom import errors, scopes
from sandbox.zoom.context import now, state
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import Meeting, Recording, User


@dataclass(frozen=True)
class Caller:
    client_id: str
    account_id: str
    user: User | None  # None: acts as the account
    held: list[str]

    def covers_account(self, scope: str) -> bool:
        return any(one in self.held for one in scopes.covering(scope, whole_account=True))


def bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def caller() -> Caller:
    """A missing, unknown, revoked and replaced token are all the same; only an expired one is told apart."""
    token = state().tokens.get(bearer())
    if token is None or token.kind != "access":
        raise errors.invalid_token()
    if token.expires_at <= now():
        raise ZoomError(401, 124, "Access token is expired.")
    user = state().users[token.user_id] if token.user_id is not None else None
    return Caller(token.client_id, token.account_id, user, token.scopes)


def check_scope(given: Caller, scope: str, user_id: str | None) -> None:
    """A user's token says `me`; any other name asks for the account's scopes [?].

    Which of two answers a missing scope gets is reported differently: 400 with code 4711, or 401 with code 4700.
    """
    whole_account = user_id not in (None, "me")
    if any(one in given.held for one in scopes.covering(scope, whole_account=whole_account)):
        return
    status = state().switches["missingScopeStatus"]
    names = [f"{scope}:admin"] if whole_account else [scope, f"{scope}:admin"]
    message = f"Invalid access token, does not contain scopes:[{', '.join(names)}]."
    raise ZoomError(status, 4711 if status == 400 else 4700, message)


def find_user(given: Caller, user_id: str) -> User:
    """`me` of a server-to-server token is the account's owner, its first user: nobody is warned."""
    if user_id == "me":
        members = state().members(given.account_id)
        found = given.user or (members[0] if members else None)
    else:
        found = state().user(user_id)
    if found is None or found.account_id != given.account_id:
        raise errors.no_user(user_id)
    return found


def reaches(given: Caller, row: Meeting | Recording, scope: str) -> bool:
    """A user's token reaches its own meetings; somebody else's are as good as unknown [?]."""
    host = state().host(row)
    if host.account_id != given.account_id:
        return False
    return given.user is None or given.user.id == host.id or given.covers_account(scope)
