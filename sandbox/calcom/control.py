"""The control face of the sandbox's Cal.com, under `/_sandbox/calcom`. All bodies and answers are JSON.

POST /_sandbox/calcom/oauth-clients   {clientId, clientSecret, redirectUris, scopes?, name?, type? CONFIDENTIAL|PUBLIC,
                                       approval? APPROVED|PENDING|REJECTED} -> the client; again: replaces it
POST /_sandbox/calcom/users           {email, name, timeZone, username?, eventTypes?: [as POST /v2/event-types],
                                       schedule?: null or {availability, overrides, ...}} -> the user and its event types
POST /_sandbox/calcom/bookings        as POST /v2/bookings, by an outsider without credentials; force: true skips every
                                       check of time, then status? accepted|pending and silent? true (no webhook)
POST /_sandbox/calcom/busy            {email, start, end} -> {id}; DELETE /_sandbox/calcom/busy removes all
POST /_sandbox/calcom/tokens/revoke   {email, clientId?}: access and refresh tokens are gone -> {count}
POST /_sandbox/calcom/tokens/expire   {email, clientId?}: access tokens are expired from now on -> {count}
POST /_sandbox/calcom/api-keys        {email} -> {apiKey}
POST /_sandbox/calcom/events          {bookingUid, event: MEETING_STARTED|MEETING_ENDED|RECORDING_READY} -> {sent}
POST /_sandbox/calcom/webhooks/{id}/ping   the settings page's test delivery -> {sent}
POST /_sandbox/calcom/platform-clients     {clientId, clientSecret, name?, redirectUris?, defaultEventTypes?} (deprecated)
PUT  /_sandbox/calcom/limits          {token?: 500, anonymous?: 120} requests per minute; counters start anew
PUT  /_sandbox/calcom/switches        {staleSlots?: false, forkReschedule?: true}
"""

import secrets
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from sandbox import times
from sandbox.calcom import booking_routes, checks, hooks, me, payloads, people
from sandbox.calcom.booking_changes import Setting, find
from sandbox.calcom.checks import Field
from sandbox.calcom.context import body, now, state, world
from sandbox.calcom.errors import CalError, CoreError
from sandbox.calcom.event_types import face as event_type_face
from sandbox.calcom.state import PERSONAL_SCOPES, ApiKey, Busy, Json, ManagedToken, OAuthClient, OAuthToken, PlatformClient, User
from sandbox.calcom.webhooks import TRIGGERS

blueprint = Blueprint("calcom_control", __name__, url_prefix="/_sandbox/calcom")
_TEXT, _EMAIL, _MOMENT = (
    Field(checks.text, required=True),
    Field(checks.email, required=True),
    Field(checks.moment, required=True),
)
CLIENT = {
    "clientId": _TEXT,
    "clientSecret": Field(checks.text),
    "redirectUris": Field(checks.array, required=True),
    "scopes": Field(checks.array),
    "name": Field(checks.text),
    "type": Field(checks.one_of("CONFIDENTIAL", "PUBLIC")),
    "approval": Field(checks.one_of("APPROVED", "PENDING", "REJECTED")),
}
PLATFORM = {
    "clientId": _TEXT,
    "clientSecret": _TEXT,
    "name": Field(checks.text),
    "redirectUris": Field(checks.array),
    "defaultEventTypes": Field(checks.boolean),
}


@blueprint.errorhandler(CalError)
def enveloped(problem: CalError) -> ResponseReturnValue:
    return jsonify(problem.body(times.millis(now()), "")), problem.status


@blueprint.errorhandler(CoreError)
def bare(problem: CoreError) -> ResponseReturnValue:
    return jsonify(problem.body()), problem.status


def _user(email: str) -> User:
    user = state().user_by_email(email)
    if user is None:
        raise CalError(404, f"No sandbox user has the e-mail address {email}")
    return user


@blueprint.post("/oauth-clients")
def put_client() -> Json:
    given = checks.listed(body(), CLIENT)
    with world().writing():
        client = OAuthClient(
            id=given["clientId"],
            secret=given.get("clientSecret") or secrets.token_hex(16),
            name=given.get("name") or given["clientId"],
            type=given.get("type") or "CONFIDENTIAL",
            redirect_uris=given["redirectUris"],
            scopes=given.get("scopes") or PERSONAL_SCOPES,
            approval=given.get("approval") or "APPROVED",
        )
        state().clients.add(client)
        shown = {"clientId": client.id, "clientSecret": client.secret, "redirectUris": client.redirect_uris}
        return shown | {"scopes": client.scopes, "name": client.name, "type": client.type, "approval": client.approval}


@blueprint.post("/platform-clients")
def put_platform_client() -> Json:
    given = checks.listed(body(), PLATFORM)
    with world().writing():
        known = state().platform_clients.get(given["clientId"])
        client = PlatformClient(
            id=given["clientId"],
            secret=given["clientSecret"],
            name=given.get("name") or given["clientId"],
            redirect_uris=given.get("redirectUris") or [],
            default_event_types=bool(given.get("defaultEventTypes")),
            organization_id=known.organization_id if known else state().next_id(),
        )
        state().platform_clients.add(client)
        return {"clientId": client.id, "organizationId": client.organization_id}


@blueprint.post("/users")
def create_user() -> tuple[Json, int]:
    with world().writing():
        user = people.create(state(), world().clock, body())
        types = [event_type_face(row) for row in state().owned_event_types(user.id)]
        return me.face(user) | {"eventTypes": types}, 201


@blueprint.post("/bookings")
def book() -> tuple[Json, int]:
    given = dict(body())
    options = {name: given.pop(name) for name in ("force", "status", "silent") if name in given}
    if options.get("status") not in (None, "accepted", "pending") or ("status" in options and not options.get("force")):
        raise CalError(400, "status must be accepted or pending, and needs force")
    return booking_routes.create(given, None, **options), 201


@blueprint.post("/busy")
def block() -> tuple[Json, int]:
    given = checks.listed(body(), {"email": _EMAIL, "start": _MOMENT, "end": _MOMENT})
    with world().writing():
        span = times.parse(given["start"]), times.parse(given["end"])
        row = state().busy.add(Busy(state().next_id(), _user(given["email"]).id, *span))
        return {"id": row.id}, 201


@blueprint.delete("/busy")
def unblock() -> Json:
    with world().writing():
        return {"count": state().busy.remove(lambda _: False)}


@blueprint.post("/tokens/<action>")
def spoil_tokens(action: str) -> Json:
    if action not in {"revoke", "expire"}:
        raise CalError(404, "revoke or expire")
    given = checks.listed(body(), {"email": _EMAIL, "clientId": Field(checks.text)})
    with world().writing():
        user = _user(given["email"])
        client_id = given.get("clientId")
        rows: list[OAuthToken | ManagedToken] = [*state().tokens.values(), *state().managed_tokens.values()]
        mine = [row for row in rows if row.user_id == user.id and client_id in {None, row.client_id}]
        if action == "revoke":
            state().tokens.remove(lambda row: row not in mine)
            state().managed_tokens.remove(lambda row: row not in mine)
            return {"count": len(mine)}
        access = [row for row in mine if row.kind.lower().startswith("access")]
        for row in access:
            row.expires_at = now()
        return {"count": len(access)}


@blueprint.post("/api-keys")
def create_api_key() -> tuple[Json, int]:
    given = checks.listed(body(), {"email": _EMAIL})
    with world().writing():
        row = state().api_keys.add(ApiKey(f"cal_live_{secrets.token_hex(16)}", _user(given["email"]).id))
        return {"apiKey": row.key}, 201


@blueprint.post("/events")
def emit_event() -> Json:
    """What Cal.com sends on its own at a meeting's start, end, or when a recording is ready."""
    builders: dict[str, Any] = {"RECORDING_READY": payloads.recording} | dict.fromkeys(
        ("MEETING_STARTED", "MEETING_ENDED"), payloads.meeting
    )
    given = checks.listed(body(), {"bookingUid": _TEXT, "event": Field(checks.one_of(*builders), required=True)})
    with world().lock:
        booking, event = find(state(), given["bookingUid"]), given["event"]
        setting = Setting(state(), now(), world().commits, world().commits)
        batch = hooks.emit(setting, booking, event, lambda: builders[event](state(), booking))
    world().deliveries.send(batch)
    return {"sent": len(batch)}


@blueprint.post("/webhooks/<hook_id>/ping")
def ping(hook_id: str) -> Json:
    given = checks.listed(body(), {"triggerEvent": Field(checks.one_of(*TRIGGERS))})
    with world().lock:
        hook = state().webhooks.get(hook_id)
        if hook is None:
            raise CalError(404, f"Webhook ({hook_id}) not found")
        owner = state().users.get(hook.user_id or 0) or next(iter(state().users.values()))
        event = given.get("triggerEvent") or (hook.triggers or ["BOOKING_CREATED"])[0]
        batch = [hooks.outgoing(hook, event, payloads.ping(owner), times.millis(now()))]
    world().deliveries.send(batch)
    return {"sent": 1}


@blueprint.put("/limits")
def set_limits() -> Json:
    given = checks.listed(body(), {"token": Field(checks.at_least(1)), "anonymous": Field(checks.at_least(1))})
    with world().writing():
        state().limits |= given
        state().windows.clear()
        return dict(state().limits)


@blueprint.put("/switches")
def set_switches() -> Json:
    given = checks.listed(body(), {"staleSlots": Field(checks.boolean), "forkReschedule": Field(checks.boolean)})
    with world().writing():
        state().switches |= given
        state().slot_cache.clear()
        return dict(state().switches)
