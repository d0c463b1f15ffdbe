"""The control face of the sandbox's Calendly, under `/_sandbox/calendly`. All bodies and answers are JSON.

POST /_sandbox/calendly/apps          {clientId, clientSecret, redirectUris, webhookSigningKey, scopes?, name?} -> the app; again:
                                      replaces it; clientSecret null: a native app, which must use PKCE
POST /_sandbox/calendly/users         {email, name, timeZone, slug?, plan?, stage?, organization?: e-mail of a member, role?: admin|user,
                                      schedule?: null or {timezone?, rules}, eventTypes?: [{name, duration?, kind?: solo|group, limit?,
                                      locations?, active?: true, questions?, buffers?: {before, after}, notice?, interval?, paid?,
                                      secret?, splitName?, description?}]} -> {user, organization, membership, eventTypes}; plan
                                      basic|essentials|professional|teams|enterprise, stage trial|free|paid
POST /_sandbox/calendly/users/{email}/remove   out of the organization, into one of their own; their own webhooks stop -> the user
POST /_sandbox/calendly/bookings      {eventType: URI or id, start, invitee: {name, email, timeZone}, answers?: {question: answer},
                                      tracking?, guests?, location?, force?, silent?} as on the scheduling page -> {event, invitee};
                                      force skips every check of time, silent sends no webhook
POST /_sandbox/calendly/reschedule    {invitee: URI or id, start, eventType?, silent?} as on the page -> {old, new, event}
POST /_sandbox/calendly/cancel        {invitee: URI or id, reason?, by: host|invitee, silent?} -> {event, invitee}; a host cancels for all
POST /_sandbox/calendly/busy          {email, start, end} an external calendar's row -> {id}; DELETE removes all
POST /_sandbox/calendly/tokens/revoke {email, clientId?}: access and refresh tokens are dead -> {count}
POST /_sandbox/calendly/tokens/expire {email, clientId?}: access tokens are expired from now on -> {count}
POST /_sandbox/calendly/personal-tokens   {email, scopes?: all} -> {token}
PUT  /_sandbox/calendly/limits        {general?: 500, generalFree?: 50, token?: 8, trialPerDay?: 5, freePerDay?: 5, paidPerMinute?: 10,
                                      paidPerHour?: 50, paidPerDay?: 100, enterprisePerMinute?: 500}; counters start anew
PUT  /_sandbox/calendly/switches      oldGrace false: a refresh token lives until the new access token is used
                                      invalidGrantAs401 false; legacyFullAccess false: scopes mean nothing
                                      noHeaders false: no X-RateLimit-*; limitBody title|empty: the body of 429
                                      pageTokenSeconds 300; windowDays 31 (or 7); noTimes false: availability is empty
                                      brokenCalendars []: e-mails whose busy times answer 424
                                      takenSlotStatus 404|400|409; legacyInviteeAnswer false: the answer of 2025
                                      pairOrder canceled-first|created-first: the two deliveries of a move
                                      conferenceSeconds 5, null: never pushed; conferenceFails false
                                      retryKeepsTimestamp false; twoSignatures false; oddWhitespace false: about webhooks
"""

import secrets
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from sandbox.calendly import acts, faces, people
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, setting, state, world
from sandbox.calendly.errors import ApiError
from sandbox.calendly.rows import App, Busy, Json, Token, User
from sandbox.calendly.state import LIMITS, SCOPES, SWITCHES, new_id

blueprint = Blueprint("calendly_control", __name__, url_prefix="/_sandbox/calendly")
CHOICES: dict[str, tuple[Any, ...]] = {
    "takenSlotStatus": (404, 400, 409),
    "pairOrder": ("canceled-first", "created-first"),
    "limitBody": ("title", "empty"),
}
SECONDS = 10_000_000


@blueprint.errorhandler(ApiError)
def refused(problem: ApiError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


def _user(email: object) -> User:
    user = state().user_by_email(email) if isinstance(email, str) else None
    if user is None:
        raise ApiError(404, f"No sandbox user has the e-mail address {email}")
    return user


@blueprint.post("/apps")
def put_app() -> Json:
    given = Given(body())
    client_id, name = given.text("clientId", required=True), given.text("name")
    addresses, scopes = given.listed("redirectUris"), given.listed("scopes")
    secret, key = given.text("clientSecret"), given.text("webhookSigningKey")
    if not addresses:
        given.wrong("redirectUris", "is missing")
    if any(scope not in SCOPES for scope in scopes):
        given.wrong("scopes")
    given.finish()
    native = "clientSecret" in given.values and given.values["clientSecret"] is None
    with world().writing():
        app = App(
            id=str(client_id),
            secret=None if native else secret or secrets.token_urlsafe(32),
            name=name or str(client_id),
            redirect_uris=addresses,
            scopes=scopes or list(SCOPES),
            signing_key=key or secrets.token_urlsafe(32),
        )
        state().apps.add(app)
    shown = {"clientId": app.id, "clientSecret": app.secret, "redirectUris": app.redirect_uris}
    return shown | {"scopes": app.scopes, "name": app.name, "webhookSigningKey": app.signing_key}


@blueprint.post("/users")
def create_user() -> tuple[Json, int]:
    with world().writing():
        return _whole(people.create(setting(), body())), 201


def _whole(user: User) -> Json:
    known, here = state(), setting()
    return {
        "user": faces.user(here, user),
        "organization": faces.organization(here, known.organizations[user.organization_id]),
        "membership": faces.membership(here, known.membership_of(user)),
        "eventTypes": [faces.event_type(here, row) for row in known.types_of(user.id)],
    }


@blueprint.post("/users/<email>/remove")
def remove_user(email: str) -> Json:
    with world().writing():
        user = _user(email)
        silenced = people.remove(setting(), user)
    for hook_id in silenced:
        world().deliveries.forget(hook_id)
    return _whole(user)


@blueprint.post("/bookings")
def book() -> tuple[Json, int]:
    given = body()
    event, invitee = acts.book(world(), given)
    return {"event": faces.event(setting(), event), "invitee": faces.invitee(setting(), invitee)}, 201


@blueprint.post("/reschedule")
def reschedule() -> tuple[Json, int]:
    given = body()
    invitee = acts.invitee_of(world(), given.get("invitee"))
    target = acts.type_of(world(), given["eventType"]) if given.get("eventType") else None
    new = acts.move(world(), invitee, acts.start_of(given), target, silent=bool(given.get("silent")))
    event = state().events[new.event_id]
    old = faces.invitee(setting(), invitee)
    return {"old": old, "new": faces.invitee(setting(), new), "event": faces.event(setting(), event)}, 201


@blueprint.post("/cancel")
def cancel() -> Json:
    sent = Given(body())
    by, reason = sent.choice("by", ("host", "invitee"), required=True), sent.text("reason")
    sent.finish()
    invitee = acts.invitee_of(world(), sent.values.get("invitee"))
    acts.cancel(world(), invitee, by=by, reason=reason, silent=bool(sent.values.get("silent")))
    event = state().events[invitee.event_id]
    return {"event": faces.event(setting(), event), "invitee": faces.invitee(setting(), invitee)}


@blueprint.post("/busy")
def block() -> tuple[Json, int]:
    given = Given(body())
    start, end = given.moment("start", required=True), given.moment("end", required=True)
    given.finish()
    assert start is not None
    assert end is not None
    with world().writing():
        row = state().busy.add(Busy(new_id(), _user(given.values.get("email")).id, start, end))
        return {"id": row.id}, 201


@blueprint.delete("/busy")
def unblock() -> Json:
    with world().writing():
        return {"count": state().busy.remove(lambda _: False)}


@blueprint.post("/tokens/<any(revoke, expire):action>")
def spoil_tokens(action: str) -> Json:
    given = body()
    with world().writing():
        user, client_id = _user(given.get("email")), given.get("clientId")
        rows = [row for row in state().tokens.values() if row.user_id == user.id and client_id in {None, row.app_id}]
        for row in rows:
            if action == "revoke":
                row.revoked = True
            else:
                row.expires_at = setting().now
        return {"count": len(rows)}


@blueprint.post("/personal-tokens")
def create_personal_token() -> tuple[Json, int]:
    given = Given(body())
    scopes = given.listed("scopes")
    if any(scope not in SCOPES for scope in scopes):
        given.wrong("scopes")
    given.finish()
    with world().writing():
        text = f"{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(240)}.{secrets.token_urlsafe(64)}"
        user = _user(given.values.get("email"))
        state().tokens.add(Token(text, user.id, setting().now, scopes=scopes or list(SCOPES)))
    return {"token": text}, 201


@blueprint.put("/limits")
def set_limits() -> Json:
    given = Given(body())
    unknown = [name for name in given.values if name not in LIMITS]
    changes = {name: given.whole(name, 0, SECONDS) for name in LIMITS if given.values.get(name) is not None}
    for name in unknown:
        given.wrong(name, "is no limit")
    given.finish()
    with world().writing():
        state().limits |= {name: value for name, value in changes.items() if value is not None}
        state().windows.clear()
        return dict(state().limits)


@blueprint.put("/switches")
def set_switches() -> Json:
    given = Given(body())
    for name in given.values:
        _check_switch(given, name)
    given.finish()
    with world().writing():
        state().switches |= given.values
        return dict(state().switches)


def _check_switch(given: Given, name: str) -> None:
    usual = SWITCHES.get(name)
    if name not in SWITCHES:
        given.wrong(name, "is no switch")
    elif name in CHOICES:
        given.choice(name, CHOICES[name], required=True)
    elif isinstance(usual, bool):
        if not isinstance(given.values[name], bool):
            given.wrong(name, "must be boolean")
    elif isinstance(usual, list):
        given.listed(name)
    elif given.values[name] is None and name != "conferenceSeconds":
        given.wrong(name, "is missing")
    else:
        given.whole(name, 0, SECONDS)
