"""`/zoom/web/oauth/token` and `/zoom/web/oauth/revoke`, for what is https://zoom.us/oauth/... in the world.

The app proves itself by HTTP Basic. Parameters are taken from the form and from the query, as both are in use.
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox.zoom import ids
from sandbox.zoom.context import now, state, world
from sandbox.zoom.errors import OAuthError
from sandbox.zoom.rows import App, Code, Install, Json, Token

blueprint = Blueprint("zoom_oauth", __name__, url_prefix="/zoom/web/oauth")
ACCESS_LIFE = timedelta(seconds=3600)
FORGOTTEN = timedelta(days=1)  # an expired token is told apart from an unknown one for so long [?]
REFRESH_LIFE = timedelta(days=90)  # [?] other texts of Zoom say much longer


@blueprint.errorhandler(OAuthError)
def refused(problem: OAuthError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


@blueprint.post("/token")
def token() -> Response:
    grants: dict[str, Callable[[App], Json]] = {
        "account_credentials": _account,
        "authorization_code": _exchange,
        "refresh_token": _refresh,
    }
    with world().writing():
        app = _app()
        grant = grants.get(_value("grant_type"))
        # A server-to-server app knows its own grant only, and nobody else does.
        if grant is None or app.acts_as_account != (grant == _account):
            raise OAuthError(400, "Unsupported grant type", "unsupported_grant_type")
        answer = jsonify(grant(app))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.post("/revoke")
def revoke() -> Json:
    """Either token takes its pair along; an unknown one is revoked already [?]."""
    with world().writing():
        app = _app()
        row = state().tokens.get(_value("token"))
        if row is not None and row.client_id == app.client_id:
            drop_pairs(app.client_id, row.user_id) if row.user_id else state().tokens.pop(row.text)
    return {"status": "success"}


def _value(name: str) -> str:
    return str(request.values.get(name, ""))


def _app() -> App:
    basic = request.authorization
    app = state().apps.get(str(basic.username)) if basic is not None and basic.type == "basic" else None
    if basic is None or app is None or app.secret != basic.password:
        # Reported with 401 as well.
        raise OAuthError(state().switches["badClientStatus"], "Invalid client_id or client_secret", "invalid_client")
    return app


def _account(app: App) -> Json:
    """No refresh token: the app just asks again, and several tokens live side by side."""
    if app.account_id is None or _value("account_id") != app.account_id:
        raise OAuthError(400, "Account does not exist", "invalid_request")
    return _answer(_issue("access", app, app.account_id, None, app.scopes))


def _exchange(app: App) -> Json:
    """The code dies with its first presentation. The new tokens end those of an earlier authorization."""
    code = state().codes.get(_value("code"))
    if code is None or code.client_id != app.client_id:
        raise _spent("Invalid authorization code")
    del state().codes[code.code]
    if code.expires_at <= now():
        raise _spent("Invalid authorization code")
    if _value("redirect_uri") != code.redirect_uri:
        raise _spent("Redirect URI mismatch")
    if code.challenge is not None and not _proves(code, _value("code_verifier")):
        raise _spent("Invalid code verifier")
    drop_pairs(app.client_id, code.user_id)
    state().installs.add(Install(app.client_id, code.user_id))
    return _pair(app, code.user_id, code.scopes)


def _proves(code: Code, verifier: str) -> bool:
    if code.method == "plain":
        return verifier == code.challenge
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == code.challenge


def _refresh(app: App) -> Json:
    """The refresh token rotates: the old one is dead at once. The access token before it lives out its hour [?]."""
    row = state().tokens.get(_value("refresh_token"))
    if row is None or row.kind != "refresh" or row.client_id != app.client_id or row.user_id is None or row.expires_at <= now():
        raise _spent("Invalid Token!")
    del state().tokens[row.text]
    return _pair(app, row.user_id, row.scopes)


def _spent(reason: str) -> OAuthError:
    """The two field names are certain, the texts vary [?]."""
    return OAuthError(400, reason, state().switches["invalidGrant"])


def drop_pairs(client_id: str, user_id: str) -> int:
    return state().tokens.remove(lambda row: (row.client_id, row.user_id) != (client_id, user_id))


def _pair(app: App, user_id: str, granted: list[str]) -> Json:
    account_id = state().users[user_id].account_id
    access = _issue("access", app, account_id, user_id, granted)
    refresh = _issue("refresh", app, account_id, user_id, granted)
    shown = _answer(access)
    return {"access_token": shown.pop("access_token"), "token_type": "bearer", "refresh_token": refresh.text} | shown


def _issue(kind: str, app: App, account_id: str, user_id: str | None, granted: list[str]) -> Token:
    life = ACCESS_LIFE if kind == "access" else REFRESH_LIFE
    state().tokens.remove(lambda row: row.expires_at > now() - FORGOTTEN)
    return state().tokens.add(Token(ids.token(), kind, app.client_id, account_id, user_id, list(granted), now() + life))


def _answer(row: Token) -> Json:
    """`api_url` may name a regional host; here that is a second address of the same API."""
    region = "/zoom/eu/api" if state().switches["regionalApiUrl"] else "/zoom/api"
    return {
        "access_token": row.text,
        "token_type": "bearer",
        "expires_in": int(ACCESS_LIFE.total_seconds()),
        "scope": " ".join(row.scopes),
        "api_url": world().url + region,
    }
