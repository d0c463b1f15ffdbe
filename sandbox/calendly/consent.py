"""The page where a person lets an app in, `/calendly/auth/oauth/authorize`.

GET shows it. POST decides; a test may post the form without ever showing it. Fields, in the body or the query:

- `client_id`, `redirect_uri` (exact match), `state`, `scope` (space separated), `code_challenge`, `code_challenge_method`:
  carried over from the GET
- `user`: the e-mail address of the sandbox user who is signed in (`login_hint` preselects it on the page)
- `granted`: repeated, the ticked scopes; absent means all that were asked for
- `decision`: `approve` or `deny`

A bad client or redirect address is told on the page, with no redirect. Everything else goes back to the redirect address as
`error`, `error_description` and `state` [?]; an approval as `code` and `state`.
"""

import secrets
from datetime import timedelta
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from sandbox.calendly.context import setting, state, world
from sandbox.calendly.errors import OAuthError
from sandbox.calendly.rows import App, Code
from sandbox.calendly.state import SCOPES

blueprint = Blueprint("calendly_consent", __name__, url_prefix="/calendly/auth/oauth")
CODE_LIFE = timedelta(minutes=10)
CARRIED = ("client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method", "login_hint")


class _PageError(Exception):
    """Told to the person; going back would hand them to somebody we do not know."""


@blueprint.route("/authorize", methods=["GET", "POST"])
def authorize() -> ResponseReturnValue:
    try:
        app = _known_app()
        try:
            _check_request(app)
            scopes = _asked_scopes(app)
            if request.method == "POST":
                return _decide(app, scopes)
        except OAuthError as problem:
            return _back(error=problem.error, error_description=problem.description)
    except _PageError as problem:
        return render_template("calendly/consent_error.html", message=str(problem)), 400
    carried = {name: request.values[name] for name in CARRIED if name in request.values}
    people = list(state().users.values())
    known = {"app": app, "scopes": scopes, "carried": carried, "users": people, "hint": request.values.get("login_hint", "")}
    return render_template("consent.html", label="Calendly", slug="calendly", **known)


def _known_app() -> App:
    app = state().apps.get(request.values.get("client_id", ""))
    if app is None:
        raise _PageError("No app is registered with this client_id.")
    if request.values.get("redirect_uri") not in app.redirect_uris:
        raise _PageError("The redirect_uri is not registered for this app.")
    return app


def _check_request(app: App) -> None:
    kind = request.values.get("response_type")
    if kind is None and request.method == "GET":
        raise OAuthError(400, "invalid_request")
    if kind not in {None, "code"}:
        raise OAuthError(400, "unsupported_response_type")
    challenge, method = request.values.get("code_challenge"), request.values.get("code_challenge_method", "plain")
    if (challenge and method not in {"S256", "plain"}) or (not challenge and app.secret is None):
        raise OAuthError(400, "invalid_request")


def _asked_scopes(app: App) -> list[str]:
    """One unknown scope fails the whole authorization. Nothing asked is nothing granted, for apps made since scopes exist."""
    scopes = list(dict.fromkeys(request.values.get("scope", "").split()))
    if any(scope not in SCOPES or not _registered(app, scope) for scope in scopes):
        raise OAuthError(400, "invalid_scope")
    return scopes


def _registered(app: App, scope: str) -> bool:
    return scope in app.scopes or scope.replace(":read", ":write") in app.scopes


def _decide(app: App, scopes: list[str]) -> ResponseReturnValue:
    user = state().user_by_email(request.values.get("user", ""))
    if user is None:
        raise _PageError("Choose who is signed in: no sandbox user has this e-mail address.")
    decision = request.values.get("decision")
    if decision == "deny":
        raise OAuthError(403, "access_denied")
    if decision != "approve":
        raise _PageError("The field decision must be approve or deny.")
    granted = request.values.getlist("granted") or scopes
    if scopes and not set(granted) & set(scopes):
        raise _PageError("Nothing is ticked. Go back and tick at least one scope, or deny.")
    legacy = not scopes and state().switches["legacyFullAccess"]
    with world().writing():
        code = Code(
            code=secrets.token_hex(33),
            app_id=app.id,
            user_id=user.id,
            redirect_uri=request.values["redirect_uri"],
            scopes=None if legacy else [scope for scope in scopes if scope in granted],
            challenge=request.values.get("code_challenge") or None,
            challenge_method=request.values.get("code_challenge_method", "plain"),
            expires_at=setting().now + CODE_LIFE,
        )
        state().codes.add(code)
    return _back(code=code.code)


def _back(**parameters: str) -> ResponseReturnValue:
    """To the redirect address, keeping a query of its own."""
    address = urlsplit(request.values["redirect_uri"])
    if "state" in request.values:
        parameters["state"] = request.values["state"]
    query = "&".join(part for part in (address.query, urlencode(parameters)) if part)
    return redirect(urlunsplit(address._replace(query=query)), 302)
