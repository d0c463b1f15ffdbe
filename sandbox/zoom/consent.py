"""The consent page of user OAuth apps, `/zoom/web/oauth/authorize`.

GET shows it. POST decides; a test may post the form without ever showing it. Fields, in the body or the query:

- `client_id`, `redirect_uri` (exact match), `response_type` (`code`, or absent), `state`, `scope` (a part of the app's scopes;
  absent: all of them), `code_challenge`, `code_challenge_method` (`S256` or `plain`): carried over from the GET
- `user`: the e-mail address of the sandbox user who is signed in
- `granted`: repeated, the ticked scopes; absent means all that were asked for (the page also sends an empty one)
- `decision`: `approve` or `deny`

A bad client or redirect address is told on the page, with Zoom's numbers. Everything else goes back to the redirect address: a
denial as `error` and `state` as the standard has it [?], an approval as `code` and `state`.
"""

import secrets
from datetime import timedelta
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from sandbox.zoom.context import now, state, world
from sandbox.zoom.rows import App, Code, User

blueprint = Blueprint("zoom_consent", __name__, url_prefix="/zoom/web/oauth")
CODE_LIFE = timedelta(minutes=5)
CARRIED = ("client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method")


class _PageError(Exception):
    """Told to the person; going back would hand them to somebody we do not know."""


class _SentBackError(Exception):
    pass


@blueprint.errorhandler(_PageError)
def told(problem: _PageError) -> ResponseReturnValue:
    return render_template("zoom_message.html", title="This app cannot be authorized", message=str(problem)), 400


@blueprint.errorhandler(_SentBackError)
def sent_back(problem: _SentBackError) -> ResponseReturnValue:
    return _back(error=str(problem))


@blueprint.route("/authorize", methods=["GET", "POST"])
def authorize() -> ResponseReturnValue:
    with world().lock:
        app = _known_app()
        asked = _asked_scopes(app)
        _check_challenge()
        if request.method == "POST":
            return _decide(app, asked)
        carried = {name: request.values[name] for name in CARRIED if name in request.values}
        people = list(state().users.values())
        known = {"app": app, "scopes": asked, "carried": carried, "users": people, "hint": _value("user")}
        return render_template("consent.html", label="Zoom", slug="zoom", **known)


def _value(name: str) -> str:
    return str(request.values.get(name, ""))


def _known_app() -> App:
    app = state().apps.get(_value("client_id"))
    if app is None or app.acts_as_account:
        raise _PageError("Invalid client_id: (4,702)")
    if _value("redirect_uri") not in app.redirect_uris:
        raise _PageError("Invalid redirect url (4,700)")
    return app


def _asked_scopes(app: App) -> list[str]:
    if _value("response_type") not in {"", "code"}:
        raise _SentBackError("unsupported_response_type")
    asked = _value("scope").split() or app.scopes
    if any(scope not in app.scopes for scope in asked):
        raise _SentBackError("invalid_scope")
    return asked


def _check_challenge() -> None:
    if _value("code_challenge_method") not in {"", "S256", "plain"}:
        raise _SentBackError("invalid_request")


def _decide(app: App, asked: list[str]) -> ResponseReturnValue:
    user = _signed_in()
    if _value("decision") == "deny":
        raise _SentBackError("access_denied")
    if _value("decision") != "approve":
        raise _PageError("The field decision must be approve or deny.")
    ticked = request.values.getlist("granted") or asked
    granted = [scope for scope in asked if scope in ticked]
    if not granted:
        raise _PageError("Nothing is ticked. Go back and tick at least one scope, or deny.")
    with world().writing():
        code = Code(
            code=secrets.token_urlsafe(32),
            client_id=app.client_id,
            user_id=user.id,
            redirect_uri=_value("redirect_uri"),
            scopes=granted,
            challenge=_value("code_challenge") or None,
            method=_value("code_challenge_method") or "plain",
            expires_at=now() + CODE_LIFE,
        )
        state().codes.add(code)
    return _back(code=code.code)


def _signed_in() -> User:
    user = state().user(_value("user"))
    if user is None:
        raise _PageError("Choose who is signed in: no sandbox user of Zoom has this e-mail address.")
    return user


def _back(**parameters: str) -> ResponseReturnValue:
    """To the redirect address, keeping a query of its own."""
    address = urlsplit(_value("redirect_uri"))
    if "state" in request.values:
        parameters["state"] = _value("state")
    query = "&".join(part for part in (address.query, urlencode(parameters)) if part)
    return redirect(urlunsplit(address._replace(query=query)), 302)
