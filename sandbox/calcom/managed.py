"""Platform managed users (deprecated): made and refreshed by a platform client with its secret."""

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import request

from sandbox import times
from sandbox.calcom import auth, checks, event_types, me, schedules, webhooks
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field
from sandbox.calcom.context import arrived, body, now, state, success, world
from sandbox.calcom.errors import CalError
from sandbox.calcom.state import Json, ManagedToken, PlatformClient, User

CREATION = me.PROFILE | {"email": Field(checks.text, required=True), "name": Field(checks.text, required=True)}
VIDEO = [{"type": "integration", "integration": "cal-video"}]
ONLY_ID = (
    "ApiAuthStrategy - Only 'x-cal-client-id' header provided. Please also provide 'x-cal-secret-key' header or Auth bearer "
    "token as 'Authorization' header"
)


def _client(client_id: str) -> PlatformClient:
    caller = auth.optional()
    if caller is None or not caller.is_client:
        raise CalError(401, ONLY_ID)
    return state().platform_clients[client_id]


def _find(client: PlatformClient, user_id: int) -> User:
    user = state().users.get(user_id)
    if user is None or user.managed_by != client.id:
        raise CalError(404, f"User with ID {user_id} is not part of this OAuth client.")
    return user


def face(user: User) -> Json:
    """Without metadata there is no metadata key."""
    shown = {
        "id": user.id,
        "email": user.email,
        "username": user.username,
        "name": user.name,
        "bio": user.bio,
        "timeZone": user.time_zone,
        "weekStart": user.week_start,
        "createdDate": times.millis(user.created_at),
        "timeFormat": user.time_format,
        "defaultScheduleId": user.default_schedule_id,
        "locale": user.locale,
        "avatarUrl": user.avatar_url,
    }
    return shown if user.metadata is None else shown | {"metadata": user.metadata}


def _tokens(client: PlatformClient, user: User) -> Json:
    """Access for an hour cut to the minute, refresh for a year cut to the day; milliseconds since 1970."""
    access_end = (now() + timedelta(minutes=60)).replace(second=0, microsecond=0)
    refresh_end = (now() + timedelta(days=365)).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        **_token(client, user, "access", access_end),
        **_token(client, user, "refresh", refresh_end),
    }


def _token(client: PlatformClient, user: User, kind: str, end: datetime) -> Json:
    claims = {"type": f"{kind}_token", "clientId": client.id, "ownerId": user.id, "expiresAt": _ms(end)}
    token = auth.sign(claims | {"jti": str(uuid.uuid4()), "iat": int(now().timestamp())})
    state().managed_tokens.add(ManagedToken(token, kind, client.id, user.id, end))
    return {f"{kind}Token": token, f"{kind}TokenExpiresAt": _ms(end)}


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


@blueprint.post("/oauth-clients/<client_id>/users")
def create_managed_user(client_id: str) -> tuple[Json, int]:
    """The e-mail address is stored as `local+<clientId>@domain`; a malformed one is not reported."""
    client = _client(client_id)
    given = checks.listed(body(), CREATION)
    name, _, domain = given["email"].partition("@")
    email = f"{name}+{client.id}@{domain}"
    with world().writing():
        known = state().user_by_email(email)
        if known is not None:
            raise CalError(409, f"User with the provided e-mail already exists. Existing user ID={known.id}")
        user = _made(client, email, f"{name}-{client.id}-{domain.replace('.', '-')}".lower(), given)
        return success({"user": face(user), **_tokens(client, user)}), 201


def _made(client: PlatformClient, email: str, username: str, given: Json) -> User:
    """Without a time zone: Europe/London and no schedule, hence never bookable until one is made."""
    user = User(state().next_id(), email, given["name"], username, "Europe/London", now(), managed_by=client.id)
    me.change(user, {name: value for name, value in given.items() if name not in {"email", "name"} and value is not None})
    state().users.add(user)
    if given.get("timeZone"):
        schedules.create(state(), user, {"name": "Default schedule", "timeZone": user.time_zone, "isDefault": True})
    if client.default_event_types:
        for word, minutes in (("thirty", 30), ("sixty", 60)):
            for suffix, locations in (("", []), ("-video", VIDEO)):
                made: dict[str, Any] = {
                    "title": f"{minutes} Minutes",
                    "slug": f"{word}-minutes{suffix}",
                    "lengthInMinutes": minutes,
                }
                event_types.create(state(), user, made | {"locations": locations}, now())
    return user


@blueprint.get("/oauth-clients/<client_id>/users")
def list_managed_users(client_id: str) -> Json:
    client = _client(client_id)
    limit, offset = (request.args.get(name, default, int) for name, default in (("limit", 50), ("offset", 0)))
    mails = [f"{mail.partition('@')[0]}+{client.id}@{mail.partition('@')[2]}" for mail in request.args.getlist("emails")]
    with world().lock:
        users = [user for user in state().users.values() if user.managed_by == client.id and (not mails or user.email in mails)]
        return success([face(user) for user in users[offset : offset + limit]])


@blueprint.route("/oauth-clients/<client_id>/users/<int:user_id>", methods=["GET", "PATCH", "DELETE"])
def managed_user(client_id: str, user_id: int) -> Json:
    client = _client(client_id)
    if request.method == "GET":
        with world().lock:
            return success(face(_find(client, user_id)))
    given = checks.listed(body(), me.PROFILE) if request.method == "PATCH" else {}
    with world().writing():
        user = _find(client, user_id)
        me.change(user, given)
        if request.method == "DELETE":
            _remove(user)
        return success(face(user))


def _remove(user: User) -> None:
    known = state()
    del known.users[user.id]
    known.managed_tokens.remove(lambda row: row.user_id != user.id)
    known.schedules.remove(lambda row: row.owner_id != user.id)
    known.webhooks.remove(
        lambda row: row.user_id != user.id and row.event_type_id not in {one.id for one in known.owned_event_types(user.id)}
    )
    known.bookings.remove(lambda row: row.owner_id != user.id)
    known.event_types.remove(lambda row: row.owner_id != user.id)


@blueprint.post("/oauth-clients/<client_id>/users/<int:user_id>/force-refresh")
def force_refresh(client_id: str, user_id: int) -> Json:
    """All tokens of the user die, the access tokens too."""
    client = _client(client_id)
    with world().writing():
        user = _find(client, user_id)
        state().managed_tokens.remove(lambda row: (row.client_id, row.user_id) != (client.id, user.id))
        return success(_tokens(client, user))


@blueprint.post("/oauth/<client_id>/refresh")
def refresh_managed(client_id: str) -> Json:
    """Rotates one refresh token; the old access token lives on. Losers of a race get the database's 404, later ones 400."""
    client = _client(client_id)
    given = checks.listed(body(), {"refreshToken": Field(checks.text, required=True)})
    with world().writing():
        row = state().managed_tokens.get(given["refreshToken"])
        if row is None or row.kind != "refresh" or row.client_id != client.id or row.expires_at <= now():
            if state().rotated.get(given["refreshToken"], -1) > arrived():
                raise CalError(404, "Invalid Query: The requested record was not found.", "NOT_FOUND", None)
            raise CalError(400, "Invalid refresh token")
        del state().managed_tokens[row.token]
        state().rotated[row.token] = world().commits
        return success(_tokens(client, state().users[row.user_id]))


@blueprint.route("/oauth-clients/<client_id>/webhooks", methods=["GET", "POST"])
def client_webhooks(client_id: str) -> Json | tuple[Json, int]:
    return webhooks.all_of((None, None, _client(client_id).id))


@blueprint.route("/oauth-clients/<client_id>/webhooks/<hook_id>", methods=["GET", "PATCH", "DELETE"])
def client_webhook(client_id: str, hook_id: str) -> Json:
    return webhooks.one_of((None, None, _client(client_id).id), hook_id)


@blueprint.get("/provider/<client_id>")
def provider(client_id: str) -> Json:
    """What the browser components ask first; an unknown client is a 401."""
    client = state().platform_clients.get(client_id)
    if client is None:
        message = f"Invalid client with ID {client_id}"
        raise CalError(401, message, details={"message": message, "statusCode": 401})
    return success({"clientId": client.id, "organizationId": client.organization_id, "name": client.name})


@blueprint.get("/provider/<client_id>/access-token")
def provider_access_token(client_id: str) -> Json:
    del client_id
    auth.needed("PROFILE_READ")
    return {"status": "success"}


@blueprint.post("/api-keys/refresh")
def refresh_api_key() -> Json:
    """The old key dies at once."""
    user, token = auth.needed(None), auth.bearer() or ""
    with world().writing():
        row = state().api_keys.pop(token, None)
        if row is None:
            raise CalError(401, "Only an API key can be refreshed")
        row.key = f"cal_live_{secrets.token_hex(16)}"
        row.user_id = user.id
        state().api_keys.add(row)
        return success({"apiKey": row.key})
