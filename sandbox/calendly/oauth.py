"""The OAuth server's token, revoke and introspect endpoints, under `/calendly/auth/oauth`. Bodies are forms.

A refresh token is dead as soon as the request that used it succeeded, and whoever loses that answer has to authorize again.
There is no grace period. Using a dead one harms nothing else: revoking the whole family is not documented [?].
Switches: `oldGrace` (it lives until the new access token is used first), `invalidGrantAs401`.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import timedelta

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox.calendly import limits
from sandbox.calendly.blueprint import tell_limits, too_many_body
from sandbox.calendly.context import setting, state, world
from sandbox.calendly.errors import OAuthError
from sandbox.calendly.limits import TooManyError
from sandbox.calendly.rows import App, Code, Json, Token

ACCESS_LIFE = timedelta(seconds=7200)
blueprint = Blueprint("calendly_oauth", __name__, url_prefix="/calendly/auth/oauth")


@blueprint.errorhandler(OAuthError)
def refused(problem: OAuthError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


@blueprint.errorhandler(TooManyError)
def too_many(problem: TooManyError) -> ResponseReturnValue:
    del problem
    return jsonify(too_many_body()), 429


@blueprint.after_request
def dress(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    tell_limits(response)
    return response


@blueprint.post("/token")
def token() -> Json:
    given = request.form.to_dict()
    if not given.get("grant_type"):
        raise OAuthError(400, "invalid_request")
    app = _client(given)
    grants = {"authorization_code": _exchange, "refresh_token": _refresh}
    if given["grant_type"] not in grants:
        raise OAuthError(400, "unsupported_grant_type")
    with world().writing():
        return grants[given["grant_type"]](app, given)


def _client(given: dict[str, str]) -> App:
    """HTTP Basic, or both in the body; a native app has no secret."""
    client_id, secret = _basic() or (given.get("client_id"), given.get("client_secret"))
    app = state().apps.get(client_id or "")
    if app is None or (app.secret is not None and not hmac.compare_digest((secret or "").encode(), app.secret.encode())):
        raise OAuthError(401, "invalid_client")
    return app


def _basic() -> tuple[str, str] | None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthError(401, "invalid_client") from None
    return client_id, secret


def _exchange(app: App, given: dict[str, str]) -> Json:
    """A code dies with its first use by its app, whatever comes of it."""
    if not given.get("code") or not given.get("redirect_uri"):
        raise OAuthError(400, "invalid_request")
    code = state().codes.get(given["code"])
    if code is None or code.app_id != app.id or code.expires_at <= setting().now:
        raise _dead()
    limits.token(state().users[code.user_id])
    del state().codes[code.code]
    if given["redirect_uri"] != code.redirect_uri or not _proven(code, given.get("code_verifier")):
        raise _dead()
    return _issue(Token(_long(), code.user_id, setting().now, app.id, _short(), code.scopes))


def _proven(code: Code, verifier: str | None) -> bool:
    """PKCE is verified where a challenge was given; whether Calendly demands it of web apps is open [?]."""
    if code.challenge is None:
        return True
    if not verifier:
        return False
    if code.challenge_method == "plain":
        return hmac.compare_digest(verifier.encode(), code.challenge.encode())
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, code.challenge.encode())


def _refresh(app: App, given: dict[str, str]) -> Json:
    if not given.get("refresh_token"):
        raise OAuthError(400, "invalid_request")
    row = next((one for one in list(state().tokens.values()) if one.refresh == given["refresh_token"]), None)
    if row is None or row.app_id != app.id:
        raise _dead()
    limits.token(state().users[row.user_id])
    if row.revoked or (row.refreshed and not _in_grace(row)):
        raise _dead()
    row.refreshed = True
    scopes = row.scopes
    if scopes is None and not state().switches["legacyFullAccess"]:
        scopes = list(app.scopes)  # a token from before scopes gets them now, without the user
    return _issue(Token(_long(), row.user_id, setting().now, app.id, _short(), scopes, previous=row.access))


def _in_grace(row: Token) -> bool:
    children = [one for one in list(state().tokens.values()) if one.previous == row.access]
    return bool(state().switches["oldGrace"]) and not any(one.used for one in children)


def _issue(row: Token) -> Json:
    row.expires_at = row.created_at + ACCESS_LIFE
    state().tokens.add(row)
    return {
        "token_type": "Bearer",
        "access_token": row.access,
        "refresh_token": row.refresh,
        "scope": _scope_text(row),
        "created_at": int(row.created_at.timestamp()),
        "expires_in": int(ACCESS_LIFE.total_seconds()),
        "owner": setting().user_uri(row.user_id),
        "organization": setting().organization_uri(state().users[row.user_id].organization_id),
    }


def _scope_text(row: Token) -> str:
    return "default" if row.scopes is None else " ".join(row.scopes)


def _long() -> str:
    """Longer than a column of 255 characters."""
    return f"{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(240)}.{secrets.token_urlsafe(64)}"


def _short() -> str:
    return secrets.token_urlsafe(32)


def _dead() -> OAuthError:
    return OAuthError(401 if state().switches["invalidGrantAs401"] else 400, "invalid_grant")


@blueprint.post("/revoke")
def revoke() -> Json:
    """The access token and its refresh token are one: whichever is sent, both die. An unknown token is no error."""
    given = _credentials()
    app, row = _body_client(given), _find(given["token"])
    if app is None or (row is not None and row.app_id != app.id):
        raise OAuthError(403, "unauthorized_client")
    if row is not None:
        with world().writing():
            row.revoked = True
    return {}


@blueprint.post("/introspect")
def introspect() -> Json:
    given = _credentials()
    app, row = _body_client(given), _find(given["token"])
    if app is None:
        raise OAuthError(401, "invalid_client")
    if row is None or row.app_id != app.id or not _alive(row, given["token"]):
        return {"active": False}
    assert row.expires_at is not None
    return {
        "active": True,
        "scope": _scope_text(row),
        "client_id": app.id,
        "token_type": "Bearer",
        "exp": int(row.expires_at.timestamp()),
        "iat": int(row.created_at.timestamp()),
        "owner": setting().user_uri(row.user_id),
        "organization": setting().organization_uri(state().users[row.user_id].organization_id),
    }


def _alive(row: Token, text: str) -> bool:
    if row.revoked:
        return False
    if text == row.refresh:
        return not row.refreshed
    return row.expires_at is None or row.expires_at > setting().now


def _credentials() -> dict[str, str]:
    """Here they stand in the body and not in Basic, all of them required."""
    given = request.form.to_dict()
    if not all(given.get(name) for name in ("client_id", "client_secret", "token")):
        raise OAuthError(400, "invalid_request")
    return given


def _body_client(given: dict[str, str]) -> App | None:
    app = state().apps.get(given["client_id"])
    return app if app is not None and app.secret == given["client_secret"] else None


def _find(text: str) -> Token | None:
    return next((row for row in list(state().tokens.values()) if text in {row.access, row.refresh}), None)
