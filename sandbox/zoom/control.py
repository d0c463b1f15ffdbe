"""The control face of the sandbox's Zoom, under `/_sandbox/zoom`. All bodies and answers are JSON.

POST /_sandbox/zoom/apps              {clientId, clientSecret, accountId} a server-to-server app, or
                                      {clientId, clientSecret, redirectUris} a user OAuth app; scopes? (default: all),
                                      name?, webhookUrl?, secretToken?. Sends the challenge to the webhookUrl; only one that
                                      answers it is sent events -> the app with validated: true|false|null; again: replaces it
POST /_sandbox/zoom/users             {email, name, timeZone?, plan? basic|pro|business, status? active|pending, accountId?}
POST /_sandbox/zoom/meetings          {email, ...as POST /v2/users/{id}/meetings}, made by the host outside -> the meeting
PATCH, DELETE /_sandbox/zoom/meetings/{id}     changed or deleted by the host outside -> {sent}
POST /_sandbox/zoom/meetings/{id}/start        {participants?: [{name, email?}]} -> {sent}
POST /_sandbox/zoom/meetings/{id}/end          {recording?: true or "later", transcript?: true or "later", twice?: true, participants?}
                                               runs what has not happened yet: started, joined, left, ended, recordings -> {sent}
POST /_sandbox/zoom/meetings/{id}/recording    recordings that were for later are ready -> {sent}
POST /_sandbox/zoom/meetings/{id}/transcript   transcripts that were for later are ready -> {sent}
POST /_sandbox/zoom/deauthorize       {email, clientId?}: the user removes the app, app_deauthorized is sent -> {count}
POST /_sandbox/zoom/tokens/revoke     {email?, clientId?}: access and refresh tokens are gone -> {count}
POST /_sandbox/zoom/tokens/expire     {email?, clientId?}: access tokens are expired from now on -> {count}
POST /_sandbox/zoom/validate          {clientId?, due?: false} asks the endpoints again (due: those asked 72 hours ago)
                                      -> {clientId: answered rightly}
PUT  /_sandbox/zoom/limits            {dailyPerHost?: 100, patchPerMeeting?: 100, light?, medium?: per second} null: the plan's;
                                      counters start anew. While the clock is frozen, the plan's limits per second rest
GET  /_sandbox/zoom/state             this provider's part of the world
PUT  /_sandbox/zoom/switches          {regionalApiUrl?: false         api_url names another address of the same API
                                       badClientStatus?: 400          or 401, of a wrong client id or secret
                                       missingScopeStatus?: 400       with code 4711, or 401 with code 4700
                                       invalidGrant?: invalid_request or invalid_grant: `error` of a dead code or refresh token
                                       limitHeaders?: true            X-RateLimit-... on answers
                                       pastStart?: keep               or now, of a new meeting
                                       refuseDeleteRunning?: true     3002 for a running meeting
                                       recordingsForbidden?: false    HTTP 200 with code 200 in the body
                                       retryAny?: false               events are tried again on any failure, not just 5xx
                                       staleRetryTimestamp?: false    retries repeat the old timestamp and signature
                                       millisecondTimestamp?: false   x-zm-request-timestamp
                                       deliverUnvalidated?: false     events also where the challenge was never answered
                                       disableOnFailedValidation?: false  no more events after a wrong answer}
"""

import secrets
from typing import Any, cast

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from sandbox import snapshot
from sandbox.zoom import control_input, meeting_face, outside, people, scopes, validation
from sandbox.zoom.context import body, now, state, web, world
from sandbox.zoom.control_input import read
from sandbox.zoom.errors import ZoomError, no_user
from sandbox.zoom.rows import App, Json, Token, User
from sandbox.zoom.state import LIMITS

blueprint = Blueprint("zoom_control", __name__, url_prefix="/_sandbox/zoom")


@blueprint.errorhandler(ZoomError)
def refused(problem: ZoomError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


def _user(email: str) -> User:
    user = state().user(email)
    if user is None:
        raise no_user(email)
    return user


@blueprint.post("/apps")
def put_app() -> Json:
    given = read(body(), control_input.APP, "clientId", "clientSecret")
    if ("accountId" in given) == ("redirectUris" in given):
        raise ZoomError(400, 300, "An app has either an accountId or redirectUris.")
    with world().writing():
        account_id = people.account(state(), given["accountId"]).id if "accountId" in given else None
        app = App(
            client_id=given["clientId"],
            secret=given["clientSecret"],
            name=given.get("name") or given["clientId"],
            account_id=account_id,
            redirect_uris=given.get("redirectUris") or [],
            scopes=given.get("scopes") or (scopes.PERSONAL if account_id is None else scopes.ACCOUNT),
            webhook_url=given.get("webhookUrl"),
            secret_token=given.get("secretToken") or secrets.token_urlsafe(16),
        )
        state().apps.add(app)
    world().deliveries.forget(app.client_id)
    validation.ask(world(), [app])
    return _app_face(app)


def _app_face(app: App) -> Json:
    shown: Json = {"clientId": app.client_id, "clientSecret": app.secret, "name": app.name, "scopes": app.scopes}
    shown |= {"accountId": app.account_id} if app.acts_as_account else {"redirectUris": app.redirect_uris}
    shown |= {"webhookUrl": app.webhook_url, "secretToken": app.secret_token}
    return shown | {"validated": app.validated_at is not None if app.webhook_url else None}


@blueprint.post("/validate")
def validate() -> Json:
    given = read(body(), control_input.VALIDATION)
    with world().lock:
        apps = validation.due(world()) if given.get("due") else [app for app in state().apps.values() if app.webhook_url]
        apps = [app for app in apps if given.get("clientId") in (None, app.client_id)]
    validation.ask(world(), apps)
    return {app.client_id: app.validated_at is not None and app.failures == 0 for app in apps}


@blueprint.post("/users")
def create_user() -> tuple[Json, int]:
    given = read(body(), control_input.USER, "email", "name")
    with world().writing():
        if state().user(given["email"]) is not None:
            raise ZoomError(409, 1005, f"User already in the account: {given['email']}.")
        return people.face(people.create(state(), now(), given), web()), 201


@blueprint.post("/meetings")
def create_meeting() -> tuple[Json, int]:
    given = body()
    host = _user(str(given.get("email")))
    return meeting_face.face(outside.create(host, given), host, web(), now()), 201


@blueprint.patch("/meetings/<meeting_id>")
def change_meeting(meeting_id: str) -> Json:
    return {"sent": outside.change(meeting_id, body())}


@blueprint.delete("/meetings/<meeting_id>")
def delete_meeting(meeting_id: str) -> Json:
    return {"sent": outside.delete(meeting_id)}


@blueprint.post("/meetings/<meeting_id>/start")
def start_meeting(meeting_id: str) -> Json:
    given = read(body(), control_input.START)
    return {"sent": outside.start(meeting_id, given.get("participants", []))}


@blueprint.post("/meetings/<meeting_id>/end")
def end_meeting(meeting_id: str) -> Json:
    given = read(body(), control_input.END)
    people_there = given.pop("participants", [])
    return {"sent": outside.end(meeting_id, people_there, **given)}


@blueprint.post("/meetings/<meeting_id>/recording")
def finish_recording(meeting_id: str) -> Json:
    return {"sent": outside.record(meeting_id)}


@blueprint.post("/meetings/<meeting_id>/transcript")
def finish_transcript(meeting_id: str) -> Json:
    return {"sent": outside.transcribe(meeting_id)}


@blueprint.post("/deauthorize")
def deauthorize() -> Json:
    given = read(body(), control_input.REMOVAL, "email")
    return {"count": outside.deauthorize(_user(given["email"]), given.get("clientId"))}


@blueprint.post("/tokens/<action>")
def spoil_tokens(action: str) -> ResponseReturnValue:
    if action not in {"revoke", "expire"}:
        return {"error": "revoke or expire"}, 404
    given = read(body(), control_input.TOKENS)
    with world().writing():
        user_id = _user(given["email"]).id if "email" in given else None

        def meant(row: Token) -> bool:
            return user_id in (None, row.user_id) and given.get("clientId") in (None, row.client_id) and row.kind != "download"

        if action == "revoke":
            return {"count": state().tokens.remove(lambda row: not meant(row))}
        access = [row for row in state().tokens.values() if meant(row) and row.kind == "access"]
        for row in access:
            row.expires_at = now()
        return {"count": len(access)}


@blueprint.put("/limits")
def set_limits() -> Json:
    given = body()
    bad = [name for name, value in given.items() if name not in LIMITS or not control_input.limit(name, value)]
    if bad:
        raise ZoomError(400, 300, f"limits are {', '.join(LIMITS)}")
    with world().writing():
        state().limits |= given
        state().windows.clear()
        state().host_days.clear()
        return dict(state().limits)


@blueprint.put("/switches")
def set_switches() -> Json:
    given = body()
    bad = [name for name, value in given.items() if not control_input.switch(name, value)]
    if bad:
        raise ZoomError(400, 300, f"unknown, or without such a value: {', '.join(bad)}")
    with world().writing():
        state().switches |= given
        return dict(state().switches)


@blueprint.get("/state")
def show_state() -> Json:
    with world().lock:
        return cast("Json", snapshot.plain(cast("Any", state().dump())))
