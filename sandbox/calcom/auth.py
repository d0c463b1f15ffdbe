"""Who is calling, and may they: API key, platform client, managed-user token or OAuth2 token, in that order."""

from dataclasses import dataclass

from flask import g, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from sandbox.calcom import errors
from sandbox.calcom.context import now, state
from sandbox.calcom.errors import CalError
from sandbox.calcom.state import CalcomState, Json, OAuthToken, User


@dataclass(frozen=True)
class Caller:
    user: User | None
    scopes: list[str] | None = None  # None: not limited by scopes
    is_client: bool = False  # platform client credentials: nobody's organiser


def bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def sign(claims: Json) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(state().signing_secret))


def token_of(known: CalcomState, text: str, kind: str) -> tuple[Json, OAuthToken | None] | None:
    """The claims of a token that we signed, with its stored row if it still has one. None: not ours or the wrong kind."""
    try:
        claims = dict(jwt.decode(text, OctKey.import_key(known.signing_secret), algorithms=["HS256"]).claims)
    except (JoseError, ValueError):
        return None
    if claims.get("token_type") != kind:
        return None
    return claims, known.tokens.get(str(claims.get("jti")))


def optional() -> Caller | None:
    """None without credentials. Wrong or expired credentials are refused even where none are needed."""
    if not hasattr(g, "caller"):
        g.caller = _resolve()
    return g.caller if isinstance(g.caller, Caller) else None


def _resolve() -> Caller | None:
    if request.headers.get("x-cal-secret-key") is not None:
        return _platform_client()
    token = bearer()
    if token is None:
        return None
    known = state()
    if token.startswith("cal_"):
        return Caller(known.users[known.api_keys[token].user_id])  # limits.check has refused unknown keys
    managed = known.managed_tokens.get(token)
    if managed is not None and managed.kind == "access":
        return _managed(managed.client_id, managed.user_id, expired=managed.expires_at <= now())
    found = token_of(known, token, "Access Token")
    row = found[1] if found else None
    if row is None or row.expires_at <= now() or row.user_id not in known.users:
        raise errors.invalid_token()  # an expired OAuth2 token is a plain 401, never 498
    return Caller(known.users[row.user_id], row.scopes)


def _managed(client_id: str, user_id: int, *, expired: bool) -> Caller:
    if expired:
        raise CalError(498, "ACCESS_TOKEN_IS_EXPIRED", "TokenExpiredException", "ACCESS_TOKEN_IS_EXPIRED")
    origin, client = request.headers.get("Origin"), state().platform_clients.get(client_id)
    if origin and client and not any(uri.startswith(origin) for uri in client.redirect_uris):
        raise CalError(401, "Invalid request origin - please open https://app.cal.com/settings/platform and add the origin "
                       f"'{origin}' to the 'Redirect uris' of your OAuth client with ID '{client_id}'")  # fmt: skip
    return Caller(state().users[user_id])


def _platform_client() -> Caller:
    in_path = request.view_args.get("client_id") if request.view_args else None
    client_id = in_path or request.headers.get("x-cal-client-id")
    if not client_id:
        raise CalError(401, errors.NO_AUTH)
    client = state().platform_clients.get(client_id)
    if client is None:
        raise CalError(401, f"ApiAuthStrategy - oAuth client - Client with ID {client_id} not found")
    if client.secret != request.headers["x-cal-secret-key"]:
        raise CalError(401, "ApiAuthStrategy - oAuth client - Invalid client secret")
    return Caller(None, is_client=True)


def needed(scope: str | None, *, anonymous: int = 401) -> User:
    """The calling user, who must hold the scope. Without credentials some endpoints answer 401 and some 403."""
    caller = optional()
    if caller is None:
        raise CalError(anonymous, errors.NO_AUTH if anonymous == 401 else errors.NO_PERMISSION)
    if caller.user is None:
        raise CalError(403, errors.NO_PERMISSION)
    if caller.scopes is not None:
        _check_scope(caller.scopes, scope)
    return caller.user


def _check_scope(held: list[str], scope: str | None) -> None:
    if scope is None:
        raise CalError(403, "insufficient_scope: this endpoint is not available for third-party OAuth tokens")
    if scope not in held:
        raise CalError(
            403,
            f"insufficient_scope: token does not have the required scopes. Required: {scope}. Token has: {', '.join(held)}",
        )
