"""The web app's consent page, `/calcom/auth/oauth2/authorize`.

GET shows it. POST decides; a test may post the form without ever showing it. Fields, in the body or the query:

- `client_id`, `redirect_uri` (exact match), `state`, `scope` (what is asked for, space or comma separated),
  `code_challenge`, `code_challenge_method` (`S256`): carried over from the GET
- `user`: the e-mail address of the sandbox user who is signed in (`login_hint` preselects it on the page)
- `granted`: repeated, the ticked scopes; absent means all that were asked for (the page also sends an empty one, so that
  nothing ticked differs from absent)
- `decision`: `approve` or `deny`

A bad client, redirect address or unapproved client is told on the page, with no redirect. Everything else goes back to the
redirect address as `error`, `error_description` and `state`; an approval as `code` and `state`.
"""

import re
import secrets
from datetime import timedelta
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from sandbox.calcom.context import now, state, world
from sandbox.calcom.state import ALL_SCOPES, OAuthClient, OAuthCode

blueprint = Blueprint("calcom_web", __name__, url_prefix="/calcom/auth/oauth2")
CODE_LIFE = timedelta(minutes=10)
CARRIED = ("client_id", "redirect_uri", "state", "scope", "code_challenge", "code_challenge_method", "login_hint")


class _PageError(Exception):
    """Told to the person; going back would hand them to somebody we do not know."""


class _SentBackError(Exception):
    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


@blueprint.route("/authorize", methods=["GET", "POST"])
def authorize() -> ResponseReturnValue:
    try:
        client = _known_client()
    except _PageError as problem:
        return render_template("consent_error.html", message=str(problem)), 400
    try:
        scopes = _asked_scopes(client)
        _check_challenge(client)
        if request.method == "POST":
            return _decide(client, scopes)
    except _SentBackError as problem:
        return _back(error=problem.error, error_description=problem.description)
    except _PageError as problem:
        return render_template("consent_error.html", message=str(problem)), 400
    carried = {name: request.values[name] for name in CARRIED if name in request.values}
    known = {"app": client, "scopes": scopes, "carried": carried, "users": list(state().users.values()), "hint": _value("login_hint")}
    return render_template("consent.html", label="Cal.com", slug="calcom", **known)


def _value(name: str) -> str:
    return str(request.values.get(name, ""))


def _known_client() -> OAuthClient:
    client = state().clients.get(_value("client_id"))
    if client is None:
        raise _PageError("client_not_found: no OAuth client has this client_id.")
    if _value("redirect_uri") not in client.redirect_uris:
        raise _PageError("redirect_uri_mismatch: the redirect_uri is not registered for this client.")
    if client.approval != "APPROVED":
        raise _PageError("client_not_approved: this client has not been approved.")
    return client


def _asked_scopes(client: OAuthClient) -> list[str]:
    scopes = [scope for scope in re.split(r"[\s,]+", _value("scope")) if scope]
    if not scopes:
        raise _SentBackError("invalid_request", "scope parameter is required")
    if any(scope not in ALL_SCOPES for scope in scopes):
        raise _SentBackError("invalid_scope", "Requested scope is not a recognized scope")
    if any(scope not in client.scopes for scope in scopes):
        raise _SentBackError("invalid_scope", "Requested scope exceeds the client's registered scopes")
    return scopes


def _check_challenge(client: OAuthClient) -> None:
    challenge, method = _value("code_challenge"), _value("code_challenge_method")
    if not challenge and client.type == "PUBLIC":
        raise _SentBackError("invalid_request", "pkce_required")
    if challenge and method != "S256":
        raise _SentBackError("invalid_request", "invalid_code_challenge_method")


def _decide(client: OAuthClient, scopes: list[str]) -> ResponseReturnValue:
    user = state().user_by_email(_value("user"))
    if user is None:
        raise _PageError("Choose who is signed in: no sandbox user has this e-mail address.")
    if _value("decision") not in {"approve", "deny"}:
        raise _PageError("The field decision must be approve or deny.")
    granted = request.values.getlist("granted") or scopes
    if _value("decision") == "deny":
        raise _SentBackError("access_denied", "The user denied the request")
    if not set(granted) & set(scopes):
        raise _PageError("Nothing is ticked. Go back and tick at least one scope, or deny.")
    with world().writing():
        code = OAuthCode(
            code=secrets.token_hex(32),
            client_id=client.id,
            user_id=user.id,
            redirect_uri=_value("redirect_uri"),
            scopes=[scope for scope in scopes if scope in granted],
            challenge=_value("code_challenge") or None,
            expires_at=now() + CODE_LIFE,
        )
        state().codes.add(code)
    return _back(code=code.code)


def _back(**parameters: str) -> ResponseReturnValue:
    """To the redirect address, keeping a query of its own."""
    address = urlsplit(_value("redirect_uri"))
    if "state" in request.values:
        parameters["state"] = _value("state")
    query = "&".join(part for part in (address.query, urlencode(parameters)) if part)
    return redirect(urlunsplit(address._replace(query=query)), 302)
