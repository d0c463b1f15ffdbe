"""The OAuth2 token endpoint and the public face of a client.

A refresh deletes ALL stored refresh tokens of (client, user) before it stores the new one, so a second connection of the same
account dies with the refresh of the first. Authorising again deletes nothing.
"""

import base64
import hashlib
import uuid
from datetime import timedelta
from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from sandbox.calcom import auth
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.context import now, state, success, world
from sandbox.calcom.errors import CalError, OAuthError
from sandbox.calcom.state import Json, OAuthClient, OAuthToken

ACCESS_LIFE = timedelta(seconds=1800)
REFRESH_LIFE = timedelta(days=30)
ACCESS, REFRESH = "Access Token", "Refresh Token"


@blueprint.post("/auth/oauth2/token")
def token() -> ResponseReturnValue:
    sent = request.get_json(silent=True) if request.is_json else request.form.to_dict()
    given: Json = sent if isinstance(sent, dict) else {}
    if not given.get("client_id"):
        raise OAuthError(400, "invalid_request", "client_id is required")
    grants = {"authorization_code": _exchange, "refresh_token": _refresh}
    grant = grants.get(str(given.get("grant_type")))
    if grant is None:
        raise OAuthError(400, "invalid_request", "grant_type must be 'authorization_code' or 'refresh_token'")
    with world().writing():
        answer = jsonify(grant(given))
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Pragma"] = "no-cache"
    return answer


def _client(given: Json) -> OAuthClient:
    client = state().clients.get(str(given["client_id"]))
    if client is None:
        raise OAuthError(401, "invalid_client", "client_not_found")
    if client.approval != "APPROVED":
        reason = "client_rejected" if client.approval == "REJECTED" else "client_not_approved"
        raise OAuthError(401, "unauthorized_client", reason)
    return client


def _check_secret(client: OAuthClient, given: Json) -> None:
    if client.type == "CONFIDENTIAL" and given.get("client_secret") != client.secret:
        raise OAuthError(401, "invalid_client", "invalid_client_credentials")


def _exchange(given: Json) -> Json:
    """The code dies with its first presentation by an authenticated client, whatever comes of it."""
    client = _client(given)
    _check_secret(client, given)
    code = state().codes.get(str(given.get("code")))
    if code is None or code.client_id != client.id or code.expires_at <= now():
        raise _invalid_grant("code_invalid_or_expired")
    del state().codes[code.code]
    if given.get("redirect_uri") != code.redirect_uri:
        raise _invalid_grant("redirect_uri_mismatch")
    _check_pkce(client, code.challenge, given.get("code_verifier"))
    return _issue(client.id, code.user_id, code.scopes)


def _check_pkce(client: OAuthClient, challenge: str | None, verifier: Any) -> None:
    """Required for PUBLIC clients, optional for CONFIDENTIAL ones but then enforced."""
    if challenge is None:
        if client.type == "PUBLIC":
            raise OAuthError(400, "invalid_request", "pkce_required")
        return
    if not verifier:
        raise OAuthError(400, "invalid_request", "pkce_missing_parameters_or_invalid_method")
    digest = hashlib.sha256(str(verifier).encode()).digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
        raise _invalid_grant("pkce_verification_failed")


def _refresh(given: Json) -> Json:
    client = _client(given)
    _check_secret(client, given)
    found = auth.token_of(state(), str(given.get("refresh_token")), REFRESH)
    if found is None:
        raise _invalid_grant("invalid_refresh_token")
    claims, row = found
    if claims["clientId"] != client.id:
        raise _invalid_grant("client_id_mismatch")
    if row is None:
        raise _invalid_grant("refresh_token_revoked")
    if row.expires_at <= now():
        raise _invalid_grant("invalid_refresh_token")
    state().tokens.remove(lambda one: (one.kind, one.client_id, one.user_id) != (REFRESH, client.id, row.user_id))
    return _issue(client.id, row.user_id, row.scopes)


def _issue(client_id: str, user_id: int, scopes: list[str] | None) -> Json:
    return {
        "access_token": _sign(OAuthToken(str(uuid.uuid4()), ACCESS, client_id, user_id, scopes, now() + ACCESS_LIFE)),
        "token_type": "bearer",
        "refresh_token": _sign(OAuthToken(str(uuid.uuid4()), REFRESH, client_id, user_id, scopes, now() + REFRESH_LIFE)),
        "expires_in": int(ACCESS_LIFE.total_seconds()),
        "scope": " ".join(scopes or []),
    }


def _sign(row: OAuthToken) -> str:
    state().tokens.add(row)
    claims = {"userId": row.user_id, "teamId": None, "scope": row.scopes or [], "token_type": row.kind, "clientId": row.client_id}
    times = {"iat": int(now().timestamp()), "exp": int(row.expires_at.timestamp())}
    return auth.sign(claims | times | {"jti": row.jti})


def _invalid_grant(description: str) -> OAuthError:
    return OAuthError(400, "invalid_grant", description)


@blueprint.get("/auth/oauth2/clients/<client_id>")
def client_face(client_id: str) -> Json:
    if auth.optional() is None:
        auth.needed(None)
    client = state().clients.get(client_id)
    if client is None:
        raise CalError(404, f"OAuth client with ID '{client_id}' not found")
    return success(
        {
            "client_id": client.id,
            "redirect_uris": client.redirect_uris,
            "redirect_uri": client.redirect_uris[0],
            "name": client.name,
            "logo": None,
            "is_trusted": False,
            "client_type": client.type,
        }
    )
